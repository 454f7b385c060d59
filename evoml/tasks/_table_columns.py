"""Columns of a table as numbers: text of few values as an input for each, holes as NaN, and what is
neither number nor text of few values refused in a line that names it.
"""

import datetime
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from evoml.core.errors import InputError
from evoml.core.wording import one_line
from evoml.tasks._table_files import Columns, listed
from evoml.tasks._table_settings import TableSettings, is_number_of

LARGEST = 1e100  # in size: a marker of what is missing, or what no network can work with
EXACT = 2**53  # whole numbers beyond it are not told apart
# a value so many times as far from all others as these from each other: remarkable, and beyond what
# lets the others be told apart, where it is large, too
FAR, TOO_FAR, LARGE = 1e6, 1e12, 1e15
MARKERS = (
    99.0,
    999.0,
    9999.0,
    99999.0,
    999999.0,
)  # what often stands for no value, or the negative
# digits with what people write beside them: 1,032.00, 12 %, $5
_DECORATED = re.compile(
    r"\s*[-+\u2212]?\s*[$€£]?\s*(\d{1,3}([.,'\u2019\s]\d{3})+|\d+)([.,]\d+)?\s*[%$€£]?\s*"
)
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d*\s*")

# A table's columns that are inputs: of text, its values, each of which is an input; else None.
Table = Mapping[str, tuple[str, ...] | None]


def numbers(
    where: str,
    name: str,
    column: np.ndarray,
    settings: TableSettings,
    remarks: list[str] | None = None,
) -> np.ndarray:
    """A column of numbers as float64 [N], NaN where there is none. Raises InputError for text, and
    for what is infinite or larger than any number that means something.

    remarks: takes a line for a value far from all others.
    """
    if column.dtype.kind not in "buif":
        _refuse_text(where, name, column, settings)
    out = column.astype(np.float64)
    if settings.markers:
        out[np.isin(out, settings.markers)] = np.nan
    known = ~np.isnan(out)
    _refuse_large(where, name, out, known & (np.abs(out) > LARGEST), settings)
    if settings.infers:
        far, ratio = _far(out[known])
        which = known & (out == far)
        if ratio > TOO_FAR and abs(far) > LARGE:
            _refuse_large(where, name, out, which, settings)
        elif remarks is not None and ratio > (1 if abs(far) in MARKERS else FAR):
            remarks.append(
                f"column {said(name)}: {_value(far)} in row {which.argmax()} of the data "
                f"({rows(which)}) is far from all others; if it marks what is missing, name it: "
                f"{settings.with_missing([_value(far)])}"
            )
    return out


def _far(values: np.ndarray) -> tuple[float, float]:
    """The value that is largest in size, and how far it is from all others: in units of the
    distance between these.
    """
    if not values.size:
        return 0.0, 0.0
    far = float(values[np.abs(values).argmax()])
    others = values[values != far]
    if not others.size or not (spread := float(np.ptp(others))):
        return far, 0.0
    return far, float(np.abs(others - far).min()) / spread


def _refuse_large(
    where: str, name: str, values: np.ndarray, which: np.ndarray, settings: TableSettings
) -> None:
    if which.any():
        row = int(which.argmax())
        value = _value(values[row])
        raise InputError(
            f"{where}: column {said(name)}: {value} in row {row} of the data ({rows(which)}); "
            f"beside numbers so large others are nothing: if it marks what is missing, name it: "
            f"{settings.with_missing([value])}; else divide the column, or leave it out: "
            "task.ignore"
        )


def inputs_of(columns: Columns, settings: TableSettings) -> dict[str, tuple[str, ...] | None]:
    """What a table's columns are to a network. Raises InputError for text of many values, and what
    is neither text nor number. Adds to the table's remarks.
    """
    out: dict[str, tuple[str, ...] | None] = {}
    for name, column in columns.inputs.items():
        if column.dtype.kind not in "OU":
            out[name] = None
            continue
        out[name] = found = _values(columns.where, name, column, settings)
        columns.remarks.append(
            f"column {said(name)}: text, so an input for each of its {len(found)} values: "
            f"{one_line(listed(found), 60)}"
        )
    return out


