"""Tasks: data to learn from. A family of tasks is one file; what it makes is a `TaskSet`."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from evoml.phenotypes.neuron_graphs import Graphs


@dataclass(frozen=True, eq=False)
class TaskSet:
    """T supervised tasks of one size. T tasks, N training and M validation examples, F features.

    `valid_x` and `valid_y` are the examples that the fitness is measured on; in a final test they are images the search never saw.
    """

    kind: Literal["regression", "classification"]
    train_x: np.ndarray  # [T, N, F] float64
    train_y: np.ndarray  # [T, N] float64; 0 or 1 in classification
    valid_x: np.ndarray  # [T, M, F] float64
    valid_y: np.ndarray  # [T, M] float64
    names: tuple[str, ...]  # [T]
    seeds: np.ndarray  # [T] uint64: the noise of a program and the order of later epochs derive from it

    def __len__(self) -> int:
        return len(self.train_x)

    @property
    def features(self) -> int:
        """F, the length of every vector in a program's memory."""
        return self.train_x.shape[2]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of K classes to learn from. N training and M validation images of C channels, H x W, normalised with the training part's mean and deviation.

    `valid_x` and `valid_y` are what the fitness is measured on; in a final test they are images the search never saw.
    """

    train_x: np.ndarray  # [N, C, H, W] float32
    train_y: np.ndarray  # [N] int64, 0..K-1
    valid_x: np.ndarray  # [M, C, H, W] float32
    valid_y: np.ndarray  # [M] int64
    classes: tuple[str, ...]  # [K]
    mean: np.ndarray  # [C] of the raw pixels in 0..1
    deviation: np.ndarray  # [C]
    coded: bool = True  # whether the raw pixels were bytes, divided by 255; else floats, taken as they come

    @property
    def size(self) -> tuple[int, int, int]:
        """C, H, W."""
        return self.train_x.shape[1], self.train_x.shape[2], self.train_x.shape[3]


@dataclass(frozen=True, eq=False)
class Tried:
    """How P networks did in a set of trials."""

    scores: np.ndarray  # [P, names] float64, one a reported number; the first is the fitness. NaN: it failed
    status: np.ndarray  # [P] uint8, a position in `population.STATUS`
    steps: int  # cost: network evaluations, over all


class Trials(Protocol):
    """What networks of fixed weights are tried in: a data set, or episodes of an environment. Made by a task's `search`, `select` and `test`."""

    inputs: int  # I
    outputs: int  # O
    names: tuple[str, ...]  # of the reported numbers

    def run(self, graphs: Graphs, backend: str, workers: int = 1) -> Tried:
        """Try P networks, on at most `workers` threads; the result is the same for any number."""
        ...
