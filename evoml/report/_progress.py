"""The live display of a search: a panel in a terminal, plain lines in a pipe."""

import time
from collections.abc import Sequence
from math import isfinite
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from evoml.contracts.objective import Objective
from evoml.core.wording import duration, plural
from evoml.report._tables import failures, headed, shown
from evoml.search.run import Progress

SPEAKS = 10.0  # seconds between two lines in a pipe
WIDTH = 80  # columns of the panel
PROGRAM_LINES = 14  # of a program in the panel
BLOCKS = "▁▂▃▄▅▆▇█"


class Display:
    """Call it with a `Progress` after every round; use as a context manager."""

    def __init__(
        self,
        title: str,
        objectives: Sequence[Objective],
        budget: int,
        seconds: float,
        console: Console,
        quiet: bool = False,
        steady: bool = False,
        language: str = "",
    ) -> None:
        """steady: candidates are evaluated one by one, so that there are few and none is selected
        elsewhere. language: of the champion's text, where the panel has it.
        """
        self.steady, self.language = steady, language
        self.title, self.objectives = title, objectives
        self.objective, self.budget, self.limit = objectives[0].name, budget, seconds
        self.console, self.quiet = console, quiet
        # The console finds standard error anew for every write; were that redirected to the
        # console, a write would never end.
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)
        self._live = live if console.is_terminal and not quiet else None
        self._spoke, self._last = float("-inf"), float("nan")
        self._course: list[tuple[int, float]] = []  # the best after so many candidates
        self._sized = False  # whether it was said how long the search takes

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: Progress) -> None:
        if self.quiet:
            return
        if isfinite(progress.best) and (
            not self._course or self._course[-1][0] != progress.evaluations
        ):
            self._course.append((progress.evaluations, progress.best))
        if self.steady and not self._sized and (size := self._size(progress)):
            self._sized, self._spoke = True, float("-inf")
            self.console.print(size, soft_wrap=True)
        now = time.monotonic()
        if self._live:
            # generations may take less than a picture of them
            if now - self._spoke > 0.1:
                self._spoke = now
                self._live.update(self._panel(progress), refresh=True)
        elif (
            progress.selected != self._last and progress.selected == progress.selected
        ) or now - self._spoke > SPEAKS:
            self._spoke, self._last = now, progress.selected
            self.console.print(self._line(progress), soft_wrap=True)

    def _size(self, p: Progress) -> str:
        """The size of the job, once the first steps of a candidate have been measured."""
        if not isfinite(p.each):
            return ""
        words = f"about {duration(p.each)} a candidate"
        if not self.budget:
            return words
        on = f" on {plural(p.workers, 'worker')}" if p.workers > 1 else ""
        job = p.each * (self.budget - p.evaluations) / p.workers
        hint = "; --seconds, or less of task.examples or evaluator.epochs, makes it shorter"
        return (
            f"{words}, {plural(self.budget, 'candidate')}: about {duration(job)}{on}"
            f"{hint if job > 600 else ''}"
        )

    # -- words -------------------------------------------------------------------------------------

    def _line(self, p: Progress) -> str:
        words = [f"{p.seconds:7.1f} s", self._candidates(p), *self._found(p)]
        if p.note or not self.steady:
            words.append(p.note or f"experiment {p.experiment}")
        words.append(_under_way(p))
        if isfinite(p.left) and p.left > 1:
            words.append(f"about {duration(p.left)} left")
        return "  ".join(filter(None, words))

    def _candidates(self, p: Progress) -> str:
        done = f" of {self.budget:,}" if self.budget else ""
        speed = "" if self.steady else f"  {p.evaluations / max(p.seconds, 1e-9):>9,.0f}/s"
        return f"{p.evaluations:>{7 if self.steady else 11},}{done} candidates{speed}"

    def _found(self, p: Progress) -> list[str]:
        """What the search has found, in words."""
        if self.steady:
            if not p.champion:
                failed = failures(p.counts)
                return [f"none could be evaluated: {failed}"] if p.evaluations and failed else []
            mean = f", population mean {p.mean:.4f}" if isfinite(p.mean) else ""
            return [f"{self.objective} best {p.best:.4f}{mean}"]
        selected = f"{p.selected:.4f}" if isfinite(p.selected) else "none yet"
        best = f"{p.best:.4f}" if isfinite(p.best) else "none yet"
        return [f"{self.objective} in search {best}, selected {selected}"]

    # -- the panel ---------------------------------------------------------------------------------

    def _panel(self, p: Progress) -> Panel:
        facts = Table.grid(padding=(0, 2))
        for word, value in self._facts(p):
            facts.add_row(Text(word, style="dim"), value)
        parts: list[RenderableType] = [facts]
        width = min(self.console.width, WIDTH)
        if isfinite(p.share):
            left = f" {p.share:4.0%}" + (f", {duration(p.left)} left" if isfinite(p.left) else "")
            bar = Table.grid()
            bar.add_row(ProgressBar(1.0, p.share, width=width - 5 - len(left)), left)
            parts.append(bar)
        if len(self._course) > 1:
            low, high = self._course[0][1], self._course[-1][1]
            curve = curve_of(self._course, width - 6)
            parts += [Text(), Text(f"{self.objective}, best so far: {low:.4f} to {high:.4f}")]
            parts.append(Text(curve, style="green"))
        if p.leaders and self.steady:
            parts += [Text(), self._leaders(p)]
        if p.champion and self.language == "python":
            lines = p.champion.rstrip().splitlines()
            more = ["# ..."] if len(lines) > PROGRAM_LINES else []
            text = "\n".join(lines[:PROGRAM_LINES] + more)
            parts += [Text(), Syntax(text, "python", background_color="default")]
        return Panel(
            Group(*parts), title=self.title, title_align="left", border_style="cyan", width=width
        )

    def _facts(self, p: Progress) -> list[tuple[str, RenderableType]]:
        speed = p.evaluations / max(p.seconds, 1e-9)
        done = f"{p.evaluations:,}" + (f" of {self.budget:,}" if self.budget else "")
        if self.steady and isfinite(p.each):
            done += f", about {duration(p.each)} each"
        elif not self.steady:
            done += f", {speed:,.0f} a second"
        limit = f" of {self.limit:,.0f} s" if self.limit else " s"
        out: list[tuple[str, RenderableType]] = [
            ("candidates", done),
            ("time", f"{p.seconds:,.0f}{limit}"),
            *((name, Text(words, "bold green")) for name, words in self._scores(p)),
        ]
        if words := p.note or ("" if self.steady else f"experiment {p.experiment}"):
            out.append(("at", words))
        if words := _under_way(p):
            out.append(("now", words))
        failed = failures(p.counts) if self.steady else f"{p.counts.get('failed', 0) or ''}"
        return [*out, ("failed", failed)] if failed else out

    def _scores(self, p: Progress) -> list[tuple[str, str]]:
        found = [(f"{self.objective}, search", p.best)]
        if self.steady:
            found = [(f"{self.objective}, best", p.best), ("population mean", p.mean)]
        else:
            found += [("population mean", p.mean), (f"{self.objective}, selected", p.selected)]
        return [(name, f"{value:.4f}") for name, value in found if isfinite(value)] or [
            (f"{self.objective}, best", "none yet")
        ]

    def _leaders(self, p: Progress) -> Table:
        table = Table("candidate", *map(headed, self.objectives), box=None, pad_edge=False)
        for id, values in p.leaders:
            numbers = zip(values, self.objectives, strict=True)
            table.add_row(f"{id:,}", *(shown(value, each.unit) for value, each in numbers))
        return table


def _under_way(p: Progress) -> str:
    """What is being evaluated, and how far: `training 0 and 1, epoch 2 of 6`."""
    if not p.stages:
        return ""
    names = [f"{id:,}" for id in sorted(p.stages)]
    who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    known = [each for each in p.stages.values() if each is not None]
    if not known:
        return f"training {who}"
    least = min(known, key=lambda each: each.step / each.steps)
    epochs = f"epoch {least.epoch:,} of {least.epochs:,}"
    return f"training {who}, {epochs}, step {least.step:,} of {least.steps:,}"


def curve_of(course: Sequence[tuple[int, float]], width: int) -> str:
    """A curve in blocks, left to right in the number of candidates. course: (candidates, value)."""
    first, last = course[0][0], course[-1][0]
    values, at = [], 0
    for column in range(width):
        limit = first + (last - first) * (column + 1) / width
        while at + 1 < len(course) and course[at + 1][0] <= limit:
            at += 1
        values.append(course[at][1])
    low, high = min(values), max(values)
    return "".join(
        BLOCKS[round((value - low) / (high - low) * (len(BLOCKS) - 1)) if high > low else 0]
        for value in values
    )
