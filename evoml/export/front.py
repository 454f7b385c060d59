"""The Pareto front of a run, drawn: every candidate that was evaluated, and those that none is
better than in all objectives at once. With more than two objectives, the first over each other.
"""

from pathlib import Path
from typing import Any

import numpy as np

from evoml.archive.ranking import non_dominated
from evoml.contracts.objective import Objective
from evoml.core.errors import InputError
from evoml.export._layered_drawing import printable
from evoml.export._matplotlib import DARK, GREY, MARKED, document, figure
from evoml.export._target import RunTarget
from evoml.search.problem import Problem

WIDE = 30.0  # largest over smallest: from there on a scale is logarithmic
NAMED = 12  # candidates of a front that are numbered


class Front(RunTarget):
    """The Pareto front of a run of several objectives, drawn."""

    def picture(self, run: Path, problem: Problem) -> str:
        objectives = problem.objectives
        if len(objectives) < 2 or not problem.every_row:
            raise InputError(
                f"export: --to front needs a run of several objectives; {run} is judged by "
                f"{problem.objective} alone"
            )
        table, _ = problem.archive(run).table(["id", "key", "status", *problem.names])
        # a candidate that was met again is one
        _, once = np.unique(np.array(table["key"].to_pylist()), return_index=True)
        table = table.take(np.sort(once))
        values = np.stack([table[name].to_numpy() for name in problem.names], 1)
        evaluated = np.array(table["status"].to_pylist()) == "ok"
        evaluated &= np.isfinite(values).all(1)
        if not evaluated.any():
            raise InputError(f"{run}: no candidate could be evaluated, so there is no front")
        front = non_dominated(values * problem.weights, evaluated)
        ids = table["id"].to_numpy()
        many = f"{front.sum()} of {evaluated.sum()} candidates are on the Pareto front"
        title = f"{printable(str(run))}: {many}"
        picture, panels = figure(5.2 * (len(objectives) - 1) + 0.6, 4.6, len(objectives) - 1)
        for panel, other in zip(panels, range(1, len(objectives)), strict=True):
            at = values[:, [other, 0]]
            _draw(panel, at, evaluated, front, ids, (objectives[other], objectives[0]))
        panels[0].legend(loc="best", frameon=False, fontsize=8)
        picture.suptitle(title, fontsize=10)
        return document(picture, title)


def _draw(
    panel: Any,
    at: np.ndarray,
    evaluated: np.ndarray,
    front: np.ndarray,
    ids: np.ndarray,
    axes: tuple[Objective, Objective],
) -> None:
    """One objective over another. at: [n, 2]."""
    from matplotlib.ticker import StrMethodFormatter

    behind = evaluated & ~front
    panel.scatter(*at[behind].T, s=14, color=GREY, alpha=0.6, linewidths=0, label="other")
    order = np.flatnonzero(front)[np.argsort(at[front, 0], kind="stable")]
    # the corner between two neighbours is what neither reaches
    pair = non_dominated(at * [each.weight for each in axes], evaluated)
    edge = [index for index in order if pair[index]]
    where = "post" if axes[0].weight < 0 else "pre"
    panel.step(*at[edge].T, where=where, color=DARK, linewidth=1.0)
    panel.scatter(*at[order].T, s=30, color=MARKED, marker="D", label="front", zorder=3)
    places: dict[tuple[float, float], list[str]] = {}
    for index in order[np.linspace(0, len(order) - 1, min(NAMED, len(order))).astype(int)]:
        places.setdefault((float(at[index, 0]), float(at[index, 1])), []).append(str(ids[index]))
    for place, names in places.items():
        panel.annotate(", ".join(names), place, (5, -9), textcoords="offset points", fontsize=7)
    for each, scale, name, column in (
        (axes[0], panel.set_xscale, panel.set_xlabel, 0),
        (axes[1], panel.set_yscale, panel.set_ylabel, 1),
    ):
        shown = at[evaluated, column]
        if shown.min() > 0 and shown.max() / shown.min() > WIDE:
            scale("log")
        unit = f" ({each.unit})" if each.unit and each.unit != each.name else ""
        better = "larger" if each.weight > 0 else "smaller"
        name(f"{each.name.replace('_', ' ')}{unit}; {better} is better", fontsize=9)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    panel.tick_params(labelsize=8)
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
