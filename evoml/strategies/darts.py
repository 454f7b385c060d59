"""DARTS: the architecture relaxed to weights of all operations, and those weights found by gradient
descent on the validation loss.

Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", ICLR, arXiv 1806.09055. On
every edge stand all operations, each in the proportion that a softmax over `alpha` gives it, `none`
among them. In turn `alpha` takes a step of Adam on a batch of the validation half, and the weights
one of SGD on a batch of the training half. First order takes the weights as they are; second order
asks what `alpha` does to the validation loss one step of the weights ahead.

Departures: `radius`. Between the two ends of the finite difference some ReLUs and maxima change
sides, which makes the gradient jump, and jumps over so short a way as the published one drown the
second derivative (in 64 bits as in 32: rounding is no part of it); on digits and CIFAR-10 the
published product was 1.2 to 2.8 times its own length away from the exact one, that of 0.004 of the
weights' norm 0.5 to 0.7. The validation half has batches in an order of its own; the authors begin
a new order at every step.
"""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from evoml.networks.optimisers import decayed
from evoml.networks.shared_weights import SharedWeights
from evoml.strategies import _gradient_search
from evoml.strategies._gradient_search import GradientSearch, through_softmax

PUBLISHED = 0.01  # length of the finite difference's step
Batch = tuple[np.ndarray, np.ndarray]  # images [n, H, W, C], labels [n]


class Settings(_gradient_search.Settings):
    """How DARTS trains weights and architecture."""

    order: Literal["second", "first"] = Field(
        "second", description="whether the weights' next step is looked ahead to"
    )
    epsilon: Literal["relative", "published"] = Field(
        "relative",
        description="step in the weights by which the second derivative is found: radius times the "
        "weights' norm, or of length 0.01",
    )
    radius: float = Field(0.004, gt=0, le=1, description="of epsilon = relative")


class DARTS(GradientSearch):
    """One candidate a search, as published; the authors run four and take the best."""

    example = {"epochs": 1, "batch": 8}
    settings: Settings

    def _step(self, step: int) -> tuple[float, float]:
        mix = self.probabilities()
        train, valid = self.batches.at(step), self.architecture_batches.at(step)
        if self.settings.order == "first":
            slopes = self.shared_weights.gradients(*valid, mix, of_weights=False).mix
            assert slopes is not None
        else:
            slopes = ahead(
                self.shared_weights,
                train,
                valid,
                mix,
                self.rate(step),
                self._pull(),
                self.settings.weight_decay,
                self._radius(),
            )
        self.adam.step(self.alpha, through_softmax(slopes, mix), self.settings.architecture.lr)
        found = self.shared_weights.gradients(*train, self.probabilities(), of_mix=False)
        assert found.weights is not None
        self.descend(found.weights, step)
        return found.loss, found.right

    def _pull(self) -> np.ndarray:
        """What momentum adds to the weights' next step, [P]."""
        out: np.ndarray = self.settings.momentum * self.descent.velocity
        return out

    def _radius(self) -> float:
        """Length of the finite difference's step.

        Normalisation makes the loss blind to the weights' length, so that this is what a step is
        measured by.
        """
        weights = self.shared_weights.weights[self.shared_weights.decayed].astype(np.float64)
        return (
            PUBLISHED
            if self.settings.epsilon == "published"
            else self.settings.radius * float(np.linalg.norm(weights))
        )


def ahead(
    shared_weights: SharedWeights,
    train: Batch,
    valid: Batch,
    mix: np.ndarray,
    xi: float,
    pull: np.ndarray,
    weight_decay: float,
    radius: float,
) -> np.ndarray:
    """The gradient by the mix of the validation loss one step of the weights ahead, Eqs. (7) and
    (8), [G, O].

    xi: length of that step; pull: what momentum adds to it, [P]; radius: Euclidean length of the
    finite difference's step. The step is not clipped, as published.
    """
    here = shared_weights.gradients(*train, mix, of_mix=False).weights
    assert here is not None
    unrolled = shared_weights.weights - xi * (
        pull + decayed(shared_weights.weights, here, weight_decay, shared_weights.decayed)
    )
    there = shared_weights.gradients(
        *valid, mix, weights=unrolled.astype(shared_weights.weights.dtype)
    )
    assert there.weights is not None and there.mix is not None
    return there.mix - xi * product(shared_weights, train, mix, there.weights, radius)


def product(
    shared_weights: SharedWeights,
    train: Batch,
    mix: np.ndarray,
    vector: np.ndarray,
    radius: float,
) -> np.ndarray:
    """The mixed second derivative of the training loss by mix and weights, times a vector of the
    weights' size, as a finite difference, [G, O].
    """
    length = float(np.linalg.norm(vector))
    if not length:
        return np.zeros(mix.shape)
    step = radius / length
    sides: list[Any] = [
        shared_weights.gradients(
            *train,
            mix,
            weights=(shared_weights.weights + sign * step * vector).astype(
                shared_weights.weights.dtype
            ),
            of_weights=False,
        ).mix
        for sign in (1, -1)
    ]
    out: np.ndarray = (sides[0] - sides[1]).astype(np.float64) / (2 * step)
    return out
