"""The folder is the registry: a part's name is the name of its file, found because the file is
there.

Third parties add parts through entry points in the groups `evoml.spaces`, `evoml.strategies`,
`evoml.evaluators`, `evoml.backends` and `evoml.tasks`, each naming a module or `module:Class`;
systems through `evoml.systems`, each naming `package:file.toml`; rows of the tables of operations,
activations and layers through `evoml.operations`, `evoml.activations` and `evoml.layers`, each
naming `module:ROWS`, a tuple of them.

A name that ends in `.py` is a file. A file is executed only where somebody named it for this
process (`trust`): a run that names one does not have it executed by being opened.
"""

import ast
import os
import sys
from contextlib import redirect_stdout
from difflib import get_close_matches
from functools import cache
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, Protocol, TypeVar

from evoml.core.digests import digest
from evoml.core.errors import InputError, read_text
from evoml.core.wording import describe_exception

AXES = ("spaces", "strategies", "evaluators", "backends", "tasks")
TABLES = ("operations", "activations", "layers")  # whose rows may come from others
# files and modules that may be executed; in the environment, since processes that this one starts
# may too
TRUSTED = "EVOML_TRUST"
PART_OF_FILE = "evoml_part_"  # what the modules of files are called, and a digest
# what parts were called before -> what they are called now
ALIASES = {"evaluators": {"behaviour": "rollout"}}


class Row(Protocol):
    """A row of a table that others may add to."""

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Row)


@cache
def own(axis: str) -> tuple[str, ...]:
    """Names of evoml's own parts of one axis, or of its systems, sorted. Imports none of them."""
    ending = ".toml" if axis == "systems" else ".py"
    return tuple(
        sorted(
            entry.name.removesuffix(ending)
            for entry in files(f"evoml.{axis}").iterdir()
            if entry.name.endswith(ending) and not entry.name.startswith("_")
        )
    )


@cache
def names(axis: str) -> tuple[str, ...]:
    """Names of the parts of one axis, sorted. Imports none of them."""
    return tuple(sorted({*own(axis), *installed(axis)}))


@cache
def installed(axis: str) -> dict[str, EntryPoint]:
    """Entry points of third parties' parts of one axis, by the part's name; never one of evoml's
    own. Of two of one name it is the first.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"evoml.{axis}"):
        if point.name not in own(axis):
            found.setdefault(point.name, point)
    return found


def ignored(axis: str) -> list[str]:
    """What is installed and not used, since its name is taken: a line each."""
    return [
        f"{axis}: {point.name} ({_origin(point)}): is not used; "
        + (
            "evoml has one of that name"
            if point.name in own(axis)
            else f"{_origin(installed(axis)[point.name])} has one of that name"
        )
        for point in entry_points(group=f"evoml.{axis}")
        if point.name in own(axis) or installed(axis)[point.name] != point
    ]


def is_file(name: str) -> bool:
    """Whether a part's name is the path of a file."""
    return name.endswith(".py")


def trust(name: str) -> None:
    """Allow the file of a part to be executed, here and in processes that this one starts: its
    user named it. Raises InputError where there is no such file.
    """
    if is_file(name):
        if not Path(name).is_file():
            raise InputError(f"{name}: no such file; there is no part to execute")
        trust_module(str(Path(name).resolve()))


def trusted() -> list[Path]:
    """The files that may be executed."""
    named = os.environ.get(TRUSTED, "").split(os.pathsep)
    return [Path(each).resolve() for each in named if is_file(each)]


def trust_module(name: str) -> None:
    """Allow a module of the user's to be imported, also from the current folder, here and in
    processes that this one starts: its user named it.
    """
    known = os.environ.get(TRUSTED, "").split(os.pathsep)
    os.environ[TRUSTED] = os.pathsep.join(dict.fromkeys(filter(None, [*known, name])))


def users_module(name: str, where: str) -> ModuleType:
    """A module that the user named, of the current folder or of Python's path. where: what named
    it, for errors.

    Raises InputError where nobody named it for this process, and what importing it raises.
    """
    if name not in os.environ.get(TRUSTED, "").split(os.pathsep):
        raise InputError(
            f"{where}: the module {name} would be executed; if you know what it does, allow it: "
            "--trust behind the command"
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return import_module(name)


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
        # as a genotype's file calls a space that is in a file
        for path in trusted():
            if path.stem == name:
                return _load_file(axis, path)
        near = get_close_matches(name, names(axis), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names(axis))}"
        raise InputError(
            f"{axis}: no {name!r}; {hint} (one that is in a file: evoml --trust {name}.py ...)"
            if name.isidentifier() and not near
            else f"{axis}: no {name!r}; {hint}"
        )
    point = installed(axis).get(name)
    return import_module(f"evoml.{axis}.{name}") if point is None else _imported(axis, point)


def chosen_class(axis: str, name: str) -> Any:
    """What an entry point `module:Class` names; None where it names a module. Raises InputError."""
    point = installed(axis).get(real_name(axis, name))
    return None if point is None or not point.attr else _loaded(axis, point)


@cache
def extensions(table: str) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    """Rows that others add to a table, with their distribution and its version, in the order of the
    names of their entry points.

    Raises InputError for one that cannot be imported, or names no rows.
    """
    table = table.removeprefix("evoml.")
    out = []
    for point in sorted(entry_points(group=f"evoml.{table}"), key=lambda each: each.name):
        if not point.attr:
            raise InputError(
                f"{table}: {point.name} ({_origin(point)}): must name rows, such as module:ROWS"
            )
        rows = _loaded(table, point)
        rows = rows if isinstance(rows, (tuple, list)) else (rows,)
        out.append((_origin(point), tuple(rows)))
    return tuple(out)


