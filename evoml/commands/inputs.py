"""What commands are given: a run and a file that is opened, and the parts that these name."""

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from evoml.archive.files import read_config
from evoml.commands.configuration import trust_parts
from evoml.config import read_toml
from evoml.core.built_in import built_in_file
from evoml.core.errors import InputError
from evoml.core.wording import plural
from evoml.report._kind import kind_of
from evoml.search.opened import Opened
from evoml.search.problem import Problem, edited, open_file, stored_problem


def trust_all(*paths: Path | None) -> None:
    """The same for parts that runs and genotypes' files name. Raises InputError."""
    for path in paths:
        if path is not None and path.is_dir():
            trust_parts(read_config(path))
        elif path is not None and path.suffix == ".toml":
            trust_parts(read_toml(path))


def open_best(path: Path, candidate: int | None = None) -> Opened:
    """The best genotype of a run, the candidate of it with this id, or a file's.

    Raises InputError for a run without a candidate that could be evaluated, or without that one.
    """
    if not path.is_dir():
        file = None if path.exists() else built_in_file(str(path))
        space, genotype = open_file(file or path)
        if candidate is not None:
            raise InputError(f"--candidate {candidate}: is for a run; {path} is a file")
        return Opened(path, None, space, genotype)
    problem = stored_problem(path)
    best, remarks = problem.archive(path).best(1)
    remarks += edits(path)
    if candidate is not None and (not best or best[0]["id"] != candidate):
        row = candidate_row(problem, path, candidate)
        return Opened(path, problem, problem.space, row["genotype"], tuple(remarks), candidate, row)
    if not best:
        raise InputError(
            f"{path}: no candidate has been archived yet" + "".join(f"; {line}" for line in remarks)
        )
    if problem.every_row and best[0]["status"] != "ok":
        raise InputError(
            f"{path}: no candidate was evaluated; the best one's status is "
            f"{best[0]['status'].replace('_', ' ')}"
        )
    kind_of(problem.space).check(problem, path, best[0])
    return Opened(path, problem, problem.space, best[0]["genotype"], tuple(remarks), row=best[0])


def candidate_row(problem: Problem, run: Path, candidate: int) -> dict[str, Any]:
    """The best archived row of a candidate. Raises InputError where there is none."""
    archive = problem.archive(run)
    found, _ = archive.best(1, candidate)
    if not found:
        ids = archive.table(["id"])[0]["id"].unique()
        held = plural(len(ids), "candidate")
        raise InputError(
            f"{run}: candidate {candidate} is not archived; it holds {held}"
            + (f", from {pc.min(ids).as_py()} to {pc.max(ids).as_py()}" if len(ids) else "")
            + ("" if problem.every_row else ", not every one that was evaluated")
        )
    return found[0]


def edits(run: Path) -> list[str]:
    """What to say of a run whose settings were changed."""
    return (
        [f"{run / 'run.toml'}: not the settings that the run was made with"] if edited(run) else []
    )
