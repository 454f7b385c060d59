"""What strategies share that search by gradient in a supernet: one candidate is what one whole
search derives.

The loop calls `learn` as long as `learning` says so, one step of the weights a call, and then asks
for the derived genotype, which is trained by itself as any candidate is; the next candidate is
another search with a seed of its own, as DARTS runs four and takes the best. A search that diverges
is over, and its candidate has that status. Every step is a function of the state before it and of
its own number, so a state that was stored goes on to the same end.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from deap import base
from pydantic import Field, field_validator

from evoml.contracts.learner import Learner
from evoml.contracts.strategy import OneAtATime, OneAtATimeSettings, check_counts
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.streams import LEARN, seed_of
from evoml.genotypes.population import OVER_BUDGET, Population
from evoml.genotypes.schema import Genotype
from evoml.networks.batches import Batches, channels_last
from evoml.networks.optimisers import Adam, Momentum, clipped, cosine
from evoml.networks.settings import SupernetSettings
from evoml.networks.shared_weights import SharedWeights

DATA, INIT, NOISE = range(3)  # what a search draws for


class ArchitectureSettings(settings.Settings):
    """How the architecture parameters are trained: by Adam."""

    lr: float = Field(3e-4, gt=0, le=10, description="learning rate")
    betas: tuple[float, float] = Field((0.5, 0.999), description="of Adam, each from 0 to below 1")
    weight_decay: float = Field(1e-3, ge=0, le=10, description="L2 penalty")
    deviation: float = Field(
        1e-3, ge=0, le=10, description="standard deviation of the initial values"
    )

    @field_validator("betas")
    @classmethod
    def _below_one(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("each must be from 0 to below 1")
        return betas


class Settings(SupernetSettings, OneAtATimeSettings):
    """How a supernet's weights are trained while its architecture is searched."""

    epochs: int = Field(50, ge=1, le=10_000, description="of one search")
    split: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of the training images for the weights; the others are for the "
        "architecture",
    )
    lr: float = Field(
        0.025, gt=0, le=1_000, description="of the weights, at the start; falls along a cosine"
    )
    lr_least: float = Field(0.001, ge=0, le=1_000, description="of the weights, at the end")
    weight_decay: float = Field(3e-4, ge=0, le=10, description="L2 penalty on the weights")
    clip: float = Field(5.0, ge=0, description="largest norm of the weights' gradient; 0: no limit")
    architecture: ArchitectureSettings = ArchitectureSettings()


