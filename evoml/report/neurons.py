"""What the commands say of networks of neurons: the champion as a formula and its size, its scores
by name, and the species of the last generation.
"""

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from rich.table import Table

from evoml.core.errors import InputError
from evoml.core.wording import plural
from evoml.export import species
from evoml.export._events import events
from evoml.export._neurons import formula, neurons, run_units, sizes
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import ACTIVATIONS
from evoml.report import console
from evoml.report._kind import Kind, Request, ending
from evoml.report._tables import plain_table, title
from evoml.search.opened import Opened
from evoml.search.problem import Problem
from evoml.search.run import Result

SHOWN = 20  # species in a table
WIDEST = 5  # scores that are columns of a table
KNOWN = ("accuracy", "r2", "rmse", "return")  # scores that people know


class Neurons(Kind):
    """Networks of single neurons, and CPPNs that draw them."""

    noun = "network of neurons"
    winner = "champion"

    def print_result(self, problem: Problem, result: Result) -> None:
        if problem.every_row:
            super().print_result(problem, result)
            return
        out, folder = console(), quote(str(result.run))
        why = failure(result.run)
        failed = (
            (f"; {result.counts['failed']:,} failed" + (f"; the first: {why}" if why else ""))
            if result.counts.get("failed")
            else ""
        )
        rate = ending(problem, result) + failed
        if result.best is None:
            out.print(
                f"nothing was selected, since no network could be scored: {rate}\nrun: "
                f"{result.run}",
                soft_wrap=True,
            )
            return
        genotype = problem.space.parse(result.best["text"], str(result.run))
        searched = in_search(problem, result.run, result.best["id"])
        score = {"search": searched, "selection": result.best["objectives"][problem.objective]}
        about = self.describe(problem.space, genotype)
        out.print(
            f"\nThe champion (candidate {result.best['id']}), {size_line(about)}:\n",
            soft_wrap=True,
        )
        print_formula(problem.space, about, run_units(problem, result.run))
        out.print(f"\n{score_line(problem, score)}")
        if result.test is not None:
            out.print(f"in the test: {named(result.test['tasks'])}", soft_wrap=True)
        out.print(f"\n{rate}{_generations(result.run)}\nrun: {result.run}", soft_wrap=True)
        out.print(
            f"pictures: evoml export {folder} --to svg -o network.svg; evoml export {folder} --to "
            "species -o species.svg",
            soft_wrap=True,
        )

    def facts(self, problem: Problem, result: Result) -> dict[str, Any]:
        if result.best is None:
            return {"failure": failure(result.run)}
        genotype = problem.space.parse(result.best["text"], str(result.run))
        scores = {
            "search": in_search(problem, result.run, result.best["id"]),
            "selection": result.best["objectives"][problem.objective],
        }
        test = {"tasks": result.test["tasks"]} if result.test else {}
        about = self.describe(problem.space, genotype) | {"scores": scores}
        return about | test | population(result.run)

    def check(self, problem: Problem, run: Path, best: dict[str, Any]) -> None:
        if not isfinite(best[problem.objective]):
            why = failure(run)
            raise InputError(
                f"{run}: nothing was selected, since no network could be scored"
                + (f"; the first that failed: {why}" if why else "")
            )

    def describe(self, space: Any, genotype: Genotype) -> dict[str, Any]:
        """A network as plain values: its formula, the functions in that, and what its gene tables
        hold; of a CPPN also how large the network is that it draws.
        """
        text = formula(space, genotype)
        used = {
            each.name: each.text
            for each in ACTIVATIONS
            if re.search(rf"\b{each.name}\(", text) and each.text != f"{each.name}(a)"
        }
        drawn = {"network": neurons(space, genotype).size} if space.substrate is not None else {}
        return {"formula": text, "functions": used, "size": sizes(genotype)} | drawn

    def print_file(self, space: Any, genotype: Genotype) -> None:
        """Size and formula."""
        about = self.describe(space, genotype)
        console().print(size_line(about) + "\n", soft_wrap=True)
        print_formula(space, about)

    def described(self, problem: Problem, run: Path, row: dict[str, Any]) -> dict[str, Any]:
        """Formula, size, and the objective in search and on selection, None where it is not
        known.
        """
        own = row["objectives"][problem.objective]
        selected = row["event"] == "selected"
        scores = {
            "search": in_search(problem, run, row["id"]) if selected else own,
            "selection": own if selected else None,
        }
        return self.describe(problem.space, row["genotype"]) | {"scores": scores}

    def course(self, problem: Problem, run: Path) -> dict[str, Any]:
        return population(run)

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
        units = run_units(problem, run)
        for row in rows[:count]:
            out.print(
                f"\ncandidate {row['id']}, key {row['key']}: {score_line(problem, row['scores'])}",
                soft_wrap=True,
            )
            out.print(size_line(row) + "\n", soft_wrap=True)
            print_formula(problem.space, row, units)
        if course:
            many = len(course["species"])
            out.print(
                f"\ngeneration {course['generation']:,}, {many:,} species"
                + (f", the largest {SHOWN}:" if many > SHOWN else ":")
            )
            out.print(species_table(course["species"]))

    def print_scores(
        self, opened: Opened, problem: Problem, scores: dict[str, Any], request: Request
    ) -> None:
        """What a network did in a task's test, and why it failed there."""
        if problem.every_row:
            super().print_scores(opened, problem, scores, request)
            return
        tasks = problem.test_tasks
        others: Mapping[str, Mapping[str, float]] = {}
        if request.baselines and not tasks.failure:
            console(stderr=True).print("baselines ... (--no-baselines leaves them out)")
            others = problem.task.baselines()
        methods = {self._called(opened): scores["tasks"], **others}
        console().print(_scores_table(problem.config.name("task"), methods))
        if tasks.failure:
            console().print(f"it failed: {tasks.failure}", soft_wrap=True)
        for score in scores["tasks"]:
            if score in tasks.meaning:
                console().print(f"{title(score)}: {tasks.meaning[score]}", soft_wrap=True)

    def beside(self, problem: Problem) -> dict[str, Any]:
        others = problem.task.baselines() if not problem.test_tasks.failure else {}
        return {"baselines": {name: dict(row) for name, row in others.items()}} if others else {}


