"""Networks of single neurons: every backend against the definition, function by function and on
random graphs.
"""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from shutil import which as found

import numpy as np
import pytest
import test_cuda
from cuda_host import HostDevice
from hypothesis import given, settings
from hypothesis import strategies as st

from evoml.backends import cuda, numba, reference
from evoml.backends._cuda_graphs import graph_source
from evoml.compilation import activation_kernels
from evoml.core.errors import InputError
from evoml.phenotypes.activations import (
    ACTIVATION_NAMES,
    ACTIVATIONS,
    AGGREGATION_NAMES,
    AGGREGATIONS,
)
from evoml.phenotypes.neuron_graphs import NeuronGraphs

# made of operations that IEEE 754 rounds exactly
ROUNDED = ("relu", "identity", "clamped", "step", "abs", "square", "softsign")
# bounded and without steps
SMOOTH = ("sigmoid", "logistic", "tanh", "gauss", "sin", "cos", "softsign", "bipolar", "clamped")


@pytest.fixture(params=["numba", "cuda"])
def backend(request: pytest.FixtureRequest) -> Iterator:
    """A backend's module; the CUDA source runs on the host."""
    if request.param == "numba":
        yield numba
        return
    if found("g++") is None:
        pytest.skip("no g++: the backend's source cannot be compiled for the host")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "Device", HostDevice)
        yield cuda


def graphs(
    networks: list[list[tuple[int, str, str, list[tuple[int, float]]]]],
    inputs: int,
    outputs: int,
    recurrent: bool = False,
) -> NeuronGraphs:
    """Networks of (slot, activation, aggregation, [(source, weight)]) rows."""
    rows = [row for network in networks for row in network]
    links = [link for *_, own in rows for link in own]
    sizes = [max([inputs + outputs, *(slot for slot, *_ in network)]) + 1 for network in networks]
    return NeuronGraphs(
        inputs, outputs, 0.5, recurrent, np.array(sizes, np.int64),
        np.cumsum([0, *map(len, networks)]), np.array([slot for slot, *_ in rows], np.int32),
        np.array([ACTIVATION_NAMES.index(row[1]) for row in rows], np.uint8),
        np.array([AGGREGATION_NAMES.index(row[2]) for row in rows], np.uint8),
        np.cumsum([0, *(len(row[3]) for row in rows)]),
        np.array([source for source, _ in links], np.int32),
        np.array([weight for _, weight in links], np.float64),
    )  # fmt: skip


def random_graphs(
    seed: int, count: int = 12, recurrent: bool = False, functions: tuple[str, ...] = ROUNDED,
    folds: tuple[str, ...] = AGGREGATION_NAMES, scale: float = 1.0, hidden: int = 12,
) -> NeuronGraphs:  # fmt: skip
    """Networks with and without hidden nodes, of which some are inactive; recurrent ones may read
    any node, themselves too.
    """
    rng = np.random.default_rng(seed)
    inputs, outputs = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    networks = []
    for _ in range(count):
        slots = (
            inputs
            + 1
            + rng.permutation(outputs + int(rng.integers(0, hidden + 1)) * int(rng.integers(0, 2)))
        )
        rows = []
        for at, slot in enumerate(slots):
            sources = np.concatenate([np.arange(inputs + 1), slots if recurrent else slots[:at]])
            chosen = rng.choice(sources, rng.integers(0, min(len(sources), 7) + 1), replace=False)
            own = [(int(source), float(scale * rng.normal())) for source in chosen]
            rows.append((int(slot), str(rng.choice(functions)), str(rng.choice(folds)), own))
        networks.append(rows)
    return graphs(networks, inputs, outputs, recurrent)


def examples(what: NeuronGraphs, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, what.inputs))


# One function


EDGES = (
    -np.inf,
    -1e4,
    -1000.0,
    -750.0,
    -709.5,
    -88.0,
    -30.0,
    -3e-5,
    -0.0,
    0.0,
    1e-9,
    3e-5,
    0.625,
    30.0,
    88.5,
    104.0,
    709.5,
    1e4,
    np.inf,
    np.nan,
)
POINTS = np.array([*EDGES, *np.linspace(-12, 12, 1001)], np.float32).astype(np.float64)


