"""Processes that try networks in code of others, which may raise, crash or never end: such a failure costs one network and none of its neighbours.

A process imports what the task names, once, and then answers jobs, a JSON line each; it ends when its standard input closes, so with its parent. One that says nothing
for too long is killed. A job of many networks that ends a process is tried again, network by network.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Queue
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from evoml.errors import InputError
from evoml.graphs import Graphs
from evoml.population import CRASHED, OK, TIMED_OUT
from evoml.registry import load
from evoml.tasks import Tried
from evoml.tasks._trials import tried

ATTEMPTS = 2  # of a network whose process ends: the machine may have been the reason
STILLBORN = 5  # processes in a row that may end before they are ready
POLL = 0.05  # seconds between two looks at the clock
ARRAYS = {
    "slots": np.int64, "nodes": np.int64, "slot": np.int32, "activation": np.uint8, "aggregation": np.uint8, "links": np.int64,
    "source": np.int32, "weight": np.float64,
}  # fmt: skip


@dataclass
class Answers:
    """What came of P networks."""

    scores: np.ndarray  # [P, names] float64, NaN where it failed
    status: np.ndarray  # [P] uint8
    steps: int = 0  # network evaluations
    failure: str = ""  # what the last one that raised said

    @classmethod
    def none(cls, networks: int, names: int) -> "Answers":
        return cls(np.full((networks, names), np.nan), np.full(networks, OK, np.uint8))

    def plain(self) -> dict[str, Any]:
        return {"scores": self.scores.tolist(), "status": self.status.tolist(), "steps": self.steps, "failure": self.failure}


Work = Callable[[Graphs, Callable[[], None]], Answers]  # the networks, and what to call now and then while all is well


@dataclass
class _Job:
    which: np.ndarray  # networks
    attempts: int = field(default=0, compare=False)


class Crew:
    """`count` processes that each make `worker(arguments, backend)` of a task's module, a `Work`. `limit`: seconds that one may say nothing."""

    def __init__(self, task: str, arguments: dict[str, Any], backend: str, count: int, limit: float) -> None:
        self.count, self.backend, self.limit = count, backend, limit
        self._words = json.dumps({"task": task, "arguments": arguments, "backend": backend})
        self._heard: Queue[tuple[_Worker, str | None]] = Queue()
        self._workers: list[_Worker] = []
        self._stillborn = 0
        weakref.finalize(self, _end, self._workers)

    def run(self, graphs: Graphs, names: int, batch: int = 1) -> Answers:
        """Try all networks, `batch` of them a job. Raises InputError where a process refuses the task."""
        out = Answers.none(len(graphs), names)
        jobs = deque(_Job(np.arange(first, min(first + batch, len(graphs)))) for first in range(0, len(graphs), batch))
        try:
            while len(self._workers) < min(self.count, len(jobs)):
                self._workers.append(_Worker(self._words, self._heard))
            while jobs or any(worker.job for worker in self._workers):
                for worker in self._workers:
                    if worker.ready and worker.job is None and jobs:
                        worker.start(jobs.popleft(), graphs)
                self._listen(jobs, out)
        except BaseException:
            self.close()  # an answer to a question that nobody asks any more would be taken for the next one's
            raise
        return out

    def close(self) -> None:
        """End all processes."""
        _end(self._workers)
        self._workers.clear()

    def _listen(self, jobs: "deque[_Job]", out: Answers) -> None:
        if self._heard.empty():
            for worker in self._workers:
                if worker.job is not None and time.monotonic() - worker.heard > self.limit:
                    worker.overdue = True
                    worker.kill()  # its listener says that it has ended
        try:
            worker, line = self._heard.get(timeout=POLL)
        except Empty:
            return
        if worker not in self._workers:
            return
        if line is None:
            self._ended(worker, jobs, out)
            return
        worker.heard, message = time.monotonic(), json.loads(line)
        if "refused" in message:
            raise InputError(message["refused"])
        if "ready" in message:
            worker.ready, self._stillborn = True, 0
        elif "scores" in message:
            job, worker.job = worker.job, None
            assert job is not None
            out.scores[job.which], out.status[job.which] = message["scores"], message["status"]
            out.steps += message["steps"]
            out.failure = message["failure"] or out.failure

    def _ended(self, worker: "_Worker", jobs: "deque[_Job]", out: Answers) -> None:
        """A process that ended: replaced; its job cut up, tried once more, or given up."""
        worker.kill()
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn > STILLBORN:
                raise InputError(f"task: processes end before they can try anything ({worker.last_words})")
        self._workers[self._workers.index(worker)] = _Worker(self._words, self._heard)
        job = worker.job
        if job is None:
            return
        job.attempts += 1
        if len(job.which) > 1:
            jobs.extendleft(_Job(job.which[at : at + 1]) for at in range(len(job.which)))
        elif job.attempts < ATTEMPTS and not worker.overdue:
            jobs.appendleft(job)
        else:
            out.status[job.which] = TIMED_OUT if worker.overdue else CRASHED
            out.failure = f"nothing came of it for {self.limit:g} s" if worker.overdue else f"its process ended ({worker.last_words})"


