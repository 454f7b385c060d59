"""The tasks that networks of fixed weights are tried in: closed forms, backends, workers, failures,
and every bad input.
"""

import json
import math
import os
import subprocess
import sys
import time
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tomli_w
from command_line import evoml
from parts import class_of
from pyarrow import parquet

from evoml.commands.evaluate import evaluate
from evoml.commands.export import export
from evoml.commands.show import show
from evoml.config import build
from evoml.contracts.task import TrialResult
from evoml.core.errors import InputError
from evoml.core.registry import TRUSTED
from evoml.genotypes.population import CRASHED, DIVERGED, OK, TIMED_OUT
from evoml.phenotypes.activations import ACTIVATION_NAMES
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.search.open import open_search
from evoml.tasks import _trial_workers, double_pole, examples, function, gym, single_pole, xor

BACKENDS = ("numba", "reference")
SIGMOID, STEP, IDENTITY = (ACTIVATION_NAMES.index(name) for name in ("sigmoid", "step", "identity"))
Node = tuple[int, int, list[tuple[int, float]]]  # address, activation, links (source, weight)


def network(
    inputs: int, nodes: list[Node], bias: float = 1.0, recurrent: bool = False, outputs: int = 1
) -> NeuronGraphs:
    """One network of these nodes, which add up their links."""
    links = [link for *_, each in nodes for link in each]
    return NeuronGraphs(
        inputs, outputs, bias, recurrent,
        np.array([max([inputs + outputs, *(node[0] for node in nodes)]) + 1], np.int64),
        np.array([0, len(nodes)], np.int64), np.array([node[0] for node in nodes], np.int32),
        np.array([node[1] for node in nodes], np.uint8), np.zeros(len(nodes), np.uint8),
        np.cumsum([0, *(len(node[2]) for node in nodes)]).astype(np.int64),
        np.array([source for source, _ in links], np.int32),
        np.array([weight for _, weight in links], np.float64),
    )  # fmt: skip


def together(*graphs: NeuronGraphs) -> NeuronGraphs:
    """Networks of one shape as one batch."""
    first = graphs[0]
    ends = [
        np.concatenate(
            [[0], np.cumsum(np.concatenate([np.diff(getattr(each, name)) for each in graphs]))]
        )
        for name in ("nodes", "links")
    ]
    slots, slot, activation, aggregation, source, weight = (
        np.concatenate([getattr(each, name) for each in graphs])
        for name in ("slots", "slot", "activation", "aggregation", "source", "weight")
    )
    return NeuronGraphs(
        first.inputs,
        first.outputs,
        first.bias,
        first.recurrent,
        slots,
        ends[0],
        slot,
        activation,
        aggregation,
        ends[1],
        source,
        weight,
    )


