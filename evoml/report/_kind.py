"""A kind of phenotype: what the commands say of candidates of a space, how they are evaluated, and
what they are exported as.

The folder is the registry: a space names its kind in `Space.phenotype`, and files here without an
underscore are kinds. A kind that nobody describes is shown as its genotype.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from rich.console import Console
from rich.text import Text

from evoml.archive.files import read_config
from evoml.config import build
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.objective import Objective
from evoml.contracts.part import Part, only_class, task_class
from evoml.contracts.space import Space
from evoml.core import registry
from evoml.core.digests import digest
from evoml.core.errors import InputError
from evoml.core.wording import one_line, plural
from evoml.genotypes.population import OK, STATUS, Population
from evoml.genotypes.schema import Genotype
from evoml.report import (
    _probabilities,
    announce_compilation,
    console,
    print_json,
    print_source,
    warn,
)
from evoml.report._tables import (
    failures,
    front_table,
    headed,
    listed,
    plain_table,
    print_audit,
    print_best,
    shown,
)
from evoml.search.opened import Opened
from evoml.search.problem import Problem
from evoml.search.run import Result

DEFAULT = "genotypes"  # the kind that nothing is known of


@dataclass(frozen=True)
class Request:
    """What an evaluation is asked for, beside a run or a file; None where nothing is said."""

    task: str | None = None
    data: Path | None = None
    seed: int | None = None
    preset: str | None = None
    inherit: Path | None = None  # a run whose shared weights are started from
    sets: list[dict[str, Any]] = field(default_factory=list)
    as_json: bool = False
    baselines: bool = True  # whether others are tried beside it

    def check(self, takes: Iterable[str]) -> None:
        """Refuse settings that the evaluation would not look at. takes: those that it does."""
        for each in self.sets:
            group, values = next(iter(each.items()))
            keys = [f"{group}.{key}" for key in values] if isinstance(values, dict) else [group]
            for key in keys:
                if not {key, f"{key}.*", f"{group}.*"} & set(takes):
                    raise InputError(f"--set {key}: an evaluation takes {', '.join(takes)}")

    def layers(self, *, named: bool) -> list[tuple[str, dict[str, Any]]]:
        """--set and flags, as `build` takes them. named: with the task's name."""
        task = {"name": self.task if named else None, "data": self.data and str(self.data)}
        flags: dict[str, Any] = {
            "task": {key: value for key, value in task.items() if value is not None},
            "search": {} if self.seed is None else {"seed": self.seed},
        }
        return [*(("--set", each) for each in self.sets), ("flags", flags)]