def _end(workers: "list[_Worker]") -> None:
    for worker in workers:
        worker.kill()


class _Worker:
    """One process, and the job that it has."""

    def __init__(self, words: str, heard: "Queue[tuple[_Worker, str | None]]") -> None:
        self.job: _Job | None = None
        self.ready = self.overdue = False
        self.heard = time.monotonic()  # when it last said something, or was asked
        self.last_words = "it said nothing"
        self._errors = TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evoml.tasks._crew"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            start_new_session=True, env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        self._send(words)
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()

    def _send(self, text: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # the process is gone: the listener says so
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()

    def _listen(self, heard: "Queue[tuple[_Worker, str | None]]") -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else it was killed over it
                    heard.put((self, line.decode()))
        heard.put((self, None))

    def start(self, job: _Job, graphs: Graphs) -> None:
        self.job, self.heard = job, time.monotonic()
        self._send(json.dumps(plain(graphs.take(job.which))))

    def kill(self) -> None:
        """End the process and whatever it started, once: its number may be another's afterwards."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(OSError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with self._errors as errors:
            errors.seek(0)
            lines = [line.strip() for line in errors.read().decode(errors="replace").split("\n")]
        self.last_words = next((line[:200] for line in reversed(lines) if line), self.last_words)


class Crewed:
    """Trials that are run by a crew, which lives from one `run` to the next."""

    failure = ""  # what the last candidate that failed said
    _crew: Crew | None = None

    def _crewed(self, task: str, arguments: dict[str, Any], backend: str, count: int, timeout: float) -> Crew:
        """The crew there is, or a new one where another was asked for."""
        if self._crew is None or (self._crew.count, self._crew.backend) != (count, backend):
            self.close()
            self._crew = Crew(task, arguments, backend, count, timeout)
        return self._crew

    def _told(self, answers: Answers) -> Tried:
        self.failure = answers.failure or self.failure
        return tried(answers.scores, answers.steps, answers.status)

    def close(self) -> None:
        """End the processes; the next `run` starts others."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


def plain(graphs: Graphs) -> dict[str, Any]:
    """Networks as JSON has them."""
    numbers = {"inputs": graphs.inputs, "outputs": graphs.outputs, "bias": graphs.bias, "recurrent": graphs.recurrent}
    return numbers | {name: getattr(graphs, name).tolist() for name in ARRAYS}


def from_plain(values: dict[str, Any]) -> Graphs:
    """The networks that `plain` gave."""
    return Graphs(**(values | {name: np.array(values[name], dtype) for name, dtype in ARRAYS.items()}))


def said(error: BaseException) -> str:
    """An exception of others' code in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


# -- the worker ------------------------------------------------------------------------------------------------------------------


def _lines() -> Iterator[str]:
    """Lines of standard input, read by a thread, so that the end of the parent ends this process whatever it is doing."""
    inbox: Queue[str] = Queue()

    def read() -> None:
        for line in sys.stdin:
            inbox.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield inbox.get()


def main() -> None:
    """Read what to do, then networks; answer each line with what came of them."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints does not get between the answers

    def answer(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    lines = _lines()
    first = json.loads(next(lines))
    try:
        work: Work = load("tasks", first["task"]).worker(first["arguments"], first["backend"])
    except InputError as error:
        answer(refused=str(error))
        return
    answer(ready=True)
    for line in lines:
        answer(**work(from_plain(json.loads(line)), lambda: answer(beat=True)).plain())


if __name__ == "__main__":
    main()
