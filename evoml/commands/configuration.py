"""The configuration that a user asks for. It imports little: what is wrong is said at once."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evoml.config import PARTS, Config, assign, build, read_system, read_toml, trust_code
from evoml.core.built_in import built_in, built_in_file
from evoml.core.errors import InputError
from evoml.core.registry import trust

DEFAULT_SYSTEM = "automl-zero"  # where neither a system nor a space is named

Layer = tuple[str, Mapping[str, Any]]


def configuration(layers: Iterable[Layer]) -> Config:
    """The configuration of layers that the user gave, whose parts may be files since the user named
    them. Raises InputError.
    """
    layers = tuple(layers)
    for _, layer in layers:
        trust_parts(layer)
        system = str(layer.get("system", ""))
        if system.endswith(".toml") or "/" in system:
            trust_parts(read_system(system))
    return build(*layers)


def trust_parts(values: Mapping[str, Any]) -> None:
    """Allow the files of parts that settings name to be executed."""
    for part in PARTS:
        group = values.get(part)
        if isinstance(group, Mapping):
            trust(str(group.get("name", "")))
            if part == "task":
                trust_code(group)


def search_configuration(
    system: str | None, file: Path | None, sets: Iterable[str], flags: Mapping[str, Any]
) -> Config:
    """What a search is asked to be. Raises InputError.

    system: by name or path. file, sets, flags: what lies over it, in this order.
    """
    given = [(str(file), read_toml(file))] if file else []
    given += [("--set", assign(text)) for text in sets]
    named = system or _system([*(layer for _, layer in given), flags])
    start = {} if named is None else {"system": named}
    over = dict(flags) | ({} if system is None else {"system": system})
    return _started(configuration([("system", start), *given, ("flags", over)]))


def _started(config: Config) -> Config:
    """With files in the place of built-in genotypes that `start` names. Raises InputError."""
    space, files = config.name("space"), []
    for name in config.start:
        path = None if Path(name).exists() else built_in_file(name, space)
        if path is None and not Path(name).exists() and not Path(name).suffix:
            known = ", ".join(built_in(space))
            raise InputError(
                f"start: {name}: no such file, and no built-in genotype of space {space}"
                + (f"; there are {known}" if known else ", which has none")
            )
        files.append(name if path is None else str(path))
    return config.model_copy(update={"start": tuple(files)})


def _system(layers: list[Mapping[str, Any]]) -> Any:
    """The system where none is named as an argument: that of the settings, or the default one
    unless they name a space.
    """
    named = [layer["system"] for layer in layers if "system" in layer]
    spaces = [layer["space"] for layer in layers if isinstance(layer.get("space"), Mapping)]
    own_space = any("name" in space for space in spaces)
    return named[-1] if named else None if own_space else DEFAULT_SYSTEM
