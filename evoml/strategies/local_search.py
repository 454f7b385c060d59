"""Local search: steepest ascent from random starts, restarted where no neighbour is better.

White, Nolen, Savani 2020, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021,
arXiv 2005.02960: all neighbours of a point are evaluated, the best one is moved to where it is
better. No candidate is evaluated twice: what is known is remembered by canonical key.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from deap import base
from pydantic import Field

from evoml.contracts.strategy import OneAtATime, OneAtATimeSettings, check_counts
from evoml.core.streams import INITIAL, SELECT, generator, outputs, streams
from evoml.genotypes.population import OK, Population
from evoml.genotypes.schema import Genotype

DRAWS = 200  # of a random start that is not known yet; then the space counts as exhausted


class Settings(OneAtATimeSettings):
    """The number of neighbours that are looked at."""

    neighbours: int = Field(
        0, ge=0, description="most neighbours of a point to evaluate, in random order; 0: all"
    )


class LocalSearch(OneAtATime):
    """One point and its neighbours."""

    settings: Settings

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        super().__init__(toolbox, settings, seed, start_genotypes)
        # id and objectives by key, of everyone who was told
        self.known: dict[str, list[float]] = {}
        self.starts = 0  # given genotypes that were taken for one
        self.point: Population = toolbox.empty(0)  # where the search stands
        self.around: Population = toolbox.empty(0)  # its neighbours that are known by now
        self.queue: Population = toolbox.empty(0)  # its neighbours to ask for

    def ask(self, ids: np.ndarray) -> Population:
        """The next neighbour, or a random start; nothing while what was asked has to be told
        first.
        """
        if not len(self.queue) and self.asked > self.told:
            return self.queue
        if not len(self.queue):
            self._move(int(ids[0]))
        if len(self.queue):
            out, self.queue = self.queue[:1], self.queue[1:]
        else:
            out = self._start(int(ids[0]))
        if len(out):
            out.ids[:] = ids[0]
            self.asked += 1
        return out

    def _start(self, id: int) -> Population:
        """A given genotype, or a random one, that is not known; nobody where there seems to be
        none.
        """
        for draw in range(DRAWS + len(self.start_genotypes)):
            stream = outputs(streams(self.seed, INITIAL, np.array([id])), np.array([draw]))
            given = self.start_genotypes[self.starts :][:1]
            self.starts += len(given)
            out: Population = (
                self.toolbox.initial(stream, given) if given else self.toolbox.random(stream)
            )
            if self.toolbox.keys(out)[0] not in self.known:
                return out
        return self.toolbox.empty(0)

    def _move(self, id: int) -> None:
        """Everything around the point is known: go to the best of it and queue its neighbours, or
        leave for a new start.
        """
        if not len(self.around):
            return
        best = int(self.around.quality.argmax())
        better = not len(self.point) or self.around.quality[best] > self.point.quality[0]
        if not better:
            self.point = self.around = self.toolbox.empty(0)
            return
        self.point, self.around = self.around.take([best]), self.toolbox.empty(0)
        everyone = self.toolbox.neighbours(self.point)
        keys = self.toolbox.keys(everyone)
        order = list(range(len(everyone)))
        generator(int(streams(self.seed, SELECT, np.array([id]))[0])).shuffle(order)
        fresh: dict[str, int] = {}
        seen = []
        for index in order[: self.settings.neighbours or None]:
            if keys[index] in self.known:
                seen.append(index)
            else:
                fresh.setdefault(keys[index], index)
        self.queue = everyone.take(np.array(list(fresh.values()), np.int64))
        self.queue.parents[:, 0] = self.point.ids[0]
        self.around = everyone.take(np.array(seen, np.int64))
        for place, index in enumerate(seen):
            self.around.ids[place], *self.around.fitness[place] = self.known[keys[index]]
        self.around.status[:] = OK
        if not len(self.queue):
            self._move(id)

    def tell(self, evaluated: Population) -> None:
        """Remember what a candidate scored."""
        self._entered(evaluated)
        for key, id, objectives in zip(
            self.toolbox.keys(evaluated),
            evaluated.ids.tolist(),
            evaluated.fitness.tolist(),
            strict=True,
        ):
            self.known[key] = [id, *objectives]
        self.around = Population.joined([self.around, evaluated])

    @property
    def alive(self) -> Population:
        """The point and what is known around it."""
        return self.point if len(self.point) else self.around

    def migrants(self, count: int, number: int) -> Population:
        """Nothing: every search climbs its own hill."""
        return self.toolbox.empty(0)

    def state_dict(self) -> dict[str, Any]:
        people = {name: getattr(self, name).state() for name in ("point", "around", "queue")}
        return {
            "asked": self.asked,
            "told": self.told,
            "starts": self.starts,
            "known": dict(self.known),
            **people,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked, self.told = check_counts(state["asked"], state["told"])
        _, self.starts = check_counts(0, state["starts"])
        schema, weights = self.point.schema, self.point.weights
        self.known = {
            str(key): [int(id), *map(float, objectives)]
            for key, (id, *objectives) in state["known"].items()
        }
        if any(
            len(each) != 1 + len(weights) or np.isnan(each).any() for each in self.known.values()
        ):
            raise ValueError("not objectives")
        for name in ("point", "around", "queue"):
            setattr(self, name, Population.from_state(schema, state[name], weights))
