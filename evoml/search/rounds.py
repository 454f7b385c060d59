"""The loop for candidates that cost microseconds: ask, evaluate, tell, archive; with islands on
threads, restarts, selection on unseen tasks, and resume.

Everything that decides a result is a function of the configuration and the candidates' numbers,
never of time or of the number of workers: islands meet at the end of a round, whose length is
counted in candidates and training steps. A run is therefore its checkpoint plus replay. (The C
library's exp, log and cos may differ in the last bit between machines, and a run with them.)

Of a strategy that breeds whole generations a round is one generation, on one island. Children are
bred one after the other on one thread, since innovations are numbered in their order; networks are
tried on all cores. A checkpoint lies between two generations, and a generation that would pass the
budget is not begun.

What is archived of a generation is archived with its line of ancestors (`ancestry`).

Departures from AutoML-Zero's published program: it evaluates one candidate an experiment on the
selection tasks, the best when the experiment ends, and draws fresh ones each time; here every
island's best of every round is tried on one fixed set, and the search stops at once.
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from evoml.config import Config
from evoml.contracts.part import strategy_class
from evoml.core.errors import InputError
from evoml.genotypes.population import Population
from evoml.search.ancestry import Ancestry
from evoml.search.islands import Island, whole
from evoml.search.run import Progress, Result, Run, Show, cores, statistics

PATIENCE = 5.0  # seconds of a round before how far it is is shown
EXHAUSTED = "exhausted"


class Rounds(Run):
    """Islands of populations in rounds, with selection on tasks of their own."""

    def __init__(self, config: Config, folder: Path) -> None:
        super().__init__(config, folder)
        self.generational = strategy_class(config.name("strategy")).generational
        self.generation_size = config.part("strategy").alive if self.generational else 0
        if self.generational:
            self._check_generations()
        self.workers = config.workers or cores()
        share = max(1, self.workers // config.search.islands)
        self.islands = [
            Island(self.problem, number, self.start_genotypes, share)
            for number in range(config.search.islands)
        ]
        self.selection = self.problem.batch_evaluator(self.problem.task.select(), exact=True)
        self.selection.workers = self.workers
        self.statistics = statistics()
        self.experiment = self.rounds = self.experiment_from = self.experiment_steps = (
            self.snapshots
        ) = 0
        self.retired: dict[str, int] = {}  # counts of the evaluators of earlier experiments
        # whether the budget, and not the round's own length, may end the round in progress
        self._shortened = False
        # who the living of a generational strategy come from; not where every row is kept anyway
        self.ancestry = self._ancestry()
        self._begin()

    def _ancestry(self) -> Ancestry | None:
        if not self.generational or self.config.archive.keep == "all":
            return None
        nobody = Population(self.problem.space.schema, 0, weights=self.weights)
        return Ancestry(nobody, strategy_class(self.config.name("strategy")).row_columns)

    def _check_generations(self) -> None:
        search = self.config.search
        if search.islands > 1:
            raise InputError(
                f"search.islands: {search.islands}: species are the islands of this strategy; "
                "leave it at 1"
            )
        if 0 < search.budget < self.generation_size:
            raise InputError(
                f"search.budget: {search.budget:,}: less than one generation of "
                f"{self.generation_size:,} (strategy.population)"
            )

    def create(self) -> None:
        """Make the run folder.

        Raises InputError if it is there, or where the task's own code cannot be run.
        """
        self.islands[0].evaluator.check()
        super().create()

    # -- state -------------------------------------------------------------------------------------

    @property
    def evaluations(self) -> int:
        return sum(island.asked for island in self.islands)

    @property
    def counts(self) -> dict[str, int]:
        """What the evaluators did, over the whole run."""
        own = self.islands[0].evaluator.counts
        return {
            name: self.retired.get(name, 0)
            + sum(island.evaluator.counts[name] for island in self.islands)
            for name in own
        }

    def _begin(self) -> None:
        tasks = self.problem.task.search(self.experiment)
        for island in self.islands:
            island.start(tasks)

    def _load(self, state: dict[str, Any]) -> None:
        if "islands" not in state:
            state = _of_generations(state)
        for name in ("experiment", "rounds", "experiment_from", "experiment_steps", "snapshots"):
            setattr(self, name, whole(state, name))
        self.retired = {name: whole(state["retired"], name) for name in state["retired"]}
        self._begin()
        for island, saved in zip(self.islands, state["islands"], strict=True):
            island.load_state_dict(saved)
        if self.ancestry is not None and "ancestry" in state:  # runs of earlier versions have none
            self.ancestry.load_state_dict(state["ancestry"])

    def save(self) -> None:
        names = (
            "experiment",
            "rounds",
            "experiment_from",
            "experiment_steps",
            "snapshots",
            "retired",
        )
        self._save(
            {name: getattr(self, name) for name in names}
            | {"islands": [island.state_dict() for island in self.islands]}
            | ({} if self.ancestry is None else {"ancestry": self.ancestry.state_dict()})
        )

    # -- the loop ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make a first checkpoint, so that the run can be resumed from now on; then compile what
        the search needs, or load it from the disk.
        """
        self._saved = time.monotonic()
        if self.rounds == 0 and self.evaluations == 0:
            self.save()
        self._import_arrow()
        space, stream, first = self.problem.space, np.arange(2, dtype=np.uint64), self.islands[0]
        children = space.mutate(space.random(stream), np.zeros(2, np.int64), stream)
        first.strategy.warm()
        first.evaluator.warm(children)
        self.selection.warm(children)
        if first.engine is not None:
            first.engine.warm()

    def _loop(self, show: Show, stop: threading.Event) -> str:
        with ThreadPoolExecutor(min(self.workers, len(self.islands))) as pool:
            while not (reason := self._finished()):
                if self.generational and stop.is_set():
                    self.save()
                    return "interrupted"
                if not any(island.done for island in self.islands):
                    self._restart_if_due()
                self._shortened = not self.generational and any(
                    share < self.config.search.round for share in self._shares()
                )
                if self._shortened:
                    # so that the run can be given a larger budget as if it had always had it
                    self.save()
                began = time.monotonic()
                complete = self._round(pool, stop, show)
                self.seconds += time.monotonic() - began
                if not complete:
                    # else its blocks are cut by a budget that a resume may change: it goes back to
                    # where the round began
                    if not self._shortened:
                        self.save()
                    return "interrupted"
                if self._due and not self._shortened:
                    self.save()
                show(self._progress())
        if not self._shortened:
            self.save()
        return reason

    def _round(self, pool: ThreadPoolExecutor, stop: threading.Event, show: Show) -> bool:
        """Let every island advance, then meet: archive, select, migrate.

        False if `stop` was set before all had their share.
        """
        search = self.config.search
        limits = [self.generation_size or min(search.round, share) for share in self._shares()]
        first = self.islands[0].strategy
        before, values = first.alive, first.row_values()
        with self._watched(show):
            if len(self.islands) == 1:
                self.islands[0].advance(limits[0], search.round_steps, stop)
            else:
                jobs = [
                    pool.submit(island.advance, limit, search.round_steps, stop)
                    for island, limit in zip(self.islands, limits, strict=True)
                ]
                for job in jobs:
                    job.result()
        if any(
            island.done < limit and island.cost < search.round_steps and not island.exhausted
            for island, limit in zip(self.islands, limits, strict=True)
        ):
            return False
        if self.ancestry is not None:
            self.ancestry.replaced(before, values, first.alive)
        self.rounds += 1
        self.experiment_steps += sum(island.cost for island in self.islands)
        for island in self.islands:
            self._fail(island.failure)
            self._keep(island)
            island.end_round()
        if (
            search.migrate_every
            and self.rounds % search.migrate_every == 0
            and len(self.islands) > 1
        ):
            self._migrate()
        interval = self.config.archive.snapshot
        if interval and self.evaluations // interval > self.snapshots:
            self.snapshots = self.evaluations // interval
            self._snapshot("snapshot")
        self._record()
        return True

    @contextmanager
    def _watched(self, show: Show) -> Iterator[None]:
        """Show how far a round is, where it takes long."""
        began, size = time.monotonic(), self.generation_size or self.islands[0].strategy.block

        def watch(tried: int, failed: int) -> None:
            if (passed := time.monotonic() - began) > PATIENCE:
                lost = f", {failed:,} failed" if failed else ""
                what = "generation" if self.generational else "round"
                show(
                    self._progress(
                        tried,
                        failed,
                        passed,
                        f"{what} {self.rounds + 1:,}: {tried:,} of {size:,} tried{lost}",
                    )
                )

        for island in self.islands:
            island.evaluator.watched(watch)
        try:
            yield
        finally:
            for island in self.islands:
                island.evaluator.watched(None)

    @property
    def _place(self) -> dict[str, int]:
        """Where the search is, as events say it."""
        return {"generation": self.rounds} if self.generational else {"experiment": self.experiment}

    def _shares(self) -> list[int]:
        """How many candidates of the budget each island had left when this round began."""
        budget, count = self.config.search.budget, len(self.islands)
        if not budget:
            return [2**62] * count
        return [
            budget // count + (i < budget % count) - island.asked + island.done
            for i, island in enumerate(self.islands)
        ]

    def _keep(self, island: Island) -> None:
        """Archive what an island found, and try its best on the selection tasks: of a generation
        whom the strategy names, else the last improvement.
        """
        for event, population in island.pending:
            self._add(population, event, island.number)
        if self.generational:
            self._select(island.strategy.alive.take(island.strategy.tested()), island.number)
            return
        improved = [population for event, population in island.pending if event == "improvement"]
        if improved:
            self._select(improved[-1][len(improved[-1]) - 1 :], island.number)

    def _select(self, candidates: Population, island: int) -> None:
        """Score candidates on the selection tasks; keep one where it is the best of the run so
        far.
        """
        if not len(candidates):
            return
        evaluation = self.selection.evaluate(candidates)
        candidates.fitness[:] = evaluation.objectives
        self._fail(evaluation.failure)
        at = int(candidates.quality.argmax())
        individual = candidates.individual(at)
        if np.isfinite(individual.fitness.values[0]) and self._crowned(individual):
            self._add(candidates.take(np.array([at])), "selected", island)
            self.archive.log(
                "selected",
                id=individual.id,
                score=self._score(),
                evaluations=self.evaluations,
                **self._place,
            )

    def _add(self, population: Population, event: str, island: int) -> None:
        """Archive some of the living, and behind them their ancestors that are not archived yet."""
        strategy = self.islands[island].strategy
        further = {}
        if strategy.row_columns:
            order = np.argsort(strategy.alive.ids)
            places = order[np.searchsorted(strategy.alive.ids, population.ids, sorter=order)]
            further = {name: row[places].tolist() for name, row in strategy.row_values().items()}
        self._archive(population, event, island, further)
        if self.ancestry is not None:
            ancestors, columns = self.ancestry.line(population.parents[:, 0])
            further = {name: values.tolist() for name, values in columns.items()}
            self._archive(ancestors, "ancestor", island, further)

    def _archive(
        self, population: Population, event: str, island: int,
        further: Mapping[str, Sequence[int | None]],
    ) -> None:  # fmt: skip
        if len(population):
            self.archive.add(
                population, self.problem.space.keys(population), event, island, self.experiment,
                self.evaluations, further=further,
            )  # fmt: skip

    def _snapshot(self, event: str) -> None:
        for island in self.islands:
            if len(alive := island.strategy.alive):
                self._add(alive, event, island.number)

    def _migrate(self) -> None:
        """Every island sends winners to the next one, all at the same time."""
        count = self.config.search.migrants
        travellers = [
            island.strategy.migrants(count, self.rounds * len(self.islands) + island.number)
            for island in self.islands
        ]
        for island, arrived in zip(self.islands, [travellers[-1], *travellers[:-1]], strict=True):
            if len(arrived):
                island.strategy.tell(arrived)
                island.best = max(island.best, float(arrived.quality.max()))

    def _record(self) -> None:
        alive = np.concatenate([island.strategy.fitness for island in self.islands])
        alive = alive[np.isfinite(alive)] if self.generational else alive
        entry = (
            {name: float(value) for name, value in self.statistics.compile([alive]).items()}
            if len(alive)
            else {}
        )
        evaluated = self.generation_size or self.evaluations
        self.logbook.record(gen=self.rounds, nevals=evaluated, **entry)
        facts = {"evaluations": self.evaluations, "selected": self._score(), **entry}
        if self.generational:
            groups = self.islands[0].strategy.groups()
            self.archive.log(
                "generation",
                generation=self.rounds,
                **facts,
                **({"species": groups} if groups else {}),
            )
        else:
            self.archive.log("round", round=self.rounds, **facts, experiment=self.experiment)

    def _budget_spent(self, budget: int) -> bool:
        if self.generational:
            return self.evaluations + self.generation_size > budget
        return self.evaluations >= budget and not any(island.done for island in self.islands)

    def _given_up(self) -> str:
        return EXHAUSTED if all(island.exhausted for island in self.islands) else ""

    def _restart_if_due(self) -> None:
        """Begin a new experiment with fresh tasks and populations where the old one has had its
        share.
        """
        search = self.config.search
        spent = self.evaluations - self.experiment_from
        if not (
            0 < search.experiment <= spent or 0 < search.experiment_steps <= self.experiment_steps
        ):
            return
        self.retired = self.counts
        self.experiment += 1
        self.experiment_from, self.experiment_steps = self.evaluations, 0
        self._begin()

    # -- the end and what is shown -----------------------------------------------------------------

    def _archive_end(self) -> None:
        self._snapshot("final")

    def _report(self, result: Result) -> None:
        result.test = None if self.champion is None else self.problem.test(self.champion.genotype)

    def _progress(
        self, tried: int = 0, failed: int = 0, seconds: float = 0.0, note: str = ""
    ) -> Progress:
        """Where the search is; within a round, with what that has come to so far."""
        best = max(island.best for island in self.islands) * self.weights[0]
        score = self._score()
        shown = float("nan") if score is None else score
        mean = float(self.logbook[-1].get("mean", np.nan)) if len(self.logbook) else float("nan")
        counts = self.counts | ({"failed": self.counts["failed"] + failed} if failed else {})
        if self.generational and not note:
            groups = len(self.islands[0].strategy.groups())
            note = f"generation {self.rounds:,}" + (f", {groups:,} species" if groups else "")
        done, spent = self.evaluations + tried, self.seconds + seconds
        left, of = self._ahead(done / spent if spent else nan)
        return Progress(
            done, spent, self.experiment, best, shown, self._text, mean, counts, note,
            left=left, share=of, leaders=self._leaders,
        )  # fmt: skip


def _of_generations(state: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint of a loop of generations, which older runs have, as one of rounds."""
    island = {"asked": state["asked"], "done": 0, "cost": 0, "best": state["best"], "pending": []}
    zeros: dict[str, Any] = dict.fromkeys(("experiment", "experiment_from", "experiment_steps"), 0)
    return zeros | {
        "rounds": state["generation"],
        "snapshots": state["snapshots"],
        "failure": state.get("failure", ""),
        "retired": {},
        "islands": [island | {"strategy": state["strategy"], "evaluator": state["evaluator"]}],
    }
