"""Networks of single neurons, compiled: one step of one network in float64 for simulators, whole populations over lanes for everything else.

They could be programs for the interpreter of `_lanes.py`, three instructions a link. That takes 8.2 times as long (20 values, 60 links, tanh, float32:
15.6 million evaluations a second against 128 million, benchmarks/neat_speed.py): a link's value goes through memory three times there, and exp and a reciprocal are
instructions of their own. So they have a kernel of their own.
"""

import numpy as np

from evoml.activations import ACTIVATION_NAMES, ACTIVATIONS, AGGREGATION_NAMES, AGGREGATIONS
from evoml.backends._graph_lanes import step
from evoml.compiled import compiled

SUM = np.uint8(AGGREGATION_NAMES.index("sum"))
SIGMOID = np.uint8(ACTIVATION_NAMES.index("sigmoid"))
STARTS = np.array([row.start for row in AGGREGATIONS])
MEANS = np.array([row.mean for row in AGGREGATIONS])


@compiled
def _where(condition, x, y):
    return np.float64(x) if condition else np.float64(y)


def _switch(name, arguments, texts):
    """A compiled function of `kind` and other arguments: text number `kind`. It passes as a part of this file, so that it is cached with it."""
    names = {"__name__": __name__, "where": _where} | {each: getattr(np, each) for each in ("abs", "cos", "exp", "sin", "tanh", "sqrt")}
    lines = [line for at, text in enumerate(texts) for line in (f"    if kind == {at}:", f"        return {text}")]
    exec(compile("\n".join([f"def {name}(kind, {arguments}):", *lines, "    return a"]), __file__, "exec"), names)
    return compiled(names[name])


_activation = _switch("_activation", "a", [row.text for row in ACTIVATIONS])
_fold = _switch("_fold", "out, a", [row.step for row in AGGREGATIONS])


@compiled
def activate(nodes, slot, activation, aggregation, links, source, weight, recurrent, network, values, scratch):
    """One step of one network: `values` [at least its slots] holds the inputs at 0 .. I - 1 and the bias at I, and then the new values of its nodes.

    The first seven arguments are the arrays of `Graphs`. Recurrent: all new values come from the old ones; `scratch` [at least its slots] is working space.
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


@compiled
def _sweep(nodes, slot, activation, aggregation, links, source, weight, recurrent, network, memory, scratch, vectors, width):
    """One step of one network on all lanes; memory, scratch: [slots * width], the width being so many vectors."""
    first, last = nodes[network], nodes[network + 1]
    if not recurrent:
        step(first, last, slot, activation, aggregation, links, source, weight, memory, memory, vectors)
        return
    step(first, last, slot, activation, aggregation, links, source, weight, memory, scratch, vectors)
    for row in range(first, last):
        at = np.int64(slot[row]) * width
        memory[at : at + width] = scratch[at : at + width]


@compiled
def _read(memory, first, outputs, width, lanes, out):
    """Copy the outputs, rows from `first` on, to `out` [lanes, O]."""
    for output in range(outputs):
        at = (first + output) * width
        for lane in range(lanes):
            out[lane, output] = memory[at + lane]


@compiled
def forward(
    slots, nodes, slot, activation, aggregation, links, source, weight, recurrent, which, inputs, bias, memory, scratch, vectors, lanes, sweeps, out
):  # fmt: skip
    """Run the networks `which` on `inputs` [I, N], so many vectors of `lanes` at a time, which must fit into memory and scratch. Fills `out` [n, N, O]."""
    count, total = inputs.shape
    for begin in range(0, total, vectors * lanes):
        used = min(vectors * lanes, total - begin)
        wide = (used + lanes - 1) // lanes
        width = wide * lanes
        memory[:] = 0
        for row in range(count):
            memory[row * width : row * width + used] = inputs[row, begin : begin + used]
        memory[count * width : (count + 1) * width] = bias
        for index in range(len(which)):
            network = which[index]
            if (
                recurrent or nodes[network + 1] - nodes[network] < slots[network] - count - 1
            ):  # else every value is written before it is read
                memory[(count + 1) * width : slots[network] * width] = 0
            for _ in range(sweeps if recurrent else 1):
                _sweep(nodes, slot, activation, aggregation, links, source, weight, recurrent, network, memory, scratch, wide, width)
            _read(memory, count + 1, out.shape[2], width, used, out[index, begin : begin + used])


@compiled
def advance(nodes, slot, activation, aggregation, links, source, weight, recurrent, inputs, memory, scratch, vectors, width, out):
    """One step of every network on inputs [P, L, I], from and to memory [P, slots * width], a width being so many vectors. Fills `out` [P, L, O]."""
    for network in range(len(inputs)):
        own = memory[network]
        for row in range(inputs.shape[2]):
            for lane in range(inputs.shape[1]):
                own[row * width + lane] = inputs[network, lane, row]
        _sweep(nodes, slot, activation, aggregation, links, source, weight, recurrent, network, own, scratch, vectors, width)
        _read(own, inputs.shape[2] + 1, out.shape[2], width, inputs.shape[1], out[network])
