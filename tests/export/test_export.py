"""Exported modules run on NumPy alone and do what the reference interpreter does, operation by
operation.
"""

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import class_of

from evoml.backends.reference import Machine, sigmoid
from evoml.core.registry import load, names
from evoml.core.streams import outputs
from evoml.export import _programs, text
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.instructions import BY_NAME, OPS, Op
from evoml.phenotypes.programs import FUNCTIONS, INSTRUCTION, Memory, Programs
from evoml.spaces.automl_zero import AutoMLZeroSpace, Settings

PROGRAMS = Path(__file__).parents[2] / "programs" / "automl_zero"
F = 4
NOISE = [op for op in OPS if op.numpy.__name__ in ("_uniform", "_gaussian")]
EXACT = [op for op in OPS if op not in NOISE]
SPACE = AutoMLZeroSpace(Settings())
NUMBERS = {"value": -0.7, "index": 0.6, "deviation": 0.4, "bound": 0.3}
VALUES = np.array([-0.0, 0.0, 1.0, -1.0, 0.5, -2.5, 1e-3, 30.0, 1e200, np.inf, -np.inf, np.nan])


def module(
    genotype: Genotype,
    features: int = F,
    classify: bool = False,
    memory: Memory = SPACE.memory,
    title: str = "test",
) -> dict[str, Any]:
    """The exported program's names, executed in a namespace of their own."""
    code = _programs.source(genotype, features, classify, memory, title)
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(code, "exported.py", "exec"), names)
    return names


def one_instruction(op: Op, function: str = "predict", **constants: float) -> Genotype:
    """A program of a single instruction, with distinct inputs and an output that is one of them
    where the types allow it.
    """
    row = np.zeros(1, INSTRUCTION)
    row["op"], row["a"], row["b"], row["out"] = (
        op.id,
        bool(op.ins),
        2 * (op.ins[1:] in ("s", "v")),
        bool(op.out),
    )
    for name, kind in zip("xyz", op.constants, strict=False):
        row[name] = constants.get(name, NUMBERS[kind] + (name == "y"))
    return Genotype(
        SPACE.schema,
        {name: row if name == function else np.zeros(0, INSTRUCTION) for name in FUNCTIONS},
    )


def machine_of(genotype: Genotype, space: AutoMLZeroSpace = SPACE, features: int = F) -> Machine:
    """The reference interpreter, before setup, on the program as it stands."""
    tables = tuple(genotype.tables[name][None] for name in FUNCTIONS)
    sizes = np.array([[len(genotype.tables[name]) for name in FUNCTIONS]])
    return Machine(Programs(space.memory, tables, sizes, np.zeros(1, np.uint64)), 0, features, 3)


def same(names: dict[str, Any], machine: Machine) -> None:
    """Every address of the module holds what the reference interpreter has there."""
    for kind, bank in machine.banks.items():
        for address, expected in enumerate(bank):
            if f"{kind}{address}" in names:
                np.testing.assert_allclose(
                    names[f"{kind}{address}"], expected, rtol=1e-12, atol=1e-300, equal_nan=True
                )


def fill(
    names: dict[str, Any], machine: Machine, draw: Callable[[tuple[int, ...]], np.ndarray]
) -> None:
    """The same numbers into both memories."""
    for kind, bank in machine.banks.items():
        bank[...] = draw(bank.shape)
        names |= {
            f"{kind}{i}": np.float64(value) if kind == "s" else value.copy()
            for i, value in enumerate(bank)
            if f"{kind}{i}" in names
        }


# operations


@pytest.mark.parametrize("op", EXACT, ids=lambda op: op.name)
@pytest.mark.parametrize("function", [1, 2])
def test_operation(op: Op, function: int) -> None:
    genotype, rng = one_instruction(op, FUNCTIONS[function]), np.random.default_rng(op.id)
    names, machine = module(genotype), machine_of(genotype)
    for draw in (*[rng.standard_normal] * 5, *[lambda shape: rng.choice(VALUES, shape)] * 40):
        fill(names, machine, draw)
        machine.call(function)
        with np.errstate(all="ignore"):
            names[FUNCTIONS[function]]()
        same(names, machine)
        assert all(
            isinstance(value, np.float64)
            for name, value in names.items()
            if name in ("s0", "s1", "s2")
        )


