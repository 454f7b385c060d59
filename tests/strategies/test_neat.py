"""NEAT: innovation numbers, crossover, species and offspring as the paper has them, networks, and a
strategy that resumes where it was.
"""

import tomllib
from pathlib import Path
from random import Random
from typing import Any

import networkx as nx
import numpy as np
import pytest
from parts import NoEvaluator, class_of

from evoml.config import build
from evoml.core.errors import InputError
from evoml.core.streams import VARY, streams
from evoml.genotypes.population import OK, Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import ACTIVATION_NAMES
from evoml.search.open import open_search
from evoml.search.problem import open_file
from evoml.search.toolbox import toolbox
from evoml.spaces import neat as space_module
from evoml.spaces.neat import HIDDEN, OUTPUT, PAPER, SCHEMA, NEATSpace
from evoml.spaces.neat import Settings as SpaceSettings
from evoml.strategies.neat import NEAT, PRESETS, RATES, Settings

NO = np.zeros(1, np.uint8)


class Shape:
    inputs, outputs, bias, output = 2, 1, 1.0, "sigmoid"


def space(**settings: Any) -> NEATSpace:
    return NEATSpace(SpaceSettings(**settings)).for_task(Shape())


def genome(nodes: list[int], links: list[tuple[int, int, int, float, bool]]) -> Genotype:
    """Two inputs, a bias, an output, these hidden nodes; links as (innovation, source, target,
    weight, enabled).
    """
    rows = [{"id": 0, "kind": "input"}, {"id": 1, "kind": "input"}, {"id": 2, "kind": "bias"}]
    rows += [{"id": 3, "kind": "output", "activation": "sigmoid", "aggregation": "sum"}]
    rows += [
        {"id": id, "kind": "hidden", "activation": "sigmoid", "aggregation": "sum"} for id in nodes
    ]
    names = ("innovation", "source", "target", "weight", "enabled")
    return SCHEMA.from_plain(
        {"nodes": rows, "links": [dict(zip(names, link, strict=True)) for link in links]}, "test"
    )


BASE = [(0, 0, 3, 0.5, True), (1, 1, 3, -0.5, True), (2, 2, 3, 0.1, True)]


def rates(**changes: float) -> Any:
    """Nothing happens but what is said."""
    still = dict.fromkeys(RATES, 0.0) | {"range": 1.0, "limit": 8.0, "perturb": 1.0}
    return NEATSpace.rates(still | changes)


def bred(
    population: Population,
    mothers: Any,
    fathers: Any,
    given: Any,
    counters: np.ndarray,
    equal: int = 0,
    **settings: Any,
) -> Population:
    n = len(mothers)
    return space(**settings).breed(
        population, np.array(mothers), np.array(fathers), np.full(n, equal, np.uint8),
        np.zeros(n, np.uint8), streams(1, VARY, np.arange(n)), given, counters,
    )  # fmt: skip


def links(genotype: Genotype) -> list[tuple[int, int, int]]:
    return [
        (int(row["innovation"]), int(row["source"]), int(row["target"]))
        for row in genotype.tables["links"]
    ]


# -- innovations -----------------------------------------------------------------------------------


def test_first_networks_are_all_the_same_but_for_their_weights() -> None:
    made = space().initial(streams(1, VARY, np.arange(50)))
    assert {tuple(links(made.genotype(index))) for index in range(50)} == {
        ((0, 0, 3), (1, 1, 3), (2, 2, 3))
    }
    weights = made.tables[1]["weight"]
    assert (
        np.abs(weights).max() <= 1.0
        and len(np.unique(weights)) == weights.size
        and abs(weights.mean()) < 0.2
    )


def test_the_same_split_in_one_generation_has_the_same_numbers() -> None:
    """Node splits too; three links, so that three splits there are."""
    population = Population.of(SCHEMA, [genome([], BASE[:2])])
    counters = np.array([4, 3, 0])
    children = bred(population, [0] * 40, [-1] * 40, rates(add_node=1.0), counters)
    found = {}
    for index in range(40):
        child = children.genotype(index)
        (node,) = child.tables["nodes"]["id"][child.tables["nodes"]["kind"] == HIDDEN].tolist()
        *old, into, out = links(child)
        split = int(child.tables["links"]["innovation"][child.tables["links"]["enabled"] == 0][0])
        assert into[1:] == (old[split][1], node) and out[1:] == (node, 3) and out[0] == into[0] + 1
        weights = child.tables["links"]["weight"].tolist()
        assert weights[-2:] == [1.0, BASE[split][3]]
        found.setdefault(split, set()).add((node, into[0], out[0]))
    assert len(found) == 2 and all(len(numbers) == 1 for numbers in found.values())
    assert counters[:2].tolist() == [6, 7]


