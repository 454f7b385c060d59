"""The classes of the rows of tables, in a module that reads no table: what others' rows are made
of.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# a float64 scalar, [F] or [F, F], by the operation's signature; a scalar fills a vector
# (scalar_broadcast)
Array = Any

# What a constant may be, and how it changes: `value` uniform in (-1, 1), later a step on a
# logarithmic scale or a change of sign; `index` uniform in [0, 1); `deviation` uniform in (0, 1),
# never negative; `bound` as value, the two bounds in order after a change.
VALUE, INDEX, DEVIATION, BOUND = "value", "index", "deviation", "bound"


@dataclass(frozen=True)
class Op:
    """One operation. `ins` and `out` are letters of s (scalar), v (vector), m (matrix)."""

    id: int
    name: str
    out: str
    ins: str
    text: str
    # (a, b) or, with constants, (noise, old value of the output, x, y, z)
    numpy: Callable[..., Array]
    kernel: str
    cost: float  # estimated cost, relative to the other rows (the published program's table)
    constants: tuple[str, ...] = ()

    @property
    def commutes(self) -> bool:
        """Whether swapping the inputs changes nothing, in every bit."""
        return len(set(self.ins)) == 1 and bool(
            re.fullmatch(r"(total\()?a((?:\[[^]]*\])?) [+*] b\2\)?", self.kernel)
        )

    @property
    def noisy(self) -> bool:
        """Whether the output is random."""
        return "uniform()" in self.kernel or "gaussian()" in self.kernel

    @property
    def idempotent(self) -> bool:
        """Whether twice the same input is also the output, in every bit."""
        with np.errstate(all="ignore"):
            return (
                bool(self.out)
                and self.ins == 2 * self.out
                and all(_same(self.numpy(a, a), a) for a in _samples(self.out))
            )

    @property
    def keeps_zero(self) -> bool:
        """Whether inputs of positive zeros give an output of positive zeros."""
        zeros = {"s": np.zeros(()), "v": np.zeros(2), "m": np.zeros((2, 2))}
        if not self.ins:
            return False
        with np.errstate(all="ignore"):
            value = self.numpy(*(zeros[kind] for kind in self.ins))
        return _same(np.broadcast_to(value, zeros[self.out].shape), zeros[self.out])

    @property
    def reads_out(self) -> bool:
        """Whether the output's old value stays in part."""
        return "out[" in self.kernel


def _same(a: Array, b: Array) -> bool:
    """Equal in every bit."""
    return np.asarray(a, np.float64).tobytes() == np.asarray(b, np.float64).tobytes()


def _samples(kind: str) -> list[Array]:
    numbers = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 1e-310, 3.0])
    return {"s": list(numbers), "v": [numbers], "m": [numbers.reshape(3, 3)]}[kind]


@dataclass(frozen=True)
class Activation:
    """One function of a node's aggregated input."""

    name: str
    numpy: Callable[[np.ndarray], np.ndarray]
    text: str


@dataclass(frozen=True)
class Aggregation:
    """How weighted inputs become one number; a node without inputs is inactive and gives 0,
    whatever its functions.
    """

    name: str
    numpy: Callable[[np.ndarray], np.ndarray]  # [K, ...] -> [...], K > 0 inputs in order
    start: float
    step: str
    mean: bool = False  # divide by K at the end
