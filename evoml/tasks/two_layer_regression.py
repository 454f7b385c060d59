"""Regression on a two-layer ReLU teacher: label = w2.max(0, W1 x), no noise.

Real, Liang, So, Le, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML 2020,
arXiv 2003.03384, section 4.1. As in the authors' program the hidden layer has F units and units 0
and 2 are dead, which leaves two at F = 4. Departure: the random numbers are numpy's, so that the
tasks are the published ones in distribution and not in their bits.
"""

from collections.abc import Callable

import numpy as np
from pydantic import Field

from evoml.tasks import _families

DEAD = [0, 2]  # hidden units whose weights are zero


class Settings(_families.RegressionSettings):
    """F = 4; searches on 10 tasks of 100 + 100 examples, selects and tests on 100 of 1000 + 100."""

    features: int = Field(
        default=4,
        ge=2,
        le=1024,
        description="F, the length of every feature vector; with 1 no unit would live",
    )


class TwoLayerRegressionTask(_families.TeacherTask):
    """Tasks with a two-layer teacher."""

    @staticmethod
    def teacher(rng: np.random.Generator, features: int) -> Callable[[np.ndarray], np.ndarray]:
        """x [N, F] -> w2.max(0, W1 x) [N]."""
        w1, w2 = rng.standard_normal((features, features)), rng.standard_normal(features)
        dead = [unit for unit in DEAD if unit < features]
        w1[dead], w2[dead] = 0, 0
        # einsum and not @: the bits of BLAS depend on its number of threads
        return lambda x: np.einsum("nh,h->n", np.maximum(np.einsum("nf,hf->nh", x, w1), 0), w2)
