"""Where candidates are evaluated: in this process (`inline`), or in others (`pool`, whose processes
run `child`).
"""
