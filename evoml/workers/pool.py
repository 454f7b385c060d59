"""One pool of processes, each of which answers one job after the other: start, ready, death,
overrun, retries and refusals.

`concurrent.futures` is no substitute: it breaks as a whole when one process is killed, and cannot
stop a job that runs. Here a process that dies costs one job, which is tried once more; one that
overruns is killed alone and replaced; all end with their parent. What crosses is JSON, a line a
message: first the order, the same for every process, which answers `ready` or `refused`; then a job
at a time, with a number that its answer repeats.
"""

import json
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from queue import Empty, Queue
from typing import Any, Generic

from evoml.core.errors import InputError
from evoml.genotypes.population import CRASHED, TIMED_OUT
from evoml.workers.process import J, Process, Ticket

ATTEMPTS = 2  # of a job whose process dies: the machine may have been the reason
MAX_FAILED_STARTS = 10  # processes in a row that may end before they are ready
MAX_SLOW_STARTS = 2  # processes in a row that may not be ready in time, after which none will


class Pool(Generic[J]):
    """Processes that run `work(channel)` of one module, with `child.Channel`.

    silent: seconds that a process with a job may say nothing. start: seconds until one must be
    ready.
    """

    def __init__(
        self, module: str, order: dict[str, Any], message: Callable[[J], dict[str, Any]], *,
        split: Callable[[J], Sequence[J]] = lambda job: (), silent: float = inf, start: float = inf,
        concern: str = "workers",
    ) -> None:  # fmt: skip
        """message: what a process is told of a job. split: jobs that a job is cut up into when its
        process dies; fewer than two: it is tried once more as it is. concern: the setting that is
        at fault where no process starts.

        The processes end when nobody refers to the pool any more, so `message` and `split` must not
        refer to its owner.
        """
        self.module, self.silent, self.start, self.concern = module, silent, start, concern
        self.processes: list[Process[J]] = []
        self._order, self._message, self._split = json.dumps(order), message, split
        self._waiting: deque[Ticket[J]] = deque()
        self._inbox: Queue[tuple[Process[J], str | None]] = Queue()
        self._failed_starts = self._slow_starts = 0  # in a row
        weakref.finalize(self, _kill, self.processes)

    @property
    def idle(self) -> bool:
        """Whether all jobs are finished."""
        return not self._waiting and all(process.ticket is None for process in self.processes)

    def grow(self, count: int) -> None:
        """Have at least so many processes."""
        while len(self.processes) < count:
            self.processes.append(Process(self.module, self._order, self._inbox))

    def submit(self, job: J) -> None:
        """Take a job. Returns at once."""
        self._waiting.append(Ticket(job))
        self._hand_out()

    def next(self, seconds: float) -> Ticket[J] | None:
        """The next job that is finished; None: there is none yet, after so many seconds or sooner.

        Raises InputError where a process refuses the order, or none starts.
        """
        # else an answer that is only waiting to be read could be taken for none
        if self._inbox.empty():
            self._kill_overdue()
        try:
            process, line = self._inbox.get(timeout=seconds)
        except Empty:
            return None
        if process not in self.processes:
            return None  # replaced meanwhile
        out = self._ended(process) if line is None else self._heard(process, json.loads(line))
        self._hand_out()
        return out

    def close(self) -> None:
        """End all processes and forget all jobs."""
        _kill(self.processes)
        self.processes.clear()
        self._waiting.clear()

    def _hand_out(self) -> None:
        for process in self.processes:
            if process.ready and not (process.overdue or process.ticket) and self._waiting:
                ticket = self._waiting.popleft()
                process.take(ticket, self._message(ticket.job))

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for process in self.processes:
            limit = self.silent if process.ready else self.start
            idle = process.ready and process.ticket is None
            if not (process.overdue or idle) and now - process.since > limit:
                process.overdue = True
                process.kill()  # its listener says that it has ended

    def _heard(self, process: Process[J], message: dict[str, Any]) -> Ticket[J] | None:
        if "refused" in message:
            raise InputError(message["refused"])
        if "ended" in message:  # its child
            words = message["ended"], process.last_line(message["errors"])
            # one that is overdue is about to end itself
            return None if process.overdue else self._died(process, ": ".join(filter(None, words)))
        if "stage" in message:
            process.stage = message["stage"]  # no sign of life: what hangs at the end hangs
            return None
        process.since = time.monotonic()
        if "ready" in message:
            if not process.overdue:  # else it was ready too late
                process.ready, self._failed_starts, self._slow_starts = True, 0, 0
        elif process.ticket is not None and message.get("job") == process.number:
            ticket, process.ticket = process.ticket, None
            ticket.answer = message
            return ticket
        return None

    def _ended(self, process: Process[J]) -> Ticket[J] | None:
        """A whole process has ended: it is replaced."""
        process.kill()
        out = self._died(process, process.last_line() or "it said nothing")
        at = self.processes.index(process)
        self.processes[at] = Process(self.module, self._order, self._inbox)
        return out

    def _died(self, process: Process[J], why: str) -> Ticket[J] | None:
        """A process, or its child, has ended: its job is cut up, tried once more, or given up."""
        if not process.ready:
            self._count_failed_start(process.overdue, why)
        now, ticket = time.monotonic(), process.ticket
        seconds = now - process.since
        process.ready, process.since, process.ticket = False, now, None
        if ticket is None:
            return None
        ticket.attempts += 1
        if len(parts := self._split(ticket.job)) > 1:
            self._waiting.extendleft(map(Ticket, reversed(parts)))
        elif ticket.attempts < ATTEMPTS and not process.overdue:
            self._waiting.appendleft(ticket)
        else:
            ticket.status = TIMED_OUT if process.overdue else CRASHED
            ticket.seconds, ticket.why = seconds, why
            return ticket
        return None

    def _count_failed_start(self, slow: bool, why: str) -> None:
        """Raises InputError where there have been too many in a row."""
        self._failed_starts += 1
        self._slow_starts += slow
        if self._slow_starts >= MAX_SLOW_STARTS:
            raise InputError(
                f"{self.concern}: {self._slow_starts} processes in a row are not ready after "
                f"{self.start:.0f} s ({why}); workers = 1 starts none"
            )
        if self._failed_starts > MAX_FAILED_STARTS:
            raise InputError(
                f"{self.concern}: processes end before they can evaluate anything ({why})"
            )


def _kill(processes: Sequence[Process[Any]]) -> None:
    for process in processes:
        process.kill()
