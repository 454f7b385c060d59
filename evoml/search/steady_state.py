"""The loop for costly candidates: a steady state. A child starts as soon as a slot is free, and
every candidate is an archived row.

Candidate i is bred from exactly the state after results 0 .. i - W were told, in the order of their
ids, whatever the order in which they end; W is `search.window`, a setting of the run and not the
number of workers. So the archive depends on neither the number of workers nor their speed, and
slots never wait for a straggler unless it is W candidates behind. What was asked is in the
checkpoint before it is submitted and what is finished before it is told, so a run killed at any
instant loses nothing but the work on candidates that were in flight, and resumed ends with the same
rows.

An evaluator or a strategy may have to learn before there is a candidate: a supernet's weights
(`learning`). Behind such a search stands an audit of what shared weights are worth (`audit`).
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from deap import tools

from evoml.config import Config
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.executor import Executor, Halted, Job, Stage
from evoml.contracts.part import evaluator_class, strategy_class
from evoml.core.errors import InputError
from evoml.core.streams import TRAIN, streams
from evoml.core.wording import plural
from evoml.genotypes.population import DIVERGED, OK, OVER_BUDGET, STATUS, Individual, Population
from evoml.search.audit import SharedWeightsAudit
from evoml.search.islands import whole
from evoml.search.learning import Learning
from evoml.search.run import Progress, Result, Run, Show, cores
from evoml.search.slots import Slots
from evoml.search.toolbox import toolbox
from evoml.workers.inline import Inline

DURABLE = 1.0  # seconds: work that took longer is in a checkpoint before anything builds on it
FAILURES = 3  # first searches by gradient that may all diverge before there is no other
TRIES = 500  # first candidates that may all be over a cap before the search gives up
# of a training, after which it can be said how long it takes: the first one warms up
FIRST_STEPS, FIRST_SECONDS = 20, 2.0
WINDOW = 16
EXHAUSTED, CAPS = "exhausted", "caps"


class SteadyState(Run):
    """One population, candidates one by one."""

    def __init__(self, config: Config, folder: Path) -> None:
        settings = config.part("strategy")
        self.costly = evaluator_class(config.name("evaluator")).costly
        alive = settings.alive or 4 * WINDOW
        self.window = config.search.window or (
            max(1, min(WINDOW, alive // 4)) if self.costly else 1
        )
        super().__init__(
            config.model_copy(
                update={"search": config.search.model_copy(update={"window": self.window})}
            ),
            folder,
        )
        if config.search.islands > 1:
            raise InputError(
                f"search.islands: {config.search.islands}: candidates that are trained one by one "
                "have one population; leave it at 1"
            )
        began = time.monotonic()
        self.evaluator = self._evaluator()
        self.reading = time.monotonic() - began  # seconds to read the data
        if config.search.training_seconds and not self.evaluator.timed:
            raise InputError(
                "search.training_seconds: this table has no training times; give --budget"
            )
        self.toolbox = toolbox(self.problem.space, self.evaluator)
        self.strategy = strategy_class(config.name("strategy"))(
            self.toolbox, settings, config.search.seed, self.start_genotypes
        )
        self.learning = self._learning()
        self.scores_are_shared = (
            self.learning is not None and self.learning.learner.scores_candidates
        )
        # cells of one function have the same score, and are one
        if self.scores_are_shared and len(self.weights) == 1:
            self.halloffame = tools.HallOfFame(
                10, similar=lambda one, other: self._key(one) == self._key(other)
            )
        audited = self.learning is not None and config.search.audit > 0
        self.audit = (
            SharedWeightsAudit(self.problem, self.learning.learner)
            if audited and self.learning
            else None
        )
        self.asked = self.told = 0
        self.cost = 0.0  # seconds of training of all that were told, as the evaluator gives them
        self.tally = dict.fromkeys(STATUS[1:], 0)
        self.waiting: dict[int, Population] = {}  # asked and not told, each a population of one
        self.finished: dict[int, Evaluation] = {}  # of those
        self.rows: list[tuple[Population, Evaluation]] = []  # told and in no part yet
        self.workers = 1
        self._executor: Executor | None = None
        self._began = self._shown = 0.0
        self._since = time.monotonic()

    def _evaluator(self) -> CandidateEvaluator:
        out = self.problem.evaluator(self.problem.task.search(0))
        assert isinstance(out, CandidateEvaluator)
        out.seed = self.config.search.seed
        return out

    def _learning(self) -> Learning | None:
        """What has to be learnt before there are candidates.

        Raises InputError where two parts would learn.
        """
        learners = [
            each for each in (self.evaluator.learner, self.strategy.learner) if each is not None
        ]
        if len(learners) > 1:
            raise InputError(
                f"evaluator: {self.evaluator.name}: strategy {self.strategy.name} trains a "
                "supernet of its own; take evaluator training, or a strategy such as random_search"
            )
        if learners and self.config.search.training_seconds:
            raise InputError(
                "search.training_seconds: does not count the training of a supernet; give --budget "
                "or --seconds"
            )
        return Learning(learners[0], self.archive) if learners else None

    def _key(self, individual: Individual) -> str:
        return self.problem.space.key(individual.genotype)

    @property
    def evaluations(self) -> int:
        return self.told

    @property
    def counts(self) -> dict[str, int]:
        """Candidates by how they ended."""
        return {
            "candidates": self.told,
            **{name: count for name, count in self.tally.items() if count},
        }

    @property
    def under_way(self) -> bool:
        return self.told > 0 or (self.learning is not None and self.learning.under_way)

    @property
    def compiles(self) -> bool:
        return self.learning is not None

    @property
    def evaluates_here(self) -> bool:
        return self.costly and self.workers == 1

    @property
    def idle_workers(self) -> str:
        wanted = self.config.workers or cores()
        if not self.costly or self.workers >= wanted:
            return ""
        alive = self.config.part("strategy").alive
        of = f" (a quarter of the population of {alive:,})" * (self.window == alive // 4)
        return (
            f"search.window = {self.window}{of} lets {plural(self.window, 'candidate')} be trained "
            f"at a time, so {self.workers} of {wanted} workers do something"
        )

    # -- state -------------------------------------------------------------------------------------

    def save(self) -> None:
        waiting = [
            {"population": self.waiting[id].state(), **_plain(self.finished.get(id))}
            for id in sorted(self.waiting)
        ]
        rows = [
            {"population": population.state(), **_plain(evaluation)}
            for population, evaluation in self.rows
        ]
        self._save(
            {
                "asked": self.asked, "told": self.told, "cost": self.cost, "tally": self.tally,
                "waiting": waiting, "rows": rows, "strategy": self.strategy.state_dict(),
            } | ({"evaluator": self.evaluator.state_dict()} if self.scores_are_shared else {}) | (
                {"epoch": self.learning.epoch} if self.learning else {}
            ) | ({"trust": self.audit.state_dict()} if self.audit else {})
        )  # fmt: skip

    def _load(self, state: dict[str, Any]) -> None:
        self.asked, self.told = whole(state, "asked"), whole(state, "told")
        self.cost, self.tally = (
            float(state["cost"]),
            {name: whole(state["tally"], name) for name in self.tally},
        )
        for each in state["waiting"]:
            population = self._one(each)
            self.waiting[int(population.ids[0])] = population
            if each["outcome"] is not None:
                self.finished[int(population.ids[0])] = self._evaluation(each)
        if sorted(self.waiting) != list(range(self.told, self.asked)) or len(
            state["waiting"]
        ) != len(self.waiting):
            raise ValueError("not the candidates that were asked and not told")
        self.rows = [(self._one(each), self._evaluation(each)) for each in state["rows"]]
        if [int(population.ids[0]) for population, _ in self.rows] != list(
            range(self.told - len(self.rows), self.told)
        ):
            raise ValueError("not the last candidates that were told")
        if sum(self.tally.values()) != self.told:
            raise ValueError("not how the candidates that were told ended")
        self.strategy.load_state_dict(state["strategy"])
        if self.scores_are_shared:
            self.evaluator.load_state_dict(state["evaluator"])
        if self.audit:
            self.audit.load_state_dict(state["trust"])
        if self.learning:
            self.learning.epoch = state["epoch"]

    def _one(self, each: dict[str, Any]) -> Population:
        population = Population.from_state(
            self.problem.space.schema, each["population"], self.weights
        )
        if len(population) != 1:
            raise ValueError("not one candidate")
        return population

    def _evaluation(self, each: dict[str, Any]) -> Evaluation:
        return Evaluation.from_plain([each["outcome"]], len(self.weights))

    def prepare(self) -> None:
        self._saved = time.monotonic()
        if self.asked == 0:
            self.save()
        self._import_arrow()
        self.workers = min(self.config.workers or cores(), self.window)
        if not self.costly or self.workers == 1:
            self.evaluator.warm()
        self.strategy.warm()

    # -- the loop ----------------------------------------------------------------------------------

    def _loop(self, show: Show, stop: threading.Event) -> str:
        reason = self._finished() or self._searched(show, stop)
        if (
            reason != "interrupted"
            and self.audit
            and self.champion is not None
            and not self._audited(show, stop)
        ):
            reason = "interrupted"
        self._checkpoint(full=True)
        return reason

    def _searched(self, show: Show, stop: threading.Event) -> str:
        """Search until something ends it: what."""
        executor: Executor = (
            Slots(
                self.problem,
                self.workers,
                self.evaluator.timeout,
                self.evaluator.worst,
                self.reading,
            )
            if self.costly and self.workers > 1
            else Inline(self.evaluator, lambda: self._watch(show, stop))
        )
        self._executor = executor
        self._began, self._shown = time.monotonic() - self.seconds, 0.0
        try:
            for id in sorted(self.waiting):
                if id not in self.finished:
                    self._submit(executor, id)
            return self._search(executor, show, stop)
        finally:
            executor.close()

    def _search(self, executor: Executor, show: Show, stop: threading.Event) -> str:
        """Ask, wait, tell, until something ends it: what."""
        # seconds of training that are in no checkpoint
        unsaved = 0.0
        while not stop.is_set():
            if self.learning and self.learning.due:
                if reason := self._finished():
                    return reason
                self.learning.step()
                if time.monotonic() - self._saved > self.config.archive.interval:
                    self.save()
                self.seconds = time.monotonic() - self._began
                self._show(show)
                continue
            self._advance(executor)
            self._show(show)
            self.seconds = time.monotonic() - self._began
            if reason := self._finished():
                return reason
            if not self.waiting:
                if self.learning and self.learning.due:
                    continue
                return EXHAUSTED
            done = executor.next(0.2)
            self.seconds = time.monotonic() - self._began
            if done is not None:
                id, evaluation = done
                evaluation.check(self.evaluator.name)
                self.finished[id] = evaluation
                unsaved += float(evaluation.times[0]) if self.costly else 0.0
            if unsaved > DURABLE or (done is not None and time.monotonic() - self._saved > DURABLE):
                self._checkpoint(
                    full=time.monotonic() - self._since > self.config.archive.interval
                    or len(self.rows) > 1000
                )
                unsaved = 0.0
        return "interrupted"

    def _show(self, show: Show) -> None:
        """Show where the search is, now and then."""
        if time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            show(self._progress())

    def _watch(self, show: Show, stop: threading.Event) -> None:
        """Look up from a candidate that is evaluated in this process. Raises Halted where the
        search is over: the candidate is evaluated anew if it is resumed.
        """
        self.seconds = time.monotonic() - self._began
        self._show(show)
        limit = self.config.search.seconds
        if stop.is_set() or (limit and self.seconds >= limit):
            raise Halted

    def _audited(self, show: Show, stop: threading.Event) -> bool:
        """Find out what shared weights are worth; False where it was stopped."""
        assert self.audit is not None and self.learning is not None and self.champion is not None
        self._checkpoint(full=True)
        began = time.monotonic() - self.seconds

        def after(done: int, of: int) -> None:
            self.save()
            note = f"what shared weights are worth: {done} of {of} trained alone"
            show(replace(self._progress(), seconds=time.monotonic() - began, note=note))

        workers = self.config.workers or cores()
        return self.audit.run(
            list(self.halloffame), self.champion, self.learning.loss, workers, after, stop.is_set
        )

    def _advance(self, executor: Executor) -> None:
        """Tell what is finished, in order, and behind every one breed what may be bred then."""
        fresh = self._ask()
        while self.told in self.finished and not self._finished():
            self._tell()
            fresh += self._ask()
        if fresh and self.costly and time.monotonic() - self._saved > DURABLE:
            self.save()
        for id in fresh:
            self._submit(executor, id)

    def _ask(self) -> list[int]:
        """Breed as many as the window allows, also beyond the budget: with a larger one they would
        have been bred now.
        """
        fresh = []
        while self.asked - self.told < self.window:
            population = self.problem.asked(self.strategy, np.array([self.asked]))
            if not len(population):
                break  # it has to be told more first
            if population.ids.tolist() != [self.asked]:
                raise InputError(
                    f"strategy: {self.strategy.name}: asked for candidate {self.asked}, gave "
                    f"{population.ids.tolist()[:5]}; it must have the id that was asked for"
                )
            self.waiting[self.asked] = population
            fresh.append(self.asked)
            self.asked += 1
        return fresh

    def _submit(self, executor: Executor, id: int) -> None:
        budget = self.config.search.budget
        # a search that came to nothing: what it would have derived is not trained
        if self.learning and self.learning.learner.failure:
            self.finished[id] = self.evaluator.worst_evaluation(DIVERGED)
        elif not budget or id < budget:
            stream = int(streams(self.config.search.seed, TRAIN, np.array([id]))[0])
            executor.submit(Job(self.waiting[id], stream))

    def _tell(self) -> None:
        """Tell the next candidate."""
        population, evaluation = self.waiting.pop(self.told), self.finished.pop(self.told)
        population.judge(evaluation.objectives, evaluation.status)
        self.strategy.tell(population)
        self.told += 1
        self._fail(evaluation.failure)
        self.cost += float(evaluation.times[0])
        self.tally[STATUS[evaluation.status[0]]] += 1
        self.rows.append((population, evaluation))
        if evaluation.status[0] == OK:
            self._record_improvement(population)

    def _record_improvement(self, population: Population) -> None:
        individual = population.individual(0)
        if self._crowned(individual):
            score = float(population.fitness[0, 0])
            self.archive.log(
                "improvement",
                id=individual.id,
                score=score,
                evaluations=self.told,
                seconds=self.seconds,
                cost=self.cost,
            )
            self.logbook.record(gen=self.told, nevals=self.told, max=score)

    def _checkpoint(self, full: bool) -> None:
        """Make a checkpoint; `full`: with a part of all rows there are."""
        if full:
            if self.rows:
                first = self.told - len(self.rows)
                self._archive_rows(self.rows, "candidate", range(first + 1, self.told + 1))
            self.rows, self._since = [], time.monotonic()
        self.save()

    def _archive_rows(
        self,
        rows: list[tuple[Population, Evaluation]],
        event: str,
        evaluations: Sequence[int],
    ) -> None:
        """Archive candidates, each a population of one. evaluations: as many were told by then."""
        population = Population.joined([each for each, _ in rows])
        evaluation = Evaluation.joined([each for _, each in rows], len(self.weights))
        self.archive.add(
            population,
            self.problem.space.keys(population),
            event,
            0,
            0,
            evaluations,
            evaluation.times.tolist(),
            evaluation.learning_curves,
        )

    # -- the end -----------------------------------------------------------------------------------

    def _budget_spent(self, budget: int) -> bool:
        return self.told >= budget

    def _given_up(self) -> str:
        search = self.config.search
        if self.told >= TRIES and self._hopeless:
            return CAPS
        if (
            self.learning
            and self.told >= FAILURES
            and len(self.learning.learner.failed) == self.told
        ):
            return STATUS[DIVERGED]
        return (
            "training_seconds"
            if search.training_seconds and self.cost >= search.training_seconds
            else ""
        )

    @property
    def _hopeless(self) -> bool:
        """Whether everyone so far was over a cap."""
        return 0 < self.told == self.tally[STATUS[OVER_BUDGET]]

    def _archive_end(self) -> None:
        if self.audit is None or self.audit.report is None:
            return
        for individual, evaluation in self.audit.stand_alone_rows():
            row = Population.of(self.problem.space.schema, [individual.genotype], self.weights)
            row.ids[0], row.status[0], row.fitness[0] = (
                individual.id,
                evaluation.status[0],
                individual.fitness.values,
            )
            row.fitness[0, 0] = evaluation.objectives[0, 0]
            self._archive_rows([(row, evaluation)], "selected", [self.told])
        self.archive.log("trust", **self.audit.report)

    def _report(self, result: Result) -> None:
        if self.audit is not None:
            result.audit, result.check_seconds = self.audit.report, self.audit.seconds
            if self.audit.winner is not None and self.audit.report is not None:
                result.best = self.describe(self.audit.winner) | {
                    "alone": {self.problem.stand_alone.objective: self.audit.report["found"]}
                }
        if self.champion is not None and self.learning is None:
            result.test = self.evaluator.reported(self.champion.genotype)

    def _refuse(self, result: Result) -> None:
        """Raise InputError where no candidate is within the caps, and where every search by
        gradient diverged.
        """
        if self.champion is None and self.learning and (why := self.learning.learner.failure):
            raise InputError(f"{why}; what there is so far is in {self.archive.folder}")
        if self._hopeless:
            caps = [f"{name} = {value:,}" for name, value in self.evaluator.caps().items()]
            raise InputError(
                f"evaluator: none of the first {self.told:,} candidates is within "
                f"{', '.join(caps)}; allow more, or make space.skeleton smaller. They stay in "
                f"{self.archive.folder}: remove it, or name another with --run"
            )

    def _progress(self) -> Progress:
        best = float("nan") if self.champion is None else self.champion.fitness.values[0]
        alive = self.strategy.fitness
        mean = (
            float(np.mean(alive[np.isfinite(alive)])) if np.isfinite(alive).any() else float("nan")
        )
        note = self.learning.note if self.learning else ""
        if not self.told and self.waiting and self.workers > 1 and not note:
            note = f"starting {plural(self.workers, 'worker')}"
        stages = {} if self._executor is None else dict(self._executor.stages())
        each = self._each(stages)
        note = "" if stages and not (self.learning and self.learning.due) else note
        left, share = self._ahead(self.workers / each if each else nan)
        out = Progress(
            self.told, self.seconds, 0, best, best, self._text, mean, self.counts, note, stages,
            self.workers, each, left, share, self._leaders,
        )  # fmt: skip
        if self.learning and self.learning.due:
            learner = self.learning.learner
            out.share = learner.step / learner.total if learner.total else nan
            out.left = self.seconds * (1 / out.share - 1) if out.share else nan
        limit = self.config.search.training_seconds
        if limit and not out.share >= self.cost / limit:
            out.share, out.left = self.cost / limit, (limit - self.cost) / self.workers
        return out

    def _each(self, stages: Mapping[int, Stage | None]) -> float:
        """Seconds that a candidate takes, from those that are told and from the first steps of
        those that are being trained; nan where that is unknown.
        """
        begun = [
            each for each in stages.values() if each is not None
            and (each.step >= FIRST_STEPS or each.seconds >= FIRST_SECONDS)
        ]  # fmt: skip
        expected = sum(each.seconds * each.steps / each.step for each in begun)
        count = self.told + len(begun)
        return (self.cost + expected) / count if count and self.costly else nan


def _plain(evaluation: Evaluation | None) -> dict[str, Any]:
    return {"outcome": None if evaluation is None else evaluation.plain()[0]}
