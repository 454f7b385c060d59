"""The compiled loop is an optimisation and nothing else: the same candidates, counts, caches and
archive as ask, score and tell.
"""

from pathlib import Path

import numpy as np
import pytest

import evoml.search.islands
from evoml.config import assign, build
from evoml.search.problem import Problem, stored_config
from evoml.search.rounds import Rounds

SMALL = [
    "search.budget=9000",
    "search.islands=2",
    "search.round=1500",
    "search.migrate_every=2",
    "task.select.tasks=4",
    "task.test.tasks=4",
]
VARIANTS = {
    "demonstration": [
        "task.name=linear_regression",
        "search.stop_at=none",
        "strategy.population=100",
    ],
    "baseline": ["task.search.tasks=10", "search.experiment=4000", "strategy.population=50"],
    "no caches": [
        "task.name=linear_regression",
        "evaluator.exact_cache=0",
        "evaluator.functional_cache.size=0",
        "strategy.population=40",
    ],
    "median, float64": [
        "task.name=linear_regression",
        "evaluator.combine=median",
        "evaluator.dtype=float64",
        "task.search.tasks=9",
    ],
    "small cache": [
        "task.name=linear_regression",
        "evaluator.functional_cache.size=20",
        "evaluator.functional_cache.forget=3",
        "strategy.block=7",
    ],
    "step limit": [
        "task.name=linear_regression",
        "search.round_steps=100000",
        "search.round=100000",
        "strategy.population=64",
    ],
}


def outcome(
    folder: Path, sets: list[str]
) -> tuple[list[dict[str, object]], dict[str, int], list[np.ndarray]]:
    search = Rounds(
        build(
            ("system", {"system": "automl-zero"}),
            *[("--set", assign(text)) for text in [*SMALL, *sets]],
        ),
        folder,
    )
    search.create()
    search.prepare()
    search.run()
    problem = Problem(stored_config(folder))
    table, _ = problem.archive(folder).table()
    caches = [
        array
        for island in search.islands
        for array in island.evaluator.state_dict()["arrays"].values()
    ]
    return table.to_pylist(), search.counts, caches


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_archive_with_and_without_it(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = outcome(tmp_path / "fast", VARIANTS[variant])
    monkeypatch.setattr(evoml.search.islands, "engine", lambda *_: None)
    plain = outcome(tmp_path / "plain", VARIANTS[variant])
    assert fast[0] == plain[0]
    assert fast[1] == plain[1]
    assert all(
        np.array_equal(one, other, equal_nan=True)
        for one, other in zip(fast[2], plain[2], strict=True)
    )


def test_parts_that_it_does_not_fit_go_through_the_toolbox(tmp_path: Path) -> None:
    for sets in (
        ["strategy.name=random_search"],
        ["backend=reference"],
        ["evaluator.hurdle.tasks=3"],
    ):
        search = Rounds(
            build(
                ("system", {"system": "automl-zero"}),
                *[("--set", assign(text)) for text in [*SMALL, *sets]],
            ),
            tmp_path,
        )
        assert search.islands[0].engine is None
