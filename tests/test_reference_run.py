"""The reference runs in populations/: what was archived is found again, and scores again what it
scored.
"""

from pathlib import Path

import pytest

from evoml.archive.files import read_result
from evoml.genotypes.population import Population
from evoml.search.problem import Problem, stored_config

POPULATIONS = Path(__file__).parents[1] / "populations"
# and what the best one scored more than
RUNS = {"automl-zero-linear_regression-6": 0.9999, "neat-xor-2": 0.99}


@pytest.mark.parametrize("name", RUNS)
def test_the_best_scores_the_same_again(name: str) -> None:
    run = POPULATIONS / name
    result = read_result(run)
    assert result is not None
    problem = Problem(stored_config(run))
    (best,), warnings = problem.archive(run).best(1)
    assert not warnings
    assert best["id"] == result["best"]["id"]
    assert best["key"] == problem.space.key(best["genotype"]) == result["best"]["key"]
    selection = problem.evaluator(problem.task.select(), exact=True)
    score = selection(
        problem.space.phenotypes(Population.of(problem.space.schema, [best["genotype"]]))
    ).objectives[0, 0]
    assert score == pytest.approx(best["fitness"], abs=1e-12)
    assert problem.test(best["genotype"])["fitness"] == pytest.approx(
        result["test"]["fitness"], abs=1e-12
    )
    assert score > RUNS[name]


@pytest.mark.parametrize("name", RUNS)
def test_it_is_small(name: str) -> None:
    assert (
        sum(path.stat().st_size for path in (POPULATIONS / name).rglob("*") if path.is_file())
        < 300_000
    )
