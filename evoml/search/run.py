"""A run folder being made or gone on with: what every search shares, whatever its loop."""

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from deap import tools

from evoml.archive.files import finite, read_config, write_atomically
from evoml.config import Config, origins, settings_digest
from evoml.contracts.executor import Stage
from evoml.core.digests import digest
from evoml.core.errors import InputError, read_text
from evoml.genotypes.population import Individual, Population
from evoml.search.problem import Problem, edited

# what a strange checkpoint raises
DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError)

LEADERS = 3  # of the best, as a display shows them
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
    # candidates that are being evaluated: how far each is, None where that is unknown
    stages: Mapping[int, Stage | None] = field(default_factory=dict)
    workers: int = 1
    each: float = nan  # seconds that a candidate takes, as far as is known
    left: float = nan  # seconds to the limit that comes first, as far as is known
    share: float = nan  # of the way to that limit, 0..1
    leaders: Sequence[tuple[int, tuple[float, ...]]] = ()  # the best: id and objectives, [O]


@dataclass
class Result:
    """How a search ended."""

    run: Path
    evaluations: int
    seconds: float
    # budget, seconds, training_seconds, stop_at, exhausted, caps, diverged, interrupted
    reason: str
    best: dict[str, Any] | None  # id, key, objectives, text
    counts: dict[str, int]
    test: dict[str, Any] | None
    hall_of_fame: tools.HallOfFame
    logbook: tools.Logbook  # since the search was started or resumed
    audit: dict[str, Any] | None = None  # what shared weights are worth, where they were used
    check_seconds: float = 0.0  # of the trainings that this took, which are no part of `seconds`
    failure: str = ""  # why the first candidate failed that did, in a line

    @property
    def evaluations_per_second(self) -> float:
        return self.evaluations / self.seconds if self.seconds else 0.0


Show = Callable[[Progress], None]


