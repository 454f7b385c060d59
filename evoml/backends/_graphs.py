"""Networks of single neurons, compiled: one step of one network in float64 for simulators, whole
populations over lanes for everything else.

They could be programs for the interpreter of `_lanes.py`, three instructions a link. That takes 8.2
times as long (20 values, 60 links, tanh, float32: 15.6 million evaluations a second against 128
million, benchmarks/neat_speed.py): a link's value goes through memory three times there, and exp
and a reciprocal are instructions of their own. So they have a kernel of their own.
"""

import numpy as np

from evoml.backends._graph_lanes import step
from evoml.compilation.numba_cache import compiled


@compiled
def _sweep(
    nodes,
    slot,
    activation,
    aggregation,
    links,
    source,
    weight,
    recurrent,
    network,
    memory,
    scratch,
    vectors,
    width,
):
    """One step of one network on all lanes; memory, scratch: [slots * width], the width being so
    many vectors.
    """
    first, last = nodes[network], nodes[network + 1]
    if not recurrent:
        step(
            first,
            last,
            slot,
            activation,
            aggregation,
            links,
            source,
            weight,
            memory,
            memory,
            vectors,
        )
        return
    step(
        first, last, slot, activation, aggregation, links, source, weight, memory, scratch, vectors
    )
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
    slots, nodes, slot, activation, aggregation, links, source, weight, recurrent, which, inputs,
    bias, memory, scratch, vectors, lanes, sweeps, out,
):  # fmt: skip
    """Run the networks `which` on `inputs` [I, N], so many vectors of `lanes` at a time, which must
    fit into memory and scratch.

    Fills `out` [n, N, O].
    """
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
            # else every value is written before it is read
            if recurrent or nodes[network + 1] - nodes[network] < slots[network] - count - 1:
                memory[(count + 1) * width : slots[network] * width] = 0
            for _ in range(sweeps if recurrent else 1):
                _sweep(
                    nodes,
                    slot,
                    activation,
                    aggregation,
                    links,
                    source,
                    weight,
                    recurrent,
                    network,
                    memory,
                    scratch,
                    wide,
                    width,
                )
            _read(memory, count + 1, out.shape[2], width, used, out[index, begin : begin + used])


@compiled
def advance(
    nodes,
    slot,
    activation,
    aggregation,
    links,
    source,
    weight,
    recurrent,
    inputs,
    memory,
    scratch,
    vectors,
    width,
    out,
):
    """One step of every network on inputs [P, L, I], from and to memory [P, slots * width], a width
    being so many vectors.

    Fills `out` [P, L, O].
    """
    for network in range(len(inputs)):
        own = memory[network]
        for row in range(inputs.shape[2]):
            for lane in range(inputs.shape[1]):
                own[row * width + lane] = inputs[network, lane, row]
        _sweep(
            nodes,
            slot,
            activation,
            aggregation,
            links,
            source,
            weight,
            recurrent,
            network,
            own,
            scratch,
            vectors,
            width,
        )
        _read(own, inputs.shape[2] + 1, out.shape[2], width, inputs.shape[1], out[network])
