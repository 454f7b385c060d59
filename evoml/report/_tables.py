"""Candidates and their objectives in tables and lines, each number as its objective is read."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from rich.console import Console
from rich.table import Table

from evoml.contracts.objective import Objective
from evoml.genotypes.population import Individual
from evoml.search import audit

# of scores whose names do not say it
TITLES = {"right": "share of cases right", "r2": "R²", "rmse": "RMSE"}


def title(score: str) -> str:
    """What a score is called."""
    return TITLES.get(score, score.replace("_", " "))


def shown(value: float, unit: str = "") -> str:
    """A value: what is counted in a unit as a whole number, a small part of a unit in three digits,
    all else to four places.
    """
    if not isfinite(value):
        return "-"
    if unit and float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}" if unit and abs(value) < 0.01 else f"{value:.4f}"


def headed(objective: Objective) -> str:
    """An objective above a column of its values: with its unit where the name does not say it."""
    unit = objective.unit
    said = not unit or unit.replace("-", "_") == objective.name
    return objective.name if said else f"{objective.name} ({unit})"


def listed(objectives: Iterable[Objective], values: Mapping[str, float]) -> str:
    """Objectives and their values in a line."""
    return ", ".join(
        f"{each.name} {shown(values[each.name], each.unit)}"
        + (f" {each.unit}" if headed(each) != each.name and isfinite(values[each.name]) else "")
        for each in objectives
    )


def plain_table(*columns: str, left: int = 1) -> Table:
    """A table without lines, whose first `left` columns are words and whose others are numbers."""
    table = Table(box=None, pad_edge=False)
    for index, title in enumerate(columns):
        table.add_column(title, justify="left" if index < left else "right")
    return table


def front_table(front: Iterable[Individual], objectives: tuple[Objective, ...]) -> Table:
    """The candidates that none is better than in everything, best first by the first objective."""
    table = plain_table("candidate", *map(headed, objectives))
    for each in sorted(front, key=lambda each: each.fitness.wvalues, reverse=True):
        values = zip(each.fitness.values, objectives, strict=True)
        table.add_row(str(each.id), *(shown(value, one.unit) for value, one in values))
    return table


def print_best(
    out: Console,
    rows: list[dict[str, Any]],
    objectives: tuple[Objective, ...],
    count: int,
    shared: bool = False,
) -> None:
    """The first `count` rows; of several objectives, the Pareto front under its heading. One row
    more says whether the front has more.

    shared: candidates are scored with shared weights, and those that were selected were trained
    alone.
    """
    evaluated = sum(row["status"] == "ok" for row in rows)
    on_front = evaluated if len(objectives) == 1 else sum(row.get("front", False) for row in rows)
    rows = rows[:count]
    if not rows:
        out.print("no candidate has been archived yet")
        return
    if not evaluated:
        out.print("no candidate could be evaluated:")
    elif on_front and len(objectives) > 1:
        more = f"; its first {count}, --best shows more" if on_front > count else ""
        names = ", ".join(each.name for each in objectives)
        out.print(f"the Pareto front: none is better in {names} at once{more}", soft_wrap=True)
        out.print(best_table(rows[:on_front], objectives, shared))
        if len(rows) <= on_front:
            return
        out.print("\nbehind the front:")
        rows = rows[on_front:]
    out.print(best_table(rows, objectives, shared))


def best_table(
    rows: list[dict[str, Any]], objectives: tuple[Objective, ...], shared: bool = False
) -> Table:
    """Candidates with all their objectives."""
    table = plain_table("candidate", "key", *map(headed, objectives), "seconds", left=2)
    for title in ("status", "weights")[: 1 + shared]:
        table.add_column(title)
    for row in rows:
        weights = [("alone" if row["event"] == "selected" else "shared")] if shared else []
        table.add_row(
            str(row["id"]),
            row["key"],
            *(shown(row["objectives"][each.name], each.unit) for each in objectives),
            f"{row['seconds'] or 0.0:.1f}",
            row["status"].replace("_", " "),
            *weights,
        )
    return table


def print_audit(out: Console, result: Mapping[str, Any] | None) -> None:
    """What shared weights turned out to be worth, where a search used them."""
    found = None if result is None else result.get("trust")
    if found:
        out.print()
        for line in audit.lines(found):
            out.print(line, soft_wrap=True, highlight=False)


def failures(counts: Mapping[str, int]) -> str:
    """How the candidates ended that could not be evaluated: "2 diverged, 1 timed out"."""
    return ", ".join(
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in counts.items()
        if name not in ("candidates", "ok")
    )
