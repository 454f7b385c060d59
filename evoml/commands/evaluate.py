"""What `evoml evaluate` does: test a candidate of a run, or a file, as its kind says."""

from pathlib import Path
from typing import Any

from evoml.commands.configuration import trust_parts
from evoml.commands.inputs import open_best, trust_all
from evoml.report._kind import Request, kind_of


def evaluate(
    path: Path,
    task: str | None,
    data: Path | None,
    seed: int | None,
    preset: str | None,
    sets: list[dict[str, Any]],
    as_json: bool,
    inherit: Path | None = None,
    trust: bool = False,
    candidate: int | None = None,
    baselines: bool = True,
) -> None:
    """Print scores on test tasks, beside baselines.

    inherit: a run whose shared weights are started from. trust: execute the files of a run's parts.
    candidate: its id in the run; None: the best one. baselines: whether they are tried.
    """
    if trust:
        trust_all(path, inherit)
    for values in ({"task": {"name": task or ""}}, *sets):
        trust_parts(values)
    opened = open_best(path, candidate)
    request = Request(task, data, seed, preset, inherit, sets, as_json, baselines)
    kind_of(opened.space).evaluate(opened, request)
