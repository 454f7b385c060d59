"""The winner of a search, trained at full size and tested on images that the search never saw; its
weights are kept in the run.
"""

import errno
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from evoml.archive.files import write_atomically
from evoml.config import build, final_settings, settings_digest
from evoml.contracts.executor import Stage
from evoml.contracts.part import task_class
from evoml.core.errors import InputError, cannot_write
from evoml.core.streams import TRAIN, streams
from evoml.evaluators.training import TrainingEvaluator
from evoml.genotypes.population import OK, STATUS
from evoml.genotypes.schema import Genotype
from evoml.networks.module import Module
from evoml.networks.training import Begun
from evoml.phenotypes.network import Network
from evoml.search.problem import Problem

if TYPE_CHECKING:
    from evoml.search.donor import Donor

FINAL = "final"  # the folder in a run that holds the winner's weights
BEGUN = "begun.safetensors"  # in it: a training after its last whole epoch
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass
class Trained:
    """A network with its weights, and what it scored on images that the search never saw."""

    module: nn.Module
    network: Network
    scores: dict[str, float]
    classes: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    # whether raw pixels are bytes, which are divided by 255; else they are floats as they come
    pixels_are_bytes: bool = True
    curve: tuple[float, ...] = ()
    seconds: float = 0.0
    pixel_range: tuple[float, float] | None = None  # of raw pixels that are floats

    @property
    def accuracy(self) -> str:
        """What it scored, in words."""
        return f"test accuracy {self.scores['test_accuracy']:.4f}"


def final_problem(
    problem: Problem, layers: list[tuple[str, dict[str, Any]]], preset: str | None
) -> Problem:
    """The problem that the winner is trained for: the run's, with the system's final settings where
    they are wanted, under these layers.
    """
    if problem.stand_alone is not problem:
        layers = [(where, _stand_alone(layer)) for where, layer in layers]
    values = {
        key: value
        for key, value in problem.stand_alone.config.complete().items()
        if key not in ("system", "start", "preset")
    }
    task = next(
        (
            layer["task"]["name"]
            for _, layer in reversed(layers)
            if layer.get("task", {}).get("name")
        ),
        None,
    )
    if not problem.trains:
        if task is None and task_class(values["task"]["name"]).kind != "images":
            raise InputError(
                "evaluate: cells of a table are trained on images: give --task, such as --task "
                "digits"
            )
        values["evaluator"] = {"name": problem.space.evaluator}
    if task is not None and task != values["task"]["name"]:
        values["task"] = {"name": task}
    about = build(("run.toml", values), *layers).model_copy(
        update={"system": problem.config.system}
    )
    if problem.stand_alone is not problem:
        # whose final settings are under `stand_alone`
        about = about.model_copy(update={"evaluator": problem.config.evaluator})
    final = final_settings(about) if preset == "final" else {}
    if problem.stand_alone is not problem:
        final["evaluator"] = final.get("evaluator", {}).get("stand_alone", {})
    return Problem(build(("run.toml", values), ("final", final), *layers))


