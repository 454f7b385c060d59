"""Searches that learn in a supernet: the same end whatever interrupts them and however many workers
there are, and a check of what shared weights are worth.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from command_line import evoml

from evoml.archive.files import read_result
from evoml.config import Config, assign, build
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.task import ImageSet
from evoml.core.errors import InputError
from evoml.export import probabilities
from evoml.export.correlation import Dot, picture
from evoml.genotypes.population import OK
from evoml.networks.settings import TrainingSettings
from evoml.networks.training import train
from evoml.phenotypes.network import Builder, Edge
from evoml.search import steady_state as steady
from evoml.search.audit import FIRST, AuditPlan, SharedWeightsAudit, lines
from evoml.search.donor import donor
from evoml.search.open import open_search, resume
from evoml.search.problem import stored_config
from evoml.search.run import Progress
from evoml.search.steady_state import SteadyState

SMALL = [
    "task.name=digits",
    "task.examples=160",
    "evaluator.epochs=1",
    "search.budget=2",
    "search.audit=3",
    "search.audit_most=4",
    "workers=1",
]
CELL = [
    "space.name=cell",
    "space.operations=darts",
    "space.blocks=2",
    "space.output=all",
    "space.skeleton.cells=0",
    "space.skeleton.filters=2",
]
MOBILE = [
    "space.name=mobile",
    "space.widths=[4, 6]",
    "space.blocks=[1, 1]",
    "space.strides=[1, 2]",
    "space.skeleton.stem=4",
    "space.skeleton.first=4",
]
GRADIENT = ["evaluator.name=training", "strategy.epochs=2", "strategy.batch=20"]
ONE_SHOT = [
    "evaluator.name=one_shot",
    "evaluator.batch=20",
    "evaluator.stand_alone.epochs=1",
    "search.budget=12",
    "search.audit_best=2",
]
SEARCHES = {
    "darts": [*SMALL, *CELL, *GRADIENT, "strategy.name=darts"],
    "darts, first order": [*SMALL, *CELL, *GRADIENT, "strategy.name=darts", "strategy.order=first"],
    "snas": [*SMALL, *CELL, *GRADIENT, "strategy.name=snas"],
    "proxylessnas": [
        *SMALL,
        *MOBILE,
        *GRADIENT,
        "strategy.name=proxylessnas",
        "strategy.warmup=0",
        "strategy.every=1",
    ],
    "one-shot, random": [*SMALL, *CELL, *ONE_SHOT, "strategy.name=random_search"],
    "one-shot, evolution": [
        *SMALL,
        *CELL,
        *ONE_SHOT,
        "strategy.name=aging_evolution",
        "strategy.population=4",
        "strategy.tournament=2",
    ],
}
NOT_REPEATED = ("seconds", "cost", "check_seconds")


def config(*sets: str) -> Config:
    return build(*(("--set", assign(text)) for text in sets))


def begun(folder: Path, *sets: str) -> SteadyState:
    search = open_search(config(*sets), folder)
    assert isinstance(search, SteadyState)
    search.create()
    return search


def finished(search: Any) -> Any:
    search.prepare()
    return search.run()


def contents(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Any]:
    """Rows, events and result of a run, without what a clock says."""
    table, warnings = stored(folder).archive.table()
    assert not warnings
    rows = [
        {key: value for key, value in row.items() if key not in NOT_REPEATED}
        for row in table.to_pylist()
    ]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    result = {
        key: value for key, value in (read_result(folder) or {}).items() if key not in NOT_REPEATED
    }
    return (
        rows,
        [
            {key: value for key, value in event.items() if key not in NOT_REPEATED}
            for event in events
        ],
        result,
    )


def stored(folder: Path) -> Any:
    return open_search(stored_config(folder), folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs that nothing interrupted, by name."""
    known: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in known:
            known[name] = tmp_path_factory.mktemp("runs") / "whole"
            assert finished(begun(known[name], *SEARCHES[name])).reason == "budget"
        return known[name]

    return get


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_that_is_interrupted_again_and_again_ends_as_one_that_was_not(
    name: str, whole: Any, tmp_path: Path
) -> None:
    folder, chance = tmp_path / "run", random.Random(name)
    search: Any = begun(folder, *SEARCHES[name])
    for _ in range(60):
        stop, left = threading.Event(), chance.randrange(1, 6)

        def show(
            progress: Progress,
            stop: threading.Event = stop,
            left: list[int] = [left],  # noqa: B006
        ) -> None:
            left[0] -= 1
            if left[0] <= 0:
                stop.set()

        search.prepare()
        if search.run(show, stop).reason != "interrupted":
            break
        search = resume(folder)
    else:
        pytest.fail("it never ended")
    assert contents(folder) == contents(whole(name))


