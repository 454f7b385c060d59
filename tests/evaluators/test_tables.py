"""Tabular spaces and the table evaluator: validity, identity, published parameter counts, look-ups,
bad files.
"""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies
from parts import class_of, evaluate

from evoml.core.errors import InputError
from evoml.core.streams import streams
from evoml.evaluators import table as evaluators
from evoml.evaluators.training import TrainingEvaluator
from evoml.genotypes.population import OK
from evoml.search.toolbox import toolbox
from evoml.spaces import cell, nasbench101, nasbench201
from evoml.strategies import aging_evolution
from evoml.tasks import table as tasks

SPACES: dict[str, Any] = {
    "nasbench201": nasbench201.NASBench201Space(nasbench201.Settings()),
    "nasbench101": nasbench101.NASBench101Space(nasbench101.Settings()),
}
SEEDS = strategies.integers(0, 2**63)


@pytest.fixture(
    scope="module", params=["nasbench201_cifar10", "nasbench201_cifar100", "nasbench101_cifar10"]
)
def table(request: pytest.FixtureRequest, data_folder: Path) -> tasks.Table:
    return tasks.TableTask(tasks.Settings(), data_folder / f"{request.param}.npz", 0).search()


def evaluator(table: tasks.Table, **settings: Any) -> evaluators.TableEvaluator:
    return evaluators.TableEvaluator(evaluators.Settings(**settings), table, SPACES[table.space])


def small(path: Path, **changes: Any) -> Path:
    """A table of all 15,625 cells with made-up numbers."""
    ops = (
        np.stack(np.meshgrid(*[np.arange(5)] * 6, indexing="ij"), -1)
        .reshape(-1, 6)
        .astype(np.uint8)
    )
    numbers = np.linspace(10, 90, len(ops)).astype(np.float32)
    arrays = {
        "ops": ops, "val12": numbers,
        "val200": np.stack([numbers, numbers + 1, np.full_like(numbers, np.nan)], 1),
        "test200": numbers + 2, "train_time200": np.full_like(numbers, 200.0), "latency": numbers,
        "params_m": numbers,
    }  # fmt: skip
    np.savez(
        path, **{name: array for name, array in (arrays | changes).items() if array is not None}
    )
    return path


# -- the spaces ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
def test_every_child_is_valid_and_text_brings_it_back(name: str, seed: int) -> None:
    space = SPACES[name]
    population = space.random(streams(seed, 1, np.arange(2)))
    children = space.mutate(population, np.array([0, 1]), streams(seed, 2, np.arange(2)))
    one, other = children.genotype(0), children.genotype(1)
    mated = space.mate(Random(seed), one, other)
    for genotype in (
        *map(population.genotype, range(2)),
        one,
        other,
        *mated,
        space.vary(Random(seed), one),
    ):
        assert space.schema.violation(genotype) is None
        assert space.violation(genotype) is None
        assert space.parse(space.format(genotype), "text") == genotype
    assert one != population.genotype(0)


@pytest.mark.parametrize("name", SPACES)
@given(seed=SEEDS)
def test_neighbours_are_the_valid_changes_of_one_gene(name: str, seed: int) -> None:
    space = SPACES[name]
    genotype = space.random(streams(seed, 1, np.arange(1))).genotype(0)
    found = space.neighbours(genotype)
    assert len(set(found)) == len(found)
    assert genotype not in found
    assert set(found) == {
        each for each in space.schema.neighbours(genotype) if space.violation(each) is None
    }


@pytest.mark.parametrize("name", SPACES)
def test_batches_and_single_genotypes_have_the_same_keys_and_codes(name: str) -> None:
    space = SPACES[name]
    population = space.random(streams(0, 1, np.arange(100)))
    genotypes = space.phenotypes(population)
    assert space.keys(population) == [space.key(genotype) for genotype in genotypes]
    codes = np.concatenate([space.table_codes([genotype]) for genotype in genotypes])
    assert (space.table_codes(genotypes) == codes).all()
    assert len(space.table_codes([])) == 0


def test_a_cell_s_hash_is_that_of_many_at_once() -> None:
    rows = SPACES["nasbench101"].random(streams(2, 1, np.arange(20_000))).tables[0]
    inputs, ops = rows["inputs"].astype(np.int64), rows["op"]
    one_by_one = [
        nasbench101.cell_hash(nasbench101.pruned(masks), codes)
        for masks, codes in zip(inputs.tolist(), ops.tolist(), strict=True)
    ]
    assert one_by_one == nasbench101.hashes(inputs, ops).tolist()
    assert one_by_one[:50] == [
        nasbench101.graph_hash(nasbench101.pruned(masks), codes)
        for masks, codes in zip(inputs[:50].tolist(), ops[:50].tolist(), strict=True)
    ]


