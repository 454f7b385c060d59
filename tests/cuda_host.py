"""The device of the CUDA backend on the host: its source behind a thin header, compiled with g++,
one thread after the other.
"""

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOOTER = """
extern "C" void launch_evaluate(unsigned grid, unsigned wide, unsigned high, void** arguments) {
    launch(evaluate, grid, wide, high, arguments);
}
"""
FLAGS = (
    "-std=c++17",
    "-O1",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-variable",
)


@cache
def library(source: str) -> ctypes.CDLL:
    """The module compiled for the host, once a session."""
    with tempfile.TemporaryDirectory() as folder:
        code, out = Path(folder) / "module.cpp", Path(folder) / "module.so"
        code.write_text(f'#include "cuda_host.h"\n{source}{FOOTER}')
        command = ["g++", *FLAGS, f"-I{Path(__file__).parent}", str(code), "-o", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        return ctypes.CDLL(str(out))


class HostDevice:
    """Arrays are NumPy's; what is sent up and how often functions run is counted."""

    workspace = 2**28
    # of all devices: ("put", array), ("launch", (grid, block, arguments))
    log: list[tuple[str, Any]] = []

    def put(self, array: np.ndarray) -> np.ndarray:
        assert array.dtype.names is None  # CuPy takes no structured arrays
        self.log.append(("put", array))
        return np.array(array, order="C")

    def empty(self, count: int, dtype: Any) -> np.ndarray:
        # NaN, so that what is read before it is written shows
        return np.full(count * np.dtype(dtype).itemsize, 0xFF, np.uint8).view(dtype)

    def compile(self, source: str) -> Any:
        return library(source).launch_evaluate

    def launch(
        self, function: Any, grid: int, block: tuple[int, int], arguments: tuple[Any, ...]
    ) -> None:
        self.log.append(("launch", (grid, block, arguments)))
        values = [
            np.array(each.ctypes.data if isinstance(each, np.ndarray) else each)
            for each in arguments
        ]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        function(ctypes.c_uint(grid), ctypes.c_uint(block[0]), ctypes.c_uint(block[1]), pointers)

    def fetch(self, array: np.ndarray) -> np.ndarray:
        return array.copy()
