"""How many candidates a second, by number of tasks, features and examples, and where the time goes?

    taskset -c 0 python benchmarks/throughput.py [--seconds 2] [--repeats 5]

The demonstration settings of AutoML-Zero's published program (linear regression), one island, one
core, compilation not counted; every child proposed and given a fitness is a candidate, from a cache
or by interpretation. Writes benchmarks/results/throughput.json.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import rate, search

RESULT = Path(__file__).parent / "results" / "throughput.json"
# candidates a CPU second of the original C++ program on this kind of machine; None: not measured
ORIGINAL = {
    (10, 4, 100): 34_900, (1, 4, 100): 202_000, (100, 4, 100): 3_100, (10, 4, 1000): 10_500,
    (1, 4, 1000): 135_500, (10, 16, 1000): 10_700, (10, 32, 100): 25_200,
}  # fmt: skip


def measure(
    tasks: int, features: int, examples: int, seconds: float, repeats: int, folder: Path
) -> dict[str, Any]:
    sets = [
        "task.name=linear_regression", f"task.features={features}", f"task.search.tasks={tasks}",
        f"task.search.train={examples}", "search.islands=1", "search.stop_at=none", "workers=1",
    ]  # fmt: skip
    rates = []
    for seed in range(repeats):
        island = search(
            folder / f"{tasks}-{features}-{examples}-{seed}", [*sets, f"search.seed={seed}"]
        ).islands[0]
        rates.append(rate(island, seconds, 20_000, 5_000))
    return {
        "tasks": tasks, "features": features, "examples": examples, "min": min(rates),
        "median": statistics.median(rates), "max": max(rates),
        "original": ORIGINAL.get((tasks, features, examples)), "counts": island.evaluator.counts,
        "split": split(island),
    }  # fmt: skip


def split(island: Any) -> dict[str, float]:
    """Microseconds a candidate of each part, one after the other in Python as the toolbox runs
    them; the compiled loop has little beside them.
    """
    spent = dict.fromkeys(("proposing", "canonical form", "looking up", "interpreting"), 0.0)
    evaluator, strategy, space = island.evaluator, island.strategy, island.problem.space

    def timed(name: str, function: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            began = time.perf_counter()
            out = function(*arguments)
            spent[name] += time.perf_counter() - began
            return out

        return wrapper

    backend, exact, functional = evaluator._stages[0], evaluator._exact, evaluator._functional
    for owner, method, name in (
        (space, "phenotypes", "canonical form"), (backend, "fitness", "interpreting"),
        (backend, "fingerprints", "interpreting"), (exact, "find", "looking up"),
        (exact, "insert", "looking up"), (functional, "find", "looking up"),
        (functional, "insert", "looking up"),
    ):  # fmt: skip
        setattr(owner, method, timed(name, getattr(owner, method)))
    ask = timed("proposing", strategy.ask)
    count, began = 20_000, time.perf_counter()
    for _ in range(count // strategy.block):
        population = ask(island.asked + np.arange(strategy.block))
        island.toolbox.score(population)
        strategy.tell(population)
        island.asked += strategy.block
    whole = time.perf_counter() - began
    return {
        name: value / count * 1e6
        for name, value in (spent | {"rest": whole - sum(spent.values())}).items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    folder, rows = Path(tempfile.mkdtemp(prefix="evoml-throughput-")), []
    print(
        f"{'tasks':>5} {'F':>3} {'examples':>8} {'min':>9} {'median':>9} {'max':>9} "
        f"{'original':>9} {'ratio':>6}   microseconds a candidate"
    )
    for tasks in (1, 10, 100):
        for features in (4, 16, 32):
            for examples in (100, 1000):
                row = measure(tasks, features, examples, options.seconds, options.repeats, folder)
                rows.append(row)
                original = row["original"]
                ratio = f"{row['median'] / original:6.1f}" if original else "     -"
                parts = "  ".join(f"{name} {value:.2f}" for name, value in row["split"].items())
                print(
                    f"{tasks:5} {features:3} {examples:8} {row['min']:9,.0f} {row['median']:9,.0f} "
                    f"{row['max']:9,.0f} {original or '-':>9} {ratio}   {parts}",
                    flush=True,
                )
                RESULT.write_text(
                    json.dumps(
                        {"seconds": options.seconds, "repeats": options.repeats, "rows": rows},
                        indent=1,
                    )
                )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
