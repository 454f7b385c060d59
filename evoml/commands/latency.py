"""What `evoml latency` does: measure a table of layer latencies, and see what its predictions are
worth.
"""

from pathlib import Path
from typing import Any

import numpy as np

from evoml.config import Config
from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.contracts.task import ImageSet
from evoml.core.errors import InputError
from evoml.core.rank_correlation import kendall, spearman
from evoml.networks.latency import Table, check_writable, drawn, known, measure, whole
from evoml.report import console, print_json
from evoml.search.problem import Problem


def latency(config: Config, output: Path | None, check: int, repeats: int, as_json: bool) -> None:
    """Measure a table for the configuration's space and task, write it, and compare predictions
    with so many random networks.

    Raises InputError, DiskError.
    """
    if output is None and not check:
        raise InputError(
            "latency: name a file for the table with -o, or a number of networks with --check"
        )
    if output is not None:
        check_writable(output)
    problem, err = Problem(config), console(stderr=True)
    size, classes = _images(problem)
    space = problem.architecture_space
    rows = known(space, size, classes)
    if not as_json:
        err.print(
            f"measuring {len(rows)} rows, {repeats} times each, on one thread; the machine should "
            "have nothing else to do ..."
        )
    table = measure(rows, repeats)
    if output is not None:
        table.write(output)
    report: dict[str, Any] = {
        "table": None if output is None else str(output),
        "rows": len(rows),
        **table.about,
    }
    if check:
        if not as_json:
            err.print(f"measuring {check} random networks ...")
        report["check"] = compared(table, space, size, classes, check, repeats, config.search.seed)
    if as_json:
        print_json(report)
        return
    print(
        f"{len(rows)} rows on {table.about['machine']}, torch {table.about['torch']}"
        + (f": {output}" if output else "; not kept")
    )
    if check:
        found = report["check"]
        print(
            f"predicted against measured latency of {found['networks']} random networks: Spearman "
            f"{found['spearman']:.3f}, Kendall {found['kendall']:.3f} (Spearman of the "
            f"measurement's two halves: {found['spearman_of_halves']:.3f})\n"
            f"predicted over measured: {found['ratio']:.2f} (median); measured "
            f"{found['least'] * 1e3:.3g} to {found['most'] * 1e3:.3g} ms"
        )


def compared(
    table: Table,
    space: Any,
    size: tuple[int, int, int],
    classes: int,
    count: int,
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """Rank correlations between what the table predicts and what is measured, over random networks,
    and between two halves of the measurements, which no prediction can pass by much.
    """
    networks = list(drawn(space, size, classes, count, seed))
    predicted = np.array([table.network(network) for network in networks])
    times = whole(networks, max(repeats, 2))
    measured = np.median(times, 1)
    halves = [np.median(times[:, half::2], 1) for half in (0, 1)]
    return {
        "networks": len(networks), "spearman": spearman(predicted, measured),
        "kendall": kendall(predicted, measured), "spearman_of_halves": spearman(*halves),
        "ratio": float(np.median(predicted / measured)) if networks else 0.0,
        "least": float(measured.min(initial=np.inf)), "most": float(measured.max(initial=0.0)),
    }  # fmt: skip


def _images(problem: Problem) -> tuple[tuple[int, int, int], int]:
    """Size and number of classes of the task's images.

    Raises InputError for a space or a task without networks.
    """
    if not isinstance(problem.space, ArchitectureSpace):
        raise InputError(
            f"space: {problem.config.name('space')} does not make networks of layers; cell, chain, "
            "mobile do"
        )
    images = problem.task.search(0)
    if not isinstance(images, ImageSet):
        raise InputError(
            f"task: {problem.config.name('task')} has no images, which latency depends on; digits "
            "has"
        )
    return images.size, images.head.outputs
