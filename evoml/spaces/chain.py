"""Chains: convolutions one after another, each with its own kernel, filters and stride, and with
any earlier layers as inputs (the space of NAS-RL).

Zoph and Le 2017, "Neural Architecture Search with Reinforcement Learning", ICLR, arXiv 1611.01578.
`anchors` are the earlier layers that a layer reads. A layer that reads none takes the image;
several inputs are concatenated in depth, zero-padded where their sizes differ; layers that nothing
reads are concatenated before the classifier. The paper's strategy is REINFORCE on a recurrent
controller: the mutations and the crossover here are evoml's, for evolution. The paper's search
begins with few layers and grows; here the number of layers is drawn, and mutations insert and
remove them.
"""

from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from evoml.contracts.architecture_space import ArchitectureSpace, graph_digest
from evoml.core import settings
from evoml.genotypes.domains import IntegerChoice, Subset, members
from evoml.genotypes.schema import Column, Genotype, Schema, Table
from evoml.phenotypes.layers import Size, layers
from evoml.phenotypes.network import Builder, Network

if TYPE_CHECKING:
    import networkx as nx

# kernel_height, kernel_width, filters, stride, anchors as a bit mask
Rows = list[tuple[int, int, int, int, int]]
ANCHORS = 4  # the column
Positive = Annotated[int, Field(strict=True, ge=1, le=4096)]


class ChainSkeleton(settings.Settings):
    """What is not searched; small in the search and large at the end."""

    width: float = Field(
        1.0, gt=0, le=16, description="what every number of filters is multiplied by"
    )


