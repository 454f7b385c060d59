"""Networks in torch: the same function as the plain definition, the counts that were promised, drop
path, and training that repeats itself.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from evoml.contracts.task import ImageSet
from evoml.core.errors import InputError
from evoml.evaluators.training import Settings as EvaluatorSettings
from evoml.evaluators.training import TrainingEvaluator
from evoml.genotypes.population import CRASHED, DIVERGED, OK, OVER_BUDGET, TIMED_OUT
from evoml.networks import training as trainings
from evoml.networks.cpu._training_kernels import depthwise_backward
from evoml.networks.cpu._training_pass import halves
from evoml.networks.module import Module
from evoml.networks.reference import ReferenceNetwork
from evoml.networks.settings import TrainingSettings
from evoml.networks.training import Data, augmented, latency, learning_rate, train
from evoml.phenotypes.layers import LAYERS, OPERATIONS, primitives
from evoml.phenotypes.network import Builder, Edge, Network, Node
from evoml.spaces import automl_zero, cell

pytestmark = pytest.mark.usefixtures("one_thread")


def space(operations: str = "amoebanet", **skeleton: object) -> cell.CellSpace:
    return cell.CellSpace(
        cell.Settings.model_validate(
            {"operations": operations, "skeleton": {"filters": 4, **skeleton}}
        )
    )


def genotype(where: cell.CellSpace, stream: int):
    return where.random(np.array([stream], np.uint64)).genotype(0)


def network(
    stream: int = 0, size=(1, 8, 8), operations: str = "amoebanet", **skeleton: object
) -> Network:
    where = space(operations, **skeleton)
    return where.network(genotype(where, stream), size, 10)


def images(
    count: int = 200, valid: int = 60, size=(1, 8, 8), classes: int = 3, seed: int = 0
) -> ImageSet:
    """Noise around one pattern a class."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(classes, *size))
    y = rng.integers(classes, size=count + valid)
    x = (patterns[y] + rng.normal(size=(count + valid, *size))).astype(np.float32)
    names = tuple(map(str, range(classes)))
    return ImageSet(
        x[:count], y[:count], x[count:], y[count:], names, np.zeros(size[0]), np.ones(size[0])
    )


def gradients(module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """By name, of a loss that weighs every output differently."""
    out = module(x)
    logits = out[0] if isinstance(out, tuple) else out
    module.zero_grad()
    (logits * torch.linspace(-1, 2, logits.numel()).view_as(logits)).sum().backward()
    if isinstance(module, ReferenceNetwork):
        return {
            name: torch.zeros_like(value) if value.grad is None else value.grad
            for name, value in module.named_parameters()
        }
    found = Module(module.network)
    with torch.no_grad():
        (
            found.weights.copy_(module.weights.grad),
            found.linear.weight.copy_(module.linear.weight.grad),
        )
        found.linear.bias.copy_(module.linear.bias.grad)
    return {name: value for name, value in found.state_dict().items() if "running" not in name}


def agree(net: Network, batch: int = 6, tolerance: float = 1e-5) -> None:
    """Outputs, gradients and running moments of the plain loop, of the module and of its path
    through autograd.
    """
    module, x = (
        Module(net).train(),
        torch.randn(batch, *net.inputs, generator=torch.Generator().manual_seed(1)),
    )
    reference, double = module.reference().train(), module.reference().double().train()
    assert torch.allclose(
        module(x)[0], reference(x), atol=tolerance * max(1, reference(x).abs().max().item())
    )
    want = gradients(double, x.double())
    other = Module(net).train()
    other._train = other._run  # type: ignore[method-assign]
    for made in (gradients(module, x), gradients(other, x)):
        assert made.keys() == want.keys()
        scale = max(value.abs().max().item() for value in want.values())
        for name, value in want.items():
            assert torch.allclose(made[name], value.float(), atol=1e-4 * scale, rtol=1e-3), name
    module.load_state_dict(fresh := Module(net).state_dict())
    reference = module.reference().train()
    module(x), reference(x)
    for name, value in module.state_dict().items():
        assert torch.allclose(value, reference.state_dict()[name], atol=1e-5), name
    assert fresh.keys() == module.state_dict().keys()
    assert torch.allclose(
        module.eval()(x)[0],
        reference.eval()(x),
        atol=tolerance * max(1, reference(x).abs().max().item()),
    )


@pytest.mark.parametrize("operations", OPERATIONS)
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 7, 9)])
def test_same_as_plain(operations: str, size) -> None:
    agree(network(3, size, operations))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("inputs", "outputs", "stride"), [(3, 3, 1), (3, 3, 2), (3, 5, 1), (4, 1, 2), (3, 3, 3)]
)
def test_every_layer(layer: str, inputs: int, outputs: int, stride: int) -> None:
    try:
        primitives(layer, inputs, outputs, stride)
    except ValueError:
        return  # it cannot change its channels so, or not keep its size
    build = Builder((2, 7, 6))
    start = build.layer(0, "stem_3x3", inputs)
    there = build.layer(start, layer, outputs, stride)
    agree(build.network(build.concat([there, build.layer(start, "conv_3x3", 2, 2)]), 3))


