"""Graphs: networks of single neurons as instruction tables, the phenotype of NEAT that backends
run. A batch of them is a struct of arrays.

A network has a memory of values: its inputs, then the bias, then its outputs, then its hidden
nodes. An instruction computes one node from its links, in an order in which everything is computed
before it is used (feed-forward), or all from the values before the step (recurrent: one synchronous
sweep a step, memory zero at the start of an episode). A node without links is inactive: its value
is 0.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class NeuronGraphs:
    """P networks of I inputs and O outputs.

    Node rows of network p are nodes[p] .. nodes[p + 1] - 1, and likewise the links of a node row.
    """

    inputs: int  # I
    outputs: int  # O
    bias: float  # the value of the bias, at address I
    recurrent: bool
    slots: np.ndarray  # [P] int64, values in a network's memory: I + 1 + O and its hidden nodes
    nodes: np.ndarray  # [P + 1] int64
    # [nodes] int32, the address that a node's value goes to; I + 1 + o is output o
    slot: np.ndarray
    activation: np.ndarray  # [nodes] uint8, a position in ACTIVATIONS
    aggregation: np.ndarray  # [nodes] uint8, a position in AGGREGATIONS
    links: np.ndarray  # [nodes + 1] int64
    source: np.ndarray  # [links] int32, the address that a link reads
    weight: np.ndarray  # [links] float64

    def __len__(self) -> int:
        return len(self.slots)

    def take(self, at: np.ndarray) -> "NeuronGraphs":
        """The networks `at`, indices, copied."""
        rows = spans(self.nodes, at)
        links = spans(self.links, rows)
        counts = (np.diff(self.nodes)[at], np.diff(self.links)[rows])
        nodes, ends = (np.concatenate([[0], np.cumsum(each)]) for each in counts)
        return NeuronGraphs(
            self.inputs, self.outputs, self.bias, self.recurrent, self.slots[at], nodes,
            self.slot[rows], self.activation[rows], self.aggregation[rows], ends,
            self.source[links], self.weight[links],
        )  # fmt: skip


def spans(offsets: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The row numbers offsets[i] .. offsets[i + 1] - 1 of every i in `at`, one after the other."""
    starts, counts = offsets[at], np.diff(offsets)[at]
    ends = np.cumsum(counts)
    out: np.ndarray = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
        starts - ends + counts, counts
    )
    return out
