"""One configuration for everything: a system's preset, a TOML file, `--set key=value` and flags,
merged in this order and validated.

Every setting has a dotted key, the same in TOML, in `--set` and in Python: `search.budget`,
`space.scalars`, `task.name`, `workers`.
"""

import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from evoml.contracts.part import evaluator_class, settings_class, space_class, task_class
from evoml.core.digests import digest
from evoml.core.errors import InputError, read_text
from evoml.core.registry import (
    TABLES,
    described,
    distributions,
    is_file,
    load,
    names,
    origin,
    own,
    read_system_text,
    real_name,
    trust,
    trust_module,
    trusted,
)
from evoml.core.settings import Settings, with_new_names

PARTS = {"space": "spaces", "strategy": "strategies", "evaluator": "evaluators", "task": "tasks"}
PRESETS = ("desk", "paper", "final")
# what run.toml holds beside the settings
NOT_SETTINGS = ("versions", "data_digest", "settings_digest", "parts", "shape")
# the space says which evaluator, and that which task
DEFAULT_PARTS = {"space": "automl_zero", "strategy": "aging_evolution"}


class SearchSettings(Settings):
    """How long to search, and when to stop, restart and exchange individuals."""

    aliases: ClassVar[dict[str, str]] = {
        "trust": "audit",
        "trust_most": "audit_most",
        "trust_best": "audit_best",
    }

    budget: int = Field(
        0, ge=0, description="candidates to evaluate, over all islands; 0: no limit"
    )
    seconds: float = Field(
        0.0,
        ge=0,
        description="seconds to search; 0: no limit. A run that it ends is a prefix of the same "
        "run without it",
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="of everything random: same seed, same archive"
    )
    stop_at: float | str = Field(
        "none", description="stop when a selected candidate scores more than this; none: never"
    )
    islands: int = Field(
        1, ge=1, le=1024, description="populations that evolve apart; workers are shared among them"
    )
    migrate_every: int = Field(10, ge=0, description="rounds between migrations; 0: never")
    migrants: int = Field(5, ge=1, description="individuals that each island sends to the next")
    experiment: int = Field(
        0, ge=0, description="candidates after which all starts again with fresh tasks; 0: never"
    )
    experiment_steps: int = Field(
        0,
        ge=0,
        description="training steps after which all starts again with fresh tasks; 0: never",
    )
    training_seconds: float = Field(
        0.0,
        ge=0,
        description="seconds of training, over all candidates, real or simulated; 0: no limit. For "
        "candidates trained one by one",
    )
    window: int = Field(
        0,
        ge=0,
        le=4096,
        description="W: candidate i is bred when result i - W is known; 0: a quarter of the "
        "population, at most 16 (1 for a table)",
    )
    audit: int = Field(
        8,
        ge=0,
        le=1000,
        description="after a search with shared weights, beyond its time: random architectures "
        "that are trained alone, to see what those are worth; 0: no check, and nothing is trained "
        "alone",
    )
    audit_most: int = Field(
        100,
        ge=1,
        le=10_000,
        description="the same, at most: as many as cost what the search did are a random search to "
        "compare it with",
    )
    audit_best: int = Field(
        3,
        ge=1,
        le=10,
        description="candidates that are best by shared weights and then trained alone; the best "
        "of them is the result",
    )
    round: int = Field(
        10_000, ge=1, description="most candidates an island evaluates between two synchronisations"
    )
    round_steps: int = Field(
        20_000_000,
        ge=1,
        description="most training steps an island runs between two synchronisations",
    )

    @model_validator(mode="after")
    def _at_least_and_at_most(self) -> Self:
        if self.audit > self.audit_most:
            raise ValueError(f"audit: {self.audit}: must be at most audit_most, {self.audit_most}")
        return self

    @field_validator("stop_at")
    @classmethod
    def _number_or_none(cls, value: float | str) -> float | str:
        if value != "none" if isinstance(value, str) else not isfinite(value):
            raise ValueError("must be a number or none")
        return value


