"""Spaces of architectures: a contract that each in the folder keeps, then what the papers say of
each.
"""

import io
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from parts import class_of

from evoml.config import build
from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.space import read_genotype
from evoml.core import registry
from evoml.core.errors import InputError
from evoml.genotypes.domains import Choice, Conditional, Place, Reference, Subset
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Column, Genotype, Schema, Table
from evoml.phenotypes.layers import primitives
from evoml.phenotypes.network import Network
from evoml.spaces import cell, chain, hierarchical

IMAGES = ((1, 8, 8), (3, 32, 32))
STREAMS = np.arange(1, 13, dtype=np.uint64)


def is_architecture(module: ModuleType) -> bool:
    return hasattr(module, "Space") and issubclass(class_of(module), ArchitectureSpace)


MODULES = [
    module
    for name in registry.names("spaces")
    if is_architecture(module := registry.load("spaces", name))
]


@pytest.fixture(scope="module", params=MODULES, ids=lambda module: module.__name__.rsplit(".")[-1])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def space(module: ModuleType) -> ArchitectureSpace:
    return class_of(module)(module.Settings())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def genotypes(space: ArchitectureSpace) -> list[Genotype]:
    """Random ones, and a line of mutants of each."""
    parents = space.random(STREAMS)
    out = members(parents)
    for generation in range(1, 5):
        parents = space.mutate(
            parents, np.arange(len(parents)), STREAMS + np.uint64(100 * generation)
        )
        out += members(parents)
    return out


def members(population: Population) -> list[Genotype]:
    return [population.genotype(index) for index in range(len(population))]


def differing(one: Genotype, other: Genotype, schema: Schema) -> list[tuple[str, int, Column]]:
    """The genes in which two genotypes of equal sizes differ."""
    return [
        (table.name, row, column)
        for table in schema.tables
        for column in table.columns
        for row in np.nonzero(
            one.tables[table.name][column.name] != other.tables[table.name][column.name]
        )[0]
    ]


def spoilt(space: ArchitectureSpace, genotype: Genotype, kind: type, value: Any) -> str | None:
    """A genotype's text with the first gene of this kind of domain set to `value`; None where the
    space has no such gene.
    """
    tables = read_genotype(space.format(genotype), "here.toml")
    for table in space.schema.tables:
        for column in table.columns:
            if isinstance(column.domain, kind):
                tables[table.name][0][column.name] = value
                return tomli_w.dumps(tables)
    return None


def refused(space: ArchitectureSpace, text: str, *parts: str) -> None:
    with pytest.raises(InputError) as error:
        space.parse(text, "here.toml")
    assert str(error.value).startswith("here.toml: ") and "\n" not in str(error.value)
    assert all(part in str(error.value) for part in parts), str(error.value)


# the contract


