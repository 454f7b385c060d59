"""The supernet: the same mathematics as DARTS's own structure, module by module, and what
strategies use it for.
"""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from evoml.networks import optimisers
from evoml.networks.batches import Batches
from evoml.networks.cpu._supernet_kernels import separable, separable_back
from evoml.networks.cpu.shared_weights import CPUSharedWeights, memory
from evoml.networks.module import Module
from evoml.networks.optimisers import Adam, Momentum, clipped, cosine
from evoml.networks.reference_supernet import ReferenceSupernet, first_order, second_order
from evoml.phenotypes.layers import LAYERS, primitives
from evoml.phenotypes.network import Builder, Edge, Group, Network, Supernet
from evoml.spaces import cell, nasbench201

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = 4


def darts(size=(1, 8, 8), operations: str = "darts", filters: int = 4, blocks: int = 2) -> Supernet:
    skeleton = {"filters": filters, "cells": 1, "reductions": 1, "stem": 3}
    settings = {"blocks": blocks, "operations": operations, "output": "all", "skeleton": skeleton}
    return cell.CellSpace(cell.Settings.model_validate(settings)).supernet(size, CLASSES)


def benchmark201(size=(1, 8, 8), filters: int = 3) -> Supernet:
    return nasbench201.NASBench201Space(
        nasbench201.Settings.model_validate(
            {"skeleton": {"filters": filters, "cells": 1, "reductions": 1}}
        )
    ).supernet(size, CLASSES)


