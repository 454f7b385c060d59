"""A task: what is learnt, from which data, and how the result is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np

from evoml.contracts.objective import ACCURACY, Objective
from evoml.contracts.part import Part
from evoml.core.errors import InputError
from evoml.core.settings import Settings
from evoml.phenotypes.neuron_graphs import NeuronGraphs

Kind = Literal["regression", "classification", "images", "trials", "table", "other"]


class Task(Part):
    """Three sets of data or trials: to search on, to select the best on, and to report.

    `kind` says what the sets are: `TaskSet` for regression and classification, `ImageSet` for
    images, `Trials` for trials, a table of recorded results, or what else an evaluator takes.
    """

    kind: ClassVar[Kind] = "other"
    objective: ClassVar[Objective] = Objective("fitness", True)  # where the evaluator names none
    takes_data: ClassVar[bool] = True  # whether --data is for it
    why_no_data: ClassVar[str] = (  # what is said where it is not
        "this task has no use for data; leave it out, or take the task examples"
    )
    with_data: ClassVar[str] = ""  # the task that takes its place where data is given and no task
    argument: ClassVar[str] = ""  # the setting that may stand behind a colon in its name
    # whether candidates of a run are tested on other data as its own are measured: `tested_on`
    tests_other_data: ClassVar[bool] = False
    # what is to be said of the data before a search, a line each
    remarks: tuple[str, ...] = ()
    # what is to be known of `scores`, in a few words
    scores_are: str = ""
    # how inputs were scaled, in a sentence, for who uses the result elsewhere
    scaling: ClassVar[str] = ""
    settings: Any
    seed: int
    # Of tasks that networks of neurons are tried in.
    inputs: int | None = None
    outputs: int | None = None
    bias: float = 1.0  # value of the bias node
    output: str = "sigmoid"  # function of the output nodes

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """settings: of the module's `Settings`. data: what --data names. seed: the run's.

        Raises InputError for data that it cannot read, or has no use for.
        """
        if data is not None and not self.takes_data:
            raise InputError(f"data: {data}: {self.why_no_data}")
        self.settings, self.seed = settings, seed

    @classmethod
    def code(cls, argument: str) -> str:
        """The module that is imported where the setting `argument` is this, by its name; empty
        where none is. It is executed only where a user named it.
        """
        return ""

    @classmethod
    def at_full_size(cls, settings: Any, final: dict[str, Any]) -> dict[str, Any]:
        """Of the settings that are for the training of a winner those that go with a run's own."""
        return final

    @property
    def shape(self) -> "Shape":
        """What a space of networks of neurons has to know of it. Raises InputError."""
        return Shape(self.inputs, self.outputs, self.bias, self.output)

    @classmethod
    def tasks_in(cls, settings: Settings) -> int:
        """How many tasks candidates are scored on at once; 0 where that is no number of small
        tasks.
        """
        return 0

    def for_programs(self) -> "Task":
        """The same data as tasks of feature vectors (`TaskSet`), for an evaluator that runs
        programs; by default this task, which gives these or has no other form. Raises InputError.
        """
        return self

    def search(self, experiment: int = 0) -> Any:
        """What candidates are scored on.

        experiment: of a run that starts again; each may have its own.
        """
        raise NotImplementedError

    def select(self) -> Any:
        """What the best are chosen on. Raises InputError where there is nothing."""
        raise InputError(f"task: {self.name}: gives nothing to choose the best on")

    def test(self) -> Any:
        """What is reported of the winner: the search saw none of it.

        Raises InputError where there is nothing.
        """
        raise InputError(f"task: {self.name}: gives nothing to test on")

    def baselines(self) -> Mapping[str, Mapping[str, float]]:
        """What simple methods score in the test, which a result is held against: scores by name, by
        method. Called once the result was tested; empty where there are none.
        """
        return {}

    def tested_on(self, data: Path) -> "Task":
        """The same task, whose test are other data that are measured as its own are; of a task that
        `tests_other_data`. Raises InputError.
        """
        raise InputError(f"data: {data}: task {self.name} is tested on data of its own")

    def scores(self, errors_of: "Callable[[TaskSet], np.ndarray]") -> Mapping[str, float]:
        """What a program's test means in words, scores by name; empty where there is no more to say
        than its fitness.

        errors_of: of what it has learnt in these tasks, the absolute errors on the validation
        examples, [T, M]; NaN where it failed. In classification 0 is right and 1 wrong.
        """
        return {}

    @property
    def fingerprint(self) -> str | None:
        """A hash of the data where it is more than one file; None: the file's own will do."""
        return None

    @property
    def units(self) -> Any:
        """What a table's columns are to a network; None where there is no table."""
        return None


