"""The reference programs: known answers, each computed independently in NumPy, and what they reach
on their tasks.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from parts import class_of

from evoml.backends import Rules
from evoml.backends.numba import Backend
from evoml.backends.reference import Machine, sigmoid
from evoml.contracts.task import TaskSet
from evoml.evaluators import execution
from evoml.genotypes.population import Population
from evoml.phenotypes.instructions import OPS
from evoml.phenotypes.programs import FUNCTIONS, Memory, Programs
from evoml.spaces._program_text import parse_program
from evoml.spaces.automl_zero import AutoMLZeroSpace
from evoml.tasks import linear_regression, projected_binary, two_layer_regression

FOLDER = Path(__file__).parents[2] / "programs" / "automl_zero"
FILES = sorted(FOLDER.glob("*.py"))
NAMES = [path.stem for path in FILES]
THREE_MATRICES = ["averaged_weights"]  # weights, mean and gradient at the same time
BILINEAR = ["bilinear", "noisy_inputs", "normalized_gradient", "averaged_weights"]
F = 6


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


# at the learning rate of averaged_weights
FASTER = text_of("bilinear").replace("s2 = 0.002", "s2 = 0.01")


def programs_of(text: str) -> Programs:
    space, genotype = AutoMLZeroSpace.open_text(text, "program.py")
    return space.phenotypes(Population.of(space.schema, [genotype]))


def machine_of(text: str, features: int = F) -> Machine:
    """A program after setup."""
    machine = Machine(programs_of(text), 0, features, 5)
    machine.call(0)
    return machine


def step(machine: Machine, features: np.ndarray, label: float, classify: bool) -> float:
    """One training example; returns the prediction."""
    prediction = machine.predict(features)
    if classify:
        prediction = machine.banks["s"][1] = sigmoid(prediction)
    machine.learn(features, label)
    return float(prediction)


def data(classify: bool, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, F))
    y = x @ rng.standard_normal(F) + 0.3
    return x, (y > 0).astype(float) if classify else y


def close(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


# the files


@pytest.mark.parametrize("name", NAMES)
def test_parses_within_the_baseline_memory_and_names_its_paper(name: str) -> None:
    text = text_of(name)
    parse_program(text, name, Memory(5, 9, 3 if name in THREE_MATRICES else 2))
    assert text.startswith('"""')
    assert "arXiv 2003.03384" in text.split('"""')[1]


@pytest.mark.parametrize("name", NAMES)
def test_no_instruction_is_dead_and_the_text_form_round_trips(name: str) -> None:
    space, genotype = AutoMLZeroSpace.open_text(text_of(name), name)
    assert programs_of(text_of(name)).sizes[0].tolist() == [
        len(genotype.tables[function]) for function in FUNCTIONS
    ]
    assert space.parse(space.format(genotype), name) == genotype


def test_the_cost_yardstick_is_the_network() -> None:
    _, genotype = AutoMLZeroSpace.open_text(text_of("neural_network"), "neural_network")
    for function, yardstick in zip(FUNCTIONS, execution._NETWORK, strict=True):
        assert Counter(OPS[row["op"]].name for row in genotype.tables[function]) == Counter(
            yardstick
        )
    assert [len(genotype.tables[function]) for function in FUNCTIONS] == [3, 5, 11]


def test_linear_regression_learns_by_the_four_instructions_of_the_published_program() -> None:
    _, genotype = AutoMLZeroSpace.open_text(text_of("linear_regression"), "linear_regression")
    learn = [OPS[op].name for op in genotype.tables["learn"]["op"]]
    assert learn == ["scalar_diff", "scalar_product", "scalar_vector_product", "vector_sum"]
    assert genotype.tables["setup"]["x"].tolist() == [0.01]


# known answers


def test_linear_regression_is_closed_form_sgd() -> None:
    machine, w = machine_of(text_of("linear_regression")), np.zeros(F)
    for x, y in zip(*data(False), strict=True):
        step(machine, x, y, False)
        w = w + 0.01 * (y - x @ w) * x
        close(machine.banks["v"][1], w)


def test_linear_regression_is_the_product_of_contractions() -> None:
    """All N steps at once: w_N = sum over n of (I - lr x_N x_N') ...

    (I - lr x_n+1 x_n+1') lr y_n x_n.
    """
    machine, (xs, ys) = machine_of(text_of("linear_regression")), data(False)
    for x, y in zip(xs, ys, strict=True):
        step(machine, x, y, False)
    w, later = np.zeros(F), np.eye(F)
    for x, y in zip(xs[::-1], ys[::-1], strict=True):
        w += later @ (0.01 * y * x)
        later = later @ (np.eye(F) - 0.01 * np.outer(x, x))
    close(machine.banks["v"][1], w)


def test_logistic_regression_is_closed_form_sgd() -> None:
    machine, w, b = machine_of(text_of("logistic_regression")), np.zeros(F), 0.0
    for x, y in zip(*data(True), strict=True):
        error = y - 1.0 / (1.0 + np.exp(-(x @ w + b)))
        step(machine, x, y, True)
        w, b = w + 0.01 * error * x, b + 0.01 * error
        close(machine.banks["v"][1], w)
        close(machine.banks["s"][3], b)


