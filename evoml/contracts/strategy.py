"""A search strategy: how a space is explored, by asking and telling."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from deap import base

from evoml.contracts.learner import Learner
from evoml.contracts.part import Part
from evoml.core import settings
from evoml.core.streams import INITIAL, streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import OPEN, Genotype


class StrategySettings(settings.Settings):
    """Settings that loops look at, whatever the strategy."""

    @property
    def candidates(self) -> int:
        """Candidates that are asked for in one call, from which `backend = "auto"` is decided."""
        return 0

    @property
    def alive(self) -> int:
        """Individuals of a full population; 0: there is no such number."""
        return 0


class Strategy(Part):
    """Is asked for candidates and told what they scored. It sees the toolbox and nothing else.

    A subclass gives `ask`, `tell`, `alive`, `state_dict` and `load_state_dict`. Whatever it draws
    derives from its seed and the ids of the candidates, so that the archive depends on neither time
    nor the number of workers. One that has to learn before there is a candidate is a `Learner` too.
    """

    # whether it is asked for whole generations of `settings.alive`
    generational: ClassVar[bool] = False
    # whether a population that is not yet full means that nothing evolves
    evolves: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ()  # tools that only some spaces have (`Space.tools`)
    # whether its epochs have probabilities of every option
    has_probabilities: ClassVar[bool] = False
    # what archived rows say of its candidates beside fitness: names of `row_values`
    row_columns: ClassVar[tuple[str, ...]] = ()
    block: int = 1  # candidates to ask for at once
    settings: Any

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Any,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        """settings: an instance of the module's `Settings`. given: what the first population is
        made of.

        Raises InputError where these do not fit together.
        """
        self.toolbox, self.settings, self.seed, self.start_genotypes = (
            toolbox,
            settings,
            seed,
            start_genotypes,
        )
        self.asked = self.told = 0  # individuals that ever were proposed, and that ever were told

    @property
    def learner(self) -> Learner | None:
        """This strategy where it has to learn before there is a candidate, else None."""
        return self if isinstance(self, Learner) else None

    def ask(self, ids: np.ndarray) -> Population:
        """Candidates with these ids, [n] int64, not evaluated.

        May give fewer, and none where it has to be told more first.
        """
        raise NotImplementedError

    def tell(self, evaluated: Population) -> None:
        """Take in evaluated candidates, in the order of their ids; numbers them by birth."""
        raise NotImplementedError

    @property
    def alive(self) -> Population:
        """Who lives: what a snapshot shows, what the end of a run archives."""
        raise NotImplementedError

    @property
    def fitness(self) -> np.ndarray:
        """The first objective of everyone alive, [P] float64."""
        return self.alive.fitness[:, 0]

    def row_values(self) -> Mapping[str, np.ndarray]:
        """What archived rows say of everyone alive beside fitness: whole numbers [P] by column, one
        for each of `row_columns`.
        """
        return {}

    def migrants(self, count: int, number: int) -> Population:
        """At most `count` individuals to be sent to another island; by default nobody.

        number: tells apart the draws of different migrations.
        """
        return self.alive[:0]

    def tested(self) -> np.ndarray:
        """Of a generation, who is to be tried on the selection tasks: indices into `alive`."""
        return np.arange(len(self.alive))

    def groups(self) -> list[dict[str, Any]]:
        """Species or what else the population is divided into, as plain values; none by default."""
        return []

    def warm(self) -> None:
        """Compile what proposing needs; called once before a search."""

    def state_dict(self) -> dict[str, Any]:
        """All that later candidates depend on: JSON values and arrays, nested."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state. Raises ValueError or KeyError for one that does not fit."""
        raise NotImplementedError


def check_counts(asked: Any, told: Any) -> tuple[int, int]:
    """Two counters of a stored state. Raises ValueError where they are none."""
    if not all(
        isinstance(count, int) and not isinstance(count, bool) and count >= 0
        for count in (asked, told)
    ):
        raise ValueError("not counts")
    return asked, told


def first_population(
    toolbox: base.Toolbox,
    seed: int,
    ids: np.ndarray,
    start_genotypes: Sequence[Genotype],
    asked: int,
) -> Population:
    """Members of the first population with these ids, `asked` of which are there already: the given
    genotypes in turn, else what the space says.
    """
    turn = asked % len(start_genotypes) if start_genotypes else 0
    out: Population = toolbox.initial(
        streams(seed, INITIAL, ids), [*start_genotypes[turn:], *start_genotypes[:turn]]
    )
    out.ids[:] = ids
    return out


class OneAtATimeSettings(StrategySettings):
    """Of strategies that are asked for one candidate at a time."""

    @property
    def candidates(self) -> int:
        return 1


class OneAtATime(Strategy):
    """What those share: the order of births."""

    def _entered(self, evaluated: Population) -> None:
        """Number those who are told in the order of their birth."""
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        self.told += len(evaluated)


class AgingPopulation(Strategy):
    """The last P individuals, a newcomer in place of the oldest; what strategies with a living
    population share.
    """

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Any,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        super().__init__(toolbox, settings, seed, start_genotypes)
        # by place, not by age; see `alive`
        self.population: Population = toolbox.empty(settings.population)
        self.block = settings.candidates

    def tell(self, evaluated: Population) -> None:
        """Take in at most P evaluated individuals, each in place of the oldest."""
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        self.population.put(evaluated.birth % len(self.population), evaluated)
        self.told += len(evaluated)

    @property
    def members(self) -> Population:
        """The population by place, without places that nobody has taken yet."""
        return (
            self.population if self.told >= len(self.population) else self.population[: self.told]
        )

    @property
    def alive(self) -> Population:
        """The population, oldest first."""
        if self.told < len(self.population):
            return self.population[: self.told]
        return self.population.take(
            np.roll(np.arange(len(self.population)), -(self.told % len(self.population)))
        )

    @property
    def fitness(self) -> np.ndarray:
        """The first objective of everyone alive, in no order."""
        return self.population.fitness[: self.told, 0]

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and under `arrays` what is stored as arrays: the members there are."""
        held = min(self.told, len(self.population))
        return {
            "asked": self.asked,
            "told": self.told,
            "arrays": {name: array[:held] for name, array in self.population.state().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        asked, told = check_counts(state.get("asked", state["told"]), state["told"])
        mine = self.population
        members = Population.from_state(mine.schema, state["arrays"], mine.weights)
        if len(members) != min(told, len(mine)) or any(
            a.shape[1] != b.shape[1] and table.most < OPEN
            for a, b, table in zip(members.tables, mine.tables, mine.schema.tables, strict=True)
        ):
            raise ValueError("not the members of this population")
        self.asked, self.told = asked, told
        mine.put(np.arange(len(members)), members)
