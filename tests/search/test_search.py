"""Determinism and faults: same seed, same archive, whatever the workers; a killed and resumed run
ends as the uninterrupted one.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from checkpoints import tampered
from command_line import evoml
from parts import class_of
from safetensors.numpy import save as save_safetensors

from evoml.archive.files import read_result
from evoml.config import Config, assign, build
from evoml.contracts.evaluation import Evaluation
from evoml.core.errors import DiskError, InputError
from evoml.core.registry import load, names
from evoml.genotypes.population import Population
from evoml.search.open import resume
from evoml.search.problem import Problem, stored_config
from evoml.search.rounds import Rounds

TINY = [
    "task.name=linear_regression", "search.budget=6000", "search.islands=3", "search.round=700",
    "search.migrate_every=2", "search.stop_at=none", "search.experiment=2500",
    "search.experiment_steps=0", "strategy.population=60", "task.select.tasks=4",
    "task.test.tasks=4", "archive.snapshot=2000", "archive.interval=0.01",
]  # fmt: skip


def config(*sets: str) -> Config:
    return build(
        ("system", {"system": "automl-zero"}), *[("--set", assign(text)) for text in [*TINY, *sets]]
    )


def search(folder: Path, *sets: str) -> Rounds:
    out = Rounds(config(*sets), folder)
    out.create()
    out.prepare()
    return out


def rows(folder: Path) -> pa.Table:
    problem = Problem(stored_config(folder))
    table, warnings = problem.archive(folder).table()
    assert not warnings
    return table


def same(one: pa.Table, other: pa.Table) -> bool:
    return one.to_pylist() == other.to_pylist()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    search(folder, "workers=1").run()
    return folder


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose last checkpoint holds full populations."""
    folder = tmp_path_factory.mktemp("runs") / "steady"
    search(folder, "search.experiment=0", "search.budget=6300").run()
    return folder


