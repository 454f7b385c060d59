"""The architecture probabilities of a search by gradient over its epochs, from events.jsonl: a
panel a choice, a line an option, and above them their means by kind of cell.

What one looks for is skip connections that take over (Zela et al. 2020, "Understanding and
Robustifying Differentiable Architecture Search", arXiv 1909.09656), so theirs is the red, thick
line; `none` is grey and dotted. All panels have one scale, from the least to the largest
probability that there is, so that they can be compared. Lines end in the letter of their option,
for black and white. Many epochs are drawn as means over equal spans between the first and the last
one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase
from textwrap import wrap
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pyarrow.compute as pc

from evoml.archive.files import read_result
from evoml.contracts.architecture_space import SKIPS, ArchitectureSpace
from evoml.core.errors import InputError
from evoml.export._events import EVENTS, events
from evoml.export._layered_drawing import MARGIN, printable
from evoml.export._plots import ADVANCE, Axes, Line, colour, page, roomy, words
from evoml.export._target import RunTarget
from evoml.phenotypes.network import Group
from evoml.search.problem import Problem

# points of a line; panels in a row where names do not say which belong together, and at most
SPANS, COLUMNS, WIDEST = 100, 5, 8
# of a panel, of the numbers at its left and the letters at its right, and above it
WIDTH, HEIGHT, AXIS, LETTER, GAP = (128.0, 96.0, 44.0, 26.0, 34.0)
PITCH = AXIS + WIDTH + LETTER
# heights of the means' panels and of the training curve, and of the numbers beside both
MEANS, CURVE, WIDE = 190.0, 120.0, 54.0
NARROW, SMALL = 780.0, 10.0  # least width of what is drawn, and height of the letters in panels
SKIP, NONE = ("#e0201b", "#f4745c"), "#8a8a8a"
COLOURS = (
    "#1f4e9c",
    "#4fa9e0",
    "#1b7837",
    "#86c440",
    "#7b3fa0",
    "#d36fb0",
    "#e08a00",
    "#8c510a",
    "#009e9e",
    "#111111",
)


class Probabilities(RunTarget):
    """Those of a run of darts, snas or proxylessnas, drawn."""

    def picture(self, run: Path, problem: Problem) -> str:
        return svg(run, problem, str(run))


@dataclass(frozen=True)
class Epoch:
    """What a search logged at the end of an epoch."""

    search: int  # from 0; the number of the candidate that it derives
    number: int  # from 1
    of: int
    loss: float
    accuracy: float
    probabilities: np.ndarray  # [G, O], 0 where a group has no such option


def choices(problem: Problem) -> tuple[Group, ...]:
    """The groups of a space's supernet, which do not depend on the images, so that no data is read
    for their names.

    Raises InputError.
    """
    if not isinstance(problem.space, ArchitectureSpace) or not problem.space.has_supernet:
        raise InputError(
            f"space: {problem.config.name('space')}: has no supernet, so no probabilities of its "
            "options"
        )
    groups: tuple[Group, ...] = problem.space.supernet((3, 32, 32), 10).groups
    return groups


def epochs(folder: Path, groups: Sequence[Group], search: int | None = None) -> list[Epoch]:
    """Those of one search, by default the last one; empty where it has none. Raises InputError."""
    out: list[Epoch] = []
    for epoch in events(folder, "epoch", _read):
        if search is not None and epoch.search != search:
            continue
        if out and out[-1].search != epoch.search:
            out = []
        _fits(folder, groups, epoch.probabilities)
        out.append(epoch)
    return out


def _read(event: dict[str, Any]) -> Epoch | None:
    """An epoch of a search with probabilities; other supernets are trained without."""
    if "probabilities" not in event:
        return None
    table = np.array(event["probabilities"], np.float64)
    epoch = Epoch(
        int(event["search"]),
        int(event["epoch"]),
        int(event["epochs"]),
        float(event["loss"]),
        float(event["accuracy"]),
        table,
    )
    within = (
        table.ndim == 2
        and ((table >= 0) & (table <= 1)).all()
        and np.isfinite([epoch.loss, epoch.accuracy]).all()
    )
    if not within or epoch.search < 0 or not 1 <= epoch.number <= epoch.of:
        raise ValueError("not an epoch")
    return epoch


def _fits(folder: Path, groups: Sequence[Group], table: np.ndarray) -> None:
    shape = len(groups), max(len(group.options) for group in groups)
    if table.shape != shape:
        raise InputError(
            f"{folder / EVENTS}: probabilities {table.shape[0]} x {table.shape[1]}; the space in "
            f"run.toml has {shape[0]} x {shape[1]}"
        )


def means(groups: Sequence[Group], table: np.ndarray) -> dict[str, dict[str, float]]:
    """Of every kind of cell, the mean probability of every option, over the groups that have it.

    table: [G, O].
    """
    found: dict[str, dict[str, list[float]]] = {}
    for group, row in zip(groups, table, strict=True):
        for name, value in zip(group.options, row.tolist()):
            found.setdefault(kind(group), {}).setdefault(name, []).append(value)
    return {
        cell: {name: sum(values) / len(values) for name, values in options.items()}
        for cell, options in found.items()
    }


def kind(group: Group) -> str:
    """The kind of cell that a group is of; empty where there are none."""
    return group.name.rpartition(" ")[0]


def derived(problem: Problem, folder: Path, epoch: Epoch) -> np.ndarray:
    """Which options the search's candidate is made of, or would be after this epoch, [G, O] bool.

    Raises InputError.
    """
    genotype = _candidate(problem, folder, epoch.search) if epoch.number == epoch.of else None
    if genotype is None:
        genotype = problem.architecture_space.derive(epoch.probabilities)
    taken: np.ndarray = problem.architecture_space.paths(genotype) > 0
    return taken


def _candidate(problem: Problem, folder: Path, id: int) -> Any:
    """The archived one, which was derived of numbers that were not rounded; None where there is no
    such row.
    """
    archive = problem.archive(folder)
    table, _ = archive.table(["id", "event", "genotype"])
    rows = table.filter(pc.and_(pc.equal(table["id"], id), pc.equal(table["event"], "candidate")))
    return (
        archive.genotype(rows["genotype"].combine_chunks().slice(0, 1), f"{folder}: candidate {id}")
        if len(rows)
        else None
    )


def shown(problem: Problem, folder: Path) -> int | None:
    """The search that is of interest: of a finished run that of the best architecture, else the
    last one, None.
    """
    if read_result(folder) is None:
        return None
    best, _ = problem.archive(folder).best(1)
    return int(best[0]["id"]) if best and best[0]["status"] == "ok" else None


def svg(folder: Path, problem: Problem, title: str, search: int | None = None) -> str:
    """The probabilities of a search, by default the one that is `shown`, as an SVG picture.

    Raises InputError for a run without any.
    """
    groups = choices(problem)
    found = epochs(folder, groups, shown(problem, folder) if search is None else search)
    if not found:
        raise InputError(
            f"{folder}: no epoch with probabilities has been logged; runs of darts, snas and "
            "proxylessnas have them"
        )
    return picture(found, groups, derived(problem, folder, found[-1]), title)


# -- drawing ---------------------------------------------------------------------------------------


def picture(found: Sequence[Epoch], groups: Sequence[Group], taken: np.ndarray, title: str) -> str:
    """At least one epoch, all of one search, as an SVG picture.

    taken: [G, O] bool, what is derived after the last one.
    """
    times, tables, curves = _spans(found)
    every = [tables[:, at, : len(group.options)].ravel() for at, group in enumerate(groups)]
    draw = _Drawing(times, _looks(groups), roomy(np.concatenate(every)))
    rows = {
        cell: _rows([*members], groups)
        for cell, members in groupby(range(len(groups)), lambda at: kind(groups[at]))
    }
    draw.width = max(max(len(row) for several in rows.values() for row in several) * PITCH, NARROW)
    last = found[-1]
    draw.heading(title)
    draw.heading(
        f"search {last.search}, epoch {last.number} of {last.of}: the supernet's loss "
        f"{last.loss:.4f}, accuracy {last.accuracy:.4f}",
        12.0,
    )
    draw.legend()
    draw.means({cell: _by_option(groups, tables, cell) for cell in rows})
    for cell, several in rows.items():
        draw.section(f"{cell} cell" if cell else "every choice")
        for row in several:
            draw.row([(groups[at], tables[:, at], taken[at]) for at in row])
    draw.curve(curves)
    return page(printable(title), draw.width + 2 * MARGIN, draw.top + MARGIN, draw.out)


def _spans(found: Sequence[Epoch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Epochs [S], probabilities [S, G, O], losses and accuracies [S, 2], as means over spans; the
    first and the last epoch are spans of their own.
    """
    count = len(found)
    inner = np.array_split(np.arange(1, count - 1), min(SPANS, count) - 2) if count > 2 else []
    spans = [np.array([0]), *inner, np.array([count - 1])][: min(count, len(inner) + 2)]
    columns = (
        np.array([epoch.number for epoch in found], np.float64),
        np.stack([epoch.probabilities for epoch in found]),
        np.array([(epoch.loss, epoch.accuracy) for epoch in found]),
    )
    times, tables, curves = (
        np.stack([column[span].mean(0) for span in spans]) for column in columns
    )
    return times, tables, curves


