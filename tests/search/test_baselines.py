"""What a winner among architectures is held against."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import evoml

from evoml.config import build
from evoml.core.built_in import built_in, built_in_file, programs_folder
from evoml.search.baselines import FILE, LEAST, RANDOM, Baselines, networks, plain, residual
from evoml.search.problem import Problem, open_file

TINY = {
    "system": "amoebanet",
    "space": {"blocks": 1, "skeleton": {"cells": 0, "filters": 2}},
    "evaluator": {"epochs": 2},
    "task": {"examples": 120, "size": 8},
}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem(build(("test", TINY)))


def test_plain_and_residual_networks_by_hand() -> None:
    """Parameters counted on paper: 3 x 3 kernels, two numbers a channel of each normalisation."""
    network = plain((3, 8, 8), 10, 4)
    pairs = (3, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)
    assert network.parameters == sum(9 * a * b + 2 * b for a, b in pairs) + 17 * 10
    assert [size[1] for size in network.sizes] == [8, 8, 8, 4, 4, 4, 2, 2, 2]
    network = residual((3, 8, 8), 10, 4)
    blocks = [(4, 4), (4, 8), (8, 16)]
    expected = 9 * 3 * 4 + 8 + sum(9 * a * b + 9 * b * b + 4 * b for a, b in blocks)
    assert network.parameters == expected + 4 * 8 + 8 * 16 + 17 * 10  # the shortcuts' 1 x 1
    assert [each.merge for each in network.nodes[2:]] == ["add"] * 3


@pytest.mark.parametrize("size", [(1, 3, 3), (3, 4, 5), (1, 28, 28)])
def test_they_have_no_more_parameters_than_the_winner(
    problem: Problem, size: tuple[int, int, int]
) -> None:
    space = problem.architecture_space
    found = networks(space, size, 10, 20_000, 0)
    assert list(found)[-1] == RANDOM and len(found) == 3
    for name in list(found)[:2]:
        assert 10_000 < found[name].parameters <= 20_000
    small = networks(space, size, 10, 1, 0)
    assert small["residual network"] == residual(size, 10, LEAST)
    assert networks(space, size, 10, 20_000, 0)[RANDOM] == found[RANDOM]
    assert any(networks(space, size, 10, 20_000, seed)[RANDOM] != found[RANDOM] for seed in (1, 2))


def test_epochs_cost_as_much_and_results_are_kept(
    problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network whose step costs half has twice the epochs, four times as many at most."""
    winner = plain(problem.test_tasks.size, 10, 8)
    costs = iter([1.0, 0.5, 0.01, 4.0])
    monkeypatch.setattr(Baselines, "_cost", lambda *_: next(costs))
    rows = list(Baselines(problem, winner, tmp_path).trained())
    assert [row.epochs for row in rows] == [4, 8, 1]
    assert all(0 <= row.accuracy <= 1 and row.seconds > 0 for row in rows)
    monkeypatch.setattr(Baselines, "_cost", lambda *_: pytest.fail("trained again"))
    assert list(Baselines(problem, winner, tmp_path).trained()) == rows
    other = plain(problem.test_tasks.size, 10, 9)
    assert not Baselines(problem, other, tmp_path).done
    (tmp_path / FILE).write_text("[1, 2")
    assert not Baselines(problem, winner, tmp_path).done


def test_evaluate_shows_them(tmp_path: Path) -> None:
    file = built_in("cell")["residual"]
    small = ["space.skeleton={cells=0, filters=2}", "evaluator.epochs=1", "task.examples=120"]
    given = [file, "--task", "digits", *(part for text in small for part in ("--set", text))]
    done = json.loads(evoml("evaluate", *given, "--json").stdout)
    rows = {row["name"]: row for row in done["baseline_networks"]}
    assert set(rows) < set(done["baselines"]) and len(done["baselines"]) == 5
    shown = evoml("evaluate", *given).stdout
    assert all(name in shown for name in rows) and "noise of" in shown
    assert max(map(len, shown.splitlines())) <= 100
    without = json.loads(evoml("evaluate", *given, "--no-baselines", "--json").stdout)
    assert without["baselines"] == {} and without["objectives"] == done["objectives"]


def test_every_built_in_genotype_can_be_named() -> None:
    assert {"plain", "residual"} <= set(built_in("nasbench201")) & set(built_in("nasbench101"))
    assert "plain" in built_in("chain") and "residual" in built_in("cell")
    for folder in programs_folder().iterdir():
        if folder.name == "substrates":
            continue
        for name, path in built_in(folder.name).items():
            assert built_in_file(f"{folder.name}/{name}") == path
            assert open_file(path)[0].name == folder.name
    assert built_in_file("cell/../chain/plain") is None and built_in_file("plain") is None


def test_a_search_starts_from_a_name(tmp_path: Path) -> None:
    sets = ["evaluator.epochs=1", "task.examples=100", "space.skeleton={cells=0, filters=2}"]
    given = ["--budget", "1", *(part for text in sets for part in ("--set", text))]
    done = evoml("search", "amoebanet", "--start", "residual", *given, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(evoml("show", tmp_path / "run", "--json").stdout)["best"]
    named = json.loads(evoml("show", "cell/residual", "--json").stdout)["best"][0]
    assert row["key"] == named["key"]
    refused = evoml("search", "amoebanet", "--start", "nothing", *given)
    assert refused.returncode == 2 and "there are amoebanet_a," in refused.stderr


def test_widths_are_found_where_nothing_is_a_network(problem: Problem) -> None:
    """A space of which nothing is a network has two baselines."""

    class Nothing:
        def random(self, streams: np.ndarray) -> object:
            return problem.space.random(streams)

        def network(self, *_: object) -> object:
            raise ValueError("none")

    assert len(networks(Nothing(), (1, 8, 8), 10, 1000, 0)) == 2  # type: ignore[arg-type]
