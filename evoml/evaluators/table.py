"""Answers from a benchmark's table: what a candidate scored when it was trained, and how long that took.

Ying et al. 2019, "NAS-Bench-101", arXiv 1902.09635; Dong et al. 2021, "NATS-Bench", arXiv 2009.00437. The time is simulated: with `search.training_seconds` a search
ends as if it had trained. NATS-Bench's protocol is 20,000 s on CIFAR-10 and 40,000 s on CIFAR-100 with `val12`. What `test` reports, no search sees, but for NAS-Bench-101, whose file
holds one accuracy: the search sees what is reported.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.streams import below
from evoml.evaluators import Evaluation, Outcome, Single, weight
from evoml.genotypes.population import OK
from evoml.genotypes.schema import Genotype
from evoml.tasks.table import Table


class Settings(settings.Settings):
    """What the search gets to know."""

    feedback: Literal["auto", "val12", "val200", "val200_seed", "test108"] = Field(
        "auto",
        description="accuracy after 12 or 200 epochs (the mean of the seeds, or one, drawn for each candidate) in nasbench201, after 108 in nasbench101; "
        "auto: val12 or test108",
    )
    objectives: tuple[str, ...] = Field(
        ("accuracy",), min_length=1, description="accuracy, then what else counts: parameters, latency, or a hardware column by its name"
    )


class Evaluator(Single):
    """Look-ups in one table."""

    costly = False
    task = "table"

    def __init__(self, settings: Settings, tasks: Table, space: Any, backend: str = "") -> None:
        """Raises InputError where table, space and settings do not fit together."""
        if not isinstance(tasks, Table):
            raise InputError("evaluator: table answers from a benchmark, which this task does not give; task table does")
        name = getattr(space, "name", type(space).__module__.rpartition(".")[2])
        if name != tasks.space:
            raise InputError(f"evaluator: table answers for {tasks.space} with {tasks.where}, not for space {name}")
        self.settings, self.tasks, self.space = settings, tasks, space
        self.objectives = _objectives(settings, tasks)
        self.weights = tuple(map(weight, self.objectives))
        feedback = next(iter(tasks.feedback)) if settings.feedback == "auto" else settings.feedback
        if feedback not in tasks.feedback:
            raise InputError(f"evaluator.feedback: {feedback}: not in {tasks.where}; there are {', '.join(tasks.feedback)}")
        self.counts = {"candidates": 0, "steps": 0}
        codes = space.row_codes(tasks.cells)
        self._order = np.argsort(codes)
        self._codes = codes[self._order]  # [R] rising
        if (self._codes[1:] == self._codes[:-1]).any():
            raise InputError(f"{tasks.where}: a cell is in it twice")
        self._accuracy = tasks.feedback[feedback]
        self._seeds = (~np.isnan(self._accuracy)).sum(1) if self._accuracy.ndim == 2 else None
        self._seconds = tasks.seconds[feedback]
        self.timed = bool(self._seconds.any())
        self._others = (
            np.stack([tasks.columns[name] for name in self.objectives[1:]], 1) if self.objectives[1:] else np.zeros((len(tasks), 0))
        )

    def __call__(self, genotypes: Sequence[Genotype]) -> Evaluation:
        """Objectives of every genotype, [n, O]; a genotype's stream comes from its digest."""
        drawn = self._seeds is not None
        streams = np.array([int(genotype.digest(), 16) if drawn else 0 for genotype in genotypes], np.uint64)
        objectives, _ = self._look_up(genotypes, streams)
        return Evaluation(objectives, np.full(len(genotypes), OK, np.uint8), len(genotypes))

    def outcomes(self, genotypes: Sequence[Genotype], streams: Sequence[int] | np.ndarray) -> list[Outcome]:
        """One outcome a genotype, with simulated seconds; a seed is drawn from the stream where feedback is one seed's."""
        objectives, seconds = self._look_up(genotypes, np.asarray(streams, np.uint64))
        return [Outcome(tuple(values), OK, cost) for values, cost in zip(objectives.tolist(), seconds.tolist(), strict=True)]

    def test(self, genotype: Genotype) -> dict[str, float]:
        """The accuracy to report, and the other objectives as they are."""
        at = self.rows([genotype])[0]
        return dict(zip(self.objectives, map(float, (self.tasks.reported[at], *self._others[at])), strict=True))

    def rows(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Where they are in the table, [n]. Raises InputError for a cell that is not in it."""
        codes = self.space.table_codes(genotypes)
        at = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        if (missing := self._codes[at] != codes).any():
            raise InputError(f"{self.tasks.where}: not a complete table: no row for {genotypes[int(missing.argmax())].digest()}")
        out: np.ndarray = self._order[at]
        return out

    def _look_up(self, genotypes: Sequence[Genotype], streams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Objectives [n, O] and simulated seconds [n]."""
        at = self.rows(genotypes)
        self.counts = {name: count + len(at) for name, count in self.counts.items()}
        accuracy = self._accuracy[at]
        if self._seeds is not None:
            accuracy = accuracy[np.arange(len(at)), below(streams, 1, 2**31)[:, 0] % self._seeds[at]]
        return np.concatenate([accuracy[:, None], self._others[at]], 1), self._seconds[at]

    @staticmethod
    def exact(settings: Settings) -> Settings:
        """The same: a table knows no better."""
        return settings

    def warm(self) -> None:
        """Nothing is compiled."""


def _objectives(settings: Settings, table: Table) -> tuple[str, ...]:
    """The names of the objectives. Raises InputError for one that the table does not have."""
    names = tuple(settings.objectives)
    known = ("accuracy", *table.columns)
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"evaluator.objectives: {unknown[0]}: not in {table.where}; there are {', '.join(known)}")
    if names[0] != "accuracy" or len(set(names)) < len(names):
        raise InputError(f"evaluator.objectives: {', '.join(names)}: must be accuracy first, and each name once")
    return names
