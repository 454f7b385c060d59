"""The two exceptions that a user meets, each as one line, and what raises them around files."""

import errno
from pathlib import Path
from typing import Any

_REFUSED = (
    errno.ENOSPC,
    errno.EROFS,
    errno.EIO,
    getattr(errno, "EDQUOT", errno.ENOSPC),
    errno.EFBIG,
)


class InputError(ValueError):
    """Bad input: one line that says what is wrong, where, and what would be right.

    The command line prints it and exits with 2.
    """


class DiskError(OSError):
    """The disk refused a write; what was written before is intact.

    The command line prints it and exits with 1.
    """


def cannot_write(path: Path, error: OSError) -> InputError | DiskError:
    """The exception to raise where `path` could not be written: DiskError where the disk is the
    reason, InputError where the path is.
    """
    why = f"{path}: cannot write ({error.strerror or error})"
    return DiskError(why) if error.errno in _REFUSED else InputError(why)


TEXT = 2**28  # bytes of a text file, at most: 256 MiB
UNPACKED = 2**33  # bytes that a file's content takes in memory, at most: 8 GiB


def plain_file(path: Path) -> Path:
    """The path, unless something else than a file is there: who reads a pipe or a device may wait
    for ever. Raises InputError.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        raise InputError(f"{path}: {kind}; it must be a file")
    return path


def check_unpacked(path: Path, size: int) -> None:
    """Raise InputError where a file would take more memory than anything that evoml reads.

    size: bytes, as the file says.
    """
    if size > UNPACKED:
        raise InputError(
            f"{path}: unpacks to {size / 2**30:,.0f} GiB; files must take at most "
            f"{UNPACKED / 2**30:.0f} GiB"
        )


def unpacked(metadata: Any) -> int:
    """Bytes that a Parquet file takes in memory, as its metadata says: pages as they are, or eight
    a number, whatever is more.
    """
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    columns = [group.column(at) for group in groups for at in range(group.num_columns)]
    return sum(max(each.total_uncompressed_size, 8 * each.num_values) for each in columns)


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """A text file's content. Raises InputError."""
    try:
        if plain_file(path).stat().st_size > TEXT:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes; not a text file of evoml's")
        return path.read_text(encoding=encoding)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except ValueError:
        raise InputError(f"{path}: not a text file") from None
