"""HyperNEAT and ES-HyperNEAT: CPPNs of known functions against what is computed by hand, quadtrees
against plain recursion, substrates, searches that resume.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from parts import class_of

from evoml.backends import numba, reference
from evoml.config import build
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.core.streams import VARY, streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import ACTIVATION_NAMES
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.search.open import open_search, resume
from evoml.search.problem import Problem, stored_config
from evoml.spaces import es_hyperneat, hyperneat, neat
from evoml.spaces._substrates import Layer, Substrate
from evoml.spaces.neat import PAPER, SCHEMA
from evoml.tasks import digits

PROGRAMS = Path(__file__).parents[2] / "programs"
SUBSTRATES = PROGRAMS / "substrates"
LINE = {
    "inputs": [[-1.0, -1.0], [1.0, -1.0]],
    "hidden": [[-0.5, 0.0], [0.0, 0.0], [0.5, 0.0]],
    "outputs": [[0.0, 1.0]],
}
FOUR = ("x1", "y1", "x2", "y2")


class Shape:
    inputs, outputs, bias, output = 2, 1, 0.5, "sigmoid"


def substrate(layers: dict[str, Any] = LINE, **settings: Any) -> dict[str, Any]:
    return settings | {"layers": [{"name": name, "nodes": nodes} for name, nodes in layers.items()]}


def space(module: Any = hyperneat, **settings: Any) -> Any:
    return class_of(module)(module.Settings.read(settings, "test")).for_task(Shape())


def cppn(
    weights: dict[str, float],
    bias: dict[str, float] | None = None,
    inputs: tuple[str, ...] = FOUR,
    function: str = "identity",
    **more: Any,
) -> Genotype:
    """Outputs as sums of the named inputs and the constant "1", put through a function; the weight
    first, then the bias and what `more` names.

    A second level: `{"name": ("gauss", {"x1": 1.0})}` in `hidden` makes a hidden node of that name,
    which outputs may name.
    """
    hidden = more.pop("hidden", {})
    outputs = [weights, *([] if bias is None else [bias]), *more.values()]
    names = [*inputs, "1"]
    rows = [{"id": at, "kind": "input"} for at in range(len(inputs))] + [
        {"id": len(inputs), "kind": "bias"}
    ]
    for at in range(len(outputs)):
        rows.append(
            {"id": len(names) + at, "kind": "output", "activation": function, "aggregation": "sum"}
        )
    links, first = [], len(names) + len(outputs)
    number = {name: at for at, name in enumerate(names)} | {
        name: first + at for at, name in enumerate(hidden)
    }
    for name, (activation, sources) in hidden.items():
        rows.append(
            {"id": number[name], "kind": "hidden", "activation": activation, "aggregation": "sum"}
        )
        links += [(number[source], number[name], weight) for source, weight in sources.items()]
    for at, sums in enumerate(outputs):
        links += [(number[source], len(names) + at, weight) for source, weight in sums.items()]
    table = [
        dict(zip(("source", "target", "weight"), link, strict=True))
        | {"innovation": at, "enabled": True}
        for at, link in enumerate(links)
    ]
    return SCHEMA.from_plain({"nodes": rows, "links": table}, "test")


def drawn(home: Any, genotype: Genotype) -> dict[tuple[Any, Any], float]:
    """Weights of the network's links by the places of their ends; the bias is at None."""
    network = home.drawn_network(genotype)
    place = {
        node: None if about["kind"] == "bias" else about["place"]
        for node, about in network.nodes.items()
    }
    return {
        (place[source], place[target]): about["weight"]
        for source, target, about in network.edges(data=True)
    }


def random_cppns(home: Any, count: int, seed: int) -> Population:
    """Grown by twenty rounds of mutation."""
    population = home.initial(streams(seed, VARY, np.arange(count)))
    counters, nobody, no = home.begin(population), np.full(count, -1), np.zeros(count, np.uint8)
    for number in range(20):
        draws = streams(seed + 100 + number, VARY, np.arange(count))
        population = home.breed(
            population,
            np.arange(count),
            nobody,
            no,
            no,
            draws,
            PAPER._replace(add_node=0.6, add_link=0.6),
            counters,
        )
    return population


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "weight"),
    [
        (0.2, 0.0),
        (0.2000001, 3.75e-7),
        (0.6, 1.5),
        (1.0, 3.0),
        (7.0, 3.0),
        (-0.6, -1.5),
        (-0.1, 0.0),
        (-9.0, -3.0),
        (0.0, 0.0),
    ],
)
def test_what_is_above_the_threshold_is_scaled_to_the_range(output: float, weight: float) -> None:
    """The paper: not expressed up to 0.2, then from 0 to 3."""
    weights = list(drawn(space(substrate=substrate(), biases=False), cppn({"1": output})).values())
    assert weights == ([] if weight == 0 else pytest.approx([weight] * 9, rel=1e-6))


