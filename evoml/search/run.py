"""A run folder being made or gone on with: what every search shares, whatever its loop."""

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from deap import tools

from evoml.archive.archive import finite, read_config, write_atomically
from evoml.config import Config, settings_digest
from evoml.core.digests import digest
from evoml.core.errors import InputError, read_text
from evoml.genotypes.population import Individual, Population
from evoml.search.problem import Problem

DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError)  # what a strange checkpoint raises

MANY_ROWS = 100_000  # rows in memory after which a checkpoint is due whatever the time


@dataclass
class Progress:
    """What a display shows."""

    evaluations: int
    seconds: float  # of searching, start-up not counted
    experiment: int
    best: float  # in search, this experiment
    selected: float  # the champion's score, the whole run
    champion: str  # the champion as text, "" before there is one
    mean: float  # fitness of the living populations
    counts: dict[str, int]  # what the evaluators did
    note: str = ""  # where the search is, in words, to be shown in place of the experiment


@dataclass
class Result:
    """How a search ended."""

    run: Path
    evaluations: int
    seconds: float
    reason: str  # budget, seconds, training_seconds, stop_at, exhausted, caps, diverged, interrupted
    best: dict[str, Any] | None  # id, key, objectives, text
    counts: dict[str, int]
    test: dict[str, Any] | None
    hall_of_fame: tools.HallOfFame
    logbook: tools.Logbook  # since the search was started or resumed
    trust: dict[str, Any] | None = None  # what shared weights are worth, where they were used
    check_seconds: float = 0.0  # of the trainings that this took, which are no part of `seconds`

    @property
    def evaluations_per_second(self) -> float:
        return self.evaluations / self.seconds if self.seconds else 0.0


Show = Callable[[Progress], None]