class GradientSearch(OneAtATime, Learner):
    """A subclass gives `_step` and, where they are others, `initial`, `probabilities`,
    `scores_of_options`, and what it keeps besides in `_begin`, `_state`, `_load`.
    """

    has_probabilities = True
    splits_data = True  # whether the training images are divided between weights and architecture
    affine = False  # whether the supernet's normalisations have a scale and a shift
    smoothing = 0.0  # of labels
    settings: Any
    shared_weights: SharedWeights  # of the search in progress, from its first step on
    batches: Batches  # for the weights
    architecture_batches: Batches  # for the architecture; the same where they are not divided
    alpha: np.ndarray  # [G, O] architecture parameters; 0 where there is no option
    descent: Momentum  # of the weights
    adam: Adam  # of alpha

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Any,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        """Raises InputError for a space or a task without a supernet, and where a step of it does
        not fit into memory.
        """
        if start_genotypes:
            raise InputError(
                f"start: {type(self).__module__.rpartition('.')[2]} starts from nothing; "
                "aging_evolution takes given genotypes"
            )
        super().__init__(toolbox, settings, seed)
        self.supernet = toolbox.supernet()
        toolbox.fits(min(settings.batch, len(toolbox.images().train_y)), self.options_in_memory())
        self.search: int = -1
        self.step = 0  # which search is in progress, and steps of it that are done
        self.spent = 0  # multiply-adds of all searches
        self.sums = np.zeros(2)  # loss and hits, of the epoch in progress
        # searches that diverged, whose candidates are not trained
        self.failed_searches: list[int] = []
        self.diverged = 0  # the step, from 1, at which the search in progress did; 0: it did not
        self.made: Population = toolbox.empty(0)

    # -- what the loop uses ------------------------------------------------------------------------

    def warm(self) -> None:
        """Compile what a step needs, by passes of two images that leave nothing behind."""
        shared_weights = self.toolbox.shared_weights(
            0, affine=self.affine, smoothing=self.smoothing, threads=self.settings.threads
        )
        images = self.toolbox.images()
        x, y = channels_last(images.train_x[:2]), images.train_y[:2]
        mix = self.supernet.available / self.supernet.available.sum(1, keepdims=True)
        shared_weights.gradients(x, y, mix)
        shared_weights.score(x, y, mix)

    @property
    def learning(self) -> bool:
        """Whether the next candidate's search has steps left."""
        return self.asked == self.told and not (
            self.search == self.told and self.step == self.total
        )

    @property
    def total(self) -> int:
        """Steps of one search."""
        return int(self.settings.epochs * self.batches.count)

    def learn(self) -> dict[str, Any] | None:
        """One step. At the end of an epoch what it came to, else None."""
        if self.search != self.told:
            self.search, self.step, self.diverged, self.sums = self.told, 0, 0, np.zeros(2)
            self._open()
            self._begin()
        before = self.shared_weights.spent
        with np.errstate(all="ignore"):  # what is not finite is seen below
            self.sums += self._step(self.step)
        self.spent += self.shared_weights.spent - before
        last = self.step + 1 == self.total  # the weights of other steps show in the next loss
        if not (
            np.isfinite(self.sums[0])
            and np.isfinite(self.alpha).all()
            and (not last or np.isfinite(self.shared_weights.weights).all())
        ):
            self.failed_searches.append(self.search)
            self.alpha = np.where(np.isfinite(self.alpha), self.alpha, 0.0)
            self.step, self.diverged = self.total, self.step + 1
            return None
        self.step += 1
        if self.step % self.batches.count:
            return None
        (loss, hits), self.sums = self.sums / self.batches.count, np.zeros(2)
        return {
            "search": self.search, "epoch": self.step // self.batches.count,
            "epochs": self.settings.epochs, "loss": float(loss),
            "accuracy": float(hits / self.batches.batch), "spent": self.spent,
            "probabilities": self.probabilities().round(6).tolist(),
        }  # fmt: skip

    def ask(self, ids: np.ndarray) -> Population:
        """The genotype that the search in progress derives once it is finished; before, nothing."""
        if self.asked > self.told or self.search != self.told or self.step < self.total:
            return self.made[:0]
        out: Population = self.toolbox.derive(self.scores_of_options())
        out.ids[:] = ids[:1]
        self.asked += 1
        return out

    def tell(self, evaluated: Population) -> None:
        """Keep what was derived; the next call of `learn` begins another search."""
        self._entered(evaluated)
        self.made = Population.joined([self.made, evaluated])

    @property
    def alive(self) -> Population:
        return self.made

    @property
    def failed(self) -> list[int]:
        return self.failed_searches

    @property
    def stand_alone(self) -> list[Genotype]:
        """What was derived and then trained from scratch."""
        return [
            each.genotype
            for each in self.made
            if each.id not in self.failed_searches and each.status != OVER_BUDGET
        ]

    @property
    def unfinished(self) -> bool:
        """Whether the shared weights are those of a search that has steps left, or that
        diverged.
        """
        return self.step < self.total or self.diverged > 0

    @property
    def failure(self) -> str:
        """Why the search in progress came to nothing; empty where it did not."""
        where = f"search {self.search} diverged at step {self.diverged} of {self.total}"
        return (
            f"strategy.lr: {self.settings.lr:g}: {where}; make it smaller" if self.diverged else ""
        )

    def score(self, genotype: Genotype) -> float:
        """Accuracy of a genotype with the shared weights of the last search, on the images that
        candidates are judged by.
        """
        return float(
            self.shared_weights.score(
                self._valid, self.toolbox.images().valid_y, self.toolbox.paths(genotype)
            )[0]
        )

    @cached_property
    def _valid(self) -> np.ndarray:
        """The images that candidates are judged by, [N, H, W, C]."""
        return channels_last(self.toolbox.images().valid_x)

    def state_dict(self) -> dict[str, Any]:
        searched = {} if self.search < 0 else {"net": self.shared_weights.state()} | self._state()
        names = ("asked", "told", "search", "step", "spent", "diverged")
        return {name: getattr(self, name) for name in names} | {
            "failed": self.failed_searches,
            "sums": self.sums,
            "made": self.made.state(),
            "searched": searched,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked, self.told = check_counts(state["asked"], state["told"])
        self.step, self.spent = check_counts(state["step"], state["spent"])
        self.diverged, self.failed_searches = (
            int(state["diverged"]),
            [int(search) for search in state["failed"]],
        )
        self.search, self.sums = (
            int(state["search"]),
            np.array(state["sums"], np.float64).reshape(2),
        )
        self.made = Population.from_state(self.made.schema, state["made"], self.made.weights)
        if (
            len(self.made) != self.told
            or not 0 <= self.asked - self.told <= 1
            or not -1 <= self.search <= self.told
        ):
            raise ValueError("not the searches of this strategy")
        if self.search < 0:
            return
        self._open()
        self._begin()
        self.shared_weights.load(state["searched"]["net"])
        self._load(state["searched"])
        if not 0 <= self.step <= self.total or not 0 <= self.diverged <= self.step:
            raise ValueError("not a step of a search")

    # -- what a search is --------------------------------------------------------------------------

    def draw(self, purpose: int, number: int = 0) -> int:
        """A seed of the search in progress."""
        return seed_of(self.seed, LEARN, self.search, purpose, number)

    def noise(self, step: int) -> np.random.Generator:
        """What a step draws from."""
        return np.random.default_rng(self.draw(NOISE, step))

    def _open(self) -> None:
        """The supernet with fresh weights, and the images of the search in progress."""
        images, settings = self.toolbox.images(), self.settings
        self.shared_weights = self.toolbox.shared_weights(
            self.draw(INIT), affine=self.affine, smoothing=self.smoothing, threads=settings.threads
        )
        parts = [np.arange(len(images.train_y))]
        if self.splits_data:
            order = np.random.default_rng(self.draw(DATA)).permutation(len(images.train_y))
            parts = np.split(order, [min(max(int(len(order) * settings.split), 2), len(order) - 2)])
        made = [
            Batches(
                images.train_x[at],
                images.train_y[at],
                settings.batch,
                self.draw(DATA, 1 + number),
                **settings.augmentation,
            )
            for number, at in enumerate(parts)
        ]
        self.batches, self.architecture_batches = made[0], made[-1]

    def options_in_memory(self) -> np.ndarray | None:
        """The options that are in memory at once, [G, O]; all of them where it is None."""
        return None

    def scores_of_options(self) -> np.ndarray:
        """What the genotype is derived by, [G, O]."""
        return self.probabilities()

    def probabilities(self) -> np.ndarray:
        """How likely, or how strong, every option is now, [G, O]; 0 where there is none."""
        return softmax(self.alpha, self.supernet.available)

    def initial(self, normal: np.ndarray) -> np.ndarray:
        """The architecture parameters at first, of draws of a standard normal distribution."""
        return np.asarray(normal * self.settings.architecture.deviation)

    def rate(self, step: int) -> float:
        """The weights' learning rate: it falls from epoch to epoch, as published, not from step to
        step.
        """
        return cosine(
            self.settings.lr,
            self.settings.lr_least,
            step // self.batches.count,
            self.settings.epochs,
        )

    def descend(self, gradient: np.ndarray, step: int) -> None:
        """One step of the weights."""
        self.descent.step(
            self.shared_weights.weights,
            clipped(gradient, self.settings.clip),
            self.rate(step),
            self.shared_weights.decayed,
        )

    def _begin(self) -> None:
        """Start the architecture parameters and optimisers of a search."""
        there, how = self.supernet.available, self.settings.architecture
        drawn = np.random.default_rng(self.draw(INIT, 1)).standard_normal(there.shape)
        self.alpha = np.where(there, self.initial(drawn), 0.0)
        self.adam = Adam(there.shape, how.betas, how.weight_decay)
        self.descent = Momentum(
            len(self.shared_weights.weights), self.settings.momentum, self.settings.weight_decay
        )

    def _step(self, step: int) -> tuple[float, float]:
        """One step of weights and architecture; loss and hits of the weights' batch."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """What `_begin` started, as numbers and arrays."""
        return {
            "alpha": self.alpha.copy(),
            "adam": self.adam.state(),
            "descent": self.descent.state(),
        }

    def _load(self, state: dict[str, Any]) -> None:
        """Take that over. Raises ValueError or KeyError where it does not fit."""
        alpha = np.array(state["alpha"], np.float64)
        if alpha.shape != self.alpha.shape:
            raise ValueError("not the architecture parameters of this supernet")
        self.alpha = alpha
        self.adam.load(state["adam"])
        self.descent.load(state["descent"])


def softmax(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Along the last axis, 0 where there is no option."""
    shifted = np.where(there, values, -np.inf)
    powers = np.exp(shifted - shifted.max(-1, keepdims=True))
    out: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return out


def through_softmax(gradient: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The gradient of what the softmax was taken of, given that of its result."""
    out: np.ndarray = probabilities * (gradient - (gradient * probabilities).sum(-1, keepdims=True))
    return out
