"""The reference runs in populations/: what was archived is found again, and scores again what it
scored.
"""

import shutil
from pathlib import Path

import pytest
from command_line import evoml

from evoml.archive.files import read_result
from evoml.core.errors import InputError
from evoml.genotypes.population import Population
from evoml.search.open import resume
from evoml.search.problem import Problem, edited, stored_config

POPULATIONS = Path(__file__).parents[2] / "populations"
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
def test_settings_added_since_do_not_make_it_a_changed_run(name: str) -> None:
    run = POPULATIONS / name
    assert not edited(run)
    done = evoml("show", run)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", RUNS)
def test_a_resume_says_that_its_checkpoint_is_not_kept(name: str, tmp_path: Path) -> None:
    run = shutil.copytree(POPULATIONS / name, tmp_path / "run")
    with pytest.raises(InputError, match="there are rows but no checkpoint, so it cannot be"):
        resume(run, budget=10**6)
    assert {path.name for path in run.iterdir()} == {
        path.name for path in (POPULATIONS / name).iterdir()
    }


@pytest.mark.parametrize("name", RUNS)
def test_it_is_small(name: str) -> None:
    assert (
        sum(path.stat().st_size for path in (POPULATIONS / name).rglob("*") if path.is_file())
        < 300_000
    )