@pytest.mark.parametrize("op", NOISE, ids=lambda op: op.name)
def test_noise(op: Op) -> None:
    genotype = one_instruction(op)
    names, bank = module(genotype), machine_of(genotype).banks[op.out]
    x, y = (float(genotype.tables["predict"][0][name]) for name in "xy")
    drawn = []
    for seed in range(1000):
        names["reset"](seed)
        names["predict"]()
        drawn.append(names[f"{op.out}1"])
    values = np.array(drawn)
    assert values.shape[1:] == bank.shape[1:]
    assert len(np.unique(values)) == values.size
    uniform = op.constants == ("bound", "bound")
    mean, deviation = ((x + y) / 2, (y - x) / math.sqrt(12)) if uniform else (x, y)
    assert abs(values.mean() - mean) < 4 * deviation / math.sqrt(values.size)
    assert abs(values.std() - deviation) < 4 * deviation / math.sqrt(values.size)
    if uniform:
        assert x <= values.min() < values.max() < y


@pytest.mark.parametrize("op", NOISE, ids=lambda op: op.name)
@pytest.mark.parametrize("function", [0, 1, 2])
def test_noise_is_the_interpreter_s(op: Op, function: int) -> None:
    """To the bit: by seed, call, instruction and element."""
    genotype = one_instruction(op, FUNCTIONS[function])
    tables = {name: np.repeat(rows, 3) for name, rows in genotype.tables.items()}
    tables["setup"] = np.concatenate([np.zeros(1, INSTRUCTION), tables["setup"]])  # a no-op before
    genotype = Genotype(SPACE.schema, tables)
    names, machine = module(genotype), machine_of(genotype)
    names["reset"](3)
    machine.call(0)
    for each in (1, 2, 1, 1, 2):
        machine.call(each)
        names[FUNCTIONS[each]]()
    same(names, machine)


@pytest.mark.parametrize(
    "op", [op for op in NOISE if op.constants == ("bound", "bound")], ids=lambda op: op.name
)
def test_uniform_noise_between_bounds_in_the_wrong_order_is_the_first(op: Op) -> None:
    names = module(one_instruction(op, x=0.8, y=-0.8))
    names["predict"]()
    assert (names[f"{op.out}1"] == 0.8).all()


@pytest.mark.parametrize("index", [0.0, 0.2499999999, 0.7499999999, 0.9999999999])
@pytest.mark.parametrize("name", ["vector_const_set", "matrix_const_set"])
def test_element_indices_round_in_single_precision(name: str, index: float) -> None:
    genotype = one_instruction(BY_NAME[name], x=index, y=index, z=index)
    names, machine = module(genotype), machine_of(genotype)
    names["predict"]()
    machine.call(1)
    same(names, machine)


def test_every_operation_has_helpers_or_numpy_names() -> None:
    rows = np.zeros(len(OPS), INSTRUCTION)
    rows["op"], rows["out"] = np.arange(len(OPS)), [op.out in ("s", "v") for op in OPS]
    tables = {name: rows if name == "learn" else rows[:0] for name in FUNCTIONS}
    names = module(Genotype(AutoMLZeroSpace(Settings(learn={"most": 100})).schema, tables))
    called = {
        node.func.id
        for op in OPS
        for node in ast.walk(ast.parse(op.text))
        if isinstance(node, ast.Call)
    }
    assert called <= set(names)


# programs


@pytest.fixture(scope="module")
def large_space() -> AutoMLZeroSpace:
    function = {"initial": 12, "least": 12, "most": 20, "ops": tuple(op.name for op in OPS)}
    return AutoMLZeroSpace(
        Settings(
            scalars=4,
            vectors=3,
            matrices=2,
            initial="random",
            setup=function,
            predict=function,
            learn=function,
        )
    )


