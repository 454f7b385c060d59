"""The ancestors of a generation, so that what is kept of it can be followed back.

Kept is the line of first parents of everyone alive: lines meet going back, so that these are few.
Both parents' lines together would be nearly everyone who ever lived.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from evoml.genotypes.population import Population

LEAST = 4096  # ancestors below which nothing is looked for that may be forgotten


class Ancestry:
    """Ancestors of the living, none of them alive, in the order of their ids, which rise."""

    def __init__(self, nobody: Population, columns: tuple[str, ...]) -> None:
        """nobody: an empty population of the kind. columns: what rows say of them beside."""
        self.population = nobody
        none = np.zeros(0, np.int64)
        # of each, [A]: what rows say of it, and whether it is in the archive as an ancestor
        self.columns = dict.fromkeys(columns, none) | {"archived": none}
        # mothers of the last generations, which are not taken in yet: a copy of all costs
        self._fresh: list[tuple[Population, dict[str, np.ndarray]]] = []
        self._trunk = 0  # the first so many are one line, which all others come from
        self._limit = LEAST

    def replaced(
        self, before: Population, values: Mapping[str, np.ndarray], after: Population
    ) -> None:
        """A generation has taken the place of the one before. values: columns of that, [P] each."""
        is_mother = np.zeros(len(before), bool)
        if len(before):
            order = np.argsort(before.ids)
            mothers = after.parents[after.parents[:, 0] >= 0, 0]
            is_mother[order[np.searchsorted(before.ids, mothers, sorter=order)]] = True
        kept = np.flatnonzero(is_mother)
        if len(kept):
            own = {name: values[name][kept] for name in values if name in self.columns}
            own["archived"] = np.zeros(len(kept), np.int64)
            self._fresh.append((before.take(kept), own))
        if len(self.population) + sum(len(each) for each, _ in self._fresh) > self._limit:
            self._take_in()
            self._forget(self._reached(after.parents[:, 0]))
            self._limit = max(LEAST, 2 * len(self.population))

    def line(self, parents: np.ndarray) -> tuple[Population, dict[str, np.ndarray]]:
        """The ancestors behind these first parents that are not in the archive yet, and their
        columns; from now on they are.
        """
        self._take_in()
        archived = self.columns["archived"]
        at = np.flatnonzero(self._reached(parents) & (archived == 0))
        archived[at] = 1
        columns = {name: each[at] for name, each in self.columns.items() if name != "archived"}
        return self.population.take(at), columns

    def _take_in(self) -> None:
        """Put the mothers of the last generations behind the others."""
        if not self._fresh:
            return
        self.population = Population.joined([self.population, *(each for each, _ in self._fresh)])
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, *(own[name] for _, own in self._fresh)])
        self._fresh = []

    def _reached(self, ids: np.ndarray) -> np.ndarray:
        """Which ancestors the lines from these ids go through, [A] bool."""
        own, mothers = self.population.ids, self.population.parents[:, 0]
        out = np.zeros(len(own), bool)
        while len(own) and len(ids):
            at = np.minimum(np.searchsorted(own, ids), len(own) - 1)
            at = np.unique(at[(own[at] == ids) & ~out[at]])
            out[at] = True
            if len(at) and at[-1] < self._trunk:
                out[: at[-1] + 1] = True
                break
            ids = mothers[at]
        return out

    def _forget(self, reached: np.ndarray) -> None:
        self.population = self.population.take(np.flatnonzero(reached))
        self.columns = {name: each[reached] for name, each in self.columns.items()}
        self._measure()

    def _measure(self) -> None:
        """Find how far the one line goes that all others come from."""
        ids, mothers = self.population.ids, self.population.parents[:, 0]
        breaks = np.flatnonzero(mothers[1:] != ids[:-1])
        self._trunk = int(breaks[0]) + 1 if len(breaks) else len(ids)

    def state_dict(self) -> dict[str, Any]:
        """All of it, nested."""
        self._take_in()
        columns = dict(self.columns)
        return {"population": self.population.state(), "columns": columns, "limit": self._limit}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state. Raises ValueError or KeyError where it does not fit."""
        nobody = self.population
        self.population = Population.from_state(nobody.schema, state["population"], nobody.weights)
        self.columns = {name: np.array(state["columns"][name], np.int64) for name in self.columns}
        self._limit, count = int(state["limit"]), len(self.population)
        if any(each.shape != (count,) for each in self.columns.values()):
            raise ValueError("not the columns of these ancestors")
        if (np.diff(self.population.ids) <= 0).any():
            raise ValueError("not ancestors in the order of their ids")
        self._measure()
