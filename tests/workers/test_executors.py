"""The contract of executors: the same evaluations for the same jobs, wherever that happens."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import PLUGIN, installed_toys

from evoml.backends import fork_safe
from evoml.config import assign, build
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.executor import Executor, Job
from evoml.core.errors import InputError
from evoml.core.registry import names, trust
from evoml.genotypes.population import CRASHED, OK, TIMED_OUT
from evoml.search import slots
from evoml.search.problem import Problem
from evoml.search.slots import Slots
from evoml.tasks import _trial_workers
from evoml.workers.inline import Inline
from evoml.workers.pool import Pool


def inline(problem: Problem) -> Executor:
    return Inline(problem.evaluator(problem.task.search(0)))  # type: ignore[arg-type]


def pooled(problem: Problem) -> Executor:
    evaluator: Any = problem.evaluator(problem.task.search(0))
    return Slots(problem, 2, evaluator.timeout, evaluator.worst)


EXECUTORS = [inline, pooled]


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The toy evaluator and its task."""
    with installed_toys(tmp_path_factory.mktemp("plugin")):
        yield


def toy(*sets: str) -> Problem:
    values = ["space.name=nasbench201", "evaluator.name=toy", *sets]
    return Problem(build(*[("--set", assign(text)) for text in values]))


def candidates(problem: Problem, count: int) -> list[Job]:
    """Jobs with streams of their own, each candidate a child of the two before it."""
    population = problem.space.random(np.arange(count, dtype=np.uint64))
    population.ids[:] = np.arange(count)
    population.parents[:] = np.arange(count)[:, None] - [1, 2]
    return [Job(population.take(np.array([at])), 2**64 - 1 - at) for at in range(count)]


def evaluated(executor: Executor, jobs: list[Job]) -> dict[int, Evaluation]:
    """What comes of jobs, by id."""
    found: dict[int, Evaluation] = {}
    try:
        for job in jobs:
            executor.submit(job)
        while len(found) < len(jobs):
            if (done := executor.next(1.0)) is not None:
                assert done[0] not in found
                found[done[0]] = done[1]
        assert executor.next(0.0) is None
    finally:
        executor.close()
    return found


@pytest.mark.parametrize("executor", EXECUTORS)
def test_evaluations_are_those_of_the_evaluator(executor: Any) -> None:
    problem = toy('evaluator.objectives=["accuracy","parameters"]')
    jobs = candidates(problem, 25)
    evaluator = problem.evaluator(problem.task.search(0))
    found = evaluated(executor(problem), jobs)
    assert sorted(found) == list(range(25))
    for job in jobs:
        wanted = evaluator.evaluate(job.population, np.array([job.stream], np.uint64))
        assert found[job.id].plain() == wanted.plain()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_ids_and_parents_reach_the_evaluator(executor: Any, tmp_path: Path) -> None:
    (tmp_path / "asked7").touch()
    problem = toy(f'evaluator.faults="{tmp_path}"')
    evaluated(executor(problem), candidates(problem, 9))
    assert (tmp_path / "asked7").read_text() == "[[6, 5]]"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_candidate_that_fails_costs_no_other(executor: Any, tmp_path: Path) -> None:
    problem = toy(f'evaluator.faults="{tmp_path}"')
    jobs = candidates(problem, 8)
    healthy = evaluated(executor(problem), jobs)
    (tmp_path / str(jobs[3].stream)).write_text("say 2")
    found = evaluated(executor(problem), jobs)
    assert found[3].status.tolist() == [CRASHED] and found[3].objectives.tolist() == [[0.0]]
    assert all(found[id].plain() == healthy[id].plain() for id in healthy if id != 3)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_is_closed_forgets_its_jobs(executor: Any) -> None:
    problem = toy("evaluator.sleep=100")
    some = executor(problem)
    for job in candidates(problem, 3):
        some.submit(job)
    some.close()
    assert some.next(0.1) is None


