"""SNAS: the architecture as a distribution, whose parameters and the weights descend on the same
training loss, through one relaxed draw a step.

Xie, Zheng, Liu, Lin 2019, "SNAS: Stochastic Neural Architecture Search", ICLR, arXiv 1812.09926. A
draw is of the concrete distribution (Maddison et al. 2017, arXiv 1611.00712): Z = softmax((log
alpha + Gumbel) / lambda), with a temperature lambda that falls, so that draws become decisions and
nothing is left to round off in the end. A resource constraint adds eta * E[C(Z)] to the loss, C
being what the operations cost.

`alpha` here is the paper's log alpha. Costs are those of all cells, over what they are of an
architecture drawn uniformly, so that eta is in units of loss for any network; the paper's values
for its three levels are not known, those here are evoml's own: in 15 epochs on digits the expected
cost came to .72, .55 and .34 of a uniform draw's, and to .82 without. Departures: a block has its
two strongest inputs, none of them `none`, as the space has it (the authors keep every edge and
`none` on it); no drop path in the search; what the policy gradient weighs is less the group's mean,
which changes no expectation.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from deap import base
from pydantic import Field, model_validator

from evoml.genotypes.schema import Genotype
from evoml.networks.optimisers import clipped
from evoml.phenotypes.layers import Primitive
from evoml.phenotypes.network import Network, Supernet
from evoml.strategies import _gradient_search
from evoml.strategies._gradient_search import GradientSearch, softmax, through_softmax

ETA = {"mild": 0.1, "moderate": 0.3, "aggressive": 1.0}
RESOURCES = ("parameters", "multiply_adds", "memory")


class ArchitectureSettings(_gradient_search.ArchitectureSettings):
    """How log alpha is trained: by Adam."""

    mean: float = Field(1.0, ge=-100, le=100, description="of the initial values")
    deviation: float = Field(
        0.01, ge=0, le=10, description="standard deviation of the initial values"
    )
    clip: float = Field(10.0, ge=0, description="largest norm of the gradient; 0: no limit")


class Settings(_gradient_search.Settings):
    """How SNAS trains weights and architecture.

    All training images are for both: `split` is not used.
    """

    epochs: int = Field(150, ge=1, le=10_000, description="of one search")
    temperature: float = Field(
        1.0,
        gt=0,
        le=100,
        description="lambda in the first epoch; falls linearly from epoch to epoch",
    )
    temperature_least: float = Field(0.03, gt=0, le=100, description="lambda in the last epoch")
    resource: Literal["none", "parameters", "multiply_adds", "memory", "all"] = Field(
        "none",
        description="what an architecture is to have little of; memory: numbers read and written "
        "(MAC); all: the mean of the three",
    )
    resource_by: Literal["reparameterised", "policy_gradient"] = Field(
        "reparameterised", description="how the gradient of the expected cost is estimated"
    )
    constraint: Literal["mild", "moderate", "aggressive"] = Field(
        "mild",
        description="the paper's levels; evoml's eta for them: "
        f"{', '.join(f'{value:g}' for value in ETA.values())}",
    )
    eta: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="loss that a uniformly drawn architecture's cost counts as; 0: what constraint "
        "says",
    )
    architecture: ArchitectureSettings = ArchitectureSettings()

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if self.temperature_least > self.temperature:
            raise ValueError(
                f"temperature_least: {self.temperature_least:g} is above temperature, "
                f"{self.temperature:g}"
            )
        return self


class SNAS(GradientSearch):
    """One candidate a search."""

    example = {"epochs": 1, "batch": 8}
    splits_data = False
    settings: Settings

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        super().__init__(toolbox, settings, seed, start_genotypes)
        self.costs = costs(self.supernet, settings.resource)
        self.eta = (
            (settings.eta or ETA[settings.constraint]) if settings.resource != "none" else 0.0
        )

    def temperature(self, step: int) -> float:
        """lambda, the same through an epoch."""
        first, last = self.settings.temperature, self.settings.temperature_least
        return first + (last - first) * (step // self.batches.count) / max(
            self.settings.epochs - 1, 1
        )

    def learn(self) -> dict[str, Any] | None:
        report = super().learn()
        if report is None:
            return None
        cost = (
            {}
            if self.settings.resource == "none"
            else {"resource": float((self.costs * self.probabilities()).sum())}
        )
        return report | {"temperature": self.temperature(self.step - 1)} | cost

    def initial(self, normal: np.ndarray) -> np.ndarray:
        how = self.settings.architecture
        out: np.ndarray = how.mean + how.deviation * normal
        return out

    def _step(self, step: int) -> tuple[float, float]:
        heat, gumbel = self.temperature(step), self.noise(step).gumbel(size=self.alpha.shape)
        draw = concrete(self.alpha, gumbel, heat, self.supernet.available)
        found = self.shared_weights.gradients(*self.batches.at(step), draw)
        assert found.weights is not None and found.mix is not None
        slopes = through_softmax(found.mix, draw) / heat
        if self.eta and self.settings.resource_by == "reparameterised":
            slopes += self.eta * through_softmax(self.costs, draw) / heat
        elif self.eta:
            slopes += self.eta * policy_gradient(self.costs, draw, gumbel, self.supernet.available)
        self.adam.step(
            self.alpha,
            clipped(slopes, self.settings.architecture.clip),
            self.settings.architecture.lr,
        )
        self.descend(found.weights, step)
        return found.loss, found.right


def concrete(
    logits: np.ndarray, gumbel: np.ndarray, temperature: float, there: np.ndarray
) -> np.ndarray:
    """A draw of the concrete distribution in every group, Eq. (4); 0 where there is no option."""
    return softmax((logits + gumbel) / temperature, there)


def policy_gradient(
    costs: np.ndarray, draw: np.ndarray, gumbel: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """(C(Z) - mean) * d log p(Z) / d log alpha for every group, [..., G, O]: in expectation the
    gradient of E[C(Z)] by log alpha.

    The density's terms alpha_k Z_k^-lambda are exp(-Gumbel_k) up to a factor, so that nothing
    overflows at a low temperature.
    """
    count = there.sum(-1, keepdims=True)
    spread = np.where(there, np.exp(-gumbel), 0.0)
    score = np.where(there, 1 - count * spread / spread.sum(-1, keepdims=True), 0.0)
    cost = (costs * draw).sum(-1, keepdims=True) - costs.sum(-1, keepdims=True) / count
    out: np.ndarray = cost * score
    return out


def costs(supernet: Supernet, resource: str) -> np.ndarray:
    """What every option costs in all cells together, [G, O], over the cost of an architecture drawn
    uniformly; 0 where there is none.
    """
    names = RESOURCES if resource == "all" else (resource,) if resource != "none" else ()
    out, count = np.zeros(supernet.available.shape), supernet.available.sum(1)
    for name in names:
        found = _costs(supernet, name)
        out += found / max((found.sum(1) / count).sum(), 1.0) / len(names)
    return out


def _costs(supernet: Supernet, resource: str) -> np.ndarray:
    out, network = np.zeros(supernet.available.shape), supernet.network
    for edge in (edge for node in network.nodes for edge in node.edges if edge.option is not None):
        channels, height, width = network.sizes[edge.source]
        for step in Network.primitives(edge, channels):
            out[edge.option] += _cost(step, height, width, resource)
            height, width = step.after(height, width)
    return out


def _cost(step: Primitive, height: int, width: int, resource: str) -> int:
    """Of one primitive on an input of this size.

    Activations and normalisations read and write nothing of their own.
    """
    if resource == "parameters":
        return step.parameters
    if resource == "multiply_adds":
        return step.multiply_adds(height, width)
    if step.kind in ("relu", "bn", "zero", "cut"):
        return 0
    after = step.after(height, width)
    return step.inputs * height * width + step.outputs * after[0] * after[1] + step.parameters
