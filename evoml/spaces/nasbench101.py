"""NAS-Bench-101: cells of up to seven vertices and nine edges, with one of three operations on each
inner vertex.

Ying et al. 2019, "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML, arXiv
1902.09635. Vertices that are on no path from input to output are pruned before anything is counted.
Random cells are uniform over the raw specifications that are valid, as in the paper's random
search, which is not uniform over the 423,624 different cells. The mutation is that of the paper's
regularised evolution, drawn again until the child is valid; here it must also differ from its
parent. The crossover is evoml's.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.genotypes.decisions import Choose
from evoml.genotypes.domains import Choice, Conditional, Subset, members
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.phenotypes.layers import Size
from evoml.phenotypes.network import Builder, Edge, Network

if TYPE_CHECKING:
    import networkx as nx

OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
LAYERS = ("conv_3x3_bn_relu", "conv_1x1_bn_relu", "max_pool_3x3")
PROJECTION = "conv_1x1_bn_relu"
KINDS = ("input", "inner", "output")
VERTICES, MOST_EDGES, OUTPUT = 7, 9, 6
_ROWS = (0, 1, 1, 1, 1, 1, 2)  # the kinds of the vertices
SCHEMA = Schema(
    (
        Table(
            "vertices",
            (
                Column("kind", Choice(KINDS), True),
                Column("op", Conditional("kind", {1: Choice(OPS)})),
                Column("inputs", Subset()),
            ),
            VERTICES,
            VERTICES,
        ),
    )
)
_WORD, _FORWARD, _BACKWARD, _OWN = (
    2**64 - 1,
    0x6A09E667F3BCC909,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
)
CROSSINGS = 20  # tries for children that are valid, after which they are copies
CHUNK = 16_384  # cells that are hashed at once
FEW = 16  # cells that are hashed sooner one by one


class Skeleton(settings.Settings):
    """The published network around the cell; max pooling halves height and width between stacks."""

    stacks: int = Field(3, ge=1, le=6, description="stacks of cells")
    cells: int = Field(3, ge=1, le=64, description="cells of a stack")
    filters: int = Field(
        128, ge=1, le=4096, description="channels of the first stack; doubled at every further one"
    )


class Settings(settings.Settings):
    """How much a mutation changes, and the skeleton around the cell."""

    flips: float = Field(
        3.0, ge=0, le=21, description="edges of 21 that a mutation adds or removes, in expectation"
    )
    swaps: float = Field(
        1.0, ge=0, le=5, description="operations of 5 that a mutation changes, in expectation"
    )
    skeleton: Skeleton = Skeleton()


class NASBench101Space(ArchitectureSpace):
    """Cells as graphs of operations; a vertex's inputs are a bit mask over the vertices before
    it.
    """

    schema = SCHEMA

    def __init__(self, settings: Settings) -> None:
        if not settings.flips and not settings.swaps:
            raise InputError("space: flips and swaps are both 0; a mutation would change nothing")
        self.settings = settings

    def frame(self, choose: Choose) -> Frame:
        return {"vertices": [{"kind": kind} for kind in _ROWS]}

    def random(self, streams: np.ndarray) -> Population:
        """One cell a stream: all edges with probability 1/2 and all operations uniform, drawn again
        until valid.
        """
        return self._population([self._draw(Random(int(stream))) for stream in streams])

    @staticmethod
    def _draw(rng: Random) -> tuple[list[int], list[int]]:
        while True:
            inputs = [0, *(rng.getrandbits(vertex) for vertex in range(1, VERTICES))]
            if valid(inputs):
                return inputs, [0, *(rng.randrange(3) for _ in range(5)), 0]

    def mutate(
        self, population: Population, parents: np.ndarray, streams: np.ndarray
    ) -> Population:
        """Every edge is flipped with probability flips/21 and every operation changed with
        probability swaps/5, until the child is valid and another.
        """
        rows = population.tables[0][parents]
        given = zip(rows["inputs"].tolist(), rows["op"].tolist(), streams, strict=True)
        return self._population(
            [self._changed(Random(int(stream)), inputs, ops) for inputs, ops, stream in given]
        )

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        rows = genotype.tables["vertices"]
        return self.cell(*self._changed(rng, rows["inputs"].tolist(), rows["op"].tolist()))

    def _changed(
        self, rng: Random, inputs: list[int], ops: list[int]
    ) -> tuple[list[int], list[int]]:
        flip, swap = self.settings.flips / 21, self.settings.swaps / 5
        while True:
            new = [
                mask ^ sum((rng.random() < flip) << source for source in range(vertex))
                for vertex, mask in enumerate(inputs)
            ]
            others = [
                (op + 1 + rng.randrange(2)) % 3 if 0 < at < OUTPUT and rng.random() < swap else op
                for at, op in enumerate(ops)
            ]
            if (new != inputs or others != ops) and valid(new):
                return new, others

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Every vertex with its inputs from either parent; copies of the parents where no such
        children are valid.
        """
        a, b = (each.tables["vertices"] for each in (one, other))
        for _ in range(CROSSINGS):
            swap = np.array([rng.random() < 0.5 for _ in range(VERTICES)])
            pair = np.where(swap, b, a), np.where(swap, a, b)
            if all(valid(child["inputs"].tolist()) for child in pair):
                return Genotype(SCHEMA, {"vertices": pair[0]}), Genotype(
                    SCHEMA, {"vertices": pair[1]}
                )
        return one, other

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Every valid cell with one edge or one operation changed; among them copies of this one
        where what changed is pruned.
        """
        return [each for each in self.schema.neighbours(genotype) if self.violation(each) is None]

    def cell(self, inputs: Sequence[int], ops: Sequence[int]) -> Genotype:
        """The cell with these bit masks of inputs and codes of operations, seven each; the first
        and the last operation are not used.
        """
        return self._population([(inputs, ops)]).genotype(0)

    @staticmethod
    def _population(cells: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Population:
        out = Population(SCHEMA, len(cells))
        rows = out.tables[0]
        rows["kind"] = _ROWS
        rows["inputs"] = np.array([inputs for inputs, _ in cells], np.uint64).reshape(-1, VERTICES)
        rows["op"] = np.array([ops for _, ops in cells], np.uint8).reshape(-1, VERTICES)
        out.sizes[:] = VERTICES
        return out

    def violation(self, genotype: Genotype) -> str | None:
        rows = genotype.tables["vertices"]
        if tuple(rows["kind"].tolist()) != _ROWS:
            return "vertices: kind: must be input, five times inner, output"
        kept = pruned(rows["inputs"].tolist())
        if not kept[OUTPUT]:
            return "vertices: no path from input to output"
        if (edges := sum(mask.bit_count() for mask in kept)) > MOST_EDGES:
            return (
                f"vertices: {edges} edges on paths from input to output; must be at most "
                f"{MOST_EDGES}"
            )
        return None

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """The cell to be drawn: its vertices, also those on no path from input to output."""
        import networkx as nx

        out = nx.MultiDiGraph()
        for vertex, (kind, op, inputs) in enumerate(genotype.tables["vertices"].tolist()):
            inner = KINDS[kind] == "inner"
            out.add_node(
                vertex,
                label=OPS[op] if inner else KINDS[kind],
                kind="node" if inner else KINDS[kind],
                layer=LAYERS[op] if inner else "",
            )
            out.add_edges_from((source, vertex) for source in members(inputs))
        return {"cell": out}

    def canonical(self, genotype: Genotype) -> bytes:
        return int(self.table_codes([genotype])[0]).to_bytes(8, "big")

    def keys(self, population: Population) -> list[str]:
        rows = population.tables[0]
        return [
            f"{code:016x}" for code in hashes(rows["inputs"].astype(np.int64), rows["op"]).tolist()
        ]

    def key(self, genotype: Genotype) -> str:
        return self.canonical(genotype).hex()

    def table_codes(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """The numbers by which cells are found in a benchmark's table, [n] uint64: hashes of their
        graphs.
        """
        rows = [genotype.tables["vertices"] for genotype in genotypes]
        if len(rows) < FEW:
            return np.array(
                [cell_hash(pruned(each["inputs"].tolist()), each["op"].tolist()) for each in rows],
                np.uint64,
            )
        return hashes(
            np.array([each["inputs"] for each in rows]), np.array([each["op"] for each in rows])
        )

    def row_codes(self, cells: Mapping[str, np.ndarray]) -> np.ndarray:
        """The same of a table's rows. cells: as `unpacked` takes them."""
        return hashes(*unpacked(cells))

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        skeleton, rows = self.settings.skeleton, genotype.tables["vertices"]
        kept, ops = pruned(rows["inputs"].tolist()), rows["op"].tolist()
        build, filters = Builder(inputs), skeleton.filters
        last = build.layer(0, "conv_3x3_bn_relu", filters)
        for stack in range(skeleton.stacks):
            if stack:
                last = build.layer(last, "max_pool_2x2", filters, 2)
                filters *= 2
            for _ in range(skeleton.cells):
                last = _cell(build, last, kept, ops, filters)
        return build.network(last, classes)


