"""One population with its evaluator: the unit that a search runs on a thread."""

import threading
from typing import Any

import numpy as np

from evoml.contracts.part import strategy_class
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.search.problem import Problem
from evoml.search.toolbox import toolbox

# training steps that the compiled loop runs at most between two looks at `stop`
CHUNK_STEPS = 3_000_000


class Island:
    """Asks, scores and tells within a round, and remembers what is worth archiving.

    A round can be left between two blocks and taken up again, by another process too: how far it is
    belongs to the state.
    """

    def __init__(
        self, problem: Problem, number: int, start_genotypes: list[Genotype], workers: int = 1
    ) -> None:
        """workers: threads that its evaluator may use."""
        self.problem, self.number, self.start_genotypes, self.workers = (
            problem,
            number,
            start_genotypes,
            workers,
        )
        self.islands = problem.config.search.islands
        self.keep_all = problem.config.archive.keep == "all"
        self.asked = 0  # candidates so far, over all experiments
        self.done = self.cost = 0  # candidates and training steps in this round
        self.exhausted = False  # whether the strategy has nothing more to ask for
        self.failure = ""  # why the first candidate of the round failed that did
        # what this round found, with the event it is archived as
        self.pending: list[tuple[str, Population]] = []

    def start(self, tasks: Any) -> None:
        """A fresh population and evaluator on these tasks."""
        config = self.problem.config
        self.evaluator = self.problem.batch_evaluator(tasks)
        self.evaluator.workers = self.workers
        self.toolbox = toolbox(self.problem.space, self.evaluator)
        strategy = strategy_class(config.name("strategy"))
        self.strategy = strategy(
            self.toolbox, config.part("strategy"), config.search.seed, self.start_genotypes
        )
        self.engine = engine(self.problem, self.strategy, self.evaluator, self.number)
        self.best = -np.inf  # quality in search

    def advance(self, candidates: int, steps: int, stop: threading.Event) -> None:
        """Evaluate until the round has had `candidates` candidates or `steps` training steps, or
        `stop` is set.
        """
        while (
            self.done < candidates
            and self.cost < steps
            and not stop.is_set()
            and not self.exhausted
        ):
            if self.engine is not None and self.strategy.told >= self.strategy.settings.alive:
                limit = min(steps - self.cost, CHUNK_STEPS)
                count, cost, found = self.engine.advance(
                    self.asked, candidates - self.done, limit, self.best
                )
                if len(found):
                    self.pending.append(("improvement", found))
                    self.best = float(found.fitness[-1, 0])
            else:
                count = min(self.strategy.block, candidates - self.done)
                ids = (self.asked + np.arange(count)) * self.islands + self.number
                population = self.problem.asked(self.strategy, ids)
                evaluation = self.toolbox.score(population)
                cost = evaluation.steps
                self.failure = self.failure or evaluation.failure
                self.strategy.tell(population)
                self._notice(population)
                count = len(population)
                self.exhausted = not count
            self.asked += count
            self.done += count
            self.cost += cost

    def _notice(self, population: Population) -> None:
        """Remember every improvement, or everything."""
        if not len(population):
            return
        if self.keep_all:
            self.pending.append(("candidate", population))
        quality = population.quality
        if quality.max() > self.best:
            before = np.maximum.accumulate(np.concatenate([[self.best], quality]))[:-1]
            self.pending.append(("improvement", population.take(quality > before)))
            self.best = float(quality.max())

    def end_round(self) -> None:
        self.done = self.cost = 0
        self.pending, self.failure = [], ""

    def state_dict(self) -> dict[str, Any]:
        """Everything that later candidates depend on.

        Arrays are shared with the island, not copied.
        """
        return {
            "asked": self.asked, "done": self.done, "cost": self.cost, "best": self.best,
            "pending": [
                {
                    "event": event, "population": population.state(),
                } for event, population in self.pending
            ],
            "strategy": self.strategy.state_dict(), "evaluator": self.evaluator.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state. Raises ValueError or KeyError where it does not fit."""
        self.asked, self.done, self.cost = (
            whole(state, name) for name in ("asked", "done", "cost")
        )
        self.best = float(state["best"])
        schema, weights = self.problem.space.schema, self.evaluator.weights
        self.pending = [
            (str(each["event"]), Population.from_state(schema, each["population"], weights))
            for each in state["pending"]
        ]
        self.strategy.load_state_dict(state["strategy"])
        self.evaluator.load_state_dict(state["evaluator"])


def engine(problem: Problem, strategy: Any, evaluator: Any, island: int) -> Any:
    """The compiled loop for parts that it fits, else None; also where every candidate is kept."""
    if problem.space.memory is None or problem.config.archive.keep == "all":
        return None
    from evoml.search._fused_kernels import Engine

    return (
        Engine(problem.space, strategy, evaluator, island, problem.config.search.islands)
        if Engine.fits(problem.space, strategy, evaluator)
        else None
    )


def whole(state: dict[str, Any], name: str) -> int:
    """A counter of a stored state. Raises ValueError if it is none."""
    value = state[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is not a count")
    return value
