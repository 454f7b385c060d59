"""Parts that break their contract are refused in a line, whatever they do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evoml.config import build
from evoml.contracts.evaluation import Evaluation
from evoml.core.errors import InputError
from evoml.evaluators.table import TableEvaluator
from evoml.genotypes.population import OK, Population
from evoml.search.open import open_search
from evoml.strategies.random_search import RandomSearch


def search(folder: Path, data_folder: Path) -> Any:
    layer = {
        "space": {"name": "nasbench201"}, "strategy": {"name": "random_search"},
        "evaluator": {"name": "table"}, "search": {"budget": 5},
        "task": {"name": "table", "data": str(data_folder / "nasbench201_cifar10.npz")},
    }  # fmt: skip
    out = open_search(build(("test", layer)), folder)
    out.create()
    out.prepare()
    return out


@pytest.mark.parametrize(
    ("score", "status", "what"),
    [(np.nan, OK, "finite"), (np.inf, OK, "finite"), (0.5, 77, "status"), (0.5, 0, "status")],
)
def test_an_evaluation_that_is_none(
    score: float, status: int, what: str, tmp_path: Path, data_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(
        TableEvaluator, "evaluate", lambda self, population, streams: Evaluation.of([score], status)
    )
    with pytest.raises(InputError, match=f"^evaluator: table: .*{what}"):
        search(tmp_path / "run", data_folder).run()


def test_candidates_with_other_ids(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = RandomSearch.ask

    def shifted(self: RandomSearch, ids: np.ndarray) -> Population:
        return ask(self, ids + 3)

    monkeypatch.setattr(RandomSearch, "ask", shifted)
    with pytest.raises(InputError, match="^strategy: random_search: asked for candidate 0, gave "):
        search(tmp_path / "run", data_folder).run()


def test_an_evaluator_that_leaves_the_process_is_a_crash(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(self: Any, population: Any, streams: Any) -> Evaluation:
        raise SystemExit(3)

    monkeypatch.setattr(TableEvaluator, "evaluate", leave)
    assert search(tmp_path / "run", data_folder).run().counts["crashed"] == 5