class Run:
    """A configuration with its run folder: `create()` or `restore()`, then `prepare()`, then `run()` until something ends it."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.problem = Problem(config)
        self.weights: tuple[float, ...] = self.problem.weights
        self.archive = self.problem.archive(folder)
        self.given = self.problem.given()
        self.champion: Individual | None = None  # the first that had the best score
        self.halloffame = tools.HallOfFame(10) if len(self.weights) == 1 else tools.ParetoFront()
        self.logbook = tools.Logbook()
        self.seconds = 0.0

    @property
    def _above_target(self) -> bool:
        """Whether the best is better than `search.stop_at`."""
        target = self.config.stop_at
        return self.champion is not None and isfinite(target) and (self.champion.fitness.values[0] - target) * self.weights[0] > 0

    def _score(self) -> float | None:
        """The champion's score on the selection tasks."""
        return None if self.champion is None else float(self.champion.fitness.values[0])

    # -- what a loop gives -------------------------------------------------------------------------------------------------

    @property
    def evaluations(self) -> int:
        """Candidates evaluated so far."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Make a first checkpoint, so that the run can be resumed from now on; then load what the search needs."""
        raise NotImplementedError

    def run(self, show: Show = lambda progress: None, stop: threading.Event | None = None) -> Result:
        """Search until a limit or the target is reached, or `stop` is set. Raises archive.DiskError."""
        raise NotImplementedError

    def _load(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state. Raises one of DAMAGED where it does not fit."""
        raise NotImplementedError

    # -- the folder --------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the run folder, with copies of the start files. Raises InputError if it is there."""
        files = {name: read_text(Path(path)) for name, path in zip(self._start_files(), self.config.start, strict=True)}
        self.archive.create(self._complete() | {"start": list(files)}, files)

    def _start_files(self) -> list[str]:
        return [f"start-{index:03d}{Path(name).suffix}" for index, name in enumerate(self.config.start)]

    def _complete(self) -> dict[str, Any]:
        """What run.toml holds: every setting, versions, and a digest of the data."""
        packages = ("evoml", "numpy", "numba", "deap", "pyarrow", "torch")
        versions = {name: _version(name) for name in packages} | {"python": platform.python_version()}
        values = self.config.complete()
        if self.config.data is not None and self.config.data.exists():
            values["task"]["data"] = str(self.config.data.resolve())
        for (part, key), path in self.config.files().items():
            if path.exists():
                values[part][key] = str(path.resolve())
        names = [Path(name).name for name in self.config.start]
        # Not auto: on another machine that may be another backend, whose results differ in the last bits.
        values["backend"] = self.problem.backend
        values |= {"start": names, "versions": versions, "data_digest": self.problem.data_digest}
        return values | {"settings_digest": settings_digest(values)}

    @cached_property
    def _settings(self) -> str:
        """A hash of all that the run follows from."""
        start = [self.problem.space.key(genotype) for genotype in self.given]
        values = self._complete()
        read = [digest(path.read_bytes()) for path in self.config.files().values() if path.is_file()]
        return digest(json.dumps([values["settings_digest"], self.problem.data_digest, start, *read]).encode())

    def store_config(self) -> None:
        """Write run.toml again, for a run whose limits were changed."""
        write_atomically(self.archive.folder / "run.toml", self.archive.dump(self._complete()))

    def restore(self) -> None:
        """Go back to the run's checkpoint. Changes nothing in the folder. Raises InputError."""
        if read_config(self.archive.folder).get("data_digest", "") != self.problem.data_digest:
            raise InputError(f"{self.config.data}: not the data that the run was made with")
        state = self.archive.restore()
        if not state:
            return  # killed before its first checkpoint: it begins again
        if state.pop("settings", "") != self._settings:
            raise InputError(f"{self.archive.folder / 'run.toml'}: not the settings that the run was made with; put back what was changed")
        try:
            self.seconds = float(state["seconds"])
            self._load(state)
            schema = self.problem.space.schema
            members = Population.from_state(schema, state["halloffame"], self.weights)
            self.halloffame.update(list(members)[::-1])  # last first, since DEAP puts a newcomer before its equals
            champion = Population.from_state(schema, state["champion"], self.weights)
            self.champion = champion.individual(0) if len(champion) else None
        except DAMAGED as error:
            raise InputError(f"{self.archive.folder}: the checkpoint is damaged") from error

    def _ready(self) -> None:
        """Convert nobody to Arrow, so that what that loads is not counted as search: pyarrow imports pandas where it is installed."""
        schema = self.problem.space.schema
        nobody = Population(schema, 0)
        schema.to_arrow(nobody.tables, nobody.sizes)

    @property
    def _due(self) -> bool:
        """Whether a checkpoint is, by time or by the rows in memory."""
        return time.monotonic() - self._saved > self.config.archive.interval or self.archive.buffered > MANY_ROWS

    def _save(self, state: dict[str, Any]) -> None:
        """Make a checkpoint of this and of what every search remembers. Raises archive.DiskError."""
        champion = [] if self.champion is None else [self.champion]
        people = {"halloffame": self._members(self.halloffame).state(), "champion": self._members(champion).state()}
        self.archive.save(state | people | {"seconds": self.seconds, "settings": self._settings})
        self._saved = time.monotonic()

    def _members(self, individuals: Any) -> Population:
        """Individuals as a population, with identity and fitness."""
        out = Population.of(self.problem.space.schema, [individual.genotype for individual in individuals], self.weights)
        for index, individual in enumerate(individuals):
            out.ids[index], out.birth[index], out.status[index] = individual.id, individual.birth, individual.status
            out.parents[index, : len(individual.parents)] = individual.parents
            out.fitness[index] = individual.fitness.values
        return out

    def describe(self, individual: Individual) -> dict[str, Any]:
        """A candidate as plain values, `essence` without what cannot matter; its objectives are those that it was chosen by."""
        space = self.problem.space
        objectives = dict(zip(self.problem.objectives, map(float, individual.fitness.values), strict=True))
        texts = {"text": space.format(individual.genotype), "essence": space.format(space.essence(individual.genotype))}
        return {"id": individual.id, "key": space.key(individual.genotype), "objectives": objectives} | texts

    def _result(self, reason: str, counts: dict[str, int]) -> Result:
        best = None if self.champion is None else self.describe(self.champion)
        return Result(self.archive.folder, self.evaluations, self.seconds, reason, best, counts, None, self.halloffame, self.logbook)

    def _store_result(self, result: Result) -> None:
        names = ("reason", "evaluations", "seconds", "counts", "best", "test")
        report = {name: getattr(result, name) for name in names} | (
            {} if result.trust is None else {"trust": result.trust, "check_seconds": result.check_seconds}
        )
        write_atomically(self.archive.folder / "result.json", json.dumps(finite(report), indent=1).encode())


def statistics() -> tools.Statistics:
    """Mean, deviation and range of fitness, as a logbook has them."""
    out = tools.Statistics()
    for name, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        out.register(name, function)
    return out


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
