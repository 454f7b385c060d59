"""What the winner among architectures is held against: networks that nobody searched for, trained
with its recipe, on its images, for as long as it was.

A plain convolutional network after Simonyan and Zisserman 2015 (arXiv 1409.1556): blocks of two
convolutions of 3 x 3, twice the channels behind every pooling. A residual network after He et al.
2016 (arXiv 1512.03385): one block a stage. Both are as wide as their parameters stay below the
winner's. And an architecture of the space, drawn at random. The cost of an epoch is measured on
this machine, so how many epochs a baseline has depends on it.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evoml.archive.files import write_atomically
from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.executor import Stage
from evoml.contracts.space import Space
from evoml.contracts.task import ImageSet
from evoml.core.streams import TRAIN, streams
from evoml.evaluators.training import TrainingEvaluator
from evoml.genotypes.population import OK
from evoml.phenotypes.layers import Size
from evoml.phenotypes.network import Builder, Edge, Network
from evoml.search.problem import Problem

FILE = "baselines.json"  # beside the winner's weights
RANDOM = "random architecture"
LEAST, MOST = 4, 4096  # channels of the first stage
STEPS = 6  # of a training that tells what an epoch costs
LONGEST = 4  # times the winner's epochs, at most: beyond that more of them change little
DRAWN = 100  # architectures, to find one that is a network


@dataclass(frozen=True)
class Baseline:
    """A network that was trained for comparison."""

    name: str
    accuracy: float  # on the test images
    parameters: int
    multiply_adds: int
    epochs: int
    seconds: float  # of its training


def plain(inputs: Size, classes: int, width: int) -> Network:
    """Convolutions in pairs. width: channels of the first pair."""
    build, last = Builder(inputs), 0
    for stage in range(_stages(inputs)):
        channels = width << stage
        if stage:
            last = build.layer(last, "max_pool_2x2", width << stage - 1, 2)
        for _ in range(2):
            last = build.layer(last, "conv_3x3_bn_relu", channels)
    return build.network(last, classes)


def residual(inputs: Size, classes: int, width: int) -> Network:
    """One residual block a stage. width: channels of the first one."""
    build = Builder(inputs)
    last = build.layer(0, "stem_3x3", width)
    for stage in range(_stages(inputs)):
        channels, stride = width << stage, 2 if stage else 1
        shortcut = "avg_pool_2x2_conv_1x1" if stage else "identity"
        last = build.node(
            [Edge(last, layer, channels, stride) for layer in ("residual_3x3", shortcut)]
        )
    return build.network(last, classes)


def _stages(inputs: Size) -> int:
    """Stages between halvings, which leave two rows and columns at least."""
    return 1 + sum(min(inputs[1:]) >= least for least in (4, 8))


def networks(
    space: ArchitectureSpace, inputs: Size, classes: int, parameters: int, seed: int
) -> dict[str, Network]:
    """What a network of so many parameters is held against, by name."""
    out = {}
    for name, make in (
        ("plain convolutional network", plain),
        ("residual network", residual),
    ):
        width = LEAST
        while width < MOST and make(inputs, classes, width + 1).parameters <= parameters:
            width += 1
        out[name] = make(inputs, classes, width)
    drawn = _drawn(space, inputs, classes, seed)
    return out if drawn is None else out | {RANDOM: drawn}


def _drawn(space: ArchitectureSpace, inputs: Size, classes: int, seed: int) -> Network | None:
    """An architecture of the space; None where none that is drawn is a network."""
    population = space.random(streams(seed, TRAIN, np.arange(2**33, 2**33 + DRAWN)))
    for index in range(len(population)):
        try:
            network = space.network(population.genotype(index), inputs, classes)
            if network.connected and network.parameters:
                return network
        except ValueError:
            continue
    return None


class Baselines:
    """The baselines of one winner; those that a run holds already are not trained again."""

    def __init__(self, problem: Problem, winner: Network, place: Path | None) -> None:
        """problem: that the winner was trained for. place: the folder with its weights."""
        self.problem, self.winner = problem, winner
        self._file = None if place is None else place / FILE
        self._about = {
            "config": problem.config.complete(), "data": problem.data_digest,
            "parameters": winner.parameters, "multiply_adds": winner.multiply_adds,
        }  # fmt: skip
        self.done: dict[str, Baseline] = self._stored()

    def trained(self, watch: Callable[[str, Stage], None] | None = None) -> Iterator[Baseline]:
        """Every baseline, one after the other; one whose training diverges is left out.

        watch: told how far each is.
        """
        data, settings = self.problem.test_tasks, self.problem.config.part("evaluator")
        space: Space = self.problem.architecture_space
        evaluator = TrainingEvaluator(TrainingEvaluator.exact(settings), data, space)
        wanted = networks(
            self.problem.architecture_space, data.size, data.head.outputs,
            self.winner.parameters, self.problem.config.search.seed,
        )  # fmt: skip
        each: float | None = None
        for name, network in wanted.items():
            if name in self.done:
                yield self.done[name]
                continue
            each = each or self._cost(evaluator, self.winner)
            share = each / self._cost(evaluator, network)
            epochs = max(1, min(LONGEST * settings.epochs, round(settings.epochs * share)))
            evaluator.settings = evaluator.settings.model_copy(update={"epochs": epochs})
            if watch is not None:
                evaluator.watch = lambda stage, name=name: watch(name, stage)
            scores, trained = evaluator.test_network(network, self._stream)
            if trained.status != OK:
                continue
            baseline = Baseline(
                name, float(scores[f"test_{data.head.objective.name}"]), network.parameters,
                network.multiply_adds, epochs, trained.seconds,
            )  # fmt: skip
            self.done[name] = baseline
            self._store()
            yield baseline

    @property
    def _stream(self) -> int:
        """The winner's, so that batches come in its order."""
        return int(streams(self.problem.config.search.seed, TRAIN, np.array([2**32]))[0])

    def _cost(self, evaluator: TrainingEvaluator, network: Network) -> float:
        """Seconds of a step of training, the less of two measurements."""
        data = self.problem.test_tasks
        assert isinstance(data, ImageSet)
        rows = min(len(data.train_y), STEPS * evaluator.settings.batch)
        few = replace(data, train_x=data.train_x[:rows], train_y=data.train_y[:rows],
                      valid_x=data.valid_x[:1], valid_y=data.valid_y[:1])  # fmt: skip
        short = evaluator.settings.model_copy(update={"epochs": 1})
        probe = TrainingEvaluator(short, few, self.problem.space)
        times = []
        for _ in range(2):  # the first one warms up
            began = time.perf_counter()
            probe.test_network(network, 0)
            times.append(time.perf_counter() - began)
        return max(min(times), 1e-9)

    def _stored(self) -> dict[str, Baseline]:
        """Those that the run holds of this training; none where they are of another, or damaged."""
        if self._file is None:
            return {}
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
            if stored["about"] != json.loads(json.dumps(self._about)):
                return {}
            rows = [_read(row) for row in stored["baselines"]]
            return {row.name: row for row in rows}
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}

    def _store(self) -> None:
        if self._file is not None:
            rows = [asdict(row) for row in self.done.values()]
            text = json.dumps({"about": self._about, "baselines": rows}, indent=1)
            write_atomically(self._file, text.encode())


def _read(row: Mapping[str, Any]) -> Baseline:
    """Raises KeyError, TypeError or ValueError."""
    parameters, multiply_adds, epochs = (
        int(row[name]) for name in ("parameters", "multiply_adds", "epochs")
    )
    accuracy, seconds = float(row["accuracy"]), float(row["seconds"])
    return Baseline(str(row["name"]), accuracy, parameters, multiply_adds, epochs, seconds)
