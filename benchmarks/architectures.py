"""Does evolution beat random search when every candidate is really trained, and how good are the
winners?

    python benchmarks/architectures.py DATA [--seeds 5] [--budget 60] [--only TEXT] [--processes 2]
    [--runs FOLDER] [--result FILE]

DATA is a folder with mnist_train20k.npz, mnist_test10k.npz, cifar10_train10k.npz and
cifar10_test1k.npz; digits needs no file. Every method has the same number of candidates and the
same training, on one core a run. The winner, the best in validation, is trained anew on all images
but the test part, and tested. What is finished is skipped and a run that was cut off is resumed.
Writes benchmarks/results/architectures.json as it goes.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from evoml.archive.files import lock, write_atomically
from evoml.config import build
from evoml.search.open import open_search
from evoml.search.run import Run

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "architectures.json"

ADAM = {"name": "training", "optimiser": "adam", "lr": 0.01}
AGING = {"name": "aging_evolution", "population": 15, "tournament": 4, "block": 1}
CELL = {
    "name": "cell",
    "blocks": 3,
    "skeleton": {"cells": 1, "filters": 6, "stem": 2, "reductions": 1},
}
MOTIFS = {
    "name": "hierarchical",
    "levels": [[4, 3], [1, 4]],
    "skeleton": {"cells": 1, "filters": 16, "reductions": 1},
}
LAYERS = {
    "name": "chain",
    "most": 8,
    "kernels": [1, 3, 5],
    "filters": [16, 24, 32, 48],
    "strides": [1, 2],
}

# Space, strategy, and the winner's skeleton where it is larger than the candidates': cells have the
# fewest parameters.
METHODS: dict[str, dict[str, Any]] = {
    "random search": {
        "space": CELL,
        "strategy": {"name": "random_search", "population": 15, "block": 1},
        "final": {"filters": 12},
    },
    "aging evolution": {"space": CELL, "strategy": AGING, "final": {"filters": 12}},
    "HNAS tournament": {
        "space": MOTIFS,
        "strategy": {"name": "tournament", "population": 15, "share": 0.1},
        "final": {},
    },
    "chain evolution": {"space": LAYERS, "strategy": AGING, "final": {}},
}
# Cheaper trainings for the search, and the training of the winner.
SETS: dict[str, dict[str, Any]] = {
    "digits": {
        "task": {"name": "digits", "valid": 0.3}, "evaluator": ADAM | {"epochs": 4},
        "final": {"evaluator": {"epochs": 30}},
    },
    "mnist": {
        "task": {
            "name": "images", "data": "mnist_train20k.npz", "test_data": "mnist_test10k.npz",
            "size": 14, "examples": 2500, "valid": 0.4,
        },
        "evaluator": ADAM | {"epochs": 2, "batch": 32},
        "final": {"task": {"examples": 0, "size": 14}, "evaluator": {"epochs": 2, "batch": 64}},
    },
    "cifar10": {
        "task": {
            "name": "images", "data": "cifar10_train10k.npz", "test_data": "cifar10_test1k.npz",
            "size": 16, "examples": 2500, "valid": 0.4,
        },
        "evaluator": ADAM | {"epochs": 2, "batch": 32},
        "final": {
            "task": {"examples": 0, "size": 16},
            "evaluator": {"epochs": 4, "batch": 64, "flip": True},
        },
    },
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One search, and the test of its winner."""

    data: str
    method: str
    seed: int
    budget: int
    folder: Path  # of the data
    runs: Path

    @property
    def key(self) -> tuple[str, str, int]:
        return self.data, self.method, self.seed


def settings(data: str, folder: Path, **parts: dict[str, Any]) -> dict[str, Any]:
    """The settings of a search on one set of images, as `build` takes them."""
    task = dict(SETS[data]["task"])
    task |= {name: str(folder / task[name]) for name in ("data", "test_data") if name in task}
    return {"task": task, "evaluator": SETS[data]["evaluator"], "workers": 1, **parts}


def searched(values: dict[str, Any], run: Path) -> Run:
    """A search that has ended: begun, gone on with, or ended before.

    Raises InputError where the run folder is of other settings.
    """
    search = open_search(build(("benchmark", values)), run)
    if (run / "run.toml").is_file():
        search.restore()
    else:
        search.create()
    with lock(run):
        search.prepare()
        search.run()
    return search


