"""The reference run in populations/: what was archived is found again, and scores again what it scored."""

from pathlib import Path

import pytest

from evoml.archive import read_result
from evoml.population import Population
from evoml.problem import Problem, stored_config

RUN = Path(__file__).parents[1] / "populations" / "automl-zero-linear_regression-6"


def test_the_best_program_scores_the_same_again() -> None:
    result = read_result(RUN)
    assert result is not None
    problem = Problem(stored_config(RUN))
    (best,), problems = problem.archive(RUN).best(1)
    assert not problems
    assert best["id"] == result["best"]["id"]
    assert best["key"] == problem.space.key(best["genotype"]) == result["best"]["key"]
    selection = problem.evaluator(problem.task.select(), exact=True)
    score = selection(problem.space.phenotypes(Population.of(problem.space.schema, [best["genotype"]]))).objectives[0, 0]
    assert score == pytest.approx(best["fitness"], abs=1e-12)
    assert problem.test(best["genotype"])["fitness"] == pytest.approx(result["test"]["fitness"], abs=1e-12)
    assert score > 0.9999


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in RUN.rglob("*") if path.is_file()) < 300_000
