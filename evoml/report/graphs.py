"""What the commands say of networks of neurons: the champion as a formula and its size, its scores by name, and the species of the last generation."""

import re
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evoml.export import species
from evoml.export.graph import counted, formula, sizes
from evoml.genes import Genotype
from evoml.problem import Problem
from evoml.report import console
from evoml.runs import Result

SHOWN = 20  # species in a table


def print_result(problem: Problem, result: Result) -> None:
    """The end of a search, and what to do next."""
    out, folder = console(), quote(str(result.run))
    failed = f"; {result.counts['failed']:,} failed" if result.counts.get("failed") else ""
    rate = (
        f"{counted(result.evaluations, 'candidate')} in {result.seconds:.1f} s ({result.evaluations_per_second:,.0f} a second), "
        f"ended by {result.reason}{failed}"
    )
    if result.best is None:
        out.print(f"no network was selected; {rate}\nrun: {result.run}", soft_wrap=True)
        return
    genotype = problem.space.parse(result.best["text"], str(result.run))
    searched = in_search(problem, result.run, result.best["id"])
    score = {"search": searched, "selection": result.best["objectives"][problem.objective]}
    out.print(f"\nThe champion (candidate {result.best['id']}), {size_line(genotype)}:\n", soft_wrap=True)
    print_formula(problem.space, formula(problem.space, genotype))
    out.print(f"\n{score_line(problem.objective, score)}")
    if result.test is not None:
        out.print(f"in the test: {named(result.test['tasks'])}", soft_wrap=True)
    out.print(f"\n{rate}{_generations(result.run)}\nrun: {result.run}", soft_wrap=True)
    out.print(f"pictures: evoml export {folder} --to svg -o network.svg; evoml export {folder} --to species -o species.svg", soft_wrap=True)


def _generations(run: Path) -> str:
    now = population(run)
    return f", generation {now['generation']:,}, {len(now['species']):,} species" if now else ""


def facts(problem: Problem, result: Result) -> dict[str, Any]:
    """What `print_result` says beyond what is said of every search, as plain values."""
    if result.best is None:
        return {}
    genotype = problem.space.parse(result.best["text"], str(result.run))
    scores = {"search": in_search(problem, result.run, result.best["id"]), "selection": result.best["objectives"][problem.objective]}
    test = {"tasks": result.test["tasks"]} if result.test else {}
    return describe(problem.space, genotype) | {"scores": scores} | test | population(result.run)


def population(run: Path) -> dict[str, Any]:
    """The last generation of a run and its species; empty before there is one. Raises InputError."""
    event = species.last(run)
    return {} if event is None else {"generation": event["generation"], "species": species_rows(event)}


def describe(space: Any, genotype: Genotype) -> dict[str, Any]:
    """A network as plain values: its formula, and what its gene tables hold."""
    return {"formula": formula(space, genotype), "size": sizes(genotype)}


def print_file(space: Any, genotype: Genotype) -> None:
    """A genotype's file: size and formula."""
    console().print(size_line(genotype) + "\n", soft_wrap=True)
    print_formula(space, formula(space, genotype))


def print_formula(space: Any, text: str) -> None:
    """A formula, and how one with cycles is to be read."""
    print(text)
    if space.settings.recurrent and re.search(r"= .*\b[hy]\d", text):
        print("\nRecurrent: nodes on the right have the values of the step before.")


def print_best(out: Console, problem: Problem, rows: list[dict[str, Any]], now: dict[str, Any]) -> None:
    """The best networks of a run, `described`, and its `population`."""
    for row in rows:
        out.print(f"\ncandidate {row['id']}, key {row['key']}: {score_line(problem.objective, row['scores'])}", soft_wrap=True)
        out.print(size_words(row["size"]) + "\n", soft_wrap=True)
        print_formula(problem.space, row["formula"])
    if now:
        count = len(now["species"])
        out.print(f"\ngeneration {now['generation']:,}, {count:,} species" + (f", the largest {SHOWN}:" if count > SHOWN else ":"))
        out.print(species_table(now["species"]))


def described(problem: Problem, run: Path, row: dict[str, Any], genotype: Genotype) -> dict[str, Any]:
    """What `show` adds to a row of the archive: formula, size, and the objective in search and on selection, None where it is not known."""
    own = row["objectives"][problem.objective]
    selected = row["event"] == "selected"
    scores = {"search": in_search(problem, run, row["id"]) if selected else own, "selection": own if selected else None}
    return describe(problem.space, genotype) | {"scores": scores}


def in_search(problem: Problem, run: Path, candidate: int) -> float | None:
    """A candidate's objective in search; None where no row of it was kept."""
    table, _ = problem.archive(run).table(["id", "event", problem.objective])
    for id, event, value in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        if id == candidate and event != "selected":
            return float(value)
    return None


def species_rows(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The species of a generation: number, members, best fitness now and ever, age and generations since the last gain; the largest first."""
    now = event["generation"]
    rows = [
        {
            "species": each["id"], "members": each["size"], "best": each["now"], "best_ever": each["best"],
            "age": now - each["since"], "since_gain": now - each["improved"],
        }
        for each in event["species"]
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (-row["members"], row["species"]))


def species_table(rows: list[dict[str, Any]]) -> Table:
    """The first species of `species_rows`."""
    table = Table(box=None, pad_edge=False)
    for title in ("species", "members", "best", "best ever", "age", "since its last gain"):
        table.add_column(title, justify="right")
    for row in rows[:SHOWN]:
        best = (f"{row[name]:.4f}" for name in ("best", "best_ever"))
        table.add_row(str(row["species"]), f"{row['members']:,}", *best, f"{row['age']:,}", f"{row['since_gain']:,}")
    return table


def size_line(genotype: Genotype) -> str:
    """How large the gene tables are, in words."""
    return size_words(sizes(genotype))


def size_words(size: dict[str, int]) -> str:
    """4 nodes of which 1 hidden, 6 links of which 5 enabled."""
    return f"{counted(size['nodes'], 'node')} of which {size['hidden']:,} hidden, {counted(size['links'], 'link')} of which {size['enabled']:,} enabled"


def score_line(objective: str, scores: dict[str, float | None]) -> str:
    """The objective in search and on selection."""
    places = {"search": "in search", "selection": "on selection"}
    known = [f"{value:.4f} {places[name]}" for name, value in scores.items() if value is not None]
    return f"{objective} {', '.join(known)}"


def named(scores: dict[str, float]) -> str:
    """Scores by name, in a line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())


def print_scores(name: str, task: str, scores: dict[str, float]) -> None:
    """What a network did in a task's test."""
    table = Table(box=None, pad_edge=False)
    table.add_column(f"test of {task}")
    table.add_column(name, justify="right")
    for title, value in scores.items():
        table.add_row(title.replace("_", " "), Text(f"{value:.4f}", "bold"))
    console().print(table)