def pruned(inputs: Sequence[Any]) -> list[Any]:
    """The bit masks of inputs without vertices that are on no path from input to output.

    inputs: one a vertex, integers or arrays of them.
    """
    reached, needed = 1, 1 << OUTPUT
    for vertex in range(1, VERTICES):
        reached = reached | ((inputs[vertex] & reached) != 0) * (1 << vertex)
    for vertex in range(OUTPUT, 0, -1):
        needed = needed | inputs[vertex] * (needed >> vertex & 1)
    kept = reached & needed
    return [inputs[vertex] & kept * (kept >> vertex & 1) for vertex in range(VERTICES)]


def valid(inputs: Sequence[int]) -> bool:
    """Whether output hangs together with input, with at most nine edges."""
    kept = pruned(inputs)
    return kept[OUTPUT] != 0 and sum(mask.bit_count() for mask in kept) <= MOST_EDGES


def graph_hash(kept: Sequence[Any], ops: Sequence[Any]) -> Any:
    """Equal for equal pruned cells however their vertices are ordered, and different for all cells
    of the benchmark; 64 bits.

    kept, ops: one a vertex, integers or uint64 arrays of them. A vertex is hashed with all that
    leads to it, then with all that it leads to; sums make both independent of order.
    """
    colours = [_mix(1), *(_mix(ops[vertex] + 3) for vertex in range(1, OUTPUT)), _mix(2)]
    sent: list[Any] = []
    for vertex in range(1, VERTICES):
        sent.append(_mix(colours[vertex - 1] ^ _FORWARD))
        colours[vertex] = _mix(
            colours[vertex]
            + sum((kept[vertex] >> source & 1) * sent[source] for source in range(vertex))
            & _WORD
        )
    sent = [0] * VERTICES
    for vertex in range(OUTPUT, -1, -1):
        later = sum(
            (kept[target] >> vertex & 1) * sent[target] for target in range(vertex + 1, VERTICES)
        )
        colours[vertex] = _mix((colours[vertex] * _OWN & _WORD) + later & _WORD)
        sent[vertex] = _mix(colours[vertex] ^ _BACKWARD)
    return _mix(
        colours[0] + sum((kept[vertex] != 0) * colours[vertex] for vertex in range(1, VERTICES))
        & _WORD
    )


