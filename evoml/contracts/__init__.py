"""What a part must be: the classes that spaces, strategies, evaluators and tasks derive from."""