def test_weights_are_what_the_cppn_says_of_both_places() -> None:
    """The weight is 0.5 + 0.3 x1 - 0.2 y2, the bias of a node 0.4 + 0.3 x2; no threshold, a range
    of 2.
    """
    home = space(substrate=substrate(), threshold=0.0, range=2.0)
    found = drawn(
        home, cppn({"1": 0.5, "x1": 0.3, "y2": -0.2}, {"1": 0.4, "x2": 0.3, "x1": 5.0, "y1": 5.0})
    )
    expected: dict[tuple[Any, Any], float] = {}
    for below, above in (("inputs", "hidden"), ("hidden", "outputs")):
        for x1, y1 in LINE[below]:
            for x2, y2 in LINE[above]:
                expected[(x1, y1), (x2, y2)] = 2.0 * (0.5 + 0.3 * x1 - 0.2 * y2)
    for x2, y2 in LINE["hidden"] + LINE["outputs"]:
        expected[None, (x2, y2)] = 2.0 * (0.4 + 0.3 * x2)
    assert found.keys() == expected.keys()
    assert all(found[link] == pytest.approx(weight, abs=1e-12) for link, weight in expected.items())


def test_a_symmetric_cppn_draws_a_symmetric_network() -> None:
    hidden = {
        "h": ("gauss", {"x1": 1.7}),
        "g": ("gauss", {"x2": 2.5, "y2": 0.3}),
        "i": ("gauss", {"x2": -2.5, "y2": 0.3}),
    }
    found = drawn(
        space(substrate=substrate()),
        cppn({"h": 1.0, "g": -0.7, "i": -0.7}, {"g": 1.0, "i": 1.0}, hidden=hidden),
    )

    def mirrored(place: Any) -> Any:
        return None if place is None else (-place[0] + 0.0, place[1])

    assert len(found) > 5
    assert {
        (mirrored(one), mirrored(other)): pytest.approx(weight, abs=1e-12)
        for (one, other), weight in found.items()
    } == found


def test_the_distance_is_an_input_where_it_is_asked_for() -> None:
    home = space(substrate=substrate(), threshold=0.0, range=1.0, biases=False, distance=True)
    assert home.inputs == 5
    found = drawn(home, cppn({"d": 0.4}, inputs=(*FOUR, "d")))
    assert (
        found[(-1.0, -1.0), (0.5, 0.0)] == pytest.approx(0.4 * np.hypot(1.5, 1.0))
        and len(found) == 9
    )


def test_a_link_expression_output_replaces_the_threshold() -> None:
    """Links to the left alone; a weight of 0.1 is kept, and the bias is not asked for leave."""
    home = space(substrate=substrate(), leo=True)
    found = drawn(home, cppn({"1": 0.1}, {"1": 0.05}, leo={"x1": 1.0, "x2": -1.0}))
    links = {link: weight for link, weight in found.items() if link[0] is not None}
    assert links and all(
        source[0] > target[0] and weight == pytest.approx(0.3)
        for (source, target), weight in links.items()
    )
    biases = [weight for (source, _), weight in found.items() if source is None]
    # of the output and of the one hidden node that leads to it
    assert biases == pytest.approx([0.15] * 2)


def test_outputs_of_a_cppn_that_are_no_numbers_are_no_links() -> None:
    """x1 times infinity is NaN where x1 is 0, and everything else is as large as can be."""
    hidden = {"h": ("square", {"x1": 1e200})}
    found = drawn(
        space(substrate=substrate(), biases=False), cppn({"h": 1e200, "x1": 1.0}, hidden=hidden)
    )
    assert set(found.values()) <= {3.0, -3.0}
    nothing = cppn(
        {"h": 1.0, "g": -1.0}, hidden={"h": ("square", {"1": 1e200}), "g": ("square", {"1": 1e200})}
    )
    assert not drawn(space(substrate=substrate(), biases=False), nothing)


