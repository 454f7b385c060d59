"""The base of every group of settings: unknown keys, wrong types and impossible values are refused with the key's path."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from evoml.errors import InputError


class Settings(BaseModel):
    """A frozen group of settings. Subclass it in the module of a part (a space, a strategy, a task ...) under the name `Settings`."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Neither true nor a quoted number passes for a number."""
        if cls.model_fields[str(info.field_name)].annotation in (int, float) and isinstance(value, (bool, str)):
            raise ValueError("must be a number")
        return value

    @classmethod
    def read(cls, values: Mapping[str, Any], where: str) -> Self:
        """Validate `values`; raise InputError in one line, such as `search.toml: strategy.tournament: 0 is not ...`."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InputError(_one_line(error, where, sorted(cls.model_fields))) from None


def _one_line(error: ValidationError, where: str, known: list[str]) -> str:
    """The first problem pydantic found, in the form `where.key: what`."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    path = f"{where}.{key}" if key and where and not where.endswith(": ") else f"{where}{key}"
    if first["type"] == "extra_forbidden":
        return f"{path}: no such setting; there are {', '.join(known)}" if len(first["loc"]) == 1 else f"{path}: no such setting"
    message = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list, such as [1, 2]")
    given = first.get("input")
    shown = f"{given!r}: " if first["type"] != "missing" and not isinstance(given, dict) else ""
    return f"{path}: {shown}{message[:1].lower()}{message[1:]}"
