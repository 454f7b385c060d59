"""One torch module that runs any `Network`, with a scheduled drop path and an auxiliary head in
training.

What it computes is what `reference` computes, quicker: on a CPU training runs as one operation
(`_training_pass`), and evaluation folds normalisations into convolutions. ScheduledDropPath: Zoph
et al. 2018 (NASNet), arXiv 1707.07012, in its later form, where the chance to drop a path grows
with depth and with the step. The auxiliary head is theirs with pooling to 2x2 at any image size.
Weights start after He et al. 2015, arXiv 1502.01852.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoml.networks import layer_modules
from evoml.networks.cpu._training_pass import EPSILON, MOMENTUM, Step, Train, Weights, halves, plan
from evoml.networks.places import places
from evoml.networks.reference import ReferenceNetwork, padded
from evoml.phenotypes.network import Network


class Module(nn.Module):
    """Images [N, C, H, W] to class scores [N, K].

    The weights of all layers are one parameter, which makes for quick optimisers.
    """

    running: Tensor

    def __init__(
        self,
        network: Network,
        generator: torch.Generator | None = None,
        drop_path_keep: float = 1.0,
    ) -> None:
        """`generator`, on the CPU, draws the initial weights and, in training, the paths that are
        dropped; without one it is new, with seed 0.
        """
        super().__init__()
        self.network, self.keep, self.progress = network, drop_path_keep, 0.0
        self.generator = generator or torch.Generator().manual_seed(0)
        self.plan = plan(network, drop_path_keep < 1)
        self._places, weights, moments = places(network)
        self._made: tuple[tuple[int, int], Weights, Weights] | None = None
        self.weights = nn.Parameter(torch.randn(weights, generator=self.generator))
        self.register_buffer("running", torch.zeros(moments))
        with torch.random.fork_rng(devices=[]):  # which torch's constructors draw from, in vain
            self.linear = nn.Linear(network.sizes[network.output][0], network.classes)
            self.auxiliary = Auxiliary(network) if network.auxiliary >= 0 else None
        self._initialise()

    def set_progress(self, share: float) -> None:
        """How far training is, 0 to 1: the chance to drop a path grows with it."""
        self.progress = share

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Class scores of the output, and in training of the auxiliary head, where there is one."""
        auxiliary = self.auxiliary if self.training else None
        nodes = [self.network.output, *([self.network.auxiliary] if auxiliary is not None else [])]
        values = (
            self._train(images, nodes)
            if self.training and images.device.type == "cpu"
            else self._run(images, nodes)
        )
        logits = self.linear(functional.relu(values[0]).mean((2, 3)))
        return logits, auxiliary(values[1]) if auxiliary is not None else None

    def reference(self) -> ReferenceNetwork:
        """The same network as a plain loop over torch's modules, with copies of these weights, in
        evaluation mode.
        """
        with torch.random.fork_rng(devices=[]):
            out = ReferenceNetwork(self.network).eval()
        out.load_state_dict(self.state_dict(), strict=False)
        return out

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        """Weights and running moments by the names that `ReferenceNetwork` gives them,
        `nodes.<node>.<edge>.<step>.weight`, and the heads'; not copied.
        """
        flat = self.weights.detach()
        out = {
            f"nodes.{name}.{key}": part
            for name, place in self._places.items()
            for key, part in place.named(flat, place.moments(self.running)).items()
        }
        heads = {"linear": self.linear} | (
            {"auxiliary": self.auxiliary} if self.auxiliary is not None else {}
        )
        return out | {
            f"{name}.{key}": value
            for name, head in heads.items()
            for key, value in head.state_dict().items()
        }

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy what `state_dict` gave. Raises ValueError for other names or shapes."""
        mine = self.state_dict()
        wrong = sorted(mine.keys() ^ state.keys()) or sorted(
            name for name in mine if mine[name].shape != state[name].shape
        )
        if wrong:
            raise ValueError(f"weights do not fit this network: {wrong[0]}")
        for name, value in mine.items():
            value.copy_(state[name])

    def _train(self, images: Tensor, nodes: list[int]) -> tuple[Tensor, ...]:
        """The values of some nodes, normalised by the batch."""
        weights, gradient = self._tensors()
        out: tuple[Tensor, ...] = Train.apply(
            self.weights, images, self.plan, nodes, weights, gradient, self._scales(len(images))
        )
        return out

    def _run(self, images: Tensor, nodes: list[int]) -> tuple[Tensor, ...]:
        """The same in torch's own operations, on any device; in evaluation with the running
        moments.
        """
        scales = self._scales(len(images)) if self.training else None
        weights = {name: place.view(self.weights) for name, place in self._places.items()}
        values, folded = {0: images.to(memory_format=torch.channels_last)}, -1
        wanted = {self.plan.nodes[node] for node in nodes}
        for step, following, done in zip_longest(
            self.plan.steps, self.plan.steps[1:], self.plan.done
        ):
            parts = [values[source] for source in step.sources]
            if step.to == folded:
                out = parts[0]
            elif step.kind == "bn":
                (mean, variance), (scale, shift) = (
                    self._places[step.weight].moments(self.running),
                    weights[step.weight],
                )
                out = functional.batch_norm(
                    parts[0], mean, variance, scale, shift, self.training, MOMENTUM, EPSILON
                )
            elif not self.training and following is not None and step.to in self.plan.folds:
                folded = following.to
                mean, variance = self._places[following.weight].moments(self.running)
                scale, shift = weights[following.weight]
                scale = scale * (variance + EPSILON).rsqrt()
                out = convolve(
                    step,
                    parts[0],
                    weights[step.weight] * scale[:, None, None, None],
                    shift - mean * scale,
                )
            else:
                out = compute(step, parts, weights.get(step.weight), scales)
            values[step.to] = functional.relu(out) if step.rectified else out
            for tensor in set(done) - wanted:  # memory is short where nothing is kept for gradients
                del values[tensor]
        return tuple(values[self.plan.nodes[node]] for node in nodes)

    def _tensors(self) -> tuple[Weights, Weights]:
        """Weights, and a buffer for their gradient, as a pass takes them; made again where the
        weights have moved.
        """
        where = (self.weights.data_ptr(), self.running.data_ptr())
        if self._made is None or self._made[0] != where:
            flat, gradient = self.weights.detach(), torch.zeros_like(self.weights.detach())
            weights, gradients = (
                Weights(
                    whole,
                    {name: place.view(whole) for name, place in self._places.items()},
                    moments,
                )
                for moments in [
                    {
                        name: p.moments(self.running).numpy()
                        for name, p in self._places.items()
                        if p.primitive.kind == "bn"
                    }
                ]
                for whole in (flat, gradient)
            )
            self._made = where, weights, gradients
        return self._made[1:]

    def _scales(self, images: int) -> Tensor | None:
        """For every path that may be dropped, 0 or 1/keep an image, [paths, N]."""
        if self.keep == 1 or not self.plan.paths or not self.progress:
            return None
        keep = 1 - (1 - self.keep) * self.progress * torch.tensor(self.plan.paths)[:, None]
        return ((torch.rand(len(keep), images, generator=self.generator) < keep) / keep).to(
            self.weights.device
        )

    @torch.no_grad()
    def _initialise(self) -> None:
        """Weights of deviation sqrt(2 / inputs) before a ReLU, sqrt(1 / inputs) in linear layers;
        normalisations of scale 1 and shift 0.
        """
        for place in self._places.values():
            view, p = place.view(self.weights), place.primitive
            if p.module:
                seed = int(torch.randint(2**62, (), generator=self.generator))
                view.copy_(layer_modules.initial(p, seed))
            elif p.kind == "bn":
                view.copy_(torch.tensor([[1.0], [0.0]]))
                place.moments(self.running)[1].fill_(1.0)
            else:
                view.mul_(math.sqrt(2 * p.outputs / p.parameters))
        heads = [self.linear, *([self.auxiliary] if self.auxiliary is not None else [])]
        for name, value in (pair for head in heads for pair in head.named_parameters()):
            if value.dim() < 2:
                value.fill_(float(name.endswith("bn.weight")))
            else:
                value.normal_(
                    0.0,
                    math.sqrt((2 if value.dim() == 4 else 1) / value[0].numel()),
                    generator=self.generator,
                )


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
        out: Tensor = self.linear(functional.relu(self.wide_bn(self.wide(x))).flatten(1))
        return out


def compute(
    step: Step, parts: Sequence[Tensor], weight: Tensor | None, scales: Tensor | None
) -> Tensor:
    """One step other than a normalisation, in torch's own operations."""
    x, p = parts[0], step.primitive
    match step.kind:
        case "relu":
            return functional.relu(x)
        case "relu6":
            return functional.relu6(x)
        case "max":
            return functional.max_pool2d(x, p.kernel, p.stride, p.padding, ceil_mode=p.overhangs)
        case "avg":
            return functional.avg_pool2d(
                x, p.kernel, p.stride, p.padding, p.overhangs, count_include_pad=False
            )
        case "module" | "function":
            return layer_modules.run(p, weight, x)
        case "zero":
            return x.new_zeros(len(x), p.outputs, *p.after(*x.shape[2:]))
        case "cut":
            return x[:, : p.outputs]
        case "drop":
            return x if scales is None else x * scales[step.path, :, None, None, None]
        case "pad":
            return padded(x, *step.size)
        case "add":
            return sum(parts[1:], start=x)
        case "concat":
            return torch.cat(list(parts), 1)
    assert weight is not None
    return convolve(step, x, weight, None)


def convolve(step: Step, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution, depthwise convolution or factorised reduction."""
    p = step.primitive
    if step.kind != "fr":
        return functional.conv2d(
            x, weight, bias, p.stride, p.padding, p.dilation, p.inputs if step.kind == "dw" else 1
        )
    inputs = (x, functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:])
    biases = [bias[at] if bias is not None else None for _, at in halves(p)]
    return torch.cat(
        [
            functional.conv2d(inputs[n], weight[at], b, p.stride)
            for (n, at), b in zip(halves(p), biases, strict=True)
        ],
        1,
    )
