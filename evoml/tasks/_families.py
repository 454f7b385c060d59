"""What the families of tasks share: the sizes of the three sets, and random streams that never
meet.

A run searches on some tasks, selects among its best programs on others and reports on a third kind.
All randomness is a function of (seed, split, experiment, index), so that the same arguments give
the same bits.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from evoml.contracts.task import Task, TaskSet
from evoml.core.errors import InputError
from evoml.core.settings import Settings

Tasks = Annotated[int, Field(ge=1, le=100_000, description="number of tasks")]
Train = Annotated[int, Field(ge=1, le=10_000_000, description="training examples of a task")]
Valid = Annotated[
    int,
    Field(ge=1, le=10_000_000, description="examples of a task that the fitness is measured on"),
]

LARGEST = 2**30  # numbers in one set, 8 GiB


class Split(IntEnum):
    """What a set of tasks is for."""

    SEARCH = 0
    SELECT = 1
    TEST = 2

    @property
    def key(self) -> str:
        """The name in settings."""
        return self.name.lower()


class Sizes(Settings):
    """How many tasks a set has, and how many examples a task."""

    tasks: int
    train: Train
    valid: Valid


class SearchSizes(Sizes):
    """10 tasks of 100 + 100 examples, as in the paper's search for linear regression."""

    tasks: Tasks = 10
    train: Train = 100
    valid: Valid = 100


class FinalSizes(Sizes):
    """100 tasks of 1000 + 100 examples, as in the paper's selection and final evaluation."""

    tasks: Tasks = 100
    train: Train = 1000
    valid: Valid = 100


class FamilySettings(Settings):
    """The settings of every family: F and the sizes of the three sets."""

    features: int = Field(
        default=4, ge=1, le=1024, description="F, the length of every feature vector"
    )
    search: Sizes = Field(
        default=SearchSizes(),
        description="tasks that candidates are scored on, fresh in each experiment",
    )
    select: Sizes = Field(
        default=FinalSizes(), description="tasks that choose among the best of the experiments"
    )
    test: Sizes = Field(default=FinalSizes(), description="tasks of the reported result")

    @field_validator("search", "select", "test")
    @classmethod
    def _fits_in_memory(cls, sizes: Sizes, info: ValidationInfo) -> Sizes:
        features = info.data.get("features", 1)
        if sizes.tasks * (sizes.train + sizes.valid) * features > LARGEST:
            raise ValueError(
                f"tasks x (train + valid) x {features} features must be at most {LARGEST} numbers "
                "(8 GiB)"
            )
        return sizes


class RegressionSettings(FamilySettings):
    """The settings of a teacher's tasks."""

    search: SearchSizes = Field(
        default=SearchSizes(),
        description="tasks that candidates are scored on, fresh in each experiment",
    )
    select: FinalSizes = Field(
        default=FinalSizes(), description="tasks that choose among the best of the experiments"
    )
    test: FinalSizes = Field(default=FinalSizes(), description="tasks of the reported result")


def _stream(seed: int, *key: int) -> np.random.SeedSequence:
    if seed < 0 or min(key) < 0:
        raise InputError(
            f"{'seed' if seed < 0 else 'experiment'}: {min(seed, *key)} is not 0 or more"
        )
    return np.random.SeedSequence(seed, spawn_key=key)


def generator(seed: int, split: Split, experiment: int, *index: int) -> np.random.Generator:
    """The random generator of a set of tasks, or of its task `index`."""
    return np.random.default_rng(_stream(seed, split, experiment, *index, 0))


def task_seed(seed: int, split: Split, experiment: int, index: int, bits: int = 63) -> int:
    """A number below 2**bits for a task.

    Its two highest bits are the split, so that no two splits ever share one.
    """
    word = int(_stream(seed, split, experiment, index, bits).generate_state(1, np.uint64)[0])
    return split << (bits - 2) | word >> (66 - bits)


def task_seeds(seed: int, split: Split, experiment: int, tasks: int) -> np.ndarray:
    """[T] uint64, what TaskSet.seeds asks for."""
    return np.array(
        [task_seed(seed, split, experiment, index) for index in range(tasks)], dtype=np.uint64
    )


class Family(Task):
    """The three sets of tasks that a run needs, all made in one way."""

    settings: FamilySettings

    @classmethod
    def tasks_in(cls, settings: Settings) -> int:
        return settings.search.tasks if isinstance(settings, FamilySettings) else 0

    def search(self, experiment: int = 0) -> TaskSet:
        """The tasks of a search; each experiment has its own."""
        return self._tasks(self.settings.search, Split.SEARCH, experiment)

    def select(self) -> TaskSet:
        """The tasks that choose among the best of the experiments."""
        return self._tasks(self.settings.select, Split.SELECT)

    def test(self) -> TaskSet:
        """The tasks of the reported result."""
        return self._tasks(self.settings.test, Split.TEST)

    def _tasks(self, sizes: Sizes, split: Split, experiment: int = 0) -> TaskSet:
        """One set."""
        raise NotImplementedError


class TeacherTask(Family):
    """Noise-free regression on N(0, 1) features; every task has its own teacher, which a family
    defines.
    """

    kind: ClassVar[Literal["regression"]] = "regression"
    takes_data = False
    why_no_data = "these tasks generate their data; leave it out"
    scaling = "Features were drawn from N(0, 1), so scale yours alike."

    @staticmethod
    def teacher(rng: np.random.Generator, features: int) -> Callable[[np.ndarray], np.ndarray]:
        """Draw a teacher: it maps [N, F] features to [N] labels."""
        raise NotImplementedError

    def _tasks(self, sizes: Sizes, split: Split, experiment: int = 0) -> TaskSet:
        train_x = np.empty((sizes.tasks, sizes.train, self.settings.features))
        valid_x = np.empty((sizes.tasks, sizes.valid, self.settings.features))
        train_y, valid_y = np.empty(train_x.shape[:2]), np.empty(valid_x.shape[:2])
        for index in range(sizes.tasks):
            rng = generator(self.seed, split, experiment, index)
            # drawn first, so that it does not depend on the number of examples
            teacher = self.teacher(rng, self.settings.features)
            train_x[index], valid_x[index] = (
                rng.standard_normal(train_x.shape[1:]),
                rng.standard_normal(valid_x.shape[1:]),
            )
            train_y[index], valid_y[index] = teacher(train_x[index]), teacher(valid_x[index])
        place = f"search-{experiment}" if split is Split.SEARCH else split.key
        names = tuple(f"{place}/{index}" for index in range(sizes.tasks))
        seeds = task_seeds(self.seed, split, experiment, sizes.tasks)
        return TaskSet(self.kind, train_x, train_y, valid_x, valid_y, names, seeds)
