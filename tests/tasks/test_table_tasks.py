"""Tables as tasks for programs: their rows, their features, and what is reported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import evoml

from evoml.config import build
from evoml.contracts.task import TaskSet
from evoml.core.errors import InputError
from evoml.search.problem import Problem, open_file
from evoml.tasks import examples
from evoml.tasks._table_tasks import TableTasks

PROGRAMS = Path(__file__).parents[2] / "programs" / "automl_zero"


def table(folder: Path, classes: int = 0, count: int = 60, columns: int = 3, rare: int = 0) -> Path:
    """The target is a class, which the second column tells, or a sum of columns."""
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (count, columns))
    y: Any = 10 + x[:, 1:].sum(1)
    if classes:
        label = np.arange(count) % classes
        label[: 2 * rare] = classes - 1
        label[2 * rare :] = np.arange(count - 2 * rare) % (classes - bool(rare))
        x[:, 1] += 40 * label
        y = [f"c{each}" for each in label]
    lines = [",".join([*(f"x{at}" for at in range(columns)), "y"])]
    lines += [",".join(map(str, [*row, each])) for row, each in zip(x.tolist(), y, strict=True)]
    path = folder / "table.csv"
    path.write_text("\n".join(lines))
    return path


def tasks_of(path: Path, seed: int = 0, **values: Any) -> TableTasks:
    return examples.ExamplesTask(examples.Settings(**values), path, seed).for_programs()


def ids(task: TableTasks) -> TableTasks:
    """The same with a row's number for each of its features."""
    width = task.features
    task._features = lambda projection, train, valid: tuple(  # type: ignore[method-assign]
        np.repeat(rows[:, None], width, 1) for rows in (train, valid)
    )
    return task


def rows(x: np.ndarray) -> list[set[int]]:
    """Which rows each task has."""
    return [set(each[:, 0].astype(int).tolist()) for each in x]


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_rows_of_tasks(tmp_path: Path, classes: int) -> None:
    """Each task has rows of its own, none learns what it is measured on, and test rows are in the
    test alone.
    """
    task = ids(tasks_of(table(tmp_path, classes)))
    train, select, test = (set(rows.tolist()) for rows in task.table.parts)
    search = [task.search(0), task.search(1)]
    for each in search:
        learn, held = rows(each.train_x), rows(each.valid_x)
        assert all(one | other <= train and not one & other for one, other in zip(learn, held))
        assert len(set(map(frozenset, held))) > 1
    assert not np.array_equal(search[0].train_x, search[1].train_x)
    again = ids(tasks_of(tmp_path / "table.csv")).search(1)
    assert np.array_equal(search[1].train_x, again.train_x)
    assert set.union(*rows(task.select().train_x)) <= train
    assert set.union(*rows(task.select().valid_x)) <= select
    assert set.union(*rows(task.test().train_x)) <= train | select
    assert set.union(*rows(task.test().valid_x)) <= test


def test_several_classes_are_pairs(tmp_path: Path) -> None:
    """Label 1 is the second class of a pair, which the name says; every pair is in the test."""
    tasks = ids(tasks_of(table(tmp_path, 4))).test()
    assert tasks.kind == "classification" and len(tasks) == 10
    assert {name.partition("/")[0] for name in tasks.names} == {
        f"c{a}-c{b}" for a in range(4) for b in range(a + 1, 4)
    }
    for name, x, y in zip(tasks.names, tasks.train_x, tasks.train_y, strict=True):
        second = int(name.partition("/")[0].partition("-c")[2])
        assert (y == (x[:, 0] % 4 == second)).all() and 0 < y.mean() < 1


def test_rare_classes_do_not_make_all_tasks_small(tmp_path: Path) -> None:
    task = tasks_of(table(tmp_path, 5, count=200, rare=2), programs={"test": {"tasks": 10}})
    assert task.test().train_x.shape[1] >= 60
    for tasks in (task.search(0), task.select(), task.test()):
        assert (tasks.train_y.max(1) == 1).all() and (tasks.train_y.min(1) == 0).all()


def test_sizes_are_maxima(tmp_path: Path) -> None:
    sizes = {"tasks": 4, "train": 12, "valid": 3}
    task = tasks_of(table(tmp_path), programs=dict.fromkeys(("search", "select", "test"), sizes))
    for tasks in (task.search(0), task.select(), task.test()):
        assert tasks.train_x.shape == (4, 12, 3) and tasks.valid_x.shape == (4, 3, 3)


