"""The species of a run over its generations, from events.jsonl: sizes stacked, one colour a
species, oldest at the bottom, and below them the fitness, of the best and of all in the mean.

The picture that NEAT's users know (Stanley, Miikkulainen 2002, figure 7). Many generations are
drawn as means over equal spans, and species beyond the largest `MOST` as one grey band, so that the
file stays small however long the run was.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from evoml.core.errors import InputError
from evoml.export._events import EVENTS, events
from evoml.export._layered_drawing import CHARACTER, MARGIN, heading, printable, text_at
from evoml.export._plots import colour, page, ticks
from evoml.export._target import RunTarget
from evoml.search.problem import Problem

SPANS, MOST = 400, 200  # columns of the picture, and species with a colour
# of the plots, and of the numbers at their left
WIDTH, STACK, CURVE, AXIS = 800.0, 340.0, 110.0, 70.0


class Species(RunTarget):
    """Those of a NEAT run, drawn."""

    def picture(self, run: Path, problem: Problem) -> str:
        return svg(run, str(run))


@dataclass
class _Species:
    """One species over the run."""

    first: int = 0  # generations
    last: int = 0
    largest: int = 0
    best: float = float("-inf")
    total: int = 0  # members, over all generations
    # members, over the generations of a span
    spans: dict[int, int] = field(default_factory=lambda: defaultdict(int))


def generations(folder: Path) -> Iterator[dict[str, Any]]:
    """Every generation that a run has logged with its species.

    Raises InputError where events.jsonl cannot be read.
    """
    return events(folder, "generation", _checked)


def _checked(event: dict[str, Any]) -> dict[str, Any] | None:
    if not event.get("species"):
        return None
    for each in event["species"]:
        for name in ("id", "size", "since", "improved"):
            each[name] = int(each[name])
        for name in ("now", "best"):
            each[name] = None if each[name] is None else float(each[name])
    event["generation"] = int(event["generation"])
    return event


def last(folder: Path) -> dict[str, Any] | None:
    """The last generation with its species, or None where there is none. Raises InputError."""
    out = None
    for out in generations(folder):  # noqa: B007 (the last one is wanted)
        pass
    return out


def svg(folder: Path, title: str) -> str:
    """The species of a run as an SVG picture. Raises InputError for a run without any."""
    count = sum(1 for _ in generations(folder))
    if not count:
        if (folder / EVENTS).is_file() and (folder / EVENTS).read_bytes()[-1:] not in (b"", b"\n"):
            raise InputError(
                f"{folder / EVENTS}: damaged: cut off before its first generation was whole"
            )
        raise InputError(
            f"{folder}: no generation with species has been archived; runs of the strategy neat "
            "have them"
        )
    spans = min(count, SPANS)
    species: dict[int, _Species] = defaultdict(_Species)
    best, widths = [float("-inf")] * spans, [0] * spans
    means: list[list[float]] = [[] for _ in range(spans)]
    number = 0
    for index, event in enumerate(generations(folder)):
        if index == count:
            break  # logged since they were counted
        at, number = index * spans // count, int(event["generation"])
        widths[at] += 1
        if (mean := _finite(event.get("mean"))) > float("-inf"):
            means[at].append(mean)
        for each in event["species"]:
            _add(species[each["id"]], each, at, number)
            best[at] = max(best[at], _finite(each["now"]))
    middle = [sum(values) / len(values) if values else float("-inf") for values in means]
    return _page(title, species, best, middle, widths, number)


def _add(species: _Species, row: dict[str, Any], at: int, number: int) -> None:
    species.first = species.first or number
    species.last, species.largest = number, max(species.largest, row["size"])
    species.best = max(species.best, _finite(row["best"]))
    species.spans[at] += row["size"]
    species.total += row["size"]


def _finite(value: Any) -> float:
    return float(value) if value is not None and value - value == 0 else float("-inf")


# -- drawing ---------------------------------------------------------------------------------------


def _page(
    title: str, species: dict[int, _Species], best: list[float], mean: list[float],
    widths: list[int], last: int,
) -> str:  # fmt: skip
    """Title, stack, curves, and what the colours are."""
    width = AXIS + WIDTH + 2 * MARGIN
    out = heading(title, width)
    top = MARGIN + 20 * len(out) + 16
    first = min(each.first for each in species.values())
    members = max(
        sum(each.spans.get(at, 0) for each in species.values()) / widths[at]
        for at in range(len(widths))
    )
    out += [
        _group(top),
        *_stack(species, widths, members),
        *_scale(0.0, members, STACK, "members"),
        "</g>",
    ]
    top += STACK + 28
    out += [_group(top), *_curves(best, mean), *_generations(first, last), "</g>"]
    top += CURVE + 42
    grey = f"; grey: {len(species) - MOST:,} smaller ones" if len(species) > MOST else ""
    out.append(
        text_at(
            f"{len(species):,} species, oldest at the bottom{grey}", width / 2, top, 1.0, "legend"
        )
    )
    return page(printable(title), width, top + MARGIN, out)


def _group(top: float) -> str:
    return f'<g transform="translate({MARGIN + AXIS:.0f} {top:.0f})">'


def _stack(species: dict[int, _Species], widths: list[int], members: float) -> list[str]:
    """A band a species, at its mean size over a span; from nothing to nothing at the spans beside
    its life.
    """
    count, scale = len(widths), STACK / members
    coloured = set(sorted(species, key=lambda id: (-species[id].total, id))[:MOST])
    edge = "white" if len(coloured) <= 40 else ""  # edges would cover thin bands
    floor, out = [0.0] * count, []
    for id in sorted(coloured):
        each = species[id]
        label = (
            f"species {id}: generations {each.first} to {each.last}, at most {each.largest} "
            f"members, best {each.best:.6g}"
        )
        out.append(
            _band(
                {at: size / widths[at] * scale for at, size in each.spans.items()},
                floor,
                colour(id),
                edge,
                label,
            )
        )
    rest: dict[int, float] = defaultdict(float)
    for id in species.keys() - coloured:
        for at, size in species[id].spans.items():
            rest[at] += size / widths[at] * scale
    if rest:
        out.append(_band(rest, floor, "#bbbbbb", edge, f"{len(species) - MOST} smaller species"))
    return out


def _band(heights: dict[int, float], floor: list[float], colour: str, edge: str, label: str) -> str:
    """One band on top of `floor`, which it raises."""
    count = len(floor)
    span = range(max(min(heights) - 1, 0), min(max(heights) + 2, count))
    low = [(_x(at, count), STACK - floor[at]) for at in span]
    for at, height in heights.items():
        floor[at] += height
    high = [(_x(at, count), STACK - floor[at]) for at in span]
    if count == 1:
        low, high = ([(0.0, side[0][1]), (WIDTH, side[0][1])] for side in (low, high))
    points = " ".join(f"{x:.0f},{y:.1f}" for x, y in [*low, *high[::-1]])
    style = f'fill="{colour}" stroke="{edge or colour}" stroke-width="0.4"'
    return (
        f'<polygon class="species" points="{points}" '
        f"{style}><title>{escape(label)}</title></polygon>"
    )


def _x(at: int, count: int) -> float:
    return WIDTH * at / max(count - 1, 1)


def _curves(best: list[float], mean: list[float]) -> list[str]:
    """The best and the mean fitness of every span, with their scale."""
    lines = {
        name: {at: value for at, value in enumerate(values) if value > float("-inf")}
        for name, values in (("best", best), ("mean", mean))
    }
    title = "fitness: the best, and dashed the mean of all"
    known = [value for line in lines.values() for value in line.values()]
    if not known:
        return _scale(0.0, 1.0, CURVE, title)
    low, high = min(known), max(known)
    if low == high:
        low, high = low - 0.5, high + 0.5
    out = []
    for name, line in lines.items():
        points = " ".join(
            f"{_x(at, len(best)):.0f},{CURVE * (high - value) / (high - low):.1f}"
            for at, value in line.items()
        )
        dashes = ' stroke-dasharray="4 3"' * (name == "mean")
        out.append(
            f'<polyline class="{name}" points="{points}" fill="none" stroke="black" '
            f'stroke-width="{1.5 if name == "best" else 1.1}" stroke-linecap="round"{dashes}/>'
        )
    return [*out, *_scale(low, high, CURVE, title)]


def _scale(low: float, high: float, height: float, title: str) -> list[str]:
    """A frame, the numbers at its left, and what they are."""
    out = [
        f'<rect class="frame" width="{WIDTH:.0f}" height="{height:.0f}" fill="none" '
        'stroke="black"/>'
    ]
    for value, label in ticks(low, high, 5):
        y = height * (high - value) / (high - low)
        out.append(f'<path d="M-4,{y:.1f} h4" stroke="black"/>')
        out.append(text_at(label, -8 - CHARACTER * len(label) / 2, y + 4, 1.0, "number"))
    return [*out, text_at(title, CHARACTER * len(title) / 2, -6, 1.0, "axis")]


def _generations(first: int, last: int) -> list[str]:
    """Ticks below the frame of the curve."""
    out = []
    for value, label in ticks(first, max(last, first + 1), 8, 1.0):
        x = WIDTH * (value - first) / max(last - first, 1)
        if x <= WIDTH:
            out.append(f'<path d="M{x:.1f},{CURVE:.0f} v4" stroke="black"/>')
            out.append(text_at(label, x, CURVE + 17, 1.0, "number"))
    return [*out, text_at("generation", WIDTH - 40, CURVE + 32, 1.0, "axis")]
