"""A supernet with its weights: loss and gradients by weights and by mix, scores of what is read off
it, and the weights of a genotype's own network.

One-Shot: Bender et al. 2018, "Understanding and Simplifying One-Shot Architecture Search", ICML.
DARTS: Liu et al. 2019, arXiv 1806.09055. ProxylessNAS, whose inactive paths are not kept: Cai et
al. 2019, arXiv 1812.00332. What it computes is what `reference_supernet` computes, on a CPU,
without torch's autograd and without a second model.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from evoml.contracts.task import CROSS_ENTROPY
from evoml.networks import layer_modules
from evoml.networks.cpu._supernet_pass import Buffers, CandidateArrays, SupernetPass, WeightViews
from evoml.networks.cpu._supernet_plan import ActivePlan, Node, Plan, plan
from evoml.networks.cpu._training_pass import Weights
from evoml.networks.losses import loss_named
from evoml.networks.places import places
from evoml.networks.shared_weights import SCORED, Gradients, SharedWeights
from evoml.phenotypes.network import Edge, Network, Supernet

if TYPE_CHECKING:
    from evoml.networks.reference_supernet import ReferenceSupernet

_GRADIENTS = 8  # tensors whose gradients are there at once
_INSIDE = 4  # tensors that a torch module keeps, of its result's size
_COPIES = 8  # of the weights: others, gradients, momentum
KEPT = 64  # mixes whose steps are remembered


class CPUSharedWeights(SharedWeights):
    """Shared weights and passes on a CPU."""

    def __init__(
        self,
        supernet: Supernet,
        seed: int,
        dtype: str = "float32",
        affine: bool = False,
        smoothing: float = 0.0,
        threads: int = 1,
        loss: str = CROSS_ENTROPY,
    ) -> None:
        """affine: whether all normalisations have a scale and a shift; the one behind the image
        always has. smoothing: share of a label that is spread.

        threads: of torch's own operations; the compiled ones, which are most of the work, use one.
        """
        self.supernet, self.affine, self.smoothing, self.threads, self.spent = (
            supernet,
            affine,
            smoothing,
            threads,
            0,
        )
        self.dtype, self._head_loss = np.dtype(dtype), loss_named(loss)
        network = supernet.network
        self._places, size, _ = places(network)
        features = network.sizes[network.output][0]
        self._heads = size, size + features * network.classes
        self.weights = np.zeros(self._heads[1] + network.classes, self.dtype)
        self.decayed = np.ones(len(self.weights), bool)
        self._edges = {
            f"{number}.{which}": edge
            for number, node in enumerate(network.nodes)
            for which, edge in enumerate(node.edges)
        }
        rng = np.random.default_rng(seed % 2**64)
        for name, place in self._places.items():
            p, part = place.primitive, slice(place.start, place.start + place.primitive.parameters)
            if p.kind == "bn":
                self.weights[part] = np.repeat([1.0, 0.0], p.outputs)
                self.decayed[part] = affine or not self._edges[name.rpartition(".")[0]].source
            elif p.module:
                self.weights[part] = layer_modules.initial(p, int(rng.integers(2**62))).numpy()
            else:  # torch's own, which the published supernets start from
                self.weights[part] = rng.uniform(-1, 1, p.parameters) * math.sqrt(
                    p.outputs / p.parameters
                )
        self.weights[size:] = rng.uniform(-1, 1, len(self.weights) - size) / math.sqrt(features)
        self._plan, self._buffers = plan(network), Buffers()
        self._own, self._other, self._found = (
            self._weight_views(flat)
            for flat in (self.weights, *np.zeros((2, len(self.weights)), self.dtype))
        )
        self._active: dict[bytes, tuple[ActivePlan, dict[int, CandidateArrays]]] = {}

    def gradients(
        self, x: np.ndarray, y: np.ndarray, mix: np.ndarray, *, weights: np.ndarray | None = None,
        of_weights: bool = True, of_mix: bool = True, wanted: np.ndarray | None = None,
    ) -> Gradients:  # fmt: skip
        ghosts = np.asarray(mix, np.float64) if mix.ndim == 3 else np.asarray(mix, np.float64)[None]
        if len(x) % len(ghosts):
            raise ValueError(f"{len(x)} images cannot be parted among {len(ghosts)} ghosts")
        weight_views = self._own
        if weights is not None:
            self._other.flat[:] = weights
            weight_views = self._other
        loss, right, total, slopes = (
            0.0,
            0.0,
            np.zeros_like(self.weights) if of_weights else None,
            np.zeros_like(ghosts),
        )
        with self._threads():
            for index, (images, labels, part) in enumerate(
                zip(np.split(x, len(ghosts)), np.split(y, len(ghosts)), ghosts, strict=True)
            ):
                active, run = self._begin(part, weight_views, wanted)
                self._found.flat[:] = 0
                found, hits = self._loss(
                    run, images, labels, len(x), weight_views, (of_weights, of_mix), wanted
                )
                loss, right = loss + found, right + hits
                slopes[index] = run.slopes
                if total is not None:
                    total += self._found.flat
                self.spent += len(images) * self._cost(active, of_weights, of_mix, part, wanted)
        if total is not None:
            total[~self.decayed] = 0
        return Gradients(
            loss, right, total, (slopes if mix.ndim == 3 else slopes[0]) if of_mix else None
        )

    def score(
        self, x: np.ndarray, y: np.ndarray, mix: np.ndarray, batch: int = SCORED
    ) -> tuple[float, float]:
        right, loss, parts = 0.0, 0.0, -(-len(y) // batch)
        with self._threads():
            for images, labels in zip(
                np.array_split(x, parts), np.array_split(y, parts), strict=True
            ):
                logits = self._logits(images, mix)
                goals = self._head_loss.goals(labels)
                right += self._head_loss.metric(logits, goals)
                loss += self._head_loss.total(logits, goals)
        return right / len(y), loss / len(y)

    def probabilities(self, x: np.ndarray, mix: np.ndarray) -> np.ndarray:
        with self._threads():
            out = self._head_loss.probabilities(self._logits(x, mix))
        if out is None:
            raise ValueError("this supernet's head has no classes")
        return out.numpy()

    def _logits(self, x: np.ndarray, mix: np.ndarray) -> torch.Tensor:
        active, run = self._begin(np.asarray(mix, np.float64), self._own)
        self.spent += len(x) * (active.spent[0] + self._linear)
        return self._head(run.run(self._tensor(x), False), self._own)[1]

    def _begin(
        self, mix: np.ndarray, weight_views: WeightViews, wanted: np.ndarray | None = None
    ) -> tuple[ActivePlan, SupernetPass]:
        key = (mix != 0).tobytes() + (b"" if wanted is None else np.asarray(wanted, bool).tobytes())
        if key not in self._active:
            if len(self._active) >= KEPT:
                self._active.clear()
            active = self._plan.active(mix, wanted)
            self._active[key] = (
                active,
                {
                    node: CandidateArrays(
                        candidates, self._plan.sizes[node][0], weight_views.starts
                    )
                    for node, candidates in active.candidates.items()
                },
            )
        active, candidates = self._active[key]
        return active, SupernetPass(
            self._plan, active, candidates, weight_views, mix, self._buffers
        )

    def _loss(
        self, run: SupernetPass, x: np.ndarray, y: np.ndarray, count: int,
        weight_views: WeightViews, of: tuple[bool, bool], wanted: np.ndarray | None,
    ) -> tuple[float, float]:  # fmt: skip
        """What a part of a batch of `count` adds to the loss, and the images that are right;
        gradients where `of` (weights, mix) wants some.
        """
        value = run.run(self._tensor(x), any(of))
        features, logits = self._head(value, weight_views)
        goals = self._head_loss.goals(y)
        loss, g = self._head_loss.slope(logits, goals, self.smoothing, count)
        right = self._head_loss.metric(logits, goals)
        if any(of):
            if of[0]:
                weight, bias = self._linear_of(self._found)
                torch.mm(g.t(), features, out=weight)
                torch.sum(g, 0, out=bias)
            to = (g @ self._linear_of(weight_views)[0])[:, None, None, :] / (
                value.shape[1] * value.shape[2]
            )
            run.back((value > 0) * to, self._found, of[0], wanted)
        return loss, right

    def _head(
        self, value: torch.Tensor, weight_views: WeightViews
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The features that the linear layer reads, and the class scores."""
        features, (weight, bias) = value.clamp_min(0).mean((1, 2)), self._linear_of(weight_views)
        return features, torch.addmm(bias, features, weight.t())

    def _linear_of(self, weight_views: WeightViews) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = self._heads
        return weight_views.weights.flat[first:second].view(
            self.supernet.network.classes, -1
        ), weight_views.weights.flat[second:]

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x, self.dtype))

    @property
    def _linear(self) -> int:
        """Multiply-adds of the linear layer."""
        return self._heads[1] - self._heads[0]

    def _cost(
        self,
        active: ActivePlan,
        of_weights: bool,
        of_mix: bool,
        mix: np.ndarray,
        wanted: np.ndarray | None,
    ) -> int:
        """Multiply-adds of one image."""
        forward, inputs, opened = active.spent
        total = (
            forward
            + self._linear
            + (
                inputs + forward + 2 * self._linear
                if of_weights
                else opened + self._linear
                if of_mix
                else 0
            )
        )
        if wanted is not None:
            again = [
                candidate
                for step in active.steps
                if isinstance(step, Node)
                for candidate in step.candidates
            ]
            chains = [
                candidate.chain
                for candidate in again
                if candidate.option is not None
                and not mix[candidate.option]
                and wanted[candidate.option]
            ]
            total += sum(self._plan.spent[index] for chain in chains for index in chain)
        return total

    def _weight_views(self, flat: np.ndarray) -> WeightViews:
        """Flat weights as the steps take them."""
        whole, matrices, moments = torch.from_numpy(flat), {}, {}
        for name, place in self._places.items():
            p = place.primitive
            if p.kind == "bn":
                # running ones, which nobody reads
                moments[name] = np.zeros((2, p.outputs), self.dtype)
            elif not p.module:
                matrices[name] = flat[place.start : place.start + p.parameters].reshape(
                    p.outputs, -1
                )
        views = {name: place.view(whole) for name, place in self._places.items()}
        return WeightViews(
            Weights(whole, views, moments),
            {name: place.start for name, place in self._places.items()},
            matrices,
        )

    def active(self, mix: np.ndarray) -> np.ndarray:
        out = np.ones(len(self.weights), bool)
        for name, place in self._places.items():
            option = self._edges[name.rpartition(".")[0]].option
            if option is not None and not np.any(mix[..., option[0], option[1]]):
                out[place.start : place.start + place.primitive.parameters] = False
        return out

    def child(self, network: Network) -> dict[str, torch.Tensor]:
        mine = self.supernet.network
        there = {
            _edge_name(mine, mine.nodes[int(name.split(".")[0])].name, edge): name
            for name, edge in self._edges.items()
        }
        whole = torch.from_numpy(self.weights.copy())
        out: dict[str, torch.Tensor] = {}
        for name, place in places(network)[0].items():
            node, which, step = name.split(".")
            edge = network.nodes[int(node)].edges[int(which)]
            key = _edge_name(network, network.nodes[int(node)].name, edge)
            source = self._places.get(f"{there.get(key)}.{step}")
            if source is None or source.primitive != place.primitive:
                raise ValueError(
                    f"the supernet has no {edge.layer} of {edge.channels} channels into {key[0]!r}"
                )
            fresh = whole.new_tensor([[0.0], [1.0]]).expand(2, place.primitive.outputs)
            out |= {
                f"nodes.{name}.{key}": value for key, value in source.named(whole, fresh).items()
            }
        if (mine.classes, mine.sizes[mine.output][0]) != (
            network.classes,
            network.sizes[network.output][0],
        ):
            raise ValueError(
                f"the supernet has {mine.classes} classes on {mine.sizes[mine.output][0]} channels"
            )
        out["linear.weight"] = whole[self._heads[0] : self._heads[1]].view(network.classes, -1)
        return out | {"linear.bias": whole[self._heads[1] :]}

    def pairs(
        self, reference: "ReferenceSupernet", flat: np.ndarray | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Its weights, or other flat numbers [P], as views beside the parameters of the plain model
        that they belong to.
        """
        whole, steps = torch.from_numpy(self.weights if flat is None else flat), reference.steps()
        for name, place in self._places.items():
            theirs = dict(steps[name].named_parameters())
            for key, view in place.parameters(whole).items():
                if key in theirs:  # a normalisation need not have scale and shift
                    yield view, theirs[key]
        first, second = self._heads
        yield whole[first:second].view(self.supernet.network.classes, -1), reference.linear.weight
        yield whole[second:], reference.linear.bias

    def bytes(self, batch: int, mix: np.ndarray | None = None) -> int:
        """About how much memory a step takes at its peak: with all options, or with those of a mix
        [G, O].

        Ghosts take turns: give the images of one.
        """
        return _bytes(self._plan, self.supernet, batch, self.dtype.itemsize, mix)

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights.copy(), "spent": self.spent}

    def load(self, state: dict[str, Any]) -> None:
        weights = np.asarray(state["weights"], self.dtype)
        if weights.shape != self.weights.shape:
            raise ValueError(
                f"a supernet's state has {weights.shape} weights; it must have {self.weights.shape}"
            )
        self.weights[:], self.spent = weights, int(state["spent"])

    @contextmanager
    def _threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        if before != self.threads:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            if before != self.threads:
                torch.set_num_threads(before)


def memory(supernet: Supernet, batch: int, itemsize: int = 4, mix: np.ndarray | None = None) -> int:
    """About how many bytes a step of so many images takes at its peak, before anything is made:
    with all options, or with those of a mix [G, O].
    """
    return _bytes(plan(supernet.network), supernet, batch, itemsize, mix)


def _bytes(
    steps: Plan, supernet: Supernet, batch: int, itemsize: int, mix: np.ndarray | None
) -> int:
    """Every tensor's value, where the maxima of poolings were, the gradients of a few tensors at a
    time, and what there is for every weight.
    """
    active = steps.active(np.ones(supernet.available.shape) if mix is None else mix, None)
    numbers = {step.to: math.prod(steps.sizes[step.to]) for step in active.steps}
    maxima = sum(numbers[step.to] for step in active.steps if step.kind == "max")
    inside = sum(numbers[s.to] for s in active.steps if s.kind in ("module", "function"))
    values = sum(numbers.values()) + _GRADIENTS * max(numbers.values()) + _INSIDE * inside
    return (
        batch * (itemsize * values + 8 * maxima) + itemsize * _COPIES * supernet.network.parameters
    )


def _edge_name(network: Network, node: str, edge: Edge) -> tuple[str, str, str, int, int]:
    """What is the same of an edge in a supernet and in a network that was read off it."""
    return node, network.nodes[edge.source].name, edge.layer, edge.channels, edge.stride
