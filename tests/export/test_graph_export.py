"""Networks of neurons as Python, torch, pictures and formulas: what leaves computes what the
reference backend computes; and the picture of species.
"""

import ast
import json
import math
import os
import pty
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
import torch
from command_line import evoml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from evoml.backends.reference import Stepper, forward
from evoml.core.errors import InputError
from evoml.core.streams import VARY, streams
from evoml.export import _neurons as graph
from evoml.export import _neurons_svg as graph_svg
from evoml.export import _neurons_torch as graph_torch
from evoml.export import species
from evoml.export._neurons import formula, neurons, sizes
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import (
    ACTIVATION_NAMES,
    ACTIVATIONS,
    AGGREGATION_NAMES,
    AGGREGATIONS,
)
from evoml.report import neurons as report
from evoml.search.problem import open_file
from evoml.spaces.neat import SCHEMA, NEATSpace, Settings
from evoml.strategies.neat import RATES
from evoml.tasks import double_pole, examples, xor

PROGRAMS = Path(__file__).parents[2] / "programs" / "neat"
FILES = sorted(PROGRAMS.glob("*.toml"))
EVERYTHING = {"activations": ACTIVATION_NAMES, "aggregations": AGGREGATION_NAMES}
LIVELY = {
    "weights": 0.8,
    "perturb": 0.9,
    "replace": 0.1,
    "power": 1.0,
    "range": 1.0,
    "limit": 8.0,
    "add_node": 0.5,
    "add_link": 0.7,
    "alter": 0.3,
}
INPUTS = np.random.default_rng(1).uniform(-1, 1, (9, 3))


def evolved(seed: int, steps: int = 25, **given: Any) -> tuple[NEATSpace, Genotype]:
    """A network of 3 inputs and 2 outputs after so many mutations."""
    space = NEATSpace(Settings(**({"inputs": 3, "outputs": 2} | given)))
    population = space.initial(streams(seed, VARY, np.arange(1)))
    counters, rates, no = (
        space.begin(population),
        space.rates(dict.fromkeys(RATES, 0.0) | LIVELY),
        np.zeros(1, np.uint8),
    )
    for step in range(1, steps + 1):
        drawn = streams(seed, VARY, np.array([step]))
        population = space.breed(
            population, np.array([0]), np.array([-1]), no, no, drawn, rates, counters
        )
    return space, population.genotype(0)


def phenotype(space: NEATSpace, genotype: Genotype) -> Any:
    return space.phenotypes(Population.of(space.schema, [genotype]))


def by_reference(space: NEATSpace, genotype: Genotype, inputs: np.ndarray) -> np.ndarray:
    """Outputs [N, O]: answers to N inputs, or of a recurrent network those of N steps."""
    net = phenotype(space, genotype)
    if not net.recurrent:
        return forward(net, inputs)[0]
    stepper = Stepper(net, 1)
    return np.stack([stepper.step(row[None, None])[0, 0] for row in inputs])


def by_module(space: NEATSpace, genotype: Genotype, inputs: np.ndarray) -> np.ndarray:
    """The same of the exported Python module."""
    code = graph.source(space, genotype, "test")
    assert {
        each.names[0].name for each in ast.walk(ast.parse(code)) if isinstance(each, ast.Import)
    } <= {"math"}
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(code, "exported.py", "exec"), names)
    call = names["Network"]().step if "Network" in names else names["network"]
    out = [call(row) for row in inputs.tolist()]
    assert all(isinstance(value, float) for row in out for value in row)
    return np.array(out)


def altered(genotype: Genotype, **columns: Any) -> Genotype:
    """With other values in the columns of nodes or links of that name."""
    tables = {name: table.copy() for name, table in genotype.tables.items()}
    for name, values in columns.items():
        table = tables["links" if name == "weight" else "nodes"]
        rows = slice(None) if name == "weight" else table["kind"] >= 2
        table[name][rows] = values
    return Genotype(SCHEMA, tables)


# -- Python ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 40), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_module_computes_what_the_reference_does(
    seed: int, steps: int, recurrent: bool, bias: float
) -> None:
    space, genotype = evolved(seed, steps, recurrent=recurrent, bias=bias, **EVERYTHING)
    expected, found = by_reference(space, genotype, INPUTS), by_module(space, genotype, INPUTS)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("row", range(len(ACTIVATIONS)), ids=ACTIVATION_NAMES)
