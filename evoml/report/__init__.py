"""Tables, displays and what the commands print."""

import sys

from rich.console import Console


def console(stderr: bool = False) -> Console:
    """A terminal gets its own width; a pipe gets lines that nothing cuts."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 160, highlight=False, markup=False)
