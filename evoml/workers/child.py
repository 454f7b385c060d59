"""What runs in a process of a pool: it reads an order, then jobs, and answers each.

Standard input and output are the pool's: whoever asks for input gets none, and what is printed goes
to standard error, so that it does not get between the answers.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from queue import Queue
from typing import Any, NoReturn

from evoml.core.errors import InputError

DIES_WITH_PARENT = 1  # Linux's PR_SET_PDEATHSIG

Message = dict[str, Any]  # plain values, as JSON has them


class Channel:
    """The way to the pool that started this process.

    order: the pool's, the same for all of its processes.
    """

    def __init__(self) -> None:
        """Take standard input and output, and read the order."""
        self.parent = os.getppid()
        self._jobs, self._answers = os.dup(0), os.fdopen(os.dup(1), "w")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        # not a byte more, as the rest may be a child's
        with os.fdopen(os.dup(self._jobs), "rb", buffering=0) as lines:
            line = lines.readline()
        if not line.endswith(b"\n"):  # the pool is gone
            sys.exit()
        self.order: Message = json.loads(line)

    def say(self, **message: Any) -> None:
        """Tell the pool."""
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()

    def beat(self) -> None:
        """Say that all is well, where a job takes long."""
        self.say(beat=True)

    def serve(self, start: Callable[[], Callable[[Message], Message]]) -> None:
        """Answer jobs with what `start` gives, until this process is ended.

        An InputError of `start` refuses the order.
        """
        jobs: Queue[str] = Queue()
        # a thread reads, so that the end of the pool ends this process whatever it is doing
        threading.Thread(target=self._read, args=(jobs,), daemon=True).start()
        try:
            work = start()
        except InputError as error:
            self.say(refused=str(error))
            return
        self.say(ready=True)
        while True:
            try:
                job = json.loads(jobs.get())
            except ValueError:  # the rest of a line that another child died over
                continue
            self.say(job=job["job"], **work(job))

    def _read(self, jobs: "Queue[str]") -> None:
        with os.fdopen(self._jobs) as lines:
            for line in lines:
                jobs.put(line)
        os._exit(0)

    def serve_in_children(self, start: Callable[[], Callable[[Message], Message]]) -> NoReturn:
        """The same in a forked child, and in another one when that ends: it costs a fork then, not
        a start.
        """
        _end_with(self.parent)
        while True:
            sys.stderr.flush()
            with warnings.catch_warnings():
                # that there are threads: those of the linear algebra, which stand a fork
                warnings.simplefilter("ignore")
                parent, child = os.getpid(), os.fork()
            if child == 0:
                _end_with(parent)
                try:
                    self.serve(start)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            # up to where they are this child's
            self.say(ended=exit_reason(status), errors=os.fstat(2).st_size)


def _end_with(parent: int) -> None:
    """End this process with its parent, whatever it is doing; elsewhere than on Linux, when its
    input ends.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it was too late
            os._exit(0)


def exit_reason(status: int) -> str:
    """How a process ended, from what `wait` gives."""
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}, {signal.strsignal(os.WTERMSIG(status))}"
    return f"exit status {os.WEXITSTATUS(status)}"


def main() -> None:
    """Take the order; then `work(channel)` of the module that is named does the rest."""
    channel = Channel()
    import_module(sys.argv.pop()).work(channel)
