"""Tables of latencies: what networks are made of, files, measuring, the command, and searches that
read them.

Rank correlation against known values.
"""

import json
from itertools import permutations
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evoml import cli
from evoml.config import assign, build
from evoml.core.errors import InputError
from evoml.core.rank_correlation import kendall, spearman
from evoml.evaluators import training
from evoml.genotypes.schema import Genotype
from evoml.networks.latency import (
    ADD,
    CONCAT,
    HEAD,
    SCHEMA,
    Key,
    Table,
    drawn,
    known,
    linear,
    multiply_adds,
    parts,
)
from evoml.search.problem import Problem
from evoml.spaces import cell, chain, mobile, nasbench201
from evoml.tasks import digits

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, CLASSES = (1, 8, 8), 10
MOBILE = mobile.MobileSpace(
    mobile.Settings(
        widths=(6, 8), blocks=(2, 2), strides=(1, 2), skeleton={"stem": 4, "first": 6, "last": 10}
    )
)  # type: ignore[arg-type]
DARTS = cell.CellSpace(
    cell.Settings(
        blocks=2,
        operations="darts",
        output="all",
        skeleton=cell.CellSkeleton(cells=1, filters=4, reductions=1),
    )
)
NB201 = nasbench201.NASBench201Space(nasbench201.Settings())
SPACES = {
    "mobile": MOBILE,
    "cell": DARTS,
    "nasbench201": NB201,
    "chain": chain.ChainSpace(chain.Settings(most=3, kernels=(3, 5), filters=(4, 6))),
}


def price(key: Key) -> float:
    """A number of its own for every row."""
    return (crc32(repr(key).encode()) % 1000 + 1) * 1e-6


def table(space: Any) -> Table:
    return Table({key: price(key) for key in known(space, SIZE, CLASSES)}, {"machine": "none"})


def some(space: Any, count: int = 12) -> list[Genotype]:
    population = space.random(np.arange(1, count + 1, dtype=np.uint64))
    return [population.genotype(index) for index in range(count)]


# rank correlation


def test_known_values_of_rank_correlation() -> None:
    a = np.array([1, 2, 3, 4, 5.0])
    assert kendall(a, a**3) == spearman(a, a**3) == 1 and kendall(a, -a) == spearman(a, -a) == -1
    b = np.array([2, 1, 4, 3, 5.0])
    assert kendall(a, b) == pytest.approx(6 / 10) and spearman(a, b) == pytest.approx(
        1 - 6 * 4 / (5 * 24)
    )
    # ties: 4 pairs agree, none does not, of 5 and 5 that are untied
    assert kendall(np.array([1, 2, 2, 3.0]), np.array([1, 1, 2, 3.0])) == pytest.approx(4 / 5)
    assert spearman(np.array([1, 2, 2, 3.0]), np.array([1, 1, 2, 3.0])) == pytest.approx(
        np.corrcoef([0, 1.5, 1.5, 3], [0.5, 0.5, 2, 3])[0, 1]
    )


