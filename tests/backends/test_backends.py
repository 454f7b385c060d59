"""Every backend against the definition: golden vectors, each operation, random programs, noise,
early ends and fingerprints.
"""

import csv
import json
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoml.backends import Rules, _lanes, missing
from evoml.backends.reference import Noise
from evoml.compilation.numba_cache import compiled
from evoml.contracts.task import TaskSet
from evoml.core.registry import load, names
from evoml.core.streams import streams
from evoml.phenotypes.instructions import NAMES, OPS, Op
from evoml.phenotypes.programs import FUNCTIONS, INSTRUCTION, Memory, Programs
from evoml.spaces._program_text import format_instruction, parse_program
from evoml.spaces.automl_zero import AutoMLZeroSpace, Function, Settings

MEMORY = Memory(8, 6, 3)
SPECIAL = (
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    5e-324,
    -1e-310,
    1e300,
    -1e200,
    1.0,
    -2.5,
    0.3,
    750.0,
)
PLAIN = (*np.arange(1, 16) * 0.375, *np.arange(1, 8) * -0.4375)
# the last bit is the library's
LIBRARY = {"sin", "cos", "tan", "arcsin", "arccos", "arctan", "exp", "log"}


def runnable(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing(name)), reason=missing(name)))


@pytest.fixture(scope="module", params=map(runnable, names("backends")))
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(
    scope="module", params=[runnable(name) for name in names("backends") if name != "reference"]
)
def other(request: pytest.FixtureRequest) -> str:
    """A backend that is not the definition itself."""
    return request.param


def make(name: str, tasks: TaskSet, memory: Memory = MEMORY, **rules: object):
    given = {
        "train": tasks.train_y.shape[1],
        "valid": tasks.valid_y.shape[1],
        "dtype": "float64",
    } | rules
    return load("backends", name).Backend(tasks, memory, Rules(**given))


def tasks_of(train_x, train_y, valid_x, valid_y, kind: str = "regression") -> TaskSet:
    count = len(train_x)
    arrays = (np.asarray(array, float) for array in (train_x, train_y, valid_x, valid_y))
    return TaskSet(
        kind,
        *arrays,
        tuple(map(str, range(count))),
        np.arange(count, dtype=np.uint64) * np.uint64(7919) + np.uint64(5),
    )


def random_tasks(
    count: int,
    features: int,
    train: int = 6,
    valid: int = 4,
    kind: str = "regression",
    seed: int = 0,
) -> TaskSet:
    rng = np.random.default_rng(seed)
    x, y = (
        rng.standard_normal((count, train + valid, features)),
        rng.standard_normal((count, train + valid)),
    )
    y = (y > 0).astype(float) if kind == "classification" else y
    return tasks_of(x[:, :train], y[:, :train], x[:, train:], y[:, train:], kind)


def blank(
    count: int,
    features: int = 1,
    train: int = 1,
    valid: int = 1,
    label: float = 0.0,
    kind: str = "regression",
) -> TaskSet:
    """Tasks with zero features and one label."""
    x, y = np.zeros((count, train + valid, features)), np.full((count, train + valid), label)
    return tasks_of(x[:, :train], y[:, :train], x[:, train:], y[:, train:], kind)


def stack(memory: Memory, rows: list[tuple[np.ndarray, ...]]) -> Programs:
    """Programs exactly as given, nothing pruned."""
    sizes = np.array(
        [[len(function) for function in program] for program in rows], np.int64
    ).reshape(-1, 3)
    tables = tuple(
        np.zeros((len(rows), max(int(sizes[:, f].max(initial=0)), 1)), INSTRUCTION)
        for f in range(3)
    )
    for index, program in enumerate(rows):
        for table, function in zip(tables, program, strict=True):
            table[index, : len(function)] = function
    return Programs(memory, tables, sizes, np.arange(1, len(rows) + 1, dtype=np.uint64))


def programs(*written: dict[str, str], memory: Memory = MEMORY) -> Programs:
    """Programs from instructions separated by semicolons."""
    rows = []
    for program in written:
        text = "\n".join(f"def {name}():\n    {program.get(name) or '...'}" for name in FUNCTIONS)
        rows.append(tuple(parse_program(text, "test", memory)[name] for name in FUNCTIONS))
    return stack(memory, rows)


def fitness(name: str, what: Programs, tasks: TaskSet, **rules: object) -> np.ndarray:
    return make(name, tasks, what.memory, **rules).fitness(what, np.arange(len(what)))[0]


