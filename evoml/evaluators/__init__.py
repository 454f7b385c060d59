"""Performance estimation: how good a candidate is. One file an evaluator."""
