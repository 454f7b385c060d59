"""Answers from a benchmark's table: what a candidate scored when it was trained, and how long that
took.

Ying et al. 2019, "NAS-Bench-101", arXiv 1902.09635; Dong et al. 2021, "NATS-Bench", arXiv
2009.00437. The time is simulated: with `search.training_seconds` a search ends as if it had
trained. NATS-Bench's protocol is 20,000 s on CIFAR-10 and 40,000 s on CIFAR-100 with `val12`. What
`test` reports, no search sees, but for NAS-Bench-101, whose file holds one accuracy: the search
sees what is reported.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.objective import Objective
from evoml.contracts.task import Task
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.streams import below
from evoml.genotypes.population import OK, Population
from evoml.genotypes.schema import Genotype
from evoml.tasks.table import Table


class Settings(settings.Settings):
    """What the search gets to know."""

    feedback: Literal["auto", "val12", "val200", "val200_seed", "test108"] = Field(
        "auto",
        description="accuracy after 12 or 200 epochs (the mean of the seeds, or one, drawn for "
        "each candidate) in nasbench201, after 108 in nasbench101; auto: val12 or test108",
    )
    objectives: tuple[str, ...] = Field(
        ("accuracy",),
        min_length=1,
        description="accuracy, then what else counts: parameters, latency, or a hardware column by "
        "its name",
    )
    larger: tuple[str, ...] = Field(
        (), description="columns of which more is better, where their names do not say it"
    )
    smaller: tuple[str, ...] = Field(
        (), description="columns of which less is better, where their names do not say it"
    )

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if both := [name for name in self.larger if name in self.smaller]:
            raise ValueError(f"smaller: {both[0]}: is in evaluator.larger too; leave it out of one")
        if "accuracy" in self.smaller:
            raise ValueError("smaller: accuracy: more of it is better")
        return self


# Whether larger is better, and the unit, of columns that published tables have; others by how their
# names end.
COLUMNS = {
    "accuracy": (True, ""),
    "parameters": (False, "parameters"),
    "latency": (False, "s"),
    "eyeriss_arithmetic_intensity": (True, ""),
}
ENDINGS = {"_latency": (False, "ms"), "_energy": (False, "mJ")}


class TableEvaluator(CandidateEvaluator):
    """Look-ups in one table."""

    example = None
    task = "table"

    def __init__(self, settings: Settings, tasks: Table, space: Any, backend: str = "") -> None:
        """Raises InputError where table, space and settings do not fit together."""
        if not isinstance(tasks, Table):
            raise InputError(
                "evaluator: table answers from a benchmark, which this task does not give; task "
                "table does"
            )
        if space.name != tasks.space:
            raise InputError(
                f"evaluator: table answers for {tasks.space} with {tasks.where}, not for space "
                f"{space.name}"
            )
        self.settings, self.tasks, self.space = settings, tasks, space
        self.objectives = _objectives(settings, tasks)
        feedback = next(iter(tasks.feedback)) if settings.feedback == "auto" else settings.feedback
        if feedback not in tasks.feedback:
            raise InputError(
                f"evaluator.feedback: {feedback}: not in {tasks.where}; there are "
                f"{', '.join(tasks.feedback)}"
            )
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
            np.stack(
                [
                    _worst_for_missing(tasks.columns[each.name], each)
                    for each in self.objectives[1:]
                ],
                1,
            )
            if self.objectives[1:]
            else np.zeros((len(tasks), 0))
        )

    @classmethod
    def objectives_of(cls, settings: Settings, task: type[Task]) -> tuple[Objective, ...]:
        """Raises InputError for a column of which nobody says whether larger is better."""
        return tuple(_objective(name, settings) for name in settings.objectives)

    def evaluate(self, population: Population, streams: np.ndarray | None = None) -> Evaluation:
        """Simulated seconds too; a seed is drawn from the stream where feedback is one seed's."""
        genotypes = [population.genotype(index) for index in range(len(population))]
        if streams is None:
            drawn = self._seeds is not None
            streams = np.array(
                [int(genotype.digest(), 16) if drawn else 0 for genotype in genotypes], np.uint64
            )
        objectives, seconds = self._look_up(genotypes, np.asarray(streams, np.uint64))
        return Evaluation(
            objectives, np.full(len(genotypes), OK, np.uint8), len(genotypes), seconds
        )

    def reported(self, genotype: Genotype) -> dict[str, float]:
        """The accuracy to report, and the other objectives as they are."""
        at = self.rows([genotype])[0]
        names = [each.name for each in self.objectives]
        return dict(
            zip(names, map(float, (self.tasks.reported[at], *self._others[at])), strict=True)
        )

    def rows(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """Where they are in the table, [n]. Raises InputError for a cell that is not in it."""
        codes = self.space.table_codes(genotypes)
        at = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        if (missing := self._codes[at] != codes).any():
            raise InputError(
                f"{self.tasks.where}: not a complete table: no row for "
                f"{genotypes[int(missing.argmax())].digest()}"
            )
        out: np.ndarray = self._order[at]
        return out

    def _look_up(
        self, genotypes: Sequence[Genotype], streams: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Objectives [n, O] and simulated seconds [n]."""
        at = self.rows(genotypes)
        self.counts = {name: count + len(at) for name, count in self.counts.items()}
        accuracy = self._accuracy[at]
        if self._seeds is not None:
            accuracy = accuracy[
                np.arange(len(at)), below(streams, 1, 2**31)[:, 0] % self._seeds[at]
            ]
        return np.concatenate([accuracy[:, None], self._others[at]], 1), self._seconds[at]


def _objective(name: str, settings: Settings) -> Objective:
    """An objective by the name of its column.

    Raises InputError where nothing says which direction is better.
    """
    known = COLUMNS.get(name) or next(
        (how for ending, how in ENDINGS.items() if name.endswith(ending)), None
    )
    if name in settings.larger or name in settings.smaller:
        known = name in settings.larger, known[1] if known else ""
    if known is None:
        raise InputError(
            f"evaluator.objectives: {name}: nothing says whether larger is better; name it in "
            "evaluator.larger or evaluator.smaller"
        )
    return Objective(name, known[0], known[1], "looked up")


def _worst_for_missing(column: np.ndarray, objective: Objective) -> np.ndarray:
    """A column in which what was not measured is worst, [R]."""
    return np.where(np.isnan(column), -objective.weight * np.inf, column)


def _objectives(settings: Settings, table: Table) -> tuple[Objective, ...]:
    """The objectives. Raises InputError for one that the table does not have."""
    names = tuple(settings.objectives)
    known = ("accuracy", *table.columns)
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"evaluator.objectives: {unknown[0]}: not in {table.where}; there are "
            f"{', '.join(known)}"
        )
    if names[0] != "accuracy" or len(set(names)) < len(names):
        raise InputError(
            f"evaluator.objectives: {', '.join(names)}: must be accuracy first, and each name once"
        )
    return tuple(_objective(name, settings) for name in names)
