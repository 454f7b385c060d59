"""Columns of a table as numbers: text of few values as a column a value, holes as NaN, and what is
neither number nor text of few values refused in a line that names it.
"""

import re

import numpy as np

from evoml.core.errors import InputError
from evoml.core.wording import one_line
from evoml.tasks._table_files import Columns, TableSettings, is_number, listed

LARGEST = 1e100  # in size: a marker of what is missing, or what no network can work with
EXACT = 2**53  # whole numbers beyond it are not told apart
# digits with what people write beside them: 1,032.00, 12 %, $5
_DECORATED = re.compile(r"\s*[-+]?\s*[$€£]?\s*\d[\d.,'\s]*\s*[%$€£]?\s*")


def numbers(where: str, name: str, column: np.ndarray, settings: TableSettings) -> np.ndarray:
    """A column of numbers as float64 [N], NaN where there is none. Raises InputError for text, and
    for what is infinite or larger than any number that means something.
    """
    if column.dtype.kind not in "buif":
        _refuse_text(where, name, column)
    out = column.astype(np.float64)
    for text in settings.missing_values:
        try:
            out[out == float(text)] = np.nan
        except ValueError:
            continue
    if (large := (np.abs(out) > LARGEST) & ~np.isnan(out)).any():
        row = int(large.argmax())
        value = "inf" if np.isinf(out[row]) else f"{out[row]:.6g}"
        raise InputError(
            f"{where}: column {_said(name)}: {value} in row {row} of the data ({_rows(large)}); "
            f"must be at most {LARGEST:g} in size: if it marks what is missing, name it in "
            "task.missing_values"
        )
    return out


def as_inputs(
    columns: Columns, settings: TableSettings
) -> tuple[tuple[str, ...], np.ndarray, dict[str, tuple[str, ...]]]:
    """Names of the inputs [I] and their values [N, I] float64, NaN where there is none; text of few
    values is a column a value, 1 where it is that. And the values of every column of text.

    Raises InputError. Adds to the table's remarks what was done.
    """
    names: list[str] = []
    texts: dict[str, tuple[str, ...]] = {}
    values: list[np.ndarray] = []
    for name, column in columns.inputs.items():
        if column.dtype.kind not in "OU":
            names.append(name)
            values.append(numbers(columns.where, name, column, settings))
            if (np.abs(values[-1]) > EXACT).any() and (np.round(values[-1]) == values[-1]).all():
                columns.remarks.append(
                    f"column {_said(name)}: whole numbers beyond 9e15 lose their last digits; "
                    "task.ignore leaves it out, if they are ids"
                )
            continue
        found = _values(columns.where, name, column, settings)
        texts[name] = tuple(found)
        holes = np.array([each is None for each in column.tolist()])
        for value in found:
            is_it = np.array([each == value for each in column.tolist()], np.float64)
            # a hole in text is a value of none of the columns, unless such rows are dropped
            is_it[holes] = 0.0 if settings.missing in ("mean", "median") else np.nan
            names.append(f"{name}={value}")
            values.append(is_it)
        columns.remarks.append(
            f"column {_said(name)}: text, so an input for each of its {len(found)} values: "
            f"{one_line(listed(found), 60)}"
        )
    return tuple(names), np.stack(values, 1), texts


def _values(where: str, name: str, column: np.ndarray, settings: TableSettings) -> list[str]:
    """The values of a column of text, sorted. Raises InputError where they are too many, or it is
    none.
    """
    given = [each for each in column.tolist() if each is not None]
    if not given:
        raise InputError(
            f"{where}: column {_said(name)}: no value in any row; leave it out: task.ignore"
        )
    _refuse_spoilt(where, name, column)
    if not all(isinstance(each, str) for each in given):
        _refuse_text(where, name, column)
    found = sorted(set(given))
    if len(found) > settings.categories:
        raise InputError(
            f"{where}: column {_said(name)}: text of {len(found):,} different values, such as "
            f"{one_line(repr(found[0]), 40)}; text is taken where there are at most "
            f"{settings.categories} (task.categories); leave it out with task.ignore"
        )
    return found


