"""Scores candidates with shared weights: a supernet is trained first, once, and a candidate is what
is left of it without all other paths.

Bender, Kindermans, Zoph, Vasudevan, Le 2018, "Understanding and Simplifying One-Shot Architecture
Search", ICML. In training paths are dropped at a rate that grows linearly from zero; a batch is
parted into ghosts, each with paths of its own and normalised by itself; only weights that a step
uses have an L2 penalty. Candidates are normalised by the statistics of the images that they are
scored on. Which candidates is any strategy's business; the best of them are to be trained by
themselves, by what `stand_alone` says.

Departures: the supernets are those of evoml's spaces, where a path is dropped in all cells of a
kind at once, as in the candidates.
"""

import time
from dataclasses import replace
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.learner import Learner
from evoml.contracts.objective import ACCURACY, LOSS, MULTIPLY_ADDS, PARAMETERS, Objective, judged
from evoml.contracts.space import Space
from evoml.contracts.task import CROSS_ENTROPY, LayeredData, Task
from evoml.core.errors import InputError
from evoml.core.streams import LEARN, seed_of
from evoml.core.wording import one_line
from evoml.evaluators._paths import PathDropout
from evoml.genotypes.population import CRASHED, DIVERGED, OK, Population
from evoml.genotypes.schema import Genotype
from evoml.networks.batches import Batches, channels_last
from evoml.networks.memory import check_step
from evoml.networks.optimisers import Momentum, clipped, cosine
from evoml.networks.settings import SupernetSettings, TrainingSettings
from evoml.networks.shared_weights import SharedWeights, shared_weights

DATA, INIT, PATHS = range(3)  # what is drawn for
# training images that a candidate's predictions are compared with the whole supernet's on, as
# published
COMPARED = 64
_ALL = 2**32  # the number of the one supernet of a run, which no other stream of LEARN has
Name = Literal["accuracy", "loss", "parameters", "multiply_adds"]
OBJECTIVES = (
    replace(ACCURACY, kind="shared"),
    replace(LOSS, kind="shared"),
    PARAMETERS,
    MULTIPLY_ADDS,
)