def error_of(fitness: np.ndarray) -> np.ndarray:
    """The root mean squared error behind a regression fitness."""
    return np.tan((1.0 - fitness) * np.pi / 2.0)


# golden vectors


@pytest.fixture(scope="session")
def golden(data_folder: Path) -> tuple[TaskSet, Programs, np.ndarray]:
    folder = data_folder / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden vectors: {folder} is not a folder")
    parts: dict[tuple[int, str], list[list[float]]] = {}
    with (folder / "linear_F4_E1_tasks.csv").open() as file:
        for row in csv.DictReader(file):
            parts.setdefault((int(row["task"]), row["split"]), []).append(
                [float(row[key]) for key in ("label", "x0", "x1", "x2", "x3")]
            )
    data = {
        split: np.array([parts[task, split] for task in range(3)]) for split in ("train", "valid")
    }
    tasks = tasks_of(
        data["train"][..., 1:], data["train"][..., 0], data["valid"][..., 1:], data["valid"][..., 0]
    )
    rows, wanted = [], []
    for line in (folder / "linear_F4_E1_programs.jsonl").read_text().splitlines():
        program = json.loads(line)
        wanted.append(program["fitness"])
        rows.append(
            tuple(
                np.array([_golden(row) for row in program[name]], INSTRUCTION).reshape(-1)
                for name in FUNCTIONS
            )
        )
    return tasks, stack(Memory(20, 20, 20), rows), np.array(wanted)


def _golden(row: list[float]) -> tuple[float, ...]:
    op, a, b, out, constant, *floats = row
    return (op, a, b, out, *((constant, 0.0, 0.0) if op == 56 else floats))


def test_golden_vectors(backend: str, golden: tuple[TaskSet, Programs, np.ndarray]) -> None:
    tasks, what, wanted = golden
    assert len(what) == 400
    assert np.abs(fitness(backend, what, tasks) - wanted).max() <= 1e-9


# every operation, seen through fitness


def probe(op: Op, features: int, at: tuple[int, ...]) -> dict[str, str]:
    """A program whose prediction is a function of element `at` of the operation's output, never
    NaN; operands come from the features.

    Operand a is made of the validation example, b of the training example. The other elements are
    overwritten by zero before they are summed, so that infinities and NaN stay where they are.
    """
    half = [(k + 0.5) / features for k in range(features)]
    predict = ["v3 = maximum(v0, v0)", "v4 = maximum(v1, v1)"]
    predict += [f"{v}[at({place!r})] = 0.0" for v in ("v3", "v4") for place in half[1:]]
    predict += [
        "s2 = dot(v3, v5)",
        "s3 = dot(v4, v5)",
        "m0 = row_broadcast(v0)",
        "m1 = column_broadcast(v1)",
    ]
    first, second = (
        {"s": (2, 3), "v": (0, 1), "m": (0, 1)},
        {"ss": 3, "vv": 1, "mm": 1, "sv": 0, "sm": 0, "mv": 0},
    )
    row = np.zeros((), INSTRUCTION)
    row["op"], row["out"] = op.id, {"s": 4, "v": 2, "m": 2}[op.out]
    row["a"] = first[op.ins[0]][0] if op.ins else 0
    row["b"] = second.get(op.ins, 0)
    for name, value in zip("xyz", _constants(op), strict=False):
        row[name] = value
    predict.append(format_instruction(row))
    if op.out == "v":
        predict += [f"v2[at({half[k]!r})] = 0.0" for k in range(features) if (k,) != at] + [
            "s4 = dot(v2, v5)"
        ]
    if op.out == "m":
        predict += [
            f"m2[at({half[k]!r}), at({half[j]!r})] = 0.0"
            for k in range(features)
            for j in range(features)
            if (k, j) != at
        ]
        predict += ["v2 = dot(m2, v5)", "s4 = dot(v2, v5)"]
    predict += [
        "s2 = -4.0",
        "s1 = 0.0",
        "s5 = heaviside(s4)",
        "s1 = s1 + s5",
        "s5 = s1 - s4",
        "s5 = heaviside(s5)",
        "s1 = s1 + s5",
        "s3 = 0.37",
    ]
    # value, size and sign; at infinity and at -0 too
    for step in ("s5 = maximum(s4, s4)", "s5 = abs(s4); s5 = log(s5)", "s5 = 1 / s4"):
        predict += [step, "s5 = arctan(s5)", "s5 = maximum(s2, s5)", "s1 = s1 * s3", "s1 = s1 + s5"]
    return {
        "setup": "s2 = 1.0; v5 = broadcast(s2)",
        "predict": "; ".join(predict),
        "learn": "v1 = maximum(v0, v0)",
    }


