"""Tables as users' files have them: CSV, Parquet and .npz, their columns by name.

What a file holds beside its data is left out: the index that pandas wrote, first columns without a
name that number or name the rows. What is remarkable is said in a line, never passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from evoml.core.errors import InputError, check_unpacked, plain_file, unpacked
from evoml.core.wording import one_line
from evoml.tasks._class_pairs import read_arrays, shown
from evoml.tasks._table_csv import COMPRESSIONS, read_csv
from evoml.tasks._table_settings import NOTHING, TableSettings, is_number_of

RIGHT = "there must be inputs [n, columns] and targets [n], or x and y"
SUFFIXES = (".csv", ".tsv", ".parquet", ".npz")
SHOWN = 20  # names of columns in a message
UNNAMED = "Unnamed: "  # how pandas' names begin of columns that had none
INDEX = "__index_level_"  # how pandas' names begin of an index that has none


@dataclass(frozen=True, eq=False)
class Columns:
    """A table as it was read: N examples."""

    where: str  # the file
    inputs: dict[str, np.ndarray]  # [N] each: numbers, or objects that are text or None
    targets: dict[str, np.ndarray]  # [N] each
    remarks: list[str] = field(default_factory=list)  # what is to be said of it, a line each
    nothing: tuple[str, ...] = ("",)  # texts that stand for no value


def read(path: Path, settings: TableSettings) -> Columns:
    """The columns of a file. Raises InputError."""
    suffixes = [each.lower() for each in path.suffixes[-2:]]
    kind = next((each for each in reversed(suffixes) if each not in COMPRESSIONS), "")
    if kind == ".npz":
        return _read_arrays(path, settings)
    if kind not in SUFFIXES:
        raise InputError(f"{path}: not a table; give a .npz, .csv or .parquet file")
    remarks: list[str] = []
    if kind == ".parquet":
        columns = _read_parquet(path, settings, remarks)
    else:
        tabs = kind == ".tsv" and settings.separator == ","
        separator = "\t" if tabs else settings.separator
        columns = _columns(path, read_csv(path, settings, separator, remarks), settings)
    if settings.infers:
        typed = kind == ".parquet"
        columns = {
            name: _inferred(column, settings, typed, not typed) for name, column in columns.items()
        }
        columns = _without_index(path, columns, settings, remarks)
    for name in chosen(settings.ignore, columns, f"{path}: ignore"):
        columns.pop(name, None)
    for name, column in columns.items() if settings.infers else ():
        if _counts_rows(column):
            remarks.append(
                f"column {one_line(name, 40)} counts the rows; task.ignore leaves it out"
            )
    if not columns:
        raise InputError(f"{path}: no columns are left; there must be a target and others")
    wanted = chosen(settings.target, columns, f"{path}: target") or [list(columns)[-1]]
    inputs = {name: column for name, column in columns.items() if name not in wanted}
    if not inputs:
        raise InputError(
            f"{path}: no columns but the target's ({', '.join(wanted)}); there must be others to "
            "learn from"
        )
    targets = {name: columns[name] for name in wanted}
    nothing = _nothing(settings, kind != ".parquet")
    return Columns(str(path), inputs, targets, remarks, nothing)


def chosen(text: str, columns: dict[str, np.ndarray], where: str) -> list[str]:
    """The columns that a setting names: one, or several with commas between them, which names may
    have in them, too. Raises InputError.
    """
    parts, out = text.split(",") if text.strip() else [], []
    while parts:
        for count in range(len(parts), 0, -1):
            if (name := ",".join(parts[:count]).strip()) in columns:
                out.append(name)
                parts = parts[count:]
                break
        else:
            name = parts[0].strip()
            near = get_close_matches(name, columns, n=1)
            known = ", ".join(list(columns)[:SHOWN])
            hint = f"did you mean {near[0]}?" if near else f"there are {known}"
            raise InputError(f"{where}: no column {name!r}; {hint}")
    return out


# -- what is no column -----------------------------------------------------------------------------


def _without_index(
    path: Path, columns: dict[str, np.ndarray], settings: TableSettings, remarks: list[str]
) -> dict[str, np.ndarray]:
    """Columns without first ones that have no name and number or name the rows, and without empty
    ones that have none; others without a name are called by their place.
    """
    wanted = [name.strip() for name in settings.target.split(",")]
    names = list(columns)
    first = list(takewhile(lambda name: not _own(name) or name.startswith(UNNAMED), names))
    out: dict[str, np.ndarray] = {}
    left = []
    for at, (name, column) in enumerate(columns.items()):
        nameless = not _own(name)
        if name in first and name not in wanted and len(first) < len(names) and _is_index(column):
            left.append(f"column {at + 1}")
        elif nameless and column.dtype.kind == "O" and not any(x is not None for x in column):
            remarks.append(f"{path}: column {at + 1} has neither a name nor a value: left out")
        else:
            out[f"column {at + 1}" if nameless else name] = column
    if left:
        remarks.append(
            f"{path}: {', '.join(left)}: without a name, and numbers or names the rows: left out; "
            "give it a name if it is an input"
        )
    return out


def _own(name: str) -> bool:
    """Whether a name is the file's, and does not only say the place of a column that has none."""
    return not name.startswith("\0")


