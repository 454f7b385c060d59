"""Tasks: what is learnt, and from which data. One file a task, with `Settings` and a subclass of
`contracts.Task`.
"""