def test_the_same_mutation_a_generation_later_has_new_numbers() -> None:
    population = Population.of(SCHEMA, [genome([], BASE[:1])])
    counters = np.array([4, 3, 0])
    first = bred(population, [0], [-1], rates(add_node=1.0), counters).genotype(0)
    second = bred(population, [0], [-1], rates(add_node=1.0), counters).genotype(0)
    assert first.tables["nodes"]["id"][-1] == 4 and second.tables["nodes"]["id"][-1] == 5
    assert links(first)[-1][0] == 4 and links(second)[-1][0] == 6


def test_a_link_between_the_same_nodes_has_the_same_number_in_one_generation() -> None:
    population = Population.of(
        SCHEMA, [genome([4], [*BASE, (3, 0, 4, 1.0, True), (4, 4, 3, 1.0, True)])]
    )
    children = bred(population, [0] * 60, [-1] * 60, rates(add_link=1.0), np.array([5, 5, 0]))
    numbers: dict[tuple[int, int], set[int]] = {}
    for index in range(60):
        for innovation, *ends in links(children.genotype(index))[5:]:
            numbers.setdefault(tuple(ends), set()).add(innovation)
    assert set(numbers) == {(1, 4), (2, 4)} and all(len(each) == 1 for each in numbers.values())


def test_a_link_split_again_in_the_genome_that_has_the_node_gets_fresh_numbers() -> None:
    """One child splits the link, an equal one is split twice in one call: the second node cannot be
    the first.
    """
    population = Population.of(
        SCHEMA,
        [
            genome([], BASE[:1]),
            genome([4], [(0, 0, 3, 1.0, True), (3, 0, 4, 1.0, True), (4, 4, 3, 1.0, True)]),
        ],
    )
    counters = np.array([4, 3, 0])
    children = bred(population, [0, 1] * 20, [-1] * 40, rates(add_node=1.0), counters)
    for index in range(40):
        child = children.genotype(index)
        ids = child.tables["nodes"]["id"].tolist()
        assert len(set(ids)) == len(ids) and space().violation(child) is None


# -- crossover -------------------------------------------------------------------------------------

LONG = [*BASE, (3, 0, 4, 1.0, True), (4, 4, 3, 2.0, True)]
OTHER = [
    (0, 0, 3, 5.0, True),
    (1, 1, 3, 6.0, True),
    (2, 2, 3, 7.0, True),
    (5, 1, 5, 1.0, True),
    (6, 5, 3, 2.0, True),
]


