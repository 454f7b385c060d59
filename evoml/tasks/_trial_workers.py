"""Processes that try networks in code of others, which may raise, crash or never end: such a
failure costs one network and none of its neighbours.

A process imports what evoml needs, once, and forks a child that imports what the task names and
answers jobs, a JSON line each; a child that ends costs a fork, not a start. All of them end with
the search, at once. One that says nothing for too long is killed. A job of many networks that ends
a child is tried again, network by network.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Queue
from typing import IO, Any

import numpy as np

from evoml.contracts.task import TrialResult, Trials
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.genotypes.population import CRASHED, OK, TIMED_OUT
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._trials import as_result
from evoml.workers.process import Process

ATTEMPTS = 2  # of a network whose process ends: the machine may have been the reason
STILLBORN = 5  # processes in a row that may end before they are ready
POLL = 0.05  # seconds between two looks at the clock
TOLD = 1.0  # seconds between two tellings of how far a batch is
SHOWN = 160  # characters of what an exception says
BEFORE = ("numba", "reference")  # backends that may be at work in a process that forks
DIES_WITH_PARENT = 1  # Linux's PR_SET_PDEATHSIG
ARRAYS = {
    "slots": np.int64, "nodes": np.int64, "slot": np.int32, "activation": np.uint8,
    "aggregation": np.uint8, "links": np.int64, "source": np.int32, "weight": np.float64,
}  # fmt: skip


@dataclass
class Answers:
    """What came of P networks."""

    scores: np.ndarray  # [P, names] float64, NaN where it failed
    status: np.ndarray  # [P] uint8
    steps: int = 0  # network evaluations
    failure: tuple[int, str] | None = None  # the first network that failed, and why in a line
    tried: int = 0  # so far

    @classmethod
    def none(cls, networks: int, names: int) -> "Answers":
        return cls(np.full((networks, names), np.nan), np.full(networks, OK, np.uint8))

    def fail(self, network: int, status: int, why: str) -> None:
        """Note that a network failed. Why the first did is kept, whoever fails sooner."""
        self.status[network] = status
        self._keep(network, why)

    def _keep(self, network: int, why: str) -> None:
        if self.failure is None or network < self.failure[0]:
            self.failure = network, why

    def take(self, which: np.ndarray, message: dict[str, Any]) -> None:
        """Put in what `plain` gave of the networks `which`."""
        self.scores[which], self.status[which] = message["scores"], message["status"]
        self.steps += message["steps"]
        self.tried += len(which)
        if message["failure"]:
            at, why = message["failure"]
            self._keep(int(which[at]), why)

    def plain(self) -> dict[str, Any]:
        return {
            "scores": self.scores.tolist(),
            "status": self.status.tolist(),
            "steps": self.steps,
            "failure": self.failure,
        }


# the networks, and what to call now and then while all is well
Work = Callable[[NeuronGraphs, Callable[[], None]], Answers]
# told how many networks of a batch have been tried, and how many of them failed
Watch = Callable[[int, int], None]


@dataclass
class _Job:
    which: np.ndarray  # networks
    attempts: int = field(default=0, compare=False)


class Crew:
    """`count` processes, each of which makes `worker(arguments, backend)` of a task's module, a
    `Work`.

    `limit`: seconds that one may say nothing.
    """

    def __init__(
        self, task: str, arguments: dict[str, Any], backend: str, count: int, limit: float
    ) -> None:
        self.count, self.backend, self.limit = count, backend, limit
        self._words = json.dumps({"task": task, "arguments": arguments, "backend": backend})
        self._heard: Queue[tuple[_Worker, str | None]] = Queue()
        self._workers: list[_Worker] = []
        self._stillborn = 0
        weakref.finalize(self, _end, self._workers)

    def check(self) -> None:
        """Start the processes. Raises InputError where one refuses the task."""
        nobody = Answers.none(0, 1)
        with self._closing():
            self._start(self.count)
            while not any(worker.ready for worker in self._workers):
                self._listen(deque(), nobody)

    def run(
        self, graphs: NeuronGraphs, names: int, batch: int = 1, watch: Watch | None = None
    ) -> Answers:
        """Try all networks, `batch` of them a job.

        Raises InputError where a process refuses the task.
        """
        out, told = Answers.none(len(graphs), names), time.monotonic()
        jobs = deque(
            _Job(np.arange(first, min(first + batch, len(graphs))))
            for first in range(0, len(graphs), batch)
        )
        with self._closing():
            self._start(min(self.count, len(jobs)))
            while jobs or any(worker.job for worker in self._workers):
                for worker in self._workers:
                    if worker.ready and worker.job is None and jobs:
                        worker.start(jobs.popleft(), graphs)
                self._listen(jobs, out)
                if watch is not None and time.monotonic() - told > TOLD:
                    told = time.monotonic()
                    watch(out.tried, int((out.status != OK).sum()))
        return out

    def _start(self, count: int) -> None:
        while len(self._workers) < count:
            self._workers.append(_Worker(self._words, self._heard))

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        """End the processes where anything is raised: an answer to a question that nobody asks any
        more would be taken for the next one's.
        """
        try:
            yield
        except BaseException:
            self.close()
            raise

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
            why = worker.last_words("it said nothing")
            worker.kill()
            self._workers[self._workers.index(worker)] = _Worker(self._words, self._heard)
            self._ended(worker, why, jobs, out)
            return
        worker.heard, message = time.monotonic(), json.loads(line)
        if "refused" in message:
            raise InputError(message["refused"])
        if "ready" in message:
            worker.ready, self._stillborn = True, 0
        elif "ended" in message:
            self._ended(worker, worker.last_words(message["ended"], message["errors"]), jobs, out)
        elif worker.job is not None and message.get("job") == worker.number:
            out.take(worker.job.which, message)
            worker.job = None

    def _ended(self, worker: "_Worker", why: str, jobs: "deque[_Job]", out: Answers) -> None:
        """A process, or its child, ended: the job is cut up, tried once more, or given up."""
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn > STILLBORN:
                raise InputError(f"task: processes end before they can try anything ({why})")
        job, worker.job, worker.ready = worker.job, None, False
        if job is None:
            return
        job.attempts += 1
        if len(job.which) > 1:
            jobs.extendleft(_Job(job.which[at : at + 1]) for at in range(len(job.which)))
        elif job.attempts < ATTEMPTS and not worker.overdue:
            jobs.appendleft(job)
        else:
            (network,) = job.which.tolist()
            out.tried += 1
            if worker.overdue:
                out.fail(network, TIMED_OUT, f"nothing came of it for {self.limit:g} s")
            else:
                out.fail(network, CRASHED, one_line(f"its process ended ({why})"))


def _end(workers: "list[_Worker]") -> None:
    for worker in workers:
        worker.kill()


class _Worker(Process):
    """One process with its child, and the job that it has."""

    def __init__(self, words: str, heard: "Queue[tuple[_Worker, str | None]]") -> None:
        self.job: _Job | None = None
        # of the job: a child may die before it reads one, which the next child then answers
        self.number = 0
        self.ready = self.overdue = False
        self.heard = time.monotonic()  # when it last said something, or was asked
        self._read = 0  # of its errors
        super().__init__("evoml.tasks._trial_workers", heard)
        self.send(words)

    def start(self, job: _Job, graphs: NeuronGraphs) -> None:
        self.job, self.number, self.heard = job, self.number + 1, time.monotonic()
        self.send(json.dumps({"job": self.number, "networks": plain(graphs.take(job.which))}))

    def last_words(self, how: str, end: int | None = None) -> str:
        """How a child ended and the last line that it wrote, if any.

        end: of what it wrote, where others may have written since.
        """
        if self.errors.closed:
            return how
        end = os.fstat(self.errors.fileno()).st_size if end is None else end
        start, self._read = max(self._read, end - 4096), end
        lines = (
            os.pread(self.errors.fileno(), end - start, start).decode(errors="replace").split("\n")
        )
        return ": ".join([how, *[line for each in reversed(lines) if (line := one_line(each))][:1]])


class Crewed(Trials):
    """Trials that are run by a crew, which lives from one `run` to the next."""

    isolated = True
    _crew: Crew | None = None

    def _crewed(
        self, task: str, arguments: dict[str, Any], backend: str, count: int, timeout: float
    ) -> Crew:
        """The crew there is, or a new one where another was asked for."""
        if self._crew is None or (self._crew.count, self._crew.backend) != (count, backend):
            self.close()
            self._crew = Crew(task, arguments, backend, count, timeout)
        return self._crew

    def _told(self, answers: Answers) -> TrialResult:
        self.failure = "" if answers.failure is None else answers.failure[1]
        return as_result(answers.scores, answers.steps, answers.status)

    def close(self) -> None:
        """End the processes; the next `run` starts others."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None