class ArchiveSettings(Settings):
    """What is kept of a run."""

    keep: Literal["improvements", "all"] = Field(
        "improvements", description="improvements and snapshots, or every candidate"
    )
    snapshot: int = Field(
        1_000_000,
        ge=0,
        description="candidates between two snapshots of the populations; 0: only the last",
    )
    interval: float = Field(20.0, gt=0, description="seconds between checkpoints")


class Config(Settings):
    """A whole configuration.

    The groups of the parts hold the part's name and its own settings, validated by the part.
    """

    system: str = Field(
        "custom", description="the published system whose preset lies under all other settings"
    )
    preset: Literal["desk", "paper", "final"] = Field(
        "desk",
        description="desk-sized values, the paper's, or those that the winner is trained with",
    )
    search: SearchSettings = SearchSettings()
    archive: ArchiveSettings = ArchiveSettings()
    space: dict[str, Any]
    strategy: dict[str, Any]
    evaluator: dict[str, Any]
    task: dict[str, Any]
    workers: int = Field(
        0, ge=0, le=4096, description="threads; 0: one a core. Does not change the result"
    )
    backend: str = Field("auto", description="with what programs run; auto: the fastest there is")
    start: tuple[str, ...] = Field(
        (), description="files of genotypes that the first population is made of"
    )
    final: dict[str, Any] | None = Field(
        None,
        description="settings over these where the winner is trained; none: those of the system",
    )

    def name(self, part: str) -> str:
        """The name of a part: `config.name("space")`."""
        return str(getattr(self, part)["name"])

    def part(self, part: str) -> Any:
        """The validated settings of a part."""
        own = ("name", "data") if part == "task" else ("name",)
        values = {key: value for key, value in getattr(self, part).items() if key not in own}
        return settings_class(PARTS[part], self.name(part)).read(values, part)

    def files(self) -> dict[tuple[str, str], Path]:
        """The files that parts' settings name, by part and setting."""
        return {
            (part, key): path
            for part in PARTS
            for key, path in self.part(part).named_files().items()
        }

    @property
    def data(self) -> Path | None:
        return Path(self.task["data"]) if self.task.get("data") else None

    @property
    def stop_at(self) -> float:
        """The selection score above which the search stops; infinity for never."""
        return float("inf") if isinstance(self.search.stop_at, str) else self.search.stop_at

    def complete(self) -> dict[str, Any]:
        """Every setting with its value, as nested dictionaries that `build` reads back."""
        out = self.model_dump(exclude=set(PARTS), exclude_none=True)
        for part in PARTS:
            data = {"data": str(self.data)} if part == "task" and self.data else {}
            out[part] = {
                "name": self.name(part),
                **data,
                **self.part(part).model_dump(mode="json", exclude_none=True),
            }
        return out


def settings_digest(values: Mapping[str, Any]) -> str:
    """A hash of every setting in a complete configuration but those that a resumed run may have
    others of.
    """
    values = dict(values)
    for group, keys in {
        "search": ("budget", "seconds"),
        "task": ("data",),
        "archive": ("interval",),
    }.items():
        values[group] = {
            key: value for key, value in _group(values, group).items() if key not in keys
        }
    rest = {
        key: value
        for key, value in values.items()
        if key not in (*NOT_SETTINGS, "workers", "system", "preset", "start", "final")
    }
    return digest(json.dumps(rest, sort_keys=True).encode())


