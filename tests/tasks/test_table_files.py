"""Tables as users' files have them: what is left out, what is filled, what is refused in a line."""

import gzip
import importlib.util
import json
import os
import re
import subprocess
import sys
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


# -- kinds of the same -----------------------------------------------------------------------------


def as_file(folder: Path, kind: str, frame: pd.DataFrame, index: bool) -> Path:
    path = folder / f"table.{kind}"
    write = {"csv": frame.to_csv, "parquet": frame.to_parquet}[kind]
    write(path, index=index)
    return path


@pytest.mark.parametrize(
    "order", [np.argsort(CLASSES), RNG.permutation(60), np.arange(60)], ids=["class", "none", "row"]
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_index_says_nothing_in_any_order(tmp_path: Path, kind: str, order: np.ndarray) -> None:
    """Numbers of rows that were sorted by class give the class away."""
    frame = pd.DataFrame({"a": A, "b": B, "y": CLASSES}).iloc[order]
    path = as_file(tmp_path, kind, frame, True)
    assert learn(path).columns == ("a", "b") and "left out" in learn(path).remarks[0]
    if kind == "csv":  # as it is once it was read again
        again = as_file(tmp_path, "parquet", pd.read_csv(path), False)
        assert learn(again).columns == ("a", "b")
        assert learn(path, inference="types").columns[0] == ""


def test_other_columns_without_a_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": A, "b": B, "y": CLASSES})
    pairs = pd.MultiIndex.from_product([range(6), range(10)])
    frame.set_index(pairs).to_csv(tmp_path / "two.csv")
    frame.set_index(pd.Index([f"row {at}" for at in range(60)])).to_csv(tmp_path / "names.csv")
    for name in ("two", "names"):
        assert learn(tmp_path / f"{name}.csv").columns == ("a", "b")
    lines = frame.to_csv(index=False).splitlines()
    (tmp_path / "end.csv").write_text("\n".join(f"{line}," for line in lines))
    task = learn(tmp_path / "end.csv")
    assert task.targets == ("y",) and "column 4 has neither a name nor a value" in task.remarks[0]
    frame.columns = pd.Index(["a", "", "y"])
    frame.to_csv(tmp_path / "middle.csv", index=False)
    assert learn(tmp_path / "middle.csv").columns == ("a", "column 2")
    bare = pq.read_table(as_file(tmp_path, "parquet", frame.iloc[::-1], True))
    pq.write_table(bare.replace_schema_metadata({}), tmp_path / "bare.parquet")
    assert learn(tmp_path / "bare.parquet").targets == ("y",)
    frame.set_index("a").to_parquet(tmp_path / "wanted.parquet")
    assert learn(tmp_path / "wanted.parquet", target="a").targets == ("a",)


def test_text_that_is_numbers_is_numbers(tmp_path: Path) -> None:
    words = np.where(A > 0, " red ", "blue")
    np.savez(tmp_path / "t.npz", x=np.stack([A.astype(str), words], 1), y=CLASSES.astype("S"))
    task = learn(tmp_path / "t.npz")
    assert task.columns == ("inputs[0]", "inputs[1]=blue", "inputs[1]=red")
    assert task.classes == ("over", "under")
    frame = pd.DataFrame({"a": A.astype(str), "zip": np.where(A > B, "01", "02"), "y": Y})
    task = learn(as_file(tmp_path, "parquet", frame, False))
    assert task.columns == ("a", "zip=01", "zip=02")  # few, and its type says text
    np.testing.assert_allclose(task.x[:, 0] * task.deviation[0] + task.mean[0], A)
    frame["a"] = with_row(frame["a"], 40, "?")
    path = as_file(tmp_path, "parquet", frame, False)
    with pytest.raises(InputError, match=r"'\?' in row 40 .*--set \"task\.missing_values=\['\?'\]"):
        learn(path)
    assert np.isfinite(learn(path, missing_values=("?",), missing="mean").x).all()
    frame["y"] = np.where(A > B, "NA", "EU")  # which Parquet says is text
    path = as_file(tmp_path, "parquet", frame.assign(a=A), False)
    assert learn(path).classes == ("EU", "NA")


def test_spaces_behind_commas(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": with_row(A.astype(str), 5, "?"), "c": CLASSES, "y": CLASSES})
    lines = frame.to_csv(index=False).splitlines()
    (tmp_path / "t.csv").write_text("\n".join(line.replace(",", ", ") for line in lines))
    task = learn(tmp_path / "t.csv", missing_values=("?",), missing="median")
    assert task.columns == ("a", "c=over", "c=under") and task.classes == ("over", "under")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3.4e38, r"column c: 3\.4e\+38 in row 5 of the data \(3 such rows\); beside numbers so l"),
        (np.inf, r"column c: inf in row 5 of the data \(3 such rows\)"),
        (-9999, r"column c: -9999 in row 5 .* is far from all others"),
        (1e9, r"column c: 1000000000 in row 5 .* is far from all others"),
    ],
)
@pytest.mark.parametrize("place", ["input", "target"])
def test_markers_are_named(tmp_path: Path, value: float, message: str, place: str) -> None:
    """And the setting in the message takes them for missing."""
    marked = A.copy()
    marked[5::20] = value
    path = csv(tmp_path, **({"c": marked, "y": Y} if place == "input" else {"y": Y, "c": marked}))
    try:
        said = learn(path).remarks[0]
    except InputError as error:
        said = str(error)
    assert re.search(message, said), said
    value_as_said = said.split("task.missing_values=['")[1].split("'")[0]
    assert len(learn(path, missing_values=(value_as_said,), missing="drop").x) == 57


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,größe,y\n1,2,3\n".encode("latin-1"), r"not UTF-8 at byte 4, in line 1; set task\.enc"),
        (b"a,b,y\n" + b"1,2,3\n" * 9 + b"1,\xf6,3\n", r"not UTF-8 at byte 62, in line 11"),
        ("a,y\n1,2\n".encode("utf-32"), r"t\.csv: is UTF-32; set task\.encoding=utf-32"),
        ("a,y\n1,2\n".encode("utf-16-le"), r"t\.csv: zero bytes .* set task\.encoding=utf-16-le"),
        (b"sep=;\na;y\n1;2\n", r"first line, sep=;, is one for Excel; .*task\.separator=';'"),
        (b"1,1,x\n2,1,z\n", r"first line, 1,1,x, has no names of columns; .*task\.header=false"),
        (b"a|y\n1|2\n", r"a bar seems to be between columns; set task\.separator='\|'"),
        (b"c,y\n" + b'"12,5",1\n' * 9, r"'12,5' in row 0 .*task\.decimal=','"),
        (
            b"c,y\n" + "\u22121,2\n5,2\n".encode() * 9,
            "'\u22121' in row 0 .*write numbers such as -1032",
        ),
        (b"c,y\n" + b"2020-01-01,2\n" * 9, r"column c: dates or times \(2020-01-01 among them\)"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_other_files_are_refused_by_what_they_are(
    tmp_path: Path, content: bytes, message: str, compressed: bool
) -> None:
    path = tmp_path / ("t.csv.gz" if compressed else "t.csv")
    path.write_bytes(gzip.compress(content) if compressed else content)
    with pytest.raises(InputError, match=message.replace(r"t\.csv:", r"t\.csv(\.gz)?:")):
        learn(path)


def test_several_names_of_which_some_have_commas(tmp_path: Path) -> None:
    path = csv(tmp_path, **{"price, EUR": Y, "w, kg, net": A})
    task = learn(path, target="price, EUR,b", ignore="w, kg, net")
    assert task.targets == ("price, EUR", "b") and task.columns == ("a",)


def test_texts_that_no_training_row_has_are_no_inputs(tmp_path: Path) -> None:
    plain = learn(csv(tmp_path, c=CLASSES, y=Y))
    row = int(plain._parts[2][0])
    task = learn(csv(tmp_path, c=with_row(CLASSES, row, "never"), y=Y))
    assert task.columns == ("a", "b", "c=over", "c=under")
    raw = task.x[row] * task.deviation + task.mean
    np.testing.assert_allclose(raw[2:], 0, atol=1e-12)


def test_runs_made_before_read_tables_as_they_did(tmp_path: Path) -> None:
    """What such a run names leaves indices inputs and floats numbers."""
    stored = examples.Settings.as_stored({"name": "examples"})
    assert stored["inference"] == "types"
    pd.DataFrame({"a": A, "sick": (A > B).astype(float)}).to_csv(tmp_path / "table.csv")
    then, now = learn(tmp_path / "table.csv", inference="types"), learn(tmp_path / "table.csv")
    assert then.columns == ("", "a") and then.classes == () and not then.remarks
    assert now.columns == ("a",) and now.classes == ("0", "1")
    pd.DataFrame({"a": A, "y": Y}).sample(frac=1).to_parquet(tmp_path / "t.parquet")
    assert learn(tmp_path / "t.parquet", inference="types").targets == ("__index_level_0__",)


def test_another_table_is_measured_as_the_own_one(tmp_path: Path) -> None:
    colour = np.array(["red", "blue"])[np.arange(60) % 2]
    holes = with_row(A * 100 + 7, 8, None)
    task = learn(csv(tmp_path, c=holes, colour=colour, y=Y), missing="mean")
    new = pd.DataFrame({"y": [1.0, 2.0], "more": 0, "colour": ["red", "violet"], "c": [None, 7.0]})
    new.assign(b=0.5, a=[1.0, 2.0]).to_csv(tmp_path / "new.csv", index=False)
    other = task.tested_on(tmp_path / "new.csv")
    raw = other.test().x * task.deviation + task.mean
    expected = [[1.0, 0.5, task.units.fill[2], 0, 1], [2.0, 0.5, 7.0, 0, 0]]
    np.testing.assert_allclose(raw, expected, atol=1e-9)
    np.testing.assert_allclose(other.test().y[:, 0] * task.scale + task.offset, [1, 2])
    assert "'violet' in row 1" in other.remarks[0] and len(task.test().x) == 12
    np.testing.assert_array_equal(other.search().x, task.search().x)
    new.to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(InputError, match=r"less\.csv: no column 'a'; there must be those of"):
        task.tested_on(tmp_path / "less.csv")
    classes = learn(csv(tmp_path, y=CLASSES))
    pd.DataFrame({"a": [1.0], "b": 1.0, "y": "between"}).to_csv(tmp_path / "k.csv", index=False)
    with pytest.raises(InputError, match="column y: 'between' in row 0 .*classes are over, under"):
        classes.tested_on(tmp_path / "k.csv")
    csv(tmp_path, b=with_row(B, 3, None), y=CLASSES).rename(tmp_path / "k.csv")
    with pytest.raises(InputError, match=r"column b: no value in row 3 of the data"):
        classes.tested_on(tmp_path / "k.csv")


def test_a_run_is_evaluated_on_new_rows(tmp_path: Path) -> None:
    path, run = csv(tmp_path, y=Y), tmp_path / "run"
    sets = ["--budget", "300", "--run", run]
    assert evoml("search", "neat", "--task", "examples", "--data", path, *sets).returncode == 0
    task = learn(path)
    module = tmp_path / "m.py"
    assert evoml("export", run, "--to", "python", "-o", module).returncode == 0
    network = loaded(module).network
    new = pd.DataFrame({"y": [9.0, 8.0, 7.0], "b": [50.0, 51.0, 53.0], "a": [1.0, 2.0, 3.0]})
    new.to_csv(tmp_path / "new.csv", index=False)
    done = evoml("evaluate", run, "--data", tmp_path / "new.csv", "--json", "--no-baselines")
    errors = [network([a, b])[0] - y for y, b, a in new.to_numpy().tolist()]
    found = json.loads(done.stdout)["tasks"]["mean_squared_error"]
    assert found == pytest.approx(np.mean(np.square(errors)), rel=1e-6) and task.targets == ("y",)
    moved = path.rename(tmp_path / "moved.csv")
    assert evoml("evaluate", run, "--data", moved, "--no-baselines").returncode == 0
    done = evoml("evaluate", run, "--data", tmp_path / "new.csv")
    assert done.returncode == 2 and "table.csv: no such file" in done.stderr.lower()


def test_a_module_refuses_what_the_task_refuses(tmp_path: Path) -> None:
    path, run = csv(tmp_path, c=np.where(A > 0, "red", "blue"), y=CLASSES), tmp_path / "run"
    sets = ["--budget", "300", "--run", run, "--set", 'task.missing_values=["?", "-9999"]']
    assert evoml("search", "neat", "--task", "examples", "--data", path, *sets).returncode == 0
    for kind, name in (("python", "m.py"), ("torch", "m")):
        assert evoml("export", run, "--to", kind, "-o", tmp_path / name).returncode == 0
    python, torch_module = (loaded(tmp_path / name) for name in ("m.py", "m/network.py"))
    answer = python.network(["1.5", 2, "red"])
    assert answer in ("over", "under") and answer == python.network([1.5, 2.0, " red "])
    table = [[1.5, 2, "red"], [A[0], B[0], "blue"]]
    own = [python.network(row) for row in table]
    assert torch_module.load().classes(torch_module.rows(table)) == own
    for value in (None, float("nan"), "?", "-9999", -9999):
        with pytest.raises(ValueError, match="a: no value"):
            python.network([value, 2, "red"])
        with pytest.raises(ValueError, match="a: no value"):
            torch_module.rows([[value, 2, "red"]])
    with pytest.raises(ValueError, match="a row lacks a value"):
        torch_module.load().classes(torch_module.torch.tensor([[-9999.0, 2, 0, 1]]))


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, y=Y).rename(Path(os.fsdecode(bytes(tmp_path) + b"/gr\xf6sse.csv")))
    done = evoml("search", "neat", "--task", "examples", "--data", path, "--run", tmp_path / "run")
    assert done.returncode == 2 and "a name that is not UTF-8" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2 and not (tmp_path / "run").exists()