def test_layers_are_linked_as_the_substrate_says() -> None:
    layers = {
        "inputs": LINE["inputs"],
        "low": [[0.0, -0.5]],
        "high": [[0.0, 0.5]],
        "outputs": [[0.0, 1.0]],
    }
    everywhere = cppn({"1": 1.0})

    def pairs(**settings: Any) -> set[tuple[float, float]]:
        found = drawn(space(substrate=substrate(layers, **settings), biases=False), everywhere)
        return {(source[1], target[1]) for source, target in found}

    assert pairs() == {(-1.0, -0.5), (-0.5, 0.5), (0.5, 1.0)}
    assert pairs(links=[["inputs", "high"], ["high", "outputs"], ["inputs", "outputs"]]) == {
        (-1.0, 0.5),
        (0.5, 1.0),
        (-1.0, 1.0),
    }
    # what reaches no output is left out
    assert pairs(links=[["inputs", "low"], ["low", "high"], ["inputs", "outputs"]]) == {(-1.0, 1.0)}
    assert pairs(recurrent=True) == {
        (-1.0, -0.5),
        (-0.5, -0.5),
        (-0.5, 0.5),
        (0.5, 0.5),
        (0.5, 1.0),
    }
    assert (1.0, -0.5) in pairs(
        recurrent=True, links=[["inputs", "low"], ["low", "outputs"], ["outputs", "low"]]
    )


def test_three_coordinates_give_six_inputs() -> None:
    layers = {"inputs": [[-1.0, 0.0, -1.0], [1.0, 0.0, -1.0]], "outputs": [[0.0, 0.5, 1.0]]}
    home = space(substrate=substrate(layers), biases=False, threshold=0.0, range=1.0)
    found = drawn(
        home, cppn({"x1": 0.1, "z1": 0.2, "y2": 0.4}, inputs=("x1", "y1", "z1", "x2", "y2", "z2"))
    )
    assert found == {
        (tuple(one), (0.0, 0.5, 1.0)): pytest.approx(0.1 * one[0] - 0.2 + 0.2)
        for one in layers["inputs"]
    }


def test_a_grid_runs_along_the_first_axis() -> None:
    assert Layer(name="a", grid=(3, 2)).coordinates.tolist() == [
        [-1, -1],
        [0, -1],
        [1, -1],
        [-1, 1],
        [0, 1],
        [1, 1],
    ]
    assert Layer(
        name="a", grid=(2, 1), low=(-0.5, 0.25), high=(0.5, 0.25)
    ).coordinates.tolist() == [[-0.5, 0.25], [0.5, 0.25]]
    assert Layer(name="a", grid=(1, 1)).coordinates.tolist() == [[0.0, 0.0]]


def test_a_substrate_is_made_for_the_task_where_there_is_none() -> None:
    home = space()
    inputs, hidden, outputs = (layer.coordinates.tolist() for layer in home.substrate.layers)
    assert (
        inputs == LINE["inputs"]
        and hidden == [[-1, 0], [0, 0], [1, 0]]
        and outputs == LINE["outputs"]
    )
    assert (home.inputs, home.outputs) == (4, 2)
    unshaped = hyperneat.HyperNEATSpace(hyperneat.Settings())
    population = unshaped.initial(streams(1, VARY, np.arange(2)))
    with pytest.raises(InputError, match="has no layers"):
        unshaped.phenotypes(population)


@pytest.mark.parametrize("module", [hyperneat, es_hyperneat])
@pytest.mark.parametrize("recurrent", [False, True])
def test_sources_are_computed_first_and_everything_reaches_an_output(
    module: Any, recurrent: bool
) -> None:
    home = space(module, substrate={"recurrent": recurrent}, threshold=0.3)
    population = random_cppns(home, 40, 3)
    graphs = home.phenotypes(population)
    assert (graphs.inputs, graphs.outputs, graphs.bias, graphs.recurrent) == (2, 1, 1.0, recurrent)
    for p in range(40):
        known, seen = {0, 1, 2}, set()
        for row in range(graphs.nodes[p], graphs.nodes[p + 1]):
            sources = set(graphs.source[graphs.links[row] : graphs.links[row + 1]].tolist())
            assert recurrent or sources <= known
            known.add(int(graphs.slot[row]))
            seen |= sources
        assert 3 in known and max(known) < graphs.slots[p] and seen <= known
        network = home.drawn_network(population.genotype(p))
        assert all(
            nx.has_path(network, node, 3)
            for node, kind in network.nodes(data="kind")
            if kind == "hidden"
        )
    alone = home.phenotypes(population.take(np.array([7, 31])))
    taken = graphs.take(np.array([7, 31]))
    for name in ("slots", "nodes", "slot", "activation", "links", "source", "weight"):
        assert (getattr(alone, name) == getattr(taken, name)).all(), name
    inputs = np.random.default_rng(1).normal(size=(9, 2))
    assert np.allclose(
        numba.forward(graphs, inputs, sweeps=3),
        reference.forward(graphs, inputs, sweeps=3),
        atol=1e-9,
    )


