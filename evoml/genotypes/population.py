"""Populations: many genotypes as one struct of arrays, and the individual that DEAP's tools see.

A gene table of P genotypes is padded to a common number of rows `[P, R]` beside `sizes`, not packed
with offsets: an individual can then be replaced in place, which is what aging evolution does with
every child. Parquet gets `list<struct>` all the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, overload

import numpy as np
from deap import base

from evoml.core.errors import InputError
from evoml.core.wording import plural
from evoml.genotypes.schema import OPEN, Genotype, Schema

# How an evaluation ended: `diverged` is a fitness of zero, no task survived; `over_budget` was too
# costly to be run.
STATUS = ("pending", "ok", "diverged", "timed_out", "crashed", "over_budget")
PENDING, OK, DIVERGED, TIMED_OUT, CRASHED, OVER_BUDGET = range(len(STATUS))


@cache
def fitness_class(weights: tuple[float, ...] = (1.0,)) -> type[base.Fitness]:
    """DEAP's fitness with these weights; NaN is refused, since in DEAP it would win every
    tournament.
    """

    class Fitness(base.Fitness):
        def setValues(self, values: Sequence[float]) -> None:
            if any(np.isnan(value) for value in values):
                raise ValueError("a fitness may not be NaN: give the worst value and a status")
            if len(values) != len(weights):
                raise InputError(_unequal(len(values), len(weights)))
            base.Fitness.setValues(self, values)

        def getValues(self) -> tuple[float, ...]:
            return base.Fitness.getValues(self)

        values = property(getValues, setValues, base.Fitness.delValues)

    Fitness.weights = weights
    return Fitness


class Individual:
    """A candidate as DEAP sees it: a genotype with a fitness, an identity and a birth.

    Mutation replaces `genotype`, which is immutable.
    """

    def __init__(
        self,
        genotype: Genotype,
        fitness: base.Fitness,
        id: int = -1,
        birth: int = -1,
        parents: tuple[int, ...] = (),
    ) -> None:
        self.genotype = genotype
        self.fitness = fitness
        self.id = id
        self.birth = birth
        self.parents = parents
        self._status = OK

    @property
    def status(self) -> int:
        """How its evaluation ended: a position in STATUS."""
        return self._status if self.fitness.valid else PENDING

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Individual) and self.genotype == other.genotype

    def __hash__(self) -> int:
        return hash(self.genotype)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Individual":
        clone = type(self)(
            self.genotype, deepcopy(self.fitness, memo), self.id, self.birth, self.parents
        )
        clone._status = self._status
        return clone


class Population(Sequence[Individual]):
    """P genotypes of one schema.

    Every array has P as its first axis; `put` writes in place, everything else copies.
    """

    def __init__(
        self,
        schema: Schema,
        size: int,
        capacity: Sequence[int] | None = None,
        weights: tuple[float, ...] = (1.0,),
    ) -> None:
        """`capacity`: rows reserved a table; default each table's maximum, 0 where it is open."""
        self.schema = schema
        self.weights = weights
        rows = [table.most % OPEN for table in schema.tables] if capacity is None else capacity
        # [P, R] each
        self.tables = tuple(
            np.zeros((size, count), table.dtype)
            for table, count in zip(schema.tables, rows, strict=True)
        )
        self.sizes = np.zeros((size, len(schema.tables)), np.int64)  # [P, tables]
        self.fitness = np.full((size, len(weights)), np.nan)  # [P, O]
        self.ids = np.full(size, -1, np.int64)
        self.birth = np.full(size, -1, np.int64)
        self.parents = np.full((size, 2), -1, np.int64)  # -1: none
        self.status = np.zeros(size, np.uint8)

    @classmethod
    def of(
        cls, schema: Schema, genotypes: Iterable[Genotype], weights: tuple[float, ...] = (1.0,)
    ) -> "Population":
        """A population of these genotypes, not evaluated."""
        members = list(genotypes)
        capacity = [max((len(g.tables[t.name]) for g in members), default=0) for t in schema.tables]
        capacity = [max(c, t.most % OPEN) for c, t in zip(capacity, schema.tables, strict=True)]
        out = cls(schema, len(members), capacity, weights)
        for index, genotype in enumerate(members):
            for column, table in enumerate(schema.tables):
                rows = genotype.tables[table.name]
                out.tables[column][index, : len(rows)] = rows
                out.sizes[index, column] = len(rows)
        return out

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return (
            *self.tables,
            self.sizes,
            self.fitness,
            self.ids,
            self.birth,
            self.parents,
            self.status,
        )

    def put(self, at: np.ndarray, others: "Population") -> None:
        """Replace the members `at` by `others`, in order; tables that are open grow.

        Raises InputError where these have other objectives.
        """
        if others.weights != self.weights:
            raise InputError(
                f"objectives: weights {others.weights} in a population of {self.weights}; a "
                "toolbox makes individuals with its evaluator's"
            )
        self._widen([table.shape[1] for table in others.tables])
        for mine, theirs in zip(self._arrays(), others._arrays(), strict=True):
            if mine.shape[1:] == theirs.shape[1:]:
                mine[at] = theirs
            else:  # rows beyond a member's own are nobody's
                mine[at, : theirs.shape[1]] = theirs

    def _widen(self, rows: Sequence[int]) -> None:
        """Reserve at least so many rows a table."""
        if any(table.shape[1] < count for table, count in zip(self.tables, rows, strict=True)):
            self.tables = tuple(
                np.concatenate([table, np.zeros((len(self), count), table.dtype)], 1)
                if (count := wanted - table.shape[1]) > 0
                else table
                for table, wanted in zip(self.tables, rows, strict=True)
            )

    def take(self, at: Any) -> "Population":
        """The members `at` (indices, mask or slice), copied."""
        indices = np.arange(len(self))[at]
        out = Population.__new__(Population)
        out.schema, out.weights = self.schema, self.weights
        out.tables = tuple(_taken(table, indices) for table in self.tables)
        out.sizes, out.fitness, out.ids = (
            self.sizes[indices],
            self.fitness[indices],
            self.ids[indices],
        )
        out.birth, out.parents, out.status = (
            self.birth[indices],
            self.parents[indices],
            self.status[indices],
        )
        return out

    @classmethod
    def joined(cls, parts: "Sequence[Population]") -> "Population":
        """Populations one after the other, at least one, of the same schema and objectives."""
        if len(parts) == 1:
            return parts[0].take(slice(None))
        capacity = [
            max(tables)
            for tables in zip(
                *([table.shape[1] for table in part.tables] for part in parts), strict=True
            )
        ]
        out = cls(parts[0].schema, sum(map(len, parts)), capacity, parts[0].weights)
        start = 0
        for part in parts:
            span = slice(start, start + len(part))
            for mine, theirs in zip(out.tables, part.tables, strict=True):
                mine[span, : theirs.shape[1]] = theirs
            for mine, theirs in zip(
                out._arrays()[len(out.tables) :], part._arrays()[len(out.tables) :], strict=True
            ):
                mine[span] = theirs
            start += len(part)
        return out

    def judge(self, objectives: np.ndarray, status: np.ndarray) -> None:
        """Take over what an evaluator says of every member.

        objectives: [P, O], never NaN. status: [P]. Raises InputError for another O.
        """
        if objectives.shape != self.fitness.shape:
            raise InputError(_unequal(objectives.shape[-1], len(self.weights)))
        self.fitness[:], self.status[:] = objectives, status

    def genotype(self, index: int) -> Genotype:
        """The genotype of one member."""
        return Genotype(
            self.schema,
            {
                table.name: rows[index, : self.sizes[index, column]]
                for column, (table, rows) in enumerate(
                    zip(self.schema.tables, self.tables, strict=True)
                )
            },
        )

    def individual(self, index: int) -> Individual:
        """One member as DEAP sees it: a copy, made on demand."""
        fitness = fitness_class(self.weights)()
        if self.status[index] != PENDING:
            fitness.values = tuple(self.fitness[index])
        parents = tuple(int(parent) for parent in self.parents[index] if parent >= 0)
        out = Individual(
            self.genotype(index), fitness, int(self.ids[index]), int(self.birth[index]), parents
        )
        out._status = int(self.status[index])
        return out

    def weighted(self, weights: tuple[float, ...]) -> "Population":
        """This population, not evaluated, with these objectives' weights."""
        if weights != self.weights:
            self.weights, self.fitness = weights, np.full((len(self), len(weights)), np.nan)
        return self

    @property
    def quality(self) -> np.ndarray:
        """The first objective, larger is better. [P]"""
        out: np.ndarray = self.fitness[:, 0] * self.weights[0]
        return out

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, at: int) -> Individual: ...
    @overload
    def __getitem__(self, at: slice) -> "Population": ...
    def __getitem__(self, at: int | slice) -> "Individual | Population":
        if isinstance(at, slice):
            return self.take(at)
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self.individual(at % len(self))

    def __iter__(self) -> Iterator[Individual]:
        return (self.individual(index) for index in range(len(self)))

    def state(self) -> dict[str, np.ndarray]:
        """Every array by name, for a checkpoint; structured rows as bytes."""
        arrays = {
            f"table{i}": table.view(np.uint8).reshape(
                len(self), table.shape[1] * table.dtype.itemsize
            )
            for i, table in enumerate(self.tables)
        }
        rest = ("sizes", "fitness", "ids", "birth", "parents", "status")
        return arrays | {name: getattr(self, name) for name in rest}

    @classmethod
    def from_state(
        cls, schema: Schema, state: dict[str, np.ndarray], weights: tuple[float, ...] = (1.0,)
    ) -> "Population":
        """The population whose `state` this is."""
        capacity = [
            state[f"table{i}"].shape[1] // table.dtype.itemsize
            for i, table in enumerate(schema.tables)
        ]
        out = cls(schema, len(state["ids"]), capacity, weights)
        out.load(state)
        return out

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Take over the arrays of `state`, made by a population of the same shape.

        Raises ValueError for anything else.
        """
        for name, mine in self.state().items():
            theirs = state[name]
            if (
                not isinstance(theirs, np.ndarray)
                or theirs.shape != mine.shape
                or theirs.dtype != mine.dtype
            ):
                raise ValueError(f"{name} is not {mine.dtype}{list(mine.shape)}")
            mine[...] = theirs
        limits = [table.shape[1] for table in self.tables]
        if len(self) and ((self.sizes < 0) | (self.sizes > limits)).any():
            raise ValueError("sizes beyond the rows")
        if (self.status >= len(STATUS)).any() or np.isnan(
            self.fitness[self.status != PENDING]
        ).any():
            raise ValueError("a fitness without a status")
        if violation := self.violation(np.asarray(self.sizes.any(1))):
            raise ValueError(violation)

    def violation(self, looked_at: np.ndarray | None = None) -> str:
        """What is wrong with the first genotype that is not of the schema; empty where all are.

        looked_at: those that are looked at, [P] bool.
        """
        doubtful = ~self.schema.valid_mask(self.tables, self.sizes)
        for index in np.flatnonzero(doubtful if looked_at is None else doubtful & looked_at):
            if violation := self.schema.violation(self.genotype(int(index))):
                return violation
        return ""


def _unequal(given: int, objectives: int) -> str:
    return (
        f"objectives: {plural(given, 'number')} of a candidate that is judged by {objectives}; an "
        "evaluator gives one for each of its objectives"
    )


def _taken(table: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The rows `indices` of a gene table [P, R], as bytes: NumPy copies structured rows field by
    field.
    """
    if not table.size:
        return np.zeros((len(indices), table.shape[1]), table.dtype)
    rows = np.ascontiguousarray(table).view(np.uint8).reshape(len(table), -1)[indices]
    return rows.view(table.dtype).reshape(len(indices), table.shape[1])