@pytest.mark.parametrize("weight", [1.0, -1e6, 1e200, -1e308])
def test_every_function_is_safe_where_it_overflows(row: int, weight: float) -> None:
    """Where the reference gives a value, infinite or none, so does the module, which raises
    nothing.
    """
    space, genotype = evolved(3, 0)
    genotype = altered(genotype, activation=row, weight=weight)
    inputs = np.array(
        [
            [0.5, 2.0, -0.25],
            [-4e5, 1.0, 3.0],
            [0.0, 0.0, 0.0],
            [1e10, -1e10, 1.0],
            [np.inf, 0.0, 1.0],
            [np.nan, 0.0, 1.0],
        ]
    )
    np.testing.assert_allclose(
        by_module(space, genotype, inputs),
        by_reference(space, genotype, inputs),
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize("row", range(len(AGGREGATIONS)), ids=AGGREGATION_NAMES)
def test_every_aggregation_keeps_what_is_no_number(row: int) -> None:
    space, genotype = evolved(3, 0)
    genotype = altered(genotype, aggregation=row, activation=ACTIVATION_NAMES.index("identity"))
    inputs = np.vstack(
        [INPUTS, *(np.where(np.eye(3) == 1, value, 0.5) for value in (np.nan, np.inf, -np.inf))]
    )
    np.testing.assert_allclose(
        by_module(space, genotype, inputs),
        by_reference(space, genotype, inputs),
        rtol=1e-12,
        atol=1e-12,
    )


def test_very_long_sums_compile_and_keep_their_order() -> None:
    space, genotype = evolved(5, 0, inputs=6000, outputs=1)
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, 6000))
    assert (by_module(space, genotype, inputs) == by_reference(space, genotype, inputs)).all()


def test_a_recurrent_module_forgets() -> None:
    space, genotype = evolved(11, 40, recurrent=True)
    names: dict[str, Any] = {}
    exec(graph.source(space, genotype, "test"), names)
    network = names["Network"]()
    first = [network.step(row) for row in INPUTS.tolist()]
    assert [network.step(row) for row in INPUTS.tolist()] != first
    network.reset()
    assert [network.step(row) for row in INPUTS.tolist()] == first


def test_a_title_cannot_end_the_docstring() -> None:
    space, genotype = evolved(1, 3)
    for recurrent in (False, True):
        space.settings.__dict__["recurrent"] = recurrent
        title = '""" + print(1) + """ \\ \n{size} $title'
        tree = ast.parse(graph.source(space, genotype, title))
        assert (ast.get_docstring(tree, clean=False) or "").startswith(title)


def test_a_wrong_number_of_inputs_is_refused() -> None:
    space, genotype = evolved(1, 3)
    names: dict[str, Any] = {}
    exec(graph.source(space, genotype, "test"), names)
    with pytest.raises(ValueError, match="unpack"):
        names["network"]([1.0, 2.0])


def test_nodes_that_reach_no_output_are_left_out() -> None:
    space, genotype = evolved(2, 30)
    tables = {name: table.copy() for name, table in genotype.tables.items()}
    tables["links"]["enabled"] = 0
    text = graph.source(space, Genotype(SCHEMA, tables), "test")
    assert "y0 = 0.0" in text and "y1 = 0.0" in text and not re.search(r"\bh\d", text)
    assert formula(space, Genotype(SCHEMA, tables)) == "y0 = 0\ny1 = 0"


# -- torch -----------------------------------------------------------------------------------------

# Imports the exported file where there is neither evoml nor safetensors, and prints the outputs of
# what is in a file.
ALONE = """
import json, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("evoml", "safetensors"):
            raise ImportError(name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, sys.argv[1])
import network, torch
inputs = torch.tensor(json.loads(sys.argv[2]), dtype=torch.float64)
found = network.load(dtype=torch.float64)
with torch.no_grad():
    outputs = found.sequence(inputs) if hasattr(found, "sequence") else found(inputs)
assert not {"evoml", "safetensors"} & set(sys.modules)
print(json.dumps(outputs.tolist()))
"""


def module(space: NEATSpace, genotype: Genotype, folder: Path) -> Any:
    """The names of the exported `network.py`."""
    written = graph_torch.write(space, genotype, folder, "test")
    assert [path.name for path in written] == ["network.py", "weights.safetensors"]
    names: dict[str, Any] = {"__name__": "exported", "__file__": str(written[0])}
    exec(compile(written[0].read_text(), "network.py", "exec"), names)
    return names