def test_blocks_of_cppns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    home = space(substrate=substrate())
    population = random_cppns(home, 20, 5)
    before = home.phenotypes(population)
    monkeypatch.setattr(hyperneat, "BLOCK", 60)
    after = home.phenotypes(population)
    assert all(
        (getattr(before, name) == getattr(after, name)).all()
        for name in ("slots", "nodes", "slot", "links", "source", "weight")
    )


@pytest.mark.parametrize("module", [hyperneat, es_hyperneat])
def test_keys_are_those_of_the_networks(module: Any) -> None:
    """Twice the same network by other means: the weight split over two nodes of the CPPN, one of
    them disabled.
    """
    home = space(module, biases=False, output="sin")
    ridges = {"g": ("gauss", {"x1": 8.0, "1": -3.0}), "h": ("gauss", {"x2": 8.0, "1": -3.0})}
    one = cppn({"h": 1.0, "g": 1.0}, hidden=ridges)
    plain = SCHEMA.plain(one)
    plain["links"].append(
        {"innovation": 9, "source": 1, "target": 6, "enabled": False, "weight": 0.7}
    )
    assert (
        home.key(one)
        == home.key(SCHEMA.from_plain(plain, "test"))
        != home.key(cppn({"x2": 1.0, "y2": 0.9, "g": 1.0}, hidden={"g": ("gauss", {"x1": 3.0})}))
    )
    assert home.key(home.essence(one)) == home.key(one)
    assert len(set(home.keys(random_cppns(home, 30, 9)))) > 15
    assert home.keys(population := random_cppns(home, 5, 9)) == [
        home.key(population.genotype(at)) for at in range(5)
    ]


# -- the quadtree ----------------------------------------------------------------------------------


class Square:
    """The paper's quadtree, square by square."""

    def __init__(self, x: float, y: float, half: float, depth: int) -> None:
        self.x, self.y, self.half, self.depth = x, y, half, depth
        self.parts: list[Square] = []
        self.weight = 0.0

    def leaves(self) -> list[float]:
        return (
            [weight for part in self.parts for weight in part.leaves()]
            if self.parts
            else [self.weight]
        )


def links_of(ask: Callable[[float, float], float], own: Any) -> list[tuple[float, float, float]]:
    """Division, then pruning and extraction, by the paper's two algorithms: x, y and weight of
    every link.
    """
    queue = [root := Square(0.0, 0.0, 1.0, 0)]
    while queue:
        square, half = queue.pop(0), 0.0
        half = square.half / 2
        square.parts = [
            Square(square.x + a * half, square.y + b * half, half, square.depth + 1)
            for a in (-1, 1)
            for b in (-1, 1)
        ]
        for part in square.parts:
            part.weight = ask(part.x, part.y)
        depth = square.depth + 1
        if depth < own.initial_depth or (
            depth < own.max_depth and np.var([part.weight for part in square.parts]) > own.division
        ):
            queue += square.parts
    out = []

    def extract(square: Square) -> None:
        for part in square.parts:
            if np.var(part.leaves()) > own.variance:
                extract(part)
                continue
            left, right, down, up = (
                abs(part.weight - ask(part.x + a * square.half, part.y + b * square.half))
                for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))
            )
            if max(min(left, right), min(down, up)) > own.band:
                out.append((part.x, part.y, part.weight))

    extract(root)
    return out


