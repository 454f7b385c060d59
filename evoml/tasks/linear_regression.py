"""Linear regression: label = w.x, with N(0, 1) features and weights and no noise.

Real, Liang, So, Le, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML 2020,
arXiv 2003.03384, section 4.1. Departure: the random numbers are numpy's, so that the tasks are the
published ones in distribution and not in their bits.
"""

from collections.abc import Callable

import numpy as np

from evoml.tasks import _families


class Settings(_families.RegressionSettings):
    """F = 4; searches on 10 tasks of 100 + 100 examples, selects and tests on 100 of 1000 + 100."""


class LinearRegressionTask(_families.TeacherTask):
    """Tasks with a linear teacher."""

    @staticmethod
    def teacher(rng: np.random.Generator, features: int) -> Callable[[np.ndarray], np.ndarray]:
        """x [N, F] -> w.x [N]."""
        w = rng.standard_normal(features)
        # einsum and not @: the bits of BLAS depend on its number of threads
        return lambda x: np.einsum("nf,f->n", x, w)