def sampled(
    seed: int, count: int, inputs: int, outputs: int = 1, bias: float = 1.0, recurrent: bool = False
) -> NeuronGraphs:
    """Random sigmoid networks of up to three hidden nodes."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(count):
        hidden = [inputs + 1 + outputs + at for at in range(rng.integers(0, 4))]
        order = [*hidden, *(inputs + 1 + at for at in range(outputs))]
        nodes: list[Node] = []
        for at, slot in enumerate(order):
            pool = [*range(inputs + 1), *(order if recurrent else hidden[:at])]
            sources = rng.choice(pool, rng.integers(1, len(pool) + 1), replace=False)
            nodes.append(
                (slot, SIGMOID, [(int(source), 1.5 * rng.standard_normal()) for source in sources])
            )
        made.append(network(inputs, nodes, bias, recurrent, outputs))
    return together(*made)


def same(one: TrialResult, other: TrialResult) -> bool:
    return (
        np.array_equal(one.scores, other.scores, equal_nan=True)
        and np.array_equal(one.status, other.status)
        and one.steps == other.steps
    )


# exclusive or


OR, AND = 4, 5
SOLVED: list[Node] = [
    (OR, STEP, [(0, 1.0), (1, 1.0), (2, -0.5)]),
    (AND, STEP, [(0, 1.0), (1, 1.0), (2, -1.5)]),
    (3, STEP, [(OR, 1.0), (AND, -1.0), (2, -0.5)]),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_xor_solved_by_hand(backend: str, recurrent: bool) -> None:
    task = xor.XorTask(xor.Settings(), None, 0)
    graphs = network(2, SOLVED, recurrent=recurrent)
    search, select = (trials.run(graphs, backend) for trials in (task.search(0), task.select()))
    assert search.scores.tolist() == [[16.0, 1.0]] and select.scores.tolist() == [[1.0, 16.0]]
    assert search.status.tolist() == [OK] and search.steps == (20 if recurrent else 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_xor_of_a_constant_and_of_nonsense(backend: str) -> None:
    trials = xor.XorTask(xor.Settings(), None, 0).search(0)
    half, wild, nan = (network(2, [(3, IDENTITY, [(2, weight)])]) for weight in (0.5, -9.0, np.nan))
    out = trials.run(together(half, wild, nan), backend)
    # always 0.5: four errors of a half
    np.testing.assert_array_equal(out.scores, [[4.0, 0.5], [0.0, 0.5], [np.nan, np.nan]])
    assert out.status.tolist() == [OK, OK, DIVERGED]


def test_one_sweep_is_too_few_for_a_recurrent_network() -> None:
    trials = xor.XorTask(xor.Settings(sweeps=1), None, 0).select()
    assert trials.run(network(2, SOLVED, recurrent=True), "reference").scores[0, 0] == 0.5


# poles


def derivative(state: np.ndarray, force: float, friction: float) -> np.ndarray:
    """Accelerations from the balance of forces and torques, solved as a linear system instead of in
    closed form.

    Uniform rods of half-length l: (M + sum m) x'' + sum m l (a'' cos a - a'^2 sin a) = F -
    friction, 4/3 l a'' + x'' cos a = g sin a - p a' / (m l).
    """
    masses, halves = (0.1, 0.01), (0.5, 0.05)
    matrix, right = np.zeros((3, 3)), np.zeros(3)
    matrix[0, 0], right[0] = 1.0 + sum(masses), force - friction * np.sign(state[1])
    for at, (mass, half) in enumerate(zip(masses, halves, strict=True)):
        angle, rate = state[2 + 2 * at], state[3 + 2 * at]
        matrix[0, 1 + at] = mass * half * np.cos(angle)
        right[0] += mass * half * rate**2 * np.sin(angle)
        matrix[1 + at, 0], matrix[1 + at, 1 + at] = np.cos(angle), 4 / 3 * half
        right[1 + at] = 9.8 * np.sin(angle) - 2e-6 * rate / (mass * half)
    cart, long, short = np.linalg.solve(matrix, right)
    return np.array([state[1], cart, state[3], long, state[5], short])


def states(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 6)) * [2.4, 2.0, 0.6, 2.0, 0.6, 2.0]


@pytest.mark.parametrize("friction", [True, False])
def test_accelerations_of_two_poles_balance_forces_and_torques(friction: bool) -> None:
    from evoml.tasks import _poles

    constants = double_pole.constants(double_pole.Settings(cart_friction=friction))
    forces = np.random.default_rng(2).uniform(-10, 10, 200)
    for state, force in zip(states(200), forces, strict=True):
        wanted = derivative(state, force, 5e-4 if friction else 0.0)
        np.testing.assert_allclose(
            double_pole.derivative(state, np.array(force), constants),
            wanted,
            rtol=1e-11,
            atol=1e-11,
        )
        np.testing.assert_allclose(
            _poles.two_poles(force, *state[1:], constants), wanted[1::2], rtol=1e-11, atol=1e-11
        )


def test_a_step_is_runge_kutta() -> None:
    from evoml.tasks import _poles

    constants = double_pole.constants(double_pole.Settings())
    for state in states(50):
        k1 = derivative(state, 7.0, 5e-4)
        k2 = derivative(state + 0.005 * k1, 7.0, 5e-4)
        k3 = derivative(state + 0.005 * k2, 7.0, 5e-4)
        k4 = derivative(state + 0.01 * k3, 7.0, 5e-4)
        wanted = state + 0.01 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        np.testing.assert_allclose(
            double_pole.after(state, np.array(7.0), constants), wanted, rtol=1e-12, atol=1e-13
        )
        np.testing.assert_allclose(
            _poles.runge_kutta(*state, 7.0, 0.01, constants), wanted, rtol=1e-12, atol=1e-13
        )


def test_energy_is_kept_without_friction_and_force() -> None:
    constants = (-9.8, 1.0, 0.1, 0.01, 0.5, 0.05, 0.0, 0.0)

    def energy(state: np.ndarray) -> float:
        kinetic, potential = 0.5 * state[1] ** 2, 0.0
        for at, (mass, half) in enumerate(((0.1, 0.5), (0.01, 0.05))):
            angle, rate = state[2 + 2 * at], state[3 + 2 * at]
            kinetic += (
                0.5
                * mass
                * (
                    state[1] ** 2
                    + 2 * state[1] * half * rate * np.cos(angle)
                    + 4 / 3 * half**2 * rate**2
                )
            )
            potential += mass * 9.8 * half * np.cos(angle)
        return kinetic + potential

    state = np.array([0.0, 0.3, 0.1, 0.0, -0.1, 0.2])
    before = energy(state)
    for _ in range(20):
        state = double_pole.after(state, np.array(0.0), constants, 0.001)
    assert abs(energy(state) - before) < 1e-12 and abs(state[2] - 0.1) > 1e-4


def test_sine_and_cosine() -> None:
    from evoml.tasks import _poles

    for angle in [*np.linspace(-2, 2, 4001), 0.0, np.pi / 4, -np.pi / 4]:
        np.testing.assert_allclose(
            _poles.sine_cosine(angle), [np.sin(angle), np.cos(angle)], rtol=0, atol=2.3e-16
        )
    assert np.isnan(_poles.sine_cosine(np.nan)).all()


def gains() -> np.ndarray:
    """Feedback gains [6] that balance both poles: the linear-quadratic regulator of the linearised
    step.
    """
    constants = double_pole.constants(double_pole.Settings(cart_friction=False))

    def step(state: np.ndarray, force: float) -> np.ndarray:
        return double_pole.after(
            double_pole.after(state, np.array(force), constants), np.array(force), constants
        )

    zero, small = np.zeros(6), 1e-6
    a = np.stack(
        [(step(small * unit, 0.0) - step(-small * unit, 0.0)) / (2 * small) for unit in np.eye(6)],
        1,
    )
    b = ((step(zero, small) - step(zero, -small)) / (2 * small))[:, None]
    cost, gain = np.eye(6), np.zeros((1, 6))
    for _ in range(3000):
        gain = np.linalg.solve(0.1 + b.T @ cost @ b, b.T @ cost @ a)
        cost = np.eye(6) + a.T @ cost @ (a - b @ gain)
    return gain[0]


def balancer(velocities: bool) -> NeuronGraphs:
    """A network that balances: one node, or with a memory of the last inputs, of which it takes the
    differences.
    """
    # the slope of 20 (sigmoid - 0.5) at zero
    weights = -gains() * double_pole.SENSES / (20 * 4.9 / 4)
    if velocities:
        return network(6, [(7, SIGMOID, list(enumerate(weights)))], 0.5)
    places = weights[::2]
    differences = weights[1::2] / double_pole.SENSES[1::2] * double_pole.SENSES[::2] / 0.02
    remembered: list[Node] = [(5 + at, IDENTITY, [(at, 1.0)]) for at in range(3)]
    return network(
        3,
        [
            (
                4,
                SIGMOID,
                [
                    *enumerate(places + differences),
                    *((5 + at, -each) for at, each in enumerate(differences)),
                ],
            ),
            *remembered,
        ],
        recurrent=True,
    )


def idle(inputs: int, bias: float, recurrent: bool = False) -> NeuronGraphs:
    """A network that always answers 0.5: no force."""
    return network(inputs, [(inputs + 1, SIGMOID, [(inputs, 0.0)])], bias, recurrent)


@pytest.mark.parametrize("backend", BACKENDS)
def test_poles_left_alone_fall(backend: str) -> None:
    task = double_pole.DoublePoleTask(double_pole.Settings(), None, 0)
    out = task.search(0).run(idle(6, task.bias), backend)
    assert 20 < out.scores[0, 0] < 100 and out.steps == out.scores[0, 0] + 1
    one = single_pole.SinglePoleTask(single_pole.Settings(starts=1), None, 0)
    trials = one.search(0)
    trials.starts = np.array([[0.0, 0.0, 0.05, 0.0]])
    steps = trials.run(idle(4, 1.0), backend).scores[0, 0]
    # Without a force on the cart the angle grows as cosh(k t), k^2 = g / (l (4/3 - m / (M + m))),
    # while sin and cos are straight.
    rate = np.sqrt(9.8 / (0.5 * (4 / 3 - 0.1 / 1.1)))
    assert abs(steps * 0.02 - np.arccosh(single_pole.FALLEN / 0.05) / rate) < 0.06


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_regulator_balances_two_poles(backend: str) -> None:
    most = 100_000 if backend == "numba" else 1500
    task = double_pole.DoublePoleTask(double_pole.Settings(steps=most), None, 0)
    assert (task.inputs, task.outputs, task.bias) == (6, 1, 0.5)
    out = task.select().run(balancer(True), backend)
    assert (
        out.scores.tolist() == [[most]] and out.steps == most and task.select().names == ("steps",)
    )


def test_a_regulator_with_memory_balances_two_poles_and_generalises() -> None:
    task = double_pole.DoublePoleTask(double_pole.Settings(velocities=False), None, 0)
    assert (task.inputs, task.bias) == (3, 1.0)
    graphs = together(balancer(False), idle(3, 1.0, recurrent=True))
    one, two = (task.select().run(graphs, "numba", workers) for workers in (1, 2))
    assert same(one, two) and task.select().names == ("generalisation", "steps")
    assert one.scores[0, 1] == 100_000 and 400 < one.scores[0, 0] <= 625
    assert one.scores[1, 0] == 0 and one.scores[1, 1] < 100


def test_fitness_without_velocities_is_gruaus() -> None:
    task = double_pole.DoublePoleTask(double_pole.Settings(velocities=False), None, 0)
    graphs = together(balancer(False), idle(3, 1.0, recurrent=True))
    numba, reference = (task.search(0).run(graphs, backend) for backend in BACKENDS)
    np.testing.assert_allclose(numba.scores, reference.scores, rtol=1e-9)
    seen: list[np.ndarray] = []  # the regulator's own states, told step by step
    trials = task.search(0)
    double_pole.run_episodes(
        graphs.take(np.array([0])),
        "reference",
        trials.start,
        1000,
        trials._dynamics(),
        lambda up, step, states: seen.append(states[0, 0].copy()),
    )
    assert numba.scores[0, 1] == len(seen) == 1000
    assert numba.scores[0, 0] == pytest.approx(
        0.1 + 0.9 * 0.75 / np.abs(np.array(seen)[-100:, :4]).sum(), rel=1e-9
    )
    assert numba.scores[1, 1] < 100 and numba.scores[1, 0] == pytest.approx(
        0.1 * numba.scores[1, 1] / 1000
    )


def test_the_625_starts() -> None:
    grid = double_pole.grid()
    assert (
        grid.shape == (625, 6) and len(np.unique(grid, axis=0)) == 625 and (grid[:, 4:] == 0).all()
    )
    np.testing.assert_allclose(
        np.abs(grid).max(0)[:4], [0.9 * 2.16, 0.9 * 1.35, 0.9 * 0.06283, 0.9 * 0.15010], rtol=1e-4
    )
    assert (np.abs(grid).sum(1) == 0).sum() == 1


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("velocities", [False, True])
def test_backends_agree_on_poles(velocities: bool, recurrent: bool) -> None:
    two = double_pole.DoublePoleTask(
        double_pole.Settings(velocities=velocities, fitness_steps=300, steps=300), None, 0
    )
    graphs = sampled(3, 200, two.inputs, 1, two.bias, recurrent)
    tasks = [(two, graphs)]
    for force in ("continuous", "bang"):
        one = single_pole.SinglePoleTask(
            single_pole.Settings(velocities=velocities, force=force, steps=200), None, 5
        )
        tasks.append((one, sampled(4, 100, one.inputs, 1, one.bias, recurrent)))
    for task, graphs in tasks:
        trials = task.search(0)
        numba, threads, reference = (
            trials.run(graphs, "numba"),
            trials.run(graphs, "numba", 2),
            trials.run(graphs, "reference"),
        )
        assert same(numba, threads) and numba.steps == reference.steps and trials.names
        np.testing.assert_allclose(numba.scores, reference.scores, rtol=1e-9, atol=0)
        assert len(np.unique(numba.scores[:, 0])) > 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_that_answers_nan_fails_at_once(backend: str) -> None:
    task = double_pole.DoublePoleTask(double_pole.Settings(), None, 0)
    out = task.search(0).run(
        together(
            network(6, [(7, IDENTITY, [(6, np.nan)])], 0.5),
            network(6, [(7, IDENTITY, [(6, 1e9)])], 0.5),
        ),
        backend,
    )
    assert out.scores[0] == 0 and out.scores[1] > 0 and out.status.tolist() == [OK, OK]


def test_starts_of_one_pole_differ_between_search_selection_and_test() -> None:
    task, again, other = (
        single_pole.SinglePoleTask(single_pole.Settings(), None, seed) for seed in (0, 0, 1)
    )
    sets = [
        task.search(0).starts,
        task.search(1).starts,
        task.select().starts,
        task.test().starts,
        other.search(0).starts,
    ]
    assert (
        len({each.tobytes() for each in sets}) == 5
        and task.test().starts.tobytes() == again.test().starts.tobytes()
    )
    assert all((np.abs(each) <= 0.25 * single_pole.SCALES).all() for each in sets)


def test_no_networks_at_all() -> None:
    nothing = sampled(0, 1, 6, 1, 0.5).take(np.array([], np.int64))
    for backend in BACKENDS:
        assert double_pole.DoublePoleTask(double_pole.Settings(), None, 0).search(0).run(
            nothing, backend, 2
        ).scores.shape == (0, 1)


def test_networks_of_another_size_are_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"^space: the network has 3 inputs and 1 output, the task 6 inputs and 1 output; ",
    ):
        double_pole.DoublePoleTask(double_pole.Settings(), None, 0).search(0).run(
            idle(3, 1.0), "numba"
        )


@pytest.mark.parametrize("module", [xor, double_pole, single_pole, gym])
def test_data_is_refused(module: object) -> None:
    with pytest.raises(InputError, match=r"^data: x\.csv: this task has no use for data"):
        class_of(module)(module.Settings(), Path("x.csv"), 0)  # type: ignore[attr-defined]


# examples


def table(folder: Path, suffix: str = ".csv", rows: int = 60, **columns: object) -> Path:
    """A table of two inputs and a target, or of these columns."""
    rng = np.random.default_rng(0)
    values: dict[str, object] = {"a": rng.normal(5, 3, rows), "b": rng.normal(0, 1, rows)}
    values |= columns or {"t": 2 * np.asarray(values["a"]) + 1}
    path = folder / f"table{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.table(values), path)
    elif suffix == ".npz":
        np.savez(path, inputs=np.stack([values["a"], values["b"]], 1), targets=values["t"])
    else:
        names, lists = zip(*((name, list(column)) for name, column in values.items()), strict=True)
        path.write_text(
            "\n".join(
                [
                    ",".join(names),
                    *(
                        ",".join("" if each is None else str(each) for each in row)
                        for row in zip(*lists, strict=True)
                    ),
                ]
            )
            + "\n"
        )
    return path


def learn(path: Path | None, **values: object) -> examples.ExamplesTask:
    return examples.ExamplesTask(examples.Settings.read(values, "task"), path, 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_a_linear_target_is_learnt_by_hand(tmp_path: Path, suffix: str, backend: str) -> None:
    task = learn(table(tmp_path, suffix))
    assert (task.inputs, task.outputs, task.classes) == (2, 1, ()) and task.search(0).names == (
        "fitness",
        "mean_squared_error",
    )
    slope = 2 * task.deviation[0] / task.scale[0]
    shift = (2 * task.mean[0] + 1 - task.offset[0]) / task.scale[0]
    graphs = together(
        network(2, [(3, IDENTITY, [(0, slope), (2, shift)])]),
        network(2, [(3, IDENTITY, [(2, task.y[task._parts[0]].mean())])]),
    )
    search, test = task.search(0).run(graphs, backend), task.test().run(graphs, backend)
    variance = float(np.var((task.offset + task.scale * task.y)[task._parts[0]]))
    # the mean's squared error is the variance
    np.testing.assert_allclose(search.scores, [[1.0, 0.0], [0.5, variance]], atol=1e-9)
    assert test.scores[0, 0] == pytest.approx(1.0) and test.scores[1, 0] < 0.8
    assert search.steps == 2 * 36 and test.steps == 2 * 12
    rows = np.concatenate(task._parts)
    assert sorted(rows.tolist()) == list(range(60)) and [len(part) for part in task._parts] == [
        36,
        12,
        12,
    ]
    train = task.x[task._parts[0]]
    np.testing.assert_allclose([train.mean(0), train.std(0)], [[0, 0], [1, 1]], atol=1e-12)
    np.testing.assert_allclose(
        [task.y[task._parts[0]].mean(), task.y[task._parts[0]].std()], [0, 1], atol=1e-12
    )
    ranged = learn(table(tmp_path, suffix), scaling="range")
    assert (task.output, ranged.output) == ("identity", "sigmoid")
    np.testing.assert_allclose(
        [ranged.y[task._parts[0]].min(), ranged.y[task._parts[0]].max()], [0.1, 0.9]
    )
    flat = network(2, [(3, IDENTITY, [(2, ranged.y[task._parts[0]].mean())])])
    # in the target's unit, however it is scaled
    np.testing.assert_allclose(ranged.search(0).run(flat, backend).scores, [[0.5, variance]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_classes_by_name_and_by_number(tmp_path: Path, backend: str) -> None:
    sign = np.random.default_rng(0).normal(5, 3, 60) > 5
    two = learn(table(tmp_path, t=np.where(sign, "yes", "no")))
    assert two.classes == ("no", "yes") and two.outputs == 1 and two.select().names[0] == "accuracy"
    threshold = (5 - two.mean[0]) / two.deviation[0]
    graphs = network(2, [(3, STEP, [(0, 1.0), (2, -threshold)])])
    assert two.test().run(graphs, backend).scores.tolist() == [[1.0, 1.0]] and two.search(0).run(
        graphs, backend
    ).scores.tolist() == [[1.0, 1.0]]
    three = learn(table(tmp_path, t=np.arange(60) % 3))
    assert three.classes == ("0", "1", "2") and three.outputs == 3
    always = network(2, [(3 + at, IDENTITY, [(2, float(at == 1))]) for at in range(3)], outputs=3)
    assert three.test().run(always, backend).scores[0].tolist() == pytest.approx(
        [1 / 3, 1 - 2 / 3 * 2 / 3]
    )
    assert [np.bincount(three.labels[part]).tolist() for part in three._parts] == [
        [12] * 3,
        [4] * 3,
        [4] * 3,
    ]
    assert learn(table(tmp_path, t=np.arange(60) % 3), kind="regression").outputs == 1
    assert learn(table(tmp_path, t=np.arange(60))).classes == ()  # whole numbers, but none twice


def test_targets_by_name_and_several_of_them(tmp_path: Path) -> None:
    path = table(tmp_path, t=np.arange(60.0), u=np.arange(60.0) ** 2)
    task = learn(path, target="a")
    assert task.targets == ("a",) and task.columns == ("b", "t", "u")
    both = learn(path, target="t, u")
    assert (both.inputs, both.outputs) == (2, 2) and both.columns == ("a", "b")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_workers_and_backends_agree_on_examples(tmp_path: Path, dtype: str) -> None:
    task = learn(table(tmp_path), dtype=dtype)
    for recurrent in (False, True):
        graphs = sampled(1, 50, 2, recurrent=recurrent)
        one, two, reference = (
            task.search(0).run(graphs, *how)
            for how in (("numba", 1), ("numba", 2), ("reference", 1))
        )
        assert same(one, two) and one.steps == reference.steps == 50 * 36 * (5 if recurrent else 1)
        np.testing.assert_allclose(
            one.scores, reference.scores, rtol=1e-9 if dtype == "float64" else 1e-5
        )


def test_an_output_that_is_no_number_diverges(tmp_path: Path) -> None:
    for values in ({}, {"t": np.arange(60) % 3}):
        task = learn(table(tmp_path, **values))
        graphs = network(
            2,
            [(3 + at, IDENTITY, [(2, np.nan if at == 0 else 1.0)]) for at in range(task.outputs)],
            outputs=task.outputs,
        )
        for trials in (task.search(0), task.test()):
            out = trials.run(graphs, "numba")
            assert np.isnan(out.scores).all() and out.status.tolist() == [DIVERGED]


def test_several_targets_have_an_error_each_in_their_own_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    t, u = rng.normal(0, 1, 60), rng.normal(1000, 300, 60)
    task = learn(table(tmp_path, t=t, u=u), target="t,u")
    trials = task.test()
    errors = ("mean_squared_error_of_t", "mean_squared_error_of_u")
    assert trials.names == ("fitness", *errors, "r2", "rmse_of_t", "rmse_of_u")
    zero = network(2, [(3, IDENTITY, [(2, 0.0)]), (4, IDENTITY, [(2, 0.0)])], outputs=2)
    test, train = task._parts[2], task._parts[0]
    expected = [((each[test] - each[train].mean()) ** 2).mean() for each in (t, u)]
    scores = trials.run(zero, "reference").scores[0]
    np.testing.assert_allclose(scores[1:3], expected, rtol=1e-9)
    np.testing.assert_allclose(scores[4:], np.sqrt(expected), rtol=1e-9)
    explained = [1 - error / each[test].var() for error, each in zip(expected, (t, u), strict=True)]
    assert scores[3] == pytest.approx(np.mean(explained))


@pytest.mark.parametrize("classes", [False, True])
def test_textbook_methods_stand_beside_a_network(tmp_path: Path, classes: bool) -> None:
    """On a line and on two halves of a plane: all but the dullest method are good, and scores are
    those of scikit-learn.
    """
    x = np.random.default_rng(0).normal(size=(200, 2))
    line = 100 + 3 * x[:, 0] - 2 * x[:, 1]
    y = (line > 100).astype(int) if classes else line
    np.savez(tmp_path / "table.npz", inputs=x, targets=y)
    task = examples.ExamplesTask(examples.Settings(), tmp_path / "table.npz", 0)
    found, test = task.baselines(), task.test()
    if classes:
        assert next(iter(found)) == "majority class" and len(found) == 4
        share = max((test.labels == label).mean() for label in (0, 1))
        assert (
            found["majority class"]["accuracy"] == share < found["logistic regression"]["accuracy"]
        )
        return
    dull, linear = found["mean"], found["linear regression"]
    assert abs(dull["r2"]) < 0.1 and linear["r2"] == pytest.approx(1) and linear["rmse"] < 1e-9
    assert dull["rmse"] == pytest.approx(dull["mean_squared_error"] ** 0.5)
    target = test.y * task.scale + task.offset
    learned = np.concatenate(task._parts[:2])
    error = target - (task.y[learned] * task.scale + task.offset).mean()
    assert dull["r2"] == pytest.approx(1 - (error**2).mean() / target.var())
    assert test.names == ("fitness", "mean_squared_error", "r2", "rmse")
    assert task.select().names == ("fitness", "mean_squared_error")


def test_units_say_what_inputs_and_outputs_are(tmp_path: Path) -> None:
    two = learn(table(tmp_path, t=[["no", "yes"][at % 2] for at in range(60)])).units
    assert (
        two.columns == ("a", "b")
        and two.classes == ("no", "yes")
        and two.words()[-1] == "t: yes where y0 > 0.5, else no"
    )
    assert two.words()[0].startswith("x0 = (a - ")
    three = learn(table(tmp_path, t=np.arange(60) % 3)).units
    assert (
        three.classes == (0, 1, 2)
        and three.words()[-1]
        == "t: the class of the largest output, 0 where y0, 1 where y1, 2 where y2"
    )
    task = learn(table(tmp_path))
    assert (
        task.units.words()[-1] == f"t = {task.offset[0]:.6g} + {task.scale[0]:.6g} y0"
        and task.units.classes == ()
    )
    assert three.words(1)[1:2] == ["and so on, to x1 of b"]


def test_a_constant_input_is_zero(tmp_path: Path) -> None:
    task = learn(table(tmp_path, c=np.full(60, 7.5), t=np.arange(60.0)))
    assert (task.x[:, 2] == 0).all() and task.deviation[2] == 1


HOLES = [1.0, None, *np.arange(58.0)]
BAD_TABLES: list[tuple[dict[str, object], dict[str, object], str]] = [
    ({}, {"target": "tt"}, r"table\.csv: target: no column 'tt'; did you mean t\?"),
    ({}, {"target": "zzz"}, r"table\.csv: target: no column 'zzz'; there are a, b, t"),
    ({}, {"target": "a,b,t"}, r"no columns but the target's \(a, b, t\)"),
    (
        {},
        {"kind": "classification", "target": "a,b"},
        r"2 targets \(a, b\); classification has one",
    ),
    (
        {"hole": HOLES, "t": np.arange(60.0)},
        {},
        r"column hole: no value in row 1 of the data \(1 such row\); fill it with task\.missing",
    ),
    ({"t": HOLES}, {}, r"column t: no value in row 1"),
    ({"t": ["inf", *np.arange(59.0)]}, {}, r"column t: inf in row 0"),
    ({"t": [None, *["x", "y"] * 29, "x"]}, {}, r"column t: no value in row 0 of the data"),
    ({"t": ["same"] * 60}, {}, r"column t: 1 class; there must be 2 to 1000"),
    (
        {"t": np.full(60, 2.5)},
        {},
        r"column t: 2.5 in every example of the training part; nothing to learn",
    ),
    ({"t": ["rare"] * 2 + ["often"] * 58}, {}, r"class rare: 2 examples; 3 are needed"),
    ({}, {"valid": 0.5, "test": 0.6}, r"task\.test: 0\.6: with 0\.5 for selection nothing is left"),
]


@pytest.mark.parametrize(("columns", "values", "message"), BAD_TABLES)
def test_bad_tables(
    tmp_path: Path, columns: dict[str, object], values: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        learn(table(tmp_path, **columns), **values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", None, r"x\.csv: no such file"),
        ("x.npz", None, r"x\.npz: no such file"),
        ("x.parquet", None, r"x\.parquet: no such file"),
        ("x.txt", b"a,b\n1,2\n", r"x\.txt: not a table; give a \.npz, \.csv or \.parquet file"),
        ("x.csv", b"", r"x\.csv: cannot be read as csv"),
        ("x.csv", b"a,b\n", r"x\.csv: no rows"),
        ("x.csv", b"a,b\n1,2,3\n", r"x\.csv: cannot be read as csv"),
        ("x.csv", b"a,a\n1,2\n", r"x\.csv: two columns 'a'"),
        ("x.csv", b"a,b\n1,2.5\n2,3.5\n", r"x\.csv: 2 examples; 3 are needed"),
        (
            "x.npz",
            b"rubbish",
            r"x\.npz: damaged, or not an \.npz of plain arrays; there must be inputs",
        ),
        ("x.parquet", b"rubbish", r"x\.parquet: cannot be read as parquet"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        learn(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"inputs": np.zeros((5, 2))}, r"no array targets; there must be inputs \[n, columns\]"),
        ({"y": np.zeros(5)}, r"no array inputs"),
        ({"x": np.zeros(5), "y": np.zeros(5)}, r"inputs: float64 of shape \[5\]"),
        ({"x": np.zeros((5, 2)), "y": np.zeros(4)}, r"targets: float64 of shape \[4\]"),
        (
            {"x": np.full((5, 2), np.nan), "y": np.arange(5.0)},
            r"column inputs\[0\]: no value in row 0",
        ),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        learn(tmp_path / "x.npz")


def test_examples_need_data_and_an_npz_takes_no_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data: task examples has none of its own"):
        learn(None)
    with pytest.raises(InputError, match=r"target: 't'; an \.npz has no names of columns"):
        learn(table(tmp_path, ".npz"), target="t")


# a function of the user's


MODULE = """
import os, sys, time
print("printing is no answer")

def fitness(network):
    return -abs(network([[1.0, 2.0]])[0, 0] - 3.0)

def shapes(network):
    import numpy as np
    assert network([1.0, 2.0]).shape == (1,) and network(np.ones((4, 5, 2))).shape == (4, 5, 1)
    return network.inputs + network.outputs

def memory(network):
    first, second = network([1.0, 0.0])[0], network([1.0, 0.0])[0]
    network.reset()
    return 100 * first + 10 * second + network([1.0, 0.0])[0]

def exits(network):
    sys.exit("enough")

def asks(network):
    return float(input())

def base(network):
    raise KeyboardInterrupt

def talks(network):
    raise ValueError("one\\n\\x1b[31mtwo " + 200 * "x")

def unspeakable(network):
    class Silent(Exception):
        def __str__(self): raise TypeError
    raise Silent

def falls(network):
    import signal
    os.kill(os.getpid(), signal.SIGSEGV)

def dies(network):
    print("too bad", flush=True)
    os._exit(3)

def pid(network):
    return os.getpid()

def never(network):
    with open("pid", "w") as file:
        file.write(str(os.getpid()))
    while True:
        pass

def picky(network):
    value = network([0.0, 0.0])[0]
    if value == 1: raise ValueError("one\\nis not right")
    if value == 2: os._exit(3)
    if value == 3: time.sleep(1000)
    if value == 4: return float("nan")
    if value == 5: return "much"
    if value == 6: return network([1.0])
    return value

constant = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nowhere_at_all\n")
    (tmp_path / "raising.py").write_text("raise ValueError('not\\ntoday')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TRUSTED, os.pathsep.join(["mine", "broken", "raising", "yours"]))
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    )


def call(
    name: str,
    graphs: NeuronGraphs,
    backend: str = "reference",
    workers: int = 1,
    timeout: float = 60.0,
) -> tuple[TrialResult, str]:
    values = {
        "path": name if ":" in name else f"mine:{name}",
        "inputs": 2,
        "outputs": 1,
        "timeout": timeout,
    }
    trials = function.FunctionTask(function.Settings.read(values, "task"), None, 0).search(0)
    try:
        return trials.run(graphs, backend, workers), trials.failure
    finally:
        trials.close()


def constants(*values: float) -> NeuronGraphs:
    return together(*(network(2, [(3, IDENTITY, [(2, value)])]) for value in values))


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_gets_networks(backend: str) -> None:
    out, failure = call(
        "fitness",
        together(network(2, [(3, IDENTITY, [(0, 1.0), (1, 1.0)])]), *([constants(0.5)] * 5)),
        backend,
        2,
    )
    assert out.scores[:, 0].tolist() == [0.0] + [-2.5] * 5 and out.steps == 6 and not failure
    assert call("shapes", constants(1.0), backend)[0].scores.tolist() == [[3.0]]
    remembers = network(2, [(3, IDENTITY, [(0, 1.0), (3, 1.0)])], recurrent=True)
    assert call("memory", remembers, backend)[0].scores.tolist() == [[121.0]]


WHOLE = """
def ranks(networks):
    values = [float(network([1.0])[0]) for network in networks]
    return [sorted(values).index(value) for value in values]

def wrong(networks):
    return [0.0]
"""


@pytest.mark.parametrize("workers", [1, 3])
def test_a_function_may_be_given_a_whole_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Its answer is the rank among all of them, whatever the number of workers."""
    (tmp_path / "of_all_networks.py").write_text(WHOLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(TRUSTED, "of_all_networks")
    values = (3.0, 1.0, 4.0, 2.0)
    graphs = together(*(network(1, [(2, IDENTITY, [(1, value)])]) for value in values))

    def tried(name: str) -> function.Function:
        path = f"of_all_networks:{name}"
        return function.Function(function.Settings(path=path, inputs=1, outputs=1, whole=True))

    trials = tried("ranks")
    out = trials.run(graphs, "reference", workers)
    trials.close()
    assert out.scores[:, 0].tolist() == [2, 0, 3, 1] and (out.status == OK).all()
    trials = tried("wrong")
    out = trials.run(graphs, "reference", workers)
    trials.close()
    assert (out.status == CRASHED).all() and "[1] numbers for 4 networks" in trials.failure


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_function_that_fails_costs_that_network_only(workers: int) -> None:
    began = time.monotonic()
    out, failure = call("picky", constants(0, 1, 2, 3, 4, 5, 6, 7), workers=workers, timeout=2.0)
    assert out.status.tolist() == [OK, CRASHED, CRASHED, TIMED_OUT, DIVERGED, CRASHED, CRASHED, OK]
    np.testing.assert_array_equal(out.scores[:, 0], [0, *[np.nan] * 6, 7])
    # the sleeper was not waited for
    assert failure and "\n" not in failure and time.monotonic() - began < 500


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("exits", "SystemExit: enough"),
        ("asks", "EOFError: EOF when reading a line"),
        ("base", "KeyboardInterrupt"),
        ("talks", "ValueError: one ?[31mtwo " + 132 * "x" + "..."),
        ("unspeakable", "Silent"),
        (
            "falls",
            "its process ended (killed by signal 11, Segmentation fault: printing is no answer)",
        ),
        ("dies", "its process ended (exit status 3: too bad)"),
    ],
)
def test_the_first_failure_is_told(name: str, says: str) -> None:
    out, failure = call(name, constants(1, 2, 3), workers=2)
    assert out.status.tolist() == [CRASHED] * 3 and failure == says and len(failure) <= 160


@pytest.mark.usefixtures("module")
def test_the_first_failure_is_that_of_the_first_network() -> None:
    for workers in (1, 2):
        assert call("picky", constants(0, 2, 1, 4), workers=workers)[1].startswith(
            "its process ended (exit status 3"
        )
        assert call("picky", constants(0, 4, 1, 2), workers=workers)[1] == "it returned nan"


@pytest.mark.usefixtures("module")
def test_what_raises_or_ends_its_process_needs_no_other_start() -> None:
    """One that raises stays; one that ends is followed by a child of the same process."""
    trials = function.FunctionTask(
        function.Settings(path="mine:picky", inputs=2, outputs=1), None, 0
    ).search(0)
    trials.check("reference", 1)
    assert trials._pool is not None
    (before,) = trials._pool.processes
    told: list[tuple[int, int]] = []
    trials.watch = lambda tried, failed: told.append((tried, failed))
    out = trials.run(constants(0, 2, 1, 2, 6, 5, 7), "reference", 1)
    assert out.status.tolist() == [OK, *[CRASHED] * 5, OK] and trials._pool.processes == [before]
    assert all(tried <= 7 and failed <= tried for tried, failed in told)
    trials.close()


@pytest.mark.usefixtures("module")
def test_progress_is_told_while_networks_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trial_workers, "REPORT_EVERY", -1.0)
    trials = function.FunctionTask(
        function.Settings(path="mine:picky", inputs=2, outputs=1), None, 0
    ).search(0)
    told: list[tuple[int, int]] = []
    trials.watch = lambda tried, failed: told.append((tried, failed))
    trials.run(constants(0, 1, 7, 1), "reference", 1)
    trials.close()
    assert told[0] == (0, 0) and told[-1] == (4, 2) and told == sorted(told)


@pytest.mark.usefixtures("module")
@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a process ends when it next reads its input"
)
def test_a_process_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "from evoml.tasks import function; import numpy as np; from evoml.phenotypes.neuron_graphs "
        "import NeuronGraphs\n"
        "one, some = np.array([0, 1]), np.zeros(1, np.int32)\n"
        "net = NeuronGraphs(2, 1, 1.0, False, np.array([4]), one, some + 3, some.astype(np.uint8), "
        "some.astype(np.uint8), one, some, np.ones(1))\n"
        "function.FunctionTask(function.Settings(path='mine:never', inputs=2, outputs=1), None, "
        "0).search(0).run(net, 'reference')"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert parent.poll() is None
            time.sleep(0.05)
        child = int((tmp_path / "pid").read_text())
        parent.terminate()
    deadline = time.monotonic() + 60
    while (
        Path(f"/proc/{child}").exists()
        and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.usefixtures("module")
def test_a_function_that_is_not_there_leaves_no_run(tmp_path: Path) -> None:
    layer = {"system": "neat", "task": {"name": "function:mine:nosuch", "inputs": 2, "outputs": 1}}
    search = open_search(build(("test", layer)), tmp_path / "run")
    with pytest.raises(
        InputError, match=r"^task\.path: mine:nosuch: no function nosuch in module mine$"
    ):
        search.create()
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("module")
def test_a_search_of_failures_says_why_and_its_events_are_json(tmp_path: Path) -> None:
    about = {"name": "function:mine:exits", "inputs": 2, "outputs": 1}
    layer = {
        "system": "neat",
        "task": about,
        "strategy": {"population": 4},
        "search": {"budget": 8},
        "backend": "reference",
        "workers": 1,
    }
    search = open_search(build(("test", layer)), tmp_path / "run")
    search.create()
    search.prepare()
    shown: list[Any] = []
    assert search.run(shown.append).best is None and len(shown) == 2

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    events = [
        json.loads(line, parse_constant=refuse)
        for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    ]
    assert [each for each in events if each["event"] == "failure"] == [
        {"event": "failure", "generation": 1, "evaluations": 4, "text": "SystemExit: enough"}
    ]
    assert (
        json.loads((tmp_path / "run" / "result.json").read_text(), parse_constant=refuse)["best"]
        is None
    )
    line = (
        r"run: nothing was selected, since no network could be scored; the first that failed: "
        r"SystemExit: enough$"
    )
    for command in (
        lambda: show(tmp_path / "run", 1, False),
        lambda: evaluate(tmp_path / "run", None, None, None, None, [], False),
        lambda: export(tmp_path / "run", "python", None, None, None),
    ):
        with pytest.raises(InputError, match=line):
            command()


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mine:fitnes", r"^task\.path: mine:fitnes: no function fitnes in module mine$"),
        ("mine:constant", r"^task\.path: mine:constant: not a function$"),
        (
            "yours:fitness",
            (
                r"^task\.path: yours:fitness: no module yours on Python's path or in the current "
                r"folder$"
            ),
        ),
        (
            "broken:fitness",
            (
                r"^task\.path: broken:fitness: importing it failed: ModuleNotFoundError: No module "
                r"named 'nowhere_at_all'$"
            ),
        ),
        (
            "raising:fitness",
            r"^task\.path: raising:fitness: importing it failed: ValueError: not today$",
        ),
    ],
)
def test_functions_that_are_not_there(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(path, constants(1))


@pytest.mark.parametrize(
    "path", ["mine", "mine:", ":fitness", "mine:fit ness", "../mine:fitness", "mine:a.b"]
)
def test_a_path_names_a_module_and_a_function(path: str) -> None:
    with pytest.raises(
        InputError,
        match=r"task\.path: .*must be a module and a function of it, such as mymodule:fitness",
    ):
        function.Settings.read({"path": path, "inputs": 1, "outputs": 1}, "task")
    with pytest.raises(InputError, match=r"task\.inputs: field required"):
        function.Settings.read({"path": "mine:fitness", "outputs": 1}, "task")


def test_making_the_task_imports_nothing() -> None:
    task = function.FunctionTask(
        function.Settings(path="nowhere.at.all:fitness", inputs=2, outputs=1), None, 0
    )
    assert (task.inputs, task.outputs, task.search(0).names) == (2, 1, ("fitness",))


def test_networks_cross_as_json() -> None:
    graphs = sampled(2, 20, 3, 2, 0.5, True)
    graphs.weight[:3] = [np.pi, np.nan, 5e-324]
    again = _trial_workers.from_plain(_trial_workers.plain(graphs))
    for name in vars(graphs):
        np.testing.assert_array_equal(getattr(again, name), getattr(graphs, name))
        assert np.asarray(getattr(again, name)).dtype == np.asarray(getattr(graphs, name)).dtype


@pytest.mark.usefixtures("module")
def test_processes_end_with_their_trials() -> None:
    trials = function.FunctionTask(
        function.Settings(path="mine:fitness", inputs=2, outputs=1), None, 0
    ).search(0)
    trials.run(constants(1, 2), "reference", 2)
    assert trials._pool is not None
    processes = [each.process for each in trials._pool.processes]
    trials.run(constants(3), "reference", 2)
    # kept
    assert [each.process for each in trials._pool.processes] == processes and all(
        each.poll() is None for each in processes
    )
    trials.close()
    assert all(each.returncode is not None for each in processes)


# gymnasium


CUSTOM = '''
import time
import tomllib
from datetime import date
import gymnasium, numpy as np

class Odd(gymnasium.Env):
    """Rewards the action; raises above 0.8, hangs above 0.95."""
    observation_space = gymnasium.spaces.Dict({"n": gymnasium.spaces.Discrete(3), "x": gymnasium.spaces.Box(-np.inf, np.inf, (1,))})
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"n": 1, "x": np.zeros(1, np.float32)}, {}

    def step(self, action):
        if action[0] > 1.9: time.sleep(1000)
        if action[0] > 1.6: raise RuntimeError("over\\nthe top")
        return {"n": 1, "x": np.zeros(1, np.float32)}, float(action[0]), False, False, {}

gymnasium.register("Odd-v0", entry_point=Odd)
'''  # noqa: E501


def environment(id: str = "CartPole-v1", seed: int = 0, **values: object) -> gym.GymTask:
    pytest.importorskip("gymnasium", reason="needs the extra evoml[gym]")
    return gym.GymTask(gym.Settings.read({"id": id, **values}, "task"), None, seed)


def played(id: str, seeds: list[int], act: object) -> list[float]:
    """Returns of episodes, played one by one in plain Gymnasium."""
    import gymnasium

    out = []
    for seed in seeds:
        made = gymnasium.make(id)
        observation, _ = made.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = made.step(act(observation))  # type: ignore[operator]
            total, over = total + float(reward), terminated or truncated
        out.append(total)
    return out


@pytest.mark.parametrize("backend", BACKENDS)
def test_cartpole_is_what_plain_gymnasium_gives(backend: str) -> None:
    task = environment()
    assert (task.inputs, task.outputs, task.bias) == (4, 2, 1.0)
    trials = task.search(0)
    left = network(4, [(5, IDENTITY, [(4, 1.0)])], outputs=2)
    # pushes to where the pole leans and turns to, which holds it up
    leaning = network(
        4,
        [(5, IDENTITY, []), (6, IDENTITY, [(2, 0.42 * 3), (3, 1.0), (0, 0.1), (1, 0.1)])],
        outputs=2,
    )
    out = trials.run(together(left, leaning), backend)
    trials.close()
    wanted = played("CartPole-v1", trials.seeds, lambda observation: 0)
    high = np.array([4.8, 1.0, 0.41887903, 1.0])
    held = played(
        "CartPole-v1",
        trials.seeds,
        lambda seen: int(
            0.1 * (seen / high)[0] + 0.1 * seen[1] + 1.26 * (seen / high)[2] + seen[3] > 0
        ),
    )
    np.testing.assert_allclose(
        out.scores, [[np.mean(each), np.std(each), np.min(each)] for each in (wanted, held)]
    )
    assert out.scores[0, 0] < 15 and out.scores[1, 0] > 100 and out.steps == sum(wanted) + sum(held)


def test_pendulum_takes_numbers() -> None:
    task = environment("Pendulum-v1", episodes=2)
    assert (task.inputs, task.outputs) == (3, 1)
    trials = task.search(0)
    graphs = together(*(network(3, [(4, IDENTITY, [(3, value)])]) for value in (0.75, 9.0)))
    out = trials.run(graphs, "numba")
    trials.close()
    np.testing.assert_allclose(
        out.scores[0, 0],
        np.mean(played("Pendulum-v1", trials.seeds, lambda _: np.array([1.0], np.float32))),
    )
    np.testing.assert_allclose(
        out.scores[1, 0],
        np.mean(played("Pendulum-v1", trials.seeds, lambda _: np.array([2.0], np.float32))),
    )
    assert out.steps == 2 * 2 * 200


def test_random_actions_stand_beside_a_network() -> None:
    """In the test's episodes: a pole that is pushed at random falls after some twenty steps."""
    task = gym.GymTask(gym.Settings(id="CartPole-v1", test_episodes=30), None, 0)
    (scores,) = task.baselines().values()
    assert 15 < scores["return"] < 30 and scores["least"] >= 8
    assert task.baselines() == task.baselines()


def test_networks_do_not_depend_on_their_neighbours_or_workers() -> None:
    task = environment()
    graphs, trials = sampled(1, 12, 4, 2, recurrent=True), task.search(0)
    one, two = (trials.run(graphs, "numba", workers) for workers in (1, 2))
    alone = trials.run(graphs.take(np.array([7])), "numba", 2)
    trials.close()
    assert (
        same(one, two)
        and np.array_equal(alone.scores[0], one.scores[7])
        and len(np.unique(one.scores[:, 0])) > 2
    )


def test_episodes_of_search_selection_and_test_differ() -> None:
    task, again, other = environment(), environment(), environment(seed=1)
    sets = [
        task.search(0).seeds,
        task.search(1).seeds,
        task.select().seeds,
        task.test().seeds,
        other.search(0).seeds,
    ]
    assert (
        len({seed for each in sets for seed in each}) == 3 + 3 + 20 + 100 + 3
        and again.test().seeds == task.test().seeds
    )
    assert task.test().names[0] == "return" and task.search(0).names[0] == "fitness"


def test_actions_are_inside_any_box() -> None:
    """All of it is reached, and whole numbers have equal shares of what an output can be."""
    spaces = pytest.importorskip("gymnasium", reason="needs the extra evoml[gym]").spaces
    seen, y = spaces.Box(-1, 1, (1,)), np.linspace(-0.5, 1.5, 4001)[:, None]

    def acted(low: float, high: float, dtype: type = np.float32) -> np.ndarray:
        box = spaces.Box(low, high, (1,), dtype)
        actions = gym.Interface("x", seen, box, True).act(y)
        assert all(box.contains(action) for action in actions)
        values = np.array(actions)[:, 0].astype(float)
        assert (np.diff(values) >= 0).all()
        return values

    assert acted(-2, 3)[[0, 2000, -1]].tolist() == [-2, 0.5, 3]
    assert acted(-np.inf, np.inf)[[0, -1]].tolist() == [-1, 1]
    half = acted(5, np.inf)
    assert half[2000] == 6 and half[0] < 5.001 and half[-1] > 1e5 and np.isfinite(half).all()
    half = acted(-np.inf, 5)
    assert half[2000] == 4 and half[-1] > 4.999 and half[0] < -1e5
    whole = acted(-2, 2, np.int64)[(y[:, 0] >= 0) & (y[:, 0] < 1)]
    assert set(whole) == {-2, -1, 0, 1, 2} and np.ptp(np.bincount(whole.astype(int) + 2)) <= 1
    assert set(acted(0, 255, np.uint8)) == set(range(256))
    assert acted(3, np.iinfo(np.int64).max, np.int64)[2000] == 4


NUMBERS = '''
import gymnasium, numpy as np

class Numbers(gymnasium.Env):
    """Gives this reward and this observation, whatever is done."""
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, reward=1.0, start=0.0, after=0.0):
        self.reward, self.start, self.after = reward, start, after

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.array([self.start]), {}

    def step(self, action):
        return np.array([self.after]), self.reward, False, False, {}

gymnasium.register("Numbers-v0", entry_point=Numbers)
'''


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reward": 2.5}, ""),
        ({"reward": math.nan}, "its reward is not"),
        ({"reward": math.inf}, "its reward is not"),
        ({"start": math.nan}, "its observation is not"),
        ({"after": math.nan}, "its observation is not"),
    ],
)
def test_environments_take_arguments_and_are_blamed_for_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, float], says: str
) -> None:
    (tmp_path / "numbers_of_an_environment.py").write_text(NUMBERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(TRUSTED, "numbers_of_an_environment")
    settings = {"id": "numbers_of_an_environment:Numbers-v0", "steps": 4, "arguments": arguments}
    pytest.importorskip("gymnasium", reason="needs the extra evoml[gym]")
    episodes = gym.Episodes(gym.Settings.read(settings, "task"), [0, 1], "reference")
    graphs = together(
        *(network(1, [(2, IDENTITY, []), (3, IDENTITY, [])], outputs=2) for _ in "ab")
    )
    out = episodes(graphs, lambda: None)
    if not says:
        assert out.status.tolist() == [OK, OK] and out.scores[:, 0].tolist() == [10.0, 10.0]
        return
    assert out.status.tolist() == [CRASHED, CRASHED] and out.failure is not None
    assert out.failure[1].startswith("the environment, not the network: " + says)


def test_arguments_that_an_environment_does_not_take() -> None:
    with pytest.raises(
        InputError, match=r"CartPole-v1 with task\.arguments \{'nope': 1\}: TypeError"
    ):
        _ = environment(arguments={"nope": 1}).inputs
    assert environment(arguments={"sutton_barto_reward": True}).inputs == 4
    with pytest.raises(
        InputError, match=r"task\.arguments: .*2020-01-01: must be a number, true or"
    ):
        gym.Settings.read({"arguments": {"since": [date(2020, 1, 1)]}}, "task")


def test_arguments_are_told_as_they_are() -> None:
    arguments = {"most": math.inf, "x": [1, 2.5, {"y": "s"}], "on": True}
    told = gym.Settings.read({"arguments": arguments}, "task").model_dump(mode="json")
    assert tomllib.loads(tomli_w.dumps(told))["arguments"] == arguments


def test_an_environment_that_fails_costs_that_network_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.py").write_text(CUSTOM)
    monkeypatch.chdir(tmp_path)  # where a module is looked for that a user names
    monkeypatch.setenv(TRUSTED, "odd")
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    )
    task = environment("odd:Odd-v0", steps=7, timeout=3, episodes=2)
    assert (task.inputs, task.outputs) == (4, 1)  # one of three, and a number
    trials = task.search(0)
    graphs = together(
        *(
            network(4, [(5, IDENTITY, [(4, value)])])
            for value in (0.75, 0.92, 0.25, 0.99, np.nan, -3.0)
        )
    )
    out = trials.run(graphs, "reference")
    trials.close()
    assert out.status.tolist() == [OK, CRASHED, OK, TIMED_OUT, DIVERGED, OK]
    # never-ending: 7 steps of it
    np.testing.assert_allclose(out.scores[:, 0], [7.0, np.nan, -7.0, np.nan, np.nan, -14.0])
    assert "\n" not in trials.failure


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("CartPol-v1", r"^task\.id: no environment 'CartPol-v1'; did you mean CartPole-v1"),
        ("CartPole-v77", r"^task\.id: no environment 'CartPole-v77'; did you mean CartPole-v1"),
        ("qqqqqqqq", r"^task\.id: no environment 'qqqqqqqq'; such as CartPole-v1$"),
        ("nowhere_at_all:Odd-v0", r"^task\.id: nowhere_at_all:Odd-v0: ModuleNotFoundError"),
    ],
)
def test_unknown_environments(id: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED, "nowhere_at_all")
    task = environment(id)
    with pytest.raises(InputError, match=message) as error:
        _ = task.inputs
    assert "\n" not in str(error.value)


