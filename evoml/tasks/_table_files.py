"""Tables as users' files have them: CSV, Parquet and .npz, their columns by name.

What a file holds beside its data is left out: the index that pandas wrote, a first column without
a name that counts the rows. What is remarkable is said in a line, never passed over.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from evoml.core import settings
from evoml.core.errors import UNPACKED, InputError, check_unpacked, plain_file, unpacked
from evoml.core.wording import one_line
from evoml.tasks._class_pairs import read_arrays, shown

RIGHT = "there must be inputs [n, columns] and targets [n], or x and y"
SUFFIXES = (".csv", ".tsv", ".parquet", ".npz")
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
NOTHING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
SHOWN = 20  # names of columns in a message


class TableSettings(settings.Settings):
    """How a table is read, and which of its columns are taken."""

    target: str = Field(
        default="",
        description="name of the target's column, several with commas between them; empty: the "
        "last column",
    )
    ignore: str = Field(
        default="",
        description="names of columns that are left out, with commas between them",
    )
    missing: Literal["refuse", "mean", "median", "drop"] = Field(
        default="refuse",
        description="what is done where an input has no value: nothing is searched; the mean or "
        "median of the training part is taken; or the row is left out",
    )
    missing_values: tuple[str, ...] = Field(
        default=NOTHING,
        description="texts of a CSV file that stand for no value, beside the empty one; those that "
        "are numbers, such as -9999, in any file",
    )
    categories: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="text of at most so many different values is an input for each of them; "
        "columns of more are refused",
    )
    encoding: str = Field(default="utf-8", description="of a CSV file, such as latin-1 or utf-16")
    separator: str = Field(
        default=",", min_length=1, max_length=1, description="between the columns of a CSV file"
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="point of the numbers in a CSV file"
    )
    header: bool = Field(
        default=True, description="whether a CSV file's first line has the names of its columns"
    )


@dataclass(frozen=True, eq=False)
class Columns:
    """A table as it was read: N examples."""

    where: str  # the file
    inputs: dict[str, np.ndarray]  # [N] each: numbers, or objects that are text or None
    targets: dict[str, np.ndarray]  # [N] each
    remarks: list[str] = field(default_factory=list)  # what is to be said of it, a line each


def read(path: Path, settings: TableSettings) -> Columns:
    """The columns of a file. Raises InputError."""
    suffixes = [each.lower() for each in path.suffixes[-2:]]
    kind = next((each for each in reversed(suffixes) if each != ".gz"), "")
    if kind == ".npz":
        return _read_arrays(path, settings)
    if kind not in SUFFIXES:
        raise InputError(f"{path}: not a table; give a .npz, .csv or .parquet file")
    remarks: list[str] = []
    columns = (
        _read_parquet(path, remarks)
        if kind == ".parquet"
        else _read_csv(path, settings, kind, remarks)
    )
    columns = {name.strip(): column for name, column in columns.items()}
    for name in _names(settings.ignore, columns, f"{path}: ignore"):
        columns.pop(name, None)
    if not columns:
        raise InputError(f"{path}: no columns are left; there must be a target and others")
    wanted = _names(settings.target, columns, f"{path}: target") or [list(columns)[-1]]
    inputs = {name: column for name, column in columns.items() if name not in wanted}
    if not inputs:
        raise InputError(
            f"{path}: no columns but the target's ({', '.join(wanted)}); there must be others to "
            "learn from"
        )
    return Columns(str(path), inputs, {name: columns[name] for name in wanted}, remarks)


def _names(text: str, columns: dict[str, np.ndarray], where: str) -> list[str]:
    """The columns that a setting names: one, or several with commas between them. Raises
    InputError.
    """
    if not text.strip():
        return []
    if text.strip() in columns:  # a name may have a comma in it
        return [text.strip()]
    out = [name.strip() for name in text.split(",")]
    for name in out:
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            known = ", ".join(list(columns)[:SHOWN])
            hint = f"did you mean {near[0]}?" if near else f"there are {known}"
            raise InputError(f"{where}: no column {name!r}; {hint}")
    return out


# -- CSV -------------------------------------------------------------------------------------------


def _read_csv(
    path: Path, settings: TableSettings, kind: str, remarks: list[str]
) -> dict[str, np.ndarray]:
    import pyarrow as pa
    from pyarrow import csv

    separator = "\t" if kind == ".tsv" and settings.separator == "," else settings.separator
    try:
        size = plain_file(path).stat().st_size
        if path.suffix.lower() in (kind, ""):  # not compressed
            _check_encoding(path, settings.encoding)
            _check_separator(path, settings.encoding, separator)
        options = {
            "read_options": csv.ReadOptions(
                encoding=settings.encoding,
                # types are known once all of a column is
                block_size=max(1 << 20, min(4 * size + 1, 2**31 - 2)),
                autogenerate_column_names=not settings.header,
            ),
            "parse_options": csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            "convert_options": csv.ConvertOptions(
                strings_can_be_null=True,
                null_values=["", *settings.missing_values],
                decimal_point=settings.decimal,
            ),
        }
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                content = packed.read(UNPACKED + 1)
            check_unpacked(path, len(content))
            size, source = len(content), pa.BufferReader(content)
        else:
            source = path
        table = csv.read_csv(source, **options)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, EOFError, LookupError, ValueError, pa.ArrowException, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as {kind[1:]} ({_why(error)})") from None
    names = [name.strip() for name in table.column_names]
    if settings.header and names and all(map(is_number, names)):
        remarks.append(
            f"{path}: its first line, {one_line(', '.join(names), 40)}, is taken for names of "
            "columns; set task.header=false if it is data"
        )
    columns = _columns(path, table)
    first = next(iter(columns))
    if first.strip() in ("", "Unnamed: 0") and _counts_rows(columns[first]) and len(columns) > 1:
        del columns[first]
        remarks.append(f"{path}: its first column has no name and counts the rows: left out")
    for name, column in columns.items():
        if name and _counts_rows(column):
            remarks.append(
                f"{path}: column {one_line(name, 40)} counts the rows; task.ignore leaves it out"
            )
    return columns


def _check_encoding(path: Path, encoding: str) -> None:
    """Raise InputError where a file is not of the encoding, naming the first byte."""
    with path.open("rb") as stream:
        start = stream.read(4)
        if start[:2] in (b"\xff\xfe", b"\xfe\xff") and not encoding.lower().startswith("utf-16"):
            raise InputError(f"{path}: is UTF-16; set task.encoding=utf-16")
        if encoding.lower().replace("-", "") not in ("utf8", "utf8sig"):
            return
        stream.seek(0)
        read, rows = 0, 0
        for line in stream:
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}: not UTF-8 at byte {read + error.start}, in line {rows + 1}; set "
                    "task.encoding, such as latin-1"
                ) from None
            read, rows = read + len(line), rows + 1


def _check_separator(path: Path, encoding: str, separator: str) -> None:
    """Raise InputError where the first line is cut into columns by something else."""
    with path.open(encoding=encoding) as stream:
        first = stream.readline(100_000)
    others = [each for each in SEPARATORS if each != separator and each in first]
    if others and separator not in first:
        hint = ", and task.decimal=',' for numbers such as 0,5" * (others[0] == ";")
        raise InputError(
            f"{path}: one column, {one_line(first, 60)!r}: {SEPARATORS[others[0]]} seems to be "
            f"between columns; set task.separator={others[0]!r}{hint}"
        )


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counts_rows(column: np.ndarray) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ..."""
    if column.dtype.kind not in "iu" or len(column) < 3:
        return False
    return bool(column[0] in (0, 1) and (np.diff(column.astype(np.int64)) == 1).all())


