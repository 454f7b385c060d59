"""What spaces of architectures share: lowering to `Network`, and keys by graph."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from evoml.contracts.space import Space
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.streams import generator
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.layers import Size
from evoml.phenotypes.network import Network, Supernet

if TYPE_CHECKING:
    import networkx as nx

SKIPS = ("skip_connect", "identity", "identity_fr")  # layers that skip


class Skeleton(settings.Settings):
    """What surrounds the searched part; not part of a genotype, so that it can be small in the
    search and large at the end.
    """

    cells: int = Field(1, ge=0, le=64, description="N, cells of a stage")
    filters: int = Field(
        8, ge=1, le=4096, description="F, channels of the first stage; doubled at every reduction"
    )
    reductions: int = Field(
        1, ge=0, le=5, description="times that height and width are halved between stages"
    )
    auxiliary: bool = Field(
        False, description="an auxiliary head in training, at two thirds of the depth"
    )


class ArchitectureSpace(Space):
    """A space whose genotypes lower to networks.

    A subclass gives `schema`, `network`, `frame` for key columns, and its own mutation where it has
    one.
    """

    evaluator = "training"
    phenotype = "architectures"
    lists_neighbours = True
    skips: ClassVar[tuple[str, ...]] = SKIPS

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        """The network for images of this size. Raises ValueError where there is none."""
        raise NotImplementedError

    def supernet(self, inputs: Size, classes: int) -> "Supernet":
        """All its networks for images of this size in one.

        Raises InputError where `has_supernet` is false.
        """
        raise InputError(
            f"space: {self.name}: has no supernet; cell, nasbench201 and mobile have one"
        )

    def paths(self, genotype: Genotype) -> np.ndarray:
        """What a genotype uses of the supernet, [G, O] of 0 and 1."""
        raise NotImplementedError

    def derive(self, strengths: np.ndarray) -> Genotype:
        """The genotype of the strongest options. strengths: [G, O]."""
        raise NotImplementedError

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        """One mutated child."""
        return self.schema.perturb(rng, genotype)

    def mutate(
        self, population: Population, parents: np.ndarray, streams: np.ndarray
    ) -> Population:
        pairs = zip(parents, streams, strict=True)
        children = [
            self.vary(generator(stream), population.genotype(int(at))) for at, stream in pairs
        ]
        return Population.of(self.schema, children)

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Every genotype that differs in one gene."""
        return self.schema.neighbours(genotype)

    def canonical(self, genotype: Genotype) -> bytes:
        """What identity is a hash of: equal for genotypes that give the same network."""
        raise NotImplementedError

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """What is drawn of a genotype, by name: nodes with a `label` and a `kind` (input, output,
        node), edges that may have a `label`.

        Where a space says nothing better: the network with these settings for a small image.
        """
        network = self.network(genotype, (3, 32, 32), 10)
        import networkx as nx

        out = nx.MultiDiGraph()
        for number, (channels, height, width) in enumerate(network.sizes):
            kind = "input" if number == 0 else "output" if number == network.output else "node"
            out.add_node(number, label=f"{channels} x {height} x {width}", kind=kind)
        for number, node in enumerate(network.nodes):
            out.add_edges_from(
                (edge.source, number, {"label": "" if edge.layer == "identity" else edge.layer})
                for edge in node.edges
            )
        return {"": out}

    def keys(self, population: Population) -> list[str]:
        return [self.key(population.genotype(index)) for index in range(len(population))]

    def key(self, genotype: Genotype) -> str:
        return blake2b(self.canonical(genotype), digest_size=8).hexdigest()

    def phenotypes(self, population: Population) -> list[Genotype]:
        """The genotypes: a network is made where images and classes are known, in the evaluator."""
        return [population.genotype(index) for index in range(len(population))]


def graph_digest(labels: Sequence[str], edges: Iterable[tuple[int, int, str]]) -> bytes:
    """A hash of a labelled directed graph, the same whatever the order of nodes and edges
    (Weisfeiler and Leman 1968, both directions).
    """
    edges = list(edges)
    colours = [_hash(label) for label in labels]
    for _ in range(len(colours)):
        around: list[list[bytes]] = [[] for _ in colours]
        for source, target, label in edges:
            around[target].append(b"<" + _hash(label) + colours[source])
            around[source].append(b">" + _hash(label) + colours[target])
        new = [
            _hash(colour + b"".join(sorted(near)))
            for colour, near in zip(colours, around, strict=True)
        ]
        stable = len(set(new)) == len(set(colours))
        colours = new
        if stable:
            break
    return b"".join(sorted(colours))


def _hash(text: str | bytes) -> bytes:
    return blake2b(text.encode() if isinstance(text, str) else text, digest_size=8).digest()
