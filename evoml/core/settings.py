"""The base of every group of settings: unknown keys, wrong types and impossible values are refused
with the key's path.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from evoml.core.errors import InputError

# json_schema_extra of a setting that names a file: a run keeps its whole path and goes on only with
# the same content
FILE: dict[str, Any] = {"file": True}
# key in json_schema_extra of a setting that was added later, whose default is not what happened
# before: what a run had that does not name it
UNNAMED = "unnamed"
SHOWN = 10  # settings that a message names; of more, those that are like what was given


class Settings(BaseModel):
    """A frozen group of settings.

    Subclass it in the module of a part (a space, a strategy, a task ...) under the name `Settings`.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        ser_json_inf_nan="constants",  # else what is inside a dictionary would become none
    )

    # what settings were called before -> what they are called now
    aliases: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _take_old_names(cls, values: Any) -> Any:
        """Take over what is given under a name that a setting had before."""
        return with_new_names(values, cls.aliases) if isinstance(values, dict) else values

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Neither true nor a quoted number passes for a number, nor a word or a number for true.

        `none` is none, which TOML has no other word for.
        """
        kind = cls.model_fields[str(info.field_name)].annotation
        if value == "none" and NoneType in get_args(kind):
            return None
        if kind in (int, float) and isinstance(value, (bool, str)):
            raise ValueError("must be a number")
        if kind is bool and not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    def named_files(self) -> dict[str, Path]:
        """What the settings that name a file (`FILE`) are set to, those that are."""
        marked = [
            name
            for name, field in type(self).model_fields.items()
            if isinstance(extra := field.json_schema_extra, dict) and "file" in extra
        ]
        return {name: Path(value) for name in marked if (value := getattr(self, name))}

    @classmethod
    def as_stored(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that a run names, and beside them those marked `UNNAMED` as it had them."""
        out = dict(values)
        named = {cls.aliases.get(key, key) for key in values}
        for name, field in cls.model_fields.items():
            kind, extra = field.annotation, field.json_schema_extra
            if name not in named and isinstance(extra, dict) and UNNAMED in extra:
                out[name] = extra[UNNAMED]
            elif isinstance(kind, type) and issubclass(kind, Settings):
                group = out.get(name, {})
                if isinstance(group, Mapping) and (stored := kind.as_stored(group)):
                    out[name] = stored
        return out

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate `values`; raise InputError in one line, such as `search.toml:
        strategy.tournament: 0 is not ...`.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InputError(_one_line(error, where, sorted(cls.model_fields))) from None


def with_new_names(values: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Settings by the names that they have now.

    Raises ValueError where one is given by both of its names.
    """
    for old, new in aliases.items():
        if old in values and new in values:
            raise ValueError(f"{old}: is called {new} now, which is given too; leave {old} out")
    return {aliases.get(key, key): value for key, value in values.items()}


def _one_line(error: ValidationError, where: str, known: list[str]) -> str:
    """The first problem pydantic found, in the form `where.key: what`."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    path = f"{where}.{key}" if key and where and not where.endswith(": ") else f"{where}{key}"
    if first["type"] == "extra_forbidden":
        return f"{path}: no such setting" + (
            f"; {_hint(key, known)}" if len(first["loc"]) == 1 else ""
        )
    message = (
        first["msg"].removeprefix("Value error, ").replace("valid tuple", "list, such as [1, 2]")
    )
    if first["type"] == "too_short":
        message = (
            f"must have at least {first['ctx']['min_length']} "
            f"item{'s' * (first['ctx']['min_length'] != 1)}"
        )
    given = first.get("input")
    # of settings that do not go together, with the key of one
    if isinstance(given, dict) and path and re.match(r"[a-z_]+: ", message):
        return f"{path}.{message}"
    shown = f"{given!r}: " if first["type"] != "missing" and not isinstance(given, dict) else ""
    return f"{path}: {shown}{message[:1].lower()}{message[1:]}"


def _hint(key: str, known: list[str]) -> str:
    """Which setting was meant, or some of those that there are."""
    if len(known) > SHOWN and (near := get_close_matches(key, known, n=3)):
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known[:SHOWN])}" + (
        f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    )