def plain(graphs: NeuronGraphs) -> dict[str, Any]:
    """Networks as JSON has them."""
    numbers = {
        "inputs": graphs.inputs,
        "outputs": graphs.outputs,
        "bias": graphs.bias,
        "recurrent": graphs.recurrent,
    }
    return numbers | {name: getattr(graphs, name).tolist() for name in ARRAYS}


def from_plain(values: dict[str, Any]) -> NeuronGraphs:
    """The networks that `plain` gave."""
    return NeuronGraphs(
        **(values | {name: np.array(values[name], dtype) for name, dtype in ARRAYS.items()})
    )


def said(error: BaseException) -> str:
    """An exception of others' code in one line."""
    try:
        text = str(error)
    except Exception:  # it is others' code, too
        text = ""
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def one_line(text: str) -> str:
    """Others' text on a line that can be printed."""
    words = " ".join(text.split())
    words = "".join(character if character.isprintable() else "?" for character in words)
    return words if len(words) <= SHOWN else words[: SHOWN - 3] + "..."


# -- the process and its child ---------------------------------------------------------------------


def main() -> None:
    """Read what to do and import what that takes, then have a child try networks, and another one
    when that ends.
    """
    _die_with(os.getppid())
    orders, answers = os.dup(0), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # whoever asks for input gets none at once
    os.dup2(2, 1)  # whatever prints does not get between the answers
    # nothing is read that is the child's
    with os.fdopen(os.dup(orders), "rb", buffering=0) as lines:
        words = lines.readline()
    if not words.endswith(b"\n"):
        return
    first = json.loads(words)
    load("tasks", first["task"])
    if first["backend"] in BEFORE:
        _warm(first["backend"])
    if not hasattr(os, "fork"):
        _work(first, orders, answers)
        return
    while True:
        sys.stderr.flush()
        with warnings.catch_warnings():
            # that there are threads: those of the linear algebra, which stand a fork
            warnings.simplefilter("ignore")
            parent, child = os.getpid(), os.fork()
        if child == 0:
            _die_with(parent)
            try:
                _work(first, orders, answers)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        # up to where they are this child's
        _say(answers, ended=_how(status), errors=os.fstat(2).st_size)


