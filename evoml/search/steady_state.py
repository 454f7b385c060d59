"""The loop for costly candidates: a steady state. A child starts as soon as a slot is free, and every candidate is an archived row.

Candidate i is bred from exactly the state after results 0 .. i - W were told, in the order of their ids, whatever the order in which they end; W is
`search.window`, a setting of the run and not the number of workers. So the archive depends on neither the number of workers nor their speed, and slots never
wait for a straggler unless it is W candidates behind. What was asked is in the checkpoint before it is submitted and what is finished before it is told, so
a run killed at any instant loses nothing but the work on candidates that were in flight, and resumed ends with the same rows.

An evaluator or a strategy may have to learn before there is a candidate: a supernet's weights. It does so here, a step a turn, and its epochs are events of the archive. Behind such
a search stands a check of what shared weights are worth (`trust`).
"""

import threading
import time
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from deap import tools

from evoml.config import Config
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.core.streams import TRAIN, streams
from evoml.evaluators import Outcome
from evoml.genotypes.population import DIVERGED, OK, OVER_BUDGET, STATUS, Individual, Population
from evoml.search.audit import Trust
from evoml.search.islands import whole
from evoml.search.run import Progress, Result, Run, Show, cores
from evoml.search.slots import Executor, Inline, Job, Slots
from evoml.search.toolbox import toolbox

DURABLE = 1.0  # seconds: work that took longer is in a checkpoint before anything builds on it
FAILURES = 3  # first searches by gradient that may all diverge before there is no other
TRIES = 500  # first candidates that may all be over a cap before the search gives up
WINDOW = 16
EXHAUSTED, CAPS = "exhausted", "caps"


