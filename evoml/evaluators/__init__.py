"""Performance estimation: how good a candidate is. One file an evaluator, with `Settings` and a class `Evaluator`."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluator says of n candidates."""

    objectives: np.ndarray  # [n, O] float64, never NaN
    status: np.ndarray  # [n] uint8, a position in `population.STATUS`
    steps: int  # cost: training steps run for them, over all tasks
