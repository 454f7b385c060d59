"""Performance estimation: how good a candidate is. One file an evaluator, with `Settings` and a class `Evaluator`.

An evaluator is made with (settings, tasks, space, backend); `task` names what it is used on by default. For programs the loop uses `weights` (DEAP's, one
an objective), calling it with phenotypes,
`per_task(phenotypes)`, `overall(scores)` (one number of a row of that), `exact(settings)` (the settings of selection and test), `counts` (what it did, by name, `steps` among them), `warm()`,
`state_dict()` and `load_state_dict(state)`, which raises ValueError for a state that does not fit.

One with an attribute `costly` is used by the steady state: `outcomes(genotypes, streams)` gives an `Outcome` a candidate, `worst` is what one that failed gets,
`objectives` and `weights` say what is measured, `test` what is reported of a winner; `costly` is whether a candidate is worth a process of its own.

One that has to learn before it can score anything (a supernet) has `learning` (whether it has), `learn()` (one step; at the end of an epoch a report, else None), `seed` (set by the loop),
`step` of `total`, `net` (the shared weights), `score(genotype)` (accuracy with them), `divergence(genotype)` (how far predictions are from the whole supernet's), `spent` (multiply-adds so far), a state, and a
setting `alone`: how a candidate is trained by itself. A strategy may be such a learner too.
"""

from dataclasses import dataclass
from math import inf
from typing import Any

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


class Counted:
    """What evaluators share whose state is counters alone."""

    counts: dict[str, int]

    def state_dict(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "arrays": {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a state that does not fit."""
        try:
            self.counts = {name: int(state["counts"][name]) for name in self.counts}
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a {type(self).__module__.rpartition('.')[2]} evaluator's state: {error}") from None


class Single(Counted):
    """What evaluators of the steady state share: what a failure is worth."""

    weights: tuple[float, ...]

    @property
    def worst(self) -> tuple[float, ...]:
        """The objectives of a candidate that failed, [O]."""
        return tuple(0.0 if each > 0 else inf for each in self.weights)