def _mix(z: Any) -> Any:
    """SplitMix64's finaliser, of integers too."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _WORD
    return z ^ z >> 31


_SOURCE, _SINK, _COLOURS = _mix(1), _mix(2), tuple(_mix(op + 3) for op in range(len(OPS)))
_SENT = _mix(_SOURCE ^ _FORWARD)  # what the input sends on
_BITS = tuple(map(members, range(1 << OUTPUT)))  # of every mask of inputs


def cell_hash(kept: Sequence[int], ops: Sequence[int]) -> int:
    """`graph_hash` of one cell, in half the time: along the edges that there are, past vertices
    that are on no path.
    """
    colours, sent, later = (
        [_SOURCE, *(_COLOURS[op] for op in ops[1:OUTPUT]), _SINK],
        [_SENT] + [0] * OUTPUT,
        [0] * VERTICES,
    )
    sources = [_BITS[mask] for mask in kept]
    for vertex in range(1, VERTICES):
        if kept[vertex]:
            colours[vertex] = colour = _mix(
                colours[vertex] + sum([sent[source] for source in sources[vertex]]) & _WORD
            )
            sent[vertex] = _mix(colour ^ _FORWARD)
    total = 0
    for vertex in range(OUTPUT, 0, -1):
        if kept[vertex]:
            colour = _mix(colours[vertex] * _OWN + later[vertex] & _WORD)
            total += colour
            backward = _mix(colour ^ _BACKWARD)
            for source in sources[vertex]:
                later[source] += backward
    return int(_mix(_mix(_SOURCE * _OWN + later[0] & _WORD) + total & _WORD))


def hashes(inputs: np.ndarray, ops: np.ndarray) -> np.ndarray:
    """`graph_hash` of cells that are not pruned. inputs, ops: [n, 7]; [n] uint64."""
    parts = [np.zeros(0, np.uint64)]
    for at in range(0, len(inputs), CHUNK):
        kept = pruned(list(np.ascontiguousarray(inputs[at : at + CHUNK].T, np.int64)))
        columns = np.ascontiguousarray(ops[at : at + CHUNK].T, np.uint64)
        parts.append(graph_hash([masks.astype(np.uint64) for masks in kept], list(columns)))
    return np.concatenate(parts)


def unpacked(cells: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A table's rows as bit masks of inputs and operations, [rows, 7] each; unused vertices lie
    before the output.

    cells: `n_vertices` [rows]; `adj_bits` [rows], bit k the k-th pair of vertices in row-major
    order; `ops` [rows, 5] of the inner vertices.
    """
    count, bits = cells["n_vertices"], cells["adj_bits"].astype(np.int64)
    inputs, ops = (
        np.zeros((len(count), VERTICES), np.int64),
        np.zeros((len(count), VERTICES), np.uint8),
    )
    for vertices in range(2, VERTICES + 1):
        rows = np.flatnonzero(count == vertices)
        pairs = [
            (source, target) for source in range(vertices) for target in range(source + 1, vertices)
        ]
        for bit, (source, target) in enumerate(pairs):
            inputs[rows, target if target < vertices - 1 else OUTPUT] |= (
                bits[rows] >> bit & 1
            ) << source
    ops[:, 1:OUTPUT] = np.where(cells["ops"] < len(OPS), cells["ops"], 0)
    return inputs, ops


