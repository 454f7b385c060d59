"""How many evaluations of NEAT's networks a second, beside neat-python and beside the same networks
as programs for the program interpreter?

    taskset -c 0 python benchmarks/neat_speed.py [--networks 1000] [--repeats 15]

One core. Networks of 20 values (7 inputs, the bias, 2 outputs, 10 hidden nodes) and 60 connections,
each run on the same 256 inputs; an evaluation is one network on one input. All columns are measured
in turn in one process. Reading the networks' arrays and giving the outputs back count, making the
arrays from genomes does in the row that says so. A program multiplies and adds a connection at a
time, which takes three instructions, and tanh six; tasks are its lanes, so it gets the inputs as 16
tasks. neat-python runs as many of the networks as fit into about a second. Writes
benchmarks/results/neat_speed.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from evoml.backends import Rules, numba
from evoml.contracts.task import TaskSet
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import ACTIVATION_NAMES
from evoml.phenotypes.instructions import BY_NAME
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.phenotypes.programs import INSTRUCTION, Memory, Programs
from evoml.spaces import _neat_kernels as kinds_of
from evoml.spaces import neat

RESULT = Path(__file__).parent / "results" / "neat_speed.json"
INPUTS, OUTPUTS, HIDDEN, CONNECTIONS, EXAMPLES = 7, 2, 10, 60, 256
TASKS = 16  # lanes of the program interpreter in float32
PEER = 8  # networks that neat-python runs


def networks(count: int, activation: str) -> NeuronGraphs:
    """Feed-forward networks of random connections; every hidden node and output has one at
    least.
    """
    rng = np.random.default_rng(0)
    # hidden nodes, then outputs
    nodes, order = OUTPUTS + HIDDEN, INPUTS + 1 + np.roll(np.arange(OUTPUTS + HIDDEN), -OUTPUTS)
    sources, counts = [], []
    for _ in range(count):
        known = [
            np.concatenate([np.arange(INPUTS + 1), order[: min(at, HIDDEN)]]) for at in range(nodes)
        ]
        pairs = [(at, int(source)) for at in range(nodes) for source in known[at]]
        first = [(at, int(rng.choice(known[at]))) for at in range(nodes)]
        others = [pair for pair in pairs if pair not in set(first)]
        chosen = sorted(
            first
            + [others[at] for at in rng.choice(len(others), CONNECTIONS - nodes, replace=False)]
        )
        sources += [source for _, source in chosen]
        counts += np.bincount([at for at, _ in chosen], minlength=nodes).tolist()
    return NeuronGraphs(
        INPUTS, OUTPUTS, 1.0, False, np.full(count, INPUTS + 1 + nodes),
        np.arange(count + 1) * nodes, np.tile(order, count).astype(np.int32),
        np.full(count * nodes, ACTIVATION_NAMES.index(activation), np.uint8),
        np.zeros(count * nodes, np.uint8), np.cumsum([0, *counts]), np.array(sources, np.int32),
        rng.normal(size=len(sources)),
    )  # fmt: skip


def genomes(space: neat.NEATSpace, graphs: NeuronGraphs) -> Population:
    """The genomes of these networks, as NEAT has them."""
    out = []
    for network in range(len(graphs)):
        rows = range(graphs.nodes[network], graphs.nodes[network + 1])
        kinds = (
            [kinds_of.INPUT] * INPUTS
            + [kinds_of.BIAS]
            + [kinds_of.OUTPUT] * OUTPUTS
            + [kinds_of.HIDDEN] * HIDDEN
        )
        nodes = np.zeros(len(kinds), space.schema["nodes"].dtype)
        nodes["id"], nodes["kind"], nodes["activation"] = (
            np.arange(len(kinds)),
            kinds,
            graphs.activation[0],
        )
        links = np.zeros(CONNECTIONS, space.schema["links"].dtype)
        links["innovation"], links["enabled"] = np.arange(CONNECTIONS), 1
        span = slice(graphs.links[rows[0]], graphs.links[rows[-1] + 1])
        links["source"], links["weight"] = graphs.source[span], graphs.weight[span]
        links["target"] = np.repeat(
            graphs.slot[rows[0] : rows[-1] + 1], np.diff(graphs.links[rows[0] : rows[-1] + 2])
        )
        out.append(Genotype(space.schema, {"nodes": nodes, "links": links}))
    return Population.of(space.schema, out)


def program(graphs: NeuronGraphs, network: int) -> list[np.ndarray]:
    """Setup, predict and learn of a program that does what a network of tanh nodes does; its first
    output is the prediction.
    """
    # scalars: a weighted input, 1, 2, and from `first` on the network's memory
    link, one, two, first = 2, 3, 4, 5
    rows: list[tuple[Any, ...]] = []

    def put(name: str, a: int, b: int, out: int, x: float = 0.0, y: float = 0.0) -> None:
        rows.append((BY_NAME[name].id, a, b, out, x, y, 0.0))

    put("scalar_const_set", 0, 0, one, 1.0)
    put("scalar_const_set", 0, 0, two, 2.0)
    put("scalar_const_set", 0, 0, first + INPUTS, graphs.bias)
    for each in range(INPUTS):
        put("vector_const_set", 0, 0, 1 + each, (each + 0.5) / INPUTS, 1.0)
    setup, rows = rows, []
    for each in range(INPUTS):
        put("vector_inner_product", 0, 1 + each, first + each)
    for row in range(graphs.nodes[network], graphs.nodes[network + 1]):
        out = first + int(graphs.slot[row])
        for at in range(graphs.links[row], graphs.links[row + 1]):
            put("scalar_const_set", 0, 0, link, graphs.weight[at])
            put(
                "scalar_product",
                link,
                first + int(graphs.source[at]),
                out if at == graphs.links[row] else link,
            )
            if at > graphs.links[row]:
                put("scalar_sum", out, link, out)
        for name, a, b in (
            ("sum", out, out),
            ("exp", out, 0),
            ("sum", out, one),
            ("reciprocal", out, 0),
            ("product", two, out),
            ("diff", one, out),
        ):
            put(f"scalar_{name}", a, b, out)  # 1 - 2 / (exp(2 a) + 1)
    put("scalar_product", one, first + INPUTS + 1, 1)
    return [np.array(part, INSTRUCTION) for part in (setup, rows, [])]


def programs(graphs: NeuronGraphs) -> Programs:
    parts = [program(graphs, network) for network in range(len(graphs))]
    sizes = np.array([[len(rows) for rows in own] for own in parts], np.int64)
    tables = tuple(
        np.zeros((len(parts), sizes[:, function].max()), INSTRUCTION) for function in range(3)
    )
    for at, own in enumerate(parts):
        for table, rows in zip(tables, own, strict=True):
            table[at, : len(rows)] = rows
    return Programs(
        Memory(5 + INPUTS + 1 + OUTPUTS + HIDDEN, 1 + INPUTS, 0),
        tables,
        sizes,
        np.zeros(len(parts), np.uint64),
    )  # type: ignore[arg-type]


def interpreted(graphs: NeuronGraphs, inputs: np.ndarray) -> Callable[[], None]:
    """The networks as programs on the same inputs; checked to make the same errors.

    Each task has one training example besides, an evaluation too.
    """
    what = programs(graphs)
    x = inputs.reshape(TASKS, -1, INPUTS)
    tasks = TaskSet(
        "regression",
        x[:, :1],
        np.zeros((TASKS, 1)),
        x,
        np.zeros(x.shape[:2]),
        tuple(map(str, range(TASKS))),
        np.zeros(TASKS, np.uint64),
    )
    backend = numba.Backend(tasks, what.memory, Rules(1, x.shape[1]))
    which = np.arange(len(graphs))
    errors = numba.forward(graphs, inputs)[:, :, 0].reshape(len(graphs), TASKS, -1)
    got, _ = backend.fitness(what, which)
    assert np.allclose(
        got, 1 - 2 / np.pi * np.arctan(np.sqrt((errors**2).mean(axis=-1))), atol=1e-4
    )
    return lambda: backend.fitness(what, which) and None


def peer(graphs: NeuronGraphs, inputs: np.ndarray) -> tuple[Callable[[], None] | None, str]:
    """The first networks as neat-python's, and its version; without it None and the reason."""
    try:
        from neat.activations import tanh_activation
        from neat.nn import FeedForwardNetwork

        name = f"neat-python {version('neat-python')}"
    except (ImportError, PackageNotFoundError) as error:
        return None, f"neat-python is not installed ({error}); pip install neat-python==2.0.0"
    outputs = list(range(INPUTS + 1, INPUTS + 1 + OUTPUTS))
    made = []
    for network in range(min(PEER, len(graphs))):
        nodes = []
        for row in range(graphs.nodes[network], graphs.nodes[network + 1]):
            links = range(graphs.links[row], graphs.links[row + 1])
            own = [(int(graphs.source[at]), float(graphs.weight[at])) for at in links]
            nodes.append((int(graphs.slot[row]), tanh_activation, sum, 0.0, 1.0, own))
        made.append(FeedForwardNetwork(list(range(INPUTS + 1)), outputs, nodes))
    examples = [[*row, graphs.bias] for row in inputs.tolist()]

    def run() -> None:
        for network in made:
            for row in examples:
                network.activate(row)

    return run, name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    count = options.networks
    inputs = np.random.default_rng(1).normal(size=(EXAMPLES, INPUTS))
    tanh, sigmoid = networks(count, "tanh"), networks(count, "sigmoid")
    python, name = peer(tanh, inputs)
    space = neat.NEATSpace(neat.Settings(inputs=INPUTS, outputs=OUTPUTS))
    population = genomes(space, tanh)
    assert np.array_equal(
        numba.forward(space.phenotypes(population), inputs), numba.forward(tanh, inputs)
    )
    # what to run, and evaluations in it
    columns: dict[str, tuple[Callable[[], object] | None, float]] = {
        "evoml, float32": (lambda: numba.forward(tanh, inputs, dtype="float32"), count * EXAMPLES),
        "evoml, float32, from genomes": (
            lambda: numba.forward(space.phenotypes(population), inputs, dtype="float32"),
            count * EXAMPLES,
        ),
        "evoml, float32, sigmoid": (
            lambda: numba.forward(sigmoid, inputs, dtype="float32"),
            count * EXAMPLES,
        ),
        "evoml, float64": (lambda: numba.forward(tanh, inputs), count * EXAMPLES),
        "program interpreter, float32": (interpreted(tanh, inputs), count * (EXAMPLES + TASKS)),
        "neat-python": (python, min(PEER, count) * EXAMPLES),
    }
    spent: dict[str, list[float]] = {column: [] for column in columns}
    for repeat in range(options.repeats + 1):  # the first compiles
        for column, (run, evaluations) in columns.items():
            if run is None or (column == "neat-python" and repeat > 5):
                continue
            began = time.process_time()
            run()
            if repeat:
                spent[column].append((time.process_time() - began) / evaluations)
    ours = statistics.median(spent["evoml, float32"])
    rows = []
    for column, times in spent.items():
        if not times:
            rows.append({"column": column, "missing": name})
            print(f"{column:30} {name}")
            continue
        median = statistics.median(times)
        rows.append(
            {
                "column": column,
                "median": 1 / median,
                "best": 1 / min(times),
                "worst": 1 / max(times),
                "ratio": median / ours,
            }
        )
        print(
            f"{column:30} {1 / median:13,.0f} evaluations/s (best {1 / min(times):13,.0f})   "
            f"{median / ours:8.2f} times evoml's float32"
        )
    RESULT.write_text(
        json.dumps(
            {"networks": count, "repeats": options.repeats, "peer": name, "rows": rows}, indent=1
        )
    )


if __name__ == "__main__":
    main()
