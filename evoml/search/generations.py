"""The loop for strategies that breed whole generations: ask for one, evaluate it, tell, test who may be the winner, archive.

Children are bred one after the other on one thread, since innovations are numbered in their order; networks are tried on all cores. A checkpoint lies between two generations, so
a resumed run begins the one that was cut off again and ends with the same rows. A generation that would pass the budget is not begun.
"""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from evoml.config import Config
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.genotypes.population import Population
from evoml.search.islands import whole
from evoml.search.run import Progress, Result, Run, Show, cores, statistics
from evoml.search.toolbox import toolbox

PATIENCE = 5.0  # seconds of a generation before how far it is is shown


class Generations(Run):
    """One population in generations, with selection on tasks of their own."""

    def __init__(self, config: Config, folder: Path) -> None:
        super().__init__(config, folder)
        if config.search.islands > 1:
            raise InputError(f"search.islands: {config.search.islands}: species are the islands of this strategy; leave it at 1")
        size, budget = config.part("strategy").population, config.search.budget
        if 0 < budget < size:
            raise InputError(f"search.budget: {budget:,}: less than one generation of {size:,} (strategy.population)")
        self.evaluator = self.problem.evaluator(self.problem.task.search(0))
        self.selection = self.problem.evaluator(self.problem.task.select(), exact=True)
        self.evaluator.workers = self.selection.workers = config.workers or cores()
        self.toolbox = toolbox(self.problem.space, self.evaluator, self.weights)
        strategy = load("strategies", config.name("strategy"))
        self.strategy = strategy.Strategy(self.toolbox, config.part("strategy"), config.search.seed, self.given)
        self.statistics = statistics()
        self.generation = self.asked = self.snapshots = 0
        self.best = -np.inf  # quality in search
        self.failure = ""  # why the first network of the run failed that did
        self._written = -1, ""

    @property
    def evaluations(self) -> int:
        return self.asked

    def create(self) -> None:
        """Make the run folder. Raises InputError if it is there, or where the task's own code cannot be run."""
        self.evaluator.check()
        super().create()

    # -- state -------------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Make a checkpoint. Raises archive.DiskError."""
        names = ("generation", "asked", "snapshots", "best", "failure")
        parts = {"strategy": self.strategy.state_dict(), "evaluator": self.evaluator.state_dict()}
        self._save({name: getattr(self, name) for name in names} | parts)

    def _load(self, state: dict[str, Any]) -> None:
        for name in ("generation", "asked", "snapshots"):
            setattr(self, name, whole(state, name))
        self.best, self.failure = float(state["best"]), str(state.get("failure", ""))
        self.strategy.load_state_dict(state["strategy"])
        self.evaluator.load_state_dict(state["evaluator"])

    def prepare(self) -> None:
        self._saved = time.monotonic()
        if self.generation == 0:
            self.save()
        self._ready()
        self._compile()

    def _compile(self) -> None:
        """Breed, tell apart and try two networks, so that compilation is not counted as search."""
        space, stream = self.problem.space, np.arange(2, dtype=np.uint64)
        parents = space.random(stream)
        children = space.mutate(parents, np.zeros(2, np.int64), stream)
        space.speciate(children, parents, (1.0, 1.0, 1.0), 0, 1.0, False)
        self.strategy.warm()
        self.evaluator.warm(space.phenotypes(children))

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def run(self, show: Show = lambda progress: None, stop: threading.Event | None = None) -> Result:
        """Search until the budget, the time or the target is reached, or `stop` is set. Raises archive.DiskError."""
        stop = stop or threading.Event()
        while not (reason := "interrupted" if stop.is_set() else self._finished()):
            began = time.monotonic()
            self._generation(show)
            self.seconds += time.monotonic() - began
            if self._due:
                self.save()
            show(self._progress())
        self.save()
        return self._result(reason, self.evaluator.counts) if reason == "interrupted" else self._end(reason)

    def _generation(self, show: Show = lambda progress: None) -> None:
        population = self.strategy.ask(self.asked + np.arange(self.strategy.settings.population))
        self._score_all(population, show)
        self.asked += len(population)
        self.strategy.tell(population)
        self.generation += 1
        self._fail(self.evaluator.failure)
        self._notice(population)
        self._select(population.take(self.strategy.tested()))
        interval = self.config.archive.snapshot
        if interval and self.asked // interval > self.snapshots:
            self.snapshots = self.asked // interval
            self._add(population, "snapshot")
        self._record(population)

    def _score_all(self, population: Population, show: Show) -> None:
        """Try a generation, and show how far it is where that takes long."""
        began = time.monotonic()

        def watch(tried: int, failed: int) -> None:
            if (passed := time.monotonic() - began) > PATIENCE:
                lost = f", {failed:,} failed" if failed else ""
                show(
                    self._progress(
                        tried, failed, passed, f"generation {self.generation + 1:,}: {tried:,} of {len(population):,} tried{lost}"
                    )
                )

        self.evaluator.watched(watch)
        try:
            self.toolbox.score(population)
        finally:
            self.evaluator.watched(None)

    def _fail(self, why: str) -> None:
        """Keep why the first network failed."""
        if why and not self.failure:
            self.failure = why
            self.archive.log("failure", generation=self.generation, evaluations=self.asked, text=why)

    def _notice(self, population: Population) -> None:
        """Archive every improvement, or everything."""
        quality = population.quality
        if self.config.archive.keep == "all":
            self._add(population, "candidate")
        if quality.max() > self.best:
            before = np.maximum.accumulate(np.concatenate([[self.best], quality]))[:-1]
            self._add(population.take(quality > before), "improvement")
            self.best = float(quality.max())

    def _select(self, candidates: Population) -> None:
        """Score candidates on the selection tasks; keep one where it is the best of the run so far."""
        if not len(candidates):
            return
        candidates.fitness[:] = self.selection(self.problem.space.phenotypes(candidates)).objectives
        self._fail(self.selection.failure)
        at = int(candidates.quality.argmax())
        individual = candidates.individual(at)
        if not np.isfinite(individual.fitness.values[0]):
            return
        self.halloffame.update([individual])
        if self.champion is None or individual.fitness > self.champion.fitness:
            self.champion = individual
            self._add(candidates.take(np.array([at])), "selected")
            score = individual.fitness.values[0]
            self.archive.log("selected", id=individual.id, score=score, evaluations=self.asked, generation=self.generation)

    def _add(self, population: Population, event: str) -> None:
        self.archive.add(population, self.problem.space.keys(population), event, 0, 0, self.asked)

    def _record(self, population: Population) -> None:
        fitness = population.fitness[:, 0]
        finite = fitness[np.isfinite(fitness)]
        entry = {name: float(value) for name, value in self.statistics.compile([finite]).items()} if len(finite) else {}
        self.logbook.record(gen=self.generation, nevals=len(population), **entry)
        groups = {"species": self.strategy.report()} if hasattr(self.strategy, "report") else {}
        self.archive.log("generation", generation=self.generation, evaluations=self.asked, selected=self._score(), **entry, **groups)

    @property
    def _text(self) -> str:
        """The champion as text, made anew only when it is another."""
        if self.champion is not None and self.champion.id != self._written[0]:
            space = self.problem.space
            self._written = self.champion.id, space.format(space.essence(self.champion.genotype))
        return self._written[1]

    def _finished(self) -> str:
        """Why the search is over, or an empty string."""
        search = self.config.search
        if self._above_target:
            return "stop_at"
        if search.budget and self.asked + self.strategy.settings.population > search.budget:
            return "budget"
        return "seconds" if search.seconds and self.seconds >= search.seconds else ""

    def _end(self, reason: str) -> Result:
        """Archive the last generation, behind the last checkpoint: a run that is resumed from there writes it again at its own end."""
        if len(self.strategy.alive):
            self._add(self.strategy.alive, "final")
        self.archive.log("end", reason=reason, evaluations=self.asked)
        self.archive.flush()
        result = self._result(reason, self.evaluator.counts)
        result.test = None if self.champion is None else self.problem.test(self.champion.genotype)
        self._store_result(result)
        return result

    def _progress(self, tried: int = 0, failed: int = 0, seconds: float = 0.0, note: str = "") -> Progress:
        """Where the search is; within a generation, with what that has come to so far."""
        score = self._score()
        mean = float(self.logbook[-1].get("mean", np.nan)) if len(self.logbook) else np.nan
        shown = float("nan") if score is None else score
        groups = f", {len(self.strategy.table):,} species" if hasattr(self.strategy, "table") else ""
        counts = self.evaluator.counts | {"failed": self.evaluator.counts["failed"] + failed}
        return Progress(
            self.asked + tried, self.seconds + seconds, 0, self.best * self.weights[0], shown, self._text, mean, counts,
            note or f"generation {self.generation:,}{groups}",
        )  # fmt: skip