@pytest.mark.parametrize("row", ACTIVATIONS, ids=lambda row: row.name)
def test_every_activation_is_the_definition(row, backend) -> None:
    what = graphs([[(2, row.name, "sum", [(0, 1.0)])]], 1, 1)
    with np.errstate(all="ignore"):
        wanted = row.numpy(POINTS)
    assert np.array_equal(reference.forward(what, POINTS[:, None])[0, :, 0], wanted, equal_nan=True)
    got = backend.forward(what, POINTS[:, None])[0, :, 0]
    if row.name in ROUNDED:
        assert np.array_equal(got, wanted, equal_nan=True)
    np.testing.assert_allclose(
        got, wanted, rtol=2e-15 if row.name not in ("bipolar", "sin", "cos") else 0, atol=1e-15
    )
    got = backend.forward(what, POINTS[:, None], dtype="float32")[0, :, 0]
    with np.errstate(invalid="ignore"):
        size = np.abs(POINTS) if row.name in ("sin", "cos") else np.abs(wanted)
        finite = np.isfinite(wanted) & np.isfinite(size)
    assert np.array_equal(got[~finite], wanted[~finite], equal_nan=True)
    assert (np.abs(got[finite] - wanted[finite]) <= 4e-7 * (1 + size[finite])).all()


@pytest.mark.parametrize("links", [1, 2, 7])
@pytest.mark.parametrize("row", AGGREGATIONS, ids=lambda row: row.name)
def test_every_aggregation_is_the_definition(row, links: int, backend) -> None:
    rng = np.random.default_rng(links)
    weights = rng.normal(size=links)
    what = graphs([[(links + 1, "identity", row.name, list(enumerate(weights)))]], links, 1)
    inputs = rng.normal(size=(300, links))
    inputs[:60] = rng.choice([0.0, 1.0, -1.0, 1e300, -1e300, np.inf, -np.inf, np.nan], (60, links))
    with np.errstate(all="ignore"):
        wanted = row.numpy(weights[:, None] * inputs.T)
    assert np.array_equal(reference.forward(what, inputs)[0, :, 0], wanted, equal_nan=True)
    assert np.array_equal(backend.forward(what, inputs)[0, :, 0], wanted, equal_nan=True)
    np.testing.assert_allclose(
        backend.forward(what, inputs[60:], dtype="float32")[0, :, 0],
        wanted[60:],
        rtol=2e-6,
        atol=2e-6,
    )


def test_the_text_of_every_function_is_its_numpy() -> None:
    names = {
        each: getattr(np, each) for each in ("abs", "cos", "exp", "sin", "tanh", "sqrt", "where")
    }
    with np.errstate(all="ignore"):
        for row in ACTIVATIONS:
            assert np.array_equal(
                eval(row.text, names | {"a": POINTS}), row.numpy(POINTS), equal_nan=True
            ), row.name
        for row in AGGREGATIONS:
            out = np.full(len(POINTS), row.start)
            values = np.stack([POINTS, np.roll(POINTS, 1), np.roll(POINTS, 30)])
            for a in values:
                out = eval(row.step, names | {"out": out, "a": a})
            assert np.array_equal(
                out / len(values) if row.mean else out, row.numpy(values), equal_nan=True
            ), row.name


# Whole networks


def test_a_network_by_hand(backend) -> None:
    """XOR of two inputs: |a - b| through a hidden node, and an output that nothing leads to."""
    what = graphs(
        [
            [
                (5, "abs", "sum", [(0, 1.0), (1, -1.0)]),
                (3, "identity", "sum", [(5, 2.0), (2, 3.0)]),
                (4, "sigmoid", "sum", []),
            ]
        ],
        2,
        2,
    )
    for module in (reference, backend):
        got = module.forward(what, np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]]))
        assert got.tolist() == [[[1.5, 0.0], [3.5, 0.0], [3.5, 0.0], [1.5, 0.0]]]


def test_a_recurrent_network_by_hand(backend) -> None:
    """A chain delays by one sweep a link, a loop onto itself counts."""
    rows = [
        (5, "identity", "sum", [(0, 1.0)]),
        (2, "identity", "sum", [(5, 1.0)]),
        (3, "identity", "sum", [(3, 1.0), (1, 2.0)]),
    ]
    what = graphs([rows], 1, 3, recurrent=True)
    for module in (reference, backend):
        assert [
            module.forward(what, np.array([[7.0]]), sweeps=n)[0, 0].tolist() for n in (1, 2, 3)
        ] == [[0, 1, 0], [7, 2, 0], [7, 3, 0]]
        stepper = module.Stepper(what, 1)
        assert [stepper.step(np.full((1, 1, 1), x))[0, 0].tolist() for x in (7.0, 8.0, 9.0)] == [
            [0, 1, 0],
            [7, 2, 0],
            [8, 3, 0],
        ]


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.sampled_from([1.0, 3.0, 1e200]),
    st.sampled_from([0, 1, 4, 37, 300]),
)
def test_exactly_rounded_networks_are_the_same_in_every_bit(
    seed: int, recurrent: bool, scale: float, count: int
) -> None:
    what = random_graphs(seed, recurrent=recurrent, scale=scale)
    inputs = examples(what, count, seed)
    wanted = reference.forward(what, inputs, sweeps=3)
    assert np.array_equal(numba.forward(what, inputs, sweeps=3), wanted, equal_nan=True)