def test_layers_that_cannot_be() -> None:
    with pytest.raises(
        ValueError, match="truncate only takes channels away; it cannot give 5 of 3"
    ):
        primitives("truncate", 3, 5)
    for layer in ("max_pool_2x2", "avg_pool_2x2_conv_1x1"):
        with pytest.raises(ValueError, match=f"{layer} is for strides from two on"):
            primitives(layer, 3, 3, 1)
    with pytest.raises(ValueError, match="max_pool_2x2 keeps its 3 channels"):
        primitives("max_pool_2x2", 3, 5, 2)


@pytest.mark.parametrize("normalised", ["start", "down"])
def test_a_convolution_is_folded_with_its_own_normalisation_only(normalised: str) -> None:
    """Where another one follows, or something else reads the convolution too, it stays as it is."""
    build = Builder((2, 7, 6))
    start = build.layer(0, "stem_3x3", 3)
    nodes = {"start": start, "down": build.layer(start, "avg_pool_2x2_conv_1x1", 3, 2)}
    normal = build.layer(nodes[normalised], "batch_norm", 3)
    net = build.network(build.concat([nodes["down"], normal]), 3)
    module = Module(net)
    with torch.no_grad():
        module.running.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(0))
    x = torch.randn(4, *net.inputs)
    assert torch.allclose(module.eval()(x)[0], module.reference()(x), atol=1e-5)


def test_merges_of_unequal_sizes() -> None:
    build = Builder((1, 9, 7))
    first = build.layer(0, "conv_3x3_bn_relu", 4)
    small = build.layer(first, "max_pool_3x3", 4, 2)
    agree(
        build.network(
            build.node(
                [
                    Edge(small, "identity", 4),
                    Edge(first, "sep_conv_5x5", 4),
                    Edge(first, "none", 4, 2),
                ]
            ),
            3,
        )
    )
    agree(build.network(build.concat([small, first, 0]), 3))


@settings(max_examples=25, deadline=None)
@given(
    stream=st.integers(0, 2**32), operations=st.sampled_from(sorted(OPERATIONS)),
    channels=st.integers(1, 4), height=st.integers(3, 13), width=st.integers(3, 13),
    cells=st.integers(0, 2), reductions=st.integers(0, 2),
)  # fmt: skip
def test_counts_and_sizes(stream, operations, channels, height, width, cells, reductions) -> None:
    """Parameters, multiply-adds and the size of every node are what the table says."""
    net = network(stream, (channels, height, width), operations, cells=cells, reductions=reductions)
    module, x = Module(net), torch.zeros(2, *net.inputs)
    assert (
        sum(value.numel() for value in module.parameters())
        == net.parameters
        == sum(p.numel() for p in module.reference().parameters())
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.reference()(x)
    assert counter.get_total_flops() == 2 * 2 * net.multiply_adds
    with torch.no_grad():
        values = module.train()._train(x, list(range(len(net.nodes))))
    assert [tuple(value.shape[1:]) for value in values] == list(net.sizes)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.sampled_from([(1, 3), (3, 3), (5, 5), (7, 7), (5, 1)]),
    stride=st.sampled_from([(1, 1), (2, 2), (1, 2), (3, 3)]), dilation=st.integers(1, 3),
    channels=st.integers(1, 9), height=st.integers(1, 11), width=st.integers(1, 11),
)  # fmt: skip
def test_depthwise_gradient(kernel, stride, dilation, channels, height, width) -> None:
    random = torch.Generator().manual_seed(0)
    x, weight = (
        torch.randn(3, channels, height, width, generator=random),
        torch.randn(channels, 1, *kernel, generator=random),
    )
    padding = tuple(dilation * (side - 1) // 2 for side in kernel)
    weight.requires_grad_()
    out = torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, channels)
    g = torch.randn(out.shape, generator=random)
    out.backward(g)
    rows = [tensor.permute(0, 2, 3, 1).flatten(2).contiguous().numpy() for tensor in (x, g)]
    found = np.empty((channels, kernel[0] * kernel[1]), np.float32)
    depthwise_backward(*rows, kernel, stride, dilation, padding, found)
    np.testing.assert_allclose(found, weight.grad.flatten(1), atol=1e-3)