def _constants(op: Op) -> list[float]:
    known = {"index": 0.6, "value": -0.7, "deviation": 0.4}
    return [
        known[kind] if kind in known else (-0.2, 0.8)[place]
        for place, kind in enumerate(op.constants)
    ]


@cache
def probes(features: int) -> Programs:
    """One or a few programs an operation, each looking at one element of the output."""
    rng = np.random.default_rng(features)
    out = []
    for op in OPS[1:]:
        elements = list(product(range(features), repeat="svm".index(op.out)))
        chosen = rng.permutation(len(elements))[: 4 if features < 7 else 1]
        out += [probe(op, features, elements[index]) for index in chosen]
    return programs(*out)


def probed(
    features: int, values: tuple[float, ...], count: int, seed: int, distinct: bool = False
) -> TaskSet:
    rng = np.random.default_rng(seed)
    draw = [
        [rng.choice(values, features, replace=not distinct) for _ in range(count)] for _ in range(2)
    ]
    x = np.array(draw)[:, :, None]
    return tasks_of(x[0], np.full((count, 1), 10.0), x[1], np.full((count, 1), 10.0))


@pytest.mark.parametrize("features", [1, 2, 4, 7, 16])
def test_every_operation_agrees_on_every_kind_of_number(other: str, features: int) -> None:
    what = probes(features)
    for values in (SPECIAL, PLAIN):
        tasks = probed(features, values, 24 // features + 5, features, distinct=values == PLAIN)
        wanted = fitness("reference", what, tasks)
        assert (wanted > 0).all()
        assert np.abs(fitness(other, what, tasks) - wanted).max() <= 1e-9


@pytest.mark.parametrize("features", [1, 2, 4, 7, 16])
def test_every_operation_agrees_in_single_precision(other: str, features: int) -> None:
    values = (0.0, np.inf, np.nan, *PLAIN)
    what, tasks = (
        probes(features),
        probed(features, values, 24 // features + 4, features, distinct=True),
    )
    wanted = fitness("reference", what, tasks)
    assert np.abs(fitness(other, what, tasks, dtype="float32") - wanted).max() <= 1e-4


# every operation, seen in memory


@compiled
def _one(code, constants, memory, features, scratch, seeds, state, nothing, loss):
    _lanes.run(
        code,
        0,
        constants,
        memory,
        3,
        scratch,
        features,
        seeds,
        0,
        state,
        nothing,
        nothing,
        0,
        0,
        nothing,
        0,
        0,
        loss,
        0,
        0,
        100.0,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 2, 4, 7, 16])
def test_an_instruction_writes_its_output_and_nothing_else(features: int, dtype: str) -> None:
    rng, kind = np.random.default_rng(features), np.dtype(dtype)
    lanes = _lanes.LANES[kind]
    shapes = {"s": (3,), "v": (3, features), "m": (3, features, features)}
    first = {"s": 0, "v": 3, "m": 3 + 3 * features}
    width = {"s": 1, "v": features, "m": features**2}
    scratch = first["m"] + 3 * features**2
    numbers = np.array([*SPECIAL, *rng.standard_normal(12)])
    with np.errstate(all="ignore"):
        numbers = numbers.astype(kind)
    seeds = rng.integers(0, 2**63, lanes).astype(np.uint64)
    for op, (a, b, out) in product(OPS[1:], [(0, 1, 2), (0, 1, 0), (0, 1, 1), (2, 2, 2)]):
        memory = rng.choice(numbers, ((scratch + features**2), lanes))
        banks = {
            k: memory[first[k] : first[k] + 3 * width[k]].reshape(*shapes[k], lanes) for k in "svm"
        }
        constants = np.zeros((1, 4), kind)
        constants[0, : len(op.constants)] = _constants(op)
        code = np.array([[op.id, 0, 0, 0], [_lanes.END, 0, 0, 0]], np.int32)
        kinds = dict(zip("ab", op.ins, strict=False)) | {"out": op.out}
        for place, (operand, address) in enumerate(
            zip(("a", "b", "out"), (a, b, out), strict=True)
        ):
            code[0, 1 + place] = (
                first[kinds[operand]] + address * width[kinds[operand]] if operand in kinds else 0
            )
        wanted = memory[:scratch].copy()
        place = first[op.out] + out * width[op.out]
        for lane in range(lanes):
            with np.errstate(all="ignore"):
                if op.ins:
                    value = op.numpy(
                        *(
                            banks[k][address][..., lane]
                            for k, address in zip(op.ins, (a, b), strict=False)
                        )
                    )
                else:
                    noise = Noise(int(seeds[lane]), 5, 0)
                    value = op.numpy(
                        noise, banks[op.out][out][..., lane], *constants[0, : len(op.constants)]
                    )
                wanted[place : place + width[op.out], lane] = np.broadcast_to(
                    value, shapes[op.out][1:]
                ).reshape(-1)
        # The machine works in place on a flat array.
        flat = memory.reshape(-1).copy()
        _one(
            code,
            constants,
            flat,
            features,
            scratch,
            seeds,
            np.array([5, 1, 0]),
            np.zeros(lanes, kind),
            np.zeros(lanes),
        )
        got = flat.reshape(memory.shape)[:scratch]
        noisy = op.kernel.endswith("()")
        if noisy or op.kernel.split("(")[0] in LIBRARY:
            rough = (1e-3 if noisy else 2e-6) if kind == np.float32 else 1e-12
            np.testing.assert_allclose(
                got, wanted, rough, rough if noisy else 1e-44, err_msg=f"{op.name} {a} {b} {out}"
            )
        else:
            np.testing.assert_array_equal(got, wanted, err_msg=f"{op.name} {a} {b} {out}")
            real = ~np.isnan(wanted)
            assert (np.signbit(got) == np.signbit(wanted))[real].all(), op.name


# whole programs

ALL = AutoMLZeroSpace(
    Settings(
        scalars=5,
        vectors=4,
        matrices=2,
        **{name: Function(initial=4, most=14) for name in FUNCTIONS},
    )
)
LEARNER = {
    "setup": "s2 = 0.05",
    "predict": "s1 = dot(v0, v1)",
    "learn": "s3 = s0 - s1; s3 = s3 * s2; v2 = s3 * v0; v1 = v1 + v2",
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["regression", "classification"]),
    count=st.sampled_from([1, 3, 8, 9, 20]),
    features=st.sampled_from([1, 2, 4, 5]),
    epochs=st.sampled_from([1, 3]),
)
def test_random_programs_agree(
    other: str, seed: int, kind: str, count: int, features: int, epochs: int
) -> None:
    what = ALL.phenotypes(ALL.random(streams(seed, 1, np.arange(12))))
    tasks = random_tasks(count, features, kind=kind, seed=seed)
    wanted = fitness("reference", what, tasks, epochs=epochs)
    assert np.abs(fitness(other, what, tasks, epochs=epochs) - wanted).max() <= 1e-9


