"""The one loop: ask, evaluate, tell, archive; with islands on threads, restarts, selection on unseen tasks, and resume.

Everything that decides a result is a function of the configuration and the candidates' numbers, never of time or of the number of workers:
islands meet at the end of a round, whose length is counted in candidates and training steps. A run is therefore its checkpoint plus replay.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from deap import tools

from evoml.archive import Archive, read_config, write_atomically
from evoml.config import Config, build
from evoml.errors import InputError
from evoml.population import Individual, Population
from evoml.registry import load
from evoml.toolbox import toolbox


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
    test: dict[str, Any] | None = None
    hall_of_fame: tools.HallOfFame | None = None
    logbook: tools.Logbook | None = None

    @property
    def evaluations_per_second(self) -> float:
        return self.evaluations / self.seconds if self.seconds else 0.0


@dataclass
class Problem:
    """The parts of a configuration, made: what a search, an evaluation and an export share."""

    config: Config
    space: Any = field(init=False)
    task: Any = field(init=False)
    backend: str = field(init=False)

    def __post_init__(self) -> None:
        config = self.config
        self.space = load("spaces", config.name("space")).Space(config.part("space"))
        self.task = load("tasks", config.name("task")).Task(config.part("task"), config.data, config.search.seed)
        self.backend = "numba" if config.backend == "auto" else config.backend
        load("backends", self.backend)

    @property
    def objective(self) -> str:
        return str(self.task.objective)

    def evaluator(self, tasks: Any, exact: bool = False) -> Any:
        """An evaluator for one set of tasks; `exact`: for selection and test."""
        module, settings = load("evaluators", self.config.name("evaluator")), self.config.part("evaluator")
        return module.Evaluator(module.Evaluator.exact(settings) if exact else settings, tasks, self.space, self.backend)

    def given(self) -> list[Any]:
        """The genotypes that `start` names."""
        return [self.space.parse(read_text(Path(name)), name) for name in self.config.start]


def read_text(path: Path) -> str:
    """A text file's content. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None


class Island:
    """One population with its evaluator, and what it found in the current round."""

    def __init__(self, problem: Problem, number: int, given: list[Any]) -> None:
        self.problem, self.number, self.given = problem, number, given
        self.asked = 0  # candidates so far, over all experiments
        self.pending: list[tuple[str, Population]] = []

    def start(self, tasks: Any) -> None:
        """A fresh population and evaluator on these tasks."""
        config = self.problem.config
        self.evaluator = self.problem.evaluator(tasks)
        self.toolbox = toolbox(self.problem.space, self.evaluator)
        strategy = load("strategies", config.name("strategy"))
        self.strategy = strategy.Strategy(self.toolbox, config.part("strategy"), config.search.seed, self.given)
        self.engine = engine(self.problem.space, self.strategy, self.evaluator, self.number, config.search.islands)
        self.best = -np.inf

    def advance(self, candidates: int, steps: int, keep_all: bool, stop: threading.Event) -> int:
        """Evaluate candidates until one of the limits is reached or `stop` is set; returns the training steps run."""
        islands, done, cost = self.problem.config.search.islands, 0, 0
        while done < candidates and cost < steps and not stop.is_set():
            if self.engine is not None and self.strategy.told >= len(self.strategy.population) and not keep_all:
                count, spent, found = self.engine.advance(self.asked, candidates - done, steps - cost, self.best)
                if len(found):
                    self.pending.append(("improvement", found))
                    self.best = float(found.fitness[-1, 0])
                self.asked += count
                done, cost = done + count, cost + spent
                continue
            count = min(self.strategy.block, candidates - done)
            population = self.strategy.ask((self.asked + np.arange(count)) * islands + self.number)
            cost += self.toolbox.score(population)
            self.strategy.tell(population)
            self._notice(population, keep_all)
            self.asked += len(population)
            done += len(population)
        return cost

    def _notice(self, population: Population, keep_all: bool) -> None:
        """Remember every improvement, or everything."""
        quality = population.fitness[:, 0] * population.weights[0]
        if keep_all:
            self.pending.append(("candidate", population))
        if quality.max() > self.best:
            before = np.maximum.accumulate(np.concatenate([[self.best], quality]))[:-1]
            self.pending.append(("improvement", population.take(quality > before)))
            self.best = float(quality.max())

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked, "best": self.best, "strategy": self.strategy.state_dict(), "evaluator": self.evaluator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked, self.best = state["asked"], float(state["best"])
        self.strategy.load_state_dict(state["strategy"])
        self.evaluator.load_state_dict(state["evaluator"])