def _refuse_spoilt(where: str, name: str, column: np.ndarray) -> None:
    """Raise InputError for a column of numbers that is text because of some of its values."""
    texts = [each if isinstance(each, str) else None for each in column.tolist()]
    given = [each for each in texts if each is not None]
    plain = sum(map(is_number, given))
    decorated = sum(_DECORATED.fullmatch(each) is not None for each in given)
    if not given or max(plain, decorated) < len(given) / 2:
        return
    bad = np.array([each is not None and not is_number(each) for each in texts])
    if not bad.any():
        return
    row = int(bad.argmax())
    value = texts[row] or ""
    written = _DECORATED.fullmatch(value) is not None
    raise InputError(
        f"{where}: column {_said(name)}: {one_line(repr(value), 40)} in row {row} of the data is "
        f"no number ({_rows(bad)}); "
        + (
            "write numbers without separators of thousands, % and signs of currency"
            if written
            else f"if it marks what is missing, name it: task.missing_values=[{value!r}]"
        )
    )


def _refuse_text(where: str, name: str, column: np.ndarray) -> None:
    """Raise InputError for a column that is no numbers."""
    given = [each for each in column.tolist() if each is not None]
    if not given:
        raise InputError(
            f"{where}: column {_said(name)}: no value in any row; leave it out: task.ignore"
        )
    _refuse_spoilt(where, name, column)
    raise InputError(
        f"{where}: column {_said(name)}: not numbers ({one_line(repr(given[0]), 40)} among them)"
    )


def class_values(
    where: str, name: str, column: np.ndarray, settings: TableSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The classes of a target, sorted as the table has them, and every row's place among them [N];
    -1 where there is none. Raises InputError.
    """
    if column.dtype.kind in "f":
        column = numbers(where, name, column, settings)
        holes = np.isnan(column)
    elif column.dtype.kind in "buiU":
        holes = np.zeros(len(column), bool)
    else:
        _refuse_spoilt(where, name, column)
        holes = np.array([each is None for each in column.tolist()])
        column = np.array(["" if each is None else str(each) for each in column.tolist()])
    labels = np.full(len(column), -1)
    values, labels[~holes] = np.unique(column[~holes], return_inverse=True)
    if values.dtype.kind == "f" and len(values) and (values == np.round(values)).all():
        values = values.astype(np.int64)
    return values, labels


def filled(
    where: str,
    names: tuple[str, ...],
    values: np.ndarray,
    train: np.ndarray,
    settings: TableSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Values [N, I] with every hole filled from the training rows, and what fills each column [I].

    Raises InputError where holes are to be refused, and for a column without a training value.
    """
    holes = np.isnan(values)
    if not holes.any():
        return values, np.full(values.shape[1], np.nan)
    at = int(holes.any(0).argmax())
    if settings.missing == "refuse":
        row = int(holes[:, at].argmax())
        raise InputError(
            f"{where}: column {_said(names[at])}: no value in row {row} of the data "
            f"({_rows(holes[:, at])}); fill it with task.missing=mean or median, or leave such "
            "rows out with task.missing=drop"
        )
    known = ~holes[train]
    if not known.any(0).all():
        at = int((~known.any(0)).argmax())
        raise InputError(
            f"{where}: column {_said(names[at])}: no value in any training row; leave it out: "
            "task.ignore"
        )
    middle = np.nanmedian if settings.missing == "median" else np.nanmean
    fill = middle(values[train], axis=0)
    return np.where(holes, fill, values), np.where(holes.any(0), fill, np.nan)


def _rows(which: np.ndarray) -> str:
    count = int(which.sum())
    return f"{count:,} such row{'s' * (count != 1)}"


def _said(name: str) -> str:
    return one_line(name, 60)