def test_open_text_brings_the_space_back() -> None:
    for module, space in (
        (nasbench201, SPACES["nasbench201"]),
        (nasbench101, SPACES["nasbench101"]),
    ):
        genotype = space.random(streams(1, 1, np.arange(1))).genotype(0)
        assert class_of(module).open_text(space.format(genotype), "file")[1] == genotype


def test_operations_of_nothing_are_nothing() -> None:
    assert nasbench201.function((0, 0, 3, 1, 2, 3)) == nasbench201.function((0, 0, 4, 1, 4, 3))
    assert nasbench201.function((1, 3, 0, 0, 0, 1)) == nasbench201.function((2, 3, 0, 0, 0, 1))
    assert nasbench201.function((3, 0, 1, 0, 0, 1)) != nasbench201.function((2, 0, 1, 0, 0, 1))


@given(seed=SEEDS)
def test_the_order_of_vertices_does_not_matter(seed: int) -> None:
    space, rng = SPACES["nasbench101"], Random(seed)
    rows = space.random(streams(seed, 1, np.arange(1))).genotype(0).tables["vertices"]
    inputs, ops = rows["inputs"].tolist(), rows["op"].tolist()
    at = rng.randrange(1, 5)  # swap it with the next, unless there is an edge between the two
    if inputs[at + 1] >> at & 1:
        return
    place = list(range(7))
    place[at], place[at + 1] = at + 1, at
    moved = [0] * 7
    for vertex, mask in enumerate(inputs):
        moved[place[vertex]] = sum(1 << place[source] for source in range(7) if mask >> source & 1)
    swapped = space.cell(moved, [ops[place[vertex]] for vertex in range(7)])
    assert space.key(swapped) == space.key(space.cell(inputs, ops))


def test_what_is_pruned_does_not_matter() -> None:
    space = SPACES["nasbench101"]
    plain = space.cell([0, 1, 0, 0, 0, 0, 2], [0, 1, 0, 0, 0, 0, 0])
    dead = space.cell([0, 1, 1, 2, 4, 4, 2], [0, 1, 2, 1, 1, 0, 0])
    assert space.key(plain) == space.key(dead)
    assert space.network(plain, (3, 8, 8), 2) == space.network(dead, (3, 8, 8), 2)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([0, 1, 2, 0, 0, 0, 8], "no path from input to output"),
        ([0, 1, 3, 7, 15, 0, 31], "15 edges on paths from input to output"),
    ],
)
def test_cells_that_the_benchmark_does_not_have(inputs: list[int], message: str) -> None:
    space = SPACES["nasbench101"]
    text = space.format(space.cell(inputs, [0] * 7))
    with pytest.raises(InputError, match=message):
        space.parse(text, "file")


def test_edges_out_of_place() -> None:
    space = SPACES["nasbench201"]
    text = space.format(space.cell([1, 2, 3, 4, 0, 1])).replace(
        "source = 1, target = 2", "source = 0, target = 2"
    )
    with pytest.raises(InputError, match=r"file: edges\[2\]: from 0 to 2: must be from 1 to 2"):
        space.parse(text, "file")


def test_widths_are_split_as_published() -> None:
    inputs = [0, 1, 3, 2, 4, 0, 26]  # output reads vertices 1, 3 and 4
    assert nasbench101.widths(nasbench101.pruned(inputs), 128) == [0, 43, 42, 43, 42, 0, 0]


@pytest.mark.parametrize("name", SPACES)
def test_networks_run_and_have_the_parameters_that_are_counted(name: str) -> None:
    torch = pytest.importorskip("torch")
    from evoml.networks.module import Module
    from evoml.networks.reference import ReferenceNetwork

    module = {"nasbench201": nasbench201, "nasbench101": nasbench101}[name]
    space = class_of(module)(module.Settings.read({"skeleton": {"filters": 8, "cells": 1}}, ""))
    # three ends share 8 channels, one feeds another
    uneven = [space.cell([0, 1, 1, 2, 0, 0, 14], [0] * 7)] if name == "nasbench101" else []
    for genotype in (*space.phenotypes(space.random(streams(3, 1, np.arange(6)))), *uneven):
        for size in ((3, 16, 16), (1, 9, 7)):
            network = space.network(genotype, size, 10)
            plain, fast = ReferenceNetwork(network).eval(), Module(network).eval()
            plain.load_state_dict(fast.state_dict(), strict=False)
            images = torch.randn(2, *size)
            scores = plain(images)
            assert scores.shape == (2, 10)
            assert torch.allclose(scores, fast(images)[0], atol=1e-4)
            assert sum(value.numel() for value in plain.parameters()) == network.parameters
    for genotype in uneven:
        layers = [
            edge.layer
            for node in space.network(genotype, (3, 16, 16), 10).nodes
            for edge in node.edges
        ]
        assert layers.count("truncate") == 3  # one a stack


