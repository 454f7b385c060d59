"""Costly candidates in parallel: N slots, each a process of its own that evaluates one candidate
after the other.

One pool of N workers is no substitute: it breaks as a whole when one worker is killed and cannot
stop a task that runs. Here a slot that crashes costs one candidate, which is tried once more with
the same id and stream; one that overruns is killed alone and replaced; all end with their parent,
since a worker whose standard input closes ends at once. What crosses is JSON, a line a message.
"""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from queue import Empty, Queue
from typing import Any

import numpy as np

from evoml.config import Config, build
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.executor import Job
from evoml.core.errors import InputError
from evoml.genotypes.population import CRASHED, TIMED_OUT, Population
from evoml.search.problem import Problem
from evoml.workers.process import Process

GRACE = (
    # seconds beyond its time limit after which a candidate's process is killed; until then it
    # should have ended the candidate itself
    10.0
)
ATTEMPTS = 2
STILLBORN = 10  # processes in a row that may end before they are ready
# seconds after which a process that is not ready hangs, beside those to read the data
STARTING = 60.0
# times as long as this process may others take to read the data: there are many at once
READING = 10
HUNG = 2  # processes in a row that may not be ready in time, after which the search ends


class Inline:
    """In this process, one at a time, without isolation: what ends the process ends the search,
    which can be resumed.
    """

    def __init__(self, evaluator: CandidateEvaluator) -> None:
        self.evaluator = evaluator
        self.jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        """Evaluate the first that was submitted."""
        if not self.jobs:
            return None
        job = self.jobs.popleft()
        try:
            return job.id, self.evaluator.evaluate(
                job.population, np.array([job.stream], np.uint64)
            )
        except InputError:
            raise
        except Exception:  # a result with a status, as where a process of its own ends
            return job.id, self.evaluator.worst_evaluation(CRASHED)

    def close(self) -> None:
        self.jobs.clear()


class Slots:
    """`count` processes.

    `limit`: seconds that a candidate may take; 0: no limit. `reading`: seconds that this process
    took to read the data.
    """

    def __init__(
        self,
        problem: Problem,
        count: int,
        limit: float,
        worst: tuple[float, ...],
        reading: float = 0.0,
    ) -> None:
        self.problem, self.limit, self.worst, self.reading = problem, limit, worst, reading
        self.values = json.dumps(
            problem.config.complete()
            | {"backend": problem.backend, "system": "custom", "start": []}
        )
        self.jobs: deque[Job] = deque()
        self.done: Queue[tuple[_Slot, str | None]] = Queue()
        self.slots = [_Slot(self.values, self.done) for _ in range(count)]
        # processes in a row that ended before they were ready, and that were not ready in time
        self.stillborn = self.hung = 0

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self._start()

    def _start(self) -> None:
        for slot in self.slots:
            if slot.job is None and not slot.killed and self.jobs:
                job = self.jobs.popleft()
                job.attempts += 1
                slot.start(job, self.problem.space.schema.plain(job.population.genotype(0)))

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        """The next candidate that is done, or None after so many seconds.

        Raises InputError where a worker refuses the configuration, or none starts.
        """
        # else an answer that is only waiting to be read could be taken for none
        if self.done.empty():
            self._kill_overdue()
        try:
            slot, line = self.done.get(timeout=seconds)
        except Empty:
            return None
        if slot not in self.slots:
            return None  # replaced meanwhile
        out = self._crashed(slot) if line is None else self._answered(slot, json.loads(line))
        self._start()
        return out

    def _answered(self, slot: "_Slot", message: dict[str, Any]) -> tuple[int, Evaluation] | None:
        if "refused" in message:
            raise InputError(message["refused"])
        if "ready" in message:
            if not slot.killed:  # else it was ready too late
                slot.ready, slot.began, self.stillborn, self.hung = True, time.monotonic(), 0, 0
            return None
        job, slot.job = slot.job, None
        assert job is not None
        return job.id, Evaluation.from_plain(message["rows"], len(self.worst))

    def _crashed(self, slot: "_Slot") -> tuple[int, Evaluation] | None:
        """A process that ended: replaced; its candidate tried once more, or given up."""
        job, spent = slot.job, time.monotonic() - slot.began
        slot.kill()
        if not slot.ready:
            self._unready(slot)
        self.slots[self.slots.index(slot)] = _Slot(self.values, self.done)
        if job is None:
            return None
        job.attempts -= not slot.ready  # no candidate's fault
        if job.attempts < ATTEMPTS and not (slot.killed and slot.ready):
            self.jobs.appendleft(job)
            return None
        return job.id, Evaluation.of(self.worst, TIMED_OUT if slot.killed else CRASHED, spent)

    def _unready(self, slot: "_Slot") -> None:
        """Count a process that never was ready.

        Raises InputError where there have been too many in a row.
        """
        self.stillborn += 1
        self.hung += slot.killed
        if self.hung >= HUNG:
            raise InputError(
                f"workers: {HUNG} processes in a row are not ready after {self._starting:.0f} s "
                f"({slot.last_words}); workers = 1 starts none"
            )
        if self.stillborn > STILLBORN:
            raise InputError(
                f"workers: processes end before they can evaluate anything ({slot.last_words})"
            )

    @property
    def _starting(self) -> float:
        """Seconds in which a process must be ready."""
        return STARTING + READING * self.reading

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for slot in self.slots:
            late = (
                bool(self.limit) and slot.job is not None and now - slot.began > self.limit + GRACE
            )
            if not slot.killed and (late if slot.ready else now - slot.made > self._starting):
                slot.killed = True
                slot.kill()

    def close(self) -> None:
        for slot in self.slots:
            slot.kill()
        self.jobs.clear()


