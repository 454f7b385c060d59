"""Cells, motifs and programs drawn as layered graphs, a panel a graph: readable in black and white,
with no script and no font of its own.

Layers are those of longest paths, the order within a layer is by barycentres. An operation on an
edge is a box of its own. Edges that close a cycle, as between two examples of a program, are dashed
and run upwards.
"""

import re
from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

from evoml.contracts.architecture_space import ArchitectureSpace
from evoml.core.errors import InputError
from evoml.core.wording import plural
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
from evoml.export._neurons import run_units
from evoml.export._neurons_svg import svg as neurons_svg
from evoml.export._target import Given, Target
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.layers import layers
from evoml.search.opened import Opened

WIDEST = 2200.0  # of a row of panels, unless one panel is wider
FEW = 3  # inputs that keep their order

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" \
font-family="monospace" font-size="12">
<defs><marker id="arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z"/></marker></defs>
<rect class="paper" width="100%" height="100%" fill="white"/>
"""  # noqa: E501


class Svg(Target):
    """A drawing."""

    def text(self, given: Given) -> str:
        draw = _DRAWN_OTHERWISE.get(given.opened.space.phenotype, _graphs)
        return draw(given)


def _graphs(given: Given) -> str:
    opened = given.opened
    essence = opened.space.essence(given.genotype)
    return svg(opened.space, essence, opened.heading + _size(opened, essence))


def _size(opened: Opened, genotype: Genotype) -> str:
    """How large it is, behind a heading; empty where that is not known.

    A network has the size of the run's images: of a file, or without the images, there is none.
    """
    space, problem = opened.space, opened.problem
    if space.phenotype == "programs":
        return f", {plural(sum(len(rows) for rows in genotype.tables.values()), 'instruction')}"
    if not isinstance(space, ArchitectureSpace) or problem is None:
        return ""
    if not problem.trains or "parameters" in problem.names:
        return ""
    try:
        images = problem.task.search(0)
        network = space.network(genotype, images.size, images.head.outputs)
    except (InputError, ValueError):  # images that are gone; a genotype that is no network
        return ""
    return f", {plural(network.parameters, 'parameter')}"


def _network(given: Given) -> str:
    """A network of neurons; of a run on a table that is still there, with the names in it."""
    opened = given.opened
    problem, units = opened.problem, None
    if problem is not None and problem.config.data is not None and problem.config.data.exists():
        units = run_units(problem, opened.path)
    return neurons_svg(opened.space, given.genotype, opened.heading, units)


def svg(space: Any, genotype: Genotype, title: str) -> str:
    """A genotype as an SVG picture, what `space.drawings` gives side by side.

    A node or an edge has the colour of the layer that its `layer` names, an edge without one that
    of its label.

    The title may hold any characters.
    """
    rows = _rows([_panel(name, graph) for name, graph in drawn(space, genotype).items()])
    entries = _entries([panel for row in rows for panel in row])
    widths = [sum(panel.width for panel in row) for row in rows]
    width = max(*widths, 20 * CHARACTER, *(_wide(text) + 2 * MARGIN for text, _ in entries))
    out = heading(title, width)
    top = MARGIN + 20 * len(out) + 10
    for row in rows:
        left = (width - sum(panel.width for panel in row)) / 2
        for panel in row:
            out += [f'<g transform="translate({left:.1f} {top:.1f})">', *_draw(panel), "</g>"]
            left += panel.width
        top += max([panel.height for panel in row], default=0.0)
    legend, below = _legend(entries, width)
    out += [f'<g transform="translate(0 {top:.1f})">', *legend, "</g>"]
    top += below
    return "\n".join(
        [
            _HEAD.format(width=width, height=top + MARGIN).rstrip(),
            f"<title>{escape(printable(title))}</title>",
            *out,
            "</svg>\n",
        ]
    )


# kinds of phenotype whose drawings are not the space's
_DRAWN_OTHERWISE = {"neurons": _network}


# by what a layer is made of: its colour, apart in lightness too, and what the legend says
_COLOURS = {
    "convolution": "#7db8e8",
    "separable convolution": "#cfe6f8",
    "pooling": "#f3c969",
    "skip": "#ffffff",
    "nothing": "#969696",
}
_PRIMITIVES = (
    ("dw", "separable convolution"), ("conv", "convolution"), ("fr", "convolution"),
    ("max", "pooling"), ("avg", "pooling"), ("zero", "nothing"), ("id", "skip"),
)  # fmt: skip
_NUMBER = re.compile(r"-?\d+\.\d{5,}(?:e[-+]?\d+)?")  # with more digits than a picture needs


def _kind_of_layer(name: str) -> str:
    """What a layer is made of; empty where it is no layer, or of nothing that has a colour.

    name: a row of the layers.
    """
    row = layers().get(name)
    if row is None:
        return ""
    tokens = {re.sub(r"[^a-z].*", "", token) for token in row.text.split()}
    return next((kind for primitive, kind in _PRIMITIVES if primitive in tokens), "")


def _entries(panels: Sequence[Panel]) -> list[tuple[str, str]]:
    """What colours and broken lines mean, as far as they are there: words, and the style of a
    sample.
    """
    boxes = [box for panel in panels for box in panel.boxes]
    found = {_kind_of_layer(box.layer_name) for box in boxes}
    out = [(kind, f'fill="{_COLOURS[kind]}"') for kind in _COLOURS if kind in found]
    if any(box.dead for box in boxes):
        dotted = 'fill="white" stroke-dasharray="1 3"'
        out.append(("dotted: on no path from input to output, so it does nothing", dotted))
    if any(panel.dashed for panel in panels):
        out.append(
            ("dashed: read the next time that it runs", 'fill="white" stroke-dasharray="5 3"')
        )
    return out


def _wide(text: str) -> float:
    """The width of an entry of the legend."""
    return 26 + CHARACTER * len(text) + 18


def _legend(entries: list[tuple[str, str]], width: float) -> tuple[list[str], float]:
    """The legend, and its height."""
    out: list[str] = []
    x, y = MARGIN, 0.0
    for text, style in entries:
        if x > MARGIN and x + _wide(text) > width - MARGIN:
            x, y = MARGIN, y + 22
        out.append(
            f'<rect class="legend" x="{x:.1f}" y="{y:.1f}" width="18" height="12" rx="2" '
            f'stroke="black" {style}/>'
        )
        out.append(text_at(text, x + 26 + CHARACTER * len(text) / 2, y + 10, 1.0, "legend"))
        x += _wide(text)
    return out, y + 22 if entries else 0.0


def drawn(space: Any, genotype: Genotype) -> dict[str, nx.MultiDiGraph]:
    """The graphs of a genotype by name, nodes and edges with `label`: the space's `drawings`."""
    return {name: nx.MultiDiGraph(graph) for name, graph in space.drawings(genotype).items()}


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
    back = closing_links(links, boxes.values())
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
    place_boxes(panel, layers)
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
        label = _short(printable(str(data.get("label", node))))
        out[node] = Box(
            label, kind, node not in live and kind == "node", layer_name=data.get("layer", "")
        )
    return out


