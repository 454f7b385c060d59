"""What `evoml show` does: the best candidates of a run with their text, or a file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from evoml.archive.files import read_result
from evoml.commands.inputs import candidate_row, edits, open_best, trust_all
from evoml.core.errors import InputError
from evoml.core.wording import plural
from evoml.export.lineage import KEPT, line_of
from evoml.report import console, print_json, warn
from evoml.report._kind import kind_of
from evoml.report._tables import plain_table, shown
from evoml.search.opened import Opened
from evoml.search.problem import Problem, stored_problem

ROW = (
    *("id", "key", "parents", "birth", "status", "seconds"),
    *("event", "island", "experiment", "evaluations"),
)  # of the archive's columns
MOST = 100  # candidates of a front that are shown unless more are asked for
FINISHED = ("reason", "evaluations", "seconds", "test", "trust", "check_seconds")


def show(
    path: Path,
    count: int | None,
    as_json: bool,
    trust: bool = False,
    candidate: int | None = None,
    ancestors: bool = False,
) -> None:
    """Print so many of the best candidates, or this one. trust: execute the files of a run's parts.

    count: None: the best one; of several objectives, the Pareto front. candidate: an id. ancestors:
    the line of this one's ancestors instead, and what each of them changed.
    """
    if count is not None and candidate is not None:
        raise InputError("show: --candidate shows that one; leave out --best")
    if trust:
        trust_all(path)
    if ancestors:
        _show_lineage(open_best(path, candidate), as_json)
    elif path.is_dir():
        _show_run(path, count, candidate, as_json)
    else:
        _show_file(open_best(path, candidate), as_json)


def _show_file(opened: Opened, as_json: bool) -> None:
    space, genotype = opened.space, opened.genotype
    if as_json:
        text = {"key": space.key(genotype), "text": space.format(genotype)}
        described = text | kind_of(space).describe(space, genotype)
        print_json({"file": str(opened.path), "best": [described]})
    else:
        kind_of(space).print_file(space, genotype)


def _show_run(run: Path, count: int | None, candidate: int | None, as_json: bool) -> None:
    problem = stored_problem(run)
    kind, config = kind_of(problem.space), problem.config
    best, remarks = problem.archive(run).best(None if count is None else count + 1)
    warn([*remarks, *edits(run)])
    if candidate is not None:
        best = [candidate_row(problem, run, candidate)]
    elif best:
        kind.check(problem, run, best[0])
    count = count or min(len(best), MOST)
    rows = [_described(problem, row) for row in best]
    rows = [
        plain | kind.described(problem, run, plain | row) if index < count else plain
        for index, (plain, row) in enumerate(zip(rows, best, strict=True))
    ]
    course, result = kind.course(problem, run), read_result(run)
    if as_json:
        finished = result and {name: result[name] for name in FINISHED if name in result}
        about = {"run": str(run), "objective": problem.objective, "finished": finished}
        print_json(about | {"best": rows[:count]} | course)
        return
    state = (
        "not finished"
        if result is None
        else f"{plural(result['evaluations'], 'candidate')} in {result['seconds']:.1f} s, ended by "
        f"{result['reason']}"
    )
    out = console()
    out.print(
        f"{run}: {config.system} on {config.name('task')}, seed {config.search.seed}; {state}",
        soft_wrap=True,
    )
    kind.print_run(out, problem, run, rows, count, course, result)


def _show_lineage(opened: Opened, as_json: bool) -> None:
    """The line of ancestors of a candidate, the oldest first."""
    if opened.problem is None:
        raise InputError(f"show: --lineage is of a run; {opened.path} is a file")
    steps, broken = line_of(opened)
    warn(opened.remarks)
    if as_json:
        print_json({"run": str(opened.path), "lineage": [asdict(step) for step in steps]})
        return
    out, objective = console(), opened.problem.objectives[0]
    out.print(
        f"{opened.title}: {plural(len(steps), 'generation')} of ancestors, the oldest first",
        soft_wrap=True,
    )
    if broken is not None:
        out.print(f"(before them comes candidate {broken}; {KEPT})", soft_wrap=True)
    table = plain_table("candidate", objective.name, "gain", left=0)
    table.add_column("what changed", overflow="fold")
    for step in steps:
        value = "-" if step.score is None else shown(step.score, objective.unit)
        gain = "" if step.gain is None else f"{step.gain:+.4g}"
        table.add_row(str(step.id), value, gain, Text("\n".join(step.changes)))
    out.print(table)


def _described(problem: Problem, row: dict[str, Any]) -> dict[str, Any]:
    """A row of the archive as plain values."""
    key = "".join(character for character in row["key"] if character.isalnum())[:64]
    front = {"front": row["front"]} if len(problem.names) > 1 and "front" in row else {}
    objectives = {name: row[name] for name in problem.names}
    text = {"objectives": objectives, "text": problem.space.format(row["genotype"])}
    return {name: row[name] for name in ROW} | {"key": key} | front | text
