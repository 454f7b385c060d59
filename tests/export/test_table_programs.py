"""Exported programs of tables: rows in the table's units, and evoml's numbers, noise included."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import evoml

from evoml.config import build
from evoml.export import _table_programs
from evoml.genotypes.population import Population
from evoml.search.problem import Problem, open_file
from evoml.tasks._families import Split, generator
from evoml.tasks._table_tasks import TableTasks

# stochastic gradient descent with noise wherever there may be some
NOISY = """
def setup():
    s2 = 0.02
    s4 = 0.1
    v1 = gaussian_vector(0.0, 0.3)

def predict():
    v3 = uniform_vector(-0.05, 0.05)
    v3 = v3 + v0
    s1 = dot(v3, v1)

def learn():
    s5 = gaussian(0.0, 0.1)
    s3 = s0 - s1
    s3 = s3 + s5
    s3 = s2 * s3
    v2 = s3 * v0
    v1 = v1 + v2
"""
KINDS = {0: "regression", 2: "two classes", 4: "four classes"}


def table(folder: Path, classes: int) -> tuple[Path, list[list[Any]], list[Any]]:
    """A table with a column of text, its rows and their targets."""
    rng = np.random.default_rng(1)
    colours = ["red", "blue", "green"]
    label = np.arange(90) % max(classes, 1)
    numbers = rng.normal(50, 9, (90, 2)) + 60 * label[:, None] * [1, -1]
    rows = [[*row, colours[at % 3]] for at, row in enumerate(numbers.tolist())]
    targets = [f"c{each}" for each in label] if classes else (numbers @ [3, -2]).tolist()
    lines = [",".join(map(str, [*row, each])) for row, each in zip(rows, targets, strict=True)]
    (folder / "table.csv").write_text("\n".join(["a,b,colour,y", *lines]))
    return folder / "table.csv", rows, targets


def exported(
    folder: Path, path: Path, **task: Any
) -> tuple[dict[str, Any], TableTasks, np.ndarray, np.ndarray]:
    """The module's names, the tasks, and evoml's fitness and errors in the last epoch."""
    (folder / "noisy.py").write_text(NOISY)
    values = {"task": {"name": "examples", "data": str(path), **task}, "evaluator": {"epochs": 2}}
    problem = Problem(build(("test", {"system": "custom", **values})))
    problem.space, genotype = open_file(folder / "noisy.py")
    tasks = problem.task
    assert isinstance(tasks, TableTasks)
    programs = problem.space.phenotypes(Population.of(problem.space.schema, [genotype]))
    evaluator = problem.batch_evaluator(tasks.test(), exact=True)
    errors = evaluator.errors(programs, tasks.votes if len(tasks.pairs) > 1 else tasks.test())
    assert problem.space.memory is not None
    text = _table_programs.source(
        problem.space.essence(genotype), tasks, problem.space.memory, "noisy", 2
    )
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "exported.py", "exec"), names)
    return names, tasks, evaluator.per_task(programs)[0], errors


def drawn(tasks: TableTasks, split: int, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The table's rows in a test task, or in a vote of a pair."""
    n, m = tasks._examples[Split.TEST]
    pair = tasks.pairs[index] if tasks.pairs else None
    return tasks._draw(
        generator(tasks.seed, Split.TEST, split, index), Split.TEST, pair, n, 1 if split else m
    )


@pytest.mark.parametrize("features", [0, 5])
@pytest.mark.parametrize("classes", [0, 2])
def test_one_program(tmp_path: Path, classes: int, features: int) -> None:
    """In rows of the table, of the first test task: each answer is evoml's."""
    path, rows, targets = table(tmp_path, classes)
    names, tasks, fitness, errors = exported(tmp_path, path, features=features)
    train, valid = drawn(tasks, 0)
    held = [rows[at] for at in valid]
    epochs = names["fit"]([rows[at] for at in train], [targets[at] for at in train], held)
    assert len(epochs) == 2
    right = [targets[at] for at in valid]
    if classes:
        assert all(each in ("c0", "c1") for epoch in epochs for each in epoch)
        wrong = np.array([[a != b for a, b in zip(epoch, right, strict=True)] for epoch in epochs])
        assert (wrong[-1] == errors[0]).all()
        assert fitness[0] == pytest.approx(1 - wrong.mean(1).min())
        assert fitness[0] > 0.8
    else:
        off = np.abs(np.array(epochs) - right) / tasks.table.scale[0]
        np.testing.assert_allclose(off[-1], errors[0], rtol=1e-6)
        best = np.sqrt((off**2).mean(1)).min()
        assert fitness[0] == pytest.approx(1 - 2 / np.pi * np.arctan(best))


@pytest.mark.parametrize("features", [0, 5])
def test_several_classes(tmp_path: Path, features: int) -> None:
    """Trained on each pair's rows of evoml's vote, the programs vote as evoml's do."""
    path, rows, targets = table(tmp_path, 4)
    names, tasks, _, errors = exported(tmp_path, path, features=features)
    held = [rows[at] for at in tasks._test_rows]
    for index, pair in enumerate(tasks.pairs):
        train, _ = drawn(tasks, 1, index)
        names["reset"]()
        names["load"](pair)
        x = names["standardised"](names["scaled"]([rows[at] for at in train]), learn=True)
        label = names["labels"]([targets[at] for at in train]) == pair[1]
        found = names["fit_features"](
            x, label, names["standardised"](names["scaled"](held)), 2, names["SEEDS"][index]
        )
        assert ((found[-1] > 0.5) == (errors[index] == 0)).all()
    answers = names["fit"](rows, targets, held)[-1]
    assert (
        np.mean([a == targets[at] for a, at in zip(answers, tasks._test_rows, strict=True)]) > 0.4
    )


def test_learning_goes_on_and_mistakes_are_said(tmp_path: Path) -> None:
    path, rows, targets = table(tmp_path, 4)
    names, *_ = exported(tmp_path, path)
    with pytest.raises(RuntimeError, match="nothing is known yet"):
        names["prediction"](rows[0])
    names["train"](rows, targets)
    names["train"](rows[:5], targets[:5])
    assert names["prediction"](rows[0]) in ("c0", "c1", "c2", "c3")
    with pytest.raises(ValueError, match="2 values in a row; there must be 3: a, b, colour"):
        names["prediction"](rows[0][:2])
    with pytest.raises(ValueError, match="'c7' is no class"):
        names["train"](rows[:1], ["c7"])


def test_export_of_a_run_and_of_a_file(tmp_path: Path) -> None:
    path, rows, targets = table(tmp_path, 3)
    (tmp_path / "noisy.py").write_text(NOISY)
    data = ("--task", "examples", "--data", path)
    small = ("--set", "search.islands=1", "--workers", 1, "--budget", 300)
    run = tmp_path / "run"
    assert evoml("search", "automl-zero", *data, *small, "--run", run).returncode == 0
    for what, more in ((run, ()), (tmp_path / "noisy.py", data)):
        done = evoml("export", what, "--to", "python", *more)
        assert done.returncode == 0, done.stderr
        names: dict[str, Any] = {}
        exec(done.stdout, names)
        names["fit"](rows, targets)
        assert names["prediction"](rows[0]) in targets
    path.write_text(path.read_text().replace("red", "rot"))
    refused = evoml("export", run, "--to", "python")
    assert refused.returncode == 2 and "not the data that the run was made with" in refused.stderr
    missing = evoml("export", tmp_path / "noisy.py", "--to", "python", "--task", "examples")
    assert missing.returncode == 2 and "task examples has none of its own" in missing.stderr
