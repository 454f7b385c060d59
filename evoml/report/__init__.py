"""Tables, displays and what the commands print."""

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

from evoml.archive.files import finite
from evoml.core.wording import duration, printable

READY_EVERY = 10.0  # seconds between two words that a start goes on
WIDE = 160  # columns of a pipe, where lines should not be cut


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """Others' names may hold what a terminal obeys: it is shown, not sent."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Leave it to the entry point; rich would exit with 1."""
        raise BrokenPipeError


class TolerantStderr(io.TextIOBase):
    """Standard error for progress: when nobody can hear it any more, the search goes on in
    silence.
    """

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return (sys.stderr is not None and sys.stderr.encoding) or "utf-8"

    @staticmethod
    def _try(method: str, *arguments: Any) -> None:
        try:
            if sys.stderr is not None:
                getattr(sys.stderr, method)(*arguments)
        except (OSError, ValueError):
            sys.stderr = None


def console(stderr: bool = False) -> Console:
    """A terminal gets its own width; a pipe gets `$COLUMNS`, or lines that nothing cuts."""
    stream: Any = TolerantStderr() if stderr else sys.stdout
    columns = os.environ.get("COLUMNS", "")
    width = (
        None
        if stream.isatty()
        else int(columns)
        if columns.isdecimal() and int(columns) > 0
        else WIDE
    )
    return _Console(file=stream, width=width, highlight=False, markup=False)


def print_source(out: Console, text: str, language: str) -> None:
    """A genotype's text, in colour in a terminal, as it is in a pipe. language: as Pygments names
    it.
    """
    if out.is_terminal:
        from rich.syntax import Syntax

        out.print(Syntax(text.rstrip(), language, background_color="default"))
    else:
        print(text.rstrip())


def print_json(value: Any) -> None:
    """One JSON object on standard output; infinities and NaN as null."""
    print(json.dumps(finite(value)))


def warn(lines: Iterable[str]) -> None:
    """Remarks on standard error, a line each."""
    for line in lines:
        print(f"evoml: {line}", file=TolerantStderr(), flush=True)


@contextmanager
def getting_ready(err: Console) -> Iterator[None]:
    """Say every few seconds that what is done here goes on: kernels are compiled, torch is
    imported, tables are read.
    """
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(READY_EVERY):
            err.print(f"getting ready: {duration(time.monotonic() - began)} ...")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def announce_compilation(err: Console) -> None:
    """Say so, once, when something has to be compiled."""
    from evoml.compilation.numba_cache import cache_folder, cached, on_compile

    if cached():
        on_compile(
            lambda: err.print("compiling kernels, once for this machine (about a minute) ...")
        )
    else:
        err.print(
            f"compiling kernels (about a minute); {cache_folder()} cannot be used, so they are "
            "not kept ...",
            soft_wrap=True,
        )
