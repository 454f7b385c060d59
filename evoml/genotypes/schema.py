"""The genotype layer: declared schemas from which sampling, perturbation, identity, text and
Parquet follow.

A genotype is a few gene tables. A `Schema` declares their columns and the domain of each; four
rules keep the tables honest:

1. A domain reads only columns to its left and rows above, so sampling is one pass and graphs stay
   acyclic.
2. When a gene changes, the genes that depend on it are redrawn.
3. The space supplies the row frame (how many rows, and the columns that are keys), validity and
   canonical form.
4. Rows for one genotype, padded rows for a batch (`evoml.genotypes.population`).

Names, not codes, leave the process: choices are written by name in text and in Parquet, so a new
choice never shifts an old archive.
"""

import math
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from random import Random
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import tomli_w

from evoml.core.errors import InputError

Row = dict[str, Any]  # the genes of one row, by column; choices as codes
Frame = Mapping[str, Sequence[Row]]  # table -> its rows, each holding the key columns only


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
        return _is_integer(code) and bool(self.low <= code <= self.high)

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
        return _is_integer(code) and code in self.values

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
        return _is_integer(code) and bool(0 <= code < self.count(at))

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
        return _is_integer(code) and bool(0 <= int(code) < 1 << self.count(at))

    def plain(self, code: Any, at: Place) -> list[int]:
        return members(int(code))

    def code(self, plain: Any, at: Place) -> int:
        if not isinstance(plain, list) or not all(
            _is_integer(row) and 0 <= row < self.count(at) for row in plain
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
        return self.cases.get(_item(at.left[self.column]), self.otherwise)

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


@dataclass(frozen=True)
class Column:
    """A column of a gene table. A key column is filled by the frame and never mutated."""

    name: str
    domain: Domain
    key: bool = False


@dataclass(frozen=True)
class Table:
    """A gene table: its columns and how many rows it may have, both bounds included."""

    name: str
    columns: tuple[Column, ...]
    least: int = 0
    most: int = 1_000_000

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for column in self.columns:
            needs = column.domain.column if isinstance(column.domain, Conditional) else None
            if needs is not None and needs not in seen:
                raise ValueError(
                    f"{self.name}.{column.name} depends on {needs}, which is not to its left"
                )
            seen.add(column.name)

    @cached_property
    def dtype(self) -> np.dtype:
        """One row as a C struct."""
        return np.dtype([(column.name, column.domain.dtype) for column in self.columns], align=True)

    @cached_property
    def packed(self) -> np.dtype:
        """One row without padding, for hashing and comparison."""
        return np.dtype([(column.name, column.domain.dtype) for column in self.columns])

    @cached_property
    def arrow(self) -> pa.DataType:
        return pa.list_(
            pa.struct([pa.field(column.name, column.domain.arrow) for column in self.columns])
        )


class Genotype:
    """The gene tables of one candidate, read-only.

    Equal genotypes have equal rows in every table.
    """

    __slots__ = ("_bytes", "tables")

    def __init__(self, schema: "Schema", tables: Mapping[str, np.ndarray]) -> None:
        parts = []
        self.tables = {}
        for table in schema.tables:
            rows = np.array(tables[table.name], dtype=table.dtype)
            rows.flags.writeable = False
            self.tables[table.name] = rows
            parts += [len(rows).to_bytes(4, "little"), rows.astype(table.packed).tobytes()]
        self._bytes = b"".join(parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genotype) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"Genotype({', '.join(f'{name}: {len(rows)} rows' for name, rows in self.tables.items())})"  # noqa: E501

    def digest(self) -> str:
        """A hash of the rows as they stand, 16 hexadecimal digits."""
        return blake2b(self._bytes, digest_size=8).hexdigest()


@dataclass(frozen=True)
class Schema:
    """The gene tables of a space, in order; a table may refer to those before it."""

    tables: tuple[Table, ...]

    def __getitem__(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    # -- sampling and variation --------------------------------------------------------------------

    def sample(self, rng: Random, frame: Frame) -> Genotype:
        """A random genotype with the rows of `frame`; key columns are taken from it, every other
        gene is drawn from its domain.
        """
        rows = {table.name: len(frame[table.name]) for table in self.tables}
        return Genotype(
            self,
            {
                table.name: self._sample_rows(rng, table, frame[table.name], rows)
                for table in self.tables
            },
        )

    def _sample_rows(
        self, rng: Random, table: Table, frame: Sequence[Row], rows: Mapping[str, int]
    ) -> np.ndarray:
        out = np.zeros(len(frame), table.dtype)
        for index, keys in enumerate(frame):
            left: Row = {}
            for column in table.columns:
                place = Place(index, left, rows)
                left[column.name] = (
                    keys[column.name] if column.key else column.domain.sample(rng, place)
                )
            out[index] = tuple(left.values())
        return out

    def perturb(self, rng: Random, genotype: Genotype) -> Genotype:
        """A copy in which one gene, uniform over all, has changed, and the genes that depend on it
        are redrawn where they no longer fit.
        """
        genes = [(table, index, column) for table, index, column, _ in self._genes(genotype)]
        if not genes:
            return genotype
        table, index, column = genes[rng.randrange(len(genes))]
        tables = {name: rows.copy() for name, rows in genotype.tables.items()}
        counts = {name: len(rows) for name, rows in tables.items()}
        row = tables[table.name][index]
        left: Row = {}
        changed: set[str] = set()
        for other in table.columns:
            place = Place(index, left, counts)
            if other is column:
                row[other.name] = other.domain.perturb(rng, row[other.name], place)
                changed.add(other.name)
            elif (
                isinstance(other.domain, Conditional)
                and other.domain.column in changed
                and not other.key
            ):
                row[other.name] = other.domain.sample(rng, place)
                changed.add(other.name)
            left[other.name] = row[other.name]
        return Genotype(self, tables)

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Every genotype that differs in one gene, in the order of the genes; those that depend on
        it are redrawn, always alike, where they no longer fit.
        """
        return [
            self._with(genotype, table, index, column, code)
            for table, index, column, place in self._genes(genotype)
            for code in column.domain.alternatives(
                _item(genotype.tables[table.name][index][column.name]), place
            )
        ]

    def _with(
        self, genotype: Genotype, table: Table, index: int, changed: Column, code: Any
    ) -> Genotype:
        rows = genotype.tables[table.name].copy()
        row = rows[index]
        row[changed.name] = code
        if any(isinstance(column.domain, Conditional) for column in table.columns):
            counts = {name: len(each) for name, each in genotype.tables.items()}
            for place, column in self._places(table, index, row, counts):
                fits = (
                    column.key
                    or column is changed
                    or column.domain.contains(_item(row[column.name]), place)
                )
                if not fits:
                    row[column.name] = column.domain.sample(Random(0), place)
        return Genotype(self, {**genotype.tables, table.name: rows})

    def _genes(self, genotype: Genotype) -> Iterable[tuple[Table, int, Column, Place]]:
        """Every gene that may change: not a key, and not a column that holds nothing here."""
        counts = {name: len(rows) for name, rows in genotype.tables.items()}
        for table in self.tables:
            for index, row in enumerate(genotype.tables[table.name]):
                for place, column in self._places(table, index, row, counts):
                    domain = (
                        column.domain.at(place)
                        if isinstance(column.domain, Conditional)
                        else column.domain
                    )
                    if not column.key and not isinstance(domain, Absent):
                        yield table, index, column, place

    @staticmethod
    def _places(
        table: Table, index: int, row: Any, counts: Mapping[str, int]
    ) -> Iterable[tuple[Place, Column]]:
        left: Row = {}
        for column in table.columns:
            yield Place(index, dict(left), counts), column
            left[column.name] = row[column.name]

    # -- validity and identity ---------------------------------------------------------------------

    def violation(self, genotype: Genotype) -> str | None:
        """What is wrong with a genotype, as `table[row].column: what would be right`; None if
        nothing is.
        """
        counts = {name: len(rows) for name, rows in genotype.tables.items()}
        for table in self.tables:
            if not table.least <= counts[table.name] <= table.most:
                return (
                    f"{table.name}: {counts[table.name]} rows, not in {table.least}..{table.most}"
                )
            for index, row in enumerate(genotype.tables[table.name]):
                for place, column in self._places(table, index, row, counts):
                    if not column.domain.contains(_item(row[column.name]), place):
                        return (
                            f"{table.name}[{index}].{column.name}: must be "
                            f"{column.domain.describe(place)}"
                        )
        return None

    def valid_mask(self, tables: Sequence[np.ndarray], sizes: np.ndarray) -> np.ndarray:
        """Of P genotypes which have no `violation`, by whole columns, [P] bool; False also where a
        column cannot be judged so.

        tables and sizes as in `to_arrow`.
        """
        out = np.ones(len(sizes), bool)
        for table, rows, counts in zip(self.tables, tables, sizes.T, strict=True):
            used = np.arange(rows.shape[1]) < counts[:, None]
            right = np.ones(used.shape, bool)
            for column in table.columns:
                right &= _contained(column.domain, rows[column.name], rows)
            out &= (right | ~used).all(1) & (counts >= table.least) & (counts <= table.most)
        return out

    def key(self, genotype: Genotype) -> str:
        """Identity by rows as they stand; a space with a canonical form overrides this."""
        return genotype.digest()

    # -- text --------------------------------------------------------------------------------------

    def plain(self, genotype: Genotype) -> dict[str, list[Row]]:
        """Tables as lists of dictionaries with choices by name; columns that hold nothing are left
        out.
        """
        counts = {name: len(rows) for name, rows in genotype.tables.items()}
        out: dict[str, list[Row]] = {}
        for table in self.tables:
            out[table.name] = [
                {
                    c.name: v
                    for place, c in self._places(table, i, row, counts)
                    if (v := c.domain.plain(_item(row[c.name]), place)) is not None
                }
                for i, row in enumerate(genotype.tables[table.name])
            ]
        return out

    def from_plain(self, tables: Any, where: str) -> Genotype:
        """The inverse of `plain`.

        Raises InputError naming `where`, the table, the row and the column.
        """
        if not isinstance(tables, dict):
            raise InputError(f"{where}: must be a table of gene tables")
        unknown = sorted(set(tables) - {table.name for table in self.tables})
        if unknown:
            raise InputError(
                f"{where}: {unknown[0]}: no such table; there are "
                f"{', '.join(table.name for table in self.tables)}"
            )
        given = {table.name: tables.get(table.name, []) for table in self.tables}
        for name, rows in given.items():
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise InputError(f"{where}: {name}: must be an array of tables")
        counts = {name: len(rows) for name, rows in given.items()}
        out = {
            table.name: self._rows_from_plain(table, given[table.name], counts, where)
            for table in self.tables
        }
        genotype = Genotype(self, out)
        violation = self.violation(genotype)
        if violation:
            raise InputError(f"{where}: {violation}")
        return genotype

    @staticmethod
    def _rows_from_plain(
        table: Table, given: Sequence[Row], counts: Mapping[str, int], where: str
    ) -> np.ndarray:
        out = np.zeros(len(given), table.dtype)
        for index, row in enumerate(given):
            left: Row = {}
            unknown = sorted(set(row) - {column.name for column in table.columns})
            if unknown:
                raise InputError(f"{where}: {table.name}[{index}].{unknown[0]}: no such column")
            for column in table.columns:
                place = Place(index, left, counts)
                code = column.domain.code(row.get(column.name), place)
                if not column.domain.contains(code, place):
                    shown = f"{row[column.name]!r}: " if column.name in row else "missing; "
                    raise InputError(
                        f"{where}: {table.name}[{index}].{column.name}: {shown}must be "
                        f"{column.domain.describe(place)}"
                    )
                left[column.name] = code
            out[index] = tuple(left.values())
        return out

    def format(self, genotype: Genotype) -> str:
        """TOML: one array of tables a gene table, choices by name."""
        return toml({name: rows for name, rows in self.plain(genotype).items() if rows})

    def parse(self, text: str, where: str = "genotype") -> Genotype:
        """The inverse of `format`. Raises InputError."""
        try:
            tables = tomllib.loads(text)
        # not TOML, or an integer or a nesting beyond Python's limits
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: {error}") from None
        return self.from_plain(tables, where)

    # -- Parquet -----------------------------------------------------------------------------------

    @cached_property
    def arrow(self) -> pa.DataType:
        """A struct of one list<struct> a gene table; choices are strings."""
        return pa.struct([pa.field(table.name, table.arrow) for table in self.tables])

    def to_arrow(self, tables: Sequence[np.ndarray], sizes: np.ndarray) -> pa.Array:
        """P genotypes as an Arrow array of type `arrow`.

        tables: [P, R] padded rows a gene table; sizes: [P, tables] rows in use.
        """
        lists = []
        for table, rows, counts in zip(self.tables, tables, sizes.T, strict=True):
            flat = rows[np.arange(rows.shape[1]) < counts[:, None]]
            fields = [pa.field(column.name, column.domain.arrow) for column in table.columns]
            columns = [
                _column_to_arrow(column.domain, flat, column.name) for column in table.columns
            ]
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            lists.append(
                pa.ListArray.from_arrays(
                    offsets, pa.StructArray.from_arrays(columns, fields=fields)
                )
            )
        return pa.StructArray.from_arrays(
            lists, fields=[pa.field(table.name, table.arrow) for table in self.tables]
        )

    def from_arrow(self, array: pa.Array, where: str) -> list[Genotype]:
        """The inverse of `to_arrow`.

        Raises InputError naming `where` for a column, a name or a value that this schema does not
        have.
        """
        out = []
        for index, tables in enumerate(array.to_pylist()):
            place = f"{where}: row {index}"
            if tables is None:
                raise InputError(f"{place}: no genotype")
            out.append(self.from_plain(_filled(tables), place))
        return out


def _column_to_arrow(domain: Domain, rows: np.ndarray, name: str) -> pa.Array:
    """One column of flat rows as Arrow: choices by name, null where a column holds nothing."""
    values = rows[name]
    if isinstance(domain, Choice):
        return pa.DictionaryArray.from_arrays(
            pa.array(values.astype(np.int32)), pa.array(domain.names, pa.string())
        ).dictionary_decode()
    if isinstance(domain, Subset):
        bits = (values[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)  # [rows, 64]
        offsets = np.concatenate([[0], np.cumsum(bits.sum(1))]).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(np.nonzero(bits)[1], pa.int64()))
    if not isinstance(domain, Conditional):
        return pa.array(values.astype(bool) if isinstance(domain, Flag) else values, domain.arrow)
    codes, which = np.unique(rows[domain.column], return_inverse=True)
    cases = [domain.cases.get(code.item(), domain.otherwise) for code in codes]
    if domain.arrow in (pa.string(), Subset.arrow):
        place = Place(0, {}, {})
        return pa.array(
            [cases[at].plain(_item(value), place) for at, value in zip(which, values, strict=True)],
            domain.arrow,
        )
    nothing = np.array([isinstance(case, Absent) for case in cases], bool)
    return pa.array(values, domain.arrow, mask=nothing[which] if len(which) else np.zeros(0, bool))


def _contained(domain: Domain, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which values of one column are in a domain; False for domains that need the place of a
    value.
    """
    if isinstance(domain, Conditional):
        out = np.zeros(values.shape, bool)
        for code in np.unique(rows[domain.column]):
            case = domain.cases.get(code.item(), domain.otherwise)
            out |= (rows[domain.column] == code) & _contained(case, values, rows)
        return out
    if isinstance(domain, Choice):
        return values < len(domain.names)
    if isinstance(domain, Integer):
        return (values >= domain.low) & (values <= domain.high)
    if isinstance(domain, Real):
        return np.isfinite(values) & (values >= domain.least) & (values <= domain.most)
    if isinstance(domain, Flag):
        return values <= 1
    return values == 0 if isinstance(domain, Absent) else np.zeros(values.shape, bool)


def _filled(value: Any) -> Any:
    """Without the nulls that Arrow gives where a column holds nothing."""
    if isinstance(value, dict):
        return {name: _filled(each) for name, each in value.items() if each is not None}
    return [_filled(each) for each in value] if isinstance(value, list) else value


def toml(tables: Mapping[str, Any]) -> str:
    """TOML with lists of integers, and lists of those, on one line."""
    text = tomli_w.dumps(tables)
    for _ in range(2):
        text = _LIST.sub(
            lambda match: (
                f"[{', '.join(line.strip().rstrip(',') for line in match[1].splitlines())}]"
            ),
            text,
        )
    return text


_LIST = re.compile(r"\[\n((?:\s*(?:-?\d+|\[[-\d, ]*\]),\n)+)\s*\]")


def members(mask: int) -> list[int]:
    """The positions of the bits that are set, rising."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