def _scores_table(task: str, methods: Mapping[str, Mapping[str, float]]) -> Table:
    """Methods with their scores by name, those that people know best first; the first one is meant.

    A row a method, or a row a score where there are many.
    """
    (own, scores), *_ = methods.items()
    names = sorted(scores, key=lambda name: name not in KNOWN)
    cells = {
        name: [number(row[name]) if name in row else "-" for row in methods.values()]
        for name in names
    }
    if len(names) > WIDEST:
        table = plain_table(f"test of {task}", *methods)
        for name in names:
            table.add_row(title(name), *cells[name])
        return table
    table = plain_table(f"test of {task}", *map(title, names))
    for at, method in enumerate(methods):
        row = (cells[name][at] for name in names)
        table.add_row(method, *row, style="bold" if method == own else "")
    return table


def _generations(run: Path) -> str:
    now = population(run)
    return f", generation {now['generation']:,}, {len(now['species']):,} species" if now else ""


def failure(run: Path) -> str:
    """Why the first network of a run failed that did; empty where none did, or none says why.

    Raises InputError.
    """
    return _printable(next(events(run, "failure", lambda event: str(event["text"])), ""))[:160]


def population(run: Path) -> dict[str, Any]:
    """The last generation of a run and its species; empty before there is one.

    Raises InputError.
    """
    event = species.last(run)
    return (
        {} if event is None else {"generation": event["generation"], "species": species_rows(event)}
    )


def print_formula(space: Any, about: dict[str, Any], units: Any = None) -> None:
    """A formula that `Neurons.describe` gave, what its functions are, how one with cycles is to be
    read, and what inputs and outputs stand for.
    """
    print(about["formula"])
    recurrent = (
        space.substrate.recurrent if space.substrate is not None else space.settings.recurrent
    )
    if recurrent and re.search(r"= .*\b[hy]\d", about["formula"]):
        print("\nRecurrent: nodes on the right have the values of the step before.")
    if about["functions"]:
        print(
            "\nwhere "
            + ", ".join(f"{name}(a) = {text}" for name, text in about["functions"].items())
        )
    if units is not None:
        print("\n" + "\n".join(map(_printable, units.words())))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def in_search(problem: Problem, run: Path, candidate: int) -> float | None:
    """A candidate's objective in search; None where no row of it was kept."""
    table, _ = problem.archive(run).table(["id", "event", problem.objective])
    for id, event, value in zip(
        *(table[name].to_pylist() for name in table.column_names), strict=True
    ):
        if id == candidate and event != "selected":
            return float(value)
    return None


def species_rows(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The species of a generation: number, members, best fitness now and ever, age and generations
    since the last gain; the largest first.
    """
    now = event["generation"]
    rows = [
        {
            "species": each["id"], "members": each["size"], "best": each["now"],
            "best_ever": each["best"], "age": now - each["since"],
            "since_gain": now - each["improved"],
        } for each in event["species"]
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row["members"], row["species"]))


def species_table(rows: list[dict[str, Any]]) -> Table:
    """The first species of `species_rows`."""
    titles = ("species", "members", "best", "best ever", "age", "since its last gain")
    table = plain_table(*titles, left=0)
    for row in rows[:SHOWN]:
        best = ("-" if row[name] is None else number(row[name]) for name in ("best", "best_ever"))
        table.add_row(
            str(row["species"]),
            f"{row['members']:,}",
            *best,
            f"{row['age']:,}",
            f"{row['since_gain']:,}",
        )
    return table


def size_line(about: dict[str, Any]) -> str:
    """What `Neurons.describe` gave in words: 4 nodes of which 1 hidden, 6 links of which 5 enabled;
    of a CPPN also what it draws.
    """
    size = about["size"]
    words = (
        f"{plural(size['nodes'], 'node')} of which {size['hidden']:,} hidden, "
        f"{plural(size['links'], 'link')} of which {size['enabled']:,} enabled"
    )
    return (
        f"CPPN: {words}; the network that it draws: {about['network']}"
        if "network" in about
        else words
    )


def score_line(problem: Problem, scores: dict[str, float | None]) -> str:
    """What was scored in search and on selection, each by its name."""
    task = problem.task
    places = {
        "search": ("in search", task.search(0).names[0]),
        "selection": ("on selection", task.select().names[0]),
    }
    return ", ".join(
        f"{title(places[name][1])} {number(value)} {places[name][0]}"
        for name, value in scores.items()
        if value is not None
    )


def number(value: float) -> str:
    """Four places, or four digits where these would not be seen."""
    return (
        f"{value:.4f}"
        if value == 0 or (not 0 < abs(value) < 1e-3 and abs(value) < 1e9)
        else f"{value:.4g}"
    )


def named(scores: dict[str, float]) -> str:
    """Scores by name, in a line."""
    return ", ".join(f"{title(name)} {number(value)}" for name, value in scores.items())
