"""Tasks: data to learn from. A family of tasks is one file; what it makes is a `TaskSet`."""

from dataclasses import dataclass
from typing import Literal

import numpy as np


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
