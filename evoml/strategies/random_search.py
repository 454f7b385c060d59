"""Random search: every candidate is drawn anew. The baseline that any other strategy has to beat.

Li, Talwalkar 2019, "Random Search and Reproducibility for Neural Architecture Search", UAI, arXiv
1902.07638. The population it shows is the last `population` candidates.
"""

from collections.abc import Sequence

import numpy as np
from deap import base
from pydantic import Field

from evoml.contracts.strategy import AgingPopulation, StrategySettings
from evoml.core.errors import InputError
from evoml.core.streams import INITIAL, streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype


class Settings(StrategySettings):
    """Nothing is learnt, so there is little to set."""

    population: int = Field(
        100, ge=2, le=1_000_000, description="candidates kept for snapshots and statistics"
    )
    block: int = Field(100, ge=1, description="candidates drawn and scored in one call")

    @property
    def candidates(self) -> int:
        return min(self.block, self.population)

    @property
    def alive(self) -> int:
        return self.population


class RandomSearch(AgingPopulation):
    """Independent draws from the space."""

    evolves = False

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        if start_genotypes:
            raise InputError(
                "start: random_search starts from nothing; aging_evolution takes given genotypes"
            )
        super().__init__(toolbox, settings, seed)

    def ask(self, ids: np.ndarray) -> Population:
        """Random candidates with these ids, not evaluated."""
        out: Population = self.toolbox.random(streams(self.seed, INITIAL, ids))
        out.ids[:] = ids
        return out
