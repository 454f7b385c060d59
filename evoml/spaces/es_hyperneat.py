"""ES-HyperNEAT: CPPNs as in HyperNEAT, which also say where hidden nodes are: where the pattern
that they draw holds information.

Risi, Stanley 2012, "An Enhanced Hypercube-Based Encoding for Evolving the Placement, Density, and
Connectivity of Neurons", Artificial Life 18(4). From a node, the plane is divided into quarters of
quarters while weights differ; squares of little variance become links where both neighbours on one
axis differ from them (a band). So from the inputs, again from the nodes found, and backwards from
the outputs to nodes that are there; nodes that lead to no output are left out. Weights are not cut
off (the threshold is 0), as in the authors' program, whose divisions, variances of leaves and
neighbours' distances these are. Departures: of a feed-forward network, links between hidden nodes
lead up in y; with a threshold, a link below it makes no node.
"""

from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from evoml.backends._graph_lanes import prepare
from evoml.backends._lanes import LANES
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.spaces import _hyperneat_kernels as kernels
from evoml.spaces import hyperneat, neat
from evoml.spaces._hyperneat_kernels import Tools

VECTORS, WIDTH = 16, LANES[np.dtype(np.float64)]  # that a CPPN runs on at a time


class Settings(hyperneat.Settings):
    """Numbers of the quadtree as in a public program's settings; the paper's own were not at
    hand.
    """

    threshold: float = Field(
        0.0, ge=0, lt=1, description="size of the CPPN's output up to which there is no link"
    )
    initial_depth: int = Field(
        3,
        ge=1,
        le=7,
        description="divisions of the plane that are always made: 3 are 8 x 8 squares",
    )
    max_depth: int = Field(
        3, ge=1, le=7, description="divisions that are made at most, where weights differ"
    )
    division: float = Field(
        0.03,
        ge=0,
        allow_inf_nan=False,
        description="variance of a square's four weights above which they are divided",
    )
    variance: float = Field(
        0.03,
        ge=0,
        allow_inf_nan=False,
        description="variance of the weights in a square above which its parts are looked at",
    )
    band: float = Field(
        0.3,
        ge=0,
        allow_inf_nan=False,
        description="difference to both neighbours on an axis above which there is a link",
    )
    iterations: int = Field(
        1,
        ge=0,
        le=100,
        description="times that links are followed from the hidden nodes found before",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_depth < self.initial_depth:
            raise ValueError(
                f"max_depth: {self.max_depth}: must be at least the initial depth, "
                f"{self.initial_depth}"
            )
        if self.substrate.dimensions != 2:
            raise ValueError(
                "substrate: nodes of three coordinates; the plane that is searched has two"
            )
        if len(self.substrate.layers) > 2 or self.substrate.links:
            raise ValueError(
                "substrate: must have the layers inputs and outputs alone and no links; hidden "
                "nodes are found"
            )
        return self


class ESHyperNEATSpace(hyperneat.HyperNEATSpace):
    """CPPNs with inputs x1, y1, x2, y2[, distance], the bias, and outputs weight[, bias][, link
    expression].
    """

    identity_settings: ClassVar[Any] = (
        *hyperneat.HyperNEATSpace.identity_settings,
        "initial_depth",
        "max_depth",
        "division",
        "variance",
        "band",
        "iterations",
    )

    def _hidden(self, inputs: int, outputs: int) -> int:
        return 0

    def _search(self) -> dict[str, Any]:
        own = self.settings
        return {
            "initial": own.initial_depth, "deepest": own.max_depth, "division": own.division,
            "variance": own.variance, "band": own.band, "iterations": own.iterations,
        }  # fmt: skip

    def phenotypes(self, population: Population) -> NeuronGraphs:
        """The networks that the CPPNs draw, without what reaches no output."""
        found = self._discovered(population)
        inputs, outputs = (len(layer) for layer in self.substrate.layers)
        parts = [
            (np.array([len(slot)]), slot, np.diff(ends), source, weight)
            for _, slot, ends, source, weight in found
        ]
        return self._graphs(
            parts, np.array([inputs + 1 + outputs + len(hidden) for hidden, *_ in found], np.int64)
        )

    def _discovered(self, population: Population) -> list[tuple[np.ndarray, ...]]:
        """What the kernel finds, network by network."""
        self._need_layers()
        cppns = neat.NEATSpace.phenotypes(self, population)
        prepare(np.dtype(np.float64))
        room = np.zeros(max(1, int(cppns.slots.max(initial=0))) * VECTORS * WIDTH)
        tools = Tools(
            cppns.slots, cppns.nodes, cppns.slot, cppns.activation, cppns.aggregation, cppns.links,
            cppns.source, cppns.weight, room, VECTORS, WIDTH, self.outputs,
        )  # fmt: skip
        ends = [layer.coordinates for layer in self.substrate.layers]
        return [
            kernels.discover(tools, network, self.rules, *ends)
            for network in range(len(population))
        ]

    def places(self, genotype: Genotype) -> np.ndarray:
        """Coordinates [slots, 2] of all that the network's memory has an address for; those of the
        bias are zero.
        """
        ((hidden, *_),) = self._discovered(Population.of(self.schema, [genotype]))
        inputs, outputs = (layer.coordinates for layer in self.substrate.layers)
        out: np.ndarray = np.concatenate([inputs, np.zeros((1, 2)), outputs, hidden])
        return out