def sensitivity(space: NEATSpace, genotype: Genotype, inputs: np.ndarray) -> np.ndarray:
    """How far the reference's own outputs go apart when inputs change by 1e-13, [N, O]: far in a
    recurrent network that is chaotic, where sums in another order do the same.
    """
    chance, exact = np.random.default_rng(2), by_reference(space, genotype, inputs)
    moved = [inputs + 1e-13 * chance.choice([-1.0, 1.0], inputs.shape) for _ in range(4)]
    return np.asarray(
        np.max([np.abs(by_reference(space, genotype, each) - exact) for each in moved], axis=0)
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(0, 40), st.booleans(), st.sampled_from([0.0, 0.5, 1.0]))
@example(125, 35, True, 0.5)  # chaotic
def test_a_torch_module_computes_what_the_reference_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, steps: int, recurrent: bool, bias: float
) -> None:
    space, genotype = evolved(seed, steps, recurrent=recurrent, bias=bias, **EVERYTHING)
    found = module(space, genotype, tmp_path_factory.mktemp("export"))["load"](dtype=torch.float64)
    inputs = torch.from_numpy(INPUTS)
    with torch.no_grad():
        outputs = found.sequence(inputs) if recurrent else found(inputs)
    apart = np.abs(outputs.numpy() - by_reference(space, genotype, INPUTS))
    assert (apart <= 1e-10 + sensitivity(space, genotype, INPUTS)).all()


@pytest.mark.parametrize("recurrent", [False, True])
def test_an_exported_folder_needs_torch_alone(recurrent: bool, tmp_path: Path) -> None:
    space, genotype = evolved(21, 30, recurrent=recurrent, **EVERYTHING)
    graph_torch.write(space, genotype, tmp_path / "net", '"""')
    call = [sys.executable, "-c", ALONE, str(tmp_path / "net"), json.dumps(INPUTS.tolist())]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        json.loads(done.stdout), by_reference(space, genotype, INPUTS), rtol=1e-10, atol=1e-10
    )


