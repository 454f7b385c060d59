"""One table as tasks of feature vectors, which programs that learn are searched on.

After Real, Liang, So, Le 2020, arXiv 2003.03384, whose tasks are pairs of an image set's classes,
each with its own examples and projection. Here a task has rows of its own, drawn from the table:

* A search task divides the training part into examples to learn from and examples to be measured
  on. A selection task learns from the training part and is measured on the selection part. A test
  task learns from both and is measured on the test part, which no other task holds.
* Features are the table's inputs as `examples` scales them or, with `features` = F, projections:
  inputs times a [inputs, F] matrix of N(0, 1) numbers, another in every task. Projections, and all
  features of pairs, are standardised by the task's training examples.
* A program predicts one number. Regression: the target, scaled as `examples` does. Two classes:
  label 1 is the second. Of more classes a task is a pair, as in the paper, label 1 the second of
  the pair; the test also tells all classes apart, by a vote of all pairs (one against one, as
  support vector machines do), each with a memory of its own. Ties go to the first class.

Departure: for many classes the paper made labels and predictions vectors; here as in the published
program they are scalars, so that programs of either are the same. Pairs of rare classes repeat
rows, since all tasks of a set have as many examples as the middle one.
"""

from collections.abc import Callable, Mapping
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
                f"task.target: {', '.join(table.targets)}: a program predicts one number; give one "
                "target"
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
        if len(self.pairs) > 1:
            pairs = f"{len(self.pairs):,} pairs"
            self.scores_are = f"{len(table.classes)} classes told apart by a vote of all {pairs}"
        # in an order that is none of the classes, since votes may be of the first rows only
        self._test_rows = np.random.default_rng(0).permutation(table.parts[2])
        # examples that each task of a set learns from, and is measured on
        self._examples = {split: self._sizes(split) for split in Split}
        if len(self.pairs) > 1:
            self._check(Split.TEST, len(self.pairs), self._examples[Split.TEST][0] + 1)
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

    @property
    def standardises(self) -> bool:
        """Whether features are standardised by the examples that are learnt from, and not only by
        the table's training part: where they are projected, and where these are some classes'.
        """
        return bool(self.settings.features) or len(self.pairs) > 1

    @property
    def deployed(self) -> tuple[int, tuple[int, ...]]:
        """What a program has outside of evoml: the seed of the projection, and the seeds of its
        noise, one, or one a pair. Those of the first test task, or of the votes.
        """
        voting = int(len(self.pairs) > 1)
        seeds = self._vote_seeds if voting else _families.task_seeds(self.seed, Split.TEST, 0, 1)
        return self._matrix(Split.TEST, voting, 0), tuple(map(int, seeds))

    @cached_property
    def votes(self) -> TaskSet:
        """A task for every pair of classes, measured on the test rows of all classes, each with
        label 1: an error of 0 is a vote for the pair's second class. They share a projection.
        """
        n, _ = self._examples[Split.TEST]
        rows = self._test_rows[: LARGEST // len(self.pairs) // self.features - n]
        train_x, valid_x = (
            np.empty((len(self.pairs), size, self.features)) for size in (n, len(rows))
        )
        train_y = np.empty((len(self.pairs), n))
        for index, pair in enumerate(self.pairs):
            rng = _families.generator(self.seed, Split.TEST, 1, index)
            train, _ = self._draw(rng, Split.TEST, pair, n, 1)
            train_x[index], valid_x[index] = self._features(
                self._matrix(Split.TEST, 1, 0), train, rows
            )
            train_y[index] = self._targets(train, pair)
        return TaskSet(
            "classification", train_x, train_y, valid_x, np.ones(valid_x.shape[:2]),
            tuple(self._called(pair) for pair in self.pairs), self._vote_seeds,
        )  # fmt: skip

    @property
    def _vote_seeds(self) -> np.ndarray:
        return _families.task_seeds(self.seed, Split.TEST, 1, len(self.pairs))

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
        order = _families.generator(self.seed, split, experiment).permutation(
            max(1, len(self.pairs))
        )
        n, m = self._examples[split]
        count = self._count(split)
        drawn = [self.pairs[at] if self.pairs else None for at in np.resize(order, count)]
        train_x, valid_x = (np.empty((count, size, self.features)) for size in (n, m))
        train_y, valid_y = np.empty((count, n)), np.empty((count, m))
        names = []
        place = f"search-{experiment}" if split is Split.SEARCH else split.key
        for index, pair in enumerate(drawn):
            rng = _families.generator(self.seed, split, experiment, index)
            train, valid = self._draw(rng, split, pair, n, m)
            train_x[index], valid_x[index] = self._features(
                self._matrix(split, experiment, index), train, valid
            )
            train_y[index], valid_y[index] = (self._targets(rows, pair) for rows in (train, valid))
            names.append(f"{self._called(pair) if pair else place}/{index}")
        seeds = _families.task_seeds(self.seed, split, experiment, count)
        return TaskSet(
            "classification" if self.pairs else "regression",
            train_x, train_y, valid_x, valid_y, tuple(names), seeds,
        )  # fmt: skip

    def _count(self, split: Split) -> int:
        """How many tasks a set has."""
        tasks: int = getattr(self.settings.programs, split.key).tasks
        return tasks or max(len(self.pairs), TASKS)

    def _sizes(self, split: Split) -> tuple[int, int]:
        """How many rows the tasks of a set learn from and are measured on: as many as there are of
        the middle pair of classes, but no more than is set. Raises InputError for too many.
        """
        sizes: SearchSizes = getattr(self.settings.programs, split.key)
        learn, held = (self._middle(rows) for rows in self._pools(split))
        if split is Split.SEARCH:
            held = max(1, learn // HELD)
            learn -= min(sizes.valid, held)
        n, m = min(sizes.train, learn), min(sizes.valid, held)
        self._check(split, self._count(split), n + m)
        return n, m

    def _middle(self, rows: np.ndarray) -> int:
        """How many of these are of the middle pair of classes; all, where there are no pairs."""
        if not self.pairs:
            return len(rows)
        counts = np.bincount(self.table.labels[rows], minlength=len(self.table.classes))
        first, second = np.triu_indices(len(counts), 1)
        return int(np.median(counts[first] + counts[second]))

    def _pools(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Rows to learn from, and to be measured on; in search the latter are some of the
        former.
        """
        train, select, test = self.table.parts
        if split is Split.TEST:
            return np.concatenate([train, select]), test
        return train, train if split is Split.SEARCH else select

    def _draw(
        self, rng: np.random.Generator, split: Split, pair: tuple[int, int] | None, n: int, m: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows of one task, [n] and [m], shuffled."""
        learn, held = (
            rows if pair is None else rows[np.isin(self.table.labels[rows], pair)]
            for rows in self._pools(split)
        )
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

    def _matrix(self, split: Split, experiment: int, index: int) -> int:
        """The seed of a task's projection."""
        return _families.task_seed(self.seed, split, experiment, index, bits=32)

    def _features(
        self, projection: int, train: np.ndarray, valid: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of a task's rows, [N, F] and [M, F]."""
        x, held = self.table.x[train], self.table.x[valid]
        if self.settings.features:
            matrix = np.random.RandomState(projection).randn(x.shape[1], self.settings.features)
            # einsum and not @: the bits of BLAS depend on its number of threads
            x, held = (np.einsum("np,pf->nf", each, matrix) for each in (x, held))
        if not self.standardises:
            return x, held
        centre, spread = x.mean(axis=0), x.std(axis=0)
        spread[spread <= 1e-12 * np.abs(centre)] = 1  # equal rows, but for rounding
        return (x - centre) / spread, (held - centre) / spread

    def _check(self, split: Split, tasks: int, examples: int) -> None:
        if (numbers := tasks * examples * self.features) > LARGEST:
            raise InputError(
                f"task.programs.{split.key}: {tasks:,} tasks of {examples:,} rows and "
                f"{self.features:,} features are {numbers:,} numbers; at most {LARGEST:,} (8 GiB): "
                f"make its tasks or train smaller, or task.features"
            )
