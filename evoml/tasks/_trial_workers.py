"""Trials of networks in code of others, which may raise, crash or never end: in processes, so that
such a failure costs one network and none of its neighbours.

A process imports what evoml needs, once, and forks a child that imports what the task names and
answers jobs; a child that ends costs a fork, not a start. One that says nothing for too long is
killed. A job of many networks that ends a child is tried again, network by network.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evoml.backends import fork_safe
from evoml.contracts.task import TrialResult, Trials
from evoml.core.registry import load
from evoml.core.wording import one_line
from evoml.genotypes.population import OK, TIMED_OUT
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._trials import as_result, check_shape
from evoml.workers.child import Channel
from evoml.workers.pool import Pool
from evoml.workers.process import Ticket

POLL = 0.05  # seconds between two looks at the clock
REPORT_EVERY = 1.0  # seconds between two tellings of how far a batch is
NUMBERS = ("inputs", "outputs", "bias", "recurrent")
ARRAYS = {
    "slots": np.int64, "nodes": np.int64, "slot": np.int32, "activation": np.uint8,
    "aggregation": np.uint8, "links": np.int64, "source": np.int32, "weight": np.float64,
}  # fmt: skip


@dataclass
class TrialResults:
    """What came of P networks."""

    scores: np.ndarray  # [P, names] float64, NaN where it failed
    status: np.ndarray  # [P] uint8
    steps: int = 0  # network evaluations
    failure: tuple[int, str] | None = None  # the first network that failed, and why in a line
    tried: int = 0  # so far

    @classmethod
    def none(cls, networks: int, names: int) -> "TrialResults":
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
Work = Callable[[NeuronGraphs, Callable[[], None]], TrialResults]
# told how many networks of a batch have been tried, and how many of them failed
Watch = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class _Batch:
    """Some of the networks that are to be tried, by their positions."""

    graphs: NeuronGraphs
    which: np.ndarray

    def message(self) -> dict[str, Any]:
        return {"networks": plain(self.graphs.take(self.which))}

    def split(self, size: int = 1) -> "list[_Batch]":
        """Batches of so many networks; this one alone where it has no more."""
        firsts = range(0, len(self.which), size)
        return [_Batch(self.graphs, self.which[first : first + size]) for first in firsts]


class PooledTrials(Trials):
    """Trials in processes that live from one `run` to the next.

    task: whose module's `worker(arguments, backend)` gives them their `Work`. together: whether a
    process is given its share of the networks at once, else one after the other. whole: whether one
    process is given all of them. timeout: seconds
    that one may say nothing.
    """

    isolated = True
    task: ClassVar[str]
    together: ClassVar[bool] = False
    whole: bool = False
    arguments: dict[str, Any]  # as JSON has them
    timeout: float
    _pool: "TrialPool | None" = None

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Try P networks, in `workers` processes. One that raises, ends its process or takes too
        long has a status and NaN.

        Raises InputError where a process refuses the task.
        """
        check_shape(graphs, self.inputs, self.outputs)
        pool = self._pool_of(backend, max(1, workers))
        share = 1 if self.whole else pool.count
        batch = max(1, -(-len(graphs) // share)) if self.together or self.whole else 1
        results = pool.run(graphs, len(self.names), batch, self.watch)
        self.failure = "" if results.failure is None else results.failure[1]
        return as_result(results.scores, results.steps, results.status)

    def check(self, backend: str, workers: int) -> None:
        """Start the processes. Raises InputError where one refuses the task."""
        self._pool_of(backend, max(1, workers)).check()

    def _pool_of(self, backend: str, count: int) -> "TrialPool":
        """The pool there is, or a new one where another was asked for."""
        if self._pool is None or (self._pool.count, self._pool.backend) != (count, backend):
            self.close()
            self._pool = TrialPool(self.task, self.arguments, backend, count, self.timeout)
        return self._pool

    def close(self) -> None:
        """End the processes; the next `run` starts others."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None


class TrialPool(Pool[_Batch]):
    """At most `count` processes that try networks. limit: seconds that one may say nothing."""

    def __init__(
        self, task: str, arguments: dict[str, Any], backend: str, count: int, limit: float
    ) -> None:
        order = {"task": task, "arguments": arguments, "backend": backend}
        super().__init__(
            __name__, order | {"warm": fork_safe(backend)}, _Batch.message, split=_Batch.split,
            silent=limit, concern="task",
        )  # fmt: skip
        self.count, self.backend = count, backend

    def check(self) -> None:
        """Start the processes. Raises InputError where one refuses the task."""
        with self._closing():
            self.grow(self.count)
            while not any(process.ready for process in self.processes):
                self.next(POLL)

    def run(
        self, graphs: NeuronGraphs, names: int, batch: int = 1, watch: Watch | None = None
    ) -> TrialResults:
        """Try all networks, `batch` of them a job. Raises InputError as `check` does."""
        out, told = TrialResults.none(len(graphs), names), time.monotonic()
        jobs = _Batch(graphs, np.arange(len(graphs))).split(batch)
        with self._closing():
            self.grow(min(self.count, len(jobs)))
            for job in jobs:
                self.submit(job)
            while not self.idle:
                if (done := self.next(POLL)) is not None:
                    self._note(done, out)
                if watch is not None and time.monotonic() - told > REPORT_EVERY:
                    told = time.monotonic()
                    watch(out.tried, int((out.status != OK).sum()))
        return out

    def _note(self, done: Ticket[_Batch], out: TrialResults) -> None:
        if done.answer is not None:
            out.take(done.job.which, done.answer)
            return
        out.tried += 1
        late, why = f"nothing came of it for {self.silent:g} s", f"its process ended ({done.why})"
        out.fail(
            int(done.job.which[0]), done.status,
            late if done.status == TIMED_OUT else one_line(why),
        )  # fmt: skip

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


def plain(graphs: NeuronGraphs) -> dict[str, Any]:
    """Networks as JSON has them."""
    numbers = {name: getattr(graphs, name) for name in NUMBERS}
    return numbers | {name: getattr(graphs, name).tolist() for name in ARRAYS}


def from_plain(values: dict[str, Any]) -> NeuronGraphs:
    """The networks that `plain` gave."""
    arrays = {name: np.array(values[name], dtype) for name, dtype in ARRAYS.items()}
    return NeuronGraphs(**(values | arrays))


def work(channel: Channel) -> None:
    """Import what trials take, in a process of the pool, then have children try networks."""
    order = channel.order
    load("tasks", order["task"])
    if order["warm"]:
        _warm(order["backend"])

    def start() -> Callable[[dict[str, Any]], dict[str, Any]]:
        tries: Work = load("tasks", order["task"]).worker(order["arguments"], order["backend"])
        return lambda job: tries(from_plain(job["networks"]), channel.beat).plain()

    channel.serve_in_children(start)


def _warm(backend: str) -> None:
    """Run the smallest networks, so that children find everything compiled."""
    module = load("backends", backend)
    for recurrent in (False, True):
        graphs = from_plain({
            "inputs": 1, "outputs": 1, "bias": 1.0, "recurrent": recurrent, "slots": [3],
            "nodes": [0, 1], "slot": [2], "activation": [0], "aggregation": [0], "links": [0, 1],
            "source": [0], "weight": [1.0],
        })  # fmt: skip
        module.forward(graphs, np.zeros((1, 1)), None, dtype="float64", sweeps=1)
        module.Stepper(graphs, 1, "float64").step(np.zeros((1, 1, 1)))
