"""Where candidates are evaluated: in this process, in others, on other machines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evoml.contracts.evaluation import Evaluation
from evoml.genotypes.population import Population


@dataclass(frozen=True, eq=False)
class Job:
    """A candidate to evaluate.

    population: of one, with its id and parents.
    stream: what is random in its evaluation, 0 .. 2^64 - 1; the same in every attempt.
    """

    population: Population
    stream: int

    @property
    def id(self) -> int:
        """The candidate's number."""
        return int(self.population.ids[0])


@dataclass(frozen=True)
class Stage:
    """How far the training of a candidate is.

    step: training steps that are done, of `steps`. epoch: the one under way, from 1, of `epochs`.
    seconds: since it began.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    seconds: float


class Halted(Exception):
    """What an evaluator's watch raises to leave an evaluation, of which nothing comes."""


class Executor(Protocol):
    """Evaluates jobs, in any order; what comes of one depends on nothing but the job.

    A candidate's own failure is an evaluation with a status, and costs no other candidate. One
    whose process or machine dies is tried once more, and has then crashed; one that takes longer
    than the evaluator's `timeout` allows has timed out. All processes end with this one.
    """

    def submit(self, job: Job) -> None:
        """Take a job, any number before the first is done. Returns at once."""
        ...

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        """A job that is done, by its id, with its evaluation [1, O]; None where there is none yet,
        after so many seconds or sooner.

        Raises InputError where nothing can be evaluated at all: the configuration is refused, or no
        process starts.
        """
        ...

    def stages(self) -> Mapping[int, Stage | None]:
        """The jobs that are under way, by id: how far each is, None where that is unknown."""
        ...

    def close(self) -> None:
        """End whatever runs. What was submitted and is not done is forgotten."""
        ...