def images(net: Supernet, count: int = 6, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """[N, H, W, C] and labels."""
    rng = np.random.default_rng(seed)
    channels, height, width = net.network.inputs
    return rng.normal(size=(count, height, width, channels)), rng.integers(CLASSES, size=count)


def mixes(net: Supernet, share: float = 1.0, seed: int = 2) -> np.ndarray:
    """Positive numbers for a share of the options that there are."""
    rng = np.random.default_rng(seed)
    return (
        rng.random(net.available.shape) * (rng.random(net.available.shape) < share) * net.available
    )


def there(net: Supernet) -> np.ndarray:
    """Options that have a layer, [G, O]."""
    out = np.zeros(net.available.shape, bool)
    for edge in (edge for node in net.network.nodes for edge in node.edges if edge.option):
        out[edge.option] = True
    return out


def both(net: Supernet, affine: bool = False, **how) -> tuple[CPUSharedWeights, ReferenceSupernet]:
    """In float64 with the same weights, normalisations' scales and shifts drawn too."""
    shared, reference = (
        CPUSharedWeights(net, 3, "float64", affine=affine, **how),
        ReferenceSupernet(net, affine).double(),
    )
    rng = np.random.default_rng(0)
    for place in shared._places.values():
        part = slice(place.start, place.start + place.primitive.parameters)
        if place.primitive.kind == "bn":
            shared.weights[part] += (
                rng.normal(size=part.stop - part.start) * 0.3 * shared.decayed[part]
            )
    with torch.no_grad():
        for view, parameter in shared.pairs(reference):
            parameter.copy_(view)
    return shared, reference


def wanted(
    reference: ReferenceSupernet, shared: CPUSharedWeights, x, y, mix, smoothing: float = 0.0
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss and gradients of the plain model through autograd."""
    amounts = torch.tensor(mix, requires_grad=True)
    reference.zero_grad()
    loss = functional.cross_entropy(
        reference(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), amounts),
        torch.from_numpy(y),
        label_smoothing=smoothing,
    )
    loss.backward()
    flat = np.zeros_like(shared.weights)
    for view, parameter in shared.pairs(reference, flat):
        if parameter.grad is not None:
            view.copy_(parameter.grad)
    return float(loss.detach()), flat, amounts.grad.numpy()


NETS = {
    "darts": darts, "amoebanet": lambda: darts(operations="amoebanet"),
    "nasnet": lambda: darts(operations="nasnet"), "enas": lambda: darts(operations="enas"),
    "odd sizes": lambda: darts((3, 7, 9), filters=5), "four blocks": lambda: darts(blocks=4),
    "nasbench201": benchmark201, "nasbench201 odd": lambda: benchmark201((2, 8, 12), 5),
}  # fmt: skip


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_same_as_plain(name: str, affine: bool) -> None:
    net = NETS[name]()
    shared, reference = both(net, affine, smoothing=0.1)
    x, y = images(net)
    for share in (1.0, 0.5, 0.2):
        mix = mixes(net, share)
        loss, of_weights, of_mix = wanted(reference, shared, x, y, mix, 0.1)
        found = shared.gradients(x, y, mix, wanted=np.ones(net.available.shape, bool))
        assert found.loss == pytest.approx(loss, abs=1e-10)
        assert np.abs(found.weights - of_weights).max() < 1e-10
        assert np.abs(found.mix - of_mix)[there(net)].max() < 1e-10
        some = shared.gradients(x, y, mix, of_weights=False)
        assert (
            some.weights is None and np.abs(some.mix - of_mix)[there(net) & (mix > 0)].max() < 1e-10
        )
        assert not some.mix[mix == 0].any()
        assert shared.gradients(x, y, mix, of_mix=False).mix is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride"), [(4, 4, 1), (4, 4, 2), (4, 6, 1), (6, 3, 2), (3, 3, 3)]
)
@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer(layer: str, inputs: int, outputs: int, stride: int) -> None:
    """As one of two options, as the only layer of a node that several read, in front of a
    concatenation, and in a sum where the others are smaller.
    """
    try:
        primitives(layer, inputs, outputs, stride)
    except ValueError:
        return  # it cannot change its channels so, or not keep its size
    build = Builder((2, 7, 6))
    stem = build.layer(0, "stem_3x3", inputs)
    alone = build.layer(stem, layer, outputs, stride)
    open_ = build.node(
        [
            Edge(stem, layer, outputs, stride, option=(0, 0)),
            Edge(stem, "conv_3x3", outputs, stride, option=(0, 1)),
        ]
    )
    again = build.node(
        [
            Edge(alone, "identity", outputs),
            Edge(alone, "conv_1x1", outputs, option=(1, 1)),
            Edge(open_, "identity", outputs, option=(1, 0)),
        ]
    )
    uneven = build.node(
        [
            Edge(stem, layer, outputs, stride, option=(2, 0)),
            Edge(stem, "conv_3x3", outputs, 1, option=(2, 1)),
        ]
    )
    parts = [
        Edge(alone, "identity", outputs),
        Edge(again, "identity", outputs),
        Edge(stem, layer, outputs, stride),
        Edge(uneven, "identity", outputs),
    ]
    groups = tuple(Group(str(number), (layer, "conv_3x3")) for number in range(3))
    net = Supernet(build.network(build.node(parts, "concat"), CLASSES), groups)
    shared, reference = both(net, affine=True)
    (x, y), mix = images(net), mixes(net)
    loss, of_weights, of_mix = wanted(reference, shared, x, y, mix)
    found = shared.gradients(x, y, mix)
    assert found.loss == pytest.approx(loss, abs=1e-10)
    assert (
        np.abs(found.weights - of_weights).max() < 1e-10
        and np.abs(found.mix - of_mix).max() < 1e-10
    )
    some = shared.gradients(x, y, mix, of_weights=False)
    assert np.abs(some.mix - of_mix).max() < 1e-10


def test_float32_is_close() -> None:
    net = darts()
    double, _plain = both(net)
    single = CPUSharedWeights(net, 3)
    single.weights[:] = double.weights
    (x, y), mix = images(net, 16), mixes(net)
    one, two = single.gradients(x, y, mix), double.gradients(x, y, mix)
    assert one.weights.dtype == np.float32
    assert np.abs(one.weights - two.weights).max() < 1e-4 * np.abs(two.weights).max()
    assert np.abs(one.mix - two.mix).max() < 1e-4 * np.abs(two.mix).max()


@pytest.mark.parametrize("second", [False, True])
def test_three_steps_of_darts(second: bool) -> None:
    """Architecture and weights after three full steps, as the authors take them."""
    net = darts()
    shared, reference = both(net)
    xi, momentum, decay, batch = 0.025, 0.9, 3e-4, 8
    alpha = np.random.default_rng(5).normal(size=net.available.shape) * 1e-3
    parameter = torch.nn.Parameter(torch.tensor(alpha))
    relax = lambda values: torch.softmax(values, -1)
    sgd = torch.optim.SGD(reference.parameters(), xi, momentum, weight_decay=decay)
    adam = torch.optim.Adam([parameter], 3e-4, (0.5, 0.999), weight_decay=1e-3)
    of_weights, of_mix = (
        Momentum(len(shared.weights), momentum, decay),
        Adam(alpha.shape, (0.5, 0.999), 1e-3),
    )
    for step in range(3):
        train, valid = images(net, batch, 10 + step), images(net, batch, 20 + step)
        t, v = (
            (torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y))
            for x, y in (train, valid)
        )
        if second:
            buffers = (
                [sgd.state[each]["momentum_buffer"] for each in reference.parameters()]
                if step
                else None
            )
            parameter_grad = second_order(
                reference, parameter, t, v, relax, xi, momentum, decay, buffers
            )
            slope = unrolled(shared, alpha, train, valid, xi, momentum, decay, of_weights.velocity)
        else:
            parameter_grad = first_order(reference, parameter, v, relax)
            mix = softmax(alpha)
            slope = through_softmax(shared.gradients(*valid, mix, of_weights=False).mix, mix)
        assert np.abs(slope - parameter_grad.numpy()).max() < 1e-10
        parameter.grad = parameter_grad
        adam.step()
        of_mix.step(alpha, slope, 3e-4)
        sgd.zero_grad()
        functional.cross_entropy(reference(t[0], relax(parameter.detach())), t[1]).backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 5.0)
        sgd.step()
        of_weights.step(
            shared.weights,
            clipped(shared.gradients(*train, softmax(alpha), of_mix=False).weights, 5.0),
            xi,
            shared.decayed,
        )
        assert np.abs(alpha - parameter.detach().numpy()).max() < 1e-10
        for view, value in shared.pairs(reference):
            assert (view - value).abs().max() < 1e-10


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def through_softmax(gradient: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities * (gradient - (gradient * probabilities).sum(-1, keepdims=True))


def unrolled(
    shared: CPUSharedWeights,
    alpha,
    train,
    valid,
    xi: float,
    momentum: float,
    decay: float,
    velocity: np.ndarray,
) -> np.ndarray:
    """DARTS's second-order gradient on flat weights."""
    mix, weights = softmax(alpha), shared.weights
    g = shared.gradients(*train, mix, of_mix=False).weights
    ahead = shared.gradients(
        *valid,
        mix,
        weights=weights - xi * (momentum * velocity + g + decay * weights * shared.decayed),
    )
    step = 0.01 / np.linalg.norm(ahead.weights)
    sides = [
        through_softmax(
            shared.gradients(
                *train, mix, weights=weights + move * ahead.weights, of_weights=False
            ).mix,
            mix,
        )
        for move in (step, -step)
    ]
    return through_softmax(ahead.mix, mix) - xi * (sides[0] - sides[1]) / (2 * step)


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "dilation", "stride"),
    [
        (16, 16, 3, 1, 1), (8, 5, 5, 2, 2), (3, 7, 7, 1, 1), (5, 33, 3, 2, 3), (32, 19, 5, 1, 2),
        (1, 1, 3, 1, 1), (24, 48, 3, 1, 1),
    ],
)  # fmt: skip
def test_separable_kernels(
    channels: int, outputs: int, kernel: int, dilation: int, stride: int
) -> None:
    rng = np.random.default_rng(0)
    x, narrow, wide = (
        rng.normal(size=(3, 6, 7, channels)),
        rng.normal(size=(channels, kernel**2)),
        rng.normal(size=(outputs, channels)),
    )
    scale, shift = rng.normal(size=(2, channels))
    given, first, second = (torch.tensor(each, requires_grad=True) for each in (x, narrow, wide))
    inner = functional.relu(given * torch.tensor(scale) + torch.tensor(shift)).permute(0, 3, 1, 2)
    padding = dilation * (kernel - 1) // 2
    middle = functional.conv2d(
        inner, first.view(channels, 1, kernel, kernel), None, stride, padding, dilation, channels
    )
    want = functional.conv2d(middle, second.view(outputs, channels, 1, 1)).permute(0, 2, 3, 1)
    g, slope = rng.normal(size=want.shape), rng.normal(size=(4, outputs))
    out, moments = np.empty(want.shape), np.empty((2, outputs))
    separable(x, scale, shift, 0.0, narrow, wide, kernel, dilation, stride, 1e-5, out, moments)
    assert np.abs(out - want.detach().numpy()).max() < 1e-11
    assert np.abs(moments[0] - out.mean((0, 1, 2))).max() < 1e-12
    assert np.abs(moments[1] - 1 / np.sqrt(out.var((0, 1, 2)) + 1e-5)).max() < 1e-8
    want.backward(torch.tensor(slope[0] * g + slope[1] * (out - slope[2]) + slope[3]))
    mean, before = rng.normal(size=channels), rng.normal(size=x.shape)
    to_narrow, to_wide, to_x, sums = (
        np.empty_like(narrow),
        np.empty_like(wide),
        before.copy(),
        np.empty((2, channels)),
    )
    how = (g, out, slope, x, scale, shift, 0.0, narrow, wide, kernel, dilation, stride)
    separable_back(*how, True, to_narrow, to_wide, True, True, mean, to_x, sums)
    behind = given.grad.numpy() / scale
    for found, true in (
        (to_narrow, first.grad.numpy()),
        (to_wide, second.grad.numpy()),
        (to_x - before, behind),
    ):
        assert np.abs(found - true).max() < 1e-10
    separable_back(*how, False, to_narrow, to_wide, True, False, mean, to_x, sums)
    assert np.abs(to_x - behind).max() < 1e-10
    assert np.abs(sums - [behind.sum((0, 1, 2)), (behind * (x - mean)).sum((0, 1, 2))]).max() < 1e-9


