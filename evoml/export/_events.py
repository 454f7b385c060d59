"""What a run has logged: events.jsonl, an event a line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from evoml.core.errors import InputError, plain_file

EVENTS = "events.jsonl"
T = TypeVar("T")


def events(folder: Path, kind: str, read: Callable[[dict[str, Any]], T | None]) -> Iterator[T]:
    """What `read` makes of every event of a kind, without None; nothing where no event has been
    logged. A line that is being written ends them.

    `read` may raise what a wrong value raises. Raises InputError where the file cannot be read, or
    with the number of a line that is none of evoml's.
    """
    path, number = folder / EVENTS, 0
    try:
        with plain_file(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):  # noqa: B007 (of the message below)
                if not line.endswith(b"\n"):
                    return
                event = json.loads(line)
                if event.get("event") == kind and (value := read(event)) is not None:
                    yield value
    except InputError:
        raise
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InputError(f"{path}:{number}: not a line that evoml wrote; remove it") from None
