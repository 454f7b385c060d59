"""What the benchmark scripts share: a search ready to run, and how fast its first island is."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evoml.config import assign, build
from evoml.search.rounds import Rounds


def search(folder: Path, sets: Iterable[str]) -> Rounds:
    """A search of the system automl-zero with these settings, `key=value` each; its folder made,
    its kernels compiled.
    """
    out = Rounds(
        build(("system", {"system": "automl-zero"}), *[("--set", assign(text)) for text in sets]),
        folder,
    )
    out.create()
    out.prepare()
    return out


def rate(island: Any, seconds: float, first: int, step: int) -> float:
    """Candidates a CPU second of one island, in rounds of `step`, after its first candidates."""
    stop = threading.Event()

    def advance(count: int) -> None:
        island.end_round()
        island.advance(count, 2**62, stop)

    advance(first)
    done, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        advance(step)
        done += step
    return done / (time.process_time() - began)
