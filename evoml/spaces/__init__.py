"""Search spaces: what can be expressed. One file a space, with `Settings` and a subclass of
`contracts.Space`.
"""
