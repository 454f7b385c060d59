"""DARTS and SNAS against what their papers say, written down in torch with exact derivatives;
resume; and real searches on digits.
"""

import json
import re
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from deap import base

from evoml.config import build
from evoml.contracts.task import ImageSet
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.network import Network
from evoml.search.toolbox import toolbox
from evoml.spaces import cell, nasbench101
from evoml.strategies import _gradient_search, darts, snas
from evoml.strategies.snas import ETA, concrete, costs, policy_gradient
from evoml.tasks import digits

torch = pytest.importorskip("torch")
from parts import NoEvaluator, class_of  # noqa: E402
from torch.func import functional_call  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from evoml.networks.cpu.shared_weights import CPUSharedWeights  # noqa: E402
from evoml.networks.places import places as weight_places  # noqa: E402
from evoml.networks.reference_supernet import ReferenceSupernet  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = cell.CellSpace(
    cell.Settings(
        blocks=2,
        operations="darts",
        output="all",
        skeleton=cell.CellSkeleton(cells=1, filters=4, reductions=1),
    )
)
DIGITS = digits.DigitsTask(digits.Settings(examples=200), None, 0).search(0)
NAMES = ("darts", "snas")
RADIUS = 1e-8  # so short in 64 bits that hardly any ReLU or maximum changes sides on the way


def noisy(images: ImageSet = DIGITS) -> ImageSet:
    """Digits without their empty corners, where windows of equal pixels have no one maximum."""
    x = images.train_x + np.random.default_rng(0).normal(0, 0.3, images.train_x.shape).astype(
        np.float32
    )
    return ImageSet(
        x,
        images.train_y,
        images.valid_x,
        images.valid_y,
        images.classes,
        images.mean,
        images.deviation,
    )


def box(images: ImageSet = DIGITS, dtype: str = "float32", space: Any = SPACE) -> base.Toolbox:
    """A toolbox of these images whose supernets compute in this precision."""
    out = toolbox(space, NoEvaluator(tasks=images))
    out.register(
        "shared_weights",
        lambda seed, **how: CPUSharedWeights(out.supernet(), seed, dtype=dtype, **how),
    )
    return out


def made(name: str, toolbox: base.Toolbox | None = None, seed: int = 3, **settings: Any) -> Any:
    module = load("strategies", name)
    return class_of(module)(
        toolbox or box(),
        module.Settings.read({"batch": 16, "epochs": 2} | settings, "strategy"),
        seed,
    )


def finished(strategy: Any) -> list[dict[str, Any]]:
    """Learn to the end of a search; what its epochs came to."""
    reports = []
    while strategy.learning:
        reports.append(strategy.learn())
    return [report for report in reports if report]


# -- the same in torch -----------------------------------------------------------------------------


class Reference:
    """A supernet in torch whose weights are one flat tensor, in the order that `CPUSharedWeights`
    has them in.
    """

    def __init__(self, strategy: Any) -> None:
        self.supernet = strategy.supernet
        self.model = ReferenceSupernet(self.supernet).double()
        self.names = {id(parameter): name for name, parameter in self.model.named_parameters()}

    def loss(self, flat: Any, mix: Any, batch: tuple[np.ndarray, np.ndarray]) -> Any:
        views: dict[str, Any] = {}
        places, size, _ = weight_places(self.supernet.network)
        steps = self.model.steps()
        for name, place in places.items():
            step, view = steps[name], place.view(flat)
            if place.primitive.kind != "bn":
                views[self.names[id(step.weight)]] = view
            elif step.weight is not None:
                views[self.names[id(step.weight)]], views[self.names[id(step.bias)]] = (
                    view[0],
                    view[1],
                )
        linear = self.model.linear
        head = size + linear.weight.numel()
        views |= {
            "linear.weight": flat[size:head].view(linear.weight.shape),
            "linear.bias": flat[head:],
        }
        assert set(views) == set(self.names.values())
        x = torch.from_numpy(batch[0].astype(np.float64).transpose(0, 3, 1, 2))
        return cross_entropy(
            functional_call(self.model, views, (x, mix)), torch.from_numpy(batch[1])
        )


