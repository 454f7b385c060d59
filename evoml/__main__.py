"""The entry point, `evoml` and `python -m evoml`: exit statuses and one-line errors, whatever
happens.
"""

import sys

if __name__ == "__main__" and sys.path and not sys.flags.safe_path:
    del sys.path[0]  # of `python -m`: the current folder, whose files are not evoml's to execute

import os
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

from evoml.commands import interrupts

TRACEBACK = "EVOML_TRACEBACK"  # set: what a part of others raises is shown with its traceback


def main() -> NoReturn:
    """Run the command line. Status 0 done, 1 a write was refused, 2 bad input, 3 a search in which
    nothing could be scored, 130 interrupted.
    """
    interrupts.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # of another encoding than UTF-8, perhaps
            stream.reconfigure(errors="replace")
    status = _run()
    _silence_broken_streams()
    interrupts.uninstall()
    sys.exit(status)


def _run() -> int:
    from evoml.cli import run
    from evoml.core.errors import DiskError, InputError
    from evoml.core.registry import place_of_others
    from evoml.core.wording import describe_exception

    if sys.stdout is None:
        return _say("standard output is closed", 1)
    try:
        status = run()
        sys.stdout.flush()
        return status
    except InputError as error:
        return _say(str(error), 2)
    except DiskError as error:
        return _say(str(error), 1)
    except BrokenPipeError:  # who read the output has seen enough
        _discard(1)
        return 0
    except OSError as error:
        why = error.strerror or error
        return _say(
            f"{error.filename}: {why}"
            if error.filename
            else f"standard output: cannot write ({why})",
            1,
        )
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        return _say(
            f"not enough memory{why}; take fewer or smaller data (task.examples, task.size), a "
            "smaller population, or fewer --workers",
            1,
        )
    except Exception as error:
        # evoml's own mistakes are shown as they are, another's part is named in a line
        if (place := place_of_others(error)) is None or os.environ.get(TRACEBACK):
            raise
        return _say(
            f"{place}: {describe_exception(error)}; {TRACEBACK}=1 evoml ... shows where it was "
            "called",
            2,
        )


def _say(line: str, status: int) -> int:
    with suppress(OSError, ValueError):  # where nobody listens
        if sys.stderr is not None:
            from evoml.core.wording import printable

            print(f"evoml: {printable(' '.join(line.split()))}", file=sys.stderr, flush=True)
    return status


def _silence_broken_streams() -> None:
    """Let nothing be said, and no status changed, where a stream that cannot be written to is
    flushed at the end.
    """
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _discard(number)


def _discard(descriptor: int) -> None:
    """Let whatever is still to be written there go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


if __name__ == "__main__":
    main()
