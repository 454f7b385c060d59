"""One table as tasks of feature vectors, which programs that learn are searched on.

After Real, Liang, So, Le 2020, arXiv 2003.03384, whose tasks are pairs of an image set's classes,
each with its own examples and projection. Here a task has rows of its own, drawn from the table:

* A search task divides the training part into examples to learn from and examples to be measured
  on. A selection task learns from the training part and is measured on the selection part. A test
  task learns from both and is measured on the test part, which no other task holds.
* Features are the table's inputs as `examples` scales them or, with `features` = F, projections:
  inputs times a [inputs, F] matrix of N(0, 1) numbers, another in every task, then standardised by
  the task's training examples.
* A program predicts one number. Regression: the target, scaled as `examples` does. Two classes:
  label 1 is the second. Of more classes a task is a pair, as in the paper, label 1 the second of
  the pair; the test also tells all classes apart, by a vote of all pairs (one against one, as
  support vector machines do), each with a memory of its own. Ties go to the first class.

Pairs of rare classes repeat rows, since all tasks of a set have as many examples as the middle one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from evoml.contracts.task import Task, TaskSet
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.tasks import _families
from evoml.tasks._families import LARGEST, Split

if TYPE_CHECKING:
    from evoml.tasks.examples import ExamplesTask, Units

MOST_FEATURES = 1024
MANY_FEATURES = 100  # from here on matrices of F x F numbers make a search slow, which is said
TASKS = 10  # of a set, where there are not more pairs of classes
HELD = 5  # one training row in so many is what a search task is measured on

TaskCount = Annotated[
    int,
    Field(
        ge=0,
        le=100_000,
        description=f"number of tasks of programs; 0: one for every pair of classes, but {TASKS} "
        "where there are fewer pairs or none",
    ),
]


class SearchSizes(_families.Sizes):
    """Tasks of at most 8000 + 1000 rows, as in the paper; all there are, where they are fewer."""

    tasks: TaskCount = TASKS
    train: _families.Train = 8000
    valid: _families.Valid = 1000


class FinalSizes(SearchSizes):
    """The same, of every pair of classes."""

    tasks: TaskCount = 0


class ProgramSettings(settings.Settings):
    """How many tasks there are in search, selection and test, and of how many rows."""

    search: SearchSizes = Field(
        default=SearchSizes(),
        description="tasks that candidates are scored on, fresh in each experiment",
    )
    select: FinalSizes = Field(
        default=FinalSizes(), description="tasks that choose among the best of the experiments"
    )
    test: FinalSizes = Field(default=FinalSizes(), description="tasks of the reported result")


class TableTasks(Task):
    """Tasks of one table's rows: regression, or classification of two classes."""

    name = "examples"

    def __init__(self, table: "ExamplesTask") -> None:
        """Raises InputError for a table that programs cannot learn."""
        self.table, self.settings, self.seed = table, table.settings, table.seed
        if len(table.targets) > 1:
            raise InputError(
                f"task.target: {', '.join(table.targets)}: a program predicts one number; name one"
            )
        columns = table.x.shape[1]
        if not self.settings.features and columns > MOST_FEATURES:
            raise InputError(
                f"{table.where}: {columns:,} inputs, and a program takes at most {MOST_FEATURES:,} "
                "as they are; set task.features, such as 16, to project them"
            )
        self.kind = "classification" if table.classes else "regression"  # type: ignore[misc]
        self.features = self.settings.features or columns
        # of two classes [(0, 1)]; empty in regression
        self.pairs = tuple(combinations(range(len(table.classes)), 2))
        train, _, test = table.parts
        # in an order that is none of the classes, since votes may be of the first rows only
        self._test_rows = np.random.default_rng(0).permutation(test)
        if len(train) < 2:
            raise InputError(
                f"{table.where}: {len(train)} training row; 2 are needed, to learn from and to "
                "measure on"
            )
        self.remarks = table.remarks
        if self.features > MANY_FEATURES:
            self.remarks += (
                f"programs compute with {self.features:,} x {self.features:,} matrices, which is "
                "slow; task.features, such as 16, projects the inputs",
            )

    @property
    def units(self) -> "Units":
        """What the table's columns are to the features before a projection."""
        return self.table.units

    @property
    def fingerprint(self) -> str | None:
        return self.table.fingerprint

    def search(self, experiment: int = 0) -> TaskSet:
        """Tasks within the training part; each experiment has its own."""
        return self._tasks(Split.SEARCH, experiment)

    def select(self) -> TaskSet:
        """Tasks that learn from the training part and are measured on the selection part."""
        return self._tasks(Split.SELECT)

    def test(self) -> TaskSet:
        """Tasks that learn from both and are measured on the test part."""
        return self._tasks(Split.TEST)

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        return self.table.baselines()

    def scores(self, errors_of: Callable[[TaskSet], np.ndarray]) -> Mapping[str, float]:
        """In the test, of what was learnt in all epochs: accuracy, which of more than two classes
        is that of the vote of all pairs; of a regression R^2 and the root mean squared error in the
        target's unit.
        """
        if len(self.pairs) > 1:
            return {"accuracy": self._voted(errors_of(self.votes))}
        tasks = self.test()
        errors = errors_of(tasks)
        if self.pairs:
            return {"accuracy": float((errors == 0).mean())}
        squared = np.where(np.isnan(errors), np.inf, errors) ** 2
        spread = tasks.valid_y.var()  # 0: a constant, of which there is nothing to explain
        return {
            "r2": float(1 - squared.mean() / spread) if spread else float("nan"),
            "rmse": float(np.sqrt(squared.mean()) * self.table.scale[0]),
        }

    @cached_property
    def deployed(self) -> tuple["Projection", np.ndarray]:
        """What a program has outside of evoml: the projection, and the seeds of its noise, one, or
        one a pair. Those of the first test task, or of the votes.
        """
        if len(self.pairs) > 1:
            return self._vote_projection, self.votes.seeds
        return self._made(Split.TEST, 0, self.settings.programs.test)[1], self.test().seeds[:1]

    @cached_property
    def votes(self) -> TaskSet:
        """A task for every pair of classes, measured on the test rows of all classes, each with
        label 1: an error of 0 is a vote for the pair's second class. One projection for all.
        """
        sizes = self.settings.programs.test
        pools = [self._pools(Split.TEST, pair) for pair in self.pairs]
        n = min(sizes.train, int(np.median([len(rows) for rows, _ in pools])))
        most = max(1, LARGEST // len(self.pairs) // self.features - n)
        rows = self._test_rows[:most]
        self._check(Split.TEST, len(self.pairs), n + len(rows))
        train_x, train_y = np.empty((len(self.pairs), n, self.features)), []
        for index, (pair, pool) in enumerate(zip(self.pairs, pools, strict=True)):
            train, _ = self._draw(
                _families.generator(self.seed, Split.TEST, 1, index), Split.TEST, pool, n, 1
            )
            train_x[index] = self._vote_projection(self.table.x[train])
            train_y.append(self._targets(train, pair))
        valid_x = np.broadcast_to(
            self._vote_projection(self.table.x[rows]),
            (len(self.pairs), len(rows), self.features),
        )
        # numbers of their own, which a module can derive from the first
        seeds = _families.task_seeds(self.seed, Split.TEST, 1, 1) + np.arange(
            len(self.pairs), dtype=np.uint64
        )
        return TaskSet(
            "classification", train_x, np.stack(train_y), valid_x, np.ones(valid_x.shape[:2]),
            tuple(self._called(pair) for pair in self.pairs), seeds,
        )  # fmt: skip

    @cached_property
    def _vote_projection(self) -> "Projection":
        return self._projection(Split.TEST, 1, 0, np.concatenate(self.table.parts[:2]))

    def _voted(self, errors: np.ndarray) -> float:
        """Accuracy of the votes. errors: [pairs, M]"""
        rows = self._test_rows[: errors.shape[1]]
        votes = np.zeros((len(rows), len(self.table.classes)))
        for (first, second), each in zip(self.pairs, errors, strict=True):
            votes[:, second] += each == 0
            votes[:, first] += each == 1
        right = votes.argmax(1) == self.table.labels[rows]
        return float((right & (votes.max(1) > 0)).mean())

    def _tasks(self, split: Split, experiment: int = 0) -> TaskSet:
        sizes = getattr(self.settings.programs, split.key)
        return self._made(split, experiment, sizes)[0]

    def _made(
        self, split: Split, experiment: int, sizes: SearchSizes
    ) -> tuple[TaskSet, "Projection"]:
        """A set, and its first task's projection."""
        order = _families.generator(self.seed, split, experiment).permutation(
            max(1, len(self.pairs))
        )
        count = sizes.tasks or max(len(self.pairs), TASKS)
        drawn = [self.pairs[at] if self.pairs else None for at in np.resize(order, count)]
        pools = {pair: self._pools(split, pair) for pair in set(drawn)}
        n, m = self._sizes(split, sizes, [pools[pair] for pair in drawn])
        self._check(split, count, n + m)
        train_x, valid_x = (np.empty((count, size, self.features)) for size in (n, m))
        train_y, valid_y = np.empty((count, n)), np.empty((count, m))
        names: list[str] = []
        projections: list[Projection] = []
        place = f"search-{experiment}" if split is Split.SEARCH else split.key
        for index, pair in enumerate(drawn):
            rng = _families.generator(self.seed, split, experiment, index)
            train, valid = self._draw(rng, split, pools[pair], n, m)
            projection = self._projection(split, experiment, index, train)
            train_x[index], train_y[index] = (
                projection(self.table.x[train]),
                self._targets(train, pair),
            )
            valid_x[index], valid_y[index] = (
                projection(self.table.x[valid]),
                self._targets(valid, pair),
            )
            names.append(f"{self._called(pair) if pair else place}/{index}")
            projections = projections or [projection]
        seeds = _families.task_seeds(self.seed, split, experiment, count)
        made = TaskSet(
            "classification" if self.pairs else "regression",
            train_x, train_y, valid_x, valid_y, tuple(names), seeds,
        )  # fmt: skip
        return made, projections[0]

    def _pools(self, split: Split, pair: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from, and to be measured on, of a pair; in search the latter are some of
        the former.
        """
        train, select, test = self.table.parts
        learn, held = {
            Split.SEARCH: (train, train),
            Split.SELECT: (train, select),
            Split.TEST: (np.concatenate([train, select]), test),
        }[split]
        if pair is None:
            return learn, held
        return tuple(rows[np.isin(self.table.labels[rows], pair)] for rows in (learn, held))  # type: ignore[return-value]

    @staticmethod
    def _sizes(
        split: Split, sizes: SearchSizes, pools: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[int, int]:
        """Examples to learn from and to be measured on, of every task of a set."""
        learn, held = (int(np.median([len(pool[at]) for pool in pools])) for at in (0, 1))
        if split is Split.SEARCH:
            held = max(1, learn // HELD)
            m = min(sizes.valid, held)
            return min(sizes.train, learn - m), m
        return min(sizes.train, learn), min(sizes.valid, held)

    def _draw(
        self,
        rng: np.random.Generator,
        split: Split,
        pools: tuple[np.ndarray, np.ndarray],
        n: int,
        m: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one task, [n] and [m], shuffled."""
        learn, held = pools
        if split is Split.SEARCH:
            mixed = self._mixed(rng, learn)
            own = min(m, max(1, len(mixed) // HELD))
            held, learn = mixed[:own], mixed[own:]
        train, valid = (
            rng.permutation(np.resize(self._mixed(rng, rows), size))
            for rows, size in ((learn, n), (held, m))
        )
        return train, valid

    def _mixed(self, rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        """The rows in a random order of which every beginning has the classes in proportion."""
        rows = rng.permutation(rows)
        place = np.empty(len(rows))
        for label in np.unique(self.table.labels[rows]):
            own = np.flatnonzero(self.table.labels[rows] == label)
            place[own] = (np.arange(len(own)) + rng.random()) / len(own)
        return rows[np.argsort(place, kind="stable")]

    def _targets(self, rows: np.ndarray, pair: tuple[int, int] | None) -> np.ndarray:
        if pair is None:
            return self.table.y[rows, 0]
        return (self.table.labels[rows] == pair[1]).astype(np.float64)

    def _called(self, pair: tuple[int, int]) -> str:
        return "-".join(self.table.classes[label] for label in pair)

    def _projection(
        self, split: Split, experiment: int, index: int, train: np.ndarray
    ) -> "Projection":
        """Of a task that learns from these rows."""
        if not self.settings.features:
            return Projection()
        seed = _families.task_seed(self.seed, split, experiment, index, bits=32)
        x = Projection(seed, self.features)(self.table.x[train])
        centre, spread = x.mean(axis=0), x.std(axis=0)
        spread[spread <= 1e-12 * np.abs(centre)] = 1  # equal rows, but for rounding
        return Projection(seed, self.features, centre, spread)

    def _check(self, split: Split, tasks: int, examples: int) -> None:
        if (numbers := tasks * examples * self.features) > LARGEST:
            raise InputError(
                f"task.programs.{split.key}: {tasks:,} tasks of {examples:,} rows and "
                f"{self.features:,} features are {numbers:,} numbers; at most {LARGEST:,} (8 GiB): "
                f"make its tasks or train smaller, or task.features"
            )


@dataclass(frozen=True, eq=False)
class Projection:
    """What makes features of a table's scaled inputs."""

    seed: int = 0
    features: int = 0  # F; 0: inputs stay as they are
    centre: np.ndarray | None = None  # [F] of the projected examples
    spread: np.ndarray | None = None  # [F]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[N, I] -> [N, F]"""
        if not self.features:
            return x
        matrix = np.random.RandomState(self.seed).randn(x.shape[1], self.features)
        # einsum and not @: the bits of BLAS depend on its number of threads
        x = np.einsum("np,pf->nf", x, matrix)
        return x if self.centre is None else (x - self.centre) / self.spread
