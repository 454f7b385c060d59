"""What shared weights are worth, drawn: of every architecture that was trained alone, its accuracy
then over that with shared weights (Bender et al. 2018, figure 3, and Yu et al. 2020).

Dots are the random architectures behind Kendall's and Spearman's correlation, diamonds those that
the search found best by shared weights, which were chosen and are no part of it.
"""

from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from evoml.core.errors import InputError
from evoml.export._events import events
from evoml.export._layered_drawing import MARGIN, printable
from evoml.export._plots import page, roomy, ticks, words
from evoml.export._target import RunTarget
from evoml.search.audit import lines
from evoml.search.problem import Problem

SIDE, AXIS, BELOW = 420.0, 70.0, 56.0  # of the plot, and of the numbers at its left and below it
RANDOM, BEST = "#1f4e9c", "#e0201b"
MOST = 1e9  # of a score that can be drawn
LINE = 64  # characters of what is said below


class Correlation(RunTarget):
    """What shared weights were worth, drawn."""

    def picture(self, run: Path, problem: Problem) -> str:
        return svg(run, problem, str(run))


@dataclass(frozen=True)
class Dot:
    """An architecture."""

    name: str
    shared: float
    stand_alone: float
    best: bool = False


def svg(folder: Path, problem: Problem, title: str) -> str:
    """The check behind a search as an SVG picture. Raises InputError for a run without any."""
    found = [*events(folder, "trust", _read)]
    if not found:
        raise InputError(
            f"{folder}: there is no check of shared weights; it stands behind finished runs of "
            "darts, snas, proxylessnas and one-shot"
        )
    report, dots = found[-1]
    return picture([*dots, *_best(problem, folder)], report, title, problem.stand_alone.objective)


def _read(event: dict[str, Any]) -> tuple[dict[str, Any], list[Dot]]:
    """A report and its random architectures, without those that failed."""
    dots = [
        Dot(str(each["key"]), float(each["shared"]), float(each["alone"]))
        for each in event["random"]
        if each["shared"] is not None and each["alone"] is not None
    ]
    # no NaN either
    if not all(abs(dot.shared) < MOST and abs(dot.stand_alone) < MOST for dot in dots):
        raise ValueError("not the scores of architectures")
    lines(event)  # raises where something is missing
    return event, dots


def _best(problem: Problem, folder: Path) -> list[Dot]:
    """Candidates that are archived with both scores."""
    if problem.stand_alone is problem:
        return []
    name = problem.objective
    table, _ = problem.archive(folder).table(["id", "key", "event", "status", name])
    rows = [row for row in table.to_pylist() if row["status"] == "ok" and abs(row[name]) < MOST]
    shared = {row["id"]: row[name] for row in rows if row["event"] == "candidate"}
    return [
        Dot(f"candidate {row['id']}", shared[row["id"]], row[name], True)
        for row in rows
        if row["event"] == "selected" and row["id"] in shared
    ]


def picture(dots: list[Dot], report: dict[str, Any], title: str, objective: str) -> str:
    """Architectures with both scores, in a square, and what the check says in words."""
    if not dots:
        raise InputError(
            "the check has no architecture with a score with shared weights and one when trained "
            "alone, so there is nothing to draw"
        )
    left, top = MARGIN + AXIS, MARGIN + 30.0
    across, up = (
        roomy(np.array(values))
        for values in ([dot.shared for dot in dots], [dot.stand_alone for dot in dots])
    )

    def x_of(value: float) -> float:
        return left + SIDE * (value - across[0]) / (across[1] - across[0])

    def y_of(value: float) -> float:
        return top + SIDE * (1 - (value - up[0]) / (up[1] - up[0]))

    out = [words(printable(title), MARGIN, MARGIN + 12, "title", size=14, most=AXIS + SIDE)]
    out.append(
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{SIDE:.1f}" height="{SIDE:.1f}" '
        'fill="none" stroke="black"/>'
    )
    for value, text in ticks(*across, 6):
        x = x_of(value)
        out += [
            f'<path d="M{x:.1f},{top + SIDE:.1f} v5" stroke="black"/>',
            words(text, x, top + SIDE + 18, "number", "middle"),
        ]
    for value, text in ticks(*up, 8):
        y = y_of(value)
        out += [
            f'<path d="M{left:.1f},{y:.1f} h-5" stroke="black"/>',
            words(text, left - 8, y + 4, "number", "end"),
        ]
    out.append(
        words(
            f"{objective} with shared weights", left + SIDE / 2, top + SIDE + 40, "axis", "middle"
        )
    )
    middle = top + SIDE / 2
    out.append(
        f'<g transform="rotate(-90 {MARGIN + 10:.1f} '
        f'{middle:.1f})">{words(f"{objective} trained alone", MARGIN + 10, middle, "axis", "middle")}</g>'  # noqa: E501
    )
    for dot in sorted(dots, key=lambda dot: dot.best):
        out.append(_mark(dot, x_of(dot.shared), y_of(dot.stand_alone)))
    y = top + SIDE + BELOW + 8
    for best, text in ((False, "random"), (True, "best by shared weights")):
        if any(dot.best == best for dot in dots):
            out += [
                _mark(Dot(text, 0, 0, best), left + 8, y - 4, False),
                words(text, left + 22, y, "legend"),
            ]
            y += 18
    for line in [part for said in lines(report) for part in wrap(said, LINE)]:
        y += 18
        out.append(words(printable(line), MARGIN, y, "said", most=AXIS + SIDE))
    return page(printable(title), AXIS + SIDE + 2 * MARGIN, y + MARGIN, out)


def _mark(dot: Dot, x: float, y: float, named: bool = True) -> str:
    about = (
        f"<title>{escape(f'{printable(dot.name)}: {dot.shared:.4f} with shared weights, {dot.stand_alone:.4f} alone')}</title>"  # noqa: E501
        if named
        else ""
    )
    if dot.best:
        return (
            f'<path class="best" d="M{x:.1f},{y - 6:.1f} l6,6 l-6,6 l-6,-6 z" fill="{BEST}" '
            f'stroke="black" stroke-width="0.6">{about}</path>'
        )
    return (
        f'<circle class="random" cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{RANDOM}" '
        f'fill-opacity="0.75">{about}</circle>'
    )