def history(search: Run) -> dict[str, list[float | None]]:
    """What every candidate came to, in their order: the objectives and the seconds of training."""
    names = [*search.problem.objectives, "seconds"]
    rows = search.archive.table(["id", *names])[0].sort_by("id")
    return {
        name: [
            round(value, 5) if math.isfinite(value) else None for value in rows[name].to_pylist()
        ]
        for name in names
    }


def work(job: Job) -> dict[str, Any]:
    """One row of the result."""
    from evoml.search.winner import final_problem, train_final

    method = METHODS[job.method]
    limits = {"seed": job.seed, "budget": job.budget}
    values = settings(
        job.data, job.folder, search=limits, space=method["space"], strategy=method["strategy"]
    )
    run = job.runs / f"{job.data}-{job.method.replace(' ', '-')}-{job.seed}"
    search = searched(values, run)
    row: dict[str, Any] = {
        "data": job.data,
        "method": job.method,
        "seed": job.seed,
        **history(search),
        "seconds_in_all": search.seconds,
    }
    if search.champion is None:
        return row
    larger = {"space": {"skeleton": method["final"]}} | SETS[job.data]["final"]
    trained = train_final(
        final_problem(search.problem, [("benchmark", larger)], "final"),
        search.champion.genotype,
        run,
    )
    scores = {
        name: trained.scores[name] for name in ("test_accuracy", "parameters", "multiply_adds")
    }
    return row | {"final_seconds": round(trained.seconds, 1)} | scores


def baselines(data: str, folder: Path) -> dict[str, float]:
    """Test accuracy of textbook methods on the same images."""
    from evoml.search.problem import Problem
    from evoml.tasks._image_splits import baseline_scores

    values = settings(data, folder, space=CELL, strategy=AGING)
    values["task"] |= SETS[data]["final"].get("task", {})
    return baseline_scores(Problem(build(("benchmark", values))).test_tasks)


def parallel(
    function: Callable[[Any], Any], jobs: Iterable[Any], processes: int
) -> Iterator[tuple[Any, Any]]:
    """Jobs with their results as they end, begun in order; a run a core, so that no candidate waits
    for another's.
    """
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        futures = {pool.submit(function, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def results(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """What is in a result file already. Exits where it is of other settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = (
        json.loads(path.read_text()) if path.is_file() else {"settings": about, "rows": []}
    )
    if known["settings"] != json.loads(json.dumps(about)):
        raise SystemExit(f"{path}: of other settings; move it away, or name another with --result")
    return known


def arguments(text: str | None, with_data: bool = True) -> argparse.ArgumentParser:
    """What the benchmarks with searches in run folders have in common."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if with_data:
        parser.add_argument("folder", metavar="DATA", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    return parser


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--budget", type=int, default=60, help="candidates of a search")
    parser.add_argument(
        "--only",
        default="",
        help="data sets and methods with this in their names, such as 'digits random'",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "populations" / "architectures",
        help="where the run folders are",
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    out = results(options.result, {"budget": options.budget, "methods": METHODS, "sets": SETS})
    done = {(row["data"], row["method"], row["seed"]) for row in out["rows"]}
    jobs = [
        Job(data, method, seed, options.budget, options.folder.resolve(), options.runs)
        for seed in range(options.seeds)
        for data in SETS
        for method in METHODS
        if all(word in f"{data} {method}" for word in options.only.split())
    ]
    for data in dict.fromkeys(job.data for job in jobs):
        out.setdefault("baselines", {}).setdefault(data, baselines(data, options.folder.resolve()))
    places = {
        key: place
        for place, key in enumerate(
            (data, method, seed) for data in SETS for method in METHODS for seed in range(1000)
        )
    }
    for job, row in parallel(work, [job for job in jobs if job.key not in done], options.processes):
        out["rows"] = sorted(
            [*out["rows"], row], key=lambda row: places[row["data"], row["method"], row["seed"]]
        )
        write_atomically(options.result, (json.dumps(out) + "\n").encode())
        best = max((value for value in row["accuracy"] if value is not None), default=math.nan)
        print(
            f"{job.data}, {job.method}, seed {job.seed}: {len(row['accuracy'])} candidates in "
            f"{row['seconds_in_all']:.0f} s, best {best:.4f}, test "
            f"{row.get('test_accuracy', math.nan):.4f} after "
            f"{row.get('final_seconds', math.nan):.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