def test_rank_correlations_are_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for size, values in ((30, 1000), (30, 4), (5, 3)):
        a, b = rng.integers(0, values, (2, size)).astype(float)
        assert kendall(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_where_nothing_is_known_of_an_order_there_is_no_correlation() -> None:
    for function in (kendall, spearman):
        assert (
            function(np.ones(4), np.arange(4))
            == function(np.arange(4), np.ones(4))
            == function(np.array([]), np.array([]))
            == 0
        )
        assert function(np.array([1.0]), np.array([2.0])) == 0
        assert function(np.array([1, np.nan, 2, 3]), np.array([1, 9, 2, np.nan])) == 1
        assert function(np.array([1, np.inf, 2]), np.array([1, 3, 2])) == 1, (
            "infinity is the largest"
        )
        assert (
            abs(
                np.mean(
                    [function(np.arange(4), np.array(order)) for order in permutations(range(4))]
                )
            )
            < 1e-12
        )
        with pytest.raises(ValueError, match="equal length"):
            function(np.arange(3), np.arange(4))


# what networks are made of


@pytest.mark.parametrize("name", SPACES)
def test_multiply_adds_of_the_parts_are_the_networks(name: str) -> None:
    for network in drawn(SPACES[name], SIZE, CLASSES, 8):
        assert sum(map(multiply_adds, parts(network))) == network.multiply_adds


@pytest.mark.parametrize("name", SPACES)
def test_a_table_knows_all_layers_of_its_space(name: str) -> None:
    space = SPACES[name]
    rows = known(space, SIZE, CLASSES)
    assert known(space, SIZE, CLASSES) == rows
    for network in drawn(space, SIZE, CLASSES, 300, seed=99):
        assert set(parts(network)) <= rows


@pytest.mark.parametrize("space", [MOBILE, NB201], ids=lambda space: space.name)
def test_what_options_cost_sums_to_what_a_network_costs(space: Any) -> None:
    prices, supernet = table(space), space.supernet(SIZE, CLASSES)
    options, fixed = prices.options(supernet), prices.fixed(supernet)
    assert options.shape == supernet.available.shape and not options[~supernet.available].any()
    compared = 0
    for genotype in some(space, 30):
        network = space.network(genotype, SIZE, CLASSES)
        if all(edge.layer != "none" for node in network.nodes for edge in node.edges):
            compared += 1
            assert fixed + (options * space.paths(genotype)).sum() == pytest.approx(
                prices.network(network), rel=1e-12
            )
    assert compared > 5


def test_a_cells_options_cost_what_they_do_in_a_network() -> None:
    """By multiply-adds, which pooling with and without a normalisation have alike."""
    fixed, options = linear(DARTS.supernet(SIZE, CLASSES), multiply_adds)
    reads = [
        (each, [set(rows["input_a"]) | set(rows["input_b"]) for rows in each.tables.values()])
        for each in some(DARTS, 40)
    ]
    # else what makes the other is left out
    both = [genotype for genotype, cells in reads if all({0, 1} <= states for states in cells)]
    assert len(both) > 5
    for genotype in both:
        assert (
            fixed + (options * DARTS.paths(genotype)).sum()
            == DARTS.network(genotype, SIZE, CLASSES).multiply_adds
        )


def test_sums_and_concatenations_are_counted() -> None:
    network = next(drawn(DARTS, SIZE, CLASSES, 1))
    rows = list(parts(network))
    assert sum(key[0] == HEAD for key in rows) == 1
    assert (
        sum(key[0] == ADD for key in rows)
        == sum(len(node.edges) - 1 for node in network.nodes[1:] if node.merge == "add")
        > 0
    )
    assert (
        sum(key[0] == CONCAT for key in rows)
        == sum(node.merge == "concat" for node in network.nodes)
        > 0
    )
    assert not any(key[0] == "identity" and key[1] == key[2] and key[3] == 1 for key in rows)


def test_a_layer_that_is_not_in_the_table_is_named() -> None:
    prices = table(MOBILE)
    short = Table(
        {key: value for key, value in prices.rows.items() if key[0] != "mbconv_7x7_e6"},
        where="short.parquet",
    )
    with pytest.raises(
        InputError,
        match=r"short\.parquet: no row for mbconv_7x7_e6, \d+ to \d+ channels, stride \d, on 8x8; "
        r".*latency",
    ):
        short.options(MOBILE.supernet(SIZE, CLASSES))


# files


def test_a_file_gives_the_table_back(tmp_path: Path) -> None:
    made = table(MOBILE)
    made.write(tmp_path / "a.parquet")
    read = Table.read(tmp_path / "a.parquet")
    assert read.rows == made.rows and read.about == {"machine": "none"}
    assert pq.read_schema(tmp_path / "a.parquet").names == SCHEMA.names
    with pytest.raises(InputError, match="cannot write"):
        made.write(tmp_path / "none" / "a.parquet")
    with pytest.raises(InputError, match="is a folder"):
        made.write(tmp_path)


def spoilt(path: Path, how: str) -> None:
    """A bad file of this kind."""
    meta = {"evoml": json.dumps({"format": "latency 1"})}
    row: dict[str, Any] = {
        "layer": "bn",
        "inputs": 1,
        "outputs": 1,
        "stride": 1,
        "height": 1,
        "width": 1,
        "seconds": 1.0,
    }
    rows, schema = [row], SCHEMA
    match how:
        case "text":
            path.write_text("layer,seconds\n")
            return
        case "folder":
            path.mkdir()
            return
        case "no format" | "strange format" | "not JSON" | "a list":
            meta = {
                "no format": {},
                "strange format": {"evoml": '{"format": "latency 9"}'},
                "not JSON": {"evoml": "x"},
                "a list": {"evoml": "[]"},
            }[how]  # type: ignore[assignment]
        case "columns":
            schema = pa.schema([field for field in SCHEMA if field.name != "stride"])
        case "types":
            schema = SCHEMA.set(6, pa.field("seconds", pa.string()))
            row["seconds"] = "1"
        case "negative" | "nan" | "null":
            row["seconds"] = {"negative": -1.0, "nan": float("nan"), "null": None}[how]
        case "twice":
            rows = [row, row]
        case "size":
            row["height"] = 0
        case "nothing":
            return
    pq.write_table(
        pa.Table.from_pylist(
            [{k: v for k, v in each.items() if k in schema.names} for each in rows],
            schema.with_metadata(meta),
        ),
        path,
    )


@pytest.mark.parametrize(
    "how",
    [
        "text", "folder", "no format", "strange format", "not JSON", "a list", "columns", "types",
        "negative", "nan", "null", "twice", "size", "nothing",
    ],
)  # fmt: skip
def test_bad_files_are_refused_in_one_line(how: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    spoilt(path, how)
    with pytest.raises(InputError) as error:
        Table.read(path)
    assert (
        str(error.value).startswith(f"{path}: ")
        and "\n" not in str(error.value)
        and len(str(error.value)) < 400
    )


# measuring


def test_measuring_gives_every_row_and_says_of_what() -> None:
    torch = pytest.importorskip("torch")
    from evoml.networks.latency import measure, whole

    rows = known(MOBILE, SIZE, CLASSES) | {(CONCAT, 8, 8, 1, 4, 4), ("none", 4, 8, 2, 8, 8)}
    before = torch.get_num_threads()
    made = measure(rows, repeats=3)
    assert set(made.rows) == rows and torch.get_num_threads() == before
    assert (
        all(0 <= seconds < 10 for seconds in made.rows.values())
        and made.rows[next(key for key in rows if key[0] == HEAD)] > 0
    )
    assert (
        made.about["threads"] == 1
        and made.about["torch"] == torch.__version__
        and made.about["machine"]
    )
    times = whole(list(drawn(MOBILE, SIZE, CLASSES, 2)), 4)
    assert times.shape == (2, 4) and (times > 0).all() and whole([], 4).shape == (0, 4)
    with pytest.raises(InputError, match="nonsense, 1 to 1 channels.*no such layer"):
        measure([("nonsense", 1, 1, 1, 1, 1)])


def test_a_table_ranks_networks_of_very_different_sizes() -> None:
    """With what a machine takes 30 times as long for, no disturbance is mistaken."""
    from evoml.networks.latency import measure, whole

    networks = []
    for width in (8, 64, 256):
        space = chain.ChainSpace(chain.Settings(least=3, most=3, filters=(width,), kernels=(5,)))
        networks.append(next(drawn(space, (3, 16, 16), 10, 1)))
    made = measure({key for network in networks for key in parts(network)}, repeats=5)
    predicted, measured = (
        [made.network(network) for network in networks],
        np.median(whole(networks, 5), 1),
    )
    assert kendall(np.array(predicted), measured) == 1


# the command


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.run(["latency", "--repeats", "2", *arguments])
    return capsys.readouterr().out


def test_the_command_writes_a_table_and_checks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, blocks = (
        tmp_path / "t.parquet",
        ("--set", "space.widths=[6]", "--set", "space.blocks=[2]", "--set", "space.strides=[2]"),
    )
    report = json.loads(command(capsys, "-o", str(path), "--check", "4", "--json", *blocks))
    assert report["rows"] == len(Table.read(path).rows) > 15 and report["table"] == str(path)
    assert report["check"]["networks"] == 4 and all(
        -1 <= report["check"][name] <= 1 for name in ("spearman", "kendall")
    )
    text = command(
        capsys, "--check", "3", "--space", "nasbench201", "--set", "space.skeleton.cells=1"
    )
    assert "Spearman" in text and "Kendall" in text and "not kept" in text
    assert f"rows on {Table.read(path).about['machine']}" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("-o", "--check")),
        (("-o", "/none/at/all.parquet"), ("/none/at/all.parquet", "cannot write")),
        (("--check", "2", "--space", "neat"), ("neat", "mobile")),
        (("--check", "2", "--space", "mobil"), ("mobile",)),
        (("--check", "2", "--set", "space.widths=[0]"), ("space.widths",)),
        (("--check", "-1"), ("--check",)),
        (("--check", "2", "--task", "xor"), ("xor",)),
    ],
    ids=str,
)
def test_the_command_refuses_bad_input_in_one_line(
    arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as error:
        cli.run(["latency", *arguments])
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(
        error.value
    )


# searches that read a table


def evaluator(path: Path, space: Any = MOBILE, **settings: Any) -> training.TrainingEvaluator:
    given = {
        "objectives": ["accuracy", "predicted_latency"],
        "latency_table": str(path),
        "epochs": 1,
    }
    return training.TrainingEvaluator(
        training.Settings.read(given | settings, "evaluator"),
        digits.DigitsTask(digits.Settings(examples=60), None, 0).search(0),
        space,
    )


def test_the_predicted_latency_is_an_objective(tmp_path: Path) -> None:
    made = table(MOBILE)
    made.write(tmp_path / "t.parquet")
    judge = evaluator(tmp_path / "t.parquet")
    assert judge.weights == (1.0, -1.0)
    for genotype in some(MOBILE, 2):
        accuracy, seconds = judge.candidate(genotype, 1).objectives[0]
        assert 0 <= accuracy <= 1 and seconds == made.network(
            MOBILE.network(genotype, SIZE, CLASSES)
        )


def test_a_table_that_is_none_or_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evaluator.*predicted_latency needs latency_table"):
        training.Settings.read({"objectives": ["predicted_latency"]}, "evaluator")
    with pytest.raises(InputError, match="no such file"):
        evaluator(tmp_path / "none.parquet")
    table(NB201).write(tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"other\.parquet: no row for"):
        evaluator(tmp_path / "other.parquet")


def test_the_winners_training_needs_no_table() -> None:
    given = training.Settings(
        objectives=("accuracy", "predicted_latency"), latency_table="gone.parquet"
    )
    assert training.TrainingEvaluator.exact(given).objectives == ("accuracy",)


def test_the_pareto_search_reads_a_table(tmp_path: Path) -> None:
    from evoml.search.open import open_search

    path = tmp_path / "t.parquet"
    made = table(MOBILE)
    made.write(path)
    sets = [
        "space.name=mobile", "space.widths=[6, 8]", "space.blocks=[2, 2]", "space.strides=[1, 2]",
        "space.skeleton={stem=4, first=6, last=10}", "strategy.name=nsga2", "strategy.population=4",
        "evaluator.name=training", "evaluator.epochs=1",
        'evaluator.objectives=["accuracy", "predicted_latency"]', f"evaluator.latency_table={path}",
        "task.name=digits", "task.examples=60", "search.budget=6", "workers=1",
    ]  # fmt: skip
    search = open_search(build(*(("--set", assign(text)) for text in sets)), tmp_path / "run")
    search.create()
    search.prepare()
    search.run()
    problem = Problem(search.config)
    rows = problem.archive(tmp_path / "run").table()[0]
    genotypes = problem.space.schema.from_arrow(rows["genotype"].combine_chunks(), "part")
    assert len(genotypes) == 6
    for genotype, seconds in zip(genotypes, rows["predicted_latency"].to_pylist(), strict=True):
        assert seconds == made.network(MOBILE.network(genotype, SIZE, CLASSES))
