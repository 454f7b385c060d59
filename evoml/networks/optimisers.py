"""Optimisers on flat NumPy arrays: what torch's SGD and Adam compute, without torch. Values are
changed in place.

A mask says which values the weight decay is for; the others are still moved by their gradients.
Adam: Kingma and Ba 2015, arXiv 1412.6980, with L2 in the gradient. Cosine: Loshchilov and Hutter
2017, arXiv 1608.03983, without restarts.
"""

import math
from typing import Any

import numpy as np

State = dict[str, Any]


class Momentum:
    """SGD with momentum; Nesterov's where wanted."""

    def __init__(
        self,
        size: int | tuple[int, ...],
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
    ) -> None:
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        self.velocity = np.zeros(size)

    def step(
        self, values: np.ndarray, gradient: np.ndarray, lr: float, mask: np.ndarray | None = None
    ) -> None:
        """Move `values` against `gradient`, both of this optimiser's size, any float dtype."""
        if self.velocity.dtype != values.dtype:
            self.velocity = self.velocity.astype(values.dtype)
        gradient = decayed(values, gradient, self.weight_decay, mask)
        self.velocity *= self.momentum
        self.velocity += gradient
        values -= lr * (
            (gradient + self.momentum * self.velocity) if self.nesterov else self.velocity
        )

    def state(self) -> State:
        return {"velocity": self.velocity.copy()}

    def load(self, state: State) -> None:
        """Take over what `state` gave. Raises ValueError for another size."""
        self.velocity = _fitting(state["velocity"], self.velocity.shape)


class Adam:
    """Adam, with weight decay as L2."""

    def __init__(
        self,
        shape: int | tuple[int, ...],
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.betas, self.weight_decay, self.eps = betas, weight_decay, eps
        self.mean, self.square, self.steps = np.zeros(shape), np.zeros(shape), np.zeros(1, np.int64)

    def step(self, values: np.ndarray, gradient: np.ndarray, lr: float) -> None:
        """Move `values` against `gradient`, both of this optimiser's shape."""
        gradient = decayed(values, gradient, self.weight_decay)
        self.steps += 1
        steps, (one, two) = int(self.steps[0]), self.betas
        self.mean += (1 - one) * (gradient - self.mean)
        self.square *= two
        self.square += (1 - two) * gradient * gradient
        deviation = np.sqrt(self.square) / math.sqrt(1 - two**steps) + self.eps
        values -= lr / (1 - one**steps) * self.mean / deviation

    def state(self) -> State:
        return {"mean": self.mean.copy(), "square": self.square.copy(), "steps": self.steps.copy()}

    def load(self, state: State) -> None:
        """Take over what `state` gave. Raises ValueError for another shape."""
        mean, square = (_fitting(state[name], self.mean.shape) for name in ("mean", "square"))
        self.mean, self.square, self.steps = (
            mean,
            square,
            _fitting(state["steps"], self.steps.shape).astype(np.int64),
        )


class PartialAdam(Adam):
    """Adam for those numbers that a step involves, each with a count of its own; the others are
    left as they are, with all that is known of them.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(shape, betas, weight_decay, eps)
        self.steps = np.zeros(shape, np.int64)

    def step(
        self,
        values: np.ndarray,
        gradient: np.ndarray,
        lr: float,
        involved: np.ndarray | None = None,
    ) -> None:
        """Move `values` where `involved` (bool) says so, all of one shape; everywhere without
        it.
        """
        involved = np.ones(values.shape, bool) if involved is None else involved
        g, (one, two) = decayed(values, gradient, self.weight_decay)[involved], self.betas
        self.steps[involved] += 1
        count = self.steps[involved]
        self.mean[involved] = mean = one * self.mean[involved] + (1 - one) * g
        self.square[involved] = square = two * self.square[involved] + (1 - two) * g * g
        values[involved] -= (
            lr * mean / (1 - one**count) / (np.sqrt(square / (1 - two**count)) + self.eps)
        )


def _fitting(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    out = np.array(values)
    if out.shape != shape:
        raise ValueError(f"an optimiser's state has shape {out.shape}; it must have {shape}")
    return out


def decayed(
    values: np.ndarray, gradient: np.ndarray, weight_decay: float, mask: np.ndarray | None = None
) -> np.ndarray:
    """A gradient with that of the L2 penalty, where the mask says."""
    if not weight_decay:
        return gradient
    return gradient + weight_decay * (values if mask is None else np.where(mask, values, 0))


def clipped(gradient: np.ndarray, most: float) -> np.ndarray:
    """A gradient whose norm is at most `most`; 0: any. As torch's `clip_grad_norm_`."""
    norm = float(np.sqrt(np.sum(np.square(gradient, dtype=np.float64)))) if most else 0.0
    return gradient * min(most / (norm + 1e-6), 1.0) if norm > most else gradient


def cosine(lr: float, least: float, step: int, total: int) -> float:
    """From `lr` at step 0 to `least` at step `total`."""
    return least + (lr - least) * 0.5 * (1 + math.cos(math.pi * step / total))
