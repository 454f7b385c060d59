"""The two exceptions that a user meets, each as one line."""

import errno
from pathlib import Path

_REFUSED = (errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


class InputError(ValueError):
    """Bad input: one line that says what is wrong, where, and what would be right. The command line prints it and exits with 2."""


class DiskError(OSError):
    """The disk refused a write; what was written before is intact. The command line prints it and exits with 1."""


def cannot_write(path: Path, error: OSError) -> InputError | DiskError:
    """The exception to raise where `path` could not be written: DiskError where the disk is the reason, InputError where the path is."""
    why = f"{path}: cannot write ({error.strerror or error})"
    return DiskError(why) if error.errno in _REFUSED else InputError(why)