def discovered(home: Any, genotype: Genotype) -> dict[tuple[Any, Any], float]:
    """The network as the paper finds it, link by link; scaled and without what leads to no
    output.
    """
    own, pattern = home.settings, neat.NEATSpace.phenotypes(home, Population.of(SCHEMA, [genotype]))

    def query(*ends: float) -> np.ndarray:
        return numba.forward(pattern, np.array([ends]))[0, 0]

    inputs, outputs = (
        list(map(tuple, layer.coordinates.tolist())) for layer in home.substrate.layers
    )
    network, found = nx.DiGraph(), set()
    unexplored: list[Any] = list(inputs)
    for iteration in range(own.iterations + 1):
        fresh = []
        for node in unexplored:
            for x, y, weight in links_of(lambda x, y, node=node: float(query(*node, x, y)[0]), own):  # type: ignore[misc]
                if iteration and not home.substrate.recurrent and y <= node[1]:
                    continue
                if (x, y) not in found:
                    fresh.append((x, y))
                    found.add((x, y))
                network.add_edge((iteration > 0, node), (True, (x, y)), weight=weight)
        unexplored = fresh
    for node in outputs:
        for x, y, weight in links_of(lambda x, y, node=node: float(query(x, y, *node)[0]), own):  # type: ignore[misc]
            if (x, y) in found:
                network.add_edge((True, (x, y)), "output", weight=weight)
    live = nx.ancestors(network, "output") | {"output"} if "output" in network else set()
    if own.biases:
        for node in [*live - {"output"}, "output"]:
            if node == "output" or node[0]:
                place = outputs[0] if node == "output" else node[1]
                network.add_edge("bias", node, weight=float(query(0.0, 0.0, *place)[1]))
        live |= {"bias", "output"}
    place = {
        node: None if node == "bias" else outputs[0] if node == "output" else node[1]
        for node in network
    }
    kept = [
        (place[a], place[b], weight)
        for a, b, weight in network.edges(data="weight")
        if {a, b} <= live and weight != 0
    ]
    return {(one, other): own.range * min(max(weight, -1.0), 1.0) for one, other, weight in kept}


# of the first squares, of the last, and rounds
DEPTHS = [(3, 3, 1), (1, 3, 1), (2, 5, 0), (1, 1, 2), (2, 3, 2)]


