"""What the commands say of programs: the discovered one without what cannot matter, and its scores
beside those of textbook methods and of programs written by hand.
"""

from typing import Any

from rich.text import Text

from evoml.contracts.task import TaskSet
from evoml.core.wording import plural
from evoml.report import console, print_source
from evoml.report._baselines import baselines
from evoml.report._kind import Kind, Request
from evoml.report._tables import plain_table, shown, title
from evoml.search.opened import Opened
from evoml.search.problem import Problem, edited
from evoml.search.run import Result

UNSEEN = "test tasks that the search never saw"


class Programs(Kind):
    """Programs of three functions."""

    noun = "program"
    winner = "discovered program"
    language = "python"

    def print_result(self, problem: Problem, result: Result) -> None:
        if problem.every_row:
            super().print_result(problem, result)
            return
        out = console()
        if result.best is None or result.test is None:
            out.print(
                f"nothing was selected in {plural(result.evaluations, 'candidate')}; run "
                f"{result.run}"
            )
            return
        out.print(
            f"\nThe discovered program (candidate {result.best['id']}), without instructions that "
            "cannot reach the prediction:\n"
        )
        print_source(out, result.best["essence"], self.language)
        out.print(
            "\ns0 is the label, s1 the prediction, v0 the features; all memory starts at zero."
        )
        _print_scores(problem, self.winner, result.test, UNSEEN)
        rate = (
            f"{plural(result.evaluations, 'candidate')} in {result.seconds:.1f} s "
            f"({result.evaluations_per_second:,.0f} a second); ended by {result.reason}"
        )
        out.print(f"\n{rate}\nrun: {result.run}", soft_wrap=True)

    def facts(self, problem: Problem, result: Result) -> dict[str, Any]:
        return self.beside(problem) if result.test else {}

    def beside(self, problem: Problem) -> dict[str, Any]:
        tasks = problem.test_tasks
        others = {name: dict(row) for name, row in problem.task.baselines().items()}
        out = {"baselines": baselines(problem, tasks)} if isinstance(tasks, TaskSet) else {}
        return out | ({"table_baselines": others} if others else {})

    def print_scores(
        self, opened: Opened, problem: Problem, scores: dict[str, Any], request: Request
    ) -> None:
        if problem.every_row:
            super().print_scores(opened, problem, scores, request)
            return
        config, run = problem.config, opened.problem
        same = run is not None and not edited(opened.path) and _about(run) == _about(problem)
        which = (
            UNSEEN if same else f"test tasks of {config.name('task')}, seed {config.search.seed}"
        )
        _print_scores(problem, self._called(opened), scores, which, request.baselines)


def _print_scores(
    problem: Problem, name: str, scores: dict[str, Any], which: str, beside: bool = True
) -> None:
    """A score beside those of the baselines; and of a table, what it means on its rows beside
    textbook methods.
    """
    out, tasks = console(), problem.test_tasks
    which = which.replace("tasks", "task", 1) if len(tasks) == 1 else which
    out.print(f"\n{problem.objective} on {len(tasks)} {which}")
    table = plain_table("method", problem.objective)
    table.add_row(Text(name, "bold"), Text(f"{scores[problem.objective]:.4f}", "bold"))
    for method, value in (baselines(problem, tasks) if beside else {}).items():
        table.add_row(method, f"{value:.4f}")
    out.print(table)
    words = [each for each in scores if each not in (problem.objective, "tasks")]
    if not words:
        return
    about = problem.task.scores_are
    out.print(f"\non the rows of the test part{about and f', {about}'}")
    table = plain_table("method", *map(title, words))
    table.add_row(Text(name, "bold"), *(Text(shown(scores[each]), "bold") for each in words))
    for method, row in (problem.task.baselines() if beside else {}).items():
        table.add_row(method, *(shown(row[each]) if each in row else "-" for each in words))
    out.print(table)


def _about(problem: Problem) -> Any:
    """What decides the test tasks, and which the search saw."""
    return problem.config.complete()["task"], problem.config.search.seed, problem.data_digest
