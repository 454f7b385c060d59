"""One-Shot: which paths a step goes without, what of the shared weights it moves, how candidates
are scored, and that any strategy searches with it.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from test_steady import resumed, rows, started

from evoml.config import assign, build, systems
from evoml.contracts.task import ImageSet
from evoml.core.errors import InputError
from evoml.evaluators._paths import PathDropout, junctions
from evoml.evaluators.one_shot import OneShotEvaluator, Settings
from evoml.genotypes.population import CRASHED, DIVERGED, OK, Population
from evoml.genotypes.schema import Genotype
from evoml.networks import memory
from evoml.networks.module import Module
from evoml.phenotypes.network import Builder, Edge, Group, Supernet
from evoml.search.problem import Problem
from evoml.search.winner import final_problem
from evoml.spaces.cell import PUBLISHED

CELL = {
    "name": "cell", "blocks": 2, "operations": "enas", "output": "all", "combine": ["add"],
    "skeleton": {"cells": 1, "filters": 2, "reductions": 1, "stem": 1},
}  # fmt: skip
SMALL = [
    "space.name=cell", "space.blocks=2", "space.operations=enas", "space.output=all",
    "space.skeleton.cells=0", "space.skeleton.filters=2", "task.name=digits", "task.examples=200",
    "evaluator.name=one_shot", "evaluator.epochs=2", "evaluator.batch=32",
    "evaluator.stand_alone.epochs=1", "search.budget=12", "search.audit=2", "search.audit_most=2",
    "search.audit_best=2", "workers=1",
]  # fmt: skip


def images(train: int = 24, valid: int = 10, size: int = 6) -> ImageSet:
    rng = np.random.default_rng(3)
    x, y = (
        rng.normal(size=(train + valid, 1, size, size)).astype(np.float32),
        np.arange(train + valid) % 3,
    )
    return ImageSet(
        x[:train], y[:train], x[train:], y[train:], ("a", "b", "c"), np.zeros(1), np.ones(1)
    )


def problem(**space: Any) -> Problem:
    return Problem(build(("test", {"space": CELL | space, "evaluator": {"name": "one_shot"}})))


def evaluator(
    data: ImageSet | None = None, space: dict[str, Any] | None = None, **given: Any
) -> OneShotEvaluator:
    values = {"epochs": 2, "batch": 8, "ghosts": 2} | given
    return OneShotEvaluator(
        Settings.read(values, "evaluator"), data or images(), problem(**(space or {})).space
    )


def drawn(evaluator: OneShotEvaluator, number: int) -> Genotype:
    genotype: Genotype = evaluator.space.random(np.array([number], np.uint64)).genotype(0)
    return genotype


def population(evaluator: OneShotEvaluator, numbers: Iterable[int]) -> Population:
    return Population.of(evaluator.space.schema, [drawn(evaluator, each) for each in numbers])


def learnt(evaluator: OneShotEvaluator, steps: int = 10**9) -> list[dict[str, Any]]:
    """The reports of so many steps."""
    out = []
    while evaluator.learning and steps:
        out.append(evaluator.learn())
        steps -= 1
    return [report for report in out if report is not None]


def fan(*paths: int, always: bool = False) -> Supernet:
    """A chain of nodes, each with so many paths into it."""
    build = Builder((2, 4, 4))
    last = build.layer(0, "conv_1x1", 2, name="stem")
    for group, count in enumerate(paths):
        beside = [Edge(last, "identity", 2)] if always else []
        last = build.node(
            [
                *beside,
                *(Edge(last, "conv_1x1", 2, option=(group, option)) for option in range(count)),
            ],
            name=str(group),
        )
    groups = tuple(Group(str(group), ("conv_1x1",) * count) for group, count in enumerate(paths))
    return Supernet(build.network(last, 2), groups)


# -- path dropout ----------------------------------------------------------------------------------


def test_paths_are_dropped_at_the_rate_that_is_set() -> None:
    """At the end of training all paths of a junction with r; with r^(1/k) each of k."""
    for r in (0.05, 0.3):
        one = evaluator(drop=r).dropout
        for paths, _ in one.junctions:
            assert [one.rates[path] for path in paths] == pytest.approx(
                [r ** (1 / len(paths))] * len(paths)
            )


@pytest.mark.parametrize("r", [0.05, 0.5])
def test_every_node_would_lose_all_of_its_paths_as_often(r: float) -> None:
    dropout = PathDropout(fan(1, 2, 5), r)
    assert dropout.there.sum(1).tolist() == [1, 2, 5]
    for group, count in enumerate((1, 2, 5)):
        assert dropout.rates[group, :count] == pytest.approx(r ** (1 / count))
        assert dropout.rates[group, :count].prod() == pytest.approx(r)
    assert not dropout.rates[~dropout.there].any()


def test_fan_in_is_of_a_node_over_all_edges_of_a_cell_and_none_is_no_path() -> None:
    for operations, count in (("enas", 5), ("darts", 7)):
        supernet = problem(operations=operations).space.supernet((1, 6, 6), 3)
        # nodes of two kinds of cell, however many cells
        assert [len(paths) for paths, _ in junctions(supernet)] == [2 * count, 3 * count] * 2
        dropout = PathDropout(supernet, 0.05)
        assert dropout.there.sum() == 2 * 5 * count
        assert np.unique(dropout.rates[dropout.there]) == pytest.approx(
            sorted((0.05 ** (1 / (2 * count)), 0.05 ** (1 / (3 * count))))
        )
        assert not dropout.mask(np.random.default_rng(0), 0.0)[~dropout.there].any()


@hypothesis_settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.floats(0, 0.999),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_a_node_never_loses_all_of_its_paths(
    paths: list[int], r: float, share: float, seed: int
) -> None:
    dropout, rng = PathDropout(fan(*paths), r), np.random.default_rng(seed)
    for _ in range(20):
        mask = dropout.mask(rng, share)
        assert (
            (mask.sum(1) >= 1).all()
            and not mask[~dropout.there].any()
            and set(np.unique(mask)) <= {0.0, 1.0}
        )
        assert share > 0 or mask.sum() == sum(paths)


def test_beside_a_path_that_is_always_there_all_others_may_go() -> None:
    dropout, rng = PathDropout(fan(2, always=True), 0.5), np.random.default_rng(1)
    none = sum(not dropout.mask(rng, 1.0).any() for _ in range(4000))
    assert abs(none / 4000 - 0.5) < 0.04  # five standard deviations


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_masks_are_distributed_as_they_should_be(share: float) -> None:
    count, r, draws = 3, 0.2, 12_000
    dropout, rng = PathDropout(fan(count), r), np.random.default_rng(7)
    rate = share * r ** (1 / count)
    found = Counter(tuple(dropout.mask(rng, share)[0].astype(int)) for _ in range(draws))
    wanted = {}
    for number in range(1, 2**count):
        kept = tuple(number >> bit & 1 for bit in range(count))
        chance = (1 - rate) ** sum(kept) * rate ** (count - sum(kept))
        # where all were dropped, any one stays
        wanted[kept] = draws * (chance + (rate**count / count if sum(kept) == 1 else 0))
    assert sum(wanted.values()) == pytest.approx(draws)
    assert chisquare([found[kept] for kept in wanted], list(wanted.values())).pvalue > 1e-4


def test_the_rate_grows_linearly_from_nothing_and_every_ghost_has_its_own_paths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, shares = evaluator(ghosts=4), []
    original = PathDropout.mask
    monkeypatch.setattr(
        PathDropout,
        "mask",
        lambda self, rng, share: (shares.append(share), original(self, rng, share))[1],
    )
    assert mine.total == 6
    masks = [mine.masks(step) for step in range(mine.total)]
    assert shares[::4] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert all(mask.shape == (4, *mine.supernet.available.shape) for mask in masks)
    assert (
        len({ghost.tobytes() for ghost in masks[0]}) == 1
        and len({ghost.tobytes() for ghost in masks[-1]}) > 1
    )
    assert np.array_equal(masks[3], evaluator(ghosts=4).masks(3))
    other = evaluator(ghosts=4)
    other.seed = 1
    assert not np.array_equal(masks[-1], other.masks(5))


# -- steps -----------------------------------------------------------------------------------------


def test_only_weights_that_a_step_uses_move() -> None:
    mine = evaluator(ghosts=1, weight_decay=0.1, drop=0.5)
    dropped = 0
    for step in range(mine.total):
        active, before = (
            mine.shared_weights.active(mine.masks(step)),
            mine.shared_weights.weights.copy(),
        )
        mine.descent.velocity[:] = 0  # what earlier steps gave is no part of this one
        mine.learn()
        assert np.array_equal(mine.shared_weights.weights[~active], before[~active])
        assert (
            mine.shared_weights.weights[active & (before != 0)] != before[active & (before != 0)]
        ).mean() > 0.9
        dropped += int((~active).sum())
    assert dropped > 100


def test_a_step_is_sgd_with_the_penalty_on_the_union_of_what_ghosts_use() -> None:
    mine, twin = (
        evaluator(weight_decay=0.1, clip=0.0, lr=0.2, lr_least=0.2, momentum=0.5, drop=0.5)
        for _ in range(2)
    )
    learnt(mine, 4), learnt(twin, 4)
    masks, (x, y) = mine.masks(4), mine.batches.at(4)
    before, velocity = mine.shared_weights.weights.copy(), mine.descent.velocity.copy()
    gradient = twin.shared_weights.gradients(x, y, masks, of_mix=False).weights
    either = twin.shared_weights.active(masks[0]) | twin.shared_weights.active(masks[1])
    assert (
        not either.all()
        and (twin.shared_weights.active(masks[0]) != twin.shared_weights.active(masks[1])).any()
    )
    assert gradient is not None
    wanted = before - 0.2 * (0.5 * velocity + gradient + 0.1 * np.where(either, before, 0))
    mine.learn()
    assert mine.shared_weights.weights == pytest.approx(wanted, abs=1e-6)


def test_ghosts_are_normalised_by_themselves() -> None:
    """The loss of a batch in two ghosts is the mean of what each half has alone, and not that of
    the whole.
    """
    mine = evaluator()
    x, y = mine.batches.at(0)
    x = x * np.linspace(0.2, 3, len(x), dtype=np.float32)[:, None, None, None]
    masks = mine.masks(0)
    both = mine.shared_weights.gradients(x, y, masks).loss
    halves = [
        mine.shared_weights.gradients(x[half], y[half], masks[0]).loss
        for half in (slice(0, 4), slice(4, 8))
    ]
    assert both == pytest.approx(np.mean(halves), rel=1e-5)
    assert abs(both - mine.shared_weights.gradients(x, y, masks[0]).loss) > 1e-3


def test_reports_say_what_an_epoch_came_to() -> None:
    mine = evaluator(epochs=3)
    reports = learnt(mine)
    assert [(report["search"], report["epoch"], report["epochs"]) for report in reports] == [
        (0, 1, 3),
        (0, 2, 3),
        (0, 3, 3),
    ]
    assert all(0 < report["loss"] < 10 and 0 <= report["accuracy"] <= 1 for report in reports)
    assert [report["spent"] for report in reports] == sorted(
        {report["spent"] for report in reports}
    ) and reports[-1]["spent"] == mine.spent
    assert json.loads(json.dumps(reports)) == reports
    assert (
        mine.counts == {"candidates": 0, "crashed": 0, "diverged": 0, "steps": 9}
        and not mine.learning
    )


def test_what_a_supernet_learns_it_keeps_for_candidates() -> None:
    """Images that one pixel tells apart: candidates score far above chance, which an untrained
    supernet does not.
    """
    rng = np.random.default_rng(0)
    y = np.arange(160) % 2
    x = (
        rng.normal(size=(160, 1, 6, 6)).astype(np.float32)
        + y[:, None, None, None].astype(np.float32) * 2
    )
    data = ImageSet(x[:120], y[:120], x[120:], y[120:], ("a", "b"), np.zeros(1), np.ones(1))
    mine = evaluator(data, epochs=6, batch=20)
    scores = [mine.score(drawn(mine, number)) for number in range(12)]  # which trains it first
    assert not mine.learning and np.mean(scores) > 0.8


def test_a_batch_is_divided_evenly_where_there_are_fewer_images() -> None:
    mine = evaluator(images(train=11), batch=64, ghosts=4)
    assert mine.batch == 8 and mine.total == 2
    learnt(mine)
    assert mine.batches.batch == 8


# -- candidates ------------------------------------------------------------------------------------


def test_a_score_is_that_of_the_candidates_own_network_with_the_same_weights() -> None:
    """Where both have the same layers: the supernets of cells normalise what is pooled."""
    mine = evaluator(space={"skeleton": CELL["skeleton"] | {"stem": 3}}, epochs=3)
    learnt(mine)
    compared = 0
    for genotype in (drawn(mine, number) for number in range(300)):
        if "pool" in mine.space.format(genotype):
            continue
        network = mine.space.network(genotype, mine.tasks.size, 3)
        module = Module(network)
        module.load_state_dict(mine.shared_weights.child(network), strict=False)
        with torch.no_grad():
            out = module.train()(torch.from_numpy(mine.tasks.valid_x))
        logits, y = out[0] if isinstance(out, tuple) else out, torch.from_numpy(mine.tasks.valid_y)
        outcome = mine.candidate(genotype)
        assert (
            outcome.objectives[0, 0]
            == mine.score(genotype)
            == pytest.approx(float((logits.argmax(1) == y).float().mean()))
        )
        assert mine.shared_weights.score(
            mine._valid, mine.tasks.valid_y, mine.space.paths(genotype)
        )[1] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-4)
        found = mine.shared_weights.probabilities(mine._valid, mine.space.paths(genotype))
        assert found == pytest.approx(logits.double().softmax(1).numpy(), rel=1e-4, abs=1e-6)
        compared += 1
    assert compared >= 3


def test_divergence_is_that_of_predictions_with_and_without_the_other_paths() -> None:
    mine = evaluator(epochs=3)
    learnt(mine)
    spent, genotype = mine.spent, drawn(mine, 0)
    x = np.ascontiguousarray(mine.tasks.train_x.transpose(0, 2, 3, 1))
    p, q = (
        mine.shared_weights.probabilities(x, mine.dropout.there.astype(float)),
        mine.shared_weights.probabilities(x, mine.space.paths(genotype)),
    )
    expected = (p * np.log(p / q) + q * np.log(q / p)).sum(1).mean()
    assert mine.divergence(genotype) == pytest.approx(expected, rel=1e-9) and expected > 0
    assert mine.spent == spent


def test_objectives_are_those_of_shared_weights_and_of_the_candidates_own_network() -> None:
    mine = evaluator(objectives=["accuracy", "loss", "parameters", "multiply_adds"])
    learnt(mine)
    assert mine.weights == (1, -1, -1, -1) and mine.worst == (0.0, np.inf, np.inf, np.inf)
    before = mine.spent
    outcomes = [mine.candidate(drawn(mine, number), number) for number in range(3)]
    for number, outcome in enumerate(outcomes):
        network = mine.space.network(drawn(mine, number), mine.tasks.size, 3)
        accuracy, loss, parameters, multiply_adds = outcome.objectives[0]
        assert (
            outcome.status[0] == OK
            and accuracy == mine.score(drawn(mine, number))
            and 0 < loss < 100
        )
        assert (parameters, multiply_adds) == (network.parameters, network.multiply_adds)
    after = mine.spent
    # what a check scores is no part of the search
    assert after > before and mine.score(drawn(mine, 0)) >= 0 and mine.spent == after
    whole = mine.evaluate(population(mine, range(3)))
    assert (
        np.array_equal(whole.objectives, [outcome.objectives[0] for outcome in outcomes])
        and whole.steps == 0
    )
    assert mine.counts["candidates"] == 6


def test_a_candidate_with_nothing_on_a_node_is_scored_as_one_whose_paths_give_nothing() -> None:
    mine = evaluator(space={"operations": "darts"})
    learnt(mine)
    genotypes = [genotype for number in range(300) if _bare(genotype := drawn(mine, number))]
    assert len(genotypes) > 3 and all(
        mine.candidate(genotype).status[0] == OK for genotype in genotypes
    )


def _bare(genotype: Genotype) -> bool:
    """Whether a block has `none` on both of its edges."""
    none = [
        row[1] == row[3] == PUBLISHED.index("none")
        for table in genotype.tables.values()
        for row in table.tolist()
    ]
    return any(none)


def test_a_candidate_that_cannot_be_scored_has_a_status() -> None:
    mine = evaluator()
    learnt(mine)
    genotype = drawn(mine, 0)
    mine.shared_weights.weights[:] = np.nan
    assert mine.candidate(genotype).status[0] == DIVERGED

    def impossible(*_: Any) -> None:
        raise ValueError("node 3 adds different numbers of channels")

    mine.space.network = impossible
    assert mine.candidate(genotype).status[0] == CRASHED
    assert mine.candidate(genotype).objectives.tolist() == [[0.0]]
    assert mine.counts["crashed"] == 2 and mine.counts["diverged"] == 1


def test_a_supernet_that_nobody_trained_is_trained_for_the_first_candidate() -> None:
    one, other = evaluator(), evaluator()
    learnt(other)
    assert one.evaluate(population(one, [5])).steps == one.total
    assert np.array_equal(one.shared_weights.weights, other.shared_weights.weights)


@pytest.mark.parametrize("space", ["nasbench201", "mobile"])
def test_other_spaces_with_a_supernet_are_searched_too(space: str) -> None:
    about = Problem(build(("test", {"space": {"name": space}, "evaluator": {"name": "one_shot"}})))
    mine = OneShotEvaluator(
        Settings.read({"epochs": 1, "batch": 8}, "evaluator"), images(train=16, size=8), about.space
    )
    learnt(mine)
    outcome = mine.candidate(drawn(mine, 1))
    assert outcome.status[0] == OK and 0 <= outcome.objectives[0, 0] <= 1


# -- state -----------------------------------------------------------------------------------------


def test_a_state_in_the_middle_of_training_goes_on_to_the_same_weights() -> None:
    whole, first, second = evaluator(drop=0.5), evaluator(drop=0.5), evaluator(drop=0.5)
    for each in (whole, first, second):
        each.seed = 5
    reports = learnt(whole)
    early = learnt(first, 4)  # in the second epoch
    state = first.state_dict()
    second.warm()
    second.load_state_dict(state)
    late = learnt(second)
    assert early + late == reports
    assert whole.shared_weights.weights.tobytes() == second.shared_weights.weights.tobytes()
    assert whole.descent.velocity.tobytes() == second.descent.velocity.tobytes()
    for each in (whole, second):
        each.candidate(drawn(each, 1))
    assert (
        whole.spent == second.spent and whole.counts == second.counts and whole.step == second.step
    )


def test_a_state_is_a_copy_and_an_untrained_one_is_small() -> None:
    mine = evaluator()
    assert mine.state_dict()["learnt"] == {}
    learnt(mine, 2)
    state = mine.state_dict()
    before = state["learnt"]["net"]["weights"].copy()
    learnt(mine)
    assert np.array_equal(state["learnt"]["net"]["weights"], before)


@pytest.mark.parametrize(
    "change",
    [
        {"step": 7}, {"step": -1}, {"spent": -1}, {"sums": np.zeros(3)}, {"counts": {}},
        {"learnt": {}},
        {
            "learnt": {
                "net": {"weights": np.zeros(3), "spent": 0}, "descent": {"velocity": np.zeros(3)},
            }
        },
    ],
    ids=str,
)  # fmt: skip
def test_a_state_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    mine = evaluator()
    learnt(mine, 2)
    with pytest.raises((ValueError, KeyError)):
        evaluator().load_state_dict(mine.state_dict() | change)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"space": {"output": "unused"}}, "space.output: .*set space.output to all"),
        ({"space": {"combine": ["add", "concat"]}}, "space.combine"),
        ({"batch": 10, "ghosts": 4}, "evaluator.ghosts: 4: must divide batch, 10"),
        ({"batch": 8, "ghosts": 8}, "at least two images"),
        ({"objectives": ["loss", "accuracy"]}, "evaluator.objectives: .*accuracy first"),
        ({"objectives": []}, "evaluator.objectives"),
        ({"drop": 1.0}, "evaluator.drop: 1.0"),
        ({"stand_alone": {"epochs": 0}}, "evaluator.stand_alone.epochs: 0"),
        ({"data": images(train=6), "ghosts": 4}, "evaluator.ghosts: 4: must be at most 3"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_in_a_line(given: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        evaluator(**given)
    assert "\n" not in str(error.value)


def test_spaces_and_tasks_without_a_supernet_are_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = Problem(build(("test", {"space": {"name": "chain"}}))).space
    with pytest.raises(
        InputError,
        match="evaluator: one_shot trains a supernet, which space chain does not have; cell, ",
    ):
        OneShotEvaluator(Settings(), images(), chain)
    with pytest.raises(InputError, match="which this task does not give; digits does"):
        OneShotEvaluator(Settings(), SimpleNamespace(), problem().space)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(
        InputError,
        match=r"the supernet needs about .* GiB for a step of 4 images.*make evaluator.batch",
    ):
        evaluator()


def test_a_training_that_diverges_is_said_in_a_line() -> None:
    mine = evaluator(lr=1000.0, clip=0.0, momentum=0.99, weight_decay=10.0, epochs=60)
    with pytest.raises(
        InputError,
        match=r"evaluator.lr: 1000: the supernet's training diverged in step \d+ of 180; make it "
        r"smaller",
    ):
        learnt(mine)


# -- the loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["random_search", "aging_evolution", "nsga2", "local_search"])
def test_any_strategy_searches_with_it(strategy: str, tmp_path: Path) -> None:
    sets = [*SMALL, f"strategy.name={strategy}", "search.audit=0"]
    if strategy != "local_search":
        sets.append("strategy.population=4")
    if strategy == "aging_evolution":
        sets.append("strategy.tournament=2")
    if strategy == "nsga2":
        sets.append('evaluator.objectives=["accuracy", "parameters"]')
    search = started(tmp_path / "run", *sets)
    result = search.run()
    assert result.reason == "budget" and result.best is not None
    found = rows(tmp_path / "run")
    candidates = [row for row in found if row["event"] == "candidate"]
    assert [row["id"] for row in candidates] == list(range(12)) and {
        row["status"] for row in candidates
    } == {"ok"}
    assert (
        search.evaluator.step == search.evaluator.total
        and search.evaluator.counts["candidates"] == 12
    )
    for row in candidates:
        individual = search.halloffame[0]
        if row["id"] == individual.id:
            assert row["accuracy"] == search.evaluator.score(individual.genotype)


def test_a_search_that_is_interrupted_in_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    sets = [*SMALL, "strategy.name=random_search", "strategy.population=4", "search.seed=3"]
    whole = started(tmp_path / "whole", *sets)
    one = whole.run()
    search, stop = started(tmp_path / "run", *sets), threading.Event()
    learn = search.evaluator.learn
    search.evaluator.learn = lambda: (stop.set() if search.evaluator.step == 4 else None, learn())[
        1
    ]
    assert search.run(stop=stop).reason == "interrupted" and search.evaluator.step == 5
    again = resumed(tmp_path / "run")
    assert again.evaluator.step == 5 and again.evaluator.seed == 3
    other = again.run()
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert (
        one.best == other.best
        and again.evaluator.shared_weights.weights.tobytes()
        == whole.evaluator.shared_weights.weights.tobytes()
    )
    assert again.evaluator.spent == whole.evaluator.spent
    assert one.audit is not None and one.audit == other.audit


def test_a_winner_is_trained_as_the_setting_stand_alone_says() -> None:
    run = Problem(
        build(("test", {"system": "one-shot", "evaluator": {"stand_alone": {"lr": 0.3}}}))
    )
    assert run.trains and not run.evaluator(images()).costly
    plain = final_problem(run, [], None).config
    assert plain.name("evaluator") == "training" and (
        plain.evaluator["epochs"],
        plain.evaluator["lr"],
    ) == (6, 0.3)
    assert plain.space["skeleton"]["cells"] == 1
    final = final_problem(run, [], "final").config
    assert (
        final.evaluator["epochs"],
        final.evaluator["lr"],
        final.evaluator["drop_path_keep"],
    ) == (60, 0.3, 0.9)
    assert final.space["skeleton"]["cells"] == 2
    changed = final_problem(run, [("--set", assign("evaluator.epochs=2"))], "final").config
    assert changed.evaluator["epochs"] == 2
    other = Problem(build(("test", {"space": CELL, "evaluator": {"name": "one_shot"}})))
    assert final_problem(other, [], "final").config.evaluator["epochs"] == 60


@pytest.mark.parametrize("preset", ["desk", "paper", "final"])
def test_the_system_is_whole(preset: str) -> None:
    assert "one-shot" in systems()
    config = build(("test", {"system": "one-shot", "preset": preset}))
    settings = config.part("evaluator")
    assert (
        isinstance(settings, Settings)
        and settings.batch % settings.ghosts == 0
        and config.search.budget in (500, 20_000)
    )
    assert (
        Problem(config.model_copy(update={"task": {"name": "digits"}}))
        .space.supernet((1, 8, 8), 10)
        .groups
    )
