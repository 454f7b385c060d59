"""Strategies by themselves: the contract that every one keeps, and what its paper says of each."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from deap import base, tools
from parts import NoEvaluator, class_of, directions

from evoml.contracts.learner import Learner
from evoml.core.errors import InputError
from evoml.core.registry import load, names
from evoml.core.streams import INITIAL, SELECT, VARY, below, streams
from evoml.genotypes.population import DIVERGED, OK, Population, fitness_class
from evoml.genotypes.schema import Genotype
from evoml.search.toolbox import toolbox
from evoml.spaces import chain, nasbench201
from evoml.strategies import aging_evolution, local_search, nsga2
from evoml.tasks import table as tables

SPACE = nasbench201.NASBench201Space(nasbench201.Settings())
STRATEGIES = [
    name
    for name in names("strategies")
    if not class_of(load("strategies", name)).generational
    and not issubclass(class_of(load("strategies", name)), Learner)
]  # one candidate at a time
BOTH = (1.0, -1.0)


def box(weights: tuple[float, ...] = (1.0,), space: Any = SPACE) -> base.Toolbox:
    return toolbox(space, NoEvaluator(directions(weights)))


def made(
    name: str,
    weights: tuple[float, ...] = (1.0,),
    given: tuple[Genotype, ...] = (),
    **settings: Any,
) -> Any:
    """A strategy, with those of these settings that it has."""
    module = load("strategies", name)
    known = {key: value for key, value in settings.items() if key in module.Settings.model_fields}
    return class_of(module)(box(weights), module.Settings(**known), 3, given)


def scored(population: Population, space: Any = SPACE) -> Population:
    """Told apart by their keys alone; a few fail."""
    for index, key in enumerate(space.keys(population)):
        number = crc32(key.encode())
        failed = number % 13 == 0
        worst = [0.0 if weight > 0 else np.inf for weight in population.weights]
        population.fitness[index] = (
            worst if failed else [number % 101 / 100, float(number % 53)][: len(population.weights)]
        )
        population.status[index] = DIVERGED if failed else OK
    return population


def step(strategy: Any, id: int, space: Any = SPACE) -> Population:
    """Ask for one candidate and tell its score."""
    out: Population = strategy.ask(np.array([id]))
    strategy.tell(scored(out, space))
    return out


def genotypes(population: Population) -> list[Genotype]:
    return [population.genotype(index) for index in range(len(population))]


# -- the contract ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("weights", [(1.0,), BOTH], ids=len)
def test_a_state_brings_a_strategy_back_at_any_time(weights: tuple[float, ...], name: str) -> None:
    """Also with candidates in flight; the state is taken before they are told, and lets itself be
    told them.
    """
    one, flying = made(name, weights, population=6, tournament=3), []
    for id in range(40):
        state = {
            key: value.copy() if isinstance(value, np.ndarray) else value
            for key, value in one.state_dict().items()
        }
        other = made(name, weights, population=6, tournament=3)
        other.load_state_dict(_copied(state))
        asked, again = one.ask(np.array([id])), other.ask(np.array([id]))
        assert genotypes(asked) == genotypes(again)
        assert (asked.parents == again.parents).all() and (asked.ids == again.ids).all()
        flying += [asked] if len(asked) else []
        if len(flying) > 2 or not len(asked):
            done = flying.pop(0)
            one.tell(scored(done))
    assert np.array_equal(one.fitness, one.alive.fitness[:, 0]) or sorted(one.fitness) == sorted(
        one.alive.fitness[:, 0]
    )


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return value.copy() if isinstance(value, (np.ndarray, list)) else value


@pytest.mark.parametrize("name", STRATEGIES)
def test_parents_are_candidates_that_were_told(name: str) -> None:
    strategy, told = made(name, population=6, tournament=3), set()
    for id in range(60):
        child = step(strategy, id)
        assert child.ids.tolist() == [id]
        assert {parent for parent in child.parents[0].tolist() if parent >= 0} <= told
        told.add(id)
    assert strategy.told == 60
    assert set(strategy.alive.ids.tolist()) <= told


@pytest.mark.parametrize("name", STRATEGIES)
def test_nobody_is_bred_from_nobody(name: str) -> None:
    """What is asked before anyone was told is drawn, not bred."""
    strategy = made(name, population=4, tournament=3)
    asked = [strategy.ask(np.array([id])) for id in range(10)]
    found = [population for population in asked if len(population)]
    assert found and all((population.parents == -1).all() for population in found)
    strategy.tell(scored(found[0]))
    assert len(strategy.ask(np.array([10]))) == 1 or len(found) > 1


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_state_that_does_not_fit_is_refused(name: str) -> None:
    strategy = made(name, population=4, tournament=2)
    for id in range(7):
        step(strategy, id)
    good = strategy.state_dict()
    for key in good:
        for bad in (None, -1, "x", {}, [1]):
            if isinstance(bad, dict) and isinstance(good[key], dict):
                continue
            with pytest.raises((KeyError, TypeError, ValueError, AttributeError, IndexError)):
                made(name, population=4, tournament=2).load_state_dict(good | {key: bad})
    made(name, population=4, tournament=2).load_state_dict(good)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_given_genotype_is_used(name: str) -> None:
    given = tuple(genotypes(SPACE.random(streams(9, 1, np.arange(3)))))
    try:
        strategy = made(name, given=given, population=6, tournament=3, neighbours=2)
    except InputError as error:  # it starts from nothing, and says so
        assert str(error).startswith("start: ")
        return
    found: list[Genotype] = []
    for id in range(40):
        found += genotypes(step(strategy, id))
    assert set(given) <= set(found)


# -- random search ---------------------------------------------------------------------------------


def test_random_search_does_not_look_at_results() -> None:
    one, other = made("random_search", population=5), made("random_search", population=5)
    for id in range(20):
        asked, same = one.ask(np.array([id])), other.ask(np.array([id]))
        assert (
            genotypes(asked)
            == genotypes(same)
            == genotypes(SPACE.random(streams(3, INITIAL, np.array([id]))))
        )
        one.tell(scored(asked))
        same.fitness[:], same.status[:] = -asked.fitness, OK
        other.tell(same)


# -- aging evolution -------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", ["oldest", "worst"])
def test_aging_evolution_is_the_published_loop(replace: str) -> None:
    """A population as a list, as the paper writes it: sample, mutate the best, append, and remove
    one.
    """
    strategy = made("aging_evolution", population=7, tournament=3, replace=replace)
    alive: list[tuple[float, int, Genotype]] = []  # oldest first
    places: list[tuple[float, int, Genotype]] = []
    for id in range(80):
        ids = np.array([id])
        if id < 7:
            child, parent = SPACE.initial(streams(3, INITIAL, ids)).genotype(0), -1
        else:  # the draw is of places, where a newcomer takes that of whoever goes
            sample = [places[at] for at in below(streams(3, SELECT, ids), 3, 7)[0]]
            _, parent, chosen = max(sample, key=lambda member: member[0])
            child = SPACE.mutate(
                Population.of(SPACE.schema, [chosen]), np.zeros(1, np.int64), streams(3, VARY, ids)
            ).genotype(0)
        asked = step(strategy, id)
        assert asked.genotype(0) == child and asked.parents[0, 0] == parent
        newcomer = (float(asked.fitness[0, 0]), id, child)
        if id < 7:
            places = [*alive, newcomer]
        else:
            gone = alive[0] if replace == "oldest" else min(alive, key=lambda member: member[:2])
            alive.remove(gone)
            places[places.index(gone)] = newcomer
        alive.append(newcomer)
        assert strategy.alive.ids.tolist() == [member[1] for member in alive]
        assert strategy.alive.birth.tolist() == [member[1] for member in alive]
        assert sorted(strategy.fitness) == sorted(member[0] for member in alive)


def test_who_is_replaced_is_the_worst_however_many_come() -> None:
    one, other = (
        made("aging_evolution", population=5, tournament=2, replace="worst") for _ in range(2)
    )
    people = scored(SPACE.random(streams(1, 1, np.arange(30))))
    people.ids[:] = np.arange(30)
    one.tell(people[:])
    for index in range(30):
        other.tell(people[index : index + 1])
    assert one.alive.ids.tolist() == other.alive.ids.tolist()
    assert one.alive.ids[-1] == 29 and one.fitness.max() == people.fitness.max()


def test_the_compiled_loop_leaves_the_worst_to_the_toolbox() -> None:
    from evoml.search import _fused_kernels

    def bare(part: type, **values: Any) -> Any:
        out = object.__new__(part)
        vars(out).update(values)
        return out

    backend = bare(_fused_kernels.Backend)
    evaluator = bare(_fused_kernels.ExecutionEvaluator, _stages=[backend])
    for replace, fits in (("oldest", True), ("worst", False)):
        settings = aging_evolution.Settings(replace=replace)
        strategy = bare(aging_evolution.AgingEvolution, settings=settings)
        space = bare(_fused_kernels.AutoMLZeroSpace)
        assert _fused_kernels.Engine.fits(space, strategy, evaluator) is fits


# -- tournament ------------------------------------------------------------------------------------


def test_the_tournament_removes_nobody_and_grows_with_the_population() -> None:
    strategy, people = made("tournament", population=10, share=0.25), []
    for id in range(90):
        child = step(strategy, id)
        if id >= 10:
            entrants = below(streams(3, SELECT, np.array([id])), max(2, round(0.25 * id)), id)[0]
            assert child.parents[0, 0] == max(entrants.tolist(), key=lambda at: people[at])
        people.append(float(child.fitness[0, 0]))
        assert strategy.alive.ids.tolist() == list(range(id + 1))
    assert strategy.fitness.tolist() == people


# -- NSGA-II ---------------------------------------------------------------------------------------


def _individual(id: int, values: tuple[float, ...]) -> Any:
    out = type("Individual", (), {"id": id, "fitness": fitness_class(BOTH)()})()
    out.fitness.values = values
    return out


def test_a_generation_of_nsga2_is_deaps() -> None:
    strategy, parents, children = made("nsga2", BOTH, population=8), [], []
    for id in range(80):
        child = step(strategy, id)
        failed = child.status[0] != OK
        # A value that is worse than all others stands for a failure.
        children.append(_individual(id, (-1.0, 1000.0) if failed else tuple(child.fitness[0])))
        if id % 8 == 7:
            parents, children = (
                sorted(tools.selNSGA2([*parents, *children], 8), key=lambda member: member.id),
                [],
            )
            assert strategy.alive.ids.tolist() == [member.id for member in parents]
            fronts = tools.sortNondominated(parents, 8)
            rank = {
                member.id: (number, -member.fitness.crowding_dist)
                for number, front in enumerate(fronts)
                for member in _crowded(front)
            }
            order = strategy.alive.ids[strategy.order].tolist()
            assert [rank[id][0] for id in order] == sorted(number for number, _ in rank.values())
            if not (strategy.alive.status != OK).any():
                assert [rank[id] for id in order] == sorted(rank.values())


def _crowded(front: list[Any]) -> list[Any]:
    tools.emo.assignCrowdingDist(front)
    return front


@pytest.mark.parametrize("weights", [(1.0,), BOTH, (-1.0, -1.0, 1.0)], ids=len)
def test_who_failed_is_behind_everyone_who_did_not(weights: tuple[float, ...]) -> None:
    chance = np.random.default_rng(0)
    people = box(weights).empty(0)
    people = SPACE.random(streams(0, 1, np.arange(20))).weighted(weights)
    people.fitness[:], people.status[:] = chance.random((20, len(weights))) * 100, OK
    failed = np.array([3, 8, 14])
    people.fitness[failed], people.status[failed] = (
        [0.0 if weight > 0 else np.inf for weight in weights],
        DIVERGED,
    )
    strategy = made("nsga2", weights, population=20)
    strategy.tell(people)
    assert set(strategy.order[-3:].tolist()) == set(failed.tolist())
    fronts = tools.sortNondominated(nsga2.individuals(strategy.alive), 20)
    assert all(member.status == OK for front in fronts[:-1] for member in front)
    nobody = SPACE.random(streams(0, 1, np.arange(20))).weighted(weights)
    nobody.fitness[:], nobody.status[:] = people.fitness[3], DIVERGED
    strategy = made("nsga2", weights, population=20)
    strategy.tell(nobody)
    assert sorted(strategy.order.tolist()) == list(range(20))
    assert len(strategy.ask(np.array([20]))) == 1


def test_children_have_two_parents_as_often_as_the_settings_say() -> None:
    for share in (0.0, 0.3, 1.0):
        strategy = made("nsga2", BOTH, population=10, crossover=share)
        two = [bool(step(strategy, id).parents[0, 1] >= 0) for id in range(400)][10:]
        assert abs(np.mean(two) - share) < 0.08


def test_parents_win_binary_tournaments() -> None:
    strategy = made("nsga2", BOTH, population=20, crossover=0.0)
    for id in range(20):
        step(strategy, id)
    drawn = strategy._select(streams(1, SELECT, np.arange(4000)))[:, 0]
    place = np.argsort(strategy.order)[drawn]
    shares = np.bincount(place, minlength=20) / 4000
    assert np.abs(shares - np.array([2 * (20 - rank) - 1 for rank in range(20)]) / 400).max() < 0.02


# -- local search ----------------------------------------------------------------------------------


def _climb(strategy: Any, count: int, space: Any = SPACE) -> list[Population]:
    found = []
    for id in range(count):
        child = step(strategy, id, space)
        if not len(child):
            break
        found.append(child)
    return found


@pytest.mark.parametrize("weights", [(1.0,), BOTH], ids=len)
def test_local_search_climbs_to_a_point_without_better_neighbours(
    weights: tuple[float, ...],
) -> None:
    strategy, points = made("local_search", weights), []
    keys: set[str] = set()
    for id in range(300):
        child = step(strategy, id)
        key = SPACE.keys(child)[0]
        assert key not in keys
        keys.add(key)
        if len(strategy.point) and (not points or points[-1][1] != strategy.point.genotype(0)):
            points.append(
                (
                    float(strategy.point.quality[0]),
                    strategy.point.genotype(0),
                    int(strategy.point.ids[0]),
                )
            )
    assert len(points) > 3
    for (quality, genotype, id), (after, other, _) in pairwise(points):
        assert 0 <= id < 300
        around = scored(box(weights).neighbours(Population.of(SPACE.schema, [genotype], weights)))
        if other in genotypes(around) and after > quality:
            assert after == around.quality.max()
        else:  # a new start: nothing around was better
            assert quality >= around.quality.max()


def test_local_search_evaluates_as_many_neighbours_as_it_is_told() -> None:
    strategy = made("local_search", neighbours=3)
    parents = [int(child.parents[0, 0]) for child in _climb(strategy, 200)]
    assert max(np.bincount([parent for parent in parents if parent >= 0])) <= 3


def test_local_search_knows_when_there_is_no_more() -> None:
    space = chain.ChainSpace(chain.Settings(least=1, most=2, kernels=(1, 3), filters=(4,)))
    strategy = local_search.LocalSearch(box(space=space), local_search.Settings(), 0)
    found = _climb(strategy, 1000, space)
    keys = [space.keys(child)[0] for child in found]
    assert len(keys) == len(set(keys)) < 1000
    drawn = {space.keys(space.random(streams(5, 1, np.array([id]))))[0] for id in range(2000)}
    assert drawn <= set(keys)
    assert len(strategy.ask(np.array([len(keys)]))) == 0


# -- on a benchmark --------------------------------------------------------------------------------


def test_strategies_that_learn_beat_the_one_that_does_not(data_folder: Path) -> None:
    from evoml.evaluators import table

    tasks = tables.TableTask(tables.Settings(), data_folder / "nasbench201_cifar10.npz", 0).search()
    evaluator = table.TableEvaluator(table.Settings(), tasks, SPACE)
    means = {}
    for name in STRATEGIES:
        best = []
        for seed in range(12):
            module = load("strategies", name)
            known = {
                key: value
                for key, value in {"population": 10, "tournament": 3}.items()
                if key in module.Settings.model_fields
            }
            strategy = class_of(module)(toolbox(SPACE, evaluator), module.Settings(**known), seed)
            scores = []
            for id in range(100):
                asked = strategy.ask(np.array([id]))
                strategy.toolbox.score(asked)
                strategy.tell(asked)
                scores.append(float(asked.fitness[0, 0]))
            best.append(max(scores))
        means[name] = float(np.mean(best))
    baseline = means["random_search"]
    assert all(mean > baseline - 0.002 for mean in means.values()), means
    assert means["aging_evolution"] > baseline and means["local_search"] > baseline, means
