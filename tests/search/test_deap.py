"""DEAP as the evolution engine: its own algorithms run unchanged on the toolbox, and what evoml
adds reads like DEAP.
"""

import inspect
import math
import random
from operator import attrgetter

import numpy as np
import pytest
from deap import algorithms, base, creator, tools
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import NoEvaluator, directions

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.strategy import AgingPopulation
from evoml.core.streams import streams
from evoml.evaluators.execution import ExecutionEvaluator
from evoml.evaluators.execution import Settings as EvaluatorSettings
from evoml.genotypes.population import OK, PENDING, Individual, Population
from evoml.phenotypes.programs import FUNCTIONS
from evoml.search.toolbox import batch_map, toolbox
from evoml.spaces.automl_zero import AutoMLZeroSpace, Function
from evoml.spaces.automl_zero import Settings as SpaceSettings
from evoml.strategies.aging_evolution import AgingEvolution, eaAging, select, selYoungest
from evoml.strategies.aging_evolution import Settings as AgingSettings
from evoml.tasks import linear_regression

OPS = (
    "scalar_const_set",
    "vector_inner_product",
    "scalar_diff",
    "scalar_product",
    "scalar_vector_product",
    "vector_sum",
)
SPACE = AutoMLZeroSpace(
    SpaceSettings(
        scalars=4,
        vectors=3,
        matrices=0,
        **{name: Function(initial=3, least=1, most=8, ops=OPS) for name in FUNCTIONS},
    )
)
SIZES = {"tasks": 3, "train": 20, "valid": 10}
TASKS = linear_regression.LinearRegressionTask(
    linear_regression.Settings.read({"search": SIZES}, "task"), None, 1
).search(0)


@pytest.fixture
def box() -> base.Toolbox:
    random.seed(1)
    return toolbox(
        SPACE, ExecutionEvaluator(EvaluatorSettings(), TASKS, SPACE, "numba"), tournsize=3
    )


def statistics() -> tools.Statistics:
    stats = tools.Statistics(lambda individual: individual.fitness.values[0])
    stats.register("mean", np.mean)
    stats.register("max", np.max)
    return stats


def improved(population: list, logbook: tools.Logbook, hall: tools.HallOfFame) -> None:
    assert all(isinstance(member, Individual) and member.fitness.valid for member in population)
    assert hall[0].fitness.values[0] > logbook[0]["max"]
    # the best may be lost to the population
    assert hall[0].fitness.values[0] >= max(logbook.select("max"))
    assert list(map(attrgetter("fitness"), hall)) == sorted(
        map(attrgetter("fitness"), hall), reverse=True
    )
    assert len({member.genotype for member in hall}) == len(hall)


def test_simple_evolution_runs_unchanged(box: base.Toolbox) -> None:
    hall = tools.HallOfFame(5)
    population, logbook = algorithms.eaSimple(
        box.population(n=60), box, 0.3, 0.9, 60, statistics(), hall, verbose=False
    )
    assert len(population) == 60 and len(logbook) == 61
    assert sum(logbook.select("nevals")) <= 60 * 61
    improved(population, logbook, hall)


def test_mu_plus_lambda_runs_unchanged(box: base.Toolbox) -> None:
    hall = tools.HallOfFame(5)
    population, logbook = algorithms.eaMuPlusLambda(
        box.population(n=20), box, 20, 40, 0.3, 0.6, 60, statistics(), hall, verbose=False
    )
    assert len(population) == 20 and logbook[0]["nevals"] == 20
    improved(population, logbook, hall)


def test_aging_evolution_runs_on_the_toolbox(box: base.Toolbox) -> None:
    hall = tools.HallOfFame(5)
    population, logbook = eaAging(
        box.population(n=40), box, 10, 0.0, 1.0, 300, statistics(), hall, verbose=False
    )
    assert len(population) == 40
    improved(population, logbook, hall)


def test_a_run_repeats_with_the_seed_of_the_global_generator(box: base.Toolbox) -> None:
    def run() -> list:
        random.seed(5)
        return algorithms.eaSimple(box.population(n=10), box, 0.5, 0.9, 5, verbose=False)[0]

    assert [member.genotype for member in run()] == [member.genotype for member in run()]