def test_a_learner_agrees_in_single_precision(other: str) -> None:
    tasks = random_tasks(20, 4, 50, 20)
    wanted = fitness("reference", programs(LEARNER), tasks, epochs=2)
    assert (
        np.abs(fitness(other, programs(LEARNER), tasks, epochs=2, dtype="float32") - wanted).max()
        < 1e-5
    )


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_a_program_does_not_see_its_neighbours(backend: str, kind: str) -> None:
    what, tasks = (
        ALL.phenotypes(ALL.random(streams(1, 1, np.arange(30)))),
        random_tasks(11, 3, kind=kind),
    )
    machine = make(backend, tasks, ALL.memory)
    together, _ = machine.fitness(what, np.arange(30))
    assert (together[::-1] == machine.fitness(what, np.arange(30)[::-1])[0]).all()
    assert (together[[4, 4, 7]] == machine.fitness(what, np.array([4, 4, 7]))[0]).all()
    assert machine.fitness(what, np.arange(0))[0].shape == (0, 11)
    prints, _ = machine.fingerprints(what, np.arange(30), 3, 2)
    assert (prints[::-1] == machine.fingerprints(what, np.arange(30)[::-1], 3, 2)[0]).all()


def test_a_task_does_not_see_its_neighbours(backend: str) -> None:
    what, tasks = ALL.phenotypes(ALL.random(streams(2, 1, np.arange(30)))), random_tasks(11, 3)
    together = fitness(backend, what, tasks, epochs=2)
    for at in (0, 3, 10):
        arrays = (tasks.train_x, tasks.train_y, tasks.valid_x, tasks.valid_y)
        alone = TaskSet(
            tasks.kind,
            *(array[at : at + 1] for array in arrays),
            ("one",),
            tasks.seeds[at : at + 1],
        )
        assert (fitness(backend, what, alone, epochs=2)[:, 0] == together[:, at]).all()


