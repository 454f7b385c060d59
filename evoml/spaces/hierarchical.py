"""Hierarchical motifs: small graphs whose edges are the graphs of the level below, down to
primitive layers (the space of HNAS).

Liu, Simonyan, Vinyals, Fernando, Kavukcuoglu 2018, "Hierarchical Representations for Efficient
Architecture Search", ICLR, arXiv 1711.00436. A motif is an upper-triangular matrix of operations,
`none` among them; the one motif of the highest level is the cell. One motif of eleven nodes over
the primitives is the paper's flat variant. Departures: a mutation draws another operation than the
one that is there; a node that only one edge reaches is not convolved, since there is nothing to
merge; edges that do not lie between the first and the last node are left out. A motif whose last
node is not reached gives nothing, as `none` does; a whole cell that gives nothing is the identity,
so that every genotype has a network.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import prod
from random import Random
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field, field_validator

from evoml.contracts.architecture_space import ArchitectureSpace, Skeleton, graph_digest
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.streams import generator
from evoml.genotypes.decisions import Choose
from evoml.genotypes.domains import Choice, Integer
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.phenotypes.layers import Size
from evoml.phenotypes.network import Builder, Network

if TYPE_CHECKING:
    import networkx as nx

PRIMITIVES = (
    "conv_1x1_bn_relu",
    "dw_conv_3x3_bn_relu",
    "sep_conv_3x3_bn_relu",
    "max_pool_3x3",
    "avg_pool_3x3",
    "identity",
)
NONE, IDENTITY = 0, 1 + PRIMITIVES.index("identity")  # codes of the lowest level's operations
MERGE = "merge"
LARGEST = 2048  # primitive layers that a cell may expand to

Count = Annotated[int, Field(strict=True, ge=1, le=64)]
Shape = Annotated[int, Field(strict=True, ge=2, le=32)]
Node = tuple[str, tuple[int, ...]]  # a primitive or MERGE, and the nodes that it reads
Expanded = tuple[list[Node], int]  # nodes, 0 the input; the number of the output


class MotifSkeleton(Skeleton):
    """Stages of N cells, with a separable convolution of stride two between two stages."""

    reductions: int = Field(
        2, ge=0, le=5, description="times that height and width are halved between stages"
    )


class Settings(settings.Settings):
    """The levels of motifs and the skeleton around the cells."""

    levels: tuple[tuple[Count, Shape], ...] = Field(
        ((6, 4), (1, 5)),
        min_length=1,
        max_length=8,
        description="[motifs, nodes] of each level from the second on",
    )
    mutations: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="random mutations of the trivial genotype that make one of the first "
        "population",
    )
    skeleton: MotifSkeleton = MotifSkeleton()

    @field_validator("levels")
    @classmethod
    def _one_cell(cls, levels: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if levels[-1][0] != 1:
            raise ValueError(f"the highest level is the cell: one motif, not {levels[-1][0]}")
        if prod(nodes * (nodes - 1) // 2 for _, nodes in levels) > LARGEST:
            raise ValueError(f"a cell may expand to no more than {LARGEST} primitive layers")
        return levels


class HierarchicalSpace(ArchitectureSpace):
    """Cells made of motifs.

    Table `level2` holds the motifs over primitives, each next one those over the motifs of the
    level below.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # table -> (motifs, nodes)
        self.levels = {f"level{number}": level for number, level in enumerate(settings.levels, 2)}

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        below: tuple[str, ...] = PRIMITIVES
        tables = []
        for name, (motifs, nodes) in self.levels.items():
            columns = (
                Column("motif", Integer(1, motifs), key=True),
                Column("source", Integer(1, nodes - 1), key=True),
                Column("target", Integer(2, nodes), key=True),
                Column("operation", Choice(("none", *below))),
            )
            edges = motifs * nodes * (nodes - 1) // 2
            tables.append(Table(name, columns, edges, edges))
            below = tuple(f"motif_{number}" for number in range(1, motifs + 1))
        return Schema(tuple(tables))

    @cached_property
    def _keys(self) -> dict[str, list[tuple[int, int, int]]]:
        """Motif, source and target of every row of a complete genotype: the upper triangles, column
        by column.
        """
        return {
            name: [
                (motif, source, target)
                for motif in range(1, motifs + 1)
                for target in range(2, nodes + 1)
                for source in range(1, target)
            ]
            for name, (motifs, nodes) in self.levels.items()
        }

    def frame(self, choose: Choose) -> Frame:
        return {
            name: [
                {"motif": motif, "source": source, "target": target}
                for motif, source, target in keys
            ]
            for name, keys in self._keys.items()
        }

    # -- where genotypes come from -----------------------------------------------------------------

    def trivial(self) -> Genotype:
        """Every motif a chain of identities: of the primitive on the lowest level, of the first
        motif above it.
        """
        codes = {
            name: [
                (IDENTITY if name == "level2" else 1) if target == source + 1 else NONE
                for _, source, target in keys
            ]
            for name, keys in self._keys.items()
        }
        return self._genotype(codes)

    def random(self, streams: np.ndarray) -> Population:
        """The trivial genotype after `mutations` mutations, one a stream: the paper's first
        population, and its random search.
        """
        return Population.of(self.schema, [self._diverse(generator(stream)) for stream in streams])

    def _diverse(self, rng: Random) -> Genotype:
        codes, others = list(self._trivial), self._others
        for gene in rng.choices(
            range(len(codes)), cum_weights=self._shares, k=self.settings.mutations
        ):
            codes[gene] = _another(rng, codes[gene], others[gene])
        rest = iter(codes)
        return self._genotype(
            {name: [next(rest) for _ in keys] for name, keys in self._keys.items()}
        )

    def _genotype(self, codes: dict[str, list[int]]) -> Genotype:
        tables = {}
        for name, keys in self._keys.items():
            rows = [(*key, code) for key, code in zip(keys, codes[name], strict=True)]
            tables[name] = np.array(rows, self.schema[name].dtype)
        return Genotype(self.schema, tables)

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        """One edge of one motif of one level gets another operation: an edge is added, altered or
        removed.
        """
        gene = rng.choices(range(len(self._genes)), cum_weights=self._shares)[0]
        name, row = self._genes[gene]
        rows = genotype.tables[name].copy()
        rows["operation"][row] = _another(rng, int(rows["operation"][row]), self._others[gene])
        return Genotype(self.schema, genotype.tables | {name: rows})

    @cached_property
    def _genes(self) -> list[tuple[str, int]]:
        """Table and row of every operation of a genotype."""
        return [(name, row) for name, keys in self._keys.items() for row in range(len(keys))]

    @cached_property
    def _shares(self) -> list[float]:
        """How often a mutation changes each of them, added up: the level, a motif, a node and a
        node before it are uniform.
        """
        shares = []
        for name, keys in self._keys.items():
            motifs, nodes = self.levels[name]
            shares += [
                1 / (len(self.levels) * motifs * (nodes - 1) * (target - 1))
                for _, _, target in keys
            ]
        return list(accumulate(shares))

    @cached_property
    def _others(self) -> list[int]:
        """How many operations each of them may become."""
        return [len(self._operations[name]) - 1 for name, _ in self._genes]

    @cached_property
    def _trivial(self) -> list[int]:
        return [
            code for rows in self.trivial().tables.values() for code in rows["operation"].tolist()
        ]

    @cached_property
    def _operations(self) -> dict[str, tuple[str, ...]]:
        return {table.name: table.columns[-1].domain.names for table in self.schema.tables}  # type: ignore[attr-defined]

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Exchange one motif of one level.

        The paper has no crossover; this is for NSGA-Net and DEAP's algorithms.
        """
        name = rng.choice(list(self.levels))
        motifs, nodes = self.levels[name]
        edges = nodes * (nodes - 1) // 2
        first = rng.randrange(motifs) * edges
        rows = one.tables[name].copy(), other.tables[name].copy()
        part = slice(first, first + edges)
        rows[0][part], rows[1][part] = other.tables[name][part], one.tables[name][part]
        return Genotype(self.schema, one.tables | {name: rows[0]}), Genotype(
            self.schema, other.tables | {name: rows[1]}
        )

    # -- what a genotype means ---------------------------------------------------------------------

    def expand(self, genotype: Genotype) -> Expanded:
        """The cell as one graph of primitive layers and merges: what lies between its input, node
        0, and its output, without identities.
        """
        below: list[Operation | None] = [None, *PRIMITIVES]
        for name, (motifs, nodes) in self.levels.items():
            edges: list[list[tuple[int, int, Operation]]] = [[] for _ in range(motifs)]
            for motif, source, target, code in genotype.tables[name].tolist():
                operation = below[code]
                if operation is not None:
                    edges[motif - 1].append((source, target, operation))
            below = [None, *(_between(nodes, motif) for motif in edges)]
        out: list[Node] = [("input", ())]
        return out, _lay(out, below[1] or "identity", 0)

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """The cell and every motif that it is made of, level by level, to be drawn: numbered nodes
        with operations between them.
        """
        out, needed = {}, {1}
        for level, (name, (_, nodes)) in reversed(list(enumerate(self.levels.items(), 2))):
            rows, names = genotype.tables[name].tolist(), self._operations[name]
            for motif in sorted(needed):
                part = f"motif_{motif}" if len(self.levels) < 3 else f"level {level}: motif_{motif}"
                edges = [
                    (source, target, names[code])
                    for each, source, target, code in rows
                    if each == motif and code != NONE
                ]
                out["cell" if level > len(self.levels) else part] = _drawn_motif(nodes, edges)
            needed = {code for each, _, _, code in rows if each in needed} - {NONE}
        return out

    def canonical(self, genotype: Genotype) -> bytes:
        """The expanded cell as a graph."""
        nodes, output = self.expand(genotype)
        labels = [label for label, _ in nodes]
        labels[output] += " output"
        return graph_digest(
            labels,
            [
                (source, target, "")
                for target, (_, sources) in enumerate(nodes)
                for source in sources
            ],
        )

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        skeleton = self.settings.skeleton
        build, filters = Builder(inputs), skeleton.filters
        cell = self.expand(genotype)
        last, auxiliary, count = build.layer(0, "conv_3x3_bn_relu", filters), -1, 0
        for stage in range(skeleton.reductions + 1):
            if stage:
                filters *= 2
                last = build.layer(last, "sep_conv_3x3_bn_relu", filters, 2)
            for _ in range(skeleton.cells):
                last = _build(build, cell, last, filters)
                if count == 2 * skeleton.cells * (skeleton.reductions + 1) // 3:
                    auxiliary = last
                count += 1
        return build.network(last, classes, auxiliary if skeleton.auxiliary else -1)

    # -- text --------------------------------------------------------------------------------------

    def violation(self, genotype: Genotype) -> str | None:
        for name, keys in self._keys.items():
            if [row[:3] for row in genotype.tables[name].tolist()] != keys:
                return (
                    f"{name}: the rows must be the edges of every motif, ordered by motif, target "
                    "and source"
                )
        return None

    def format(self, genotype: Genotype) -> str:
        """TOML: the space, then the edges of every level's motifs; edges that are `none` are left
        out, except that a table keeps one.
        """
        used = {name: rows[rows["operation"] != NONE] for name, rows in genotype.tables.items()}
        return super().format(
            Genotype(
                self.schema,
                {
                    name: rows if len(rows) else genotype.tables[name][:1]
                    for name, rows in used.items()
                },
            )
        )

    def from_plain(self, tables: dict[str, Any], where: str) -> Genotype:
        """Edges in any order; those that are left out are `none`."""
        given = self._sparse.from_plain(tables, where).tables
        codes = {name: self._codes(name, given[name].tolist(), where) for name in self.levels}
        return self._genotype(codes)

    @cached_property
    def _sparse(self) -> Schema:
        """The schema of files, in which edges may be left out."""
        return Schema(tuple(replace(table, least=1) for table in self.schema.tables))

    def _codes(self, name: str, edges: list[tuple[int, int, int, int]], where: str) -> list[int]:
        codes: dict[tuple[int, int, int], int] = {}
        for index, (motif, source, target, code) in enumerate(edges):
            if source >= target:
                raise InputError(
                    f"{where}: {name}[{index}]: an edge from node {source} to node {target}: must "
                    "go to one of a larger number"
                )
            if (motif, source, target) in codes:
                raise InputError(
                    f"{where}: {name}[{index}]: motif {motif} has an edge from node {source} to "
                    f"node {target} already"
                )
            codes[motif, source, target] = code
        return [codes.get(key, NONE) for key in self._keys[name]]

    def header(self) -> dict[str, Any]:
        return {"levels": [list(level) for level in self.settings.levels]}


@dataclass(frozen=True)
class Motif:
    """A motif without what does not lie between its first and its last node: the edges into each
    node, nodes in order.
    """

    # target, then source and operation of each edge
    edges: tuple[tuple[int, tuple[tuple[int, "Operation"], ...]], ...]

    def lay(self, out: list[Node], start: int) -> int:
        """Append the motif's graph, its first node being `start`; gives its last one."""
        at, last = {1: start}, start
        for target, edges in self.edges:
            ends = [_lay(out, operation, at[source]) for source, operation in edges]
            at[target] = last = ends[0] if len(ends) == 1 else _append(out, MERGE, *ends)
        return last


