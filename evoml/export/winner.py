"""The winner of a search, trained at full size and tested on images that the search never saw; its weights are kept in the run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from evoml.archive import write_atomically
from evoml.config import build, final_settings, settings_digest
from evoml.errors import InputError
from evoml.genes import Genotype
from evoml.network import Network
from evoml.networks.module import Module
from evoml.population import OK
from evoml.problem import Problem
from evoml.streams import TRAIN, streams

FINAL = "final"  # the folder in a run that holds the winner's weights


@dataclass
class Trained:
    """A network with its weights, and what it scored on images that the search never saw."""

    module: nn.Module
    network: Network
    scores: dict[str, float]
    classes: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    curve: tuple[float, ...] = ()
    seconds: float = 0.0


def final_problem(problem: Problem, layers: list[tuple[str, dict[str, Any]]], preset: str | None) -> Problem:
    """The problem that the winner is trained for: the run's, with the system's final settings where they are wanted, under these layers."""
    values = {key: value for key, value in problem.config.complete().items() if key not in ("system", "start", "preset")}
    final = final_settings(problem.config) if preset == "final" else {}
    task = next((layer["task"]["name"] for _, layer in reversed(layers) if layer.get("task", {}).get("name")), None)
    if task is not None and task != values["task"]["name"]:
        values["task"] = {"name": task}
    return Problem(build(("run.toml", values), ("final", final), *layers))


def train_final(problem: Problem, genotype: Genotype, folder: Path | None) -> Trained:
    """Train a genotype on all images but the test part, and test it. Kept in `folder`, and taken from there where it is the same training."""
    known = _load(problem, genotype, folder)
    if known is not None:
        return known
    data = problem.test_tasks
    evaluator = problem.evaluator(data, exact=True)
    stream = int(streams(problem.config.search.seed, TRAIN, np.array([2**32]))[0])
    scores, trained = evaluator.test(genotype, stream)
    if trained.module is None or trained.status != OK:
        raise InputError("evaluate: the training did not end well (diverged, or out of memory or time); try a smaller evaluator.lr")
    network = problem.space.network(genotype, data.size, len(data.classes))
    out = Trained(trained.module, network, scores, data.classes, data.mean, data.deviation, tuple(trained.curve), trained.seconds)
    if folder is not None:
        _store(problem, genotype, folder, out)
    return out


def _identity(problem: Problem, genotype: Genotype) -> str:
    return f"{genotype.digest()} {settings_digest(problem.config.complete())} {problem.data_digest}"


def _store(problem: Problem, genotype: Genotype, folder: Path, trained: Trained) -> None:
    (folder / FINAL).mkdir(exist_ok=True)
    about = {"identity": _identity(problem, genotype), "scores": trained.scores, "curve": list(trained.curve), "seconds": trained.seconds}
    tensors = {name: tensor.contiguous() for name, tensor in trained.module.state_dict().items()}
    write_atomically(folder / FINAL / "weights.safetensors", save(tensors, {"evoml": json.dumps(about)}))
    (folder / FINAL / "genotype.toml").write_text(problem.space.format(genotype))


def _load(problem: Problem, genotype: Genotype, folder: Path | None) -> Trained | None:
    """What an earlier call kept, if it is of this training."""
    path = None if folder is None else folder / FINAL / "weights.safetensors"
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["evoml"])
            if about["identity"] != _identity(problem, genotype):
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        data = problem.test_tasks
        network = problem.space.network(genotype, data.size, len(data.classes))
        module = Module(network)
        module.load_state_dict(tensors)
        scores = {str(name): float(value) for name, value in about["scores"].items()}
        return Trained(module.eval(), network, scores, data.classes, data.mean, data.deviation, tuple(about["curve"]), about["seconds"])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError):
        return None