def test_factorised_reduction_shifts_by_a_pixel() -> None:
    (_, step, _) = primitives("factorized_reduction", 2, 5, 2)
    assert [(shift, part.stop - part.start) for shift, part in halves(step)] == [(0, 2), (1, 3)]


def test_drop_path() -> None:
    """Paths vanish an image at a time, in proportion to depth and progress; identities stay; the
    expectation is kept.
    """
    nodes = (
        Node(()),
        Node((Edge(0, "stem_3x3", 2),)),
        Node((Edge(1, "identity", 2, depth=1.0), Edge(1, "conv_1x1", 2, depth=0.5))),
    )
    net = Network((1, 4, 4), 2, nodes, 2)
    module = Module(net, drop_path_keep=0.6).train()
    assert module.plan.paths == (0.5,)
    assert module._scales(10) is None  # the first step
    module.set_progress(0.5)
    scales = module._scales(20_000)
    kept = 1 - 0.4 * 0.5 * 0.5
    assert sorted(scales.unique().tolist()) == pytest.approx([0.0, 1 / kept])
    assert scales.mean().item() == pytest.approx(1, abs=0.02)
    for run in (module._train, module._run):
        module.generator.manual_seed(5)
        identity, out = run(torch.randn(50, 1, 4, 4), [1, 2])
        dropped = ((out - identity).abs().flatten(1).max(1).values == 0).sum()
        assert 0 < dropped < 50
    same = Module(net).train()
    assert same.plan.paths == () and same._scales(5) is None


@pytest.mark.parametrize(
    ("layer", "inputs", "stride", "dropped"),
    [
        ("identity", 2, 1, False), ("identity", 2, 2, False), ("identity", 3, 1, False),
        ("identity_fr", 2, 1, False), ("identity_fr", 2, 2, False), ("skip_connect", 2, 1, False),
        ("skip_connect", 2, 2, True), ("none", 2, 2, False), ("max_pool_3x3", 2, 1, True),
        ("conv_1x1", 2, 1, True),
    ],
)  # fmt: skip
def test_identities_are_never_dropped_also_where_they_are_projected(
    layer: str, inputs: int, stride: int, dropped: bool
) -> None:
    """What DARTS calls skip_connect is a factorised reduction where it strides, and dropped as
    DARTS does.
    """
    nodes = (
        Node(()),
        Node((Edge(0, "stem_3x3", inputs),)),
        Node((Edge(1, layer, 2, stride, depth=1.0), Edge(1, "sep_conv_3x3", 2, stride))),
    )
    net = Network((1, 4, 4), 2, nodes, 2)
    assert Module(net, drop_path_keep=0.5).plan.paths == ((1.0,) if dropped else ())


def test_the_chance_to_drop_a_path_grows_with_depth_and_step() -> None:
    net = network(7, cells=1, reductions=1)
    module = Module(net, drop_path_keep=0.4)
    assert set(module.plan.paths) == {1 / 3, 2 / 3, 1.0}
    for step, total in ((1, 4), (3, 4)):
        module.set_progress(step / total)
        for depth, scales in zip(module.plan.paths, module._scales(20_000), strict=True):
            chance = (1 - 0.4) * depth * step / total
            assert (scales == 0).float().mean().item() == pytest.approx(chance, abs=0.015)
            assert scales.max().item() == pytest.approx(1 / (1 - chance))


def test_drop_path_in_both_paths_is_the_same() -> None:
    module = Module(network(7), drop_path_keep=0.5).train()
    module.set_progress(1.0)
    x, out = torch.randn(8, 1, 8, 8), []
    for run in (module._train, module._run):
        module.generator.manual_seed(5)
        value = run(x, [module.network.output])[0]
        module.zero_grad()
        value.square().sum().backward()
        out.append((value.detach(), module.weights.grad.clone()))
    assert torch.allclose(out[0][0], out[1][0], atol=1e-4)
    assert torch.allclose(out[0][1], out[1][1], atol=1e-3 * out[0][1].abs().max().item())


