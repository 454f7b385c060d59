"""The picture of a gradient-based search's probabilities, what `show` says of them, and how events
are read.
"""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from command_line import evoml
from hypothesis import given
from hypothesis import strategies as st

from evoml.archive.archive import Archive
from evoml.config import build
from evoml.core.errors import InputError
from evoml.export import _plots as plots
from evoml.export import probabilities
from evoml.export._events import events
from evoml.genotypes.population import Population
from evoml.phenotypes.network import Group
from evoml.report._probabilities import described
from evoml.search.problem import Problem, stored_config

SVG = "{http://www.w3.org/2000/svg}"
CELL = {"name": "cell", "operations": "darts", "blocks": 2, "output": "all"}
MOBILE = {"name": "mobile"}
UNEVEN = (
    Group("normal 0>2", ("none", "skip_connect", "sep_conv_3x3")),
    Group("reduction 0>2", ("skip_connect", "<&>")),
)


def tables(groups: tuple[Group, ...], count: int, seed: int = 0) -> np.ndarray:
    """Probabilities [count, G, O] that skip connections take over."""
    there = np.array(
        [
            [
                option < len(group.options)
                for option in range(max(len(each.options) for each in groups))
            ]
            for group in groups
        ]
    )
    skips = np.array(
        [
            [
                name in probabilities.SKIPS
                for name in group.options + ("",) * (there.shape[1] - len(group.options))
            ]
            for group in groups
        ]
    )
    noise = 0.2 * np.random.default_rng(seed).standard_normal((count, *there.shape)).cumsum(0)
    powers = np.where(there, np.exp(noise + 0.3 * np.arange(count)[:, None, None] * skips), 0.0)
    return (powers / powers.sum(-1, keepdims=True)).round(6)


def logged(search: int, probabilities: np.ndarray, of: int = 0) -> str:
    """The lines of a search."""
    count = len(probabilities)
    lines = [
        {
            "event": "epoch", "search": search, "epoch": number, "epochs": of or count,
            "loss": 2.0 / number, "accuracy": 1 - 1 / (number + 1), "spent": 10**9 * number,
            "probabilities": table.tolist(),
        } for number, table in enumerate(probabilities, 1)
    ]  # fmt: skip
    return "".join(json.dumps(line) + "\n" for line in lines)


def run_of(folder: Path, space: dict[str, Any], *searches: int, strategy: str = "darts") -> Problem:
    """A run folder with searches of so many epochs, and no candidate."""
    parts = {
        "strategy": {"name": strategy},
        "evaluator": {"name": "training"},
        "task": {"name": "digits"},
    }
    (folder / "run.toml").write_bytes(
        Archive.dump(build(("test", {"space": space} | parts)).complete())
    )
    problem = Problem(stored_config(folder))
    groups = probabilities.choices(problem)
    text = "".join(
        logged(search, tables(groups, count, search)) for search, count in enumerate(searches)
    )
    (folder / "events.jsonl").write_text(text)
    return problem


def drawn(text: str, of: str) -> list[ElementTree.Element]:
    """The elements of a class."""
    return [each for each in ElementTree.fromstring(text).iter() if each.get("class") == of]


def texts(text: str, of: str) -> list[str]:
    return [each.text or "" for each in drawn(text, of)]


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]  # type: ignore[misc]


# -- the picture -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space", [CELL, MOBILE, {"name": "nasbench201"}], ids=lambda space: space["name"]
)
def test_every_choice_has_a_panel_and_every_option_a_line(
    space: dict[str, Any], tmp_path: Path
) -> None:
    problem = run_of(tmp_path, space, 5)
    groups = probabilities.choices(problem)
    text = probabilities.svg(tmp_path, problem, "a <title> & more\x00")
    panels = drawn(text, "panel")
    assert [panel[0].text for panel in panels] == [group.name for group in groups]
    for group, panel in zip(groups, panels, strict=True):
        lines = [each for each in panel if each.get("class") == "option"]
        assert sorted(str(line[0].text).split(":")[0] for line in lines) == sorted(group.options)
        assert all(len(points(line)) == 5 for line in lines)
    names = list(dict.fromkeys(name for group in groups for name in group.options))
    assert [each[2:] for each in texts(text, "legend")] == names
    kinds = {probabilities.kind(group) for group in groups}
    assert len(texts(text, "means")) == len(kinds) and texts(text, "title")[0] == "a <title> & more"
    assert (
        "search 0, epoch 5 of 5" in texts(text, "title")[1]
        and len(drawn(text, "loss")) == len(drawn(text, "accuracy")) == 1
    )


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL | {"blocks": 5, "operations": "nasnet"}, 7)
    root = ElementTree.fromstring(probabilities.svg(tmp_path, problem, "x" * 300))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for each in root.iter(f"{SVG}text"):
        wide, x = float(each.attrib["textLength"]), float(each.attrib["x"])
        left = x - {"start": 0, "middle": 0.5, "end": 1}[each.attrib["text-anchor"]] * wide
        assert left >= 0 and left + wide <= width and 0 < float(each.attrib["y"]) < height
    frames = [
        tuple(float(each.attrib[name]) for name in ("x", "y", "width", "height"))
        for each in root.iter()
        if each.get("class") == "frame"
    ]
    boxes = sorted(set(frames))
    for at, (x, y, w, h) in enumerate(boxes):
        assert all(
            x + w < a or a + c < x or y + h < b or b + d < y for a, b, c, d in boxes[at + 1 :]
        )


