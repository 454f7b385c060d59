"""What a candidate is judged by: a number with a direction, a unit, and how it came about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from evoml.core.errors import InputError

Kind = Literal["measured", "shared", "predicted", "looked up"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Objective:
    """One objective.

    name: as in archives, on the command line and in reports.
    larger: whether a larger number is better.
    unit: such as `s` or `multiply-adds`; empty for shares and pure numbers.
    kind: `measured` where the candidate itself was run or trained, `shared` where weights that it
        shares with others were, `predicted` where a model guessed, `looked up` in a table.
    """

    name: str
    larger: bool
    unit: str = ""
    kind: Kind = "measured"

    @property
    def weight(self) -> float:
        """DEAP's: 1 where larger is better, else -1."""
        return 1.0 if self.larger else -1.0

    @property
    def worst(self) -> float:
        """What a candidate that could not be evaluated gets, where shares are: 0, or infinity."""
        return 0.0 if self.larger else float("inf")

    def __str__(self) -> str:
        """As warnings and errors say it: `f1 (larger is better, measured)`."""
        unit = f"in {self.unit}, " if self.unit else ""
        return (
            f"{self.name} ({unit}{'larger' if self.larger else 'smaller'} is better, {self.kind})"
        )

    def plain(self) -> dict[str, str | bool]:
        """As Parquet's metadata and JSON hold it."""
        return {"name": self.name, "larger": self.larger, "unit": self.unit, "kind": self.kind}

    @classmethod
    def from_plain(cls, values: object, where: str) -> "Objective":
        """The inverse of `plain`. Raises InputError naming `where`."""
        if isinstance(values, dict) and set(values) == {"name", "larger", "unit", "kind"}:
            name, larger, unit, kind = (values[key] for key in ("name", "larger", "unit", "kind"))
            if (
                isinstance(name, str)
                and isinstance(unit, str)
                and (name + unit).isprintable()
                and isinstance(larger, bool)
                and kind in KINDS
            ):
                return cls(name, larger, unit, kind)
        raise InputError(f"{where}: {repr(values)[:80]}: not an objective")


ACCURACY = Objective("accuracy", True)
LOSS = Objective("loss", False, "nats")
PARAMETERS = Objective("parameters", False, "parameters")
MULTIPLY_ADDS = Objective("multiply_adds", False, "multiply-adds")
LATENCY = Objective("latency", False, "s")
PREDICTED_LATENCY = Objective("predicted_latency", False, "s", "predicted")


def listed(objectives: Sequence[Objective]) -> str:
    """Objectives as warnings and errors say them."""
    return ", ".join(map(str, objectives)) or "none"


def chosen(names: tuple[str, ...], known: tuple[Objective, ...]) -> tuple[Objective, ...]:
    """The objectives of these names, in this order. Raises InputError for one that is not known."""
    by_name = {each.name: each for each in known}
    if missing := [name for name in names if name not in by_name]:
        raise InputError(f"objectives: {missing[0]}: there are {', '.join(by_name)}")
    return tuple(by_name[name] for name in names)


def judged(
    names: tuple[str, ...], known: tuple[Objective, ...], metric: Objective
) -> tuple[Objective, ...]:
    """The same where `accuracy` stands for the metric of what is learnt."""
    return tuple(metric if each.name == ACCURACY.name else each for each in chosen(names, known))


def checked_objectives(given: object, where: str) -> tuple[Objective, ...]:
    """What an evaluator says it judges by, if it is that. Raises InputError naming `where`."""
    if isinstance(given, (tuple, list)) and given and all(
        isinstance(each, Objective) for each in given
    ) and len({each.name for each in given}) == len(given):  # fmt: skip
        return tuple(given)
    raise InputError(
        f"{where}: objectives: {str(given)[:80]}: must be different evoml.contracts.Objective, "
        'which say whether larger is better, such as (Objective("f1", larger=True),)'
    )