def widths(kept: Sequence[int], filters: int) -> list[int]:
    """Channels of every vertex of a pruned cell: those that lead to the output share its channels,
    others have the most of what they lead to.
    """
    out = [0] * VERTICES
    ends = [vertex for vertex in members(kept[OUTPUT]) if vertex]
    for place, vertex in enumerate(ends):
        out[vertex] = filters // len(ends) + (place < filters % len(ends))
    for vertex in range(OUTPUT - 1, 0, -1):
        if vertex not in ends:
            out[vertex] = max(
                (out[later] for later in range(vertex + 1, OUTPUT) if kept[later] >> vertex & 1),
                default=0,
            )
    return out


def _cell(
    build: Builder, source: int, kept: Sequence[int], ops: Sequence[int], filters: int
) -> int:
    """One pruned cell; the node of its output.

    What comes from the input is projected, what is wider is cut; the input is added to the output.
    """
    width, node = widths(kept, filters), {0: source}
    for vertex in range(1, OUTPUT):
        if kept[vertex]:
            into = [
                Edge(node[a], _link(a, width[a], width[vertex]), width[vertex])
                for a in members(kept[vertex])
            ]
            node[vertex] = build.layer(build.node(into), LAYERS[ops[vertex]], width[vertex])
    ends = [vertex for vertex in members(kept[OUTPUT]) if vertex]
    whole = (
        [Edge(build.concat(node[vertex] for vertex in ends), "identity", filters)] if ends else []
    )
    direct = [Edge(source, PROJECTION, filters)] if kept[OUTPUT] & 1 else []
    return build.node([*whole, *direct])


def _link(vertex: int, width: int, wanted: int) -> str:
    return PROJECTION if vertex == 0 else "truncate" if width > wanted else "identity"
