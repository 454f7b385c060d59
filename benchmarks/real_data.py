"""How good are discovered programs on class pairs of real images that the search never saw?

    python benchmarks/real_data.py [DATA/automlzero_cifar10_dim16_search36.npz] [--seeds 5]
    [--workers 2]
    python benchmarks/real_data.py --random [DATA/...]      adds random search of the same budget to
    the rows that are there

Search on projected binary tasks of scikit-learn's digits, and of CIFAR-10 where its file is given;
then the selected program on the test pairs, beside logistic regression and the hand-written
programs on the same tasks. Writes benchmarks/results/real_data.json as it goes.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from common import search

from evoml.core.built_in import programs_folder
from evoml.report._baselines import baselines, score_program

RESULT = Path(__file__).parent / "results" / "real_data.json"
BUDGET = {"digits": 2_000_000, "cifar10": 150_000}


def run(
    name: str,
    data: Path | None,
    seed: int,
    workers: int,
    folder: Path,
    strategy: str = "aging_evolution",
) -> dict[str, Any]:
    sets = [
        f"search.seed={seed}",
        f"search.budget={BUDGET[name]}",
        f"workers={workers}",
        f"strategy.name={strategy}",
    ]
    if data is not None:
        sets += [f"task.data={json.dumps(str(data))}", "evaluator.epochs=1", "search.experiment=0"]
    started = search(folder / f"{name}-{seed}", sets)
    result, problem = started.run(), started.problem
    tasks = problem.test_tasks
    assert result.best is not None
    assert result.test is not None
    scores = {"discovered program": result.test["accuracy"], **baselines(problem, tasks)}
    averaged = programs_folder() / "automl_zero" / "averaged_weights.py"
    scores["bilinear, averaged weights (hand-written)"] = float(
        score_program(problem, tasks, averaged).mean()
    )
    return {
        "data": name, "seed": seed, "candidates": result.evaluations,
        "training_steps": result.counts["steps"], "seconds": round(result.seconds, 1),
        "selected": result.best["objectives"]["accuracy"], "scores": scores,
        "program": result.best["text"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--random", action="store_true")
    options = parser.parse_args()
    folder, rows = Path(tempfile.mkdtemp(prefix="evoml-real-")), []
    if options.random:
        rows = json.loads(RESULT.read_text())["rows"]
        for row in rows:
            if row["data"] == "digits" or options.data:
                data = None if row["data"] == "digits" else options.data
                other = run(
                    row["data"], data, row["seed"], options.workers, folder, "random_search"
                )
                row["scores"]["random search, same budget"] = other["scores"]["discovered program"]
                print(
                    row["data"],
                    row["seed"],
                    other["selected"],
                    other["scores"]["discovered program"],
                    other["seconds"],
                    flush=True,
                )
                RESULT.write_text(json.dumps({"budget": BUDGET, "rows": rows}, indent=1))
        return
    for name, data in (("digits", None), ("cifar10", options.data)):
        for seed in range(options.seeds if name == "digits" or data else 0):
            rows.append(run(name, data, seed, options.workers, folder))
            print({key: value for key, value in rows[-1].items() if key != "program"}, flush=True)
            RESULT.write_text(json.dumps({"budget": BUDGET, "rows": rows}, indent=1))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
