"""ProxylessNAS: gates, pairs and rescaling, expected cost and REINFORCE against closed forms and
finite differences, then whole searches.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deap import base
from parts import NoEvaluator

from evoml.config import build
from evoml.core.errors import InputError
from evoml.networks.latency import Table, known, multiply_adds, parts
from evoml.networks.optimisers import Adam, PartialAdam, cosine
from evoml.search.open import open_search
from evoml.search.toolbox import toolbox
from evoml.spaces import cell, mobile, nasbench101, nasbench201
from evoml.strategies import proxylessnas
from evoml.strategies._gradient_search import softmax, through_softmax
from evoml.strategies.proxylessnas import (
    UNITS,
    Settings,
    chosen,
    drawn,
    gates,
    logarithmic,
    pairs,
    policy_gradient,
    rescaled,
)
from evoml.tasks import digits

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = mobile.MobileSpace(
    mobile.Settings(
        kernels=(3, 5),
        widths=(6, 8),
        blocks=(2, 1),
        strides=(2, 2),
        skeleton={"stem": 4, "first": 4, "last": 8},
    )  # type: ignore[arg-type]
)
DIGITS = digits.DigitsTask(digits.Settings(examples=120), None, 0).search(0)
THERE = np.array(
    [[True] * 4, [True, True, True, False], [True, True, False, False], [True, False, False, False]]
)
ALPHA = np.where(THERE, np.random.default_rng(0).normal(size=THERE.shape), 0.0)


def box(space: Any = SPACE, images: Any = DIGITS) -> base.Toolbox:
    return toolbox(space, NoEvaluator(tasks=images))


def made(toolbox: base.Toolbox | None = None, seed: int = 3, **settings: Any) -> Any:
    given = {"batch": 16, "epochs": 4, "warmup": 1, "every": 2, "split": 0.6} | settings
    return proxylessnas.ProxylessNAS(toolbox or box(), Settings.read(given, "strategy"), seed)


def begun(**settings: Any) -> Any:
    strategy = made(**settings)
    strategy.learn()
    return strategy


def finished(strategy: Any) -> list[dict[str, Any]]:
    reports = []
    while strategy.learning:
        reports.append(strategy.learn())
    return [report for report in reports if report]


def difference(
    function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """The gradient of a function as central differences."""
    out = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        move = np.zeros(at.shape)
        move[place] = step
        out[place] = (function(at + move) - function(at - move)) / (2 * step)
    return out


# gates


def test_the_gates_gradient_is_that_of_the_expected_loss() -> None:
    """Where a loss is linear in the gates, the expectation over gates of Eq. (4) is exact: L = sum
    over groups of a number for the option that is drawn.
    """
    losses = np.random.default_rng(1).normal(size=THERE.shape)

    def expected(alpha: np.ndarray) -> float:
        p = softmax(alpha, THERE)
        options = [np.flatnonzero(row) for row in THERE]
        return sum(
            float(np.prod([p[g, o] for g, o in enumerate(draw)]))
            * sum(losses[g, o] for g, o in enumerate(draw))
            for draw in product(*options)
        )

    p = softmax(ALPHA, THERE)
    by_formula = np.array(
        [
            [sum(losses[g, j] * p[g, j] * ((i == j) - p[g, i]) for j in range(4)) for i in range(4)]
            for g in range(4)
        ]
    )  # the sum of Eq. (4), as it is written
    assert through_softmax(losses, p) == pytest.approx(by_formula, abs=1e-14)
    assert through_softmax(losses, p) == pytest.approx(difference(expected, ALPHA), abs=1e-8)


def test_paths_are_drawn_by_their_probabilities() -> None:
    rng, count, p = np.random.default_rng(2), 20_000, softmax(ALPHA, THERE)
    draws = np.array([drawn(rng, ALPHA, THERE)[:, 0] for _ in range(count)])
    for group in range(4):
        assert np.bincount(draws[:, group], minlength=4) / count == pytest.approx(
            p[group], abs=0.015
        )


def test_pairs_are_distinct_and_as_likely_as_draws_without_replacement() -> None:
    rng, count, p = np.random.default_rng(3), 20_000, softmax(ALPHA, THERE)
    draws = np.array([drawn(rng, ALPHA, THERE)[:, :2] for _ in range(count)])
    assert (draws[:, :, 0] != draws[:, :, 1]).all()
    for group in range(3):
        there = np.flatnonzero(THERE[group])
        for one, other in permutations(there, 2):
            wanted = p[group, one] * p[group, other] / (1 - p[group, one])
            found = ((draws[:, group, 0] == one) & (draws[:, group, 1] == other)).mean()
            assert found == pytest.approx(wanted, abs=0.015)


def test_a_pair_is_what_is_there() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        involved = pairs(drawn(rng, ALPHA, THERE)[:, :2], THERE)
        assert not involved[~THERE].any() and involved.sum(1).tolist() == [2, 2, 2, 1]


def test_which_of_a_pair_is_active_is_drawn_by_the_two_alone() -> None:
    rng, paths = np.random.default_rng(5), np.array([[0, 3], [2, 1], [1, 0], [0, 1]])
    involved = pairs(paths, THERE)
    p = softmax(ALPHA, involved)
    assert p.sum(1) == pytest.approx(np.ones(4)) and not p[~involved].any()
    for g, (a, b) in enumerate(paths[:3]):
        assert p[g, a] == pytest.approx(
            np.exp(ALPHA[g, a]) / (np.exp(ALPHA[g, a]) + np.exp(ALPHA[g, b]))
        )
    draws = np.array([chosen(rng, paths, p) for _ in range(20_000)])
    for g, (a, b) in enumerate(paths[:3]):
        assert set(draws[:, g]) == {a, b}
        assert (draws[:, g] == a).mean() == pytest.approx(p[g, a], abs=0.015)
    assert set(draws[:, 3]) == {0}


def test_a_step_of_two_paths_leaves_the_probabilities_of_all_others() -> None:
    rng, alpha = np.random.default_rng(6), ALPHA.copy()
    adam = PartialAdam(alpha.shape, (0.0, 0.999), 0.0)
    for _ in range(200):
        involved = pairs(drawn(rng, alpha, THERE)[:, :2], THERE)
        before, was = alpha.copy(), softmax(alpha, THERE)
        adam.step(alpha, rng.normal(size=alpha.shape), 0.5, involved)
        assert (
            np.abs(alpha - before)[involved & (THERE.sum(1, keepdims=True) > 1)].min() > 0
            and (alpha == before)[~involved].all()
        )
        alpha = rescaled(before, alpha, involved)
        now = softmax(alpha, THERE)
        assert np.abs(now - was)[~involved].max() < 1e-12
        assert np.where(involved, now, 0).sum(1) == pytest.approx(
            np.where(involved, was, 0).sum(1), abs=1e-12
        )


def test_rescaling_survives_what_exponentials_do_not() -> None:
    before, after = np.array([[900.0, 890.0, 880.0]]), np.array([[905.0, 890.0, 880.0]])
    out = rescaled(before, after, np.array([[True, True, False]]))
    assert np.isfinite(out).all() and out[0, 2] == 880
    assert np.logaddexp(*out[0, :2]) == pytest.approx(np.logaddexp(900, 890))


# what cost adds


@pytest.mark.parametrize("in_units", [True, False])
def test_the_logarithm_and_its_derivative(in_units: bool) -> None:
    reference = 3e-3 if in_units else 3e6
    for cost in (reference / 3, reference, 2 * reference):
        share, slope = logarithmic(cost, reference, 0.3, in_units)
        units = (UNITS / reference) if in_units else 1.0
        assert share == pytest.approx((np.log(cost * units) / np.log(reference * units)) ** 0.3)
        step = cost * 1e-6
        sides = [logarithmic(cost + sign * step, reference, 0.3, in_units)[0] for sign in (1, -1)]
        assert slope == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)
    assert logarithmic(reference, reference, 0.3, in_units)[0] == 1
    assert logarithmic(reference / 100 if in_units else 0.5, reference, 0.3, in_units) == (0, 0), (
        "a unit or less"
    )
    assert logarithmic(5.0, 1.0, 0.3, False) == (0, 0), "a reference of one unit"


def test_the_paper_measures_in_milliseconds() -> None:
    assert logarithmic(0.065, 0.080, 0.3, True)[0] == pytest.approx(
        (np.log(65) / np.log(80)) ** 0.3
    )


@pytest.mark.parametrize("regularisation", ["multiply", "add"])
@pytest.mark.parametrize("two", [True, False])
def test_the_gradient_of_loss_and_expected_cost_is_that_of_their_formula(
    regularisation: str, two: bool
) -> None:
    strategy = made(regularisation=regularisation, share=0.4)
    there = strategy.supernet.available
    rng = np.random.default_rng(7)
    alpha, losses = (
        np.where(there, rng.normal(size=there.shape), 0),
        rng.normal(1, 0.1, there.shape),
    )
    involved = pairs(drawn(rng, alpha, there)[:, :2], there) if two else there

    def loss(alpha: np.ndarray) -> float:
        return float((losses * softmax(alpha, involved)).sum())

    def whole(alpha: np.ndarray) -> float:
        expected = strategy.fixed + float((strategy.costs * softmax(alpha, involved)).sum())
        if regularisation == "add":
            return loss(alpha) + 0.4 * (expected - strategy.reference) / strategy.reference
        return 0.2 * loss(alpha) * float((np.log(expected) / np.log(strategy.reference)) ** 0.3)

    p = softmax(alpha, involved)
    found = strategy.gradient(loss(alpha), through_softmax(losses, p), p)
    assert found == pytest.approx(difference(whole, alpha), abs=1e-8) and not found[~involved].any()


def test_expected_cost_is_the_mean_of_the_networks() -> None:
    strategy = made()
    rng = np.random.default_rng(8)
    there = strategy.supernet.available
    p = softmax(np.where(there, rng.normal(size=there.shape), 0), there)
    mean = 0.0
    for draw in product(*(np.flatnonzero(row) for row in there)):
        mix = gates(np.array(draw), there.shape[1])
        network = SPACE.network(SPACE.derive(mix), (1, 8, 8), 10)
        assert strategy.expected(mix) == network.multiply_adds
        mean += float(p[np.arange(len(draw)), draw].prod()) * network.multiply_adds
    assert strategy.expected(p) == pytest.approx(mean, rel=1e-12)
    assert strategy.reference == pytest.approx(
        strategy.expected(there / there.sum(1, keepdims=True))
    )


def test_latency_is_what_a_table_says(tmp_path: Path) -> None:
    table = Table({key: 1e-9 * multiply_adds(key) + 1e-6 for key in known(SPACE, (1, 8, 8), 10)})
    table.write(tmp_path / "t.parquet")
    strategy = made(cost="latency", latency_table=str(tmp_path / "t.parquet"))
    population = SPACE.random(np.arange(5, dtype=np.uint64))
    for index in range(5):
        genotype = population.genotype(index)
        network = SPACE.network(genotype, (1, 8, 8), 10)
        assert strategy.expected(SPACE.paths(genotype)) == pytest.approx(
            sum(table.rows[key] for key in parts(network)), rel=1e-12
        )
    assert [report["cost"] < 1 for report in finished(strategy)] == [True] * 4


# REINFORCE


def test_the_policy_gradients_mean_is_the_gradient_of_the_expected_reward() -> None:
    rewards = np.random.default_rng(9).normal(size=THERE.shape)
    p = softmax(ALPHA, THERE)

    def expected(alpha: np.ndarray) -> float:
        return float((softmax(alpha, THERE) * rewards).sum())

    mean = np.zeros(THERE.shape)
    for draw in product(*(np.flatnonzero(row) for row in THERE)):
        mix = gates(np.array(draw), 4)
        weight = float(p[np.arange(4), draw].prod())
        # whatever the baseline
        mean += weight * policy_gradient(np.array([(rewards * mix).sum() - 0.7]), mix[None], p)
    assert mean == pytest.approx(difference(expected, ALPHA), abs=1e-8)


def test_a_better_reward_than_the_baseline_makes_a_path_likelier() -> None:
    p, mix = softmax(ALPHA, THERE), gates(np.array([1, 0, 1, 0]), 4)
    up = policy_gradient(np.array([1.0, 0.0]), np.array([mix, mix]), p)
    assert (
        (up[:3][mix[:3] == 1] > 0).all()
        and (up[:3][(mix[:3] == 0) & THERE[:3]] < 0).all()
        and up[3].tolist() == [0] * 4
    )


def test_the_reward_and_its_baseline_are_the_releases() -> None:
    strategy = begun(by="reinforce", samples=3, tradeoff=0.1, every=1, baseline=0.6)
    mix = SPACE.paths(SPACE.random(np.array([1], np.uint64)).genotype(0))
    assert strategy.reward(0.5, mix) == pytest.approx(
        0.5 * (strategy.reference / strategy.expected(mix)) ** 0.1
    )
    means: list[float] = []
    inner = strategy.reward
    strategy.reward = lambda accuracy, mix: means.append(inner(accuracy, mix)) or means[-1]
    finished(strategy)
    batches = np.array(means).reshape(-1, 3).mean(1)
    baseline = batches[0]
    for mean in batches[1:]:
        baseline += 0.6 * (mean - baseline)
    assert Settings().baseline == 0.99
    assert strategy.rewarded == len(batches) > 3 and strategy.mean_reward == pytest.approx(baseline)


# optimisers


def test_adam_of_some_is_adam_where_all_are_involved() -> None:
    rng, all_of_them = np.random.default_rng(10), np.ones((3, 4), bool)
    one, other = PartialAdam((3, 4), (0.3, 0.99), 0.01), Adam((3, 4), (0.3, 0.99), 0.01)
    a = rng.normal(size=(3, 4))
    b = a.copy()
    for _ in range(20):
        gradient = rng.normal(size=(3, 4))
        one.step(a, gradient, 0.1, all_of_them)
        other.step(b, gradient, 0.1)
    assert a == pytest.approx(b, abs=1e-12)


def test_what_a_step_does_not_involve_keeps_value_and_moments() -> None:
    rng = np.random.default_rng(11)
    adam, alone = PartialAdam((2, 3), (0.5, 0.9), 0.1), Adam(2, (0.5, 0.9), 0.1)
    values = rng.normal(size=(2, 3))
    left, mine = values.copy(), values[:, 1].copy()
    involved = np.zeros((2, 3), bool)
    involved[:, 1] = True
    for _ in range(7):
        gradient = rng.normal(size=(2, 3))
        adam.step(values, gradient, 0.1, involved)
        alone.step(mine, gradient[:, 1], 0.1)
    assert values[:, 1] == pytest.approx(mine) and (values[~involved] == left[~involved]).all()
    assert adam.steps.tolist() == [[0, 7, 0]] * 2 and not adam.square[~involved].any()
    with pytest.raises(ValueError, match="shape"):
        adam.load(PartialAdam((2, 2), (0.5, 0.9), 0.1).state())


def test_weights_that_a_step_does_not_use_rest_with_their_momentum() -> None:
    strategy = begun()
    for _ in range(3):
        strategy.learn()
    seen: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    inner = strategy._descend

    def watched(gradient: np.ndarray, mix: np.ndarray, step: int) -> None:
        before = strategy.shared_weights.weights.copy(), strategy.descent.velocity.copy()
        inner(gradient, mix, step)
        used = strategy.shared_weights.active(mix)
        moved = strategy.shared_weights.weights != before[0], strategy.descent.velocity != before[1]
        seen.append((used, *moved))

    strategy._descend = watched
    for _ in range(6):
        strategy.learn()
    assert len(seen) == 6
    for used, weights, velocity in seen:
        assert (
            0 < used.mean() < 1
            and not weights[~used].any()
            and not velocity[~used].any()
            and weights[used].mean() > 0.9
        )


# searches


def test_the_schedule_is_the_releases() -> None:
    strategy = begun(epochs=6, warmup=2, warmup_lr=0.4, lr=0.1, every=2)
    count = strategy.batches.count
    assert strategy.total == 6 * count and count > 2 and strategy.descent.nesterov
    assert [strategy.rate(step) for step in range(2 * count)] == [
        cosine(0.4, 0, step, 2 * count) for step in range(2 * count)
    ]
    assert strategy.rate(2 * count) == 0.1 and strategy.rate(6 * count - 1) == cosine(
        0.1, 0, 4 * count - 1, 4 * count
    )
    changed = []
    while strategy.learning:
        before = strategy.alpha.copy()
        strategy.learn()
        changed.append(bool((strategy.alpha != before).any()))
    first = 3 * count - 1  # one step was done before
    assert not any(changed[:first]) and changed[first:] == [
        (step + 1) % 2 == 0 for step in range(3 * count)
    ]


@pytest.mark.parametrize(
    "how", [{"mode": "two"}, {"mode": "full"}, {"by": "reinforce", "samples": 2}], ids=str
)
def test_a_state_goes_on_to_the_same_end(how: dict[str, Any]) -> None:
    whole, half = made(**how), made(**how)
    reports = finished(whole)
    half.learn()
    while half.step < half.total - 3:
        half.learn()
    again = made(**how)
    again.load_state_dict(deepcopy(half.state_dict()))
    assert reports[-1] == finished(again)[-1] and (again.alpha == whole.alpha).all()
    assert again.ask(np.array([0])).genotype(0) == whole.ask(np.array([0])).genotype(0)
    assert (again.shared_weights.weights == whole.shared_weights.weights).all()
    spoilt = deepcopy(half.state_dict())
    spoilt["searched"]["adam"]["mean"] = np.zeros((1, 1))
    with pytest.raises(ValueError, match="shape"):
        made(**how).load_state_dict(spoilt)


def test_the_loss_of_the_architecture_is_not_smoothed() -> None:
    strategy = begun(smoothing=0.3, every=1)
    seen = []
    inner = strategy.shared_weights.gradients

    def watched(*arguments: Any, **how: Any) -> Any:
        seen.append((how.get("of_weights", True), strategy.shared_weights.smoothing))
        return inner(*arguments, **how)

    strategy.shared_weights.gradients = watched
    finished(strategy)
    assert set(seen) == {(True, 0.3), (False, 0.0)}


@pytest.mark.parametrize("mode", ["two", "full"])
def test_a_step_follows_the_losses_derivatives_by_the_gates(mode: str) -> None:
    """In 64 bits, against finite differences of the gates: also of those of paths that are not
    active.
    """
    toolbox = box()
    inner = toolbox.shared_weights
    toolbox.register("shared_weights", lambda seed, **how: inner(seed, dtype="float64", **how))
    strategy = made(toolbox, mode=mode, cost="none", every=1)
    strategy.learn()
    net, seen = strategy.shared_weights, []
    gradients, step = net.gradients, strategy.adam.step

    def by_hand(*arguments: Any, **how: Any) -> Any:
        found = gradients(*arguments, **how)
        if not how.get("of_weights", True):
            x, y, mix = arguments
            # the loss, by the batch's own statistics
            score = lambda mix: float(net.score(x, y, mix, len(y))[1])
            seen.append([difference(score, mix, 1e-5), how["wanted"]])
        return found

    def watched(values: np.ndarray, gradient: np.ndarray, lr: float, involved: np.ndarray) -> None:
        seen[-1] += [gradient, softmax(values, involved), involved]
        step(values, gradient, lr, involved)

    net.gradients, strategy.adam.step = by_hand, watched
    while len(seen) < 3:
        strategy.learn()
    for slopes, wanted, gradient, p, involved in seen:
        assert (wanted == involved).all() and (
            involved.sum(1) == (2 if mode == "two" else strategy.supernet.available.sum(1))
        ).all()
        assert (
            gradient == pytest.approx(through_softmax(slopes, p), abs=1e-5)
            and np.abs(gradient).max() > 1e-3
        )


def test_a_search_rescales_what_a_step_of_two_paths_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """And which of the two is active is drawn: the first is as often not."""
    seen: list[tuple[Any, ...]] = []
    strategy = made(mode="two", cost="none", every=1, epochs=6, warmup=0)
    strategy.learn()
    there, gradients, step = (
        strategy.supernet.available,
        strategy.shared_weights.gradients,
        strategy.adam.step,
    )
    monkeypatch.setattr(
        proxylessnas,
        "drawn",
        lambda rng, alpha, there: np.argsort(~there, 1, kind="stable"),  # always 0, 1, ...
    )

    def watched(x: Any, y: Any, mix: np.ndarray, **how: Any) -> Any:
        if not how.get("of_weights", True):
            seen.append((mix.argmax(1), strategy.alpha.copy(), how["wanted"]))
        return gradients(x, y, mix, **how)

    strategy.shared_weights.gradients = watched
    strategy.adam.step = lambda *given: step(*given[:2], 0.5, given[3])  # far
    moved = 0.0
    while strategy.learning and len(seen) < 24:
        count = len(seen)
        strategy.learn()
        if len(seen) > count:
            _, before, involved = seen[-1]
            was, now = softmax(before, there), softmax(strategy.alpha, there)
            moved = max(moved, float(np.abs(now - was)[involved].max()))
            np.testing.assert_allclose(now[~involved], was[~involved], atol=1e-12)
    several = there.sum(1) > 1
    active = np.array([each[several] for each, _, _ in seen])
    assert moved > 0.01 and set(np.unique(active)) == {0, 1}
    assert 0.2 < (active == 0).mean() < 0.8


def test_only_the_drawn_path_is_paid_for() -> None:
    """In two-path mode a step of the architecture costs less than with all gates."""
    spent = {}
    for mode in ("two", "full"):
        strategy = made(mode=mode, every=1)
        finished(strategy)
        spent[mode] = strategy.spent
    everything = (
        strategy.supernet.network.multiply_adds * 3 * strategy.batches.batch * strategy.total
    )
    assert spent["two"] < spent["full"] < everything


@pytest.mark.parametrize(
    "how", [{"mode": "two"}, {"mode": "full"}, {"by": "reinforce", "samples": 20}], ids=str
)
def test_cost_alone_leads_to_the_cheapest_network(how: dict[str, Any]) -> None:
    strategy = made(
        regularisation="add",
        share=1e5,
        tradeoff=50.0,
        every=1,
        epochs=60,
        lr=1e-9,
        warmup_lr=1e-9,
        warmup=0,
        architecture={"lr": 0.1},
        **how,
    )
    finished(strategy)
    derived = SPACE.chosen(SPACE.derive(strategy.scores_of_options()))
    assert derived == ["mbconv_3x3_e3", "none", "mbconv_3x3_e3"]
    assert strategy.expected(strategy.probabilities()) < 0.8 * strategy.reference


def test_other_spaces_with_a_supernet_will_do() -> None:
    for space in (
        nasbench201.NASBench201Space(nasbench201.Settings(skeleton={"cells": 1, "filters": 4})),  # type: ignore[arg-type]
        cell.CellSpace(
            cell.Settings(
                blocks=2,
                operations="darts",
                output="all",
                skeleton=cell.CellSkeleton(cells=1, filters=4, reductions=1),
            )
        ),
    ):
        strategy = made(box(space), mode="two")
        reports = finished(strategy)
        assert space.schema.violation(
            strategy.ask(np.array([0])).genotype(0)
        ) is None and np.isfinite(reports[-1]["loss"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 5, "warmup": 4}, ("epochs", "6")), ({"cost": "latency"}, ("latency_table",)),
        ({"mode": "three"}, ("mode", "two")), ({"every": 0}, ("every",)),
        ({"smoothing": 1}, ("smoothing",)), ({"architecture": {"betas": [0.0, 1.0]}}, ("betas",)),
        ({"cost": "latency", "latency_table": "/none.parquet"}, ("/none.parquet", "no such file")),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_in_one_line(
    settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as error:
        made(**settings)
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(
        error.value
    )


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nasbench101: has no supernet; .*mobile"):
        made(box(nasbench101.NASBench101Space(nasbench101.Settings())))
    Table({("head", 1, 1, 1, 1, 1): 1.0}).write(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: no row for"):
        made(cost="latency", latency_table=str(tmp_path / "t.parquet"))


def test_a_whole_search_of_the_system(tmp_path: Path) -> None:
    small = {
        "search": {"audit": 0}, "strategy": {"epochs": 4, "warmup": 1}, "evaluator": {"epochs": 1},
        "task": {"examples": 150}, "space": {"widths": [6, 8], "blocks": [2, 1], "strides": [2, 2]},
        "workers": 1,
    }  # fmt: skip
    search = open_search(
        build(("system", {"system": "proxylessnas"}), ("test", small)), tmp_path / "run"
    )
    search.create()
    search.prepare()
    result = search.run()
    assert result.evaluations == 1 and result.best is not None
    events = [
        json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    ]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3, 4] and all(
        event["cost"] > 0 for event in epochs
    )
    assert np.array(epochs[-1]["probabilities"]).shape == (3, 7)


def test_the_systems_presets_are_valid() -> None:
    paper = build(("system", {"system": "proxylessnas"}), ("test", {"preset": "paper"}))
    strategy = paper.part("strategy")
    assert (strategy.epochs, strategy.warmup, strategy.every, strategy.lr, strategy.warmup_lr) == (
        160,
        40,
        5,
        0.025,
        0.05,
    )
    assert (
        strategy.architecture.lr,
        strategy.architecture.betas,
        strategy.weight_decay,
        strategy.smoothing,
    ) == (
        1e-3,
        (0, 0.999),
        4e-5,
        0.1,
    )
    space = mobile.MobileSpace(paper.part("space"))
    assert len(space.plan) == 21 and space.settings.skeleton.last == 1280
