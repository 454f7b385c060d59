"""Files of a run: written whole or not at all, kept to one process, read without being believed."""

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows, where runs are not locked
    fcntl = None  # type: ignore[assignment]

from evoml.core.errors import DiskError, InputError, cannot_write, read_text

# a flag of os.open: never through a link that somebody left there
NO_LINKS = 0 if sys.platform == "win32" else os.O_NOFOLLOW


@contextmanager
def writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DiskError(
            f"{path}: cannot write ({error.strerror or error}); what was written before is intact"
        ) from None


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside and rename it into place. Raises DiskError."""
    with writing(path):
        replace(path, content)


def replace(path: Path, content: bytes) -> None:
    """The same. Raises OSError, and leaves what was there."""
    beside = path.with_name(path.name + ".partial")
    beside.unlink(missing_ok=True)
    try:
        with beside.open("xb") as file:  # never through a link that somebody left there
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep other processes from searching in the same run folder; released when the process ends,
    however it ends.

    Raises InputError.
    """
    if not (folder / "run.toml").is_file():
        raise InputError(f"{folder}: not a run (no run.toml)")
    if fcntl is None:
        yield
        return
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | NO_LINKS, 0o644)
    except OSError as error:
        raise cannot_write(folder, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise InputError(f"{folder}: another process is searching in this run") from None
    try:
        yield
    finally:
        os.close(descriptor)


def finite(value: Any) -> Any:
    """Plain values with None for infinities and NaN, which JSON does not have."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    return [finite(each) for each in value] if isinstance(value, (list, tuple)) else value


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run. Raises InputError if the folder is not a run."""
    path = folder / "run.toml"
    if not path.is_file():
        raise InputError(f"{folder}: not a run (no run.toml)")
    try:
        values = tomllib.loads(read_text(path))
        if not {"system", "search", "space", "task"} <= set(values):
            raise ValueError("no system, search, space or task in it")
        return values
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not a configuration ({' '.join(str(error).split())[:200]})"
        ) from None


def read_result(folder: Path) -> dict[str, Any] | None:
    """How a finished run ended; None if it has not finished."""
    try:
        result = json.loads(read_text(folder / "result.json"))
        known = {
            name: result[name]
            for name in ("reason", "evaluations", "seconds", "counts", "best", "test")
        }
        later = ("objectives", "trust", "check_seconds")
        return known | {name: result[name] for name in later if name in result}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
