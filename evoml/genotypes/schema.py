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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from hashlib import blake2b
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from evoml.core.errors import InputError
from evoml.genotypes.arrow import tables_to_arrow, without_nulls
from evoml.genotypes.decisions import Choose, Decision, count_rows
from evoml.genotypes.domains import Domain
from evoml.genotypes.text import tables_from_plain, toml

Row = dict[str, Any]  # the genes of one row, by column; choices as codes
Frame = Mapping[str, Sequence[Row]]  # table -> its rows, each holding the key columns only


@dataclass(frozen=True)
class Column:
    """A column of a gene table. A key column is filled by the frame and never mutated."""

    name: str
    domain: Domain
    key: bool = False


OPEN = 1_000_000  # rows of a table that may grow without end


@dataclass(frozen=True)
class Table:
    """A gene table: its columns and how many rows it may have, both bounds included."""

    name: str
    columns: tuple[Column, ...]
    least: int = 0
    most: int = OPEN

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for column in self.columns:
            if missing := sorted({*column.domain.depends_on} - seen):
                raise ValueError(
                    f"{self.name}.{column.name} depends on {missing[0]}, which is not to its left"
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

    # -- decisions ---------------------------------------------------------------------------------

    def frame(self, choose: Choose) -> Frame:
        """As many rows as every table has, for tables without key columns; `choose` answers where
        that is open.
        """
        return {
            table.name: [{}] * count_rows(choose, table.name, table.least, table.most)
            for table in self.tables
        }

    def decide(self, frame: Frame, choose: Choose) -> Genotype:
        """The genotype of the rows of `frame` whose genes are what `choose` answers, one after
        another: table after table, row after row, column after column.

        Key columns are taken from the frame. Whatever is answered is taken: `violation` tells
        whether it was allowed.
        """
        counts = {table.name: len(frame[table.name]) for table in self.tables}
        tables = {}
        for table in self.tables:
            where, rows = table.name, np.zeros(counts[table.name], table.dtype)
            for index, keys in enumerate(frame[where]):
                left: Row = {}
                for column in table.columns:
                    name = column.name
                    if column.key:
                        left[name] = keys[name]
                        continue
                    decision = Decision(index, left, counts, where, name, column.domain)
                    left[name] = 0 if decision.domain.empty else choose(decision)
                rows[index] = tuple(left.values())
            tables[where] = rows
        return Genotype(self, tables)

    def decisions(self, genotype: Genotype) -> Iterator[tuple[Decision, Any]]:
        """What `decide` asks for the rows of a genotype, each with the genotype's answer.

        An answer may be allowed without being among the codes, which are those that are drawn.
        """
        for column, decision, code in self._genes(genotype):
            if not column.key and not decision.domain.empty:
                yield decision, code

    def _genes(self, genotype: Genotype) -> Iterator[tuple[Column, Decision, Any]]:
        """Every column of every row, with its code."""
        counts = {name: len(rows) for name, rows in genotype.tables.items()}
        for table in self.tables:
            for index, row in enumerate(genotype.tables[table.name].tolist()):
                left: Row = {}
                for column, code in zip(table.columns, row, strict=True):
                    here = Decision(index, left, counts, table.name, column.name, column.domain)
                    yield column, here, code
                    left[column.name] = code

    # -- sampling and variation --------------------------------------------------------------------

    def sample(self, rng: Random, frame: Frame) -> Genotype:
        """A random genotype with the rows of `frame`: decided by dice."""
        return self.decide(frame, lambda decision: decision.domain.sample(rng, decision))

    def perturb(self, rng: Random, genotype: Genotype) -> Genotype:
        """A copy in which one gene, uniform over all, has changed, and the genes that depend on it
        are redrawn.
        """
        genes = list(self.decisions(genotype))
        if not genes:
            return genotype
        gene, code = genes[rng.randrange(len(genes))]
        changed = {gene.column}

        def redrawn(column: Column, here: Decision, code: Any) -> Any:
            if not changed.intersection(column.domain.depends_on):
                return code
            changed.add(column.name)
            return here.domain.sample(rng, here)

        return self._with(genotype, gene, gene.domain.perturb(rng, code, gene), redrawn)

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Every genotype that differs in one gene, in the order of the genes; those that depend on
        it are redrawn, always alike, where they no longer fit.
        """

        def fitting(column: Column, here: Decision, code: Any) -> Any:
            fits = here.domain.contains(code, here)
            return code if fits else here.domain.sample(Random(0), here)

        return [
            self._with(genotype, gene, other, fitting)
            for gene, code in self.decisions(genotype)
            for other in gene.domain.alternatives(code, gene)
        ]

    def _with(
        self,
        genotype: Genotype,
        gene: Decision,
        code: Any,
        others: Callable[[Column, Decision, Any], Any],
    ) -> Genotype:
        """With another code for one gene; `others` says what becomes of the genes to its right."""
        table, rows = self[gene.table], genotype.tables[gene.table].copy()
        left: Row = {}
        for column, old in zip(table.columns, rows[gene.row].tolist(), strict=True):
            new = code if column.name == gene.column else old
            if column.domain.depends_on and gene.column in left and not column.key:
                here = Decision(gene.row, left, gene.rows, table.name, column.name, column.domain)
                new = others(column, here, old)
            left[column.name] = new
        rows[gene.row] = tuple(left.values())
        return Genotype(self, {**genotype.tables, table.name: rows})

    # -- validity and identity ---------------------------------------------------------------------

    def violation(self, genotype: Genotype) -> str | None:
        """What is wrong with a genotype, as `table[row].column: what would be right`; None if
        nothing is.
        """
        for table in self.tables:
            count = len(genotype.tables[table.name])
            if not table.least <= count <= table.most:
                return f"{table.name}: {count} rows, not in {table.least}..{table.most}"
        for column, here, code in self._genes(genotype):
            if not here.domain.contains(code, here):
                return (
                    f"{here.table}[{here.row}].{column.name}: must be {here.domain.describe(here)}"
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
                right &= column.domain.contained(rows[column.name], rows)
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
        out: dict[str, list[Row]] = {
            name: [{} for _ in rows] for name, rows in genotype.tables.items()
        }
        for column, here, code in self._genes(genotype):
            if (value := here.domain.plain(code, here)) is not None:
                out[here.table][here.row][column.name] = value
        return out

    def from_plain(self, tables: Any, where: str) -> Genotype:
        """The inverse of `plain`.

        Raises InputError naming `where`, the table, the row and the column.
        """
        genotype = Genotype(self, tables_from_plain(self.tables, tables, where))
        if violation := self.violation(genotype):
            raise InputError(f"{where}: {violation}")
        return genotype

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

    def changes(self, one: Genotype, other: Genotype) -> list[str]:
        """What the other has that one has not, a line each: genes that differ, and rows that are
        there more or less. Values are by name.
        """
        out = []
        for name, before in self.plain(one).items():
            after = self.plain(other)[name]
            old_rows, new_rows = ([_row_text(row) for row in rows] for rows in (before, after))
            matcher = SequenceMatcher(None, old_rows, new_rows, autojunk=False)
            for kind, first, last, start, end in matcher.get_opcodes():
                if kind == "replace" and last - first == end - start:
                    pairs = zip(range(first, last), before[first:last], after[start:end])
                    out += [
                        f"{name}[{at}].{column}: {old.get(column, '-')} -> {new.get(column, '-')}"
                        for at, old, new in pairs
                        for column in {**old, **new}
                        if old.get(column) != new.get(column)
                    ]
                elif kind != "equal":
                    out += [
                        f"{name}[{at}] gone: {_row_text(before[at])}" for at in range(first, last)
                    ]
                    out += [f"{name}[{at}] new: {_row_text(after[at])}" for at in range(start, end)]
        return out

    # -- Parquet -----------------------------------------------------------------------------------

    @cached_property
    def arrow(self) -> pa.DataType:
        """A struct of one list<struct> a gene table; choices are strings."""
        return pa.struct([pa.field(table.name, table.arrow) for table in self.tables])

    def to_arrow(self, tables: Sequence[np.ndarray], sizes: np.ndarray) -> pa.Array:
        """P genotypes as an Arrow array of type `arrow`.

        tables: [P, R] padded rows a gene table; sizes: [P, tables] rows in use.
        """
        return tables_to_arrow(self.tables, tables, sizes)

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
            out.append(self.from_plain(without_nulls(tables), place))
        return out


def _row_text(row: Row) -> str:
    return ", ".join(f"{column} {value}" for column, value in row.items())