@dataclass(frozen=True)
class Shape:
    """Inputs, outputs, value of the bias node and function of the output nodes of a task's
    networks: enough to read a run without making its task.
    """

    inputs: int | None
    outputs: int | None
    bias: float = 1.0
    output: str = "sigmoid"


@dataclass(frozen=True, eq=False)
class TaskSet:
    """T supervised tasks of one size. T tasks, N training and M validation examples, F features.

    `valid_x` and `valid_y` are the examples that the fitness is measured on; in a final test they
    are images the search never saw.
    """

    kind: Literal["regression", "classification"]
    train_x: np.ndarray  # [T, N, F] float64
    train_y: np.ndarray  # [T, N] float64; 0 or 1 in classification
    valid_x: np.ndarray  # [T, M, F] float64
    valid_y: np.ndarray  # [T, M] float64
    names: tuple[str, ...]  # [T]
    # [T] uint64: the noise of a program and the order of later epochs derive from it
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.train_x)

    @property
    def features(self) -> int:
        """F, the length of every vector in a program's memory."""
        return self.train_x.shape[2]

    def part(self, at: slice) -> "TaskSet":
        """Some of the tasks."""
        return replace(
            self, train_x=self.train_x[at], train_y=self.train_y[at], valid_x=self.valid_x[at],
            valid_y=self.valid_y[at], names=self.names[at], seeds=self.seeds[at],
        )  # fmt: skip


CROSS_ENTROPY = "evoml.networks.losses:CrossEntropy"


@dataclass(frozen=True)
class Head:
    """What a network gives for an image, and what that is compared with.

    outputs: K, numbers of the last linear layer.
    loss: `package.module:Class`, a subclass of `evoml.networks.losses.Loss`, which says the loss
        and the metric; a name, so that nothing imports torch before it trains.
    objective: the metric, on validation images; what evaluators call accuracy in their settings.
    """

    outputs: int
    loss: str = CROSS_ENTROPY
    objective: Objective = ACCURACY


class LayeredData:
    """Examples that networks of layers learn from: N to train on, M that the fitness is measured
    on, of C channels, H x W.

    A subclass gives all of these. In a final test `valid_x` and `valid_y` are examples that the
    search never saw.
    """

    train_x: np.ndarray  # [N, C, H, W] float32
    train_y: np.ndarray  # [N, ...], as the head's loss takes them
    valid_x: np.ndarray  # [M, C, H, W] float32
    valid_y: np.ndarray  # [M, ...]

    @property
    def size(self) -> tuple[int, int, int]:
        """C, H, W."""
        return self.train_x.shape[1], self.train_x.shape[2], self.train_x.shape[3]

    @property
    def head(self) -> Head:
        """What a network gives for one of them."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ImageSet(LayeredData):
    """Images of K classes to learn from. N training and M validation images of C channels, H x W,
    normalised with the training part's mean and deviation.

    `valid_x` and `valid_y` are what the fitness is measured on; in a final test they are images the
    search never saw.
    """

    train_x: np.ndarray  # [N, C, H, W] float32
    train_y: np.ndarray  # [N] int64, 0..K-1
    valid_x: np.ndarray  # [M, C, H, W] float32
    valid_y: np.ndarray  # [M] int64
    classes: tuple[str, ...]  # [K]
    mean: np.ndarray  # [C] of the raw pixels in 0..1
    deviation: np.ndarray  # [C]
    # whether the raw pixels were bytes, divided by 255; else floats, taken as they come
    pixels_are_bytes: bool = True
    # least and largest of raw pixels that are floats, in the training part
    pixel_range: tuple[float, float] | None = None

    @property
    def head(self) -> Head:
        """A score of every class."""
        return Head(len(self.classes))


@dataclass(frozen=True, eq=False)
class TrialResult:
    """How P networks did in a set of trials."""

    # [P, names] float64, one a reported number; the first is the fitness. NaN: it failed
    scores: np.ndarray
    status: np.ndarray  # [P] uint8, a position in `population.STATUS`
    steps: int  # cost: network evaluations, over all


class Trials:
    """What networks of fixed weights are tried in: a data set, or episodes of an environment.

    Made by a task's `search`, `select` and `test`.
    """

    inputs: int  # I
    outputs: int  # O
    names: tuple[str, ...]  # of the reported numbers
    # what a reported number is in words, by its name, where that does not say it
    meaning: Mapping[str, str] = MappingProxyType({})
    isolated: ClassVar[bool] = False  # whether code of others is run, in processes of its own
    # why the first network failed that did in the last `run`; empty where none did
    failure: str = ""
    # told in a `run` how many were tried, and failed
    watch: Callable[[int, int], None] | None = None

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Try P networks, on at most `workers` threads; the result is the same for any number."""
        raise NotImplementedError

    def check(self, backend: str, workers: int) -> None:
        """Raise InputError where what is tried cannot be run. Called once, before a search."""
