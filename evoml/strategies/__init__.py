"""Search strategies: how a space is explored. One file a strategy, with `Settings` and a class `Strategy`.

A strategy is asked for candidates and told what they scored; it sees the toolbox and nothing else.
"""

from typing import Any

import numpy as np

from evoml.population import Population


class Ring:
    """The last P individuals, a newcomer in place of the oldest; what strategies with a living population share."""

    def __init__(self, population: Population) -> None:
        self.population = population  # by place, not by age; see `alive`
        self.told = 0  # individuals that ever entered

    def tell(self, evaluated: Population) -> None:
        """Take in at most P evaluated individuals, each in place of the oldest."""
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        self.population.put(evaluated.birth % len(self.population), evaluated)
        self.told += len(evaluated)

    @property
    def alive(self) -> Population:
        """The population, oldest first."""
        if self.told < len(self.population):
            return self.population[: self.told]
        return self.population.take(np.roll(np.arange(len(self.population)), -(self.told % len(self.population))))

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and under `arrays` what is stored as arrays."""
        return {"told": self.told, "arrays": self.population.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.told = state["told"]
        self.population.load(state["arrays"])