def _aliases(part_names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """What settings were called before -> what they are called now, by group."""
    parts: dict[str, dict[str, str]] = {
        part: settings_class(PARTS[part], name).aliases for part, name in part_names.items()
    }
    return parts | {"search": SearchSettings.aliases}


def origins(config: Config) -> dict[str, dict[str, str]]:
    """Where parts and rows of tables that are not evoml's come from: of a part `distribution` and
    `version`, or the `digest` of its file; of a table the distributions, with their versions.
    """
    out = {part: origin(axis, config.name(part)) for part, axis in PARTS.items()}
    out |= {table: distributions(table) for table in TABLES}
    return {kind: known for kind, known in out.items() if known}


def check_origins(stored: Mapping[str, Any], config: Config, where: str) -> list[str]:
    """What a run was made with in other versions than there are now, a line each.

    stored: `origins` as the run has them. Raises InputError where the file of a part is another.
    """
    out, now = [], origins(config)
    for kind in _group(stored, "parts"):
        then, here = _group(_group(stored, "parts"), kind), now.get(kind, {})
        if "digest" in then and then != here:
            raise InputError(
                f"{config.name(kind)}: not the {kind} that {where} was made with; put back what "
                "was changed"
            )
        if then != here:
            was, is_now = (" ".join(f"{k} {v}" for k, v in each.items()) for each in (then, here))
            out.append(f"{where}: {kind}: made with {was}; there is {is_now or 'none'} now")
    return out


def systems() -> tuple[str, ...]:
    """Names of the published systems that have a preset."""
    return names("systems")


def read_system(name: str) -> dict[str, Any]:
    """A system's preset: one of `systems`, or the path of a TOML file. Raises InputError."""
    if name.endswith(".toml"):
        return read_toml(Path(name))
    if name not in systems():
        near = get_close_matches(name, systems(), n=1)
        raise InputError(
            f"no system {name!r}; "
            + (f"did you mean {near[0]}?" if near else f"there are {', '.join(systems())}")
        )
    text = read_system_text(name)
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"systems: {described('systems', name)}: not TOML ({error})") from None


def final_settings(config: Config) -> dict[str, Any]:
    """What lies over a run's settings where its winner is trained: the system's `[final]`, else the
    evaluator's.

    Raises InputError.
    """
    default = evaluator_class(config.name("evaluator")).final
    if config.final is None:
        system = read_system(config.system) if config.system in own("systems") else {}
        final = system.get("final", {})
    else:
        system = final = config.final
    kept = {
        key: {name: each for name, each in value.items() if name != "name"}
        if key in PARTS
        else value
        for key, value in final.items()
        # not those of a part that was replaced
        if key not in PARTS or _group(system, key).get("name") == config.name(key)
    }
    out = _merge(default, kept)
    task = task_class(config.name("task"))
    known = settings_class("tasks", config.name("task")).model_fields
    own_values = {key: value for key, value in out.get("task", {}).items() if key in known}
    return out | {"task": task.at_full_size(config.part("task"), own_values)}


def read_toml(path: Path) -> dict[str, Any]:
    """A configuration file, which may be a run's run.toml. Raises InputError."""
    text = read_text(path, "utf-8-sig")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not TOML ({' '.join(str(error).split())[:200]})") from None
    start = values.get("start")
    # the copies that a run keeps of its start files
    if "versions" in values and isinstance(start, list):
        values["start"] = [str(path.parent / Path(str(name)).name) for name in start]
    of_run = "versions" in values
    values = {key: value for key, value in values.items() if key not in NOT_SETTINGS}
    return dict(_with_whole_paths(values, str(path), path.parent, trusts=not of_run))