class Kind(Part):
    """One kind of phenotype. As it stands it knows of candidates what every genotype has: a text,
    objectives, and an evaluator.
    """

    noun: ClassVar[str] = "genotype"
    article: ClassVar[str] = "a"
    winner: ClassVar[str] = "found genotype"  # what the best candidate of a run is called
    language: ClassVar[str] = "toml"  # of a genotype's text
    # the settings that an evaluation takes
    takes: ClassVar[tuple[str, ...]] = ("task.*", "evaluator.*", "search.seed", "backend")

    def __str__(self) -> str:
        """What one is called in a sentence: an architecture."""
        return f"{self.article} {self.noun}"

    # -- the end of a search -----------------------------------------------------------------------

    def print_result(self, problem: Problem, result: Result) -> None:
        """The end of a search, and what to do next."""
        out, folder = console(), quote(str(result.run))
        rate = f"{ending(problem, result)}\nrun: {result.run}"
        if result.best is None:
            why = (
                "no candidate could be evaluated"
                if result.evaluations
                else f"there is no candidate yet; go on with: evoml resume {folder} --seconds 0"
            )
            out.print(f"{why}; {rate}", soft_wrap=True)
            return
        scores = listed(problem.objectives, result.best["objectives"])
        out.print(
            f"\nThe best {self.noun} (candidate {result.best['id']}): {scores} "
            f"{_where(problem, result)}\n",
            soft_wrap=True,
        )
        print_source(out, result.best["text"], self.language)
        if len(problem.objectives) > 1:
            out.print(f"\nthe Pareto front, {plural(len(result.hall_of_fame), 'candidate')}:")
            out.print(front_table(result.hall_of_fame, problem.objectives))
        if result.test is not None:
            out.print(f"\n{_source(problem)}{tested(problem, result.test)}", soft_wrap=True)
        print_audit(out, {"trust": result.audit})
        out.print(f"\n{rate}", soft_wrap=True)
        for line in self.next_steps(problem, folder):
            out.print(line, soft_wrap=True)

    def next_steps(self, problem: Problem, folder: str) -> Iterable[str]:
        """What may be done with a run that is complete, a line each. folder: quoted."""
        return ()

    def facts(self, problem: Problem, result: Result) -> dict[str, Any]:
        """What is said of this kind beyond what is said of every search, as plain values."""
        return {}

    # -- a run or a file ---------------------------------------------------------------------------

    def check(self, problem: Problem, run: Path, best: dict[str, Any]) -> None:
        """Raise InputError where the best row of a run's archive is nothing to go on with."""

    def describe(self, space: Space, genotype: Genotype) -> dict[str, Any]:
        """A genotype as plain values, beyond its key and its text."""
        return {}

    def print_file(self, space: Space, genotype: Genotype) -> None:
        """What `show` says of a genotype's file."""
        print_source(console(), space.format(genotype), self.language)

    def described(self, problem: Problem, run: Path, row: dict[str, Any]) -> dict[str, Any]:
        """What `show` adds to a row of a run's archive, which has its `objectives` and its
        `genotype`.
        """
        return self.describe(problem.space, row["genotype"])

    def course(self, problem: Problem, run: Path) -> dict[str, Any]:
        """Where a run as a whole is, as plain values; empty where there is nothing to say."""
        return _probabilities.described(problem, run) if problem.every_row else {}

    def print_run(
        self,
        out: Console,
        problem: Problem,
        run: Path,
        rows: list[dict[str, Any]],
        count: int,
        course: dict[str, Any],
        result: dict[str, Any] | None,
    ) -> None:
        """What `show` says of a run. rows: `described`, and where there are more than `count` one
        that is not to be shown.
        """
        if not problem.every_row:
            for row in rows[:count]:
                where = "on the selection tasks" if row["event"] == "selected" else "in search"
                out.print(
                    f"\ncandidate {row['id']}, key {row['key']}: {problem.objective} "
                    f"{row['objectives'][problem.objective]:.4f} {where}",
                    highlight=False,
                )
                print_source(out, row["text"], self.language)
            return
        print_best(out, rows, problem.objectives, count, problem.stand_alone is not problem)
        # a search that diverged derived nothing
        if rows[:count] and (rows[0]["status"] != "diverged" or rows[0]["seconds"]):
            print()
            print_source(out, rows[0]["text"], self.language)
        _probabilities.print_means(out, course)
        print_audit(out, result)

    # -- an evaluation -----------------------------------------------------------------------------

    def evaluate(self, opened: Opened, request: Request) -> None:
        """Score on test tasks, and print that."""
        for option, value in (("inherit", request.inherit), ("preset", request.preset)):
            if value is not None:
                raise InputError(
                    f"evaluate: --{option} {value}: is for architectures; {self} is scored as it is"
                )
        request.check(self.takes)
        problem = self._problem(opened, request)
        _ = problem.test_tasks  # what is bad is said alone, before anything else
        warn([*opened.remarks, *problem.task.remarks])
        if not request.as_json and not problem.every_row:
            announce_compilation(console(stderr=True))
        scores = scored(problem, opened.genotype)
        if request.as_json:
            tasks = scores.pop("tasks", None)
            more = {} if tasks is None else {"tasks": tasks}
            key = {"key": opened.space.key(opened.genotype)}
            beside = self.beside(problem) if request.baselines else {}
            print_json({"objectives": scores} | more | key | beside)
        else:
            self.print_scores(opened, problem, scores, request)

    def _problem(self, opened: Opened, request: Request) -> Problem:
        """The problem of an evaluation: the run's, or one for a file, under what is asked for."""
        base: dict[str, Any] = {"space": opened.space_settings}
        if opened.problem is not None:
            complete = opened.problem.config.complete()
            base = {key: complete[key] for key in complete if key not in ("system", "start")}
        elif request.task is None and not any("task" in each for each in request.sets):
            raise InputError("evaluate: a file needs --task; `evoml tasks` lists them")
        if request.task is not None and request.task != base.get("task", {}).get("name"):
            base["task"] = {"name": request.task}
        other = _other_table(opened, request)
        request = request if other is None else replace(request, data=None)
        # what the run names as code is executed only where its user says so
        layers = ((str(opened.path), base), *request.layers(named=False))
        out = Problem(build(*layers, trusts=opened.problem is None))
        out.space = opened.space
        if other is not None:
            if out.data_digest != _data_digest(opened):
                raise InputError(
                    f"{out.config.data}: not the data that the run was made with, which say how "
                    f"{other} is to be read; put them back"
                )
            out.task = out.task.tested_on(other)
        return out

    def beside(self, problem: Problem) -> dict[str, Any]:
        """What scores are held against, as plain values."""
        return {}

    def print_scores(
        self, opened: Opened, problem: Problem, scores: dict[str, Any], request: Request
    ) -> None:
        """What `scored` gave, beside what it is held against where that is asked for."""
        objectives = {each.name: each for each in problem.objectives}
        table = plain_table(f"test of {problem.config.name('task')}", self._called(opened))
        for name, value in scores.get("tasks", scores).items():
            objective = objectives.get(name, Objective(name, True))
            title, text = headed(objective).replace("_", " "), shown(value, objective.unit)
            table.add_row(title, Text(text, "bold"))
        console().print(table)

    def _called(self, opened: Opened) -> str:
        """What a genotype is called above its scores."""
        if opened.problem is None:
            return opened.path.name
        return self.winner if opened.candidate is None else f"candidate {opened.candidate}"


