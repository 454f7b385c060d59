"""A Python process that is spoken to in lines: what it is told goes to its standard input, what it
says comes into a queue, its errors into a file.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from queue import Queue
from tempfile import TemporaryFile
from typing import Any


class Process:
    """One process, in a group of its own.

    `heard` gets (this, a line) for whatever it says, and (this, None) when it has ended.
    """

    def __init__(self, module: str, heard: "Queue[tuple[Any, str | None]]") -> None:
        """Run `python -m module`."""
        self.errors = TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, start_new_session=True,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()

    def send(self, text: str) -> None:
        """Tell it a line."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # the process is gone: the listener says so
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()

    def _listen(self, heard: "Queue[tuple[Any, str | None]]") -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):  # else it was killed over it
                    heard.put((self, line.decode()))
        heard.put((self, None))

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
        with self.errors:
            self.ended()

    def ended(self) -> None:
        """Called once, while the errors can still be read."""