class Run:
    """A configuration with its run folder: `create()` or `restore()`, then `prepare()`, then
    `run()` until something ends it.

    What every search has is here: limits, champion and hall of fame, checkpoints, the end. A loop
    gives the methods that raise NotImplementedError.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.problem = Problem(config)
        self.weights: tuple[float, ...] = self.problem.weights
        self.archive = self.problem.archive(folder)
        self.start_genotypes = self.problem.start_genotypes()
        self.champion: Individual | None = None  # the first that had the best score
        self.halloffame = tools.HallOfFame(10) if len(self.weights) == 1 else tools.ParetoFront()
        self.logbook = tools.Logbook()
        self.seconds = 0.0
        self.failure = ""  # why the first candidate failed that did
        self._text_of: tuple[int, str] = -1, ""  # the champion's id, and its text

    # -- what a loop gives -------------------------------------------------------------------------

    @property
    def evaluations(self) -> int:
        """Candidates evaluated so far."""
        raise NotImplementedError

    @property
    def counts(self) -> dict[str, int]:
        """What the evaluators did, by name."""
        raise NotImplementedError

    @property
    def under_way(self) -> bool:
        """Whether there is something to go on with."""
        return self.evaluations > 0

    @property
    def compiles(self) -> bool:
        """Whether kernels may have to be compiled before the search."""
        return True

    @property
    def evaluates_here(self) -> bool:
        """Whether candidates worth a process of their own are evaluated in this one.

        Known after `prepare`.
        """
        return False

    @property
    def idle_workers(self) -> str:
        """Why there are fewer workers than there might be, in a line; empty where there are not.

        Known after `prepare`.
        """
        return ""

    def prepare(self) -> None:
        """Make a first checkpoint, so that the run can be resumed from now on; then load what the
        search needs.
        """
        raise NotImplementedError

    def save(self) -> None:
        """Make a checkpoint. Raises archive.DiskError."""
        raise NotImplementedError

    def _load(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state. Raises one of DAMAGED where it does not fit."""
        raise NotImplementedError

    def _loop(self, show: Show, stop: threading.Event) -> str:
        """Search until something ends it, and make the last checkpoint: what it was, such as
        `budget` or `interrupted`.
        """
        raise NotImplementedError

    def _budget_spent(self, budget: int) -> bool:
        """Whether no further candidate is to be evaluated within a budget."""
        raise NotImplementedError

    def _given_up(self) -> str:
        """Why the search can come to nothing any more; empty where it can."""
        return ""

    def _archive_end(self) -> None:
        """Archive the last rows, behind the last checkpoint: a run that is resumed from there
        writes them again at its own end.
        """

    def _report(self, result: Result) -> None:
        """Add to a result what the end of a search finds out: a test, or an audit."""

    def _refuse(self, result: Result) -> None:
        """Raise InputError where the search came to nothing."""

    # -- the search --------------------------------------------------------------------------------

    def run(
        self, show: Show = lambda progress: None, stop: threading.Event | None = None
    ) -> Result:
        """Search until a limit or the target is reached, or `stop` is set.

        Raises archive.DiskError, and InputError where it came to nothing.
        """
        reason = self._loop(show, stop or threading.Event())
        if reason == "interrupted":
            return self._result(reason)
        self._archive_end()
        self.archive.log("end", reason=reason, evaluations=self.evaluations)
        self.archive.flush()
        result = self._result(reason)
        self._report(result)
        self._store_result(result)
        self._refuse(result)
        return result

    def _finished(self) -> str:
        """Why the search is over, or an empty string."""
        search = self.config.search
        if self._above_target:
            return "stop_at"
        if search.budget and self._budget_spent(search.budget):
            return "budget"
        if reason := self._given_up():
            return reason
        return "seconds" if search.seconds and self.seconds >= search.seconds else ""

    @property
    def _above_target(self) -> bool:
        """Whether the best is better than `search.stop_at`."""
        target = self.config.stop_at
        return (
            self.champion is not None
            and isfinite(target)
            and (self.champion.fitness.values[0] - target) * self.weights[0] > 0
        )

    def _ahead(self, rate: float) -> tuple[float, float]:
        """Seconds that the search goes on, and the share of it that is done, by the limit that
        comes first. rate: candidates a second, nan where it is unknown.
        """
        search, done = self.config.search, self.evaluations
        ways = []
        if search.budget:
            ways.append(((search.budget - done) / rate if rate else nan, done / search.budget))
        if search.seconds:
            ways.append((search.seconds - self.seconds, self.seconds / search.seconds))
        known = [each for each in ways if isfinite(each[0])] or ways
        left, share = min(known, default=(nan, nan))
        return max(left, 0.0), min(share, 1.0)

    @property
    def _leaders(self) -> list[tuple[int, tuple[float, ...]]]:
        """The best few so far."""
        return [(each.id, tuple(each.fitness.values)) for each in self.halloffame[:LEADERS]]

    def _score(self) -> float | None:
        """The champion's score on the selection tasks."""
        return None if self.champion is None else float(self.champion.fitness.values[0])

    @property
    def _place(self) -> dict[str, Any]:
        """Where the search is, as events say it."""
        return {}

    def _fail(self, why: str) -> None:
        """Keep why the first candidate failed."""
        if why and not self.failure:
            self.failure = why
            self.archive.log("failure", **self._place, evaluations=self.evaluations, text=why)

    def _crowned(self, individual: Individual) -> bool:
        """Take in a candidate that was scored as the best are: whether it is the best now, of
        equals in the first objective by the next, as DEAP compares.
        """
        self.halloffame.update([individual])
        if self.champion is not None and not individual.fitness > self.champion.fitness:
            return False
        self.champion = individual
        return True

    @property
    def _text(self) -> str:
        """The champion as text, made anew only when it is another; empty before there is one."""
        if self.champion is not None and self.champion.id != self._text_of[0]:
            space = self.problem.space
            self._text_of = self.champion.id, space.format(space.essence(self.champion.genotype))
        return self._text_of[1]

    # -- the folder --------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the run folder, with copies of the start files. Raises InputError if it is there."""
        files = {
            name: read_text(Path(path))
            for name, path in zip(self._start_files(), self.config.start, strict=True)
        }
        self.archive.create(self._complete() | {"start": list(files)}, files)

    def _start_files(self) -> list[str]:
        return [
            f"start-{index:03d}{Path(name).suffix}" for index, name in enumerate(self.config.start)
        ]

    def _complete(self) -> dict[str, Any]:
        """What run.toml holds: every setting, versions, and a digest of the data."""
        packages = ("evoml", "numpy", "numba", "deap", "pyarrow", "torch")
        versions = {name: _version(name) for name in packages} | {
            "python": platform.python_version()
        }
        values = self.config.complete()
        if self.config.data is not None and self.config.data.exists():
            values["task"]["data"] = str(self.config.data.resolve())
        for (part, key), path in self.config.files().items():
            if path.exists():
                values[part][key] = str(path.resolve())
        names = [Path(name).name for name in self.config.start]
        # Not auto: on another machine that may be another backend, whose results differ in the last
        # bits.
        values["backend"] = self.problem.backend
        values |= {"start": names, "versions": versions, "data_digest": self.problem.data_digest}
        if parts := origins(self.config):
            values["parts"] = parts
        if self.problem.space.needs_task:
            values["shape"] = asdict(self.problem.task.shape)
        return values | {"settings_digest": settings_digest(values)}

    @cached_property
    def _settings_digest(self) -> str:
        """What the run's settings are known by: as run.toml has it, since there may be settings now
        that there were not then.
        """
        stored = read_config(self.archive.folder)
        return str(stored.get("settings_digest") or settings_digest(stored))

    @cached_property
    def _settings(self) -> str:
        """A hash of all that the run follows from."""
        start = [self.problem.space.key(genotype) for genotype in self.start_genotypes]
        settings = self._settings_digest
        read = [
            digest(path.read_bytes()) for path in self.config.files().values() if path.is_file()
        ]
        return digest(json.dumps([settings, self.problem.data_digest, start, *read]).encode())

    def store_limits(self) -> None:
        """Write this search's limits and the place of its data into run.toml, and leave everything
        else there as it is.
        """
        values = read_config(self.archive.folder)
        values["search"] |= {
            "budget": self.config.search.budget,
            "seconds": self.config.search.seconds,
        }
        if self.config.data is not None and self.config.data.exists():
            values["task"]["data"] = str(self.config.data.resolve())
        write_atomically(self.archive.folder / "run.toml", self.archive.dump(values))

    def restore(self) -> None:
        """Go back to the run's checkpoint. Changes nothing in the folder. Raises InputError."""
        if read_config(self.archive.folder).get("data_digest", "") != self.problem.data_digest:
            raise InputError(f"{self.config.data}: not the data that the run was made with")
        state = self.archive.restore()
        if not state:
            return  # killed before its first checkpoint: it begins again
        if state.pop("settings", "") != self._settings or edited(self.archive.folder):
            raise InputError(
                f"{self.archive.folder / 'run.toml'}: not the settings that the run was made with; "
                "put back what was changed"
            )
        try:
            self.seconds, self.failure = float(state["seconds"]), str(state.get("failure", ""))
            self._load(state)
            schema = self.problem.space.schema
            members = Population.from_state(schema, state["halloffame"], self.weights)
            # last first, since DEAP puts a newcomer before its equals
            self.halloffame.update(list(members)[::-1])
            champion = Population.from_state(schema, state["champion"], self.weights)
            self.champion = champion.individual(0) if len(champion) else None
        except DAMAGED as error:
            raise InputError(f"{self.archive.folder}: the checkpoint is damaged") from error

    def _import_arrow(self) -> None:
        """Import pyarrow's converters now, so that the first flush is not timed as search: pyarrow
        imports pandas where it is installed.
        """
        schema = self.problem.space.schema
        nobody = Population(schema, 0)
        schema.to_arrow(nobody.tables, nobody.sizes)

    @property
    def _due(self) -> bool:
        """Whether a checkpoint is, by time or by the rows in memory."""
        return (
            time.monotonic() - self._saved > self.config.archive.interval
            or self.archive.buffered > MANY_ROWS
        )

    def _save(self, state: dict[str, Any]) -> None:
        """Make a checkpoint of this and of what every search remembers.

        Raises archive.DiskError.
        """
        champion = [] if self.champion is None else [self.champion]
        people = {
            "halloffame": self._members(self.halloffame).state(),
            "champion": self._members(champion).state(),
        }
        about = {"seconds": self.seconds, "settings": self._settings, "failure": self.failure}
        self.archive.save(state | people | about)
        self._saved = time.monotonic()

    def _members(self, individuals: Any) -> Population:
        """Individuals as a population, with identity and fitness."""
        out = Population.of(
            self.problem.space.schema,
            [individual.genotype for individual in individuals],
            self.weights,
        )
        for index, individual in enumerate(individuals):
            out.ids[index], out.birth[index], out.status[index] = (
                individual.id,
                individual.birth,
                individual.status,
            )
            out.parents[index, : len(individual.parents)] = individual.parents
            out.fitness[index] = individual.fitness.values
        return out

    def describe(self, individual: Individual) -> dict[str, Any]:
        """A candidate as plain values, `essence` without what cannot matter; its objectives are
        those that it was chosen by.
        """
        space = self.problem.space
        objectives = dict(
            zip(self.problem.names, map(float, individual.fitness.values), strict=True)
        )
        texts = {
            "text": space.format(individual.genotype),
            "essence": space.format(space.essence(individual.genotype)),
        }
        return {
            "id": individual.id,
            "key": space.key(individual.genotype),
            "objectives": objectives,
        } | texts

    def _result(self, reason: str) -> Result:
        best = None if self.champion is None else self.describe(self.champion)
        return Result(
            self.archive.folder,
            self.evaluations,
            self.seconds,
            reason,
            best,
            self.counts,
            None,
            self.halloffame,
            self.logbook,
            failure=self.failure,
        )

    def _store_result(self, result: Result) -> None:
        names = ("reason", "evaluations", "seconds", "counts", "best", "test")
        report = {name: getattr(result, name) for name in names}
        report["objectives"] = [each.plain() for each in self.problem.objectives]
        if result.failure:
            report["failure"] = result.failure
        if result.audit is not None:
            report |= {"trust": result.audit, "check_seconds": result.check_seconds}
        write_atomically(
            self.archive.folder / "result.json", json.dumps(finite(report), indent=1).encode()
        )


def statistics() -> tools.Statistics:
    """Mean, deviation and range of fitness, as a logbook has them."""
    out = tools.Statistics()
    for name, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
        out.register(name, function)
    return out


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
