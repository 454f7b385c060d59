"""Parts by name: the one class that a part's module defines, and its settings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from evoml.core import registry
from evoml.core.errors import InputError
from evoml.core.settings import Settings

if TYPE_CHECKING:
    from evoml.contracts.evaluator import Evaluator
    from evoml.contracts.space import Space
    from evoml.contracts.strategy import Strategy
    from evoml.contracts.task import Task


class Part:
    """What is chosen by its name: a space, a strategy, an evaluator, a task."""

    # as in a configuration: the module's last word, or what its entry point is called
    name: ClassVar[str] = ""
    # settings that differ from the defaults where `evoml.testing` tries this part: small ones, and
    # those that are required; None: it cannot be made without files or what is not installed
    example: ClassVar[Mapping[str, Any] | None] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = cls.__module__.rpartition(".")[2]


P = TypeVar("P", bound=Part)


def only_class(axis: str, name: str, contract: type[P]) -> type[P]:
    """The one public subclass of a contract that a part's module defines. Raises InputError."""
    module = registry.load(axis, name)
    if (chosen := registry.chosen_class(axis, name)) is not None:
        found = [chosen] if isinstance(chosen, type) and issubclass(chosen, contract) else []
    else:
        found = [
            each for each in vars(module).values() if isinstance(each, type) and issubclass(
                each, contract,
            ) and each.__module__ == module.__name__ and not each.__name__.startswith("_")
        ]  # fmt: skip
    if len(found) != 1:
        several = f"{len(found)} public subclasses" if found else "no public subclass"
        raise InputError(
            f"{axis}: {registry.described(axis, name)}: has {several} of "
            f"evoml.contracts.{contract.__name__}; there must be one"
        )
    if name in registry.installed(axis):
        found[0].name = name
    return found[0]


def space_class(name: str) -> "type[Space]":
    """The class of a space by its name. Raises InputError, as the others do."""
    from evoml.contracts.space import Space

    return only_class("spaces", name, Space)


def strategy_class(name: str) -> "type[Strategy]":
    """The class of a strategy by its name."""
    from evoml.contracts.strategy import Strategy

    return only_class("strategies", name, Strategy)


def evaluator_class(name: str) -> "type[Evaluator]":
    """The class of an evaluator by its name."""
    from evoml.contracts.evaluator import Evaluator

    return only_class("evaluators", name, Evaluator)


def task_class(name: str) -> "type[Task]":
    """The class of a task by its name."""
    from evoml.contracts.task import Task

    return only_class("tasks", name, Task)


def part_class(axis: str, name: str) -> type[Part]:
    """The class of a part of any of these axes."""
    doors = {
        "spaces": space_class,
        "strategies": strategy_class,
        "evaluators": evaluator_class,
        "tasks": task_class,
    }
    return doors[axis](name)


def settings_class(axis: str, name: str) -> type[Settings]:
    """The settings of a part.

    Raises InputError where its module has none, or others than its axis needs.
    """
    from evoml.contracts.strategy import StrategySettings

    needed = StrategySettings if axis == "strategies" else Settings
    registry.chosen_class(axis, name)  # which is to be there
    found = vars(registry.load(axis, name)).get("Settings")
    if not (isinstance(found, type) and issubclass(found, needed)):
        where = (
            "evoml.contracts.StrategySettings"
            if axis == "strategies"
            else "evoml.core.settings.Settings"
        )
        raise InputError(
            f"{axis}: {registry.described(axis, name)}: has no class Settings, a subclass of "
            f"{where}"
        )
    return found
