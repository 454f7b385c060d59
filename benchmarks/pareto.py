"""How much better a front of accuracy against parameters does NSGA-II find than random search, in
as many candidates?

    python benchmarks/pareto.py [--seeds 5] [--budget 100] [--processes 2] [--runs FOLDER] [--result
    FILE]

Cells on digits, every candidate trained. The hypervolume is DEAP's, of accuracy from 0 and
parameters below those of the largest candidate of all runs, as a share of that rectangle. Writes
benchmarks/results/pareto.json as it goes; what is finished is skipped.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from architectures import (
    ADAM,
    CELL,
    ROOT,
    SETS,
    arguments,
    history,
    parallel,
    results,
    searched,
    settings,
)
from deap import tools
from deap.benchmarks.tools import hypervolume

from evoml.archive.files import write_atomically
from evoml.genotypes.population import fitness_class

RESULT = ROOT / "benchmarks" / "results" / "pareto.json"
OBJECTIVES = ["accuracy", "parameters"]
WEIGHTS = (1.0, -1.0)
METHODS: dict[str, dict[str, Any]] = {
    "NSGA-II": {"name": "nsga2", "population": 20, "crossover": 0.5},
    "random search": {"name": "random_search", "population": 20, "block": 1},
}


@dataclass(frozen=True)
class Job:
    """One search."""

    method: str
    seed: int
    budget: int
    runs: Path


def work(job: Job) -> dict[str, Any]:
    """One row of the result."""
    evaluator = SETS["digits"]["evaluator"] | {"objectives": OBJECTIVES}
    values = settings(
        "digits",
        Path(),
        search={"seed": job.seed, "budget": job.budget},
        space=CELL,
        strategy=METHODS[job.method],
    )
    search = searched(
        values | {"evaluator": evaluator},
        job.runs / f"digits-{job.method.replace(' ', '-')}-{job.seed}",
    )
    return {
        "method": job.method,
        "seed": job.seed,
        **history(search),
        "seconds_in_all": search.seconds,
    }


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other is better than in both objectives, each once, smallest first."""
    best = tools.sortNondominated(
        [_member(point) for point in set(points)], len(points), first_front_only=True
    )[0]
    return sorted((tuple(member.fitness.values) for member in best), key=lambda point: point[1])


def volume(points: list[tuple[float, float]], largest: float) -> float:
    """The hypervolume of a front as a share of the rectangle of accuracy 0..1 and parameters
    0..largest.
    """
    return float(hypervolume([_member(point) for point in points], [0.0, largest])) / largest


def _member(point: tuple[float, float]) -> Any:
    fitness = fitness_class(WEIGHTS)()
    fitness.values = point
    return SimpleNamespace(fitness=fitness)


def measured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every row with its front and hypervolume; all on one scale."""
    points = [
        [(a, p) for a, p in zip(row["accuracy"], row["parameters"], strict=True) if p is not None]
        for row in rows
    ]
    largest = max(parameters for each in points for _, parameters in each)
    fronts = [front(each) for each in points]
    return [
        row | {"front": each, "hypervolume": round(volume(each, largest), 5)}
        for row, each in zip(rows, fronts, strict=True)
    ]


def main() -> None:
    parser = arguments(__doc__, with_data=False)
    parser.add_argument("--budget", type=int, default=100, help="candidates of a search")
    parser.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "populations" / "pareto",
        help="where the run folders are",
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    out = results(
        options.result,
        {
            "budget": options.budget,
            "space": CELL,
            "evaluator": ADAM | SETS["digits"]["evaluator"],
            "methods": METHODS,
        },
    )
    done = {(row["method"], row["seed"]) for row in out["rows"]}
    jobs = [
        Job(method, seed, options.budget, options.runs)
        for seed in range(options.seeds)
        for method in METHODS
    ]
    for job, row in parallel(
        work, [job for job in jobs if (job.method, job.seed) not in done], options.processes
    ):
        out["rows"] = measured(
            sorted(
                [*out["rows"], row],
                key=lambda row: (list(METHODS).index(row["method"]), row["seed"]),
            )
        )
        write_atomically(options.result, (json.dumps(out) + "\n").encode())
        volumes = [
            each["hypervolume"]
            for each in out["rows"]
            if (each["method"], each["seed"]) == (job.method, job.seed)
        ]
        print(
            f"{job.method}, seed {job.seed}: {row['seconds_in_all']:.0f} s, hypervolume "
            f"{volumes[0]:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