def test_streams_that_cannot_say_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = csv(tmp_path, **{"größe": A, "Übergang": np.where(A > B, "été", "日本")})
    run = tmp_path / "日本"
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    words = ["search", "neat", "--task", "examples", "--data", path, "--budget", "300", "--run"]
    done = subprocess.run(
        [sys.executable, "-m", "evoml", *map(str, words), str(run)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"gr??e" in done.stdout and (done.stdout + done.stderr).isascii()
    assert evoml("export", run, "--to", "python", "-o", tmp_path / "ü.py").returncode == 0
    assert loaded(tmp_path / "ü.py").COLUMNS == ("a", "b", "größe")


def test_points_are_no_numbers_where_commas_are(tmp_path: Path) -> None:
    """3.255 is three thousand there, and one column must not be read in two ways."""
    rows = "\n".join(f"{'3.255' if at % 2 else '850'};0,{at}1;{at},5" for at in range(60))
    (tmp_path / "t.csv").write_text("preis;b;ziel\n" + rows)
    with pytest.raises(InputError, match=r"column preis: '3\.255' in row 1 .*\(30 such rows\)"):
        learn(tmp_path / "t.csv", separator=";", decimal=",")


def test_columns_that_are_left_out_are_not_remarked_upon(tmp_path: Path) -> None:
    path = csv(tmp_path, number=np.arange(60), y=Y)
    assert learn(path).remarks and not learn(path, ignore="number").remarks
