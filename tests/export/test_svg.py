"""Pictures of genotypes: well-formed, everything named, no text over a box or outside the
picture.
"""

import re
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from command_line import evoml
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import class_of

from evoml.core.registry import load, names
from evoml.export.svg import drawn, svg

PROGRAMS = Path(__file__).parents[2] / "programs"
FILES = sorted(path for path in PROGRAMS.glob("*/*") if path.parent.name in names("spaces"))
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def opened(path: Path) -> tuple[Any, Any]:
    return class_of(load("spaces", path.parent.name)).open_text(path.read_text(), path.name)


def picture(graph: nx.MultiDiGraph, title: str = "title") -> str:
    return svg(SimpleNamespace(drawings=lambda genotype: {"graph": graph}), None, title)  # type: ignore[arg-type]


def rectangles(text: str) -> tuple[list[Rectangle], list[Rectangle], tuple[float, float]]:
    """Of boxes, of texts, and the picture's size.

    Texts take up their `textLength` and a line of 12 pixels a unit of scale.
    """
    root = ElementTree.fromstring(text)
    boxes: list[Rectangle] = []
    texts: list[Rectangle] = []

    def walk(element: ElementTree.Element, x: float, y: float) -> None:
        if move := re.fullmatch(r"translate\(([-\d.]+) ([-\d.]+)\)", element.get("transform", "")):
            x, y = x + float(move[1]), y + float(move[2])
        tag = element.tag.split("}")[1]
        if tag == "rect" and element.get("class") != "paper":
            left, top = x + float(element.attrib["x"]), y + float(element.attrib["y"])
            boxes.append(
                (
                    left,
                    top,
                    left + float(element.attrib["width"]),
                    top + float(element.attrib["height"]),
                )
            )
        if tag == "text":
            half, base, size = (
                float(element.attrib["textLength"]) / 2,
                y + float(element.attrib["y"]),
                float(element.get("font-size", 12)),
            )
            middle = x + float(element.attrib["x"])
            texts.append((middle - half, base - size * 0.8, middle + half, base + size * 0.3))
        for child in element:
            walk(child, x, y)

    walk(root, 0.0, 0.0)
    return boxes, texts, (float(root.attrib["width"]), float(root.attrib["height"]))


def check(text: str) -> None:
    boxes, texts, (width, height) = rectangles(text)
    for left, top, right, bottom in boxes + texts:
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
    for one, other in combinations(boxes, 2):
        assert apart(one, other)
    for label in texts:
        touched = [box for box in boxes if not apart(label, box)]
        assert len(touched) <= 1
        assert all(box[0] <= label[0] and label[2] <= box[2] for box in touched)
    for one, other in combinations(texts, 2):
        assert apart(one, other)


def apart(one: Rectangle, other: Rectangle) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_published_genotypes_are_drawn_whole(path: Path) -> None:
    space, genotype = opened(path)
    text = svg(space, genotype, path.stem)
    check(text)
    shown = [
        element.text
        for element in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")
    ]
    for name, graph in drawn(space, genotype).items():
        assert name in shown or not name
        for _, label in graph.nodes(data="label"):
            assert label is None or label in shown
        for _, _, label in graph.edges(data="label"):
            assert not label or label in shown


@pytest.mark.parametrize("name", sorted(names("spaces")))
@pytest.mark.parametrize("seed", [1, 2])
def test_random_genotypes_of_every_space(name: str, seed: int) -> None:
    module = load("spaces", name)
    space = class_of(module)(module.Settings())
    genotype = space.random(np.array([seed], np.uint64)).genotype(0)
    check(svg(space, genotype, name))


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_graph_is_drawn_also_with_cycles(edges: set[tuple[int, int]], labelled: bool) -> None:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(range(3))
    graph.add_edges_from(
        (a, b, {"label": f"operation {a}{b}"} if labelled else {}) for a, b in sorted(edges)
    )
    text = picture(graph)
    check(text)
    arrows = re.findall(r'<path d="M[^"]*" fill="none"', text)
    assert len(arrows) == len(edges) + sum(labelled or a == b for a, b in edges)