@pytest.mark.parametrize(("initial", "most", "iterations"), DEPTHS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_nodes_and_links_are_those_of_the_papers_algorithms(
    initial: int, most: int, iterations: int, recurrent: bool
) -> None:
    home = space(
        es_hyperneat,
        initial_depth=initial,
        max_depth=most,
        iterations=iterations,
        substrate={"recurrent": recurrent},
        band=0.2,
        division=0.02,
        output="sin",
    )
    population, sizes = random_cppns(home, 6, 7 + initial), []
    for index in range(6):
        found, expected = (
            drawn(home, population.genotype(index)),
            discovered(home, population.genotype(index)),
        )
        assert found.keys() == expected.keys()
        assert all(found[link] == pytest.approx(expected[link], abs=1e-9) for link in found)
        sizes.append(len(found))
    assert max(sizes) > 10 and min(sizes) < max(sizes)


def test_nodes_are_found_in_a_band_and_nowhere_else() -> None:
    """The pattern depends on x2 alone and is a narrow ridge around 0.375, the third column of
    squares from the right.
    """
    ridge = {"h": ("gauss", {"x2": 8.0, "1": -3.0})}
    home = space(es_hyperneat, biases=False, substrate={"recurrent": True})
    found = drawn(home, cppn({"h": 1.0}, hidden=ridge))
    assert not found  # the output is not in the band that is seen from it: its pattern is flat
    both = {"h": ("gauss", {"x2": 8.0, "1": -3.0}), "g": ("gauss", {"x1": 8.0, "1": -3.0})}
    found = drawn(home, cppn({"h": 0.5, "g": 0.5}, hidden=both))
    hidden = {place for link in found for place in link} - {(-1.0, -1.0), (1.0, -1.0), (0.0, 1.0)}
    assert {x for x, _ in hidden} == {0.375} and {y for _, y in hidden} == {
        (2 * j + 1) / 8 - 1 for j in range(8)
    }
    assert all(source == (0.375, source[1]) or source[1] == -1.0 for source, _ in found)


def test_a_flat_pattern_finds_nothing_and_a_checkerboard_everything() -> None:
    home = space(es_hyperneat, biases=False, substrate={"recurrent": True})
    assert not drawn(home, cppn({"1": 0.9}))
    # one sign in every second column
    wave = {"h": ("sin", {"x2": 4 * np.pi}), "g": ("sin", {"x1": 4 * np.pi})}
    found = drawn(home, cppn({"h": 0.5, "g": 0.5}, hidden=wave))
    hidden = {place for link in found for place in link} - {(-1.0, -1.0), (1.0, -1.0), (0.0, 1.0)}
    assert len(hidden) == 64 and {len(found[link].hex()) > 0 for link in found} == {True}


def test_the_plane_is_divided_where_the_pattern_changes() -> None:
    """Ridges at two thirds: squares are small there and there alone."""
    ridge = {"h": ("gauss", {"x2": 9.0, "1": -6.0}), "p": ("gauss", {"x1": 9.0, "1": -6.0})}
    genotype = cppn({"h": 1.0, "p": 1.0}, hidden=ridge)
    columns = []
    for most in (3, 5):
        home = space(
            es_hyperneat,
            biases=False,
            initial_depth=2,
            max_depth=most,
            substrate={"recurrent": True},
            band=0.1,
        )
        columns.append({x for x, _ in home.places(genotype)[4:].tolist()})
    coarse, fine = columns
    assert fine > set() and max(coarse | fine) < 1.0
    assert all(8 * x % 2 == 1 for x in coarse) and any(32 * x % 2 == 1 for x in fine)
    assert not [x for x in fine if x < 0.25]


# -- substrates ------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    (
        substrate(links=[["inputs", "middle"]]),
        (
            r"links\[0\]: from inputs to middle: there is no layer middle; there are inputs, "
            r"hidden, outputs"
        ),
    ),
    (substrate(links=[["hidden", "inputs"]], recurrent=True), "nothing leads to inputs"),
    (
        substrate(links=[["hidden", "hidden"]]),
        "backwards in the order of layers, which only a recurrent substrate does",
    ),
    (substrate(links=[["inputs", "outputs"], ["inputs", "outputs"]]), "twice"),
    (
        substrate(LINE | {"hidden": [[0.0, 1.5]]}),
        r"layers.1.nodes.0.1: 1.5: input should be less than or equal to 1",
    ),
    (substrate(LINE | {"hidden": [[0.0, float("nan")]]}), r"layers.1.nodes.0.1: nan"),
    (substrate(LINE | {"hidden": [[0.0, "0"]]}), r"layers.1.nodes.0.1: '0'"),
    (
        substrate(LINE | {"hidden": [[0.5, 0.0], [0.5, 0.0]]}),
        r"layer hidden: two nodes at \[0.5, 0.0\]",
    ),
    (
        substrate(LINE | {"hidden": [[0.5, 0.0], [0.5]]}),
        "layer hidden: every node must have two coordinates, or every node three",
    ),
    (substrate(LINE | {"hidden": [[0.5, 0.0, 0.0]]}), "nodes of two and of three coordinates"),
    (substrate(LINE | {"hidden": []}), "must have either nodes, such as"),
    (
        substrate({"inputs": LINE["inputs"], "hidden": LINE["hidden"]}),
        "must begin with inputs and end with outputs",
    ),
    (
        {
            "layers": [
                {"name": "inputs", "grid": [2, 1]},
                {"name": "a", "grid": [2]},
                {"name": "outputs", "grid": [1, 1]},
            ]
        },
        "layer a: every node must have",
    ),
    (
        {
            "layers": [
                {"name": "inputs", "grid": [2, 1], "low": [0.0]},
                {"name": "outputs", "grid": [1, 1]},
            ]
        },
        "layer inputs: low: must have a coordinate",
    ),
    (
        {"layers": [{"name": "inputs", "grid": [3000, 1000]}, {"name": "outputs", "grid": [3, 1]}]},
        "9,000,000 of single nodes: at most",
    ),
    (
        {
            "layers": [
                {"name": "inputs", "grid": [2, 2], "low": [0.0, 0.0], "high": [0.0, 1.0]},
                {"name": "outputs", "grid": [1, 1]},
            ]
        },
        "two nodes at",
    ),
    ({"activation": "sigmod"}, "there is no sigmod; there are sigmoid"),
    ({"colour": 1}, "substrate.colour: no such setting"),
    ({"links": [["inputs", "outputs"]]}, "without layers there is nothing to link"),
]