def test_auxiliary_head() -> None:
    for size in ((1, 8, 8), (3, 1, 2), (2, 31, 17)):
        module = Module(network(1, size, auxiliary=True))
        logits, side = module.train()(torch.randn(4, *size))
        (logits.sum() + side.square().sum()).backward()
        assert side.shape == logits.shape and module.weights.grad.abs().sum() > 0
        assert module.eval()(torch.randn(4, *size))[1] is None
        assert (
            sum(p.numel() for name, p in module.named_parameters() if "auxiliary" not in name)
            == module.network.parameters
        )


def test_initial_weights_are_seeded_and_he() -> None:
    before = torch.random.get_rng_state()
    one, other, third = (
        Module(network(2, filters=32), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(
        torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters())
    ) and not torch.equal(one.weights, third.weights)
    for name, place in one._places.items():
        if place.primitive.kind == "conv" and place.primitive.parameters > 2000:
            p = place.primitive
            assert place.view(one.weights).std().item() == pytest.approx(
                math.sqrt(2 * p.outputs / p.parameters), rel=0.1
            ), name


def test_weights_that_do_not_fit() -> None:
    state = Module(network(0)).state_dict()
    with pytest.raises(ValueError, match="weights do not fit this network: linear.bias"):
        Module(network(0)).load_state_dict(
            {name: value for name, value in state.items() if name != "linear.bias"}
        )


# training


def learn(
    net: Network | None = None, data: ImageSet | None = None, seed: int = 0, **values: object
):
    chosen = TrainingSettings.model_validate({"epochs": 3, "batch": 32, **values})
    return train(net or network(0, filters=4), data or images(), chosen, seed)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"optimiser": "adam", "lr": 0.005, "clip": 0.0},
        {"cutout": 2, "shift": 1, "label_smoothing": 0.1, "drop_path_keep": 0.8, "epochs": 9},
        {"schedule": "step", "decay_epochs": 1},
        {"schedule": "constant", "momentum": 0.0},
    ],
)
def test_it_learns_and_repeats_itself(values) -> None:
    one = learn(**values)
    torch.manual_seed(77), torch.rand(3), np.random.seed(5)
    learn(seed=9)  # what ran before does not matter
    other = learn(**values)
    assert (
        one.status == OK and one.train_losses[-1] < 0.9 * one.train_losses[0] and one.accuracy > 0.4
    )
    assert len(one.curve) == len(one.losses) == values.get("epochs", 3) and one.steps == 6 * len(
        one.curve
    )
    assert (one.curve, one.losses, one.train_losses) == (
        other.curve,
        other.losses,
        other.train_losses,
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            one.module.state_dict().values(), other.module.state_dict().values(), strict=True
        )
    )
    assert learn(seed=1, **values).losses != one.losses
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_auxiliary_head_is_trained() -> None:
    done = learn(network(0, auxiliary=True))
    assert (
        done.status == OK
        and done.losses != learn(network(0, auxiliary=True), auxiliary_weight=0.0).losses
    )


@pytest.mark.parametrize(
    "values",
    [
        {"drop_path_keep": 0.5}, {"shift": 1}, {"flip": True}, {"cutout": 3},
        {"label_smoothing": 0.1}, {"clip": 0.1}, {"weight_decay": 0.1}, {"momentum": 0.5},
        {"schedule": "constant"}, {"schedule": "step", "decay_epochs": 1}, {"optimiser": "adam"},
        {"lr": 0.04}, {"batch": 50},
    ],
    ids=str,
)  # fmt: skip
def test_every_part_of_the_recipe_counts(values: dict[str, object]) -> None:
    """Each changed alone gives another training."""
    net = network(7, filters=2, cells=0)
    usual, other = (learn(net, epochs=2, **each) for each in ({}, values))
    assert usual.status == other.status == OK and usual.train_losses != other.train_losses
    assert not torch.equal(usual.module.weights, other.module.weights)


def test_progress_is_the_share_of_steps_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(Module, "set_progress", lambda module, share: told.append(share))
    steps = learn(epochs=3, batch=50).steps
    assert steps == 12 and told == [step / steps for step in range(steps)]