def _short(label: str) -> str:
    """With four digits of every number."""
    return _NUMBER.sub(lambda match: f"{float(match[0]):.4g}", label)


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
                printable(str(label or "")), "operation", boxes[source].dead or boxes[target].dead,
                layer_name=data.get("layer", str(label or "")),
            )  # fmt: skip
            operations.append(box)
            links += [(boxes[source], box), (box, boxes[target])]
        else:
            links.append((boxes[source], boxes[target]))
    return links, operations


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
    above, below = neighbours_of(panel)
    best, fewest = [list(layer) for layer in layers], count_crossings(layers, below)
    for sweep in range(SWEEPS):
        near, order = (above, layers) if sweep % 2 == 0 else (below, layers[::-1])
        for before, layer in pairwise(order):
            at = {box: index for index, box in enumerate(before)}
            here = {box: index for index, box in enumerate(layer)}
            scale = (len(before) - 1) / max(len(layer) - 1, 1)
            weight = {
                box: mean_of([at[each] for each in near.get(box, ())], here[box] * scale)
                for box in layer
            }
            layer.sort(key=lambda box: weight[box])
        if (crossings := count_crossings(layers, below)) < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer in best:
        # the few inputs of a cell are in one order in every panel
        inputs = [box for box in panel.boxes if box in layer and box.kind == "input"]
        if len(inputs) == len(layer) <= FEW:
            layer[:] = inputs
    return best


# -- drawing ---------------------------------------------------------------------------------------


def _draw(panel: Panel) -> list[str]:
    out = [text_at(panel.name, panel.width / 2, MARGIN + 10, 1.1, "panel")] if panel.name else []
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
    colour = _COLOURS.get(_kind_of_layer(box.layer_name), "white")
    style = 'fill="#e4e4e4" stroke-width="2"' if ends else f'fill="{colour}"'
    dashes = ' stroke-dasharray="1 3"' if box.dead else ""
    radius = 2 if box.kind == "operation" else HEIGHT / 2
    return [
        (
            f'<rect class="{box.kind}" x="{box.x - box.width / 2:.1f}" '
            f'y="{box.y - HEIGHT / 2:.1f}" width="{box.width:.1f}" height="{HEIGHT:.1f}" '
            f'rx="{radius:g}" stroke="black" {style}{dashes}/>'
        ),
        text_at(box.text or "", box.x, box.y + 4, 1.0, "label"),
    ]
