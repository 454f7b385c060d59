"""What is archived of a generation can be followed back to the first one."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from command_line import evoml

from evoml.archive.lineage import lineage
from evoml.config import build
from evoml.core.built_in import built_in
from evoml.core.errors import InputError
from evoml.export.lineage import TALL, Step, _said
from evoml.search import ancestry
from evoml.search.champion import network
from evoml.search.open import open_search, resume
from evoml.search.problem import Problem, stored_config, stored_problem

SMALL = {
    "system": "neat",
    "search": {"budget": 1500, "stop_at": "none"},
    "strategy": {"population": 30},
    "workers": 1,
}


def searched(folder: Path, **more: Any) -> Problem:
    search = open_search(build(("test", SMALL), ("more", more)), folder)
    search.create()
    search.prepare()
    search.run()
    return stored_problem(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same search with its ancestors, and with every row."""
    folder = tmp_path_factory.mktemp("ancestry")
    least, ancestry.LEAST = ancestry.LEAST, 40  # so that some are forgotten
    try:
        few = searched(folder / "few")
    finally:
        ancestry.LEAST = least
    every = searched(folder / "every", archive={"keep": "all"})
    return folder, few, every


def rows(problem: Problem, folder: Path) -> list[dict[str, Any]]:
    return list(problem.archive(folder).table()[0].to_pylist())


def last(problem: Problem, folder: Path) -> int:
    """Of the last generation the one with the highest id."""
    return max(row["id"] for row in rows(problem, folder))


def test_every_row_has_its_first_parent(runs: Any) -> None:
    folder, few, _ = runs
    found = rows(few, folder / "few")
    ids = {row["id"] for row in found}
    assert all(row["parents"][0] in ids for row in found if row["parents"])
    ancestors = [row["id"] for row in found if row["event"] == "ancestor"]
    assert ancestors and len(set(ancestors)) == len(ancestors)
    assert len(found) < 1500


def test_the_line_is_that_of_all_rows(runs: Any) -> None:
    folder, few, every = runs
    best = last(few, folder / "few")
    one, broken = lineage(few.archive(folder / "few"), best)
    other, _ = lineage(every.archive(folder / "every"), best)
    assert broken is None and [each.id for each in one] == [each.id for each in other]
    assert [each.genotype for each in one] == [each.genotype for each in other]
    assert [each.objectives for each in one] == [each.objectives for each in other]
    assert len(one) > 5 and not one[0].parents