def test_edges_into_a_state_are_side_by_side(tmp_path: Path) -> None:
    text = probabilities.svg(tmp_path, run_of(tmp_path, CELL, 3), "cells")
    heights: dict[str, list[str]] = {}
    for each in drawn(text, "group"):
        heights.setdefault(each.attrib["y"], []).append(str(each.text))
    assert list(heights.values()) == 2 * [["0>2", "1>2"], ["0>3", "1>3", "2>3"]]
    assert texts(text, "section") == ["normal cell", "reduction cell", "training of the supernet"]


def test_lines_are_where_the_probabilities_are() -> None:
    table = np.array([[[0.2, 0.5, 0.3], [0.25, 0.75, 0.0]], [[0.1, 0.8, 0.1], [0.5, 0.5, 0.0]]])
    found = [
        probabilities.Epoch(0, number + 1, 2, 1.0, 0.5, each) for number, each in enumerate(table)
    ]
    taken = np.array([[False, True, False], [False, False, False]])
    text = probabilities.picture(found, UNEVEN, taken, "two")
    first, second = drawn(text, "panel")
    for panel, values in (
        (first, {"none": (0.2, 0.1), "skip_connect": (0.5, 0.8)}),
        (second, {"skip_connect": (0.25, 0.5), "<&>": (0.75, 0.5)}),
    ):
        frame = next(each for each in panel if each.get("class") == "frame")
        left, top, wide, high = (
            float(frame.attrib[name]) for name in ("x", "y", "width", "height")
        )
        low, range_ = 0.1, 0.8 - 0.1  # of both, so that they can be compared
        for line in panel:
            if (
                line.get("class") != "option"
                or (name := str(line[0].text).rpartition(":")[0]) not in values
            ):
                continue
            expected = [
                top + high * (1.06 - (value - low) / range_) / 1.12 for value in values[name]
            ]
            np.testing.assert_allclose([y for _, y in points(line)], expected, atol=0.06)
            assert [x for x, _ in points(line)] == [left, left + wide]
    assert [sum(each.get("class") == "dot" for each in panel) for panel in (first, second)] == [
        1,
        0,
    ]
    assert texts(text, "derived") == ["skip_connect"]
    frames = [
        next(each.attrib["stroke"] for each in panel if each.get("class") == "frame")
        for panel in (first, second)
    ]
    assert frames[0] == "black" != frames[1]


def test_skip_connections_are_conspicuous_and_nothing_is_grey(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL, 4)
    text = probabilities.svg(tmp_path, problem, "colours")
    looks: dict[str, set[tuple[Any, ...]]] = {}
    for line in drawn(text, "option"):
        how = tuple(line.get(name) for name in ("stroke", "stroke-width", "stroke-dasharray"))
        looks.setdefault(str(line[0].text).split(":")[0], set()).add(how)
    assert all(len(each) == 1 for each in looks.values())  # the same in all panels
    only = {name: next(iter(each)) for name, each in looks.items()}
    assert len({colour for colour, _, _ in only.values()}) == len(only)
    assert (
        only["skip_connect"][0] == probabilities.SKIP[0] and only["none"][0] == probabilities.NONE
    )
    assert float(only["skip_connect"][1]) > 1.5 * max(
        float(width) for name, (_, width, _) in only.items() if name != "skip_connect"
    )
    assert [name for name, (_, _, dashes) in only.items() if dashes] == ["none"]
    panel = drawn(text, "panel")[0]
    # on top
    assert str([each for each in panel if each.get("class") == "option"][-1][0].text).startswith(
        "skip_connect"
    )


