"""Tries networks of fixed weights in their task: what they do is what they are worth.

A task's trials (a data set, or episodes of an environment) run a whole generation in one call on
the chosen backend. Networks that fail there, by NaN, by an exception or by time, get the worst
fitness and a status.
"""

from collections.abc import Callable

import numpy as np

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import BatchEvaluator
from evoml.contracts.objective import Objective
from evoml.contracts.space import Space
from evoml.contracts.task import Trials
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.genotypes.population import DIVERGED, OK, Population
from evoml.phenotypes.neuron_graphs import NeuronGraphs

UNSAID = "its score is not a finite number"


class Settings(settings.Settings):
    """Nothing is left to set: the task says how networks are tried."""


class RolloutEvaluator(BatchEvaluator):
    """Scores networks in one set of trials."""

    task = "xor"

    def __init__(self, settings: Settings, tasks: Trials, space: Space, backend: str) -> None:
        if space.phenotype != "neurons":
            raise InputError(
                "evaluator: rollout tries networks of neurons, which this space does not make; "
                "space neat does"
            )
        if not isinstance(tasks, Trials):
            raise InputError(
                "evaluator: rollout needs a task that networks are tried in, such as xor or "
                "double_pole"
            )
        self.settings, self.tasks, self.space, self.backend = settings, tasks, space, backend
        self.objectives = (Objective("fitness", True),)
        self.counts = {"candidates": 0, "failed": 0, "steps": 0}

    def __call__(self, graphs: NeuronGraphs) -> Evaluation:
        """Fitness of every network, [P, 1]."""
        tried = self.tasks.run(graphs, self.backend, self.workers)
        fitness = tried.scores[:, :1]
        status = np.where(
            np.isnan(fitness[:, 0]) & (tried.status == OK), DIVERGED, tried.status
        ).astype(np.uint8)
        self.counts["candidates"] += len(graphs)
        failed = int((status != OK).sum())
        self.counts["failed"] += failed
        failure = (self.tasks.failure or UNSAID) if failed else ""
        self.counts["steps"] += tried.steps
        return Evaluation(
            np.where(np.isnan(fitness), -np.inf, fitness), status, tried.steps, failure=failure
        )

    def check(self) -> None:
        """Raise InputError where the task's code, a user's, cannot be run.

        Runs none of it where that is not in a process of its own.
        """
        self.tasks.check(self.backend, self.workers)

    def watched(self, watch: Callable[[int, int], None] | None) -> None:
        """Have `watch` told now and then in a call how many networks have been tried and how many
        of them failed, where that takes long.
        """
        self.tasks.watch = watch

    def per_task(self, graphs: NeuronGraphs) -> np.ndarray:
        """Every number that the trials report, [P, names]."""
        return self.tasks.run(graphs, self.backend, self.workers).scores

    def warm(self, population: Population | None = None) -> None:
        """Compile what a search needs by trying some networks, where that runs nothing of a user's
        or an environment's.
        """
        if population is not None and not self.tasks.isolated:
            self.tasks.run(self.space.phenotypes(population), self.backend)
