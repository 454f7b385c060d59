"""Published architectures: structure as in the papers, and sizes as published."""

from itertools import pairwise, product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from parts import class_of

from evoml.core.registry import load
from evoml.phenotypes.layers import OPERATIONS, primitives
from evoml.phenotypes.network import Network
from evoml.spaces.cell import CELLS, CellSkeleton

PROGRAMS = Path(__file__).parents[2] / "programs"
FILES = sorted([*(PROGRAMS / "cell").glob("*.toml"), *(PROGRAMS / "hierarchical").glob("*.toml")])
IMAGE, CLASSES = (3, 32, 32), 10
NETWORKS: dict[str, dict[str, Any]] = {  # the skeletons of the published networks
    "darts_v2": {"cells": 6, "filters": 36},
    "nasnet_a": {"cells": 6, "filters": 32, "start": "stem"},
    "amoebanet_a": {"cells": 6, "filters": 36, "start": "stem"},
    "pnasnet_5": {"cells": 3, "filters": 48, "start": "stem", "placement": "first"},
    "enas": {"cells": 5, "filters": 36, "twice": True},
}


def opened(path: Path, **skeleton: Any) -> tuple[Any, Any]:
    """The space, with these settings of its skeleton, and the genotype."""
    module = load("spaces", path.parent.name)
    space, genotype = class_of(module).open_text(path.read_text(), path.name)
    settings = type(space.settings).model_validate(
        space.settings.model_dump() | {"skeleton": skeleton}
    )
    return class_of(module)(settings), genotype


def cell(name: str, **skeleton: Any) -> tuple[Any, Any]:
    return opened(PROGRAMS / "cell" / f"{name}.toml", **skeleton)


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_file_is_what_its_space_writes(path: Path) -> None:
    space, genotype = opened(path)
    assert path.read_text().endswith("\n\n" + space.format(genotype))
    assert path.read_text().startswith("# ")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("path", FILES, ids=ids)
def test_one_image_goes_through(path: Path) -> None:
    torch = pytest.importorskip("torch")
    from evoml.networks.module import Module

    settings = {
        key: value
        for key, value in NETWORKS.get(path.stem, {}).items()
        if key not in ("cells", "filters")
    }
    space, genotype = opened(path, **settings, cells=1, filters=4, reductions=1)
    network = space.network(genotype, IMAGE, CLASSES)
    assert network.sizes[network.output][1:] == (16, 16)
    module = Module(network).eval()
    with torch.no_grad():
        logits, _ = module(
            torch.from_numpy(np.random.default_rng(0).normal(size=(2, *IMAGE)).astype(np.float32))
        )
    assert logits.shape == (2, CLASSES) and bool(torch.isfinite(logits).all())
    assert sum(value.numel() for value in module.parameters()) == network.parameters


