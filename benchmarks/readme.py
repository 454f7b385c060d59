"""Put the figures of benchmarks/results/ into the README, between its markers.

python benchmarks/readme.py
"""

import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def solve_linear(data: dict[str, Any]) -> str:
    rows, summary = data["rows"], data["summary"]
    candidates = [row["candidates"] / 1e6 for row in rows]
    seconds = [row["cpu_seconds"] for row in rows]
    spread = f"{min(candidates):.2f}-{max(candidates):.2f}"
    return table(
        ["", "solved", "candidates, millions (median, range)", "CPU seconds (median, range)"],
        [
            ["original C++, until its experiment ended and passed", "10 of 10", "3.1", "98"],
            [
                "original C++, until the first above 0.9999 in search", "10 of 10",
                "2.6 (0.17-10.5)", "-",
            ],
            [
                "evoml", f"{summary['solved']} of {len(rows)}",
                f"{statistics.median(candidates):.2f} ({spread})",
                f"{statistics.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f})",
            ],
        ],
    )  # fmt: skip


def real_data(data: dict[str, Any]) -> str:
    rows = data["rows"]
    names = list(dict.fromkeys(row["data"] for row in rows))
    methods = list(dict.fromkeys(method for row in rows for method in row["scores"]))
    titles = {"digits": "digits", "cifar10": "CIFAR-10 (36 ready tasks)"}
    body = []
    for method in methods:
        cells = []
        for name in names:
            scores = [row["scores"][method] for row in rows if row["data"] == name]
            cells.append(
                f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}"
                if len(scores) > 1
                else f"{scores[0]:.4f}"
            )
        body.append([f"**{method}**" if method == "discovered program" else method, *cells])
    for title, key, form in (
        ("candidates", "candidates", "{:,.0f}"),
        ("training steps", "training_steps", "{:.1e}"),
        ("seconds", "seconds", "{:,.0f}"),
    ):
        body.append(
            [
                f"*{title} a search*",
                *(
                    form.format(statistics.mean(r[key] for r in rows if r["data"] == name))
                    for name in names
                ),
            ]
        )
    counts = [f"{titles[name]}, {sum(row['data'] == name for row in rows)} seeds" for name in names]
    return table(["method", *counts], body)


def cifar10_hour(data: dict[str, Any]) -> str:
    points = data["points"]
    chosen = [
        point
        for index, point in enumerate(points)
        if index % 6 == 5 or index == len(points) - 1 or index == 0
    ]
    body = [
        [
            f"{p['cpu_seconds'] / 60:.0f}",
            f"{p['candidates']:,}",
            f"{p['training_steps']:.2e}",
            f"{p['search']:.4f}",
            f"{p['selected']:.4f}",
            f"{p['test']:.4f}",
        ]
        for p in chosen
    ]
    return table(
        [
            "core-minutes",
            "candidates",
            "training steps",
            "best in search (this experiment)",
            "selected",
            "selected, on test pairs",
        ],
        body,
    )


def performance(data: dict[str, Any]) -> str:
    solve = json.loads((RESULTS / "solve_linear.json").read_text())["rows"]
    seconds = [row["cpu_seconds"] for row in solve]
    rows = dict(data) | {
        "until the linear regressor passes selection": {
            "unit": "CPU seconds",
            "original": [98.0],
            "runs": seconds,
            "ratio": 98.0 / statistics.median(seconds),
        }
    }
    body = []
    for name, row in rows.items():
        runs, original = row["runs"], row["original"]
        digits = 0 if min(runs) > 100 else 2
        figures = [
            f"{value:,.{digits}f}" for value in (min(runs), statistics.median(runs), max(runs))
        ]
        theirs = " to ".join(f"{value:,g}" for value in original) if original else "-"
        ratio = f"{row['ratio']:.1f}" if row["ratio"] else "-"
        body.append([name, row["unit"], theirs, *figures, ratio])
    return table(
        ["setting", "unit", "original", "evoml, lowest", "median", "highest", "times faster"], body
    )


def throughput(data: dict[str, Any]) -> str:
    body = []
    for row in data["rows"]:
        original = row["original"]
        ratio = f"{row['median'] / original:.1f}" if original else "-"
        parts = row["split"]
        split = " / ".join(
            f"{parts[name]:.1f}"
            for name in ("proposing", "canonical form", "looking up", "interpreting", "rest")
        )
        cells = [str(row[key]) for key in ("tasks", "features", "examples")]
        cells += [f"{row[key]:,.0f}" for key in ("min", "median", "max")]
        body.append([*cells, f"{original:,}" if original else "-", ratio, split])
    return table(
        [
            "tasks",
            "F",
            "examples",
            "lowest of 5",
            "median",
            "highest",
            "original",
            "ratio",
            "proposing / canonical form / looking up / interpreting / rest",
        ],
        body,
    )