def test_spaces_that_stand_for_themselves() -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="needs the extra evoml[gym]")
    spaces = gymnasium.spaces
    seen = spaces.Box(
        np.array([-2, 0, -np.inf, -1e7], np.float32), np.array([1, 255, np.inf, 1e7], np.float32)
    )
    odd = gym.Interface("x", seen, spaces.MultiDiscrete([2, 3]), True)
    assert odd.scale.tolist() == [2, 255, 1, 1] and odd.outputs == 5
    assert [
        each.tolist() for each in odd.act(np.array([[0.1, 0.2, 5.0, 1.0, 2.0], [1, 0, 0, 0, 1.0]]))
    ] == [[1, 0], [0, 2]]
    assert gym.Interface("x", seen, spaces.Discrete(3, start=5), False).act(np.eye(3)) == [5, 6, 7]
    assert [
        each.tolist()
        for each in gym.Interface("x", seen, spaces.MultiBinary(2), True).act(
            np.array([[0.4, 0.6]])
        )
    ] == [[0, 1]]
    box = gym.Interface(
        "x",
        seen,
        spaces.Box(np.array([0, -np.inf], np.float32), np.array([4, np.inf], np.float32)),
        True,
    )
    assert box.act(np.array([[0.5, 0.5], [-1.0, 7.0]]))[0].tolist() == [2, 0] and box.act(
        np.array([[-1.0, 7.0]])
    )[0].tolist() == [0, 1]
    with pytest.raises(InputError, match=r"task\.id: x: actions Text"):
        gym.Interface("x", seen, spaces.Text(5), True)


