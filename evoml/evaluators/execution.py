"""Runs learning algorithms on tasks and scores what they learnt, with caches, a cost budget and
hurdles (AutoML-Zero).

Real, Liang, So, Le 2020, arXiv 2003.03384; hurdles after So, Liang, Le 2019, "The Evolved
Transformer", arXiv 1901.11117. Departures: a candidate is first looked up by its canonical form,
which costs no execution; the functional equivalence cache covers all tasks with one key, not one
key a task; the cost budget counts the canonical form, since nothing else is run.
"""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evoml.backends import Rules
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import BatchEvaluator
from evoml.contracts.objective import Objective
from evoml.contracts.space import Space
from evoml.contracts.task import TaskSet
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.evaluators._caches import ExactCache, FunctionalCache, checked
from evoml.evaluators._score import combine, costs
from evoml.genotypes.population import DIVERGED, OK, OVER_BUDGET, Population
from evoml.phenotypes.instructions import BY_NAME
from evoml.phenotypes.programs import INSTRUCTION, Programs

# The cost budget's yardstick: the two-layer network of programs/automl_zero/neural_network.py, by
# operation.
_NETWORK = (
    ("vector_gaussian_set", "matrix_gaussian_set", "scalar_const_set"),
    ("matrix_vector_product", "vector_sum", "vector_max", "vector_inner_product", "scalar_sum"),
    (
        "scalar_diff", "scalar_product", "scalar_sum", "scalar_vector_product", "vector_sum",
        "scalar_vector_product", "vector_heaviside", "vector_product", "vector_sum",
        "vector_outer_product", "matrix_sum",
    ),
)  # fmt: skip


class FunctionalCacheSettings(settings.Settings):
    """The functional equivalence cache."""

    size: int = Field(100_000, ge=0, le=100_000_000, description="entries; 0: no cache")
    train: int = Field(10, ge=1, description="training examples of the short run, at most all")
    valid: int = Field(10, ge=1, description="validation examples of the short run, at most all")
    forget: int = Field(100, ge=0, description="uses after which an entry is forgotten; 0: never")


class HurdleSettings(settings.Settings):
    """A candidate must pass a threshold on the first tasks to be run on the others."""

    tasks: int = Field(0, ge=0, description="tasks before the hurdle; 0: no hurdle")
    percentile: float = Field(
        75.0, ge=0, le=100, description="of the distinct fitnesses that recent candidates had there"
    )
    window: int = Field(
        1000, ge=10, le=1_000_000, description="how many recent distinct fitnesses count"
    )


class Settings(settings.Settings):
    """How programs are trained and scored."""

    dtype: Literal["float32", "float64"] = Field(
        "float32", description="arithmetic of the search; selection and test use float64"
    )
    epochs: int = Field(
        1, ge=1, description="passes over the training examples; the best epoch counts"
    )
    max_abs_error: float = Field(
        100.0, gt=0, description="a larger error ends a program's run on a task with fitness 0"
    )
    combine: Literal["mean", "median"] = Field("mean", description="over tasks")
    exact_cache: int = Field(
        131_072, ge=0, le=100_000_000, description="entries of the cache by canonical form; 0: none"
    )
    functional_cache: FunctionalCacheSettings = FunctionalCacheSettings()
    budget_factor: float = Field(
        0.0,
        ge=0,
        description="most cost, in two-layer networks, beyond which fitness is 0; 0: no limit",
    )
    hurdle: HurdleSettings = HurdleSettings()


