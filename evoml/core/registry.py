"""The folder is the registry: a part's name is the name of its module, found because the file is
there.

Third parties add parts through entry points in the groups `evoml.spaces`, `evoml.strategies`,
`evoml.evaluators`, `evoml.backends` and `evoml.tasks`, each naming a module or `module:Class`; and
a name that ends in `.py` is a file. A file is executed only where somebody named it in this process
(`trust`): a run that names one does not have it executed by being opened.
"""

import sys
from difflib import get_close_matches
from functools import cache
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from evoml.core.errors import InputError

AXES = ("spaces", "strategies", "evaluators", "backends", "tasks")
# what parts were called before -> what they are called now
ALIASES = {"evaluators": {"behaviour": "rollout"}}
_trusted: set[Path] = set()


@cache
def own(axis: str) -> tuple[str, ...]:
    """Names of evoml's own parts of one axis, sorted. Imports none of them."""
    return tuple(
        sorted(
            entry.name.removesuffix(".py")
            for entry in files(f"evoml.{axis}").iterdir()
            if entry.name.endswith(".py") and not entry.name.startswith("_")
        )
    )


@cache
def names(axis: str) -> tuple[str, ...]:
    """Names of the parts of one axis, sorted. Imports none of them."""
    return tuple(sorted({*own(axis), *installed(axis)}))


@cache
def installed(axis: str) -> dict[str, EntryPoint]:
    """Entry points of third parties' parts of one axis, by the part's name; never one of evoml's
    own.
    """
    return {
        point.name: point
        for point in entry_points(group=f"evoml.{axis}")
        if point.name not in own(axis)
    }


def is_file(name: str) -> bool:
    """Whether a part's name is the path of a file."""
    return name.endswith(".py")


def trust(name: str) -> None:
    """Allow the file of a part to be executed: its user named it."""
    if is_file(name):
        _trusted.add(Path(name).resolve())


def real_name(axis: str, name: str) -> str:
    """The name that a part has now, whatever it was called before."""
    return ALIASES.get(axis, {}).get(name, name)


def load(axis: str, name: str) -> ModuleType:
    """The module of a part.

    Raises InputError for a name that nothing has, and for one that cannot be imported.
    """
    name = real_name(axis, name)
    if is_file(name):
        return _load_file(axis, Path(name))
    if name not in names(axis):
        near = get_close_matches(name, names(axis), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names(axis))}"
        raise InputError(f"{axis}: no {name!r}; {hint}")
    point = installed(axis).get(name)
    if point is None:
        return import_module(f"evoml.{axis}.{name}")
    try:
        return import_module(point.module)
    except Exception as error:  # it is others' code
        raise InputError(
            f"{axis}: {described(axis, name)}: cannot be imported ({_one_line(error)})"
        ) from None


def chosen_class(axis: str, name: str) -> Any:
    """What an entry point `module:Class` names; None where it names a module. Raises InputError."""
    point = installed(axis).get(real_name(axis, name))
    if point is None or not point.attr:
        return None
    found: Any = load(axis, name)
    for attribute in point.attr.split("."):
        if attribute not in dir(found):
            raise InputError(f"{axis}: {described(axis, name)}: {point.module} has no {point.attr}")
        found = getattr(found, attribute)
    return found


def described(axis: str, name: str) -> str:
    """A part's name, with the distribution that it comes from where that is another's."""
    origin = distribution(axis, name)
    return name if origin is None else f"{name} ({origin})"


def distribution(axis: str, name: str) -> str | None:
    """Distribution and version that a part comes from; None for evoml's own, and for a file."""
    point = installed(axis).get(real_name(axis, name))
    if point is None:
        return None
    return (
        "an unknown distribution"
        if point.dist is None
        else f"{point.dist.name} {point.dist.version}"
    )


def summary(axis: str, name: str) -> str:
    """The first paragraph of a part's docstring, as one line."""
    doc = load(axis, name).__doc__ or ""
    return " ".join(doc.strip().split("\n\n")[0].split())


def _load_file(axis: str, path: Path) -> ModuleType:
    """The module of a file, executed once. Raises InputError."""
    path = path.resolve()
    module_name = f"evoml_part_{blake2b(str(path).encode(), digest_size=4).hexdigest()}.{path.stem}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not path.is_file():
        raise InputError(f"{axis}: {path}: no such file")
    if path not in _trusted:
        raise InputError(
            f"{axis}: {path}: would be executed; allow it with --trust if you know what it does"
        )
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{axis}: {path}: not a Python file")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:  # it is others' code: sys.exit() is one
        del sys.modules[module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InputError(f"{axis}: {path}: cannot be imported ({_one_line(error)})") from None
    return module


def _one_line(error: BaseException) -> str:
    """An exception of others' code in one line."""
    try:
        text = " ".join(str(error).split())[:160]
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