def test_without_gymnasium_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"^task gym: gymnasium is not installed; install evoml\[gym\]$"
    ):
        _ = gym.GymTask(gym.Settings(), None, 0).inputs


def test_reading_the_tasks_imports_neither_gymnasium_nor_the_compiler() -> None:
    code = (
        "import sys, evoml.tasks.gym, evoml.tasks.function, evoml.tasks.examples, "
        "evoml.tasks.double_pole, evoml.tasks.xor, evoml.tasks.single_pole; print([each for each "
        "in ('gymnasium', 'numba') if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]", done.stdout


# -- what another's folder may do ------------------------------------------------------------------

NAMED = """
open("ran", "a").write("x")

def fitness(network):
    return network([0.5, 1.0])[0]
"""


def test_a_run_that_names_code_executes_it_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "named.py").write_text(NAMED)
    shape = ("--set", "task.inputs=2", "--set", "task.outputs=1", "--set", "strategy.population=10")
    call = ("search", "neat", "--task", "function:named:fitness", *shape, "--budget", "20")
    done = evoml(*call, "--run", "run", "--set", "strategy.survivors=0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ran").read_text()
    (tmp_path / "ran").unlink()
    (tmp_path / "named.py").rename(tmp_path / "run" / "named.py")
    here = tmp_path / "run"
    for name in ("torch", "typing", "numba", "json"):  # what anyone may have put there
        (here / f"{name}.py").write_text("open('hacked', 'w').write('x')")
    for command in (("show", "."), ("export", ".", "--to", "svg")):
        assert evoml(*command, cwd=here).returncode == 0
    for command in (("evaluate", "."), ("resume", ".", "--budget", "40")):
        done = evoml(*command, cwd=here)
        assert done.returncode == 2 and "named would be executed" in done.stderr
    assert not (here / "ran").exists()
    for command in (("evaluate", ".", "--trust"), ("resume", ".", "--budget", "40", "--trust")):
        done = evoml(*command, cwd=here)
        assert done.returncode == 0, done.stderr
    assert (here / "ran").read_text()


def test_workers_import_nothing_from_the_folder_that_one_stands_in(tmp_path: Path) -> None:
    """As the installed command starts them; the trap would end every search."""
    (tmp_path / "json.py").write_text("open('hacked', 'w').write('x')")
    code = (
        "from evoml.workers.pool import Pool\n"
        "pool = Pool('evoml.search.slots', {'space': {'name': 'nothing'}}, dict)\n"
        "pool.grow(1)\n"
        "try:\n    while True: pool.next(1.0)\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "no 'nothing'" in done.stdout, done.stderr
    assert not (tmp_path / "hacked").exists()
