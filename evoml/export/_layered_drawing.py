"""What drawings of layered graphs share: boxes and panels, the order and the places of boxes in
layers, and texts.

After Sugiyama, Tagawa, Toda 1981, "Methods for Visual Understanding of Hierarchical System
Structures". An edge that passes a layer has a place there, so nothing is drawn over text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from textwrap import wrap
from xml.sax.saxutils import escape

# width of a character, height of a box; texts are stretched to this width whatever the font
CHARACTER, HEIGHT = 7.2, 24.0
# between boxes of a layer, between layers, the place of a passing edge, around a panel
SIDE, GAP, LINE, MARGIN = 18.0, 34.0, 12.0, 20.0
SWEEPS = 24  # over the layers


@dataclass(eq=False)
class Box:
    """A node, an operation on an edge, or (without text) the place where an edge passes a layer.

    `x`, `y`: the centre.
    """

    text: str | None
    kind: str  # input, output, node, operation, line
    dead: bool = False  # on no path from an input to the output
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    layer_name: str = ""  # of the layer that it is coloured as, "" where it is none

    @property
    def width(self) -> float:
        return LINE if self.text is None else max(CHARACTER * len(self.text) + 14, HEIGHT)


@dataclass(eq=False)
class Panel:
    """A laid out graph: boxes and, for every edge, the boxes that it runs through from source to
    target.
    """

    name: str
    boxes: list[Box]
    paths: list[list[Box]]
    width: float = 0.0
    height: float = 0.0
    dashed: set[int] = field(default_factory=set)  # indices of paths that close a cycle


def closing_links(links: Sequence[tuple[Box, Box]], nodes: Iterable[Box]) -> set[int]:
    """The links to turn round so that no cycle is left: those within a cycle that lead to a node
    which stands before.
    """
    import networkx as nx  # here, as reports import this file

    order = {box: float(index) for index, box in enumerate(nodes)}
    order |= {target: order[source] + 0.5 for source, target in links if target not in order}
    part = {
        box: index
        for index, boxes in enumerate(nx.strongly_connected_components(nx.DiGraph(links)))
        for box in boxes
    }
    return {
        index for index, (a, b) in enumerate(links) if part[a] == part[b] and order[a] >= order[b]
    }


def neighbours_of(panel: Panel) -> tuple[dict[Box, list[Box]], dict[Box, list[Box]]]:
    """Of every box, those it is joined to in the layer above and in the layer below."""
    above: dict[Box, list[Box]] = {}
    below: dict[Box, list[Box]] = {}
    for path in panel.paths:
        for one, other in pairwise(path):
            high, low = (one, other) if one.layer < other.layer else (other, one)
            below.setdefault(high, []).append(low)
            above.setdefault(low, []).append(high)
    return above, below


def count_crossings(layers: list[list[Box]], below: dict[Box, list[Box]]) -> int:
    """How often links between neighbouring layers cross."""
    total = 0
    for layer, after in pairwise(layers):
        at = {box: index for index, box in enumerate(after)}
        ends = [sorted(at[each] for each in below.get(box, ())) for box in layer]
        flat = [end for each in ends for end in each]
        total += sum(one > other for index, one in enumerate(flat) for other in flat[index + 1 :])
    return total


def place_boxes(panel: Panel, layers: list[list[Box]]) -> None:
    """Coordinates: every box as near its neighbours as its layer's order and the gaps allow."""
    above, below = neighbours_of(panel)
    for layer in layers:
        _spread(layer, [0.0] * len(layer))
    for sweep in range(SWEEPS):
        near = (
            (above, below)[sweep % 2]
            if sweep < SWEEPS // 2
            else {box: above.get(box, []) + below.get(box, []) for box in panel.boxes}
        )
        straight = (
            {
                box: mean_of([each.x for each in path], 0.0)
                for path in panel.paths
                for box in path[1:-1]
            }
            if sweep >= SWEEPS // 2
            else {}
        )
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            _spread(
                layer,
                [
                    straight.get(box, mean_of([each.x for each in near.get(box, ())], box.x))
                    for box in layer
                ],
            )
    left = min((box.x - box.width / 2 for box in panel.boxes), default=0.0)
    right = max((box.x + box.width / 2 for box in panel.boxes), default=0.0)
    panel.width = max(right - left, CHARACTER * 1.1 * len(panel.name)) + 2 * MARGIN
    shift = (panel.width - (right - left)) / 2 - left
    top = MARGIN + 30 if panel.name else MARGIN
    for index, layer in enumerate(layers):
        for box in layer:
            box.x, box.y = box.x + shift, top + index * (HEIGHT + GAP) + HEIGHT / 2
    panel.height = top + len(layers) * (HEIGHT + GAP) - GAP + MARGIN


def _spread(layer: list[Box], wanted: list[float]) -> None:
    """Set x so that the squared distances to what is wanted are least with the boxes in order and
    apart (isotonic regression).
    """
    offset, offsets = 0.0, []
    for index, box in enumerate(layer):
        if index:
            before = layer[index - 1]
            offset += (before.width + box.width) / 2 + (
                LINE / 2 if before.text is None and box.text is None else SIDE
            )
        offsets.append(offset)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, boxes
    for box, want, off in zip(layer, wanted, offsets, strict=True):
        mean, weight, count = want - off, 4.0 if box.text is None else 1.0, 1
        while blocks and blocks[-1][0] > mean:
            other, heavy, many = blocks.pop()
            mean, weight, count = (
                (mean * weight + other * heavy) / (weight + heavy),
                weight + heavy,
                count + many,
            )
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    for box, mean, off in zip(layer, means, offsets, strict=True):
        box.x = mean + off


def mean_of(values: Sequence[float], otherwise: float) -> float:
    """The mean; `otherwise` where there are no values."""
    return sum(values) / len(values) if values else otherwise


def text_at(text: str, x: float, y: float, scale: float, kind: str) -> str:
    """A text with its middle at x, stretched to the width that boxes are made for; `kind` is its
    class in the document.
    """
    if not text:
        return ""
    width, size = (
        CHARACTER * scale * len(text),
        "" if scale == 1.0 else f' font-size="{12 * scale:g}" font-weight="bold"',
    )
    stretch = f' textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" '
        f'text-anchor="middle"{size}{stretch}>{escape(text)}</text>'
    )


def printable(text: str) -> str:
    """Without what XML cannot hold or a picture cannot show."""
    return "".join(character if character.isprintable() else " " for character in text)


def heading(title: str, width: float) -> list[str]:
    """A title of any characters in the middle of a page, in lines 20 high below its margin."""
    most = int((width - 2 * MARGIN) / (1.25 * CHARACTER))
    return [
        text_at(line, width / 2, MARGIN + 20 * number, 1.25, "title")
        for number, line in enumerate(wrap(printable(title), most) or [""], 1)
    ]