class ExecutionEvaluator(BatchEvaluator):
    """Scores programs on one set of tasks.

    One thread at a time: it owns its caches and the backend's memory.
    """

    task = "projected_binary"
    runs_programs = True

    def __init__(self, settings: Settings, tasks: TaskSet, space: Space, backend: str) -> None:
        memory = space.memory
        if memory is None:
            raise InputError(
                "evaluator: execution runs programs, which this space does not make; space "
                "automl_zero does"
            )
        if not isinstance(tasks, TaskSet):
            raise InputError(
                "evaluator: execution needs tasks of feature vectors, which this task does not "
                "give; projected_binary does"
            )
        self.settings, self.tasks, self.space, self.memory = settings, tasks, space, memory
        self.objectives = (Objective("fitness", True),)
        self.rules = Rules(
            tasks.train_y.shape[1],
            tasks.valid_y.shape[1],
            settings.epochs,
            settings.max_abs_error,
            settings.dtype,
        )
        self._make = load("backends", backend).Backend
        hurdle = settings.hurdle.tasks
        if hurdle >= len(tasks):
            raise InputError(
                f"evaluator.hurdle.tasks: {hurdle}: there are {len(tasks)} search tasks, so it "
                f"must be below {len(tasks)}"
            )
        self._stages = [
            self._make(part, memory, self.rules)
            for part in (
                [tasks.part(slice(0, hurdle)), tasks.part(slice(hurdle, None))]
                if hurdle
                else [tasks]
            )
        ]
        self._short = self._make(tasks, memory, self.rules) if hurdle else self._stages[0]
        self._exact = ExactCache(settings.exact_cache) if settings.exact_cache else None
        functional = settings.functional_cache
        self._functional = (
            FunctionalCache(functional.size, functional.forget or 2**62)
            if functional.size
            else None
        )
        self._recent = np.full(settings.hurdle.window, np.nan)
        self.counts = {
            "candidates": 0,
            "exact_hits": 0,
            "functional_hits": 0,
            "over_budget": 0,
            "stopped_at_hurdle": 0,
            "full_runs": 0,
            "steps": 0,
        }

    def __call__(self, programs: Programs) -> Evaluation:
        """Combined fitness of every program, [n, 1]."""
        before = self.counts["steps"]
        self.counts["candidates"] += len(programs)
        fitness = np.zeros(len(programs))
        over = (
            costs(programs.tables, programs.sizes, np.arange(len(programs)), self.rules.train)
            > self.cost_limit()
        )
        self.counts["over_budget"] += int(over.sum())
        within = np.flatnonzero(~over)
        known = (
            self._exact.find(programs.keys[within])
            if self._exact is not None
            else np.full(len(within), np.nan)
        )
        missing = np.isnan(known)
        self.counts["exact_hits"] += len(known) - int(missing.sum())
        known[missing] = self._look_up_or_run(programs, within[missing])
        if self._exact is not None:
            self._exact.insert(programs.keys[within[missing]], known[missing])
        fitness[within] = known
        status = np.where(over, OVER_BUDGET, np.where(fitness > 0, OK, DIVERGED)).astype(np.uint8)
        return Evaluation(fitness[:, None], status, self.counts["steps"] - before)

    @staticmethod
    def exact(settings: Settings) -> Settings:
        """The same scoring for selection and test: float64, everything in full, the mean over tasks
        as in the published program.
        """
        off = {
            "dtype": "float64",
            "exact_cache": 0,
            "functional_cache": FunctionalCacheSettings(size=0),
            "budget_factor": 0.0,
        }
        return settings.model_copy(update=off | {"hurdle": HurdleSettings(), "combine": "mean"})

    def per_task(self, programs: Programs) -> np.ndarray:
        """Fitness on every task, in full: no cache, no hurdle, no budget. [n, T]"""
        return np.concatenate(
            [stage.fitness(programs, np.arange(len(programs)))[0] for stage in self._stages], axis=1
        )

    def errors(self, programs: Programs, tasks: TaskSet) -> np.ndarray:
        from evoml.backends.numba import validation_errors

        rules = replace(self.rules, train=tasks.train_y.shape[1], valid=tasks.valid_y.shape[1])
        return validation_errors(programs, tasks, self.memory, rules)

    @staticmethod
    def overall(scores: np.ndarray) -> float:
        """What is reported of one program's fitness on every task, [T]: the mean."""
        return float(scores.mean())

    def _look_up_or_run(self, programs: Programs, which: np.ndarray) -> np.ndarray:
        if self._functional is None:
            return self._run(programs, which)
        short = self.settings.functional_cache
        prints, steps = self._short.fingerprints(programs, which, short.train, short.valid)
        self.counts["steps"] += steps
        found = self._functional.find(prints)
        missing = np.isnan(found)
        self.counts["functional_hits"] += len(found) - int(missing.sum())
        found[missing] = self._run(programs, which[missing])
        self._functional.insert(prints[missing], found[missing])
        return found

    def cost_limit(self) -> float:
        """The estimated cost above which a program is not run: `budget_factor` times the two-layer
        network's, or infinity.
        """
        network = [sum(BY_NAME[name].cost for name in function) for function in _NETWORK]
        factor = self.settings.budget_factor or np.inf
        return factor * (network[0] + self.rules.train * (network[1] + network[2]))

    def _run(self, programs: Programs, which: np.ndarray) -> np.ndarray:
        """Combined fitness of the programs `which`, by execution; at a hurdle some stay with what
        they had on the first tasks.
        """
        self.counts["full_runs"] += len(which)
        fitness, steps = self._stages[0].fitness(programs, which)
        self.counts["steps"] += steps
        if len(self._stages) == 1 or not len(which):
            return self.combine(fitness)
        first = self.combine(fitness)
        passed = first >= self._threshold()
        self._remember(first)
        self.counts["stopped_at_hurdle"] += int((~passed).sum())
        rest, steps = self._stages[1].fitness(programs, which[passed])
        self.counts["steps"] += steps
        first[passed] = self.combine(np.concatenate([fitness[passed], rest], axis=1))
        return first

    def combine(self, fitness: np.ndarray) -> np.ndarray:
        """Over tasks: the mean, or the median as the published program takes it, the element at T
        // 2 in order.

        [n, T] -> [n]
        """
        return combine(
            np.ascontiguousarray(fitness), fitness.shape[1], self.settings.combine == "median"
        )

    def _threshold(self) -> float:
        known = self._recent[~np.isnan(self._recent)]
        return (
            float(np.percentile(known, self.settings.hurdle.percentile))
            if len(known) >= 10
            else -np.inf
        )

    def _remember(self, fitness: np.ndarray) -> None:
        """Keep the latest distinct fitnesses, newest last."""
        unseen = fitness[~np.isin(fitness, self._recent)]
        new = unseen[np.sort(np.unique(unseen, return_index=True)[1])]
        self._recent = np.concatenate([self._recent, new])[-len(self._recent) :]

    def warm(self, population: Population | None = None) -> None:
        """Compile what a search needs, on a program that does nothing.

        population: some to run in full.
        """
        if population is not None and self._functional is None:
            self.per_task(self.space.phenotypes(population))
        empty = np.zeros((1, 1), INSTRUCTION)
        programs = Programs(
            self.memory, (empty, empty, empty), np.zeros((1, 3), np.int64), np.zeros(1, np.uint64)
        )
        self._short.fingerprints(programs, np.arange(1), 1, 1)
        for cache in (self._exact, self._functional):
            if cache is not None:
                cache.insert(np.zeros(0, np.uint64), np.zeros(0))
                cache.find(np.zeros(0, np.uint64))

    def state_dict(self) -> dict[str, Any]:
        """Counters and caches, which later results depend on."""
        arrays = {"recent": self._recent}
        for name, cache in (("exact", self._exact), ("functional", self._functional)):
            if cache is not None:
                arrays |= {f"{name}.{key}": value for key, value in cache.state().items()}
        return {"counts": dict(self.counts), "arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts = {name: int(state["counts"][name]) for name in self.counts}
        self._recent = checked(state["arrays"]["recent"], self._recent).copy()
        for name, cache in (("exact", self._exact), ("functional", self._functional)):
            if cache is not None:
                prefix = f"{name}."
                cache.load(
                    {
                        key.removeprefix(prefix): array
                        for key, array in state["arrays"].items()
                        if key.startswith(prefix)
                    }
                )
