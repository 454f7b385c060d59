"""ProxylessNAS: a supernet of which one path at a time is there, by binary gates drawn of
probabilities that descend on loss and expected latency.

Cai, Zhu, Han 2019, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware",
ICLR, arXiv 1812.00332. Every block draws one of its options by p = softmax(alpha); only that path
is computed, and only its weights take a step. Every few steps the gates' gradients give alpha's,
Eq. (4): of all gates (`full`), or of two that are drawn without replacement and weighed against
each other alone, whose probabilities then share what they had before (`two`). Or alpha is trained
by REINFORCE, Eq. (8), which needs no gradient of what it is rewarded by.

Latency is what a table says (`evoml latency`), or multiply-adds, and its expectation is linear in
p, Eqs. (5) and (6). In two-path mode it is that of the pairs, as released. Multiplied in, it counts
by its logarithm: latencies in units in which the reference is 80, as the paper's milliseconds, so
that the logarithm of a small network's is no different.

Departures: Adam leaves alone what a step does not involve, its moments too, and counts its own
steps of each number (in the release the second moment decays); a block whose drawn option is `none`
has its alpha updated as any other (the release leaves it). The release's settings are used where
the paper has none.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from deap import base
from pydantic import Field, model_validator

from evoml.core.errors import InputError
from evoml.core.settings import FILE
from evoml.genotypes.schema import Genotype
from evoml.networks.optimisers import Momentum, PartialAdam, cosine
from evoml.strategies import _gradient_search
from evoml.strategies._gradient_search import GradientSearch, softmax, through_softmax

UNITS = 80.0  # that a reference latency counts as: the paper's, in milliseconds


class ArchitectureSettings(_gradient_search.ArchitectureSettings):
    """How alpha is trained: by Adam."""

    lr: float = Field(1e-3, gt=0, le=10, description="learning rate")
    betas: tuple[float, float] = Field((0.0, 0.999), description="of Adam, each from 0 to below 1")
    weight_decay: float = Field(0.0, ge=0, le=10, description="L2 penalty")


class Settings(_gradient_search.Settings):
    """How ProxylessNAS trains weights and architecture."""

    epochs: int = Field(160, ge=2, le=10_000, description="of one search, the warm-up among them")
    warmup: int = Field(
        40,
        ge=0,
        le=10_000,
        description="of them, before the architecture is trained; it rests for one more, as "
        "released",
    )
    warmup_lr: float = Field(
        0.05,
        gt=0,
        le=1_000,
        description="of the weights, at the start of the warm-up; falls to zero along a cosine",
    )
    split: float = Field(
        0.9,
        gt=0,
        lt=1,
        description="share of the training images for the weights; the others are for the "
        "architecture",
    )
    lr: float = Field(
        0.025,
        gt=0,
        le=1_000,
        description="of the weights, behind the warm-up; falls along a cosine",
    )
    lr_least: float = Field(0.0, ge=0, le=1_000, description="of the weights, at the end")
    weight_decay: float = Field(
        4e-5, ge=0, le=10, description="L2 penalty on the weights of a step's paths"
    )
    clip: float = Field(0.0, ge=0, description="largest norm of the weights' gradient; 0: no limit")
    smoothing: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="of labels, where weights are trained: share that is spread over all classes",
    )
    by: Literal["gradient", "reinforce"] = Field(
        "gradient", description="how the architecture is trained"
    )
    mode: Literal["two", "full"] = Field(
        "two", description="by gradient: of two paths that are drawn, or of all"
    )
    every: int = Field(
        5,
        ge=1,
        le=10_000,
        description="steps of the weights behind which there is one of the architecture",
    )
    cost: Literal["latency", "multiply_adds", "none"] = Field(
        "multiply_adds", description="what a network is to have little of"
    )
    latency_table: str = Field(
        "", json_schema_extra=FILE, description="a file that `evoml latency` made, for cost latency"
    )
    reference: float = Field(
        0.0,
        ge=0,
        description="the cost that is aimed at, in seconds or multiply-adds; 0: the mean of "
        "networks drawn uniformly",
    )
    regularisation: Literal["multiply", "add"] = Field(
        "multiply",
        description="by gradient: loss * scale * (log cost / log reference)^exponent, or loss + "
        "share * (cost / reference - 1)",
    )
    scale: float = Field(0.2, gt=0, le=1e6, description="of regularisation multiply")
    exponent: float = Field(0.3, ge=0, le=100, description="of regularisation multiply")
    share: float = Field(0.1, ge=0, le=1e6, description="of regularisation add")
    samples: int = Field(10, ge=1, le=10_000, description="by reinforce: architectures a step")
    baseline: float = Field(
        0.99,
        ge=0,
        le=1,
        description="by reinforce: share of the way to a step's mean reward that the baseline "
        "goes, as released",
    )
    tradeoff: float = Field(
        0.1,
        ge=0,
        le=100,
        description="by reinforce: the reward is accuracy * (reference / cost)^tradeoff",
    )
    architecture: ArchitectureSettings = ArchitectureSettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.warmup + 2 > self.epochs:
            raise ValueError(
                f"epochs: {self.epochs} with {self.warmup} of warm-up; the architecture is trained "
                f"from the second behind it on, so at least {self.warmup + 2}"
            )
        if self.cost == "latency" and not self.latency_table:
            raise ValueError(
                "cost: latency needs latency_table, a file that `evoml latency` made; "
                "multiply_adds needs none"
            )
        return self


class ProxylessNAS(GradientSearch):
    """One candidate a search."""

    example = {"epochs": 2, "warmup": 0, "batch": 8, "cost": "none"}
    affine = True
    settings: Settings
    adam: PartialAdam

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        """Raises InputError as `GradientSearch` does, and for a table that is none or lacks a
        layer.
        """
        self.smoothing = settings.smoothing
        super().__init__(toolbox, settings, seed, start_genotypes)
        self.fixed, self.costs = self._priced()
        uniform = self.supernet.available / self.supernet.available.sum(1, keepdims=True)
        self.reference = settings.reference or self.expected(uniform)
        if settings.cost != "none" and not self.expected(uniform) > 0:
            raise InputError(
                f"strategy.latency_table: {settings.latency_table}: all networks take no time by "
                "it; make it again with `evoml latency`"
            )
        if (
            settings.cost == "multiply_adds"
            and settings.regularisation == "multiply"
            and self.reference <= 1
        ):
            raise InputError(
                f"strategy.reference: {self.reference:g}: is in multiply-adds, whose logarithm "
                f"counts; networks drawn uniformly have {self.expected(uniform):,.0f}"
            )

    def options_in_memory(self) -> np.ndarray:
        """One path, the largest."""
        from evoml.networks.latency import linear, multiply_adds

        costs = np.where(self.supernet.available, linear(self.supernet, multiply_adds)[1], -1.0)
        return gates(costs.argmax(1), costs.shape[1])

    def _priced(self) -> tuple[float, np.ndarray]:
        """What every network costs, and what every option adds to it, [G, O]."""
        from evoml.networks.latency import Table, linear, multiply_adds

        if self.settings.cost == "none":
            return 0.0, np.zeros(self.supernet.available.shape)
        if self.settings.cost == "multiply_adds":
            return linear(self.supernet, multiply_adds)
        return linear(self.supernet, Table.read(Path(self.settings.latency_table)).seconds)

    def expected(self, probabilities: np.ndarray) -> float:
        """The mean cost of networks that are drawn so; of a mix of 0 and 1 its own."""
        return self.fixed + float((self.costs * probabilities).sum())

    def learn(self) -> dict[str, Any] | None:
        report = super().learn()
        if report is None or self.settings.cost == "none":
            return report
        return report | {"cost": self.expected(self.probabilities()), "reference": self.reference}

    def rate(self, step: int) -> float:
        warm = self.settings.warmup * self.batches.count
        if step < warm:
            return cosine(self.settings.warmup_lr, 0.0, step, warm)
        return cosine(self.settings.lr, self.settings.lr_least, step - warm, self.total - warm)

    def _begin(self) -> None:
        super()._begin()
        how = self.settings.architecture
        self.adam = PartialAdam(self.alpha.shape, how.betas, how.weight_decay)
        self.descent = Momentum(
            len(self.shared_weights.weights),
            self.settings.momentum,
            self.settings.weight_decay,
            nesterov=True,
        )
        self.mean_reward, self.rewarded = 0.0, 0  # the baseline, and how many steps it has seen

    def _step(self, step: int) -> tuple[float, float]:
        rng = self.noise(step)
        mix = gates(drawn(rng, self.alpha, self.supernet.available)[:, 0], self.alpha.shape[1])
        found = self.shared_weights.gradients(*self.batches.at(step), mix, of_mix=False)
        assert found.weights is not None
        self._descend(found.weights, mix, step)
        first = (self.settings.warmup + 1) * self.batches.count
        if step >= first and (step + 1 - first) % self.settings.every == 0:
            batch = self.architecture_batches.at((step - first) // self.settings.every)
            (self._by_gradient if self.settings.by == "gradient" else self._by_reward)(rng, *batch)
        return found.loss, found.right

    def _descend(self, gradient: np.ndarray, mix: np.ndarray, step: int) -> None:
        """One step of the weights that were used; the others rest, with their momentum."""
        idle = np.flatnonzero(~self.shared_weights.active(mix))
        weights, velocity = self.shared_weights.weights[idle], self.descent.velocity[idle]
        self.descend(gradient, step)
        self.shared_weights.weights[idle], self.descent.velocity[idle] = weights, velocity

    def _by_gradient(self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> None:
        """One step of alpha, by the gates' gradients."""
        two, there = self.settings.mode == "two", self.supernet.available
        paths = drawn(rng, self.alpha, there)[:, : 2 if two else 1]
        involved = pairs(paths, there) if two else there
        probabilities = softmax(self.alpha, involved)
        active = chosen(rng, paths, probabilities) if two else paths[:, 0]
        with self._unsmoothed():
            found = self.shared_weights.gradients(
                x, y, gates(active, there.shape[1]), of_weights=False, wanted=involved
            )
        assert found.mix is not None
        slopes = through_softmax(found.mix.astype(np.float64), probabilities)
        before = self.alpha.copy()
        self.adam.step(
            self.alpha,
            self.gradient(found.loss, slopes, probabilities),
            self.settings.architecture.lr,
            involved,
        )
        if two:
            self.alpha = rescaled(before, self.alpha, involved)

    def gradient(self, loss: float, slopes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The gradient by alpha of loss and expected cost together, [G, O].

        slopes: that of the loss alone.
        """
        how, cost = self.settings, through_softmax(self.costs, probabilities)
        if how.cost == "none":
            return slopes
        expected = self.expected(probabilities)
        if how.regularisation == "add":
            return np.asarray(slopes + how.share / self.reference * cost)
        share, slope = logarithmic(expected, self.reference, how.exponent, how.cost == "latency")
        return np.asarray(how.scale * (share * slopes + loss * slope * cost))

    def _by_reward(self, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> None:
        """One step of alpha, by REINFORCE."""
        probabilities, rewards, mixes = self.probabilities(), [], []
        for _ in range(self.settings.samples):
            mixes.append(
                gates(drawn(rng, self.alpha, self.supernet.available)[:, 0], self.alpha.shape[1])
            )
            rewards.append(
                self.reward(self.shared_weights.score(x, y, mixes[-1], len(y))[0], mixes[-1])
            )
        mean = float(np.mean(rewards))
        self.mean_reward += (self.settings.baseline if self.rewarded else 1.0) * (
            mean - self.mean_reward
        )
        self.rewarded += 1
        slopes = policy_gradient(
            np.array(rewards) - self.mean_reward, np.array(mixes), probabilities
        )
        self.adam.step(self.alpha, -slopes, self.settings.architecture.lr, self.supernet.available)

    def reward(self, accuracy: float, mix: np.ndarray) -> float:
        """Of a network on a batch."""
        if self.settings.cost == "none":
            return accuracy
        return accuracy * float((self.reference / self.expected(mix)) ** self.settings.tradeoff)

    @contextmanager
    def _unsmoothed(self) -> Iterator[None]:
        """Labels as they are: the architecture is trained on the loss itself, as released."""
        self.shared_weights.smoothing = 0.0
        try:
            yield
        finally:
            self.shared_weights.smoothing = self.smoothing

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"mean_reward": self.mean_reward, "rewarded": self.rewarded}

    def _load(self, state: dict[str, Any]) -> None:
        super()._load(state)
        self.mean_reward, self.rewarded = float(state["mean_reward"]), int(state["rewarded"])


# -- gates, [G, O] each ----------------------------------------------------------------------------


def drawn(rng: np.random.Generator, alpha: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The options of every group in a random order, as draws of softmax(alpha) without replacement
    give them, [G, O]; behind them what is not there.

    Gumbel-top-k (Vieira 2014; Kool et al. 2019, arXiv 1903.06059): the order of alpha with Gumbel
    noise is such a draw.
    """
    noise = rng.gumbel(size=alpha.shape)
    return np.argsort(-np.where(there, alpha + noise, -np.inf), 1, kind="stable")


def gates(active: np.ndarray, options: int) -> np.ndarray:
    """1 for the active option of every group, [G, O] float64. active: [G]."""
    return np.eye(options)[active]


def pairs(paths: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Which options the drawn ones are, [G, O] bool; a group of one option has that one.

    paths: [G, 2].
    """
    out = np.zeros(there.shape, bool)
    np.put_along_axis(out, paths, True, 1)
    return out & there


def chosen(rng: np.random.Generator, paths: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """One of the two drawn options of every group, by the probabilities of the two, [G]."""
    first = np.take_along_axis(probabilities, paths, 1)[:, 0]
    out: np.ndarray = np.where(rng.random(len(paths)) < first, paths[:, 0], paths[:, -1])
    return out


def rescaled(before: np.ndarray, after: np.ndarray, involved: np.ndarray) -> np.ndarray:
    """`after` with a constant added to what is involved, in every group, so that together it is as
    likely as before.
    """
    old, new = (
        np.logaddexp.reduce(np.where(involved, values, -np.inf), 1, keepdims=True)
        for values in (before, after)
    )
    return np.where(involved, after + old - new, after)


def logarithmic(
    cost: float, reference: float, exponent: float, in_units: bool
) -> tuple[float, float]:
    """(log cost / log reference)^exponent and its derivative by cost; 0, and none, where the cost
    is a single unit or less.

    in_units: so that the reference is `UNITS`.
    """
    unit = reference / UNITS if in_units else 1.0
    log, whole = np.log(max(cost / unit, 1.0)), np.log(reference / unit)
    if not log or not whole > 0:
        return 0.0, 0.0
    share = (log / whole) ** exponent
    return float(share), float(exponent * share / log / cost)


def policy_gradient(
    advantages: np.ndarray, mixes: np.ndarray, probabilities: np.ndarray
) -> np.ndarray:
    """REINFORCE's estimate of the gradient of the expected reward by alpha, [G, O].

    advantages: [n], rewards less the baseline; mixes: [n, G, O].
    """
    out: np.ndarray = (advantages[:, None, None] * (mixes - probabilities)).mean(0)
    return out
