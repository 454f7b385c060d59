"""Rows of layers and of primitives: what is refused, what comes from outside, and primitives that
are torch modules; and heads that are not classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from evoml.contracts.objective import Objective
from evoml.contracts.task import Head, ImageSet, LayeredData
from evoml.core.errors import InputError
from evoml.evaluators.one_shot import OneShotEvaluator
from evoml.evaluators.one_shot import Settings as OneShotSettings
from evoml.evaluators.training import Settings, TrainingEvaluator
from evoml.genotypes.population import OK
from evoml.networks.layer_modules import module
from evoml.networks.losses import Loss
from evoml.networks.settings import TrainingSettings
from evoml.networks.shared_weights import shared_weights, step_memory
from evoml.networks.training import train
from evoml.phenotypes import layers
from evoml.phenotypes.layers import OWN_KINDS, Primitive, PrimitiveKind, Row, primitives, table
from evoml.phenotypes.network import Builder
from evoml.spaces import cell

KINDS = {each.name: each for each in OWN_KINDS}


class Doubled(nn.Module):
    """A scale a channel, twice."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x * self.scale[:, None, None]


DOUBLED = PrimitiveKind(
    "doubled", lambda step: step.outputs, module=f"{__name__}:Doubled", arguments=("outputs",)
)


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What a distribution adds."""
    given: list[object] = []
    monkeypatch.setattr(layers, "extensions", lambda group: [("theirs 1.0", given)])
    yield forgotten(given)
    forgotten(given)


def forgotten(given: list[object]) -> list[object]:
    layers._extended.cache_clear(), primitives.cache_clear()
    return given


@pytest.mark.parametrize("text", ["relu swish bn", "relu conv3 bn swish", "conv-3", "3"])
def test_an_unknown_primitive_is_refused_when_the_table_is_read(text: str) -> None:
    wrong = next(part for part in text.split() if part in ("swish", "conv-3", "3"))
    with pytest.raises(InputError) as caught:
        table([Row("fine", "relu"), Row("mine", text)], KINDS)
    known = ", ".join(KINDS)
    assert str(caught.value) == f"layers: row mine: unknown primitive {wrong!r}; there are {known}"
    with pytest.raises(InputError, match="row mine: unknown primitive 'swish'"):
        table([Row("mine", "id", "swish")], KINDS)


def test_rows_from_outside(outside: list[object]) -> None:
    outside += [Row("double_conv", "doubled conv3 bn"), DOUBLED]
    assert "double_conv" in layers.layers() and "double_conv" not in layers.LAYERS
    first, *_ = primitives("double_conv", 4, 6, 2)
    assert first == Primitive("doubled", 4, 4) and first.parameters == 4
    build = Builder((1, 6, 6))
    net = build.network(build.layer(build.layer(0, "stem_3x3", 4), "double_conv", 6, 2), 2)
    assert net.parameters == 4 * 9 + 8 + 4 + 4 * 6 * 9 + 12 + 14
    assert train(net, images(), TrainingSettings(epochs=1, batch=8), 0).status == OK


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Row("conv_3x3", "relu")], "conv_3x3: is there already"),
        ([PrimitiveKind("bn", module="torch.nn:GELU")], "bn: is there already"),
        ([PrimitiveKind("mine")], "primitive mine: must name a module"),
        ([Row("mine", "doubled")], "row mine: unknown primitive 'doubled'; there are relu, "),
        (["mine"], "'mine': must be a Row or a PrimitiveKind"),
    ],
)
def test_what_is_none_from_outside(
    outside: list[object], given: list[object], message: str
) -> None:
    outside += given
    with pytest.raises(InputError, match=rf"^evoml.layers: theirs 1.0: {message}"):
        layers.layers()


def test_a_module_is_what_its_row_says(outside: list[object]) -> None:
    outside += [PrimitiveKind("fewer", module=f"{__name__}:Doubled", arguments=("outputs",))]
    with pytest.raises(InputError, match="primitive fewer: .*:Doubled has 3 parameters and 0 buff"):
        module(Primitive("fewer", 3, 3))


def test_counts_of_modules() -> None:
    squeeze = primitives("mbconv_3x3_e3_se", 8, 16, 2)[6]
    assert (squeeze.kind, squeeze.outputs, squeeze.hidden) == ("se", 24, 6)
    for step in (squeeze, Primitive("ln", 5, 5), Primitive("gelu", 5, 5)):
        assert sum(each.numel() for each in module(step).parameters()) == step.parameters
    assert squeeze.multiply_adds(9, 9) == 2 * 24 * 6
    assert Primitive("ln", 5, 5).multiply_adds(9, 9) == Primitive("gelu", 5, 5).multiply_adds(9, 9)


# -- a space that draws them -----------------------------------------------------------------------


@pytest.fixture
def modern() -> cell.CellSpace:
    """Cells of operations that have no kernels of their own."""
    mine = ("identity", "convnext_7x7", "mbconv_3x3_e3_se", "sep_conv_3x3")
    skeleton = {"cells": 1, "filters": 4, "reductions": 1}
    values = {"blocks": 2, "operations": mine, "output": "all", "skeleton": skeleton}
    return cell.CellSpace(cell.Settings.model_validate(values))


def test_a_space_of_modules_trains_and_has_a_supernet(modern: cell.CellSpace) -> None:
    population = modern.random(np.arange(3, dtype=np.uint64))
    made = TrainingEvaluator(Settings(epochs=1, batch=16), images(), modern, "")
    assert made.evaluate(population).status.tolist() == [OK] * 3
    shared = OneShotEvaluator(OneShotSettings(epochs=1, batch=16), images(), modern, "")
    shared.seed = 1
    assert shared.evaluate(population).status.tolist() == [OK] * 3
    child = modern.network(population.genotype(0), images().size, 2)
    start = shared.shared_weights.child(child)
    assert train(child, images(), TrainingSettings(epochs=1, batch=8), 0, start=start).status == OK


# -- the door, and heads ---------------------------------------------------------------------------


def test_supernets_run_on_a_cpu_alone(modern: cell.CellSpace) -> None:
    net = modern.supernet((1, 8, 8), 2)
    for make in (
        lambda: shared_weights(net, 0, "cuda"),
        lambda: step_memory(net, 2, "cuda"),
    ):
        with pytest.raises(InputError, match="^device: cuda: supernets run on cpu alone$"):
            make()
    assert shared_weights(net, 0).weights.size == net.network.parameters


class SquaredError(Loss):
    """Numbers; the metric is the mean absolute error."""

    def goals(self, y: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(y, np.float32))

    def mean(
        self, outputs: torch.Tensor, goals: torch.Tensor, smoothing: float = 0.0
    ) -> torch.Tensor:
        return ((outputs - goals.to(outputs.dtype)) ** 2).mean()

    def total(self, outputs: torch.Tensor, goals: torch.Tensor) -> float:
        return float(((outputs - goals) ** 2).mean(1).sum())

    def metric(self, outputs: torch.Tensor, goals: torch.Tensor) -> float:
        return float((outputs - goals).abs().mean(1).sum())


@dataclass(frozen=True, eq=False)
class Numbers(LayeredData):
    """Images, and two numbers of each."""

    train_x: np.ndarray
    train_y: np.ndarray
    valid_x: np.ndarray
    valid_y: np.ndarray

    @property
    def head(self) -> Head:
        return Head(2, f"{__name__}:SquaredError", Objective("error", False))


def images(count: int = 48) -> ImageSet:
    x = np.random.default_rng(0).normal(size=(2 * count, 1, 8, 8)).astype(np.float32)
    y = (x.mean((1, 2, 3)) > 0).astype(np.int64)
    return ImageSet(x[:count], y[:count], x[count:], y[count:], ("a", "b"), np.zeros(1), np.ones(1))


def numbers() -> Numbers:
    given = images()
    goals = [np.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1) for x in (given.train_x,
             given.valid_x)]  # fmt: skip
    return Numbers(given.train_x, goals[0], given.valid_x, goals[1])


def test_numbers_are_learnt_by_the_same_code() -> None:
    skeleton = {"cells": 1, "filters": 4, "reductions": 0}
    space = cell.CellSpace(
        cell.Settings.model_validate(
            {"blocks": 2, "operations": "darts", "output": "all", "skeleton": skeleton}
        )
    )
    population = space.random(np.arange(1, dtype=np.uint64))
    made = TrainingEvaluator(
        Settings(epochs=12, batch=12, objectives=("accuracy", "loss"), report="best"),
        numbers(),
        space,
        "",
    )
    assert [(each.name, each.larger) for each in made.objectives] == [
        ("error", False),
        ("loss", False),
    ]
    scores, trained = made.test(population.genotype(0), 1)
    assert trained.status == OK and trained.module is not None
    assert scores["test_error"] == scores["error"] == min(trained.curve) < trained.curve[0]
    with torch.no_grad():
        out, _ = trained.module(torch.from_numpy(numbers().valid_x))
    error = np.abs(out.numpy() - numbers().valid_y).mean()
    assert out.shape == (48, 2) and error == pytest.approx(scores["error"], rel=1e-4)
    shared = OneShotEvaluator(OneShotSettings(epochs=2, batch=12), numbers(), space, "")
    shared.seed = 1
    assert shared.objectives[0].name == "error" and shared.objectives[0].kind == "shared"
    assert shared.evaluate(population).status.tolist() == [OK]
    assert shared.divergence(population.genotype(0)) is None


def test_a_supernets_gradients_by_another_loss() -> None:
    """Beside differences, in float64."""
    skeleton = {"cells": 1, "filters": 2, "reductions": 0}
    space = cell.CellSpace(
        cell.Settings.model_validate(
            {"blocks": 1, "operations": "darts", "output": "all", "skeleton": skeleton}
        )
    )
    data = numbers()
    net = space.supernet(data.size, data.head.outputs)
    shared = shared_weights(net, 0, loss=data.head.loss, dtype="float64")
    mix = np.where(net.available, 0.1, 0.0)
    x, y = data.train_x[:6].transpose(0, 2, 3, 1), data.train_y[:6]
    found = shared.gradients(x, y, mix)
    assert found.weights is not None and found.mix is not None
    at = int(np.abs(found.weights).argmax())
    option = np.unravel_index(np.abs(found.mix).argmax(), mix.shape)
    moved, step = mix.copy(), 1e-5
    moved[option] += step
    slope = (shared.gradients(x, y, moved).loss - found.loss) / step
    assert slope == pytest.approx(found.mix[option], rel=1e-2)
    weights = shared.weights.copy()
    weights[at] += step
    slope = (shared.gradients(x, y, mix, weights=weights).loss - found.loss) / step
    assert slope == pytest.approx(found.weights[at], rel=1e-2)