def tables(data: dict[str, Any]) -> str:
    body = []
    for title, row in data.items():
        for key in ("end", "150", "300", "500", "optimum"):
            if key not in row:
                continue
            found = row[key]
            percent = key != "optimum"
            shown = (
                f"{found['mean']:.2f} ± {found['deviation']:.2f}"
                if percent
                else f"{found['mean']:.1f} queries"
            )
            reference = f"{found['reference']:g}" if "reference" in found else "-"
            off = f"{found['off']:+.1f}" if "off" in found else "-"
            benchmark, _, method = title.partition(": ")
            name = benchmark.replace("nasbench201_cifar", "NB201 CIFAR-").replace(
                "nasbench101_cifar", "NB101 CIFAR-"
            )
            body.append(
                [
                    name,
                    method + (f", {key} queries" if key.isdigit() else ""),
                    shown,
                    reference,
                    off,
                ]
            )
    return table(["table", "protocol", "evoml", "reference", "standard errors apart"], body)


def training(data: dict[str, Any]) -> str:
    titles = {"digits": "digits, 1 x 8 x 8, F = 8", "cifar10": "CIFAR-10, 3 x 32 x 32, F = 16"}
    body = []
    for name, row in data.items():
        rates, hours = row["images_a_cpu_second"], row["candidates_an_hour"]
        body.append(
            [
                titles[name], f"{rates['plain']:,.0f}", f"{rates['plain, channels_last']:,.0f}",
                f"{rates['module']:,.0f}", f"{rates['module: ratio']:.2f}", f"{hours['2 x 1']:,}",
                f"{hours['1 x 2']:,}",
            ]
        )  # fmt: skip
    return table(
        [
            "",
            "plain loop",
            "the same, channels_last",
            "evoml",
            "times faster",
            "candidates an hour, 2 workers of 1 thread",
            "1 worker of 2 threads",
        ],
        body,
    )


def architectures(data: dict[str, Any]) -> str:
    rows = data["rows"]
    names = list(dict.fromkeys(row["data"] for row in rows))
    titles = {"digits": "digits", "mnist": "MNIST", "cifar10": "CIFAR-10"}
    columns: dict[str, Callable[[dict[str, Any]], float]] = {
        "validation, best of the search": lambda row: max(
            value or 0.0 for value in row["accuracy"]
        ),
        "test, winner trained anew": lambda row: row.get("test_accuracy", 0.0),
        "parameters of the winner": lambda row: row.get("parameters", 0.0),
        "minutes a search": lambda row: sum(value or 0.0 for value in row["seconds"]) / 60,
    }
    body = []
    for name in names:
        for method in dict.fromkeys(row["method"] for row in rows):
            values = [
                [column(row) for column in columns.values()]
                for row in rows
                if (row["data"], row["method"]) == (name, method)
            ]
            if values:
                valid, test, parameters, minutes = zip(*values, strict=True)
                scores = [
                    _spread(valid),
                    _spread(test),
                    f"{statistics.median(parameters):,.0f}",
                    f"{statistics.mean(minutes):.1f}",
                ]
                body.append([f"{titles[name]} ({len(values)} seeds)", method, *scores])
        body += [
            [titles[name], f"*{title}*", "-", f"{score:.4f}", "-", "-"]
            for title, score in data["baselines"].get(name, {}).items()
        ]
    return (
        table(["data", "method", *columns], body) + "\n\n![](benchmarks/results/architectures.png)"
    )


def pareto(data: dict[str, Any]) -> str:
    body = []
    for method in dict.fromkeys(row["method"] for row in data["rows"]):
        rows = [row for row in data["rows"] if row["method"] == method]
        best = [max(accuracy for accuracy, _ in row["front"]) for row in rows]
        sizes = statistics.mean(len(row["front"]) for row in rows)
        smallest = [min((p for a, p in row["front"] if a >= 0.95), default=None) for row in rows]
        known = [value for value in smallest if value is not None]
        found = (
            f"{statistics.median(known):,.0f} ({len(known)} of {len(rows)} seeds)" if known else "-"
        )
        body.append(
            [
                f"{method} ({len(rows)} seeds)",
                _spread([row["hypervolume"] for row in rows]),
                f"{sizes:.1f}",
                _spread(best),
                found,
            ]
        )
    header = [
        "",
        "hypervolume",
        "candidates on the front",
        "best validation accuracy",
        "fewest parameters with 0.95 or more (median)",
    ]
    return table(header, body) + "\n\n![](benchmarks/results/pareto.png)"