def names_of(table: Table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs, and the table's column that each is of, [I] both."""
    pairs = [
        (name if value is None else f"{name}={value}", name)
        for name, values in table.items()
        for value in (values or [None])
    ]
    names, owners = zip(*pairs, strict=True)
    return names, owners


def encoded(columns: Columns, table: Table, settings: TableSettings) -> np.ndarray:
    """Inputs [N, I] float64, NaN where there is no value; of text 1 for its value and 0 for others,
    all of them 0 where it is none of those that are known. Raises InputError.
    """
    out: list[np.ndarray] = []
    for name, values in table.items():
        column = columns.inputs[name]
        if values is None:
            number = numbers(columns.where, name, column, settings, columns.remarks)
            out.append(number[:, None])
            if (np.abs(number) > EXACT).any() and (np.round(number) == number).all():
                columns.remarks.append(
                    f"column {said(name)}: whole numbers beyond 9e15 lose their last digits; "
                    "task.ignore leaves it out, if they are ids"
                )
            continue
        place = {value: at for at, value in enumerate(values)}
        texts = [each if each is None else str(each) for each in _items(column)]
        codes = np.array([-1 if each is None else place.get(each, -2) for each in texts])
        one_hot = (codes[:, None] == np.arange(len(values))).astype(np.float64)
        one_hot[codes == -1] = np.nan
        out.append(one_hot)
        if (unknown := codes == -2).any():
            value = one_line(repr(texts[int(unknown.argmax())]), 40)
            columns.remarks.append(
                f"column {said(name)}: {value} in row {unknown.argmax()} of the data "
                f"({rows(unknown)}) is none of the values that were learned: taken for none of them"
            )
    return np.hstack(out)


def _items(column: np.ndarray) -> list[object]:
    """A column's values as Python's, NaN as None."""
    return [None if each != each else each for each in column.tolist()]


def _values(where: str, name: str, column: np.ndarray, settings: TableSettings) -> tuple[str, ...]:
    """The values of a column of text, sorted. Raises InputError where they are too many, or it is
    none.
    """
    given = [each for each in _items(column) if each is not None]
    texts = [each for each in given if isinstance(each, str)]
    if not given or len(texts) < len(given):
        _refuse_text(where, name, column, settings)
    _refuse_spoilt(where, name, column, settings)
    found = sorted(set(texts))
    if len(found) > settings.categories:
        raise InputError(
            f"{where}: column {said(name)}: text of {len(found):,} different values, such as "
            f"{one_line(repr(found[0]), 40)}; text is taken where there are at most "
            f"{settings.categories} (task.categories); leave it out with task.ignore"
        )
    return tuple(found)


def _refuse_spoilt(where: str, name: str, column: np.ndarray, settings: TableSettings) -> None:
    """Raise InputError for a column of numbers that is text because of some of its values."""
    texts = [each if isinstance(each, str) else None for each in column.tolist()]
    given = Counter(each for each in texts if each is not None)
    plain = sum(count for each, count in given.items() if is_number_of(settings, each))
    decorated = sum(count for each, count in given.items() if _DECORATED.fullmatch(each))
    marks = sorted(each for each in given if not is_number_of(settings, each))
    if not marks or max(plain, decorated) < given.total() / 2:
        return
    bad = np.isin(np.array(["" if each is None else each for each in texts]), marks)
    row = int(bad.argmax())
    value = texts[row] or ""
    hint = "write numbers such as -1032.5, without separators of thousands, % and signs of currency"
    if _DECIMAL_COMMA.fullmatch(value):
        hint += "; of a CSV file, task.decimal=',' takes commas for points"
    elif _DECORATED.fullmatch(value) is None:
        hint = f"if it marks what is missing, name it: {settings.with_missing(marks[:3])}"
    raise InputError(
        f"{where}: column {said(name)}: {one_line(repr(value), 40)} in row {row} of the data is "
        f"no number ({rows(bad)}); {hint}"
    )


def _refuse_text(where: str, name: str, column: np.ndarray, settings: TableSettings) -> None:
    """Raise InputError for a column that is no numbers."""
    given = [each for each in _items(column) if each is not None]
    start = f"{where}: column {said(name)}:"
    if not given:
        raise InputError(f"{start} no value in any row; leave it out: task.ignore")
    _refuse_spoilt(where, name, column, settings)
    first = given[0]
    if column.dtype.kind in "mM" or isinstance(
        first, datetime.date | datetime.time | datetime.timedelta
    ):
        raise InputError(
            f"{start} dates or times ({one_line(str(first), 40)} among them); write them as "
            "numbers, such as days since the first, or leave it out: task.ignore"
        )
    what = one_line(repr(first), 40)
    raise InputError(f"{start} not numbers ({what} among them); leave it out: task.ignore")


def class_values(
    where: str, name: str, column: np.ndarray, settings: TableSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The classes of a target, sorted as the table has them, and every row's place among them [N];
    -1 where there is none. Raises InputError.
    """
    column, holes = _class_column(where, name, column, settings)
    labels = np.full(len(column), -1)
    values, labels[~holes] = np.unique(column[~holes], return_inverse=True)
    whole = values.dtype.kind == "f" and (values == np.round(values)).all()
    if whole and np.abs(values).max(initial=0) <= EXACT:
        values = values.astype(np.int64)
    return values, labels


def labels_of(
    where: str, name: str, column: np.ndarray, settings: TableSettings, classes: tuple[object, ...]
) -> np.ndarray:
    """Every row's place among classes that are known [N], -1 where there is none. Raises InputError
    for a value that is none of them.
    """
    place = {each: at for at, each in enumerate(classes)}
    column, holes = _class_column(where, name, column, settings)
    values = column.tolist()
    unknown = ~holes & np.array([each not in place for each in values])
    if unknown.any():
        row = int(unknown.argmax())
        raise InputError(
            f"{where}: column {said(name)}: {one_line(repr(values[row]), 40)} in row {row} of the "
            f"data ({rows(unknown)}); classes are {listed(list(map(str, classes)))}"
        )
    return np.array([place.get(each, -1) for each in values])


def _class_column(
    where: str, name: str, column: np.ndarray, settings: TableSettings
) -> tuple[np.ndarray, np.ndarray]:
    """A target as numbers or text, and where it has no value, [N] both."""
    marked = column.dtype.kind in "iu" and np.isin(column, settings.markers).any()
    if column.dtype.kind == "f" or marked:
        out = numbers(where, name, column, settings)
        return out, np.isnan(out)
    if column.dtype.kind in "bui":
        return column, np.zeros(len(column), bool)
    _refuse_spoilt(where, name, column, settings)
    items = _items(column)
    holes = np.array([each is None for each in items])
    return np.array(["" if each is None else str(each) for each in items]), holes


def filled(
    where: str, table: Table, values: np.ndarray, train: np.ndarray, settings: TableSettings
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Values [N, I] with every hole filled, and what fills each input [I]: the mean or median of
    the training rows, of text none of its values; empty where holes are not to be filled.

    Raises InputError where holes are to be refused, and for a column without a training value.
    """
    holes, (_, owners) = np.isnan(values), names_of(table)
    if settings.missing not in ("mean", "median"):
        refuse_holes(where, table, holes)
        return values, ()
    if (empty := holes[train].all(0)).any():
        name = said(owners[int(empty.argmax())])
        raise InputError(
            f"{where}: column {name}: no value in any training row; leave it out: task.ignore"
        )
    middle = np.nanmedian if settings.missing == "median" else np.nanmean
    text = np.array([table[owner] is not None for owner in owners])
    fill = np.where(text, 0.0, middle(values[train], axis=0))
    return np.where(holes, fill, values), tuple(fill.tolist())


def refuse_holes(where: str, table: Table, holes: np.ndarray) -> None:
    """Raise InputError for a hole [N, I]."""
    if holes.any():
        at = int(holes.any(0).argmax())
        name = names_of(table)[1][at]
        raise InputError(
            f"{where}: column {said(name)}: no value in row {int(holes[:, at].argmax())} of the "
            f"data ({rows(holes[:, at])}); fill it with task.missing=mean or median, or leave such "
            "rows out with task.missing=drop"
            + "; where NA and the like are values: task.missing_values=[]"
            * (table[name] is not None)
        )


def rows(which: np.ndarray) -> str:
    """How many, for a message."""
    count = int(which.sum())
    return f"{count:,} such row{'s' * (count != 1)}"


def said(name: str) -> str:
    """A column's name in a message."""
    return one_line(name, 60)


def _value(value: float) -> str:
    """A number as a setting can name it."""
    return repr(float(value)).removesuffix(".0")
