"""The one loop: ask, evaluate, tell, archive; with islands on threads, restarts, selection on unseen tasks, and resume.

Everything that decides a result is a function of the configuration and the candidates' numbers, never of time or of the number of workers:
islands meet at the end of a round, whose length is counted in candidates and training steps. A run is therefore its checkpoint plus replay.
(The C library's exp, log and cos may differ in the last bit between machines, and a run with them.)

Departures from AutoML-Zero's published program: it evaluates one candidate an experiment on the selection tasks, the best when the experiment
ends, and draws fresh ones each time; here every island's best of every round is tried on one fixed set, and the search stops at once.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from evoml.archive.archive import read_result
from evoml.config import Config
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.genotypes.population import Population
from evoml.search.islands import Island, whole
from evoml.search.problem import stored_config
from evoml.search.run import Progress, Result, Run, Show, cores, statistics


class Search(Run):
    """Islands of populations in rounds, with selection on tasks of their own: for candidates that cost microseconds."""

    def __init__(self, config: Config, folder: Path) -> None:
        super().__init__(config, folder)
        self.islands = [Island(self.problem, number, self.given) for number in range(config.search.islands)]
        self.selection = self.problem.evaluator(self.problem.task.select(), exact=True)
        self.statistics = statistics()
        self.experiment = self.rounds = self.experiment_from = self.experiment_steps = self.snapshots = 0
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

    def _load(self, state: dict[str, Any]) -> None:
        for name in ("experiment", "rounds", "experiment_from", "experiment_steps", "snapshots"):
            setattr(self, name, whole(state, name))
        self.retired = {name: whole(state["retired"], name) for name in state["retired"]}
        self._begin()
        for island, saved in zip(self.islands, state["islands"], strict=True):
            island.load_state_dict(saved)

    def save(self) -> None:
        """Make a checkpoint. Raises archive.DiskError."""
        names = ("experiment", "rounds", "experiment_from", "experiment_steps", "snapshots", "retired")
        self._save({name: getattr(self, name) for name in names} | {"islands": [island.state_dict() for island in self.islands]})

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make a first checkpoint, so that the run can be resumed from now on; then compile what the search needs, or load it from the disk."""
        self._saved = time.monotonic()
        if self.rounds == 0 and self.evaluations == 0:
            self.save()
        space, stream = self.problem.space, np.zeros(1, np.uint64)
        self.selection(space.phenotypes(space.mutate(space.random(stream), np.zeros(1, np.int64), stream)))
        self._ready()
        self.islands[0].evaluator.warm()
        if self.islands[0].engine is not None:
            self.islands[0].engine.warm()

    def run(self, show: Show = lambda progress: None, stop: threading.Event | None = None) -> Result:
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
                    return self._result("interrupted", self.counts)
                reason = self._finished()
                if self._due and not shortened:
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
        result = self._result(reason, self.counts)
        result.test = None if self.champion is None else self.problem.test(self.champion.genotype)
        self._store_result(result)
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

    def _finished(self) -> str:
        """Why the search is over, or an empty string."""
        search = self.config.search
        if self._above_target:
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


def open_search(config: Config, folder: Path) -> Run:
    """The loop that fits a configuration: islands in rounds; a steady state where a candidate is costly or simulated to be; or whole generations."""
    generational = hasattr(load("strategies", config.name("strategy")).Strategy, "generational")
    if generational != hasattr(load("spaces", config.name("space")).Space, "breed"):
        raise InputError(
            f"strategy: {config.name('strategy')}: does not fit space {config.name('space')}: genomes that grow, as those of neat, need the strategy "
            "neat, and it needs them"
        )
    if generational:
        from evoml.search.generations import Generations

        return Generations(config, folder)
    if hasattr(load("evaluators", config.name("evaluator")).Evaluator, "costly"):
        from evoml.search.steady_state import Steady

        return Steady(config, folder)
    return Search(config, folder)


def resume(
    folder: Path, budget: int | None = None, seconds: float | None = None, workers: int | None = None, data: Path | None = None
) -> Run:
    """A search that goes on where the run's checkpoint is, with other limits where they are given. Raises InputError.

    data: where the run's data file is now, if it was moved.
    """
    limits = {name: value for name, value in (("budget", budget), ("seconds", seconds)) if value is not None}
    changes: dict[str, Any] = {"search": limits} | ({} if workers is None else {"workers": workers})
    if data is not None:
        changes["task"] = {"data": str(data)}
    out = open_search(stored_config(folder, changes), folder)
    out.restore()
    ended = read_result(folder) or {"evaluations": 0, "seconds": 0.0}
    had = {"budget": max(out.evaluations, ended["evaluations"]), "seconds": max(out.seconds, ended["seconds"])}
    for name, limit in limits.items():
        if 0 < limit < had[name]:
            raise InputError(f"resume: --{name} {limit:g}: the run has had {had[name]:,} already; give more")
    if limits or data is not None:
        out.store_config()
    return out