def test_fitness_is_that_of_a_plain_python_learner(backend: str) -> None:
    tasks = random_tasks(3, 2, 8, 5)
    got = fitness(backend, programs(LEARNER), tasks)[0]
    for task in range(3):
        w = np.zeros(2)
        for x, y in zip(tasks.train_x[task], tasks.train_y[task], strict=True):
            w = w + 0.05 * (y - x @ w) * x
        rmse = np.sqrt(np.mean((tasks.valid_y[task] - tasks.valid_x[task] @ w) ** 2))
        assert got[task] == pytest.approx(1.0 - 2.0 / np.pi * np.arctan(rmse), abs=1e-12)


def test_classification_fitness_is_accuracy_at_a_half(backend: str) -> None:
    x = np.array([[-1.0, 2.0, 0.0, 3.0, np.nan]])[..., None]
    tasks = tasks_of(np.ones((1, 1, 1)), [[1.0]], x, [[0.0, 1.0, 0.0, 0.0, 0.0]], "classification")
    identity = {"setup": "s2 = 1.0; v1 = broadcast(s2)", "predict": "s1 = dot(v0, v1)"}
    # sigmoid(0) is not above a half; NaN is class 0
    assert fitness(backend, programs(identity), tasks)[0, 0] == pytest.approx(4 / 5)


def test_learning_sees_the_sigmoid_and_prediction_never_sees_the_label(backend: str) -> None:
    keep = {"predict": "s2 = s2 + s0; s1 = maximum(s3, s3)", "learn": "s3 = maximum(s1, s1)"}
    tasks = tasks_of(np.zeros((1, 1, 1)), [[1.0]], np.zeros((1, 1, 1)), [[0.0]], "classification")
    # predicts sigmoid(sigmoid(0)) > 1/2
    assert fitness(backend, programs(keep), tasks)[0, 0] == 0.0
    peek = {"predict": "s1 = maximum(s0, s0)"}
    assert error_of(fitness(backend, programs(peek), blank(1, train=3, valid=2, label=0.7)))[
        0, 0
    ] == pytest.approx(0.7)


def test_memory_lasts_from_one_example_to_the_next(backend: str) -> None:
    count = {
        "setup": "s3 = 0.01",
        "predict": "s2 = s2 + s3; s1 = maximum(s2, s2)",
        "learn": "s2 = s2 + s3",
    }
    got = error_of(fitness(backend, programs(count), blank(2, train=4, valid=3)))
    assert got[0] == pytest.approx(np.sqrt(np.mean([0.09**2, 0.1**2, 0.11**2])))


# noise


def drawn(backend: str, write: str, read: str, tasks: int, dtype: str = "float64") -> np.ndarray:
    """The first two elements of noise in setup and in the predictions of two steps: [tasks, 4]."""
    columns = []
    for where, train, element in (
        ("setup", 1, 0.1),
        ("setup", 1, 0.6),
        ("predict", 1, 0.1),
        ("predict", 2, 0.1),
    ):
        pick = {
            "s": "s1 = maximum(s2, s2)",
            "v": "s1 = dot(v1, v2)",
            "m": "v3 = dot(m0, v2); s1 = dot(v3, v2)",
        }[read]
        program = {"setup": f"s3 = 1.0; v2[at({element})] = 1.0", "predict": pick}
        program[where] = f"{program['setup']}; {write}" if where == "setup" else f"{write}; {pick}"
        got = fitness(backend, programs(program), blank(tasks, 2, train, 1, 20.0), dtype=dtype)
        columns.append(20.0 - error_of(got[0]))
    return np.stack(columns, 1)


