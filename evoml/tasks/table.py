"""Benchmark tables: the recorded results of every architecture of a space, to search in without
training anything.

`data` is an .npz of arrays, one row a cell. NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326):
`ops` [rows, 6] codes, `val12`, `val200` [rows, seeds], `test200` in percent, `train_time200` in
seconds, `latency`, `params_m`, and further columns `hw` [rows, k] named by `hw_names`.
NAS-Bench-101 (Ying et al. 2019, arXiv 1902.09635): `n_vertices`, `adj_bits`, `ops` [rows, 5] codes,
`test108` a share, `params`. Accuracies are shares here, as in every task. A query's simulated cost
is the recorded time of the epochs it stands for; a validation pass is taken for a third of an
epoch.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evoml.contracts.objective import ACCURACY
from evoml.contracts.task import Task
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.tasks._class_pairs import read_arrays, shown

NASBENCH201 = (
    "ops",
    "val12",
    "val200",
    "test200",
    "train_time200",
    "latency",
    "params_m",
    "hw",
    "hw_names",
)
NASBENCH101 = ("n_vertices", "adj_bits", "ops", "test108", "params")
OPTIONAL = ("hw", "hw_names")
RIGHT = (
    f"there must be {', '.join(name for name in NASBENCH201 if name not in OPTIONAL)} for "
    f"nasbench201, or {', '.join(NASBENCH101)} for nasbench101"
)


class Settings(settings.Settings):
    """Nothing: what is asked of a table are the evaluator's settings."""


@dataclass(frozen=True, eq=False)
class Table:
    """The results of R cells of one space."""

    space: str  # whose cells they are
    where: str  # the file
    cells: dict[str, np.ndarray]  # arrays that the space knows the cells by, [R, ...]
    # validation accuracy in 0..1, by training; the first is the usual one. [R], or [R, seeds] with
    # NaN behind the last
    feedback: dict[str, np.ndarray]
    seconds: dict[str, np.ndarray]  # [R] a query of each feedback
    report: str  # name of the accuracy to report
    reported: np.ndarray  # [R] in 0..1
    columns: dict[str, np.ndarray]  # [R] other objectives: parameters, latency in seconds, ...

    def __len__(self) -> int:
        return len(self.reported)


