"""Aging evolution: tournament selection in a population from which the oldest goes (regularised
evolution).

Real, Aggarwal, Huang, Le 2019, "Regularized Evolution for Image Classifier Architecture Search",
AAAI, arXiv 1802.01548; used unchanged by AutoML-Zero (arXiv 2003.03384). Departure: children are
bred in blocks much smaller than the population, all of a block from the population before it, so
that they can be bred and scored in one compiled call; `block = 1` is the published order exactly.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from deap import algorithms, base, tools
from pydantic import Field

from evoml.contracts.strategy import AgingPopulation, StrategySettings, first_population
from evoml.core.streams import MIGRATE, SELECT, VARY, below, streams
from evoml.genotypes.population import Population


class Settings(StrategySettings):
    """Population P and tournament T of the paper."""

    population: int = Field(100, ge=2, le=1_000_000, description="P, individuals alive")
    tournament: int = Field(
        10, ge=1, le=10_000, description="T, drawn with replacement from the whole population"
    )
    replace: Literal["oldest", "worst"] = Field(
        "oldest",
        description="who goes when a newcomer comes; worst, the oldest of equals, is evolution "
        "without aging",
    )
    block: int = Field(
        0,
        ge=0,
        description="children bred from one state of the population; 0: a tenth of it, at most 100",
    )

    @property
    def candidates(self) -> int:
        return min(self.block or min(max(self.population // 10, 1), 100), self.population)

    @property
    def alive(self) -> int:
        return self.population


class AgingEvolution(AgingPopulation):
    """Children of tournament winners. Candidate i draws from its own stream only."""

    settings: Settings

    def ask(self, ids: np.ndarray) -> Population:
        """Candidates with these ids, not evaluated: the first population, then children.

        May give fewer than asked for.
        """
        asked = max(self.asked, self.told)
        first = min(self.settings.population - asked, len(ids))
        if first <= 0 and not self.told:
            return self.population[:0]
        self.asked = asked + (first if first > 0 else len(ids))
        if first > 0:
            return first_population(
                self.toolbox, self.seed, ids[:first], self.start_genotypes, asked
            )
        parents = select(
            self.population, streams(self.seed, SELECT, ids), self.settings.tournament, self.told
        )
        out: Population = self.toolbox.vary(self.population, parents, streams(self.seed, VARY, ids))
        out.ids[:] = ids
        out.parents[:, 0] = self.population.ids[parents]
        return out

    def tell(self, evaluated: Population) -> None:
        """Take in evaluated individuals, each in place of the oldest or of the worst."""
        if self.settings.replace == "oldest":
            super().tell(evaluated)
            return
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        for index in range(len(evaluated)):
            self.population.put(np.array([self._place()]), evaluated[index : index + 1])
            self.told += 1

    def _place(self) -> int:
        """The first that is free, else that of the worst, the oldest of equals."""
        if self.told < len(self.population):
            return self.told
        quality = self.population.quality
        worst = np.flatnonzero(quality == quality.min())
        return int(worst[self.population.birth[worst].argmin()])

    @property
    def alive(self) -> Population:
        """The population, oldest first."""
        members = self.members
        return (
            super().alive
            if self.settings.replace == "oldest"
            else members.take(np.argsort(members.birth))
        )

    def migrants(self, count: int, number: int) -> Population:
        """At most `count` winners of tournaments, to be sent elsewhere.

        number: tells apart the draws of different migrations.
        """
        count = min(count, len(self.population) // 2) if self.told >= len(self.population) else 0
        draws = streams(self.seed, MIGRATE, number * count + np.arange(count))
        return self.population.take(select(self.population, draws, self.settings.tournament))


def select(
    population: Population, draws: np.ndarray, tournament: int, among: int | None = None
) -> np.ndarray:
    """Winners of one tournament a stream, as indices [n]: the best weighted fitness of `tournament`
    draws, the first drawn of equals.

    among: how many members, the first ones, may be drawn; default all.
    """
    entrants = below(
        draws, tournament, len(population) if among is None else min(among, len(population))
    )
    return entrants[np.arange(len(draws)), population.quality[entrants].argmax(1)]


def selYoungest(individuals: Sequence[Any], k: int, birth_attr: str = "birth") -> list[Any]:
    """Survivor selection of aging evolution in DEAP's style: the `k` individuals born last, oldest
    of them first.
    """
    return sorted(individuals, key=lambda individual: getattr(individual, birth_attr))[
        len(individuals) - k :
    ]


def eaAging(
    population: list[Any],
    toolbox: base.Toolbox,
    lambda_: int,
    cxpb: float,
    mutpb: float,
    ngen: int,
    stats: tools.Statistics | None = None,
    halloffame: tools.HallOfFame | None = None,
    verbose: bool = __debug__,
    after: Callable[[int, list[Any]], None] | None = None,
) -> tuple[list[Any], tools.Logbook]:
    """Aging evolution in the manner of DEAP's algorithms, on any DEAP individuals; `lambda_ = 1` is
    the published algorithm.

    In every generation `toolbox.select` (a tournament) chooses `lambda_` parents,
    `algorithms.varAnd` varies them, and the `lambda_` oldest individuals die. Individuals get an
    attribute `birth`; the youngest has the largest. The toolbox must have `select`, `mate`,
    `mutate`, `evaluate` and `map`. `after(gen, population)` is called after every generation.
    Returns the population, oldest first, and a logbook.
    """
    logbook = tools.Logbook()
    logbook.header = ["gen", "nevals", *(stats.fields if stats else [])]

    def settle(newcomers: list[Any], born: int, gen: int) -> None:
        invalid = [individual for individual in newcomers if not individual.fitness.valid]
        for individual, values in zip(invalid, toolbox.map(toolbox.evaluate, invalid), strict=True):
            individual.fitness.values = values
        for number, individual in enumerate(newcomers):
            individual.birth = born + number
        population[:] = selYoungest(
            [*population, *newcomers] if gen else newcomers, len(population)
        )
        if halloffame is not None:
            halloffame.update(newcomers)
        logbook.record(gen=gen, nevals=len(invalid), **(stats.compile(population) if stats else {}))
        if verbose:
            print(logbook.stream)
        if after is not None:
            after(gen, population)

    settle(list(population), 0, 0)
    for gen in range(1, ngen + 1):
        offspring = algorithms.varAnd(toolbox.select(population, lambda_), toolbox, cxpb, mutpb)
        settle(offspring, len(population) + (gen - 1) * lambda_, gen)
    return population, logbook
