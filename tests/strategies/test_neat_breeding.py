"""NEAT's children are genomes whatever their parents are: also of parents as fit as each other, of
different runs, and with many inputs.
"""

from typing import Any

import numpy as np
import pytest
from parts import NoEvaluator

from evoml.genotypes.population import OK, Population
from evoml.search.toolbox import toolbox
from evoml.spaces import neat
from evoml.spaces._neat_kernels import Rates
from evoml.strategies import neat as strategy

GROWING = {**neat.PAPER._asdict(), "add_node": 0.4, "add_link": 0.6}


def space(recurrent: bool = False, inputs: int = 3, **given: Any) -> neat.NEATSpace:
    return neat.NEATSpace(neat.Settings(inputs=inputs, outputs=2, recurrent=recurrent, **given))


def grown(own: neat.NEATSpace, seed: int, generations: int, count: int = 60) -> Population:
    """A population after some generations of mutation, with innovations of its own."""
    population = own.initial(np.arange(count, dtype=np.uint64) + 1000 * seed)
    counters = own.begin(population)
    none, no = np.full(count, -1), np.zeros(count, np.uint8)
    for generation in range(generations):
        draws = np.arange(count, dtype=np.uint64) + 10_000 * seed + 100 * generation
        population = own.breed(
            population, np.arange(count), none, no, no, draws, Rates(**GROWING), counters
        )
    return population


def crossed(
    own: neat.NEATSpace, population: Population, equal: int, count: int = 400, **rates: float
) -> Population:
    rng = np.random.default_rng(0)
    mothers, fathers = (rng.integers(0, len(population), count) for _ in "mf")
    same, no = np.full(count, equal, np.uint8), np.zeros(count, np.uint8)
    made = Rates(
        **{**neat.PAPER._asdict(), "add_node": 0.0, "add_link": 0.0, "weights": 0.0, **rates}
    )
    return own.breed(
        population,
        mothers,
        fathers,
        same,
        no,
        np.arange(count, dtype=np.uint64),
        made,
        own.begin(population),
    )


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("equal", [0, 1])
@pytest.mark.parametrize("runs", [1, 2])
def test_children_are_genomes_whatever_their_parents_are(
    recurrent: bool, equal: int, runs: int
) -> None:
    """Two runs number their innovations apart, so that one number stands for two links."""
    own = space(recurrent)
    parents = Population.joined([grown(own, seed, 12) for seed in range(runs)])
    assert all(own.violation(parents.genotype(index)) is None for index in range(len(parents)))
    children = crossed(own, parents, equal)
    wrong = [own.violation(children.genotype(index)) for index in range(len(children))]
    assert not any(wrong), next(filter(None, wrong))
    assert all((children.sizes[:, at] <= children.tables[at].shape[1]).all() for at in (0, 1))


def test_a_fitter_mother_passes_on_all_her_links() -> None:
    own = space()
    parents = Population.joined([grown(own, seed, 12) for seed in range(2)])
    rng = np.random.default_rng(0)
    mothers = rng.integers(0, len(parents), 400)  # as `crossed` draws them
    children = crossed(own, parents, 0)

    def ends(population: Population, index: int) -> set[tuple[int, int]]:
        links = population.genotype(index).tables["links"]
        return set(zip(links["source"].tolist(), links["target"].tolist(), strict=True))

    assert all(
        ends(children, child) == ends(parents, int(mother)) for child, mother in enumerate(mothers)
    )


@pytest.mark.parametrize(("stays", "share"), [(0.0, 0.0), (0.75, 0.75), (1.0, 1.0)])
def test_the_share_of_genes_that_stay_disabled(stays: float, share: float) -> None:
    own = space()
    parents = own.initial(np.arange(2, dtype=np.uint64))
    parents.tables[1]["enabled"][0] = 0
    count, no = 2000, np.zeros(2000, np.uint8)
    rates = Rates(
        **{**neat.PAPER._asdict(), "add_node": 0.0, "add_link": 0.0, "stays_disabled": stays}
    )
    children = own.breed(
        parents,
        np.zeros(count, np.int64),
        np.ones(count, np.int64),
        no,
        no,
        np.arange(count, dtype=np.uint64),
        rates,
        own.begin(parents),
    )
    assert abs((children.tables[1]["enabled"][:, :8] == 0).mean() - share) < 0.02


def test_no_weight_is_beyond_the_limit() -> None:
    own = space()
    parents = own.initial(np.arange(50, dtype=np.uint64))
    children = crossed(
        own, parents, 1, weights=1.0, perturb=0.0, replace=1.0, range=20.0, limit=8.0
    )
    weights = children.tables[1]["weight"]
    assert np.abs(weights).max() == 8.0 and (np.abs(weights) < 8.0).any()


