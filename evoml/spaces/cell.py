"""Cells: a normal and a reduction cell of B blocks, stacked to a network (the NASNet space).

Zoph, Vasudevan, Shlens, Le 2018, "Learning Transferable Architectures for Scalable Image
Recognition", CVPR, arXiv 1707.07012. A block applies an operation to each of two hidden states and
combines the results; hidden states that nothing reads are concatenated. Mutations are those of
AmoebaNet (Real et al. 2019, arXiv 1802.01548). The skeletons of the releases differ in three
settings, which for the networks as published are: start "stem" for NASNet, AmoebaNet and PNAS,
placement "first" for PNAS, twice for ENAS, none for DARTS.

Departures: blocks that are combined by concatenation are brought back to the cell's filters by a
1x1 convolution; only states that the cell made itself are concatenated, not an unused input; a ReLU
stands before the global pooling of every network, also of those published without; the auxiliary
head is where DARTS has it, which in NASNet, AmoebaNet and PNAS is one cell earlier and in ENAS one
later.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property
from itertools import groupby, pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from evoml.contracts.architecture_space import ArchitectureSpace, Skeleton, graph_digest
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.genotypes.domains import Choice, Reference
from evoml.genotypes.schema import Column, Genotype, Schema, Table
from evoml.phenotypes.layers import LAYERS, OPERATIONS, Size, layers, primitives
from evoml.phenotypes.network import Builder, Edge, Group, Network, Supernet

if TYPE_CHECKING:
    import networkx as nx

CELLS = ("normal", "reduction")
PUBLISHED = tuple(dict.fromkeys(name for operations in OPERATIONS.values() for name in operations))
COMBINE = ("add", "concat")


class CellSkeleton(Skeleton):
    """Stages of N normal cells and the reduction cells that part them."""

    stem: int = Field(3, ge=1, le=16, description="channels of the stem, in multiples of F")
    placement: Literal["between", "first"] = Field(
        "between",
        description="a reduction cell stands between two stages (NASNet, AmoebaNet, ENAS, DARTS) "
        "or is the first of a later stage's N (PNAS)",
    )
    start: Literal["projected", "stem"] = Field(
        "projected",
        description="the first cell's cell before last: the stem behind a 1x1 convolution (ENAS, "
        "DARTS) or as it is (NASNet, AmoebaNet, PNAS)",
    )
    twice: bool = Field(
        False,
        description="the last cell's output goes through two 1x1 convolutions instead of one "
        "(ENAS)",
    )

    @property
    def plan(self) -> tuple[str, ...]:
        """The cells from stem to output, by name."""
        stage = ("normal",) * self.cells
        later = stage[1:] if self.placement == "first" else stage
        return stage + ("reduction", *later) * self.reductions


class Settings(settings.Settings):
    """Blocks, operations and the skeleton around the cells."""

    blocks: int = Field(5, ge=1, le=16, description="B, blocks of a cell")
    operations: str | tuple[str, ...] = Field(
        "amoebanet",
        description=f"the published list to draw from: {', '.join(OPERATIONS)}; or layers by name",
    )
    combine: tuple[Literal["add", "concat"], ...] = Field(
        ("add",), min_length=1, description="how a block may combine its two results"
    )
    output: Literal["unused", "all"] = Field(
        "unused", description="which blocks are concatenated to a cell's output"
    )
    normal_output: tuple[int, ...] = Field(
        (),
        description="hidden states that the normal cell's output is, 0 and 1 its inputs; empty: as "
        "`output` says",
    )
    reduction_output: tuple[int, ...] = Field((), description="the same for the reduction cell")
    identity: float = Field(0.05, ge=0, le=1, description="share of children that are copies")
    skeleton: CellSkeleton = CellSkeleton()

    @field_validator("operations")
    @classmethod
    def _known(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(given, str):
            if given not in OPERATIONS:
                raise ValueError(f"must be one of {', '.join(OPERATIONS)}, or a list of layers")
            return given
        if not given or len(set(given)) < len(given):
            raise ValueError("must be a list of layers, each once")
        for name in given:
            if name not in layers():
                near = get_close_matches(name, layers(), n=1)
                raise ValueError(
                    f"no layer {name!r}" + "".join(f"; did you mean {each}?" for each in near)
                )
            for stride in (1, 2):  # in a normal cell, and behind a reduction cell's inputs
                primitives(name, 8, 8, stride)
        return given

    @model_validator(mode="after")
    def _outputs_exist(self) -> Self:
        for state in (*self.normal_output, *self.reduction_output):
            if not 0 <= state < self.blocks + 2:
                raise ValueError(
                    f"an output names hidden state {state}; there are 0..{self.blocks + 1}"
                )
        return self


class CellSpace(ArchitectureSpace):
    """Pairs of cells."""

    example = {"blocks": 2, "output": "all", "skeleton": {"cells": 0, "filters": 8}}
    has_supernet = True
    operations = OPERATIONS
    identity_settings = ("output", "normal_output", "reduction_output")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        listed = settings.operations
        drawn = OPERATIONS[listed] if isinstance(listed, str) else listed
        # of all that are published, and what else is drawn from behind them
        self.names = tuple(dict.fromkeys((*PUBLISHED, *drawn)))
        self._drawn = tuple(self.names.index(name) for name in drawn)
        self._combine = tuple(COMBINE.index(name) for name in dict.fromkeys(settings.combine))

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        state, operation = Reference(inputs=2), Choice(self.names, self._drawn)
        columns = (
            Column("input_a", state), Column("op_a", operation), Column("input_b", state),
            Column("op_b", operation), Column("combine", Choice(COMBINE, self._combine)),
        )  # fmt: skip
        return Schema(
            tuple(
                Table(name, columns, self.settings.blocks, self.settings.blocks) for name in CELLS
            )
        )

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        """Identity, or as likely a hidden state, an operation or, where there are several, a
        combination mutation: one element of one block of one cell.

        Each draws another value than the one that is there. The paper draws the operation from the
        whole list, as recalled, so that some children are copies.
        """
        if rng.random() < self.settings.identity:
            return genotype
        name = rng.choice(CELLS)
        rows = genotype.tables[name].copy()
        block, side = rng.randrange(len(rows)), rng.choice("ab")
        row = rows[block]
        kinds = [
            (f"input_{side}", range(2 + block)),
            (f"op_{side}", self._drawn),
            ("combine", self._combine),
        ]
        column, values = kinds[int(rng.random() * (3 if len(self._combine) > 1 else 2))]
        others = [value for value in values if value != row[column]]
        row[column] = rng.choice(others) if others else row[column]
        return Genotype(self.schema, genotype.tables | {name: rows})

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Exchange one cell.

        The published systems have no crossover; this is for NSGA-Net and DEAP's algorithms.
        """
        name = rng.choice(CELLS)
        swapped = {name: other.tables[name]}, {name: one.tables[name]}
        return Genotype(self.schema, one.tables | swapped[0]), Genotype(
            self.schema, other.tables | swapped[1]
        )

    def outputs(self, genotype: Genotype, name: str) -> Sequence[int]:
        """The hidden states that are concatenated to a cell's output."""
        given: tuple[int, ...] = getattr(self.settings, f"{name}_output")
        if given:
            return given
        rows = genotype.tables[name]
        made = range(2, len(rows) + 2)
        if self.settings.output == "all":
            return made
        read = set(rows["input_a"].tolist()) | set(rows["input_b"].tolist())
        return [state for state in made if state not in read]

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """The stack of cells, and both cells: hidden states with the operations between them, and
        the output.
        """
        cells = {f"{name} cell": self._drawn_cell(genotype, name) for name in CELLS}
        return {"network": self._drawn_stack(), **cells}

    def _drawn_stack(self) -> "nx.MultiDiGraph":
        """The cells one after the other, as `skeleton` says; equal neighbours are drawn once."""
        import networkx as nx

        out = nx.MultiDiGraph()
        stack = ["image", "stem"]
        for name, run in groupby(self.settings.skeleton.plan):
            count = len(list(run))
            stack.append(f"{name} cell" + (f" x {count}" if count > 1 else ""))
        stack += ["mean over pixels", "classes"]
        for place, label in enumerate(stack):
            kind = "input" if not place else "output" if place == len(stack) - 1 else "node"
            out.add_node(place, label=label, kind=kind)
        out.add_edges_from(pairwise(range(len(stack))))
        return out

    def _drawn_cell(self, genotype: Genotype, name: str) -> "nx.MultiDiGraph":
        import networkx as nx

        out = nx.MultiDiGraph()
        out.add_node(0, label="0: cell before last", kind="input")
        out.add_node(1, label="1: last cell", kind="input")
        for state, (a, op_a, b, op_b, combine) in enumerate(genotype.tables[name].tolist(), 2):
            out.add_node(state, label=f"{state}: {COMBINE[combine]}", kind="node")
            out.add_edge(a, state, label=self.names[op_a])
            out.add_edge(b, state, label=self.names[op_b])
        out.add_node("output", label="output", kind="output")
        out.add_edges_from((state, "output") for state in self.outputs(genotype, name))
        return out

    def canonical(self, genotype: Genotype) -> bytes:
        """Both cells as graphs, without what does not reach the output."""
        return b"|".join(graph_digest(*self._graph(genotype, name)) for name in CELLS)

    def _graph(self, genotype: Genotype, name: str) -> tuple[list[str], list[tuple[int, int, str]]]:
        """Labels of inputs, blocks and output, and labelled edges, of what reaches the output."""
        rows, outputs = genotype.tables[name].tolist(), self.outputs(genotype, name)
        live = set(outputs)
        for state in range(len(rows) + 1, 1, -1):
            if state in live:
                live |= {rows[state - 2][0], rows[state - 2][2]}
        place = {state: index for index, state in enumerate(sorted(live | {0, 1}))}
        labels = [f"input {state}" if state < 2 else COMBINE[rows[state - 2][4]] for state in place]
        edges = [(place[state], len(labels), "output") for state in outputs]
        for state in place.keys() - {0, 1}:
            a, op_a, b, op_b, _ = rows[state - 2]
            edges += [
                (place[a], place[state], self.names[op_a]),
                (place[b], place[state], self.names[op_b]),
            ]
        return [*labels, "output"], edges

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        return self._network(genotype, inputs, classes)

    def supernet(self, inputs: Size, classes: int) -> Supernet:
        """Every operation of the list from every hidden state to every later block.

        Pooling is normalised, as in DARTS. Raises InputError.
        """
        if (
            self.settings.output != "all"
            or self.settings.normal_output
            or self.settings.reduction_output
        ):
            raise InputError(
                "space.output: a supernet has every block in its cells' output; set space.output "
                "to all"
            )
        if "concat" in self.settings.combine:
            raise InputError(
                'space.combine: a supernet adds what a block reads; set space.combine to ["add"]'
            )
        options = tuple(self.names[code] for code in self._drawn)
        groups = tuple(
            Group(f"{cell} {source}>{target}", options)
            for cell in CELLS
            for source, target in self._pairs
        )
        return Supernet(self._network(None, inputs, classes), groups)

    def derive(self, strengths: np.ndarray) -> Genotype:
        """For every block the two hidden states with the strongest operation, each with that one;
        `none` is never it (DARTS).

        strengths: [G, O].
        """
        options = [self.names[code] for code in self._drawn]
        some = np.array([name != "none" for name in options])
        strengths = np.where(some, strengths, -np.inf)
        best, value = strengths.argmax(1), strengths.max(1)
        rows = {}
        for cell, name in enumerate(CELLS):
            table = np.zeros(self.settings.blocks, self.schema[name].dtype)
            for block in range(self.settings.blocks):
                edges = [self._group(cell, source, block + 2) for source in range(block + 2)]
                # of equals the earlier state
                two = sorted(sorted(range(block + 2), key=lambda source: -value[edges[source]])[:2])
                table[block] = (
                    two[0],
                    self._drawn[best[edges[two[0]]]],
                    two[1],
                    self._drawn[best[edges[two[1]]]],
                    COMBINE.index("add"),
                )
            rows[name] = table
        return Genotype(self.schema, rows)

    def paths(self, genotype: Genotype) -> np.ndarray:
        """What of the supernet a genotype is: how often it has every option, [G, O] float64."""
        out = np.zeros((2 * len(self._pairs), len(self._drawn)))
        for cell, name in enumerate(CELLS):
            for target, (a, op_a, b, op_b, _) in enumerate(genotype.tables[name].tolist(), 2):
                for source, op in ((a, op_a), (b, op_b)):
                    out[self._group(cell, source, target), self._drawn.index(op)] += 1
        return out

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """All edges of a cell's supernet."""
        return [
            (source, target)
            for target in range(2, self.settings.blocks + 2)
            for source in range(target)
        ]

    def _group(self, cell: int, source: int, target: int) -> int:
        return cell * len(self._pairs) + self._pairs.index((source, target))

    def _network(self, genotype: Genotype | None, inputs: Size, classes: int) -> Network:
        """The network of a genotype, or, without one, the supernet's."""
        skeleton = self.settings.skeleton
        build = Builder(inputs)
        filters, plan = skeleton.filters, skeleton.plan
        stem = build.layer(0, "stem_3x3", skeleton.stem * filters, name="stem")
        before, last, halved, auxiliary = stem, stem, False, -1
        for index, name in enumerate(plan):
            filters *= 2 if name == "reduction" else 1
            depth = (index + 1) / len(plan)
            as_it_is = index == 0 and skeleton.start == "stem"
            layer, stride = ("factorized_reduction", 2) if halved else ("conv_1x1", 1)
            states = [
                stem
                if as_it_is
                else build.layer(before, layer, filters, stride, name=f"{index}.0"),
                build.layer(last, "conv_1x1", filters, name=f"{index}.1"),
            ]
            if skeleton.twice:
                states[1] = build.layer(states[1], "conv_1x1", filters, name=f"{index}.1.twice")
            before, last, halved = (
                last,
                self._cell(build, genotype, index, states, filters, depth),
                name == "reduction",
            )
            if index == 2 * len(plan) // 3:
                auxiliary = last
        return build.network(
            last, classes, auxiliary if skeleton.auxiliary and genotype is not None else -1
        )

    def _cell(
        self,
        build: Builder,
        genotype: Genotype | None,
        index: int,
        states: list[int],
        filters: int,
        depth: float,
    ) -> int:
        """One cell, the `index`-th, on two states, the second of `filters` channels; the node of
        its output.
        """
        name = self.settings.skeleton.plan[index]
        stride = 2 if name == "reduction" else 1
        if genotype is None:
            for target in range(2, self.settings.blocks + 2):
                every = [
                    edge
                    for source in range(target)
                    for edge in self._every(source, target, states, name, filters)
                ]
                states.append(build.node(every, name=f"{index}.{target}"))
            return build.concat(states[2:])
        for target, (a, op_a, b, op_b, combine) in enumerate(genotype.tables[name].tolist(), 2):
            pair = [
                Edge(states[at], self.names[op], filters, stride if at < 2 else 1, depth)
                for at, op in ((a, op_a), (b, op_b))
            ]
            added = COMBINE[combine] == "add"
            block = build.node(pair, "add" if added else "concat", name=f"{index}.{target}")
            states.append(
                block
                if added
                else build.layer(block, "conv_1x1", filters, name=f"{index}.{target}.narrow")
            )
        return build.concat(
            self._sized(build, state, states[state], filters, stride)
            for state in self.outputs(genotype, name)
        )

    def _every(
        self, source: int, target: int, states: list[int], name: str, filters: int
    ) -> list[Edge]:
        """The candidates between two hidden states in the supernet."""
        group, stride = (
            self._group(CELLS.index(name), source, target),
            2 if name == "reduction" and source < 2 else 1,
        )
        layers = [
            (option, self.names[code])
            for option, code in enumerate(self._drawn)
            if self.names[code] != "none"
        ]
        return [
            Edge(
                states[source],
                f"{layer}_bn" if f"{layer}_bn" in LAYERS else layer,
                filters,
                stride,
                option=(group, option),
            )
            for option, layer in layers
        ]

    @staticmethod
    def _sized(build: Builder, state: int, node: int, filters: int, stride: int) -> int:
        """A hidden state as part of the cell's output: one of the cell's inputs is made as large as
        the others.
        """
        if state < 2 and stride > 1:
            return build.layer(node, "linear_reduction", filters, stride)
        return node if build.channels[node] == filters else build.layer(node, "linear_1x1", filters)

    def header(self) -> dict[str, Any]:
        keys = ("blocks", "operations", "output", "normal_output", "reduction_output")
        given = self.settings.model_dump(mode="json", include=set(keys))
        defaults: dict[str, list[int]] = {"normal_output": [], "reduction_output": []}
        return {key: given[key] for key in keys if given[key] != defaults.get(key)}