@pytest.mark.parametrize(
    "write",
    [
        "v1 = uniform_vector(-0.5, 1.5)",
        "v1 = gaussian_vector(0.5, 2.0)",
        "m0 = uniform_matrix(-0.5, 1.5)",
    ],
)
def test_noise_has_its_distribution_and_never_repeats(backend: str, write: str) -> None:
    x = drawn(backend, write, write[0], 600)
    assert len(np.unique(x.round(9))) == x.size  # over tasks, elements and steps
    assert np.abs(np.corrcoef(x, rowvar=False) - np.eye(4)).max() < 0.15
    assert np.abs(np.corrcoef(x[1:, 0], x[:-1, 0])[0, 1]) < 0.15
    ordered = np.sort(x.ravel())
    grid = (np.arange(x.size) + 0.5) / x.size
    if "uniform" in write:
        assert x.min() > -0.5 - 1e-9
        assert x.max() < 1.5 + 1e-9
        theory = (ordered + 0.5) / 2.0
    else:
        assert abs(x.mean() - 0.5) < 0.15
        assert abs(x.std() - 2.0) < 0.1
        z = (ordered - 0.5) / 2.0
        assert abs((z**3).mean()) < 0.2
        assert abs((z**4).mean() - 3.0) < 0.4
        # Polya's, good to 0.003
        theory = np.array(
            [0.5 + 0.5 * np.sign(v) * np.sqrt(1 - np.exp(-2 * v * v / np.pi)) for v in z]
        )
    # Kolmogorov and Smirnov, one in a hundred
    assert np.abs(theory - grid).max() < 1.63 / np.sqrt(x.size) + 0.004


@pytest.mark.parametrize(
    "write",
    [
        "s2 = gaussian(0.5, 2.0)",
        "v1 = gaussian_vector(0.5, 2.0)",
        "s2 = uniform(-0.5, 1.5)",
        "m0 = gaussian_matrix(0.0, 1.0)",
    ],
)
def test_noise_in_single_precision_is_the_same_noise(other: str, write: str) -> None:
    fine, coarse = (
        drawn("reference", write, write[0], 40),
        drawn(other, write, write[0], 40, "float32"),
    )
    assert np.abs(fine - coarse).max() < 1e-3


def test_crossed_bounds_give_the_low_one(backend: str) -> None:
    for low, high in ((0.5, -0.5), (0.25, 0.25)):
        for write in (
            f"s2 = uniform({low}, {high})",
            f"v1 = uniform_vector({low}, {high})",
            f"m0 = uniform_matrix({low}, {high})",
        ):
            assert np.abs(drawn(backend, write, write[0], 9) - low).max() < 1e-9
    assert np.abs(drawn(backend, "s2 = gaussian(0.5, 0.0)", "s", 9) - 0.5).max() < 1e-9


# early ends


def test_an_error_above_the_bound_or_nan_ends_with_nothing(backend: str) -> None:
    still, bad = {"predict": "pass"}, {"predict": "s1 = s2 / s3"}
    # the bound itself passes
    assert fitness(backend, programs(still), blank(2, label=100.0))[0, 0] > 0
    assert (fitness(backend, programs(still), blank(2, label=100.001)) == 0).all()
    assert (fitness(backend, programs(bad), blank(2)) == 0).all()
    assert (fitness(backend, programs(still), blank(2, label=3.0), max_abs_error=2.5) == 0).all()
    # the third prediction is NaN
    late = {"setup": "s2 = 2.5; s3 = 1.0", "predict": "s2 = s2 - s3; s1 = log(s2)"}
    assert fitness(backend, programs(late), blank(2, train=1, valid=1))[0, 0] > 0
    for train, valid in ((3, 1), (1, 3)):
        assert (fitness(backend, programs(late), blank(2, train=train, valid=valid)) == 0).all()


def test_one_task_that_fails_leaves_the_others(backend: str) -> None:
    labels = np.array([[1.0, 2.0], [1.0, 200.0], [200.0, 1.0], [3.0, 1.0]])
    tasks = tasks_of(np.zeros((4, 1, 1)), labels[:, :1], np.zeros((4, 1, 1)), labels[:, 1:])
    got = fitness(backend, programs({}), tasks)[0]
    assert (got == 0).tolist() == [False, True, True, False]
    assert error_of(got)[[0, 3]] == pytest.approx([2.0, 1.0])


def test_a_failure_in_a_later_epoch_keeps_the_best_before(backend: str) -> None:
    grow = {"setup": "s3 = 1.0", "predict": "s1 = maximum(s2, s2)", "learn": "s2 = s2 + s3"}
    tasks = blank(3, train=3, valid=2)
    assert error_of(fitness(backend, programs(grow), tasks, epochs=1)) == pytest.approx(3.0)
    assert error_of(
        fitness(backend, programs(grow), tasks, epochs=4, max_abs_error=7.5)
    ) == pytest.approx(3.0)
    shrink = grow | {"setup": "s3 = -1.0; s2 = 9.0"}
    # 9 - 6: the second epoch is better
    assert error_of(fitness(backend, programs(shrink), tasks, epochs=2)) == pytest.approx(3.0)