@pytest.mark.parametrize("inputs", [10, 784])
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_new_link_is_found_among_many_inputs(inputs: int, recurrent: bool) -> None:
    own = space(recurrent, inputs, initial="one")
    parents = own.initial(np.arange(200, dtype=np.uint64))
    none, no = np.full(200, -1), np.zeros(200, np.uint8)
    rates = Rates(**{**neat.PAPER._asdict(), "add_node": 0.0, "add_link": 1.0})
    children = own.breed(
        parents,
        np.arange(200),
        none,
        no,
        no,
        np.arange(200, dtype=np.uint64),
        rates,
        own.begin(parents),
    )
    assert (children.sizes[:, 1] == parents.sizes[:, 1] + 1).mean() > 0.99


def test_numbers_made_of_ends_tell_links_apart() -> None:
    """Where nobody counts innovations: both directions and every self-link have numbers of their
    own.
    """
    own = space(True)
    parents = own.initial(np.arange(300, dtype=np.uint64))
    rates = Rates(**{**neat.PAPER._asdict(), "add_node": 0.0, "add_link": 1.0})
    none, no = np.full(300, -1), np.zeros(300, np.uint8)
    children = own.breed(
        parents,
        np.arange(300),
        none,
        no,
        no,
        np.arange(300, dtype=np.uint64),
        rates,
        np.array([0, 0, -1], np.int64),
    )
    links = np.concatenate([children.genotype(index).tables["links"] for index in range(300)])
    new = links[links["innovation"] >= 2 * 4]
    pairs = {(int(link["source"]), int(link["target"])): int(link["innovation"]) for link in new}
    # between two outputs, both ways, and from each to itself
    assert len(pairs) == 4 and len(set(pairs.values())) == len(pairs)


@pytest.mark.parametrize(
    "worth",
    [
        [5e-324] * 6,
        [1e307] * 6,
        [-1e308, 1e308] * 3,
        [0.0] * 6,
        [1e-300, 2e-300] * 3,
        [-np.inf] * 6,
    ],
)
@pytest.mark.parametrize("preset", ["stanley2002", "neat_python"])
def test_quotas_sum_to_the_population_whatever_a_fitness_is(
    worth: list[float], preset: str
) -> None:
    own = space()
    made = strategy.NEAT(
        toolbox(own, NoEvaluator()),
        strategy.Settings.read({"population": 6, "preset": preset}, ""),
        0,
    )
    population = made.ask(np.arange(6))
    population.fitness[:, 0], population.status[:] = worth, OK
    made.tell(population)
    quotas = made.offspring()
    assert quotas.sum() == 6 and (quotas >= 0).all()


def test_a_stagnant_species_is_penalised_and_not_barred_while_nobody_is_stuck() -> None:
    own = space()
    quotas = []
    for stuck in (0, 1000):
        settings = strategy.Settings.read(
            {"population": 150, "preset": "stanley_code", "stuck": stuck, "threshold": 0.5}, ""
        )
        made = strategy.NEAT(toolbox(own, NoEvaluator()), settings, 0)
        population = made.ask(np.arange(150))
        population.fitness[:, 0], population.status[:] = 1.0, OK
        made.tell(population)
        made.table["improved"][0] = -100
        quotas.append(made.offspring().tolist())
    assert quotas[0] == quotas[1]


@pytest.mark.parametrize("column", ["source", "target"])
def test_a_stored_population_with_a_link_to_nowhere_is_refused(column: str) -> None:
    own = space()
    made = strategy.NEAT(
        toolbox(own, NoEvaluator()), strategy.Settings.read({"population": 20}, ""), 0
    )
    population = made.ask(np.arange(20))
    population.fitness[:, 0], population.status[:] = 1.0, OK
    made.tell(population)
    state = made.state_dict()
    made.load_state_dict(state)
    made.population.tables[1][column][3, 1] = 123_456
    with pytest.raises(ValueError, match="not genomes"):
        made.load_state_dict(made.state_dict())


def test_a_file_leaves_room_for_the_numbers_of_a_search() -> None:
    own = space()
    text = own.format(own.initial(np.arange(1, dtype=np.uint64)).genotype(0)).replace(
        "innovation = 7", "innovation = 2147483647"
    )
    assert "2147483647" in text
    with pytest.raises(Exception, match="an integer in 0..2000000000"):
        own.parse(text, "genome.toml")
