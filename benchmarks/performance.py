"""How fast is evoml beside the original C++ program, in the settings that the original was measured
in?

    taskset -c 0 python benchmarks/performance.py [DATA/automlzero_cifar10_dim16_search36.npz]
    [--runs 5] [--seconds 4]
    python benchmarks/performance.py --cores [--runs 5]      adds two cores against one, not pinned

Candidates a second count every child proposed and given a fitness, from a cache or by
interpretation, as the original counts them; compilation is not counted. Each figure is the minimum,
median and maximum over runs, which are searches with different seeds or repetitions of one fixed
program. Writes benchmarks/results/performance.json. The original's figures are from one core of
this kind of machine.
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

from evoml.backends import Rules
from evoml.backends.numba import Backend
from evoml.contracts.task import TaskSet
from evoml.core.built_in import programs_folder
from evoml.core.errors import read_text
from evoml.genotypes.population import Population
from evoml.phenotypes.programs import Programs
from evoml.search.rounds import Rounds
from evoml.spaces.automl_zero import AutoMLZeroSpace

RESULT = Path(__file__).parent / "results" / "performance.json"
LINEAR = [
    "task.name=linear_regression",
    "search.stop_at=none",
    "search.experiment=0",
    "search.experiment_steps=0",
]


def alone(folder: Path, seed: int, *sets: str) -> Rounds:
    """A search of one island on one core; `sets` may say otherwise."""
    return search(folder, [f"search.seed={seed}", "search.islands=1", "workers=1", *sets])


def interpreter(name: str, features: int, tasks: int, seconds: float) -> float:
    """Nanoseconds an instruction and task of one fixed program, trained on 1000 examples and
    validated on 100.
    """
    space, genotype = AutoMLZeroSpace.open_text(
        read_text(programs_folder() / "automl_zero" / f"{name}.py"), name
    )
    one = space.phenotypes(Population.of(space.schema, [genotype]))
    rng, sizes = np.random.default_rng(0), (tasks, 1000, 100)
    x = [rng.standard_normal((tasks, count, features)) for count in sizes[1:]]
    weights = rng.standard_normal((tasks, features))
    y = [np.einsum("tnf,tf->tn", each, weights) for each in x]
    if name == "neural_network":  # made for labels 0 and 1
        y = [(each > 0).astype(float) for each in y]
    data = TaskSet(
        "regression",
        x[0],
        y[0],
        x[1],
        y[1],
        tuple(map(str, range(tasks))),
        np.arange(tasks, dtype=np.uint64),
    )
    backend = Backend(data, space.memory, Rules(1000, 100))
    programs = Programs(space.memory, one.tables, one.sizes, one.keys)
    which = np.zeros(1, np.int64)
    setup, predict, learn = (int(size) for size in one.sizes[0])
    count = setup + 1000 * (predict + learn) + 100 * predict
    fitness, _ = backend.fitness(programs, which)
    assert (fitness > 0).all(), "a program that fails stops early"
    done, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        backend.fitness(programs, which)
        done += 1
    return (time.process_time() - began) / done / count / tasks * 1e9


def cores(folder: Path, seed: int, workers: int, seconds: float) -> float:
    """Candidates a second of wall time, two islands."""
    out = alone(
        folder, seed, *LINEAR, "search.islands=2", f"workers={workers}", f"search.seconds={seconds}"
    )
    return out.run().evaluations_per_second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--cores", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="evoml-performance-"))
    rows: dict[str, dict[str, Any]] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}

    def keep(
        name: str, unit: str, original: list[float], runs: list[float], better: str = "more"
    ) -> None:
        """One row; original: the range of its figures."""
        middle, theirs = statistics.median(runs), statistics.mean(original) if original else None
        ratio = None if theirs is None else middle / theirs if better == "more" else theirs / middle
        rows[name] = {"unit": unit, "original": original, "runs": runs, "ratio": ratio}
        print(
            f"{name}: {min(runs):,.2f} / {middle:,.2f} / {max(runs):,.2f} {unit}"
            + (f", {ratio:.1f} times the original" if ratio else ""),
            flush=True,
        )
        RESULT.write_text(json.dumps(rows, indent=1))

    if options.cores:
        pairs = [
            [cores(folder / f"{run}-{count}", run, count, options.seconds) for count in (1, 2)]
            for run in range(options.runs)
        ]
        keep("two cores against one", "times", [], [two / one for one, two in pairs])
        shutil.rmtree(folder)
        return
    for name, original, sets in (
        ("demonstration settings", [30_700, 37_100], []),
        ("the same, 1000 training examples", [10_500], ["task.search.train=1000"]),
        ("the same, 100 tasks", [3_100], ["task.search.tasks=100"]),
    ):
        runs = [
            rate(
                alone(folder / f"{name}-{run}", run, *LINEAR, *sets).islands[0],
                options.seconds,
                20_000,
                5_000,
            )
            for run in range(options.runs)
        ]
        keep(name, "candidates a second", original, runs)
    for title, name, features, tasks, theirs in (
        ("interpreter, linear regressor, F = 4, 8 tasks", "linear_regression", 4, 8, [5.2]),
        ("interpreter, linear regressor, F = 4, 16 tasks", "linear_regression", 4, 16, [5.2]),
        ("interpreter, linear regressor, F = 4, 100 tasks", "linear_regression", 4, 100, [5.2]),
        ("interpreter, two-layer network, F = 16, 16 tasks", "neural_network", 16, 16, [18.5]),
        ("interpreter, two-layer network, F = 16, 100 tasks", "neural_network", 16, 100, [18.5]),
    ):
        keep(
            title,
            "ns an instruction and task",
            theirs,
            [interpreter(name, features, tasks, 0.5) for _ in range(options.runs)],
            "less",
        )
    if options.data is not None:
        sets = [
            f"task.data={json.dumps(str(options.data))}",
            "task.search.tasks=10",
            "evaluator.epochs=1",
            "search.experiment=0",
        ]
        runs = [
            rate(alone(folder / f"real-{run}", run, *sets).islands[0], 4 * options.seconds, 0, 500)
            for run in range(options.runs)
        ]
        keep(
            "real tasks, 8000 + 1000 examples, early in a search",
            "candidates a second",
            [180, 310],
            runs,
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
