"""Costly candidates in parallel, in slots: processes that evaluate one candidate after the other.

A candidate whose process dies is tried once more with the same id and stream; one that overruns is
given up. What crosses is a configuration, then genotypes with their ids and parents, and the rows
of an `Evaluation`.
"""

import time
from collections.abc import Callable
from dataclasses import astuple
from math import inf
from typing import Any

import numpy as np

from evoml.config import build
from evoml.contracts.evaluation import Evaluation, checked_evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.executor import Job, Stage
from evoml.core.errors import InputError
from evoml.core.wording import describe_exception
from evoml.genotypes.population import CRASHED, Population
from evoml.search.problem import Problem
from evoml.workers.child import Channel
from evoml.workers.pool import Pool

# seconds beyond its time limit after which a candidate's process is killed; until then it should
# have ended the candidate itself
GRACE = 10.0
# seconds after which a process that is not ready hangs, beside those to read the data
STARTING = 60.0
# times as long as this process may others take to read the data: there are many at once
READING = 10
TELLING = 0.5  # seconds between two words of a process on how far its candidate is


class Slots:
    """`count` processes, as an executor.

    limit: seconds that a candidate may take; 0: no limit. worst: objectives of one that is given
    up, [O]. reading: seconds that this process took to read the data.
    """

    def __init__(
        self, problem: Problem, count: int, limit: float, worst: tuple[float, ...],
        reading: float = 0.0,
    ) -> None:  # fmt: skip
        schema, self.worst = problem.space.schema, worst

        def message(job: Job) -> dict[str, Any]:
            genotype, parents = job.population.genotype(0), job.population.parents[0].tolist()
            plain = {"id": job.id, "parents": parents, "genotype": schema.plain(genotype)}
            return plain | {"stream": job.stream}

        order = {"backend": problem.backend, "system": "custom", "start": []}
        self.pool = Pool(
            __name__, problem.config.complete() | order, message,
            silent=limit + GRACE if limit else inf, start=STARTING + READING * reading,
        )  # fmt: skip
        self.pool.grow(count)

    def submit(self, job: Job) -> None:
        self.pool.submit(job)

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        done = self.pool.next(seconds)
        if done is None:
            return None
        if done.answer is None:
            worst, why = self.worst, done.why if done.status == CRASHED else ""
            return done.job.id, Evaluation.of(worst, done.status, done.seconds, failure=why)
        return done.job.id, Evaluation.from_plain(done.answer["rows"], len(self.worst))

    def stages(self) -> dict[int, Stage | None]:
        return {
            process.ticket.job.id: None if process.stage is None else Stage(*process.stage)
            for process in self.pool.processes
            if process.ticket is not None
        }

    def close(self) -> None:
        self.pool.close()


def work(channel: Channel) -> None:
    """Evaluate candidates, in a process of the pool."""
    channel.serve(lambda: _candidates(channel))


def _candidates(channel: Channel) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What evaluates the candidates of the configuration that is ordered. Raises InputError."""
    problem = Problem(build(("run.toml", channel.order)))
    evaluator = problem.evaluator(problem.task.search(0))
    assert isinstance(evaluator, CandidateEvaluator)
    evaluator.warm()
    said = 0.0

    def watch(stage: Stage) -> None:
        nonlocal said
        if time.monotonic() - said > TELLING:
            said = time.monotonic()
            channel.say(stage=astuple(stage))

    evaluator.watch = watch

    def answer(job: dict[str, Any]) -> dict[str, Any]:
        genotype = problem.space.schema.from_plain(job["genotype"], f"candidate {job['id']}")
        population = Population.of(problem.space.schema, [genotype], problem.weights)
        population.ids[:], population.parents[:] = job["id"], job["parents"]
        try:
            given = evaluator.evaluate(population, np.array([job["stream"]], np.uint64))
            evaluation = checked_evaluation(given, 1, evaluator.name)
        except InputError as error:
            return {"refused": str(error)}
        except MemoryError:  # a new process may have it
            raise
        except Exception as error:
            evaluation = evaluator.worst_evaluation(CRASHED, why=describe_exception(error))
        return {"rows": evaluation.plain()}

    return answer