class _Slot(Process):
    """One process, and the candidate that it has."""

    def __init__(self, values: str, done: "Queue[tuple[_Slot, str | None]]") -> None:
        self.job: Job | None = None
        self.made = self.began = time.monotonic()  # began: what it does now
        self.ready = False  # it has said so
        self.killed = False  # for being overdue
        # the last line that it wrote to standard error, once it has ended
        self.last_words = "it said nothing"
        super().__init__("evoml.search.slots", done)
        self.send(values)

    def start(self, job: Job, plain: dict[str, Any]) -> None:
        self.job, self.began = job, time.monotonic()
        parents = job.population.parents[0].tolist()
        self.send(
            json.dumps({"id": job.id, "parents": parents, "genotype": plain, "stream": job.stream})
        )

    def ended(self) -> None:
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().decode(errors="replace").split("\n")]
        self.last_words = next((line[:200] for line in reversed(lines) if line), self.last_words)


# -- the worker ------------------------------------------------------------------------------------


def _lines() -> Iterator[str]:
    """Lines of standard input, read by a thread, so that the end of the parent ends this process
    whatever it is doing.
    """
    inbox: Queue[str] = Queue()

    def read() -> None:
        for line in sys.stdin:
            inbox.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield inbox.get()


def work() -> None:
    """Read a configuration, then candidates; answer each with its outcome."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints does not get between the answers

    def answer(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    lines = _lines()
    try:
        config: Config = build(("run.toml", json.loads(next(lines))))
        problem = Problem(config)
        evaluator = problem.evaluator(problem.task.search(0))
        evaluator.warm()
    except InputError as error:
        answer(refused=str(error))
        return
    answer(ready=True)
    schema = problem.space.schema
    for line in lines:
        job = json.loads(line)
        population = Population.of(
            schema, [schema.from_plain(job["genotype"], f"candidate {job['id']}")], problem.weights
        )
        population.ids[:], population.parents[:] = job["id"], job["parents"]
        answer(
            id=job["id"],
            rows=evaluator.evaluate(population, np.array([job["stream"]], np.uint64)).plain(),
        )


if __name__ == "__main__":
    work()
