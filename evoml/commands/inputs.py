"""What commands are given: parts that a user names, and a run or a file that is opened."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evoml.archive.files import read_config
from evoml.config import PARTS, Config, build, read_system, read_toml
from evoml.core.errors import InputError
from evoml.core.registry import trust
from evoml.report._kind import kind_of
from evoml.search.opened import Opened
from evoml.search.problem import Problem, edited, open_file, stored_config

Layer = tuple[str, Mapping[str, Any]]


def configuration(layers: Iterable[Layer]) -> Config:
    """The configuration of layers that the user gave, whose parts may be files since the user named
    them. Raises InputError.
    """
    layers = tuple(layers)
    for _, layer in layers:
        trust_parts(layer)
        system = str(layer.get("system", ""))
        if system.endswith(".toml") or "/" in system:
            trust_parts(read_system(system))
    return build(*layers)


def trust_parts(values: Mapping[str, Any]) -> None:
    """Allow the files of parts that settings name to be executed."""
    for part in PARTS:
        group = values.get(part)
        if isinstance(group, Mapping):
            trust(str(group.get("name", "")))


def trust_all(*paths: Path | None) -> None:
    """The same for parts that runs and genotypes' files name. Raises InputError."""
    for path in paths:
        if path is not None and path.is_dir():
            trust_parts(read_config(path))
        elif path is not None and path.suffix == ".toml":
            trust_parts(read_toml(path))


def open_best(path: Path) -> Opened:
    """The best genotype of a run, or a file's.

    Raises InputError for a run without a candidate that could be evaluated.
    """
    if not path.is_dir():
        space, genotype = open_file(path)
        return Opened(path, None, space, genotype)
    problem = Problem(stored_config(path))
    best, remarks = problem.archive(path).best(1)
    remarks += edits(path)
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
    return Opened(path, problem, problem.space, best[0]["genotype"], tuple(remarks))


def edits(run: Path) -> list[str]:
    """What to say of a run whose settings were changed."""
    return (
        [f"{run / 'run.toml'}: not the settings that the run was made with"] if edited(run) else []
    )
