"""The ancestors of a candidate, drawn: all candidates of a run by when they were made and what they
scored, and through them the line that led to this one, with what every step changed.
"""

from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from evoml.archive.lineage import lineage
from evoml.core.errors import InputError
from evoml.export._layered_drawing import printable
from evoml.export._matplotlib import DARK, GREY, MARKED, document, figure
from evoml.export._target import RunTarget
from evoml.search.opened import Opened
from evoml.search.problem import Problem

KEPT = "no row of it is kept: a search with --set archive.keep=all has all of them"
FIRST = "of the first population"
MOST_DOTS = 20_000  # candidates that are drawn; of more a sample
WIDE = 112  # characters of a line
TALL = 3  # lines of a step
LINES = 14  # steps that are described below the picture: the largest gains


@dataclass(frozen=True)
class Step:
    """One of a line of ancestors."""

    id: int
    parents: tuple[int, ...]
    score: float | None  # the first objective, in search; None where it is not known
    gain: float | None  # over its first parent, larger is better
    changes: tuple[str, ...]  # what it has that its first parent has not


class Lineage(RunTarget):
    """The ancestors of the best candidate, or of --candidate, and what each changed, drawn."""

    def picture(self, run: Path, problem: Problem) -> str:
        return self.picture_of(run, problem, None)

    def picture_of(self, run: Path, problem: Problem, candidate: int | None) -> str:
        if candidate is None:
            best, _ = problem.archive(run).best(1)
            if not best:
                raise InputError(f"{run}: no candidate has been archived yet")
            candidate = int(best[0]["id"])
        steps, broken = steps_of(problem, run, candidate)
        return _drawn(run, problem, candidate, steps, broken)


def line_of(opened: Opened) -> tuple[list[Step], int | None]:
    """The line of a candidate of a run, the oldest first, and the id before it that is not kept."""
    assert opened.problem is not None
    candidate = opened.candidate
    if candidate is None:
        candidate = int(opened.problem.archive(opened.path).best(1)[0][0]["id"])
    return steps_of(opened.problem, opened.path, candidate)


def steps_of(problem: Problem, run: Path, candidate: int) -> tuple[list[Step], int | None]:
    """The same of a run's candidate. Raises InputError."""
    line, broken = lineage(problem.archive(run), candidate)
    weight = problem.objectives[0].weight
    steps: list[Step] = []
    for place, each in enumerate(line):
        before = line[place - 1] if place else None
        known = each.status in ("ok", "") and np.isfinite(each.objectives[0])
        score = float(each.objectives[0]) if known else None
        last = steps[-1].score if steps else None
        gain = None if score is None or last is None else weight * (score - last)
        if before is None:
            changes = [FIRST] if not each.parents else []
        else:
            changes = problem.space.difference(before.genotype, each.genotype) or ["a copy"]
            if len(set(each.parents)) > 1:
                changes = [f"with candidate {each.parents[1]}", *changes]
        steps.append(Step(each.id, each.parents, score, gain, tuple(changes)))
    return steps, broken


def _drawn(
    run: Path, problem: Problem, candidate: int, steps: list[Step], broken: int | None
) -> str:
    objective = problem.objectives[0]
    table, _ = problem.archive(run).table(["id", "event", "status", objective.name])
    every = np.array(table["event"].to_pylist()) != "selected"
    every &= np.isin(np.array([each or "ok" for each in table["status"].to_pylist()]), ["ok"])
    ids, scores = (table[name].to_numpy()[every] for name in ("id", objective.name))
    good = np.isfinite(scores)
    ids, scores = ids[good], scores[good]
    if len(ids) > MOST_DOTS:
        chosen = np.linspace(0, len(ids) - 1, MOST_DOTS).astype(int)
        ids, scores = ids[chosen], scores[chosen]
    told = sorted(
        (step for step in steps if step.gain is not None and step.gain > 0),
        key=lambda step: -(step.gain or 0.0),
    )[:LINES]
    told.sort(key=lambda step: step.id)
    notes = [_said(step) for step in told]
    height = 4.4 + 0.19 * (sum(note.count("\n") + 1 for note in notes) + 3)
    picture, (panel,) = figure(8.4, height)
    panel.scatter(
        ids, scores, s=9, color=GREY, alpha=0.5, linewidths=0, label="all candidates kept"
    )
    known = [step for step in steps if step.score is not None]
    panel.plot(
        [step.id for step in known], [step.score for step in known], color=DARK, linewidth=1.2,
        marker="o", markersize=4, label=f"ancestors of candidate {candidate}",
    )  # fmt: skip
    for number, step in enumerate(told, 1):
        panel.annotate(
            str(number), (step.id, step.score), (0, 6), textcoords="offset points", fontsize=8,
            ha="center", color=MARKED, fontweight="bold",
        )  # fmt: skip
    _label(panel, objective.name, problem)
    title = f"{printable(str(run))}: how candidate {candidate} came about"
    panel.set_title(title, fontsize=10)
    text = "\n".join(f"{number}  {note}" for number, note in enumerate(notes, 1))
    more = len([step for step in steps if (step.gain or 0) > 0]) - len(told)
    if more > 0:
        text += f"\n({more} smaller gains are not described)"
    if broken is not None:
        text += f"\nbefore candidate {steps[0].id} comes candidate {broken}; {KEPT}"
    picture.supxlabel(
        text.strip() or "no step gained anything",
        x=0.01,
        ha="left",
        fontsize=7.5,
        family="monospace",
    )
    return document(picture, title)


def _label(panel: Any, name: str, problem: Problem) -> None:
    better = "larger" if problem.objectives[0].weight > 0 else "smaller"
    panel.set_xlabel("candidate, by when it was made", fontsize=9)
    panel.set_ylabel(f"{name.replace('_', ' ')} in search; {better} is better", fontsize=9)
    from matplotlib.ticker import StrMethodFormatter

    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if max(map(abs, panel.get_ylim())) >= 1000:
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.tick_params(labelsize=8)
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.legend(loc="best", frameon=False, fontsize=8)


def _said(step: Step) -> str:
    what = printable("; ".join(step.changes))
    lines = wrap(
        f"candidate {step.id:,} {step.gain:+.4g}: {what}", WIDE, max_lines=TALL, placeholder=" ..."
    )
    return "\n\u00a0\u00a0\u00a0".join(lines)  # viewers drop plain spaces at the start of a line