@pytest.mark.parametrize(("given", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_a_bad_substrate_is_refused_in_one_line(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        hyperneat.Settings.read({"substrate": given}, "space")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("space.substrate")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "space.substrate: '.*bad.toml': no such file"),
        ("[[layers]\n", "space.substrate: '.*bad.toml': not TOML"),
        (
            "# nothing yet\n",
            "space.substrate: '.*bad.toml': holds no setting of a substrate, such as layers",
        ),
        ("colour = 1\n", "space.substrate: '.*bad.toml': colour: no such setting"),
        (
            'links = [["inputs", "outputs"]]\n',
            "space.substrate: '.*bad.toml': links: without layers",
        ),
    ],
)
def test_a_bad_file_of_a_substrate_is_refused_in_one_line(
    text: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        build(("test", {"system": "hyperneat", "space": {"substrate": str(path)}}))
    assert "\n" not in str(caught.value)


def test_a_substrate_must_fit_the_task() -> None:
    three = substrate(LINE | {"inputs": [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0]]})
    with pytest.raises(
        InputError, match="space.substrate: layer inputs: 3 nodes: the task has 2 inputs"
    ):
        space(substrate=three)
    with pytest.raises(
        InputError, match="space.substrate: layer outputs: 2 nodes: the task has 1 outputs"
    ):
        space(substrate=substrate(LINE | {"outputs": [[0.0, 1.0], [1.0, 1.0]]}))
    with pytest.raises(InputError, match="need a task with inputs and outputs"):
        hyperneat.HyperNEATSpace(hyperneat.Settings()).for_task(
            digits.DigitsTask(digits.Settings(), None, 0)
        )


def test_what_es_hyperneat_cannot_do_is_refused() -> None:
    for given, message in (
        ({"substrate": substrate()}, "must have the layers inputs and outputs alone"),
        ({"max_depth": 2}, "max_depth: 2: must be at least the initial depth, 3"),
        (
            {"substrate": substrate({"inputs": [[0.0, 0.0, 0.0]], "outputs": [[1.0, 0.0, 0.0]]})},
            "the plane that is searched has two",
        ),
    ):
        with pytest.raises(InputError, match=message) as caught:
            space(es_hyperneat, **given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(SUBSTRATES.glob("*.toml")), ids=lambda path: path.stem)
def test_substrates_that_come_with_evoml_fit_their_tasks(path: Path) -> None:
    values = {"system": "hyperneat", "task": {"name": path.stem}, "space": {"substrate": str(path)}}
    problem = Problem(build(("test", values)))
    assert problem.space.substrate == Substrate.read(tomllib.loads(path.read_text()), "test")
    assert len(
        problem.space.initial(streams(1, VARY, np.arange(3)))
    ) == 3 and path.read_text().startswith("# ")


@pytest.mark.parametrize("module", [hyperneat, es_hyperneat])
def test_outputs_have_the_function_that_the_task_says(module: Any) -> None:
    class Identity(Shape):
        output = "identity"

    for given, task, name in (
        ({}, Shape, "sigmoid"),
        ({}, Identity, "identity"),
        ({"output": "tanh"}, Identity, "tanh"),
    ):
        home = class_of(module)(
            module.Settings.read({"substrate": given, "threshold": 0.0}, "test")
        ).for_task(task())
        graphs = home.phenotypes(Population.of(SCHEMA, [cppn({"1": 1.0}, {"1": 1.0})]))
        assert home.substrate.output == name and ACTIVATION_NAMES[graphs.activation[-1]] == name
        text = home.format(cppn({"1": 1.0}, {"1": 1.0}))
        assert (
            class_of(module).open_text(text, "file")[0].substrate
            == home.substrate
            == class_of(module)(module.Settings.read({"substrate": given}, "test"))
            .for_task(task())
            .substrate
        )
        assert ("substrate.output" in text) == (name != "sigmoid")


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [hyperneat, es_hyperneat])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"leo": True, "threshold": 0.1, "substrate": {"recurrent": True}},
        {"distance": True, "biases": False, "range": 5.0},
    ],
)
def test_a_file_holds_the_cppn_and_all_that_it_is_read_with(
    module: Any, settings: dict[str, Any]
) -> None:
    home = space(module, **settings)
    population = random_cppns(home, 6, 2)
    for index in range(6):
        genotype = population.genotype(index)
        text = home.format(genotype)
        assert home.parse(text, "again") == genotype
        opened, same = class_of(module).open_text(text, "file")
        assert (
            same == genotype
            and opened.key(same) == home.key(genotype)
            and opened.format(same) == text
        )
        assert home.drawing(genotype).number_of_nodes() == len(genotype.tables["nodes"])


