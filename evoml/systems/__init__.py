"""Published systems: rows of space, strategy, evaluator and the paper's numbers, one TOML file
each.
"""
