"""What the pictures of a run's course share: page, words, colours, axes and lines.

Readable in black and white, with no script and no font of their own.
"""

from collections.abc import Iterable, Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, log10
from xml.sax.saxutils import escape, quoteattr

import numpy as np

GOLDEN = 0.6180339887498949  # of the circle of hues, from one colour to the next
ADVANCE = 0.6  # width of a character, in heights; texts are stretched to it whatever the font

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" \
font-family="monospace" font-size="12">
<rect class="paper" width="100%" height="100%" fill="white"/>"""  # noqa: E501


def page(title: str, width: float, height: float, lines: list[str]) -> str:
    """A whole SVG document."""
    return "\n".join(
        [
            _HEAD.format(width=width, height=height),
            f"<title>{escape(title)}</title>",
            *lines,
            "</svg>\n",
        ]
    )


def colour(number: int) -> str:
    """One colour a number, neighbours far apart, and as dark as lines and bands on white need to
    be.
    """
    red, green, blue = hls_to_rgb(number * GOLDEN % 1.0, (0.45, 0.62, 0.54)[number % 3], 0.62)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def words(
    text: str,
    x: float,
    y: float,
    kind: str,
    anchor: str = "start",
    size: float = 12.0,
    fill: str = "",
    most: float = 0.0,
) -> str:
    """A text at its base line, no wider than `most` where that is given.

    anchor: start, middle or end.
    """
    width = ADVANCE * size * len(text)
    if most and width > most:
        size, width = size * most / width, most
    colour = f" fill={quoteattr(fill)}" if fill else ""
    about = (
        f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:.3g}" '
        f'textLength="{width:.1f}"{colour}'
    )
    return f'<text class="{kind}" {about} lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'


def ticks(low: float, high: float, most: int, least: float = 0.0) -> list[tuple[float, str]]:
    """At most so many round values from low to high, at least `least` apart, as numbers and as they
    are written.
    """
    power = floor(log10(max((high - low) / most, least, 1e-12)))
    steps = [
        (factor * 10.0**place, max(-place, 0))
        for place in (power, power + 1)
        for factor in (1, 2, 5)
    ]
    for step, digits in steps:  # noqa: B007 (of the result)
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        if step >= least and last - first < most:
            break
    return [(number * step, f"{number * step:,.{digits}f}") for number in range(first, last + 1)]


def roomy(values: np.ndarray) -> tuple[float, float]:
    """The ends of a scale for these values, with a little room; flat ones are in its middle."""
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.01 * (abs(high) or 1.0)
    return low - room, high + room


@dataclass(frozen=True)
class Line:
    """Values over epochs."""

    name: str
    letter: str  # which stands for the name where there is no room
    colour: str
    values: np.ndarray  # [S]
    kind: str = "line"  # its class in the document
    width: float = 1.4
    dashes: str = ""  # such as "2 3"; a whole line where empty

    @property
    def style(self) -> str:
        dashes = f' stroke-dasharray="{self.dashes}"' if self.dashes else ""
        return f'stroke="{self.colour}" stroke-width="{self.width:g}"{dashes}'


@dataclass(frozen=True)
class Axes:
    """A plot's place on the page and what its sides stand for."""

    left: float
    top: float
    width: float
    height: float
    times: np.ndarray  # [S] epochs, of the points of every line
    low: float
    high: float

    @classmethod
    def around(
        cls,
        left: float,
        top: float,
        width: float,
        height: float,
        times: np.ndarray,
        values: Iterable[np.ndarray],
    ) -> "Axes":
        """With a scale for these values and a little room; flat ones are in the middle."""
        return cls(left, top, width, height, times, *roomy(np.concatenate([*values])))

    @cached_property
    def xs(self) -> np.ndarray:
        first, last = self.times[0], self.times[-1]
        return self.left + self.width * (self.times - first) / max(last - first, 1.0)

    def y(self, value: float) -> float:
        return self.top + self.height * (self.high - value) / (self.high - self.low)

    def frame(self, stroke: str) -> str:
        return (
            f'<rect class="frame" x="{self.left:.1f}" y="{self.top:.1f}" width="{self.width:.1f}" '
            f'height="{self.height:.1f}" fill="none" stroke="{stroke}"/>'
        )

    def level(self, value: float) -> str:
        """A dotted line across."""
        dots = 'stroke="black" stroke-width="0.6" stroke-dasharray="1 3"'
        return (
            f'<path class="level" d="M{self.left:.1f},{self.y(value):.1f} h{self.width:.1f}" '
            f"{dots}/>"
        )

    def scale(self, most: int, size: float, right: bool = False) -> list[str]:
        """Ticks and numbers at one side."""
        x, out = self.left + self.width * right, []
        for value, text in ticks(self.low, self.high, most):
            y = self.y(value)
            out.append(f'<path d="M{x:.1f},{y:.1f} h{4 if right else -4}" stroke="black"/>')
            out.append(
                words(
                    text,
                    x + (7 if right else -7),
                    y + 0.35 * size,
                    "number",
                    "start" if right else "end",
                    size,
                )
            )
        return out

    def epochs(self, most: int, numbers: bool = True) -> list[str]:
        """Ticks below, with numbers or without."""
        out, bottom = [], self.top + self.height
        first, last = float(self.times[0]), float(self.times[-1])
        marks = ticks(first, last, most, 1.0)
        if not marks or marks[0][0] - first > (last - first) / 12:
            marks = [(first, f"{first:,.0f}"), *marks]
        for value, text in marks:
            x = self.left + self.width * (value - first) / max(last - first, 1.0)
            out.append(f'<path class="tick" d="M{x:.1f},{bottom:.1f} v4" stroke="black"/>')
            out += [words(text, x, bottom + 16, "number", "middle")] * numbers
        return out

    def line(self, line: Line) -> str:
        """A single epoch is drawn across."""
        points = list(zip(self.xs.tolist(), map(self.y, line.values.tolist()), strict=True))
        if len(points) == 1:
            points = [points[0], (self.left + self.width, points[0][1])]
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f'{line.style} stroke-linejoin="round"'
        about = escape(f"{line.name}: {line.values[0]:.4g} to {line.values[-1]:.4g}")
        return (
            f'<polyline class="{line.kind}" points="{where}" fill="none" '
            f"{style}><title>{about}</title></polyline>"
        )

    def ends(self, lines: Sequence[Line], named: bool, size: float) -> list[str]:
        """Letters, or letters and names, at the right ends of lines, apart from each other."""
        out, edge = [], self.left + self.width
        order = sorted(lines, key=lambda line: -line.values[-1])
        heights = [self.y(line.values[-1]) for line in order]
        for line, y, at in zip(
            order,
            heights,
            spread(heights, size, self.top - 4, self.top + self.height + 4),
            strict=True,
        ):
            out.append(
                f'<path class="lead" d="M{edge:.1f},{y:.1f} L{edge + 9:.1f},{at:.1f}" '
                f'stroke="{line.colour}" stroke-width="0.7"/>'
            )
            out.append(
                words(
                    f"{line.letter} {line.name}" if named else line.letter,
                    edge + 11,
                    at + 0.33 * size,
                    "end",
                    size=size,
                )
            )
        return out


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Places near those wanted, which rise, that keep their distance from each other: as far as
    there is room from low to high.
    """
    apart = min(apart, (high - low) / max(len(wanted) - 1, 1))
    blocks: list[tuple[float, int]] = []  # mean of what is wanted by its first place, places
    for want in wanted:
        start, count = want, 1
        while blocks and blocks[-1][0] + blocks[-1][1] * apart > start:
            before, many = blocks.pop()
            start = (before * many + (start - many * apart) * count) / (many + count)
            count += many
        blocks.append((start, count))
    places = [start + index * apart for start, count in blocks for index in range(count)]
    last = len(places) - 1
    return [
        min(max(place, low + index * apart), high - (last - index) * apart)
        for index, place in enumerate(places)
    ]
