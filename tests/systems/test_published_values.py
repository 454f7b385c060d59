"""Numbers that papers give, as the systems have them: what is searched with --preset paper, and
NEAT's, which are its strategy's own. A wrong digit would change results and break nothing else.
"""

from typing import Any

import pytest

from evoml.config import build

PUBLISHED: dict[str, dict[str, Any]] = {
    # Real et al. 2019, arXiv 1802.01548, section 4 and appendix
    "amoebanet": {
        "search.budget": 20_000, "strategy.population": 100, "strategy.tournament": 25,
        "evaluator.epochs": 25, "space.skeleton.cells": 3, "space.skeleton.filters": 24,
        "space.identity": 0.05, "space.blocks": 5, "strategy.replace": "oldest",
    },
    # Liu et al. 2018, arXiv 1711.00436, section 4
    "hierarchical": {
        "search.budget": 7000, "strategy.population": 200, "strategy.share": 0.05,
        "space.skeleton.filters": 16, "space.skeleton.cells": 1,
    },
    # Lu et al. 2019, arXiv 1810.03522, section 4
    "nsga-net": {
        "search.budget": 1200, "strategy.population": 40, "evaluator.epochs": 20,
    },
    # Liu et al. 2019, arXiv 1806.09055, section 3.1 and appendix A.1
    "darts": {
        "strategy.epochs": 50, "strategy.batch": 64, "strategy.lr": 0.025,
        "strategy.lr_least": 0.001, "strategy.momentum": 0.9, "strategy.weight_decay": 3e-4,
        "strategy.clip": 5.0, "strategy.architecture.lr": 3e-4,
        "strategy.architecture.betas": [0.5, 0.999], "strategy.architecture.weight_decay": 1e-3,
        "strategy.order": "second", "strategy.epsilon": "published",
        "space.skeleton.filters": 16, "space.blocks": 4,
    },
    # Xie et al. 2019, arXiv 1812.09926, section 3.1
    "snas": {
        "strategy.epochs": 150, "strategy.batch": 64, "strategy.lr": 0.025,
        "strategy.temperature": 1.0, "strategy.temperature_least": 0.03,
    },
    # Cai et al. 2019, arXiv 1812.00332, appendix
    "proxylessnas": {
        "strategy.warmup": 40, "strategy.batch": 256, "strategy.weight_decay": 4e-5,
        "strategy.architecture.lr": 1e-3, "strategy.smoothing": 0.1,
    },
    # Real et al. 2020, arXiv 2003.03384, sections 3 and 4.2
    "automl-zero": {
        "strategy.population": 100, "strategy.tournament": 10, "space.mutate_probability": 0.9,
        "evaluator.hurdle.percentile": 75.0, "evaluator.combine": "median",
    },
    # Stanley and Miikkulainen 2002, section 4.1 and appendix A
    "neat": {
        "strategy.population": 150, "strategy.c1": 1.0, "strategy.c2": 1.0, "strategy.c3": 0.4,
        "strategy.threshold": 3.0, "strategy.stagnation": 15, "strategy.champion_size": 5,
        "strategy.elite": 1, "strategy.mutation_only": 0.25, "strategy.interspecies": 0.001,
        "strategy.stays_disabled": 0.75, "strategy.weights": 0.8, "strategy.perturb": 0.9,
        "strategy.replace": 0.1, "strategy.add_node": 0.03, "strategy.add_link": 0.05,
        "strategy.distance": "classic", "strategy.representative": "random",
    },
}  # fmt: skip


@pytest.mark.parametrize("system", PUBLISHED)
def test_a_system_has_the_numbers_of_its_paper(system: str) -> None:
    config = build(("test", {"system": system, "preset": "paper"})).complete()
    for key, value in PUBLISHED[system].items():
        found: Any = config
        for part in key.split("."):
            found = found[part]
        assert (list(found) if isinstance(found, tuple) else found) == value, key


def test_what_evoml_found_by_measurement() -> None:
    """The step of the finite difference in which DARTS's second order is nearest to the exact one,
    and from what distance new weights of NEAT are drawn.
    """
    darts = build(("test", {"system": "darts"})).complete()["strategy"]
    assert (darts["epsilon"], darts["radius"]) == ("relative", 0.004)
    neat = build(("test", {"system": "neat"})).complete()["strategy"]
    assert (neat["range"], neat["power"], neat["limit"], neat["survivors"]) == (8.0, 2.5, 8.0, 0.2)
