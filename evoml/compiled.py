"""Compilation with Numba, cached on disk once a machine and a version of the sources.

Numba's own cache looks at the file of the function alone; a change in the operation table, which the kernels are generated from, would go
unnoticed. So the cache lies in a folder named after a hash of every source that kernels come from. Compiled code lives in `backends/`
and in modules whose name starts with an underscore.
"""

import os
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numba
from numba import njit

_config: Any = numba.config


@cache
def cache_folder() -> Path:
    """Where the compiled kernels of this version of the sources are kept: `$EVOML_CACHE`, else `$XDG_CACHE_HOME/evoml`, else `~/.cache/evoml`."""
    package = Path(__file__).parent
    digest = blake2b(f"{numba.__version__} {version('llvmlite')}".encode(), digest_size=8)
    for source in sorted(
        [
            package / "instructions.py",
            Path(__file__),
            *package.glob("backends/*.py"),
            *package.glob("_[a-z]*.py"),
            *package.glob("[es]*/_[a-z]*.py"),
        ]
    ):
        digest.update(source.name.encode() + source.read_bytes())
    root = os.environ.get("EVOML_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evoml"
    return Path(root) / digest.hexdigest()


def ready() -> bool:
    """Whether kernels have been compiled before: if not, the first call takes some seconds."""
    return cache_folder().is_dir() and any(cache_folder().rglob("*.nbi"))


def compiled(function: Callable[..., Any]) -> Any:
    """Compile `function` on its first call, without the interpreter lock, and keep the result on disk where that is possible."""
    return _on_disk(lambda cached: njit(nogil=True, cache=cached, error_model="numpy")(function))


def compiled_callback(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile `function` now to a C function with this signature; its `address` is to be called from other code."""
    return _on_disk(lambda cached: numba.cfunc(signature, cache=cached, error_model="numpy")(function))


def _on_disk(decorate: Callable[[bool], Any]) -> Any:
    """Decorate with the cache in evoml's folder, or without one where that cannot be written."""
    before = _config.CACHE_DIR
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        _config.CACHE_DIR = str(cache_folder())
        return decorate(os.access(cache_folder(), os.W_OK))
    except OSError:
        return decorate(False)
    finally:
        _config.CACHE_DIR = before
