"""Search strategies: how a space is explored. One file a strategy, with `Settings` and a class `Strategy`.

A strategy is asked for candidates and told what they scored; it sees the toolbox and nothing else. The loops use `block` (candidates
to ask for at once), `ask(ids)` (which may give fewer, and none where it has to be told more first), `tell(evaluated)`, `alive` (what a snapshot shows), `fitness` (of those), `migrants(count, number)`, `state_dict()` and
`load_state_dict(state)`, which raises ValueError for a state that does not fit. The settings' `candidates` is the block's size, from which
`backend = "auto"` is decided.
"""

from typing import Any

import numpy as np

from evoml.population import Population


def check_counts(asked: Any, told: Any) -> tuple[int, int]:
    """Two counters of a stored state. Raises ValueError where they are none."""
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in (asked, told)):
        raise ValueError("not counts")
    return asked, told


class Ring:
    """The last P individuals, a newcomer in place of the oldest; what strategies with a living population share."""

    def __init__(self, population: Population) -> None:
        self.population = population  # by place, not by age; see `alive`
        self.asked = self.told = 0  # individuals that ever were proposed, and that ever entered

    def tell(self, evaluated: Population) -> None:
        """Take in at most P evaluated individuals, each in place of the oldest."""
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        self.population.put(evaluated.birth % len(self.population), evaluated)
        self.told += len(evaluated)

    @property
    def members(self) -> Population:
        """The population by place, without places that nobody has taken yet."""
        return self.population if self.told >= len(self.population) else self.population[: self.told]

    @property
    def alive(self) -> Population:
        """The population, oldest first."""
        if self.told < len(self.population):
            return self.population[: self.told]
        return self.population.take(np.roll(np.arange(len(self.population)), -(self.told % len(self.population))))

    @property
    def fitness(self) -> np.ndarray:
        """The first objective of everyone alive, in no order."""
        return self.population.fitness[: self.told, 0]

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and under `arrays` what is stored as arrays: the members there are."""
        held = min(self.told, len(self.population))
        return {"asked": self.asked, "told": self.told, "arrays": {name: array[:held] for name, array in self.population.state().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        asked, told = check_counts(state.get("asked", state["told"]), state["told"])
        mine = self.population
        members = Population.from_state(mine.schema, state["arrays"], mine.weights)
        if len(members) != min(told, len(mine)) or any(a.shape[1] != b.shape[1] for a, b in zip(members.tables, mine.tables, strict=True)):
            raise ValueError("not the members of this population")
        self.asked, self.told = asked, told
        mine.put(np.arange(len(members)), members)
