"""Search strategies: how a space is explored. One file a strategy, with `Settings` and a subclass
of `contracts.Strategy`.
"""