def test_ghosts() -> None:
    """Each part of the batch by itself, with its own mix."""
    net = darts()
    shared = CPUSharedWeights(net, 0, "float64")
    x, y = images(net, 12)
    mix = np.stack([mixes(net, 0.6, seed) for seed in range(3)])
    parts = [shared.gradients(x[4 * k : 4 * k + 4], y[4 * k : 4 * k + 4], mix[k]) for k in range(3)]
    found = shared.gradients(x, y, mix)
    assert found.loss == pytest.approx(np.mean([part.loss for part in parts]), abs=1e-12)
    assert found.right == sum(part.right for part in parts)
    assert np.abs(found.weights - np.mean([part.weights for part in parts], 0)).max() < 1e-12
    assert np.abs(found.mix - np.stack([part.mix for part in parts]) / 3).max() < 1e-12
    with pytest.raises(ValueError, match="12 images cannot be parted among 5 ghosts"):
        shared.gradients(x, y, np.repeat(mix[:1], 5, 0))


def test_an_empty_node_is_zeros() -> None:
    net = darts()
    shared, reference = both(net)
    (x, y), nothing = images(net), np.zeros(net.available.shape)
    loss, of_weights, _ = wanted(reference, shared, x, y, nothing)
    found = shared.gradients(x, y, nothing)
    assert (
        found.loss == pytest.approx(loss, abs=1e-12)
        and np.abs(found.weights - of_weights).max() < 1e-12
    )