def test_label_smoothing_spreads_a_share_over_all_classes() -> None:
    """The loss of a single step on everything, which leaves the weights almost as they are."""
    net, data = network(0), images()
    done = learn(net, data, epochs=1, batch=200, lr=1e-9, label_smoothing=0.2)
    labels = torch.from_numpy(data.train_y)
    with torch.no_grad():
        logits = done.module.train()(torch.from_numpy(data.train_x))[0]
    shares = torch.nn.functional.one_hot(labels, net.classes) * 0.8 + 0.2 / net.classes
    assert done.train_losses[0] == pytest.approx(
        -(logits.log_softmax(1) * shares).sum(1).mean().item(), rel=1e-4
    )
    assert done.train_losses[0] == pytest.approx(
        torch.nn.CrossEntropyLoss(label_smoothing=0.2)(logits, labels).item(), rel=1e-4
    )


def test_best_epoch() -> None:
    best, last = (
        learn(report="best", lr=0.5, schedule="constant", epochs=5),
        learn(lr=0.5, schedule="constant", epochs=5),
    )
    assert (
        best.curve == last.curve
        and best.accuracy == max(best.curve)
        and best.epoch == int(np.argmax(best.curve))
        and last.epoch == 4
    )
    data = Data(images())
    assert trainings.score(best.module, data.valid_x, data.valid_y, data.loss)[0] == best.accuracy


def test_divergence_time_and_memory() -> None:
    done = learn(lr=1000.0, clip=0.0, momentum=0.0, weight_decay=10.0, epochs=20)
    assert (
        done.status == DIVERGED and done.module is not None and all(map(math.isfinite, done.losses))
    )
    late = train(network(0), images(), TrainingSettings(epochs=100), 0, timeout=1e-9)
    assert (late.status, late.steps, late.curve, late.accuracy) == (
        TIMED_OUT,
        1,
        (),
        0.0,
    ) and late.module is not None
    crashed = train(
        replace(network(0), inputs=(1, 8, 8)), images(size=(2, 8, 8)), TrainingSettings(), 0
    )
    assert (
        crashed.status == CRASHED
        and crashed.module is None
        and crashed.error
        and crashed.accuracy == 0
    )


def test_training_can_be_stopped_after_an_epoch() -> None:
    done = train(
        network(0), images(), TrainingSettings(epochs=9), 0, after=lambda epoch, accuracy: epoch < 1
    )
    assert done.status == OK and len(done.curve) == 2


def test_schedules() -> None:
    rates = lambda **values: [
        learning_rate(TrainingSettings(epochs=4, lr=1.0, **values), step, 40)
        for step in (0, 19, 20, 39)
    ]
    assert rates() == pytest.approx(
        [1, 0.5 * (1 + math.cos(math.pi * 19 / 40)), 0.5, 0.00154], abs=1e-4
    )
    assert rates(schedule="step", decay_epochs=2) == [1, 1, 0.1, 0.1]
    assert rates(schedule="constant") == [1] * 4


def test_augmentation() -> None:
    x = torch.arange(1.0, 2 * 4 * 5 * 3 + 1).reshape(2, 4, 5, 3)
    go = lambda x, seed=0, **values: augmented(
        x, TrainingSettings(**values), torch.Generator().manual_seed(seed)
    )
    assert go(x) is x
    for seed in range(10):
        for image, source in zip(go(x, seed, flip=True), x):
            assert torch.equal(image, source) or torch.equal(image, source.flip(1))
        for image, source in zip(go(x, seed, shift=1), x):
            padded = torch.nn.functional.pad(source, (0, 0, 1, 1, 1, 1))
            assert any(
                torch.equal(image, padded[i : i + 4, j : j + 5]) for i in range(3) for j in range(3)
            )
        gone = (go(x, seed, cutout=3) == 0).all(3)
        assert gone.sum((1, 2)).min() >= 4 and gone.sum((1, 2)).max() <= 9
    many = torch.ones(400, 4, 4, 1).cumsum(2)
    assert 120 < (go(many, flip=True)[:, 0, 0, 0] == 4).sum() < 280


def test_cutout_is_a_square_or_what_of_it_lies_inside() -> None:
    gone = (
        augmented(
            torch.ones(300, 9, 8, 2), TrainingSettings(cutout=3), torch.Generator().manual_seed(0)
        )
        == 0
    ).all(3)
    whole = 0
    for image in gone:
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows[:, None] & columns[None, :])
        for side in (rows, columns):
            at = side.nonzero().flatten()
            assert at[-1] - at[0] + 1 == len(at) and (
                len(at) == 3 or (len(at) == 2 and (side[0] or side[-1]))
            )
        whole += int(image.sum()) == 9
    assert whole > 150, "its middle lies anywhere"


