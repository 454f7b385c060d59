"""Domains: the values a gene may take, and how they are drawn, changed, checked and written.

A domain says everything about itself; a new one is one class that gives `dtype`, `arrow`, `options`
and `describe`, and what it does otherwise than `Domain`.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa


@dataclass(slots=True, eq=False)
class Place:
    """What a domain may read: the row's index, the genes to its left, and how many rows every table
    has.
    """

    row: int
    left: Mapping[str, Any]
    rows: Mapping[str, int]


class Domain(ABC):
    """The values a gene may take.

    A code is what the table holds, an integer where there are finitely many; `plain` is what text
    and Parquet hold. `at` is always the place of the gene.
    """

    # what is decided: choice, number, reference, subset, or rows (how many)
    kind: ClassVar[str] = "choice"
    empty: ClassVar[bool] = False  # whether there is no gene here: the code is 0 and is not drawn
    depends_on: tuple[str, ...] = ()  # columns to the left that say which values there are

    @property
    @abstractmethod
    def dtype(self) -> str:
        """NumPy's type of the codes, without byte order."""

    @property
    @abstractmethod
    def arrow(self) -> pa.DataType:
        """Arrow's type of the plain values."""

    @abstractmethod
    def options(self, at: Place) -> Sequence[int] | None:
        """The codes that are drawn from, all as likely; None where there is no end of them.

        Empty where nothing is ever drawn; the gene is then 0.
        """

    @abstractmethod
    def describe(self, at: Place) -> str:
        """What would be right, for a message: `must be ...`."""

    def at(self, at: Place) -> "Domain":
        """The domain that holds at a place; another only where `depends_on` says so."""
        return self

    def members(self, at: Place) -> Sequence[int]:
        """Of a subset: the rows that are in or out, each by its bit; else empty."""
        return ()

    def sample(self, rng: Random, at: Place) -> Any:
        """A random code. A domain without finitely many options must override this."""
        options = self.options(at)
        return rng.choice(options) if options else 0

    def perturb(self, rng: Random, code: Any, at: Place) -> Any:
        """A changed code: another of the options where there is one."""
        if self.options(at) is None:
            return self.sample(rng, at)
        others = list(self.alternatives(code, at))
        return rng.choice(others) if others else item(code)

    def alternatives(self, code: Any, at: Place) -> Iterable[Any]:
        """The codes that local search tries instead of this one; none where there is no end of
        them.
        """
        return (other for other in self.options(at) or () if other != code)

    def contains(self, code: Any, at: Place) -> bool:
        """Whether a code, of whatever type, may stand here."""
        return is_integer(code) and int(code) in (self.options(at) or ())

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Which codes of a column may stand there, as far as that can be told without their places;
        False where it cannot.

        values: codes, of any shape; rows: the rows they are of, same shape. bool, same shape.
        """
        return np.zeros(values.shape, bool)

    def plain(self, code: Any, at: Place) -> Any:
        """The value of a code in text and in Parquet; None: it is left out."""
        return item(code)

    def code(self, plain: Any, at: Place) -> Any:
        """The inverse of `plain`; for any other value, something that `contains` refuses."""
        return plain

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        """Plain values of a column. values: codes, [n]; rows: the rows they are of, [n]."""
        return pa.array(values, self.arrow)


@dataclass(frozen=True)
class Choice(Domain):
    """One of a list of names; the code is the position in the list.

    `drawn`: the codes that sampling draws from (none: the code stays 0).
    """

    names: tuple[str, ...]
    drawn: tuple[int, ...] | None = None
    arrow = pa.string()

    @property
    def dtype(self) -> str:
        return "u1" if len(self.names) <= 256 else "u2"

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    def options(self, at: Place) -> Sequence[int]:
        return range(len(self.names)) if self.drawn is None else self.drawn

    def contains(self, code: Any, at: Place) -> bool:
        return bool(0 <= code < len(self.names))

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values < len(self.names)

    def plain(self, code: int, at: Place) -> str:
        return self.names[code]

    def code(self, plain: Any, at: Place) -> int:
        return self._codes.get(plain, -1) if isinstance(plain, str) else -1

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        return pa.DictionaryArray.from_arrays(
            pa.array(values.astype(np.int32)), pa.array(self.names, pa.string())
        ).dictionary_decode()

    def describe(self, at: Place) -> str:
        return f"one of {', '.join(self.names[:12])}{', ...' if len(self.names) > 12 else ''}"


@dataclass(frozen=True)
class Integer(Domain):
    """An integer in low..high, both included; a perturbation draws it anew."""

    low: int
    high: int
    kind = "number"
    arrow = pa.int64()

    @property
    def dtype(self) -> str:
        if self.low >= 0 and self.high <= 255:
            return "u1"
        return "i4" if self.low >= -(2**31) and self.high < 2**31 else "i8"

    def options(self, at: Place) -> Sequence[int]:
        return range(self.low, self.high + 1)

    def perturb(self, rng: Random, code: Any, at: Place) -> Any:
        return self.sample(rng, at)

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return (values >= self.low) & (values <= self.high)

    def describe(self, at: Place) -> str:
        return f"an integer in {self.low}..{self.high}"


@dataclass(frozen=True)
class Flag(Domain):
    """Yes or no; the code is 1 or 0."""

    dtype = "u1"
    arrow = pa.bool_()

    def options(self, at: Place) -> Sequence[int]:
        return (0, 1)

    def sample(self, rng: Random, at: Place) -> int:
        return rng.getrandbits(1)

    def perturb(self, rng: Random, code: Any, at: Place) -> int:
        return 1 - int(code)

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values <= 1

    def plain(self, code: Any, at: Place) -> bool:
        return bool(code)

    def code(self, plain: Any, at: Place) -> int:
        return int(plain) if isinstance(plain, bool) else -1

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        return pa.array(values.astype(bool), self.arrow)

    def describe(self, at: Place) -> str:
        return "true or false"


@dataclass(frozen=True)
class IntegerChoice(Domain):
    """One of a list of integers that are not negative, such as the sizes of a kernel."""

    values: tuple[int, ...]
    arrow = pa.int64()

    @property
    def dtype(self) -> str:
        return "u1" if max(self.values) <= 255 else "i8"

    def options(self, at: Place) -> Sequence[int]:
        return self.values

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.isin(values, self.values)

    def describe(self, at: Place) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Real(Domain):
    """A finite number, drawn uniformly from (low, high).

    A perturbation is drawn anew, a Gaussian step of size `step`, or a factor exp(N(0, 1)).
    """

    low: float
    high: float
    move: Literal["redraw", "step", "scale"] = "redraw"
    step: float = 1.0
    least: float = -math.inf  # what a perturbed or given value may not pass
    most: float = math.inf
    kind = "number"
    dtype = "f8"
    arrow = pa.float64()

    def options(self, at: Place) -> None:
        return None

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

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.isfinite(values) & (values >= self.least) & (values <= self.most)

    def describe(self, at: Place) -> str:
        return (
            "a finite number"
            if math.isinf(self.most)
            else f"a number in {self.least:g}..{self.most:g}"
        )


@dataclass(frozen=True)
class Reference(Domain):
    """A row above, counted after `inputs` numbers that stand for what exists before the first row;
    or any row of an earlier table. A perturbation draws it anew.
    """

    table: str | None = None  # None: this table, rows above
    inputs: int = 0
    kind = "reference"
    dtype = "i4"
    arrow = pa.int64()

    def options(self, at: Place) -> Sequence[int]:
        return range(self.inputs + (at.row if self.table is None else at.rows[self.table]))

    def sample(self, rng: Random, at: Place) -> int:
        return rng.randrange(max(len(self.options(at)), 1))

    def perturb(self, rng: Random, code: Any, at: Place) -> Any:
        return self.sample(rng, at)

    def describe(self, at: Place) -> str:
        return f"a row in 0..{len(self.options(at)) - 1}" + (
            f" of {self.table}" if self.table else ""
        )


@dataclass(frozen=True)
class Subset(Domain):
    """A set of the rows above, at most 64, each in or out with probability 1/2; the code is a bit
    mask, and a perturbation flips one bit.
    """

    kind = "subset"
    dtype = "u8"
    arrow = pa.list_(pa.int64())

    def members(self, at: Place) -> Sequence[int]:
        return range(min(at.row, 64))

    def options(self, at: Place) -> Sequence[int]:
        return range(1 << len(self.members(at)))

    def sample(self, rng: Random, at: Place) -> int:
        return rng.getrandbits(min(at.row, 64))

    def perturb(self, rng: Random, code: Any, at: Place) -> int:
        count = len(self.members(at))
        return int(code) ^ (1 << rng.randrange(count)) if count else int(code)

    def alternatives(self, code: Any, at: Place) -> Iterable[int]:
        return (int(code) ^ (1 << row) for row in self.members(at))

    def plain(self, code: Any, at: Place) -> list[int]:
        return members(int(code))

    def code(self, plain: Any, at: Place) -> int:
        if not isinstance(plain, list) or not all(
            is_integer(row) and row in self.members(at) for row in plain
        ):
            return -1
        return sum(1 << row for row in plain) if len(set(plain)) == len(plain) else -1

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        bits = (values[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)  # [n, 64]
        offsets = np.concatenate([[0], np.cumsum(bits.sum(1))]).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(np.nonzero(bits)[1], pa.int64()))

    def describe(self, at: Place) -> str:
        count = len(self.members(at))
        return (
            f"a list of different rows in 0..{count - 1}"
            if count
            else "an empty list: there is no row above"
        )


@dataclass(frozen=True)
class Absent(Domain):
    """No gene here: the column holds zero and text leaves it out."""

    empty = True
    dtype = "u1"
    arrow = pa.null()

    def options(self, at: Place) -> Sequence[int]:
        return ()

    def contains(self, code: Any, at: Place) -> bool:
        return bool(code == 0)

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values == 0

    def plain(self, code: Any, at: Place) -> None:
        return None

    def code(self, plain: Any, at: Place) -> int:
        return 0 if plain is None else -1

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        return pa.nulls(len(values))

    def describe(self, at: Place) -> str:
        return "left out here"


@dataclass(frozen=True)
class Conditional(Domain):
    """A domain that depends on a column to the left: `cases` by that column's code."""

    column: str
    cases: Mapping[Any, Domain]
    otherwise: Domain = Absent()

    @property
    def depends_on(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.column,)

    @cached_property
    def _genes(self) -> list[Domain]:
        return [case for case in (*self.cases.values(), self.otherwise) if not case.empty]

    @property
    def dtype(self) -> str:
        kinds = [np.dtype(case.dtype) for case in self._genes]
        return np.result_type(*kinds).str[1:] if kinds else "u1"

    @property
    def arrow(self) -> pa.DataType:
        return self._genes[0].arrow

    def at(self, at: Place) -> Domain:
        return self.cases.get(item(at.left[self.column]), self.otherwise).at(at)

    def options(self, at: Place) -> Sequence[int] | None:
        return self.at(at).options(at)

    def members(self, at: Place) -> Sequence[int]:
        return self.at(at).members(at)

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

    @cached_property
    def _distinct(self) -> tuple[list[Domain], dict[Any, int]]:
        """The cases, `otherwise` first and equal ones once; and by code, which of them it is."""
        cases = [self.otherwise]
        for case in self.cases.values():
            cases += [case] * (case not in cases)
        return cases, {code: cases.index(case) for code, case in self.cases.items()}

    def _which(self, rows: np.ndarray) -> np.ndarray:
        """The number of every row's case, of the shape of rows."""
        codes, which = np.unique(rows[self.column], return_inverse=True)
        numbers = [self._distinct[1].get(code, 0) for code in codes.tolist()]
        return np.array(numbers, np.int64)[which.reshape(rows.shape)]

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out, which = np.zeros(values.shape, bool), self._which(rows)
        for number, case in enumerate(self._distinct[0]):
            out |= (which == number) & case.contained(values, rows)
        return out

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        cases, which = self._distinct[0], self._which(rows)
        # where codes are stored as they stand, all in one piece: archives have many such columns
        if all(case.empty or type(case).to_arrow is Domain.to_arrow for case in cases):
            missing = np.array([case.empty for case in cases])[which]
            return pa.array(values, self.arrow, mask=missing)
        masks = [which == number for number in range(len(cases))]
        parts = [
            case.to_arrow(values[theirs], rows[theirs])
            for case, theirs in zip(cases, masks, strict=True)
        ]
        order = np.concatenate([np.flatnonzero(theirs) for theirs in masks])
        return pa.concat_arrays([part.cast(self.arrow) for part in parts]).take(
            pa.array(order.argsort())
        )


def members(mask: int) -> list[int]:
    """The positions of the bits that are set, rising."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def item(value: Any) -> Any:
    """A number of NumPy's as one of Python's; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value
