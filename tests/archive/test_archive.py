"""Objectives in a run: maximised or minimised as they say, in search, archive, ranking, result and
after a resume, whatever their names; and settings that a run does not name.
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import invalidate_caches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from parts import NoEvaluator, directions
from pydantic import Field

from evoml import cli
from evoml.archive.archive import Archive, stored_objectives
from evoml.archive.files import finite, lock, read_config, read_result, write_atomically
from evoml.archive.ranking import non_dominated
from evoml.config import assign, build
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.objective import Objective
from evoml.core import registry
from evoml.core.errors import InputError
from evoml.core.settings import UNNAMED, Settings
from evoml.core.streams import streams
from evoml.genotypes.population import OK, Population, fitness_class
from evoml.search.open import open_search, resume
from evoml.search.problem import Problem, edited, stored_config
from evoml.search.run import Result, Run
from evoml.search.toolbox import toolbox
from evoml.spaces import nasbench201

PART = '''
from evoml.contracts import CandidateEvaluator, Evaluation, Objective, Task
from evoml.core import settings
from evoml.genotypes.population import OK

class Settings(settings.Settings):
    names: tuple[str, ...] = ("f1",)

OBJECTIVES = {"f1": Objective("f1", True), "loss": Objective("loss", False, "nats")}

class Nothing(Task):
    kind = "nothing"
    def __init__(self, settings, data, seed):
        pass
    def search(self, experiment=0):
        return None

class F1(CandidateEvaluator):
    """A number that follows from the genotype; the smaller one is one minus it."""
    task = "nothing"
    def __init__(self, settings, tasks, space, backend):
        super().__init__(settings, tasks, space, backend)
        self.objectives = self.objectives_of(settings, Nothing)
    @classmethod
    def objectives_of(cls, settings, task):
        return tuple(OBJECTIVES[name] for name in settings.names)
    def candidate(self, genotype, stream):
        share = int(genotype.digest(), 16) % 1009 / 1009
        values = {"f1": share, "loss": 1 - share}
        return Evaluation.of([values[name] for name in self.settings.names], OK, 1.0)
'''
F1 = Objective("f1", True)


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an evaluator of an objective that evoml has never heard of."""
    path = tmp_path_factory.mktemp("parts") / "f1.py"
    path.write_text(PART)
    registry.trust(str(path))
    return path


def searched(part: Path, folder: Path, *sets: str) -> tuple[Run, Result]:
    """A search of 40 candidates judged by that evaluator."""
    texts = [
        "space.name=nasbench201", "strategy.population=8", "strategy.tournament=3",
        "search.budget=40", "workers=1", f"evaluator.name={part}", f"task.name={part}", *sets,
    ]  # fmt: skip
    search = open_search(build(*(("--set", assign(text)) for text in texts)), folder)
    search.create()
    search.prepare()
    return search, search.run()


def archive(folder: Path, *objectives: Objective) -> Archive:
    space = nasbench201.NASBench201Space(nasbench201.Settings())
    return Archive(folder, space.schema, objectives or (F1,), every_row=True)


def values(folder: Path, name: str) -> list[float]:
    table, warnings = Problem(stored_config(folder)).archive(folder).table(["id", name])
    assert not warnings
    return [float(value) for value in table[name].to_pylist()]