# -- Parquet ---------------------------------------------------------------------------------------


def _read_parquet(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(plain_file(path))
        check_unpacked(path, unpacked(file.metadata))
        table = file.read()
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: needs more memory than there is") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as parquet ({_why(error)})") from None
    index = [name for name in _pandas_index(table.schema) if name in table.column_names]
    if index and len(index) < table.num_columns:
        table = table.drop_columns(index)
        remarks.append(f"{path}: {', '.join(index)}: pandas' index, left out")
    return _columns(path, table)


def _pandas_index(schema: Any) -> list[str]:
    """Names of the columns that pandas wrote for its index."""
    try:
        about = schema.pandas_metadata or {}
        return [each for each in about.get("index_columns", []) if isinstance(each, str)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []


def _columns(path: Path, table: Any) -> dict[str, np.ndarray]:
    names = [name.strip() for name in table.column_names]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: two columns {repeated[0]!r}; their names must differ")
    if not table.num_columns or not table.num_rows:
        raise InputError(f"{path}: no rows; there must be a line of names and examples below it")
    return {name: _column(table.column(name)) for name in table.column_names}


def _column(column: Any) -> np.ndarray:
    """A column of an Arrow table: floats with NaN where a number is missing, text and all else as
    objects.
    """
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if types.is_null(column.type):
        return np.full(len(column), None, dtype=object)
    number = (
        types.is_integer(column.type)
        or types.is_floating(column.type)
        or types.is_boolean(column.type)
    )
    if number and column.null_count:
        return np.array([np.nan if each is None else float(each) for each in column.to_pylist()])
    if number:
        return np.asarray(column.to_numpy())
    return np.array(column.to_pylist() or [None], dtype=object)


# -- .npz ------------------------------------------------------------------------------------------


def _read_arrays(path: Path, settings: TableSettings) -> Columns:
    for name in ("target", "ignore"):
        if text := getattr(settings, name):
            raise InputError(
                f"{path}: {name}: {text!r}; an .npz has no names of columns: leave it out ({RIGHT})"
            )
    arrays = read_arrays(path, ("inputs", "targets", "x", "y"), RIGHT)
    x, y = (
        arrays.get(name, arrays.get(short)) for name, short in (("inputs", "x"), ("targets", "y"))
    )
    if x is None or y is None:
        raise InputError(f"{path}: no array {'inputs' if x is None else 'targets'}; {RIGHT}")
    if x.ndim != 2 or not x.size or y.ndim not in (1, 2) or len(y) != len(x) or not y.size:
        raise InputError(f"{path}: inputs: {shown(x)}, targets: {shown(y)}; {RIGHT}")
    y = y.reshape(len(y), -1)
    names = (
        [f"inputs[{at}]" for at in range(x.shape[1])],
        [f"targets[{at}]" for at in range(y.shape[1])],
    )
    inputs, targets = (
        dict(zip(each, array.T, strict=True)) for each, array in zip(names, (x, y), strict=True)
    )
    return Columns(str(path), inputs, targets)


def _why(error: Exception) -> str:
    return one_line(str(error), 200)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names, in a line."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" * (len(names) > most))