def extended(table: str, own_rows: tuple[R, ...]) -> tuple[R, ...]:
    """A table with the rows that others add behind its own. Raises InputError."""
    out = {row.name: row for row in own_rows}
    for origin, rows in extensions(table):
        for row in rows:
            if not isinstance(row, kind := type(own_rows[0])):
                raise InputError(
                    f"{table}: {origin}: {str(row)[:80]}: must be a {kind.__module__}."
                    f"{kind.__name__}"
                )
            if row.name in out:
                raise InputError(f"{table}: {origin}: {row.name} is there already; call it else")
            out[row.name] = row
    return tuple(out.values())


def distributions(table: str) -> dict[str, str]:
    """Versions of the distributions that add rows to a table. Imports none of them."""
    return dict(_origin(each).rsplit(" ", 1) for each in entry_points(group=f"evoml.{table}"))


def rows_of_others() -> bytes:
    """All that kernels follow from in the rows that others add: equal where nothing differs."""
    said = [
        (table, {key: str(value) for key, value in vars(row).items() if not callable(value)})
        for table in ("operations", "activations")
        for _, rows in extensions(table)
        for row in rows
    ]
    return repr(said).encode() if said else b""


def place_of_others(error: BaseException) -> str | None:
    """`file:line` of the part of others that raised an exception, or called what did; None where
    none is in its traceback.
    """
    groups = [f"evoml.{each}" for each in (*AXES, *TABLES, "export", "report")]
    packages = {
        point.module.split(".")[0] for group in groups for point in entry_points(group=group)
    } - {"evoml"}
    found = None
    for frame, line in walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if package.startswith(PART_OF_FILE) or package in packages:
            found = f"{frame.f_code.co_filename}:{line}"
    return found


def described(axis: str, name: str) -> str:
    """A part's name, with the distribution that it comes from where that is another's."""
    origin = distribution(axis, name)
    return name if origin is None else f"{name} ({origin})"


def distribution(axis: str, name: str) -> str | None:
    """Distribution and version that a part comes from; None for evoml's own, and for a file."""
    point = installed(axis).get(real_name(axis, name))
    return None if point is None else _origin(point)


def origin(axis: str, name: str) -> dict[str, str]:
    """What a part that is not evoml's is known by: `distribution` and `version`, or the `digest` of
    its file; empty for evoml's own.
    """
    if is_file(name):
        path = Path(name)
        return {"digest": digest(path.read_bytes()) if path.is_file() else "gone"}
    point = installed(axis).get(real_name(axis, name))
    if point is None:
        return {}
    known = point.dist
    return (
        {"distribution": "unknown", "version": "unknown"}
        if known is None
        else {"distribution": known.name, "version": known.version}
    )


def summary(axis: str, name: str) -> str:
    """The first paragraph of a part's docstring, as one line. Imports none of evoml's own."""
    if name in own(axis):
        source = (files(f"evoml.{axis}") / f"{name}.py").read_text(encoding="utf-8")
        doc = ast.get_docstring(ast.parse(source), clean=False) or ""
    else:
        doc = load(axis, name).__doc__ or ""
    return " ".join(doc.strip().split("\n\n")[0].split())


def _load_file(axis: str, path: Path) -> ModuleType:
    """The module of a file, executed once. Raises InputError."""
    path = path.resolve()
    module_name = (
        f"{PART_OF_FILE}{blake2b(str(path).encode(), digest_size=4).hexdigest()}.{path.stem}"
    )
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not path.is_file():
        raise InputError(f"{axis}: {path}: no such file")
    if path.stem in own(axis):
        raise InputError(f"{axis}: {path}: evoml has a {path.stem} of its own; rename the file")
    if path not in trusted():
        raise InputError(
            f"{axis}: {path}: would be executed; if you know what it does, name it: evoml --trust "
            f"{path} ..."
        )
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{axis}: {path}: not a Python file")
    module = module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with redirect_stdout(sys.stderr):  # what is printed is a command's
            spec.loader.exec_module(module)
    except BaseException as error:  # it is others' code: sys.exit() is one
        del sys.modules[module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InputError(
            f"{axis}: {path}: cannot be imported ({describe_exception(error)})"
        ) from None
    return module


def _origin(point: EntryPoint) -> str:
    """Distribution and version of an entry point."""
    known = point.dist
    return "an unknown distribution" if known is None else f"{known.name} {known.version}"


def _imported(axis: str, point: EntryPoint) -> ModuleType:
    """The module that an entry point names. Raises InputError."""
    try:
        with redirect_stdout(sys.stderr):  # what is printed is a command's
            return import_module(point.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it is others' code: sys.exit() is one
        raise InputError(
            f"{axis}: {point.name} ({_origin(point)}): cannot be imported "
            f"({describe_exception(error)})"
        ) from None


def _loaded(axis: str, point: EntryPoint) -> Any:
    """What an entry point names. Raises InputError."""
    found: Any = _imported(axis, point)
    for attribute in point.attr.split(".") if point.attr else ():
        if attribute not in vars(found):
            raise InputError(
                f"{axis}: {point.name} ({_origin(point)}): {point.module} has no {point.attr}"
            )
        found = vars(found)[attribute]
    return found


def read_system_text(name: str) -> str:
    """The TOML of a system: one of `names("systems")`, or a file. Raises InputError."""
    if name.endswith(".toml"):
        return read_text(Path(name), "utf-8-sig")
    point = installed("systems").get(name)
    if point is None:
        return (files("evoml.systems") / f"{name}.toml").read_text()
    try:
        return (files(point.module) / point.attr).read_text(encoding="utf-8")
    except Exception as error:  # it is others' code
        raise InputError(
            f"systems: {described('systems', name)}: cannot be read "
            f"({describe_exception(error)}); an entry point is package:file.toml"
        ) from None
