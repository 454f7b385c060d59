"""One pass of a supernet, forward and back, for one mix."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evoml.networks.cpu._supernet_kernels import (
    mixed,
    mixed_back,
    moments_of,
    separable,
    separable_back,
    sloped,
)
from evoml.networks.cpu._supernet_plan import ActivePlan, Candidate, Node, Plan, Separable
from evoml.networks.cpu._training_pass import EPSILON, STEPS, Step, TrainingPass, Weights

INFINITY = float("inf")
# the gradient of what a candidate gives is slope[0] * g + slope[1] * (value - slope[2]) + slope[3],
# slope [4, C]
DeferredGradient = tuple[Tensor, np.ndarray]


@dataclass(frozen=True)
class WeightViews:
    """The weights of a supernet, or their gradients, as the steps take them."""

    weights: Weights  # views by `<node>.<edge>.<step>`
    starts: Mapping[str, int]  # where they begin
    # of convolutions, [outputs, inputs] or [C, k*k]
    matrices: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def flat(self) -> np.ndarray:
        out: np.ndarray = self.weights.flat.numpy()
        return out


class Buffers:
    """Memory that one pass after the other writes to: fresh pages cost about as much time as what
    is written to them.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[Tensor]] = {}

    def take(self, like: Tensor, *shape: int) -> Tensor:
        numbers = math.prod(shape)
        free = self._free.get(numbers)
        return free.pop().view(shape) if free else like.new_empty(shape)

    def put(self, tensor: Tensor) -> None:
        """Take back what nobody reads any more."""
        self._free.setdefault(tensor.numel(), []).append(tensor)


class CandidateArrays:
    """What a node needs to know of its candidates in one mix, as arrays over them."""

    def __init__(
        self, candidates: tuple[Candidate, ...], channels: int, starts: Mapping[str, int]
    ) -> None:
        self.candidates, self.channels = candidates, channels
        self.normed = np.array([bool(candidate.norm) for candidate in candidates])
        first = np.array(
            [starts[candidate.norm] if candidate.norm else 0 for candidate in candidates], np.int64
        )
        # [K, C], where scales lie in the flat weights; shifts lie behind them
        self.scales = first[:, None] + np.arange(channels)
        self.options = [candidate.option for candidate in candidates]

    def amounts(self, mix: np.ndarray) -> np.ndarray:
        return np.array([1.0 if option is None else mix[option] for option in self.options])


