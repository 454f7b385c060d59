"""Four kinds of genotype that the gene layer must carry, as published systems have them. Each has a
schema and draws frames for it.

NEAT: Stanley, Miikkulainen 2002, "Evolving Neural Networks through Augmenting Topologies". NASNet
cells: Zoph et al. 2018, arXiv 1707.07012. Motifs: Liu et al. 2018, "Hierarchical Representations
for Efficient Architecture Search", arXiv 1711.00436.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from random import Random

from evoml.genotypes.domains import Choice, Conditional, Integer, Real, Reference
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.spaces.automl_zero import AutoMLZeroSpace, Settings

KINDS = ("input", "output", "hidden")
ACTIVATIONS = Choice(("sigmoid", "tanh", "relu", "gauss", "identity"))
NEAT = Schema(
    (
        Table(
            "node",
            (
                Column("kind", Choice(KINDS), key=True),
                Column("activation", Conditional("kind", {1: ACTIVATIONS, 2: ACTIVATIONS})),
            ),
            2,
            20,
        ),
        Table(
            "connection",
            (
                Column("innovation", Integer(0, 1_000_000), key=True),
                Column("source", Reference("node")),
                Column("target", Reference("node")),
                Column("weight", Real(-1.0, 1.0, "step", step=0.5, least=-8.0, most=8.0)),
                Column("enabled", Choice(("no", "yes"))),
            ),
            0,
            40,
        ),
    )
)

CELL_OPS = Choice(
    (
        "identity", "conv_1x1", "conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7",
        "dil_conv_3x3", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7",
        "conv_1x3_3x1", "conv_1x7_7x1",
    )
)  # fmt: skip
BLOCK = (
    Column("left", Reference(inputs=2)),
    Column("right", Reference(inputs=2)),
    Column("left_op", CELL_OPS),
    Column("right_op", CELL_OPS),
    Column("combine", Choice(("add", "concat"))),
)
NASNET = Schema((Table("normal", BLOCK, 1, 5), Table("reduction", BLOCK, 1, 5)))

PRIMITIVES = Choice(
    (
        "none",
        "identity",
        "conv_1x1",
        "depthwise_3x3",
        "separable_3x3",
        "max_pool_3x3",
        "avg_pool_3x3",
    )
)
MOTIFS = Choice(("none", *(f"motif_{number}" for number in range(1, 7))))
HIERARCHY = Schema(
    (
        Table(
            "edge",
            (
                Column("level", Integer(2, 3), key=True),
                Column("motif", Integer(0, 5), key=True),
                Column("source", Integer(0, 3), key=True),
                Column("target", Integer(1, 4), key=True),
                Column("op", Conditional("level", {2: PRIMITIVES, 3: MOTIFS})),
            ),
            1,
            46,
        ),
    )
)

PROGRAMS = AutoMLZeroSpace(Settings(scalars=4, vectors=3, matrices=2))


def neat_frame(rng: Random) -> Frame:
    kinds = [0] * rng.randint(1, 4) + [1] * rng.randint(1, 2) + [2] * rng.randint(0, 6)
    numbers = sorted(rng.sample(range(1000), rng.randint(0, 20)))
    return {
        "node": [{"kind": kind} for kind in kinds],
        "connection": [{"innovation": number} for number in numbers],
    }


def nasnet_frame(rng: Random) -> Frame:
    return {name: [{}] * rng.randint(1, 5) for name in ("normal", "reduction")}


def hierarchy_frame(rng: Random) -> Frame:
    """Six motifs of four nodes on the second level, one of five nodes on the third."""
    graphs = [(2, motif, 4) for motif in range(6)] + [(3, 0, 5)]
    keys = ("level", "motif", "source", "target")
    rows = [
        dict(zip(keys, (level, motif, *edge), strict=True))
        for level, motif, nodes in graphs
        for edge in combinations(range(nodes), 2)
    ]
    return {"edge": rows}


def program_frame(rng: Random) -> Frame:
    return {table.name: [{}] * rng.randint(0, table.most) for table in PROGRAMS.schema.tables}


@dataclass(frozen=True)
class Kind:
    """A kind of genotype and how one is drawn."""

    name: str
    schema: Schema
    frame: Callable[[Random], Frame]

    def sample(self, seed: int) -> Genotype:
        rng = Random(seed)
        return self.schema.sample(rng, self.frame(rng))

    def __repr__(self) -> str:
        return self.name


GENOTYPES = (
    Kind("program", PROGRAMS.schema, program_frame),
    Kind("neat", NEAT, neat_frame),
    Kind("nasnet", NASNET, nasnet_frame),
    Kind("hierarchy", HIERARCHY, hierarchy_frame),
)
