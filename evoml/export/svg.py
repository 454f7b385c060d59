"""Cells, motifs and programs drawn as layered graphs, a panel a graph: readable in black and white,
with no script and no font of its own.

Layers after Sugiyama, Tagawa, Toda 1981, "Methods for Visual Understanding of Hierarchical System
Structures": longest paths, the order within a layer by barycentres. An operation on an edge is a
box of its own, and an edge that passes a layer has a place there, so nothing is drawn over text.
Edges that close a cycle, as between two examples of a program, are dashed and run upwards.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from textwrap import wrap
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

from evoml.genotypes.schema import Genotype

# width of a character, height of a box; texts are stretched to this width whatever the font
CHARACTER, HEIGHT = 7.2, 24.0
# between boxes of a layer, between layers, the place of a passing edge, around a panel
SIDE, GAP, LINE, MARGIN = 18.0, 34.0, 12.0, 20.0
# passes over the layers; panels are put in rows no wider than this, or than the widest panel
SWEEPS, WIDEST = 24, 2200.0

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" \
font-family="monospace" font-size="12">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z"/></marker></defs>
<rect class="paper" width="100%" height="100%" fill="white"/>
"""  # noqa: E501


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


def svg(space: Any, genotype: Genotype, title: str) -> str:
    """A genotype as an SVG picture, what `space.graphs` gives side by side.

    The title may hold any characters.
    """
    rows = _rows([_panel(name, graph) for name, graph in drawn(space, genotype).items()])
    width = max([sum(panel.width for panel in row) for row in rows] + [20 * CHARACTER])
    lines = wrap(_printable(title), int((width - 2 * MARGIN) / (1.25 * CHARACTER))) or [""]
    out, top = [], MARGIN
    for line in lines:
        top += 20
        out.append(_text(line, width / 2, top, 1.25, "title"))
    top += 10
    for row in rows:
        left = (width - sum(panel.width for panel in row)) / 2
        for panel in row:
            out += [f'<g transform="translate({left:.1f} {top:.1f})">', *_draw(panel), "</g>"]
            left += panel.width
        top += max([panel.height for panel in row], default=0.0)
    return "\n".join(
        [
            _HEAD.format(width=width, height=top + MARGIN).rstrip(),
            f"<title>{escape(_printable(title))}</title>",
            *out,
            "</svg>\n",
        ]
    )


def drawn(space: Any, genotype: Genotype) -> dict[str, nx.MultiDiGraph]:
    """The graphs of a genotype by name, nodes and edges with `label`: the space's `drawings`, or
    its one `drawing`.
    """
    drawings = (
        space.drawings(genotype) if hasattr(space, "drawings") else {"": space.drawing(genotype)}
    )
    return {name: nx.MultiDiGraph(graph) for name, graph in drawings.items()}


# -- layout ----------------------------------------------------------------------------------------


def _rows(panels: list[Panel]) -> list[list[Panel]]:
    """Side by side, in as few rows as `WIDEST` allows and these as even as can be."""
    narrowest = int(max((panel.width for panel in panels), default=0.0)) + 1
    fewest = _filled(panels, max(WIDEST, narrowest))
    return next(
        rows
        for limit in range(narrowest, int(max(WIDEST, narrowest)) + 1)
        if len(rows := _filled(panels, limit)) == len(fewest)
    )


def _filled(panels: list[Panel], limit: float) -> list[list[Panel]]:
    rows: list[list[Panel]] = [[]]
    for panel in panels:
        if rows[-1] and sum(each.width for each in rows[-1]) + panel.width > limit:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _panel(name: str, graph: nx.MultiDiGraph) -> Panel:
    boxes = _nodes(graph)
    links, operations = _links(graph, boxes)
    back = _closing(links, boxes.values())
    forward = [(b, a) if index in back else (a, b) for index, (a, b) in enumerate(links)]
    _layer(forward, boxes.values(), operations)
    panel = Panel(name, [*boxes.values(), *operations], [])
    for index, (source, target) in enumerate(forward):
        places = [Box(None, "line", layer=layer) for layer in range(source.layer + 1, target.layer)]
        panel.boxes += places
        path = [source, *places, target]
        if index in back:
            panel.dashed.add(index)
            path.reverse()
        panel.paths.append(path)
    layers = _order(panel)
    _place(panel, layers)
    return panel