def test_disjoint_and_excess_genes_are_the_fitters() -> None:
    population = Population.of(SCHEMA, [genome([4], LONG), genome([5], OTHER)])
    children = bred(
        population, [0] * 50 + [1] * 50, [1] * 50 + [0] * 50, rates(), np.array([6, 7, 0])
    )
    for index in range(100):
        child = children.genotype(index)
        assert links(child) == links(population.genotype(index // 50))
    weights = children.tables[1]["weight"][:, 0]
    assert set(weights) == {0.5, 5.0} and 30 < (weights == 0.5).sum() < 70


def test_of_equal_parents_either_gene_is_inherited_at_random() -> None:
    population = Population.of(SCHEMA, [genome([4], LONG), genome([5], OTHER)])
    children = bred(population, [0] * 400, [1] * 400, rates(), np.array([6, 7, 0]), equal=1)
    counts = dict.fromkeys(range(7), 0)
    for index in range(400):
        for number, _, _ in links(children.genotype(index)):
            counts[number] += 1
    assert all(counts[number] == 400 for number in range(3)) and all(
        150 < counts[number] < 250 for number in range(3, 7)
    )


@pytest.mark.parametrize(("layered", "low", "high"), [(0.0, 0.71, 0.79), (1.0, 0.845, 0.905)])
def test_a_gene_disabled_in_either_parent_stays_disabled_in_three_of_four(
    layered: float, low: float, high: float
) -> None:
    """Of the paper; drawn over the inherited flag, as the program does it, it is 7 of 8."""
    off = [(0, 0, 3, 0.5, False), *BASE[1:]]
    population = Population.of(SCHEMA, [genome([], off), genome([], BASE)])
    children = bred(
        population,
        [0, 1] * 1500,
        [1, 0] * 1500,
        rates(stays_disabled=0.75, layered=layered),
        np.array([4, 3, 0]),
    )
    disabled = (children.tables[1]["enabled"] == 0).mean(0)
    assert low < disabled[0] < high and not disabled[1:].any()


def test_crossover_of_equals_closes_no_cycle() -> None:
    one = genome([4, 5], [*BASE, (3, 0, 4, 1.0, True), (4, 4, 5, 1.0, True), (5, 5, 3, 1.0, True)])
    other = genome(
        [4, 5], [*BASE, (6, 0, 5, 1.0, True), (7, 5, 4, 1.0, True), (8, 4, 3, 1.0, True)]
    )
    children = bred(
        Population.of(SCHEMA, [one, other]),
        [0] * 200,
        [1] * 200,
        rates(),
        np.array([6, 9, 0]),
        equal=1,
    )
    both = [
        {4, 7} <= {number for number, _, _ in links(children.genotype(index))}
        for index in range(200)
    ]
    assert not any(both)
    assert all(space().violation(children.genotype(index)) is None for index in range(200))


# -- mutation --------------------------------------------------------------------------------------


def test_weights_move_or_are_drawn_anew_in_the_papers_shares() -> None:
    many = [(index, 0, 3 + index, 0.0, True) for index in range(1)]
    population = Population.of(SCHEMA, [genome([], [(many[0][0], 0, 3, 4.0, True)])])
    children = bred(
        population,
        [0] * 4000,
        [-1] * 4000,
        PAPER._replace(add_node=0.0, add_link=0.0, power=0.5),
        np.array([4, 3, 0]),
    )
    moved = children.tables[1]["weight"][:, 0] - 4.0
    assert 0.17 < (moved == 0).mean() < 0.23  # a fifth of the genomes stay
    near = (np.abs(moved) <= 0.5) & (moved != 0)
    assert 0.69 < near.mean() < 0.77  # 0.8 x 0.9, and of the new ones 1 / 16
    assert (
        children.tables[1]["weight"].min() < -7.0
        and np.abs(children.tables[1]["weight"]).max() <= 8.0
    )


@pytest.mark.parametrize("recurrent", [False, True])
def test_every_descendant_is_a_network_of_the_space(recurrent: bool) -> None:
    """Two hundred generations of random parents, every mutation at high rates."""
    home, rng = (
        space(recurrent=recurrent, activations=("sigmoid", "tanh"), aggregations=("sum", "max")),
        np.random.default_rng(1),
    )
    population = home.initial(streams(3, VARY, np.arange(20)))
    counters = home.begin(population)
    given = PAPER._replace(
        add_node=0.1,
        add_link=0.4,
        delete_node=0.05,
        delete_link=0.1,
        toggle=0.2,
        alter=0.1,
        averaged=0.3,
        split_disabled=1.0,
    )
    for generation in range(200):
        mothers, fathers = rng.integers(0, 20, 20), rng.integers(-1, 20, 20)
        population = home.breed(
            population, mothers, fathers, rng.integers(0, 2, 20).astype(np.uint8),
            np.zeros(20, np.uint8), streams(generation, VARY, np.arange(20)), given, counters,
        )  # fmt: skip
    for index in range(20):
        genotype = population.genotype(index)
        assert home.violation(genotype) is None and SCHEMA.violation(genotype) is None
        assert home.parse(home.format(genotype), "again") == genotype
    assert population.sizes[:, 0].max() > 10
    if recurrent:
        assert any(
            not nx.is_directed_acyclic_graph(home.drawing(population.genotype(index)))
            for index in range(20)
        )


def test_deaps_operators_number_genes_without_a_count() -> None:
    home = space()
    box = toolbox(home, NoEvaluator())
    one, other = box.individual(), box.individual()
    for _ in range(60):
        (one,), (other,) = box.mutate(one), box.mutate(other)
        one, other = box.mate(one, other)
        assert home.violation(one.genotype) is None
    assert len(one.genotype.tables["links"]) > 3


# -- species ---------------------------------------------------------------------------------------


def gaps(
    one: Genotype,
    other: Genotype,
    kind: int = 0,
    coefficients: tuple[float, float, float] = (1.0, 1.0, 0.4),
) -> float:
    pair = Population.of(SCHEMA, [one, other])
    return float(space().distances(pair, np.array([0]), pair, 1, coefficients, kind)[0])


def test_the_distance_is_the_papers() -> None:
    """Two disjoint genes, two in excess, three common that differ by 4.5, 6.5, 6.9."""
    one, other = genome([4], LONG), genome([5], OTHER)
    assert gaps(one, other) == pytest.approx(2.0 + 2.0 + 0.4 * (4.5 + 6.5 + 6.9) / 3)
    assert (
        gaps(one, other, coefficients=(1.0, 0.0, 0.0)) == 2.0
        and gaps(one, other, coefficients=(0.0, 1.0, 0.0)) == 2.0
    )
    assert gaps(one, one) == 0.0
    assert NEATSpace.distance(one, other) == gaps(one, other) == NEATSpace.distance(other, one)
    assert NEATSpace.distance(one, other, c1=3.0, c2=0.0, c3=0.0) == pytest.approx(6.0)
    assert gaps(one, other, 2, (1.0, 1.0, 0.5)) == pytest.approx((4 + 0.5 * 17.9) / 5)


def test_the_distance_counts_by_the_larger_genome_from_twenty_genes_on() -> None:
    large = genome([], BASE).tables["links"]
    rows = [(number, 0, 4 + number, 1.0, True) for number in range(3, 25)]
    big = genome([4 + number for number in range(3, 25)], [*BASE, *rows])
    assert len(large) == 3 and gaps(big, genome([], BASE)) == pytest.approx(22 / 25)
    assert gaps(big, genome([], BASE), 1) == 22.0


def test_a_network_joins_the_first_species_that_is_close_enough() -> None:
    near = [genome([], [(0, 0, 3, weight, True)]) for weight in (0.0, 2.0, 1.2, 5.0, 5.1)]
    population = Population.of(SCHEMA, near)
    nobody = population.take(slice(0, 0))
    species, new = space().speciate(population, nobody, (1.0, 1.0, 1.0), 0, 1.5, False)
    assert species.tolist() == [0, 1, 0, 2, 2] and new == 3
    species, new = space().speciate(population, nobody, (1.0, 1.0, 1.0), 0, 1.5, True)
    assert species.tolist() == [0, 1, 1, 2, 2] and new == 3


# -- the strategy ----------------------------------------------------------------------------------


def strategy(given: tuple[Genotype, ...] = (), **settings: Any) -> NEAT:
    return NEAT(toolbox(space(), NoEvaluator()), Settings(**settings), 3, given)


def generation(one: NEAT, number: int) -> Population:
    """Fitness: how near the sum of weights is to ten."""
    size = one.settings.population
    population = one.ask(number * size + np.arange(size))
    used = np.arange(population.tables[1].shape[1]) < population.sizes[:, 1:]
    population.fitness[:, 0] = 1.0 / (
        1.0 + np.abs((population.tables[1]["weight"] * used).sum(1) - 10.0)
    )
    population.status[:] = OK
    one.tell(population)
    return population


@pytest.mark.parametrize("preset", PRESETS)
def test_a_state_brings_the_strategy_back(preset: str) -> None:
    one = strategy(preset=preset, population=40, tested="species", species=5)
    for number in range(12):
        other = strategy(preset=preset, population=40, tested="species", species=5)
        other.load_state_dict(copied(one.state_dict()))
        mine, theirs = generation(one, number), generation(other, number)
        assert [mine.genotype(index) for index in range(40)] == [
            theirs.genotype(index) for index in range(40)
        ]
        assert (one.tested() == other.tested()).all() and one.groups() == other.groups()
    assert one.best > 0.5 and one.offspring().sum() == 40


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(each) for key, each in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else value


def test_a_preset_lies_under_what_is_said() -> None:
    assert (
        Settings(preset="neat_python").add_node == 0.2
        and Settings(preset="neat_python", add_node=0.5).add_node == 0.5
    )
    assert Settings().add_node == 0.03 and set().union(*PRESETS.values()) <= set(
        Settings.model_fields
    )
    complete = Settings(preset="stanley_code").model_dump()
    assert Settings(**complete) == Settings(preset="stanley_code")


def prepared(fitness: list[float], species: list[int], **settings: Any) -> NEAT:
    """A strategy whose generation has these fitnesses and species."""
    one = strategy(population=len(fitness), **settings)
    generation(one, 0)
    one.generation = 30
    one.population.fitness[:, 0] = fitness
    one.species = np.array(species)
    table = np.zeros(max(species) + 1, one.table.dtype)
    table["improved"], table["id"], table["best"] = 30, np.arange(len(table)), -np.inf
    one.table = table
    one._judge(np.bincount(species))
    return one


def test_offspring_are_in_proportion_to_shared_fitness() -> None:
    one = prepared([4.0, 4.0, 4.0, 4.0, 6.0, 6.0], [0, 0, 0, 0, 1, 1])
    assert one.offspring().tolist() == [2, 4]  # means 4 and 6, of six
    one = prepared([-4.0, -4.0, -4.0, -4.0, 2.0, 2.0], [0, 0, 0, 0, 1, 1])
    assert one.offspring().tolist() == [0, 6]
    one = prepared([-np.inf] * 6, [0, 0, 0, 0, 1, 1])
    assert one.offspring().sum() == 6


def test_a_species_without_a_gain_in_fifteen_generations_does_not_breed() -> None:
    one = prepared([4.0, 4.0, 6.0, 6.0], [0, 0, 1, 1])
    one.table["improved"] = [16, 15]
    assert one.offspring().tolist() == [4, 0]
    one.table["improved"] = [15, 15]
    assert one.offspring().tolist() == [0, 4]  # nobody may: the best one does
    kept = prepared([4.0, 4.0, 6.0, 6.0], [0, 0, 1, 1], stagnant="penalised")
    kept.table["improved"] = [30, 15]
    assert kept.offspring().tolist() == [4, 0]


@pytest.mark.parametrize(("size", "breeders"), [(4, 1), (5, 1), (6, 2), (11, 3)])
def test_the_best_fifth_of_a_species_breeds_rounded_up(size: int, breeders: int) -> None:
    one = prepared([float(number) for number in range(size)], [0] * size)
    found = set()
    for number in range(40):
        draws = streams(5, VARY, number * size + np.arange(size))
        found |= set(one._pairs(draws)[0].tolist())
    assert found == set(range(size - breeders, size))


def test_the_champion_of_a_species_of_more_than_five_is_copied() -> None:
    for sizes, copies in ((5, 0), (6, 1)):
        one = prepared([1.0] * (sizes - 1) + [2.0], [0] * sizes)
        children = one.ask(np.arange(100, 100 + sizes))
        same = [
            children.genotype(index) == one.population.genotype(sizes - 1) for index in range(sizes)
        ]
        assert same[:1] == [bool(copies)]


def test_the_best_fifth_of_a_species_breeds() -> None:
    one = prepared([float(index) for index in range(20)], [0] * 20, champion_size=100)
    parents = {
        int(each)
        for _ in range(5)
        for pair in one.ask(np.arange(20) + 1000).parents
        for each in pair
        if each >= 0
    }
    assert parents and parents <= set(one.population.ids[-4:].tolist())


def test_a_quarter_is_bred_without_crossover() -> None:
    one = prepared([1.0] * 1000, [0] * 1000, champion_size=5000)
    alone = (one.ask(np.arange(1000)).parents[:, 1] < 0).mean()
    assert 0.2 < alone < 0.3


def test_the_threshold_is_steered_to_a_number_of_species() -> None:
    one = strategy(
        population=60, species=6, threshold=0.3, threshold_step=0.3, power=0.5, range=1.0
    )
    counts = [(generation(one, number), len(one.table))[1] for number in range(40)]
    assert one.threshold != 0.3 and 2 <= np.mean(counts[20:]) <= 15


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="does not fit space cell"):
        open_search(
            build(("test", {"system": "amoebanet", "strategy": {"name": "neat"}})), Path("nowhere")
        )


# -- networks and files ----------------------------------------------------------------------------


def test_a_network_leaves_out_what_cannot_matter() -> None:
    """Node 4 reaches the output, node 5 does not, node 6 only through a disabled link."""
    rows = [
        *BASE,
        (3, 0, 4, 1.5, True),
        (4, 4, 3, 2.5, True),
        (5, 1, 5, 1.0, True),
        (6, 1, 6, 1.0, True),
        (7, 6, 3, 1.0, False),
    ]
    graphs = space().phenotypes(Population.of(SCHEMA, [genome([4, 5, 6], rows)]))
    assert (
        graphs.slot.tolist() == [4, 3]
        and graphs.source.tolist() == [0, 0, 1, 2, 4]
        and graphs.weight.tolist() == [1.5, 0.5, -0.5, 0.1, 2.5]
    )
    lean = space().essence(genome([4, 5, 6], rows))
    assert lean.tables["nodes"]["id"].tolist() == [0, 1, 2, 3, 4] and len(lean.tables["links"]) == 5
    assert (
        space().key(lean) == space().key(genome([4, 5, 6], rows)) != space().key(genome([4], LONG))
    )


def test_sources_are_computed_before_they_are_used() -> None:
    home, rng = space(), Random(2)
    population = home.initial(streams(5, VARY, np.arange(30)))
    counters = home.begin(population)
    for number in range(60):
        parents = np.array([rng.randrange(30) for _ in range(30)])
        population = home.breed(
            population, parents, np.full(30, -1), np.zeros(30, np.uint8), np.zeros(30, np.uint8),
            streams(number, VARY, np.arange(30)), PAPER._replace(add_node=0.3, add_link=0.5),
            counters,
        )  # fmt: skip
    graphs = home.phenotypes(population)
    for p in range(30):
        known = set(range(3))
        for row in range(graphs.nodes[p], graphs.nodes[p + 1]):
            assert set(graphs.source[graphs.links[row] : graphs.links[row + 1]].tolist()) <= known
            known.add(int(graphs.slot[row]))
        assert 3 in known
    taken = graphs.take(np.array([7, 3]))
    assert (
        home.phenotypes(population.take(np.array([7, 3]))).weight.tolist() == taken.weight.tolist()
    )


BAD = [
    ("weight = 0.5", "weight = nan", r"links\[0\].weight: nan: must be a finite number"),
    ("target = 3", "target = 9", r"links\[0\].target: 9: there is no such node"),
    (
        "source = 1",
        "source = 3",
        r"links\[1\]: from output 3 to 3, which only a recurrent network has",
    ),
    ("innovation = 1", "innovation = 0", r"links\[1\].innovation: 0: twice"),
    (
        'activation = "sigmoid"',
        'activation = "sigmod"',
        r"nodes\[3\].activation: 'sigmod': must be one of",
    ),
    ("target = 3", "target = 1", r"links\[0\].target: 1: is an input"),
    ("id = 3", "id = 7", "must be inputs, the bias, outputs numbered from 0"),
    ("source = 1", "source = 0", r"links\[1\]: from 0 to 3: there is such a link already"),
    ("enabled = true", "enabled = 1", r"links\[0\].enabled: 1: must be true or false"),
    ("space.bias = 1.0", "space.bias = inf", "space.bias"),
]


@pytest.mark.parametrize(("old", "new", "message"), BAD, ids=[new for _, new, _ in BAD])
def test_a_bad_file_is_refused_in_one_line(old: str, new: str, message: str) -> None:
    text = space().format(genome([], BASE))
    assert (
        tomllib.loads(text)["space"] == {"name": "neat", "recurrent": False, "bias": 1.0}
        and old in text
    )
    with pytest.raises(InputError, match=message) as caught:
        class_of(space_module).open_text(text.replace(old, new, 1), "bad.toml")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("bad.toml")


def test_a_cycle_is_refused_in_a_feed_forward_network() -> None:
    rows = [
        *BASE,
        (3, 0, 4, 1.0, True),
        (4, 4, 5, 1.0, True),
        (5, 5, 4, 1.0, False),
        (6, 5, 3, 1.0, True),
    ]
    text = space().format(genome([4, 5], rows))
    with pytest.raises(
        InputError,
        match=r"links\[5\]: closes a cycle through [45], [45]; only a recurrent network has one",
    ):
        class_of(space_module).open_text(text, "bad.toml")
    opened, genotype = class_of(space_module).open_text(
        text.replace("recurrent = false", "recurrent = true"), "good.toml"
    )
    assert opened.violation(genotype) is None and (opened.inputs, opened.outputs) == (2, 1)


def test_a_file_of_an_unknown_space_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('space.name = "neet"\n')
    with pytest.raises(
        InputError, match=r"x\.toml: space\.name: spaces: no 'neet'; did you mean neat"
    ):
        open_file(tmp_path / "x.toml")


def test_a_recurrent_file_is_none_of_a_space_without_cycles() -> None:
    text = space().format(genome([], BASE))
    with pytest.raises(
        InputError,
        match=r"^x: space\.recurrent: true, where this search or task has false; set "
        r"space\.recurrent",
    ):
        space().parse(text.replace("recurrent = false", "recurrent = true"), "x")
    with pytest.raises(InputError, match=r"^x: space\.recurrent: 'no': must be true or false"):
        class_of(space_module).open_text(text.replace("recurrent = false", 'recurrent = "no"'), "x")


def test_outputs_have_the_function_that_the_task_says() -> None:
    class Identity(Shape):
        output = "identity"

    for settings, task, name in (
        ({}, Shape, "sigmoid"),
        ({}, Identity, "identity"),
        ({"output": "tanh"}, Identity, "tanh"),
        ({"output": "none"}, Identity, "identity"),
    ):
        made = space_module.NEATSpace(space_module.Settings.read(settings, "space")).for_task(
            task()
        )
        nodes = made.initial(streams(1, VARY, np.arange(1))).genotype(0).tables["nodes"]
        assert ACTIVATION_NAMES[nodes["activation"][nodes["kind"] == OUTPUT][0]] == name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"perturb": 0.9, "replace": 0.2},
            r"^strategy: perturb, replace: 0\.9 and 0\.2: .*together at most 1$",
        ),
        ({"perturbed": 0.9}, r"^strategy\.perturbed: no such setting; did you mean perturb\?$"),
        ({"qqq": 1}, r"^strategy\.qqq: no such setting; there are (\w+, ){9}\w+ and \d+ more$"),
    ],
)
def test_bad_settings_of_the_strategy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings.read(values, "strategy")