def test_many_options_have_colours_and_letters() -> None:
    names = tuple(f"option{number}" for number in range(60))
    found = [probabilities.Epoch(2, 1, 3, 1.0, 0.5, np.full((1, 60), 1 / 60))]
    text = probabilities.picture(found, (Group("0", names),), np.zeros((1, 60), bool), "many")
    letters = [each.split()[0] for each in texts(text, "legend")]
    assert len(set(letters)) == 60 and letters[25:28] == ["z", "aa", "ab"]
    assert len({line.attrib["stroke"] for line in drawn(text, "option")}) == 60


def test_one_epoch_is_a_picture(tmp_path: Path) -> None:
    text = probabilities.svg(tmp_path, run_of(tmp_path, CELL, 1), "one")
    for line in drawn(text, "option"):
        (left, y), (right, same) = points(line)
        assert left < right and y == same
    assert "nan" not in text and texts(text, "derived")


def test_hundreds_of_epochs_are_a_small_file_and_their_ends_exact(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL, 731)
    text = probabilities.svg(tmp_path, problem, "long")
    assert {len(points(line)) for line in drawn(text, "option")} == {probabilities.SPANS} and len(
        text
    ) < 500_000
    groups = probabilities.choices(problem)
    every = tables(groups, 731)
    panel = drawn(text, "panel")[0]
    for line in panel:
        if line.get("class") == "option":
            name, values = str(line[0].text).split(": ")
            column = every[:, 0, groups[0].options.index(name)]
            assert values == f"{column[0]:.4g} to {column[-1]:.4g}"


@pytest.mark.parametrize("count", [1, 2, 3, 99, 100, 101, 102, 350])
def test_spans_hold_every_epoch_once(count: int) -> None:
    found = [
        probabilities.Epoch(
            0, number + 1, count, float(number), 0.5, np.full((1, 1), number / count)
        )
        for number in range(count)
    ]
    times, every, curves = probabilities._spans(found)
    assert len(times) == len(every) == len(curves) == min(count, probabilities.SPANS)
    assert times[0] == 1 and times[-1] == count and (np.diff(times) > 0).all()
    np.testing.assert_allclose(every[:, 0, 0] * count, times - 1)
    np.testing.assert_allclose(curves[:, 0], times - 1)


def test_means_are_of_the_groups_that_have_the_option() -> None:
    table = np.array([[0.2, 0.5, 0.3], [0.25, 0.75, 0.0]])
    assert probabilities.means(UNEVEN, table) == {
        "normal": {"none": 0.2, "skip_connect": 0.5, "sep_conv_3x3": 0.3},
        "reduction": {"skip_connect": 0.25, "<&>": 0.75},
    }
    groups = (Group("0.0", ("a", "none")), Group("0.1", ("a",)))
    assert probabilities.means(groups, np.array([[0.4, 0.6], [1.0, 0.0]])) == {
        "": {"a": 0.7, "none": 0.6}
    }


# -- which search, and what it derives -------------------------------------------------------------


def test_the_last_search_is_drawn_or_the_one_asked_for(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL, 3, 4, 2)
    groups = probabilities.choices(problem)
    assert [(epoch.search, epoch.number) for epoch in probabilities.epochs(tmp_path, groups)] == [
        (2, 1),
        (2, 2),
    ]
    assert len(probabilities.epochs(tmp_path, groups, 1)) == 4
    assert "search 2, epoch 2 of 2" in probabilities.svg(tmp_path, problem, "last")
    assert "search 0, epoch 3 of 3" in probabilities.svg(tmp_path, problem, "first", 0)
    with pytest.raises(InputError, match="no epoch with probabilities"):
        probabilities.svg(tmp_path, problem, "none", 3)


