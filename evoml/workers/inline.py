"""Candidates evaluated in this process, one at a time, without isolation: what ends the process
ends the search, which can be resumed.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from evoml.contracts.evaluation import Evaluation, checked_evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.executor import Halted, Job, Stage
from evoml.core.errors import InputError
from evoml.core.wording import describe_exception
from evoml.genotypes.population import CRASHED


class Inline:
    """An executor without processes."""

    def __init__(
        self, evaluator: CandidateEvaluator, watch: Callable[[], None] | None = None
    ) -> None:
        """watch: called after every step of a candidate that takes long; it may raise `Halted`,
        which leaves the candidate to be evaluated anew.
        """
        self.evaluator = evaluator
        self._jobs: deque[Job] = deque()
        self._stage: Stage | None = None
        self._watch = watch
        evaluator.watch = None if watch is None else self._heard

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        """Evaluate the first that was submitted."""
        if not self._jobs:
            return None
        job, self._stage = self._jobs[0], None
        try:
            given = self.evaluator.evaluate(job.population, np.array([job.stream], np.uint64))
            evaluation = checked_evaluation(given, 1, self.evaluator.name)
        except InputError:
            raise
        except Halted:
            return None
        except (Exception, SystemExit) as error:  # a status, as where a process of its own ends
            why = describe_exception(error)
            evaluation = self.evaluator.worst_evaluation(CRASHED, why=why)
        self._jobs.popleft()
        return job.id, evaluation

    def stages(self) -> dict[int, Stage | None]:
        return {self._jobs[0].id: self._stage} if self._jobs else {}

    def _heard(self, stage: Stage) -> None:
        self._stage = stage
        assert self._watch is not None
        self._watch()

    def close(self) -> None:
        self._jobs.clear()