def test_rows_do_not_depend_on_the_number_of_workers(uninterrupted: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", "workers=3").run()
    assert same(rows(tmp_path / "run"), rows(uninterrupted))


def test_another_seed_gives_other_rows(uninterrupted: Path, tmp_path: Path) -> None:
    search(tmp_path / "run", "search.seed=1").run()
    assert not same(rows(tmp_path / "run"), rows(uninterrupted))


@pytest.mark.parametrize(
    "strategy",
    [
        name
        for name in names("strategies")
        if "population" in load("strategies", name).Settings.model_fields
        and not class_of(load("strategies", name)).generational
    ],
)
@pytest.mark.parametrize("keep", ["all", "improvements"])
def test_a_resumed_run_ends_as_the_uninterrupted_one(
    strategy: str, keep: str, tmp_path: Path
) -> None:
    sets = [
        f"strategy.name={strategy}",
        f"archive.keep={keep}",
        "search.budget=1500",
        "search.round=150",
    ]
    search(tmp_path / "whole", *sets).run()
    first = search(tmp_path / "parts", *sets)
    stop = threading.Event()
    shown: list[int] = []
    result = first.run(
        lambda progress: (
            shown.append(progress.evaluations),
            stop.set() if len(shown) == 2 else None,
        ),
        stop,
    )
    assert result.reason == "interrupted"
    again = resume(tmp_path / "parts")
    assert 0 <= again.evaluations <= shown[-1]
    again.prepare()
    again.run()
    assert same(rows(tmp_path / "parts"), rows(tmp_path / "whole"))
    assert read_result(tmp_path / "parts")["best"] == read_result(tmp_path / "whole")["best"]  # type: ignore[index]


def test_kill_at_random_instants(uninterrupted: Path, tmp_path: Path) -> None:
    """SIGKILL again and again, at any instant; what is resumed in the end has the rows of the run
    that nothing disturbed.
    """
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
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    again = resume(folder)
    again.prepare()
    assert again.run().reason == "budget"
    assert same(rows(folder), rows(uninterrupted))


@pytest.mark.parametrize("first", [1000, 2100, 3333])
def test_a_larger_budget_goes_on_as_if_it_had_been_given_at_once(
    first: int, uninterrupted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    search(folder, f"search.budget={first}").run()
    again = resume(folder, budget=6000)
    again.prepare()
    again.run()
    assert same(rows(folder), rows(uninterrupted))
    assert stored_config(folder).search.budget == 6000


def test_an_interrupt_in_the_middle_of_a_round_loses_nothing(
    uninterrupted: Path, tmp_path: Path
) -> None:
    """Islands stop between two blocks, at different places; the resumed run goes on from exactly
    there.
    """
    folder = tmp_path / "run"
    running, stop = search(folder, "archive.interval=1000"), threading.Event()
    score, calls = running.islands[1].toolbox.score, [0]

    def interrupted_score(population: Population) -> Evaluation:
        calls[0] += 1
        if calls[0] == 4:
            stop.set()
        out: Evaluation = score(population)
        return out

    for island in running.islands:
        island.engine = None
    running.islands[1].toolbox.score = interrupted_score
    assert running.run(stop=stop).reason == "interrupted"
    assert 0 < running.evaluations < 2100
    again = resume(folder)
    assert again.evaluations == running.evaluations
    again.prepare()
    again.run()
    assert same(rows(folder), rows(uninterrupted))


def test_the_champion_is_the_first_of_equals_and_survives_a_resume(tmp_path: Path) -> None:
    """Selection scores tie all the time in classification; result, archive and resumed run name the
    same program.
    """
    sets = [
        "task.name=projected_binary",
        "search.budget=4000",
        "search.islands=4",
        "task.search.tasks=4",
        "task.select.tasks=9",
        "search.experiment=0",
    ]
    for seed in (4, 11):
        folder = tmp_path / str(seed)
        result = search(folder, *sets, f"search.seed={seed}").run()
        again = resume(folder)
        again.prepare()
        again.run()
        assert again.champion is not None
        assert result.best is not None
        problem = Problem(stored_config(folder))
        shown = problem.archive(folder).best(1)[0][0]
        assert result.best["id"] == again.champion.id == shown["id"]
        assert [member.id for member in again.halloffame] == [
            member.id for member in result.hall_of_fame
        ]


def test_a_refused_resume_changes_nothing(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    (folder / "run.toml").write_text(
        (folder / "run.toml").read_text().replace("population = 60", "population = 70")
    )
    with pytest.raises(InputError, match="not the settings that the run was made with"):
        resume(folder)
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(before)


_RING = "/islands/0/strategy/arrays"
TAMPERING: dict[str, Callable[[dict[str, np.ndarray], dict[str, Any]], None]] = {
    "sizes": lambda arrays, state: arrays[f"{_RING}/sizes"].fill(10**6),
    "addresses": lambda arrays, state: arrays[f"{_RING}/table1"].fill(200),
    "rows": lambda arrays, state: arrays.update({f"{_RING}/table0": np.zeros((1, 1), np.uint8)}),
    "dtype": lambda arrays, state: arrays.update(
        {f"{_RING}/fitness": arrays[f"{_RING}/fitness"].astype(np.float32)}
    ),
    "told": lambda arrays, state: state["islands"][0]["strategy"].update(told=-5),
    "asked": lambda arrays, state: state["islands"][0].update(asked="x"),
    "counts": lambda arrays, state: state["islands"][0]["evaluator"].update(counts={}),
    "retired": lambda arrays, state: state.update(retired=[1]),
    "seconds": lambda arrays, state: state.update(seconds="x"),
    "islands": lambda arrays, state: state.update(islands=state["islands"][:1]),
    "cache": lambda arrays, state: arrays.update(
        {"/islands/0/evaluator/arrays/functional.uses": np.zeros(3, np.int64)}
    ),
    "hall of fame": lambda arrays, state: arrays["/halloffame/sizes"].fill(10**6),
    "events": lambda arrays, state: state["archive"].update(events_bytes=10**12),
    "not an array": lambda arrays, state: state["islands"][0]["strategy"].update(arrays={}),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_a_hostile_checkpoint_is_refused_in_one_line(
    what: str, steady: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(steady, folder)
    tampered(folder, TAMPERING[what])
    with pytest.raises(InputError) as error:
        resume(folder)
    assert "\n" not in str(error.value)


def test_links_in_a_run_folder_are_not_followed(uninterrupted: Path, tmp_path: Path) -> None:
    for name in ("lock", "events.jsonl"):
        folder, victim = tmp_path / f"run-{name}", tmp_path / f"victim-{name}"
        shutil.copytree(uninterrupted, folder)
        victim.write_text("precious" * 10_000)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
        done = evoml("resume", folder)
        assert done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert victim.read_text() == "precious" * 10_000


def test_a_run_carries_its_start_files_and_knows_its_data(tmp_path: Path) -> None:
    programs = Path(__file__).parents[2] / "programs" / "automl_zero"
    start, data = tmp_path / "start.py", tmp_path / "data.npz"
    shutil.copy(programs / "logistic_regression.py", start)
    chance = np.random.default_rng(0)
    np.savez(data, images=chance.random((120, 6)), labels=np.arange(120) % 3)
    sets = [
        "task.name=projected_binary",
        f'task.data="{data}"',
        f'start=["{start}"]',
        "search.budget=300",
        "task.features=4",
    ]
    search(tmp_path / "run", *sets, "task.select.tasks=1", "task.test.tasks=1").run()
    start.unlink()
    assert resume(tmp_path / "run").evaluations <= 300
    np.savez(data, images=chance.random((120, 6)), labels=np.arange(120) % 3)
    with pytest.raises(InputError, match="not the data that the run was made with"):
        resume(tmp_path / "run")
    data.unlink()
    problem = Problem(stored_config(tmp_path / "run"))
    assert problem.archive(tmp_path / "run").best(1)[0]


def test_every_start_file_is_used(tmp_path: Path) -> None:
    programs = sorted((Path(__file__).parents[2] / "programs" / "automl_zero").glob("*.py"))
    files = ", ".join(f'"{path}"' for path in programs)
    sets = [
        "task.name=projected_binary",
        f"start=[{files}]",
        "search.budget=60",
        "search.islands=1",
        "archive.keep=all",
        "strategy.block=3",
    ]
    search(
        tmp_path / "run",
        *sets,
        "space.matrices=3",
        "task.select.tasks=9",
        "evaluator.budget_factor=0.0",
    ).run()
    assert len(set(rows(tmp_path / "run")["key"].to_pylist())) == len(programs)
    with pytest.raises(InputError, match="random_search starts from nothing"):
        Rounds(config(*sets, "space.matrices=3", "strategy.name=random_search"), tmp_path / "other")


def test_interrupt_is_quick_and_resumable(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    sets = [
        part
        for text in [*TINY, "search.budget=0", "search.round=1000000", "search.experiment=0"]
        for part in ("--set", text)
    ]
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
    search(
        tmp_path / "run", "archive.keep=all", "search.budget=1500", "search.migrate_every=0"
    ).run()
    table = rows(tmp_path / "run")
    ids = [
        id_
        for id_, event in zip(table["id"].to_pylist(), table["event"].to_pylist(), strict=True)
        if event == "candidate"
    ]
    assert sorted(ids) == list(range(1500))


def test_parents_are_archived_before_their_children(tmp_path: Path) -> None:
    search(tmp_path / "run", "archive.keep=all", "search.budget=1500", "search.islands=1").run()
    table = rows(tmp_path / "run").filter(pa.compute.field("event") == "candidate")
    ids, parents = table["id"].to_pylist(), table["parents"].to_pylist()
    assert all(parent < id_ for id_, pair in zip(ids, parents, strict=True) for parent in pair)
    assert sum(len(pair) == 1 for pair in parents) == 1500 - 60


def test_an_existing_folder_is_not_overwritten(uninterrupted: Path) -> None:
    with pytest.raises(InputError, match="already a run"):
        Rounds(config(), uninterrupted).create()


def test_a_broken_part_is_named_and_the_rest_opens(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    parts = sorted(folder.glob("part-*.parquet"))
    assert len(parts) >= 2
    whole = rows(folder).num_rows
    parts[0].write_bytes(parts[0].read_bytes()[:-40])
    pa.parquet.write_table(pa.table({"foreign": [1]}), folder / "part-000900.parquet")
    problem = Problem(stored_config(folder))
    archive = problem.archive(folder)
    table, warnings = archive.table()
    assert 0 < table.num_rows < whole
    assert len(warnings) == 3
    assert str(parts[0]) in warnings[0]
    assert "missing, and" in warnings[1]
    assert "part-000900.parquet: skipped" in warnings[2]
    assert archive.best(1)[0]


def test_a_run_whose_best_is_lost_says_so(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    result = read_result(folder)
    assert result is not None
    for part in folder.glob("part-*.parquet"):
        if result["best"]["id"] in pa.parquet.read_table(part)["id"].to_pylist():
            part.unlink()
    problem = Problem(stored_config(folder))
    _, warnings = problem.archive(folder).best(1)
    assert (
        f"its best, candidate {result['best']['id']} in result.json, is in no part" in warnings[-1]
    )


def test_lost_events_are_named(uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    (tmp_path / "run" / "events.jsonl").write_text("")
    with pytest.raises(InputError, match="events.jsonl: missing, or shorter than it was"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("damage", ["lost", "garbage", "swapped", "link"])
def test_a_resume_checks_the_parts_it_builds_on(
    uninterrupted: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    first, second = sorted(folder.glob("part-*.parquet"))[:2]
    content = first.read_bytes()
    {
        "lost": first.unlink,
        "garbage": lambda: first.write_bytes(b"garbage"),
        "swapped": lambda: first.write_bytes(second.read_bytes()),
        "link": lambda: (
            first.unlink(),
            (tmp_path / "elsewhere").write_bytes(content),
            first.symlink_to(tmp_path / "elsewhere"),
        ),
    }[damage]()
    with pytest.raises(InputError, match=r"part-000000.parquet: .* put .* back"):
        resume(folder)


def test_a_run_that_never_reached_its_checkpoint_begins_again(
    uninterrupted: Path, tmp_path: Path
) -> None:
    begun = Rounds(config(), tmp_path / "run")
    begun.create()
    again = resume(tmp_path / "run")
    again.prepare()
    again.run()
    assert same(rows(tmp_path / "run"), rows(uninterrupted))


def test_a_disk_that_is_full_from_the_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left"):
        Rounds(config(), tmp_path / "run").create()
    assert not (tmp_path / "run").exists()


def test_smaller_limits_than_the_run_has_had_are_refused(
    uninterrupted: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()}
    for limits in ({"budget": 5000}, {"seconds": 1e-6}):
        with pytest.raises(InputError, match="the run has had"):
            resume(uninterrupted, **limits)
    shutil.copytree(uninterrupted, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()  # as if it had been interrupted
    with pytest.raises(InputError, match="the run has had"):
        resume(tmp_path / "run", budget=60)
    assert {
        path: path.read_bytes() for path in uninterrupted.rglob("*") if path.is_file()
    } == before


def test_moved_data_is_named_at_resume(tmp_path: Path) -> None:
    data, moved = tmp_path / "data.npz", tmp_path / "moved.npz"
    np.savez(data, images=np.random.default_rng(0).random((120, 6)), labels=np.arange(120) % 3)
    sets = [
        "task.name=projected_binary",
        f'task.data="{data}"',
        "search.budget=300",
        "task.features=4",
    ]
    search(tmp_path / "run", *sets, "task.select.tasks=1", "task.test.tasks=1").run()
    data.rename(moved)
    with pytest.raises(InputError, match=r"data.npz: no such file|No such file"):
        resume(tmp_path / "run")
    again = resume(tmp_path / "run", budget=600, data=moved)
    again.prepare()
    assert again.run().evaluations == 600
    assert stored_config(tmp_path / "run").data == moved


def test_a_damaged_kernel_cache_is_compiled_again(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from evoml.compilation.random_kernels import mix; from "
        "evoml.compilation.numba_cache import cache_folder; print(mix(np.uint64(1), np.uint64(2)), "
        "cache_folder())"
    )

    def call() -> list[str]:
        environment = os.environ | {"EVOML_CACHE": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout.split()

    expected, folder = call()
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".nbi", ".nbc"))
    assert len(files) >= 2
    for damage in (b"", b"\x80\x05garbage", None):
        for path in files:
            path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
        assert call()[0] == expected
    kernels = [path for path in files if path.suffix == ".nbc"]
    contents = [path.read_bytes() for path in kernels]
    for path, content in zip(kernels, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)
    assert call()[0] == expected
    assert all(path.stat().st_size > 100 for path in files)


@pytest.mark.parametrize("damage", ["cut", "foreign", "missing", "other"])
def test_a_broken_checkpoint_is_an_input_error(
    uninterrupted: Path, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    path = folder / "checkpoint" / "state.safetensors"
    content = path.read_bytes()
    {
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "foreign": lambda: path.write_bytes(b"not a checkpoint"),
        "missing": path.unlink,
        "other": lambda: path.write_bytes(
            save_safetensors(
                {"a": np.zeros(1)}, {"state": '{"archive": {"parts": 1, "events_bytes": 0}}'}
            )
        ),
    }[damage]()
    with pytest.raises(InputError) as error:
        resume(folder)
    assert "\n" not in str(error.value)


def test_a_full_disk_stops_with_an_intact_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills while a part or a checkpoint is written: nothing half-written stays, and the
    run resumes.
    """
    search(tmp_path / "whole").run()
    broken = search(tmp_path / "run")
    real, calls = os.fsync, [0]

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > 3:
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
    from evoml.archive.files import lock

    with (
        lock(uninterrupted),
        pytest.raises(InputError, match="another process"),
        lock(uninterrupted),
    ):
        pass


def test_duckdb_polars_and_pandas_read_a_run(uninterrupted: Path) -> None:
    import duckdb
    import pandas
    import polars

    glob, count = f"{uninterrupted}/part-*.parquet", rows(uninterrupted).num_rows
    query = (
        f"select max(fitness), count(*) from '{glob}' where 'vector_inner_product' in [x.op for x "
        "in genotype.predict]"
    )
    best, found = duckdb.sql(query).fetchall()[0]
    assert 0 < best <= 1
    assert 0 < found <= count
    assert polars.read_parquet(glob).height == count
    assert (
        sum(len(pandas.read_parquet(part)) for part in uninterrupted.glob("part-*.parquet"))
        == count
    )


def test_start_fills_the_first_population(tmp_path: Path) -> None:
    programs = Path(__file__).parents[2] / "programs" / "automl_zero"
    sets = [
        f'start=["{programs}/linear_regression.py"]',
        "search.budget=60",
        "search.islands=1",
        "archive.keep=all",
    ]
    result = search(
        tmp_path / "run", *sets, "space.setup.least=1", "space.predict.least=1",
        "space.learn.least=1", "space.setup.initial=1", "space.predict.initial=1",
        "space.learn.initial=4",
    ).run()  # fmt: skip
    assert result.best is not None
    assert result.best["objectives"]["fitness"] > 0.99
    assert len(set(rows(tmp_path / "run")["key"].to_pylist())) == 1


def test_a_restart_that_is_due_when_the_budget_ends_is_not_forgotten(tmp_path: Path) -> None:
    sets = ("search.experiment=4200", "search.budget=8400")
    search(tmp_path / "whole", *sets).run()
    search(tmp_path / "run", "search.experiment=4200", "search.budget=4200").run()
    again = resume(tmp_path / "run", budget=8400)
    again.prepare()
    again.run()
    assert same(rows(tmp_path / "run"), rows(tmp_path / "whole"))
