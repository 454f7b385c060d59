"""Mobile networks: stages of inverted bottlenecks, each with its own kernel and expansion, or left
out (the space of ProxylessNAS).

Cai, Zhu, Han 2019, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware",
ICLR, arXiv 1812.00332; the blocks are MobileNetV2's (Sandler et al. 2018, arXiv 1801.04381). A
block that keeps size and channels has an identity beside it, and may then be nothing else (`none`).
What stands around the blocks is the release's: a convolution, a block of expansion 1 that is not
searched, and a 1x1 convolution at the end. The paper's search is by gradient: the mutations and the
crossover here are evoml's, for evolution. Departure: batch normalisation has evoml's epsilon, 1e-5,
the release's 1e-3.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.core import settings
from evoml.genotypes.decisions import Choose
from evoml.genotypes.domains import Choice, Conditional, Flag, Integer
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.phenotypes.layers import Size
from evoml.phenotypes.network import Builder, Edge, Group, Network, Supernet

if TYPE_CHECKING:
    import networkx as nx

NONE = "none"
Channels = Annotated[int, Field(strict=True, ge=1, le=4096)]
Count = Annotated[int, Field(strict=True, ge=1, le=64)]


class MobileSkeleton(settings.Settings):
    """What is not searched; small in the search and large at the end."""

    stem: int = Field(8, ge=1, le=4096, description="channels of the first convolution")
    stem_stride: int = Field(1, ge=1, le=4, description="its stride")
    first: int = Field(
        8,
        ge=1,
        le=4096,
        description="channels of the first block, which is not searched: kernel 3, expansion 1",
    )
    last: int = Field(
        64,
        ge=0,
        le=65_536,
        description="channels of the 1x1 convolution at the end; 0: there is none",
    )
    width: float = Field(
        1.0, gt=0, le=16, description="what all numbers of channels are multiplied by"
    )


class Settings(settings.Settings):
    """Stages of blocks, and what a block may be."""

    kernels: tuple[Literal[3, 5, 7], ...] = Field(
        (3, 5, 7), min_length=1, description="of the depthwise convolution of a block"
    )
    expansions: tuple[Literal[1, 3, 6], ...] = Field(
        (3, 6), min_length=1, description="channels inside a block, in multiples of its input's"
    )
    widths: tuple[Channels, ...] = Field(
        (12, 16, 24), min_length=1, description="channels of every stage"
    )
    blocks: tuple[Count, ...] = Field((2, 2, 2), min_length=1, description="blocks of every stage")
    strides: tuple[Annotated[int, Field(strict=True, ge=1, le=4)], ...] = Field(
        (1, 2, 2), min_length=1, description="stride of the first block of every stage"
    )
    identity: float = Field(0.05, ge=0, le=1, description="share of children that are copies")
    skeleton: MobileSkeleton = MobileSkeleton()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("kernels", "expansions"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names a value twice")
        for name in ("blocks", "strides"):
            if len(getattr(self, name)) != len(self.widths):
                raise ValueError(
                    f"{name} is for {len(getattr(self, name))} stages, widths for "
                    f"{len(self.widths)}; they must be as many"
                )
        if sum(self.blocks) > 255:
            raise ValueError(f"blocks: {sum(self.blocks)} in all; there may be 255")
        return self


class MobileSpace(ArchitectureSpace):
    """Sequences of blocks."""

    has_supernet = True
    skips = ("none",)  # what is left of a block then is its identity

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """What a block may be, without `none`."""
        return tuple(
            f"mbconv_{kernel}x{kernel}_e{expansion}"
            for kernel in self.settings.kernels
            for expansion in self.settings.expansions
        )

    @cached_property
    def plan(self) -> tuple[tuple[int, bool], ...]:
        """Of every block its stage, from 0, and whether there is an identity beside it."""
        # channels of the first stage are never those of the skeleton in front of it
        given, out, before = self.settings, [], 0
        for stage, (width, blocks, stride) in enumerate(
            zip(given.widths, given.blocks, given.strides, strict=True)
        ):
            out += [
                (stage, index > 0 or (stride == 1 and width == before)) for index in range(blocks)
            ]
            before = width
        return tuple(out)

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        layer = Conditional("residual", {1: Choice((*self.layers, NONE))}, Choice(self.layers))
        columns = (
            Column("stage", Integer(0, 63), True),
            Column("residual", Flag(), True),
            Column("layer", layer),
        )
        return Schema((Table("blocks", columns, len(self.plan), len(self.plan)),))

    def frame(self, choose: Choose) -> Frame:
        return {
            "blocks": [{"stage": stage, "residual": int(residual)} for stage, residual in self.plan]
        }

    def violation(self, genotype: Genotype) -> str | None:
        """Whether the blocks are this space's."""
        for row, (stage, residual) in zip(
            genotype.tables["blocks"].tolist(), self.plan, strict=True
        ):
            if tuple(row[:2]) != (stage, residual):
                beside = "with" if residual else "without"
                return (
                    f"blocks: as here, there must be a block of stage {stage} {beside} a residual "
                    f"where there is one of stage {row[0]}; else set space.blocks"
                )
        return None

    # -- variation ---------------------------------------------------------------------------------

    def vary(self, rng: Random, genotype: Genotype) -> Genotype:
        """Identity, or another layer for one block."""
        free = [block for block in range(len(self.plan)) if len(self.options(block)) > 1]
        if rng.random() < self.settings.identity or not free:
            return genotype
        block, rows = rng.choice(free), genotype.tables["blocks"].copy()
        rows[block]["layer"] = rng.choice(
            [code for code in range(len(self.options(block))) if code != rows[block]["layer"]]
        )
        return Genotype(self.schema, {"blocks": rows})

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Exchange all blocks from some point on.

        The paper has no crossover; this is for NSGA-Net and DEAP's algorithms.
        """
        a, b = one.tables["blocks"], other.tables["blocks"]
        at = rng.randint(0, len(a))
        return tuple(
            Genotype(self.schema, {"blocks": np.concatenate(pair)})
            for pair in ((a[:at], b[at:]), (b[:at], a[at:]))
        )  # type: ignore[return-value]

    # -- what a genotype means ---------------------------------------------------------------------

    def options(self, block: int) -> tuple[str, ...]:
        """What a block may be."""
        return (*self.layers, NONE) if self.plan[block][1] else self.layers

    def chosen(self, genotype: Genotype) -> list[str]:
        """What every block is."""
        return [
            self.options(block)[code]
            for block, code in enumerate(genotype.tables["blocks"]["layer"].tolist())
        ]

    def drawings(self, genotype: Genotype) -> "dict[str, nx.MultiDiGraph]":
        """The blocks to be drawn, one behind another, with the identities beside them."""
        import networkx as nx

        out = nx.MultiDiGraph()
        out.add_node(0, label="stem", kind="input")
        for block, (layer, (stage, residual)) in enumerate(
            zip(self.chosen(genotype), self.plan, strict=True), 1
        ):
            first = block == 1 or self.plan[block - 2][0] != stage
            width, stride = (
                self.settings.widths[stage],
                self.settings.strides[stage] if first else 1,
            )
            out.add_node(
                block,
                label=f"{block - 1}: {width} channels"
                + (f", stride {stride}" if stride > 1 else ""),
                kind="node",
            )
            if layer != NONE:
                out.add_edge(block - 1, block, label=layer)
            if residual:
                out.add_edge(block - 1, block, label="identity")
        out.add_node("output", label="output", kind="output")
        out.add_edge(len(self.plan), "output")
        return {"": out}

    def canonical(self, genotype: Genotype) -> bytes:
        """The blocks by stage, without those that are left out: it does not matter which of a stage
        they were.
        """
        return "|".join(
            f"{stage} {layer}"
            for layer, (stage, _) in zip(self.chosen(genotype), self.plan, strict=True)
            if layer != NONE
        ).encode()

    def network(self, genotype: Genotype, inputs: Size, classes: int) -> Network:
        chosen = self.chosen(genotype)
        return self._network(lambda block: [(chosen[block], None)], inputs, classes)

    def supernet(self, inputs: Size, classes: int) -> Supernet:
        """Every layer in every block."""
        every = [
            [(layer, (block, option)) for option, layer in enumerate(self.options(block))]
            for block in range(len(self.plan))
        ]
        groups = tuple(Group(name, self.options(block)) for block, name in enumerate(self._names))
        return Supernet(self._network(lambda block: every[block], inputs, classes), groups)

    def derive(self, strengths: np.ndarray) -> Genotype:
        """The strongest option of every block, `none` among them where there is one.

        strengths: [G, O].
        """
        rows = np.zeros(len(self.plan), self.schema["blocks"].dtype)
        for block, (stage, residual) in enumerate(self.plan):
            rows[block] = stage, residual, strengths[block, : len(self.options(block))].argmax()
        return Genotype(self.schema, {"blocks": rows})

    def paths(self, genotype: Genotype) -> np.ndarray:
        """What of the supernet a genotype is, [G, O] float64 of 0 and 1."""
        most = max(len(self.options(block)) for block in range(len(self.plan)))
        return np.eye(most)[genotype.tables["blocks"]["layer"].astype(np.int64)]

    @cached_property
    def _names(self) -> list[str]:
        """Of every block, its stage and its place there."""
        return [
            f"{stage}.{index}"
            for stage, blocks in enumerate(self.settings.blocks)
            for index in range(blocks)
        ]

    def _network(
        self,
        options: Callable[[int], Sequence[tuple[str, tuple[int, int] | None]]],
        inputs: Size,
        classes: int,
    ) -> Network:
        """The network whose blocks have these layers.

        options: of a block, layers and which options of a supernet they are.
        """
        given, skeleton = self.settings, self.settings.skeleton

        def wide(channels: int) -> int:
            return max(round(channels * skeleton.width), 1)

        build = Builder(inputs)
        last = build.layer(
            0, "conv_3x3_bn_relu6", wide(skeleton.stem), skeleton.stem_stride, name="stem"
        )
        last = build.layer(last, "mbconv_3x3_e1", wide(skeleton.first), name="first")
        for block, (name, (stage, residual)) in enumerate(zip(self._names, self.plan, strict=True)):
            width, stride = (
                wide(given.widths[stage]),
                given.strides[stage] if name.endswith(".0") else 1,
            )
            edges = [
                Edge(last, layer, width, stride, option=option)
                for layer, option in options(block)
                if layer != NONE
            ]
            last = build.node([Edge(last, "identity", width)] * residual + edges, name=name)
        if skeleton.last:
            last = build.layer(last, "conv_1x1_bn_relu6", wide(skeleton.last), name="last")
        return build.network(last, classes)

    def header(self) -> dict[str, Any]:
        return self.settings.model_dump(
            mode="json", include={"kernels", "expansions", "widths", "blocks", "strides"}
        )