# -- the real tables -------------------------------------------------------------------------------


def test_keys_are_the_published_classes(data_folder: Path) -> None:
    data, space = np.load(data_folder / "nasbench201_cifar10.npz"), SPACES["nasbench201"]
    keys = space.keys(space.population(data["ops"]))
    assert len(set(keys)) == len(set(zip(keys, data["iso_class"].tolist(), strict=True))) == 6466


def test_cells_of_nasbench101_are_all_different(data_folder: Path) -> None:
    data, space = np.load(data_folder / "nasbench101_cifar10.npz"), SPACES["nasbench101"]
    assert (
        len(
            np.unique(
                space.row_codes({name: data[name] for name in ("n_vertices", "adj_bits", "ops")})
            )
        )
        == 423_624
    )


def test_parameters_are_as_published(data_folder: Path) -> None:
    data, space = np.load(data_folder / "nasbench201_cifar10.npz"), SPACES["nasbench201"]
    rows = np.arange(0, 15_625, 31)
    counted = np.array(
        [space.network(space.cell(data["ops"][row]), (3, 32, 32), 10).parameters for row in rows]
    )
    equal = counted == np.round(data["params_m"][rows] * 1e6)
    # the file has 150 rows with one convolution more or less than their cell
    assert equal.mean() > 0.98
    data, space = np.load(data_folder / "nasbench101_cifar10.npz"), SPACES["nasbench101"]
    inputs, ops = nasbench101.unpacked(
        {name: data[name] for name in ("n_vertices", "adj_bits", "ops")}
    )
    rows = np.flatnonzero(data["params_exact_match"])[::1500]
    counted = np.array(
        [
            space.network(space.cell(inputs[row], ops[row]), (3, 32, 32), 10).parameters
            for row in rows
        ]
    )
    assert (counted == data["params"][rows]).all()


def test_published_accuracies(data_folder: Path) -> None:
    space = SPACES["nasbench201"]
    facts = {
        "cifar10": (0.91607, 0.94373, (0.3977, 0.5430)),
        "cifar100": (0.73493, 0.73513, (0.1503, 0.1561)),
    }
    for name, (best, tested, skip) in facts.items():
        table = tasks.read(data_folder / f"nasbench201_{name}.npz")
        judge = evaluator(table, feedback="val200")
        everything = space.phenotypes(space.population(table.cells["ops"]))
        values = evaluate(judge, everything).objectives[:, 0]
        assert values.max() == pytest.approx(best, abs=1e-5)
        assert judge.reported(everything[values.argmax()])["accuracy"] == pytest.approx(
            tested, abs=1e-5
        )
        plain = space.cell([1] * 6)
        assert (
            evaluate(judge, [plain]).objectives[0, 0],
            judge.reported(plain)["accuracy"],
        ) == pytest.approx(skip, abs=1e-4)
    table = tasks.read(data_folder / "nasbench101_cifar10.npz")
    assert table.reported.max() == pytest.approx(0.943176, abs=1e-6)


def test_every_random_candidate_is_found(table: tasks.Table) -> None:
    space, judge = SPACES[table.space], evaluator(table)
    genotypes = space.phenotypes(space.random(streams(7, 1, np.arange(300))))
    outcomes = evaluate(judge, genotypes, streams(7, 5, np.arange(300)))
    evaluation = evaluate(judge, genotypes)
    assert outcomes.objectives.tolist() == evaluation.objectives.tolist()
    assert (evaluation.status == OK).all()
    assert judge.counts == {"candidates": 600, "steps": 600}
    codes = space.row_codes(table.cells)
    assert (codes[judge.rows(genotypes)] == space.table_codes(genotypes)).all()
    again = evaluator(table)
    again.load_state_dict(judge.state_dict())
    assert again.counts == judge.counts
    with pytest.raises(ValueError, match="not a table evaluator's state"):
        again.load_state_dict({})


