"""Search strategies: how a space is explored. One file a strategy, with `ask`, `tell`, `state_dict` and `load_state_dict`."""
