"""The CUDA backend on a real GPU.

The contract of every backend runs on it in `test_backends.py` too.
"""

from pathlib import Path

import numpy as np
import pytest
from test_backends import ALL, LEARNER, fitness, make, programs, random_tasks
from test_cuda import without_library_functions
from test_engine import outcome

from evoml.backends import cuda
from evoml.core.streams import streams
from evoml.phenotypes.programs import Programs

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(bool(cuda.missing()), reason=cuda.missing())]


def compare(features: int, kind: str, dtype: str) -> tuple[Programs, np.ndarray]:
    """Random programs, and how far the fitness of each is from the definition's."""
    what, tasks = (
        ALL.phenotypes(ALL.random(streams(features, 1, np.arange(200)))),
        random_tasks(37, features, kind=kind),
    )
    wanted = fitness("reference", what, tasks, epochs=2)
    return what, np.abs(fitness("cuda", what, tasks, epochs=2, dtype=dtype) - wanted).max(axis=1)


@pytest.mark.parametrize("features", [1, 4, 16])
def test_programs_without_library_functions_agree_with_the_definition(features: int) -> None:
    what, distance = compare(features, "regression", "float64")
    plain = without_library_functions(what)
    assert len(plain) > 20
    assert distance[plain].max() <= 1e-12


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("features", [1, 4, 16])
def test_random_programs_agree_with_the_definition(
    features: int, kind: str, dtype: str, bound: float
) -> None:
    """All but the few that blow up the last bit of a library function, or of single precision."""
    _, distance = compare(features, kind, dtype)
    assert (distance <= bound).mean() >= 0.97


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
    tiny = {
        "setup": "s2 = 1e-30; s3 = 1e-10; s2 = s2 * s3; s4 = 1e30; s5 = 1e10",
        "predict": "s1 = s2 * s4; s1 = s1 * s5",
    }
    tasks = random_tasks(3, 4)
    one, still, got = (
        fitness("cuda", programs(each), tasks, dtype="float32")
        for each in ({"setup": "s1 = 1.0"}, {}, tiny)
    )
    assert np.abs(got - one).max() < 1e-4
    assert np.abs(got - still).min() > 1e-2


def test_a_learner_agrees_in_single_precision() -> None:
    tasks = random_tasks(100, 16, 200, 50)
    wanted, got = (
        fitness(name, programs(LEARNER), tasks, dtype=dtype)
        for name, dtype in (("reference", "float64"), ("cuda", "float32"))
    )
    assert np.abs(got - wanted).max() < 1e-5


def test_the_same_search_gives_the_same_archive(tmp_path: Path) -> None:
    sets = [
        "task.name=linear_regression",
        "search.budget=4000",
        "strategy.population=200",
        "strategy.block=100",
        "backend=cuda",
    ]
    first, second = outcome(tmp_path / "1", sets), outcome(tmp_path / "2", sets)
    assert first[:2] == second[:2]
