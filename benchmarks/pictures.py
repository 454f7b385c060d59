"""Draw the pictures of the README from benchmarks/results/*.json, next to these.

    python benchmarks/pictures.py [--results FOLDER]

Needs matplotlib.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # before pyplot, which otherwise looks for a screen
import matplotlib.pyplot as plt

from evoml.spaces.nasbench201 import OPS

RESULTS = Path(__file__).parent / "results"
TITLES = {"digits": "digits", "mnist": "MNIST", "cifar10": "CIFAR-10"}
COLOURS = ("#777777", "#0072b2", "#d55e00", "#009e73")  # apart for the colour-blind too
# of `OPS`; skip connections stand out
OPERATIONS = ("#777777", "#d55e00", "#56b4e9", "#0072b2", "#009e73")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def best_so_far(row: dict[str, Any]) -> np.ndarray:
    """[candidates]: the best validation accuracy after each."""
    return np.maximum.accumulate(np.array([value or 0.0 for value in row["accuracy"]]))


def at_seconds(row: dict[str, Any], seconds: np.ndarray) -> np.ndarray:
    """[len(seconds)]: the best validation accuracy after so much training; NaN before the first
    candidate and after the last.
    """
    spent = np.cumsum([value or 0.0 for value in row["seconds"]])
    place = np.searchsorted(spent, seconds, side="right")
    return np.where(
        (place > 0) & (seconds <= spent[-1] * (1 + 1e-9)),
        best_so_far(row)[np.maximum(place - 1, 0)],
        np.nan,
    )


def architectures(data: dict[str, Any]) -> plt.Figure:
    """Best validation accuracy against candidates and against seconds of training; median and range
    over seeds.
    """
    sets, methods = (
        list(dict.fromkeys(row[name] for row in data["rows"])) for name in ("data", "method")
    )
    figure, axes = plt.subplots(2, len(sets), figsize=(3.6 * len(sets), 5.6), squeeze=False)
    for name, (above, below) in zip(sets, axes.T, strict=True):
        floor = []
        for method, colour in zip(methods, COLOURS, strict=False):
            rows = [row for row in data["rows"] if (row["data"], row["method"]) == (name, method)]
            if not rows:
                continue
            curves = np.array([best_so_far(row) for row in rows])
            _band(above, np.arange(1, curves.shape[1] + 1), curves, colour, method)
            # As far as every seed got, and from where every seed had a candidate.
            end = min(np.sum([value or 0.0 for value in row["seconds"]]) for row in rows)
            begin = max(row["seconds"][0] or 1e-3 for row in rows)
            if begin < end:
                seconds = np.geomspace(begin, end, 200)
                _band(
                    below,
                    seconds,
                    np.array([at_seconds(row, seconds) for row in rows]),
                    colour,
                    method,
                )
            floor.append(float(np.median(curves, axis=0)[min(4, curves.shape[1] - 1)]))
        above.set_title(TITLES.get(name, name))
        above.set_xlabel("candidates")
        below.set_xlabel("seconds of training, one core")
        below.set_xscale("log")
        for axis in (above, below):  # the first few candidates would flatten the rest
            axis.set_ylim(bottom=min(floor) - 0.02)
    for axis in axes[:, 0]:
        axis.set_ylabel("best validation accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    return figure


def _band(axis: plt.Axes, x: np.ndarray, curves: np.ndarray, colour: str, label: str) -> None:
    """Median and range of curves [seeds, len(x)]."""
    axis.plot(x, np.median(curves, axis=0), color=colour, label=label, drawstyle="steps-post")
    axis.fill_between(
        x,
        curves.min(axis=0),
        curves.max(axis=0),
        color=colour,
        alpha=0.15,
        linewidth=0,
        step="post",
    )


def pareto(data: dict[str, Any]) -> plt.Figure:
    """All candidates and the fronts of every seed, accuracy against parameters."""
    figure, axis = plt.subplots(figsize=(6.0, 4.0))
    methods = list(dict.fromkeys(row["method"] for row in data["rows"]))
    for method, colour in zip(reversed(methods), COLOURS, strict=False):
        rows = [row for row in data["rows"] if row["method"] == method]
        for row in rows:
            points = [
                point
                for point in zip(row["parameters"], row["accuracy"], strict=True)
                if point[0] is not None
            ]
            axis.scatter(
                [p for p, _ in points],
                [a for _, a in points],
                s=4,
                color=colour,
                alpha=0.2,
                linewidths=0,
            )
            axis.plot(
                [p for _, p in row["front"]],
                [a for a, _ in row["front"]],
                color=colour,
                drawstyle="steps-post",
                linewidth=1,
            )
        axis.plot([], [], color=colour, label=f"{method}, fronts of {len(rows)} seeds")
    best = [accuracy for row in data["rows"] for accuracy, _ in row["front"]]
    # the smallest candidates are far below
    axis.set_ylim(max(min(best) - 0.02, max(best) - 0.25), max(best) + 0.005)
    axis.set_xlabel("parameters")
    axis.set_ylabel("validation accuracy, digits")
    axis.legend(loc="lower right")
    figure.tight_layout()
    return figure


def shared_weights(data: dict[str, Any]) -> plt.Figure:
    """On NAS-Bench-201, the probability of every operation over the epochs of searches by gradient,
    as the mean of six edges; mean and range over seeds.
    """
    rows = [row for row in data["rows"] if row.get("mean_probabilities")]
    methods = [
        method
        for method in data["settings"]["table"][3]
        if any(row["method"] == method for row in rows)
    ]
    figure, axes = plt.subplots(
        1, len(methods), figsize=(3.4 * len(methods), 3.4), squeeze=False, sharey=True
    )
    for method, axis in zip(methods, axes[0], strict=True):
        curves = np.array([row["mean_probabilities"] for row in rows if row["method"] == method])
        epochs = np.arange(1, curves.shape[1] + 1)
        for name, colour, column in zip(OPS, OPERATIONS, np.moveaxis(curves, 2, 0), strict=True):
            axis.plot(
                epochs,
                column.mean(0),
                color=colour,
                label=name,
                linewidth=2.4 if name == "skip_connect" else 1.2,
            )
            axis.fill_between(
                epochs, column.min(0), column.max(0), color=colour, alpha=0.12, linewidth=0
            )
        axis.axhline(1 / len(OPS), color="black", linewidth=0.6, linestyle=":")
        axis.set_title(f"{method}, {len(curves)} seeds")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("probability, mean of the edges")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(labels))
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    folder = parser.parse_args().results
    makers: dict[str, Callable[[dict[str, Any]], plt.Figure]] = {
        "architectures": architectures,
        "pareto": pareto,
        "shared_weights": shared_weights,
    }
    for name, make in makers.items():
        if (folder / f"{name}.json").is_file():
            with plt.rc_context(STYLE):
                figure = make(json.loads((folder / f"{name}.json").read_text()))
            # No version in the file: the same figures give the same bytes.
            figure.savefig(folder / f"{name}.png", dpi=140, metadata={"Software": None})
            plt.close(figure)
            print(folder / f"{name}.png")


if __name__ == "__main__":
    main()