def test_other_weights_leave_its_own() -> None:
    net = darts()
    shared = CPUSharedWeights(net, 0, "float64")
    (x, y), mix, before = images(net), mixes(net), shared.weights.copy()
    other = CPUSharedWeights(net, 9, "float64")
    found = shared.gradients(x, y, mix, weights=other.weights)
    assert np.array_equal(found.weights, other.gradients(x, y, mix).weights) and np.array_equal(
        shared.weights, before
    )
    shared.weights[:] = other.weights
    assert shared.gradients(x, y, mix).loss == found.loss


def test_score() -> None:
    net = darts()
    shared, reference = both(net)
    (x, y), mix = images(net, 21), mixes(net, 0.6)
    logits = torch.cat(
        [
            reference(torch.from_numpy(part.transpose(0, 3, 1, 2).copy()), torch.tensor(mix))
            for part in np.array_split(x, 3)
        ]
    ).detach()
    accuracy, loss = shared.score(x, y, mix, 8)
    assert accuracy == float((logits.argmax(1) == torch.from_numpy(y)).double().mean())
    assert loss == pytest.approx(
        float(functional.cross_entropy(logits, torch.from_numpy(y))), abs=1e-10
    )


def test_seeds_and_dtypes() -> None:
    net = darts()
    a, b, c = (
        CPUSharedWeights(net, 1),
        CPUSharedWeights(net, 1, "float64"),
        CPUSharedWeights(net, 2),
    )
    assert np.array_equal(a.weights, b.weights.astype(np.float32)) and not np.array_equal(
        a.weights, c.weights
    )
    (x, y), mix = images(net), mixes(net)
    first, second = a.gradients(x, y, mix), CPUSharedWeights(net, 1).gradients(x, y, mix)
    assert (
        first.loss == second.loss
        and np.array_equal(first.weights, second.weights)
        and np.array_equal(first.mix, second.mix)
    )


