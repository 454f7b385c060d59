"""evoml: evolve architectures and learning algorithms.

Importing this imports neither torch nor numba; a public name loads its module.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "Archive": "evoml.archive.archive",
    "Config": "evoml.config",
    "Evaluation": "evoml.contracts.evaluation",
    "Genotype": "evoml.genotypes.schema",
    "ImageSet": "evoml.contracts.task",
    "Individual": "evoml.genotypes.population",
    "InputError": "evoml.core.errors",
    "Network": "evoml.phenotypes.network",
    "Objective": "evoml.contracts.objective",
    "Population": "evoml.genotypes.population",
    "Problem": "evoml.search.problem",
    "Rounds": "evoml.search.rounds",
    "Run": "evoml.search.run",
    "Schema": "evoml.genotypes.schema",
    "SteadyState": "evoml.search.steady_state",
    "build": "evoml.config",
    "eaAging": "evoml.strategies.aging_evolution",
    "open_search": "evoml.search.open",
    "resume": "evoml.search.open",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'evoml' has no attribute {name!r}")
