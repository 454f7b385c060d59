"""What leaves evoml: one file a target."""
