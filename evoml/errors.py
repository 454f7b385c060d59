"""The one exception a user's bad input raises."""


class InputError(ValueError):
    """Bad input: one line that says what is wrong, where, and what would be right. The command line prints it and exits with 2."""
