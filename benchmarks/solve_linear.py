"""How many candidates and CPU seconds until a linear regressor passes selection, from random
programs?

    taskset -c 0 python benchmarks/solve_linear.py [--seeds 10] [--set KEY=VALUE ...]

The demonstration of AutoML-Zero's published program: fresh tasks for every experiment, stop above
0.9999 on the selection tasks. The original needs 3.1 million candidates and 98 CPU seconds in the
median of 10 seeds. Writes benchmarks/results/solve_linear.json.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from common import search

RESULT = Path(__file__).parent / "results" / "solve_linear.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--set", dest="sets", action="append", default=[])
    options = parser.parse_args()
    folder, rows = Path(tempfile.mkdtemp(prefix="evoml-solve-")), []
    for seed in range(options.seeds):
        sets = [
            "task.name=linear_regression",
            "workers=1",
            f"search.seed={seed}",
            "search.budget=100000000",
            *options.sets,
        ]
        started = search(folder / str(seed), sets)
        began = time.process_time()
        result = started.run()
        assert result.best is not None
        assert result.test is not None
        row = {
            "seed": seed, "solved": result.reason == "stop_at",
            "experiments": started.experiment + 1, "candidates": result.evaluations,
            "cpu_seconds": round(time.process_time() - began, 2),
            "selected": result.best["objectives"]["fitness"], "test": result.test["fitness"],
        }  # fmt: skip
        rows.append(row)
        print(row, flush=True)
        summary = {
            "solved": sum(row["solved"] for row in rows),
            "median_candidates": statistics.median(row["candidates"] for row in rows),
            "median_cpu_seconds": statistics.median(row["cpu_seconds"] for row in rows),
        }
        RESULT.write_text(
            json.dumps({"settings": options.sets, "summary": summary, "rows": rows}, indent=1)
        )
    print(summary)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