def build(*layers: tuple[str, Mapping[str, Any]], trusts: bool = True) -> Config:
    """Merge layers, each with the name that its errors carry, over the system that one of them
    names. Raises InputError.

    A task's name may hold the value of one setting behind a colon, such as gym:CartPole-v1. A
    preset may hold `[for.TASK]`, laid over it where that task is searched on, `[paper]`, laid over
    it for `preset = "paper"`, and `[final]`, with which the winner is trained.

    trusts: whether files that layers name as parts may be executed, since a user wrote the layers;
    false where they come from a run.
    """
    merged: dict[str, Any] = {}
    layers = tuple(
        (where, _task_with_argument(_with_whole_paths(layer, where, Path(), trusts), where))
        for where, layer in layers
    )
    for _, layer in layers:
        merged = _merge(merged, layer)
    preset: dict[str, Any] = {}
    system = str(merged.get("system", "custom"))
    if system != "custom":
        preset = _checked_system(read_system(system), system)
    chosen = merged.get("preset", "desk")
    if chosen not in PRESETS:
        raise InputError(f"preset: {chosen!r} is not one of {', '.join(PRESETS)}")
    part_names = _part_names(merged, preset)
    aliases = _aliases(part_names)
    layers = tuple((where, _layer_with_new_names(layer, aliases, where)) for where, layer in layers)
    merged = {}
    for _, layer in layers:
        merged = _merge(merged, layer)
    final = preset.pop("final", {})
    overlays = [
        _layer_with_new_names(overlay, aliases, system)
        for overlay in (
            preset.pop("for", {}).get(_task_called(part_names["task"]), {}),
            preset.pop("paper", {}), final,
        )
    ]  # fmt: skip
    preset.pop("title", None)
    preset = _layer_with_new_names(preset, aliases, system)
    # A part replaced by another does not inherit the settings that were meant for the first.
    kept = {
        part
        for part in PARTS
        if part_names[part] == _group(preset, part).get("name", part_names[part])
    }
    for part in PARTS:
        if part not in kept:
            preset[part] = {"name": part_names[part]}
    if "task" not in kept:  # the paper's values are of its own task: another takes what it knows
        known = settings_class("tasks", part_names["task"]).model_fields
        overlays[1] = _with_known_task(overlays[1], known)
    for overlay, used in zip(overlays, (True, chosen == "paper", chosen == "final"), strict=True):
        if used:
            preset = _merge(
                preset,
                {
                    key: value
                    for key, value in overlay.items()
                    if key not in PARTS or key in kept or key == "task"
                },
            )
    merged = _merge(preset, merged)
    for part, name in part_names.items():
        group = {"name": name} | _group(merged, part)
        merged[part] = group | {"name": real_name(PARTS[part], str(group["name"]))}
    if system not in ("custom", *own("systems")):
        # which may be gone when the winner is trained
        named = {
            key: value | {"name": part_names[key]} if key in PARTS else value
            for key, value in final.items()
            if key not in PARTS or key in kept
        }
        merged["final"] = _merge(named, _group(merged, "final"))
        merged["system"] = Path(system).stem if system.endswith(".toml") else system
        layers = ((system, preset), *layers)
    try:
        if not isinstance(merged["task"].get("data", ""), str):
            raise InputError(f"task.data: {merged['task']['data']!r}: must be the path of a file")
        config = Config.read(merged, "")
        for part in PARTS:
            config.part(part)
    except InputError as error:
        raise InputError(f"{_origin(str(error).partition(':')[0], layers)}{error}") from None
    if trusts:
        trust_code(config.complete()["task"])
    return config


