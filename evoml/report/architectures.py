"""What the commands say of architectures: the best of a search, and the winner's test beside
baselines.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from shlex import quote
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evoml.core.wording import plural
from evoml.genotypes.population import Individual
from evoml.report import console
from evoml.report.progress import failures
from evoml.search import audit
from evoml.search.problem import Problem
from evoml.search.run import Result


def print_result(problem: Problem, result: Result) -> None:
    """The end of a search, and what to do next."""
    out = console()
    failed, folder = failures(result.counts), quote(str(result.run))
    check = (
        f"; the check took {result.check_seconds:.1f} s more" if result.audit is not None else ""
    )
    rate = (
        f"{plural(result.evaluations, 'candidate')} in {result.seconds:.1f} s, ended by "
        f"{result.reason}{check}" + (f"; {failed}" if failed else "")
    )
    if result.best is None:
        why = (
            "no candidate could be evaluated"
            if result.evaluations
            else f"there is no candidate yet; go on with: evoml resume {folder} --seconds 0"
        )
        out.print(f"{why}; {rate}\nrun: {result.run}", soft_wrap=True)
        return
    scores = ", ".join(
        f"{name} {shown(name, value)}" for name, value in result.best["objectives"].items()
    )
    stand_alone = (
        result.audit["found"]
        if result.audit is not None and problem.stand_alone is not problem
        else None
    )
    where = (
        "in search"
        if stand_alone is None
        else f"with shared weights, {problem.stand_alone.objective} "
        f"{shown(problem.stand_alone.objective, stand_alone)} trained alone"
    )
    out.print(
        f"\nThe best architecture (candidate {result.best['id']}): {scores} {where}\n",
        soft_wrap=True,
    )
    print(result.best["text"].rstrip())
    if len(problem.objectives) > 1:
        out.print(f"\nthe Pareto front, {plural(len(result.hall_of_fame), 'candidate')}:")
        out.print(front_table(result.hall_of_fame, problem.names))
    if result.test is not None:
        out.print("\nwhat the table reports of it: " + tested(result.test))
    print_audit(out, {"trust": result.audit})
    out.print(f"\n{rate}\nrun: {result.run}", soft_wrap=True)
    if problem.trains:
        out.print(
            f"train it at full size and test it: evoml evaluate {folder} --preset final\nthe "
            f"network itself: evoml export {folder} --to torch -o network",
            soft_wrap=True,
        )


def print_audit(out: Console, result: Mapping[str, Any] | None) -> None:
    """What shared weights turned out to be worth, where a search used them."""
    found = None if result is None else result.get("trust")
    if found:
        out.print()
        for line in audit.lines(found):
            out.print(line, soft_wrap=True, highlight=False)


def tested(scores: dict[str, Any]) -> str:
    """What a table reports of a candidate after its full training."""
    return ", ".join(
        f"test {name} {shown(name, value)}"
        for name, value in scores.items()
        if isinstance(value, float)
    )


def shown(objective: str, value: float) -> str:
    """A value as its objective is read."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if objective in ("parameters", "multiply_adds") else f"{value:.4f}"


def front_table(front: Iterable[Individual], objectives: tuple[str, ...]) -> Table:
    """The candidates that none is better than in everything, best first by the first objective."""
    table = Table(box=None, pad_edge=False)
    table.add_column("candidate")
    for name in objectives:
        table.add_column(name, justify="right")
    for each in sorted(front, key=lambda each: each.fitness.wvalues, reverse=True):
        table.add_row(
            str(each.id),
            *(
                shown(name, value)
                for name, value in zip(objectives, each.fitness.values, strict=True)
            ),
        )
    return table


def print_best(
    out: Console,
    rows: list[dict[str, Any]],
    objectives: tuple[str, ...],
    count: int,
    shared: bool = False,
) -> None:
    """The first `count` rows; of several objectives, the Pareto front under its heading. One row
    more says whether the front has more.

    shared: candidates are scored with shared weights, and those that were selected were trained
    alone.
    """
    on_front = sum(row["status"] == "ok" if len(objectives) == 1 else row["front"] for row in rows)
    rows = rows[:count]
    if not rows:
        out.print("no candidate has been archived yet")
        return
    if not on_front:
        out.print("no candidate could be evaluated:")
    elif len(objectives) > 1:
        more = f"; its first {count}, --best shows more" if on_front > count else ""
        out.print(
            f"the Pareto front: none is better in {', '.join(objectives)} at once{more}",
            soft_wrap=True,
        )
        out.print(best_table(rows[:on_front], objectives, shared))
        if len(rows) <= on_front:
            return
        out.print("\nbehind the front:")
        rows = rows[on_front:]
    out.print(best_table(rows, objectives, shared))


def best_table(
    rows: list[dict[str, Any]], objectives: tuple[str, ...], shared: bool = False
) -> Table:
    """Candidates with all their objectives."""
    table = Table(box=None, pad_edge=False)
    for title in ("candidate", "key"):
        table.add_column(title)
    for title in (*objectives, "seconds"):
        table.add_column(title, justify="right")
    table.add_column("status")
    if shared:
        table.add_column("weights")
    for row in rows:
        values = [shown(name, row["objectives"][name]) for name in objectives]
        weights = [("alone" if row["event"] == "selected" else "shared")] if shared else []
        table.add_row(
            str(row["id"]),
            row["key"],
            *values,
            f"{row['seconds'] or 0.0:.1f}",
            row["status"].replace("_", " "),
            *weights,
        )
    return table


def print_scores(
    out: Console, problem: Problem, name: str, scores: dict[str, float], baselines: dict[str, float]
) -> None:
    """The winner's test accuracy beside baselines."""
    data = problem.test_tasks
    out.print(
        f"\ntest accuracy on {len(data.valid_y):,} images that the search never saw "
        f"({problem.config.name('task')})"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("method")
    for title in ("accuracy", "parameters", "multiply-adds"):
        table.add_column(title, justify="right")
    table.add_row(
        Text(name, "bold"),
        Text(shown("accuracy", scores["test_accuracy"]), "bold"),
        shown("parameters", scores["parameters"]),
        shown("multiply_adds", scores["multiply_adds"]),
    )
    if "inherited_accuracy" in scores:
        table.add_row(
            "the shared weights that it started from",
            shown("accuracy", scores["inherited_accuracy"]),
        )
    for title, value in baselines.items():
        table.add_row(title, shown("accuracy", value))
    out.print(table)


def training_line(problem: Problem) -> str:
    """What a final training is done with, in a line."""
    data, skeleton = problem.test_tasks, getattr(problem.config.part("space"), "skeleton", None)
    named = ("cells", "filters", "reductions", "width")
    size = ", ".join(
        f"{name} {value}"
        for name, value in (skeleton.model_dump() if skeleton else {}).items()
        if name in named
    )
    images = (
        f"{len(data.train_y):,} training and validation images of {data.size[1]} x {data.size[2]}"
    )
    return (
        f"training for {plural(problem.config.part('evaluator').epochs, 'epoch')} on {images}; "
        f"{size}"
    )


def epochs(err: Console, quiet: bool = False) -> Callable[[int, float], bool]:
    """Says how a long training goes, at most every ten seconds; to be called after every epoch with
    its number and accuracy.

    Always goes on.
    """
    spoke = time.monotonic()

    def after(epoch: int, accuracy: float) -> bool:
        nonlocal spoke
        if not quiet and time.monotonic() - spoke > 10:
            spoke = time.monotonic()
            err.print(f"  epoch {epoch + 1}: test accuracy {accuracy:.4f}")
        return True

    return after
