"""Search strategies: how a space is explored. One file a strategy, with `Settings` and a class `Strategy`.

A strategy is asked for candidates and told what they scored; it sees the toolbox and nothing else. The loops use `block` (candidates
to ask for at once), `ask(ids)` (which may give fewer, and none where it has to be told more first), `tell(evaluated)`, `alive` (what a snapshot shows), `fitness` (of those), `migrants(count, number)`, `state_dict()` and
`load_state_dict(state)`, which raises ValueError for a state that does not fit. The settings' `candidates` is the block's size, from which
`backend = "auto"` is decided.

One that has to learn before there is a candidate has what such an evaluator has: `learning`, `learn()`, `step`, `total`, `net`, `score(genotype)` and `spent`. It searches again and again, and has besides `search` (the
number of the search in progress, that of its candidate), `unfinished` (whether the shared weights are those of a search that has not ended well), `diverged` and `failure` (the step at which it did,
and why in a line), `failed` (the searches that did) and `trained` (what was derived and then trained by itself).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import base

from evoml.core import settings
from evoml.core.streams import INITIAL, streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype


def check_counts(asked: Any, told: Any) -> tuple[int, int]:
    """Two counters of a stored state. Raises ValueError where they are none."""
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in (asked, told)):
        raise ValueError("not counts")
    return asked, told


def founders(toolbox: base.Toolbox, seed: int, ids: np.ndarray, given: Sequence[Genotype], asked: int) -> Population:
    """Members of the first population with these ids, `asked` of which are there already: the given genotypes in turn, else what the space says."""
    turn = asked % len(given) if given else 0
    out: Population = toolbox.initial(streams(seed, INITIAL, ids), [*given[turn:], *given[:turn]])
    out.ids[:] = ids
    return out


class SingleSettings(settings.Settings):
    """Of strategies that are asked for one candidate at a time."""

    @property
    def candidates(self) -> int:
        return 1


class Single:
    """What those share: all that they are made of, and counts of individuals that ever were proposed, and that ever were told."""

    block = 1

    def __init__(self, toolbox: base.Toolbox, settings: Any, seed: int, given: Sequence[Genotype] = ()) -> None:
        self.toolbox, self.settings, self.seed, self.given = toolbox, settings, seed, given
        self.asked = self.told = 0

    @property
    def alive(self) -> Population:
        """What a snapshot shows."""
        raise NotImplementedError

    @property
    def fitness(self) -> np.ndarray:
        """The first objective of everyone alive."""
        return self.alive.fitness[:, 0]

    def _entered(self, evaluated: Population) -> None:
        """Number those who are told in the order of their birth."""
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        self.told += len(evaluated)


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