# the paper's evaluations (Stanley and Miikkulainen 2002; Gomez et al. 2008 for the double poles),
# neat-python 2.0.0's where they were measured
_PUBLISHED = {
    "xor": ("XOR", "4,755; 100 of 100; 2.35 hidden nodes", "79 generations, 17 of 20"),
    "double_pole": ("double pole with velocities", "3,600", "9,292, 8 of 10"),
    "double_pole_without_velocities": (
        "double pole without velocities",
        "33,184; generalisation 286",
        "-",
    ),
}


def neat_published(data: dict[str, Any]) -> str:
    body = []
    for task, (title, paper, peer) in _PUBLISHED.items():
        rows = [row for row in data["rows"] if row["task"] == task]
        solved = [row for row in rows if row["solved"]]
        counts = [row["evaluations"] for row in solved]
        cpu = [row["seconds"]["cpu"] for row in rows]
        more = (
            f", generalisation {statistics.mean(row['selected'] for row in solved):.0f}"
            if "without" in task
            else ""
        )
        body.append(
            [
                title, paper, peer, f"{len(solved)} of {len(rows)}",
                f"{statistics.mean(counts):,.0f} ± {statistics.stdev(counts):,.0f}{more}",
                f"{statistics.mean(row['generations'] for row in solved):.1f}",
                f"{statistics.mean(row['hidden'] for row in solved):.2f}",
                f"{statistics.median(cpu):.2f}",
            ]
        )  # fmt: skip
    header = [
        "",
        "paper, evaluations",
        "neat-python 2.0.0",
        "solved",
        "evaluations of those",
        "generations",
        "hidden nodes",
        "CPU s (median)",
    ]
    out = table(header, body)
    gym = [row for row in data["rows"] if row["task"].startswith("gym:")]
    body = []
    for task in dict.fromkeys(row["task"] for row in gym):
        returns = [row["test"]["return"] for row in gym if row["task"] == task]
        counts = [row["evaluations"] for row in gym if row["task"] == task]
        body.append(
            [
                task.removeprefix("gym:"),
                str(len(returns)),
                f"{statistics.mean(counts):,.0f}",
                ", ".join(f"{each:.1f}" for each in returns),
            ]
        )
    return out + (
        "\n\n"
        + table(
            [
                "environment",
                "seeds",
                "networks tried (mean)",
                "mean return of 100 fresh episodes, each seed",
            ],
            body,
        )
        if body
        else ""
    )


def neat_speed(data: dict[str, Any]) -> str:
    return table(
        [
            "1,000 networks of 60 links on 256 inputs, one core",
            "network evaluations a second",
            "time, of the first row's",
        ],
        [[row["column"], f"{row['median']:,.0f}", f"{row['ratio']:,.1f}"] for row in data["rows"]],
    )


def neat_breeding(data: dict[str, Any]) -> str:
    return table(
        [
            "members", "links", "species", "microseconds a child", "of them breeding",
            "of them speciation",
        ],
        [
            [
                row["what"], f"{row['links']:.0f}", f"{row['species']:,}", f"{row['child']:,.1f}",
                *(f"{row[name]:.1f}" if name in row else "-" for name in ("ask", "tell")),
            ] for row in data["rows"]
        ],
    )  # fmt: skip


def shared_weights(data: dict[str, Any]) -> str:
    rows, sets = (
        data["rows"],
        {"digits": "digits", "mnist": "MNIST, 14x14", "cifar10": "CIFAR-10, 12x12"},
    )
    body = []
    for name, title in sets.items():
        for method in dict.fromkeys(
            [*data["settings"]["methods"], "aging evolution", "random search"]
        ):
            own = [row for row in rows if row["data"] == name and row["method"] == method]
            if not own:
                continue
            seconds, checked = (
                [row["cpu_seconds"] for row in own if row["cpu_seconds"] is not None],
                [row for row in own if row.get("kendall") is not None],
            )
            body.append(
                [
                    title,
                    method,
                    str(len(own)),
                    f"{statistics.mean(row['candidates'] for row in own):,.0f}",
                    f"{statistics.mean(seconds):,.0f}",
                    _spread([row["test_accuracy"] for row in own]),
                    f"{statistics.mean(row['validation'] for row in own):.4f}",
                    f"{statistics.mean(row['random_best'] for row in checked):.4f} "
                    f"({statistics.mean(row['random_candidates'] for row in checked):.0f})"
                    if checked
                    else "",
                    f"{statistics.mean(row['kendall'] for row in checked):.2f}" if checked else "",
                ]
            )
    header = [
        "images", "method", "seeds", "candidates", "search, CPU s", "test accuracy, trained alone",
        "in validation, trained alone", "best of a random search of equal cost (of so many)",
        "Kendall, shared against alone",
    ]  # fmt: skip
    return table(header, body)