class TableTask(Task):
    """One table; search, selection and test see all of it."""

    example = None
    kind = "table"
    objective = ACCURACY

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Read the arrays that are needed. `seed` changes nothing. Raises InputError."""
        if data is None:
            raise InputError(
                "data: task table has none of its own; give an .npz with a benchmark's table"
            )
        self.settings, self.seed = settings, seed
        self._table = read(Path(data))

    def search(self, experiment: int = 0) -> Table:
        """The table."""
        return self._table

    def select(self) -> Table:
        """The table."""
        return self._table

    def test(self) -> Table:
        """The table."""
        return self._table


def read(path: Path) -> Table:
    """A table from its file. Raises InputError."""
    arrays = read_arrays(path, tuple(dict.fromkeys(NASBENCH201 + NASBENCH101)), RIGHT)
    wanted = NASBENCH101 if "adj_bits" in arrays else NASBENCH201
    if missing := [name for name in wanted if name not in arrays and name not in OPTIONAL]:
        raise InputError(f"{path}: no array {', '.join(missing)}; {RIGHT}")
    return (
        _nasbench101(str(path), arrays)
        if wanted is NASBENCH101
        else _nasbench201(str(path), arrays)
    )


def _nasbench201(where: str, arrays: dict[str, np.ndarray]) -> Table:
    rows = _check(where, "ops", arrays["ops"], (None, 6), 4)
    for name in ("val12", "test200", "train_time200", "latency", "params_m"):
        _numbers(where, name, arrays[name], rows, 100.0 if name in ("val12", "test200") else np.inf)
    seeds = _seeds(where, arrays["val200"], rows)
    epoch = arrays["train_time200"].astype(np.float64) / 200
    columns = {
        "parameters": np.round(arrays["params_m"].astype(np.float64) * 1e6),
        "latency": arrays["latency"].astype(np.float64),
    }
    return Table(
        "nasbench201", where, {"ops": arrays["ops"]},
        {
            "val12": arrays["val12"].astype(np.float64) / 100, "val200": np.nanmean(seeds, 1),
            "val200_seed": seeds,
        },
        {"val12": epoch * (12 + 1 / 3), "val200": epoch * 200, "val200_seed": epoch * 200},
        "test200", arrays["test200"].astype(np.float64) / 100,
        columns | _hardware(where, arrays, rows),
    )  # fmt: skip


def _seeds(where: str, array: np.ndarray, rows: int) -> np.ndarray:
    """Accuracies of every seed as shares, [R, seeds]."""
    if array.ndim == 2 and array.shape[0] == rows and array.shape[1] and array.dtype.kind in "iuf":
        known = ~np.isnan(array)
        if known[:, 0].all() and (known[:, 1:] <= known[:, :-1]).all():
            for column in array.T:
                _numbers(where, "val200", np.nan_to_num(column), rows, 100.0)
            return array.astype(np.float64) / 100
    raise InputError(
        f"{where}: val200: {shown(array)}; must be numbers of shape [{rows}, seeds], with NaN only "
        "behind the seeds there are"
    )


def _hardware(where: str, arrays: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """Further columns by their names; what is negative was not measured and is NaN."""
    if any(name not in arrays for name in OPTIONAL):
        return {}
    names, values = arrays["hw_names"], arrays["hw"]
    if (
        names.ndim != 1
        or names.dtype.kind != "U"
        or values.shape != (rows, len(names))
        or values.dtype.kind not in "iuf"
    ):
        raise InputError(
            f"{where}: hw: {shown(values)}, hw_names: {shown(names)}; they must be numbers "
            f"[{rows}, k] and k names"
        )
    for name, column in zip(names.tolist(), values.T, strict=True):
        _numbers(where, f"hw: {name}", np.maximum(column, 0), rows)
    return {
        str(name): np.where(column < 0, np.nan, column.astype(np.float64))
        for name, column in zip(names, values.T, strict=True)
    }


def _nasbench101(where: str, arrays: dict[str, np.ndarray]) -> Table:
    rows = _check(where, "n_vertices", arrays["n_vertices"], (None,), 7)
    _check(where, "adj_bits", arrays["adj_bits"], (rows,), 2**21 - 1)
    _check(where, "ops", arrays["ops"], (rows, 5), 255)
    if arrays["n_vertices"].min() < 2:
        raise InputError(f"{where}: n_vertices: {arrays['n_vertices'].min()} in it; must be 2..7")
    inner = np.arange(5) < arrays["n_vertices"][:, None].astype(np.int64) - 2
    if arrays["ops"][inner].max(initial=0) > 2:
        raise InputError(
            f"{where}: ops: {arrays['ops'][inner].max()} is the code of an inner vertex; must be "
            "0..2"
        )
    _numbers(where, "test108", arrays["test108"], rows, 1.0)
    _numbers(where, "params", arrays["params"], rows)
    accuracy = arrays["test108"].astype(np.float64)
    return Table(
        "nasbench101", where, {name: arrays[name] for name in ("n_vertices", "adj_bits", "ops")},
        {"test108": accuracy}, {"test108": np.zeros(rows)}, "test108", accuracy,
        {"parameters": arrays["params"].astype(np.float64)},
    )  # fmt: skip


def _check(
    where: str, name: str, array: np.ndarray, shape: tuple[int | None, ...], most: int
) -> int:
    """Codes of this shape, None any size but none, in 0..most; how many rows. Raises InputError."""
    fits = array.ndim == len(shape) and all(
        want in (None, size) for want, size in zip(shape, array.shape, strict=True)
    )
    if (
        not fits
        or not array.size
        or array.dtype.kind not in "iu"
        or array.min() < 0
        or array.max() > most
    ):
        wanted = ", ".join("rows" if size is None else str(size) for size in shape)
        raise InputError(
            f"{where}: {name}: {shown(array)}; must be integers in 0..{most} of shape [{wanted}]"
        )
    return len(array)


def _numbers(where: str, name: str, array: np.ndarray, rows: int, most: float = np.inf) -> None:
    """Raise InputError unless these are `rows` numbers from zero to `most`."""
    if array.shape != (rows,) or array.dtype.kind not in "iuf":
        raise InputError(f"{where}: {name}: {shown(array)}; must be numbers of shape [{rows}]")
    bad = ~((array >= 0) & (array <= most) & np.isfinite(array))
    if bad.any():
        at = int(bad.argmax())
        raise InputError(
            f"{where}: {name}: {array[at]:g} in row {at}; must be "
            f"{'0 or more' if np.isinf(most) else f'in 0..{most:g}'}"
        )
