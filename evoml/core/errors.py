"""The two exceptions that a user meets, each as one line, and what raises them around files."""

import errno
from pathlib import Path

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


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """A text file's content. Raises InputError."""
    try:
        return path.read_text(encoding=encoding)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except ValueError:
        raise InputError(f"{path}: not a text file") from None
