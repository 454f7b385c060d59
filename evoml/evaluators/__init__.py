"""Performance estimation: how good a candidate is. One file an evaluator, with `Settings` and a
subclass of `contracts.Evaluator`.
"""
