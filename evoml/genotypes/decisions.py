"""Decisions: a genotype as a sequence of questions, and who answers them.

A domain reads only columns to its left and rows above, so genes can be asked for one after another.
Random sampling answers with dice, a controller with a policy, a replay with the genes of a genotype
that there is already.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from evoml.core.streams import generator
from evoml.genotypes.domains import Domain, Integer, Place, item

if TYPE_CHECKING:
    from evoml.genotypes.schema import Genotype

FRAME = -1  # the row of decisions that are made before there are rows


class Decision(Place):
    """One gene to be decided, or how many rows a table has; the place of the gene to its domain.

    `left` is filled as the row is decided: later it holds the genes to the right too.
    """

    __slots__ = ("column", "domain", "table")

    def __init__(
        self,
        row: int,
        left: Mapping[str, Any],
        rows: Mapping[str, int],
        table: str,
        column: str,
        domain: Domain,
    ) -> None:
        """row, left, rows: of the place; domain: of the column."""
        self.row, self.left, self.rows = row, left, rows
        self.table, self.column = table, column
        # the one that holds here
        self.domain = domain.at(self) if domain.depends_on else domain

    @property
    def kind(self) -> str:
        """choice, number, reference (to an earlier row), subset (of earlier rows), or rows (how
        many a table has); a domain from elsewhere may say something else.
        """
        return self.domain.kind

    @property
    def codes(self) -> Sequence[int] | None:
        """The codes that are allowed, at least one; None where there are not finitely many.

        Where they follow one another, this is a range: a subset of 64 rows has 2 ** 64.
        """
        options = self.domain.options(self)
        return options if options is None else options or (0,)

    @property
    def members(self) -> Sequence[int]:
        """Of a subset: the earlier rows, each in or out; row i is bit 1 << i of the code."""
        return self.domain.members(self)

    def code_in(self, genotype: "Genotype") -> Any:
        """How a genotype answers it."""
        rows = genotype.tables[self.table]
        return len(rows) if self.row == FRAME else item(rows[self.row][self.column])


Choose = Callable[[Decision], Any]  # answers a decision with one of its codes


class RowCount(Integer):
    """How many rows a table has."""

    kind = "rows"


def count_rows(choose: Choose, table: str, least: int, most: int) -> int:
    """How many rows a table gets, from least to most; asked for where that is open."""
    if least == most:
        return least
    return int(choose(Decision(FRAME, {}, {}, table, "", RowCount(least, most))))


def replay(decisions: Iterable[tuple[Decision, Any]]) -> Choose:
    """Answers as it was decided before, in the same order."""
    codes = iter([code for _, code in decisions])
    return lambda _: next(codes)


def dice(stream: int) -> Choose:
    """Answers every decision at random, from one stream.

    Numbers of rows and genes have a generator each, so that genes are the same whatever was open.
    """
    genes, rows = generator(stream), cache(lambda: generator(stream))

    def choose(decision: Decision) -> Any:
        return decision.domain.sample(genes if decision.row >= 0 else rows(), decision)

    return choose
