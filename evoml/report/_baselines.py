"""What a discovered program is held against: the textbook method and the hand-written programs, on
the same test tasks.
"""

from pathlib import Path

import numpy as np

from evoml.contracts.space import Space
from evoml.contracts.task import TaskSet
from evoml.core.built_in import built_in
from evoml.core.errors import InputError, read_text
from evoml.evaluators import execution
from evoml.genotypes.population import Population
from evoml.phenotypes.programs import Memory
from evoml.search.problem import Problem
from evoml.spaces.automl_zero import AutoMLZeroSpace

HAND_WRITTEN = {
    "regression": {
        "linear regression by SGD": "linear_regression",
        "two-layer ReLU network": "neural_network",
    },
    "classification": {
        "logistic regression by SGD": "logistic_regression",
        "two-layer ReLU network": "neural_network",
    },
}


def baselines(problem: Problem, tasks: TaskSet) -> dict[str, float]:
    """Mean score of every baseline on these tasks, by name, in the order to show."""
    out = {
        _textbook_name(tasks): float(
            np.mean([_textbook(tasks, index) for index in range(len(tasks))])
        )
    }
    for title, name in HAND_WRITTEN[tasks.kind].items():
        if (path := built_in("automl_zero").get(name)) is not None:
            out[title] = float(score_program(problem, tasks, path).mean())
    return out


def score_program(problem: Problem, tasks: TaskSet, path: Path) -> np.ndarray:
    """Score of one program file on every task, [T], trained as the problem's evaluator trains."""
    space, genotype = AutoMLZeroSpace.open_text(read_text(path), str(path))
    own = problem.config.part("evaluator")
    settings = own if isinstance(own, execution.Settings) else execution.Settings()
    evaluator = execution.ExecutionEvaluator(
        execution.ExecutionEvaluator.exact(settings), tasks, space, problem.backend
    )
    out: np.ndarray = evaluator.per_task(space.phenotypes(Population.of(space.schema, [genotype])))[
        0
    ]
    return out


def _textbook_name(tasks: TaskSet) -> str:
    return (
        "least squares (scikit-learn)"
        if tasks.kind == "regression"
        else "logistic regression (scikit-learn)"
    )


def _textbook(tasks: TaskSet, index: int) -> float:
    """scikit-learn on one task, scored as programs are."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    x, y = tasks.train_x[index], tasks.train_y[index]
    if tasks.kind == "classification":
        if len(set(y)) == 1:  # a task so small that one class is missing
            return float((tasks.valid_y[index] == y[0]).mean())
        return float(
            LogisticRegression(max_iter=1000)
            .fit(x, y)
            .score(tasks.valid_x[index], tasks.valid_y[index])
        )
    error = LinearRegression().fit(x, y).predict(tasks.valid_x[index]) - tasks.valid_y[index]
    return float(1.0 - 2.0 / np.pi * np.arctan(np.sqrt(np.mean(error * error))))


def memory_of(space: Space) -> Memory:
    """The memory of a space of programs. Raises InputError for other spaces."""
    if space.memory is None:
        raise InputError("export: --to python needs a program, which this space does not make")
    return space.memory
