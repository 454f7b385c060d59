"""One training pass of a network on a CPU, forward and back, without torch's autograd in between.

A network's edges become a list of steps on numbered tensors. Each step is a row of `STEPS`: what it
computes and what its gradient is. Steps without weights that read the same tensor (ReLU, pooling)
are computed once for all edges, a ReLU behind a normalisation in the same pass over memory. Tensors
lie as [N, H, W, C].
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evoml.networks.cpu._training_kernels import depthwise_backward, normalise, normalise_backward
from evoml.networks.layer_modules import Kept
from evoml.phenotypes.layers import Primitive, layer_row
from evoml.phenotypes.network import Network

MOMENTUM, EPSILON = 0.1, 1e-5  # of batch normalisation
# of a whole batch, up to which a matrix product is quicker than oneDNN's 1x1 convolution
_FEW_PIXELS = 8192
_aten = torch.ops.aten


_NONE = Primitive("id", 0, 0)


@dataclass(frozen=True)
class Step:
    """One step: reads tensors, writes tensor `to`."""

    kind: str  # a key of STEPS
    sources: tuple[int, ...]
    to: int
    primitive: Primitive = _NONE
    weight: str = ""  # the name of its weights: `<node>.<edge>.<step>`
    size: tuple[int, int] = (0, 0)  # that `pad` gives
    rectified: bool = False  # a ReLU follows, in a `bn`
    path: int = -1  # which row of the scales is a `drop`'s


@dataclass(frozen=True)
class Plan:
    """The steps of a network, and which tensors are its nodes."""

    steps: tuple[Step, ...]
    nodes: tuple[int, ...]
    paths: tuple[float, ...]  # depth of every path that may be dropped

    @cached_property
    def done(self) -> tuple[tuple[int, ...], ...]:
        """For every step, the tensors that no later step reads."""
        last = {source: index for index, step in enumerate(self.steps) for source in step.sources}
        return tuple(
            tuple(source for source in set(step.sources) if last[source] == index)
            for index, step in enumerate(self.steps)
        )

    @cached_property
    def folds(self) -> frozenset[int]:
        """Results of convolutions that the next step normalises, and nothing else reads."""
        return frozenset(
            step.to
            for step, following in pairwise(self.steps)
            if step.kind in ("conv", "dw", "fr")
            and following.kind == "bn"
            and following.sources == (step.to,)
            and step.to not in self.nodes
        )


def step_kind(primitive: Primitive) -> str:
    """The kind of the step that computes a primitive: `function` is a module without weights."""
    if not primitive.module:
        return primitive.kind
    return "module" if primitive.parameters else "function"


def plan(network: Network, drop: bool) -> Plan:
    """The steps of `network`. drop: whether paths may be dropped."""
    steps: list[Step] = []
    known: dict[Any, int] = {}
    nodes, count = [0], 1
    paths: list[float] = []

    def add(kind: str, sources: tuple[int, ...], **how: Any) -> int:
        nonlocal count
        key = (
            (kind, sources, how.get("primitive"), how.get("size"))
            if kind in ("relu", "relu6", "max", "avg", "pad", "zero", "function")
            else None
        )
        if key is None or key not in known:
            steps.append(Step(kind, sources, count, **how))
            known[key], count = count, count + 1
        return known[key]

    for number, node in enumerate(network.nodes[1:], 1):
        parts = []
        for which, edge in enumerate(node.edges):
            at, height, width = nodes[edge.source], *network.sizes[edge.source][1:]
            primitives = network.primitives(edge, network.sizes[edge.source][0])
            for place, primitive in enumerate(primitives):
                if primitive.kind == "relu" and place and primitives[place - 1].kind == "bn":
                    steps[-1] = replace(steps[-1], rectified=True)
                elif primitive.kind != "id":
                    shown = (
                        replace(primitive, inputs=0, outputs=0)
                        if primitive.kind in ("relu", "relu6", "max", "avg")
                        else primitive
                    )
                    weight = f"{number}.{which}.{place}"
                    at = add(step_kind(primitive), (at,), primitive=shown, weight=weight)
                height, width = primitive.after(height, width)
            if (
                drop
                and edge.depth > 0
                and not layer_row(edge.layer).kept
                and any(each.kind not in ("id", "zero") for each in primitives)
            ):
                at = add("drop", (at,), path=len(paths))
                paths.append(edge.depth)
            if (height, width) != network.sizes[number][1:]:
                at = add("pad", (at,), size=network.sizes[number][1:])
            parts.append(at)
        nodes.append(parts[0] if len(parts) == 1 else add(node.merge, tuple(parts)))
    return Plan(tuple(steps), tuple(nodes), tuple(paths))


@dataclass(frozen=True)
class Weights:
    """All weights, or their gradients: views of one flat tensor by name, `<node>.<edge>.<step>`."""

    flat: Tensor
    views: Mapping[str, Tensor]
    moments: Mapping[str, np.ndarray]  # running mean and variance of normalisations, [2, C]
    arrays: Mapping[str, np.ndarray] = field(init=False)  # the views for compiled code

    def __post_init__(self) -> None:
        object.__setattr__(
            self,
            "arrays",
            {
                name: view.flatten(1).numpy()
                for name, view in self.views.items()
                if view.dim() == 2 or (view.dim() == 4 and view.shape[1] == 1)
            },
        )


class TrainingPass:
    """Values and gradients of one pass."""

    def __init__(self, weights: Weights, scales: Tensor | None) -> None:
        self.weights, self.scales = weights, scales
        self.values: dict[int, Tensor] = {}
        self.kept: dict[int, Any] = {}
        self.grads: dict[int, Tensor] = {}
        self._own: set[int] = set()
        self.of_weights = True  # whether gradients of weights are wanted
        self.keeps = True  # whether a way back follows

    def needs(self, source: int) -> bool:
        """Whether the gradient of a tensor is wanted: not of the images."""
        return source > 0

    def forward(self, steps: Sequence[Step], images: Tensor) -> None:
        self.values[0] = images
        for step in steps:
            self.values[step.to] = STEPS[step.kind][0](
                self, step, *(self.values[source] for source in step.sources)
            )

    def backward(self, steps: Sequence[Step], gradients: Weights) -> None:
        """Fill `gradients`, given `grads` of what the loss reads."""
        self.gradients = gradients
        for step in reversed(steps):
            g = self.grads.pop(step.to, None)
            if g is not None:
                STEPS[step.kind][1](self, step, g)
            self.values.pop(step.to)

    def accumulate(self, source: int, g: Tensor, own: bool = True) -> None:
        """Add to the gradient of a tensor.

        own: nobody else reads `g`, so that it may be written to.
        """
        if source not in self.grads:
            self.grads[source] = g
            (self._own.add if own else self._own.discard)(source)
        elif source in self._own:
            self.grads[source].add_(g)
        else:
            self.grads[source] = self.grads[source] + g
            self._own.add(source)


def _relu(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return x.clamp_min(0)


def _relu_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    run.accumulate(step.sources[0], _aten.threshold_backward(g, run.values[step.to], 0))


def _relu6(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def _relu6_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    run.accumulate(step.sources[0], _aten.hardtanh_backward(g, run.values[step.to], 0, 6))


def _rows(x: Tensor) -> Any:
    """[N, H, W, C] as an array [N * H, W * C]."""
    return x.view(x.shape[0] * x.shape[1], -1).numpy()


def _bn(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    parameters, out = run.weights.arrays[step.weight], torch.empty_like(x)
    moments = np.empty_like(parameters)
    normalise(
        _rows(x),
        parameters,
        run.weights.moments[step.weight],
        MOMENTUM,
        EPSILON,
        step.rectified,
        _rows(out),
        moments,
    )
    run.kept[step.to] = moments
    return out


def _bn_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    x, out, to = run.values[step.sources[0]], run.values[step.to], torch.empty_like(g)
    parameters, to_parameters = run.weights.arrays[step.weight], run.gradients.arrays[step.weight]
    normalise_backward(
        _rows(g),
        _rows(x),
        _rows(out),
        parameters,
        run.kept[step.to],
        step.rectified,
        _rows(to),
        to_parameters,
    )
    run.accumulate(step.sources[0], to)


def _convolve(x: Tensor, weight: Tensor, step: Primitive, groups: int = 1) -> Tensor:
    return (
        torch.conv2d(
            x.permute(0, 3, 1, 2), weight, None, step.stride, step.padding, step.dilation, groups
        )
        .permute(0, 2, 3, 1)
        .contiguous()
    )


def _conv(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    p, weight = step.primitive, run.weights.views[step.weight]
    if _is_product(p, x):
        return (x.view(-1, p.inputs) @ weight.view(p.outputs, p.inputs).t()).view(
            *x.shape[:3], p.outputs
        )
    return _convolve(x, weight, p)


def _conv_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    p, weight, x, source = (
        step.primitive,
        run.weights.views[step.weight],
        run.values[step.sources[0]],
        step.sources[0],
    )
    to_weight = run.gradients.views[step.weight]
    if _is_product(p, x):
        flat = g.view(-1, p.outputs)
        if run.of_weights:
            torch.mm(flat.t(), x.view(-1, p.inputs), out=to_weight.view(p.outputs, p.inputs))
        if run.needs(source):
            run.accumulate(source, (flat @ weight.view(p.outputs, p.inputs)).view(x.shape))
        return
    if run.of_weights and _skips_pixels(p):
        seen = x[:, :: p.stride[0], :: p.stride[1]].contiguous()
        found = _backward(replace(p, stride=(1, 1)), g, seen, weight, (False, True))[1]
        to_x = _backward(p, g, x, weight, (True, False))[0] if run.needs(source) else found
    else:
        to_x, found = _backward(p, g, x, weight, (run.needs(source), run.of_weights))
    if run.of_weights:
        to_weight.copy_(found)
    if run.needs(source):
        run.accumulate(source, to_x.permute(0, 2, 3, 1).contiguous())


def _backward(
    p: Primitive, g: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Gradients of a convolution's input [N, C, H, W] and weights, those that are wanted."""
    to_x, to_weight, _ = _aten.convolution_backward(
        g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), weight, None, p.stride, p.padding,
        (p.dilation, p.dilation), False, (0, 0), 1, (*wanted, False),
    )  # fmt: skip
    return to_x, to_weight