def test_a_file_of_another_substrate_or_reading_is_refused() -> None:
    home = space(substrate=substrate())
    text = home.format(cppn({"1": 1.0}, {"x1": 1.0}))
    assert "nodes = [[-0.5, 0.0], [0.0, 0.0], [0.5, 0.0]]" in text
    with pytest.raises(InputError, match="file: space.substrate: must be that of this run or task"):
        space().parse(text, "file")
    with pytest.raises(
        InputError,
        match="file: space.threshold: 0.2, where this search or task has 0.1; set space.threshold",
    ):
        space(substrate=substrate(), threshold=0.1).parse(text, "file")
    with pytest.raises(InputError, match="file: space.substrate.layers.0.nodes.0.0: 2.0"):
        class_of(hyperneat).open_text(text.replace("[[-1.0, -1.0]", "[[2.0, -1.0]", 1), "file")
    with pytest.raises(InputError, match="file: nodes: 2 outputs, where there must be 1"):
        class_of(hyperneat).open_text(text.replace("biases = true", "biases = false"), "file")
    text = home.format(cppn({"1": 1.0}, {"x1": 1.0})).split("space.substrate")[0]
    with pytest.raises(InputError, match="file: space.name: 'hyperneat': must be es_hyperneat"):
        class_of(es_hyperneat).open_text(text, "file")


@pytest.mark.parametrize("name", ["hyperneat", "es_hyperneat"])
def test_the_genotype_that_comes_with_evoml_solves_its_task(name: str) -> None:
    text = (PROGRAMS / name / "xor.toml").read_text()
    opened, genotype = class_of(load("spaces", name)).open_text(text, "xor.toml")
    assert text.startswith("# ") and text.endswith("\n\n" + opened.format(genotype))
    graphs: NeuronGraphs = opened.phenotypes(Population.of(SCHEMA, [genotype]))
    answers = numba.forward(graphs, np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float))[0, :, 0]
    assert (answers > 0.5).tolist() == [False, True, True, False]


# -- searches --------------------------------------------------------------------------------------


def searched(folder: Path, system: str, **layer: Any) -> Any:
    run = open_search(build(("test", {"system": system} | layer)), folder)
    run.create()
    run.prepare()
    return run


def rows(folder: Path) -> Any:
    table, warnings = Problem(stored_config(folder)).archive(folder).table()
    assert not warnings
    return table.to_pylist()


@pytest.mark.parametrize("system", ["hyperneat", "es-hyperneat"])
def test_xor_is_solved_and_the_archive_depends_on_nothing_but_the_seed(
    system: str, tmp_path: Path
) -> None:
    ends = []
    for workers in (1, 2):
        run = searched(
            tmp_path / str(workers),
            system,
            workers=workers,
            search={"seed": 1, "budget": 20_000},
            archive={"keep": "all"},
        )
        result = run.run()
        assert result.reason == "stop_at" and result.test["fitness"] == 1.0
        ends.append((result.best, rows(tmp_path / str(workers))))
    assert ends[0] == ends[1] and len(ends[0][1]) > 150
    problem = Problem(stored_config(tmp_path / "1"))
    space, genotype = class_of(load("spaces", problem.config.name("space"))).open_text(
        problem.space.format(run.champion.genotype), "champion"
    )
    assert space.key(genotype) == problem.space.key(run.champion.genotype)


@pytest.mark.parametrize("system", ["hyperneat", "es-hyperneat"])
def test_a_run_that_was_cut_off_and_moved_ends_as_the_one_that_was_not(
    system: str, tmp_path: Path
) -> None:
    """The substrate's file is gone by then: the run holds what was in it."""
    from threading import Event

    path = tmp_path / "mine.toml"
    layers = (
        {name: LINE[name] for name in ("inputs", "outputs")} if system == "es-hyperneat" else LINE
    )
    path.write_text(
        "".join(f'[[layers]]\nname = "{name}"\nnodes = {nodes}\n' for name, nodes in layers.items())
    )
    about = {
        "search": {"seed": 9, "budget": 1500, "stop_at": "none"},
        "archive": {"keep": "all"},
        "space": {"substrate": str(path)},
    }
    whole, cut = (searched(tmp_path / name, system, **about) for name in ("whole", "cut"))
    path.unlink()
    whole.run()
    stop, seen = Event(), []

    def show(progress: Any) -> None:
        seen.append(progress)
        if len(seen) == 4:
            stop.set()

    assert cut.run(show, stop).reason == "interrupted"
    (tmp_path / "cut").rename(tmp_path / "moved")
    cut = resume(tmp_path / "moved")
    cut.prepare()
    assert cut.run().reason == "budget"
    assert rows(tmp_path / "whole") == rows(tmp_path / "moved")
    stored = tomllib.loads((tmp_path / "moved" / "run.toml").read_text())["space"]["substrate"]
    assert [layer["nodes"] for layer in stored["layers"]] == list(layers.values())
