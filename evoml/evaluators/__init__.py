"""Performance estimation: how good a candidate is. One file an evaluator, with `Settings` and a class `Evaluator`.

An evaluator is made with (settings, tasks, space, backend); `task` names what it is used on by default. For programs the loop uses `weights` (DEAP's, one
an objective), calling it with phenotypes,
`per_task(phenotypes)`, `exact(settings)` (the settings of selection and test), `counts` (what it did, by name, `steps` among them), `warm()`,
`state_dict()` and `load_state_dict(state)`, which raises ValueError for a state that does not fit.

One with an attribute `costly` is used by the steady state: `outcomes(genotypes, streams)` gives an `Outcome` a candidate, `worst` is what one that failed gets,
`objectives` and `weights` say what is measured, `test` what is reported of a winner; `costly` is whether a candidate is worth a process of its own.
"""

from dataclasses import dataclass

import numpy as np

LARGER_IS_BETTER = ("fitness", "accuracy", "eyeriss_arithmetic_intensity")


def weight(objective: str) -> float:
    """DEAP's weight of an objective by its name: 1 where larger is better, else -1."""
    return 1.0 if objective in LARGER_IS_BETTER else -1.0


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluator says of n candidates."""

    objectives: np.ndarray  # [n, O] float64, never NaN
    status: np.ndarray  # [n] uint8, a position in `population.STATUS`
    steps: int  # cost: training steps run for them, over all tasks


@dataclass(frozen=True)
class Outcome:
    """What one candidate of a costly evaluator came to."""

    objectives: tuple[float, ...]  # [O], never NaN
    status: int  # a position in `population.STATUS`
    seconds: float = 0.0  # of training and validation, or simulated by a table
    curve: tuple[float, ...] = ()  # validation accuracy after every epoch
