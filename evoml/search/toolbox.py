"""The DEAP wiring: one Toolbox that DEAP's own algorithms run on, with batch tools beside for the
strategies.

`toolbox.map` is handed the whole list (`toolbox.map(toolbox.evaluate, individuals)`), as DEAP's
algorithms do; a batch evaluator sees it at once. Batch tools take and give a `Population`:
`random(streams)`, `initial(streams)`, `vary(population, parents, streams)`, `cross(population,
pairs, streams)`, `neighbours(population)` of its first member, `keys(population)`,
`score(population)`, and what else a space names in `tools`.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import cache, partial
from typing import Any

import numpy as np
from deap import base, tools

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.evaluation import Evaluation, checked_evaluation
from evoml.contracts.evaluator import Evaluator
from evoml.contracts.objective import listed
from evoml.contracts.space import Space
from evoml.contracts.task import LayeredData
from evoml.core.errors import InputError
from evoml.core.streams import generator
from evoml.genotypes.population import Individual, Population, fitness_class
from evoml.genotypes.schema import Genotype
from evoml.networks.memory import check_step
from evoml.networks.shared_weights import SharedWeights, shared_weights
from evoml.phenotypes.network import Supernet


class Evaluate:
    """DEAP's `evaluate` for one individual, and the same for many in one call of the evaluator."""

    def __init__(self, space: Space, evaluator: Evaluator) -> None:
        self.space, self.evaluator = space, evaluator
        self.weights = evaluator.weights
        self.worst = np.where(np.array(self.weights) > 0, -np.inf, np.inf)

    def __call__(self, individual: Individual) -> tuple[float, ...]:
        return self.batch([individual])[0]

    def batch(self, individuals: Sequence[Individual]) -> list[tuple[float, ...]]:
        population = Population.of(
            self.space.schema, [individual.genotype for individual in individuals], self.weights
        )
        self.score(population)
        return [tuple(row) for row in population.fitness]

    def score(self, population: Population) -> Evaluation:
        """Evaluate a population in place.

        Raises InputError where its weights are not those of the evaluator's objectives.
        """
        if population.weights != self.weights:
            raise InputError(
                f"objectives: a population of weights {population.weights} for an evaluator of "
                f"{listed(self.evaluator.objectives)}; it must have {self.weights}"
            )
        given = self.evaluator.evaluate(population)
        evaluation = checked_evaluation(given, len(population), self.evaluator.name)
        objectives = evaluation.objectives
        worst = np.broadcast_to(self.worst, objectives.shape[:1] + self.worst.shape)
        if np.isnan(objectives).any() and objectives.shape == worst.shape:
            objectives = np.where(np.isnan(objectives), worst, objectives)
        population.judge(objectives, evaluation.status)
        return evaluation


def batch_map(function: Callable[..., Any], *iterables: Iterable[Any]) -> list[Any]:
    """Like map, but `Evaluate` gets the whole list at once."""
    inner = function.func if isinstance(function, partial) else function
    return (
        inner.batch(list(iterables[0]))
        if isinstance(inner, Evaluate)
        else list(map(function, *iterables))
    )


def toolbox(space: Space, evaluator: Evaluator, tournsize: int = 10) -> base.Toolbox:
    """A DEAP toolbox for one space and evaluator, whose objectives' weights it takes.

    DEAP's own operators draw from Python's global `random`, as they always do.
    """
    evaluate, weights = Evaluate(space, evaluator), evaluator.weights
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
        one.genotype, other.genotype = space.mate(
            random.Random(random.getrandbits(64)), one.genotype, other.genotype
        )
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
    box.register(
        "initial",
        lambda streams, start_genotypes: space.initial(streams, start_genotypes).weighted(weights),
    )
    box.register(
        "vary",
        lambda population, parents, streams: space.mutate(population, parents, streams).weighted(
            weights
        ),
    )
    box.register(
        "cross",
        lambda population, pairs, streams: cross(space, population, pairs, streams).weighted(
            weights
        ),
    )
    box.register(
        "neighbours",
        lambda population: Population.of(
            space.schema, space.neighbours(population.genotype(0))
        ).weighted(weights),
    )
    box.register("keys", space.keys)
    box.register("score", evaluate.score)
    box.register("empty", lambda size: Population(space.schema, size, weights=weights))
    if isinstance(evaluator.tasks, LayeredData):
        relax(box, space, evaluator.tasks, weights)
    else:
        box.register(
            "supernet",
            _no_supernet,
            "task: a supernet is trained on images, which this task does not give; digits does",
        )
    for name in space.tools:
        box.register(name, getattr(space, name))
    return box


def relax(box: base.Toolbox, space: Space, images: LayeredData, weights: tuple[float, ...]) -> None:
    """What strategies use that search in a supernet: `images()`, `supernet()`, `paths(genotype)`,
    `derive(strengths)`, `shared_weights(seed, ...)`, `fits(batch, mix)`.
    """
    if not isinstance(space, ArchitectureSpace):
        box.register(
            "supernet",
            _no_supernet,
            f"space: {space.name}: has no supernet; cell, nasbench201 and mobile have one",
        )
        return

    @cache
    def supernet() -> Supernet:
        return space.supernet(images.size, images.head.outputs)

    def fresh(seed: int, **how: Any) -> SharedWeights:
        return shared_weights(supernet(), seed, loss=images.head.loss, **how)

    def fits(batch: int, mix: np.ndarray | None = None) -> None:
        """Raise InputError where a step of so many images needs more memory than there is: with all
        options, or with those of a mix.
        """
        check_step(supernet(), batch, "strategy.batch", mix)

    box.register("images", lambda: images)
    box.register("supernet", supernet)
    box.register("shared_weights", fresh)
    box.register("fits", fits)
    box.register("paths", space.paths)
    box.register(
        "derive",
        lambda strengths: Population.of(space.schema, [space.derive(strengths)]).weighted(weights),
    )


def _no_supernet(why: str) -> None:
    raise InputError(why)


def cross(
    space: Space, population: Population, pairs: np.ndarray, streams: np.ndarray
) -> Population:
    """The first child of each pair of parents, [n, 2] indices into `population`."""
    children = [
        space.mate(
            generator(stream), population.genotype(int(one)), population.genotype(int(other))
        )[0]
        for (one, other), stream in zip(pairs, streams, strict=True)
    ]
    return Population.of(space.schema, children)


def _stream() -> np.ndarray:
    return np.array([random.getrandbits(64)], np.uint64)
