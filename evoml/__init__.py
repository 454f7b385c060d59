"""evoml: evolve architectures and learning algorithms. Importing this imports neither torch nor numba; a public name loads its module."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "Archive": "evoml.archive",
    "Config": "evoml.config",
    "Genotype": "evoml.genes",
    "ImageSet": "evoml.tasks",
    "Individual": "evoml.population",
    "InputError": "evoml.errors",
    "Network": "evoml.network",
    "Population": "evoml.population",
    "Problem": "evoml.problem",
    "Schema": "evoml.genes",
    "Search": "evoml.search",
    "Steady": "evoml.steady",
    "build": "evoml.config",
    "eaAging": "evoml.strategies.aging_evolution",
    "open_search": "evoml.search",
    "resume": "evoml.search",
}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'evoml' has no attribute {name!r}")