def test_latency() -> None:
    module, passes = Module(network(0)).train(), []
    module.register_forward_pre_hook(lambda module, given: passes.append(given[0].shape))
    assert latency(module, 3) > 0 and not module.training
    assert len(passes) >= 3 and set(passes) == {(1, *module.network.inputs)}


# the evaluator


def evaluator(**values: object) -> TrainingEvaluator:
    return TrainingEvaluator(
        EvaluatorSettings.model_validate({"epochs": 1, "batch": 32, **values}),
        images(),
        space(),
        "",
    )


def test_objectives_and_caps() -> None:
    made = evaluator(objectives=["accuracy", "loss", "parameters", "multiply_adds", "latency"])
    assert (
        made.weights == (1, -1, -1, -1, -1) and made.worst == (0, *[math.inf] * 4) and made.costly
    )
    one = genotype(made.space, 4)
    net = made.space.network(one, (1, 8, 8), 3)
    done = made.candidate(one, 5)
    assert (
        done.status[0] == OK
        and done.objectives[0, 2:4].tolist() == [net.parameters, net.multiply_adds]
        and len(done.curves[0]) == 1
        and done.seconds[0] > 0
    )
    again = made.candidate(one, 5)
    assert (done.objectives[0, :2] == again.objectives[0, :2]).all()
    for cap in (
        {"max_parameters": net.parameters - 1},
        {"max_multiply_adds": net.multiply_adds - 1},
    ):
        over = evaluator(**cap)
        assert over.candidate(one, 5).status[0] == OVER_BUDGET
        assert over.candidate(one, 5).objectives.tolist() == [[0.0]]
        assert over.counts["over_budget"] == 2 and over.counts["steps"] == 0
        assert TrainingEvaluator.exact(over.settings) == evaluator().settings
    assert (
        evaluator(max_parameters=net.parameters, max_multiply_adds=net.multiply_adds)
        .candidate(one, 5)
        .status[0]
        == OK
    )
    values, trained = made.test(one, 5)
    assert values["test_accuracy"] == trained.accuracy == done.objectives[0, 0]


def test_batches_state_and_threads() -> None:
    made = evaluator()
    some = made.space.random(np.arange(3, dtype=np.uint64))
    before = torch.get_num_threads()
    one, other = made.evaluate(some), made.evaluate(some.take([2, 1, 0]))
    assert torch.get_num_threads() == before
    assert (
        (one.objectives == other.objectives[::-1]).all()
        and one.steps == 18
        and (one.status == OK).all()
    )
    assert made.evaluate(some[:0]).objectives.shape == (0, 1)
    fresh = evaluator()
    fresh.warm()
    fresh.load_state_dict(made.state_dict())
    assert fresh.counts == made.counts and fresh.counts["candidates"] == 6
    with pytest.raises(ValueError):
        fresh.load_state_dict({})


def test_a_candidates_own_fault_is_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    made = evaluator(objectives=["loss"])
    one = genotype(made.space, 4)

    def none(*_: object) -> Network:
        raise ValueError("no network")

    monkeypatch.setattr(made.space, "network", none)
    done = made.candidate(one, 0)
    assert (done.status[0], done.objectives.tolist()) == (CRASHED, [[math.inf]]) and made.counts[
        "crashed"
    ] == 1
    with pytest.raises(InputError, match="genotype: no network"):
        made.test(one, 0)


def test_parts_that_do_not_fit() -> None:
    with pytest.raises(
        InputError,
        match="evaluator: training trains networks, which space automl_zero does not make; cell, "
        "hierarchical, chain do",
    ):
        TrainingEvaluator(
            EvaluatorSettings(), images(), automl_zero.AutoMLZeroSpace(automl_zero.Settings()), ""
        )
    with pytest.raises(InputError, match="training trains on images"):
        TrainingEvaluator(EvaluatorSettings(), np.zeros(3), space(), "")
    with pytest.raises(InputError, match="objectives"):
        EvaluatorSettings.read({"objectives": ["beauty"]}, "evaluator")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="evaluator.device: cuda"):
            evaluator(device="cuda").candidate(genotype(space(), 0), 0)