def _warm(backend: str) -> None:
    """Run the smallest networks, so that children find everything compiled."""
    module, one = load("backends", backend), np.array([0, 1], np.int64)
    none, some = np.zeros(1, np.uint8), np.zeros(1, np.int32)
    for recurrent in (False, True):
        graphs = NeuronGraphs(
            1,
            1,
            1.0,
            recurrent,
            np.array([3], np.int64),
            one,
            some + 2,
            none,
            none,
            one,
            some,
            np.ones(1),
        )
        module.forward(graphs, np.zeros((1, 1)), None, dtype="float64", sweeps=1)
        module.Stepper(graphs, 1, "float64").step(np.zeros((1, 1, 1)))


def _die_with(parent: int) -> None:
    """End this process with its parent, whatever it is doing; elsewhere than on Linux, when its
    input ends.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it was too late
            os._exit(0)


def _how(status: int) -> str:
    """How a process ended, from what `wait` gives."""
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}, {signal.strsignal(os.WTERMSIG(status))}"
    return f"exit status {os.WEXITSTATUS(status)}"


def _say(answers: IO[str], **message: Any) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _work(first: dict[str, Any], orders: int, answers: IO[str]) -> None:
    """Answer every job with what came of its networks."""
    jobs = _jobs(orders)
    try:
        work: Work = load("tasks", first["task"]).worker(first["arguments"], first["backend"])
    except InputError as error:
        _say(answers, refused=str(error))
        return
    _say(answers, ready=True)
    for job in jobs:
        done = work(from_plain(job["networks"]), lambda: _say(answers, beat=True)).plain()
        _say(answers, job=job["job"], **done)


def _jobs(orders: int) -> Iterator[dict[str, Any]]:
    """What is ordered, read by a thread, so that the end of it ends this process whatever it is
    doing.
    """
    inbox: Queue[str] = Queue()

    def read() -> None:
        with os.fdopen(orders) as lines:
            for line in lines:
                inbox.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            job = json.loads(inbox.get())
        except ValueError:  # the rest of a line that another child died over
            continue
        yield job


if __name__ == "__main__":
    main()