def test_a_process_that_dies_costs_a_second_try_with_the_same_stream(tmp_path: Path) -> None:
    problem = toy(f'evaluator.faults="{tmp_path}"')
    jobs = candidates(problem, 6)
    wanted = evaluated(pooled(problem), jobs)
    (tmp_path / str(jobs[2].stream)).write_text("kill 1")
    found = evaluated(pooled(problem), jobs)
    assert {id: each.plain() for id, each in found.items()} == {
        id: each.plain() for id, each in wanted.items()
    }
    assert (tmp_path / str(jobs[2].stream)).read_text() == "kill -1"


def test_one_that_overruns_is_given_up_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "GRACE", 0.3)
    problem = toy(f'evaluator.faults="{tmp_path}"', "evaluator.timeout=0.3")
    jobs = candidates(problem, 6)
    (tmp_path / str(jobs[2].stream)).write_text("hang 9")
    found = evaluated(pooled(problem), jobs)
    assert found[2].status.tolist() == [TIMED_OUT] and 0.6 < found[2].times[0] < 30
    assert all(each.status[0] != TIMED_OUT for id, each in found.items() if id != 2)
    # it was not tried once more
    assert (tmp_path / str(jobs[2].stream)).read_text() == "hang 8"


def test_a_refused_configuration_is_said(tmp_path: Path) -> None:
    (tmp_path / "start").write_text("refuse 99")
    problem = toy(f'evaluator.faults="{tmp_path}"')
    with pytest.raises(InputError, match=r"^evaluator: not today$"):
        evaluated(pooled(problem), candidates(problem, 1))


def test_parts_that_are_files_are_executed_where_their_user_named_them(tmp_path: Path) -> None:
    """Here and in the processes that are started for it."""
    (tmp_path / "mine.py").write_text(PLUGIN["toy_evaluator.py"])
    trust(str(tmp_path / "mine.py"))
    problem = toy(f'evaluator.name="{tmp_path / "mine.py"}"')
    (found,) = evaluated(pooled(problem), candidates(problem, 1)).values()
    assert found.status.tolist() == [OK]


# -- the pool --------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [slots.__name__, _trial_workers.__name__])
def test_a_process_without_an_order_ends_at_once(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "evoml.workers", module],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == done.stderr == b""
    assert callable(vars(sys.modules[module])["work"])


ECHO = """
import os, sys, time

def work(channel):
    print("printing is no answer")
    serve = channel.serve_in_children if channel.order["children"] else channel.serve
    serve(lambda: answer)

def answer(job):
    print("printing is no answer")
    if "exit" in job["does"]: os._exit(3)
    if "raise" in job["does"]: 1 / 0
    return {"does": job["does"], "input": sys.stdin.read(), "process": os.getpid()}
"""


@pytest.mark.parametrize("children", [False, True])
def test_a_pool_answers_every_job(
    children: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    pool: Pool[list[str]] = Pool(
        "echo",
        {"children": children},
        lambda job: {"does": job},
        split=lambda job: [[each] for each in job],
    )
    pool.grow(2)
    for job in (["a"], ["b", "raise", "c"], ["exit"], ["d"]):
        pool.submit(job)
    found: dict[str, Any] = {}
    try:
        while not pool.idle:
            if (done := pool.next(1.0)) is not None:
                found[",".join(done.job)] = done
    finally:
        pool.close()
    # a job of several was cut up, and each of them had an answer, or a reason
    assert sorted(found) == ["a", "b", "c", "d", "exit", "raise"]
    for name in "abcd":
        assert found[name].answer["does"] == [name] and found[name].answer["input"] == ""
    assert {found[name].status for name in ("exit", "raise")} == {CRASHED}
    assert found["raise"].why.endswith("ZeroDivisionError: division by zero")
    assert not pool.processes


def test_backends_say_whether_a_process_may_fork() -> None:
    assert {fork_safe(name) for name in names("backends")} == {True, False}
