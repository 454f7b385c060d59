"""One step of one network of neurons in float64, compiled: what backends and simulated environments
share.

Activations and aggregations are compiled from the texts of their rows.
"""

import numpy as np

from evoml.compilation.numba_cache import compiled
from evoml.phenotypes.activations import (
    ACTIVATION_NAMES,
    ACTIVATIONS,
    AGGREGATION_NAMES,
    AGGREGATIONS,
)

SUM = np.uint8(AGGREGATION_NAMES.index("sum"))
SIGMOID = np.uint8(ACTIVATION_NAMES.index("sigmoid"))
STARTS = np.array([row.start for row in AGGREGATIONS])
MEANS = np.array([row.mean for row in AGGREGATIONS])


@compiled
def _where(condition, x, y):
    return np.float64(x) if condition else np.float64(y)


def _switch(name, arguments, texts):
    """A compiled function of `kind` and other arguments: text number `kind`.

    It passes as a part of this file, so that it is cached with it.
    """
    names = {"__name__": __name__, "where": _where} | {
        each: getattr(np, each) for each in ("abs", "cos", "exp", "sin", "tanh", "sqrt")
    }
    lines = [
        line
        for at, text in enumerate(texts)
        for line in (f"    if kind == {at}:", f"        return {text}")
    ]
    exec(
        compile(
            "\n".join([f"def {name}(kind, {arguments}):", *lines, "    return a"]), __file__, "exec"
        ),
        names,
    )
    return compiled(names[name])


_activation = _switch("_activation", "a", [row.text for row in ACTIVATIONS])
_fold = _switch("_fold", "out, a", [row.step for row in AGGREGATIONS])


@compiled
def activate(
    nodes, slot, activation, aggregation, links, source, weight, recurrent, network, values, scratch
):
    """One step of one network: `values` [at least its slots] holds the inputs at 0 .. I - 1 and the
    bias at I, and then the new values of its nodes.

    The first seven arguments are the arrays of `NeuronGraphs`. Recurrent: all new values come from
    the old ones; `scratch` [at least its slots] is working space.
    """
    first, last = nodes[network], nodes[network + 1]
    to = scratch if recurrent else values
    end = links[first]
    for row in range(first, last):
        start, end = end, links[row + 1]
        kind = aggregation[row]
        out = 0.0
        if kind == SUM:
            for link in range(start, end):
                out += weight[link] * values[np.uint64(source[link])]
        elif start < end:
            out = STARTS[kind]
            for link in range(start, end):
                out = _fold(kind, out, weight[link] * values[np.uint64(source[link])])
            if MEANS[kind]:
                out /= end - start
        if start == end:
            out = 0.0
        elif activation[row] == SIGMOID:
            out = 1.0 / (1.0 + np.exp(-4.9 * out))
        else:
            out = _activation(activation[row], out)
        to[np.uint64(slot[row])] = out
    if recurrent:
        for row in range(first, last):
            values[np.uint64(slot[row])] = scratch[np.uint64(slot[row])]
