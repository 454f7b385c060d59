"""NAS-Bench-201: cells of four nodes with one of five operations on each of the six edges between
them.

Dong and Yang 2020, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search",
ICLR, arXiv 2001.00326; Dong et al. 2021, "NATS-Bench", TPAMI, arXiv 2009.00437 (its topology
space). The mutation is NATS-Bench's: one edge gets another operation. Identity is NATS-Bench's too:
operations of nothing count as nothing and `skip_connect` as its source, which makes 6,466 classes
of the 15,625 cells; a few cells of the same function are still told apart. The crossover is
evoml's.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.core import settings
from evoml.genotypes.decisions import Choose
from evoml.genotypes.domains import Choice, Integer
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.phenotypes.layers import Size
from evoml.phenotypes.network import Builder, Edge, Group, Network, Supernet

if TYPE_CHECKING:
    import networkx as nx

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
LAYERS = ("none", "skip_connect", "conv_1x1", "conv_3x3", "avg_pool_3x3")
EDGES = tuple((source, target) for target in (1, 2, 3) for source in range(target))
SCHEMA = Schema(
    (
        Table(
            "edges",
            (
                Column("source", Integer(0, 2), True),
                Column("target", Integer(1, 3), True),
                Column("op", Choice(OPS)),
            ),
            6,
            6,
        ),
    )
)
# of one edge: operations, and which options of a supernet they are
_Layers = list[tuple[int, tuple[int, int] | None]]
_PLACES = 5 ** np.arange(6, dtype=np.uint64)


class Skeleton(settings.Settings):
    """The published network around the cell; with residual blocks that halve height and width
    between stages.
    """

    cells: int = Field(5, ge=0, le=64, description="N, cells of a stage")
    filters: int = Field(
        16, ge=1, le=4096, description="channels of the first stage; doubled at every reduction"
    )
    reductions: int = Field(
        2, ge=0, le=5, description="times that height and width are halved between stages"
    )


class Settings(settings.Settings):
    """What counts as the same candidate, and the skeleton around the cell."""

    identity: Literal["function", "cell"] = Field(
        "function",
        description="candidates are the same where NATS-Bench's string of their function is, or "
        "where every edge is",
    )
    skeleton: Skeleton = Skeleton()


class NASBench201Space(ArchitectureSpace):
    """Cells as six operations."""

    has_supernet = True
    schema = SCHEMA

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def frame(self, choose: Choose) -> Frame:
        return {"edges": [{"source": source, "target": target} for source, target in EDGES]}

    def random(self, streams: np.ndarray) -> Population:
        """One cell a stream, uniform over all 15,625: what `decide` makes with dice, sooner."""
        rngs = (Random(int(stream)) for stream in streams)
        return self.population(
            np.array([[rng.randrange(5) for _ in EDGES] for rng in rngs], np.uint8).reshape(-1, 6)
        )

    def population(self, ops: np.ndarray) -> Population:
        """Cells with these operations, [n, 6] codes in the order of EDGES."""
        out = Population(SCHEMA, len(ops))
        rows = out.tables[0]
        rows["source"], rows["target"] = np.array(EDGES).T
        rows["op"] = ops
        out.sizes[:] = 6
        return out

    def cell(self, ops: Sequence[int] | np.ndarray) -> Genotype:
        """The cell with these six operations."""
        return self.population(np.asarray(ops, np.uint8)[None]).genotype(0)

    def mutate(
        self, population: Population, parents: np.ndarray, streams: np.ndarray
    ) -> Population:
        """One edge, uniform over six, gets one of the four other operations."""
        ops = population.tables[0]["op"][parents]
        for row, stream in zip(ops, streams, strict=True):
            _change(Random(int(stream)), row)
        return self.population(ops)

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        ops = genotype.tables["edges"]["op"].copy()
        _change(rng, ops)
        return self.cell(ops)

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Every edge from either parent, the other child's from the other."""
        a, b = (each.tables["edges"]["op"] for each in (one, other))
        swap = np.array([rng.random() < 0.5 for _ in EDGES])
        return self.cell(np.where(swap, b, a)), self.cell(np.where(swap, a, b))

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """The 24 cells that differ in one edge."""
        ops = np.repeat(genotype.tables["edges"]["op"][None], 24, axis=0)
        changed = np.arange(24)
        ops[changed, changed // 4] = (ops[changed, changed // 4] + 1 + changed % 4) % 5
        return list(map(self.population(ops).genotype, range(24)))

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """The cell to be drawn: nodes by number, operations between them; `none` is no edge."""
        import networkx as nx

        out = nx.MultiDiGraph()
        for node in range(4):
            out.add_node(node, label=str(node), kind=("input", "node", "node", "output")[node])
        for (source, target), op in zip(
            EDGES, genotype.tables["edges"]["op"].tolist(), strict=True
        ):
            if OPS[op] != "none":
                out.add_edge(source, target, label=OPS[op], layer=LAYERS[op])
        return {"cell": out}

    def canonical(self, genotype: Genotype) -> bytes:
        ops = tuple(genotype.tables["edges"]["op"].tolist())
        return function(ops).encode() if self.settings.identity == "function" else bytes(ops)

    def keys(self, population: Population) -> list[str]:
        return [self._key(tuple(ops)) for ops in population.tables[0]["op"].tolist()]

    @cache  # noqa: B019 - at most 15,625 of them
    def _key(self, ops: tuple[int, ...]) -> str:
        return super().key(self.cell(ops))

    def key(self, genotype: Genotype) -> str:
        return self._key(tuple(genotype.tables["edges"]["op"].tolist()))

    def violation(self, genotype: Genotype) -> str | None:
        rows = genotype.tables["edges"]
        pairs = list(zip(rows["source"].tolist(), rows["target"].tolist(), strict=True))
        if pairs != list(EDGES):
            at = next(index for index, pair in enumerate(pairs) if pair != EDGES[index])
            return (
                f"edges[{at}]: from {pairs[at][0]} to {pairs[at][1]}: must be from {EDGES[at][0]} "
                f"to {EDGES[at][1]}"
            )
        return None

    def table_codes(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """The numbers by which cells are found in a benchmark's table, [n] uint64: the six
        operations as digits of base 5.
        """
        return _codes(
            np.array([genotype.tables["edges"]["op"] for genotype in genotypes], np.uint8).reshape(
                -1, 6
            )
        )

    def row_codes(self, cells: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same of a table's rows. cells: `ops` [rows, 6]."""
        return _codes(cells["ops"])

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        return self._network(
            [[(op, None)] for op in genotype.tables["edges"]["op"].tolist()], inputs, classes
        )

    def supernet(self, inputs: Size, classes: int) -> Supernet:
        """Every operation on every edge."""
        every: list[_Layers] = [
            [(op, (group, op)) for op in range(len(OPS)) if OPS[op] != "none"]
            for group in range(len(EDGES))
        ]
        groups = tuple(Group(f"{source}>{target}", OPS) for source, target in EDGES)
        return Supernet(self._network(every, inputs, classes), groups)

    def derive(self, strengths: np.ndarray) -> Genotype:
        """The strongest operation of every edge, nothing among them as in the benchmark's own runs.

        strengths: [6, 5].
        """
        return self.cell(strengths.argmax(1))

    def paths(self, genotype: Genotype) -> np.ndarray:
        """What of the supernet a cell is, [6, 5] float64 of 0 and 1."""
        return np.eye(len(OPS))[genotype.tables["edges"]["op"].astype(np.int64)]

    def _network(self, layers: Sequence[_Layers], inputs: Size, classes: int) -> Network:
        skeleton = self.settings.skeleton
        build, filters = Builder(inputs), skeleton.filters
        last = build.layer(0, "stem_3x3", filters, name="stem")
        for stage in range(skeleton.reductions + 1):
            if stage:
                filters *= 2
                halving = [
                    Edge(last, layer, filters, 2)
                    for layer in ("residual_3x3", "avg_pool_2x2_conv_1x1")
                ]
                last = build.node(halving, name=f"{stage}.reduction")
            for cell in range(skeleton.cells):
                last = self._cell(build, layers, last, filters, f"{stage}.{cell}")
        return build.network(build.layer(last, "batch_norm", filters, name="batch_norm"), classes)

    @staticmethod
    def _cell(
        build: Builder, layers: Sequence[_Layers], source: int, filters: int, name: str
    ) -> int:
        """One cell; the node of its output."""
        nodes = [source]
        for target in (1, 2, 3):
            into = [
                Edge(nodes[a], LAYERS[op], filters, option=option)
                for (a, b), several in zip(EDGES, layers, strict=True)
                for op, option in several
                if b == target
            ]
            nodes.append(build.node(into, name=f"{name}.{target}"))
        return nodes[-1]


def function(ops: Sequence[int]) -> str:
    """A cell as an expression of its input `0`, with `#` for nothing and terms sorted: NATS-Bench's
    unique string.
    """
    nodes = ["0"]
    terms: list[str] = []
    for (source, target), op in zip(EDGES, ops, strict=True):
        x, name = nodes[source], OPS[op]
        terms.append(
            "#" if name == "none" or x == "#" else x if name == "skip_connect" else f"({x})@{name}"
        )
        if source == target - 1:
            nodes.append("+".join(sorted(terms)))
            terms = []
    return nodes[-1]


def _change(rng: Random, ops: np.ndarray) -> None:
    """Another operation on one edge, in place."""
    at = rng.randrange(6)
    ops[at] = (int(ops[at]) + 1 + rng.randrange(4)) % 5


def _codes(ops: np.ndarray) -> np.ndarray:
    out: np.ndarray = ops.astype(np.uint64) @ _PLACES
    return out
