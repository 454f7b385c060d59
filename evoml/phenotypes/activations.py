"""Activation and aggregation functions of network nodes, one row each: the NumPy definition and the
same as text.

The text is an expression of `a` in +, -, *, /, comparisons and the functions abs, cos, exp, sin,
tanh, sqrt and where(condition, x, y), whose names NumPy and torch share; the compiled backends are
generated from it. An aggregation is a fold: `start`, then `step` over the weighted inputs `a` with
the value `out` so far; NaN stays.

The paper's function is `sigmoid`, of slope 4.9 (Stanley, Miikkulainen 2002, "Evolving Neural
Networks through Augmenting Topologies", Evolutionary Computation 10(2)); the others are those of
its libraries and of pattern-producing networks (Stanley 2007, "Compositional Pattern Producing
Networks").
"""

from typing import Any

import numpy as np

from evoml.core.registry import extended
from evoml.phenotypes.rows import Activation, Aggregation

# fmt: off
_OWN: tuple[Activation, ...] = (
    Activation("sigmoid", lambda a: 1 / (1 + np.exp(-4.9 * a)), "1 / (1 + exp(-4.9 * a))"),
    Activation("logistic", lambda a: 1 / (1 + np.exp(-a)), "1 / (1 + exp(-a))"),
    Activation("tanh", lambda a: np.tanh(a), "tanh(a)"),
    Activation("relu", lambda a: np.where(a > 0, a, 0), "where(a > 0, a, 0)"),
    Activation("identity", lambda a: a, "a"),
    Activation("clamped", lambda a: np.where(a > 1, 1, np.where(a < -1, -1, a)),
               "where(a > 1, 1, where(a < -1, -1, a))"),
    Activation("step", lambda a: np.where(a > 0, 1.0, 0.0), "where(a > 0, 1, 0)"),
    Activation("gauss", lambda a: np.exp(-a * a), "exp(-a * a)"),
    Activation("sin", lambda a: np.sin(a), "sin(a)"),
    Activation("cos", lambda a: np.cos(a), "cos(a)"),
    Activation("abs", lambda a: np.abs(a), "abs(a)"),
    Activation("square", lambda a: a * a, "a * a"),
    Activation("softsign", lambda a: a / (1 + np.abs(a)), "a / (1 + abs(a))"),
    Activation("bipolar", lambda a: 2 / (1 + np.exp(-4.9 * a)) - 1, "2 / (1 + exp(-4.9 * a)) - 1"),
)
AGGREGATIONS: tuple[Aggregation, ...] = (
    Aggregation("sum", lambda a: np.add.accumulate(a)[-1], 0.0, "out + a"),
    Aggregation("product", lambda a: np.multiply.accumulate(a)[-1], 1.0, "out * a"),
    Aggregation("max", lambda a: a.max(0), -np.inf,
                "where(a > out, a, where(a <= out, out, a + out))"),
    Aggregation("min", lambda a: a.min(0), np.inf,
                "where(a < out, a, where(a >= out, out, a + out))"),
    Aggregation("mean", lambda a: np.add.accumulate(a)[-1] / len(a), 0.0, "out + a", mean=True),
)
# fmt: on

ACTIVATIONS = extended("activations", _OWN)
ACTIVATION_NAMES = tuple(row.name for row in ACTIVATIONS)
AGGREGATION_NAMES = tuple(row.name for row in AGGREGATIONS)


def checked_names(value: Any, field: str) -> Any:
    """A setting that names a function or several, or none; aggregations where the field is called
    so.

    Raises ValueError for a name that is none.
    """
    names = AGGREGATION_NAMES if field == "aggregations" else ACTIVATION_NAMES
    for name in (value,) if isinstance(value, str) else value or ():
        if name not in names:
            raise ValueError(f"there is no {name}; there are {', '.join(names)}")
    return value