@pytest.mark.parametrize("scale", [1.0, 1e200])
@pytest.mark.parametrize("recurrent", [False, True])
def test_exactly_rounded_networks_of_every_backend(recurrent: bool, scale: float, backend) -> None:
    what = random_graphs(5, count=80, recurrent=recurrent, scale=scale, hidden=40)
    inputs = examples(what, 150)
    wanted = reference.forward(what, inputs, sweeps=4)
    assert np.array_equal(backend.forward(what, inputs, sweeps=4), wanted, equal_nan=True)
    assert (np.diff(what.links) == 0).any() and (what.slots == what.inputs + 1 + what.outputs).any()
    assert np.isfinite(wanted).all() != (scale > 1) and len(np.unique(wanted)) > 10


@pytest.mark.parametrize("recurrent", [False, True])
def test_networks_of_every_function_agree(recurrent: bool, backend) -> None:
    folds = tuple(name for name in AGGREGATION_NAMES if name != "product")
    what = random_graphs(6, count=80, recurrent=recurrent, functions=SMOOTH, folds=folds)
    inputs = examples(what, 150)
    wanted = reference.forward(what, inputs, sweeps=3)
    np.testing.assert_allclose(
        backend.forward(what, inputs, sweeps=3), wanted, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        backend.forward(what, inputs, sweeps=3, dtype="float32"), wanted, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("lanes", [1, 5, 70])
def test_steppers_agree_through_resets(lanes: int, recurrent: bool, dtype: str, backend) -> None:
    what = random_graphs(7, count=20, recurrent=recurrent, functions=SMOOTH, folds=("sum", "mean"))
    rng = np.random.default_rng(lanes)
    one, two = reference.Stepper(what, lanes), backend.Stepper(what, lanes, dtype)
    near = 1e-11 if dtype == "float64" else 1e-3
    assert one.memory.shape == two.memory.shape == (20, what.slots.max(), lanes)
    for time in range(8):
        inputs = rng.normal(size=(20, lanes, what.inputs))
        np.testing.assert_allclose(two.step(inputs), one.step(inputs), rtol=near, atol=near)
        np.testing.assert_allclose(two.memory, one.memory, rtol=near, atol=near)
        if time % 3 == 1:
            mask = rng.random((20, lanes)) < 0.5
            one.reset(mask)
            two.reset(mask)
            forgotten = np.broadcast_to(mask[:, None], one.memory.shape).copy()
            forgotten[:, : what.inputs + 1] = False
            assert not two.memory[forgotten].any()
    one.reset()
    two.reset()
    inputs = rng.normal(size=(20, lanes, what.inputs))
    np.testing.assert_allclose(two.step(inputs), one.step(inputs), rtol=near, atol=near)
    if recurrent:
        fresh = backend.Stepper(what, lanes, dtype)
        assert np.array_equal(fresh.step(inputs), (two.reset(), two.step(inputs))[1])


def test_many_sweeps_are_many_steps(backend) -> None:
    what = random_graphs(8, recurrent=True)
    inputs = examples(what, 20)
    stepper = backend.Stepper(what, 20)
    for _ in range(4):
        out = stepper.step(np.broadcast_to(inputs, (len(what), *inputs.shape)))
    assert np.array_equal(backend.forward(what, inputs, sweeps=4), out, equal_nan=True)


@pytest.mark.parametrize("recurrent", [False, True])
def test_one_network_at_a_time_is_the_same(recurrent: bool) -> None:
    """`activate`, which simulators call."""
    for functions in (ROUNDED, SMOOTH):
        what = random_graphs(9, count=30, recurrent=recurrent, functions=functions)
        stepper, rng = reference.Stepper(what, 1), np.random.default_rng(2)
        values = [np.zeros(slots) for slots in what.slots]
        scratch = np.full(what.slots.max(), np.nan)
        columns = (
            what.nodes,
            what.slot,
            what.activation,
            what.aggregation,
            what.links,
            what.source,
            what.weight,
        )
        for _ in range(5):
            inputs = rng.normal(size=(30, 1, what.inputs))
            wanted = stepper.step(inputs)[:, 0]
            for network, own in enumerate(values):
                own[: what.inputs], own[what.inputs] = inputs[network, 0], what.bias
                activation_kernels.activate(*columns, what.recurrent, network, own, scratch)
                got = own[what.inputs + 1 : what.inputs + 1 + what.outputs]
                np.testing.assert_allclose(
                    got,
                    wanted[network],
                    rtol=0 if functions == ROUNDED else 1e-11,
                    atol=0 if functions == ROUNDED else 1e-11,
                )


# Batches


def test_results_do_not_depend_on_order_batch_or_threads(backend) -> None:
    what = random_graphs(10, count=40, functions=SMOOTH)
    inputs = examples(what, 90)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(40), 2))
    for dtype in ("float64", "float32"):
        whole = backend.forward(what, inputs, dtype=dtype)
        assert np.array_equal(backend.forward(what, inputs, order, dtype), whole[order])
        assert np.array_equal(backend.forward(what, inputs[:1], dtype=dtype), whole[:, :1])
        assert np.array_equal(backend.forward(what.take(order), inputs, dtype=dtype), whole[order])
    assert backend.forward(what, inputs, np.array([], np.int64)).shape == (0, 90, what.outputs)
    assert backend.forward(what, inputs[:0]).shape == (40, 0, what.outputs)


