"""A network of single neurons drawn: inputs left, outputs right, hidden nodes in layers of longest
paths; colour is a weight's sign, width its size.

Layers and places of passing links are those of `_layered_drawing`, turned by a quarter. Links that
close a cycle, and all from outputs, are dashed arcs: they carry the value of the step before.
"""

from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

from evoml.core.wording import one_line, plural
from evoml.export._layered_drawing import (
    CHARACTER,
    HEIGHT,
    MARGIN,
    SWEEPS,
    Box,
    Panel,
    closing_links,
    count_crossings,
    heading,
    mean_of,
    neighbours_of,
    place_boxes,
    printable,
    text_at,
)
from evoml.export._neurons import Neurons, neurons
from evoml.genotypes.schema import Genotype
from evoml.tasks.examples import Units

POSITIVE, NEGATIVE = "#0072b2", "#d55e00"  # told apart by the colour-blind, too
THIN, THICK = 0.8, 4.5  # widths of the smallest and the largest weight
COLUMN = 90.0  # between two layers
LONGEST = 24  # characters of a name in a table
# links up to which they pass nodes at a distance and layers are put in an order of few crossings
FEW = 600

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" \
font-family="monospace" font-size="12">
<rect class="paper" width="100%" height="100%" fill="white"/>
"""  # noqa: E501


class Node(Box):
    """A box that is stacked by its height, since layers stand upright here."""

    @property
    def width(self) -> float:
        return super().width if self.text is None else HEIGHT

    @property
    def wide(self) -> float:
        """Width as it is drawn."""
        return max(CHARACTER * len(self.text or "") + 14, HEIGHT)


def svg(space: Any, genotype: Genotype, title: str, units: Units | None = None) -> str:
    """A network as an SVG picture. The title may hold any characters.

    units: what inputs and outputs are in a table, whose names stand beside theirs.
    """
    net = neurons(space, genotype)
    kinds = _kinds(space, net)
    nodes = _nodes(net, kinds, {} if units is None else called(units))
    links = [
        (nodes[name], nodes[row.name], weight)
        for row in net.rows
        for name, weight in zip(row.sources, row.weights, strict=True)
    ]
    pairs = [(source, target) for source, target, _ in links]
    back = closing_links(pairs, nodes.values()) | {
        index for index, (source, _) in enumerate(pairs) if source.kind == "output"
    }
    forward = [pair for index, pair in enumerate(pairs) if index not in back]
    panel = _laid_out(list(nodes.values()), forward)
    most = max((abs(weight) for _, _, weight in links), default=1.0) or 1.0
    drawn = [
        _link(path, weight, most)
        for path, weight in zip(
            panel.paths, (links[at][2] for at in range(len(links)) if at not in back), strict=True
        )
    ]
    arcs = [_arc(*links[index], most) for index in sorted(back)]
    above = max([0.0, *(-top for _, top in arcs)]) + 6.0 * bool(arcs)
    return _page(
        title,
        panel,
        above,
        [
            *drawn,
            *(arc for arc, _ in arcs),
            *(line for box in nodes.values() for line in _drawn(box)),
        ],
        _legend(net, kinds, most, bool(back)),
    )


def _kinds(space: Any, net: Neurons) -> dict[str, str]:
    """What hidden nodes and outputs do where all do the same: a name, and nothing where they
    differ.
    """
    out = {}
    groups = {
        "hidden nodes": [row for row in net.rows if row.name in net.hidden],
        "outputs": [row for row in net.rows if row.name in net.outputs],
    }
    choices = len(set(space.settings.activations)) * len(set(space.settings.aggregations))
    for title, rows in groups.items():
        functions = {_function(row.activation, row.aggregation) for row in rows}
        if len(functions) == 1 and (title == "outputs" or choices == 1):
            out[title] = functions.pop()
    return out


def _function(activation: str, aggregation: str) -> str:
    return activation if aggregation == "sum" else f"{activation} of {aggregation}"


def called(units: Units) -> dict[str, str]:
    """What inputs and outputs are called in their table: columns, targets or classes."""
    out = {f"x{at}": name for at, name in enumerate(units.columns)}
    ends = units.classes if len(units.classes) > 2 else units.targets
    if len(units.classes) == 2:
        ends = (f"{units.targets[0]}: {units.classes[1]}",)
    out |= {f"y{at}": str(name) for at, name in enumerate(ends)}
    return {name: one_line(text, LONGEST) for name, text in out.items()}


def _nodes(net: Neurons, kinds: dict[str, str], names: dict[str, str]) -> dict[str, Box]:
    """Inputs, the bias where there is one, hidden nodes, outputs. names: of the table, by node."""

    def text(name: str) -> str:
        return f"{name} {names[name]}" if name in names else name

    out: dict[str, Box] = {
        name: Node(text(name), "input") for name in (*net.inputs, *["bias"] * (net.bias != 0))
    }
    rows = {row.name: row for row in net.rows}
    for group, kind, title in (
        (net.hidden, "node", "hidden nodes"),
        (net.outputs, "output", "outputs"),
    ):
        for name in group:
            function = (
                ""
                if title in kinds
                else " " + _function(rows[name].activation, rows[name].aggregation)
            )
            out[name] = Node(text(name) + function, kind)
    return out


# -- layout ----------------------------------------------------------------------------------------


def _laid_out(boxes: list[Box], links: list[tuple[Box, Box]]) -> Panel:
    """Boxes with their centres, x from left to right, and the paths of the links."""
    _layer(links, boxes)
    panel = Panel("", list(boxes), [])
    for source, target in links:
        between = range(source.layer + 1, target.layer) if len(links) <= FEW else ()
        places: list[Box] = [Node(None, "line", layer=layer) for layer in between]
        panel.boxes += places
        panel.paths.append([source, *places, target])
    layers = _ordered(panel)
    place_boxes(panel, layers)
    left = MARGIN
    panel.height = panel.width
    for layer in layers:
        wide = max(
            (box.wide for box in layer if isinstance(box, Node) and box.text is not None),
            default=0.0,
        )
        for box in layer:
            box.x, box.y = left + wide / 2, box.x
        left += wide + COLUMN
    panel.width = left - COLUMN + MARGIN
    return panel


def _layer(links: list[tuple[Box, Box]], boxes: list[Box]) -> None:
    """Longest paths: inputs before everything, outputs behind it."""
    graph = nx.DiGraph(links)
    graph.add_nodes_from(boxes)
    for box in nx.topological_sort(graph):
        box.layer = (
            0
            if box.kind == "input"
            else max([1, *(before.layer + 1 for before in graph.predecessors(box))])
        )
    last = max([0, *(box.layer for box in boxes if box.kind != "output")])
    for box in boxes:
        if box.kind == "output":
            box.layer = last + 1


def _ordered(panel: Panel) -> list[list[Box]]:
    """Layers from top to bottom: inputs and outputs as they are counted, what is between by
    barycentres, in the order of fewest crossings seen.
    """
    layers: list[list[Box]] = [[] for _ in range(max(box.layer for box in panel.boxes) + 1)]
    for box in panel.boxes:
        layers[box.layer].append(box)
    if len(panel.paths) > FEW:
        return layers
    left, right = neighbours_of(panel)
    best, fewest = [list(layer) for layer in layers], count_crossings(layers, right)
    for sweep in range(SWEEPS):
        near, order = (left, layers) if sweep % 2 == 0 else (right, layers[::-1])
        for before, layer in pairwise(order):
            at = {box: index / max(len(before) - 1, 1) for index, box in enumerate(before)}
            here = {box: index / max(len(layer) - 1, 1) for index, box in enumerate(layer)}
            weight = {
                box: mean_of([at[each] for each in near.get(box, ())], here[box]) for box in layer
            }
            if layer not in (layers[0], layers[-1]):
                layer.sort(key=lambda box: weight[box])
        if (crossings := count_crossings(layers, right)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


# -- drawing ---------------------------------------------------------------------------------------


def _page(title: str, panel: Panel, above: float, drawn: list[str], legend: list[list[str]]) -> str:
    """Title, network and legend below each other."""
    lines = [_legend_line(parts) for parts in legend]
    width = max(panel.width, 30 * CHARACTER, *(length + 2 * MARGIN for _, length in lines))
    out = heading(title, width)
    top = MARGIN + 20 * len(out) + 6 + above
    out += [f'<g transform="translate({(width - panel.width) / 2:.1f} {top:.1f})">', *drawn, "</g>"]
    top += panel.height
    for text, length in lines:
        out += [
            f'<g class="legend" transform="translate({(width - length) / 2:.1f} {top:.1f})">',
            text,
            "</g>",
        ]
        top += 22
    head = _HEAD.format(width=width, height=top + MARGIN).rstrip()
    return "\n".join([head, f"<title>{escape(printable(title))}</title>", *out, "</svg>\n"])


def _style(weight: float, most: float) -> str:
    colour = POSITIVE if weight >= 0 else NEGATIVE
    return (
        f'fill="none" stroke="{colour}" '
        f'stroke-width="{THIN + (THICK - THIN) * abs(weight) / most:.2f}" stroke-opacity="0.85"'
    )


def _link(path: list[Box], weight: float, most: float) -> str:
    """From the right side of a node to the left side of another, through the places in between."""
    first, last = path[0], path[-1]
    out = [f"M{first.x + _half(first):.1f},{first.y:.1f}"]
    x, y = first.x + _half(first), first.y
    for box in path[1:]:
        half = _half(box) if box is last else 0.0
        middle = (x + box.x - half) / 2
        out.append(f"C{middle:.1f},{y:.1f} {middle:.1f},{box.y:.1f} {box.x - half:.1f},{box.y:.1f}")
        x, y = box.x, box.y
    return (
        f'<path class="link" d="{" ".join(out)}" {_style(weight, most)}><title>{first.text} to '
        f"{last.text}: {weight:.6g}</title></path>"
    )


def _arc(source: Box, target: Box, weight: float, most: float) -> tuple[str, float]:
    """Over the nodes in between, with an arrow; and how high it goes."""
    span = abs(source.x - target.x)
    bow = 26.0 + 0.3 * span + 0.1 * abs(source.y - target.y)
    shift = min(9.0, _half(source) / 2)
    x1, x2, y1, y2 = (
        source.x + shift,
        target.x - shift,
        source.y - HEIGHT / 2,
        target.y - HEIGHT / 2,
    )
    top = min(y1, y2) - bow
    lean = 10.0 if source is target else 0.0
    route = (
        f"M{x1:.1f},{y1:.1f} C{x1 + lean:.1f},{top:.1f} {x2 - lean:.1f},{top:.1f} {x2:.1f},{y2:.1f}"
    )
    head = (
        f'<path class="head" d="M{x2:.1f},{y2:.1f} l-3.5,-7 l7,0 z" '
        f'fill="{POSITIVE if weight >= 0 else NEGATIVE}"/>'
    )
    title = f"<title>{source.text} to {target.text}, a step later: {weight:.6g}</title>"
    return (
        (
            f'<path class="arc" d="{route}" {_style(weight, most)} stroke-dasharray="5 '
            f'3">{title}</path>\n{head}'
        ),
        top,
    )


def _half(box: Box) -> float:
    return box.wide / 2 if isinstance(box, Node) and box.text is not None else 0.0


def _drawn(box: Box) -> list[str]:
    """Hidden nodes are round and white; inputs and outputs are grey with a thick border."""
    ends = box.kind in ("input", "output")
    style = 'fill="#e4e4e4" stroke-width="2"' if ends else 'fill="white"'
    half = _half(box)
    return [
        (
            f'<rect class="{box.kind}" x="{box.x - half:.1f}" y="{box.y - HEIGHT / 2:.1f}" '
            f'width="{2 * half:.1f}" height="{HEIGHT:.1f}" rx="{4 if ends else HEIGHT / 2:g}" '
            f'stroke="black" {style}/>'
        ),
        text_at(box.text or "", box.x, box.y + 4, 1.0, "label"),
    ]


def _legend(net: Neurons, kinds: dict[str, str], most: float, recurrent: bool) -> list[list[str]]:
    """Lines of the legend; what begins with a space is the style of a sample."""
    out = (
        [
            [
                "positive weight",
                f" {_style(most, most)}",
                "negative weight",
                f" {_style(-most, most)}",
                f"largest {most:.3g}",
            ]
        ]
        if net.links
        else []
    )
    if recurrent:
        out.append(
            ["value of the step before", f' {_style(most / 4, most)} stroke-dasharray="5 3"']
        )
    size = f"{plural(len(net.hidden), 'hidden node')}, {plural(net.links, 'link')}"
    return [*out, [size, *(f"{title}: {name}" for title, name in kinds.items())]]


def _legend_line(parts: list[str]) -> tuple[str, float]:
    """Texts and samples side by side, and how long that is."""
    out, x = [], 0.0
    for part in parts:
        if part.startswith(" "):
            out.append(f'<path d="M{x - 10:.1f},-4 h30"{part}/>')
            x += 40
        else:
            width = CHARACTER * len(part)
            out.append(text_at(part, x + width / 2, 0, 1.0, "legend"))
            x += width + 18
    return "\n".join(out), x - 18 if parts and not parts[-1].startswith(" ") else x - 20