def test_individuals_are_mutated_and_mated_in_place_and_cloned_apart(box: base.Toolbox) -> None:
    one, other = box.individual(), box.individual()
    one.fitness.values = (0.5,)
    clone, before = box.clone(one), one.genotype
    assert clone == one and hash(clone) == hash(one) and clone.fitness.values == (0.5,)
    changed = [box.mutate(box.clone(one))[0].genotype != before for _ in range(50)]
    assert 10 < sum(changed) < 50  # one time in ten, and where a draw repeats, a copy
    assert one.genotype == before
    first, second = box.mate(clone, other)
    assert first is clone and second is other and first.genotype != before
    for member in (first, second):
        assert SPACE.schema.violation(member.genotype) is None


def test_one_evaluation_is_the_batch(box: base.Toolbox) -> None:
    members = box.population(n=8)
    assert box.map(box.evaluate, members) == [box.evaluate(member) for member in members]
    assert box.map(box.evaluate, []) == []
    assert batch_map(lambda x, y: x + y, [1, 2], [3, 4]) == [4, 6]


def test_scoring_a_population_in_place(box: base.Toolbox) -> None:
    population = SPACE.random(streams(0, 1, np.arange(20)))
    assert (population.status == PENDING).all() and np.isnan(population.fitness).all()
    evaluation = box.score(population)
    assert (
        (population.status != PENDING).all()
        and np.isfinite(population.fitness).all()
        and evaluation.steps >= 0
    )
    assert [tuple(row) for row in population.fitness] == box.map(box.evaluate, list(population))
    assert tools.selBest(population, 1)[0].fitness.values[0] == population.fitness.max()


@pytest.mark.parametrize(("weights", "worst"), [((1.0,), -math.inf), ((-1.0,), math.inf)])
def test_nan_of_an_evaluator_becomes_the_worst_value(
    weights: tuple[float, ...], worst: float
) -> None:
    class Broken(NoEvaluator):
        def evaluate(self, population, streams=None):
            size = len(population)
            return Evaluation(np.full((size, 1), np.nan), np.full(size, OK, np.uint8))

    box = toolbox(SPACE, Broken(directions(weights)))
    bad, good = box.individual(), box.individual()
    bad.fitness.values, good.fitness.values = box.evaluate(bad), (0.0,)
    assert bad.fitness.values == (worst,) and good.fitness > bad.fitness
    with pytest.raises(ValueError, match="NaN"):
        good.fitness.values = (math.nan,)
    assert good.fitness.values == (0.0,)


# aging evolution in DEAP's style, on plain DEAP individuals


@pytest.fixture
def onemax():
    creator.create("OneMaxFitness", base.Fitness, weights=(1.0,))
    creator.create("OneMax", list, fitness=creator.OneMaxFitness)
    box = base.Toolbox()
    box.register("bit", random.randint, 0, 1)
    box.register("individual", tools.initRepeat, creator.OneMax, box.bit, 30)
    box.register("population", tools.initRepeat, list, box.individual)
    box.register("evaluate", lambda individual: (sum(individual),))
    box.register("mate", tools.cxTwoPoint)
    box.register("mutate", tools.mutFlipBit, indpb=1 / 30)
    box.register("select", tools.selTournament, tournsize=5)
    random.seed(3)
    yield box
    del creator.OneMaxFitness, creator.OneMax


def test_aging_evolution_solves_onemax(onemax: base.Toolbox) -> None:
    hall = tools.HallOfFame(1)
    stats = tools.Statistics(lambda individual: individual.fitness.values[0])
    stats.register("max", max)
    population = onemax.population(n=30)
    out, logbook = eaAging(population, onemax, 1, 0.2, 1.0, 1500, stats, hall, verbose=False)
    assert out is population and len(population) == 30
    assert logbook.header == ["gen", "nevals", "max"] and len(logbook) == 1501
    assert logbook[0]["nevals"] == 30 and set(logbook.select("nevals")[1:]) <= {0, 1}
    assert hall[0].fitness.values[0] >= 29 > logbook[0]["max"]


@pytest.mark.parametrize("lambda_", [1, 4, 10, 25])
def test_the_oldest_die(onemax: base.Toolbox, lambda_: int) -> None:
    births: list[list[int]] = []
    population = onemax.population(n=10)
    eaAging(
        population,
        onemax,
        lambda_,
        0.0,
        0.5,
        6,
        verbose=False,
        after=lambda gen, living: births.append([i.birth for i in living]),
    )
    for gen, born in enumerate(births):
        last = 10 + gen * lambda_
        assert born == list(range(last - 10, last))  # the ten youngest, oldest first
    assert len(births) == 7
    assert len({id(individual) for individual in population}) == 10