def ahead(
    reference: Reference,
    w: Any,
    alpha: Any,
    train: Any,
    valid: Any,
    xi: float,
    pull: Any,
    decay: Any,
) -> Any:
    """The gradient by alpha of the validation loss behind one step of the weights, differentiated
    through that step.
    """
    mix = torch.softmax(alpha, -1)
    slopes = torch.autograd.grad(reference.loss(w, mix, train), w, create_graph=True)[0]
    return torch.autograd.grad(
        reference.loss(w - xi * (pull + slopes + decay * w), mix, valid), alpha
    )[0]


def torch_optimisers(strategy: Any, w: Any, alpha: Any) -> tuple[Any, Any, Any]:
    """The authors' optimisers and schedule, apart for weights that decay and those that do not
    (whose gradients are 0).
    """
    how = strategy.settings
    descent = torch.optim.SGD([w], how.lr, momentum=how.momentum)
    adam = torch.optim.Adam(
        [alpha],
        how.architecture.lr,
        how.architecture.betas,
        weight_decay=how.architecture.weight_decay,
    )
    return (
        descent,
        adam,
        torch.optim.lr_scheduler.CosineAnnealingLR(descent, how.epochs, how.lr_least),
    )


def weight_step(strategy: Any, descent: Any, w: Any) -> None:
    """Clip, decay, and go."""
    if strategy.settings.clip:
        torch.nn.utils.clip_grad_norm_([w], strategy.settings.clip)
    w.grad += (
        strategy.settings.weight_decay
        * torch.from_numpy(strategy.shared_weights.decayed)
        * w.detach()
    )
    descent.step()


def started(strategy: Any) -> tuple[Any, Any]:
    """Weights and architecture parameters that a strategy's first search begins with."""
    strategy.search, strategy.step = 0, 0
    strategy._open()
    strategy._begin()
    return (
        torch.from_numpy(each.copy()).requires_grad_()
        for each in (strategy.shared_weights.weights, strategy.alpha)
    )  # type: ignore[return-value]


@pytest.mark.parametrize("clip", [0.0, 0.5])
@pytest.mark.parametrize(("order", "least"), [("first", 1e-9), ("second", 1e-6)])
def test_steps_of_darts_are_those_of_the_paper(order: str, least: float, clip: float) -> None:
    """Also in the second epoch: momentum is there and the learning rate has fallen.

    The look ahead is differentiated exactly here.
    """
    how = {
        "order": order,
        "clip": clip,
        "radius": RADIUS / 20,
        "batch": 48,
        "lr": 0.1,
        "weight_decay": 3e-2,
        "epochs": 3,
    }
    strategy = made("darts", box(noisy(), "float64"), architecture={"lr": 0.05}, **how)
    w, alpha = started(strategy)
    reference = Reference(strategy)
    descent, adam, schedule = torch_optimisers(strategy, w, alpha)
    decay = 3e-2 * torch.from_numpy(strategy.shared_weights.decayed)
    velocity, part = torch.zeros_like(w), 0.0
    assert strategy.batches.count == 1 and len(strategy.batches.y) + len(
        strategy.architecture_batches.y
    ) == len(DIGITS.train_y)
    for step in range(3):
        train, valid = strategy.batches.at(step), strategy.architecture_batches.at(step)
        rate = descent.param_groups[0]["lr"]
        if order == "second":
            alpha.grad = ahead(reference, w, alpha, train, valid, rate, 0.9 * velocity, decay)
            plain = torch.autograd.grad(
                reference.loss(w.detach(), torch.softmax(alpha, -1), valid), alpha
            )[0]
            part = max(part, float((alpha.grad - plain).norm() / alpha.grad.norm()))
        else:
            alpha.grad = torch.autograd.grad(
                reference.loss(w.detach(), torch.softmax(alpha, -1), valid), alpha
            )[0]
        adam.step()
        loss = reference.loss(w, torch.softmax(alpha.detach(), -1), train)
        w.grad = torch.autograd.grad(loss, w)[0]
        weight_step(strategy, descent, w)
        schedule.step()
        velocity = descent.state[w]["momentum_buffer"].clone()
        found, _ = strategy._step(step)
        assert abs(found - loss.item()) < least
        assert np.abs(strategy.alpha - alpha.detach().numpy()).max() < least * 1e2
        assert np.abs(strategy.shared_weights.weights - w.detach().numpy()).max() < least
    assert part > 0.05 or order == "first"  # what looking ahead adds is seen


