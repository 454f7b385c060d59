"""Is this state slower than another one?

    python benchmarks/compare_checkouts.py OTHER [--repeats 4] [--only NAME] [--data FILE]

Whole searches of both states, one after the other in turns, on one pinned core, with the packages
of the Python that runs this. A ratio is that of the least CPU seconds, which other work on the
machine disturbs least; the median ratio of the pairs stands beside it. OTHER is a checkout.
--data: NAS-Bench-201 as .npz, for the look-ups. Writes benchmarks/results/compare_checkouts.json
after every search and goes on where it stopped.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from evoml.archive.files import write_atomically

HERE = Path(__file__).resolve().parents[1]
RESULT = HERE / "benchmarks" / "results" / "compare_checkouts.json"
SEARCHES = {
    "programs, compiled loop": (
        "automl-zero --task linear_regression --budget 600000 --seed 3 --set search.stop_at=none "
        "--set search.islands=1"
    ),
    "programs, random search": (
        "automl-zero --strategy random_search --task linear_regression --budget 60000 --seed 5"
    ),
    "NEAT, double pole": (
        "neat --task double_pole_without_velocities --budget 30000 --seed 2 "
        "--set search.stop_at=none"
    ),
    "look-ups, aging evolution": (
        "--space nasbench201 --strategy aging_evolution --evaluator table --data {data} "
        "--budget 12000 --seed 1"
    ),
    "supernet, DARTS": (
        "darts --seed 1 --set strategy.epochs=2 --set search.trust=0 --set task.examples=400 "
        "--set evaluator.epochs=1 --workers 1 --budget 1"
    ),
    "training of candidates": (
        "amoebanet --budget 6 --seed 1 --set strategy.population=4 --set strategy.tournament=2 "
        "--set evaluator.epochs=4 --set task.examples=800 --workers 1"
    ),
    "a start": "amoebanet --budget 1 --seconds 0.01 --workers 1",
}


def cpu_seconds(checkout: Path, words: list[str]) -> float:
    """Of one search, start included."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "evoml", "search", *words, "--json", "--run", f"{folder}/run"],
            env=os.environ | {"PYTHONPATH": str(checkout)}, cwd=folder, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--only", default="")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {0})
    found = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    for name, text in SEARCHES.items():
        wanted = options.only in name if options.only else name not in found
        if not wanted or ("{data}" in text and options.data is None):
            continue
        words = text.format(data=options.data and options.data.resolve()).split()
        pairs = []
        for repeat in range(options.repeats + 1):
            sides = [options.other.resolve(), HERE]
            if repeat % 2:
                sides.reverse()
            both = {side: cpu_seconds(side, words) for side in sides}
            if repeat:  # the first compiles
                pairs.append((both[options.other.resolve()], both[HERE]))
        least = [min(side) for side in zip(*pairs, strict=True)]
        found[name] = {
            "before": least[0],
            "now": least[1],
            "ratio": least[1] / least[0],
            "median ratio": statistics.median(now / before for before, now in pairs),
            "pairs": len(pairs),
        }
        print(name, {key: round(value, 3) for key, value in found[name].items()}, flush=True)
        write_atomically(RESULT, json.dumps(found, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