def _with_known_task(overlay: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """An overlay whose settings of the task are those that there are."""
    task = {key: value for key, value in _group(overlay, "task").items() if key in known}
    return {key: value for key, value in overlay.items() if key != "task"} | {"task": task}


def trust_code(task: Mapping[str, Any]) -> None:
    """Allow the module that settings of a task name to be imported, since a user named it."""
    name, _, argument = str(task.get("name", "")).partition(":")
    if name in names("tasks"):
        kind = task_class(name)
        if module := kind.code(argument or str(task.get(kind.argument, ""))):
            trust_module(module)


def _layer_with_new_names(
    layer: Mapping[str, Any], aliases: Mapping[str, Mapping[str, str]], where: str
) -> dict[str, Any]:
    """A layer by the names that settings have now, so that it lies over one that has these already.

    Raises InputError.
    """
    out = dict(layer)
    for group, names_of_group in aliases.items():
        if isinstance(values := out.get(group), Mapping):
            try:
                out[group] = with_new_names(values, names_of_group)
            except ValueError as error:
                raise InputError(
                    f"{f'{where}: ' if where.endswith('.toml') else ''}{group}.{error}"
                ) from None
    return out


def _task_called(name: str) -> str:
    """What a system calls a task: one in a file by the file's name without its ending."""
    return Path(name).stem if is_file(name) else name


def _with_whole_paths(
    layer: Mapping[str, Any], where: str, folder: Path, trusts: bool
) -> Mapping[str, Any]:
    """A layer in which the files of parts and of a system have their whole paths, from `folder` on.

    trusts: whether the files of parts may be executed from now on. Raises InputError where they may
    not.
    """
    _check_groups(layer, where)
    out = dict(layer)
    for part, axis in PARTS.items():
        file, colon, argument = str(_group(layer, part).get("name", "")).partition(":")
        if not is_file(file):
            continue
        path = (folder / file).resolve()
        if trusts:
            trust(str(path))
        elif path not in trusted():
            load(axis, str(path))  # raises
        out[part] = _group(layer, part) | {"name": f"{path}{colon}{argument}"}
    if str(layer.get("system", "")).endswith(".toml"):
        out["system"] = str((folder / str(layer["system"])).resolve())
    return out


def _checked_system(preset: dict[str, Any], name: str) -> dict[str, Any]:
    """A system's preset, if its tables are tables. Raises InputError."""
    for key in ("for", "paper", "final"):
        if not isinstance(preset.get(key, {}), Mapping):
            raise InputError(f"{name}: {key}: must be a table of settings")
    overlays = [*preset.get("for", {}).values(), preset.get("paper", {}), preset.get("final", {})]
    for each in (preset, *overlays):
        if not isinstance(each, Mapping):
            raise InputError(f"{name}: for: must hold tables, such as [for.digits]")
        _check_groups(each, name)
    if preset.get("system", "custom") != "custom":
        raise InputError(f"{name}: system: a system cannot be made of another")
    return preset


def _task_with_argument(layer: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """A layer in which what stands behind the colon of a task's name is the setting that the task
    says.

    Raises InputError.
    """
    named = _group(layer, "task").get("name")
    if not isinstance(named, str) or ":" not in named:
        return layer
    name, _, argument = named.partition(":")
    key = task_class(name).argument
    if not key:
        raise InputError(
            f"task: {named!r}: {name} takes nothing behind a colon; gym takes an environment, "
            "function a module and its function"
        )
    return _merge(layer, {"task": {"name": name, key: argument}})


def _part_names(*layers: Mapping[str, Any]) -> dict[str, str]:
    """The name of every part: from the first layer that has one, else what fits the parts before
    it. Raises InputError for a name of none.

    A task that brings its own data gives way to the one that takes data, where the first layer
    gives some and names no task.
    """
    out: dict[str, str] = {}
    for part, axis in PARTS.items():
        named = [name for layer in layers if (name := _group(layer, part).get("name")) is not None]
        if named:
            out[part] = real_name(axis, str(named[0]))
        elif part == "evaluator":
            out[part] = space_class(out["space"]).evaluator
        elif part == "task":
            out[part] = evaluator_class(out["evaluator"]).task
        else:
            out[part] = DEFAULT_PARTS[part]
        if out[part] not in names(axis) and not is_file(out[part]):
            load(axis, out[part])  # raises with a hint
    if "name" not in _group(layers[0], "task") and _group(layers[0], "task").get("data"):
        out["task"] = task_class(out["task"]).with_data or out["task"]
    return out


def _origin(key: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """The file that a setting's value comes from, as the beginning of a message; empty where it
    comes from none.
    """
    for name, layer in reversed(layers):
        value: Any = layer
        for each in key.split("."):
            value = value.get(each) if isinstance(value, Mapping) else None
        if value is not None:
            return f"{name}: " if name.endswith(".toml") else ""
    return ""


def assign(text: str) -> dict[str, Any]:
    """One `--set key=value` as nested dictionaries; the value is read as TOML, or as a string where
    it is none.

    Raises InputError.
    """
    key, equals, value = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        raise InputError(f"--set {text}: must be key=value, such as search.seed=1")
    try:
        out: Any = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        out = value.strip()
    for each in reversed(keys):
        out = {each: out}
    return dict(out)


def _group(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    group = values.get(name, {})
    return dict(group) if isinstance(group, Mapping) else {}


def _check_groups(layer: Mapping[str, Any], where: str) -> None:
    for name in (*PARTS, "search", "archive"):
        if name in layer and not isinstance(layer[name], Mapping):
            raise InputError(
                f"{where}: {name}: {layer[name]!r}: must be a table, such as "
                f"{name}.{'name' if name in PARTS else 'seed'} = ..."
            )


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = _merge(out[key], value) if both else value
    return out