def _skips_pixels(p: Primitive) -> bool:
    """Whether a convolution reads a pixel of every so many and few channels.

    For the gradient of such weights, oneDNN writes beyond its memory on processors without AVX-512
    (torch 2.13), so it is given the pixels that are read.
    """
    return p.kernel == (1, 1) and p.stride != (1, 1) and p.inputs < 8


def _is_product(p: Primitive, x: Tensor) -> bool:
    return (
        p.kernel == (1, 1)
        and p.stride == (1, 1)
        and x.shape[0] * x.shape[1] * x.shape[2] <= _FEW_PIXELS
    )


def _dw(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return _convolve(x, run.weights.views[step.weight], step.primitive, step.primitive.inputs)


def _dw_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    p, weight, x, source = (
        step.primitive,
        run.weights.views[step.weight],
        run.values[step.sources[0]],
        step.sources[0],
    )
    to_weight = run.gradients.views[step.weight]
    large = x.shape[0] * x.shape[1] * x.shape[2] > _FEW_PIXELS
    if not run.of_weights:
        pass
    elif large and p.kernel == (3, 3) and p.dilation == 1:  # where oneDNN has a quick one
        found = _aten.convolution_backward(
            g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), weight, None, p.stride, p.padding, (1, 1),
            False, (0, 0), p.inputs, (False, True, False),
        )[1]  # fmt: skip
        to_weight.copy_(found)
    else:
        rows, grads = x.view(*x.shape[:2], -1).numpy(), g.view(*g.shape[:2], -1).numpy()
        depthwise_backward(
            rows,
            grads,
            p.kernel,
            p.stride,
            p.dilation,
            p.padding,
            run.gradients.arrays[step.weight],
        )
    if run.needs(source):
        if p.stride != (1, 1):
            g, spread = torch.zeros_like(x), g
            g[:, :: p.stride[0], :: p.stride[1]] = spread
        run.accumulate(source, _convolve(g, weight.flip(2, 3), replace(p, stride=(1, 1)), p.inputs))


