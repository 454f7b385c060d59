"""Runs that earlier states of evoml wrote, in tests/data/old_runs: they open, nothing says that
they were changed, and they go on to the rows of the same search made now at once.

`neat-xor-earlier` was written before there were the settings of shared weights and a digest of a
checkpoint's arrays, the rest before objectives stood in Parquet's metadata and before parts and
settings got the names that they have now. Rows are the same to the last bit on one kind of machine.
"""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from command_line import evoml

from evoml.archive.archive import stored_objectives
from evoml.archive.files import read_config, read_result
from evoml.core.errors import InputError
from evoml.search.open import open_search, resume
from evoml.search.problem import Problem, edited, stored_config
from evoml.search.run import Result, Run

OLD = Path(__file__).parents[1] / "data" / "old_runs"
# to what each is resumed, first and then; what it had ended it before that
LIMITS: dict[str, list[dict[str, Any]]] = {
    "amoebanet": [{"budget": 6}, {"budget": 7}],
    "automl-zero": [{"budget": 3000}, {"budget": 4200}],
    "darts": [{"seconds": 10_000.0}, {"seconds": 20_000.0}],
    "neat-xor-earlier": [{"budget": 200}, {"budget": 280}],
    "neat-xor": [{"budget": 240}, {"budget": 420}],
    "one-shot": [{"budget": 8}, {"budget": 9}],
}
ADDED = ("generation", "species")  # columns that runs made before have not
NOT_REPEATED = ("seconds", "cost", "check_seconds")


@pytest.fixture
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of an old run."""
    return Path(shutil.copytree(OLD / request.param, tmp_path / "old"))


every_run = pytest.mark.parametrize("old", LIMITS, indirect=True)


def finished(search: Run) -> Result:
    search.prepare()
    return search.run()


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows, without what a clock says, nor what rows of earlier versions do not have."""
    table, warnings = Problem(stored_config(folder)).archive(folder).table()
    assert not warnings
    table = table.drop_columns([name for name in ADDED if name in table.column_names])
    return [without_times(row) for row in table.to_pylist() if row["event"] != "ancestor"]


def candidates(folder: Path) -> list[dict[str, Any]]:
    """Rows of candidates in the order in which they were found, of what ended as they did."""
    found = [row for row in rows(folder) if row["event"] in ("candidate", "improvement")]
    return sorted(found, key=lambda row: int(row["id"]))


def improvements(folder: Path) -> list[dict[str, Any]]:
    return [each for each in events(folder) if each["event"] == "improvement"]


def without_times(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in NOT_REPEATED}


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [without_times(event) for event in map(json.loads, lines) if event["event"] != "end"]


def test_all_of_them_are_tested_and_small() -> None:
    assert sorted(LIMITS) == sorted(path.name for path in OLD.iterdir())
    for run in OLD.iterdir():
        files = [path for path in run.rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) < 60_000
        assert "lock" not in [path.name for path in files]


@every_run
def test_it_opens(old: Path) -> None:
    assert not edited(old)
    problem, result = Problem(stored_config(old)), read_result(old)
    for part in old.glob("part-*.parquet"):
        assert stored_objectives(pq.read_schema(part), "") == ()
    best, warnings = problem.archive(old).best(3)
    assert not warnings
    assert result is not None
    if result["best"] is not None:
        assert best[0]["key"] == problem.space.key(best[0]["genotype"]) == result["best"]["key"]
    done = evoml("show", old, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["finished"]["reason"] == result["reason"]
    assert [each["id"] for each in shown["best"]] == [each["id"] for each in best][:1]


@every_run
def test_it_goes_on_as_the_same_search_made_now(
    old: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Trainings on another processor differ in the last bits, so of a run of these, where its first
    rows cannot be had again, only what is not measured is compared.
    """
    written, stored = read_config(old), candidates(old)
    for number, limits in enumerate(LIMITS[request.node.callspec.params["old"]]):
        now = open_search(stored_config(old, {"search": limits}), tmp_path / str(number))
        now.create()
        expected = finished(now)
        again = resume(old, **limits)
        assert again.under_way
        result = finished(again)
        made = tmp_path / str(number)
        assert (result.reason, result.evaluations) == (expected.reason, expected.evaluations)
        every_row = again.problem.every_row
        assert not every_row or candidates(old)[: len(stored)] == stored
        if not every_row or candidates(made)[: len(stored)] == stored:
            assert (result.best, result.test) == (expected.best, expected.test)
            assert rows(old) == rows(made)
            assert improvements(old) == improvements(made)
        else:
            assert [row["id"] for row in candidates(old)] == [row["id"] for row in candidates(made)]
        # nothing else in run.toml is another now
        assert read_config(old) == written | {"search": written["search"] | limits}
        assert not edited(old)


@every_run
def test_what_was_changed_in_it_is_refused(old: Path) -> None:
    path = old / "run.toml"
    path.write_text(path.read_text().replace("seed = 1\n", "seed = 2\n").replace("= 3\n", "= 2\n"))
    assert edited(old)
    with pytest.raises(InputError, match="not the settings that the run was made with") as error:
        resume(old)
    assert "\n" not in str(error.value)


@every_run
def test_damage_anywhere_is_a_line(old: Path, tmp_path: Path) -> None:
    """Whatever bytes of whatever file were overwritten or cut off, opening and resuming succeed, or
    say so in a line.
    """
    chance, folder = random.Random(7), tmp_path / "damaged"
    for path in sorted(path.relative_to(old) for path in old.rglob("*") if path.is_file()):
        for _ in range(6):
            shutil.copytree(old, folder)
            content = bytearray((folder / path).read_bytes())
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(content))
                content[at : at + 4] = chance.randbytes(4)
            cut = len(content) if chance.random() < 0.7 else chance.randrange(len(content))
            (folder / path).write_bytes(content[:cut])
            for call in (opened, resume):
                try:
                    call(folder)
                except InputError as error:
                    assert str(error)
                    assert "\n" not in str(error)
            shutil.rmtree(folder)


def opened(folder: Path) -> None:
    """What a run's best are, or why that cannot be said."""
    _, warnings = Problem(stored_config(folder)).archive(folder).best(3)
    assert not any("\n" in line for line in warnings)
    assert isinstance(edited(folder), bool)
    read_result(folder)