class Settings(settings.Settings):
    """How many layers, and the values of their hyper-parameters."""

    least: int = Field(1, ge=1, le=64, description="layers, at least")
    most: int = Field(15, ge=1, le=64, description="layers, at most")
    kernels: tuple[Positive, ...] = Field(
        (1, 3, 5, 7), min_length=1, description="heights and widths of kernels"
    )
    filters: tuple[Positive, ...] = Field(
        (24, 36, 48, 64), min_length=1, description="numbers of filters"
    )
    strides: tuple[Positive, ...] = Field(
        (1,), min_length=1, description="strides; the paper also has [1, 2, 3]"
    )
    identity: float = Field(0.05, ge=0, le=1, description="share of children that are copies")
    skeleton: ChainSkeleton = ChainSkeleton()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) is more than most ({self.most})")
        for name in ("kernels", "filters", "strides"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names a value twice")
        if unknown := [kernel for kernel in self.kernels if _layer(kernel, kernel) not in layers()]:
            raise ValueError(f"kernels: no convolution of size {unknown[0]}; there are 1, 3, 5, 7")
        return self


class ChainSpace(ArchitectureSpace):
    """Chains of convolutions with batch normalisation and ReLU."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        kernel = IntegerChoice(self.settings.kernels)
        columns = (
            Column("kernel_height", kernel),
            Column("kernel_width", kernel),
            Column("filters", IntegerChoice(self.settings.filters)),
            Column("stride", IntegerChoice(self.settings.strides)),
            Column("anchors", Subset()),
        )
        return Schema((Table("layers", columns, self.settings.least, self.settings.most),))

    # -- variation ---------------------------------------------------------------------------------

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        """Identity, or one of those that are possible, as likely: change a hyper-parameter, toggle
        an anchor, insert a layer, remove one.
        """
        rows: Rows = genotype.tables["layers"].tolist()
        free = [
            (row, column)
            for row in range(len(rows))
            for column, values in enumerate(self._values)
            if len(values) > 1
        ]
        possible = {
            "change": bool(free),
            "toggle": len(rows) > 1,
            "insert": len(rows) < self.settings.most,
            "remove": len(rows) > self.settings.least,
        }
        kinds = [kind for kind, can in possible.items() if can]
        if rng.random() < self.settings.identity or not kinds:
            return genotype
        kind = rng.choice(kinds)
        if kind == "change":
            row, column = rng.choice(free)
            value = rng.choice(
                [value for value in self._values[column] if value != rows[row][column]]
            )
            rows[row] = _with(rows[row], column, value)
        elif kind == "toggle":
            row, anchor = rng.choice(
                [(row, anchor) for row in range(len(rows)) for anchor in range(row)]
            )
            rows[row] = _with(rows[row], ANCHORS, rows[row][ANCHORS] ^ (1 << anchor))
        elif kind == "insert":
            rows = inserted(
                rows, rng.randrange(-1, len(rows)), [rng.choice(values) for values in self._values]
            )
        else:
            rows = removed(rows, rng.randrange(len(rows)))
        return self._genotype(rows)

    @cached_property
    def _values(self) -> tuple[tuple[int, ...], ...]:
        return (
            self.settings.kernels,
            self.settings.kernels,
            self.settings.filters,
            self.settings.strides,
        )

    def _genotype(self, rows: Rows) -> Genotype:
        return Genotype(self.schema, {"layers": np.array(rows, self.schema["layers"].dtype)})

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Exchange all layers from some point on.

        The paper has no crossover; this is for NSGA-Net and DEAP's algorithms.
        """
        a, b = one.tables["layers"], other.tables["layers"]
        at = rng.randint(0, min(len(a), len(b)))
        return tuple(
            Genotype(self.schema, {"layers": np.concatenate(pair)})
            for pair in ((a[:at], b[at:]), (b[:at], a[at:]))
        )  # type: ignore[return-value]

    # -- what a genotype means ---------------------------------------------------------------------

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """The layers to be drawn, with what each of them reads."""
        rows: Rows = genotype.tables["layers"].tolist()
        import networkx as nx

        out = nx.MultiDiGraph()
        out.add_node(0, label="image", kind="input")
        for row, (height, width, filters, stride, anchors) in enumerate(rows, 1):
            strided = f", stride {stride}" if stride > 1 else ""
            label = f"{row - 1}: {height}x{width}, {filters} filters{strided}"
            out.add_node(row, label=label, kind="node", layer=_layer(height, width))
            out.add_edges_from((source, row) for source in _sources(anchors))
        unread = [row for row in range(1, len(rows) + 1) if not out.out_degree(row)]
        out.add_node("output", label="output", kind="output")
        out.add_edges_from((row, "output") for row in unread)
        return {"": out}

    def canonical(self, genotype: Genotype) -> bytes:
        """The layers as a graph: their order does not matter where nothing depends on it."""
        rows: Rows = genotype.tables["layers"].tolist()
        labels = [
            "image",
            *(f"{height}x{width} {filters} {stride}" for height, width, filters, stride, _ in rows),
        ]
        edges = [
            (source, row, "")
            for row, (*_, anchors) in enumerate(rows, 1)
            for source in _sources(anchors)
        ]
        return graph_digest(labels, edges)

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        rows: Rows = genotype.tables["layers"].tolist()
        build = Builder(inputs)
        nodes, unread = [0], set(range(1, len(rows) + 1))
        for height, width, filters, stride, anchors in rows:
            sources = _sources(anchors)
            unread -= set(sources)
            channels = max(round(filters * self.settings.skeleton.width), 1)
            nodes.append(
                build.layer(
                    build.concat(nodes[source] for source in sources),
                    _layer(height, width),
                    channels,
                    stride,
                )
            )
        return build.network(build.concat(nodes[layer] for layer in sorted(unread)), classes)

    def header(self) -> dict[str, Any]:
        return self.settings.model_dump(
            mode="json", include={"least", "most", "kernels", "filters", "strides"}
        )


def inserted(rows: Rows, behind: int, hyper: list[int]) -> Rows:
    """With a layer of these hyper-parameters behind layer `behind` (-1: the image): it reads that
    one, and what read that one reads it.
    """
    new = behind + 1
    out: Rows = [*rows[:new], (*hyper, 1 << behind if behind >= 0 else 0)]  # type: ignore[list-item]
    for row in rows[new:]:
        anchors = row[ANCHORS]
        moved = anchors & ((1 << new) - 1) | anchors >> new << (new + 1)
        if behind < 0:
            moved |= not anchors
        elif anchors >> behind & 1:
            moved ^= 1 << behind | 1 << new
        out.append(_with(row, ANCHORS, moved))
    return out


def removed(rows: Rows, gone: int) -> Rows:
    """Without one layer: what read it reads what it read. The inverse of `inserted`."""
    out = rows[:gone]
    for row in rows[gone + 1 :]:
        anchors = row[ANCHORS]
        moved = anchors & ((1 << gone) - 1) | anchors >> (gone + 1) << gone
        out.append(
            _with(row, ANCHORS, moved | rows[gone][ANCHORS] if anchors >> gone & 1 else moved)
        )
    return out


def _with(row: tuple[int, ...], column: int, value: int) -> tuple[int, int, int, int, int]:
    return (*row[:column], value, *row[column + 1 :])  # type: ignore[return-value]


def _sources(anchors: int) -> list[int]:
    """What a layer reads: 0 for the image, and layers counted from 1."""
    return [anchor + 1 for anchor in members(anchors)] or [0]


def _layer(height: int, width: int) -> str:
    return f"conv_{height}x{width}_bn_relu"