def test_published_size() -> None:
    """1.930618 M trainable numbers in the supernet that the authors' code builds for CIFAR-10."""
    skeleton = {"filters": 16, "cells": 2, "reductions": 2, "stem": 3}
    space = cell.CellSpace(
        cell.Settings.model_validate(
            {"blocks": 4, "operations": "darts", "output": "all", "skeleton": skeleton}
        )
    )
    shared = CPUSharedWeights(space.supernet((3, 32, 32), 10), 0)
    assert shared.decayed.sum() == 1_930_618
    assert (
        sum(each.numel() for each in ReferenceSupernet(shared.supernet).parameters()) == 1_930_618
    )


def test_active() -> None:
    net = darts()
    shared = CPUSharedWeights(net, 0, "float64", affine=True)
    (x, y), mix = images(net), mixes(net, 0.3)
    used, found = shared.active(mix), shared.gradients(x, y, mix)
    assert (
        used.dtype == bool
        and not found.weights[~used].any()
        and np.mean(found.weights[used] != 0) > 0.9
    )
    assert shared.active(np.ones(net.available.shape)).all()
    assert np.array_equal(
        shared.active(np.stack([mix, mixes(net, 0.3, 8)])), used | shared.active(mixes(net, 0.3, 8))
    )


def test_spent() -> None:
    """Forward 1, backward of inputs 1, of weights 1."""
    net = benchmark201()
    shared, (x, y) = CPUSharedWeights(net, 0), images(net)
    shared.score(x, y, np.ones(net.available.shape))
    forward = shared.spent
    assert forward == len(x) * net.network.multiply_adds
    shared.gradients(x, y, np.ones(net.available.shape))
    stem = len(x) * net.network.primitives(net.network.nodes[1].edges[0], 1)[0].multiply_adds(8, 8)
    assert shared.spent == 4 * forward - stem  # nothing wants the gradient of the images
    before = shared.spent
    shared.gradients(x, y, np.ones(net.available.shape), of_weights=False)
    assert forward < shared.spent - before < 2 * forward
    before = shared.spent
    shared.gradients(x, y, np.eye(5)[np.zeros(6, int)], of_mix=False, of_weights=False)
    assert 0 < shared.spent - before < forward


