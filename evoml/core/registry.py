"""The folder is the registry: a part's name is the name of its module, found because the file is there.

Third parties add parts through entry points in the groups `evoml.spaces`, `evoml.strategies`, `evoml.evaluators`, `evoml.backends`
and `evoml.tasks`, each naming a module.
"""

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from types import ModuleType

from evoml.core.errors import InputError

AXES = ("spaces", "strategies", "evaluators", "backends", "tasks")


@cache
def names(axis: str) -> tuple[str, ...]:
    """Names of the parts of one axis, sorted. Imports none of them."""
    own = {
        entry.name.removesuffix(".py")
        for entry in files(f"evoml.{axis}").iterdir()
        if entry.name.endswith(".py") and not entry.name.startswith("_")
    }
    return tuple(sorted(own | set(installed(axis))))


@cache
def installed(axis: str) -> dict[str, str]:
    """Modules of third parties' parts of one axis, by the part's name."""
    return {point.name: point.value for point in entry_points(group=f"evoml.{axis}")}


def load(axis: str, name: str) -> ModuleType:
    """The module of a part. Raises InputError for a name that no file has."""
    if name not in names(axis):
        near = get_close_matches(name, names(axis), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names(axis))}"
        raise InputError(f"{axis}: no {name!r}; {hint}")
    return import_module(installed(axis).get(name, f"evoml.{axis}.{name}"))


def summary(axis: str, name: str) -> str:
    """The first line of a part's docstring."""
    doc = load(axis, name).__doc__ or ""
    return doc.strip().splitlines()[0] if doc.strip() else ""