def test_a_good_individual_dies_of_age(onemax: base.Toolbox) -> None:
    population = onemax.population(n=5)
    population[0][:] = [1] * 30
    champion = population[0]
    onemax.register("mutate", tools.mutFlipBit, indpb=0.5)
    eaAging(population, onemax, 1, 0.0, 1.0, 4, verbose=False)
    assert champion not in population[1:] and population[0].birth == 4


def test_the_signature_is_deap_style() -> None:
    ours, theirs = (
        list(inspect.signature(function).parameters)
        for function in (eaAging, algorithms.eaMuPlusLambda)
    )
    assert [name for name in theirs if name != "mu"] == ours[: len(theirs) - 1]
    assert (
        list(inspect.signature(selYoungest).parameters)[:2]
        == list(inspect.signature(tools.selBest).parameters)[:2]
    )


def test_verbose_prints_the_logbook(
    onemax: base.Toolbox, capsys: pytest.CaptureFixture[str]
) -> None:
    eaAging(onemax.population(n=5), onemax, 1, 0.0, 1.0, 2, verbose=True)
    assert capsys.readouterr().out.split()[:4] == ["gen", "nevals", "0", "5"]


# the strategy that is compiled


def plain_tournament(stream: int, size: int, tournament: int, quality: list[float]) -> int:
    """SplitMix64 and a tournament, in whole numbers."""
    mask, best = 2**64 - 1, None
    for draw in range(1, tournament + 1):
        z = (stream + draw * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        entrant = ((z ^ (z >> 31)) >> 32) * size >> 32
        if best is None or quality[entrant] > quality[best]:  # the first drawn of equals
            best = entrant
    return best


@settings(max_examples=25, deadline=None)
@given(
    fitness=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -math.inf]), min_size=1, max_size=12),
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=10),
    tournament=st.integers(1, 8),
    weight=st.sampled_from([1.0, -1.0]),
)
def test_selection_is_a_tournament(
    fitness: list[float], seeds: list[int], tournament: int, weight: float
) -> None:
    population = Population(SPACE.schema, len(fitness), weights=(weight,))
    population.fitness[:, 0] = fitness
    wanted = [
        plain_tournament(seed, len(fitness), tournament, [weight * value for value in fitness])
        for seed in seeds
    ]
    assert select(population, np.array(seeds, np.uint64), tournament).tolist() == wanted


def test_tournament_draws_are_uniform_with_replacement() -> None:
    population = Population(SPACE.schema, 10)
    population.fitness[:, 0] = np.arange(10)
    wins = (
        np.bincount(select(population, streams(0, 2, np.arange(20_000)), 3), minlength=10) / 20_000
    )
    wanted = [((k + 1) / 10) ** 3 - (k / 10) ** 3 for k in range(10)]
    assert np.abs(wins - wanted).max() < 0.015


def test_the_strategy_breeds_from_the_population_and_replaces_the_oldest(box: base.Toolbox) -> None:
    strategy = AgingEvolution(box, AgingSettings(population=12, tournament=3, block=5), seed=4)
    asked = 0
    for _ in range(12):
        before = strategy.population.take(slice(None))
        offspring = strategy.ask(asked + np.arange(strategy.block))
        assert offspring.ids.tolist() == list(range(asked, asked + len(offspring)))
        if asked >= 12:
            parents = select(before, streams(4, 2, offspring.ids), 3)
            assert offspring.parents[:, 0].tolist() == before.ids[parents].tolist()
        else:
            assert (offspring.parents == -1).all() and asked + len(offspring) <= 12
        box.score(offspring)
        strategy.tell(offspring)
        asked += len(offspring)
        alive = strategy.alive
        assert alive.ids.tolist() == alive.birth.tolist() == list(range(max(asked - 12, 0), asked))
    fresh = AgingEvolution(box, strategy.settings, seed=4)
    fresh.load_state_dict(strategy.state_dict())
    ids = asked + np.arange(5)
    assert [member.genotype for member in fresh.ask(ids)] == [
        member.genotype for member in strategy.ask(ids)
    ]
    assert isinstance(strategy, AgingPopulation) and len(strategy.migrants(3, 0)) == 3