Operation = str | Motif  # a primitive, or a motif of the level below


def _lay(out: list[Node], operation: Operation, source: int) -> int:
    if isinstance(operation, Motif):
        return operation.lay(out, source)
    return source if operation == "identity" else _append(out, operation, source)


def _append(out: list[Node], label: str, *sources: int) -> int:
    out.append((label, sources))
    return len(out) - 1


def _another(rng: Random, code: int, others: int) -> int:
    """A code other than this one, of `others` that there are."""
    drawn = int(rng.random() * others)
    return drawn + (drawn >= code)


def _between(nodes: int, edges: list[tuple[int, int, Operation]]) -> Motif | None:
    """The motif of these edges (source, target, operation); None where its last node is not
    reached.
    """
    forward, backward = {1}, {nodes}
    for source, target, _ in sorted(edges, key=lambda edge: edge[0]):
        if source in forward:
            forward.add(target)
    for source, target, _ in sorted(edges, key=lambda edge: -edge[1]):
        if target in backward:
            backward.add(source)
    if nodes not in forward:
        return None
    into = {
        target: [(source, op) for source, end, op in edges if end == target and source in forward]
        for target in forward & backward
    }
    return Motif(tuple((target, tuple(into[target])) for target in sorted(into) if target > 1))


def _drawn_motif(nodes: int, edges: list[tuple[int, int, str]]) -> "nx.MultiDiGraph":
    import networkx as nx

    out = nx.MultiDiGraph()
    for node in range(1, nodes + 1):
        out.add_node(
            node,
            label=str(node),
            kind="input" if node == 1 else "output" if node == nodes else "node",
        )
    out.add_edges_from((source, target, {"label": name}) for source, target, name in edges)
    return out


def _build(build: Builder, cell: Expanded, start: int, filters: int) -> int:
    """One cell on node `start`, which has `filters` channels; the node of its output."""
    nodes, output = cell
    at = [start]
    for label, sources in nodes[1:]:
        source = at[sources[0]] if label != MERGE else build.concat(at[each] for each in sources)
        at.append(build.layer(source, "conv_1x1_bn_relu" if label == MERGE else label, filters))
    return at[output]