def test_later_epochs_see_the_same_examples_in_another_order(backend: str) -> None:
    last = {"predict": "s1 = maximum(s2, s2)", "learn": "s2 = maximum(s0, s0)"}
    y = np.tile(np.arange(10.0), (6, 1))
    tasks = tasks_of(np.zeros((6, 10, 1)), y, np.zeros((6, 1, 1)), np.full((6, 1), 9.5))
    first, later = (
        error_of(fitness(backend, programs(last), tasks, epochs=epochs))[0] for epochs in (1, 2)
    )
    assert first == pytest.approx(0.5)
    assert (later <= first + 1e-9).all()
    orders = Rules(10, 1, 2).later_order(tasks)[1]
    assert (np.sort(orders, 1) == y).all()
    assert len({row.tobytes() for row in orders}) == 6


def test_without_training_there_is_no_fitness(backend: str) -> None:
    assert (fitness(backend, programs({}), blank(2), train=0) == 0).all()


def test_training_steps_are_counted_over_all_tasks(backend: str) -> None:
    assert make(backend, blank(5, train=3)).fitness(programs({}, {}), np.arange(2))[1] == 5 * 3 * 2
    assert (
        make(backend, blank(5, train=3), epochs=2).fitness(programs({}), np.arange(1))[1]
        == 5 * 3 * 2
    )
    # all fail at the first
    assert make(backend, blank(5, train=3, label=200.0)).fitness(programs({}), np.arange(1))[1] == 5


# fingerprints


def test_fingerprints_tell_behaviour_and_not_text(backend: str) -> None:
    same = [
        LEARNER,
        LEARNER
        | {"learn": "s3 = s0 - s1; s3 = s2 * s3; v3 = s3 * v0; v1 = v3 + v1; m0 = outer(v0, v0)"},
        {name: LEARNER[name].replace("s3", "s5").replace("v2", "v4") for name in FUNCTIONS},
    ]
    fail = [
        {"predict": "s1 = s2 / s3"},
        {"setup": "s2 = 0.5; s3 = 1.0", "predict": "s1 = log(s2); s2 = s2 - s3"},
    ]
    other = [{}, LEARNER | {"setup": "s2 = 0.050001"}, {"setup": "s1 = 0.5"}, *fail]
    tasks = random_tasks(9, 3, 12, 12)
    machine = make(backend, tasks)
    prints, steps = machine.fingerprints(
        programs(*same, *other), np.arange(len(same) + len(other)), 10, 10
    )
    assert len(set(prints[: len(same)])) == 1
    assert len(set(prints)) == 1 + len(other)
    assert steps >= 9 * 10 * (len(same) + 3)


def test_fingerprints_look_at_the_first_examples_only(backend: str) -> None:
    one, other = random_tasks(3, 2, 12, 12), random_tasks(3, 2, 12, 12)
    other.train_x[:, 5:], other.valid_x[:, 4:] = 7.0, 7.0
    first, second = (make(backend, tasks) for tasks in (one, other))
    what, all_ = programs(LEARNER), np.arange(1)
    assert first.fingerprints(what, all_, 5, 4)[0] == second.fingerprints(what, all_, 5, 4)[0]
    assert first.fingerprints(what, all_, 6, 4)[0] != second.fingerprints(what, all_, 6, 4)[0]
    assert first.fingerprints(what, all_, 5, 5)[0] != second.fingerprints(what, all_, 5, 5)[0]


def test_the_operation_table_is_in_order() -> None:
    assert [op.id for op in OPS] == list(range(len(OPS)))
    assert len(set(NAMES)) == len(OPS)


def test_later_epochs_of_some_of_the_examples(other: str) -> None:
    """More tasks than a group of lanes holds, and fewer training examples than there are."""
    tasks = random_tasks(20, 4, 8, 4)
    wanted = fitness("reference", programs(LEARNER), tasks, epochs=2, train=4)
    assert (
        np.abs(fitness(other, programs(LEARNER), tasks, epochs=2, train=4) - wanted).max() <= 1e-9
    )
