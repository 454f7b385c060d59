"""A search made of a configuration, or taken up from its folder."""

from pathlib import Path
from typing import Any

from evoml.archive.files import read_config, read_result
from evoml.config import Config, check_origins
from evoml.contracts.part import evaluator_class
from evoml.core.errors import InputError
from evoml.search.problem import check_parts, stored_config
from evoml.search.run import Run


def open_search(config: Config, folder: Path) -> Run:
    """The loop that fits a configuration: rounds where thousands are evaluated a call, a steady
    state where every candidate is a row.
    """
    check_parts(config)
    if evaluator_class(config.name("evaluator")).batched:
        from evoml.search.rounds import Rounds

        return Rounds(config, folder)
    from evoml.search.steady_state import SteadyState

    return SteadyState(config, folder)


def resume(
    folder: Path,
    budget: int | None = None,
    seconds: float | None = None,
    workers: int | None = None,
    data: Path | None = None,
) -> Run:
    """A search that goes on where the run's checkpoint is, with other limits where they are given.
    Raises InputError.

    data: where the run's data file is now, if it was moved.
    """
    limits = {
        name: value
        for name, value in (("budget", budget), ("seconds", seconds))
        if value is not None
    }
    changes: dict[str, Any] = {"search": limits} | ({} if workers is None else {"workers": workers})
    if data is not None:
        changes["task"] = {"data": str(data)}
    config = stored_config(folder, changes)
    check_origins(read_config(folder), config, str(folder))
    out = open_search(config, folder)
    out.restore()
    ended = read_result(folder) or {"evaluations": 0, "seconds": 0.0}
    had = {
        "budget": max(out.evaluations, ended["evaluations"]),
        "seconds": max(out.seconds, ended["seconds"]),
    }
    for name, limit in limits.items():
        if 0 < limit < had[name]:
            raise InputError(
                f"resume: --{name} {limit:g}: the run has had {had[name]:,} already; give more"
            )
    if limits or data is not None:
        out.store_limits()
    return out
