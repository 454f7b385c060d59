"""Networks: what a space of architectures lowers to, as a table of edges. One torch module runs any
of them (`evoml.networks`).

Node 0 is the image; every other node merges the outputs of layers that read earlier nodes. Shapes,
parameters and multiply-adds follow from the table alone, so they are known before anything is built
or trained.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from evoml.phenotypes.layers import Primitive, Size, primitives

if TYPE_CHECKING:
    import networkx as nx

Merge = Literal["add", "concat"]


@dataclass(frozen=True)
class Edge:
    """A layer between two nodes."""

    source: int
    layer: str  # a name in `layers.LAYERS`
    channels: int  # that it gives
    stride: int = 1
    # (cell + 1) / cells for drop path; 0: never dropped. Identities are never dropped whatever this
    # says
    depth: float = 0.0
    # in a supernet, which option of which group this layer is; None: it is always there
    option: tuple[int, int] | None = None


@dataclass(frozen=True)
class Node:
    """One tensor: outputs of layers, added or concatenated.

    Where sizes differ, smaller ones are zero-padded at the bottom and right.
    """

    edges: tuple[Edge, ...]
    merge: Merge = "add"
    # the same in a supernet and in the networks that are read off it
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class Network:
    """A whole network, from images to class scores: `nodes[1:]`, then ReLU, global average pooling
    and a linear layer on node `output`.
    """

    inputs: Size
    classes: int
    nodes: tuple[Node, ...]  # [0] is the image and has no edges
    output: int
    auxiliary: int = -1  # the node that the auxiliary head reads in training; -1: none

    @cached_property
    def sizes(self) -> tuple[Size, ...]:
        """Channels, height and width of every node.

        Raises ValueError where edges that are added differ in channels.
        """
        out: list[Size] = [self.inputs]
        for number, node in enumerate(self.nodes[1:], 1):
            given = []
            for edge in node.edges:
                if not 0 <= edge.source < number:
                    raise ValueError(
                        f"node {number} reads node {edge.source}, which is not before it"
                    )
                _, height, width = out[edge.source]
                for step in self.primitives(edge, out[edge.source][0]):
                    height, width = step.after(height, width)
                given.append((edge.channels, height, width))
            if not given:
                raise ValueError(f"node {number} reads nothing")
            if node.merge == "add" and len({channels for channels, _, _ in given}) > 1:
                raise ValueError(f"node {number} adds different numbers of channels")
            channels = (
                given[0][0] if node.merge == "add" else sum(channels for channels, _, _ in given)
            )
            out.append(
                (
                    channels,
                    max(height for _, height, _ in given),
                    max(width for _, _, width in given),
                )
            )
        return tuple(out)

    @cached_property
    def connected(self) -> bool:
        """Whether anything of the image reaches the output."""
        reached = [True]
        for node in self.nodes[1:]:
            reached.append(
                any(reached[edge.source] and edge.layer != "none" for edge in node.edges)
            )
        return reached[self.output]

    @staticmethod
    def primitives(edge: Edge, inputs: int) -> tuple[Primitive, ...]:
        """The steps of one edge's layer."""
        return primitives(edge.layer, inputs, edge.channels, edge.stride)

    @cached_property
    def parameters(self) -> int:
        """Trainable numbers, without the auxiliary head."""
        convolutions = sum(step.parameters for _, step in self._steps())
        return convolutions + (self.sizes[self.output][0] + 1) * self.classes

    @cached_property
    def multiply_adds(self) -> int:
        """Of one image: convolutions and the last linear layer, without the auxiliary head."""
        total = self.sizes[self.output][0] * self.classes
        for edge in (edge for node in self.nodes for edge in node.edges):
            channels, height, width = self.sizes[edge.source]
            for step in self.primitives(edge, channels):
                total += step.multiply_adds(height, width)
                height, width = step.after(height, width)
        return total

    def _steps(self) -> Iterable[tuple[Edge, Primitive]]:
        for node in self.nodes:
            for edge in node.edges:
                for step in self.primitives(edge, self.sizes[edge.source][0]):
                    yield edge, step

    def graph(self) -> "nx.MultiDiGraph":
        """Nodes by number with `size` and `merge`, edges with `layer`."""
        import networkx as nx

        out = nx.MultiDiGraph()
        for number, (node, size) in enumerate(zip(self.nodes, self.sizes, strict=True)):
            out.add_node(number, size=size, merge=node.merge)
            for edge in node.edges:
                out.add_edge(edge.source, number, layer=edge.layer, stride=edge.stride)
        return out


@dataclass(frozen=True)
class Group:
    """One choice that is open in a supernet."""

    name: str  # such as "normal 0>2"
    options: tuple[str, ...]  # layers; `none` has no edge


@dataclass(frozen=True)
class Supernet:
    """A network with every candidate layer of a space on every edge: the layers of one group are
    alternatives, wherever it occurs in the network.
    """

    network: Network
    groups: tuple[Group, ...]

    @cached_property
    def available(self) -> np.ndarray:
        """Which options there are, [G, O] bool: groups need not have the same number."""
        most = max(len(group.options) for group in self.groups)
        return np.array(
            [[option < len(group.options) for option in range(most)] for group in self.groups]
        )


class Builder:
    """Collects nodes; what nothing reads is left out at the end."""

    def __init__(self, inputs: Size) -> None:
        self.inputs = inputs
        self.nodes: list[Node] = [Node(())]
        self.channels: list[int] = [inputs[0]]

    def node(self, edges: Iterable[Edge], merge: Merge = "add", name: str = "") -> int:
        """A node that merges these edges; its number."""
        edges = tuple(edges)
        self.nodes.append(Node(edges, merge, name))
        self.channels.append(
            edges[0].channels if merge == "add" else sum(edge.channels for edge in edges)
        )
        return len(self.nodes) - 1

    def layer(
        self,
        source: int,
        layer: str,
        channels: int,
        stride: int = 1,
        depth: float = 0.0,
        name: str = "",
    ) -> int:
        """A node with one edge."""
        return self.node([Edge(source, layer, channels, stride, depth)], name=name)

    def concat(self, sources: Iterable[int]) -> int:
        """The concatenation of nodes; a single one is itself."""
        sources = list(sources)
        if len(sources) == 1:
            return sources[0]
        return self.node(
            [Edge(source, "identity", self.channels[source]) for source in sources], "concat"
        )

    def network(self, output: int, classes: int, auxiliary: int = -1) -> Network:
        """Everything that reaches the output."""
        needed, todo = {0, output} | ({auxiliary} - {-1}), [output, *({auxiliary} - {-1})]
        while todo:
            for edge in self.nodes[todo.pop()].edges:
                if edge.source not in needed:
                    needed.add(edge.source)
                    todo.append(edge.source)
        place = {old: new for new, old in enumerate(sorted(needed))}
        nodes = tuple(
            replace(
                self.nodes[old],
                edges=tuple(
                    replace(edge, source=place[edge.source]) for edge in self.nodes[old].edges
                ),
            )
            for old in sorted(needed)
        )
        return Network(self.inputs, classes, nodes, place[output], place.get(auxiliary, -1))
