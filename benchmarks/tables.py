"""Do the strategies come out as published, on tables of recorded trainings?

    python benchmarks/tables.py DATA [--seeds 300] [--only TEXT]

DATA is a folder with nasbench201_cifar10.npz, nasbench201_cifar100.npz and nasbench101_cifar10.npz;
what is missing is left out. Candidates are asked for, looked up and told one by one, and a cell
that comes again is queried again, as in the protocols. `off` is the distance from the reference in
standard errors of the difference. Writes benchmarks/results/tables.json as it goes.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from evoml.contracts.part import strategy_class
from evoml.core.streams import TRAIN, streams
from evoml.evaluators import table as evaluators
from evoml.genotypes.population import Population
from evoml.search.toolbox import toolbox
from evoml.spaces import nasbench101, nasbench201
from evoml.strategies import aging_evolution, local_search, random_search
from evoml.tasks import table as tasks

RESULT = Path(__file__).parent / "results" / "tables.json"
RANDOM = (random_search, {"population": 2, "block": 1})
PUBLISHED_SEEDS = {
    "nasbench201_cifar10": 300,
    "nasbench201_cifar100": 300,
    "nasbench101_cifar10": 500,
}


SPACES = {nasbench101: nasbench101.NASBench101Space, nasbench201: nasbench201.NASBench201Space}


class UniformCells(nasbench101.NASBench101Space):
    """NAS-Bench-101 with random cells uniform over the rows of its table, not over raw
    specifications.
    """

    def __init__(self, settings: nasbench101.Settings, table: tasks.Table) -> None:
        super().__init__(settings)
        self.inputs, self.ops = nasbench101.unpacked(table.cells)

    def random(self, streams: np.ndarray) -> Population:
        rows = [int(stream) % len(self.inputs) for stream in streams]
        return self._population([(self.inputs[row], self.ops[row]) for row in rows])


@dataclass(frozen=True)
class Experiment:
    """A strategy on a table.

    `stop` ends it by simulated seconds or by queries; `at`: what is read off, by name.
    """

    name: str
    data: str
    strategy: tuple[Any, dict[str, Any]]
    feedback: str
    seconds: float = math.inf
    queries: tuple[int, ...] = (10**9,)
    # mean and deviation, in percent
    reference: dict[str, tuple[float, float]] = field(default_factory=dict)
    uniform: bool = False
    identity: str = "function"


def evolution(population: int, tournament: int) -> tuple[Any, dict[str, Any]]:
    return aging_evolution, {"population": population, "tournament": tournament, "block": 1}


def experiments() -> Iterator[Experiment]:
    searches = (("random search", RANDOM), ("evolution 10/3", evolution(10, 3)))
    for data, seconds, means in (
        ("nasbench201_cifar10", 20_000, ((93.85, 0.26), (94.08, 0.29))),
        ("nasbench201_cifar100", 40_000, ((71.53, 0.92), (72.33, 0.77))),
    ):
        for (name, strategy), mean in zip(searches, means, strict=True):
            yield Experiment(
                f"{name}, val12, {seconds} s",
                data,
                strategy,
                "val12",
                seconds=seconds,
                reference={"end": mean},
            )
    searches = (("random search", RANDOM), ("evolution 30/10", evolution(30, 10)))
    for data, table in (
        ("nasbench201_cifar10", (((93.84, 0.25), (93.92, 0.24)), ((94.19, 0.24), (94.24, 0.23)))),
        ("nasbench201_cifar100", (((71.54, 0.95), (71.94, 0.87)), ((72.93, 0.63), (73.20, 0.33)))),
    ):
        for (name, strategy), means in zip(searches, table, strict=True):
            reference = dict(zip(("150", "300"), means, strict=True))
            yield Experiment(
                f"{name}, one seed of val200",
                data,
                strategy,
                "val200_seed",
                queries=(150, 300),
                reference=reference,
            )
    for name, strategy, uniform in (
        ("random search, uniform over cells", RANDOM, True),
        ("random search, uniform over raw cells", RANDOM, False),
        ("evolution 50/10", evolution(50, 10), False),
    ):
        reference = (
            {"150": (100 - 6.362, math.nan), "500": (100 - 6.210, math.nan)} if uniform else {}
        )
        yield Experiment(
            name,
            "nasbench101_cifar10",
            strategy,
            "test108",
            queries=(150, 500),
            reference=reference,
            uniform=uniform,
        )
    for data, queries in (("nasbench201_cifar10", 136.0), ("nasbench201_cifar100", 116.0)):
        for identity in ("cell", "function"):
            name, reference = (
                f"local search, queries to the optimum, identity {identity}",
                {"optimum": (queries, math.nan)},
            )
            yield Experiment(
                name, data, (local_search, {}), "val200", reference=reference, identity=identity
            )


class Runner:
    """One experiment, any number of seeds."""

    def __init__(self, experiment: Experiment, table: tasks.Table) -> None:
        self.experiment = experiment
        module = nasbench101 if table.space == "nasbench101" else nasbench201
        given = {"identity": experiment.identity} if module is nasbench201 else {}
        self.space: Any = (
            UniformCells(module.Settings(), table)
            if experiment.uniform
            else SPACES[module](module.Settings(**given))
        )
        self.evaluator = evaluators.TableEvaluator(
            evaluators.Settings(feedback=experiment.feedback), table, self.space
        )
        self.optimum = float(np.nanmax(table.feedback[experiment.feedback]))

    def run(self, seed: int) -> tuple[dict[str, float], int]:
        """What is read off, in percent or queries, and how many queries were made."""
        experiment, evaluator = self.experiment, self.evaluator
        module, settings = experiment.strategy
        strategy = strategy_class(module.__name__.rpartition(".")[2])(
            toolbox(self.space, evaluator), module.Settings(**settings), seed
        )
        best, winner, spent, out, asked = -1.0, None, 0.0, {}, 0
        local = module is local_search
        while spent < experiment.seconds and asked < experiment.queries[-1]:
            candidate = strategy.ask(np.array([asked]))
            genotype = candidate.genotype(0)
            outcome = evaluator.outcomes([genotype], streams(seed, TRAIN, np.array([asked])))[0]
            candidate.fitness[0], candidate.status[0] = outcome.objectives, outcome.status
            strategy.tell(candidate)
            asked, spent = asked + 1, spent + outcome.seconds
            if outcome.objectives[0] > best:
                best, winner = outcome.objectives[0], genotype
            if asked in experiment.queries:
                out[str(asked)] = 100 * evaluator.test(winner)["accuracy"]
            if local and best == self.optimum:
                return {"optimum": float(asked)}, asked
        return out or {"end": 100 * evaluator.test(winner)["accuracy"]}, asked


def summary(
    experiment: Experiment, results: list[dict[str, float]], queries: list[int], seconds: float
) -> dict[str, Any]:
    """Mean and deviation of what was read off, beside the references."""
    out: dict[str, Any] = {
        "data": experiment.data,
        "seeds": len(results),
        "queries": round(float(np.mean(queries)), 1),
        "seconds": round(seconds, 1),
    }
    for name in results[0]:
        values = np.array([result[name] for result in results])
        mean, deviation = (
            float(values.mean()),
            float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        )
        row = {"mean": round(mean, 3), "deviation": round(deviation, 3)}
        if name in experiment.reference:
            known, spread = experiment.reference[name]
            spread = deviation if math.isnan(spread) else spread
            error = math.sqrt(
                deviation**2 / len(values) + spread**2 / PUBLISHED_SEEDS[experiment.data]
            )
            row |= {
                "reference": round(known, 3),
                "off": round((mean - known) / error, 2) if error else 0.0,
            }
        out[name] = row
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--only", default="", help="experiments whose name has this in it")
    options = parser.parse_args()
    read: Callable[[str], tasks.Table] = cache(
        lambda name: tasks.read(options.data / f"{name}.npz")
    )
    rows: dict[str, Any] = {}
    for experiment in experiments():
        if (
            options.only not in experiment.name
            or not (options.data / f"{experiment.data}.npz").exists()
        ):
            continue
        runner, began = Runner(experiment, read(experiment.data)), time.process_time()
        results, queries, key = [], [], f"{experiment.data}: {experiment.name}"
        for seed in range(options.seeds):
            result, count = runner.run(seed)
            results.append(result)
            queries.append(count)
            if seed == options.seeds - 1 or seed % 50 == 49:
                rows[key] = summary(experiment, results, queries, time.process_time() - began)
                RESULT.write_text(json.dumps(rows, indent=1) + "\n")
        print(
            key,
            json.dumps({name: value for name, value in rows[key].items() if name != "data"}),
            flush=True,
        )


if __name__ == "__main__":
    main()
