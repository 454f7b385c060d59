"""Primitives that are torch modules, and how a pass runs one with weights that lie elsewhere.

A primitive's weights are a part of one flat tensor, in the order of the module's parameters.
"""

from dataclasses import asdict
from functools import cache
from importlib.metadata import EntryPoint
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from evoml.core.errors import InputError
from evoml.phenotypes.layers import Primitive, kind


class LayerNormalisation(nn.Module):
    """Normalises every pixel over its channels. Ba et al. 2016, arXiv 1607.06450."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = x.permute(0, 2, 3, 1)
        out = functional.layer_norm(given, self.weight.shape, self.weight, self.bias, 1e-6)
        return out.permute(0, 3, 1, 2)


class SqueezeExcitation(nn.Module):
    """Scales channels by what their means say. Hu et al. 2018, arXiv 1709.01507."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(channels, hidden)
        self.wide = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        amounts = self.wide(functional.relu(self.narrow(x.mean((2, 3))))).sigmoid()
        return x * amounts[:, :, None, None]


def named(reference: str) -> Any:
    """What `package.module:name` names."""
    return EntryPoint("", reference, "").load()


def module(step: Primitive) -> nn.Module:
    """A fresh module of a primitive that has one, with torch's own initial weights.

    Raises InputError where it is not what its row says.
    """
    fields = asdict(step)
    arguments = [fields[name] for name in kind(step.kind).arguments]
    out: nn.Module = named(step.module)(*arguments)
    numbers = sum(each.numel() for each in out.parameters())
    if numbers != step.parameters or any(True for _ in out.buffers()):
        raise InputError(
            f"layers: primitive {step.kind}: {step.module} has {numbers} parameters and "
            f"{len(list(out.buffers()))} buffers; it must have {step.parameters} and none"
        )
    return out


@cache
def _made(step: Primitive) -> nn.Module:
    """One module for all that have the same numbers: its own weights are never read."""
    with torch.random.fork_rng(devices=[]):
        return module(step)


def views(step: Primitive, flat: Tensor) -> dict[str, Tensor]:
    """A primitive's weights, [P], as its module's parameters."""
    out, start = {}, 0
    for name, each in _made(step).named_parameters():
        out[name] = flat[start : start + each.numel()].view(each.shape)
        start += prod(each.shape)
    return out


def run(step: Primitive, flat: Tensor | None, x: Tensor) -> Tensor:
    """A primitive with these weights, [P], on images [N, C, H, W]; in torch's autograd."""
    weights = {} if flat is None else views(step, flat)
    out: Tensor = functional_call(_made(step), weights, (x,))
    return out


def initial(step: Primitive, seed: int) -> Tensor:
    """Its initial weights, [P]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.cat([each.detach().flatten() for each in module(step).parameters()])


class Kept:
    """A primitive's pass forward, kept for the way back. Images lie as [N, H, W, C]."""

    def __init__(self, step: Primitive, flat: Tensor | None, x: Tensor) -> None:
        self.x = x.permute(0, 3, 1, 2).detach().requires_grad_()
        self.flat = None if flat is None else flat.detach().requires_grad_()
        with torch.enable_grad():
            self.out = run(step, self.flat, self.x)

    @property
    def value(self) -> Tensor:
        """What the primitive gives, [N, H, W, C]."""
        return self.out.detach().permute(0, 2, 3, 1).contiguous()

    def back(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        """The gradients of the images, [N, H, W, C], and of the weights, [P], given the
        result's.
        """
        wanted = [self.x] if self.flat is None else [self.x, self.flat]
        found = torch.autograd.grad(self.out, wanted, g.permute(0, 3, 1, 2), materialize_grads=True)
        return found[0].permute(0, 2, 3, 1).contiguous(), None if self.flat is None else found[1]
