"""What spaces of architectures share: lowering to `Network`, keys by graph, files that say which space they are of."""

import tomllib
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, ClassVar, TypeVar

import networkx as nx
import numpy as np
from pydantic import Field

from evoml import settings
from evoml.errors import InputError
from evoml.genes import Genotype, toml
from evoml.layers import Size
from evoml.network import Network
from evoml.population import Population
from evoml.spaces import Space
from evoml.streams import generator


class Skeleton(settings.Settings):
    """What surrounds the searched part; not part of a genotype, so that it can be small in the search and large at the end."""

    cells: int = Field(1, ge=0, le=64, description="N, cells of a stage")
    filters: int = Field(8, ge=1, le=4096, description="F, channels of the first stage; doubled at every reduction")
    reductions: int = Field(1, ge=0, le=5, description="times that height and width are halved between stages")
    auxiliary: bool = Field(False, description="an auxiliary head in training, at two thirds of the depth")


class ArchitectureSpace(Space):
    """A space whose genotypes lower to networks. A subclass gives `schema`, `frame`, `network`, and its own mutation where it has one."""

    evaluator = "training"
    name: ClassVar[str]  # its module's
    meaning: ClassVar[tuple[str, ...]] = ()  # settings without which a genotype is another network
    settings: Any

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        """The network for images of this size. Raises ValueError where there is none."""
        raise NotImplementedError

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        """One mutated child."""
        return self.schema.perturb(rng, genotype)

    def mutate(self, population: Population, parents: np.ndarray, streams: np.ndarray) -> Population:
        pairs = zip(parents, streams, strict=True)
        children = [self.vary(generator(stream), population.genotype(int(at))) for at, stream in pairs]
        return Population.of(self.schema, children)

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Every genotype that differs in one gene."""
        return self.schema.neighbours(genotype)

    def canonical(self, genotype: Genotype) -> bytes:
        """What identity is a hash of: equal for genotypes that give the same network."""
        raise NotImplementedError

    def graphs(self, genotype: Genotype) -> dict[str, nx.MultiDiGraph]:
        """What is drawn of a genotype, by name: nodes with a `label` and a `kind` (input, output, node), edges that may have a `label`.

        Where a space says nothing better: the network with these settings for a small image.
        """
        network = self.network(genotype, (3, 32, 32), 10)
        out = nx.MultiDiGraph()
        for number, (channels, height, width) in enumerate(network.sizes):
            kind = "input" if number == 0 else "output" if number == network.output else "node"
            out.add_node(number, label=f"{channels} x {height} x {width}", kind=kind)
        for number, node in enumerate(network.nodes):
            out.add_edges_from((edge.source, number, {"label": "" if edge.layer == "identity" else edge.layer}) for edge in node.edges)
        return {"": out}

    def keys(self, population: Population) -> list[str]:
        return [self.key(population.genotype(index)) for index in range(len(population))]

    def key(self, genotype: Genotype) -> str:
        return blake2b(self.canonical(genotype), digest_size=8).hexdigest()

    def phenotypes(self, population: Population) -> list[Genotype]:
        """The genotypes: a network is made where images and classes are known, in the evaluator."""
        return [population.genotype(index) for index in range(len(population))]

    def header(self) -> dict[str, Any]:
        """The settings that a genotype means nothing without, for its file."""
        return {}

    def format(self, genotype: Genotype) -> str:
        """TOML: the space, then one array of tables a gene table."""
        header = "".join(f"space.{toml({key: value})}" for key, value in {"name": self.name, **self.header()}.items())
        return header + "\n" + self.schema.format(genotype)

    def parse(self, text: str, where: str) -> Genotype:
        tables = read_genotype(text, where)
        given = tables.pop("space", {"name": self.name})
        if not isinstance(given, dict) or given.get("name") != self.name:
            raise InputError(f"{where}: space.name: {given.get('name') if isinstance(given, dict) else given!r}: must be {self.name}")
        default = type(self.settings)().model_dump(mode="json")
        mine = {key: self.settings.model_dump(mode="json")[key] for key in self.meaning}
        for key, value in mine.items():
            if given.get(key, default[key]) != value:
                raise InputError(f"{where}: space.{key}: {given.get(key)!r}: must be {value!r}, as here; else set space.{key}")
        genotype = self.from_plain(tables, where)
        if problem := self.problem(genotype):
            raise InputError(f"{where}: {problem}")
        return genotype

    def from_plain(self, tables: dict[str, Any], where: str) -> Genotype:
        """The genotype of a file's gene tables. Raises InputError."""
        return self.schema.from_plain(tables, where)

    def problem(self, genotype: Genotype) -> str | None:
        """What is wrong with a genotype beyond its schema; None if nothing is."""
        return None


def read_genotype(text: str, where: str) -> dict[str, Any]:
    """A genotype's file as nested dictionaries. Raises InputError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not TOML ({' '.join(str(error).split())[:200]})") from None


S = TypeVar("S", bound=ArchitectureSpace)


def opened(space: Callable[[Any], S], values: type[settings.Settings], text: str, where: str) -> tuple[S, Genotype]:
    """What a space's `open_text` gives: the space that a genotype's file names, made of its settings `values`, and the genotype. Raises InputError."""
    made = space(values.read(read_header(text, where), f"{where}: space"))
    return made, made.parse(text, where)


def read_header(text: str, where: str) -> dict[str, Any]:
    """The settings of a genotype's space, from its file. Raises InputError."""
    given = read_genotype(text, where).get("space", {})
    if not isinstance(given, dict):
        raise InputError(f"{where}: space: {given!r}: must be a table with the space's name")
    return {key: value for key, value in given.items() if key != "name"}


def graph_digest(labels: Sequence[str], edges: Iterable[tuple[int, int, str]]) -> bytes:
    """A hash of a labelled directed graph, the same whatever the order of nodes and edges (Weisfeiler and Leman 1968, both directions)."""
    edges = list(edges)
    colours = [_hash(label) for label in labels]
    for _ in range(len(colours)):
        around: list[list[bytes]] = [[] for _ in colours]
        for source, target, label in edges:
            around[target].append(b"<" + _hash(label) + colours[source])
            around[source].append(b">" + _hash(label) + colours[target])
        new = [_hash(colour + b"".join(sorted(near))) for colour, near in zip(colours, around, strict=True)]
        stable = len(set(new)) == len(set(colours))
        colours = new
        if stable:
            break
    return b"".join(sorted(colours))


def _hash(text: str | bytes) -> bytes:
    return blake2b(text.encode() if isinstance(text, str) else text, digest_size=8).digest()
