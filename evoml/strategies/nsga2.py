"""NSGA-II: evolution by non-dominated sorting and crowding, for accuracy against size or latency.

Deb, Pratap, Agarwal, Meyarivan 2002, "A Fast and Elitist Multiobjective Genetic Algorithm:
NSGA-II", IEEE TEC 6(2); for architectures Lu et al. 2019, "NSGA-Net", GECCO, arXiv 1810.03522.
Sorting, crowding and survivor selection are DEAP's. Departure: children are bred one by one from
the parents of the moment, so that slots stay busy between two generations; the first children of a
generation may come from the parents of the one before.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import base, tools
from pydantic import Field

from evoml.contracts.strategy import OneAtATime, OneAtATimeSettings, check_counts, first_population
from evoml.core.streams import SELECT, VARY, below, outputs, streams
from evoml.genotypes.population import OK, Population
from evoml.genotypes.schema import Genotype


class Settings(OneAtATimeSettings):
    """Population and crossover."""

    population: int = Field(
        40, ge=4, le=100_000, description="parents that survive a generation, and children in it"
    )
    crossover: float = Field(
        0.5, ge=0, le=1, description="share of children that have two parents; all are mutated"
    )

    @property
    def alive(self) -> int:
        return self.population


class NSGA2(OneAtATime):
    """Generations of parents and children."""

    settings: Settings

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        super().__init__(toolbox, settings, seed, start_genotypes)
        self.parents: Population = toolbox.empty(0)
        self.children: Population = toolbox.empty(0)
        self._order: np.ndarray | None = None

    def ask(self, ids: np.ndarray) -> Population:
        """Candidates with these ids, not evaluated: the first population, then children.

        May give fewer than asked for.
        """
        size = self.settings.population
        if self.asked < size:
            ids = ids[: size - self.asked]
            out = first_population(self.toolbox, self.seed, ids, self.start_genotypes, self.asked)
        elif not len(self.alive):
            return self.alive
        else:
            pool = self.alive
            pairs = self._select(streams(self.seed, SELECT, ids))
            out = self.toolbox.vary(pool, pairs[:, 0], streams(self.seed, VARY, ids))
            out.parents[:, 0] = pool.ids[pairs[:, 0]]
            draws = outputs(streams(self.seed, SELECT, ids)[:, None], np.array([5, 6]))
            crossed = np.flatnonzero(
                (draws[:, 0] >> np.uint64(11)) * 2.0**-53 < self.settings.crossover
            )
            if len(crossed):
                mixed = self.toolbox.cross(pool, pairs[crossed], draws[crossed, 1])
                twice = self.toolbox.vary(
                    mixed, np.arange(len(crossed)), streams(self.seed, VARY, ids[crossed])
                )
                twice.parents[:] = pool.ids[pairs[crossed]]
                out.put(crossed, twice)
        self.asked += len(ids)
        out.ids[:] = ids
        return out

    def _select(self, draws: np.ndarray) -> np.ndarray:
        """Two winners of binary tournaments each, [n, 2]: the lower front, then the less
        crowded.
        """
        # of the entrants: a draw of ranks is a draw of members
        ranks = below(draws, 4, len(self.order)).reshape(-1, 2, 2)
        winners: np.ndarray = self.order[ranks.min(axis=2)]
        return winners

    @property
    def order(self) -> np.ndarray:
        """Everyone alive, best first."""
        if self._order is None:
            people = individuals(self.alive)
            place = {id(member): index for index, member in enumerate(people)}
            ranked: list[tuple[int, float, int]] = []
            for rank, front in enumerate(tools.sortNondominated(people, len(people))):
                tools.emo.assignCrowdingDist(front)
                ranked += [
                    (rank, -member.fitness.crowding_dist, place[id(member)]) for member in front
                ]
            self._order = np.array([index for *_, index in sorted(ranked)], np.int64)
        return self._order

    def tell(self, evaluated: Population) -> None:
        """Take in children; when a generation of them is there, parents and children compete."""
        self._entered(evaluated)
        self.children = Population.joined([self.children, evaluated])
        size = self.settings.population
        if len(self.children) >= size:
            everyone = Population.joined([self.parents, self.children])
            people = individuals(everyone)
            place = {id(member): index for index, member in enumerate(people)}
            self.parents = everyone.take(
                np.array(sorted(place[id(member)] for member in tools.selNSGA2(people, size)))
            )
            self.children, self._order = self.toolbox.empty(0), None
        elif not len(self.parents):
            self._order = None

    @property
    def alive(self) -> Population:
        """The parents, or the first population as far as it is known."""
        return self.parents if len(self.parents) else self.children

    def migrants(self, count: int, number: int) -> Population:
        """The best of the first front."""
        return self.alive.take(self.order[: min(count, len(self.order) // 2)])

    def state_dict(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "told": self.told,
            "parents": self.parents.state(),
            "children": self.children.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked, self.told = check_counts(state["asked"], state["told"])
        schema, weights = self.parents.schema, self.parents.weights
        self.parents, self.children = (
            Population.from_state(schema, state[name], weights) for name in ("parents", "children")
        )
        if (
            len(self.parents) not in (0, self.settings.population)
            or len(self.children) >= self.settings.population
        ):
            raise ValueError("not the members of this population")
        self._order = None


def individuals(population: Population) -> list[Any]:
    """Members as DEAP sees them; one that failed is behind everyone who did not, at a finite
    distance, so that crowding stays a number.
    """
    people = list(population)
    ok = population.fitness[population.status == OK]
    ok = ok[np.isfinite(ok).all(axis=1)] if len(ok) else ok
    weights = np.array(population.weights)
    worst = (
        np.where(weights > 0, ok.min(axis=0, initial=0.0) - 1, ok.max(axis=0, initial=0.0) + 1)
        if len(ok)
        else -weights
    )
    for index, member in enumerate(people):
        if population.status[index] != OK or not np.isfinite(population.fitness[index]).all():
            member.fitness.values = tuple(worst)
    return people