class Steady(Run):
    """One population, candidates one by one."""

    def __init__(self, config: Config, folder: Path) -> None:
        settings = config.part("strategy")
        alive = getattr(settings, "population", 4 * WINDOW)
        costly = load("evaluators", config.name("evaluator")).Evaluator.costly
        window = config.search.window or (max(1, min(WINDOW, alive // 4)) if costly else 1)
        super().__init__(config.model_copy(update={"search": config.search.model_copy(update={"window": window})}), folder)
        if config.search.islands > 1:
            raise InputError(
                f"search.islands: {config.search.islands}: candidates that are trained one by one have one population; leave it at 1"
            )
        self.window, self.costly = window, costly
        began = time.monotonic()
        self.evaluator = self.problem.evaluator(self.problem.task.search(0))
        if hasattr(self.evaluator, "seed"):
            self.evaluator.seed = config.search.seed
        self.reading = time.monotonic() - began  # seconds to read the data
        if config.search.training_seconds and not getattr(self.evaluator, "timed", True):
            raise InputError("search.training_seconds: this table has no training times; give --budget")
        self.toolbox = toolbox(self.problem.space, self.evaluator, self.weights)
        strategy = load("strategies", config.name("strategy"))
        self.strategy = strategy.Strategy(self.toolbox, settings, config.search.seed, self.given)
        self.learners = [each for each in (self.evaluator, self.strategy) if hasattr(each, "learn")]
        self.choosing = self.evaluator in self.learners  # candidates are scored with shared weights only
        if len(self.learners) > 1:
            raise InputError(
                f"evaluator: {config.name('evaluator')}: strategy {config.name('strategy')} trains a supernet of its own; take evaluator training, or a strategy such as random_search"
            )
        if self.learners and config.search.training_seconds:
            raise InputError("search.training_seconds: does not count the training of a supernet; give --budget or --seconds")
        if self.choosing and len(self.weights) == 1:  # cells of one function have the same score, and are one
            self.halloffame = tools.HallOfFame(10, similar=lambda one, other: self._key(one) == self._key(other))
        self.trust = Trust(self.problem, self.learners[0], self.choosing) if self.learners and config.search.trust else None
        self.checked: dict[str, Any] | None = None  # what shared weights turned out to be worth
        self.chosen: Individual | None = None  # of the best by shared weights, the best when trained alone
        self.retrained: list[tuple[Individual, Outcome]] = []
        self.epoch: dict[str, Any] | None = None  # the last that was learnt
        self.asked = self.told = 0
        self.cost = 0.0  # seconds of training of all that were told, as the evaluator gives them
        self.tally = dict.fromkeys(STATUS[1:], 0)
        self.waiting: dict[int, Population] = {}  # asked and not told, each a population of one
        self.finished: dict[int, Outcome] = {}  # of those
        self.rows: list[tuple[Population, Outcome]] = []  # told and in no part yet
        self._since = time.monotonic()

    @property
    def _learner(self) -> Any:
        """Who has to learn before there is a candidate, or None."""
        return next((each for each in self.learners if each.learning), None)

    @property
    def under_way(self) -> bool:
        """Whether something has been learnt already."""
        return any(each.step > 0 for each in self.learners)

    def _key(self, individual: Individual) -> str:
        return str(self.problem.space.key(individual.genotype))

    @property
    def evaluations(self) -> int:
        return self.told

    @property
    def counts(self) -> dict[str, int]:
        """Candidates by how they ended."""
        return {"candidates": self.told, **{name: count for name, count in self.tally.items() if count}}

    # -- state -------------------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Make a checkpoint. Raises archive.DiskError."""
        waiting = [{"population": self.waiting[id].state(), **_plain(self.finished.get(id))} for id in sorted(self.waiting)]
        rows = [{"population": population.state(), **_plain(outcome)} for population, outcome in self.rows]
        self._save(
            {
                "asked": self.asked, "told": self.told, "cost": self.cost, "tally": self.tally, "waiting": waiting, "rows": rows,
                "strategy": self.strategy.state_dict(),
            }
            | ({"evaluator": self.evaluator.state_dict()} if self.choosing else {})
            | ({"epoch": self.epoch} if self.learners else {})
            | ({"trust": self.trust.state_dict()} if self.trust else {})
        )  # fmt: skip

    def _load(self, state: dict[str, Any]) -> None:
        self.asked, self.told = whole(state, "asked"), whole(state, "told")
        self.cost, self.tally = float(state["cost"]), {name: whole(state["tally"], name) for name in self.tally}
        for each in state["waiting"]:
            population = self._one(each)
            self.waiting[int(population.ids[0])] = population
            if each["outcome"] is not None:
                self.finished[int(population.ids[0])] = self._outcome(each)
        if sorted(self.waiting) != list(range(self.told, self.asked)) or len(state["waiting"]) != len(self.waiting):
            raise ValueError("not the candidates that were asked and not told")
        self.rows = [(self._one(each), self._outcome(each)) for each in state["rows"]]
        if [int(population.ids[0]) for population, _ in self.rows] != list(range(self.told - len(self.rows), self.told)):
            raise ValueError("not the last candidates that were told")
        if sum(self.tally.values()) != self.told:
            raise ValueError("not how the candidates that were told ended")
        self.strategy.load_state_dict(state["strategy"])
        if self.choosing:
            self.evaluator.load_state_dict(state["evaluator"])
        if self.trust:
            self.trust.load_state_dict(state["trust"])
        if self.learners:
            self.epoch = state["epoch"]

    def _one(self, each: dict[str, Any]) -> Population:
        population = Population.from_state(self.problem.space.schema, each["population"], self.weights)
        if len(population) != 1:
            raise ValueError("not one candidate")
        return population

    def _outcome(self, each: dict[str, Any]) -> Outcome:
        objectives, status, seconds, curve = each["outcome"]
        objectives = tuple(map(float, objectives))
        if len(objectives) != len(self.weights) or any(map(isnan, objectives)) or not 0 < int(status) < len(STATUS):
            raise ValueError("not an outcome")
        return Outcome(objectives, int(status), float(seconds), tuple(map(float, curve)))

    def prepare(self) -> None:
        self._saved = time.monotonic()
        if self.asked == 0:
            self.save()
        self._ready()
        self.workers = min(self.config.workers or cores(), self.window)
        if not self.costly or self.workers == 1:
            self.evaluator.warm()
        if self.strategy in self.learners:
            self.strategy.warm()

    # -- the loop ----------------------------------------------------------------------------------------------------------

    def run(self, show: Show = lambda progress: None, stop: threading.Event | None = None) -> Result:
        stop = stop or threading.Event()
        reason = self._finished() or self._searched(show, stop)
        if reason != "interrupted" and self.trust and self.champion is not None and not self._check(show, stop):
            reason = "interrupted"
        if reason == "interrupted":
            self._keep(full=True)
            return self._result(reason, self.counts)
        return self._end(reason)

    def _searched(self, show: Show, stop: threading.Event) -> str:
        """Search until something ends it: what."""
        limit = float(getattr(self.evaluator.settings, "timeout", 0.0))
        slots: Executor = (
            Slots(self.problem, self.workers, limit, self.evaluator.worst, self.reading)
            if self.costly and self.workers > 1
            else Inline(self.evaluator)
        )
        try:
            for id in sorted(self.waiting):
                if id not in self.finished:
                    self._submit(slots, id)
            return self._search(slots, show, stop)
        finally:
            slots.close()

    def _search(self, slots: Executor, show: Show, stop: threading.Event) -> str:
        """Ask, wait, tell, until something ends it: what."""
        began, shown, unsaved = time.monotonic() - self.seconds, 0.0, 0.0  # seconds of training that are in no checkpoint
        while not stop.is_set():
            if learner := self._learner:
                if reason := self._finished():
                    return reason
                self._learn(learner, show)
                self.seconds = time.monotonic() - began
                continue
            self._advance(slots)
            self.seconds = time.monotonic() - began
            if reason := self._finished():
                return reason
            if not self.waiting:
                if self._learner:
                    continue
                return EXHAUSTED
            done = slots.next(0.2)
            self.seconds = time.monotonic() - began
            if done is not None:
                id, outcome = done
                self.finished[id] = outcome
                unsaved += outcome.seconds if self.costly else 0.0
            if unsaved > DURABLE or (done is not None and time.monotonic() - self._saved > DURABLE):
                self._keep(full=time.monotonic() - self._since > self.config.archive.interval or len(self.rows) > 1000)
                unsaved = 0.0
            if self.told and (time.monotonic() - shown > 0.1):
                shown = time.monotonic()
                show(self._progress())
        return "interrupted"

    def _learn(self, learner: Any, show: Show) -> None:
        """One step of what has to be learnt before there are candidates; its epochs are events."""
        try:
            report = learner.learn()
        except InputError as error:
            self.archive.flush()  # the epochs so far can be seen; a resumed run begins at the checkpoint
            raise InputError(f"{error}; what there is so far is in {self.archive.folder}") from None
        if report is not None:
            self.archive.log("epoch", **report)
            self.epoch = report
        if why := getattr(learner, "failure", ""):
            self.archive.log("diverged", search=learner.search, step=learner.diverged, why=why)
        if time.monotonic() - self._saved > self.config.archive.interval:
            self.save()
        show(self._progress())

    def _check(self, show: Show, stop: threading.Event) -> bool:
        """Find out what shared weights are worth; False where it was stopped."""
        assert self.trust is not None
        self._keep(full=True)
        check = self.trust.plan(list(self.halloffame), [] if self.choosing else self.strategy.trained)
        began = time.monotonic() - self.seconds

        def after(done: int, of: int) -> None:
            self.save()
            note = f"what shared weights are worth: {done} of {of} trained alone"
            show(replace(self._progress(), seconds=time.monotonic() - began, note=note))

        if not self.trust.train(check, self.config.workers or cores(), after, stop.is_set):
            return False
        chosen = check.chosen(self.trust.alone, self.weights[0]) if self.choosing else None
        loss = None if self.epoch is None else float(self.epoch["loss"])
        self.checked, self.chosen = self.trust.report(check, chosen or self.champion, loss), chosen
        self.retrained = [(individual, self.trust.alone[individual.id]) for individual in check.best]
        return True

    def _selected(self, individual: Individual, outcome: Outcome) -> None:
        """Archive one that was trained alone."""
        row = Population.of(self.problem.space.schema, [individual.genotype], self.weights)
        row.ids[0], row.status[0], row.fitness[0] = individual.id, outcome.status, individual.fitness.values
        row.fitness[0, 0] = outcome.objectives[0]
        self.archive.add(row, self.problem.space.keys(row), "selected", 0, 0, self.told, [outcome.seconds], [list(outcome.curve)])

    def _advance(self, slots: Executor) -> None:
        """Tell what is finished, in order, and behind every one breed what may be bred then."""
        fresh = self._ask()
        while self.told in self.finished and not self._finished():
            self._tell()
            fresh += self._ask()
        if fresh and self.costly and time.monotonic() - self._saved > DURABLE:
            self.save()
        for id in fresh:
            self._submit(slots, id)

    def _ask(self) -> list[int]:
        """Breed as many as the window allows, also beyond the budget: with a larger one they would have been bred now."""
        fresh = []
        while self.asked - self.told < self.window:
            population = self.strategy.ask(np.array([self.asked]))
            if not len(population):
                break  # it has to be told more first
            self.waiting[self.asked] = population
            fresh.append(self.asked)
            self.asked += 1
        return fresh

    def _submit(self, slots: Executor, id: int) -> None:
        budget = self.config.search.budget
        if getattr(self.strategy, "failure", ""):  # a search by gradient that came to nothing: what it would have derived is not trained
            self.finished[id] = Outcome(self.evaluator.worst, DIVERGED)
        elif not budget or id < budget:
            stream = int(streams(self.config.search.seed, TRAIN, np.array([id]))[0])
            slots.submit(Job(id, self.waiting[id].genotype(0), stream))

    def _tell(self) -> None:
        """Tell the next candidate."""
        population, outcome = self.waiting.pop(self.told), self.finished.pop(self.told)
        population.fitness[0], population.status[0] = outcome.objectives, outcome.status
        self.strategy.tell(population)
        self.told += 1
        self.cost += outcome.seconds
        self.tally[STATUS[outcome.status]] += 1
        self.rows.append((population, outcome))
        if outcome.status == OK:
            self._notice(population)

    def _notice(self, population: Population) -> None:
        individual = population.individual(0)
        self.halloffame.update([individual])
        if (
            self.champion is None or individual.fitness > self.champion.fitness
        ):  # of equals in the first objective by the next, as DEAP compares
            self.champion = individual
            score = float(population.fitness[0, 0])
            self.archive.log("improvement", id=individual.id, score=score, evaluations=self.told, seconds=self.seconds, cost=self.cost)
            self.logbook.record(gen=self.told, nevals=self.told, max=score)

    def _keep(self, full: bool) -> None:
        """Make a checkpoint; `full`: with a part of all rows there are."""
        if full:
            for population, outcome in self.rows:
                keys = self.problem.space.keys(population)
                self.archive.add(population, keys, "candidate", 0, 0, int(population.ids[0]) + 1, [outcome.seconds], [list(outcome.curve)])
            self.rows, self._since = [], time.monotonic()
        self.save()

    def _finished(self) -> str:
        """Why the search is over, or an empty string."""
        search = self.config.search
        if self._above_target:
            return "stop_at"
        if search.budget and self.told >= search.budget:
            return "budget"
        if self.told >= TRIES and self._hopeless:
            return CAPS
        if self.told >= FAILURES and len(getattr(self.strategy, "failed", ())) == self.told:
            return STATUS[DIVERGED]
        if search.training_seconds and self.cost >= search.training_seconds:
            return "training_seconds"
        return "seconds" if search.seconds and self.seconds >= search.seconds else ""

    @property
    def _hopeless(self) -> bool:
        """Whether everyone so far was over a cap."""
        return 0 < self.told == self.tally[STATUS[OVER_BUDGET]]

    def _end(self, reason: str) -> Result:
        """Archive what is left and say how it ended. Raises InputError where no candidate is within the caps, and where every search by gradient diverged."""
        self._keep(full=True)
        for individual, outcome in self.retrained:
            self._selected(individual, outcome)
        if self.checked is not None:
            self.archive.log("trust", **self.checked)
        self.archive.log("end", reason=reason, evaluations=self.told)
        self.archive.flush()
        result = self._result(reason, self.counts)
        if self.chosen is not None and self.checked is not None:
            result.best = self.describe(self.chosen) | {"alone": {self.problem.alone.objective: self.checked["found"]}}
        result.trust, result.check_seconds = self.checked, self.trust.seconds if self.trust else 0.0
        if self.champion is not None and not self.costly and not self.learners:
            result.test = self.evaluator.test(self.champion.genotype)
        self._store_result(result)
        if self.champion is None and (why := getattr(self.strategy, "failure", "")):
            raise InputError(f"{why}; what there is so far is in {self.archive.folder}")
        if self._hopeless:
            caps = [
                f"{name} = {value:,}" for name, value in self.evaluator.settings.model_dump().items() if name.startswith("max_") and value
            ]
            raise InputError(
                f"evaluator: none of the first {self.told:,} candidates is within {', '.join(caps)}; allow more, or make space.skeleton smaller. "
                f"They stay in {self.archive.folder}: remove it, or name another with --run"
            )
        return result

    def _progress(self) -> Progress:
        space = self.problem.space
        best = float("nan") if self.champion is None else self.champion.fitness.values[0]
        text = "" if self.champion is None else space.format(self.champion.genotype)
        alive = self.strategy.fitness
        mean = float(np.mean(alive[np.isfinite(alive)])) if np.isfinite(alive).any() else float("nan")
        return Progress(self.told, self.seconds, 0, best, best, text, mean, self.counts, self._note)

    @property
    def _note(self) -> str:
        """How far what has to be learnt is, in words; empty where nothing has."""
        learnt = self.epoch
        if not self._learner:
            return ""
        if learnt is None:
            return "first epoch"
        if (search := getattr(self._learner, "search", learnt["search"])) != learnt["search"]:
            return f"search {search}, first epoch"
        return f"search {learnt['search']}, epoch {learnt['epoch']} of {learnt['epochs']}, loss {learnt['loss']:.4f}"


def _plain(outcome: Outcome | None) -> dict[str, Any]:
    return {"outcome": None if outcome is None else [list(outcome.objectives), outcome.status, outcome.seconds, list(outcome.curve)]}
