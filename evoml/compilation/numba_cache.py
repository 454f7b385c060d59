"""Compilation with Numba, cached on disk once a machine and a version of the sources.

Numba's own cache looks at the file of the function alone; a change in the operation table, which
the kernels are generated from, would go unnoticed. So the cache lies in a folder named after a hash
of every source that kernels come from (`kernel_sources`), and of the rows that others add to
tables.

What is cached is machine code in Numba's own format, which is a pickle: the one such thing that
evoml keeps on a disk, never part of a run. A folder that somebody else owns or may write to is not
used; a file that does not end with the digest of its name and content is compiled again.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.ccallback import CFunc
from numba.core.sigutils import normalize_signature

from evoml.core.registry import rows_of_others

_config: Any = numba.config
DIGEST = 16  # bytes
_COMPILES = re.compile(rb"^from evoml\.compilation\.numba_cache import \(?[^)\n]*\bcompiled", re.M)
# at the top level of a module
_IMPORTS = re.compile(r"^from (evoml[\w.]*) import (\([^)]*\)|.*)", re.M)
_NAMES = re.compile(r"\w+")
_listeners: list[Callable[[], None]] = []


@cache
def cache_folder() -> Path:
    """Where the compiled kernels of this version of the sources are kept: `$EVOML_CACHE`, else
    `$XDG_CACHE_HOME/evoml`, else `~/.cache/evoml`.
    """
    digest = blake2b(f"{numba.__version__} {version('llvmlite')}".encode(), digest_size=8)
    for name, content in kernel_sources(Path(__file__).parents[1]).items():
        digest.update(name.encode() + content)
    digest.update(rows_of_others())
    root = (
        os.environ.get("EVOML_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evoml"
    )
    return Path(root) / digest.hexdigest()


def kernel_sources(package: Path) -> dict[str, bytes]:
    """Every source that compiled code comes from, by its path below `package`, the folder of evoml.

    These are the modules that compile something, and all modules of evoml that these import when
    they are loaded, since tables and constants of those are compiled in.
    """
    found: dict[str, bytes] = {}
    waiting = [path for path in package.rglob("*.py") if _COMPILES.search(path.read_bytes())]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(package).as_posix()
        if name in found or not path.is_file():
            continue
        found[name] = path.read_bytes()
        for module, names in _IMPORTS.findall(found[name].decode()):
            at = package.joinpath(*module.split(".")[1:])
            waiting += [
                at.with_suffix(".py"),
                *(at / f"{each}.py" for each in _NAMES.findall(names)),
            ]
    return dict(sorted(found.items()))


@cache
def cached() -> bool:
    """Whether the cache can be used: its folder can be written to, and by nobody but this user."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        if hasattr(os, "getuid"):
            about = cache_folder().stat()
            if about.st_uid != os.getuid() or about.st_mode & 0o022:
                return False
        return os.access(cache_folder(), os.W_OK)
    except OSError:
        return False


def on_compile(listener: Callable[[], None]) -> None:
    """Call `listener` once, when something is first compiled and not found in the cache."""
    _listeners.append(listener)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call, without the interpreter lock, and keep the result on
    disk where that is possible.
    """
    out: Any = njit(nogil=True, error_model="numpy")(function)
    if (kernels := _kernels(function)) is not None:
        out._cache = kernels
    return out


def compiled_callback(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile `function` now to a C function with this signature; its `address` is to be called
    from other code.
    """
    out: Any = CFunc(
        function, normalize_signature(signature), locals={}, options={"error_model": "numpy"}
    )
    if (kernels := _kernels(function)) is not None:
        out._cache = kernels
    out.compile()
    return out


def _kernels(function: Callable[..., Any]) -> Any:
    """The cache of one function in evoml's folder; None where there can be none."""
    if not cached():
        return None
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(cache_folder())
    try:
        return _Kernels(function)
    except (OSError, RuntimeError):
        return None
    finally:
        _config.CACHE_DIR = before


class _Kernels(FunctionCache):
    """Numba's cache of one function, which no damaged file and no full disk can break."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        plain = self._cache_file
        self._cache_file = _Files(
            plain._cache_path, plain._index_name.removesuffix(".nbi"), plain._source_stamp
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # whatever a file of another machine may raise
            found = None
        while found is None and _listeners:
            _listeners.pop()()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:  # compiled for this process alone
            self.disable()


class _Files(IndexDataCacheFile):
    """Numba's files, each followed by a digest of its name and content; a file without the right
    one is none.
    """

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BytesIO]:
        content = BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + _digest(Path(filepath).name, content.getvalue()))

    def _load_index(self) -> Any:
        return super()._load_index() if _intact(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        if not _intact(self._data_path(name)):
            raise FileNotFoundError(name)  # which counts as not cached
        return super()._load_data(name)


def _intact(path: str) -> bool:
    try:
        content = Path(path).read_bytes()
    except OSError:
        return False
    return _digest(Path(path).name, content[:-DIGEST]) == content[-DIGEST:]


def _digest(name: str, content: bytes) -> bytes:
    return blake2b(name.encode() + b"\0" + content, digest_size=DIGEST).digest()