@pytest.mark.parametrize("momentum", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_second_order_is_the_exact_product_with_the_hessian(
    weight_decay: float, momentum: bool
) -> None:
    strategy = made("darts", box(noisy(), "float64"), batch=64)
    w, alpha = started(strategy)
    alpha.data += torch.from_numpy(np.random.default_rng(1).normal(0, 1, alpha.shape))
    train, valid = strategy.batches.at(0), strategy.architecture_batches.at(0)
    pull = (
        np.random.default_rng(2).normal(0, 0.1, len(w)) * momentum * strategy.shared_weights.decayed
    )
    mix = torch.softmax(alpha, -1).detach().numpy()
    decay = weight_decay * torch.from_numpy(strategy.shared_weights.decayed)
    wanted = {
        xi: ahead(
            Reference(strategy), w, alpha, train, valid, xi, torch.from_numpy(pull), decay
        ).numpy()
        for xi in (0.0, 0.05, 0.5)
    }
    for xi, exact in wanted.items():
        found = darts.ahead(
            strategy.shared_weights, train, valid, mix, xi, pull, weight_decay, RADIUS
        )
        assert np.linalg.norm(
            _gradient_search.through_softmax(found, mix) - exact
        ) < 1e-5 * np.linalg.norm(exact)
    assert np.linalg.norm(wanted[0.5] - wanted[0.0]) > 0.1 * np.linalg.norm(wanted[0.0])
    assert np.array_equal(strategy.shared_weights.weights, w.detach().numpy())


def test_the_step_of_the_finite_difference_is_relative_or_published() -> None:
    published, relative = made("darts", epsilon="published"), made("darts", radius=0.25)
    for strategy in (published, relative):
        started(strategy)
    weights = relative.shared_weights.weights[relative.shared_weights.decayed]
    assert (
        published._radius() == 0.01
        and abs(relative._radius() - 0.25 * np.sqrt((weights**2).sum())) < 1e-5
    )


def test_a_vanishing_vector_has_no_product() -> None:
    strategy = made("darts", box())
    started(strategy)
    mix = strategy.probabilities()
    assert not darts.product(
        strategy.shared_weights,
        strategy.batches.at(0),
        mix,
        np.zeros_like(strategy.shared_weights.weights),
        0.1,
    ).any()


@pytest.mark.parametrize("resource", ["none", "parameters"])
def test_steps_of_snas_are_those_of_the_paper(resource: str) -> None:
    """One loss, one draw, gradients through it by torch; with the resource constraint, and both
    gradients clipped.
    """
    architecture = {"lr": 0.05, "clip": 0.01}
    strategy = made(
        "snas",
        box(noisy(), "float64"),
        batch=128,
        epochs=3,
        clip=0.5,
        resource=resource,
        eta=2.0,
        architecture=architecture,
    )
    w, alpha = started(strategy)
    reference = Reference(strategy)
    descent, adam, schedule = torch_optimisers(strategy, w, alpha)
    assert (
        strategy.batches is strategy.architecture_batches
        and len(strategy.batches.y) == len(DIGITS.train_y)
        and strategy.batches.count == 1
    )
    for step, heat in enumerate((1.0, 0.515, 0.03)):
        gumbel = strategy.noise(step).gumbel(size=alpha.shape)
        draw = torch.softmax((alpha + torch.from_numpy(gumbel)) / heat, -1)
        loss = reference.loss(w, draw, strategy.batches.at(step))
        whole = loss + (
            2.0 * (draw * torch.from_numpy(strategy.costs)).sum() if resource != "none" else 0.0
        )
        w.grad, alpha.grad = torch.autograd.grad(whole, [w, alpha])
        torch.nn.utils.clip_grad_norm_([alpha], 0.01)
        adam.step()
        weight_step(strategy, descent, w)
        schedule.step()
        found, _ = strategy._step(step)
        assert abs(found - loss.item()) < 1e-8
        assert np.abs(strategy.alpha - alpha.detach().numpy()).max() < 1e-7
        assert np.abs(strategy.shared_weights.weights - w.detach().numpy()).max() < 1e-8


# -- SNAS's parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("heat", [1.0, 0.2])
def test_the_gradient_through_a_draw_is_that_of_finite_differences(heat: float) -> None:
    strategy = made("snas", box(noisy(), "float64"))
    started(strategy)
    batch, there = strategy.batches.at(0), strategy.supernet.available
    gumbel = strategy.noise(0).gumbel(size=there.shape)
    draw = concrete(strategy.alpha, gumbel, heat, there)
    found = (
        _gradient_search.through_softmax(
            strategy.shared_weights.gradients(*batch, draw, of_weights=False).mix, draw
        )
        / heat
    )
    order = np.argsort(-np.abs(found).ravel())
    for at in [*order[:6], *order[20:24]]:
        move = np.zeros(there.size)
        move[at] = 1e-6
        sides = [
            strategy.shared_weights.gradients(
                *batch,
                concrete(strategy.alpha + sign * move.reshape(there.shape), gumbel, heat, there),
            ).loss
            for sign in (1, -1)
        ]
        assert abs((sides[0] - sides[1]) / 2e-6 - found.ravel()[at]) < 1e-6 + 1e-4 * abs(
            found.ravel()[at]
        )


def test_draws_are_of_the_concrete_distribution() -> None:
    """The largest is an option as often as its probability; cold draws are decisions; closed
    options are never drawn.
    """
    logits, there = np.array([0.5, -1.0, 1.0, 9.0]), np.array([True, True, True, False])
    gumbel = np.random.default_rng(0).gumbel(size=(40_000, 4))
    draws = concrete(logits, gumbel, 1.0, there)
    wanted = np.exp(logits[:3]) / np.exp(logits[:3]).sum()
    assert np.abs(np.bincount(draws.argmax(1), minlength=4)[:3] / 40_000 - wanted).max() < 0.01
    assert not draws[:, 3].any() and np.allclose(draws.sum(1), 1)
    assert (
        (concrete(logits, gumbel, 0.03, there).max(1) > 0.99).mean()
        > 0.9
        > 0.1
        > (draws.max(1) > 0.99).mean()
    )


@pytest.mark.parametrize("heat", [1.0, 0.3])
def test_both_gradients_of_the_expected_cost_are_the_same_in_expectation(heat: float) -> None:
    """Of two options by enumeration: the share of one Gumbel draw in both is uniform, so that
    midpoints are a quadrature.
    """
    u = (np.arange(400_000) + 0.5) / 400_000
    gumbel = np.stack([-np.log(u), -np.log(1 - u)], -1)
    there, price, logits = (
        np.array([True, True, False]),
        np.array([3.0, 1.0, 0.0]),
        np.array([0.4, -0.3, 0.0]),
    )
    gumbel = np.concatenate([gumbel, np.zeros((len(u), 1))], -1)

    def expected(logits: np.ndarray) -> float:
        return float((concrete(logits, gumbel, heat, there) @ price).mean())

    draw = concrete(logits, gumbel, heat, there)
    through = (_gradient_search.through_softmax(price, draw) / heat).mean(0)
    policy = policy_gradient(price, draw, gumbel, there).mean(0)
    steps = [np.eye(3)[option] * 1e-4 for option in range(2)]
    exact = [(expected(logits + step) - expected(logits - step)) / 2e-4 for step in steps]
    assert exact[0] > 0.1
    assert np.allclose(through[:2], exact, atol=1e-5) and np.allclose(policy[:2], exact, atol=1e-4)
    assert through[2] == policy[2] == 0.0


def test_both_gradients_agree_for_more_options_too() -> None:
    rng = np.random.default_rng(4)
    there = np.array([[True] * 5, [True, True, True, False, False]])
    price, logits = rng.random((2, 5)) * there, rng.normal(0, 1, (2, 5))
    gumbel = rng.gumbel(size=(300_000, 2, 5))
    draw = concrete(logits, gumbel, 0.5, there)
    through = _gradient_search.through_softmax(price, draw) / 0.5
    difference = policy_gradient(price, draw, gumbel, there) - through
    deviation = difference.std(0) / np.sqrt(len(gumbel))
    assert (np.abs(difference.mean(0)) <= 4.5 * deviation + 1e-12).all()
    assert np.median(np.abs(through.mean(0)[there])) > 30 * deviation.max()  # else nothing was seen


@pytest.mark.parametrize("resource", ["parameters", "multiply_adds"])
def test_costs_are_those_of_the_networks(resource: str) -> None:
    """Architectures that use both inputs of their cells differ by their options alone; pooling is
    left out, which only in a supernet is normalised.
    """
    size, classes = DIGITS.size, len(DIGITS.classes)
    supernet = SPACE.supernet(size, classes)
    price = costs(supernet, resource)
    some = [each for seed in range(400) if not _pools(each := _random(seed)) and _both(each)][:8]
    true = np.array([getattr(SPACE.network(each, size, classes), resource) for each in some])
    mine = np.array([(price * SPACE.paths(each)).sum() for each in some])
    unit = np.polyfit(mine, true, 1)
    assert len(some) == 8 and np.ptp(true) > 0
    assert np.allclose(np.polyval(unit, mine), true, rtol=1e-9)
    assert abs((price / supernet.available.sum(1, keepdims=True)).sum() - 1) < 1e-12


def _random(seed: int) -> Genotype:
    return SPACE.random(np.array([seed], np.uint64)).genotype(0)


def _both(genotype: Genotype) -> bool:
    """Whether both cells read both of their inputs."""
    return all(
        {0, 1} <= {int(row[f"input_{side}"]) for row in genotype.tables[name] for side in "ab"}
        for name in cell.CELLS
    )


def _pools(genotype: Genotype) -> bool:
    return any(
        "pool" in group.options[option]
        for group, row in _rows(genotype)
        for option in np.flatnonzero(row)
    )


def _rows(genotype: Genotype) -> list[tuple[Any, np.ndarray]]:
    return list(
        zip(
            SPACE.supernet(DIGITS.size, len(DIGITS.classes)).groups,
            SPACE.paths(genotype),
            strict=True,
        )
    )


def test_memory_is_what_is_read_and_written() -> None:
    """By hand, for the first group: normal cells at 8 x 8 with 4 channels and at 4 x 4 with 8, both
    stride 1.
    """
    supernet = SPACE.supernet(DIGITS.size, len(DIGITS.classes))
    options = supernet.groups[0].options
    price = dict(zip(options, snas._costs(supernet, "memory")[0].tolist(), strict=True))
    sides = [(64 * 4, 4), (16 * 8, 8)]  # numbers in a state, channels
    assert price["none"] == 0
    assert (
        price["max_pool_3x3"]
        == price["avg_pool_3x3"]
        == price["skip_connect"]
        == sum(2 * numbers for numbers, _ in sides)
    )
    assert price["dil_conv_3x3"] == sum(4 * numbers + 9 * c + c * c for numbers, c in sides)
    assert price["sep_conv_5x5"] == sum(8 * numbers + 2 * (25 * c + c * c) for numbers, c in sides)
    every = [costs(supernet, name) for name in snas.RESOURCES]
    assert (
        np.allclose(costs(supernet, "all"), np.mean(every, 0)) and not costs(supernet, "none").any()
    )


def test_the_temperature_falls_from_epoch_to_epoch() -> None:
    strategy = made("snas", epochs=4, batch=64)
    started(strategy)
    count = strategy.batches.count
    assert count == 2
    heats = [strategy.temperature(step) for step in range(4 * count)]
    assert np.allclose(heats, np.repeat([1.0, 1 - 0.97 / 3, 1 - 1.94 / 3, 0.03], count))
    assert made("snas", epochs=1).settings.temperature == 1.0
    single = made("snas", epochs=1)
    assert [report["temperature"] for report in finished(single)] == [1.0]


def test_log_alpha_begins_where_the_authors_have_it() -> None:
    strategy = made("snas")
    started(strategy)
    assert abs(strategy.alpha.mean() - 1) < 0.005 and 0.005 < strategy.alpha.std() < 0.015
    strategy = made("darts")
    started(strategy)
    assert 0.0005 < strategy.alpha.std() < 0.0015 and np.allclose(
        strategy.probabilities(), 1 / 8, atol=1e-3
    )


@pytest.mark.parametrize("by", ["reparameterised", "policy_gradient"])
def test_a_constraint_makes_architectures_cheaper(by: str) -> None:
    """The policy gradient is a noisy one: it takes more steps.

    What is reported is the cost of the probabilities, 1 at first.
    """
    more = {
        "resource": "all",
        "resource_by": by,
        "architecture": {"lr": 0.1},
        "epochs": 3,
        "batch": 16,
    }
    free, bound = (
        finished(made("snas", box(), **more, eta=eta))[-1]["resource"] for eta in (1e-9, 300.0)
    )
    assert bound < 0.75 < 0.85 < free
    assert (
        made("snas", **more).eta == ETA["mild"]
        and made("snas", **more, constraint="aggressive").eta == ETA["aggressive"]
    )
    assert made("snas", constraint="aggressive").eta == 0


# -- searches --------------------------------------------------------------------------------------


def test_derivation_takes_the_strongest_two_and_never_none() -> None:
    strategy = made("darts", epochs=1, batch=64)
    assert not len(strategy.ask(np.array([0])))
    finished(strategy)
    options = strategy.supernet.groups[0].options
    names = [group.name for group in strategy.supernet.groups]
    strategy.alpha[:] = 0
    strategy.alpha[:, options.index("none")] = 5
    wanted = {
        "normal": {("0", "sep_conv_3x3"), ("2", "skip_connect")},
        "reduction": {("1", "max_pool_3x3"), ("2", "dil_conv_5x5")},
    }
    for kind, edges in wanted.items():
        for value, (source, name) in enumerate(sorted(edges), 1):
            strategy.alpha[names.index(f"{kind} {source}>3"), options.index(name)] = value
    (population,) = [strategy.ask(np.array([7]))]
    genotype = population.genotype(0)
    assert population.ids.tolist() == [7] and not len(strategy.ask(np.array([8])))
    for kind, edges in wanted.items():
        row = genotype.tables[kind][1]
        assert {
            (str(row[f"input_{side}"]), cell.PUBLISHED[row[f"op_{side}"]]) for side in "ab"
        } == edges
        assert {
            cell.PUBLISHED[row[f"op_{side}"]] for row in genotype.tables[kind] for side in "ab"
        }.isdisjoint({"none"})


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("darts", {"order": "first"}),
        ("darts", {"order": "second"}),
        ("snas", {"resource": "all", "resource_by": "policy_gradient"}),
    ],
    ids=["first", "second", "snas"],
)
def test_a_search_that_was_stored_in_the_middle_ends_as_it_would_have(
    name: str, settings: dict[str, Any]
) -> None:
    """In the first search and in the second one; the same to the last bit."""
    settings = settings | {
        "shift": 1,
        "flip": True,
        "cutout": 2,
        "batch": 32,
        "architecture": {"lr": 0.05},
    }
    one = made(name, **settings)
    ends: list[Any] = []
    for search in range(2):
        for _ in range(one.total // 2 + 1 if search else 3):
            one.learn()
        state = deepcopy(one.state_dict())
        other = made(name, **settings)
        other.load_state_dict(state)
        assert other.learning and finished(one) == finished(other)
        assert np.array_equal(
            one.shared_weights.weights, other.shared_weights.weights
        ) and np.array_equal(one.alpha, other.alpha)
        assert one.spent == other.spent > 0
        for each in (one, other):
            asked = each.ask(np.array([search]))
            ends.append(asked.genotype(0))
            asked.fitness[:], asked.status[:] = 0.5, 1
            each.tell(asked)
        assert ends[-1] == ends[-2] and not np.array_equal(
            one.shared_weights.weights, np.zeros_like(one.shared_weights.weights)
        )
    assert one.told == 2


@pytest.mark.parametrize("name", NAMES)
def test_searches_have_seeds_of_their_own(name: str) -> None:
    def begun(seed: int, search: int) -> Any:
        strategy = made(name, seed=seed)
        strategy.search = search
        strategy._open()
        strategy._begin()
        return strategy

    some = [begun(3, 0), begun(3, 1), begun(4, 0)]
    assert (
        len({each.shared_weights.weights.tobytes() for each in some})
        == len({each.alpha.tobytes() for each in some})
        == 3
    )
    assert len({each.batches.at(0)[0].tobytes() for each in some}) == 3
    assert begun(3, 0).shared_weights.weights.tobytes() == some[0].shared_weights.weights.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_state_that_does_not_fit_is_refused(name: str) -> None:
    strategy = made(name, batch=64)
    for _ in range(2):
        strategy.learn()
    good = strategy.state_dict()
    for key in ("alpha", "adam", "descent", "net"):
        for bad in (None, "x", {}, np.zeros(3)):
            with pytest.raises((KeyError, TypeError, ValueError, AttributeError, IndexError)):
                made(name, batch=64).load_state_dict(
                    good | {"searched": good["searched"] | {key: bad}}
                )
    for change in ({"step": -1}, {"step": 10**6}, {"search": 3}, {"told": 1}, {"searched": {}}):
        with pytest.raises((KeyError, ValueError)):
            made(name, batch=64).load_state_dict(good | change)
    made(name, batch=64).load_state_dict(good)


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("darts", {"order": "third"}, "strategy.order: 'third': "),
        ("darts", {"radius": 0}, "strategy.radius: 0: "),
        ("darts", {"epsilon": 0.1}, "strategy.epsilon: 0.1: "),
        (
            "darts",
            {"architecture": {"betas": [0.5, 1.0]}},
            "strategy.architecture.betas: [0.5, 1.0]: each must be from 0 to below 1",
        ),
        ("darts", {"architecture": {"rate": 1}}, "strategy.architecture.rate: no such setting"),
        ("darts", {"temperature": 1}, "strategy.temperature: no such setting"),
        ("darts", {"split": 1.0}, "strategy.split: 1.0: "),
        ("snas", {"resource": "time"}, "strategy.resource: 'time': "),
        ("snas", {"constraint": "hard"}, "strategy.constraint: 'hard': "),
        ("snas", {"eta": -1}, "strategy.eta: -1: "),
        (
            "snas",
            {"temperature": 0.01},
            "strategy.temperature_least: 0.03 is above temperature, 0.01",
        ),
        ("snas", {"temperature_least": 0}, "strategy.temperature_least: 0: "),
    ],
)
def test_bad_settings_are_one_line(name: str, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        load("strategies", name).Settings.read(settings, "strategy")
    assert str(caught.value).startswith(text) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_searched_is_one_line(name: str) -> None:
    module, given = load("strategies", name), _random(1)
    cases = [
        (toolbox(SPACE, NoEvaluator()), (), "task: "),  # type: ignore[arg-type]
        (box(space=nasbench101.NASBench101Space(nasbench101.Settings())), (), "space: "),
        (box(space=cell.CellSpace(cell.Settings(operations="darts"))), (), "space.output: "),
        (box(), (given,), "start: "),
    ]
    for tools, start, text in cases:
        with pytest.raises(InputError) as caught:
            class_of(module)(tools, module.Settings(), 3, start)
        assert str(caught.value).startswith(text) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_that_diverges_is_over_and_says_why(name: str) -> None:
    strategy = made(name, lr=1000.0, weight_decay=10.0, epochs=30)
    with np.errstate(all="ignore"):
        finished(strategy)
    assert not strategy.learning and strategy.unfinished and np.isfinite(strategy.alpha).all()
    assert re.fullmatch(
        r"strategy.lr: 1000: search 0 diverged at step \d+ of \d+; make it smaller",
        strategy.failure,
    )
    other = made(name, lr=1000.0, weight_decay=10.0, epochs=30)
    other.load_state_dict(strategy.state_dict())
    assert (other.failure, other.learning) == (strategy.failure, False)
    assert len(strategy.ask(np.array([0]))) == 1


def test_architecture_parameters_that_are_no_numbers_end_a_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also behind the very last step, whose loss is one."""
    strategy = made("darts")
    step = strategy._step

    def last(number: int) -> tuple[float, float]:
        found = step(number)
        if number + 1 == strategy.total:
            strategy.alpha[0, 0] = np.nan
        return found

    monkeypatch.setattr(strategy, "_step", last)
    finished(strategy)
    assert strategy.diverged == strategy.total and np.isfinite(strategy.alpha).all()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("darts", {"order": "first"}),
        ("darts", {"order": "second"}),
        ("snas", {"epochs": 15, "architecture": {"lr": 0.05}}),
    ],
    ids=["first", "second", "snas"],
)
def test_a_search_on_digits_learns(name: str, settings: dict[str, Any]) -> None:
    """Loss falls and accuracy is above that of always guessing one class; reports are plain values;
    the shared weights score what is derived.
    """
    strategy = made(name, box(), **{"epochs": 6, "batch": 16, "lr": 0.1} | settings)
    reports = finished(strategy)
    assert json.loads(json.dumps(reports)) == reports
    assert [report["epoch"] for report in reports] == list(range(1, strategy.settings.epochs + 1))
    assert reports[-1]["loss"] < 0.8 * reports[0]["loss"] and reports[-1]["accuracy"] > 0.5
    shares = np.array(reports[-1]["probabilities"])
    assert shares.shape == strategy.supernet.available.shape and np.allclose(
        shares.sum(1), 1, atol=1e-4
    )
    child = strategy.ask(np.array([0])).genotype(0)
    network = SPACE.network(child, DIGITS.size, len(DIGITS.classes))
    assert isinstance(network, Network) and network.parameters > 0
    assert 0 <= strategy.score(child) <= 1


@pytest.mark.parametrize("system", ["darts", "darts-first-order", "snas"])
@pytest.mark.parametrize("preset", ["desk", "paper", "final"])
def test_the_systems_are_whole(system: str, preset: str) -> None:
    config = build(("", {"system": system, "preset": preset, "task": {"name": "digits"}}))
    strategy, space = config.part("strategy"), config.part("space")
    assert space.operations == "darts" and space.output == "all"
    assert (
        getattr(strategy, "order", "")
        == {"darts": "second", "darts-first-order": "first", "snas": ""}[system]
    )
    if preset == "paper":
        assert (
            len(space.skeleton.plan) == 8
            and space.skeleton.filters == 16
            and space.blocks == 4
            and strategy.batch == 64
        )
        assert strategy.epochs == (150 if system == "snas" else 50)
        assert [at for at, name in enumerate(space.skeleton.plan) if name == "reduction"] == [2, 5]
