"""The search of costly candidates: same rows whatever the workers, nothing lost whenever it is
killed, and one line for what cannot go on.

Where the loop is the point, candidates are scored by an evaluator that is installed as a third
party's would be: worker processes find it by its entry point.
"""

import itertools
import json
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from checkpoints import tampered
from command_line import evoml
from parts import class_of
from safetensors import safe_open
from toys import installed_toys

from evoml.archive.files import read_config, read_result
from evoml.archive.ranking import non_dominated
from evoml.config import Config, assign, build
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.executor import Job, Stage
from evoml.contracts.learner import Learner
from evoml.contracts.objective import Objective
from evoml.core.errors import InputError
from evoml.core.registry import load, names
from evoml.core.streams import TRAIN, streams
from evoml.genotypes.population import STATUS
from evoml.report import console
from evoml.report._progress import Display
from evoml.search import slots
from evoml.search import steady_state as steady
from evoml.search.open import open_search, resume
from evoml.search.problem import Problem, stored_config
from evoml.search.run import Progress, Result
from evoml.search.slots import Slots
from evoml.search.steady_state import SteadyState
from evoml.workers import pool

TOY = [
    "space.name=nasbench201",
    "evaluator.name=toy",
    "search.budget=40",
    "search.window=5",
    "workers=1",
]
TRAINED = [
    "space.name=cell", "space.blocks=2", "space.skeleton.cells=0", "space.skeleton.filters=2",
    "task.name=digits", "task.examples=200", "evaluator.name=training", "evaluator.epochs=1",
    "strategy.population=4", "strategy.tournament=2", "search.budget=8", "search.window=3",
]  # fmt: skip
STRATEGIES = tuple(
    name
    for name in names("strategies")
    if not class_of(load("strategies", name)).generational
    and not issubclass(class_of(load("strategies", name)), Learner)
)  # those that learn in a supernet have tests of their own


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toy evaluator and its task."""
    with installed_toys(tmp_path_factory.mktemp("plugin")):
        yield


def small(strategy: str) -> list[str]:
    """Settings with which a strategy of any name has a few generations."""
    known = load("strategies", strategy).Settings.model_fields
    return [
        f"strategy.name={strategy}",
        *(
            text
            for text in ("strategy.population=8", "strategy.tournament=3")
            if text[9:].split("=")[0] in known
        ),
    ]


def config(*sets: str) -> Config:
    return build(*[("--set", assign(text)) for text in sets])


def started(folder: Path, *sets: str) -> SteadyState:
    out = open_search(config(*sets), folder)
    assert isinstance(out, SteadyState)
    out.create()
    out.prepare()
    return out


def resumed(folder: Path, **changes: Any) -> SteadyState:
    out = resume(folder, **changes)
    assert isinstance(out, SteadyState)
    out.prepare()
    return out


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every row without its seconds, which are measured."""
    table, warnings = Problem(stored_config(folder)).archive(folder).table()
    assert not warnings
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in table.to_pylist()
    ]


def whole(folder: Path, *sets: str) -> list[dict[str, Any]]:
    """The rows of a run that nothing disturbed."""
    started(folder, *sets).run()
    return rows(folder)


class Shuffled:
    """Slots without processes, whose candidates end in any order; `stop_after` so many, a stop is
    asked for.
    """

    def __init__(self, evaluator: Any, count: int, seed: int, stop_after: int = 10**9) -> None:
        self.evaluator, self.count, self.chance = evaluator, count, random.Random(seed)
        self.jobs: list[Job] = []
        self.stop, self.left = threading.Event(), stop_after

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def next(self, seconds: float) -> tuple[int, Evaluation] | None:
        if not self.jobs or self.chance.random() < 0.2:
            return None
        job = self.jobs.pop(self.chance.randrange(min(self.count, len(self.jobs))))
        self.left -= 1
        if self.left <= 0:
            self.stop.set()
        return job.id, self.evaluator.evaluate(job.population, np.array([job.stream], np.uint64))

    def stages(self) -> dict[int, Stage | None]:
        return dict.fromkeys((job.id for job in self.jobs), None)

    def close(self) -> None:
        self.jobs.clear()