@pytest.mark.parametrize("classify", [False, True])
def test_random_programs_agree_after_training(large_space: AutoMLZeroSpace, classify: bool) -> None:
    population = large_space.random(outputs(np.array([7], np.uint64), np.arange(150)))
    rng, finite = np.random.default_rng(0), set()
    x, y = rng.standard_normal((25, F)), rng.random(25).round()
    for index in range(len(population)):
        genotype = population.genotype(index)
        names, machine = (
            module(genotype, F, classify, large_space.memory),
            machine_of(genotype, large_space),
        )
        machine.call(0)
        for features, label in zip(x[:20], y[:20], strict=True):
            prediction = machine.predict(features)
            if classify:
                machine.banks["s"][1] = sigmoid(prediction)
            machine.learn(features, label)
        names["reset"](3)
        names["train"](x[:20], y[:20])
        same(names, machine)
        for features in x[20:]:
            expected = machine.predict(features)
            expected = sigmoid(expected) if classify else expected
            np.testing.assert_allclose(
                names["prediction"](features), expected, rtol=1e-12, equal_nan=True
            )
            finite.add(expected)
    assert np.isfinite(list(finite)).sum() > 100  # not everything is NaN or zero


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
@pytest.mark.parametrize("classify", [False, True])
def test_reference_programs(path: Path, classify: bool) -> None:
    """As the reference with the same seed; with noise another with another."""
    space, genotype = AutoMLZeroSpace.open_text(path.read_text(encoding="utf-8"), str(path))
    names, machine = module(genotype, 5, classify, space.memory), machine_of(genotype, space, 5)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((80, 5))
    y = x @ rng.standard_normal(5)
    y = (y > 0).astype(float) if classify else y
    machine.call(0)
    for features, label in zip(x, y, strict=True):
        prediction = machine.predict(features)
        if classify:
            machine.banks["s"][1] = sigmoid(prediction)
        machine.learn(features, label)
    expected = [machine.predict(features) for features in x[:3]]
    expected = [sigmoid(each) for each in expected] if classify else expected
    learnt = {}
    for seed in (3, 4):
        names["reset"](seed)
        names["train"](x, y)
        learnt[seed] = names["predictions"](x[:3]).tolist()
    np.testing.assert_allclose(learnt[3], expected, rtol=1e-12)
    noisy = "gaussian" in path.read_text() or "uniform" in path.read_text()
    assert (learnt[3] != learnt[4]) == noisy


def test_linear_regression_learns_the_weights() -> None:
    space, genotype = AutoMLZeroSpace.open_text(
        (PROGRAMS / "linear_regression.py").read_text(encoding="utf-8"), "linear_regression.py"
    )
    names, rng = module(genotype, F, False, space.memory), np.random.default_rng(0)
    w, x = rng.standard_normal(F), rng.standard_normal((2000, F))
    names["train"](x, x @ w)
    np.testing.assert_allclose(names["v1"], w, atol=1e-6)
    assert names["prediction"]([1.0, 0.0, 0.0, 0.0]) == pytest.approx(w[0], abs=1e-6)


# the module


def test_imports_numpy_and_nothing_else() -> None:
    for path in sorted(PROGRAMS.glob("*.py")):
        space, genotype = AutoMLZeroSpace.open_text(path.read_text(encoding="utf-8"), str(path))
        tree = ast.parse(_programs.source(genotype, F, True, space.memory, path.stem))
        imported = [
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        ]
        imported += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert set(imported) == {"numpy"}


def test_holds_only_what_is_used() -> None:
    names = module(one_instruction(BY_NAME["vector_inner_product"]))
    assert {name for name in names if name[0] in "svm" and name[1:].isdigit()} == {
        "s0",
        "s1",
        "v0",
        "v1",
        "v2",
    }
    assert "dot" in names
    assert not {"norm", "sigmoid", "gaussian", "heaviside"} & set(names)


def test_instructions_are_in_the_text_form() -> None:
    path = PROGRAMS / "neural_network.py"
    space, genotype = AutoMLZeroSpace.open_text(path.read_text(encoding="utf-8"), str(path))
    exported = _programs.source(genotype, F, True, space.memory, "network")
    lines = [
        line
        for line in space.format(genotype).splitlines()
        if " = " in line and "s2 = 0.03" not in line
    ]
    assert all(f"\n{line}\n" in exported for line in lines)


@given(title=st.text())
def test_any_title_makes_a_module_with_that_docstring(title: str) -> None:
    names = module(one_instruction(BY_NAME["no_op"]), title=title)
    assert names["__doc__"].startswith(f"{title}\n")


def test_wrong_input_is_an_error() -> None:
    names = module(one_instruction(BY_NAME["vector_inner_product"]))
    with pytest.raises(ValueError, match="reshape"):
        names["prediction"]([1.0, 2.0])
    with pytest.raises(ValueError, match="shorter"):
        names["train"](np.zeros((2, F)), [1.0])


def test_the_callers_arrays_stay_as_they_are() -> None:
    x = np.ones(F)
    names = module(one_instruction(BY_NAME["vector_const_set"]))
    names["train"](x[None], [1.0])
    names["prediction"](x)
    assert (x == 1.0).all()


@pytest.mark.parametrize("name", names("spaces"))
def test_text_is_what_the_space_reads_back(name: str) -> None:
    module = load("spaces", name)
    try:
        space = class_of(module)(module.Settings())
    except ValueError as error:
        pytest.skip(f"no defaults: {error}")
    genotype = space.random(outputs(np.array([1], np.uint64), np.arange(1))).genotype(0)
    assert space.parse(text.source(space, genotype), "text") == genotype
