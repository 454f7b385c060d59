"""DARTS in torch as its authors structure it: one module a candidate and edge, and a fresh model
for the unrolled step.

Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", ICLR, arXiv 1806.09055. The
definition that `supernet` must agree with, and what it is timed against. Normalisations are those
of the batch; only the one behind the image has a scale and a shift, unless `affine` says that all
have.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoml.networks import reference
from evoml.phenotypes.layers import Primitive
from evoml.phenotypes.network import Edge, Supernet

Batch = tuple[Tensor, Tensor]  # images [N, C, H, W], labels [N]


class Nothing(nn.Module):
    """The option `none`."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x.mul(0.0) if self.stride == 1 else x[:, :, :: self.stride, :: self.stride].mul(0.0)


class Candidates(nn.Module):
    """All options of one group between two nodes, or a single layer that is always there."""

    def __init__(
        self, supernet: Supernet, edges: dict[int, Edge], size: tuple[int, int], affine: bool
    ) -> None:
        super().__init__()
        some, self.size = next(iter(edges.values())), size
        self.source, self.group, network = (
            some.source,
            -1 if some.option is None else some.option[0],
            supernet.network,
        )
        self.names = list(edges)
        self.options = [0 if edge.option is None else edge.option[1] for edge in edges.values()]
        inputs, height, width = network.sizes[some.source]
        self.layers = nn.ModuleList(
            nn.Sequential(
                *(
                    layer(step, affine or not edge.source)
                    for step in network.primitives(edge, inputs)
                )
            )
            for edge in edges.values()
        )
        labels = () if self.group < 0 else supernet.groups[self.group].options
        if (
            "none" in labels
            and inputs == some.channels
            and not (some.stride > 1 and (height % some.stride or width % some.stride))
        ):
            self.options.append(labels.index("none"))
            self.layers.append(Nothing(some.stride))

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        if self.group < 0:
            out: Tensor = self.layers[0](x)
            return out
        parts = [
            mix[self.group, option] * reference.padded(run(x), *self.size)
            for option, run in zip(self.options, self.layers, strict=True)
        ]
        return sum(parts[1:], start=parts[0])


def layer(step: Primitive, affine: bool) -> nn.Module:
    """The module of a primitive."""
    return (
        nn.BatchNorm2d(step.outputs, affine=affine) if step.kind == "bn" else reference.layer(step)
    )


class ReferenceSupernet(nn.Module):
    """Images [N, C, H, W] and how much there is of every option [G, O] to class scores [N, K]."""

    def __init__(self, supernet: Supernet, affine: bool = False) -> None:
        super().__init__()
        self.supernet, self.affine = supernet, affine
        self.nodes = nn.ModuleList()
        for node, (_, height, width) in zip(
            supernet.network.nodes, supernet.network.sizes, strict=True
        ):
            gathered: dict[Any, dict[int, Edge]] = {}
            for which, edge in enumerate(node.edges):
                key = which if edge.option is None else (edge.source, edge.option[0], edge.stride)
                gathered.setdefault(key, {})[which] = edge
            self.nodes.append(
                nn.ModuleList(
                    Candidates(supernet, edges, (height, width), affine)
                    for edges in gathered.values()
                )
            )
        self.linear = nn.Linear(
            supernet.network.sizes[supernet.network.output][0], supernet.network.classes
        )

    def forward(self, images: Tensor, mix: Tensor) -> Tensor:
        network, values = self.supernet.network, [images]
        for node, several, (_, height, width) in zip(
            network.nodes[1:], list(self.nodes)[1:], network.sizes[1:], strict=True
        ):
            parts = [
                reference.padded(run(values[run.source], mix), height, width)  # type: ignore[index]
                for run in several.children()
            ]
            values.append(
                torch.cat(parts, 1) if node.merge == "concat" else sum(parts[1:], start=parts[0])
            )
        return self.linear(functional.relu(values[network.output]).mean((2, 3)))

    def fresh(self) -> "ReferenceSupernet":
        """Another one, with weights of its own."""
        some = next(self.parameters())
        return ReferenceSupernet(self.supernet, self.affine).to(some.device, some.dtype)

    def steps(self) -> dict[str, Any]:
        """The modules with weights by the name that `supernet` gives their weights,
        `<node>.<edge>.<step>`.
        """
        out: dict[str, Any] = {}
        for number, several in enumerate(self.nodes):
            for run in several.children():
                for which, sequence in zip(run.names, run.layers, strict=False):  # type: ignore[arg-type]
                    out |= {
                        f"{number}.{which}.{place}": step for place, step in enumerate(sequence)
                    }
        return out


def first_order(
    model: ReferenceSupernet, alpha: Tensor, valid: Batch, relax: Callable[[Tensor], Tensor]
) -> Tensor:
    """The gradient of the loss on `valid` by `alpha` at the weights as they are.

    relax: from alpha to the mix, [G, O] each.
    """
    x, y = valid
    alpha.grad = None
    # through everything, weights included, as theirs
    functional.cross_entropy(model(x, relax(alpha)), y).backward()
    assert alpha.grad is not None
    out, alpha.grad = alpha.grad, None
    model.zero_grad()
    return out


def second_order(
    model: ReferenceSupernet, alpha: Tensor, train: Batch, valid: Batch,
    relax: Callable[[Tensor], Tensor], xi: float, momentum: float, weight_decay: float,
    velocity: Sequence[Tensor] | None, radius: float = 1e-2,
) -> Tensor:  # fmt: skip
    """The gradient by `alpha` behind one unrolled step of the weights, Eqs. (7) and (8).

    velocity: the weights' momentum buffers, in order; None before the first step.
    """
    parameters = list(model.parameters())
    x, y = train
    loss = functional.cross_entropy(model(x, relax(alpha)), y)
    flat = torch.cat([each.reshape(-1) for each in parameters]).data
    moment = (
        0.0 if velocity is None else momentum * torch.cat([each.reshape(-1) for each in velocity])
    )
    found = torch.autograd.grad(loss, parameters)
    direction = torch.cat([each.reshape(-1) for each in found]) + weight_decay * flat
    unrolled = _with(model, flat - xi * (moment + direction))
    x, y = valid
    alpha.grad = None
    functional.cross_entropy(unrolled(x, relax(alpha)), y).backward()
    assert alpha.grad is not None
    out, alpha.grad = alpha.grad, None
    vector = [each.grad for each in unrolled.parameters()]
    x, y = train
    step = float(
        radius / torch.cat([each.reshape(-1) for each in vector if each is not None]).norm()
    )
    sides = []
    for move in (step, -2 * step):
        for each, v in zip(parameters, vector, strict=True):
            each.data.add_(v, alpha=move)
        sides.append(
            torch.autograd.grad(functional.cross_entropy(model(x, relax(alpha)), y), [alpha])[0]
        )
    for each, v in zip(parameters, vector, strict=True):
        each.data.add_(v, alpha=step)
    return out - xi * (sides[0] - sides[1]) / (2 * step)


def _with(model: ReferenceSupernet, flat: Tensor) -> ReferenceSupernet:
    """A fresh model with these weights."""
    out, state, at = model.fresh(), model.state_dict(), 0
    for name, each in model.named_parameters():
        state[name] = flat[at : at + each.numel()].view(each.shape)
        at += each.numel()
    out.load_state_dict(state)
    return out