def loss(prediction: float, y: float, classify: bool) -> float:
    """Half the squared error, or the cross entropy of a sigmoid."""
    return float(
        np.logaddexp(0.0, prediction) - y * prediction if classify else 0.5 * (y - prediction) ** 2
    )


def assert_step_is_down_the_gradient(
    machine: Machine, parameters: list[tuple[str, int]], rate: float, classify: bool
) -> None:
    """The change of every parameter in learn is -rate times its derivative, by central differences
    on predict alone.
    """
    x, y = np.random.default_rng(3).standard_normal(F), 1.0
    before = {kind: bank.copy() for kind, bank in machine.banks.items()}
    expected, h = {}, 1e-6
    for kind, address in parameters:
        gradient = np.zeros(np.shape(before[kind][address]))
        for index in np.ndindex(gradient.shape):
            losses = []
            for sign in (1.0, -1.0):
                machine.banks = {name: bank.copy() for name, bank in before.items()}
                machine.banks[kind][(address, *index)] += sign * h
                losses.append(loss(machine.predict(x), y, classify))
            gradient[index] = (losses[0] - losses[1]) / (2 * h)
        expected[kind, address] = -rate * gradient
    machine.banks = {name: bank.copy() for name, bank in before.items()}
    step(machine, x, y, classify)
    for (kind, address), change in expected.items():
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(
            machine.banks[kind][address] - before[kind][address], change, rtol=1e-5, atol=1e-9
        )


@pytest.mark.parametrize("classify", [False, True])
def test_backpropagation_is_the_gradient(classify: bool) -> None:
    machine = machine_of(text_of("neural_network"))
    for x, y in zip(*data(classify), strict=True):
        step(machine, x, y, classify)
    hidden = machine.banks["v"][4]
    assert 0 < (hidden > 0).sum() < F  # some units on, some off
    assert_step_is_down_the_gradient(
        machine, [("m", 0), ("v", 1), ("v", 2), ("s", 3)], 0.03, classify
    )


@pytest.mark.parametrize("classify", [False, True])
def test_bilinear_step_is_the_gradient(classify: bool) -> None:
    machine = machine_of(text_of("bilinear"))
    for x, y in zip(*data(classify), strict=True):
        step(machine, x, y, classify)
    assert_step_is_down_the_gradient(machine, [("m", 0)], 0.002, classify)


def test_neural_network_equals_an_independent_one_step_for_step() -> None:
    machine = machine_of(text_of("neural_network"))
    w1, w2, b1, b2 = machine.banks["m"][0].copy(), machine.banks["v"][2].copy(), np.zeros(F), 0.0
    assert 0.05 < w1.std() < 0.2
    assert not machine.banks["v"][1].any()
    for x, y in zip(*data(False), strict=True):
        z = w1 @ x + b1
        h = np.maximum(z, 0.0)
        error = y - (w2 @ h + b2)
        close(np.float64(step(machine, x, y, False)), y - error)
        back = error * w2 * (z > 0)
        w2, b2, w1, b1 = (
            w2 + 0.03 * error * h,
            b2 + 0.03 * error,
            w1 + 0.03 * np.outer(back, x),
            b1 + 0.03 * back,
        )
        for kind, address, expected in (("v", 1, b1), ("v", 2, w2), ("m", 0, w1), ("s", 3, b2)):
            close(machine.banks[kind][address], np.asarray(expected))
    assert not machine.banks["v"][3].any()  # the zeros of the ReLU stay zeros


def test_noisy_inputs_without_noise_are_the_bilinear_model() -> None:
    silent, count = re.subn(
        r"uniform_vector\(.*\)", "uniform_vector(0.0, 0.0)", text_of("noisy_inputs")
    )
    one, other = machine_of(silent), machine_of(text_of("bilinear"))
    assert count == 1
    for x, y in zip(*data(True), strict=True):
        assert step(one, x, y, True) == step(other, x, y, True)
    assert one.banks["m"][0].tobytes() == other.banks["m"][0].tobytes()


def test_noise_is_on_both_inputs_in_training_and_gone_in_validation() -> None:
    machine, rng = machine_of(text_of("noisy_inputs")), np.random.default_rng(0)
    xs, ys = data(True)
    step(machine, xs[0], ys[0], True)
    seen = []
    for x, y in zip(xs[1:], ys[1:], strict=True):
        noise, weights = machine.banks["v"][5].copy(), machine.banks["m"][0].copy()
        seen.append(noise)
        a, b = x + (0.5 + noise), x - (0.5 + noise)
        prediction = step(machine, x, y, True)
        close(np.float64(prediction), np.float64(sigmoid(a @ weights @ b)))
        close(machine.banks["m"][0], weights + 0.002 * (y - prediction) * np.outer(a, b))
    noises = np.array(seen)
    assert np.abs(noises).max() <= 0.5
    assert abs(noises.std() - 1 / np.sqrt(12)) < 0.03
    assert abs(noises.mean()) < 0.05
    machine.predict(xs[0])
    for x in rng.standard_normal((5, F)):
        close(np.float64(machine.predict(x)), (x + 0.5) @ machine.banks["m"][0] @ (x - 0.5))