def test_feedback_and_simulated_seconds(data_folder: Path) -> None:
    table, space = tasks.read(data_folder / "nasbench201_cifar10.npz"), SPACES["nasbench201"]
    data, row = np.load(data_folder / "nasbench201_cifar10.npz"), 6111
    genotype = space.cell(data["ops"][row])
    epoch = data["train_time200"][row] / 200
    for feedback, value, seconds in (
        ("auto", data["val12"][row], epoch * (12 + 1 / 3)),
        ("val200", np.nanmean(data["val200"][row]), epoch * 200),
    ):
        outcome = evaluate(evaluator(table, feedback=feedback), [genotype], [0])
        assert outcome.objectives[0, 0] == pytest.approx(value / 100)
        assert outcome.seconds[0] == pytest.approx(seconds)
    drawn = evaluate(
        evaluator(table, feedback="val200_seed"), [genotype] * 300, streams(0, 5, np.arange(300))
    )
    values = {round(100 * value, 3) for value in drawn.objectives[:, 0].tolist()}
    assert values == {
        round(float(value), 3) for value in data["val200"][row] if not np.isnan(value)
    }


def test_other_objectives(data_folder: Path) -> None:
    table, space = tasks.read(data_folder / "nasbench201_cifar10.npz"), SPACES["nasbench201"]
    judge = evaluator(table, objectives=("accuracy", "parameters", "latency", "pixel3_latency"))
    assert judge.weights == (1, -1, -1, -1)
    values = evaluate(judge, [space.cell([3] * 6)]).objectives[0]
    assert values[1] == 1_531_546  # all 3x3 convolutions
    assert list(judge.reported(space.cell([3] * 6))) == [
        "accuracy",
        "parameters",
        "latency",
        "pixel3_latency",
    ]
    with pytest.raises(
        InputError,
        match=r"evaluator.objectives: beauty: not in .*; there are accuracy, parameters, latency",
    ):
        evaluator(table, objectives=("accuracy", "beauty"))
    with pytest.raises(InputError, match="must be accuracy first"):
        evaluator(table, objectives=("latency",))


def with_columns(path: Path, **columns: list[float]) -> tasks.Table:
    """A made table with these columns more, each a few numbers over and over."""
    numbers = [np.resize(np.array(column), 15_625) for column in columns.values()]
    return tasks.read(small(path, hw=np.stack(numbers, 1), hw_names=np.array(list(columns))))


def test_a_column_says_which_way_is_better_or_is_refused(tmp_path: Path) -> None:
    table = with_columns(tmp_path / "made.npz", beauty=[1.0, 3.0], phone_latency=[2.0, -1.0])
    space = SPACES["nasbench201"]
    names = ("accuracy", "beauty", "phone_latency")
    with pytest.raises(InputError) as error:
        evaluator(table, objectives=names)
    assert str(error.value) == (
        "evaluator.objectives: beauty: nothing says whether larger is better; name it in "
        "evaluator.larger or evaluator.smaller"
    )
    for setting, weight in (("larger", 1.0), ("smaller", -1.0)):
        settings = evaluators.Settings.read({"objectives": names, setting: ["beauty"]}, "")
        judge = evaluators.TableEvaluator(settings, table, space)
        assert judge.weights == (1.0, weight, -1.0)
        said = judge.objectives_of(settings, tasks.TableTask)
        assert said == judge.objectives
        assert [(each.unit, each.kind) for each in said] == [
            ("", "looked up"), ("", "looked up"), ("ms", "looked up"),
        ]  # fmt: skip
    # what was not measured is worst; a user knows better than a name's ending
    unmeasured = space.cell(table.cells["ops"][1])
    assert evaluate(judge, [unmeasured]).objectives[0, 1:].tolist() == [3.0, np.inf]
    judge = evaluator(table, objectives=names, smaller=("beauty",), larger=("phone_latency",))
    assert judge.weights == (1.0, -1.0, 1.0)
    assert evaluate(judge, [unmeasured]).objectives[0, 2] == -np.inf
    with pytest.raises(InputError, match=r"evaluator.smaller: beauty: is in evaluator.larger too"):
        evaluators.Settings.read({"larger": ["beauty"], "smaller": ["beauty"]}, "evaluator")
    with pytest.raises(InputError, match=r"evaluator.smaller: accuracy: more of it is better"):
        evaluators.Settings.read({"smaller": ["accuracy"]}, "evaluator")