def _stand_alone(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer of settings with those of a candidate's own training in the place of the evaluator's,
    whose setting `stand_alone` they are in search.
    """
    given = layer.get("evaluator", {})
    own = given.get("stand_alone", given.get("alone")) if isinstance(given, dict) else None
    if not isinstance(own, dict):
        return layer
    return layer | {
        "evaluator": {
            key: value for key, value in given.items() if key not in ("stand_alone", "alone")
        }
        | own
    }


def train_final(
    problem: Problem,
    genotype: Genotype,
    folder: Path | None,
    watch: Callable[[Stage, Sequence[float]], None] | None = None,
    before: Callable[[bool, bool, int], None] = lambda trains, keeps, epochs: None,
    donor: "Donor | None" = None,
) -> Trained:
    """Train a genotype on all images but the test part, and test it. Kept in the run `folder`, and
    taken from there where it is the same training; one that was left is gone on with behind its
    last whole epoch.

    watch: told after every step how far it is, with the training losses of the epochs so far.
    before: called when all that can be refused has been checked, with whether a training follows,
    whether its network can be kept, and how many epochs of it are done. donor: whose shared weights
    it starts from; its scores then have `inherited_accuracy`, of those weights as they are.
    """
    known = None if folder is None else kept(folder, genotype, problem)
    data, place = problem.test_tasks, None
    if known is None:
        evaluator = _trainer(problem, data)
        network = evaluator.checked(genotype)
        place = None if folder is None else final_folder(folder)
        start = None if donor is None else donor.weights(network)
    about = _about(problem, genotype, donor)
    begun = None if place is None else _begun(place / BEGUN, about)
    before(known is None, place is not None, 0 if begun is None else len(begun.numbers["curve"]))
    if known is not None:
        return known
    inherited = {} if donor is None else {"inherited_accuracy": donor.accuracy(genotype, data)}
    stream = int(streams(problem.config.search.seed, TRAIN, np.array([2**32]))[0])
    losses: list[float] = [] if begun is None else [*begun.numbers["train_losses"]]

    def keep(state: Begun) -> None:
        losses[:] = state.numbers["train_losses"]
        if place is not None:
            tensors = {name: tensor.contiguous() for name, tensor in state.tensors.items()}
            header = {"evoml": json.dumps(about | {"numbers": state.numbers})}
            write_atomically(place / BEGUN, save(tensors, header))

    if watch is not None:
        evaluator.watch = lambda stage: watch(stage, losses)
    scores, trained = evaluator.test(genotype, stream, None, start, begun, keep)
    if trained.module is None or trained.status != OK:
        raise InputError(
            f"evaluate: the training {STATUS[trained.status].replace('_', ' ')}; try a smaller "
            "evaluator.lr or space.skeleton"
        )
    out = Trained(
        trained.module,
        network,
        inherited | scores,
        data.classes,
        data.mean,
        data.deviation,
        data.pixels_are_bytes,
        tuple(trained.curve),
        trained.seconds,
        data.pixel_range,
    )
    if place is not None:
        _store(problem, genotype, place, out)
        (place / BEGUN).unlink(missing_ok=True)
    return out


def _about(problem: Problem, genotype: Genotype, donor: "Donor | None") -> dict[str, str]:
    """What a training is known by that was left."""
    return {
        "genotype": genotype.digest(),
        "config": settings_digest(problem.config.complete()),
        "data": problem.data_digest,
        "donor": "" if donor is None else str(donor.run.resolve()),
    }


def _begun(path: Path, about: dict[str, str]) -> Begun | None:
    """Where a training of this was left; None where there is none, or one of something else."""
    try:
        with safe_open(path, "pt") as file:
            stored = json.loads((file.metadata() or {})["evoml"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        numbers = stored.pop("numbers")
        if stored != about:
            return None
        for name in ("curve", "losses", "train_losses"):
            numbers[name] = [float(value) for value in numbers[name]]
        for name, kind in (("steps", int), ("epoch", int), ("seconds", float)):
            numbers[name] = kind(numbers[name])
        return Begun(tensors, numbers)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, OSError):
        return None  # trained from the start then, as without it


def _trainer(problem: Problem, data: Any) -> TrainingEvaluator:
    """What trains the winner. Raises InputError where the evaluator does not."""
    out = problem.evaluator(data, exact=True)
    if not isinstance(out, TrainingEvaluator):
        raise InputError(
            f"evaluate: evaluator {out.name}: trains no winner; --set evaluator.name=training does"
        )
    return out


def final_folder(folder: Path) -> Path | None:
    """Where a run keeps its network, made and tried before anything is trained; None where the run
    can only be read.

    Raises InputError, DiskError.
    """
    place = folder / FINAL
    # another's run may be behind a link, but nothing in it is
    for inside in [place] if (folder / "run.toml").exists() else [place, folder]:
        if inside.is_symlink():
            raise InputError(f"{inside}: is a link; a run keeps its network in its own folder")
    try:
        place.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=place):
            return place
    except OSError as error:
        if error.errno in _READ_ONLY:
            return None
        raise cannot_write(place, error) from None


def _store(problem: Problem, genotype: Genotype, place: Path, trained: Trained) -> None:
    about = {
        "genotype": genotype.digest(), "config": problem.config.complete(),
        "data": problem.data_digest, "scores": trained.scores, "classes": trained.classes,
        "mean": trained.mean.tolist(), "deviation": trained.deviation.tolist(),
        "coded": trained.pixels_are_bytes, "size": problem.test_tasks.size, "curve": trained.curve,
        "seconds": trained.seconds, "range": trained.pixel_range,
    }  # fmt: skip
    tensors = {name: tensor.contiguous() for name, tensor in trained.module.state_dict().items()}
    write_atomically(place / "weights.safetensors", save(tensors, {"evoml": json.dumps(about)}))
    write_atomically(place / "genotype.toml", problem.space.format(genotype).encode())


def kept(folder: Path, genotype: Genotype, problem: Problem | None = None) -> Trained | None:
    """The network that a run folder holds, if it is of this genotype and, where a problem is given,
    was trained for that; else None.

    Raises InputError for a damaged one.
    """
    path = folder / FINAL / "weights.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["evoml"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        config = build(
            ("weights.safetensors", about["config"] | {"system": "custom"}), trusts=False
        )
        same = problem is None or (settings_digest(config.complete()), about["data"]) == (
            settings_digest(problem.config.complete()),
            problem.data_digest,
        )
        if about["genotype"] != genotype.digest() or not same:
            return None
        (channels, height, width), classes = (
            map(int, about["size"]),
            tuple(map(str, about["classes"])),
        )
        network = Problem(config).architecture_space.network(
            genotype, (channels, height, width), len(classes)
        )
        held = sum(tensor.numel() for tensor in tensors.values())
        if not network.parameters <= held <= 3 * network.parameters + 10_000 or not {
            "test_accuracy",
            "parameters",
            "multiply_adds",
        } <= set(about["scores"]):
            raise ValueError("tensors or scores are missing")
        module = Module(network)
        module.load_state_dict(tensors)
        scores = {str(name): float(value) for name, value in about["scores"].items()}
        mean, deviation = (np.array(about[name], np.float64) for name in ("mean", "deviation"))
        if mean.shape != (channels,) or deviation.shape != mean.shape:
            raise ValueError("mean and deviation do not fit the images")
        pixels_are_bytes = bool(about["coded"])
        return Trained(
            module.eval(),
            network,
            scores,
            classes,
            mean,
            deviation,
            pixels_are_bytes,
            tuple(about["curve"]),
            float(about["seconds"]),
            None if (ends := about.get("range")) is None else (float(ends[0]), float(ends[1])),
        )
    except (
        SafetensorError,
        InputError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path}: not as evoml wrote it ({why}); remove it to train the winner again"
        ) from None
