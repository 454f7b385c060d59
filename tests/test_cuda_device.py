"""The CUDA backend on a real GPU. The contract of every backend runs on it in `test_backends.py` too."""

from pathlib import Path

import numpy as np
import pytest
from test_backends import ALL, LEARNER, fitness, make, programs, random_tasks
from test_engine import outcome

from evoml.backends import cuda
from evoml.streams import streams

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(bool(cuda.missing()), reason=cuda.missing())]


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("features", [1, 4, 16])
def test_random_programs_agree_with_the_definition(features: int, kind: str) -> None:
    what, tasks = ALL.phenotypes(ALL.random(streams(features, 1, np.arange(200)))), random_tasks(37, features, kind=kind)
    wanted, got = (fitness(name, what, tasks, epochs=2) for name in ("reference", "cuda"))
    assert np.abs(got - wanted).max() <= 1e-9


def test_many_threads_give_what_few_give() -> None:
    what, tasks = ALL.phenotypes(ALL.random(streams(5, 1, np.arange(3000)))), random_tasks(100, 4)
    machine = make("cuda", tasks, ALL.memory, dtype="float32")
    together, steps = machine.fitness(what, np.arange(3000))
    parts = [machine.fitness(what, part) for part in np.array_split(np.arange(3000), 50)]
    assert np.array_equal(np.concatenate([part for part, _ in parts]), together)
    assert sum(more for _, more in parts) == steps
    prints, _ = machine.fingerprints(what, np.arange(3000), 4, 4)
    assert np.array_equal(machine.fingerprints(what, np.arange(3000)[::-1], 4, 4)[0][::-1], prints)


def test_single_precision_keeps_subnormal_numbers() -> None:
    tiny = {"setup": "s2 = 1e-30; s3 = 1e-10; s2 = s2 * s3; s4 = 1e30", "predict": "s1 = s2 * s4"}
    tasks = random_tasks(3, 4)
    still = fitness("cuda", programs({}), tasks, dtype="float32")
    got, wanted = (fitness(name, programs(tiny), tasks, dtype="float32") for name in ("cuda", "numba"))
    assert np.abs(got - wanted).max() < 1e-12
    assert (np.abs(got - still) > 1e-12).all()


def test_a_learner_agrees_in_single_precision() -> None:
    tasks = random_tasks(100, 16, 200, 50)
    wanted, got = (fitness(name, programs(LEARNER), tasks, dtype=dtype) for name, dtype in (("reference", "float64"), ("cuda", "float32")))
    assert np.abs(got - wanted).max() < 1e-5


def test_the_same_search_gives_the_same_archive(tmp_path: Path) -> None:
    sets = ["task.name=linear_regression", "search.budget=4000", "strategy.population=200", "strategy.block=100", "backend=cuda"]
    first, second = outcome(tmp_path / "1", sets), outcome(tmp_path / "2", sets)
    assert first[:2] == second[:2]