def test_a_state_goes_on_where_it_was(tmp_path: Path) -> None:
    space, genotype = evolved(11, 40, recurrent=True)
    found = module(space, genotype, tmp_path / "net")["load"](dtype=torch.float64)
    inputs = torch.from_numpy(INPUTS)
    whole = found.sequence(inputs[:, None].expand(-1, 4, -1))  # four episodes side by side
    state, outputs = None, []
    for row in inputs:
        output, state = found(row, state)
        outputs.append(output)
    assert whole.shape == (9, 4, 2)
    torch.testing.assert_close(whole[:, 2], torch.stack(outputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("recurrent", [False, True])
def test_gradient_descent_trains_the_links(recurrent: bool, tmp_path: Path) -> None:
    space, genotype = evolved(
        11, 25, recurrent=recurrent, activations=("tanh", "sigmoid"), aggregations=AGGREGATION_NAMES
    )
    found = module(space, genotype, tmp_path / "net")["load"]()
    assert sum(each.numel() for each in found.parameters()) == neurons(space, genotype).links
    inputs = torch.tensor(INPUTS, dtype=torch.float32)
    with torch.no_grad():  # what it gives is to be found again from other weights
        targets = found.sequence(inputs) if recurrent else found(inputs)
        for each in found.parameters():
            each += 0.3 * torch.cos(torch.arange(float(len(each))))
    optimiser = torch.optim.Adam(found.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        outputs = found.sequence(inputs) if recurrent else found(inputs)
        loss = ((outputs - targets) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(each.grad is None or each.grad.isfinite().all() for each in found.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["sigmoid", "logistic", "bipolar", "tanh", "gauss", "softsign"])
def test_gradients_stay_numbers_where_functions_are_flat(name: str, tmp_path: Path) -> None:
    space, genotype = evolved(3, 0)
    genotype = altered(
        genotype,
        activation=ACTIVATION_NAMES.index(name),
        weight=np.resize([1.0, -1.0, 1.0, 1.0], len(genotype.tables["links"])),
    )
    found = module(space, genotype, tmp_path / "net")["load"]()
    found(torch.tensor([[900.0, -40.0, 3.0], [-900.0, 40.0, 3.0]])).sum().backward()
    assert all(each.grad.isfinite().all() for each in found.parameters())


def test_whole_numbers_are_inputs_too(tmp_path: Path) -> None:
    space, genotype = evolved(4, 10, bias=0.5)
    found = module(space, genotype, tmp_path / "net")["load"](dtype=torch.float64)
    rows = np.array([[0, 1, 1], [1, 0, -2]])
    np.testing.assert_allclose(
        found(torch.tensor(rows)).detach().numpy(), by_reference(space, genotype, rows), rtol=1e-10
    )


@pytest.mark.parametrize("recurrent", [False, True])
def test_another_number_of_columns_is_refused(recurrent: bool, tmp_path: Path) -> None:
    space, genotype = evolved(4, 10, recurrent=recurrent)
    found = module(space, genotype, tmp_path / "net")["load"]()
    for columns in (2, 4):
        with pytest.raises(
            ValueError, match=rf"^inputs \[\.\.\., {columns}\]; the last axis must be 3$"
        ):
            found(torch.zeros(5, columns))


# -- of a table ------------------------------------------------------------------------------------

ODD = "b \"'\\ {x} $y é"  # a column's name


def of_table(
    folder: Path, recurrent: bool, target: str, **settings: Any
) -> tuple[examples.ExamplesTask, NEATSpace, Genotype]:
    """A task of three columns, and a network for it."""
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(50, 9, 80), rng.normal(-3, 0.01, 80), rng.integers(0, 5, 80)
    targets = {
        "number": 1e3 * a - b,
        "word": np.where(a > 50, "up\"'\\", "down{}"),
        "three": np.where(a > 55, 9, np.where(a > 45, -4, 7)),
    }
    pq.write_table(
        pa.table({"a": a, ODD: b, "c": c, "t": targets[target]}), folder / "table.parquet"
    )
    task = examples.ExamplesTask(
        examples.Settings.read(settings, "task"), folder / "table.parquet", 0
    )
    space = NEATSpace(Settings(recurrent=recurrent)).for_task(task)
    population = space.initial(streams(1, VARY, np.arange(1)))
    counters, rates, no = (
        space.begin(population),
        space.rates(dict.fromkeys(RATES, 0.0) | LIVELY),
        np.zeros(1, np.uint8),
    )
    for step in range(1, 12):
        population = space.breed(
            population,
            np.array([0]),
            np.array([-1]),
            no,
            no,
            streams(5, VARY, np.array([step])),
            rates,
            counters,
        )
    return task, space, population.genotype(0)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("scaling", ["standard", "range"])
def test_exports_of_a_regression_repeat_the_reported_error_on_raw_rows(
    recurrent: bool, scaling: str, tmp_path: Path
) -> None:
    task, space, genotype = of_table(tmp_path, recurrent, "number", scaling=scaling)
    trials = task.test()
    reported = dict(
        zip(
            trials.names, trials.run(phenotype(space, genotype), "reference").scores[0], strict=True
        )
    )
    table = pq.read_table(tmp_path / "table.parquet")
    raw = np.stack([table[name].to_numpy() for name in ("a", ODD, "c")], 1).astype(float)[
        task._parts[2]
    ]
    targets = table["t"].to_numpy()[task._parts[2]]
    names: dict[str, Any] = {}
    exec(graph.source(space, genotype, "test", task.units), names)
    assert names["COLUMNS"] == ("a", ODD, "c") and names["TARGETS"] == ("t",)
    answers = np.array([names["network"](row)[0] for row in raw.tolist()])
    np.testing.assert_allclose(
        ((answers - targets) ** 2).mean(), reported["mean_squared_error"], rtol=1e-9
    )
    with pytest.raises(ValueError, match=r"^2 values in a row; there must be 3: a, b"):
        names["network"]([1.0, 2.0])
    graph_torch.write(space, genotype, tmp_path / "net", "test", task.units)
    found = imported(tmp_path / "net")["load"](dtype=torch.float64)
    with torch.no_grad():
        np.testing.assert_allclose(found(torch.from_numpy(raw))[:, 0].numpy(), answers, rtol=1e-9)
        np.testing.assert_allclose(
            found(torch.from_numpy(raw).reshape(4, 4, 3)).reshape(-1).numpy(), answers, rtol=1e-9
        )
    assert {name for name, _ in found.named_buffers()} == {"mean", "deviation", "offset", "scale"}
    with pytest.raises(ValueError, match=r"^rows of 2 values; there must be 3, those of COLUMNS$"):
        found(torch.zeros(1, 2))


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("target", ["word", "three"])
def test_exports_of_a_classification_give_the_class_of_raw_rows(
    recurrent: bool, target: str, tmp_path: Path
) -> None:
    task, space, genotype = of_table(tmp_path, recurrent, target)
    trials = task.test()
    accuracy = trials.run(phenotype(space, genotype), "reference").scores[0, 0]
    table = pq.read_table(tmp_path / "table.parquet")
    raw = np.stack([table[name].to_numpy() for name in ("a", ODD, "c")], 1).astype(float)[
        task._parts[2]
    ]
    targets = [table["t"].to_pylist()[at] for at in task._parts[2]]
    names: dict[str, Any] = {}
    exec(graph.source(space, genotype, "test", task.units), names)
    answers = [names["network"](row) for row in raw.tolist()]
    assert set(answers) <= set(targets) and np.mean(
        [one == other for one, other in zip(answers, targets, strict=True)]
    ) == pytest.approx(accuracy)
    graph_torch.write(space, genotype, tmp_path / "net", "test", task.units)
    assert (
        imported(tmp_path / "net")["load"](dtype=torch.float64).classes(torch.from_numpy(raw))
        == answers
    )


def test_a_run_of_a_table_exports_and_shows_what_columns_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.uniform(-10, 30, 100), rng.normal(100, 20, 100)
    lines = [f"{x!r},{y!r},{2 * x - y!r}" for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,price", *lines]))
    done = evoml(
        "search",
        "neat",
        "--task",
        "examples",
        "--data",
        "t.csv",
        "--budget",
        1500,
        "--run",
        "run",
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    text = evoml("show", "run", cwd=tmp_path).stdout
    assert "x0 = (a - " in text and re.search(r"^price = \S+ \+ \S+ y0$", text, re.M)
    names: dict[str, Any] = {}
    exec(evoml("export", "run", "--to", "python", cwd=tmp_path).stdout, names)
    task = examples.ExamplesTask(examples.Settings(), tmp_path / "t.csv", 0)
    errors = [
        (names["network"]([a[at], b[at]])[0] - (2 * a[at] - b[at])) ** 2 for at in task._parts[2]
    ]
    assert np.mean(errors) == pytest.approx(
        json.loads(done.stdout)["tasks"]["mean_squared_error"], rel=1e-6
    )
    (tmp_path / "t.csv").write_text("\n".join(["a,b,price", *lines[:50]]))
    refused = evoml("export", "run", "--to", "python", cwd=tmp_path)
    assert (
        refused.returncode == 2
        and "not the data that the run was made with" in refused.stderr
        and refused.stderr.count("\n") == 1
    )


def imported(folder: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "exported", "__file__": str(folder / "network.py")}
    exec(compile((folder / "network.py").read_text(), "network.py", "exec"), names)
    return names


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    space, genotype = evolved(4, 10)
    with pytest.raises(InputError, match="holds other files"):
        graph_torch.write(space, genotype, tmp_path, "test")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# -- formulas and sizes ----------------------------------------------------------------------------


def test_a_formula_has_a_line_a_node() -> None:
    space, genotype = open_file(PROGRAMS / "minimal.toml")
    assert formula(space, genotype) == "y0 = sigmoid(1 x0 + 1 x1 - 0.5 bias)"
    assert sizes(genotype) == {"nodes": 4, "hidden": 0, "links": 3, "enabled": 3}
    space, genotype = evolved(2, 30, **EVERYTHING)
    lines = formula(space, genotype).splitlines()
    assert [line.split(" = ")[0] for line in lines] == [
        row.name for row in neurons(space, genotype).rows
    ]


# -- pictures --------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def rectangles(root: ElementTree.Element) -> list[tuple[float, ...]]:
    return [
        tuple(float(each.attrib[name]) for name in ("x", "y", "width", "height"))
        for each in root.iter(f"{SVG}rect")
        if "x" in each.attrib
    ]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(0, 40), st.booleans())
def test_a_picture_has_every_node_and_link(seed: int, steps: int, recurrent: bool) -> None:
    space, genotype = evolved(seed, steps, recurrent=recurrent, **EVERYTHING)
    net = neurons(space, genotype)
    text = graph_svg.svg(space, genotype, f"network {seed} <&>")
    root = ElementTree.fromstring(text)
    labels = [each.text for each in root.iter(f"{SVG}text") if each.get("class") == "label"]
    names = [str(label).split()[0] for label in labels]
    assert sorted(names) == sorted([*net.inputs, "bias", *net.outputs, *net.hidden])
    drawn = [each for each in root.iter(f"{SVG}path") if each.get("class") in ("link", "arc")]
    assert len(drawn) == net.links
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = rectangles(root)
    for one, other in combinations(boxes, 2):
        apart = (
            one[0] + one[2] <= other[0]
            or other[0] + other[2] <= one[0]
            or one[1] + one[3] <= other[1]
            or other[1] + other[3] <= one[1]
        )
        assert apart
    assert all(x >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    middle = {name: box[0] + box[2] / 2 for name, box in zip(names, boxes, strict=True)}
    assert len({round(middle[name]) for name in net.outputs}) == 1
    assert all(middle["x0"] < middle[name] < middle["y0"] for name in net.hidden)


def test_arcs_are_the_links_that_close_a_cycle() -> None:
    space, genotype = open_file(PROGRAMS / "xor.toml")
    assert "arc" not in graph_svg.svg(
        space, genotype, "xor"
    ) and "step before" not in graph_svg.svg(space, genotype, "xor")
    text = space.format(genotype).replace("recurrent = false", "recurrent = true")
    more = (
        "    { innovation = 90, source = 3, target = 5, enabled = true, weight = -1.0 },\n    { "
        "innovation = 91, source = 5, target = 5, enabled = true, weight = 2.0 },\n]\n"
    )
    space = NEATSpace(Settings(recurrent=True, inputs=2, outputs=1))
    genotype = space.parse(text.rstrip().removesuffix("]") + more, "test")
    picture = graph_svg.svg(space, genotype, "xor")
    assert re.findall(r'class="arc".*?<title>(.*?)</title>', picture) == [
        "y0 to h5, a step later: -1",
        "h5 to h5, a step later: 2",
    ]
    assert "value of the step before" in picture
    tops = [float(each) for each in re.findall(r'class="arc" d="M[^C]*C[-\d.]+,([-\d.]+)', picture)]
    shift = float(re.findall(r'<g transform="translate\([\d.]+ ([\d.]+)\)"', picture)[0])
    assert all(top + shift > 0 for top in tops)


def test_colour_is_the_sign_and_width_the_size() -> None:
    space, genotype = open_file(PROGRAMS / "minimal.toml")
    drawn = re.findall(
        r'class="link".*?stroke="(#\w+)" stroke-width="([\d.]+)".*?<title>(.*?)</title>',
        graph_svg.svg(space, genotype, "or"),
    )
    assert [colour for colour, _, _ in drawn] == [
        graph_svg.POSITIVE,
        graph_svg.POSITIVE,
        graph_svg.NEGATIVE,
    ]
    assert (
        float(drawn[0][1]) == float(drawn[1][1]) == graph_svg.THICK
        and graph_svg.THIN < float(drawn[2][1]) < graph_svg.THICK
    )


def test_functions_stand_in_nodes_where_there_are_several() -> None:
    for choice, inside in (
        ({"activations": ("tanh",)}, False),
        ({"activations": ("tanh", "gauss")}, True),
    ):
        space, genotype = evolved(7, 30, **choice)
        picture = graph_svg.svg(space, genotype, "functions")
        assert bool(re.search(r'class="label"[^>]*>h\d+ (tanh|gauss)<', picture)) == inside
        assert ("hidden nodes: tanh" in picture or "hidden nodes: sigmoid" in picture) != inside


def test_large_networks_are_drawn() -> None:
    space, genotype = evolved(1, 10, inputs=120, outputs=10)
    text = graph_svg.svg(space, genotype, "wide")
    assert len(re.findall('class="link"', text)) == neurons(space, genotype).links > graph_svg.FEW


# -- species ---------------------------------------------------------------------------------------


def run_of(folder: Path, sizes: list[dict[int, int]]) -> Path:
    """A run folder that has logged species of these sizes, one dictionary a generation."""
    with (folder / "events.jsonl").open("w") as file:
        for number, group in enumerate(sizes, 1):
            rows = [
                {
                    "id": id,
                    "size": size,
                    "now": 1.0 * number,
                    "best": 2.0 * number,
                    "since": 1,
                    "improved": number,
                }
                for id, size in group.items()
            ]
            file.write(
                json.dumps({"event": "generation", "generation": number, "species": rows}) + "\n"
            )
            file.write(json.dumps({"event": "selected", "id": 1}) + "\n")
    return folder


def bands(text: str) -> list[list[tuple[float, float]]]:
    polygons = [
        each.attrib["points"] for each in ElementTree.fromstring(text).iter(f"{SVG}polygon")
    ]
    return [[tuple(map(float, pair.split(","))) for pair in points.split()] for points in polygons]  # type: ignore[misc]


def test_bands_are_as_high_as_species_are_large(tmp_path: Path) -> None:
    text = species.svg(
        run_of(tmp_path, [{0: 60, 1: 40}, {0: 30, 1: 60, 2: 10}, {1: 70, 2: 30}]), "three"
    )
    first, second, third = bands(text)
    assert first == [(0, 340), (400, 340), (800, 340), (800, 340), (400, 238), (0, 136)]
    assert second[:3] == first[:2:-1] and second[3:] == [(800, 102), (400, 34), (0, 0)]
    assert third[-1] == (0, 0) and third[3:5] == [(800, 0), (400, 0)]
    assert (
        "species 1: generations 1 to 3, at most 70 members, best 6" in text and "3 species" in text
    )


def test_fitness_over_generations_is_drawn_below_the_species(tmp_path: Path) -> None:
    """The best of all and the mean, on one scale: 6, 4 and 2 are at the top, half way, below."""
    run_of(tmp_path, [{0: 10}, {0: 10}, {0: 10}])
    path = tmp_path / "events.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    own = [line for line in lines if line["event"] == "generation"]
    for line, now, mean in zip(own, (2.0, 4.0, 6.0), (2.0, 2.0, 4.0), strict=True):
        line["mean"], line["species"][0]["now"] = mean, now
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = species.svg(tmp_path, "fitness")
    height = species.CURVE
    for name, ys in (("best", (height, height / 2, 0)), ("mean", (height, height, height / 2))):
        (points,) = re.findall(rf'class="{name}" points="([^"]*)"', text)
        assert [float(point.split(",")[1]) for point in points.split()] == list(ys)
    assert "dashed the mean" in text


def test_a_drawing_has_the_names_of_the_table(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    rows = [f"{a},{b},{'over' if a > b else 'under'}" for a, b in x]
    (tmp_path / "t.csv").write_text(
        "\n".join(["weight,a name that is much too long to be drawn,c", *rows])
    )
    run, task = tmp_path / "run", ("--task", "examples", "--data", tmp_path / "t.csv")
    assert evoml("search", "neat", *task, "--budget", "300", "--run", run).returncode == 0
    text = evoml("export", run, "--to", "svg").stdout
    assert "x0 weight" in text and "x1 a name that is much t..." in text and "y0 c: under" in text
    (tmp_path / "t.csv").unlink()
    assert "x0" in evoml("export", run, "--to", "svg").stdout


def test_thousands_of_generations_and_species_are_a_small_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sizes = [
        {start + each: int(rng.integers(1, 30)) for each in range(300)}
        for start in range(0, 3000, 3)
    ]
    text = species.svg(run_of(tmp_path, sizes), "long")
    assert len(text) < 2_000_000
    assert (
        len(bands(text)) == species.MOST + 1
        and "3,297 species" in text
        and f"grey: {3297 - species.MOST:,} smaller ones" in text
    )


def test_one_generation_is_a_picture(tmp_path: Path) -> None:
    (band,) = bands(species.svg(run_of(tmp_path, [{0: 10}]), "one"))
    assert band == [(0, 340), (800, 340), (800, 0), (0, 0)]


def test_a_run_without_species_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no generation with species"):
        species.svg(tmp_path, "none")
    (tmp_path / "events.jsonl").write_text('{"event": "end"}\n')
    with pytest.raises(InputError, match="no generation with species"):
        species.svg(tmp_path, "none")
    (tmp_path / "events.jsonl").write_text('{"event": "generation", "spec')
    with pytest.raises(
        InputError, match=r"events\.jsonl: damaged: cut off before its first generation was whole"
    ):
        species.svg(tmp_path, "none")
    (tmp_path / "events.jsonl").write_text('{"event": "generation", "species": 3}\n')
    with pytest.raises(InputError, match=r"events\.jsonl:1: not a line that evoml wrote"):
        species.svg(tmp_path, "none")


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    run_of(tmp_path, [{0: 10}])
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "generation", "gen')
    assert len(list(species.generations(tmp_path))) == 1


def test_the_best_fitness_may_be_unknown(tmp_path: Path) -> None:
    rows = [{"id": 0, "size": 3, "now": -math.inf, "best": -math.inf, "since": 1, "improved": 1}]
    (tmp_path / "events.jsonl").write_text(
        json.dumps({"event": "generation", "generation": 1, "species": rows}) + "\n"
    )
    assert "nan" not in species.svg(tmp_path, "failed") and "best -inf" in species.svg(
        tmp_path, "failed"
    )
    assert report.species_rows(next(species.generations(tmp_path)))[0]["members"] == 3


# -- the files in programs/neat --------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_network_is_one_of_its_space(path: Path) -> None:
    space, genotype = open_file(path)
    assert space.violation(genotype) is None
    assert space.parse(space.format(genotype), path.name) == genotype
    assert path.read_text().startswith("# ")


def test_the_minimal_network_is_a_first_network() -> None:
    _, genotype = open_file(PROGRAMS / "minimal.toml")
    first = (
        NEATSpace(Settings(inputs=2, outputs=1)).initial(streams(1, VARY, np.arange(1))).genotype(0)
    )
    for name, columns in (
        ("nodes", ["id", "kind"]),
        ("links", ["innovation", "source", "target", "enabled"]),
    ):
        assert genotype.tables[name][columns].tolist() == first.tables[name][columns].tolist()


def test_the_stored_network_solves_exclusive_or() -> None:
    space, genotype = open_file(PROGRAMS / "xor.toml")
    tried = xor.XorTask(xor.Settings(), None, 0).test().run(phenotype(space, genotype), "reference")
    assert tried.scores[0, 0] == 1.0 and tried.scores[0, 1] > 15.5
    assert sizes(genotype)["hidden"] == 1


def test_the_stored_network_balances_two_poles() -> None:
    space, genotype = open_file(PROGRAMS / "double_pole.toml")
    tried = (
        double_pole.DoublePoleTask(double_pole.Settings(), None, 0)
        .test()
        .run(phenotype(space, genotype), "numba")
    )
    assert tried.scores[0, 0] == 100_000


# -- commands --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of ten generations, and what it printed."""
    folder = tmp_path_factory.mktemp("neat")
    done = evoml("search", "neat", "--budget", 1500, "--run", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    (folder / "progress.txt").write_text(done.stderr)
    return folder / "run"


def test_a_search_says_what_it_found(run: Path) -> None:
    text, progress = ((run.parent / name).read_text() for name in ("printed.txt", "progress.txt"))
    for part in (
        "The champion (candidate ",
        "y0 = sigmoid(",
        " in search, ",
        "where sigmoid(a) = 1 / (1 + exp(-4.9 * a))\n",
        " in search, share of cases right ",
        "in the test: share of cases right ",
        "ended by budget, generation 10, ",
        "--to species",
    ):
        assert part in text
    assert "generation 10" in progress or "generation 1," in progress
    assert "experiment" not in progress and "program" not in text


def test_show_has_formula_size_and_species(run: Path) -> None:
    shown = json.loads(evoml("show", run, "--json", cwd=run.parent).stdout)
    best = shown["best"][0]
    assert best["formula"].splitlines()[-1].startswith("y0 = ") and best["size"]["nodes"] >= 4
    assert (
        best["scores"]["selection"]
        == best["objectives"]["fitness"]
        <= 1.0
        < best["scores"]["search"]
    )
    assert shown["generation"] == 10 and sum(each["members"] for each in shown["species"]) == 150
    text = evoml("show", run, cwd=run.parent).stdout
    assert (
        best["formula"] in text
        and "since its last gain" in text
        and f"{len(shown['species'])} species" in text
    )


def test_a_cppn_and_the_network_that_it_draws_are_told_apart(tmp_path: Path) -> None:
    file = PROGRAMS.parent / "hyperneat" / "xor.toml"
    (row,) = json.loads(evoml("show", file, "--json", cwd=tmp_path).stdout)["best"]
    space, genotype = open_file(file)
    assert row["network"] == neurons(space, genotype).size and row["size"] == sizes(genotype)
    text = evoml("show", file, cwd=tmp_path).stdout
    assert (
        text.startswith(f"CPPN: {row['size']['nodes']} nodes of which ")
        and f"; the network that it draws: {row['network']}\n" in text
    )


def test_an_evaluation_names_the_scores_of_the_test(run: Path) -> None:
    scored = json.loads(evoml("evaluate", run, "--json", cwd=run.parent).stdout)
    assert set(scored) == {"objectives", "tasks", "key"} and set(scored["tasks"]) == {
        "right",
        "fitness",
    }
    scored = json.loads(
        evoml("evaluate", PROGRAMS / "xor.toml", "--task", "xor", "--json", cwd=run.parent).stdout
    )
    assert scored["tasks"]["right"] == 1.0
    wrong = evoml("evaluate", run, "--task", "double_pole", cwd=run.parent)
    assert (
        wrong.returncode == 2
        and "the task 6 inputs and 1 output" in wrong.stderr
        and wrong.stderr.count("\n") == 1
    )


def test_every_target_is_written(run: Path, tmp_path: Path) -> None:
    for target, start in (
        ("text", "space.name"),
        ("python", '"""'),
        ("svg", "<svg"),
        ("species", "<svg"),
    ):
        done = evoml("export", run, "--to", target, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.startswith(start), done.stderr
    assert evoml("export", run, "--to", "torch", "-o", "net", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == [
        "network.py",
        "weights.safetensors",
    ]
    for arguments, says in (
        ((run, "--to", "onnx"), "--to onnx needs an architecture"),
        ((run, "--to", "torch"), "needs --output"),
        ((PROGRAMS / "xor.toml", "--to", "species"), "needs a run"),
        ((PROGRAMS / "xor.toml", "--to", "svg", "--task", "xor"), "written as it is"),
    ):
        done = evoml("export", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


def test_a_terminal_gets_a_panel_and_the_search_ends(tmp_path: Path) -> None:
    """Standard error is a terminal, which the display writes to and must not be caught in."""
    ours, theirs = pty.openpty()
    call = [sys.executable, "-m", "evoml", "search", "neat", "--budget", "1500", "--run", "run"]
    with subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, cwd=tmp_path
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while part := os.read(ours, 65536):
                seen += part
                assert len(seen) < 10_000_000
        except OSError:  # the other end is closed
            pass
        finally:
            process.kill() if len(seen) >= 10_000_000 else None
            os.close(ours)
        assert process.wait() == 0
    text = seen.decode(errors="replace")
    assert (
        "neat on xor" in text
        and "species" in text
        and "experiment" not in text
        and "[bold" not in text
    )
