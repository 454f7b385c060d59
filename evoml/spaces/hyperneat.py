"""HyperNEAT: NEAT's genomes as pattern-producing networks (CPPNs), which draw the weights of a
network over the places of its nodes.

Stanley, D'Ambrosio, Gauci 2009, "A Hypercube-Based Encoding for Evolving Large-Scale Neural
Networks", Artificial Life 15(2): a CPPN is asked for the weight between any two nodes by their
coordinates; what is above 0.2 in size becomes a link, scaled to at most 3. Its second output, asked
from the origin, is the bias of a node. With `leo`, its last output says what is a link, wherever it
is above 0, and no weight is cut off (Verbancsics, Stanley 2011, "Constraining Connectivity to
Encourage Modularity in HyperNEAT", GECCO).

The substrate is a table of settings (`_substrates.py`); given as the path of a TOML file, it is
read into one, so that a run holds all of it, as does a genotype's file. Two genotypes have the same
key where they draw the same network. The bias is worth 1 and the CPPN's own bias node too, whatever
value the task gives to those of plain NEAT.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from evoml.contracts.space import read_header
from evoml.contracts.task import Shape, Task
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import ACTIVATION_NAMES, AGGREGATION_NAMES, checked_names
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.spaces import _hyperneat_kernels as kernels
from evoml.spaces import neat
from evoml.spaces._hyperneat_kernels import Rules
from evoml.spaces._substrates import Layout, Substrate, layout, read_substrate, substrate_text

if TYPE_CHECKING:
    import networkx as nx

BLOCK = 2**21  # outputs of CPPNs in memory at once, 16 MiB
SUM = AGGREGATION_NAMES.index("sum")


class Settings(settings.Settings):
    """What a CPPN is made of, how it is read, and for which substrate."""

    recurrent: ClassVar[bool] = False  # the CPPN; a substrate says that of itself
    inputs: ClassVar[int] = 0
    outputs: ClassVar[int] = 0
    bias: ClassVar[float] = 1.0
    growth: ClassVar[int] = 10

    substrate: Substrate = Field(
        Substrate(),
        description="where nodes are and which layers are linked: a table, or the path of a TOML "
        "file with one",
    )
    threshold: float = Field(
        0.2, ge=0, lt=1, description="size of the CPPN's output up to which there is no link"
    )
    range: float = Field(
        3.0,
        gt=0,
        allow_inf_nan=False,
        description="the largest weight, which an output of 1 becomes",
    )
    biases: bool = Field(
        True, description="the CPPN has an output for the bias of a node, asked from the origin"
    )
    leo: bool = Field(
        False,
        description="the CPPN has an output that says what is a link (above 0), in place of the "
        "threshold",
    )
    distance: bool = Field(
        False,
        description="the CPPN is given the distance of the two nodes beside their coordinates",
    )
    activations: tuple[str, ...] = Field(
        ("bipolar", "gauss", "abs", "sin"),
        min_length=1,
        description="functions that a hidden node of the CPPN may have",
    )
    output: str = Field("bipolar", description="function of the CPPN's outputs")
    aggregations: tuple[str, ...] = Field(
        ("sum",), min_length=1, description="how a hidden node of the CPPN may combine its inputs"
    )
    initial: Literal["full", "one", "none"] = Field(
        "full",
        description="links of the first CPPNs: from every input to every output, to each output "
        "from one input, or none",
    )
    weight: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="first weights of CPPNs are uniform between minus this and this",
    )

    @field_validator("activations", "output", "aggregations")
    @classmethod
    def _known(cls, value: Any, info: Any) -> Any:
        return checked_names(value, info.field_name)

    @field_validator("substrate", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        return read_substrate(value)


class HyperNEATSpace(neat.NEATSpace):
    """CPPNs with inputs x1, y1[, z1], x2, y2[, z2][, distance], the bias, and outputs weight[,
    bias][, link expression].
    """

    substrate: Substrate
    identity_settings: ClassVar[Any] = ("threshold", "range", "biases", "leo", "distance")

    def __init__(self, settings: Settings) -> None:
        cppn: Any = settings  # it has what neat's settings have
        super().__init__(cppn)
        self.settings: Any = settings
        self.inputs = 2 * settings.substrate.dimensions + settings.distance
        self.outputs = 1 + settings.biases + settings.leo
        self._known = (True, True)
        self.substrate = _with_output(settings.substrate)

    def for_task(self, task: Task | Shape) -> Self:
        """This space for a task's inputs, outputs and function of the outputs.

        Raises InputError where the substrate has others.
        """
        inputs, outputs = task.inputs, task.outputs
        if inputs is None or outputs is None:
            raise InputError(
                f"task: networks of the space {self.name} need a task with inputs and outputs, "
                "such as xor or double_pole"
            )
        self.substrate = self.settings.substrate.made(
            inputs, outputs, self._hidden(inputs, outputs), task.output
        )
        return self

    def _hidden(self, inputs: int, outputs: int) -> int:
        """Nodes of the hidden layer of a substrate that is made for a task."""
        return inputs + outputs

    # -- networks ----------------------------------------------------------------------------------

    @cached_property
    def rules(self) -> Rules:
        """How CPPNs are read, for the kernels."""
        own = self.settings
        leo = self.outputs - 1 if own.leo else 0
        return Rules(
            own.threshold,
            own.range,
            leo,
            own.biases,
            own.distance,
            self.substrate.recurrent,
            **self._search(),
        )

    def _search(self) -> dict[str, Any]:
        """Rules of a space that looks for hidden nodes."""
        return {}

    @cached_property
    def layout(self) -> Layout:
        """The substrate's possible links.

        Raises InputError where neither settings nor a task say what it is.
        """
        self._need_layers()
        return layout(self.substrate, self.settings.biases)

    def _need_layers(self) -> None:
        if not self.substrate.layers:
            raise InputError(
                "space.substrate: has no layers; give it some, or make the space for a task"
            )

    def phenotypes(self, population: Population) -> NeuronGraphs:
        """The networks that the CPPNs draw, without what reaches no output."""
        tables, cppns = self.layout, super().phenotypes(population)
        inputs, outputs = len(self.substrate.layers[0]), len(self.substrate.layers[-1])
        nodes, links, count = len(tables.order), len(tables.source), len(population)
        parts = []
        most = max(1, BLOCK // max(1, links * self.outputs))
        for begin in range(0, count, most):
            which = np.arange(begin, min(begin + most, count))
            weight = np.empty((len(which), links))
            kernels.express(
                load("backends", "numba").forward(cppns, self._queries, which),
                tables.source,
                inputs,
                self.rules,
                weight,
            )
            ends, slot = np.zeros(len(which) + 1, np.int64), np.empty(len(which) * nodes, np.int32)
            link_ends, source, kept = (
                np.zeros(len(slot) + 1, np.int64),
                np.empty(weight.size, np.int32),
                np.empty(weight.size),
            )
            rows, used = kernels.lower_all(
                inputs + 1,
                outputs,
                tables.order,
                tables.first,
                tables.source,
                weight,
                ends,
                slot,
                link_ends,
                source,
                kept,
            )
            parts.append(
                (
                    np.diff(ends),
                    slot[:rows].copy(),
                    np.diff(link_ends[: rows + 1]),
                    source[:used].copy(),
                    kept[:used].copy(),
                )
            )
        return self._graphs(parts, np.full(count, inputs + 1 + nodes))

    @cached_property
    def _queries(self) -> np.ndarray:
        """What a CPPN is given for every possible link, [L, inputs]."""
        ends = self.layout.queries
        if not self.settings.distance:
            return ends
        one, other = np.split(ends, 2, axis=1)
        return np.hstack([ends, np.sqrt(((one - other) ** 2).sum(1, keepdims=True))])

    def _graphs(self, parts: Sequence[tuple[np.ndarray, ...]], slots: np.ndarray) -> NeuronGraphs:
        """Networks from parts of rows a network, slots, links a row, sources and weights."""
        rows, slot, links, source, weight = (
            np.concatenate([np.zeros(0, kind), *(part[at] for part in parts)])
            for at, kind in enumerate((np.int64, np.int32, np.int64, np.int32, np.float64))
        )
        inputs, own = len(self.substrate.layers[0]), self.substrate
        functions = [
            ACTIVATION_NAMES.index(name) for name in (own.activation, own.output or neat.SIGMOID)
        ]
        answers = (slot > inputs) & (slot <= inputs + len(own.layers[-1]))
        return NeuronGraphs(
            inputs, len(own.layers[-1]), 1.0, own.recurrent, slots.astype(np.int64),
            np.concatenate([[0], np.cumsum(rows)]), slot,
            np.where(answers, *functions[::-1]).astype(np.uint8), np.full(len(slot), SUM, np.uint8),
            np.concatenate([[0], np.cumsum(links)]), source, weight,
        )  # fmt: skip

    def places(self, genotype: Genotype) -> np.ndarray:
        """Coordinates [slots, D] of all that the network's memory has an address for; those of the
        bias are zero.
        """
        inputs = len(self.substrate.layers[0])
        out: np.ndarray = np.insert(self.layout.places, inputs, 0.0, axis=0)
        return out

    def drawn_network(self, genotype: Genotype) -> "nx.DiGraph":
        """The network that a genotype draws: nodes by address with `kind`, `place` and
        `activation`; links with `weight`.
        """
        graphs, places = (
            self.phenotypes(Population.of(self.schema, [genotype])),
            self.places(genotype),
        )
        edges = list(accumulate((graphs.inputs, 1, graphs.outputs)))
        import networkx as nx

        out = nx.DiGraph()
        for address in range(edges[1]):
            out.add_node(
                address,
                kind="input" if address < edges[0] else "bias",
                place=tuple(places[address].tolist()),
            )
        for row, address in enumerate(graphs.slot.tolist()):
            kind = "output" if address < edges[2] else "hidden"
            out.add_node(
                address,
                kind=kind,
                place=tuple(places[address].tolist()),
                activation=ACTIVATION_NAMES[graphs.activation[row]],
            )
        for row, address in enumerate(graphs.slot.tolist()):
            for link in range(graphs.links[row], graphs.links[row + 1]):
                out.add_edge(int(graphs.source[link]), address, weight=float(graphs.weight[link]))
        return out

    # -- files -------------------------------------------------------------------------------------

    def header(self) -> dict[str, Any]:
        values = self.settings.model_dump(mode="json")
        return {key: values[key] for key in self.identity_settings}

    def format(self, genotype: Genotype) -> str:
        """TOML: the space with its substrate, then the CPPN's gene tables."""
        header, genes = super().format(genotype).split("\n\n", 1)
        return f"{header}\n{substrate_text(self.substrate, 'space.substrate')}\n{genes}"

    def _take_ends(self, genotype: Genotype) -> None:
        """A CPPN's ends are the substrate's, which the file holds."""

    def parse(self, text: str, where: str) -> Genotype:
        own = type(self.settings).read(
            {"substrate": read_header(text, where).get("substrate", {})}, f"{where}: space"
        )
        if _with_output(own.substrate) != self.substrate:
            raise InputError(
                f"{where}: space.substrate: must be that of this run or task; else set "
                "space.substrate"
            )
        return super().parse(text, where)


def _with_output(substrate: Substrate) -> Substrate:
    """A substrate that no task is known of."""
    return substrate.model_copy(update={"output": substrate.output or neat.SIGMOID})