def _is_index(column: np.ndarray) -> bool:
    """Whether a column is whole numbers, or text that is different in every row."""
    if column.dtype.kind == "O":
        return len(set(column.tolist())) == len(column)
    return column.dtype.kind in "iu"


def _counts_rows(column: np.ndarray) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ..."""
    if column.dtype.kind not in "iu" or len(column) < 3:
        return False
    return bool(column[0] in (0, 1) and (np.diff(column.astype(np.int64)) == 1).all())


def _inferred(column: np.ndarray, settings: TableSettings, typed: bool, csv: bool) -> np.ndarray:
    """A column of text without outer spaces, None where there is no value; as numbers where all of
    it is.

    typed: whether its type says that it is text, so that few values, and whole numbers, stay text.
    csv: whether the usual texts of CSV files stand for no value.
    """
    if column.dtype.kind not in "OSU":
        return column
    nothing = set(_nothing(settings, csv))
    values = [_text(each, nothing) for each in column.tolist()]
    given = [each for each in values if each is not None]
    if all(isinstance(each, str) for each in given) and given:
        different = set(given)
        if all(is_number_of(settings, each) for each in different) and not (
            typed and (len(different) <= settings.categories or all(map(_is_whole, different)))
        ):
            return _as_numbers(values)
    return np.fromiter(values, object, len(values))


def _nothing(settings: TableSettings, csv: bool) -> tuple[str, ...]:
    """Texts that stand for no value: the usual ones of CSV files only in these."""
    own = csv or settings.missing_values != NOTHING
    return tuple(dict.fromkeys(["", *(settings.missing_values if own else ())]))


def _text(value: Any, nothing: set[str]) -> Any:
    """Text without outer spaces, None for what stands for no value, and all else as it is."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return value
    if not isinstance(value, str):
        return value
    return None if (text := value.strip()) in nothing else text


def _is_whole(text: str) -> bool:
    return text.lstrip("+-").isdecimal()


def _as_numbers(values: list[Any]) -> np.ndarray:
    try:
        return np.array([int(each) for each in values], np.int64)
    except (TypeError, ValueError, OverflowError):  # a hole, a fraction, one too large
        return np.array([np.nan if each is None else float(each) for each in values])


# -- Parquet ---------------------------------------------------------------------------------------


def _read_parquet(path: Path, settings: TableSettings, remarks: list[str]) -> dict[str, np.ndarray]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with plain_file(path).open("rb") as stream:
            file = parquet.ParquetFile(stream)
            check_unpacked(path, unpacked(file.metadata))
            table = file.read()
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: needs more memory than there is") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        why = one_line(str(error), 200)
        raise InputError(f"{path}: cannot be read as parquet ({why})") from None
    named = [name.strip() for name in settings.target.split(",")]
    written = _pandas_index(table.schema)
    index = [
        name
        for name in table.column_names
        if (name in written or name.startswith(INDEX)) and name.strip() not in named
    ]
    if settings.infers and index and len(index) < table.num_columns:
        table = table.drop_columns(index)
        remarks.append(f"{path}: {', '.join(index)}: pandas' index, left out")
    return _columns(path, table, settings)


def _pandas_index(schema: Any) -> list[str]:
    """Names of the columns that pandas wrote for its index."""
    try:
        about = schema.pandas_metadata or {}
        return [each for each in about.get("index_columns", []) if isinstance(each, str)]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []


def _columns(path: Path, table: Any, settings: TableSettings) -> dict[str, np.ndarray]:
    """An Arrow table's columns; the name of one without any says its place behind a zero byte.

    Raises InputError.
    """
    import pyarrow as pa

    names = [name.strip() for name in table.column_names]
    if settings.infers:
        names = [name or f"\0{at}" for at, name in enumerate(names)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path}: two columns {repeated[0]!r}; their names must differ")
    if not table.num_columns or not table.num_rows:
        raise InputError(f"{path}: no rows; there must be a line of names and examples below it")
    out = {}
    for name, column in zip(names, table.columns, strict=True):
        try:
            out[name] = _column(column, settings)
        except (UnicodeError, OverflowError, NotImplementedError, pa.ArrowException) as error:
            why = one_line(str(error), 120)
            raise InputError(f"{path}: column {one_line(name, 60)}: damaged ({why})") from None
    return out


def _column(column: Any, settings: TableSettings) -> np.ndarray:
    """A column of an Arrow table: floats with NaN where a number is missing, text and all else as
    objects.
    """
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_decimal(column.type) and settings.infers:
        column = column.cast(pa.float64())
    if types.is_timestamp(column.type):  # as Python has them: no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
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
    return np.fromiter(column.to_pylist(), object, len(column))


# -- .npz ------------------------------------------------------------------------------------------


def _read_arrays(path: Path, settings: TableSettings) -> Columns:
    for name, text in (("target", settings.target), ("ignore", settings.ignore)):
        if text:
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
    inputs, targets = (
        {
            f"{name}[{at}]": _inferred(column, settings, name == "targets", False)
            if settings.infers
            else column
            for at, column in enumerate(array.T)
        }
        for name, array in (("inputs", x), ("targets", y))
    )
    return Columns(str(path), inputs, targets, nothing=_nothing(settings, False))


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names, in a line."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" * (len(names) > most))