STRUCTURE = {  # name: blocks, and outputs of the normal and of the reduction cell
    "darts_v2": (4, [2, 3, 4, 5], [2, 3, 4, 5]),
    "nasnet_a": (5, [0, 2, 3, 4, 5, 6], [3, 4, 5, 6]),
    "amoebanet_a": (5, [0, 3, 4, 6], [2, 3, 4, 5, 6]),
    "pnasnet_5": (5, [2, 3, 4, 5, 6], [2, 3, 4, 5, 6]),
    "enas": (5, [2, 3, 4, 5, 6], [2, 4, 5, 6]),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_blocks_and_outputs(name: str) -> None:
    space, genotype = cell(name)
    blocks, *outputs = STRUCTURE[name]
    assert [len(genotype.tables[each]) for each in CELLS] == [blocks] * 2
    assert [list(space.outputs(genotype, each)) for each in CELLS] == outputs
    names = {
        domain
        for each in CELLS
        for _, _, domain in space.drawings(genotype)[f"{each} cell"].edges(data="label")
        if domain
    }
    assert names <= set(OPERATIONS[space.settings.operations])
    for each in CELLS:
        graph = space.drawings(genotype)[f"{each} cell"]
        assert set(graph) == {"output"} | nx.ancestors(graph, "output") | {0, 1}, (
            "every block is of use"
        )


def test_pnasnet_has_one_cell() -> None:
    _, genotype = cell("pnasnet_5")
    assert np.array_equal(genotype.tables["normal"], genotype.tables["reduction"])


def test_nasnet_is_6_at_768() -> None:
    """N @ the channels before the classifier is how the paper names its networks."""
    network = published("nasnet_a")
    assert network.sizes[network.output] == (768, 8, 8)


def published(name: str) -> Network:
    space, genotype = cell(name, reductions=2, **NETWORKS[name])
    network: Network = space.network(genotype, IMAGE, CLASSES)
    return network


@pytest.mark.parametrize(
    ("name", "millions", "parameters"),
    [
        ("darts_v2", 3.3, 3_349_342),
        ("nasnet_a", 3.3, 3_346_538),
        ("amoebanet_a", 3.2, 3_218_266),
        ("pnasnet_5", 3.2, 3_189_082),
    ],
)
def test_parameters_as_published(name: str, millions: float, parameters: int) -> None:
    """The millions are the papers', to their last figure. DARTS V2's exact number is that of the
    authors' network.

    The others' exact numbers are evoml's, a guard against change: the structure is that of the
    releases, but these state no exact number for CIFAR-10.
    """
    assert published(name).parameters == parameters
    assert round(parameters / 1e6, 1) == millions


def test_parameters_of_enas() -> None:
    """The network that the authors' release builds, but for the biases of the last layer, which it
    has not: counted here from its structure.

    That is 3.9 million. 4.6 are published, which the release does not explain: its count leaves the
    auxiliary head out, and with that, half a million, there would be 4.4. So nothing is compared
    with the paper's number.
    """

    def separable(kernel: int, width: int) -> int:
        return 2 * (kernel**2 * width + width**2 + 2 * width)

    width, before, last, total = 36, 108, 108, 27 * 108 + 2 * 108
    for index in range(17):
        reduces = index in (5, 11)
        width *= 2 if reduces else 1
        # a factorised reduction has as many
        project = [inputs * width + 2 * width for inputs in (before, last, width)]
        ops = [3, 3, 3, 5, 5, 5] if reduces else [3, 3, 5, 5, 5, 5]
        total += (
            sum(project)
            + sum(separable(kernel, width) for kernel in ops)
            + reduces * (width**2 + 2 * width)
        )
        before, last = last, (4 if reduces else 5) * width
    assert published("enas").parameters == total + (last + 1) * CLASSES == 3_894_382


def test_a_reduction_stands_between_stages_or_is_a_stages_first_cell() -> None:
    n, r = "normal", "reduction"
    assert CellSkeleton(cells=2, reductions=2).plan == (n, n, r, n, n, r, n, n)
    assert CellSkeleton(cells=2, reductions=2, placement="first").plan == (n, n, r, n, r, n)
    assert CellSkeleton(cells=1, reductions=1, placement="first").plan == (n, r)
    assert (
        CellSkeleton(cells=0, reductions=2, placement="first").plan
        == CellSkeleton(cells=0, reductions=2).plan
        == (r, r)
    )
    assert len(CellSkeleton(cells=3, reductions=2, placement="first").plan) == 9


def test_the_first_cell_may_read_the_stem_as_it_is() -> None:
    """As NASNet's, AmoebaNet's and PNAS's do: layers start from the stem's channels, and where it
    is part of the output it is made as narrow as a block.
    """
    networks = []
    for start in ("stem", "projected"):
        space, genotype = cell("nasnet_a", filters=8, start=start)
        networks.append(space.network(genotype, IMAGE, CLASSES))
    raw, projected = (
        [edge for node in network.nodes for edge in node.edges if edge.source == 1]
        for network in networks
    )
    assert [edge.layer for edge in projected] == ["conv_1x1"] * 3, (
        "the first cell reads it twice, the next one as its cell before last"
    )
    assert {edge.layer for edge in raw} == {
        "conv_1x1",
        "avg_pool_3x3",
        "identity",
        "linear_1x1",
        "sep_conv_3x3",
        "sep_conv_5x5",
    }
    assert {edge.channels for edge in raw if edge.layer != "conv_1x1"} == {8} and networks[0].sizes[
        1
    ] == (24, 32, 32)


def test_the_last_cell_may_be_projected_twice() -> None:
    parameters = []
    for twice in (False, True):
        space, genotype = cell("enas", filters=8, twice=twice)
        parameters.append(space.network(genotype, IMAGE, CLASSES).parameters)
    assert parameters[1] - parameters[0] == sum(width**2 + 2 * width for width in (8, 16, 16))


COUNTS = {"nasnet": 13, "amoebanet": 8, "pnas": 8, "darts": 8, "enas": 5}


@pytest.mark.parametrize(("name", "count"), [(name, COUNTS.get(name, 0)) for name in OPERATIONS])
def test_lists_of_operations_are_as_long_as_the_papers(name: str, count: int) -> None:
    """Every one another layer, and able to keep channels and size, to halve the size, and to take
    in other channels.
    """
    assert len(set(OPERATIONS[name])) == len(OPERATIONS[name]) == count
    assert len({primitives(operation, 8, 8) for operation in OPERATIONS[name]}) == count
    for operation in OPERATIONS[name]:
        for inputs, stride in ((8, 1), (8, 2), (24, 1), (24, 2)):
            height, width = 7, 6
            for step in primitives(operation, inputs, 8, stride):
                height, width = step.after(height, width)
            assert (height, width) == ((7, 6) if stride == 1 else (4, 3))


@pytest.mark.parametrize(
    ("name", "kernels", "inner"),
    [
        ("bottleneck_3x3", [(3, 3)], (18, 1)),
        ("dil_dense_3x3", [(3, 3)], (18, 1)),
        ("conv_1x7_7x1", [(1, 7), (7, 1)], (18, 1)),
        ("conv_1x3_3x1", [(1, 3), (3, 1)], (27, 1)),
    ],
)
def test_bottlenecks(name: str, kernels: list[tuple[int, int]], inner: tuple[int, int]) -> None:
    """ReLU, convolution, normalisation: to a quarter of the channels, or three eighths, then the
    kernels, then back.

    The stride is the kernels'.
    """
    for (outputs, channels), stride in product(zip((72, 3), inner, strict=True), (1, 2)):
        layer = primitives(name, 5, outputs, stride)
        assert [step.kind for step in layer] == ["relu", "conv", "bn"] * (len(kernels) + 2)
        convolutions = [step for step in layer if step.kind == "conv"]
        assert [step.kernel for step in convolutions] == [(1, 1), *kernels, (1, 1)]
        assert [(step.inputs, step.outputs) for step in convolutions] == list(
            pairwise([5, *[channels] * (len(kernels) + 1), outputs])
        )
        assert [step.stride for step in convolutions[:1] + convolutions[-1:]] == [(1, 1), (1, 1)]
        strides = [(stride, stride)] if len(kernels) == 1 else [(1, stride), (stride, 1)]
        assert [step.stride for step in convolutions[1:-1]] == strides
        assert {step.dilation for step in convolutions[1:-1]} == {
            2 if name == "dil_dense_3x3" else 1
        }


@pytest.mark.parametrize(("filters", "published"), [(64, 15.7), (128, 61.3)])
def test_parameters_of_the_hierarchical_cell(filters: int, published: float) -> None:
    """Within 1.5 %: how operations are built is not published to the last convolution, and one edge
    of motif 5 is not legible.
    """
    space, genotype = opened(
        PROGRAMS / "hierarchical" / "hierarchical.toml", cells=2, filters=filters, reductions=2
    )
    assert space.network(genotype, IMAGE, CLASSES).parameters / 1e6 == pytest.approx(
        published, rel=0.015
    )


def test_motifs_of_the_hierarchical_cell() -> None:
    """Six motifs of four nodes and a cell of five, with an operation on every edge."""
    space, genotype = opened(PROGRAMS / "hierarchical" / "hierarchical.toml")
    rows = {name: (rows["operation"] != 0).sum() for name, rows in genotype.tables.items()}
    assert rows == {"level2": 36, "level3": 10}
    assert set(space.drawings(genotype)) == {"cell", "motif_1", "motif_3", "motif_4", "motif_5"}


def test_the_trivial_genotype_is_the_spaces_own() -> None:
    space, genotype = opened(PROGRAMS / "hierarchical" / "trivial.toml")
    assert genotype == space.trivial()
    for graph in space.drawings(genotype).values():
        assert (
            nx.is_path(graph, list(range(1, len(graph) + 1)))
            and graph.number_of_edges() == len(graph) - 1
        )
