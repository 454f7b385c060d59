"""Candidates evaluated in this process, one at a time, without isolation: what ends the process
ends the search, which can be resumed.
"""

from collections import deque

import numpy as np

from evoml.contracts.evaluation import Evaluation, checked_evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.executor import Job
from evoml.core.errors import InputError
from evoml.core.wording import describe_exception
from evoml.genotypes.population import CRASHED


class Inline:
    """An executor without processes."""

    def __init__(self, evaluator: CandidateEvaluator) -> None:
        self.evaluator = evaluator
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        """Evaluate the first that was submitted."""
        if not self._jobs:
            return None
        job = self._jobs.popleft()
        try:
            given = self.evaluator.evaluate(job.population, np.array([job.stream], np.uint64))
            return job.id, checked_evaluation(given, 1, self.evaluator.name)
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # a status, as where a process of its own ends
            why = describe_exception(error)
            return job.id, self.evaluator.worst_evaluation(CRASHED, why=why)

    def close(self) -> None:
        self._jobs.clear()
