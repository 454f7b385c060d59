"""Tournament selection in a population from which nobody goes (hierarchical NAS).

Liu, Simonyan, Vinyals, Fernando, Kavukcuoglu 2018, "Hierarchical Representations for Efficient
Architecture Search", ICLR, arXiv 1711.00436: the fittest of a random 5 % of the population is
mutated and its child added. The first population is what the space calls initial. Departure:
entrants are drawn with replacement.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import base
from pydantic import Field

from evoml.contracts.strategy import OneAtATime, OneAtATimeSettings, check_counts, first_population
from evoml.core.streams import MIGRATE, SELECT, VARY, streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.strategies.aging_evolution import select


class Settings(OneAtATimeSettings):
    """The first population, and the share of all that a tournament draws."""

    population: int = Field(
        200, ge=2, le=1_000_000, description="individuals before the first child"
    )
    share: float = Field(
        0.05, gt=0, le=1, description="of everyone so far, drawn for a tournament, at least two"
    )

    @property
    def alive(self) -> int:
        return self.population


class TournamentSelection(OneAtATime):
    """Children of tournament winners, in a population that grows."""

    settings: Settings

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        super().__init__(toolbox, settings, seed, start_genotypes)
        self.room: Population = toolbox.empty(settings.population)

    @property
    def alive(self) -> Population:
        """Everyone, oldest first."""
        return self.room[: self.told]

    def ask(self, ids: np.ndarray) -> Population:
        """Candidates with these ids, not evaluated: the first population, then children.

        May give fewer than asked for.
        """
        first = min(self.settings.population - self.asked, len(ids))
        if first > 0:
            ids = ids[:first]
            out = first_population(self.toolbox, self.seed, ids, self.start_genotypes, self.asked)
        elif not self.told:
            return self.room[:0]
        else:
            entrants = max(2, round(self.settings.share * self.told))
            parents = select(self.room, streams(self.seed, SELECT, ids), entrants, self.told)
            out = self.toolbox.vary(self.room, parents, streams(self.seed, VARY, ids))
            out.parents[:, 0] = self.room.ids[parents]
        self.asked += len(ids)
        out.ids[:] = ids
        return out

    def tell(self, evaluated: Population) -> None:
        """Add evaluated individuals."""
        if self.told + len(evaluated) > len(self.room):
            larger = self.toolbox.empty(2 * (self.told + len(evaluated)))
            larger.put(np.arange(self.told), self.alive)
            self.room = larger
        self._entered(evaluated)
        self.room.put(evaluated.birth, evaluated)

    def migrants(self, count: int, number: int) -> Population:
        """Winners of tournaments, to be sent elsewhere."""
        count = min(count, self.told // 2)
        draws = streams(self.seed, MIGRATE, number * count + np.arange(count))
        return self.room.take(select(self.room, draws, 2, self.told)) if count else self.room[:0]

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked, "told": self.told, "arrays": self.alive.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked, told = check_counts(state["asked"], state["told"])
        members = Population.from_state(self.room.schema, state["arrays"], self.room.weights)
        if len(members) != told:
            raise ValueError("not the members of this population")
        self.told = 0
        births = members.birth.copy()
        self.tell(members)
        self.room.birth[:told] = births
