"""A network as a plain loop over torch's own modules, in torch's default layout: the definition
that `module` must agree with, and what it is timed against.

No drop path and no auxiliary head. Parameters have the names that `module` gives them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoml.networks import layer_modules
from evoml.phenotypes.layers import Primitive
from evoml.phenotypes.network import Network


class FactorisedReduction(nn.Module):
    """Two strided 1x1 convolutions, the second on the input shifted by a pixel, side by side.

    One weight holds both, [outputs, inputs, 1, 1].
    """

    def __init__(self, step: Primitive) -> None:
        super().__init__()
        self.first, self.stride = step.outputs // 2, step.stride
        self.weight = nn.Parameter(torch.empty(step.outputs, step.inputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        parts = [(x, self.weight[: self.first]), (shifted, self.weight[self.first :])]
        return torch.cat(
            [
                functional.conv2d(given, weight, stride=self.stride)
                for given, weight in parts
                if len(weight)
            ],
            1,
        )


class Zero(nn.Module):
    def __init__(self, step: Primitive) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        # len(x) would be a constant to exporters
        return x.new_zeros(x.shape[0], self.step.outputs, *self.step.after(*x.shape[2:]))


class Cut(nn.Module):
    def __init__(self, step: Primitive) -> None:
        super().__init__()
        self.outputs = step.outputs

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.outputs]


def layer(step: Primitive) -> nn.Module:
    """The module of a primitive."""
    if step.module:
        return layer_modules.module(step)
    match step.kind:
        case "relu":
            return nn.ReLU()
        case "relu6":
            return nn.ReLU6()
        case "bn":
            return nn.BatchNorm2d(step.outputs)
        case "conv" | "dw":
            groups = step.inputs if step.kind == "dw" else 1
            return nn.Conv2d(
                step.inputs, step.outputs, step.kernel, step.stride, step.padding, step.dilation,
                groups=groups, bias=False,
            )  # fmt: skip
        case "max":
            return nn.MaxPool2d(step.kernel, step.stride, step.padding, ceil_mode=step.overhangs)
        case "avg":
            return nn.AvgPool2d(
                step.kernel,
                step.stride,
                step.padding,
                ceil_mode=step.overhangs,
                count_include_pad=False,
            )
        case "fr":
            return FactorisedReduction(step)
        case "zero":
            return Zero(step)
        case "cut":
            return Cut(step)
    return nn.Identity()


class ReferenceNetwork(nn.Module):
    """A network, edge after edge."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(*map(layer, network.primitives(edge, network.sizes[edge.source][0])))
                for edge in node.edges
            )
            for node in network.nodes
        )
        self.linear = nn.Linear(network.sizes[network.output][0], network.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] to class scores [N, K]."""
        values = [images]
        for node, layers, (_, height, width) in zip(
            self.network.nodes[1:], list(self.nodes)[1:], self.network.sizes[1:], strict=True
        ):
            parts = [
                padded(run(values[edge.source]), height, width)
                for edge, run in zip(node.edges, layers.children(), strict=True)
            ]
            values.append(
                torch.cat(parts, 1) if node.merge == "concat" else sum(parts[1:], start=parts[0])
            )
        return self.linear(functional.relu(values[self.network.output]).mean((2, 3)))


def padded(x: Tensor, height: int, width: int) -> Tensor:
    """Zeros at the bottom and right, up to this size."""
    return (
        x
        if x.shape[2:] == (height, width)
        else functional.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))
    )