def engine(space: Any, strategy: Any, evaluator: Any, island: int, islands: int) -> Any:
    """The compiled loop for parts that it fits, else None."""
    if not hasattr(space, "memory"):
        return None
    from evoml._engine import Engine

    return Engine(space, strategy, evaluator, island, islands) if Engine.fits(space, strategy, evaluator) else None


class Search:
    """A search over a run folder: `create()` or `restore()`, then `prepare()`, then `run()` until something ends it."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config = config
        self.problem = Problem(config)
        self.archive = Archive(folder, self.problem.space.schema, self.problem.objective)
        given = self.problem.given()
        self.islands = [Island(self.problem, number, given) for number in range(config.search.islands)]
        self.selection = self.problem.evaluator(self.problem.task.select(), exact=True)
        self.halloffame = tools.HallOfFame(10)
        self.statistics = tools.Statistics()
        for name, function in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
            self.statistics.register(name, function)
        self.logbook = tools.Logbook()
        self.experiment = self.rounds = self.experiment_from = self.experiment_steps = self.snapshots = 0
        self.seconds = 0.0
        self.retired: dict[str, int] = {}  # counts of evaluators of earlier experiments
        self._begin()

    # -- state -------------------------------------------------------------------------------------------------------------

    @property
    def evaluations(self) -> int:
        return sum(island.asked for island in self.islands)

    @property
    def counts(self) -> dict[str, int]:
        """What the evaluators did, over the whole run."""
        return {
            name: self.retired.get(name, 0) + sum(island.evaluator.counts[name] for island in self.islands)
            for name in self.islands[0].evaluator.counts
        }

    def _begin(self) -> None:
        tasks = self.problem.task.search(self.experiment)
        for island in self.islands:
            island.start(tasks)

    def create(self) -> None:
        """Make the run folder. Raises InputError if it is there."""
        versions = {name: _version(name) for name in ("evoml", "numpy", "numba", "deap", "pyarrow")}
        self.archive.create(self.config.complete() | {"versions": versions | {"python": platform.python_version()}})

    def restore(self) -> None:
        """Go back to the run's checkpoint."""
        state = self.archive.restore()
        try:
            for name in ("experiment", "rounds", "experiment_from", "experiment_steps", "snapshots", "seconds", "retired"):
                setattr(self, name, state[name])
            self._begin()
            for island, saved in zip(self.islands, state["islands"], strict=True):
                island.load_state_dict(saved)
            self.halloffame.update(list(Population.from_state(self.problem.space.schema, state["halloffame"])))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{self.archive.folder}: the checkpoint does not fit run.toml ({type(error).__name__}: {error})") from None

    def _save(self) -> None:
        members = self._members(self.halloffame)
        self.archive.save(
            {
                "experiment": self.experiment, "rounds": self.rounds, "experiment_from": self.experiment_from,
                "experiment_steps": self.experiment_steps, "snapshots": self.snapshots, "seconds": self.seconds, "retired": self.retired,
                "islands": [island.state_dict() for island in self.islands], "halloffame": members.state(),
            }
        )  # fmt: skip

    def _members(self, individuals: Any) -> Population:
        """Individuals as a population, with identity and fitness."""
        out = Population.of(self.problem.space.schema, [individual.genotype for individual in individuals])
        for index, individual in enumerate(individuals):
            out.ids[index], out.birth[index], out.status[index] = individual.id, individual.birth, individual.status
            out.parents[index, : len(individual.parents)] = individual.parents
            out.fitness[index] = individual.fitness.values
        return out

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make a first checkpoint, so that the run can be resumed from now on; then compile what the search needs, or load it from the disk."""
        if self.rounds == 0:
            self._save()
        space, stream = self.problem.space, np.zeros(1, np.uint64)
        self.selection(space.phenotypes(space.mutate(space.random(stream), np.zeros(1, np.int64), stream)))
        self.islands[0].evaluator.warm()

    def run(self, show: Callable[[Progress], None] = lambda progress: None, stop: threading.Event | None = None) -> Result:
        """Search until the budget, the time or the target is reached, or `stop` is set. Raises archive.DiskError."""
        stop = stop or threading.Event()
        workers = min(self.config.workers or len(os.sched_getaffinity(0)), len(self.islands))
        saved = time.monotonic()
        reason = self._finished()
        with ThreadPoolExecutor(workers) as pool:
            while not reason:
                began = time.monotonic()
                if not self._round(pool, stop):
                    reason = "interrupted"
                    break
                self.seconds += time.monotonic() - began
                reason = self._finished()
                if not reason:
                    self._restart_if_due()
                if time.monotonic() - saved > self.config.archive.interval:
                    self._save()
                    saved = time.monotonic()
                show(self._progress())
        if reason == "interrupted":
            return self._result(reason)
        self._save()  # before the last rows, which a run that is resumed from here writes again at its own end
        self._snapshot("final")
        self.archive.log("end", reason=reason, evaluations=self.evaluations)
        self.archive.flush()
        result = self._result(reason)
        result.test = self._test()
        report = {
            "reason": reason,
            "evaluations": result.evaluations,
            "seconds": result.seconds,
            "counts": result.counts,
            "best": result.best,
            "test": result.test,
        }
        write_atomically(self.archive.folder / "result.json", json.dumps(report, indent=1).encode())
        return result

    def _round(self, pool: ThreadPoolExecutor, stop: threading.Event) -> bool:
        """Let every island advance, then meet: archive, select, migrate. False if `stop` cut it short, in which case nothing of it counts."""
        search = self.config.search
        keep_all = self.config.archive.keep == "all"
        shares = self._shares()
        jobs = [
            pool.submit(island.advance, min(search.round, share), search.round_steps, keep_all, stop)
            for island, share in zip(self.islands, shares, strict=True)
        ]
        steps = [job.result() for job in jobs]
        if stop.is_set():
            return False
        self.rounds += 1
        self.experiment_steps += sum(steps)
        for island in self.islands:
            self._keep(island)
        if search.migrate_every and self.rounds % search.migrate_every == 0 and len(self.islands) > 1:
            self._migrate()
        interval = self.config.archive.snapshot
        if interval and self.evaluations // interval > self.snapshots:
            self.snapshots = self.evaluations // interval
            self._snapshot("snapshot")
        self._record()
        return True

    def _shares(self) -> list[int]:
        """How many candidates of the budget each island still has."""
        budget, count = self.config.search.budget, len(self.islands)
        if not budget:
            return [2**62] * count
        return [budget // count + (number < budget % count) - island.asked for number, island in enumerate(self.islands)]

    def _keep(self, island: Island) -> None:
        """Archive what an island found, and try its best on the selection tasks."""
        improved = [population for event, population in island.pending if event == "improvement"]
        for event, population in island.pending:
            self._add(population, event, island.number)
        island.pending = []
        if improved:
            champion = improved[-1][len(improved[-1]) - 1 :]
            self._select(champion, island.number)

    def _select(self, champion: Population, island: int) -> None:
        """Score one candidate on the selection tasks; keep it where it is the best of the run so far."""
        score = float(self.selection(self.problem.space.phenotypes(champion)).objectives[0, 0])
        best = self.halloffame[0].fitness.values[0] if len(self.halloffame) else -np.inf
        champion.fitness[0, 0] = score
        self.halloffame.update([champion.individual(0)])
        if score > best:
            self._add(champion, "selected", island)
            self.archive.log("selected", id=int(champion.ids[0]), score=score, evaluations=self.evaluations, experiment=self.experiment)

    def _add(self, population: Population, event: str, island: int) -> None:
        self.archive.add(population, self.problem.space.keys(population), event, island, self.experiment, self.evaluations)

    def _snapshot(self, event: str) -> None:
        for island in self.islands:
            self._add(island.strategy.alive, event, island.number)

    def _migrate(self) -> None:
        """Every island sends winners to the next one, all at the same time."""
        count = min(self.config.search.migrants, max(len(self.islands[0].strategy.population) // 2, 1))
        if any(island.strategy.told < len(island.strategy.population) for island in self.islands):
            return
        travellers = [island.strategy.migrants(count, self.rounds * len(self.islands) + island.number) for island in self.islands]
        for island, arrived in zip(self.islands, [travellers[-1], *travellers[:-1]], strict=True):
            if len(arrived):
                island.strategy.tell(arrived)
                island.best = max(island.best, float(arrived.fitness[:, 0].max()))

    def _record(self) -> None:
        alive = np.concatenate([island.strategy.alive.fitness[:, 0] for island in self.islands])
        self.logbook.record(gen=self.rounds, nevals=self.evaluations, **self.statistics.compile(alive))
        entry = {name: float(value) for name, value in self.statistics.compile(alive).items()}
        best = self.halloffame[0].fitness.values[0] if len(self.halloffame) else None
        self.archive.log("round", round=self.rounds, evaluations=self.evaluations, experiment=self.experiment, selected=best, **entry)

    def _finished(self) -> str:
        """Why the search is over, or an empty string."""
        search = self.config.search
        if len(self.halloffame) and self.halloffame[0].fitness.values[0] > self.config.stop_at:
            return "stop_at"
        if search.budget and self.evaluations >= search.budget:
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

    # -- the end -----------------------------------------------------------------------------------------------------------

    def _progress(self) -> Progress:
        best = self.halloffame[0] if len(self.halloffame) else None
        return Progress(
            self.evaluations, self.seconds, self.experiment, max(island.best for island in self.islands),
            best.fitness.values[0] if best else float("nan"), self.problem.space.format(best.genotype) if best else "",
            self.logbook[-1]["mean"] if self.logbook else float("nan"), self.counts,
        )  # fmt: skip

    def _result(self, reason: str) -> Result:
        best = self.describe(self.halloffame[0]) if len(self.halloffame) else None
        return Result(self.archive.folder, self.evaluations, self.seconds, reason, best, self.counts, None, self.halloffame, self.logbook)

    def describe(self, individual: Individual) -> dict[str, Any]:
        """A candidate as plain values; its objective is the one on the selection tasks."""
        return {
            "id": individual.id,
            "key": self.problem.space.key(individual.genotype),
            "objectives": {self.problem.objective: float(individual.fitness.values[0])},
            "text": self.problem.space.format(individual.genotype),
        }

    def _test(self) -> dict[str, Any] | None:
        """The selected candidate on tasks that neither search nor selection saw."""
        if not len(self.halloffame):
            return None
        return test(self.problem, self.halloffame[0].genotype)


def test(problem: Problem, genotype: Any) -> dict[str, Any]:
    """Score a genotype on the test tasks: the mean, and every task by name."""
    tasks = problem.task.test()
    evaluator = problem.evaluator(tasks, exact=True)
    per_task = evaluator.per_task(problem.space.phenotypes(Population.of(problem.space.schema, [genotype])))[0]
    return {problem.objective: float(per_task.mean()), "tasks": dict(zip(tasks.names, map(float, per_task), strict=True))}


def resume(folder: Path, budget: int | None = None, seconds: float | None = None, workers: int | None = None) -> Search:
    """A search that goes on where the run's checkpoint is. Raises InputError."""
    values = {key: value for key, value in read_config(folder).items() if key != "versions"}
    changes: dict[str, Any] = {"search": {}}
    if budget is not None:
        changes["search"]["budget"] = budget
    if seconds is not None:
        changes["search"]["seconds"] = seconds
    if workers is not None:
        changes["workers"] = workers
    config = stored_config(folder, values, changes)
    out = Search(config, folder)
    out.restore()
    return out


def stored_config(folder: Path, values: dict[str, Any] | None = None, changes: dict[str, Any] | None = None) -> Config:
    """The configuration that a run was made with. Its preset has been resolved already, so none is laid under it."""
    values = values or {key: value for key, value in read_config(folder).items() if key != "versions"}
    system = values.pop("system", "custom")
    config = build((str(folder / "run.toml"), values), ("resume", changes or {}))
    return config.model_copy(update={"system": system})


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
