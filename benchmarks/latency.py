"""How well does a table of layer latencies predict what whole networks take on this machine?

    taskset -c 0 python benchmarks/latency.py [--networks 50] [--repeats 300]

By `evoml latency`, for networks of inverted bottlenecks (ProxylessNAS's space, desk size) and for
cells, at the sizes of digits and of CIFAR-10. Networks are random; repeated measurements of the
same networks correlate by `halves`, which no prediction can pass by much. Writes
benchmarks/results/latency.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from evoml.archive.files import write_atomically
from evoml.commands.latency import compared
from evoml.config import build
from evoml.networks.latency import known, measure
from evoml.search.problem import Problem

RESULT = Path(__file__).parent / "results" / "latency.json"
SIZES = {"digits, 1 x 8 x 8": (1, 8, 8), "CIFAR-10, 3 x 32 x 32": (3, 32, 32)}
SYSTEMS = {"inverted bottlenecks": "proxylessnas", "cells": "darts"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for title, system in SYSTEMS.items():
        space = Problem(build(("benchmark", {"system": system}))).space
        for images, size in SIZES.items():
            table = measure(known(space, size, 10), options.repeats)
            rows.append(
                {"space": title, "images": images}
                | compared(table, space, size, 10, options.networks, options.repeats, 1)
            )
            print(rows[-1], flush=True)
            write_atomically(
                RESULT,
                (json.dumps({"machine": table.about, "rows": rows}, indent=1) + "\n").encode(),
            )


if __name__ == "__main__":
    main()