def test_random_genotypes_and_mutants_are_valid(
    space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    for genotype in genotypes:
        assert space.schema.violation(genotype) is None and space.violation(genotype) is None


def test_text_gives_the_genotype_back(
    module: ModuleType, space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    for genotype in genotypes:
        assert space.parse(space.format(genotype), "here.toml") == genotype
    opened, genotype = class_of(module).open_text(space.format(genotypes[0]), "here.toml")
    assert (
        genotype == genotypes[0]
        and opened.key(genotype) == space.key(genotype)
        and opened.header() == space.header()
    )


def test_parquet_gives_the_genotypes_back(
    space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    population, file = Population.of(space.schema, genotypes), io.BytesIO()
    pq.write_table(
        pa.table({"genotype": space.schema.to_arrow(population.tables, population.sizes)}), file
    )
    assert (
        space.schema.from_arrow(pq.read_table(file)["genotype"].combine_chunks(), "file")
        == genotypes
    )


def test_the_same_streams_give_the_same_candidates(space: ArchitectureSpace) -> None:
    one, other = space.random(STREAMS), space.random(STREAMS)
    assert members(one) == members(other) and len(set(members(one))) > 1
    at = np.arange(len(one))
    children = members(space.mutate(one, at, STREAMS))
    assert children == members(space.mutate(other, at, STREAMS))
    assert children[3:5] == members(space.mutate(one, at[3:5], STREAMS[3:5])), (
        "a child depends on its own stream only"
    )
    assert children != members(one)


def test_the_first_population_may_be_given(
    space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    assert members(space.initial(STREAMS[:3], genotypes[:2])) == [
        genotypes[0],
        genotypes[1],
        genotypes[0],
    ]


def test_crossover_gives_valid_children_and_leaves_parents_alone(
    space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    for seed in range(20):
        one, other = Random(seed).sample(genotypes, 2)
        digests = one.digest(), other.digest()
        for child in space.mate(Random(seed), one, other):
            assert space.schema.violation(child) is None and space.violation(child) is None
        assert (one.digest(), other.digest()) == digests


def test_neighbours_differ_in_one_gene(space: ArchitectureSpace, genotypes: list[Genotype]) -> None:
    for genotype in genotypes[:3]:
        neighbours = space.neighbours(genotype)
        assert (
            neighbours
            and len(set(neighbours)) == len(neighbours)
            and neighbours == space.neighbours(genotype)
        )
        for neighbour in neighbours:
            assert space.schema.violation(neighbour) is None and space.violation(neighbour) is None
            changed = differing(genotype, neighbour, space.schema)
            assert len({(table, row) for table, row, _ in changed}) == 1
            assert len(changed) == 1 or any(
                isinstance(column.domain, Conditional) for _, _, column in changed
            )
            assert not any(column.key for _, _, column in changed)


@pytest.mark.parametrize("size", IMAGES, ids=str)
def test_every_genotype_has_a_network(
    space: ArchitectureSpace, genotypes: list[Genotype], size: tuple[int, int, int]
) -> None:
    for genotype in genotypes:
        network = space.network(genotype, size, 10)
        assert network.sizes[0] == size and min(min(each) for each in network.sizes) > 0
        assert network.parameters > 0 and network.multiply_adds > 0
        assert (
            network.output == len(network.nodes) - 1 or network.auxiliary == len(network.nodes) - 1
        )


NOTHING = -1


def expression(network: Network, known: dict[Any, int]) -> int:
    """The number of what a network computes, in `known`: the same however its nodes are ordered and
    shared, and whatever idles.
    """
    values = [0]
    for node, size in zip(network.nodes[1:], network.sizes[1:], strict=True):
        parts = []
        for edge in node.edges:
            part, (channels, *sides) = values[edge.source], network.sizes[edge.source]
            for step in network.primitives(edge, channels):
                sides = list(step.after(*sides))
                if step.kind == "zero":
                    part = NOTHING
                elif step.kind != "id" and part != NOTHING:
                    part = known.setdefault((step, part), len(known) + 1)
            if part != NOTHING or node.merge == "concat":
                parts.append(
                    part
                    if sides == list(size[1:])
                    else known.setdefault((size[1:], part), len(known) + 1)
                )
        value = (
            parts[0]
            if len(parts) == 1
            else known.setdefault((node.merge, *sorted(parts)), len(known) + 1)
        )
        values.append(value if parts else NOTHING)
    return values[network.output]


def test_equal_keys_mean_networks_of_equal_expressions(
    space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    known: dict[Any, int] = {}
    found: dict[str, int] = {}
    for genotype in [
        *genotypes,
        *(each for one in genotypes[:3] for each in space.neighbours(one)),
    ]:
        value = expression(space.network(genotype, (3, 8, 8), 10), known)
        assert found.setdefault(space.key(genotype), value) == value
    assert len(set(found.values())) > 1


def test_bad_files_are_refused_in_one_line(
    module: ModuleType, space: ArchitectureSpace, genotypes: list[Genotype]
) -> None:
    text = space.format(genotypes[0])
    refused(space, "not [ TOML", "not TOML")
    refused(space, "[[elsewhere]]\na = 1\n", "elsewhere")
    refused(space, text.replace(f'"{space.name}"', '"elsewhere"', 1), "space.name")
    with pytest.raises(InputError, match=r"here\.toml: space"):
        class_of(module).open_text("space.nonsense = 1\n" + text, "here.toml")
    with pytest.raises(InputError, match=r"here\.toml: space"):
        class_of(module).open_text("space = 3\n", "here.toml")
    for table in space.schema.tables:
        if table.least:
            refused(
                space,
                tomli_w.dumps(
                    {k: v for k, v in read_genotype(text, "").items() if k != table.name}
                ),
                table.name,
            )
    for kind, value in (
        (Choice, "nonsense"),
        (Reference, 99),
        (Reference, -1),
        (Subset, [0]),
        (Subset, [99]),
        (Subset, [-1]),
        (Subset, 3),
    ):
        bad = spoilt(space, genotypes[0], kind, value)
        if bad:
            refused(space, bad, "[0]", "must be")


# cells


def test_blocks_of_cells_may_be_listed_in_any_order() -> None:
    space = cell.CellSpace(cell.Settings(blocks=3))
    rows = [(0, 1, 1, 2, 0), (1, 3, 1, 0, 0), (2, 1, 3, 1, 0)]
    swapped = [rows[1], rows[0], (3, 1, 2, 1, 0)]
    one, other = (
        Genotype(space.schema, {"normal": each, "reduction": rows}) for each in (rows, swapped)
    )
    assert one != other and space.key(one) == space.key(other)


@pytest.mark.parametrize("combine", [("add",), ("add", "concat")])
def test_every_kind_of_mutation_of_a_cell_is_as_likely(combine: tuple[Any, ...]) -> None:
    space = cell.CellSpace(cell.Settings(combine=combine, identity=0))
    parent, rng, kinds = space.random(STREAMS[:1]).genotype(0), Random(1), []
    for _ in range(900):
        changed = differing(parent, space.vary(rng, parent), space.schema)
        kinds += [column.name.split("_")[0] for _, _, column in changed]
        assert len(changed) == 1
    share = {kind: kinds.count(kind) / 900 for kind in set(kinds)}
    wanted = {"input", "op", "combine"} if len(combine) > 1 else {"input", "op"}
    assert share == pytest.approx(dict.fromkeys(wanted, 1 / len(wanted)), abs=0.05)


def test_one_child_in_twenty_is_a_copy() -> None:
    """AmoebaNet's identity, 0.05, as its system has it; all other mutations change something."""
    settings = build(("test", {"system": "amoebanet"})).part("space")
    space, rng = cell.CellSpace(settings), Random(3)
    parent = space.random(STREAMS[:1]).genotype(0)
    copies = sum(space.vary(rng, parent) == parent for _ in range(6000))
    assert 0.05 - 0.012 < copies / 6000 < 0.05 + 0.012  # four deviations


def test_copies_are_as_many_where_only_the_space_says_so() -> None:
    """Its own default is the 5 % of the paper, whatever a system sets: 100 of 2,000, four standard
    deviations at most.
    """
    space = cell.CellSpace(cell.Settings())
    parents = space.random(np.arange(1, dtype=np.uint64))
    children = space.mutate(parents, np.zeros(2000, np.int64), np.arange(2000, dtype=np.uint64))
    one = parents.genotype(0)
    copies = sum(children.genotype(at) == one for at in range(2000))
    assert abs(copies - 100) < 4 * (2000 * 0.05 * 0.95) ** 0.5


def test_paths_may_be_dropped_by_the_depth_of_their_cell() -> None:
    space = cell.CellSpace(cell.Settings(skeleton={"filters": 4, "cells": 2, "reductions": 1}))  # type: ignore[arg-type]
    network = space.network(space.random(STREAMS[:1]).genotype(0), (3, 8, 8), 10)
    depths = [edge.depth for node in network.nodes for edge in node.edges if edge.depth]
    assert depths == sorted(depths) and sorted(set(depths)) == pytest.approx(
        [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1]
    )


# hierarchical motifs


def hierarchy(**settings: Any) -> hierarchical.HierarchicalSpace:
    return hierarchical.HierarchicalSpace(hierarchical.Settings(**settings))


def motifs(
    space: hierarchical.HierarchicalSpace, **edges: dict[tuple[int, int, int], str]
) -> Genotype:
    """A genotype of these operations by motif, source and target; everything else is `none`."""
    keys = ("motif", "source", "target", "operation")
    tables = {
        name: [dict(zip(keys, (*key, op))) for key, op in given.items()]
        for name, given in edges.items()
    }
    return space.from_plain(tables, "test")


def test_the_papers_levels() -> None:
    space = hierarchy()
    assert {name: len(rows) for name, rows in space.trivial().tables.items()} == {
        "level2": 6 * 6,
        "level3": 10,
    }
    assert len(hierarchical.PRIMITIVES) == 6
    flat = hierarchy(levels=[[1, 11]])
    assert {name: len(rows) for name, rows in flat.trivial().tables.items()} == {"level2": 55}
    for bad in ([[6, 4]], [[1, 1]], [[0, 3], [1, 3]], [[6, 20], [6, 20], [1, 20]], []):
        with pytest.raises(InputError, match="levels"):
            hierarchical.Settings.read({"levels": bad}, "x")


def test_the_trivial_cell_is_the_identity() -> None:
    space = hierarchy()
    trivial = space.trivial()
    assert space.expand(trivial) == ([("input", ())], 0)
    layers = [
        edge.layer for node in space.network(trivial, (3, 32, 32), 10).nodes for edge in node.edges
    ]
    assert layers == ["conv_3x3_bn_relu", "sep_conv_3x3_bn_relu", "sep_conv_3x3_bn_relu"]
    assert members(hierarchy(mutations=0).random(STREAMS[:2])) == [trivial, trivial]
    nothing = motifs(space, level2={(1, 1, 2): "none"}, level3={(1, 1, 2): "none"})
    assert space.key(nothing) == space.key(trivial)


def test_stages_double_the_channels_and_halve_the_size() -> None:
    space = hierarchy(skeleton={"filters": 16, "cells": 2})
    sizes = space.network(space.random(STREAMS[:1]).genotype(0), (3, 32, 32), 10).sizes
    assert sizes[1] == (16, 32, 32) and sizes[-1] == (64, 8, 8)


def test_several_inputs_are_concatenated_and_convolved() -> None:
    space = hierarchy(levels=[[1, 3]], skeleton={"filters": 4, "reductions": 0})
    genotype = motifs(
        space,
        level2={(1, 1, 2): "conv_1x1_bn_relu", (1, 1, 3): "max_pool_3x3", (1, 2, 3): "identity"},
    )
    network = space.network(genotype, (3, 8, 8), 10)
    stem, conv, merge, head = 3 * 4 * 9 + 8, 4 * 4 + 8, 8 * 4 + 8, 4 * 10 + 10
    assert network.parameters == stem + conv + merge + head
    assert [size[0] for size in network.sizes] == [3, 4, 4, 4, 8, 4]


def test_edges_that_lead_nowhere_are_left_out() -> None:
    space = hierarchy(levels=[[2, 3], [1, 3]])
    useful = {(1, 1, 3): "conv_1x1_bn_relu"}
    one = motifs(space, level2=useful, level3={(1, 1, 3): "motif_1"})
    dead_end = {**useful, (1, 1, 2): "max_pool_3x3", (2, 1, 2): "max_pool_3x3"}
    other = motifs(
        space,
        level2=dead_end,
        level3={(1, 1, 3): "motif_1", (1, 1, 2): "motif_2", (1, 2, 3): "motif_1"},
    )
    assert (
        space.expand(one) == space.expand(other) == ([("input", ()), ("conv_1x1_bn_relu", (0,))], 1)
    )
    assert space.key(one) == space.key(other)


def test_motifs_may_be_numbered_in_any_order_and_split_into_chains() -> None:
    space = hierarchy(levels=[[3, 3], [1, 4]])
    a, b = (
        {(1, 2): "max_pool_3x3", (2, 3): "conv_1x1_bn_relu", (1, 3): "identity"},
        {(1, 3): "dw_conv_3x3_bn_relu"},
    )
    chained = {(1, 2): "identity", (2, 3): "dw_conv_3x3_bn_relu"}

    def numbered(
        first: int, second: int, motif: dict[tuple[int, int], str], nodes: tuple[int, int]
    ) -> Genotype:
        level2 = {(first, *edge): op for edge, op in a.items()} | {
            (second, *edge): op for edge, op in motif.items()
        }
        left, right = nodes
        level3 = {
            (1, 1, left): f"motif_{first}",
            (1, 1, right): f"motif_{second}",
            (1, left, 4): f"motif_{second}",
            (1, right, 4): f"motif_{first}",
        }
        return motifs(space, level2=level2, level3=level3)

    keys = {
        space.key(numbered(*case))
        for case in (
            (1, 2, b, (2, 3)),
            (3, 1, b, (2, 3)),
            (1, 2, chained, (2, 3)),
            (2, 3, chained, (3, 2)),
        )
    }
    assert len(keys) == 1


def test_a_mutation_changes_one_edge_at_any_level() -> None:
    space = hierarchy()
    parent, rng, levels = space.random(STREAMS[:1]).genotype(0), Random(1), []
    for _ in range(400):
        changed = differing(parent, space.vary(rng, parent), space.schema)
        assert len(changed) == 1 and changed[0][2].name == "operation"
        levels.append(changed[0][0])
    assert 150 < levels.count("level2") < 250, "levels are drawn uniformly, whatever their size"


def test_the_first_population_is_what_as_many_mutations_make() -> None:
    """However it is drawn: shares of every operation on every edge after a few mutations."""
    space = hierarchy(levels=[[2, 3], [1, 2]], mutations=5)
    drawn = space.random(np.arange(4000, dtype=np.uint64))
    mutated, rng = np.zeros((2, 4000, 6), np.int64), Random(0)
    for at in range(4000):
        genotype = space.trivial()
        for _ in range(5):
            genotype = space.vary(rng, genotype)
        mutated[0, at], mutated[1, at, :1] = (
            genotype.tables[name]["operation"] for name in ("level2", "level3")
        )
    for table in (0, 1):
        edges = drawn.tables[table]["operation"].shape[1]
        for edge in range(edges):
            shares = [
                np.bincount(each, minlength=7) / 4000
                for each in (drawn.tables[table]["operation"][:, edge], mutated[table, :, edge])
            ]
            assert np.abs(shares[0] - shares[1]).max() < 0.04


def test_the_first_population_is_diverse_and_holds_every_operation() -> None:
    rows = hierarchy().random(STREAMS).tables[0]["operation"]
    assert (np.bincount(rows.ravel(), minlength=7) > 0.08 * rows.size).all()


def test_crossover_exchanges_one_motif() -> None:
    space = hierarchy()
    one, other = members(space.random(STREAMS[:2]))
    for seed in range(10):
        child, _ = space.mate(Random(seed), one, other)
        assert (
            len(
                {
                    (table, int(one.tables[table]["motif"][row]))
                    for table, row, _ in differing(one, child, space.schema)
                }
            )
            == 1
        )


def test_files_may_leave_edges_out_and_say_what_is_wrong_with_one() -> None:
    space = hierarchy()
    good = 'motif = 1\nsource = 1\ntarget = 2\noperation = "identity"\n'
    rest = '[[level3]]\nmotif = 1\nsource = 1\ntarget = 5\noperation = "motif_1"\n'
    assert (
        space.parse(f"[[level2]]\n{good}{rest}", "x").tables["level2"]["operation"] > 0
    ).sum() == 1
    refused(space, f"[[level2]]\n{good}[[level2]]\n{good}{rest}", "level2[1]", "already")
    refused(
        space,
        f"[[level2]]\n{good.replace('source = 1', 'source = 3')}{rest}",
        "level2[0]",
        "from node 3 to node 2",
    )
    refused(
        space,
        f"[[level2]]\n{good.replace('target = 2', 'target = 5')}{rest}",
        "level2[0].target",
        "2..4",
    )
    refused(
        space,
        f"[[level2]]\n{good}{rest.replace('motif_1', 'motif_7')}",
        "level3[0].operation",
        "motif_7",
    )
    refused(space, f"[[level2]]\n{good}", "level3")


# chains


def chains(**settings: Any) -> chain.ChainSpace:
    return chain.ChainSpace(chain.Settings(**settings))


def layers(space: chain.ChainSpace, *anchors: list[int], **changes: int) -> Genotype:
    """Layers of 3x3 with 24 filters that read these, the last one with other values."""
    rows = [
        {"kernel_height": 3, "kernel_width": 3, "filters": 24, "stride": 1, "anchors": list(each)}
        for each in anchors
    ]
    rows[-1] |= changes
    return space.from_plain({"layers": rows}, "test")


def test_the_papers_hyper_parameters() -> None:
    settings = chain.Settings()
    assert (
        settings.kernels == (1, 3, 5, 7)
        and settings.filters == (24, 36, 48, 64)
        and settings.strides == (1,)
    )
    for bad in (
        {"most": 65},
        {"least": 9, "most": 8},
        {"kernels": [2]},
        {"filters": [8, 8]},
        {"strides": []},
    ):
        with pytest.raises(InputError):
            chain.Settings.read(bad, "x")


def test_layers_without_inputs_read_the_image_and_unread_ones_meet_at_the_end() -> None:
    space = chains()
    network = space.network(layers(space, [], [], [0, 1], [0]), (3, 8, 8), 10)
    assert [edge.source for node in network.nodes for edge in node.edges] == [
        0,
        0,
        1,
        2,
        3,
        1,
        4,
        5,
    ]
    assert network.sizes[-1] == (48, 8, 8)
    assert (
        network.parameters
        == 2 * (3 * 24 * 9 + 48) + (48 * 24 * 9 + 48) + (24 * 24 * 9 + 48) + 48 * 10 + 10
    )


def test_kernels_filters_strides_and_unequal_sizes() -> None:
    space = chains(strides=[1, 2, 3])
    network = space.network(
        layers(space, [], [0], kernel_height=1, kernel_width=7, stride=3, filters=36), (1, 8, 8), 10
    )
    assert (
        network.sizes == ((1, 8, 8), (24, 8, 8), (36, 3, 3))
        and network.parameters == 9 * 24 + 48 + 24 * 36 * 7 + 72 + 370
    )
    merged = layers(space, [], [], [0, 1])
    rows = merged.tables["layers"].copy()
    rows["stride"][1] = 2
    assert space.network(Genotype(space.schema, {"layers": rows}), (1, 8, 8), 10).sizes[-2:] == (
        (48, 8, 8),
        (24, 8, 8),
    )
    narrow = chains(skeleton={"width": 0.25})
    assert narrow.network(layers(narrow, []), (1, 8, 8), 10).sizes[-1][0] == 6


def test_strides_of_one_dimensional_kernels() -> None:
    assert [step.stride for step in primitives("conv_1x7_bn_relu", 3, 3, 2)] == [
        (2, 2),
        (1, 1),
        (1, 1),
    ]
    assert [step.stride for step in primitives("conv_1x7_7x1", 3, 3, 2) if step.kind == "conv"] == [
        (1, 1),
        (1, 2),
        (2, 1),
        (1, 1),
    ]
    assert [step.stride for step in primitives("conv_7x1_1x7", 3, 3, 2) if step.kind == "conv"] == [
        (1, 2),
        (2, 1),
    ]
    assert [
        step.stride for step in primitives("dil_dense_3x3", 3, 3, 2) if step.kind == "conv"
    ] == [(1, 1), (2, 2), (1, 1)]
    assert primitives("conv_5x7_bn_relu", 3, 4)[0].padding == (2, 3)


def test_independent_layers_may_be_listed_in_any_order() -> None:
    space = chains()
    rows = [(3, 3, 24, 1, 0), (5, 1, 36, 1, 0), (1, 1, 24, 1, 0b1), (1, 1, 48, 1, 0b110)]
    other = [rows[1], rows[0], (1, 1, 24, 1, 0b10), (1, 1, 48, 1, 0b101)]
    changed = [rows[1], rows[0], (1, 1, 24, 1, 0b10), (1, 1, 48, 1, 0b111)]
    keys = [space.key(Genotype(space.schema, {"layers": each})) for each in (rows, other, changed)]
    assert keys[0] == keys[1] != keys[2]


def test_insertion_deepens_and_removal_undoes_it() -> None:
    space = chains()
    rng = Random(5)
    for parent in members(space.random(STREAMS)):
        rows = parent.tables["layers"].tolist()
        for behind in range(-1, len(rows)):
            more = chain.inserted(rows, behind, [3, 3, 24, 1])
            assert len(more) == len(rows) + 1 and chain.removed(more, behind + 1) == rows
        fewer = chain.removed(rows, rng.randrange(len(rows)))
        assert all(anchors < 1 << row for row, (*_, anchors) in enumerate(fewer))
    two = [(3, 3, 24, 1, 0), (5, 5, 24, 1, 1)]
    assert chain.inserted(two, 0, [1, 1, 36, 1]) == [two[0], (1, 1, 36, 1, 1), (5, 5, 24, 1, 2)]
    assert chain.inserted(two, -1, [1, 1, 36, 1]) == [
        (1, 1, 36, 1, 0),
        (3, 3, 24, 1, 1),
        (5, 5, 24, 1, 2),
    ]
    assert chain.removed([two[0], two[1], (7, 7, 24, 1, 0b10)], 1) == [two[0], (7, 7, 24, 1, 1)]


def test_mutations_reach_every_size_and_stay_within_it() -> None:
    space = chains(least=2, most=5, identity=0)
    genotype, rng, sizes = space.random(STREAMS[:1]).genotype(0), Random(2), set()
    for _ in range(300):
        child = space.vary(rng, genotype)
        assert child != genotype and space.schema.violation(child) is None
        genotype = child
        sizes.add(len(genotype.tables["layers"]))
    assert sizes == {2, 3, 4, 5}
    fixed = chains(least=1, most=1, kernels=[3], filters=[8], identity=0)
    only = fixed.random(STREAMS[:1]).genotype(0)
    assert fixed.vary(rng, only) == only and chains(identity=1).vary(rng, genotype) == genotype


def test_sixty_four_layers() -> None:
    space = chains(least=64, most=64)
    genotype = space.random(STREAMS[:1]).genotype(0)
    assert space.parse(space.format(genotype), "x") == genotype
    assert len(space.neighbours(genotype)) == 64 * (3 + 3 + 3) + 64 * 63 // 2


# the domain of anchors


def test_subsets() -> None:
    subset, rng = Subset(), Random(0)
    first, last = Place(0, {}, {}), Place(64, {}, {})
    assert subset.sample(rng, first) == 0 == subset.perturb(rng, 0, first) and not list(
        subset.alternatives(0, first)
    )
    assert (
        subset.contains(2**64 - 1, last)
        and not subset.contains(1, first)
        and not subset.contains(-1, last)
    )
    assert all(
        subset.contains(subset.perturb(rng, subset.sample(rng, last), last), last)
        for _ in range(100)
    )
    assert subset.code([63, 0], last) == 2**63 + 1 and subset.plain(2**63 + 1, last) == [0, 63]
    assert [subset.code(bad, last) for bad in ([0, 0], [64], [-1], [True], ["a"], None, 3)] == [
        -1
    ] * 7
    draws = [subset.sample(rng, Place(8, {}, {})) for _ in range(1000)]
    assert all(400 < sum(mask >> bit & 1 for mask in draws) < 600 for bit in range(8))


def test_neighbours_redraw_what_no_longer_fits() -> None:
    schema = Schema(
        (
            Table(
                "t",
                (
                    Column("kind", Choice(("a", "b"))),
                    Column("anchors", Conditional("kind", {1: Subset()})),
                ),
                3,
                3,
            ),
        )
    )
    genotype = schema.from_plain(
        {"t": [{"kind": "a"}, {"kind": "b", "anchors": [0]}, {"kind": "a"}]}, "x"
    )
    neighbours = schema.neighbours(genotype)
    assert len(neighbours) == 4 and all(schema.violation(each) is None for each in neighbours)
    assert schema.plain(neighbours[1])["t"][1] == {"kind": "a"}
    population = Population.of(schema, [genotype, *neighbours])
    assert schema.from_arrow(schema.to_arrow(population.tables, population.sizes), "x") == [
        genotype,
        *neighbours,
    ]
