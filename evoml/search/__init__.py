"""The loops, and what they share."""