def test_rows_know_their_generation_and_species(runs: Any) -> None:
    """A generation has 30 ids in a row; species are those that its event names."""
    folder, few, every = runs
    known = {}
    for line in (folder / "every" / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "generation":
            known[event["generation"]] = {each["id"]: each["size"] for each in event["species"]}
    counts: dict[int, dict[int, int]] = {}
    for row in rows(every, folder / "every"):
        assert row["generation"] == row["id"] // 30 + 1
        if row["event"] == "candidate":
            own = counts.setdefault(row["generation"], {})
            own[row["species"]] = own.get(row["species"], 0) + 1
    assert counts == known
    of = {row["id"]: row["species"] for row in rows(every, folder / "every")}
    for row in rows(few, folder / "few"):
        assert row["species"] == of[row["id"]] and row["generation"] == row["id"] // 30 + 1


def test_a_run_that_is_interrupted_has_the_same_ancestors(runs: Any, tmp_path: Path) -> None:
    folder, few, _ = runs
    search = open_search(
        build(("test", SMALL), ("less", {"search": {"budget": 600}})), tmp_path / "run"
    )
    search.create()
    search.prepare()
    search.run()
    for budget in (900, 1500):
        again = resume(tmp_path / "run", budget=budget)
        again.prepare()
        again.run()

    def told(problem: Problem, place: Path) -> list[str]:
        # who lived at an earlier end is a row more
        kept = [row for row in rows(problem, place) if row["event"] in ("selected", "improvement")]
        ids = {row["id"] for row in rows(problem, place)}
        assert all(not row["parents"] or row["parents"][0] in ids for row in kept)
        return sorted(json.dumps(row, sort_keys=True) for row in kept)

    assert told(stored_problem(tmp_path / "run"), tmp_path / "run") == told(few, folder / "few")


def test_lineage_on_the_command_line(runs: Any) -> None:
    folder, few, _ = runs
    best = last(few, folder / "few")
    named = ("show", folder / "few", "--lineage", "--candidate", best)
    found = json.loads(evoml(*named, "--json").stdout)["lineage"]
    assert found[-1]["id"] == best and found[0]["changes"] == ["of the first population"]
    for before, step in pairwise(found):
        assert step["parents"][0] == before["id"] and step["changes"]
        assert step["gain"] == pytest.approx(step["score"] - before["score"])
    shown = evoml(*named).stdout
    assert "of the first population" in shown and str(best) in shown
    middle = found[len(found) // 2]["id"]
    part = evoml("show", folder / "few", "--lineage", "--candidate", middle, "--json").stdout
    assert json.loads(part)["lineage"] == found[: len(found) // 2 + 1]
    picture = evoml("export", folder / "few", "--to", "lineage", "--candidate", best).stdout
    texts = " ".join(each.text or "" for each in ElementTree.fromstring(picture).iter())
    assert f"how candidate {best} came about" in texts and "weights moved" in texts


def test_a_run_s_network_is_an_object_to_call(runs: Any, tmp_path: Path) -> None:
    """It answers as the exported module does."""
    folder, few, _ = runs
    found = network(folder / "few")
    names: dict[str, Any] = {"__name__": "exported"}
    exec(evoml("export", folder / "few", "--to", "python").stdout, names)
    for row in ([0.0, 1.0], [0.25, -2.0]):
        np.testing.assert_allclose(found(np.array(row)), names["network"](row), rtol=1e-12)
    other = network(folder / "few", last(few, folder / "few"))
    assert other(np.zeros((5, 2))).shape == (5, 1)
    with pytest.raises(InputError, match="candidate 99999 is not archived"):
        network(folder / "few", 99999)
    with pytest.raises(InputError, match="makes no networks of neurons"):
        network(built_in("cell")["residual"])
    assert network(built_in("neat")["xor"])(np.array([0.0, 1.0])) > 0.5


def test_an_unknown_candidate_and_a_line_that_breaks_off(runs: Any, tmp_path: Path) -> None:
    folder, few, _ = runs
    with pytest.raises(InputError, match="candidate 99999 is not archived"):
        lineage(few.archive(folder / "few"), 99999)
    program = tmp_path / "run"
    sets = ("--set", "task.select.tasks=4", "--set", "task.test.tasks=4", "--run", program)
    evoml("search", "automl-zero", "--task", "linear_regression", "--budget", "3000", *sets)
    found = json.loads(evoml("show", program, "--lineage", "--json").stdout)["lineage"]
    assert len(found) >= 1 and "archive.keep=all" in evoml("show", program, "--lineage").stdout


def test_differences_of_genotypes() -> None:
    space = Problem(build(("test", {"system": "amoebanet"}))).space
    parents = space.random(np.arange(1, 20, dtype=np.uint64))
    children = space.mutate(parents, np.arange(19), np.arange(100, 119, dtype=np.uint64))
    for at in range(19):
        one, other = parents.genotype(at), children.genotype(at)
        lines = space.difference(one, other)
        assert (not lines) == (one == other) and len(lines) <= 1
        assert space.difference(one, one) == []
    chain = Problem(build(("test", {"space": {"name": "chain"}}))).space
    parents = chain.random(np.arange(1, 60, dtype=np.uint64))
    children = chain.mutate(parents, np.arange(59), np.arange(100, 159, dtype=np.uint64))
    said = " ".join(
        line
        for at in range(59)
        for line in chain.difference(parents.genotype(at), children.genotype(at))
    )
    assert "gone:" in said and "new:" in said and "->" in said


def test_what_a_step_changed_is_cut_visibly() -> None:
    """And lines that go on are indented by spaces that viewers keep."""
    changes = tuple(f"layers[{at}].anchors: [1, 2] -> [1, 2, {at}]" for at in range(40))
    said = _said(Step(7, (3,), 0.5, 0.25, changes)).split("\n")
    assert len(said) == TALL and said[0].startswith("candidate 7 +0.25: layers[0]")
    assert said[-1].endswith(" ...") and all(line.startswith("\u00a0") for line in said[1:])
    assert _said(Step(7, (3,), 0.5, 0.25, ("one",))) == "candidate 7 +0.25: one"


def test_a_state_that_does_not_fit_is_refused(runs: Any) -> None:
    folder, _, _ = runs
    search = open_search(stored_config(folder / "few"), folder / "few")
    search.restore()
    state = search.ancestry.state_dict()  # type: ignore[attr-defined]
    assert len(state["population"]["ids"])
    for bad in (
        state | {"columns": {**state["columns"], "species": np.zeros(1, np.int64)}},
        state | {"columns": {}},
    ):
        with pytest.raises((ValueError, KeyError)):
            search.ancestry.load_state_dict(bad)  # type: ignore[attr-defined]
