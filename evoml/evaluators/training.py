"""Trains a candidate's network from scratch and scores it on validation images.

Cheaper estimates, after Elsken, Metzen, Hutter 2019, "Neural Architecture Search: A Survey", arXiv
1808.05377, are settings: fewer epochs (`epochs`), part of the data and smaller images (the task's
settings), fewer and narrower cells (`space.skeleton`). A candidate that diverges, crashes, runs out
of time or is over a cap gets the worst value of every objective, so that it is on no Pareto front,
and a status.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.objective import (
    ACCURACY,
    LATENCY,
    LOSS,
    MULTIPLY_ADDS,
    PARAMETERS,
    PREDICTED_LATENCY,
    Objective,
    judged,
)
from evoml.contracts.space import Space
from evoml.contracts.task import ImageSet, LayeredData, Task
from evoml.core.errors import InputError
from evoml.core.settings import FILE
from evoml.core.wording import one_line
from evoml.genotypes.population import CRASHED, DIVERGED, OK, OVER_BUDGET, TIMED_OUT, Population
from evoml.genotypes.schema import Genotype
from evoml.networks.settings import TrainingSettings
from evoml.phenotypes.network import Builder, Network

if TYPE_CHECKING:
    from torch import Tensor

    from evoml.networks.latency import Table
    from evoml.networks.training import Begun, Data, Trained

Name = Literal["accuracy", "loss", "parameters", "multiply_adds", "latency", "predicted_latency"]
OBJECTIVES = (ACCURACY, LOSS, PARAMETERS, MULTIPLY_ADDS, LATENCY, PREDICTED_LATENCY)
_COUNTED = {
    DIVERGED: "diverged",
    TIMED_OUT: "timed_out",
    CRASHED: "crashed",
    OVER_BUDGET: "over_budget",
}


class Settings(TrainingSettings):
    """How networks are trained and what they are judged by."""

    objectives: tuple[Name, ...] = Field(
        ("accuracy",),
        min_length=1,
        description="the first is optimised by a strategy with one objective; latency is measured "
        "on this machine, so that a run with it cannot be repeated bit for bit; predicted_latency "
        "is what latency_table says",
    )
    latency_table: str = Field(
        "",
        json_schema_extra=FILE,
        description="a file that `evoml latency` made, for predicted_latency; a candidate with a "
        "layer that it lacks counts as crashed",
    )
    max_parameters: int = Field(
        0, ge=0, description="a network with more is not trained; 0: no limit"
    )
    max_multiply_adds: int = Field(
        0, ge=0, description="of one image; a network with more is not trained; 0: no limit"
    )
    timeout: float = Field(
        0.0,
        ge=0,
        description="seconds after which a training is given up, which makes results depend on the "
        "machine; 0: none",
    )
    threads: int = Field(
        1, ge=1, le=1024, description="that torch uses for one candidate; results depend on it"
    )
    device: str = Field(
        "cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, or cuda where there is one"
    )

    def allows(self, network: Network) -> bool:
        """Whether a network is within the caps."""
        parameters, multiply_adds = (
            self.max_parameters or math.inf,
            self.max_multiply_adds or math.inf,
        )
        return network.parameters <= parameters and network.multiply_adds <= multiply_adds

    @field_validator("objectives")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names an objective twice")
        return names

    @model_validator(mode="after")
    def _table_where_needed(self) -> Self:
        if "predicted_latency" in self.objectives and not self.latency_table:
            raise ValueError(
                "predicted_latency needs latency_table, a file that `evoml latency` made"
            )
        return self


class TrainingEvaluator(CandidateEvaluator):
    """Trains networks on one set of images.

    One training at a time: the number of threads is the process's.
    """

    example = {"epochs": 1, "batch": 128}
    costly = trains = True
    task = "digits"
    final: ClassVar[dict[str, dict[str, Any]]] = {
        "evaluator": {"epochs": 60},
        "task": {"examples": 0, "size": 0},
    }

    def __init__(
        self, settings: Settings, tasks: LayeredData, space: Space, backend: str = ""
    ) -> None:
        if not isinstance(space, ArchitectureSpace):
            raise InputError(
                f"evaluator: training trains networks, which space {space.name} does not make; "
                "cell, hierarchical, chain do"
            )
        if not isinstance(tasks, LayeredData):
            raise InputError(
                "evaluator: training trains on images, which this task does not give; digits does"
            )
        self.settings, self.tasks, self.space = settings, tasks, space
        self.objectives = judged(settings.objectives, OBJECTIVES, tasks.head.objective)
        self.timeout = settings.timeout
        self.counts = dict.fromkeys(("candidates", *_COUNTED.values(), "steps"), 0)
        if settings.device != "cpu":  # said before anything is searched
            self._check_device()
        self._data: Data | None = None
        self._latencies = self._table() if PREDICTED_LATENCY in self.objectives else None

    @classmethod
    def objectives_of(cls, settings: Settings, task: type[Task]) -> tuple[Objective, ...]:
        return judged(settings.objectives, OBJECTIVES, task.objective)

    def candidate(self, genotype: Genotype, stream: int) -> Evaluation:
        """Train one candidate.

        What is the candidate's own fault is a status, never an exception.
        """
        self.counts["candidates"] += 1
        try:
            network = self._network(genotype)
        except ValueError as error:
            return self._without(CRASHED, why=one_line(str(error)))
        if not self.settings.allows(network):
            return self._without(OVER_BUDGET)
        if self._latencies is not None and not self._latencies.covers(network):
            why = f"{self.settings.latency_table}: lacks one of its layers"
            return self._without(CRASHED, why=why)
        trained, values = self._train(network, stream)
        self.counts["steps"] += trained.steps
        if trained.status != OK:
            return self._without(trained.status, trained)
        return Evaluation.of(
            [values[each.name] for each in self.objectives],
            OK,
            trained.seconds,
            trained.curve,
            steps=trained.steps,
        )

    def test(
        self,
        genotype: Genotype,
        stream: int,
        after: Callable[[int, float], bool] | None = None,
        start: "Mapping[str, Tensor] | None" = None,
        begun: "Begun | None" = None,
        keep: "Callable[[Begun], None] | None" = None,
    ) -> tuple[dict[str, float], "Trained"]:
        """Train a candidate, from the weights `start` where some are given, and measure everything,
        `test_accuracy` and `test_loss` on the validation part of this evaluator's images. after,
        begun, keep: as `networks.training.train` has them.

        Raises InputError.
        """
        return self.test_network(self.checked(genotype), stream, after, start, begun, keep)

    def test_network(
        self,
        network: Network,
        stream: int,
        after: Callable[[int, float], bool] | None = None,
        start: "Mapping[str, Tensor] | None" = None,
        begun: "Begun | None" = None,
        keep: "Callable[[Begun], None] | None" = None,
    ) -> tuple[dict[str, float], "Trained"]:
        """The same of a network that is of no genotype."""
        trained, values = self._train(network, stream, after, start, begun, keep)
        given = {
            f"test_{self.tasks.head.objective.name}": trained.accuracy,
            "test_loss": trained.loss,
        }
        return given | values | {
            "parameters": network.parameters,
            "multiply_adds": network.multiply_adds,
        }, trained

    def checked(self, genotype: Genotype) -> Network:
        """What `test` trains, if there is a network of this genotype and a device to train it on.

        Raises InputError.
        """
        self._check_device()
        try:
            return self._network(genotype)
        except ValueError as error:
            raise InputError(f"genotype: {error}") from None

    def caps(self) -> dict[str, int]:
        return {
            name: cap
            for name in ("max_parameters", "max_multiply_adds")
            if (cap := getattr(self.settings, name))
        }

    @classmethod
    def exact(cls, settings: Settings) -> Settings:
        """The same training for the winner, without caps, without a table that is for the search's
        networks, and of the last epoch: the best one would be chosen by the test images.
        """
        objectives = tuple(name for name in settings.objectives if name != "predicted_latency") or (
            "accuracy",
        )
        caps = {"max_parameters": 0, "max_multiply_adds": 0, "timeout": 0.0}
        return settings.model_copy(update={"objectives": objectives, **caps, "report": "last"})

    def warm(self, population: Population | None = None) -> None:
        """Import torch and train something tiny, so that nothing is compiled while a candidate's
        time is counted.
        """
        from evoml.networks.training import train

        build = Builder((1, 4, 4))
        network = build.network(build.layer(build.layer(0, "stem_3x3", 2), "sep_conv_3x3", 2), 2)
        images, labels = np.zeros((4, 1, 4, 4), np.float32), np.array([0, 1, 0, 1])
        data = ImageSet(images, labels, images, labels, ("0", "1"), np.zeros(1), np.ones(1))
        with self._threads():
            train(
                network,
                data,
                self.settings.model_copy(update={"epochs": 1, "batch": 2}),
                0,
                device=self.settings.device,
            )

    def _network(self, genotype: Genotype) -> Network:
        network: Network = self.space.network(genotype, self.tasks.size, self.tasks.head.outputs)
        _ = network.parameters  # raises ValueError where shapes do not fit
        return network

    def _table(self) -> "Table":
        """The table of latencies, which must hold the space's layers. Raises InputError."""
        from evoml.networks.latency import Table, known

        table = Table.read(Path(self.settings.latency_table))
        for key in sorted(known(self.space, self.tasks.size, self.tasks.head.outputs, patience=20)):
            table.seconds(key)
        return table

    def _train(
        self,
        network: Network,
        stream: int,
        after: Callable[[int, float], bool] | None = None,
        start: "Mapping[str, Tensor] | None" = None,
        begun: "Begun | None" = None,
        keep: "Callable[[Begun], None] | None" = None,
    ) -> tuple["Trained", dict[str, float]]:
        from evoml.networks.training import Data, latency, train

        with self._threads():
            if self._data is None:
                self._data = Data(self.tasks, self.settings.device)
            trained = train(
                network,
                self._data,
                self.settings,
                stream,
                timeout=self.settings.timeout,
                after=after,
                start=start,
                watch=self.watch,
                begun=begun,
                keep=keep,
            )
            values = {self.tasks.head.objective.name: trained.accuracy, "loss": trained.loss}
            values |= {
                "parameters": float(network.parameters),
                "multiply_adds": float(network.multiply_adds),
            }
            if self._latencies is not None:
                values["predicted_latency"] = self._latencies.network(network)
            if LATENCY in self.objectives and trained.module is not None:
                values["latency"] = latency(trained.module)
        return trained, values

    def _without(self, status: int, trained: "Trained | None" = None, why: str = "") -> Evaluation:
        self.counts[_COUNTED[status]] += 1
        if trained is None:
            return self.worst_evaluation(status, why=why)
        return self.worst_evaluation(status, trained.seconds, trained.curve, trained.error)

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """As many threads as the settings say; as before afterwards."""
        import torch

        self._check_device()
        before = torch.get_num_threads()
        torch.set_num_threads(self.settings.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _check_device(self) -> None:
        import torch

        kind, _, number = self.settings.device.partition(":")
        if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
            raise InputError(
                f"evaluator.device: {self.settings.device}: torch finds no such device; cpu is "
                "there"
            )
