"""The one loop: ask, evaluate, tell, archive; with islands on threads, restarts, selection on unseen tasks, and resume.

Everything that decides a result is a function of the configuration and the candidates' numbers, never of time or of the number of workers:
islands meet at the end of a round, whose length is counted in candidates and training steps. A run is therefore its checkpoint plus replay.
(The C library's exp, log and cos may differ in the last bit between machines, and a run with them.)

Departures from AutoML-Zero's published program: it evaluates one candidate an experiment on the selection tasks, the best when the experiment
ends, and draws fresh ones each time; here every island's best of every round is tried on one fixed set, and the search stops at once.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from deap import tools

from evoml.archive import Archive, read_config, read_result, write_atomically
from evoml.config import Config, settings_digest
from evoml.digests import digest
from evoml.errors import InputError
from evoml.islands import Island, whole
from evoml.population import Individual, Population
from evoml.problem import Problem, read_text, stored_config

MANY_ROWS = 100_000  # rows in memory after which a checkpoint is due whatever the time


@dataclass
class Progress:
    """What a display shows after a round."""

    evaluations: int
    seconds: float  # of searching, start-up not counted
    experiment: int
    best: float  # in search, this experiment
    selected: float  # on the selection tasks, the whole run
    champion: str  # the selected candidate as text, "" before there is one
    mean: float  # fitness of the living populations
    counts: dict[str, int]  # what the evaluators did


@dataclass
class Result:
    """How a search ended."""

    run: Path
    evaluations: int
    seconds: float
    reason: str  # budget, seconds, stop_at, interrupted
    best: dict[str, Any] | None  # id, key, objectives, text
    counts: dict[str, int]
    test: dict[str, Any] | None
    hall_of_fame: tools.HallOfFame
    logbook: tools.Logbook  # of the rounds since the search was started or resumed

    @property
    def evaluations_per_second(self) -> float:
        return self.evaluations / self.seconds if self.seconds else 0.0


class Search:
    """A search over a run folder: `create()` or `restore()`, then `prepare()`, then `run()` until something ends it."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.problem = Problem(config)
        self.archive = Archive(folder, self.problem.space.schema, self.problem.objective)
        self.given = self.problem.given()
        self.islands = [Island(self.problem, number, self.given) for number in range(config.search.islands)]
        self.selection = self.problem.evaluator(self.problem.task.select(), exact=True)
        self.weights = self.selection.weights
        self.champion: Individual | None = None  # the first that had the best score on the selection tasks
        self.halloffame = tools.HallOfFame(10)
        self.statistics = tools.Statistics()
        for name, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
            self.statistics.register(name, function)
        self.logbook = tools.Logbook()
        self.experiment = self.rounds = self.experiment_from = self.experiment_steps = self.snapshots = 0
        self.seconds = 0.0
        self.retired: dict[str, int] = {}  # counts of the evaluators of earlier experiments
        self._begin()

    # -- state -------------------------------------------------------------------------------------------------------------

    @property
    def evaluations(self) -> int:
        return sum(island.asked for island in self.islands)

    @property
    def counts(self) -> dict[str, int]:
        """What the evaluators did, over the whole run."""
        own = self.islands[0].evaluator.counts
        return {name: self.retired.get(name, 0) + sum(island.evaluator.counts[name] for island in self.islands) for name in own}

    def _begin(self) -> None:
        tasks = self.problem.task.search(self.experiment)
        for island in self.islands:
            island.start(tasks)

    def create(self) -> None:
        """Make the run folder, with copies of the start files. Raises InputError if it is there."""
        files = {name: read_text(Path(path)) for name, path in zip(self._start_files(), self.config.start, strict=True)}
        self.archive.create(self._complete() | {"start": list(files)}, files)

    def _start_files(self) -> list[str]:
        return [f"start-{index:03d}{Path(name).suffix}" for index, name in enumerate(self.config.start)]

    def _complete(self) -> dict[str, Any]:
        """What run.toml holds: every setting, versions, and a digest of the data."""
        versions = {name: _version(name) for name in ("evoml", "numpy", "numba", "deap", "pyarrow")} | {"python": platform.python_version()}
        values = self.config.complete()
        if self.config.data is not None:
            values["task"]["data"] = str(self.config.data.resolve())
        names = [Path(name).name for name in self.config.start]
        # Not auto: on another machine that may be another backend, whose results differ in the last bits.
        values["backend"] = self.problem.backend
        values |= {"start": names, "versions": versions, "data_digest": self.problem.data_digest}
        return values | {"settings_digest": settings_digest(values)}

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
            for name in ("experiment", "rounds", "experiment_from", "experiment_steps", "snapshots"):
                setattr(self, name, whole(state, name))
            self.seconds = float(state["seconds"])
            self.retired = {name: whole(state["retired"], name) for name in state["retired"]}
            self._begin()
            for island, saved in zip(self.islands, state["islands"], strict=True):
                island.load_state_dict(saved)
            schema = self.problem.space.schema
            members = Population.from_state(schema, state["halloffame"], self.weights)
            self.halloffame.update(list(members)[::-1])  # last first, since DEAP puts a newcomer before its equals
            champion = Population.from_state(schema, state["champion"], self.weights)
            self.champion = champion.individual(0) if len(champion) else None
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError) as error:
            raise InputError(f"{self.archive.folder}: the checkpoint is damaged") from error

    @cached_property
    def _settings(self) -> str:
        """A hash of all that the run follows from."""
        start = [self.problem.space.key(genotype) for genotype in self.given]
        return digest(json.dumps([self._complete()["settings_digest"], self.problem.data_digest, start]).encode())

    def store_config(self) -> None:
        """Write run.toml again, for a run whose limits were changed."""
        write_atomically(self.archive.folder / "run.toml", self.archive.dump(self._complete()))

    def save(self) -> None:
        """Make a checkpoint. Raises archive.DiskError."""
        names = ("experiment", "rounds", "experiment_from", "experiment_steps", "snapshots", "seconds", "retired")
        islands = [island.state_dict() for island in self.islands]
        champion = [] if self.champion is None else [self.champion]
        people = {"halloffame": self._members(self.halloffame).state(), "champion": self._members(champion).state()}
        state = {name: getattr(self, name) for name in names} | {"islands": islands, "settings": self._settings}
        self.archive.save(state | people)
        self._saved = time.monotonic()

    def _members(self, individuals: Any) -> Population:
        """Individuals as a population, with identity and fitness."""
        out = Population.of(self.problem.space.schema, [individual.genotype for individual in individuals], self.weights)
        for index, individual in enumerate(individuals):
            out.ids[index], out.birth[index], out.status[index] = individual.id, individual.birth, individual.status
            out.parents[index, : len(individual.parents)] = individual.parents
            out.fitness[index] = individual.fitness.values
        return out

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make a first checkpoint, so that the run can be resumed from now on; then compile what the search needs, or load it from the disk."""
        self._saved = time.monotonic()
        if self.rounds == 0 and self.evaluations == 0:
            self.save()
        space, stream = self.problem.space, np.zeros(1, np.uint64)
        nobody = Population(space.schema, 0)
        self.selection(space.phenotypes(space.mutate(space.random(stream), np.zeros(1, np.int64), stream)))
        space.schema.to_arrow(nobody.tables, nobody.sizes)  # pyarrow imports pandas where it is installed
        self.islands[0].evaluator.warm()
        if self.islands[0].engine is not None:
            self.islands[0].engine.warm()

    def run(self, show: Callable[[Progress], None] = lambda progress: None, stop: threading.Event | None = None) -> Result:
        """Search until the budget, the time or the target is reached, or `stop` is set. Raises archive.DiskError."""
        stop = stop or threading.Event()
        workers = min(self.config.workers or cores(), len(self.islands))
        reason, shortened = self._finished(), False
        with ThreadPoolExecutor(workers) as pool:
            while not reason:
                if not any(island.done for island in self.islands):
                    self._restart_if_due()
                shortened = self._shortened()
                if shortened:
                    self.save()  # so that the run can be given a larger budget as if it had always had it
                began = time.monotonic()
                complete = self._round(pool, stop)
                self.seconds += time.monotonic() - began
                if not complete:
                    if not shortened:  # else its blocks are cut by a budget that a resume may change: it goes back to where the round began
                        self.save()
                    return self._result("interrupted")
                reason = self._finished()
                due = time.monotonic() - self._saved > self.config.archive.interval or self.archive.buffered > MANY_ROWS
                if due and not shortened:
                    self.save()
                show(self._progress())
        return self._end(reason, shortened)

    def _end(self, reason: str, shortened: bool) -> Result:
        """Archive the last rows, behind the last checkpoint: a run that is resumed from there writes them again at its own end."""
        if not shortened:
            self.save()
        self._snapshot("final")
        self.archive.log("end", reason=reason, evaluations=self.evaluations)
        self.archive.flush()
        result = self._result(reason)
        result.test = None if self.champion is None else self.problem.test(self.champion.genotype)
        names = ("reason", "evaluations", "seconds", "counts", "best", "test")
        report = {name: getattr(result, name) for name in names}
        write_atomically(self.archive.folder / "result.json", json.dumps(report, indent=1).encode())
        return result

    def _round(self, pool: ThreadPoolExecutor, stop: threading.Event) -> bool:
        """Let every island advance, then meet: archive, select, migrate. False if `stop` was set before all had their share."""
        search = self.config.search
        limits = [min(search.round, share) for share in self._shares()]
        jobs = [pool.submit(island.advance, limit, search.round_steps, stop) for island, limit in zip(self.islands, limits, strict=True)]
        for job in jobs:
            job.result()
        if any(island.done < limit and island.cost < search.round_steps for island, limit in zip(self.islands, limits, strict=True)):
            return False
        self.rounds += 1
        self.experiment_steps += sum(island.cost for island in self.islands)
        for island in self.islands:
            self._keep(island)
            island.end_round()
        if search.migrate_every and self.rounds % search.migrate_every == 0 and len(self.islands) > 1:
            self._migrate()
        interval = self.config.archive.snapshot
        if interval and self.evaluations // interval > self.snapshots:
            self.snapshots = self.evaluations // interval
            self._snapshot("snapshot")
        self._record()
        return True

    def _shares(self) -> list[int]:
        """How many candidates of the budget each island had left when this round began."""
        budget, count = self.config.search.budget, len(self.islands)
        if not budget:
            return [2**62] * count
        return [budget // count + (i < budget % count) - island.asked + island.done for i, island in enumerate(self.islands)]

    def _shortened(self) -> bool:
        """Whether the budget, and not the round's own length, may end the coming round."""
        return any(share < self.config.search.round for share in self._shares())

    def _keep(self, island: Island) -> None:
        """Archive what an island found, and try its best on the selection tasks."""
        for event, population in island.pending:
            self._add(population, event, island.number)
        improved = [population for event, population in island.pending if event == "improvement"]
        if improved:
            self._select(improved[-1][len(improved[-1]) - 1 :], island.number)

    def _select(self, candidate: Population, island: int) -> None:
        """Score one candidate on the selection tasks; keep it where it is the best of the run so far."""
        candidate.fitness[:] = self.selection(self.problem.space.phenotypes(candidate)).objectives
        individual = candidate.individual(0)
        self.halloffame.update([individual])
        if self.champion is None or individual.fitness > self.champion.fitness:
            self.champion = individual
            self._add(candidate, "selected", island)
            score = float(candidate.fitness[0, 0])
            self.archive.log("selected", id=individual.id, score=score, evaluations=self.evaluations, experiment=self.experiment)

    def _add(self, population: Population, event: str, island: int) -> None:
        self.archive.add(population, self.problem.space.keys(population), event, island, self.experiment, self.evaluations)

    def _snapshot(self, event: str) -> None:
        for island in self.islands:
            self._add(island.strategy.alive, event, island.number)

    def _migrate(self) -> None:
        """Every island sends winners to the next one, all at the same time."""
        count = self.config.search.migrants
        travellers = [island.strategy.migrants(count, self.rounds * len(self.islands) + island.number) for island in self.islands]
        for island, arrived in zip(self.islands, [travellers[-1], *travellers[:-1]], strict=True):
            if len(arrived):
                island.strategy.tell(arrived)
                island.best = max(island.best, float(arrived.quality.max()))

    def _record(self) -> None:
        alive = np.concatenate([island.strategy.fitness for island in self.islands])
        entry = {name: float(value) for name, value in self.statistics.compile([alive]).items()}
        self.logbook.record(gen=self.rounds, nevals=self.evaluations, **entry)
        self.archive.log(
            "round", round=self.rounds, evaluations=self.evaluations, experiment=self.experiment, selected=self._score(), **entry
        )

    def _score(self) -> float | None:
        """The champion's score on the selection tasks."""
        return None if self.champion is None else float(self.champion.fitness.values[0])

    def _finished(self) -> str:
        """Why the search is over, or an empty string."""
        search, score = self.config.search, self._score()
        if score is not None and (score - self.config.stop_at) * self.weights[0] > 0:
            return "stop_at"
        if search.budget and self.evaluations >= search.budget and not any(island.done for island in self.islands):
            return "budget"
        if search.seconds and self.seconds >= search.seconds:
            return "seconds"
        return ""

    def _restart_if_due(self) -> None:
        """Begin a new experiment with fresh tasks and populations where the old one has had its share."""
        search = self.config.search
        spent = self.evaluations - self.experiment_from
        if not (0 < search.experiment <= spent or 0 < search.experiment_steps <= self.experiment_steps):
            return
        self.retired = self.counts
        self.experiment += 1
        self.experiment_from, self.experiment_steps = self.evaluations, 0
        self._begin()

    # -- what is shown -----------------------------------------------------------------------------------------------------

    def _progress(self) -> Progress:
        best = max(island.best for island in self.islands) * self.weights[0]
        space = self.problem.space
        text = "" if self.champion is None else space.format(space.essence(self.champion.genotype))
        score = self._score()
        shown = float("nan") if score is None else score
        return Progress(self.evaluations, self.seconds, self.experiment, best, shown, text, self.logbook[-1]["mean"], self.counts)

    def _result(self, reason: str) -> Result:
        best = None if self.champion is None else self.describe(self.champion)
        return Result(self.archive.folder, self.evaluations, self.seconds, reason, best, self.counts, None, self.halloffame, self.logbook)

    def describe(self, individual: Individual) -> dict[str, Any]:
        """A candidate as plain values, `essence` without what cannot matter; its objective is the one on the selection tasks."""
        space = self.problem.space
        objectives = {self.problem.objective: float(individual.fitness.values[0])}
        texts = {"text": space.format(individual.genotype), "essence": space.format(space.essence(individual.genotype))}
        return {"id": individual.id, "key": space.key(individual.genotype), "objectives": objectives} | texts


def resume(
    folder: Path, budget: int | None = None, seconds: float | None = None, workers: int | None = None, data: Path | None = None
) -> Search:
    """A search that goes on where the run's checkpoint is, with other limits where they are given. Raises InputError.

    data: where the run's data file is now, if it was moved.
    """
    limits = {name: value for name, value in (("budget", budget), ("seconds", seconds)) if value is not None}
    changes: dict[str, Any] = {"search": limits} | ({} if workers is None else {"workers": workers})
    if data is not None:
        changes["task"] = {"data": str(data)}
    out = Search(stored_config(folder, changes), folder)
    out.restore()
    ended = read_result(folder) or {"evaluations": 0, "seconds": 0.0}
    had = {"budget": max(out.evaluations, ended["evaluations"]), "seconds": max(out.seconds, ended["seconds"])}
    for name, limit in limits.items():
        if 0 < limit < had[name]:
            raise InputError(f"resume: --{name} {limit:g}: the run has had {had[name]:,} already; give more")
    if limits or data is not None:
        out.store_config()
    return out


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
