"""Tables as users' files have them: what is left out, what is filled, what is refused in a line."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import evoml

from evoml.core.errors import InputError
from evoml.tasks import examples
from evoml.tasks.examples import ExamplesTask

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 60))
Y = 2 * A - B
CLASSES = np.where(A > B, "over", "under")


def learn(path: Path, **values: Any) -> ExamplesTask:
    return ExamplesTask(examples.Settings(**values), path, 0)


def csv(path: Path, encoding: str = "utf-8", **columns: Any) -> Path:
    frame = pd.DataFrame({"a": A, "b": B} | columns)
    frame.to_csv(path / "table.csv", index=False, encoding=encoding)
    return path / "table.csv"


def with_row(values: Any, row: int, value: Any) -> list[Any]:
    out = list(values)
    out[row] = value
    return out


@pytest.mark.parametrize("named", [None, "who"])
def test_the_index_of_pandas_is_no_column(tmp_path: Path, named: str | None) -> None:
    frame = pd.DataFrame({"a": A, "b": B, "y": Y}).sample(frac=1, random_state=0)
    frame.rename_axis(named).to_parquet(tmp_path / "table.parquet")
    task = learn(tmp_path / "table.parquet")
    assert task.columns == ("a", "b") and task.targets == ("y",)
    assert "pandas' index, left out" in task.remarks[0]


def test_a_first_column_that_counts_the_rows_is_left_out(tmp_path: Path) -> None:
    pd.DataFrame({"a": A, "kind": np.sort(CLASSES)}).to_csv(tmp_path / "table.csv")
    task = learn(tmp_path / "table.csv")
    assert task.columns == ("a",) and "names the rows: left out" in task.remarks[0]
    task = learn(csv(tmp_path, number=np.arange(1, 61), y=Y))
    assert "number" in task.columns and "task.ignore leaves it out" in task.remarks[0]
    assert learn(tmp_path / "table.csv", ignore="number").columns == ("a", "b")


def test_decimals_are_numbers(tmp_path: Path) -> None:
    def decimal(values: Any) -> pa.Array:
        return pa.array(np.round(values, 2)).cast(pa.decimal128(12, 2))

    pq.write_table(pa.table({"a": decimal(A), "b": B, "y": decimal(Y)}), tmp_path / "t.parquet")
    task = learn(tmp_path / "t.parquet")
    assert task.classes == () and np.allclose(
        task.y * task.scale + task.offset, np.round(Y, 2)[:, None]
    )


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_whole_numbers_that_are_floats_are_classes(tmp_path: Path, kind: str) -> None:
    target = (A > B).astype(float)
    np.savez(tmp_path / "table.npz", inputs=np.stack([A, B], 1), targets=target)
    path = csv(tmp_path, sick=target) if kind == "csv" else tmp_path / "table.npz"
    assert learn(path).classes == ("0", "1") and learn(path).units.classes == (0, 1)
    assert learn(path, kind="regression").classes == ()
    assert learn(csv(tmp_path, y=with_row(target, 3, 0.5))).classes == ()


def test_encodings_and_separators(tmp_path: Path) -> None:
    latin = csv(tmp_path, "latin-1", größe=A, y=np.where(A > B, "groß", "klein"))
    with pytest.raises(InputError, match=r"not UTF-8 at byte 6, in line 1; set task\.encoding"):
        learn(latin)
    task = learn(latin, encoding="latin-1")
    assert task.columns == ("a", "b", "größe") and task.classes == ("groß", "klein")
    wide = csv(tmp_path, "utf-16", y=Y)
    with pytest.raises(InputError, match=r"is UTF-16; set task\.encoding=utf-16"):
        learn(wide)
    assert learn(wide, encoding="utf-16").targets == ("y",)
    frame = pd.DataFrame({"a": A, "b": B, "y": Y})
    frame.to_csv(tmp_path / "s.csv", sep=";", decimal=",", index=False)
    with pytest.raises(
        InputError, match=r"a semicolon seems .* task\.separator=';', and task\.dec"
    ):
        learn(tmp_path / "s.csv")
    task = learn(tmp_path / "s.csv", separator=";", decimal=",")
    assert task.columns == ("a", "b") and np.allclose(task.y * task.scale + task.offset, Y[:, None])
    frame.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    for name in ("t.tsv", "t.csv.gz"):
        assert learn(tmp_path / name).columns == ("a", "b")
    with pytest.raises(InputError, match="cannot be read as csv"):
        learn(csv(tmp_path, y=Y), encoding="nonsense")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            with_row(A, 40, "?"),
            r"'\?' in row 40 of the data is no number \(1 such row\);.*\['\?'\]",
        ),
        (
            [f"{1000 * abs(x):,.2f}" for x in A],
            r"is no number \(\d+ such rows\); write numbers such",
        ),
        ([f"{100 * x:.0f}%" for x in A], r"%' in row 0 of the data is no number \(60 such rows\)"),
        ([None] * 60, r"column c: no value in any row; leave it out: task\.ignore"),
        (
            with_row(A, 5, 1.7976931348623157e308),
            r"c: 1\.7976931348623157e\+308 in row 5 .*\(1 such row\)",
        ),
        (
            A * 1e199,
            r"in row 0 of the data \(60 such rows\); beside numbers so large others are nothing",
        ),
        (
            with_row(A, 7, None),
            r"no value in row 7 of the data \(1 such row\); fill it with task\.m",
        ),
        (
            [f"word{at}" for at in range(60)],
            r"c: text of 60 different values, such as 'word0'; text",
        ),
        (with_row(A, 2, "inf"), r"c: inf in row 2"),
    ],
)
@pytest.mark.parametrize("place", ["input", "target"])
def test_what_is_no_number_is_named_with_its_row(
    tmp_path: Path, column: list[Any], message: str, place: str
) -> None:
    path = csv(tmp_path, **({"c": column, "y": Y} if place == "input" else {"y": Y, "c": column}))
    if place == "target" and "word0" in column:
        message = "c: text of 60 different values, such as 'word0', which cannot be classes"
    if place == "target" and "no value in" in message:
        message = "column c: .*no value|column c: no value"
    with pytest.raises(InputError, match=message) as error:
        learn(path)
    assert "\n" not in str(error.value) and "c" in str(error.value)


def test_what_counts_as_missing_is_a_setting(tmp_path: Path) -> None:
    region = np.where(A > B, "NA", "EU")
    path = csv(tmp_path, region=region)
    with pytest.raises(InputError, match=r"no value in row .* task\.missing_values=\[\]"):
        learn(path)
    assert learn(path, missing_values=()).classes == ("EU", "NA")
    marked = csv(tmp_path, c=with_row(A, 3, -9999.0), y=Y)
    filled = learn(marked, missing_values=("-9999",), missing="mean")
    assert filled.units.fill[2] == pytest.approx(A[filled._parts[0]][filled._parts[0] != 3].mean())
    asked = learn(csv(tmp_path, c=with_row(A, 3, "?"), y=Y), missing_values=("?",), missing="drop")
    assert len(asked.x) == 59 and "1 of 60 rows lack a value" in asked.remarks[0]


@pytest.mark.parametrize("missing", ["mean", "median"])
def test_holes_are_filled_from_the_training_rows(tmp_path: Path, missing: str) -> None:
    holes = A.copy()
    holes[::5] = np.nan
    task = learn(csv(tmp_path, c=holes, y=Y), missing=missing)
    train = holes[task._parts[0]]
    fill = float({"mean": np.nanmean, "median": np.nanmedian}[missing](train))
    assert task.units.fill[2] == pytest.approx(fill) and np.isfinite(task.units.fill).all()
    raw = task.x[:, 2] * task.deviation[2] + task.mean[2]
    np.testing.assert_allclose(raw, np.where(np.isnan(holes), fill, holes))
    with pytest.raises(InputError, match="no value in row 0"):
        learn(tmp_path / "table.csv")


def test_rows_without_a_target_are_left_out_where_that_is_wanted(tmp_path: Path) -> None:
    path = csv(tmp_path, y=with_row(CLASSES, 9, None))
    with pytest.raises(InputError, match=r"column y: no value in row 9 .*task\.missing=drop"):
        learn(path, missing="mean")
    task = learn(path, missing="drop")
    assert len(task.x) == 59 == len(task.labels) and task.classes == ("over", "under")


def test_text_of_few_values_is_an_input_for_each(tmp_path: Path) -> None:
    colour = np.array(["red", "blue", "green"])[np.arange(60) % 3]
    task = learn(csv(tmp_path, colour=with_row(colour, 5, None), y=Y), missing="mean")
    assert task.columns == ("a", "b", "colour=blue", "colour=green", "colour=red")
    raw = np.round(task.x * task.deviation + task.mean, 9)[:, 2:]
    expected = np.stack([colour == each for each in ("blue", "green", "red")], 1).astype(float)
    expected[5] = 0  # a hole is none of them
    np.testing.assert_array_equal(raw, expected)
    assert "text, so an input for each of its 3 values: blue, green, red" in task.remarks[0]
    assert task.units.table == {"a": None, "b": None, "colour": ("blue", "green", "red")}
    with pytest.raises(InputError, match=r"column colour: text of 3 different values.*at most 2"):
        learn(tmp_path / "table.csv", missing="mean", categories=2)
    with pytest.raises(InputError, match="column colour: no value in row 5"):
        learn(tmp_path / "table.csv")


def test_names_with_commas_and_spaces(tmp_path: Path) -> None:
    path = csv(tmp_path, **{"price, EUR": Y, " c": A})
    assert learn(path, target="price, EUR").targets == ("price, EUR",)
    assert learn(path, target="c").targets == ("c",) and learn(path, target=" c , b").targets
    with pytest.raises(InputError, match="two columns 'a'"):
        learn(csv(tmp_path, **{" a": A, "y": Y}))


def test_what_is_remarkable_is_said(tmp_path: Path) -> None:
    ids = np.arange(60, dtype=np.uint64) * np.uint64(7) % np.uint64(60) + np.uint64(2**63)
    task = learn(csv(tmp_path, id=ids, y=Y))
    assert "column id: whole numbers beyond 9e15 lose their last digits" in task.remarks[0]
    np.savetxt(tmp_path / "t.csv", np.stack([A, B, Y], 1), delimiter=",")
    assert "is taken for names of columns" in learn(tmp_path / "t.csv").remarks[0]
    task = learn(tmp_path / "t.csv", header=False)
    assert not task.remarks and len(task.x) == 60
    assert "the same in every training row" in learn(csv(tmp_path, c=1.5, y=Y)).remarks[0]


def test_exported_modules_take_the_table_s_own_values(tmp_path: Path) -> None:
    """Text, and holes, as the task itself reads them."""
    colour = np.array(["red", "blue", "green"])[np.arange(60) % 3]
    holes = with_row(A, 8, None)
    path = csv(tmp_path, c=holes, colour=colour, y=Y + (colour == "red"))
    sets = ["--set", "task.missing=median", "--budget", "300", "--run", tmp_path / "run"]
    done = evoml("search", "neat", "--task", "examples", "--data", path, *sets)
    assert done.returncode == 0 and "note: column colour: text" in done.stderr
    assert (
        evoml("export", tmp_path / "run", "--to", "python", "-o", tmp_path / "m.py").returncode == 0
    )
    assert evoml("export", tmp_path / "run", "--to", "torch", "-o", tmp_path / "m").returncode == 0
    python, torch_module = (loaded(tmp_path / name) for name in ("m.py", "m/network.py"))
    task = learn(path, missing="median")
    table = pd.read_csv(path)
    rows = table[["a", "b", "c", "colour"]].replace({np.nan: None}).to_numpy().tolist()
    own = [python.outputs(list(row))[0] * task.scale[0] + task.offset[0] for row in task.x]
    np.testing.assert_allclose([python.network(row)[0] for row in rows], own)
    import torch

    encoded = np.column_stack(
        [A, B, np.array(holes, float), *(colour == each for each in ("blue", "green", "red"))]
    )
    answers = torch_module.load(dtype=torch.float64)(torch.tensor(encoded.astype(float)))
    np.testing.assert_allclose(answers[:, 0].detach().numpy(), own, rtol=1e-6)


def loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