def shuffled(
    search: SteadyState,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    seed: int,
    stop_after: int = 10**9,
) -> Result:
    executor = Shuffled(search.evaluator, count, seed, stop_after)
    with monkeypatch.context() as patch:
        patch.setattr(steady, "Inline", lambda evaluator, watch: executor)
        return search.run(stop=executor.stop)


# -- the contract of loop and strategy -------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_do_not_depend_on_the_order_in_which_candidates_end(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = whole(tmp_path / "one", *TOY, *small(strategy))
    assert [row["id"] for row in wanted] == list(range(40))
    for count in (2, 3, 5):
        folder = tmp_path / str(count)
        assert (
            shuffled(started(folder, *TOY, *small(strategy)), monkeypatch, count, count).reason
            == "budget"
        )
        assert rows(folder) == wanted
    assert whole(tmp_path / "seed", *TOY, *small(strategy), "search.seed=1") != wanted


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("objectives", [["accuracy"], ["accuracy", "parameters"]], ids=len)
def test_a_run_that_is_interrupted_again_and_again_ends_as_one_that_was_not(
    objectives: list[str], strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [
        *TOY,
        *small(strategy),
        f"evaluator.objectives={json.dumps(objectives)}",
        "archive.interval=0.01",
    ]
    wanted = whole(tmp_path / "whole", *sets)
    monkeypatch.setattr(steady, "DURABLE", 0.0)
    chance = random.Random(len(objectives))
    search, folder = started(tmp_path / "run", *sets), tmp_path / "run"
    while (
        shuffled(search, monkeypatch, 3, chance.randrange(100), chance.randrange(2, 20)).reason
        == "interrupted"
    ):
        told = search.told
        search = resumed(folder)
        assert search.told == told
    assert rows(folder) == wanted
    one, other = read_result(folder), read_result(tmp_path / "whole")
    assert one is not None and other is not None
    assert one["best"] == other["best"] and one["counts"] == other["counts"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_larger_budget_goes_on_as_if_it_had_been_given_at_once(
    strategy: str, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    wanted = whole(tmp_path / "whole", *TOY, *small(strategy))
    started(folder, *TOY, *small(strategy), "search.budget=3").run()
    for budget in (4, 17, 40):
        search = resumed(folder, budget=budget)
        assert search.run().reason == "budget"
        assert rows(folder) == wanted[:budget]
    assert stored_config(folder).search.budget == 40
    with pytest.raises(InputError, match="--budget 10: the run has had 40 already"):
        resume(folder, budget=10)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_window_larger_than_the_population_waits_for_somebody_to_breed_from(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = [*TOY, *small(strategy), "search.window=30", "search.budget=60"]
    wanted = whole(tmp_path / "one", *sets)
    shuffled(started(tmp_path / "run", *sets), monkeypatch, 30, 1)
    assert rows(tmp_path / "run") == wanted
    assert all(parent < row["id"] for row in wanted for parent in row["parents"])


def _go(folder: Path) -> None:
    """Begin, or go on with, the run in a folder; in a process that is to be killed."""
    steady.DURABLE = 0.0
    resumed(folder).run()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_kill_at_random_instants(strategy: str, tmp_path: Path) -> None:
    sets = [*TOY, *small(strategy), "archive.interval=0.02", "evaluator.sleep=0.01"]
    wanted, folder = whole(tmp_path / "whole", *sets), tmp_path / "run"
    open_search(config(*sets), folder).create()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        [
            "pytest",
            "evoml.search.rounds",
            "evoml.search.steady_state",
            "evoml.evaluators",
            "evoml.spaces.nasbench201",
        ]
    )
    chance, killed = random.Random(strategy), 0
    for _ in range(2):
        process = processes.Process(target=_go, args=(folder,))
        process.start()
        while not (folder / "checkpoint" / "state.safetensors").exists() and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.3))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
    resumed(folder).run()
    assert killed
    assert rows(folder) == wanted


# -- slots -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def undisturbed(plugin: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one worker."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    whole(folder, *TOY, *small("aging_evolution"))
    return folder


def candidate(problem: Problem, id: int) -> Job:
    population = problem.space.random(np.zeros(1, np.uint64))
    population.ids[:] = id
    return Job(population, 5)


@pytest.mark.parametrize("workers", [2, 3])
def test_rows_do_not_depend_on_the_number_of_workers(
    workers: int, undisturbed: Path, tmp_path: Path
) -> None:
    sets = [*TOY, *small("aging_evolution"), f"workers={workers}"]
    assert whole(tmp_path / "run", *sets) == rows(undisturbed)


def faults(folder: Path, **what: str) -> list[str]:
    """Settings with which candidates `c5` and so on, or the `start` of a worker, meet with this."""
    folder.mkdir()
    for name, text in what.items():
        file = (
            name if name == "start" else str(int(streams(0, TRAIN, np.array([int(name[1:])]))[0]))
        )
        (folder / file).write_text(text)
    return [*TOY, *small("aging_evolution"), "workers=2", f'evaluator.faults="{folder}"']


def test_a_worker_that_is_killed_costs_a_second_try(undisturbed: Path, tmp_path: Path) -> None:
    """And one that dies at its start costs nothing."""
    assert whole(
        tmp_path / "run", *faults(tmp_path / "faults", start="kill 1", c3="kill 1", c17="kill 1")
    ) == rows(undisturbed)


def test_workers_that_cannot_start_are_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "MAX_FAILED_STARTS", 2)
    with pytest.raises(
        InputError,
        match=r"workers: processes end before .* \(ZeroDivisionError: division by zero\)$",
    ):
        started(tmp_path / "run", *faults(tmp_path / "faults", start="say 99")).run()


