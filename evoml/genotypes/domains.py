"""Domains: the values a gene may take, and how they are drawn, changed, checked and written."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Place:
    """What a domain may read: the row's index, the genes to its left, and how many rows every table
    has.
    """

    row: int
    left: Mapping[str, Any]
    rows: Mapping[str, int]


class Domain(Protocol):
    """The values a gene may take.

    `code` is what the table holds, `plain` what text and Parquet hold.
    """

    @property
    def dtype(self) -> str: ...
    @property
    def arrow(self) -> pa.DataType: ...

    def sample(self, rng: Random, at: Place) -> Any: ...
    def perturb(self, rng: Random, code: Any, at: Place) -> Any: ...
    def alternatives(self, code: Any, at: Place) -> Iterable[Any]: ...
    def contains(self, code: Any, at: Place) -> bool: ...
    def plain(self, code: Any, at: Place) -> Any: ...
    def code(self, plain: Any, at: Place) -> Any: ...
    def describe(self, at: Place) -> str: ...


class _SelfCoded:
    """Domains whose code is the value itself."""

    def perturb(self, rng: Random, code: Any, at: Place) -> Any:
        return self.sample(rng, at)  # type: ignore[attr-defined]

    def alternatives(self, code: Any, at: Place) -> Iterable[Any]:
        """The codes that local search tries instead of this one; none where there is no end of
        them.
        """
        return ()

    def plain(self, code: Any, at: Place) -> Any:
        return code.item() if isinstance(code, np.generic) else code

    def code(self, plain: Any, at: Place) -> Any:
        return plain


@dataclass(frozen=True)
class Choice:
    """One of a list of names; the code is the position in the list.

    `drawn`: the codes that sampling draws from (none: the code stays 0).
    """

    names: tuple[str, ...]
    drawn: tuple[int, ...] | None = None
    arrow = pa.string()

    @property
    def dtype(self) -> str:
        return "u1" if len(self.names) <= 256 else "u2"

    @property
    def _drawn(self) -> Sequence[int]:
        return range(len(self.names)) if self.drawn is None else self.drawn

    @cached_property
    def codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    def sample(self, rng: Random, at: Place) -> int:
        return rng.choice(self._drawn) if self._drawn else 0

    def perturb(self, rng: Random, code: int, at: Place) -> int:
        """Another choice, where there is one."""
        others = self.alternatives(code, at)
        return rng.choice(others) if others else code

    def alternatives(self, code: int, at: Place) -> list[int]:
        return [other for other in self._drawn if other != code]

    def contains(self, code: int, at: Place) -> bool:
        return bool(0 <= code < len(self.names))

    def plain(self, code: int, at: Place) -> str:
        return self.names[code]

    def code(self, plain: Any, at: Place) -> int:
        return self.codes.get(plain, -1) if isinstance(plain, str) else -1

    def describe(self, at: Place) -> str:
        return f"one of {', '.join(self.names[:12])}{', ...' if len(self.names) > 12 else ''}"


@dataclass(frozen=True)
class Integer(_SelfCoded):
    """An integer in low..high, both included."""

    low: int
    high: int
    arrow = pa.int64()

    @property
    def dtype(self) -> str:
        if self.low >= 0 and self.high <= 255:
            return "u1"
        return "i4" if self.low >= -(2**31) and self.high < 2**31 else "i8"

    def sample(self, rng: Random, at: Place) -> int:
        return rng.randint(self.low, self.high)

    def alternatives(self, code: Any, at: Place) -> Iterable[int]:
        return (other for other in range(self.low, self.high + 1) if other != code)

    def contains(self, code: Any, at: Place) -> bool:
        return is_integer(code) and bool(self.low <= code <= self.high)

    def describe(self, at: Place) -> str:
        return f"an integer in {self.low}..{self.high}"


@dataclass(frozen=True)
class Flag:
    """Yes or no; the code is 1 or 0."""

    dtype = "u1"
    arrow = pa.bool_()

    def sample(self, rng: Random, at: Place) -> int:
        return rng.getrandbits(1)

    def perturb(self, rng: Random, code: Any, at: Place) -> int:
        return 1 - int(code)

    def alternatives(self, code: Any, at: Place) -> Iterable[int]:
        return (1 - int(code),)

    def contains(self, code: Any, at: Place) -> bool:
        return bool(code in (0, 1))

    def plain(self, code: Any, at: Place) -> bool:
        return bool(code)

    def code(self, plain: Any, at: Place) -> int:
        return int(plain) if isinstance(plain, bool) else -1

    def describe(self, at: Place) -> str:
        return "true or false"


@dataclass(frozen=True)
class IntegerChoice(_SelfCoded):
    """One of a list of integers that are not negative, such as the sizes of a kernel."""

    values: tuple[int, ...]
    arrow = pa.int64()

    @property
    def dtype(self) -> str:
        return "u1" if max(self.values) <= 255 else "i8"

    def sample(self, rng: Random, at: Place) -> int:
        return rng.choice(self.values)

    def perturb(self, rng: Random, code: Any, at: Place) -> int:
        """Another value, where there is one."""
        others = self.alternatives(code, at)
        return rng.choice(others) if others else int(code)

    def alternatives(self, code: Any, at: Place) -> list[int]:
        return [other for other in self.values if other != code]

    def contains(self, code: Any, at: Place) -> bool:
        return is_integer(code) and code in self.values

    def describe(self, at: Place) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Real(_SelfCoded):
    """A finite number, drawn uniformly from (low, high).

    A perturbation is drawn anew, a Gaussian step of size `step`, or a factor exp(N(0, 1)).
    """

    low: float
    high: float
    move: Literal["redraw", "step", "scale"] = "redraw"
    step: float = 1.0
    least: float = -math.inf  # what a perturbed or given value may not pass
    most: float = math.inf
    dtype = "f8"
    arrow = pa.float64()

    def sample(self, rng: Random, at: Place) -> float:
        return rng.uniform(self.low, self.high)

    def perturb(self, rng: Random, code: Any, at: Place) -> float:
        if self.move == "redraw":
            return self.sample(rng, at)
        moved = float(
            code + rng.gauss(0.0, self.step)
            if self.move == "step"
            else code * math.exp(rng.gauss(0.0, self.step))
        )
        return min(max(moved, self.least), self.most) if math.isfinite(moved) else float(code)

    def contains(self, code: Any, at: Place) -> bool:
        low, high = max(self.least, -sys.float_info.max), min(self.most, sys.float_info.max)
        return (
            isinstance(code, (int, float, np.number))
            and not isinstance(code, bool)
            and bool(low <= code <= high)
        )

    def describe(self, at: Place) -> str:
        return (
            "a finite number"
            if math.isinf(self.most)
            else f"a number in {self.least:g}..{self.most:g}"
        )


@dataclass(frozen=True)
class Reference(_SelfCoded):
    """A row above, counted after `inputs` numbers that stand for what exists before the first row;
    or any row of an earlier table.
    """

    table: str | None = None  # None: this table, rows above
    inputs: int = 0
    dtype = "i4"
    arrow = pa.int64()

    def count(self, at: Place) -> int:
        return self.inputs + (at.row if self.table is None else at.rows[self.table])

    def sample(self, rng: Random, at: Place) -> int:
        return rng.randrange(max(self.count(at), 1))

    def alternatives(self, code: Any, at: Place) -> Iterable[int]:
        return (other for other in range(self.count(at)) if other != code)

    def contains(self, code: Any, at: Place) -> bool:
        return is_integer(code) and bool(0 <= code < self.count(at))

    def describe(self, at: Place) -> str:
        return f"a row in 0..{self.count(at) - 1}" + (f" of {self.table}" if self.table else "")


@dataclass(frozen=True)
class Subset:
    """A set of the rows above, at most 64, each in or out with probability 1/2; the code is a bit
    mask, and a perturbation flips one bit.
    """

    dtype = "u8"
    arrow = pa.list_(pa.int64())

    @staticmethod
    def count(at: Place) -> int:
        return min(at.row, 64)

    def sample(self, rng: Random, at: Place) -> int:
        return rng.getrandbits(self.count(at))

    def perturb(self, rng: Random, code: Any, at: Place) -> int:
        return int(code) ^ (1 << rng.randrange(self.count(at))) if self.count(at) else int(code)

    def alternatives(self, code: Any, at: Place) -> Iterable[int]:
        return (int(code) ^ (1 << row) for row in range(self.count(at)))

    def contains(self, code: Any, at: Place) -> bool:
        return is_integer(code) and bool(0 <= int(code) < 1 << self.count(at))

    def plain(self, code: Any, at: Place) -> list[int]:
        return members(int(code))

    def code(self, plain: Any, at: Place) -> int:
        if not isinstance(plain, list) or not all(
            is_integer(row) and 0 <= row < self.count(at) for row in plain
        ):
            return -1
        return sum(1 << row for row in plain) if len(set(plain)) == len(plain) else -1

    def describe(self, at: Place) -> str:
        return (
            f"a list of different rows in 0..{self.count(at) - 1}"
            if self.count(at)
            else "an empty list: there is no row above"
        )


@dataclass(frozen=True)
class Absent:
    """No gene here: the column holds zero and text leaves it out."""

    dtype: str = "u1"
    arrow: pa.DataType = field(default_factory=pa.null)

    def sample(self, rng: Random, at: Place) -> int:
        return 0

    def perturb(self, rng: Random, code: Any, at: Place) -> int:
        return 0

    def alternatives(self, code: Any, at: Place) -> Iterable[int]:
        return ()

    def contains(self, code: Any, at: Place) -> bool:
        return bool(code == 0)

    def plain(self, code: Any, at: Place) -> None:
        return None

    def code(self, plain: Any, at: Place) -> int:
        return 0 if plain is None else -1

    def describe(self, at: Place) -> str:
        return "left out here"


@dataclass(frozen=True)
class Conditional:
    """A domain that depends on a column to the left: `cases` by that column's code."""

    column: str
    cases: Mapping[Any, Domain]
    otherwise: Domain = Absent()

    @cached_property
    def _kinds(self) -> list[Domain]:
        return [
            case for case in [*self.cases.values(), self.otherwise] if not isinstance(case, Absent)
        ]

    @property
    def dtype(self) -> str:
        return (
            np.result_type(*(np.dtype(case.dtype) for case in self._kinds)).str[1:]
            if self._kinds
            else "u1"
        )

    @property
    def arrow(self) -> pa.DataType:
        return self._kinds[0].arrow

    def at(self, at: Place) -> Domain:
        return self.cases.get(item(at.left[self.column]), self.otherwise)

    def sample(self, rng: Random, at: Place) -> Any:
        return self.at(at).sample(rng, at)

    def perturb(self, rng: Random, code: Any, at: Place) -> Any:
        return self.at(at).perturb(rng, code, at)

    def alternatives(self, code: Any, at: Place) -> Iterable[Any]:
        return self.at(at).alternatives(code, at)

    def contains(self, code: Any, at: Place) -> bool:
        return self.at(at).contains(code, at)

    def plain(self, code: Any, at: Place) -> Any:
        return self.at(at).plain(code, at)

    def code(self, plain: Any, at: Place) -> Any:
        return self.at(at).code(plain, at)

    def describe(self, at: Place) -> str:
        return self.at(at).describe(at)


def members(mask: int) -> list[int]:
    """The positions of the bits that are set, rising."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