def shared_table(data: dict[str, Any]) -> str:
    published = {
        "DARTS, second order": "65.38 ± 7.84; 54.30 (all skip connections) in 2020",
        "DARTS, first order": "59.84 ± 7.84; 54.30 in 2020",
        "One-Shot, random search": "91.05 ± 0.66 (RSPS)",
        "SNAS": "-",
    }
    body = []
    for method in data["settings"]["table"][3]:
        own = [
            row for row in data["rows"] if row["data"] == "nasbench201" and row["method"] == method
        ]
        if own:
            skips = ", ".join(
                f"{row['skips']['cell'][0]} of {row['skips']['cell'][1]}" for row in own
            )
            body.append(
                [
                    method, ", ".join(f"{row['accuracy']:.2f}" for row in own),
                    ", ".join(f"{row['rank']:,}" for row in own), skips,
                    ", ".join(f"{row['kendall']:.2f}" for row in own), published[method],
                ]
            )  # fmt: skip
    header = [
        "method",
        "test accuracy of the derived cell, each seed",
        "rank of 15,625",
        "skip connections",
        "Kendall, 100 cells",
        "published, CIFAR-10 at full size",
    ]
    return table(header, body) + "\n\n![](benchmarks/results/shared_weights.png)"


def supernet_speed(data: dict[str, Any]) -> str:
    shapes = {
        "paper": "C = 16, 8 cells, batch 64, 32x32",
        "small": "C = 8, 4 cells, batch 32, 16x16",
        "digits": "C = 8, 3 cells, batch 64, 8x8",
    }
    body = [
        [
            title,
            order,
            f"{row['plain']:.2f}",
            f"{row['supernet']:.2f}",
            f"{row['ratio']:.1f}",
            f"{row['wanted']:g}",
            f"{row['apart_after_3_steps']:.0e}",
        ]
        for name, title in shapes.items()
        for order, row in data.get(name, {}).items()
        if isinstance(row, dict) and "plain" in row
    ]
    return table(
        [
            "shape",
            "order",
            "plain, CPU s a step",
            "evoml",
            "ratio",
            "goal",
            "largest difference after three steps, float64",
        ],
        body,
    )


def supernet_memory(data: dict[str, Any]) -> str:
    body = [
        [
            row["supernet"],
            row["mode"],
            f"{row['measured'] / 1e6:,.0f}",
            f"{row['estimated'] / 1e6:,.0f}",
        ]
        for row in data["rows"]
    ]
    return table(["supernet", "what is there", "measured, MB", "estimated before, MB"], body)


def latency(data: dict[str, Any]) -> str:
    body = [
        [
            row["space"], row["images"], str(row["networks"]),
            f"{row['least'] * 1e3:.2f} to {row['most'] * 1e3:.2f}", f"{row['spearman']:.3f}",
            f"{row['kendall']:.3f}", f"{row['spearman_of_halves']:.3f}", f"{row['ratio']:.2f}",
        ] for row in data["rows"]
    ]  # fmt: skip
    header = [
        "networks of",
        "images",
        "networks",
        "measured, ms",
        "Spearman",
        "Kendall",
        "Spearman of two halves of the measurement",
        "predicted over measured",
    ]
    return table(header, body)


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.4f}" + (
        f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    )


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    makers: dict[str, Callable[[dict[str, Any]], str]] = {
        "solve_linear": solve_linear, "real_data": real_data, "cifar10_hour": cifar10_hour,
        "performance": performance, "throughput": throughput, "architectures": architectures,
        "pareto": pareto, "tables": tables, "training": training, "neat_published": neat_published,
        "neat_speed": neat_speed, "neat_breeding": neat_breeding, "shared_weights": shared_weights,
        "supernet_speed": supernet_speed, "supernet_memory": supernet_memory, "latency": latency,
    }  # fmt: skip
    blocks = {
        name: make(json.loads((RESULTS / f"{name}.json").read_text()))
        for name, make in makers.items()
        if (RESULTS / f"{name}.json").is_file()
    }
    if (RESULTS / "shared_weights.json").is_file():
        blocks["shared_table"] = shared_table(
            json.loads((RESULTS / "shared_weights.json").read_text())
        )
    printed = RESULTS / "make_search.txt"
    if printed.is_file():
        blocks["make-search"] = (
            f"`make search` ends with:\n\n```\n{printed.read_text().rstrip()}\n```"
        )
    for name, block in blocks.items():
        text = re.sub(
            rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)",
            lambda match, block=block: f"{match[1]}{block}\n{match[2]}",
            text,
            flags=re.S,
        )
    readme.write_text(text)


if __name__ == "__main__":
    main()