def test_a_worker_that_is_not_ready_in_time_is_replaced(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its candidate is not held responsible, however often."""
    problem = Problem(stored_config(undisturbed))
    monkeypatch.setattr(slots, "STARTING", 0.0)
    monkeypatch.setattr(pool, "MAX_SLOW_STARTS", 9)
    executor = Slots(problem, 1, 0.0, (0.0,))
    first = executor.pool.processes[0]
    try:
        executor.submit(candidate(problem, 0))
        for _ in range(3):
            assert executor.next(60) is None
        assert first.overdue and not first.ready and first not in executor.pool.processes
        executor.pool.start = 600.0
        found = None
        while found is None:
            found = executor.next(60)
    finally:
        executor.close()
    assert found[0] == 0 and STATUS[found[1].status[0]] == "ok"


def test_workers_that_hang_before_they_are_ready_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "STARTING", 0.3)
    with pytest.raises(
        InputError,
        match=r"^workers: 2 processes in a row are not ready after .* s \(.*\); workers = 1 starts "
        r"none$",
    ):
        started(tmp_path / "run", *faults(tmp_path / "faults", start="hang 99")).run()


def test_who_is_killed_twice_has_crashed_and_who_hangs_has_timed_out(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And everyone else is spared."""
    monkeypatch.setattr(slots, "GRACE", 0.3)
    sets = faults(tmp_path / "faults", c2="kill 2", c5="hang 9")
    found = whole(tmp_path / "run", *sets, "evaluator.timeout=0.3")
    assert {
        row["id"]: row["status"] for row in found if row["status"] not in ("ok", "diverged")
    } == {2: "crashed", 5: "timed_out"}
    assert found[2]["accuracy"] == 0.0 and len(found) == 40
    assert [row for row in found[:8] if row["id"] not in (2, 5)] == [
        row for row in rows(undisturbed)[:8] if row["id"] not in (2, 5)
    ]
    counts = read_result(tmp_path / "run")["counts"]  # type: ignore[index]
    assert counts["candidates"] == 40 and counts["crashed"] == 1 and counts["timed_out"] == 1


def test_a_late_look_at_the_clock_kills_nobody_who_has_answered(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "GRACE", 0.0)
    problem = Problem(stored_config(undisturbed))
    executor = Slots(problem, 1, 0.3, (0.0,))
    try:
        executor.submit(candidate(problem, 0))
        assert executor.next(60) is None  # it is ready
        time.sleep(1.0)  # while somebody else is busy the answer has come
        executor.submit(candidate(problem, 1))
        found = [executor.next(60), executor.next(60)]
    finally:
        executor.close()
    assert [(each[0], STATUS[each[1].status[0]]) for each in found if each] == [
        (0, "ok"),
        (1, "ok"),
    ]


def command(folder: Path, sets: list[str]) -> list[str]:
    settings = [part for text in sets for part in ("--set", text)]
    return ["search", "--space", "nasbench201", "--run", str(folder), *settings]


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads processes from /proc")
def test_workers_end_with_their_parent_and_the_run_goes_on(
    undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    sets = [*TOY, *small("aging_evolution"), "evaluator.sleep=0.2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "evoml", *command(folder, sets), "--workers=2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: (folder / "checkpoint").exists() and len(_children(process.pid)) == 2)
        workers = _children(process.pid)
        time.sleep(1.5)
    finally:
        process.kill()
        process.wait()
    until(lambda: not any(map(_runs, workers)))
    search = resumed(folder, workers=1)
    assert search.told < 40
    search.run()
    assert rows(folder) == rows(undisturbed)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# -- how it ends -----------------------------------------------------------------------------------


def test_the_seconds_end_a_run_that_goes_on_as_if_they_had_not(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(steady, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    folder = tmp_path / "run"
    search = started(folder, *TOY, *small("aging_evolution"), "search.seconds=0.3")
    assert search.run().reason == "seconds"
    assert 0 < search.told < 40
    assert rows(folder) == rows(undisturbed)[: search.told]
    assert resumed(folder, seconds=100).run().reason == "budget"
    assert rows(folder) == rows(undisturbed)


def test_training_seconds_end_it_at_a_certain_candidate(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are added up in the order of the candidates, whatever the order in which these end."""
    for count in (1, 4):
        search = started(
            tmp_path / str(count), *TOY, *small("aging_evolution"), "search.training_seconds=12.5"
        )
        assert shuffled(search, monkeypatch, count, 7).reason == "training_seconds"
        assert search.cost == 13.0
        assert rows(tmp_path / str(count)) == rows(undisturbed)[: search.told]


def test_stop_at_ends_it_behind_the_first_that_is_better(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [row["accuracy"] for row in rows(undisturbed)]
    target = sorted(scores)[-4]
    search = started(tmp_path / "run", *TOY, *small("aging_evolution"), f"search.stop_at={target}")
    assert shuffled(search, monkeypatch, 3, 1).reason == "stop_at"
    first = next(index for index, score in enumerate(scores) if score > target)
    assert rows(tmp_path / "run") == rows(undisturbed)[: first + 1]


def test_a_space_of_which_everything_is_known_is_exhausted(tmp_path: Path) -> None:
    tiny = [
        "space.name=chain",
        "space.least=1",
        "space.most=2",
        "space.kernels=[1,3]",
        "space.filters=[4]",
        "search.budget=0",
    ]
    search = started(tmp_path / "run", *TOY, *small("local_search"), *tiny)
    assert search.run().reason == "exhausted"
    keys = [row["key"] for row in rows(tmp_path / "run")]
    assert len(set(keys)) == len(keys) > 10
    again = resumed(tmp_path / "run")
    assert again.run().reason == "exhausted" and again.told == len(keys)


def test_a_cap_that_nobody_can_meet_is_said_after_so_many_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady, "TRIES", 30)
    folder = tmp_path / "run"
    impossible = [*TOY, *small("aging_evolution"), "search.budget=0", "evaluator.max_parameters=1"]
    wanted = (
        r"^evaluator: none of the first 30 candidates is within max_parameters = 1; allow more.* "
        rf"They stay in {folder}: .* with --run$"
    )
    with pytest.raises(InputError, match=wanted):
        shuffled(started(folder, *impossible), monkeypatch, 4, 0)
    assert [row["status"] for row in rows(folder)] == ["over_budget"] * 30
    with pytest.raises(InputError, match=wanted):
        resumed(folder).run()
    assert len(rows(folder)) == 30


def test_a_cap_that_nobody_has_met_is_said_at_the_end_of_the_budget(tmp_path: Path) -> None:
    sets = [*TOY, *small("random_search"), "search.budget=8", "evaluator.max_parameters=1"]
    done = evoml(*command(tmp_path / "run", sets))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "evoml: evaluator: none of the first 8 candidates is within max_parameters = 1"
    )
    assert len(rows(tmp_path / "run")) == 8


def test_a_cap_that_some_meet_is_a_status(tmp_path: Path) -> None:
    found = whole(tmp_path / "run", *TOY, *small("aging_evolution"), "evaluator.max_parameters=300")
    assert {"ok", "over_budget"} <= {row["status"] for row in found}
    assert all(row["accuracy"] == 0.0 for row in found if row["status"] != "ok")


def test_there_is_one_population(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"^search\.islands: 2: candidates that are trained one by one have one population",
    ):
        open_search(config(*TOY, "search.islands=2"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_window_is_a_setting_of_the_run(tmp_path: Path) -> None:
    for workers, sets, window in (
        (1, [], 2),
        (7, [], 2),
        (3, ["strategy.population=400"], 16),
        (3, ["search.window=9"], 9),
    ):
        folder = tmp_path / f"{workers}-{window}"
        unset = ["space.name=nasbench201", "evaluator.name=toy", f"workers={workers}"]
        search = open_search(config(*unset, *small("aging_evolution"), *sets), folder)
        search.create()
        assert read_config(folder)["search"]["window"] == window == search.window  # type: ignore[attr-defined]


def test_an_edited_window_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    path = tmp_path / "run" / "run.toml"
    path.write_text(path.read_text().replace("\nwindow = 5", "\nwindow = 6"))
    with pytest.raises(InputError, match="not the settings that the run was made with"):
        resume(tmp_path / "run")


# -- checkpoints -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halted(plugin: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Killed runs, by strategy, with candidates in flight, finished and told in the checkpoint."""
    out = {}
    with pytest.MonkeyPatch.context() as patch:
        for strategy in STRATEGIES:
            out[strategy] = tmp_path_factory.mktemp("halted") / strategy
            search = started(out[strategy], *TOY, *small(strategy), "archive.interval=1000")
            keep = search._checkpoint
            # as a kill leaves it: rows in the checkpoint alone
            patch.setattr(search, "_checkpoint", lambda full, keep=keep: keep(full=False))
            assert shuffled(search, patch, 5, 3, 21).reason == "interrupted"
            assert search.rows and search.waiting and search.finished
    return out


DAMAGE: dict[str, Callable[[dict[str, np.ndarray], dict[str, Any]], Any]] = {
    "asked": lambda arrays, state: state.update(asked=3),
    "told": lambda arrays, state: state.update(told="x"),
    "told less": lambda arrays, state: state.update(told=state["told"] - 1),
    "cost": lambda arrays, state: state.update(cost=None),
    "tally": lambda arrays, state: state.update(tally={}),
    "sum of the tally": lambda arrays, state: state["tally"].update(ok=1000),
    "waiting": lambda arrays, state: state.update(waiting=7),
    "no waiting": lambda arrays, state: state.update(waiting=[]),
    "twice": lambda arrays, state: state["waiting"].append(state["waiting"][0]),
    "a row too few": lambda arrays, state: state["rows"].pop(),
    "objectives": lambda arrays, state: state["rows"][0]["outcome"].__setitem__(0, []),
    "not a number": lambda arrays, state: state["rows"][0]["outcome"].__setitem__(
        0, [float("nan")]
    ),
    "status": lambda arrays, state: state["rows"][0]["outcome"].__setitem__(1, 77),
    "curve": lambda arrays, state: state["rows"][0]["outcome"].__setitem__(3, 1.0),
    "genes": lambda arrays, state: arrays["/rows/0/population/table0"].fill(200),
    "sizes": lambda arrays, state: arrays["/rows/0/population/sizes"].fill(10**6),
    "ids": lambda arrays, state: arrays["/rows/1/population/ids"].fill(0),
    "dtype": lambda arrays, state: arrays.update(
        {"/rows/0/population/fitness": np.zeros((1, 1), np.float32)}
    ),
    "strategy": lambda arrays, state: state.update(strategy={}),
    "strategy's counts": lambda arrays, state: state["strategy"].update(told=-1),
    "champion": lambda arrays, state: arrays["/champion/sizes"].fill(-1),
    "events": lambda arrays, state: state["archive"].update(events_bytes=10**12),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_one_line(
    what: str, halted: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(halted["aging_evolution"], folder)
    tampered(folder, DAMAGE[what])
    with pytest.raises(InputError) as error:
        resume(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_another_strategys_state_is_refused(
    strategy: str, halted: dict[str, Path], tmp_path: Path
) -> None:
    """Where it has another form; two strategies that remember the same may exchange their
    states.
    """
    states = {}
    for name, folder in halted.items():
        with safe_open(folder / "checkpoint" / "state.safetensors", "numpy") as file:
            arrays = {
                key: file.get_tensor(key)
                for key in file.keys()  # noqa: SIM118
                if key.startswith("/strategy/")
            }
            states[name] = arrays, json.loads(file.metadata()["state"])["strategy"]
    others = [name for name in STRATEGIES if set(states[name][1]) != set(states[strategy][1])]
    assert others
    for other in others:
        folder = tmp_path / other
        shutil.copytree(halted[strategy], folder)

        def exchange(
            arrays: dict[str, np.ndarray], state: dict[str, Any], other: str = other
        ) -> None:
            arrays.update(states[other][0])
            state["strategy"] = states[other][1]

        tampered(folder, exchange)
        with pytest.raises(InputError, match="damaged"):
            resume(folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_checkpoint_is_refused(
    share: float, halted: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(halted["aging_evolution"], folder)
    path = folder / "checkpoint" / "state.safetensors"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="not a checkpoint of evoml"):
        resume(folder)


def test_resuming_a_finished_run_changes_nothing(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    search = resumed(tmp_path / "run")
    result = search.run()
    assert result.reason == "budget" and rows(tmp_path / "run") == rows(undisturbed)
    assert result.best == read_result(undisturbed)["best"]  # type: ignore[index]
    best = max(rows(undisturbed), key=lambda row: (row["accuracy"], -row["id"]))
    assert result.best is not None and result.best["id"] == best["id"]


def test_the_front_survives_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [*TOY, *small("nsga2"), 'evaluator.objectives=["accuracy","parameters"]']
    front = started(tmp_path / "whole", *sets).run().hall_of_fame
    shuffled(started(tmp_path / "run", *sets), monkeypatch, 2, 0, 25)
    again = resumed(tmp_path / "run").run().hall_of_fame
    assert {member.id for member in again} == {member.id for member in front}
    found = [
        (row["accuracy"], -row["parameters"], row["id"])
        for row in rows(tmp_path / "run")
        if row["status"] == "ok"
    ]
    best = {
        id
        for a, p, id in found
        if not any(b >= a and q >= p and (b, q) != (a, p) for b, q, _ in found)
    }
    assert {member.id for member in front} <= best
    assert {member.fitness.values for member in front} == {
        (a, -p) for a, p, id in found if id in best
    }


def test_the_front_is_what_is_best_of_several_objectives(tmp_path: Path) -> None:
    sets = [
        *TOY,
        *small("nsga2"),
        'evaluator.objectives=["accuracy","parameters"]',
        "search.budget=60",
    ]
    result = started(tmp_path / "run", *sets).run()
    archive = Problem(stored_config(tmp_path / "run")).archive(tmp_path / "run")
    best, warnings = archive.best(60)
    assert not warnings
    front = [row for row in best if row["front"]]
    assert best[: len(front)] == front and 1 < len(front) < len(best)
    assert [row["accuracy"] for row in front] == sorted(
        (row["accuracy"] for row in front), reverse=True
    )
    assert {(row["accuracy"], row["parameters"]) for row in front} == {
        member.fitness.values for member in result.hall_of_fame
    }
    assert result.best is not None and result.best["id"] == front[0]["id"]
    after = [row["status"] for row in best[len(front) :]]
    assert after == sorted(after, reverse=True)  # ok, then diverged


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_non_dominated_rows_are_those_of_the_definition(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    for _ in range(30):
        quality = rng.integers(0, 6, (40, objectives)).astype(float)
        quality[rng.random(40) < 0.1] = -np.inf
        among = rng.random(40) < 0.8
        wanted = [
            bool(among[i])
            and not any(
                (quality[j] >= quality[i]).all() and (quality[j] > quality[i]).any()
                for j in np.flatnonzero(among)
            )
            for i in range(40)
        ]
        assert non_dominated(quality, among).tolist() == wanted
    assert non_dominated(np.zeros((3, 2)), np.zeros(3, bool)).tolist() == [False] * 3


def test_a_limit_of_seconds_reaches_into_a_training(tmp_path: Path) -> None:
    """Its epochs would take hours. What was cut is trained anew where the run goes on."""
    sets = [*TRAINED, "evaluator.epochs=10000", "workers=1", "search.seconds=0.2"]
    run, stages = started(tmp_path / "run", *sets), []
    result = run.run(lambda progress: stages.append(dict(progress.stages)))
    assert (result.reason, result.evaluations, rows(tmp_path / "run")) == ("seconds", 0, [])
    stage = next(each for shown in stages for each in shown.values() if each is not None)
    assert stage.epochs == 10_000 and 0 < stage.step < stage.steps
    again = resumed(tmp_path / "run", seconds=0.4)
    assert again.run().reason == "seconds" and again.told == 0


def test_a_run_cut_within_a_training_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    expected, stop = whole(tmp_path / "whole", *TRAINED, "workers=1"), threading.Event()

    def show(progress: Progress) -> None:
        if progress.evaluations == 2 and any(progress.stages.values()):
            stop.set()

    run = started(tmp_path / "run", *TRAINED, "workers=1")
    monotonic = run._show

    def often(to: Any) -> None:  # every step, not ten times a second
        run._shown = 0.0
        monotonic(to)

    run._show = often  # type: ignore[method-assign]
    assert run.run(show, stop).reason == "interrupted" and run.told == 2
    resumed(tmp_path / "run").run()
    assert rows(tmp_path / "run") == expected


def test_a_window_that_leaves_workers_idle_is_said(tmp_path: Path) -> None:
    run = started(tmp_path / "run", *TRAINED, "search.window=1", "workers=2")
    assert run.idle_workers.startswith("search.window = 1") and "1 of 2 workers" in run.idle_workers
    assert not started(tmp_path / "two", *TRAINED, "workers=2").idle_workers


def test_a_run_in_which_everything_fails_says_so(tmp_path: Path) -> None:
    """In its progress and its result; no number is shown where there is none."""
    sets = [
        *TOY,
        *small("random_search"),
        "search.budget=1",
        "evaluator.max_parameters=1",
        "evaluator.timeout=1",
    ]
    done = Progress(
        3,
        1.0,
        0,
        float("nan"),
        float("nan"),
        "",
        0.0,
        {"candidates": 3, "diverged": 2, "timed_out": 1},
    )
    display = Display("toy", [Objective("accuracy", True)], 10, 0.0, console(), steady=True)
    assert display._line(done).endswith("none could be evaluated: 2 diverged, 1 timed out")
    assert "nan" not in display._line(done)
    folder = tmp_path / "a run"
    assert evoml(*command(folder, sets)).returncode == 2
    shown = evoml("show", folder).stdout
    assert "no candidate could be evaluated:" in shown and "over budget" in shown


def test_hints_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    sets = [*TOY, *small("nsga2"), 'evaluator.objectives=["accuracy","parameters"]']
    done = evoml(*command(folder, sets))
    assert (
        f"evoml evaluate '{folder}' --preset final" in done.stdout
        and f"evoml export '{folder}' --to torch" in done.stdout
    )
    again = evoml(*command(folder, sets))
    assert again.returncode == 2 and f"`evoml resume '{folder}'`" in again.stderr

    def show(*more: str) -> str:
        return evoml("show", folder, *more).stdout

    assert (
        "the Pareto front: none is better in accuracy, parameters at once; its first 1, --best "
        "shows more" in show("--best", "1")
    )
    fronts = json.loads(show("--json"))["best"]
    assert len(fronts) > 1 and all(row["front"] for row in fronts)
    whole = show()
    assert all(row["key"] in whole for row in fronts) and "behind the front" not in whole
    picture = evoml("export", folder, "--to", "front").stdout
    texts = [each.text for each in ElementTree.fromstring(picture).iter() if each.text]
    assert {"accuracy; larger is better", "parameters; smaller is better"} <= set(texts)
    assert {str(row["id"]) for row in fronts} <= set(texts)
    assert f"{len(fronts)} of 36 candidates are on the Pareto front" in " ".join(texts)
    assert "behind the front:" in show("--best", "40") and "behind the front" not in show(
        "--best", "2"
    )
    fronts = [row["front"] for row in json.loads(show("--best", "40", "--json"))["best"]]
    assert fronts == sorted(fronts, reverse=True) and True in fronts and False in fronts


# -- the real evaluators ---------------------------------------------------------------------------


def test_a_table_is_searched_with_simulated_seconds(data_folder: Path, tmp_path: Path) -> None:
    sets = [
        "space.name=nasbench201", "evaluator.name=table", "task.name=table",
        f'task.data="{data_folder / "nasbench201_cifar10.npz"}"', "strategy.population=10",
        "strategy.tournament=3", "search.training_seconds=20000",
    ]  # fmt: skip
    search = started(tmp_path / "run", *sets)
    assert (search.window, search.workers, search.costly) == (1, 1, False)
    result = search.run()
    assert (
        result.reason == "training_seconds" and result.best is not None and result.test is not None
    )
    table, _ = Problem(stored_config(tmp_path / "run")).archive(tmp_path / "run").table(["seconds"])
    seconds = table["seconds"].to_pylist()
    assert sum(seconds[:-1]) < 20_000 <= sum(seconds)
    longer = started(tmp_path / "longer", *sets, "search.training_seconds=40000")
    longer.run()
    assert rows(tmp_path / "longer")[: len(seconds)] == rows(tmp_path / "run")
    assert 0.9 < result.test["accuracy"] < 0.95


def test_networks_are_trained_alike_in_this_process_and_in_others(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    wanted = whole(tmp_path / "one", *TRAINED, "workers=1")
    assert all(row["status"] == "ok" and len(row["curve"]) == 1 for row in wanted)
    assert whole(tmp_path / "two", *TRAINED, "workers=2") == wanted


def test_networks_of_few_parameters_are_on_the_front(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sets = [text for text in TRAINED if "tournament" not in text]
    sets += [
        "strategy.name=nsga2",
        'evaluator.objectives=["accuracy","parameters"]',
        "evaluator.max_parameters=400",
        "workers=1",
    ]
    result = started(tmp_path / "run", *sets, "search.budget=12").run()
    found = rows(tmp_path / "run")
    assert {"ok", "over_budget"} == {row["status"] for row in found}
    assert all(
        row["parameters"] <= 400 if row["status"] == "ok" else row["parameters"] == np.inf
        for row in found
    )
    assert min(row["parameters"] for row in found) in [
        member.fitness.values[1] for member in result.hall_of_fame
    ]
    assert all(member.fitness.values[1] <= 400 for member in result.hall_of_fame)


def test_networks_that_diverge_are_results(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sets = [
        *TRAINED,
        "evaluator.lr=1000",
        "evaluator.clip=0",
        "evaluator.epochs=3",
        "search.budget=5",
        "workers=1",
    ]
    result = started(tmp_path / "run", *sets).run()
    found = rows(tmp_path / "run")
    assert len(found) == 5 and "diverged" in {row["status"] for row in found}
    assert all(row["accuracy"] == 0.0 for row in found if row["status"] == "diverged")
    assert result.counts["candidates"] == 5