def _other_table(opened: Opened, request: Request) -> Path | None:
    """Data that a run's candidate is to be tested on as the run's own are measured; None where it
    is asked for none, or these are the run's. Raises InputError.
    """
    run, data = opened.problem, request.data
    if (
        run is None
        or data is None
        or not data.is_file()
        or request.task not in (None, run.config.name("task"))
    ):
        return None
    if run.config.data is None or not task_class(run.config.name("task")).tests_other_data:
        return None
    try:
        return None if digest(data.read_bytes()) == _data_digest(opened) else data
    except OSError as error:
        raise InputError(f"{data}: {(error.strerror or 'cannot be read').lower()}") from None


def _data_digest(opened: Opened) -> str | None:
    """What a run says of its data."""
    found = read_config(opened.path).get("data_digest")
    return found if isinstance(found, str) else None


def kind_of(space: Space) -> Kind:
    """The kind of phenotype that a space makes."""
    return kind(space.phenotype)


@cache
def kind(phenotype: str) -> Kind:
    """A kind by its name. Raises InputError for another's that is broken."""
    name = phenotype if phenotype in registry.names("report") else DEFAULT
    return only_class("report", name, Kind)()


def scored(problem: Problem, genotype: Genotype) -> dict[str, Any]:
    """What is reported of a genotype: objectives by name, and where candidates are scored in
    batches under `tasks` every task's score.

    Raises InputError where it cannot be evaluated.
    """
    if not problem.every_row:
        return problem.test(genotype)
    evaluator = problem.evaluator(problem.test_tasks, exact=True)
    assert isinstance(evaluator, CandidateEvaluator)
    reported = evaluator.reported(genotype)
    if reported is not None:
        return dict(reported)
    evaluation = evaluator.evaluate(Population.of(problem.space.schema, [genotype]))
    if evaluation.status[0] != OK:
        status = STATUS[evaluation.status[0]].replace("_", " ")
        raise InputError(f"evaluate: not evaluated: {status}")
    return dict(zip(problem.names, map(float, evaluation.objectives[0]), strict=True))


def tested(problem: Problem, scores: dict[str, Any]) -> str:
    """What is reported of a candidate, in a line."""
    units = {each.name: each.unit for each in problem.objectives}
    return ", ".join(
        f"test {name} {shown(value, units.get(name, ''))}"
        for name, value in scores.items()
        if isinstance(value, float)
    )


def ending(problem: Problem, result: Result) -> str:
    """How much a search did, and why it ended."""
    failed = failures(result.counts) if problem.every_row else ""
    speed = "" if problem.every_row else f" ({result.evaluations_per_second:,.0f} a second)"
    check = (
        f"; the check took {result.check_seconds:.1f} s more" if result.audit is not None else ""
    )
    return (
        f"{plural(result.evaluations, 'candidate')} in {result.seconds:.1f} s{speed}, ended by "
        f"{result.reason}{check}"
        + (f"; {failed}" if failed else "")
        + (f"; the first: {one_line(result.failure)}" if failed and result.failure else "")
    )


def _source(problem: Problem) -> str:
    """Whose report of a result it is, before that; empty for a test."""
    if not problem.every_row:
        return ""
    looked_up = problem.objectives[0].kind == "looked up"
    return f"what the {'table' if looked_up else 'evaluator'} reports of it: "


def _where(problem: Problem, result: Result) -> str:
    """On what the objectives of the best candidate were found."""
    if not problem.every_row:
        return "on the selection tasks"
    if result.audit is None or problem.stand_alone is problem or result.audit["found"] is None:
        return "in search"
    alone = problem.stand_alone.objectives[0]
    return (
        f"with shared weights, {listed([alone], {alone.name: result.audit['found']})} trained alone"
    )