def test_what_is_derived_is_marked(tmp_path: Path) -> None:
    """Before its end as it would be now, and behind it as the archive has it."""
    problem = run_of(tmp_path, CELL, 3)
    groups = probabilities.choices(problem)
    last = probabilities.epochs(tmp_path, groups)[-1]
    now = problem.space.paths(problem.space.derive(last.probabilities)) > 0
    assert (probabilities.derived(problem, tmp_path, last) == now).all() and now.sum() == 8
    text = probabilities.svg(tmp_path, problem, "now")
    assert (
        texts(text, "derived") == [groups[row].options[option] for row, option in np.argwhere(now)]
        and len(drawn(text, "dot")) == 8
    )
    other = problem.space.derive(last.probabilities[:, ::-1])
    archive, row = (
        problem.archive(tmp_path),
        Population.of(problem.space.schema, [other]).weighted(problem.weights),
    )
    row.ids[0], row.fitness[0] = 0, 0.5
    archive.add(row, ["key"], "candidate", 0, 0, 1, [1.0], [[]])
    archive.flush()
    assert (
        probabilities.derived(problem, tmp_path, last) == (problem.space.paths(other) > 0)
    ).all()
    unfinished = probabilities.Epoch(0, 2, 3, 1.0, 0.5, last.probabilities)
    assert (probabilities.derived(problem, tmp_path, unfinished) == now).all()


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        "[1]",
        "\xff",
        '"event"',
        '{"event": "epoch", "probabilities": [[1.0]]}',
        (
            '{"event": "epoch", "search": 0, "epoch": 1, "epochs": 1, "loss": 1, "accuracy": 1, '
            '"probabilities": [[0.5], [0.5, 0.5]]}'
        ),
        (
            '{"event": "epoch", "search": 0, "epoch": 1, "epochs": 1, "loss": 1, "accuracy": 1, '
            '"probabilities": [[NaN]]}'
        ),
        (
            '{"event": "epoch", "search": 0, "epoch": 1, "epochs": 1, "loss": 1, "accuracy": 1, '
            '"probabilities": [[1.5]]}'
        ),
        (
            '{"event": "epoch", "search": 0, "epoch": 1, "epochs": 1, "loss": 1, "accuracy": 1, '
            '"probabilities": "0.5"}'
        ),
        (
            '{"event": "epoch", "search": 0, "epoch": 2, "epochs": 1, "loss": 1, "accuracy": 1, '
            '"probabilities": [[0.5]]}'
        ),
        (
            '{"event": "epoch", "search": 0, "epoch": Infinity, "epochs": 1, "loss": 1, '
            '"accuracy": 1, "probabilities": [[0.5]]}'
        ),
        (
            '{"event": "epoch", "search": 0, "epoch": 1, "epochs": 1, "loss": NaN, "accuracy": 1, '
            '"probabilities": [[0.5]]}'
        ),
    ],
)
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL, 2)
    text = (tmp_path / "events.jsonl").read_bytes()
    (tmp_path / "events.jsonl").write_bytes(text + line.encode("latin-1") + b"\n" + text)
    for read in (
        lambda: probabilities.svg(tmp_path, problem, "damaged"),
        lambda: described(problem, tmp_path),
    ):
        with pytest.raises(
            InputError, match=r"events\.jsonl:3: not a line that evoml wrote; remove it"
        ) as error:
            read()
        assert "\n" not in str(error.value)


def test_a_line_that_is_being_written_ends_what_is_read(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL, 3)
    text = (tmp_path / "events.jsonl").read_text()
    (tmp_path / "events.jsonl").write_text(text[:-1])
    assert "epoch 2 of 3" in probabilities.svg(tmp_path, problem, "growing")


def test_a_run_without_probabilities_is_refused(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL)
    (tmp_path / "events.jsonl").unlink()
    with pytest.raises(InputError, match="no epoch with probabilities"):
        probabilities.svg(tmp_path, problem, "none")
    shared = {
        "event": "epoch",
        "search": 0,
        "epoch": 1,
        "epochs": 2,
        "loss": 1.0,
        "accuracy": 0.5,
        "spent": 1,
    }  # of a supernet with dropped paths
    (tmp_path / "events.jsonl").write_text(json.dumps(shared) + '\n{"event": "end"}\n')
    with pytest.raises(InputError, match="no epoch with probabilities"):
        probabilities.svg(tmp_path, problem, "none")
    assert described(problem, tmp_path) == {}


def test_probabilities_of_another_space_are_refused(tmp_path: Path) -> None:
    run_of(tmp_path, CELL, 2)
    path = tmp_path / "run.toml"
    path.write_text(path.read_text().replace("blocks = 2", "blocks = 3"))
    with pytest.raises(
        InputError, match=r"events\.jsonl: probabilities 10 x 8; the space in run\.toml has 18 x 8"
    ):
        probabilities.svg(tmp_path, Problem(stored_config(tmp_path)), "other")