def test_threads_share_networks() -> None:
    what = random_graphs(11, count=60, functions=SMOOTH, recurrent=True)
    inputs = examples(what, 200)
    wanted = numba.forward(what, inputs, sweeps=5)
    with ThreadPoolExecutor(4) as pool:
        parts = list(
            pool.map(
                lambda at: numba.forward(what, inputs, np.arange(at, 60, 4), sweeps=5), range(4)
            )
        )
    for at, part in enumerate(parts):
        assert np.array_equal(part, wanted[at::4])


def test_networks_larger_than_the_cache(backend) -> None:
    what = random_graphs(12, count=3, hidden=900)
    assert what.slots.max() > 400
    inputs = examples(what, 33)
    assert np.array_equal(
        backend.forward(what, inputs), reference.forward(what, inputs), equal_nan=True
    )


def test_taken_networks_are_theirs() -> None:
    what = random_graphs(13, count=9)
    at = np.array([4, 0, 4, 8])
    some = what.take(at)
    assert (some.inputs, some.outputs, some.bias, some.recurrent, len(some)) == (
        what.inputs,
        what.outputs,
        0.5,
        False,
        4,
    )
    for index, network in enumerate(at):
        rows, own = slice(*what.nodes[network : network + 2]), slice(*some.nodes[index : index + 2])
        assert some.slots[index] == what.slots[network]
        for name in ("slot", "activation", "aggregation"):
            assert np.array_equal(getattr(some, name)[own], getattr(what, name)[rows])
        links, mine = (
            slice(what.links[rows.start], what.links[rows.stop]),
            slice(some.links[own.start], some.links[own.stop]),
        )
        assert np.array_equal(some.source[mine], what.source[links]) and np.array_equal(
            some.weight[mine], what.weight[links]
        )
    assert len(what.take(np.array([], np.int64))) == 0


# CUDA


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("room", [1, 3, 40, 700])
def test_a_small_workspace_changes_nothing(
    room: int, recurrent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if found("g++") is None:
        pytest.skip("no g++: the backend's source cannot be compiled for the host")
    monkeypatch.setattr(cuda, "Device", HostDevice)
    what = random_graphs(14, recurrent=recurrent)
    inputs = examples(what, 35)
    wanted = reference.forward(what, inputs, sweeps=2)
    values = int(what.slots.max()) * 8 * (1 + recurrent)
    monkeypatch.setattr(HostDevice, "workspace", values * room)
    assert np.array_equal(cuda.forward(what, inputs, sweeps=2), wanted, equal_nan=True)
    monkeypatch.setattr(HostDevice, "workspace", values - 1)
    with pytest.raises(
        InputError,
        match=rf"backend cuda: a network of \d+ values takes {values:,} bytes and there is room "
        rf"for {values - 1:,}",
    ):
        cuda.forward(what, inputs)


@pytest.mark.parametrize("capability", ["80", "90"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_source_compiles_to_ptx(dtype: str, capability: str) -> None:
    text = graph_source(dtype)
    assert re.findall(r"case (\d+): return .*;  // (\w+)", text) == [
        (str(at), row.name) for rows in (ACTIVATIONS, AGGREGATIONS) for at, row in enumerate(rows)
    ]
    ptx = test_cuda.compiled(text, capability)
    assert f".target sm_{capability}" in ptx
    # without .rn the assembler may contract them
    assert not re.search(r"\b(add|sub|mul)\.f(32|64)", ptx)
    assert not re.search(r"\b(div|sqrt)\.(full|approx)", ptx)
    parameters = test_cuda.parameters(ptx)
    assert parameters == ["u64"] * 8 + ["u32"] * 8 + ["u64", "f64"] + ["u64"] * 4
