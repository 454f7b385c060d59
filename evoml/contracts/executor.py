"""Where candidates are evaluated: in this process, in others, on other machines."""

from dataclasses import dataclass, field
from typing import Protocol

from evoml.contracts.evaluation import Evaluation
from evoml.genotypes.population import Population


@dataclass
class Job:
    """A candidate to evaluate.

    population: of one, with its id and parents. stream: what is random in its evaluation.
    """

    population: Population
    stream: int
    attempts: int = field(default=0, compare=False)

    @property
    def id(self) -> int:
        """The candidate's number."""
        return int(self.population.ids[0])


class Executor(Protocol):
    """Evaluates jobs, in any order."""

    def submit(self, job: Job) -> None:
        """Take a job. Returns at once."""
        ...

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        """A job that is done, by its id, or None after so many seconds.

        Raises InputError where nothing can be evaluated at all.
        """
        ...

    def close(self) -> None:
        """End whatever runs. What was submitted and is not done is forgotten."""
        ...