def _nodes(graph: nx.MultiDiGraph) -> dict[Hashable, Box]:
    """A box a node.

    Where the graph says which nodes are inputs and which is the output, those on no path between
    them are dead.
    """
    inputs, outputs = (
        [node for node, kind in graph.nodes(data="kind") if kind == wanted]
        for wanted in ("input", "output")
    )
    live = set(graph)
    if inputs and outputs:
        live = set(inputs).union(*(nx.descendants(graph, node) for node in inputs))
        live &= set(outputs).union(*(nx.ancestors(graph, node) for node in outputs))
    out = {}
    for node, data in graph.nodes(data=True):
        kind = data.get("kind") or (
            "input"
            if not graph.in_degree(node)
            else "output"
            if not graph.out_degree(node) and not outputs
            else "node"
        )
        out[node] = Box(
            _printable(str(data.get("label", node))), kind, node not in live and kind == "node"
        )
    return out


def _links(
    graph: nx.MultiDiGraph, boxes: dict[Hashable, Box]
) -> tuple[list[tuple[Box, Box]], list[Box]]:
    """Pairs of boxes to join; an edge with a label, or back to its node, goes through a box of its
    own.

    And those boxes.
    """
    links, operations = [], []
    for source, target, data in graph.edges(data=True):
        label = data.get("label", data.get("address"))
        if label or source == target:
            box = Box(
                _printable(str(label or "")), "operation", boxes[source].dead or boxes[target].dead
            )
            operations.append(box)
            links += [(boxes[source], box), (box, boxes[target])]
        else:
            links.append((boxes[source], boxes[target]))
    return links, operations


def _closing(links: Sequence[tuple[Box, Box]], nodes: Iterable[Box]) -> set[int]:
    """The links to turn round so that no cycle is left: those within a cycle that lead to a node
    which stands before.
    """
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


def _layer(
    links: Sequence[tuple[Box, Box]], nodes: Iterable[Box], operations: Sequence[Box]
) -> None:
    """Longest paths; an operation as near its target as can be, and outputs below everything."""
    graph = nx.DiGraph(links)
    graph.add_nodes_from(nodes)
    for layer, generation in enumerate(nx.topological_generations(graph)):
        for box in generation:
            box.layer = layer
    for box in operations:
        box.layer = min((after.layer for after in graph.successors(box)), default=box.layer + 1) - 1
    last = max((box.layer for box in graph), default=0)
    for box in graph:
        if box.kind == "output" and not graph.out_degree(box):
            box.layer = last


