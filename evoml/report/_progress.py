"""The live display of a search: a panel in a terminal, plain lines in a pipe."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from evoml.report._tables import failures
from evoml.search.run import Progress


class Display:
    """Call it with a `Progress` after every round; use as a context manager."""

    def __init__(
        self,
        title: str,
        objective: str,
        budget: int,
        seconds: float,
        console: Console,
        quiet: bool = False,
        steady: bool = False,
    ) -> None:
        """steady: candidates are evaluated one by one, so that there are few and none is selected
        elsewhere.
        """
        self.steady = steady
        self.title, self.objective, self.budget, self.limit = title, objective, budget, seconds
        self.console, self.quiet = console, quiet
        # The console finds standard error anew for every write; were that redirected to the
        # console, a write would never end.
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False)
        self._live = live if console.is_terminal and not quiet else None
        self._spoke, self._last = 0.0, float("nan")

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
        if self._live:
            # generations may take less than a picture of them
            if time.monotonic() - self._spoke > 0.1:
                self._spoke = time.monotonic()
                self._live.update(self._panel(progress), refresh=True)
        elif (
            progress.selected != self._last and progress.selected == progress.selected
        ) or time.monotonic() - self._spoke > 10:
            self._spoke, self._last = time.monotonic(), progress.selected
            self.console.print(self._line(progress), soft_wrap=True)

    def _line(self, p: Progress) -> str:
        if self.steady:
            done = f" of {self.budget:,}" if self.budget else ""
            if p.note:
                best = f"  {self.objective} best {p.best:.4f}" if p.champion else ""
                return f"{p.seconds:7.1f} s  {p.evaluations:>7,}{done} candidates  {p.note}{best}"
            found = f"{self.objective} best {p.best:.4f}, population mean {p.mean:.4f}"
            return (
                f"{p.seconds:7.1f} s  {p.evaluations:>7,}{done} candidates  "
                f"{p.evaluations / max(p.seconds, 1e-9) * 3600:>9,.0f}/hour  "
                f"{found if p.champion else f'none could be evaluated: {failures(p.counts)}' if p.evaluations else 'none yet'}"  # noqa: E501
            )
        selected = f"{p.selected:.4f}" if p.selected == p.selected or not p.note else "none yet"
        return (
            f"{p.seconds:7.1f} s  {p.evaluations:>11,} candidates  "
            f"{p.evaluations / max(p.seconds, 1e-9):>9,.0f}/s  "
            f"{p.note or f'experiment {p.experiment}'}  {self.objective} in search {p.best:.4f}, "
            f"selected {selected}"
        )

    def _panel(self, p: Progress) -> Panel:
        numbers = Table.grid(padding=(0, 3))
        done = f" of {self.budget:,}" if self.budget else ""
        left = f" of {self.limit:,.0f} s" if self.limit else " s"
        if self.steady:
            return self._steady_panel(p, numbers, done, left)
        if p.note:
            return self._generations_panel(p, numbers, done, left)
        n = max(p.counts.get("candidates", 0), 1)
        numbers.add_row(
            "candidates",
            f"{p.evaluations:,}{done}",
            "a second",
            f"{p.evaluations / max(p.seconds, 1e-9):,.0f}",
        )
        numbers.add_row("time", f"{p.seconds:,.0f}{left}", "experiment", f"{p.experiment}")
        numbers.add_row(
            f"{self.objective}, search", f"{p.best:.4f}", "population mean", f"{p.mean:.4f}"
        )
        numbers.add_row(
            f"{self.objective}, selected",
            Text(f"{p.selected:.4f}", "bold green"),
            "run in full",
            f"{p.counts.get('full_runs', 0) / n:.0%}",
        )
        body = (
            Syntax(p.champion.rstrip(), "python", background_color="default")
            if p.champion
            else Text("nothing selected yet", style="dim")
        )
        return self._framed(numbers, body)

    def _steady_panel(self, p: Progress, numbers: Table, done: str, left: str) -> Panel:
        best, mean = (
            (Text(f"{p.best:.4f}", "bold green"), f"{p.mean:.4f}")
            if p.champion
            else ("none yet", "none yet")
        )
        numbers.add_row(
            "candidates",
            f"{p.evaluations:,}{done}",
            "an hour",
            f"{p.evaluations / max(p.seconds, 1e-9) * 3600:,.0f}",
        )
        numbers.add_row("time", f"{p.seconds:,.0f}{left}", "failed", failures(p.counts) or "0")
        numbers.add_row(f"{self.objective}, best", best, "population mean", mean)
        if p.note:
            numbers.add_row("at", p.note)
        body = (
            Syntax(p.champion.rstrip(), "toml", background_color="default")
            if p.champion
            else Text("nothing yet", style="dim")
        )
        return self._framed(numbers, body)

    def _generations_panel(self, p: Progress, numbers: Table, done: str, left: str) -> Panel:
        selected = (
            Text(f"{p.selected:.4f}", "bold green") if p.selected == p.selected else "none yet"
        )
        numbers.add_row(
            "candidates",
            f"{p.evaluations:,}{done}",
            "a second",
            f"{p.evaluations / max(p.seconds, 1e-9):,.0f}",
        )
        numbers.add_row("time", f"{p.seconds:,.0f}{left}", "at", p.note)
        numbers.add_row(
            f"{self.objective}, search", f"{p.best:.4f}", "population mean", f"{p.mean:.4f}"
        )
        numbers.add_row(
            f"{self.objective}, selected", selected, "failed", f"{p.counts.get('failed', 0):,}"
        )
        return self._framed(numbers)

    def _framed(self, numbers: Table, body: Syntax | Text | None = None) -> Panel:
        below = () if body is None else (Text(), body)
        return Panel(
            Group(numbers, *below),
            title=self.title,
            title_align="left",
            border_style="cyan",
            width=min(self.console.width, 110),
        )
