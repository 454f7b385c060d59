"""An evaluator: how good candidates are."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from evoml.contracts.evaluation import Evaluation
from evoml.contracts.executor import Stage
from evoml.contracts.learner import Learner
from evoml.contracts.objective import Objective
from evoml.contracts.part import Part
from evoml.contracts.space import Space
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype

if TYPE_CHECKING:
    from evoml.contracts.task import Task, TaskSet


class Evaluator(Part):
    """Scores candidates on one set of tasks. Derive from `BatchEvaluator` or `CandidateEvaluator`.

    One that has to learn before it can score anything (a supernet) is a `Learner` too.
    """

    task: ClassVar[str]  # what it is used on where nothing else is named
    # scores thousands a call; else every candidate is an archived row
    batched: ClassVar[bool] = False
    costly: ClassVar[bool] = False  # whether a candidate is worth a process of its own
    # whether it runs programs that learn from feature vectors: the task gives `for_programs` then
    runs_programs: ClassVar[bool] = False
    # whether a candidate is a network that is trained, now or at the end
    trains: ClassVar[bool] = False
    # what lies over a run's settings for its winner
    final: ClassVar[dict[str, dict[str, Any]]] = {}
    timed: bool = True  # whether it knows what a candidate took
    timeout: float = 0.0  # seconds after which a candidate is given up; 0: none
    workers: int = 1  # threads that it may use in a call
    seed: int = 0  # the run's; set before anything is learnt
    counts: dict[str, int]  # what it did, by name, `steps` among them
    settings: Any
    tasks: Any
    space: Any

    def __init__(self, settings: Any, tasks: Any, space: Space, backend: str) -> None:
        """settings: an instance of the module's `Settings`. tasks: what the task's `search`,
        `select` or `test` gave.

        Raises InputError where these do not fit together.
        """
        self.settings, self.tasks, self.space, self.backend = settings, tasks, space, backend
        self.objectives: tuple[Objective, ...] = ()
        self.counts = {"candidates": 0, "steps": 0}

    @classmethod
    def objectives_of(cls, settings: Any, task: "type[Task]") -> tuple[Objective, ...]:
        """What candidates are judged by, before any data is read. Raises InputError.

        By default what the task calls its score.
        """
        return (task.objective,)

    @property
    def weights(self) -> tuple[float, ...]:
        """DEAP's, one an objective."""
        return tuple(each.weight for each in self.objectives)

    @property
    def learner(self) -> Learner | None:
        """This evaluator where it has to learn before it can score, else None."""
        return self if isinstance(self, Learner) else None

    @classmethod
    def exact(cls, settings: Any) -> Any:
        """The settings of selection and test; by default the same."""
        return settings

    @classmethod
    def stand_alone_settings(cls, settings: Any) -> Any:
        """How a candidate that is scored with shared weights is trained from scratch; None: it
        always is.
        """
        return None

    def evaluate(self, population: Population, streams: np.ndarray | None = None) -> Evaluation:
        """Score a population, in its order. Ids and parents are in it.

        streams: [n] uint64, what is random in a candidate's evaluation; None: from its digest.
        """
        raise NotImplementedError

    def caps(self) -> dict[str, int]:
        """Limits above which a candidate is not evaluated, by setting; none by default."""
        return {}

    def check(self) -> None:
        """Raise InputError where what is evaluated cannot be run. Called once, before a search."""

    def watched(self, watch: Callable[[int, int], None] | None) -> None:
        """Have `watch` told now and then in a call how many were tried, and how many failed."""

    def warm(self, population: Population | None = None) -> None:
        """Compile what a search needs, so that it is not counted as search.

        population: some to try.
        """

    def state_dict(self) -> dict[str, Any]:
        """Counters, and all that later results depend on."""
        return {"counts": dict(self.counts), "arrays": {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a state that does not fit."""
        try:
            self.counts = {name: int(state["counts"][name]) for name in self.counts}
        except (KeyError, TypeError) as error:
            name = type(self).__module__.rpartition(".")[2]
            raise ValueError(f"not a {name} evaluator's state: {error}") from None


class BatchEvaluator(Evaluator):
    """Scores whole populations of phenotypes in one call, on a backend."""

    batched = True

    def __call__(self, phenotypes: Any) -> Evaluation:
        """Score what `Space.phenotypes` made of a population."""
        raise NotImplementedError

    def evaluate(self, population: Population, streams: np.ndarray | None = None) -> Evaluation:
        return self(self.space.phenotypes(population))

    def per_task(self, phenotypes: Any) -> np.ndarray:
        """All numbers that are reported of every phenotype, [n, T] float64."""
        raise NotImplementedError

    def errors(self, phenotypes: Any, tasks: "TaskSet") -> np.ndarray:
        """Of one program, trained as the settings say in tasks of any size: absolute errors on the
        validation examples after the last epoch, [T, M] float64, 0 or 1 in classification; NaN
        where it failed. Asked only where `runs_programs` is said.
        """
        raise NotImplementedError

    @staticmethod
    def overall(scores: np.ndarray) -> float:
        """The one number that is reported of a row of `per_task`, [T]."""
        return float(scores[0])


class CandidateEvaluator(Evaluator):
    """Scores candidates one by one; each is an archived row."""

    # where a candidate takes long, told after every step of it how far it is; it may raise `Halted`
    watch: Callable[[Stage], None] | None = None

    def candidate(self, genotype: Genotype, stream: int) -> Evaluation:
        """Score one. What is the candidate's own fault is a status, never an exception."""
        raise NotImplementedError

    def evaluate(self, population: Population, streams: np.ndarray | None = None) -> Evaluation:
        genotypes = [population.genotype(index) for index in range(len(population))]
        seeds = (
            [int(each.digest(), 16) for each in genotypes]
            if streams is None
            else [int(each) for each in streams]
        )
        parts = [
            self.candidate(genotype, seed) for genotype, seed in zip(genotypes, seeds, strict=True)
        ]
        return Evaluation.joined(parts, len(self.objectives))

    def reported(self, genotype: Genotype) -> dict[str, float] | None:
        """What is reported of a winner without training it; None where it is trained for that."""
        return None

    @property
    def worst(self) -> tuple[float, ...]:
        """The objectives of a candidate that failed, [O]."""
        return tuple(each.worst for each in self.objectives)

    def worst_evaluation(
        self, status: int, seconds: float = 0.0, curve: Sequence[float] = (), why: str = ""
    ) -> Evaluation:
        """What comes of a candidate that failed."""
        return Evaluation.of(self.worst, status, seconds, curve, why)