def test_normalized_gradient_makes_steps_of_one_length() -> None:
    machine, weights = machine_of(text_of("normalized_gradient")), np.zeros((F, F))
    for x, y in zip(*data(True), strict=True):
        gradient = (y - sigmoid((x + 0.5) @ weights @ (x - 0.5))) * np.outer(x + 0.5, x - 0.5)
        step(machine, x, y, True)
        close(machine.banks["m"][0], weights + 0.1 * gradient / np.linalg.norm(gradient))
        assert np.linalg.norm(machine.banks["m"][0] - weights) == pytest.approx(0.1, rel=1e-12)
        weights = machine.banks["m"][0].copy()


@pytest.mark.parametrize(("error", "length"), [(0.0, 0.0), (1e-9, 1e-7), (1.0, 0.1)])
def test_normalized_gradient_of_a_tiny_error_is_no_division_by_zero(
    error: float, length: float
) -> None:
    machine, x = machine_of(text_of("normalized_gradient")), np.ones(F)
    step(machine, x, error, False)
    assert np.linalg.norm(machine.banks["m"][0]) == pytest.approx(
        min(length * np.linalg.norm(x + 0.5) * np.linalg.norm(x - 0.5), 0.1)
    )


def test_averaged_weights_predict_with_the_mean_of_the_iterates() -> None:
    machine, plain, iterates = machine_of(text_of("averaged_weights")), machine_of(FASTER), []
    for x, y in zip(*data(True), strict=True):
        # it trains as the bilinear model does
        assert step(machine, x, y, True) == step(plain, x, y, True)
        iterates.append(plain.banks["m"][0].copy())
        close(machine.banks["m"][0], iterates[-1])
        close(machine.banks["m"][1], np.mean(iterates, axis=0))
    xs = np.random.default_rng(4).standard_normal((5, F))
    # the first prediction after learn is still the latest weights'
    expected = [iterates[-1], *[np.mean(iterates, axis=0)] * 4]
    for x, weights in zip(xs, expected, strict=True):
        close(np.float64(machine.predict(x)), (x + 0.5) @ weights @ (x - 0.5))


# what they reach


def scores(text: str, tasks: TaskSet) -> np.ndarray:
    """Fitness on every task, in float64, [T]."""
    programs = programs_of(text)
    backend = Backend(
        tasks,
        programs.memory,
        Rules(tasks.train_y.shape[1], tasks.valid_y.shape[1], dtype="float64"),
    )
    return backend.fitness(programs, np.arange(1))[0][0]


@pytest.fixture(scope="module")
def tasks() -> Callable[[str], TaskSet]:
    families = {
        "linear": linear_regression,
        "two_layer": two_layer_regression,
        "digits": projected_binary,
    }
    made = {name: class_of(family)(family.Settings(), None, 0) for name, family in families.items()}
    return lambda name: made[name].test() if name == "digits" else made[name].select()


def test_linear_regression_solves_linear_tasks(tasks: Callable[[str], TaskSet]) -> None:
    assert scores(text_of("linear_regression"), tasks("linear")).mean() > 0.9999


def test_the_network_beats_the_linear_program_where_the_teacher_is_a_network(
    tasks: Callable[[str], TaskSet],
) -> None:
    two_layer = tasks("two_layer")
    network = scores(text_of("neural_network"), two_layer).mean()
    assert network > 0.88
    assert network > scores(text_of("linear_regression"), two_layer).mean() + 0.3


@pytest.mark.parametrize("name", NAMES)
def test_every_program_classifies_digits_clearly_above_chance(
    name: str, tasks: Callable[[str], TaskSet]
) -> None:
    per_task = scores(text_of(name), tasks("digits"))
    assert per_task.mean() > 0.93
    assert per_task.min() > 0.75


def test_refinements_are_no_worse_than_logistic_regression(tasks: Callable[[str], TaskSet]) -> None:
    digits = tasks("digits")
    logistic = scores(text_of("logistic_regression"), digits).mean()
    assert all(scores(text_of(name), digits).mean() >= logistic for name in BILINEAR)


def test_averaging_pays_at_a_large_learning_rate(data_folder: Path) -> None:
    """On 8000 examples of CIFAR-10 the mean is better than the latest weights at the same rate, and
    than bilinear.py at its own.
    """
    cifar = projected_binary.ProjectedBinaryTask(
        projected_binary.Settings(), data_folder / "automlzero_cifar10_dim16_search36.npz", 0
    ).search(0)
    averaged, own, same = (
        scores(text, cifar).mean()
        for text in (text_of("averaged_weights"), text_of("bilinear"), FASTER)
    )
    assert averaged > own + 0.005
    assert averaged > same + 0.02
