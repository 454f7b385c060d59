"""Where does an hour on two cores get on the published CIFAR-10 tasks, in training steps and
accuracy?

    python benchmarks/cifar10_hour.py DATA/automlzero_cifar10_dim16_search36.npz [--cpu-seconds
    7200] [--seed 0]

The baseline of the published program (F = 16, 8000 + 1000 examples) from empty programs, with the
functional cache, on two islands. Time is process CPU time, so that other work on the machine does
not count. Writes benchmarks/results/cifar10_hour.json as it goes.
"""

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path

from common import search

from evoml.search.run import Progress

RESULT = Path(__file__).parent / "results" / "cifar10_hour.json"
SETS = [
    "search.islands=2",
    "task.search.tasks=16",
    "search.budget=0",
    "search.experiment_steps=60000000000",
    "archive.interval=120",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cpu-seconds", type=float, default=7200.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sets = [*SETS, f"search.seed={options.seed}", f"task.data={json.dumps(str(options.data))}"]
    folder = Path(tempfile.mkdtemp(prefix="evoml-hour-"))
    started = search(folder / "run", sets)
    stop, began, points = threading.Event(), time.process_time(), []

    def show(progress: Progress) -> None:
        spent = time.process_time() - began
        if spent >= options.cpu_seconds:
            stop.set()
        if stop.is_set() or spent >= (len(points) + 1) * options.cpu_seconds / 24:
            champion = started.halloffame[0]
            points.append(
                {
                    "cpu_seconds": round(spent, 1), "wall_seconds": round(progress.seconds, 1),
                    "candidates": progress.evaluations, "training_steps": progress.counts["steps"],
                    "experiment": progress.experiment, "search": progress.best,
                    "selected": progress.selected,
                    "test": started.problem.test(champion.genotype)["accuracy"],
                    "counts": progress.counts, "program": progress.champion,
                }
            )  # fmt: skip
            RESULT.write_text(
                json.dumps({"settings": SETS, "seed": options.seed, "points": points}, indent=1)
            )

    started.run(show, stop)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
