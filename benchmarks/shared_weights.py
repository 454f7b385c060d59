"""What do searches with shared weights find, beside evolution and random search of equal cost?

    python benchmarks/shared_weights.py DATA [--seeds 3] [--only TEXT] [--processes 2] [--runs
    FOLDER] [--result FILE]

DATA is a folder with mnist_train20k.npz, mnist_test10k.npz, cifar10_train10k.npz,
cifar10_test1k.npz and nasbench201_cifar10.npz; digits needs no file.

On digits, MNIST and CIFAR-10 every method searches by the product's own systems, reduced; its
architecture is trained anew on all images but the test part, and tested. The cost is counted in
multiply-adds; aging evolution and random search have as many candidates, each trained by itself, as
cost what DARTS of the second order did with the same seed.

On NAS-Bench-201 a supernet of the benchmark's cell is trained on CIFAR-10 images of 16x16, and the
cell that each method derives is looked up in the table of what it reaches when it is trained alone
for 200 epochs. `kendall` there is between shared-weight scores and the table, of random cells.

What is finished is skipped and a run that was cut off is resumed. Writes
benchmarks/results/shared_weights.json as it goes.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from architectures import ADAM, AGING, ROOT, SETS, arguments, parallel, results, searched

from evoml.archive.files import write_atomically
from evoml.core.rank_correlation import kendall, spearman
from evoml.search.audit import SharedWeightsAudit
from evoml.spaces import nasbench201

RESULT = ROOT / "benchmarks" / "results" / "shared_weights.json"
CELL = {
    "name": "cell", "blocks": 3, "operations": "darts", "output": "all",
    "skeleton": {"cells": 1, "filters": 6, "stem": 2, "reductions": 1},
}  # fmt: skip
MOBILE = {
    "name": "mobile", "widths": [8, 12, 16], "blocks": [2, 2, 2], "strides": [1, 2, 2],
    "skeleton": {"stem": 8, "stem_stride": 1, "first": 8, "last": 48},
}  # fmt: skip
BENCHMARK = {"name": "nasbench201", "skeleton": {"cells": 1, "filters": 8, "reductions": 2}}
FEW_STEPS = {"lr": 0.1, "batch": 64}
ALPHA = {"architecture": {"lr": 0.01}}
ONE_SHOT = {"name": "one_shot", "batch": 64, "ghosts": 2, "lr": 0.1}

# Space, strategy, evaluator where it is not the training of a candidate alone, candidates, and
# epochs by data set: all the methods have passes over the same images.
METHODS: dict[str, dict[str, Any]] = {
    "DARTS, second order": {
        "space": CELL, "strategy": {"name": "darts", "order": "second", **FEW_STEPS, **ALPHA},
        "candidates": 1,
    },
    "DARTS, first order": {
        "space": CELL, "strategy": {"name": "darts", "order": "first", **FEW_STEPS, **ALPHA},
        "candidates": 1,
    },
    "SNAS": {"space": CELL, "strategy": {"name": "snas", **FEW_STEPS, **ALPHA}, "candidates": 1},
    "ProxylessNAS": {
        "space": MOBILE, "candidates": 1, "slower": 3,
        "strategy": {
            "name": "proxylessnas", "mode": "two", "cost": "none", "every": 1, **FEW_STEPS,
            "architecture": {"lr": 0.03},
        },
    },
    "One-Shot, random search": {
        "space": CELL, "strategy": {"name": "random_search", "population": 15, "block": 1},
        "evaluator": ONE_SHOT, "candidates": 200,
    },
    "One-Shot, aging evolution": {
        "space": CELL, "strategy": AGING, "evaluator": ONE_SHOT, "candidates": 200,
    },
}  # fmt: skip
EQUAL = {
    "aging evolution": {"space": CELL, "strategy": AGING},
    "random search": {
        "space": CELL,
        "strategy": {"name": "random_search", "population": 15, "block": 1},
    },
}
EPOCHS = {"digits": 10, "mnist": 10, "cifar10": 2}
# random architectures that are trained alone, at least and at most
AUDIT = {"digits": (8, 24), "mnist": (8, 24), "cifar10": (6, 12)}
IMAGES = {
    "digits": {},
    "mnist": {"examples": 2500},
    "cifar10": {"examples": 10_000, "valid": 0.2, "size": 12},
}
ON_TABLE = {
    "DARTS, second order": ({"name": "darts", "order": "second", **FEW_STEPS, **ALPHA}, {}),
    "DARTS, first order": ({"name": "darts", "order": "first", **FEW_STEPS, **ALPHA}, {}),
    "SNAS": ({"name": "snas", **FEW_STEPS, **ALPHA}, {}),
    "One-Shot, random search": (
        {"name": "random_search", "population": 15, "block": 1},
        {**ONE_SHOT, "stand_alone": {"epochs": 1}},
    ),
}
TABLE_IMAGES = {
    "name": "images",
    "data": "cifar10_train10k.npz",
    "size": 16,
    "examples": 4000,
    "valid": 0.25,
}
TABLE_EPOCHS = 15
SAMPLED = 100  # random cells that shared weights are compared with the table on


@dataclass(frozen=True)
class Job:
    """One search."""

    data: str
    method: str
    seed: int
    folder: Path  # of the data
    runs: Path
    candidates: int = 0  # of equal cost, where that is known from another search

    @property
    def key(self) -> tuple[str, str, int]:
        return self.data, self.method, self.seed

    @property
    def run(self) -> Path:
        return (
            self.runs
            / f"{self.data}-{self.method.replace(',', '').replace(' ', '-').lower()}-{self.seed}"
        )


def images(data: str, folder: Path) -> dict[str, Any]:
    """The task of a data set."""
    task = dict(SETS[data]["task"]) | IMAGES[data]
    return task | {name: str(folder / task[name]) for name in ("data", "test_data") if name in task}


def work(job: Job) -> dict[str, Any]:
    """One row of the result."""
    return on_table(job) if job.data == "nasbench201" else on_images(job)


def timed(values: dict[str, Any], run: Path) -> tuple[Any, float | None, float | None]:
    """A search that has ended, and this process's CPU seconds for it and for the check behind it;
    of a run that was cut off they are not known.
    """
    cut_off = run.exists()
    checking, began = 0.0, time.process_time()
    train = SharedWeightsAudit.train

    def counted(*arguments: Any) -> bool:
        nonlocal checking
        start = time.process_time()
        try:
            return train(*arguments)
        finally:
            checking += time.process_time() - start

    SharedWeightsAudit.train = counted  # type: ignore[method-assign]
    try:
        search = searched(values, run)
    finally:
        SharedWeightsAudit.train = train  # type: ignore[method-assign]
    if cut_off:
        return search, None, None
    return search, round(time.process_time() - began - checking, 1), round(checking, 1)


def on_images(job: Job) -> dict[str, Any]:
    """Search, and test what was found."""
    from evoml.search.winner import final_problem, train_final

    method = METHODS.get(job.method) or EQUAL[job.method]
    epochs = EPOCHS[job.data]
    stand_alone = SETS[job.data]["evaluator"]
    evaluator, strategy = stand_alone, method["strategy"]
    if "evaluator" in method:
        evaluator = method["evaluator"] | {
            "epochs": epochs,
            "stand_alone": {key: value for key, value in stand_alone.items() if key != "name"},
        }
    elif "candidates" in method:
        strategy = strategy | {"epochs": epochs * method.get("slower", 1)}
        if "slower" in method:
            strategy["warmup"] = max(1, strategy["epochs"] // 4)
    values = {
        "task": images(job.data, job.folder), "evaluator": evaluator, "space": method["space"],
        "strategy": strategy, "workers": 1,
        "search": {
            "seed": job.seed, "budget": job.candidates or method["candidates"],
            "audit": AUDIT[job.data][0], "audit_most": AUDIT[job.data][1],
        },
    }  # fmt: skip
    search, seconds, checking = timed(values, job.run)
    row: dict[str, Any] = {
        "data": job.data, "method": job.method, "seed": job.seed, "candidates": search.evaluations,
        "cpu_seconds": seconds, "check_cpu_seconds": checking,
    }  # fmt: skip
    champion = search.chosen or search.champion
    row["validation"] = (
        float(champion.fitness.values[0]) if search.checked is None else search.checked["found"]
    )
    if search.checked is not None:
        checked = search.checked
        row |= {
            name: checked[name]
            for name in (
                "kendall",
                "spearman",
                "compared",
                "random_best",
                "random_candidates",
                "random_limited",
                "skips",
            )
        }
        row["spent"] = search.learners[0].spent
    row["genotype"] = search.problem.space.format(champion.genotype)
    larger = {
        "space": {"skeleton": {"width": 2.0} if method["space"] is MOBILE else {"filters": 12}}
    } | SETS[job.data]["final"]
    if job.data == "cifar10":
        larger = larger | {"task": {"examples": 0, "size": 12, "valid": 0.2}}
    trained = train_final(
        final_problem(search.problem, [("benchmark", larger)], "final"), champion.genotype, job.run
    )
    return row | {name: trained.scores[name] for name in ("test_accuracy", "parameters")}


def on_table(job: Job) -> dict[str, Any]:
    """Search for a cell of NAS-Bench-201, and what the table says of it."""
    strategy, evaluator = ON_TABLE[job.method]
    evaluator = evaluator | {"epochs": TABLE_EPOCHS} if evaluator else ADAM | {"epochs": 1}
    task = TABLE_IMAGES | {"data": str(job.folder / str(TABLE_IMAGES["data"]))}
    values = {
        "task": task, "evaluator": evaluator, "space": BENCHMARK, "workers": 1,
        "strategy": strategy | ({} if "stand_alone" in evaluator else {"epochs": TABLE_EPOCHS}),
        "search": {
            "seed": job.seed, "budget": 300 if "stand_alone" in evaluator else 1, "audit": 0,
        },
    }  # fmt: skip
    search, seconds, _ = timed(values, job.run)
    with np.load(job.folder / "nasbench201_cifar10.npz") as file:
        table = {name: file[name] for name in ("ops", "test200")}
    place = {tuple(ops): at for at, ops in enumerate(table["ops"].tolist())}
    space, learner = search.problem.space, search.learners[0]

    def reached(genotype: Any) -> float:
        return float(table["test200"][place[tuple(genotype.tables["edges"]["op"].tolist())]])

    cells = [space.cell(ops) for ops in np.random.default_rng(0).integers(0, 5, (SAMPLED, 6))]
    shared, stand_alone = (
        np.array([learner.score(cell) for cell in cells]),
        np.array([reached(cell) for cell in cells]),
    )
    found = search.champion.genotype
    accuracy = reached(found)
    row = {
        "data": job.data, "method": job.method, "seed": job.seed, "cpu_seconds": seconds,
        "accuracy": accuracy, "rank": 1 + int((table["test200"] > accuracy).sum()),
        "kendall": kendall(shared, stand_alone), "spearman": spearman(shared, stand_alone),
        "cell": [nasbench201.OPS[op] for op in found.tables["edges"]["op"].tolist()],
        "skips": SharedWeightsAudit(search.problem, learner, False).skips(found),
    }  # fmt: skip
    epochs = [json.loads(line) for line in (job.run / "events.jsonl").read_text().splitlines()]
    mean = [
        np.mean(event["probabilities"], 0).round(4).tolist()
        for event in epochs
        if "probabilities" in event
    ]
    return row | {"mean_probabilities": mean}


def main() -> None:
    parser = arguments(__doc__)
    parser.set_defaults(seeds=3)
    parser.add_argument(
        "--only",
        default="",
        help="data sets and methods with this in their names, such as 'digits DARTS'",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "populations" / "shared_weights",
        help="where the run folders are",
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    out = results(
        options.result,
        {
            "methods": METHODS,
            "epochs": EPOCHS,
            "images": IMAGES,
            "table": [BENCHMARK, TABLE_IMAGES, TABLE_EPOCHS, list(ON_TABLE)],
        },
    )
    folder = options.folder.resolve()

    def wanted(data: str, method: str, seed: int) -> bool:
        return options.only in f"{data} {method}" and (data, method, seed) not in {
            (row["data"], row["method"], row["seed"]) for row in out["rows"]
        }

    def run(jobs: list[Job]) -> None:
        for job, row in parallel(work, jobs, options.processes):
            out["rows"] = sorted(
                [*out["rows"], row], key=lambda row: (row["data"], row["method"], row["seed"])
            )
            write_atomically(options.result, (json.dumps(out, indent=1) + "\n").encode())
            print(
                job.key,
                {
                    name: row[name]
                    for name in (
                        "test_accuracy",
                        "accuracy",
                        "rank",
                        "kendall",
                        "cpu_seconds",
                        "skips",
                    )
                    if name in row
                },
                flush=True,
            )

    for sets in (("digits", "mnist"), ("cifar10",)):  # the largest last
        for seed in range(options.seeds):
            every = [("nasbench201", method) for method in ON_TABLE] + [
                (data, method) for data in sets for method in METHODS
            ]
            run(
                [
                    Job(data, method, seed, folder, options.runs)
                    for data, method in every
                    if wanted(data, method, seed)
                ]
            )
            darts = [
                row
                for row in out["rows"]
                if row["seed"] == seed
                and row["method"] == "DARTS, second order"
                and row["data"] in sets
            ]
            equal = {row["data"]: row["random_candidates"] for row in darts}
            run(
                [
                    Job(data, method, seed, folder, options.runs, equal[data])
                    for data in equal
                    for method in EQUAL
                    if wanted(data, method, seed)
                ]
            )


if __name__ == "__main__":
    main()