@pytest.mark.parametrize("name", ["darts", "one-shot, evolution"])
def test_kill_at_random_instants(name: str, whole: Any, tmp_path: Path) -> None:
    folder, chance, killed = tmp_path / "run", random.Random(name), 0
    begun(folder, *SEARCHES[name], "archive.interval=0.05")
    code = (
        "from pathlib import Path; from evoml.search.open import resume; s = "
        f"resume(Path({str(folder)!r})); s.prepare(); print('go', flush=True); s.run()"
    )
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == b"go\n"
            time.sleep(chance.uniform(0.0, 1.0))
            os.killpg(process.pid, signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
    finished(resume(folder))
    assert killed
    rows, events, result = contents(folder)
    assert (rows, events, result) == contents(whole(name))


@pytest.mark.parametrize("name", ["darts, first order", "one-shot, random"])
def test_workers_do_not_change_the_result(name: str, whole: Any, tmp_path: Path) -> None:
    finished(begun(tmp_path / "run", *SEARCHES[name], "workers=2"))
    assert contents(tmp_path / "run") == contents(whole(name))


def test_seeds_make_other_searches(whole: Any, tmp_path: Path) -> None:
    finished(
        begun(tmp_path / "run", *SEARCHES["darts, first order"], "search.seed=1", "search.audit=0")
    )
    assert contents(tmp_path / "run")[0] != contents(whole("darts, first order"))[0]
    ids = [
        event["probabilities"]
        for event in contents(whole("darts, first order"))[1]
        if event["event"] == "epoch"
    ]
    # two searches of two epochs, each with a seed of its own
    assert len(ids) == 4 and ids[0] != ids[2]


def test_a_larger_budget_goes_on_with_another_search(whole: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finished(begun(folder, *SEARCHES["darts, first order"], "search.budget=1"))
    finished(resume(folder, budget=2))
    rows, events, result = contents(folder)
    wanted = contents(whole("darts, first order"))
    assert rows == wanted[0] and result == wanted[2]
    assert [event for event in events if event["event"] == "epoch"] == [
        event for event in wanted[1] if event["event"] == "epoch"
    ]


@pytest.mark.parametrize("name", SEARCHES)
def test_the_check_says_what_shared_weights_are_worth(name: str, whole: Any) -> None:
    _, events, result = contents(whole(name))
    audit = result["trust"]
    assert [event for event in events if event["event"] == "trust"] == [{"event": "trust", **audit}]
    assert (
        3 <= audit["compared"] <= 4 and -1 <= audit["kendall"] <= 1 and -1 <= audit["spearman"] <= 1
    )
    assert 1 <= audit["random_candidates"] <= 4
    stand_alone = [each["alone"] for each in audit["random"]]
    assert audit["random_best"] == max(stand_alone[: audit["random_candidates"]])
    assert any("Kendall" in line for line in lines(audit)) and any(
        "equal cost" in line for line in lines(audit)
    )


def test_what_is_only_scored_with_shared_weights_is_trained_alone_and_the_best_of_those_is_the_result(  # noqa: E501
    whole: Any,
) -> None:
    folder = whole("one-shot, random")
    rows, _, result = contents(folder)
    retrained = [row for row in rows if row["event"] == "selected"]
    shared = {row["id"]: row["accuracy"] for row in rows if row["event"] == "candidate"}
    assert (
        len(retrained) == 2
        and min(shared[row["id"]] for row in retrained) >= sorted(shared.values())[-3]
    )
    best = max(retrained, key=lambda row: row["accuracy"])
    assert result["best"]["id"] == best["id"] and result["trust"]["found"] == best["accuracy"]
    found, warnings = stored(folder).archive.best(1)
    assert found[0]["id"] == best["id"] and not warnings


def test_as_many_random_architectures_as_cost_what_the_search_did(whole: Any) -> None:
    search = resume(whole("darts, first order"))
    audit = SharedWeightsAudit(search.problem, search.strategy)
    derived = [each.genotype for each in search.strategy.alive]
    check = audit.plan([], derived)
    spent = search.strategy.spent + sum(map(audit.cost, derived))
    costs = np.cumsum([audit.cost(genotype) for genotype in check.random])
    assert check.equal == 1 + int((costs < spent).sum())
    network = search.problem.space.network(derived[0], (1, 8, 8), 10)
    assert audit.cost(derived[0]) == 3 * network.multiply_adds * len(
        search.problem.task.search(0).train_y
    )


def test_skips_are_counted_and_warned_of(whole: Any) -> None:
    search = resume(whole("darts, first order"))
    audit = SharedWeightsAudit(search.problem, search.strategy)
    space = search.problem.space
    options = space.supernet((1, 8, 8), 10).groups[0].options
    strengths = np.zeros((len(space.supernet((1, 8, 8), 10).groups), len(options)))
    strengths[: len(strengths) // 2, options.index("skip_connect")] = 1.0
    strengths[len(strengths) // 2 :, options.index("sep_conv_3x3")] = 1.0
    genotype = space.derive(strengths)
    assert audit.skips(genotype) == {"normal": [4, 4], "reduction": [0, 4]}
    report = {"compared": 0, "random_best": None, "found": None, "skips": audit.skips(genotype)}
    assert lines(report) == [
        "warning: skip connections have taken over: 4 of 4 layers of the normal cell"
    ]


def test_an_outcome_that_failed_is_not_compared(whole: Any) -> None:
    search = resume(whole("darts, first order"))
    audit = SharedWeightsAudit(search.problem, search.strategy)
    check = audit.plan([], [])
    for number in range(len(check.random)):
        audit.stand_alone[FIRST + number] = Evaluation.of([0.5 + number / 10], OK)
    audit.stand_alone[FIRST] = Evaluation.of([0.0], steady.OVER_BUDGET)
    assert audit.findings(check, None)["compared"] == len(check.random) - 1


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["space.name=chain"], "space: chain: has no supernet"),
        (["space.output=unused"], "space.output: a supernet has every block"),
        (['space.combine=["add", "concat"]'], "space.combine: a supernet adds"),
        (["strategy.batch=1"], "strategy.batch"),
        (["strategy.order=third"], "strategy.order"),
        (["strategy.split=1.0"], "strategy.split"),
        (["search.islands=2"], "search.islands"),
        (["search.audit=5"], "search.audit"),
        (["evaluator.device=cuda:77"], "evaluator.device: cuda:77: torch finds no such device"),
    ],
    ids=lambda each: str(each)[:24],
)
def test_what_cannot_be_searched_is_refused_in_one_line(
    sets: list[str], says: str, tmp_path: Path
) -> None:
    sets = [
        *([] if sets == ["space.name=chain"] else CELL),
        *SMALL,
        *GRADIENT,
        "strategy.name=darts",
        *sets,
    ]
    with pytest.raises(InputError) as caught:
        begun(tmp_path / "run", *sets)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_supernet_that_does_not_fit_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evoml.networks.memory.available", lambda: 10_000)
    with pytest.raises(
        InputError,
        match="the supernet needs about .* GiB for a step of 20 images, and 0.0 GiB are free",
    ):
        begun(tmp_path / "run", *SEARCHES["darts"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "sets", "says"),
    [
        (
            "darts",
            ["evaluator.name=one_shot"],
            "evaluator: one_shot: strategy darts trains a supernet of its own",
        ),
        (
            "darts",
            ["search.training_seconds=5"],
            "search.training_seconds: does not count the training of a supernet",
        ),
        (
            "one-shot, random",
            ["search.training_seconds=5"],
            "search.training_seconds: does not count the training of a supernet",
        ),
        ("proxylessnas", ["strategy.reference=1"], "strategy.reference: 1: is in multiply-adds"),
    ],
    ids=str,
)
def test_what_would_not_mean_what_it_says_is_refused(
    name: str, sets: list[str], says: str, tmp_path: Path
) -> None:
    kept = [
        text
        for text in SEARCHES[name]
        if not (sets[0].startswith("evaluator.name") and text.startswith("evaluator."))
    ]
    with pytest.raises(InputError) as caught:
        begun(tmp_path / "run", *kept, *sets)
    assert str(caught.value).startswith(says) and "\n" not in str(caught.value)


def test_of_equals_that_were_trained_alone_the_result_and_the_archive_name_the_same() -> None:
    from evoml.genotypes.population import Individual, fitness_class
    from evoml.genotypes.schema import Genotype
    from evoml.spaces import nasbench201

    space = nasbench201.NASBench201Space(nasbench201.Settings())

    def individual(id: int) -> Individual:
        genotype: Genotype = space.cell([id % 5] * 6)
        return Individual(genotype, fitness_class()((1.0 - id / 10,)), id)

    best = [individual(5), individual(1), individual(3)]  # by shared weights
    stand_alone = {
        5: Evaluation.of([0.7], OK),
        1: Evaluation.of([0.7], OK),
        3: Evaluation.of([0.6], OK),
    }
    chosen = AuditPlan([], 0, best).winner(stand_alone, 1.0)
    assert chosen is not None and chosen.id == 1


def test_cells_of_one_function_are_trained_alone_once(tmp_path: Path) -> None:
    sets = [
        *SMALL, *ONE_SHOT, "space.name=nasbench201", "space.skeleton.cells=1",
        "space.skeleton.filters=2", "space.skeleton.reductions=0", "strategy.name=random_search",
        "search.budget=150", "search.audit=1", "search.audit_most=1", "search.audit_best=8",
    ]  # fmt: skip
    finished(begun(tmp_path / "run", *sets))
    rows, _, _ = contents(tmp_path / "run")
    keys = [row["key"] for row in rows if row["event"] == "selected"]
    assert len(keys) == len(set(keys)) == 8


def test_a_search_that_diverges_is_a_candidate_with_that_status_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where it is interrupted between the two."""
    from evoml.strategies import darts

    step = darts.DARTS._step

    def first_fails(strategy: Any, number: int) -> tuple[float, float]:
        return (
            (float("nan"), 0.0) if strategy.search == 0 and number == 3 else step(strategy, number)
        )

    monkeypatch.setattr(darts.DARTS, "_step", first_fails)
    sets = [*SEARCHES["darts, first order"], "search.audit=0"]
    result = finished(begun(tmp_path / "run", *sets))
    assert result.counts == {"candidates": 2, "ok": 1, "diverged": 1} and result.best["id"] == 1
    rows, events, _ = contents(tmp_path / "run")
    assert next((row["id"], row["status"], row["accuracy"]) for row in rows) == (0, "diverged", 0.0)
    why = "strategy.lr: 0.025: search 0 diverged at step 4 of 6; make it smaller"
    assert [event for event in events if event["event"] == "diverged"] == [
        {"event": "diverged", "search": 0, "step": 4, "why": why}
    ]

    search, stop = begun(tmp_path / "other", *sets), threading.Event()
    search.prepare()
    search.run(lambda progress: stop.set() if search.strategy.failure else None, stop)
    assert finished(resume(tmp_path / "other")).reason == "budget"
    assert contents(tmp_path / "other")[0] == rows


def test_where_every_search_diverges_the_reason_is_a_line(tmp_path: Path) -> None:
    sets = [
        *SEARCHES["darts, first order"],
        "strategy.lr=1000",
        "strategy.weight_decay=10",
        "strategy.epochs=30",
    ]
    with (
        np.errstate(all="ignore"),
        pytest.raises(
            InputError,
            match=r"strategy.lr: 1000: search 1 diverged at step \d+ of \d+; make it smaller; what",
        ) as one,
    ):
        finished(begun(tmp_path / "run", *sets))
    assert [row["status"] for row in contents(tmp_path / "run")[0]] == ["diverged", "diverged"]
    shown = evoml("show", tmp_path / "run").stdout
    assert "no candidate could be evaluated" in shown and "op_a" not in shown
    with pytest.raises(InputError, match="search 1 diverged") as again:
        finished(resume(tmp_path / "run"))
    assert str(again.value) == str(one.value)


def test_after_three_searches_that_diverge_there_is_no_other(tmp_path: Path) -> None:
    sets = [
        *SEARCHES["darts, first order"],
        "strategy.lr=1000",
        "strategy.weight_decay=10",
        "strategy.epochs=30",
        "search.budget=0",
    ]
    with np.errstate(all="ignore"), pytest.raises(InputError, match="search 2 diverged"):
        finished(begun(tmp_path / "run", *sets))
    assert (read_result(tmp_path / "run") or {})["reason"] == "diverged"


def test_a_supernet_that_learned_nothing_is_warned_of(whole: Any) -> None:
    search: Any = stored(whole("one-shot, random"))
    search.restore()
    search.audit.stand_alone = {}
    check = search.audit.plan([], [])
    for number in range(len(check.random)):
        search.audit.stand_alone[FIRST + number] = Evaluation.of([0.5 + number / 10], OK)
    said = {loss: lines(search.audit.findings(check, None, loss)) for loss in (2.29, 2.31)}
    assert not any("learned nothing" in line for line in said[2.29])
    assert any(
        line
        == "warning: the supernet learned nothing: its loss, 2.3100, is above that of guessing, "
        "2.3026; make lr smaller"
        for line in said[2.31]
    )
    assert any(
        line.startswith("predictions near the whole supernet's against training alone: Kendall")
        for line in said[2.29]
    )


def test_only_what_was_trained_is_part_of_the_cost(
    whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search: Any = resume(whole("darts, first order"))
    assert len(search.strategy.stand_alone) == 2
    search.strategy.failed_searches = [0]
    assert [each.digest() for each in search.strategy.stand_alone] == [
        search.strategy.made[1].genotype.digest()
    ]
    search.strategy.made.status[1] = steady.OVER_BUDGET
    assert search.strategy.stand_alone == []


def test_shared_scores_are_never_said_to_be_of_training_alone(tmp_path: Path) -> None:
    """Of several objectives nothing is chosen by training alone, so nothing is said of the best."""
    sets = [*SEARCHES["one-shot, random"], 'evaluator.objectives=["accuracy", "parameters"]']
    result = finished(begun(tmp_path / "run", *sets))
    assert result.audit["found"] is None and result.audit["random_best"] is not None
    assert not any("this search" in line for line in lines(result.audit))
    assert (
        "of several objectives, none of the front is trained alone"
        in evoml("show", tmp_path / "run").stdout
    )


def test_too_few_architectures_have_no_order() -> None:
    report = {
        "compared": 2,
        "kendall": 1.0,
        "spearman": 1.0,
        "random_best": None,
        "found": None,
        "skips": {},
    }
    assert not lines(report) and len(lines(report | {"compared": 3})) == 1
    assert "did not end or diverged" in lines(report | {"unfinished": True})[0]


def test_what_is_over_a_cap_is_no_part_of_a_random_search(tmp_path: Path) -> None:
    sets = [*SEARCHES["darts, first order"], "search.audit_most=6", "search.audit=6"]
    free: Any = begun(tmp_path / "free", *sets)
    sizes = [
        free.audit._network(genotype).parameters for genotype in free.audit.plan([], []).random
    ]
    cap = int(np.median(sizes))
    capped: Any = begun(tmp_path / "capped", *sets, f"evaluator.max_parameters={cap}")
    found = [
        capped.audit._network(genotype).parameters for genotype in capped.audit.plan([], []).random
    ]
    assert len(found) == 6 and max(found) <= cap < max(sizes)
    assert found[:1] == [size for size in sizes if size <= cap][:1]
    none: Any = begun(tmp_path / "none", *sets, "evaluator.max_parameters=1")
    check = none.audit.plan([], [none.problem.space.random(np.array([1], np.uint64)).genotype(0)])
    assert check.random == [] and check.equal > 0 and "within the caps" in check.limit


def test_weights_of_a_search_that_has_only_begun_rank_nothing(whole: Any) -> None:
    search: Any = resume(whole("darts, first order"), budget=3)
    search.strategy.learn()
    audit = SharedWeightsAudit(search.problem, search.strategy)
    check = audit.plan([], [each.genotype for each in search.strategy.alive])
    audit.stand_alone = {
        FIRST + number: Evaluation.of([0.5 + number / 10], OK)
        for number in range(len(check.random))
    }
    report = audit.findings(check, search.champion)
    assert report["compared"] == 0 and not any("Kendall" in line for line in lines(report))
    assert all(each["shared"] is None for each in report["random"])


def test_of_inverted_bottlenecks_nothing_is_the_skip(whole: Any) -> None:
    search: Any = resume(whole("proxylessnas"))
    space = search.problem.space
    groups = space.supernet((1, 8, 8), 10).groups
    strengths = np.array(
        [
            [name == "none" for name in group.options] + [False] * (7 - len(group.options))
            for group in groups
        ],
        float,
    )
    genotype = space.derive(strengths[:, : max(len(group.options) for group in groups)])
    residual = sum("none" in group.options for group in groups)
    assert SharedWeightsAudit(search.problem, search.strategy).skips(genotype) == {
        "cell": [residual, len(groups)]
    }


def test_a_latency_table_that_was_changed_is_not_the_runs(tmp_path: Path) -> None:
    from evoml.commands.latency import latency

    path, folder = tmp_path / "latency.parquet", tmp_path / "run"
    sets = [*SEARCHES["proxylessnas"], "search.budget=1", "search.audit=0"]
    latency(config(*sets), path, 0, 1, True)
    finished(begun(folder, *sets, "strategy.cost=latency", f"strategy.latency_table={path}"))
    resume(folder)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(
        InputError, match="not the settings that the run was made with|latency.parquet"
    ):
        resume(folder)


# -- going on with shared weights ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["darts, first order", "proxylessnas", "one-shot, random"])
def test_what_is_read_off_a_supernet_starts_from_its_weights(name: str, whole: Any) -> None:
    """Where training hardly moves them, they are in the trained network as they were."""
    from evoml.search.winner import final_problem, train_final

    giver = donor(whole(name))
    genotype = giver.problem.archive(giver.run).best(1)[0][0]["genotype"]
    problem = final_problem(
        giver.problem,
        [("test", {"evaluator": {"epochs": 1, "lr": 1e-12, "weight_decay": 0.0}})],
        None,
    )
    trained = train_final(problem, genotype, None, donor=giver)
    given, network = (
        giver.shared_weights.child(trained.network),
        problem.space.network(genotype, problem.test_tasks.size, 10),
    )
    assert (
        network.parameters == trained.network.parameters
        and {"linear.weight", "linear.bias"} < given.keys()
    )
    for key, value in trained.module.state_dict().items():
        if "running" not in key:
            assert np.allclose(value, given[key], atol=1e-6), key
    inherited = trained.scores["inherited_accuracy"]
    assert inherited == giver.accuracy(genotype, problem.test_tasks) and 0 <= inherited <= 1
    images = problem.test_tasks
    x = np.ascontiguousarray(images.valid_x.transpose(0, 2, 3, 1))
    assert (
        inherited
        == giver.shared_weights.score(x, images.valid_y, giver.problem.space.paths(genotype))[0]
    )
    assert "inherited_accuracy" not in train_final(problem, genotype, None).scores


def test_moments_of_inherited_weights_are_those_of_the_images() -> None:
    """Weights that hardly move score in evaluation as they do with the statistics of the images."""
    images = ImageSet(*images_of(240, 60), ("a", "b"), np.zeros(1), np.ones(1))
    build = Builder((1, 6, 6))
    network = build.network(build.layer(build.layer(0, "stem_3x3", 4), "sep_conv_3x3", 4), 2)
    settings = TrainingSettings(epochs=6, batch=20, lr=0.1)
    first = train(network, images, settings, 1)
    assert first.module is not None and first.accuracy > 0.9
    given = {
        name: value if "running" not in name else torch.zeros_like(value) + ("var" in name)
        for name, value in first.module.state_dict().items()
    }
    again = train(
        network,
        images,
        settings.model_copy(update={"epochs": 1, "lr": 1e-12, "weight_decay": 0.0}),
        2,
        start=given,
    )
    assert again.accuracy > 0.9
    with pytest.raises(ValueError, match="do not fit"):
        train(network, images, settings, 2, start={"nodes.9.0.0.weight": torch.zeros(1)})


def images_of(*counts: int) -> list[np.ndarray]:
    """Images of two classes that are told apart by their brightness, far from a mean of 0 and a
    deviation of 1, and their labels.
    """
    rng, out = np.random.default_rng(5), []
    for count in counts:
        y = np.arange(count) % 2
        out += [
            (30 + 20 * rng.normal(size=(count, 1, 6, 6)) + 25 * y[:, None, None, None]).astype(
                np.float32
            ),
            y,
        ]
    return out


def test_damaged_weights_are_not_gone_on_with(whole: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole("darts, first order"), run)
    path = run / "checkpoint" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a checkpoint of evoml"):
        donor(run)


def test_what_is_shown_is_of_the_search_that_found_the_best(whole: Any, tmp_path: Path) -> None:
    run = whole("darts, first order")
    problem = stored(run).problem
    best = problem.archive(run).best(1)[0][0]["id"]
    assert probabilities.shown(problem, run) == best
    assert json.loads(evoml("show", run, "--json").stdout)["probabilities"]["search"] == best
    assert f"search {best}, epoch 2 of 2" in evoml("export", run, "--to", "probabilities").stdout
    (going := begun(tmp_path / "going", *SEARCHES["darts, first order"])).prepare()
    assert probabilities.shown(going.problem, tmp_path / "going") is None


def test_a_network_that_reads_nothing_of_the_image_is_warned_of(whole: Any) -> None:
    build = Builder((1, 6, 6))
    stem = build.layer(0, "stem_3x3", 4)
    cut = build.node([Edge(stem, "none", 4), Edge(stem, "none", 4)])
    beside = build.node(
        [Edge(stem, "none", 4), Edge(cut, "identity", 4), Edge(stem, "identity", 4)]
    )
    assert (
        build.network(beside, 2).connected
        and not build.network(cut, 2).connected
        and build.network(stem, 2).connected
    )
    audit = (read_result(whole("darts, first order")) or {})["trust"]
    assert audit["cut_off"] is False
    assert any("reads nothing of the image" in line for line in lines(audit | {"cut_off": True}))


def test_the_command_takes_shared_weights_along(whole: Any, tmp_path: Path) -> None:
    run = whole("one-shot, random")
    done = evoml(
        "evaluate", run, "--inherit", run, "--set", "evaluator.stand_alone.epochs=2", "--json"
    )
    scores = json.loads(done.stdout)
    assert (
        done.returncode == 0
        and len(scores["curve"]) == 2
        and 0 <= scores["objectives"]["inherited_accuracy"] <= 1
    )
    assert not (run / "final").exists()
    shown = evoml("evaluate", run, "--inherit", run)
    assert (
        f"the shared weights that it started from{scores['objectives']['inherited_accuracy']:10.4f}"
        in shown.stdout
    )
    file = tmp_path / "cell.toml"
    file.write_text(evoml("export", run).stdout)
    again = json.loads(
        evoml("evaluate", file, "--inherit", run, "--set", "evaluator.epochs=2", "--json").stdout
    )
    assert again["objectives"] == scores["objectives"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["RUN", "--inherit", "nowhere"], "nowhere: must be the folder of a run"),
        (
            ["RUN", "--inherit", "RUN", "--set", "space.skeleton.filters=3"],
            "networks must be of the size that the search had",
        ),
        (["OTHER", "--inherit", "RUN"], "is of space cell"),
        (["PROGRAM", "--inherit", "RUN", "--task", "linear_regression"], "is for architectures"),
        (["RUN", "--inherit", "PLAIN"], "trained no supernet"),
        (["RUN", "--inherit", "BEGUN"], "has learned nothing yet"),
        (
            ["RUN", "--inherit", "RUN", "--set", "task.split_seed=5"],
            "was trained with task.split_seed = 0, not 5",
        ),
        (
            ["RUN", "--inherit", "RUN", "--set", "task.size=6"],
            "was trained with task.size = 0, not 6",
        ),
        (["RUN", "--inherit", "HALF"], "has done 3 of 6 steps"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_a_line(
    arguments: list[str], says: str, whole: Any, tmp_path: Path
) -> None:
    run, other = whole("darts, first order"), whole("proxylessnas")
    names = {
        "RUN": run,
        "OTHER": other,
        "PROGRAM": next(Path("programs/automl_zero").glob("*.py")).resolve(),
    }
    if "PLAIN" in arguments:
        names["PLAIN"] = tmp_path / "plain"
        finished(
            begun(
                names["PLAIN"],
                *SMALL,
                *CELL,
                "strategy.name=random_search",
                "evaluator.name=training",
            )
        )
    if "BEGUN" in arguments:
        names["BEGUN"] = tmp_path / "begun"
        begun(names["BEGUN"], *SEARCHES["one-shot, random"]).prepare()
    if "HALF" in arguments:
        names["HALF"] = tmp_path / "half"
        half: Any = begun(names["HALF"], *SEARCHES["darts, first order"])
        for _ in range(3):
            half.strategy.learn()
        half.save()
    done = evoml("evaluate", *(names.get(each, each) for each in arguments))
    assert (
        done.returncode == 2
        and says in done.stderr
        and len(done.stderr.splitlines()) == 1
        and not done.stdout
    )


def test_a_table_takes_no_weights(data_folder: Path, whole: Any, tmp_path: Path) -> None:
    data = data_folder / "nasbench201_cifar10.npz"
    sets = [
        "space.name=nasbench201",
        "strategy.name=random_search",
        "evaluator.name=table",
        f"task.data={data}",
        "search.budget=3",
    ]
    finished(begun(tmp_path / "run", *sets))
    done = evoml("evaluate", tmp_path / "run", "--inherit", whole("darts, first order"))
    assert (
        done.returncode == 2
        and "a table answers as it is" in done.stderr
        and len(done.stderr.splitlines()) == 1
    )


# -- the picture -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["darts, first order", "one-shot, random"])
def test_the_check_is_drawn(name: str, whole: Any, tmp_path: Path) -> None:
    run = whole(name)
    done = evoml("export", run, "--to", "correlation", "-o", tmp_path / "check.svg")
    assert done.returncode == 0, done.stderr
    page = ElementTree.parse(tmp_path / "check.svg").getroot()
    marks = {
        kind: [each for each in page.iter() if each.get("class") == kind]
        for kind in ("random", "best")
    }
    audit = (read_result(run) or {})["trust"]
    compared = [
        each for each in audit["random"] if each["shared"] is not None and each["alone"] is not None
    ]
    chosen = 2 if name.startswith("one-shot") else 0
    # the legend has one of each
    assert len(marks["random"]) == len(compared) + 1 and len(marks["best"]) == chosen + (chosen > 0)
    titles = {
        str(each.findtext("{http://www.w3.org/2000/svg}title")).partition(":")[0]
        for each in marks["random"]
    }
    assert {each["key"] for each in compared} < titles
    text = " ".join(
        "".join(each.itertext()) for each in page.iter("{http://www.w3.org/2000/svg}text")
    )
    assert f"Kendall {audit['kendall']:.2f}" in text and "accuracy trained alone" in text


def test_dots_are_where_the_scores_are() -> None:
    report = {"compared": 0, "random_best": None, "found": None, "skips": {}}
    page = picture(
        [Dot("a", 0.2, 0.5), Dot("b", 0.4, 0.9), Dot("c", 0.3, 0.7, True)],
        report,
        "x < y & z",
        "accuracy",
    )
    assert "x &lt; y &amp; z" in page
    circles = [
        each for each in ElementTree.fromstring(page).iter() if each.get("class") == "random"
    ][:2]
    (ax, ay), (bx, by) = ((float(each.get("cx", 0)), float(each.get("cy", 0))) for each in circles)
    assert ax < bx and ay > by
    flat = picture([Dot("a", 0.5, 0.5)], report, "", "accuracy")
    assert "nan" not in flat and ElementTree.fromstring(flat) is not None


@pytest.mark.parametrize("arguments", [["FILE"], ["RUN", "--task", "digits"], ["UNCHECKED"]])
def test_what_has_no_check_is_refused_in_a_line(
    arguments: list[str], whole: Any, tmp_path: Path
) -> None:
    unchecked, file = tmp_path / "unchecked", tmp_path / "cell.toml"
    begun(unchecked, *SEARCHES["darts"]).prepare()
    file.write_text("normal = []\n")
    names = {"RUN": whole("darts, first order"), "FILE": file, "UNCHECKED": unchecked}
    done = evoml("export", *(names.get(each, each) for each in arguments), "--to", "correlation")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and not done.stdout
