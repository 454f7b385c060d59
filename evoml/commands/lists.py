"""What there is: the parts of every axis, their settings, and the published systems."""

from types import NoneType, UnionType
from typing import Any, get_origin

from pydantic import BaseModel
from rich.table import Table

from evoml.config import PARTS, Config, read_system, systems
from evoml.contracts.part import part_class, settings_class, space_class, task_class
from evoml.core.errors import InputError
from evoml.core.registry import (
    distribution,
    ignored,
    load,
    names,
    read_system_text,
    summary,
    trust,
)
from evoml.report import TolerantStderr, console, print_json

_COLUMNS = {"key": "Key", "default": "Default", "type": "Values", "description": "What it is"}

# of kinds of values
_WORDS: dict[Any, str] = {NoneType: "none", tuple[str, ...]: "list"}


def show_axis(axis: str, name: str | None, as_json: bool) -> None:
    """List the parts of an axis, or the settings of one of them, which may be a file."""
    if name is None:
        for line in ignored(axis):
            print(f"evoml: {line}", file=TolerantStderr(), flush=True)
    else:
        trust(name)
    if axis == "systems":
        _show_systems(name, as_json)
    elif name is None:
        rows = [_listed(axis, each) for each in names(axis)]
        _print([{"name": "Name", "summary": "What it is"}, *rows], axis, as_json)
    else:
        prefix = next((part for part, each in PARTS.items() if each == axis), "")
        rows = []
        if prefix:
            part_class(axis, name)  # refused as a search would refuse it
            rows = _settings(settings_class(axis, name), prefix)
        if axis == "tasks" and task_class(name).takes_data:
            rows.append(
                {
                    "key": "task.data",
                    "default": "",
                    "type": "path",
                    "description": "a data file, as --data; what it must hold: README",
                }
            )
        if not as_json:
            print(f"{name}: {summary(axis, name)}\n")
        if not rows and not as_json:
            return
        _print([_COLUMNS, *rows], "settings", as_json)
        if not as_json and axis == "spaces":
            _print_operations(name)


def _listed(axis: str, name: str) -> dict[str, str]:
    """A part in a list: of others' also where it comes from, and why it cannot be used."""
    origin = distribution(axis, name)
    if origin is None:
        return {"name": name, "summary": summary(axis, name)}
    row = {"name": name, "distribution": origin}
    try:
        load(axis, name)
        if axis in PARTS.values():
            part_class(axis, name)
            settings_class(axis, name)
    except InputError as error:
        why = str(error).split("): ", 1)[-1]
        return row | {"summary": f"cannot be used: {why} ({origin})", "problem": str(error)}
    return row | {"summary": f"{summary(axis, name)} ({origin})"}


def show_settings(as_json: bool) -> None:
    """The settings that belong to no part."""
    rows = [row for row in _settings(Config, "") if row["key"].partition(".")[0] not in PARTS]
    _print([_COLUMNS, *rows], "settings", as_json)
    if not as_json:
        print("\nThe settings of a part: evoml spaces|strategies|evaluators|tasks NAME")


def _settings(model: type[BaseModel], prefix: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    dotted = f"{prefix}." if prefix else ""
    for key, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _settings(kind, f"{dotted}{key}")
            continue
        default = field.get_default(call_default_factory=True)
        shown = "required" if field.is_required() else _short(default)
        rows.append(
            {
                "key": f"{dotted}{key}",
                "default": shown,
                "type": _values(field),
                "description": field.description or "",
            }
        )
    return rows


def _short(value: Any) -> str:
    text = (
        ", ".join(map(str, value))
        if isinstance(value, (tuple, list))
        else "none"
        if value is None
        else str(value)
    )
    return (
        text
        if len(text) <= 48
        else f"{text[:40]}... ({len(value)})"
        if isinstance(value, (tuple, list))
        else text[:48]
    )


def _values(field: Any) -> str:
    """The allowed values, short: a range or a type."""
    bounds = {
        key: getattr(m, key)
        for m in field.metadata
        for key in ("ge", "gt", "le", "lt")
        if getattr(m, key, None) is not None
    }
    low = f"above {bounds['gt']}" if "gt" in bounds else str(bounds.get("ge", ""))
    high = f"below {bounds['lt']}" if "lt" in bounds else str(bounds.get("le", ""))
    if low.startswith("above") and not high:
        return low
    if low or high:
        return f"{low}..{high}"
    args = getattr(field.annotation, "__args__", ())
    if args and all(isinstance(arg, str) for arg in args):
        return "|".join(args)
    if get_origin(field.annotation) is tuple:
        return "list"
    if get_origin(field.annotation) is UnionType:
        return "|".join(_WORDS.get(arg) or str(arg.__name__) for arg in args)
    return getattr(field.annotation, "__name__", str(field.annotation))


def _print_operations(name: str) -> None:
    """The instructions of a space of programs, or the lists of layers that a space of cells draws
    from.
    """
    space = space_class(name)
    for title, chosen in space.operations.items():
        print(f"\noperations {title}: {', '.join(chosen)}")
    if space.phenotype == "programs":
        from evoml.phenotypes.instructions import OPS

        table = Table(title="Operations", title_justify="left", box=None, pad_edge=False)
        for column in ("Name", "Inputs", "Output", "Text"):
            table.add_column(column)
        for op in OPS:
            table.add_row(op.name, " ".join(op.ins), op.out, op.text)
        console().print(table)


def _show_systems(name: str | None, as_json: bool) -> None:
    if name is not None:
        values, text = read_system(name), read_system_text(name)
        if as_json:
            print_json({"system": values})
        else:
            print(text, end="")
        return
    rows = []
    for each in systems():
        origin = distribution("systems", each)
        row = {"name": each} | ({} if origin is None else {"distribution": origin})
        try:
            preset = read_system(each)
        except InputError as error:
            rows.append(row | {"title": f"cannot be used: {error}", "problem": str(error)})
            continue
        named = {part: _named(preset, part) for part in PARTS}
        rows.append(row | named | {"title": str(preset.get("title", ""))})
    _print(
        [
            {
                "name": "Name",
                "space": "Space",
                "strategy": "Strategy",
                "evaluator": "Evaluator",
                "task": "Task",
                "title": "Published",
            },
            *rows,
        ],
        "systems",
        as_json,
    )


def _named(preset: dict[str, Any], part: str) -> str:
    group = preset.get(part, {})
    return str(group.get("name", "")) if isinstance(group, dict) else ""


def _print(rows: list[dict[str, Any]], key: str, as_json: bool) -> None:
    """A table whose first row is the header."""
    header, *body = rows
    if as_json:
        print_json({key: body})
        return
    if not body:
        raise InputError(f"{key}: nothing there")
    table = Table(box=None, pad_edge=False)
    for title in header.values():
        table.add_column(title)
    for row in body:
        table.add_row(*(str(row.get(column, "")) for column in header))
    console().print(table)