class Settings(SupernetSettings):
    """How the supernet is trained, what candidates are judged by, and how one is trained by
    itself.
    """

    aliases: ClassVar[dict[str, str]] = {"alone": "stand_alone"}

    objectives: tuple[Name, ...] = Field(
        ("accuracy",),
        min_length=1,
        description="accuracy first, which is with shared weights, as is loss; the others are of a "
        "candidate's own network",
    )
    epochs: int = Field(
        30, ge=1, le=10_000, description="passes of the supernet over the training images"
    )
    ghosts: int = Field(
        2,
        ge=1,
        le=1024,
        description="equal parts of a batch, each with paths and statistics of its own",
    )
    drop: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="r: probability at the end of training that a node would lose all of its k "
        "paths; each is dropped with r^(1/k)",
    )
    lr: float = Field(0.05, gt=0, le=1_000, description="learning rate at the start")
    lr_least: float = Field(
        0.05,
        ge=0,
        le=1_000,
        description="at the end, reached along a cosine; a small one leaves weights behind that "
        "are fit for few dropped paths",
    )
    weight_decay: float = Field(
        3e-4, ge=0, le=10, description="L2 penalty on the weights that a step uses"
    )
    clip: float = Field(5.0, ge=0, description="largest norm of the whole gradient; 0: no limit")
    stand_alone: TrainingSettings = TrainingSettings()

    @field_validator("objectives")
    @classmethod
    def _accuracy_first(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if names[0] != "accuracy" or len(set(names)) < len(names):
            raise ValueError("must be accuracy first, and each name once")
        return names

    @model_validator(mode="after")
    def _ghosts_are_equal(self) -> "Settings":
        if self.batch % self.ghosts or self.batch < 2 * self.ghosts:
            raise ValueError(
                f"ghosts: {self.ghosts}: must divide batch, {self.batch}, into equal parts of at "
                "least two images"
            )
        return self


class OneShotEvaluator(CandidateEvaluator, Learner):
    """One supernet on one set of images.

    The loop calls `learn` as long as there is something to learn; where nobody did, the first
    candidate does.
    """

    example = {"epochs": 1, "batch": 256}
    trains = True
    task = "digits"
    final: ClassVar[dict[str, dict[str, Any]]] = {
        "evaluator": {"stand_alone": {"epochs": 60}},
        "task": {"examples": 0, "size": 0},
    }
    scores_candidates = True

    def __init__(
        self, settings: Settings, tasks: LayeredData, space: Space, backend: str = ""
    ) -> None:
        """Raises InputError for a space or a task without a supernet, and where a step of it does
        not fit into memory.
        """
        if not isinstance(space, ArchitectureSpace) or not space.has_supernet:
            raise InputError(
                f"evaluator: one_shot trains a supernet, which space {space.name} does not have; "
                "cell, nasbench201 and mobile do"
            )
        if not isinstance(tasks, LayeredData):
            raise InputError(
                "evaluator: one_shot trains a supernet on images, which this task does not give; "
                "digits does"
            )
        if len(tasks.train_y) < 2 * settings.ghosts:
            raise InputError(
                f"evaluator.ghosts: {settings.ghosts}: must be at most {len(tasks.train_y) // 2}, "
                "so that each has two training images"
            )
        self.settings, self.tasks, self.space = settings, tasks, space
        self.metric = replace(tasks.head.objective, kind="shared")
        self.objectives = judged(settings.objectives, OBJECTIVES, self.metric)
        self.counts = dict.fromkeys(("candidates", "crashed", "diverged", "steps"), 0)
        self.supernet = space.supernet(tasks.size, tasks.head.outputs)
        self.batch = min(settings.batch, len(tasks.train_y)) // settings.ghosts * settings.ghosts
        # one ghost after the other
        check_step(self.supernet, self.batch // settings.ghosts, "evaluator.batch")
        self._total = settings.epochs * (len(tasks.train_y) // self.batch)  # steps
        self.dropout = PathDropout(self.supernet, settings.drop)
        self.step = 0  # steps that are done
        self.spent = 0  # multiply-adds of training and of scoring candidates
        self.sums = np.zeros(2)  # loss and hits, of the epoch in progress

    # -- the supernet ------------------------------------------------------------------------------

    @classmethod
    def objectives_of(cls, settings: Settings, task: type[Task]) -> tuple[Objective, ...]:
        metric = replace(task.objective, kind="shared")
        return judged(settings.objectives, OBJECTIVES, metric)

    @classmethod
    def stand_alone_settings(cls, settings: Settings) -> TrainingSettings:
        return settings.stand_alone

    @property
    def total(self) -> int:
        return self._total

    @property
    def learning(self) -> bool:
        """Whether the supernet has steps left."""
        return self.step < self.total

    def learn(self) -> dict[str, Any] | None:
        """One step.

        At the end of an epoch what it came to, else None. Raises InputError where the training
        diverges.
        """
        shared_weights, given = self.shared_weights, self.settings
        before, masks = shared_weights.spent, self.masks(self.step)
        found = shared_weights.gradients(*self.batches.at(self.step), masks, of_mix=False)
        if not isfinite(found.loss):
            raise InputError(
                f"evaluator.lr: {given.lr:g}: the supernet's training diverged in step "
                f"{self.step + 1} of {self.total}; make it smaller"
            )
        assert found.weights is not None
        lr = cosine(given.lr, given.lr_least, self.step, self.total)
        self.descent.step(
            shared_weights.weights,
            clipped(found.weights, given.clip),
            lr,
            shared_weights.decayed & shared_weights.active(masks),
        )
        self.spent += shared_weights.spent - before
        self.step += 1
        self.counts["steps"] += 1
        self.sums += found.loss, found.right
        return self._epoch() if self.step % self.batches.count == 0 else None

    def masks(self, step: int) -> np.ndarray:
        """The paths of every ghost in a step, [ghosts, G, O] of 0 and 1."""
        rng, share = np.random.default_rng(self._draw(PATHS, step)), step / max(self.total - 1, 1)
        return np.stack([self.dropout.mask(rng, share) for _ in range(self.settings.ghosts)])

    def _epoch(self) -> dict[str, Any]:
        (loss, hits), self.sums = self.sums / self.batches.count, np.zeros(2)
        epoch, accuracy = self.step // self.batches.count, float(hits / self.batch)
        return {
            "search": 0,
            "epoch": epoch,
            "epochs": self.settings.epochs,
            "loss": float(loss),
            "accuracy": accuracy,
            "spent": self.spent,
        }

    @cached_property
    def shared_weights(self) -> SharedWeights:
        """The shared weights, fresh at first; with scale and shift behind every normalisation, as
        in a candidate's own network.
        """
        return shared_weights(
            self.supernet,
            self._draw(INIT),
            loss=self.tasks.head.loss,
            affine=True,
            threads=self.settings.threads,
        )

    @cached_property
    def descent(self) -> Momentum:
        return Momentum(
            len(self.shared_weights.weights), self.settings.momentum, self.settings.weight_decay
        )

    @cached_property
    def batches(self) -> Batches:
        return Batches(
            self.tasks.train_x,
            self.tasks.train_y,
            self.batch,
            self._draw(DATA),
            **self.settings.augmentation,
        )

    @cached_property
    def _valid(self) -> np.ndarray:
        """Images that candidates are scored on, [N, H, W, C]."""
        return channels_last(self.tasks.valid_x)

    def _draw(self, purpose: int, number: int = 0) -> int:
        """A seed."""
        return seed_of(self.seed, LEARN, _ALL, purpose, number)

    # -- candidates --------------------------------------------------------------------------------

    def candidate(self, genotype: Genotype, stream: int = 0) -> Evaluation:
        """Score one candidate, with nothing random.

        What is the candidate's own fault is a status, never an exception.
        """
        learnt = self.counts["steps"]
        self._finish()
        began, before = time.perf_counter(), self.shared_weights.spent
        self.counts["candidates"] += 1
        try:
            network = self.space.network(genotype, self.tasks.size, self.tasks.head.outputs)
            counted = {
                "parameters": float(network.parameters),
                "multiply_adds": float(network.multiply_adds),
            }
        except ValueError as error:
            self.counts["crashed"] += 1
            return self.worst_evaluation(CRASHED, why=one_line(str(error)))
        accuracy, loss = self._scored(genotype)
        self.spent += self.shared_weights.spent - before
        seconds = time.perf_counter() - began
        if not isfinite(loss):
            self.counts["diverged"] += 1
            return self.worst_evaluation(DIVERGED, seconds)
        values = {self.metric.name: accuracy, "loss": loss} | counted
        return Evaluation.of(
            [values[each.name] for each in self.objectives],
            OK,
            seconds,
            steps=self.counts["steps"] - learnt,
        )

    def score(self, genotype: Genotype) -> float:
        """Accuracy of a genotype with the shared weights, on the images that candidates are judged
        by; no part of the search, so not in `spent`.
        """
        self._finish()
        return self._scored(genotype)[0]

    def divergence(self, genotype: Genotype) -> float | None:
        """How much the predictions of a genotype differ from those of the supernet with all paths:
        D(p || q) + D(q || p) in nats, the mean of `COMPARED` training images.

        Bender et al. 2018 find that shared weights hold candidates up by which the predictions
        change little, and that those are good when trained alone.
        """
        if self.tasks.head.loss != CROSS_ENTROPY:
            return None  # there are no classes
        self._finish()
        p, q = self._whole, self._logs(self.space.paths(genotype))
        return float(((np.exp(p) - np.exp(q)) * (p - q)).sum(1).mean())

    @cached_property
    def _whole(self) -> np.ndarray:
        """The logarithms of what the trained supernet predicts with all paths."""
        return self._logs(self.dropout.there.astype(float))

    def _logs(self, mix: np.ndarray) -> np.ndarray:
        """Of the probabilities of every class on the compared images, [N, classes]."""
        logs: np.ndarray = np.log(
            self.shared_weights.probabilities(channels_last(self.tasks.train_x[:COMPARED]), mix)
            + 1e-30
        )
        return logs

    def _scored(self, genotype: Genotype) -> tuple[float, float]:
        return self.shared_weights.score(
            self._valid, self.tasks.valid_y, self.space.paths(genotype)
        )

    def _finish(self) -> None:
        while self.learning:
            self.learn()

    def warm(self, population: Population | None = None) -> None:
        """Make the supernet and pass through it once, so that no import and no compilation counts
        as searching.
        """
        shared_weights, masks = self.shared_weights, self.masks(0)
        before, ghosts = shared_weights.spent, self.settings.ghosts
        shared_weights.gradients(
            self._valid[:1].repeat(2 * ghosts, 0),
            self.tasks.valid_y[:1].repeat(2 * ghosts),
            masks,
            of_mix=False,
        )
        shared_weights.spent = before

    # -- state -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        learnt = (
            {"net": self.shared_weights.state(), "descent": self.descent.state()}
            if self.step
            else {}
        )
        return super().state_dict() | {
            "step": self.step,
            "spent": self.spent,
            "sums": self.sums.copy(),
            "learnt": learnt,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError or KeyError for a state that does not fit."""
        super().load_state_dict(state)
        step, spent, sums = (
            int(state["step"]),
            int(state["spent"]),
            np.array(state["sums"], np.float64),
        )
        if not 0 <= step <= self.total or spent < 0 or sums.shape != (2,):
            raise ValueError("not a step of this supernet's training")
        self.step, self.spent, self.sums = step, spent, sums
        self.__dict__.pop("_whole", None)  # of other weights
        if step:
            self.shared_weights.load(state["learnt"]["net"])
            self.descent.load(state["learnt"]["descent"])