def test_bad_lists_are_said_plainly() -> None:
    with pytest.raises(InputError, match=r"^space\.activations: \[\]: must have at least 1 item$"):
        space_module.Settings.read({"activations": []}, "space")


# -- whole searches --------------------------------------------------------------------------------


def searched(folder: Path, *layers: dict[str, Any], **about: Any) -> Any:
    run = open_search(
        build(("test", {"system": "neat", **about}), *(("test", layer) for layer in layers)), folder
    )
    run.create()
    run.prepare()
    return run


def rows(folder: Path) -> Any:
    table, warnings = load_archive(folder)
    assert not warnings
    return table.to_pylist()


def load_archive(folder: Path) -> Any:
    from evoml.search.problem import Problem, stored_config

    return Problem(stored_config(folder)).archive(folder).table()


def test_xor_is_solved_and_the_archive_depends_on_nothing_but_the_seed(tmp_path: Path) -> None:
    ends = []
    for workers in (1, 2):
        run = searched(
            tmp_path / str(workers),
            {"workers": workers, "search": {"seed": 4}, "archive": {"keep": "all"}},
        )
        result = run.run()
        assert result.reason == "stop_at" and result.test["fitness"] == 1.0
        ends.append((result.best, rows(tmp_path / str(workers))))
    assert ends[0] == ends[1] and len(ends[0][1]) > 150


def test_a_run_that_was_cut_off_ends_as_the_one_that_was_not(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Event

    from evoml.search.open import resume

    layer = {"search": {"seed": 9, "budget": 3000, "stop_at": "none"}, "archive": {"keep": "all"}}
    whole = searched(tmp_path / "whole", layer)
    whole.run()
    cut = searched(tmp_path / "cut", layer)
    for number in range(3):
        stop, seen = Event(), []

        def show(progress: Any, stop: Event = stop, seen: list[Any] = seen) -> None:
            seen.append(progress)
            if len(seen) == 4:
                stop.set()

        assert cut.run(show, stop).reason == "interrupted"
        cut = resume(tmp_path / "cut")
        cut.prepare()
        if number == 1:
            cut._round(ThreadPoolExecutor(1), Event(), lambda progress: None)  # lost: no checkpoint
            cut = resume(tmp_path / "cut")
            cut.prepare()
    assert cut.run().reason == "budget"
    assert rows(tmp_path / "whole") == rows(tmp_path / "cut")
    assert (tmp_path / "whole" / "events.jsonl").read_text() == (
        tmp_path / "cut" / "events.jsonl"
    ).read_text()
