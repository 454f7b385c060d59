"""Published architectures: structure as in the papers, sizes as published or as far from them as the skeletons depart."""

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

from evoml.layers import OPERATIONS
from evoml.registry import load
from evoml.spaces.cell import CELLS

PROGRAMS = Path(__file__).parents[1] / "programs"
FILES = sorted([*(PROGRAMS / "cell").glob("*.toml"), *(PROGRAMS / "hierarchical").glob("*.toml")])
IMAGE, CLASSES = (3, 32, 32), 10


def opened(path: Path, **skeleton: Any) -> tuple[Any, Any]:
    """The space, with these settings of its skeleton, and the genotype."""
    module = load("spaces", path.parent.name)
    space, genotype = module.open_text(path.read_text(), path.name)
    settings = type(space.settings).model_validate(space.settings.model_dump() | {"skeleton": skeleton})
    return module.Space(settings), genotype


def cell(name: str, **skeleton: Any) -> tuple[Any, Any]:
    return opened(PROGRAMS / "cell" / f"{name}.toml", **skeleton)


def ids(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_file_is_what_its_space_writes(path: Path) -> None:
    space, genotype = opened(path)
    assert path.read_text().endswith("\n\n" + space.format(genotype))
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_one_image_goes_through(path: Path) -> None:
    torch = pytest.importorskip("torch")
    from evoml.networks.module import Module

    space, genotype = opened(path, cells=1, filters=4, reductions=1)
    network = space.network(genotype, IMAGE, CLASSES)
    assert network.sizes[network.output][1:] == (16, 16)
    module = Module(network).eval()
    with torch.no_grad():
        logits, _ = module(torch.from_numpy(np.random.default_rng(0).normal(size=(2, *IMAGE)).astype(np.float32)))
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
    names = {domain for each in CELLS for _, _, domain in space.graphs(genotype)[f"{each} cell"].edges(data="label") if domain}
    assert names <= set(OPERATIONS[space.settings.operations])
    for each in CELLS:
        graph = space.graphs(genotype)[f"{each} cell"]
        assert set(graph) == {"output"} | nx.ancestors(graph, "output") | {0, 1}, "every block is of use"


def test_pnasnet_has_one_cell() -> None:
    _, genotype = cell("pnasnet_5")
    assert np.array_equal(genotype.tables["normal"], genotype.tables["reduction"])


def test_nasnet_is_6_at_768() -> None:
    """N @ the channels before the classifier is how the paper names its networks."""
    space, genotype = cell("nasnet_a", cells=6, filters=32, reductions=2)
    network = space.network(genotype, IMAGE, CLASSES)
    assert network.sizes[network.output] == (768, 8, 8)


@pytest.mark.parametrize(
    ("name", "cells", "filters", "published"), [("darts_v2", 6, 36, 3.3), ("nasnet_a", 6, 32, 3.3)], ids=["darts_v2", "nasnet_a"]
)
def test_parameters_as_published(name: str, cells: int, filters: int, published: float) -> None:
    """In millions, to the figure that the papers give. DARTS V2 is exact: the authors' network has as many."""
    space, genotype = cell(name, cells=cells, filters=filters, reductions=2)
    parameters = space.network(genotype, IMAGE, CLASSES).parameters
    assert round(parameters / 1e6, 1) == published
    if name == "darts_v2":
        assert parameters == 3_349_342


def test_parameters_of_amoebanet() -> None:
    """3.2 million are published for N = 6, F = 36. The authors' 1x7 7x1 convolution works on a quarter of the channels, between two 1x1 convolutions.

    This space's works on all of them: where the layer has no such bottleneck, the two that the reduction cells have make up the difference.
    """
    space, genotype = cell("amoebanet_a", cells=6, filters=36, reductions=2)
    network = space.network(genotype, IMAGE, CLASSES)
    wide = [edge for node in network.nodes for edge in node.edges if edge.layer == "conv_1x7_7x1"]
    assert [edge.channels for edge in wide] == [72, 144]

    def bottleneck(channels: int) -> int:
        inner = channels // 4
        return 2 * channels * inner + 14 * inner**2 + 6 * inner + 2 * channels

    given = sum(step.parameters for edge in wide for step in network.primitives(edge, edge.channels))
    expected = network.parameters - given + sum(bottleneck(edge.channels) for edge in wide)
    assert round(expected / 1e6, 1) == 3.2
    assert network.parameters / 1e6 == pytest.approx(3.2, rel=0.12)


def test_parameters_of_pnasnet() -> None:
    """3.2 million are published for N = 3, F = 48, which are nine cells: a reduction takes the place of the first cell of a stage.

    The skeleton puts reductions between stages of N: eight cells at N = 2, eleven and 4.3 million at N = 3. Nine, were the plan 3 + (1 + 2) + (1 + 2),
    would be 3.18 million.
    """
    counts = []
    for cells in (2, 3):
        space, genotype = cell("pnasnet_5", cells=cells, filters=48, reductions=2)
        counts.append(space.network(genotype, IMAGE, CLASSES).parameters / 1e6)
    assert counts[0] < 3.2 < counts[1]
    assert counts[0] == pytest.approx(3.2, rel=0.05)


def test_parameters_of_enas() -> None:
    """4.6 million are published for 15 normal cells and F = 36; 3.7 here.

    The authors' network sends the last cell's output through a second 1x1 convolution in every cell, 0.16 million in all. The rest is not explained by the
    published structure: the paper does not say that the cell of the release is the one whose parameters it gives.
    """
    space, genotype = cell("enas", cells=5, filters=36, reductions=2)
    network = space.network(genotype, IMAGE, CLASSES)
    widths = [36] * 5 + [72] * 6 + [144] * 6
    assert round(network.parameters / 1e6, 1) == 3.7
    assert round((network.parameters + sum(width**2 + 2 * width for width in widths)) / 1e6, 1) == 3.9


@pytest.mark.parametrize(("filters", "published"), [(64, 15.7), (128, 61.3)])
def test_parameters_of_the_hierarchical_cell(filters: int, published: float) -> None:
    """Within 1.5 %: how operations are built is not published to the last convolution, and one edge of motif 5 is not legible."""
    space, genotype = opened(PROGRAMS / "hierarchical" / "hierarchical.toml", cells=2, filters=filters, reductions=2)
    assert space.network(genotype, IMAGE, CLASSES).parameters / 1e6 == pytest.approx(published, rel=0.015)


def test_motifs_of_the_hierarchical_cell() -> None:
    """Six motifs of four nodes and a cell of five, with an operation on every edge."""
    space, genotype = opened(PROGRAMS / "hierarchical" / "hierarchical.toml")
    rows = {name: (rows["operation"] != 0).sum() for name, rows in genotype.tables.items()}
    assert rows == {"level2": 36, "level3": 10}
    assert set(space.graphs(genotype)) == {"cell", "motif_1", "motif_3", "motif_4", "motif_5"}


def test_the_trivial_genotype_is_the_spaces_own() -> None:
    space, genotype = opened(PROGRAMS / "hierarchical" / "trivial.toml")
    assert genotype == space.trivial()
    for graph in space.graphs(genotype).values():
        assert nx.is_path(graph, list(range(1, len(graph) + 1))) and graph.number_of_edges() == len(graph) - 1