def test_events_of_a_kind_are_read(tmp_path: Path) -> None:
    assert list(events(tmp_path, "a", lambda event: event)) == []
    (tmp_path / "events.jsonl").write_text(
        '{"event": "a", "n": 1}\n{"event": "b", "n": 2}\n{"event": "a", "n": 3}\n{"event": "a"'
    )
    assert list(events(tmp_path, "a", lambda event: event["n"])) == [1, 3]
    assert list(events(tmp_path, "a", lambda event: event["n"] if event["n"] > 1 else None)) == [3]
    with pytest.raises(InputError, match=r"events\.jsonl:1: not a line"):
        list(events(tmp_path, "a", lambda event: event["m"]))
    (tmp_path / "events.jsonl").unlink()
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(InputError, match=r"events\.jsonl: a folder; it must be a file"):
        list(events(tmp_path, "a", lambda event: event))


# -- scales ----------------------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.floats(1e-5, 1e6), st.integers(2, 10))
def test_ticks_are_round_and_within(low: float, wide: float, most: int) -> None:
    found = plots.ticks(low, low + wide, most)
    assert len(found) <= most and all(
        low - 1e-6 * wide <= value <= low + wide + 1e-6 * wide for value, _ in found
    )
    assert len({text for _, text in found}) == len(found)  # written with digits enough
    assert all(
        float(text.replace(",", "")) == pytest.approx(value, rel=1e-9, abs=1e-12)
        for value, text in found
    )


def test_ticks_of_epochs_are_whole() -> None:
    for last in range(1, 60):
        assert all(
            value == int(value) and text == f"{int(value)}"
            for value, text in plots.ticks(1.0, float(last), 6, 1.0)
        )


@given(st.lists(st.floats(-50, 150), min_size=1, max_size=20).map(sorted))
def test_labels_keep_their_distance(wanted: list[float]) -> None:
    places = plots.spread(wanted, 9.0, 0.0, 100.0)
    apart = min(9.0, 100.0 / max(len(wanted) - 1, 1))
    assert all(after - before >= apart - 1e-9 for before, after in pairwise(places))
    assert places[0] >= -1e-9 and places[-1] <= 100.0 + 1e-9
    if (
        all(after - before >= 9.0 for before, after in pairwise(wanted))
        and wanted[0] >= 0
        and wanted[-1] <= 100
    ):
        np.testing.assert_allclose(places, wanted)


# -- commands --------------------------------------------------------------------------------------


def test_show_says_how_far_a_search_is(tmp_path: Path) -> None:
    """Also before there is a candidate."""
    problem = run_of(tmp_path, MOBILE, 2, 3)
    (now,) = described(problem, tmp_path).values()
    groups, last = probabilities.choices(problem), tables(probabilities.choices(problem), 3, 1)[-1]
    assert (now["search"], now["epoch"], now["epochs"]) == (1, 3, 3) and list(now["groups"]) == [
        group.name for group in groups
    ]
    for group, row in zip(groups, last.tolist(), strict=True):
        assert now["groups"][group.name] == dict(zip(group.options, row))
    assert now["means"] == probabilities.means(groups, last)
    done = evoml("show", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "no candidate has been archived yet" in done.stdout
        and "search 1, epoch 3 of 3: the supernet's loss 0.6667" in done.stdout
    )
    for name, mean in now["means"][""].items():
        assert re.search(rf"^{name} +{mean:.4f}$", done.stdout, re.MULTILINE)
    asked = evoml("show", tmp_path, "--json", cwd=tmp_path)
    assert json.loads(asked.stdout)["probabilities"] == now


def test_a_search_of_another_kind_says_nothing_of_probabilities(tmp_path: Path) -> None:
    problem = run_of(tmp_path, CELL, 2, strategy="random_search")
    assert described(problem, tmp_path) == {}


def test_the_picture_is_exported(tmp_path: Path) -> None:
    run_of(tmp_path, CELL, 2)
    done = evoml(
        "export", tmp_path, "--to", "probabilities", "-o", tmp_path / "out.svg", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert len(drawn((tmp_path / "out.svg").read_text(encoding="utf-8"), "panel")) == 10
    printed = evoml("export", tmp_path, "--to", "probabilities", cwd=tmp_path)
    assert printed.stdout.startswith("<svg") and not printed.stderr
    for arguments, why in (
        ((tmp_path / "out.svg",), "needs a run"),
        ((tmp_path, "--task", "digits"), "no --task"),
        ((tmp_path / "absent",), "needs a run"),
    ):
        refused = evoml("export", *arguments, "--to", "probabilities", cwd=tmp_path)
        assert (
            refused.returncode == 2
            and why in refused.stderr
            and len(refused.stderr.splitlines()) == 1
        )
