"""Determinism and faults: same seed, same archive, whatever the workers; a killed and resumed run ends as the uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from evoml.archive import Archive, DiskError, read_result
from evoml.config import Config, assign, build
from evoml.errors import InputError
from evoml.registry import names
from evoml.search import Problem, Search, resume, stored_config

TINY = [
    "task.name=linear_regression", "search.budget=6000", "search.islands=3", "search.round=700", "search.migrate_every=2",
    "search.stop_at=none", "search.experiment=2500", "search.experiment_steps=0", "strategy.population=60", "task.select.tasks=4",
    "task.test.tasks=4", "archive.snapshot=2000", "archive.interval=0.01",
]  # fmt: skip


def config(*sets: str) -> Config:
    return build(("system", {"system": "automl-zero"}), *[("--set", assign(text)) for text in [*TINY, *sets]])


def search(folder: Path, *sets: str) -> Search:
    out = Search(config(*sets), folder)
    out.create()
    out.prepare()
    return out


def rows(folder: Path) -> pa.Table:
    problem = Problem(stored_config(folder))
    table, problems = Archive(folder, problem.space.schema, problem.objective).table()
    assert not problems
    return table


def same(one: pa.Table, other: pa.Table) -> bool:
    return one.to_pylist() == other.to_pylist()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    search(folder, "workers=1").run()
    return folder


def test_rows_do_not_depend_on_the_number_of_workers(uninterrupted: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", "workers=3").run()
    assert same(rows(tmp_path / "run"), rows(uninterrupted))


def test_another_seed_gives_other_rows(uninterrupted: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", "search.seed=1").run()
    assert not same(rows(tmp_path / "run"), rows(uninterrupted))


@pytest.mark.parametrize("strategy", names("strategies"))
@pytest.mark.parametrize("keep", ["all", "improvements"])
def test_a_resumed_run_ends_as_the_uninterrupted_one(strategy: str, keep: str, tmp_path: Path) -> None:
    sets = [f"strategy.name={strategy}", f"archive.keep={keep}", "search.budget=4000", "search.round=300"]
    search(tmp_path / "whole", *sets).run()
    first = search(tmp_path / "parts", *sets)
    stop = threading.Event()
    shown: list[int] = []
    result = first.run(lambda progress: (shown.append(progress.evaluations), stop.set() if len(shown) == 2 else None), stop)
    assert result.reason == "interrupted"
    again = resume(tmp_path / "parts")
    assert 0 <= again.evaluations <= shown[-1]
    again.prepare()
    again.run()
    assert same(rows(tmp_path / "parts"), rows(tmp_path / "whole"))
    assert read_result(tmp_path / "parts")["best"] == read_result(tmp_path / "whole")["best"]  # type: ignore[index]


def test_kill_at_random_instants(uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL again and again, at any instant; what is resumed in the end has the rows of the run that nothing disturbed."""
    folder = tmp_path / "run"
    sets = [part for text in TINY for part in ("--set", text)]
    command = [sys.executable, "-m", "evoml", "search", "automl-zero", "--run", str(folder), *sets]
    chance = random.Random(5)
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (folder / "checkpoint" / "state.safetensors").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        command = [sys.executable, "-m", "evoml", "resume", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same(rows(folder), rows(uninterrupted))


def test_resuming_a_finished_run_changes_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    again = resume(folder)
    again.prepare()
    assert again.run().reason == "budget"
    assert same(rows(folder), rows(uninterrupted))


def test_interrupt_is_quick_and_resumable(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sets = [part for text in [*TINY, "search.budget=0", "search.round=1000000", "search.experiment=0"] for part in ("--set", text)]
    command = [sys.executable, "-m", "evoml", "search", "automl-zero", "--run", str(folder), *sets]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "checkpoint" / "state.safetensors").exists():
        time.sleep(0.01)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert resume(folder).evaluations >= 0


def test_budget_is_exact_and_every_island_has_its_share(uninterrupted: Path) -> None:
    result = read_result(uninterrupted)
    assert result is not None
    assert result["evaluations"] == 6000
    assert result["counts"]["candidates"] == 6000
    assert set(rows(uninterrupted)["island"].to_pylist()) == {0, 1, 2}


def test_experiments_get_fresh_tasks(uninterrupted: Path) -> None:
    assert len(set(rows(uninterrupted)["experiment"].to_pylist())) == 2
    problem = Problem(stored_config(uninterrupted))
    assert not np.array_equal(problem.task.search(0).train_x, problem.task.search(1).train_x)


def test_keep_all_archives_every_candidate_once(tmp_path: Path) -> None:
    search(tmp_path / "run", "archive.keep=all", "search.budget=1500", "search.migrate_every=0").run()
    table = rows(tmp_path / "run")
    ids = [id_ for id_, event in zip(table["id"].to_pylist(), table["event"].to_pylist(), strict=True) if event == "candidate"]
    assert sorted(ids) == list(range(1500))


def test_parents_are_archived_before_their_children(tmp_path: Path) -> None:
    search(tmp_path / "run", "archive.keep=all", "search.budget=1500", "search.islands=1").run()
    table = rows(tmp_path / "run").filter(pa.compute.field("event") == "candidate")
    ids, parents = table["id"].to_pylist(), table["parents"].to_pylist()
    assert all(parent < id_ for id_, pair in zip(ids, parents, strict=True) for parent in pair)
    assert sum(len(pair) == 1 for pair in parents) == 1500 - 60


def test_an_existing_folder_is_not_overwritten(uninterrupted: Path) -> None:
    with pytest.raises(InputError, match="already there"):
        Search(config(), uninterrupted).create()


def test_a_broken_part_is_named_and_the_rest_opens(uninterrupted: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    parts = sorted(folder.glob("part-*.parquet"))
    assert len(parts) >= 2
    whole = rows(folder).num_rows
    parts[0].write_bytes(parts[0].read_bytes()[:-40])
    pa.parquet.write_table(pa.table({"foreign": [1]}), folder / "part-000900.parquet")
    problem = Problem(stored_config(folder))
    archive = Archive(folder, problem.space.schema, problem.objective)
    table, problems = archive.table()
    assert 0 < table.num_rows < whole
    assert len(problems) == 2
    assert str(parts[0]) in problems[0]
    assert archive.best(1)[0]


@pytest.mark.parametrize("damage", ["cut", "foreign", "missing", "other"])
def test_a_broken_checkpoint_is_an_input_error(uninterrupted: Path, tmp_path: Path, damage: str) -> None:
    import shutil

    from safetensors.numpy import save

    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    path = folder / "checkpoint" / "state.safetensors"
    content = path.read_bytes()
    {
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "foreign": lambda: path.write_bytes(b"not a checkpoint"),
        "missing": path.unlink,
        "other": lambda: path.write_bytes(save({"a": np.zeros(1)}, {"state": '{"archive": {"parts": 1, "events_bytes": 0}}'})),
    }[damage]()
    with pytest.raises(InputError) as error:
        resume(folder)
    assert "\n" not in str(error.value)


def test_a_full_disk_stops_with_an_intact_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills while a part or a checkpoint is written: nothing half-written stays, and the run resumes."""
    search(tmp_path / "whole").run()
    broken = search(tmp_path / "run")
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 6:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        broken.run()
    monkeypatch.undo()
    assert not list((tmp_path / "run").rglob("*.partial"))
    again = resume(tmp_path / "run")
    again.prepare()
    again.run()
    assert same(rows(tmp_path / "run"), rows(tmp_path / "whole"))


def test_only_one_process_searches_in_a_run(uninterrupted: Path) -> None:
    from evoml.archive import lock

    with lock(uninterrupted), pytest.raises(InputError, match="another process"), lock(uninterrupted):
        pass


def test_duckdb_polars_and_pandas_read_a_run(uninterrupted: Path) -> None:
    import duckdb
    import pandas
    import polars

    glob, count = f"{uninterrupted}/part-*.parquet", rows(uninterrupted).num_rows
    query = f"select max(fitness), count(*) from '{glob}' where 'vector_inner_product' in [x.op for x in genotype.predict]"
    best, found = duckdb.sql(query).fetchall()[0]
    assert 0 < best <= 1
    assert 0 < found <= count
    assert polars.read_parquet(glob).height == count
    assert sum(len(pandas.read_parquet(part)) for part in uninterrupted.glob("part-*.parquet")) == count


def test_start_fills_the_first_population(tmp_path: Path) -> None:
    programs = Path(__file__).parents[1] / "programs" / "automl_zero"
    sets = [f'start=["{programs}/linear_regression.py"]', "search.budget=60", "search.islands=1", "archive.keep=all"]
    result = search(tmp_path / "run", *sets, "space.setup.least=1", "space.predict.least=1", "space.learn.least=1",
                    "space.setup.initial=1", "space.predict.initial=1", "space.learn.initial=4").run()  # fmt: skip
    assert result.best is not None
    assert result.best["objectives"]["fitness"] > 0.99
    assert len(set(rows(tmp_path / "run")["key"].to_pylist())) == 1
