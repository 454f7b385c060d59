"""The DEAP wiring: one Toolbox that DEAP's own algorithms run on, with batch tools beside for the strategies.

`toolbox.map` is handed the whole list (`toolbox.map(toolbox.evaluate, individuals)`), as DEAP's algorithms do; a batch evaluator sees it at once.
Batch tools take and give a `Population`: `random(streams)`, `initial(streams)`, `vary(population, parents, streams)`, `cross(population, pairs, streams)`, `neighbours(population)` of its first
member, `keys(population)`, `score(population)`, and what else a space names in `tools`.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
from deap import base, tools

from evoml.core.errors import InputError
from evoml.core.streams import generator
from evoml.genotypes.population import Individual, Population, fitness_class
from evoml.genotypes.schema import Genotype
from evoml.networks.memory import check_step
from evoml.spaces import Space


class Evaluate:
    """DEAP's `evaluate` for one individual, and the same for many in one call of the evaluator."""

    def __init__(self, space: Space, evaluator: Callable[[Any], Any], weights: tuple[float, ...]) -> None:
        self.space, self.evaluator, self.weights = space, evaluator, weights

    def __call__(self, individual: Individual) -> tuple[float, ...]:
        return self.batch([individual])[0]

    def batch(self, individuals: Sequence[Individual]) -> list[tuple[float, ...]]:
        population = Population.of(self.space.schema, [individual.genotype for individual in individuals], self.weights)
        self.score(population)
        return [tuple(row) for row in population.fitness]

    def score(self, population: Population) -> int:
        """Evaluate a population in place; returns the cost in training steps."""
        evaluation = self.evaluator(self.space.phenotypes(population))
        worst = np.where(np.array(self.weights) > 0, -np.inf, np.inf)
        population.fitness[:] = np.where(np.isnan(evaluation.objectives), worst, evaluation.objectives)
        population.status[:] = evaluation.status
        return int(evaluation.steps)


def batch_map(function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
    """Like map, but a function with a `batch` method gets the whole list at once."""
    whole = getattr(getattr(function, "func", function), "batch", None)
    return whole(list(iterables[0])) if whole else list(map(function, *iterables))


def toolbox(space: Space, evaluator: Callable[[Any], Any], weights: tuple[float, ...] = (1.0,), tournsize: int = 10) -> base.Toolbox:
    """A DEAP toolbox for one space and evaluator. DEAP's own operators draw from Python's global `random`, as they always do."""
    evaluate = Evaluate(space, evaluator, weights)
    fitness = fitness_class(weights)
    box = base.Toolbox()

    def wrap(genotype: Genotype) -> Individual:
        return Individual(genotype, fitness())

    def individual() -> Individual:
        return wrap(space.random(_stream()).genotype(0))

    def mutate(parent: Individual) -> tuple[Individual]:
        population = Population.of(space.schema, [parent.genotype], weights)
        parent.genotype = space.mutate(population, np.zeros(1, np.int64), _stream()).genotype(0)
        return (parent,)

    def mate(one: Individual, other: Individual) -> tuple[Individual, Individual]:
        one.genotype, other.genotype = space.mate(random.Random(random.getrandbits(64)), one.genotype, other.genotype)
        return one, other

    box.register("individual", individual)
    box.register("population", tools.initRepeat, list, box.individual)
    box.register("clone", deepcopy)
    box.register("evaluate", evaluate)
    box.register("map", batch_map)
    box.register("select", tools.selTournament, tournsize=tournsize)
    box.register("mutate", mutate)
    box.register("mate", mate)
    box.register("random", lambda streams: space.random(streams).weighted(weights))
    box.register("initial", lambda streams, given: space.initial(streams, given).weighted(weights))
    box.register("vary", lambda population, parents, streams: space.mutate(population, parents, streams).weighted(weights))
    box.register("cross", lambda population, pairs, streams: cross(space, population, pairs, streams).weighted(weights))
    box.register("neighbours", lambda population: neighbours(space, population.genotype(0)).weighted(weights))
    box.register("keys", space.keys)
    box.register("score", evaluate.score)
    box.register("empty", lambda size: Population(space.schema, size, weights=weights))
    if hasattr(getattr(evaluator, "tasks", None), "train_x"):
        relax(box, space, evaluator.tasks, weights)  # type: ignore[attr-defined]
    else:
        box.register("supernet", _no_supernet, "task: a supernet is trained on images, which this task does not give; digits does")
    for name in getattr(space, "tools", ()):
        box.register(name, getattr(space, name))
    return box


def relax(box: base.Toolbox, space: Any, images: Any, weights: tuple[float, ...]) -> None:
    """What strategies use that search in a supernet: `images()`, `supernet()`, `paths(genotype)`, `derive(strengths)`, `shared(seed, ...)`, `fits(batch, mix)`."""

    @cache
    def supernet() -> Any:
        if not hasattr(space, "supernet"):
            name = getattr(space, "name", type(space).__module__.rpartition(".")[2])
            raise InputError(f"space: {name}: has no supernet; cell, nasbench201 and mobile have one")
        return space.supernet(images.size, len(images.classes))

    def shared(seed: int, **how: Any) -> Any:
        from evoml.networks.cpu.shared_weights import Shared

        return Shared(supernet(), seed, **how)

    def fits(batch: int, mix: np.ndarray | None = None) -> None:
        """Raise InputError where a step of so many images needs more memory than there is: with all options, or with those of a mix."""
        check_step(supernet(), batch, "strategy.batch", mix)

    box.register("images", lambda: images)
    box.register("supernet", supernet)
    box.register("shared", shared)
    box.register("fits", fits)
    box.register("paths", getattr(space, "paths", lambda genotype: None))
    box.register("derive", lambda strengths: Population.of(space.schema, [space.derive(strengths)]).weighted(weights))


def _no_supernet(why: str) -> None:
    raise InputError(why)


def cross(space: Space, population: Population, pairs: np.ndarray, streams: np.ndarray) -> Population:
    """The first child of each pair of parents, [n, 2] indices into `population`."""
    children = [
        space.mate(generator(stream), population.genotype(int(one)), population.genotype(int(other)))[0]
        for (one, other), stream in zip(pairs, streams, strict=True)
    ]
    return Population.of(space.schema, children)


def neighbours(space: Space, genotype: Genotype) -> Population:
    """Everything that differs from a genotype in one gene. Raises InputError for a space that does not list it."""
    if not hasattr(space, "neighbours"):
        raise InputError("strategy: local_search needs a space that lists neighbours, which this one does not; spaces of architectures do")
    return Population.of(space.schema, space.neighbours(genotype))


def _stream() -> np.ndarray:
    return np.array([random.getrandbits(64)], np.uint64)
