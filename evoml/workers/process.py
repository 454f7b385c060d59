"""A Python process that is spoken to in lines: what it is told goes to its standard input, what it
says comes into a queue, its errors into a file. `child.py` is the other end.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from queue import Queue
from tempfile import TemporaryFile
from typing import Any, Generic, TypeVar

from evoml.core.wording import one_line

LAST_LINE = 200  # characters of the last line that a process wrote

J = TypeVar("J")


@dataclass(eq=False)
class Ticket(Generic[J]):
    """A job, and in the end its answer; None: it was given up, with a status, after so many
    seconds, and why.
    """

    job: J
    attempts: int = 0
    answer: dict[str, Any] | None = None
    status: int = 0  # a position in `population.STATUS`
    seconds: float = 0.0
    why: str = ""  # how its process ended, in a line


class Process(Generic[J]):
    """One process, in a group of its own, with the job that it has.

    `inbox` gets (this, a line) for whatever it says, and (this, None) when it has ended.
    """

    def __init__(self, module: str, order: str, inbox: "Queue[tuple[Process[J], str | None]]"):
        """Run a module's `work`, and tell it the order."""
        self.ticket: Ticket[J] | None = None
        # of the job: a child may die before it reads one, which the next child then answers
        self.number = 0
        self.stage: list[Any] | None = None  # how far it is with that, as it said last
        self.ready = self.overdue = False  # overdue: killed for that
        self.since = time.monotonic()  # when it last said something, or was told something
        self.errors = TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._read = 0  # of its errors
        self._last_line = ""
        self.process = subprocess.Popen(
            # -P: nothing is imported from the folder that one happens to stand in
            [sys.executable, "-P", "-m", "evoml.workers", module], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()
        self._send(order)

    def take(self, ticket: Ticket[J], message: dict[str, Any]) -> None:
        """Have it answer a job."""
        self.ticket, self.number, self.since = ticket, self.number + 1, time.monotonic()
        self.stage = None
        self._send(json.dumps(message | {"job": self.number}))

    def _send(self, text: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # the process is gone: the listener says so
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()

    def _listen(self, inbox: "Queue[tuple[Process[J], str | None]]") -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else it was killed over it
                    inbox.put((self, line.decode()))
        inbox.put((self, None))

    def last_line(self, end: int | None = None) -> str:
        """The last line of its errors since the last call; empty where there is none.

        end: of what is read, in bytes, where others may have written since.
        """
        if self.errors.closed:
            return self._last_line
        end = os.fstat(self.errors.fileno()).st_size if end is None else end
        start, self._read = max(self._read, end - 4096), end
        text = os.pread(self.errors.fileno(), end - start, start).decode(errors="replace")
        lines = (one_line(line, LAST_LINE) for line in reversed(text.split("\n")))
        return next(filter(None, lines), "")

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
        self._last_line = self.last_line()
        self.errors.close()