def assert_standardised(tasks: TaskSet) -> None:
    np.testing.assert_allclose(tasks.train_x.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(tasks.train_x.std(1), 1)


def test_pairs_are_standardised_by_their_own_examples(tmp_path: Path) -> None:
    """A program has no bias but what it evolves, so classes are to lie around zero."""
    task = tasks_of(table(tmp_path, 4))
    assert_standardised(task.search(0))
    assert_standardised(task.votes)


def test_projected_features(tmp_path: Path) -> None:
    """Another matrix in every task, standardised by its training examples."""
    task = tasks_of(table(tmp_path, 2), features=5)
    tasks = task.search(0)
    assert tasks.features == 5 and not np.allclose(tasks.train_x[0], tasks.train_x[1])
    assert_standardised(tasks)
    # three columns: features are within three dimensions
    assert np.linalg.matrix_rank(tasks.valid_x[0] - tasks.valid_x[0].mean(0)) == 3
    with pytest.raises(InputError, match="^task.features: 5: is for programs"):
        task.table.search(0)


def test_what_programs_cannot_learn(tmp_path: Path) -> None:
    path = table(tmp_path, columns=4)
    with pytest.raises(
        InputError, match="^task.target: x2, x3: a program predicts one number; give one target"
    ):
        tasks_of(path, target="x2,x3")
    wide = tmp_path / "wide.npz"
    rng = np.random.default_rng(0)
    np.savez(wide, x=rng.random((20, 1025)), y=rng.random(20))
    with pytest.raises(InputError, match="1,025 inputs, and a program takes at most 1,024"):
        tasks_of(wide)
    assert tasks_of(wide, features=7).search(0).features == 7
    with pytest.raises(InputError, match="^task.programs.search: 100,000 tasks of .* make its"):
        tasks_of(wide, features=1000, programs={"search": {"tasks": 100_000}})


def problem(path: Path, **task: Any) -> Problem:
    values = {"task": {"name": "examples", "data": str(path), **task}, "evaluator": {"epochs": 3}}
    return Problem(build(("test", {"system": "custom", **values})))


def scores(path: Path, program: str, **task: Any) -> dict[str, Any]:
    here = problem(path, **task)
    here.space, genotype = open_file(PROGRAMS / f"{program}.py")
    return here.test(genotype)


def test_regression_is_reported_in_the_targets_unit(tmp_path: Path) -> None:
    """The target is a sum of columns, so that linear regression explains most of it."""
    path = table(tmp_path, count=400)
    found = scores(path, "linear_regression")
    assert found["r2"] > 0.99 and found["rmse"] < 0.5
    spread = problem(path).task.test().valid_y.std() * problem(path).task.table.scale[0]
    assert found["rmse"] == pytest.approx(spread * np.sqrt(1 - found["r2"]))
    # fitness is of the best epoch, which is the last here
    worst = np.tan((1 - found["fitness"]) * np.pi / 2) * problem(path).task.table.scale[0]
    assert found["rmse"] == pytest.approx(worst, rel=0.2)


@pytest.mark.parametrize("features", [0, 8])
def test_several_classes_are_told_apart_by_a_vote(tmp_path: Path, features: int) -> None:
    found = scores(table(tmp_path, 4, count=400), "logistic_regression", features=features)
    assert found["accuracy"] > (0.7 if features else 0.9)


def test_votes() -> None:
    """One against one; a pair that failed votes for none, ties go to the first class."""
    task = object.__new__(TableTasks)
    task.pairs, task._test_rows = ((0, 1), (0, 2), (1, 2)), np.arange(4)
    task.table = type("Table", (), {"labels": np.array([0, 1, 2, 0]), "classes": ("a", "b", "c")})
    # an error of 0 is a vote for the second
    errors = np.array([[1, 0, 0, 0.0], [1, 0, 0, np.nan], [0, 1, 0, np.nan]])
    assert task._voted(errors) == 0.75
    assert task._voted(errors * np.nan) == 0.0


def test_errors_are_those_of_the_fitness(tmp_path: Path) -> None:
    """Of one epoch the backend's errors on each example give its fitness."""
    here = problem(table(tmp_path, 2))
    here.space, genotype = open_file(PROGRAMS / "logistic_regression.py")
    tasks: TaskSet = here.task.test()
    from evoml.genotypes.population import Population

    evaluator = here.batch_evaluator(tasks, exact=True)
    evaluator.settings = evaluator.settings.model_copy(update={"epochs": 1})
    one = type(evaluator)(evaluator.settings, tasks, here.space, "reference")
    programs = here.space.phenotypes(Population.of(here.space.schema, [genotype]))
    errors = one.errors(programs, tasks)
    assert errors.shape == tasks.valid_y.shape
    np.testing.assert_allclose(1 - errors.mean(1), one.per_task(programs)[0])


@pytest.mark.parametrize("classes", [0, 3])
def test_search_and_evaluate_on_a_table(tmp_path: Path, classes: int) -> None:
    path = table(tmp_path, classes)
    run = tmp_path / "run"
    arguments = ("--task", "examples", "--data", path, "--budget", 1500, "--workers", 1, "--json")
    search = evoml("search", "automl-zero", *arguments, "--run", run, "--set", "search.islands=1")
    assert search.returncode == 0, search.stderr
    word = "accuracy" if classes else "r2"
    assert set(json.loads(search.stdout.splitlines()[-1])["test"]) >= {"fitness", word}
    out = evoml("evaluate", run, "--json")
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)
    assert word in found["objectives"] and word in found["table_baselines"]["gradient boosting"]


def test_the_system_takes_tables_with_any_preset(tmp_path: Path) -> None:
    """The paper's sizes are of its own task; what a table does not know is left out."""
    for preset in ("desk", "paper"):
        config = build(
            ("test", {"system": "automl-zero", "preset": preset, "task": {"name": "examples"}})
        )
        assert config.part("task").programs.search.tasks == 16
    config = build(("test", {"system": "automl-zero", "preset": "paper"}))
    assert config.part("task").search.tasks == 10
    path = table(tmp_path)
    hint = evoml("search", "--data", path, cwd=tmp_path)
    assert hint.returncode == 2 and "a table, and this task takes images" in hint.stderr
    assert "--task examples" in hint.stderr
