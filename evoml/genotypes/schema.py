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

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from evoml.core.errors import InputError
from evoml.genotypes.arrow import column_to_arrow, contained, filled
from evoml.genotypes.domains import Absent, Conditional, Domain, Place, item
from evoml.genotypes.text import toml

Row = dict[str, Any]  # the genes of one row, by column; choices as codes
Frame = Mapping[str, Sequence[Row]]  # table -> its rows, each holding the key columns only


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
                item(genotype.tables[table.name][index][column.name]), place
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
                    or column.domain.contains(item(row[column.name]), place)
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
                    if not column.domain.contains(item(row[column.name]), place):
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
                right &= contained(column.domain, rows[column.name], rows)
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
                    if (v := c.domain.plain(item(row[c.name]), place)) is not None
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
                column_to_arrow(column.domain, flat, column.name) for column in table.columns
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
            out.append(self.from_plain(filled(tables), place))
        return out
