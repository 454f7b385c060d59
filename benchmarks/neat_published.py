"""How well does NEAT do in its published experiments and in Gymnasium, over many fresh seeds?

    python benchmarks/neat_published.py [--seeds 100] [--first 10000] [--only TEXT] [--processes 2]
    [--result FILE]

Every search is the product's own, with its archive, on one core. Settings are the presets of `evoml
search neat`; they were chosen on seeds below 200. XOR has twice the seeds, the environments five.
Writes benchmarks/results/neat_published.json as it goes; what is finished is skipped.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from architectures import ROOT, parallel, results

from evoml.archive.files import write_atomically
from evoml.config import build
from evoml.search.open import open_search

RESULT = ROOT / "benchmarks" / "results" / "neat_published.json"
# What lies over the preset, and how many of `--seeds` an experiment has.
EXPERIMENTS: dict[str, tuple[dict[str, Any], float]] = {
    "xor": ({}, 2.0),
    "double_pole": ({}, 1.0),
    "double_pole_without_velocities": ({}, 1.0),
    "gym:CartPole-v1": ({"search": {"stop_at": 475}}, 0.05),
    "gym:Acrobot-v1": ({"search": {"budget": 3000}}, 0.05),
    "gym:Pendulum-v1": ({"search": {"budget": 6000}}, 0.05),
}


@dataclass(frozen=True)
class Job:
    """One search."""

    task: str
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        return self.task, self.seed


def work(job: Job) -> dict[str, Any]:
    """Search, and what came out."""
    layer = EXPERIMENTS[job.task][0]
    about = {
        "system": "neat",
        "task": {"name": job.task},
        "search": {"seed": job.seed},
        "workers": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.monotonic(), time.process_time()
        search = open_search(
            build(("benchmark", about), ("benchmark", layer)), Path(folder) / "run"
        )
        search.create()
        search.prepare()
        result = search.run()
        seconds = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - wall}
    nodes, links = search.champion.genotype.tables.values()  # type: ignore[union-attr]
    return asdict(job) | {
        "solved": result.reason == "stop_at",
        "evaluations": result.evaluations,
        "generations": search.generation,
        "seconds": seconds,  # type: ignore[attr-defined]
        "selected": float(search.champion.fitness.values[0]),
        "test": result.test["tasks"] if result.test else {},  # type: ignore[union-attr]
        "hidden": int((nodes["kind"] == 3).sum()),
        "enabled": int(links["enabled"].sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=10_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    out = results(
        options.result,
        {"experiments": [list(EXPERIMENTS), [list(each) for each in EXPERIMENTS.values()]]},
    )
    done = {(row["task"], row["seed"]) for row in out["rows"]}
    jobs = [
        Job(task, options.first + seed)
        for task, (_, share) in EXPERIMENTS.items()
        for seed in range(round(options.seeds * share))
        if options.only in task and (":" not in task or find_spec("gymnasium"))
    ]
    for job, row in parallel(work, [job for job in jobs if job.key not in done], options.processes):
        out["rows"] = sorted(
            [*out["rows"], row], key=lambda row: (list(EXPERIMENTS).index(row["task"]), row["seed"])
        )
        write_atomically(options.result, (json.dumps(out) + "\n").encode())
        end = "solved" if row["solved"] else "not solved"
        print(
            f"{job.task}, seed {job.seed}: {end} after {row['evaluations']:,} evaluations, "
            f"{row['seconds']['cpu']:.2f} CPU s, {row['test']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