class SupernetPass(TrainingPass):
    """Values and gradients of one pass. Tensors are [N, H, W, C]."""

    def __init__(
        self,
        plan: Plan,
        active: ActivePlan,
        candidates: dict[int, CandidateArrays],
        weight_views: WeightViews,
        mix: np.ndarray,
        buffers: Buffers,
    ) -> None:
        super().__init__(weight_views.weights, None)
        self.plan, self.active, self.weight_views, self.mix, self.candidates, self.buffers = (
            plan,
            active,
            weight_views,
            mix,
            candidates,
            buffers,
        )
        self.moments: dict[int, np.ndarray] = {}
        self.deferred: dict[int, DeferredGradient] = {}
        self._lent: set[int] = set()  # gradients in `deferred` that go back to the buffers
        self.slopes = np.zeros_like(mix)

    def needs(self, source: int) -> bool:
        return source > 0 and (self.of_weights or source in self.active.open)

    def run(self, images: Tensor, keep: bool) -> Tensor:
        """The value of the output. keep: for gradients."""
        self.values[0] = images
        self.keeps = keep
        self.like, self.images = images.new_empty(0), len(images)
        for step, done in zip(self.active.steps, self.active.done, strict=True):
            self.take(step)
            if not keep:
                self._forget(done)
        return self.values[self.plan.output]

    def take(self, step: Step) -> None:
        """One step forward."""
        if isinstance(step, Node):
            self.values[step.to] = self._node(step)
        elif isinstance(step, Separable):
            self.values[step.to] = self._separable(step)
        else:
            self.values[step.to] = STEPS[step.kind][0](
                self, step, *(self.values[source] for source in step.sources)
            )

    def back(
        self, g: Tensor, weight_views: WeightViews, of_weights: bool, wanted: np.ndarray | None
    ) -> None:
        """Gradients of the weights into `bank`, where wanted, and by the mix into `slopes`, given
        that of the output, which may be written to.
        """
        self.of_weights, self.gradients, self.into, self.wanted = (
            of_weights,
            weight_views.weights,
            weight_views,
            wanted,
        )
        if self.needs(self.plan.output):
            self.accumulate(self.plan.output, g)
        for step in reversed(self.active.steps):
            if isinstance(step, Separable):
                if step.to in self.deferred:
                    self._separable_back(step, *self.deferred.pop(step.to))
                elif step.to in self.grads:
                    self._separable_back(
                        step,
                        self.grads.pop(step.to),
                        np.repeat([[1.0], [0.0], [0.0], [0.0]], step.outputs, 1),
                    )
            elif step.to in self.grads:
                if isinstance(step, Node):
                    self._node_back(step, self.grads.pop(step.to))
                else:
                    STEPS[step.kind][1](self, step, self.grads.pop(step.to))
            self._forget([step.to])

    def _forget(self, tensors: Iterable[int]) -> None:
        for tensor in tensors:
            value = self.values.pop(tensor)
            self.kept.pop(tensor, None), self.moments.pop(tensor, None)
            if isinstance(self.plan.producers.get(tensor), Separable):
                self.buffers.put(value)

    def accumulate(self, source: int, g: Tensor, own: bool = True) -> None:
        if self.needs(source):
            super().accumulate(source, g, own)

    def moment(self, tensor: int) -> np.ndarray:
        """Mean and 1/deviation of a tensor, [2, C] float64."""
        if tensor not in self.moments:
            x = self.values[tensor]
            self.moments[tensor] = np.empty((2, x.shape[3]))
            moments_of(_rows(x), x.shape[3], EPSILON, self.moments[tensor])
        return self.moments[tensor]

    def _statistics(
        self, candidates: CandidateArrays
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean, 1/deviation, scale and shift of every candidate, [K, C]; 0, 1, 1 and 0 of one that
        is not normalised.
        """
        shape, flat = (len(candidates.candidates), candidates.channels), self.weight_views.flat
        mean, inverse, scale, shift = (
            np.zeros(shape),
            np.ones(shape),
            np.ones(shape),
            np.zeros(shape),
        )
        for k, candidate in enumerate(candidates.candidates):
            if candidate.norm:
                mean[k], inverse[k] = self.moment(candidate.tensor)
        if candidates.normed.any():
            scale[candidates.normed] = flat[candidates.scales[candidates.normed]]
            shift[candidates.normed] = flat[
                candidates.scales[candidates.normed] + candidates.channels
            ]
        return mean, inverse, scale, shift

    def _node(self, step: Node) -> Tensor:
        candidates = self.candidates[step.to]
        if not candidates.candidates:
            return self._nothing(step)
        parts = [self.values[candidate.tensor] for candidate in candidates.candidates]
        mean, inverse, scale, shift = self._statistics(candidates)
        amounts = candidates.amounts(self.mix)[:, None]
        factors = amounts * scale * inverse
        out = torch.empty_like(parts[0])
        mixed(_addresses(parts), factors, (amounts * shift - factors * mean).sum(0), _rows(out))
        return out

    def _nothing(self, step: Node) -> Tensor:
        """Zeros of the size that any candidate would have had."""
        channels, height, width = self.plan.sizes[step.to]
        return self.like.new_zeros(self.images, height, width, channels)

    def _node_back(self, step: Node, g: Tensor) -> None:
        candidates = self.candidates[step.to]
        if self.wanted is not None:
            self._wanted(step, g)
        if not candidates.candidates:
            return
        parts = [self.values[candidate.tensor] for candidate in candidates.candidates]
        mean, inverse, scale, shift = self._statistics(candidates)
        sums, products = np.empty(candidates.channels), np.empty(mean.shape)
        mixed_back(_rows(g), _addresses(parts), mean, sums, products)
        amounts = candidates.amounts(self.mix)[:, None]
        found = (scale * inverse * products + shift * sums).sum(1)
        for option, value in zip(candidates.options, found, strict=True):
            if option is not None:
                self.slopes[option] += value
        if self.of_weights:
            flat, normed = self.into.flat, candidates.normed
            flat[candidates.scales[normed]] = (amounts * inverse * products)[normed]
            flat[candidates.scales[normed] + candidates.channels] = (amounts * sums)[normed]
        slopes = _normal_slopes(
            amounts * scale * inverse,
            inverse,
            mean,
            sums,
            products,
            g.numel() // candidates.channels,
        )
        slopes[~candidates.normed, 1] = slopes[~candidates.normed, 3] = 0
        for candidate, part, slope in zip(candidates.candidates, parts, slopes, strict=True):
            self._pass_on(candidate.tensor, part, g, slope)

    def _pass_on(self, tensor: int, value: Tensor, g: Tensor, slope: np.ndarray) -> None:
        """The gradient of what a candidate gave: as it is to a separable convolution, else added to
        what the tensor has.
        """
        if not self.needs(tensor):
            return
        if tensor in self.plan.alone:
            self.deferred[tensor] = g, slope
            return
        more = tensor in self.grads
        sloped(_rows(g), _rows(value), slope, more, _rows(self._target(tensor, value)))

    def _target(self, tensor: int, like: Tensor) -> Tensor:
        """The gradient of a tensor, to be written to; new where there is none."""
        if tensor not in self.grads:
            self.grads[tensor] = torch.empty_like(like)
            self._own.add(tensor)
        elif tensor not in self._own:
            self.grads[tensor] = self.grads[tensor].clone()
            self._own.add(tensor)
        return self.grads[tensor]

    def _wanted(self, step: Node, g: Tensor) -> None:
        """The gradient by amounts of candidates that are not in the mix: each is computed now, and
        forgotten.
        """
        for candidate in step.candidates:
            if (
                candidate.option is None
                or self.mix[candidate.option]
                or not self.wanted[candidate.option]  # type: ignore[index]
            ):
                continue
            new = []
            for each in (self.plan.steps[index] for index in candidate.chain):
                if each.to not in self.values:
                    new.append(each.to)
                    self.take(each)
            candidates = CandidateArrays((candidate,), g.shape[3], self.weight_views.starts)
            mean, inverse, scale, shift = self._statistics(candidates)
            sums, products = np.empty(candidates.channels), np.empty(mean.shape)
            mixed_back(_rows(g), _addresses([self.values[candidate.tensor]]), mean, sums, products)
            self.slopes[candidate.option] += float(
                (scale * inverse * products + shift * sums).sum()
            )
            self._forget(new)

    def _prologue(
        self, step: Separable, channels: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
        """What stands before a separable convolution: scale and shift of the input, its mean,
        1/deviation, and the ReLU's limit.
        """
        least = 0.0 if step.rectified else -INFINITY
        if not step.norm:
            return (
                np.ones(channels),
                np.zeros(channels),
                np.zeros(channels),
                np.ones(channels),
                least,
            )
        mean, inverse = self.moment(step.sources[0])
        start = self.weight_views.starts[step.norm]
        scale = self.weight_views.flat[start : start + channels] * inverse
        return (
            scale,
            self.weight_views.flat[start + channels : start + 2 * channels] - mean * scale,
            mean,
            inverse,
            least,
        )

    def _separable(self, step: Separable) -> Tensor:
        x, p = self.values[step.sources[0]], step.primitive
        out = self.buffers.take(x, len(x), *p.after(*x.shape[1:3]), step.outputs)
        scale, shift, _, _, least = self._prologue(step, x.shape[3])
        moments = np.empty((2, step.outputs))
        matrices = self.weight_views.matrices
        separable(
            x.numpy(), scale, shift, least, matrices[step.weight], matrices[step.wide], p.kernel[0],
            p.dilation, p.stride[0], EPSILON, out.numpy(), moments,
        )  # fmt: skip
        self.moments[step.to] = moments
        return out

    def _separable_back(self, step: Separable, g: Tensor, slope: np.ndarray) -> None:
        x, p, source = self.values[step.sources[0]], step.primitive, step.sources[0]
        channels, of_input = x.shape[3], self.needs(source)
        if not of_input and not self.of_weights:
            return
        scale, shift, mean, inverse, least = self._prologue(step, channels)
        lazily = bool(step.norm)
        to_x = (
            x
            if not of_input
            else self.buffers.take(x, *x.shape)
            if lazily
            else self._started(source, x)
        )
        matrices, into, sums = (
            self.weight_views.matrices,
            self.into.matrices,
            np.empty((2, channels)),
        )
        separable_back(
            g.numpy(), self.values[step.to].numpy(), slope, x.numpy(), scale, shift, least,
            matrices[step.weight], matrices[step.wide], p.kernel[0], p.dilation, p.stride[0],
            self.of_weights, into[step.weight], into[step.wide], of_input, not lazily, mean,
            to_x.numpy(), sums,
        )  # fmt: skip
        if id(g) in self._lent:
            self._lent.discard(id(g))
            self.buffers.put(g)
        if not lazily or not of_input:
            return
        if self.of_weights:
            start = self.weight_views.starts[step.norm]
            self.into.flat[start : start + 2 * channels] = np.concatenate(
                [inverse * sums[1], sums[0]]
            )
        self._pass_on(
            source,
            x,
            to_x,
            _normal_slopes(scale, inverse, mean, sums[0], sums[1], x.numel() // channels),
        )
        if source in self.deferred:
            self._lent.add(id(to_x))
        else:
            self.buffers.put(to_x)

    def _started(self, tensor: int, like: Tensor) -> Tensor:
        """The gradient of a tensor, to be added to."""
        if tensor not in self.grads:
            return self._target(tensor, like).zero_()
        return self._target(tensor, like)


def _normal_slopes(
    factor: np.ndarray,
    inverse: np.ndarray,
    mean: np.ndarray,
    sums: np.ndarray,
    products: np.ndarray,
    count: int,
) -> np.ndarray:
    """How a normalisation's input follows from the gradient behind it, [..., 4, C]: see
    `DeferredGradient`.

    factor: scale times 1/deviation.
    """
    slope = -factor * inverse * inverse * products / count
    return np.stack([factor, slope, mean, -factor * sums / count], -2)


def _addresses(parts: list[Tensor]) -> np.ndarray:
    return np.array([part.data_ptr() for part in parts], np.int64)


def _rows(x: Tensor) -> Any:
    """[N, H, W, C] as an array [N * H, W * C]."""
    return x.view(x.shape[0] * x.shape[1], -1).numpy()
