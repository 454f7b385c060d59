"""One torch module that runs any `Network`: with a scheduled drop path and an auxiliary head, in the layout and order that is fastest on a CPU.

What it computes is what `plain` computes. ScheduledDropPath: Zoph et al. 2018 (NASNet), arXiv 1707.07012, in its later form, where the chance to drop a path
grows with depth and with the step. The auxiliary head is theirs with pooling to 2x2 at any image size. Weights start after He et al. 2015, arXiv 1502.01852.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from evoml.layers import Primitive
from evoml.network import Edge, Network
from evoml.networks._depthwise import weight_gradient
from evoml.networks.plain import layer, padded


class Module(nn.Module):
    """Images [N, C, H, W] to class scores. Parameters are named `nodes.<node>.<edge>.<step>.weight`, as in `plain.Plain`."""

    def __init__(self, network: Network, generator: torch.Generator | None = None, drop_path_keep: float = 1.0) -> None:
        """`generator` draws the initial weights and, in training, the paths that are dropped; without one both are the same for every module."""
        super().__init__()
        self.network, self.keep, self.progress = network, drop_path_keep, 0.0
        self.generator = generator or torch.Generator().manual_seed(0)
        channels = [size[0] for size in network.sizes]
        with nn.utils.skip_init_context() if hasattr(nn.utils, "skip_init_context") else torch.random.fork_rng(devices=[]):
            self.nodes = nn.ModuleList(
                nn.ModuleList(nn.Sequential(*map(layer, network.primitives(edge, channels[edge.source]))) for edge in node.edges)
                for node in network.nodes
            )
            self.linear = nn.Linear(channels[network.output], network.classes)
            self.auxiliary = Auxiliary(network) if network.auxiliary >= 0 else None
        initialise(self, self.generator)
        for node, layers in zip(network.nodes, self.nodes, strict=True):
            for edge, steps in zip(node.edges, layers, strict=True):
                for step, primitive in zip(steps, network.primitives(edge, channels[edge.source]), strict=True):
                    step.primitive = primitive
        self.to(memory_format=torch.channels_last)
        self._plan = [list(zip(node.edges, map(list, layers))) for node, layers in zip(network.nodes, self.nodes, strict=True)]
        self._dropped = [edge for node in network.nodes for edge in node.edges if edge.depth > 0 and not _is_identity(network, edge)]

    def set_progress(self, share: float) -> None:
        """How far training is, 0 to 1: the chance to drop a path grows with it."""
        self.progress = share

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Class scores [N, K] of the output, and of the auxiliary head in training where there is one."""
        values, rectified = [images], {}
        scale = self._paths(len(images)) if self.training else {}
        for node, edges, (_, height, width) in zip(self.network.nodes[1:], self._plan[1:], self.network.sizes[1:], strict=True):
            parts = []
            for edge, steps in edges:
                x = values[edge.source]
                if isinstance(steps[0], nn.ReLU):
                    if edge.source not in rectified:
                        rectified[edge.source] = functional.relu(x)
                    x = rectified[edge.source]
                    steps = steps[1:]
                for step in steps:
                    x = apply(step, x)
                if id(edge) in scale:
                    x = x * scale[id(edge)]
                parts.append(padded(x, height, width))
            values.append(torch.cat(parts, 1) if node.merge == "concat" else sum(parts[1:], start=parts[0]))
        logits = self.linear(functional.relu(values[self.network.output]).mean((2, 3)))
        side = self.auxiliary(values[self.network.auxiliary]) if self.training and self.auxiliary is not None else None
        return logits, side

    def _paths(self, images: int) -> dict[int, Tensor]:
        """For every path that may be dropped, 0 or 1/keep an image, [N, 1, 1, 1]."""
        if self.keep == 1 or not self._dropped or not self.progress:
            return {}
        device = self.linear.weight.device
        keep = 1 - (1 - self.keep) * self.progress * torch.tensor([edge.depth for edge in self._dropped])[:, None]
        drawn = torch.rand(len(self._dropped), images, generator=self.generator)
        scale = ((drawn < keep) / keep).to(device)[:, :, None, None, None]
        return {id(edge): scale[index] for index, edge in enumerate(self._dropped)}


def apply(step: nn.Module, x: Tensor) -> Tensor:
    p = getattr(step, "primitive", None)
    if p is not None and p.kind == "dw" and (p.kernel != (3, 3) or p.dilation > 1) and x.device.type == "cpu" and torch.is_grad_enabled():
        return Depthwise.apply(x, step.weight, p)
    if PW and p is not None and p.kind == "conv" and p.kernel == (1, 1) and p.stride == (1, 1) and x.shape[2]*x.shape[3] <= PW:
        return functional.linear(x.permute(0, 2, 3, 1), step.weight[:, :, 0, 0]).permute(0, 3, 1, 2)
    return step(x)

import os
PW=int(os.environ.get("PW","0"))

class Depthwise(torch.autograd.Function):
    """A depthwise convolution on a CPU, with a quicker gradient where oneDNN has none of its own: for large or dilated kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, step: Primitive) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        ctx.step = step
        return functional.conv2d(x, weight, None, step.stride, step.padding, step.dilation, step.inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        (x, weight), step, g = ctx.saved_tensors, ctx.step, grads[0]
        spread = g
        if step.stride != (1, 1):
            spread = torch.zeros_like(x)
            spread[:, :, :: step.stride[0], :: step.stride[1]] = g
        to_x = functional.conv2d(spread, weight.flip(2, 3), None, 1, step.padding, step.dilation, step.inputs)
        to_weight = torch.empty(step.kernel[0] * step.kernel[1], step.inputs)
        weight_gradient(_rows(x), _rows(g), step.kernel, step.stride, step.dilation, step.padding, to_weight.numpy())
        return to_x, to_weight.t().reshape(weight.shape), None


def _rows(x: Tensor) -> np.ndarray:
    """[N, C, H, W] as [N, H, W * C]."""
    return x.detach().permute(0, 2, 3, 1).flatten(2).contiguous().numpy()


class Auxiliary(nn.Module):
    """Class scores from a node in the middle: pooled to 2x2, 128 then 768 channels."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        channels, height, width = network.sizes[network.auxiliary]
        self.kernel = (height - height // 2, width - width // 2)
        self.stride = (max(height // 2, 1), max(width // 2, 1))
        self.narrow, self.narrow_bn = nn.Conv2d(channels, 128, 1, bias=False), nn.BatchNorm2d(128)
        self.wide = nn.Conv2d(128, 768, (min(height, 2), min(width, 2)), bias=False)
        self.wide_bn, self.linear = nn.BatchNorm2d(768), nn.Linear(768, network.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(functional.relu(x), self.kernel, self.stride)
        x = functional.relu(self.narrow_bn(self.narrow(x)))
        return self.linear(functional.relu(self.wide_bn(self.wide(x))).flatten(1))


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Normal weights of deviation sqrt(2 / inputs) for what a ReLU follows, sqrt(1 / inputs) for linear layers; normalisation to scale 1 and shift 0."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.dim() < 2:
                value.fill_(float(name.endswith("weight")))
            else:
                gain = 2.0 if value.dim() == 4 else 1.0
                value.normal_(0.0, math.sqrt(gain / value[0].numel()), generator=generator)


def _is_identity(network: Network, edge: Edge) -> bool:
    steps: Sequence = network.primitives(edge, network.sizes[edge.source][0])
    return [step.kind for step in steps] == ["id"]