@given(st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_titles_hold_any_characters(title: str) -> None:
    graph = nx.MultiDiGraph([(0, 1)])
    text = picture(graph, title)
    text.encode()
    check(text)


def test_markup_in_a_title_is_text() -> None:
    text = picture(nx.MultiDiGraph([(0, 1)]), '<script>alert("x")</script> & more')
    assert "<script" not in text
    assert (
        ElementTree.fromstring(text).findtext("{http://www.w3.org/2000/svg}title")
        == '<script>alert("x")</script> & more'
    )


def test_nothing_is_loaded_from_elsewhere() -> None:
    space, genotype = opened(PROGRAMS / "cell" / "nasnet_a.toml")
    text = svg(space, genotype, "NASNet-A")
    assert "href" not in text and "@import" not in text and "url(http" not in text
    assert text == svg(space, genotype, "NASNet-A")


def test_lines_pass_boxes_at_a_distance() -> None:
    """A long edge has a place of its own in every layer that it passes."""
    graph = nx.MultiDiGraph([(0, 1), (1, 2), (2, 3), (0, 3)])
    text = picture(graph)
    boxes, _, _ = rectangles(text)
    route = next(
        path for path in re.findall(r'<path d="(M[^"]*)" fill="none"', text) if "V" in path
    )
    points = [tuple(map(float, pair)) for pair in re.findall(r"([-\d.]+),([-\d.]+)", route)]
    offsets = [float(value) for value in re.findall(r"translate\(([-\d.]+)", text)]
    passing = {x + offsets[0] for x, _ in points[3:-2]}
    assert all(x <= left or x >= right for x in passing for left, _, right, _ in boxes[1:3])


def test_layers_have_colours_by_kind_that_differ_in_grey(tmp_path: Path) -> None:
    """And a cell's picture has the stack of cells, and inputs in one order."""
    space, genotype = opened(next(path for path in FILES if path.stem == "nasnet_a"))
    root = ElementTree.fromstring(svg(space, genotype, "colours"))
    fills: dict[str, set[str]] = {}
    inputs: list[list[tuple[float, str]]] = []
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        found, last = [], ""
        for element in group:
            if element.tag.endswith("rect"):
                last = element.get("fill", "")
                kind = element.get("class")
            elif element.get("class") == "label" and kind == "operation":
                fills.setdefault(last, set()).add(str(element.text))
            elif element.get("class") == "label" and kind == "input":
                found.append((float(element.attrib["x"]), str(element.text)))
        inputs += [sorted(found)] if len(found) > 1 else []
    assert len(inputs) == 2 and len({tuple(text for _, text in each) for each in inputs}) == 1
    kinds = {frozenset(names) for names in fills.values()}
    assert any("sep_conv_5x5" in each and "avg_pool_3x3" not in each for each in kinds)
    assert any("identity" in each and len(each) == 1 for each in kinds)
    lightness = sorted(
        sum(weight * int(fill[at : at + 2], 16) for weight, at in ((0.3, 1), (0.59, 3), (0.11, 5)))
        for fill in fills
        if fill.startswith("#")
    )
    assert len(lightness) == 3 and min(np.diff(lightness)) > 15
    names = " ".join(element.text or "" for element in root.iter())
    assert "normal cell" in names and "mean over pixels" in names and "separable conv" in names


def test_what_is_on_no_path_to_the_output_is_dotted() -> None:
    graph = nx.MultiDiGraph()
    graph.add_node("in", kind="input")
    graph.add_node("out", kind="output")
    graph.add_edge("in", "out", label="used")
    graph.add_edge("in", "unread", label="unused")
    graph.add_node("alone", kind="node")
    graph.add_edge("alone", "out", label="of nothing")
    text = picture(graph)
    # two nodes and an operation of each, and what it means
    assert len(re.findall(r'<rect[^>]*stroke-dasharray="1 3"', text)) == 5
    assert "dotted: on no path from input to output, so it does nothing" in text


def fills_of(text: str) -> dict[str, str]:
    """The colour of every box by its label."""
    found: dict[str, str] = {}
    fill = ""
    for element in ElementTree.fromstring(text).iter():
        if element.tag.endswith("rect"):
            fill = element.get("fill", "")
        elif element.get("class") == "label":
            found[str(element.text)] = fill
    return found


@pytest.mark.parametrize(
    ("name", "convolution", "skip"),
    [
        ("nasbench201", "nor_conv_3x3", "skip_connect"),
        ("nasbench101", "conv3x3-bn-relu", "input"),
        ("chain", "filters", "image"),
    ],
)
def test_layers_are_coloured_whatever_a_space_calls_them(
    name: str, convolution: str, skip: str
) -> None:
    """A benchmark's own words, and layers that are nodes."""
    module = load("spaces", name)
    space = class_of(module)(module.Settings())
    population = space.random(np.arange(1, 30, dtype=np.uint64))
    found: dict[str, str] = {}
    for index in range(len(population)):
        found |= fills_of(svg(space, population.genotype(index), name))
    layers = {fill for label, fill in found.items() if convolution in label}
    others = {fill for label, fill in found.items() if skip == label}
    assert len(layers) == 1 and others and not layers & (others | {"white", "#ffffff"})


def test_what_goes_round_is_dashed_and_said() -> None:
    assert "dashed: read the next time" in picture(nx.MultiDiGraph([(0, 1), (1, 0)]))
    assert "dashed" not in picture(nx.MultiDiGraph([(0, 1)])).split("<title>")[1]


def test_titles_say_how_large_it_is(tmp_path: Path) -> None:
    """A run's network in parameters on its images, a program in instructions."""
    run = tmp_path / "run"
    less = ("--set", "task.examples=60", "--set", "evaluator.epochs=1", "--workers", "1")
    evoml("search", "amoebanet", "--budget", "2", *less, "--run", run)
    title = re.search("<title>(.*)</title>", evoml("export", run, "--to", "svg").stdout)
    assert title and re.search(r": accuracy [.0-9]+, [0-9,]+ parameters$", title[1])
    program = next(path for path in FILES if path.parent.name == "automl_zero")
    drawing = evoml("export", program, "--to", "svg").stdout
    assert re.search(r"<title>[^<]*, \d+ instructions</title>", drawing)
