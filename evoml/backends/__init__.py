"""Execution: with what programs run. One file a backend, each with a class `Backend(tasks, memory,
rules)`.

A backend answers `fitness(programs, which)` and `fingerprints(programs, which, train, valid)`;
`reference` is the definition. One that needs more than what evoml installs has a function
`missing()`: a line that says what is not there, empty where it can run. `FORK_SAFE = True` says
that a process in which it has been at work may fork.
"""

from dataclasses import dataclass

import numpy as np

from evoml.contracts.task import TaskSet
from evoml.core.registry import load


def missing(name: str) -> str:
    """Why a backend cannot run on this machine, in one line; empty where it can.

    Raises InputError for an unknown name.
    """
    says = vars(load("backends", name)).get("missing")
    return "" if says is None else str(says())


def fork_safe(name: str) -> bool:
    """Whether a process in which a backend has been at work may fork; where it does not say so, it
    may not.
    """
    return bool(vars(load("backends", name)).get("FORK_SAFE", False))


@dataclass(frozen=True)
class Rules:
    """How a program is trained and scored."""

    train: int  # training examples an epoch, at most
    valid: int  # validation examples, at most
    epochs: int = 1
    max_abs_error: float = 100.0  # an error above it, or NaN, ends the run on that task
    dtype: str = "float32"

    def later_order(self, tasks: TaskSet) -> tuple[np.ndarray, np.ndarray]:
        """Training examples in the order of the second and every later epoch: one fixed permutation
        a task.
        """
        count = min(self.train, tasks.train_y.shape[1])
        order = np.stack(
            [np.random.default_rng([int(seed), 1]).permutation(count) for seed in tasks.seeds]
        )
        rows = np.arange(len(tasks))[:, None]
        return tasks.train_x[rows, order], tasks.train_y[rows, order]