def _order(panel: Panel) -> list[list[Box]]:
    """The boxes of every layer from left to right, after sweeps of barycentres down and up; the
    order of fewest crossings seen.
    """
    layers: list[list[Box]] = [
        [] for _ in range(max((box.layer for box in panel.boxes), default=-1) + 1)
    ]
    for box in panel.boxes:
        layers[box.layer].append(box)
    above, below = _neighbours(panel)
    best, fewest = [list(layer) for layer in layers], _crossings(layers, below)
    for sweep in range(SWEEPS):
        near, order = (above, layers) if sweep % 2 == 0 else (below, layers[::-1])
        for before, layer in pairwise(order):
            at = {box: index for index, box in enumerate(before)}
            here = {box: index for index, box in enumerate(layer)}
            scale = (len(before) - 1) / max(len(layer) - 1, 1)
            weight = {
                box: _mean([at[each] for each in near.get(box, ())], here[box] * scale)
                for box in layer
            }
            layer.sort(key=lambda box: weight[box])
        if (crossings := _crossings(layers, below)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _neighbours(panel: Panel) -> tuple[dict[Box, list[Box]], dict[Box, list[Box]]]:
    """Of every box, those it is joined to in the layer above and in the layer below."""
    above: dict[Box, list[Box]] = {}
    below: dict[Box, list[Box]] = {}
    for path in panel.paths:
        for one, other in pairwise(path):
            high, low = (one, other) if one.layer < other.layer else (other, one)
            below.setdefault(high, []).append(low)
            above.setdefault(low, []).append(high)
    return above, below


def _crossings(layers: list[list[Box]], below: dict[Box, list[Box]]) -> int:
    total = 0
    for layer, after in pairwise(layers):
        at = {box: index for index, box in enumerate(after)}
        ends = [sorted(at[each] for each in below.get(box, ())) for box in layer]
        flat = [end for each in ends for end in each]
        total += sum(one > other for index, one in enumerate(flat) for other in flat[index + 1 :])
    return total


def _place(panel: Panel, layers: list[list[Box]]) -> None:
    """Coordinates: every box as near its neighbours as its layer's order and the gaps allow."""
    above, below = _neighbours(panel)
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
                box: _mean([each.x for each in path], 0.0)
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
                    straight.get(box, _mean([each.x for each in near.get(box, ())], box.x))
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


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


# -- drawing ---------------------------------------------------------------------------------------


def _draw(panel: Panel) -> list[str]:
    out = [_text(panel.name, panel.width / 2, MARGIN + 10, 1.1, "panel")] if panel.name else []
    for index, path in enumerate(panel.paths):
        dead = path[0].dead or path[-1].dead
        dashes = (
            ' stroke-dasharray="5 3"'
            if index in panel.dashed
            else ' stroke-dasharray="1 3"'
            if dead
            else ""
        )
        arrow = ' marker-end="url(#arrow)"' if path[-1].kind != "operation" else ""
        out.append(f'<path d="{_route(path)}" fill="none" stroke="black"{dashes}{arrow}/>')
    return out + [line for box in panel.boxes if box.text is not None for line in _box(box)]


def _route(path: list[Box]) -> str:
    """Down (or up) through the places of an edge: straight within a layer, curved between two."""
    down = path[0].layer < path[-1].layer
    step = HEIGHT / 2 if down else -HEIGHT / 2
    out = [f"M{path[0].x:.1f},{path[0].y + step:.1f}"]
    for one, other in pairwise(path):
        start, end = one.y + step, other.y - step
        middle = (start + end) / 2
        out.append(f"C{one.x:.1f},{middle:.1f} {other.x:.1f},{middle:.1f} {other.x:.1f},{end:.1f}")
        if other.text is None:
            out.append(f"V{other.y + step:.1f}")
    return " ".join(out)


def _box(box: Box) -> list[str]:
    """Operations are rectangles, nodes are round, inputs and outputs have a thick border and grey
    paper.
    """
    ends = box.kind in ("input", "output")
    style = 'fill="#e4e4e4" stroke-width="2"' if ends else 'fill="white"'
    dashes = ' stroke-dasharray="1 3"' if box.dead else ""
    radius = 2 if box.kind == "operation" else HEIGHT / 2
    return [
        (
            f'<rect class="{box.kind}" x="{box.x - box.width / 2:.1f}" '
            f'y="{box.y - HEIGHT / 2:.1f}" width="{box.width:.1f}" height="{HEIGHT:.1f}" '
            f'rx="{radius:g}" stroke="black" {style}{dashes}/>'
        ),
        _text(box.text or "", box.x, box.y + 4, 1.0, "label"),
    ]


def _text(text: str, x: float, y: float, scale: float, kind: str) -> str:
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


def _printable(text: str) -> str:
    """Without what XML cannot hold or a picture cannot show."""
    return "".join(character if character.isprintable() else " " for character in text)
