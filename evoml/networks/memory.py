"""How much memory there is, and whether it is enough."""

from pathlib import Path

import numpy as np

from evoml.core.errors import InputError
from evoml.networks.shared_weights import step_memory
from evoml.phenotypes.network import Supernet


def available(
    meminfo: Path = Path("/proc/meminfo"), groups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Bytes that this process may still take, by the system and by its control group; None where
    neither says.
    """
    found = [*_system(meminfo), *_group(groups)]
    return min(found) if found else None


def check_step(supernet: Supernet, batch: int, setting: str, mix: np.ndarray | None = None) -> None:
    """Raise InputError where a step of a supernet on so many images needs more memory than there
    is. setting: where that number comes from.

    mix: [G, O], where only its options are in memory at once.
    """
    needed, there = step_memory(supernet, batch, mix=mix), available()
    if there is not None and needed > there:
        raise InputError(
            f"space: the supernet needs about {needed / 2**30:.1f} GiB for a step of {batch} "
            f"images, and {there / 2**30:.1f} GiB are free; make {setting}, space.skeleton or "
            "task.size smaller"
        )


def _system(meminfo: Path) -> list[int]:
    try:
        lines = meminfo.read_text().splitlines()
        return [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        return []


def _group(groups: Path) -> list[int]:
    try:
        limit, used, parts = (
            (groups / name).read_text().strip()
            for name in ("memory.max", "memory.current", "memory.stat")
        )
        # given back on demand
        cached = sum(
            int(line.split()[1]) for line in parts.splitlines() if line.startswith("inactive_file ")
        )
        return [] if limit == "max" else [max(int(limit) - int(used) + cached, 0)]
    except (OSError, ValueError, IndexError):
        return []