def test_child_of_a_cell() -> None:
    """Where layers are equal, the derived network computes what the supernet does with its
    paths.
    """
    settings = {
        "blocks": 2,
        "operations": "amoebanet",
        "output": "all",
        "skeleton": {"filters": 4, "cells": 1, "reductions": 1},
    }
    space = cell.CellSpace(cell.Settings.model_validate(settings))
    net = space.supernet((1, 8, 8), CLASSES)
    shared, (x, y) = CPUSharedWeights(net, 0, affine=True), images(net, 8)
    shared.weights[:] += (
        np.random.default_rng(0).normal(size=len(shared.weights)).astype(np.float32) * 0.1
    )
    seen = 0
    for stream in range(40):
        genotype = space.random(np.array([stream], np.uint64)).genotype(0)
        same_as_child(
            shared,
            space.network(genotype, (1, 8, 8), CLASSES),
            space.paths(genotype),
            x,
            y,
            "pool" not in space.format(genotype),
        )
        seen += "pool" not in space.format(genotype)
    assert seen


def test_child_of_nasbench201() -> None:
    space = nasbench201.NASBench201Space(
        nasbench201.Settings.model_validate(
            {"skeleton": {"filters": 3, "cells": 1, "reductions": 1}}
        )
    )
    net = space.supernet((1, 8, 8), CLASSES)
    shared, (x, y) = CPUSharedWeights(net, 0, affine=True), images(net, 8)
    for ops in ([3, 2, 1, 4, 0, 3], [4, 4, 4, 4, 4, 4], [1, 3, 0, 2, 3, 3]):
        same_as_child(
            shared,
            space.network(space.cell(ops), (1, 8, 8), CLASSES),
            space.paths(space.cell(ops)),
            x,
            y,
            True,
        )


def same_as_child(
    shared: CPUSharedWeights, network: Network, paths: np.ndarray, x, y, equal: bool
) -> None:
    module = Module(network).train()
    module.load_state_dict(shared.child(network))
    logits = module(torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)))[0].detach()
    if equal:
        loss = float(functional.cross_entropy(logits, torch.from_numpy(y)))
        assert shared.score(x, y, paths)[1] == pytest.approx(loss, rel=1e-4)


def test_child_that_does_not_fit() -> None:
    space = nasbench201.NASBench201Space(
        nasbench201.Settings.model_validate(
            {"skeleton": {"filters": 3, "cells": 1, "reductions": 1}}
        )
    )
    wide = nasbench201.NASBench201Space(
        nasbench201.Settings.model_validate(
            {"skeleton": {"filters": 4, "cells": 1, "reductions": 1}}
        )
    )
    shared = CPUSharedWeights(space.supernet((1, 8, 8), CLASSES), 0)
    with pytest.raises(ValueError, match="the supernet has no stem_3x3 of 4 channels into 'stem'"):
        shared.child(wide.network(wide.cell([3] * 6), (1, 8, 8), CLASSES))
    with pytest.raises(ValueError, match="the supernet has 4 classes"):
        shared.child(space.network(space.cell([3] * 6), (1, 8, 8), 7))


def test_state() -> None:
    net = darts()
    shared, other = CPUSharedWeights(net, 0), CPUSharedWeights(net, 1)
    (x, y), mix = images(net), mixes(net)
    shared.gradients(x, y, mix)
    other.load(shared.state())
    assert np.array_equal(shared.weights, other.weights) and shared.spent == other.spent
    assert shared.gradients(x, y, mix).loss == other.gradients(x, y, mix).loss
    with pytest.raises(ValueError, match="weights; it must have"):
        shared.load({"weights": np.zeros(3), "spent": 0})


