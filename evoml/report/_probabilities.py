"""What the commands say of a search by gradient: how far it is, and how likely it takes every
option to be.
"""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from evoml.contracts.part import strategy_class
from evoml.export.probabilities import choices, epochs, means, shown
from evoml.search.problem import Problem


def described(problem: Problem, run: Path) -> dict[str, Any]:
    """The last epoch of a run's search (`export.probabilities.shown` says which) as plain values,
    under `probabilities`; empty where there is none.

    Raises InputError.
    """
    if not strategy_class(problem.config.name("strategy")).has_probabilities:
        return {}
    groups = choices(problem)
    found = epochs(run, groups, shown(problem, run))
    if not found:
        return {}
    last = found[-1]
    options = {
        group.name: dict(zip(group.options, row))
        for group, row in zip(groups, last.probabilities.tolist(), strict=True)
    }
    about = {
        "search": last.search,
        "epoch": last.number,
        "epochs": last.of,
        "loss": last.loss,
        "accuracy": last.accuracy,
    }
    return {
        "probabilities": about | {"means": means(groups, last.probabilities), "groups": options}
    }


def print_means(out: Console, now: dict[str, Any]) -> None:
    """What `described` gave: a line, and a row an option with its mean in every kind of cell."""
    if not now:
        return
    about, cells = now["probabilities"], now["probabilities"]["means"]
    where = f"search {about['search']}, epoch {about['epoch']} of {about['epochs']}"
    trained = f"the supernet's loss {about['loss']:.4f}, accuracy {about['accuracy']:.4f}"
    out.print(
        f"\n{where}: {trained}; mean probability of every option", highlight=False, soft_wrap=True
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("option")
    for cell in cells:
        table.add_column(cell or "all choices", justify="right")
    for name in dict.fromkeys(name for options in cells.values() for name in options):
        table.add_row(
            name,
            *(f"{options[name]:.4f}" if name in options else "-" for options in cells.values()),
        )
    out.print(table)