def _rows(members: Sequence[int], groups: Sequence[Group]) -> list[list[int]]:
    """Edges into the same state side by side, since they compete, and other groups in rows of equal
    length; no row is longer than WIDEST.
    """
    if all(">" in groups[at].name for at in members):
        together = [
            [*row] for _, row in groupby(members, lambda at: groups[at].name.rpartition(">")[2])
        ]
    else:
        together = [
            list(members[start : start + COLUMNS]) for start in range(0, len(members), COLUMNS)
        ]
    return [row[start : start + WIDEST] for row in together for start in range(0, len(row), WIDEST)]


def _looks(groups: Sequence[Group]) -> dict[str, Line]:
    """Every option with its letter and colour, as a line without values."""
    out: dict[str, Line] = {}
    skips, others = iter(SKIP), iter(COLOURS)
    for number, name in enumerate(
        dict.fromkeys(name for group in groups for name in group.options)
    ):
        letter = (ascii_lowercase[number // 26 - 1] if number >= 26 else "") + ascii_lowercase[
            number % 26
        ]
        nothing = np.zeros(0)
        if name == "none":
            out[name] = Line(name, letter, NONE, nothing, "option", 1.6, "1.5 2.5")
        elif name in SKIPS:
            out[name] = Line(name, letter, next(skips, SKIP[-1]), nothing, "option", 3.0)
        else:
            out[name] = Line(name, letter, next(others, "") or colour(number), nothing, "option")
    return out


def _by_option(groups: Sequence[Group], tables: np.ndarray, cell: str) -> dict[str, np.ndarray]:
    """The mean probability of every option over the groups of a kind of cell, [S] each."""
    every = [means(groups, table)[cell] for table in tables]
    return {name: np.array([each[name] for each in every]) for name in every[0]}


class _Drawing:
    """A page that grows downwards."""

    def __init__(
        self, times: np.ndarray, looks: dict[str, Line], ends: tuple[float, float]
    ) -> None:
        """ends: of the scale of all probabilities."""
        self.times, self.looks, self.ends = times, looks, ends
        self.width, self.top = NARROW, MARGIN
        self.out: list[str] = []

    def heading(self, text: str, size: float = 15.0) -> None:
        for line in wrap(printable(text), int(self.width / (ADVANCE * size))) or [""]:
            self.top += size + 5
            self.out.append(words(line, MARGIN + self.width / 2, self.top, "title", "middle", size))

    def section(self, text: str) -> None:
        self.top += 34
        self.out.append(words(text, MARGIN, self.top, "section", size=14.0))

    def legend(self) -> None:
        """The options' lines, letters and names, and what the marks of panels say."""
        left, self.top = 0.0, self.top + 26
        for name, look in self.looks.items():
            wide = 28 + ADVANCE * 12 * (len(name) + 2) + 18
            if left and left + wide > self.width:
                left, self.top = 0.0, self.top + 18
            x, y = MARGIN + left, self.top - 4
            self.out.append(f'<path class="sample" d="M{x:.1f},{y:.1f} h22" {look.style}/>')
            self.out.append(words(f"{look.letter} {name}", x + 28, self.top, "legend"))
            left += wide
        note = (
            "Dot, and name above: derived after the last epoch. Grey frame: nothing of it derived. "
            "Dotted: all equal."
        )
        for line in wrap(note, int(self.width / (ADVANCE * 12))):
            self.top += 18
            self.out.append(words(line, MARGIN, self.top, "note"))

    def means(self, cells: dict[str, dict[str, np.ndarray]]) -> None:
        """The means of two kinds of cell a row."""
        every = list(cells.items())
        names = ADVANCE * 12 * (max(len(name) for name in self.looks) + 2) + 20
        for start in range(0, len(every), 2):
            row = every[start : start + 2]
            self.top += GAP + 6
            for place, (cell, values) in enumerate(row):
                room = self.width / len(row)
                left = MARGIN + place * room + WIDE
                axes = Axes(left, self.top, room - WIDE - names, MEANS, self.times, *self.ends)
                title = f"mean probability in {cell} cells" if cell else "mean probability"
                self.out += [
                    words(title, left, self.top - 8, "means"),
                    *self._lines(axes, values, True, 12.0),
                ]
                self.out += [axes.frame("black"), *axes.scale(5, 12.0), *axes.epochs(6)]
            self.top += MEANS + 22

    def row(self, panels: Sequence[tuple[Group, np.ndarray, np.ndarray]]) -> None:
        """Panels side by side: of a group its options' probabilities [S, O], and which are derived
        [O].
        """
        self.top += GAP
        for place, (group, table, taken) in enumerate(panels):
            left, values = MARGIN + place * PITCH + AXIS, dict(zip(group.options, table.T))
            axes = Axes(left, self.top, WIDTH, HEIGHT, self.times, *self.ends)
            chosen = [name for name, yes in zip(group.options, taken) if yes]
            title, equal = group.name.rpartition(" ")[2], 1 / len(group.options)
            self.out.append(f'<g class="panel"><title>{escape(group.name)}</title>')
            self.out.append(words(title, left, self.top - 6, "group"))
            self.out += (
                [
                    words(
                        ", ".join(chosen),
                        left + WIDTH,
                        self.top - 6,
                        "derived",
                        "end",
                        SMALL,
                        most=WIDTH - 45,
                    )
                ]
                if chosen
                else []
            )
            self.out += [axes.level(equal)] if axes.low < equal < axes.high else []
            self.out += self._lines(axes, values, False, SMALL)
            self.out += [
                f'<circle class="dot" cx="{left + WIDTH:.1f}" cy="{axes.y(values[name][-1]):.1f}" '
                'r="3.5"/>'
                for name in chosen
            ]
            self.out += [
                axes.frame("black" if chosen else "#b8b8b8"),
                *axes.scale(3, SMALL),
                *axes.epochs(6, numbers=False),
                "</g>",
            ]
        self.top += HEIGHT

    def _lines(
        self, axes: Axes, values: dict[str, np.ndarray], named: bool, size: float
    ) -> list[str]:
        """Those of options, skip connections on top of all others and `none` below."""
        lines = [replace(self.looks[name], values=each) for name, each in values.items()]
        order = sorted(lines, key=lambda line: (line.name in SKIPS, line.name != "none"))
        return [axes.line(line) for line in order] + axes.ends(lines, named, size)

    def curve(self, curves: np.ndarray) -> None:
        """Loss, with its scale at the left, and accuracy, at the right. curves: [S, 2]."""
        self.section("training of the supernet")
        self.top += GAP - 6
        left, wide = MARGIN + WIDE, self.width - 2 * WIDE
        looks = (
            Line("loss", "", "black", curves[:, 0], "loss"),
            Line("accuracy", "", "#1f4e9c", curves[:, 1], "accuracy", 1.4, "6 3"),
        )
        for right, line in enumerate(looks):
            axes = Axes.around(left, self.top, wide, CURVE, self.times, [line.values])
            x = left + wide if right else left
            name = words(
                f"{line.name} (dashed)" if right else line.name,
                x,
                self.top - 8,
                "axis",
                "end" if right else "start",
                fill=line.colour,
            )
            self.out += [axes.line(line), *axes.scale(4, 12.0, bool(right)), name]
        self.out += [
            axes.frame("black"),
            *axes.epochs(10),
            words("epoch", left + wide / 2, self.top + CURVE + 32, "axis", "middle"),
        ]
        self.top += CURVE + 34