MEASURE = """
import numpy as np, torch
from pathlib import Path
from evoml.networks.cpu.shared_weights import CPUSharedWeights
from evoml.spaces import cell
torch.set_num_threads(1)
skeleton = {"filters": 8, "cells": 2, "reductions": 1, "placement": "first"}
space = cell.CellSpace(cell.Settings.model_validate({"blocks": 4, "operations": "darts", "output": "all", "skeleton": skeleton}))
shared = CPUSharedWeights(space.supernet((3, 16, 16), 10), 0)
x, y, mix = np.ones((64, 16, 16, 3), np.float32), np.zeros(64, int), np.ones(shared.supernet.available.shape)
x += np.random.default_rng(0).normal(size=x.shape)
peak = lambda: 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
shared.gradients(x[:2], y[:2], mix)
before = peak()
for _ in range(2):
    shared.gradients(x, y, mix)
print(peak() - before, shared.bytes(64))
"""  # noqa: E501


@pytest.mark.skipif(
    sys.platform != "linux", reason="the peak of resident memory is read from /proc"
)
def test_memory() -> None:
    """The estimate is near what a step takes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    grown, estimated = map(int, done.stdout.split())
    assert grown / 1.5 < estimated < grown * 1.5


def test_memory_of_one_path() -> None:
    net = darts(blocks=4)
    one = np.zeros(net.available.shape)
    one[:, 4] = 1
    shared = CPUSharedWeights(net, 0)
    assert (
        shared.bytes(64) == memory(net, 64)
        and shared.bytes(64, one) == memory(net, 64, mix=one) < memory(net, 64) / 2
    )
    assert (
        CPUSharedWeights(net, 0, "float64").bytes(64) == memory(net, 64, 8) > 1.5 * memory(net, 64)
    )


def test_wanted_paths_are_not_kept() -> None:
    """Options that are wanted and not in the mix leave no tensor behind."""
    net = darts()
    one = np.zeros(net.available.shape)
    one[:, 5] = 1
    seen = []
    for wanted in (None, np.ones(net.available.shape, bool)):
        shared = CPUSharedWeights(net, 0)
        shared.gradients(*images(net), one, wanted=wanted)
        seen.append(
            sum(tensor.numel() for free in shared._buffers._free.values() for tensor in free)
        )
    assert seen[1] <= 1.5 * seen[0]


@pytest.mark.parametrize(
    ("momentum", "decay", "nesterov"), [(0.9, 3e-4, False), (0.9, 0.0, True), (0.0, 0.1, False)]
)
def test_momentum_is_torchs(momentum: float, decay: float, nesterov: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=7)
    parameter = torch.nn.Parameter(torch.tensor(values))
    theirs, mine = (
        torch.optim.SGD([parameter], 0.1, momentum, weight_decay=decay, nesterov=nesterov),
        Momentum(7, momentum, decay, nesterov),
    )
    for step in range(4):
        g = rng.normal(size=7)
        parameter.grad = torch.tensor(g)
        theirs.param_groups[0]["lr"] = lr = 0.1 / (step + 1)
        theirs.step()
        mine.step(values, g, lr)
        if step == 1:
            state, mine = mine.state(), Momentum(7, momentum, decay, nesterov)
            mine.load(state)
        assert np.abs(values - parameter.detach().numpy()).max() < 1e-14
    with pytest.raises(ValueError, match="an optimiser's state has shape"):
        mine.load({"velocity": np.zeros(8)})


@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_adam_is_torchs(decay: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 4))
    parameter = torch.nn.Parameter(torch.tensor(values))
    theirs, mine = (
        torch.optim.Adam([parameter], 0.01, (0.5, 0.999), weight_decay=decay),
        Adam((3, 4), (0.5, 0.999), decay),
    )
    for step in range(5):
        g = rng.normal(size=(3, 4))
        parameter.grad = torch.tensor(g)
        theirs.step()
        mine.step(values, g, 0.01)
        if step == 2:
            state, mine = mine.state(), Adam((3, 4), (0.5, 0.999), decay)
            mine.load(state)
        assert np.abs(values - parameter.detach().numpy()).max() < 1e-14


def test_decay_where_the_mask_says() -> None:
    mask, g = np.array([True, False, True]), np.zeros(3)
    values = np.ones(3, np.float32)
    Momentum(3, 0.9, 0.1).step(values, g, 0.1, mask)
    assert values.dtype == np.float32 and values[1] == 1 and (values[[0, 2]] < 1).all()
    assert optimisers.decayed(np.ones(2), np.ones(2), 0.0) is not None


def test_clipping_and_schedule() -> None:
    parameter = torch.nn.Parameter(torch.zeros(5))
    g = np.arange(5.0)
    for most in (1.0, 5.0, 100.0):
        parameter.grad = torch.tensor(g, dtype=torch.float32)
        torch.nn.utils.clip_grad_norm_([parameter], most)
        assert np.allclose(clipped(g, most), parameter.grad.numpy(), atol=1e-6)
    assert clipped(g, 0) is g
    optimiser = torch.optim.SGD([parameter], 0.025)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10, 0.001)
    for step in range(10):
        assert cosine(0.025, 0.001, step, 10) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()


def test_batches() -> None:
    x, y = np.arange(10 * 2 * 4 * 6, dtype=np.float32).reshape(10, 2, 4, 6) + 1, np.arange(10)
    batches = Batches(x, y, 3, 7)
    assert batches.count == 3
    seen = [batches.at(step) for step in range(6)]
    for images, labels in seen:
        assert images.shape == (3, 4, 6, 2) and np.array_equal(
            images, x[labels].transpose(0, 2, 3, 1)
        )
    first, second = (
        np.concatenate([labels for _, labels in part]) for part in (seen[:3], seen[3:])
    )
    assert len(set(first)) == len(set(second)) == 9 and not np.array_equal(first, second)
    again = Batches(x, y, 3, 7)
    assert all(np.array_equal(again.at(step)[1], seen[step][1]) for step in (5, 0, 3))
    assert not np.array_equal(Batches(x, y, 3, 8).at(0)[1], seen[0][1])
    assert Batches(x, y, 64, 0).at(0)[0].shape[0] == 10
    with pytest.raises(ValueError, match="10 images with 9 labels"):
        Batches(x, y[:9], 3, 0)


def test_changed_images() -> None:
    x = np.random.default_rng(0).normal(size=(50, 1, 6, 6)).astype(np.float32) + 10
    y = np.arange(50)
    plain, moved, mirrored, cut = (
        Batches(x, y, 50, 1, **how) for how in ({}, {"shift": 2}, {"flip": True}, {"cutout": 3})
    )
    before, labels = plain.at(4)
    for batches in (moved, mirrored, cut):
        assert np.array_equal(batches.at(4)[1], labels) and np.array_equal(
            batches.at(4)[0], batches.at(4)[0]
        )
        assert not np.array_equal(batches.at(4)[0], batches.at(5)[0])
    for image, original in zip(moved.at(4)[0], before, strict=True):
        wide = np.pad(original, ((2, 2), (2, 2), (0, 0)))
        assert any(
            np.array_equal(image, wide[i : i + 6, j : j + 6]) for i in range(5) for j in range(5)
        )
    turned = [
        bool(np.array_equal(image, original[:, ::-1]))
        for image, original in zip(mirrored.at(4)[0], before, strict=True)
    ]
    assert 10 < sum(turned) < 40
    for image, original, back in zip(mirrored.at(4)[0], before, turned, strict=True):
        assert back or np.array_equal(image, original)
    holes = (cut.at(4)[0] == 0).sum((1, 2, 3))
    assert (
        holes.max() == 9
        and holes.min() >= 1
        and np.array_equal(cut.at(4)[0][cut.at(4)[0] != 0], before[cut.at(4)[0] != 0])
    )
