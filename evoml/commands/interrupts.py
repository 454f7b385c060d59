"""Ctrl-C and termination, heard at once whatever the process is doing: inside an import, a compiler
or a long compiled call.

Python runs signal handlers between two instructions of its main thread, and compiled code can be
one instruction for minutes. So a thread of its own hears of signals through `signal.set_wakeup_fd`
and decides: leave at once, or first let a search end itself.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STATUS = 130
# seconds that a search may take to end itself; what is lost then is run again by `evoml resume`
PATIENCE = 0.9
# SIGHUP: of a terminal that is closed, where that is not to be survived (nohup); Windows has none
_SIGNALS = (signal.SIGINT, signal.SIGTERM) + (
    (signal.SIGHUP,)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    else ()
)

_lock = threading.Lock()
_stop: threading.Event | None = None  # of the search that is running
_advice = ""  # what to say behind "interrupted"


def install() -> None:
    """Hear of signals from now on.

    For the entry point: signals belong to the process, and a library leaves them alone.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    threading.Thread(target=_listen, args=(read,), daemon=True).start()


def uninstall() -> None:
    """Be deaf to signals: everything has been done, and only the process has to end."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)


def advise(text: str) -> None:
    """What to say behind "interrupted" from now on: how to go on."""
    global _advice
    _advice = text


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that the first signal sets; a second one, or PATIENCE running out, ends the
    process.
    """
    global _stop
    _stop = threading.Event()
    try:
        yield _stop
    finally:
        with _lock:  # not while a signal is being answered
            _stop = None


def _listen(descriptor: int) -> None:
    while heard := os.read(descriptor, 1):
        if heard[0] not in _SIGNALS:
            continue
        with _lock:
            stop = _stop
            if stop is None or stop.is_set():
                _leave()
            stop.set()
        patience = threading.Timer(PATIENCE, _expire, (stop,))
        patience.daemon = True
        patience.start()


def _expire(stop: threading.Event) -> None:
    with _lock:
        if _stop is stop:
            _leave()


def _leave() -> NoReturn:
    """End the process; whatever is written is written beside and renamed, so nothing is left half
    done.
    """
    line = "evoml: interrupted" + (f"; {_advice}" if _advice else "") + "\n"
    try:
        if os.isatty(2):
            line = "\r\x1b[J\x1b[?25h" + line  # a live display hides the cursor
        if select.select([], [2], [], 0)[1]:  # a full pipe would hold the process for ever
            os.write(2, line.encode())
    finally:
        os._exit(STATUS)