def halves(p: Primitive) -> list[tuple[int, slice]]:
    """Of a factorised reduction: the shift in pixels, and which outputs."""
    half = p.outputs // 2
    return [
        (shift, part)
        for shift, part in ((0, slice(0, half)), (1, slice(half, p.outputs)))
        if part.stop > part.start
    ]


def _every(x: Tensor, shift: int, p: Primitive) -> Tensor:
    """Every stride-th pixel, zeros where the shift goes beyond the border."""
    part = x[:, shift :: p.stride[0], shift :: p.stride[1]]
    height, width = p.after(x.shape[1], x.shape[2])
    return functional.pad(
        part, (0, 0, 0, width - part.shape[2], 0, height - part.shape[1])
    ).contiguous()


def _fr(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    p, weight = step.primitive, run.weights.views[step.weight]
    run.kept[step.to] = [_every(x, shift, p) for shift, _ in halves(p)]
    pairs = zip(run.kept[step.to], halves(p), strict=True)
    return torch.cat(
        [part @ weight.view(p.outputs, p.inputs)[at].t() for part, (_, at) in pairs], 3
    )


def _fr_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    p, weight, to_weight = (
        step.primitive,
        run.weights.views[step.weight],
        run.gradients.views[step.weight],
    )
    to_x = torch.zeros_like(run.values[step.sources[0]])
    for part, (shift, at) in zip(run.kept[step.to], halves(p), strict=True):
        flat = g[..., at].reshape(-1, at.stop - at.start)
        if run.of_weights:
            to_weight.view(p.outputs, p.inputs)[at] = flat.t() @ part.view(-1, p.inputs)
        to = to_x[:, shift :: p.stride[0], shift :: p.stride[1]]
        to += (flat @ weight.view(p.outputs, p.inputs)[at]).view(*g.shape[:3], -1)[
            :, : to.shape[1], : to.shape[2]
        ]
    run.accumulate(step.sources[0], to_x)


def _max(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    out, where = _aten.max_pool2d_with_indices(
        x.permute(0, 3, 1, 2), *_window(step.primitive), (1, 1), step.primitive.overhangs
    )
    run.kept[step.to] = where
    return out.permute(0, 2, 3, 1).contiguous()


def _max_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    x, p = run.values[step.sources[0]], step.primitive
    to_x = _aten.max_pool2d_with_indices_backward(
        g.permute(0, 3, 1, 2),
        x.permute(0, 3, 1, 2),
        *_window(p),
        (1, 1),
        p.overhangs,
        run.kept[step.to],
    )
    run.accumulate(step.sources[0], to_x.permute(0, 2, 3, 1).contiguous())


def _avg(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    out: Tensor = _aten.avg_pool2d(
        x.permute(0, 3, 1, 2), *_window(step.primitive), step.primitive.overhangs, False
    )
    return out.permute(0, 2, 3, 1).contiguous()


def _avg_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    x, p = run.values[step.sources[0]], step.primitive
    to_x = _aten.avg_pool2d_backward(
        g.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2), *_window(p), p.overhangs, False, None
    )
    run.accumulate(step.sources[0], to_x.permute(0, 2, 3, 1).contiguous())


def _window(p: Primitive) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    return p.kernel, p.stride, p.padding


def _zero(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return x.new_zeros(
        len(x), *step.primitive.after(x.shape[1], x.shape[2]), step.primitive.outputs
    )


def _cut(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return x[..., : step.primitive.outputs].contiguous()


def _cut_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    run.accumulate(
        step.sources[0], functional.pad(g, (0, step.primitive.inputs - step.primitive.outputs))
    )


def _drop(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return x if run.scales is None else x * run.scales[step.path, :, None, None, None]


def _drop_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    run.accumulate(
        step.sources[0],
        g if run.scales is None else g * run.scales[step.path, :, None, None, None],
        run.scales is not None,
    )


def _pad(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    return functional.pad(x, (0, 0, 0, step.size[1] - x.shape[2], 0, step.size[0] - x.shape[1]))


def _pad_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    _, height, width, _ = run.values[step.sources[0]].shape
    run.accumulate(step.sources[0], g[:, :height, :width].contiguous())


def _add(run: TrainingPass, step: Step, *parts: Tensor) -> Tensor:
    out = parts[0] + parts[1]
    for part in parts[2:]:
        out += part
    return out


def _add_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    for source in step.sources:
        run.accumulate(source, g, False)


def _concat(run: TrainingPass, step: Step, *parts: Tensor) -> Tensor:
    return torch.cat(parts, 3)


def _concat_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    widths = [run.values[source].shape[3] for source in step.sources]
    for source, part in zip(step.sources, g.split(widths, 3), strict=True):
        run.accumulate(source, part.contiguous())


def _module(run: TrainingPass, step: Step, x: Tensor) -> Tensor:
    kept = Kept(step.primitive, run.weights.views.get(step.weight), x)
    if run.keeps:
        run.kept[step.to] = kept
    return kept.value


def _module_back(run: TrainingPass, step: Step, g: Tensor) -> None:
    to_x, to_weights = run.kept[step.to].back(g)
    if to_weights is not None and run.of_weights:
        run.gradients.views[step.weight].copy_(to_weights)
    run.accumulate(step.sources[0], to_x)


STEPS: dict[str, tuple[Callable[..., Tensor], Callable[[TrainingPass, Step, Tensor], None]]] = {
    "relu": (_relu, _relu_back), "relu6": (_relu6, _relu6_back), "bn": (_bn, _bn_back),
    "conv": (_conv, _conv_back), "dw": (_dw, _dw_back), "fr": (_fr, _fr_back),
    "max": (_max, _max_back), "avg": (_avg, _avg_back), "zero": (_zero, lambda run, step, g: None),
    "drop": (_drop, _drop_back), "cut": (_cut, _cut_back), "pad": (_pad, _pad_back),
    "add": (_add, _add_back), "concat": (_concat, _concat_back),
    "module": (_module, _module_back), "function": (_module, _module_back),
}  # fmt: skip


class Train(torch.autograd.Function):
    """A pass as one operation of torch's autograd: flat weights and images to the values of some
    nodes, [N, C, H, W] each.
    """

    @staticmethod
    def forward(
        ctx: Any, flat: Tensor, images: Tensor, plan: Plan, nodes: Sequence[int], weights: Weights,
        gradients: Weights, scales: Tensor | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        run = TrainingPass(weights, scales)
        run.forward(plan.steps, images.permute(0, 2, 3, 1).contiguous())
        ctx.run, ctx.plan, ctx.gradients, ctx.at = (
            run,
            plan,
            gradients,
            [plan.nodes[node] for node in nodes],
        )
        return tuple(run.values[at].permute(0, 3, 1, 2) for at in ctx.at)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.gradients.flat.zero_()
        for at, g in zip(ctx.at, grads, strict=True):
            ctx.run.accumulate(at, g.permute(0, 2, 3, 1).contiguous(), False)
        ctx.run.backward(ctx.plan.steps, ctx.gradients)
        return ctx.gradients.flat.clone(), None, None, None, None, None, None