def test_evolution_beats_random_cells(data_folder: Path) -> None:
    table, space = tasks.read(data_folder / "nasbench201_cifar10.npz"), SPACES["nasbench201"]
    box = toolbox(space, evaluator(table, feedback="val200"))
    strategy = aging_evolution.AgingEvolution(
        box, aging_evolution.Settings(population=30, tournament=10, block=1), 0
    )
    for number in range(300):
        candidate = strategy.ask(np.array([number]))
        box.score(candidate)
        strategy.tell(candidate)
    assert strategy.fitness.max() > 0.91


# -- what does not fit -----------------------------------------------------------------------------


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    table = tasks.read(small(tmp_path / "small.npz"))
    with pytest.raises(
        InputError,
        match=r"evaluator: table answers for nasbench201 with .*small.npz, not for space cell",
    ):
        evaluators.TableEvaluator(evaluators.Settings(), table, cell.CellSpace(cell.Settings()))
    with pytest.raises(InputError, match="not for space nasbench101"):
        evaluators.TableEvaluator(evaluators.Settings(), table, SPACES["nasbench101"])
    with pytest.raises(InputError, match="which this task does not give"):
        evaluators.TableEvaluator(evaluators.Settings(), object(), SPACES["nasbench201"])  # type: ignore[arg-type]
    with pytest.raises(
        InputError,
        match=r"evaluator.feedback: test108: not in .*; there are val12, val200, val200_seed",
    ):
        evaluators.TableEvaluator(
            evaluators.Settings(feedback="test108"), table, SPACES["nasbench201"]
        )
    with pytest.raises(InputError, match="trains on images"):
        TrainingEvaluator(TrainingEvaluator.exact(_training()), table, SPACES["nasbench201"])  # type: ignore[arg-type]


def _training() -> Any:
    from evoml.evaluators.training import Settings

    return Settings()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val12": None}, "no array val12; there must be"),
        (
            {"ops": np.full((15_625, 6), 5, np.uint8)},
            r"ops: uint8 of shape \[15625, 6\]; must be integers in 0..4",
        ),
        ({"ops": np.zeros((0, 6), np.uint8)}, r"ops: uint8 of shape \[0, 6\]; must be"),
        ({"test200": np.full(15_625, 101.0)}, "test200: 101 in row 0; must be in 0..100"),
        (
            {"train_time200": np.full(15_625, np.nan)},
            "train_time200: nan in row 0; must be 0 or more",
        ),
        (
            {"latency": np.zeros(3)},
            r"latency: float64 of shape \[3\]; must be numbers of shape \[15625\]",
        ),
        ({"val200": np.full((15_625, 2), np.nan)}, "val200: .* with NaN only behind"),
        ({"val200": np.zeros(15_625)}, "val200: .* must be"),
        ({"val200": np.array(["x"] * 15_625)}, "val200: .* must be"),
        ({"hw": np.zeros(4), "hw_names": np.array(["a"])}, "hw: float64"),
    ],
)
def test_bad_arrays(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        tasks.read(small(tmp_path / "bad.npz", **changes))
    assert "bad.npz" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data: task table has none of its own"):
        tasks.TableTask(tasks.Settings(), None, 0)
    with pytest.raises(InputError, match="no such file"):
        tasks.TableTask(tasks.Settings(), tmp_path / "none.npz", 0)
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(InputError, match="damaged, or not an .npz"):
        tasks.read(tmp_path / "text.npz")
    np.savez(
        tmp_path / "cells.npz",
        n_vertices=np.array([9]),
        adj_bits=np.array([1]),
        ops=np.zeros((1, 5), int),
        test108=np.array([0.5]),
        params=np.array([3]),
    )
    with pytest.raises(
        InputError, match=r"n_vertices: int64 of shape \[1\]; must be integers in 0..7"
    ):
        tasks.read(tmp_path / "cells.npz")


def test_incomplete_and_double_rows(tmp_path: Path) -> None:
    space = SPACES["nasbench201"]
    arrays = dict(np.load(small(tmp_path / "small.npz")))
    np.savez(tmp_path / "half.npz", **{name: array[:7000] for name, array in arrays.items()})
    judge = evaluator(tasks.read(tmp_path / "half.npz"))
    with pytest.raises(InputError, match="not a complete table"):
        evaluate(judge, [space.cell([4] * 6)])
    np.savez(
        tmp_path / "twice.npz",
        **{name: np.concatenate([array, array[:1]]) for name, array in arrays.items()},
    )
    with pytest.raises(InputError, match="a cell is in it twice"):
        evaluator(tasks.read(tmp_path / "twice.npz"))
