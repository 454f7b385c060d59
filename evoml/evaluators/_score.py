"""From fitness on tasks to one number, and the estimated cost of programs; compiled."""

import numpy as np

from evoml.compilation.numba_cache import compiled
from evoml.phenotypes.instructions import OPS

COST = np.array([float(op.cost) for op in OPS])


@compiled
def combine(fitness, tasks, median):
    """Mean over the first `tasks` columns, or the element at tasks // 2 in order. [n, T] -> [n]"""
    out = np.zeros(len(fitness))
    for index in range(len(fitness)):
        if median:
            out[index] = np.sort(fitness[index, :tasks])[tasks // 2]
        else:
            for task in range(tasks):
                out[index] += fitness[index, task]
            out[index] /= tasks
    return out


@compiled
def costs(tables, sizes, which, train):
    """Estimated cost of the programs `which`: setup once, predict and learn on every training
    example.

    [n]
    """
    out = np.zeros(len(which))
    for index in range(len(which)):
        program = which[index]
        for function in range(3):
            cost = 0.0
            for row in range(sizes[program, function]):
                cost += COST[tables[function][program, row].op]
            out[index] += cost if function == 0 else cost * train
    return out