# -- direction -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "best"), [("f1", max), ("loss", min)])
def test_a_new_objective_goes_the_way_that_it_says(
    part: Path,
    tmp_path: Path,
    name: str,
    best: Callable[[list[float]], float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    search, result = searched(part, folder, f'evaluator.names=["{name}"]', "search.budget=30")
    for budget in (30, 40):
        found = best(values(folder, name))
        stored = read_result(folder)
        assert result.best is not None
        assert stored is not None
        assert result.best["objectives"] == {name: found} == stored["best"]["objectives"]
        assert stored["objectives"] == [each.plain() for each in search.problem.objectives]
        assert [each["name"] for each in stored["objectives"]] == [name]
        (first, second), warnings = search.archive.best(2)
        assert not warnings
        assert first[name] == found
        assert best([first[name], second[name]]) == found
        if budget == 30:
            search = resume(folder, budget=40)
            search.prepare()
            result = search.run()
    assert cli.run(["show", str(folder), "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["best"][0]["objectives"] == {name: found}
    for path in folder.glob("part-*.parquet"):
        assert stored_objectives(pq.read_schema(path), "") == search.problem.objectives


def test_the_search_itself_climbs(part: Path, tmp_path: Path) -> None:
    search, _ = searched(part, tmp_path / "f1", "search.budget=150")
    numbers = values(tmp_path / "f1", "f1")
    _, _ = searched(part, tmp_path / "loss", "search.budget=150", 'evaluator.names=["loss"]')
    losses = values(tmp_path / "loss", "loss")
    # the same search: what is larger of the one is smaller of the other
    assert np.allclose(numbers, 1 - np.array(losses))
    assert search.champion is not None
    assert search.champion.fitness.values[0] == max(numbers)


# -- what was stored wins --------------------------------------------------------------------------


@pytest.fixture
def run(part: Path, tmp_path: Path) -> Path:
    searched(part, tmp_path / "run")
    return tmp_path / "run"


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what the metadata of every part says."""
    for path in folder.glob("part-*.parquet"):
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[b"evoml"])
        pq.write_table(table.replace_schema_metadata({"evoml": change(about)}), path)


def test_stored_directions_rank_with_a_warning(run: Path) -> None:
    now = archive(run, replace(F1, larger=False))
    (row,), warnings = now.best(1)
    assert row["f1"] == max(values(run, "f1"))
    assert warnings == [
        f"{run}: ranked as it was stored, by f1 (larger is better, measured); its configuration "
        "says f1 (smaller is better, measured) now"
    ]


@pytest.mark.parametrize(
    "other",
    [replace(F1, larger=False), replace(F1, unit="%"), replace(F1, kind="shared")],
    ids=["direction", "unit", "kind"],
)
def test_a_resume_under_other_objectives_is_refused(run: Path, other: Objective) -> None:
    with pytest.raises(InputError, match=r"its objectives were f1 \(larger is better, measured\),"):
        archive(run, other).restore()
    assert archive(run).restore()


def test_another_objectives_rows_are_refused(run: Path) -> None:
    with pytest.raises(InputError, match=r"its objectives were f1 .*, and now are r2 \(larger"):
        archive(run, Objective("r2", True)).best(1)


def test_parts_that_say_nothing_open_as_before(run: Path) -> None:
    rewritten(run, lambda about: json.dumps({"format": 1, "objective": "f1"}))
    (row,), warnings = archive(run).best(1)
    assert not warnings
    assert row["f1"] == max(values(run, "f1"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda about: "{",
        lambda about: "[1]",
        lambda about: b"\xff\xfe",
        lambda about: "[" * 100_000,
        lambda about: json.dumps(about | {"objectives": 3}),
        lambda about: json.dumps(about | {"objectives": ["a\nb"]}),
        lambda about: json.dumps(about | {"objectives": [{"name": "f1", "larger": True}]}),
        lambda about: json.dumps(
            about | {"objectives": [about["objectives"][0] | {"unit": "\x1b[2J"}]}
        ),
        lambda about: json.dumps(about | {"objectives": [about["objectives"][0] | {"kind": []}]}),
    ],
)
def test_damaged_metadata_is_a_line(run: Path, damage: Callable[[dict[str, Any]], Any]) -> None:
    rewritten(run, damage)
    best, warnings = archive(run).best(1)
    assert not best
    assert len(warnings) == 1
    assert "part-000000.parquet: skipped, not a part of this run" in warnings[0]
    assert warnings[0].isprintable()
    with pytest.raises(InputError, match="put the right one back") as error:
        resume(run)
    assert "\n" not in str(error.value)


def test_objectives_survive_their_plain_form() -> None:
    for each in (F1, Objective("latency", False, "s", "predicted")):
        assert Objective.from_plain(json.loads(json.dumps(each.plain())), "") == each


# -- one number an objective -----------------------------------------------------------------------


def judge(numbers: int, *weights: float) -> NoEvaluator:
    """An evaluator of objectives with these weights that gives so many numbers."""

    class Judge(NoEvaluator):
        def evaluate(self, population: Population, streams: Any = None) -> Evaluation:
            n = len(population)
            return Evaluation(np.full((n, numbers), 0.5), np.full(n, OK, np.uint8))

    return Judge(directions(weights))


@pytest.mark.parametrize("numbers", [1, 3])
def test_another_number_of_numbers_is_refused(numbers: int) -> None:
    space = nasbench201.NASBench201Space(nasbench201.Settings())
    box = toolbox(space, judge(numbers, 1.0, -1.0))
    population = box.random(streams(0, 1, np.arange(3)))
    with pytest.raises(InputError, match=rf"objectives: {numbers} numbers? of a candidate that is"):
        box.score(population)
    assert np.isnan(population.fitness).all()
    with pytest.raises(InputError, match="judged by 2"):
        box.map(box.evaluate, list(population))
    with pytest.raises(InputError, match="judged by 2"):
        fitness_class((1.0, -1.0))((0.5,) * numbers)


def test_a_population_of_other_weights_is_refused() -> None:
    space = nasbench201.NASBench201Space(nasbench201.Settings())
    box = toolbox(space, judge(2, 1.0, -1.0))
    strange = space.random(streams(0, 1, np.arange(3)))
    with pytest.raises(InputError, match=r"objectives: a population of weights \(1.0,\) for an"):
        box.score(strange)
    with pytest.raises(InputError, match=r"objectives: weights \(1.0,\) in a population of"):
        box.empty(3).put(np.arange(3), strange)


def test_an_evaluator_that_contradicts_itself_is_refused(part: Path, tmp_path: Path) -> None:
    path = tmp_path / "torn.py"
    other = 'self.objectives = (OBJECTIVES["loss"],); self'
    path.write_text(PART.replace("self.objectives = self", other))
    registry.trust(str(path))
    with pytest.raises(
        InputError, match=r"has the objectives loss .*, and its objectives_of says f1"
    ):
        searched(path, tmp_path / "run")


# -- settings that a run does not name -------------------------------------------------------------


class Inner(Settings):
    aliases: ClassVar[dict[str, str]] = {"former": "renamed"}

    plain: int = 1
    added: int = Field(7, json_schema_extra={UNNAMED: 3})
    renamed: int = Field(8, json_schema_extra={UNNAMED: 4})


class Outer(Settings):
    inner: Inner = Inner()
    flag: bool = Field(True, json_schema_extra={UNNAMED: False})


def test_settings_added_later_are_what_a_run_had() -> None:
    def stored(values: dict[str, Any]) -> dict[str, Any]:
        return Outer.read(Outer.as_stored(values), "").model_dump()

    old = {"plain": 1, "added": 3, "renamed": 4}
    assert stored({}) == {"inner": old, "flag": False}
    assert stored({"flag": True, "inner": {"plain": 2}}) == {
        "inner": old | {"plain": 2},
        "flag": True,
    }
    assert stored({"inner": {"added": 9, "former": 5}})["inner"] == {
        "plain": 1,
        "added": 9,
        "renamed": 5,
    }
    assert Outer().model_dump() == {
        "inner": {"plain": 1, "added": 7, "renamed": 8},
        "flag": True,
    }
    with pytest.raises(InputError, match="inner: 3"):
        stored({"inner": 3})


def test_a_setting_added_later_stops_no_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed evaluator gets a setting, with another default than what it did before, between
    a search and its resume.
    """
    folder, part = tmp_path / "run", "grown"
    about = tmp_path / "grown-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: grown\nVersion: 1\n")
    axes = "".join(f"[evoml.{axis}]\ngrown = grown\n" for axis in ("evaluators", "tasks"))
    (about / "entry_points.txt").write_text(axes)
    (tmp_path / "grown.py").write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)
    _forget()
    searched(Path(part), folder, "search.budget=30")
    before = read_config(folder)
    grown = PART.replace(
        '("f1",)\n\nOBJ',
        '("f1",)\n    shift: float = Field(5.0, json_schema_extra={"unnamed": 0.0})\n\nOBJ',
    ).replace('{"f1": share,', '{"f1": share + self.settings.shift,')
    (tmp_path / "grown.py").write_text(f"from pydantic import Field\n{grown}")
    del sys.modules[part]
    invalidate_caches()
    assert stored_config(folder).part("evaluator").shift == 0.0
    assert not edited(folder)
    for budget in (40, 50):
        again = resume(folder, budget=budget)
        again.prepare()
        again.run()
        assert max(values(folder, "f1")) <= 1
        assert read_config(folder) == before | {"search": before["search"] | {"budget": budget}}
    monkeypatch.undo()
    del sys.modules[part]
    _forget()


def _forget() -> None:
    """What the registry remembers of what is installed."""
    registry.names.cache_clear()
    registry.installed.cache_clear()


def test_a_run_without_a_group_of_settings_is_a_line(run: Path) -> None:
    values = read_config(run)
    del values["archive"]
    write_atomically(run / "run.toml", Archive.dump(values))
    assert edited(run)
    with pytest.raises(InputError, match="not the settings that the run was made with"):
        resume(run)


# -- files -----------------------------------------------------------------------------------------


def test_what_json_does_not_have_is_none() -> None:
    assert finite({"a": [1.0, float("nan")], "b": (float("inf"), "x")}) == {
        "a": [1.0, None],
        "b": [None, "x"],
    }


def test_a_write_follows_no_link_that_lies_in_its_way(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / "file.partial").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"


def test_a_lock_ends_with_its_block(run: Path) -> None:
    for _ in range(2):
        with lock(run), pytest.raises(InputError, match="another process"), lock(run):
            pass
    shutil.rmtree(run)
    with pytest.raises(InputError, match="not a run"), lock(run):
        pass


def test_nobody_is_on_the_front_of_nobody() -> None:
    assert not non_dominated(np.zeros((0, 2)), np.zeros(0, bool)).any()
    assert not non_dominated(np.zeros((3, 2)), np.zeros(3, bool)).any()
    assert non_dominated(np.zeros((3, 1)), np.ones(3, bool)).all()
