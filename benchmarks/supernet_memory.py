"""How much memory does a step take with all options, as DARTS needs, and with one path, as
ProxylessNAS does, on the same supernet?

    python benchmarks/supernet_memory.py

Two supernets, of cells (DARTS's list) and of inverted bottlenecks. Every case is a process of its
own: the growth of its largest resident size over three steps of weights and architecture. Writes
benchmarks/results/supernet_memory.json.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from evoml.contracts.part import space_class
from evoml.core.registry import load

RESULT = Path(__file__).parent / "results" / "supernet_memory.json"
# space, batch, images
SUPERNETS: dict[str, tuple[dict[str, Any], int, tuple[int, int, int]]] = {
    "cells: C = 16, 8 cells, batch 64, 32x32": (
        {
            "name": "cell", "blocks": 4, "operations": "darts", "output": "all",
            "skeleton": {"cells": 2, "filters": 16, "reductions": 2},
        },
        64,
        (3, 32, 32),
    ),
    "inverted bottlenecks: 12 blocks, batch 64, 32x32": (
        {
            "name": "mobile", "widths": [24, 40, 80], "blocks": [4, 4, 4], "strides": [1, 2, 2],
            "skeleton": {"stem": 16, "stem_stride": 1, "first": 16, "last": 160},
        },
        64,
        (3, 32, 32),
    ),
}  # fmt: skip
MODES = ("DARTS, all options", "ProxylessNAS, all gates", "ProxylessNAS, two paths")


def measured(name: str, mode: str) -> dict[str, int]:
    """Bytes that a step adds, and what is estimated before. To be run in a process of its own."""
    from evoml.networks.cpu.shared_weights import CPUSharedWeights, memory

    values, batch, size = SUPERNETS[name]
    module = load("spaces", values["name"])
    space = space_class(values["name"])(
        module.Settings.read(
            {key: value for key, value in values.items() if key != "name"}, "space"
        )
    )
    supernet = space.supernet(size, 10)
    rng = np.random.default_rng(0)
    x, y = (
        rng.normal(size=(batch, *size[1:], size[0])).astype(np.float32),
        rng.integers(0, 10, batch),
    )
    net = CPUSharedWeights(supernet, 0, affine=values["name"] == "mobile")
    there = supernet.available
    one = np.zeros(there.shape)
    one[np.arange(len(one)), [int(rng.choice(np.flatnonzero(row))) for row in there]] = 1.0
    if mode == MODES[0]:
        mix, wanted = there / there.sum(1, keepdims=True), None
    else:
        mix, wanted = one, there
        if mode == MODES[2]:
            wanted = one > 0
            for group, row in enumerate(wanted):
                row[rng.choice(np.flatnonzero(there[group] & ~row))] = True
    net.gradients(x[:2], y[:2], mix, wanted=wanted)  # compiled, and libraries loaded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        net.gradients(x, y, mix, of_mix=False)
        net.gradients(x, y, mix, of_weights=False, wanted=wanted)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"measured": grown * 1024, "estimated": memory(supernet, batch, mix=mix)}


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(measured(*sys.argv[1:])))
        return
    rows = []
    for name in SUPERNETS:
        for mode in MODES:
            done = subprocess.run(
                [sys.executable, __file__, name, mode], check=True, capture_output=True, text=True
            )
            rows.append({"supernet": name, "mode": mode, **json.loads(done.stdout)})
            print(rows[-1], flush=True)
            RESULT.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
