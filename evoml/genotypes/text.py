"""The text of genotypes: choices by name, one array of tables a gene table in TOML."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from evoml.core.errors import InputError
from evoml.genotypes.decisions import Decision

if TYPE_CHECKING:
    from evoml.genotypes.schema import Row, Table

_LIST = re.compile(r"\[\n((?:\s*(?:-?\d+|\[[-\d, ]*\]),\n)+)\s*\]")


def tables_from_plain(tables: "Sequence[Table]", given: Any, where: str) -> dict[str, np.ndarray]:
    """The rows of every table from lists of dictionaries.

    Raises InputError naming `where`, the table, the row and the column.
    """
    if not isinstance(given, dict):
        raise InputError(f"{where}: must be a table of gene tables")
    names = [table.name for table in tables]
    if unknown := sorted(set(given) - set(names)):
        raise InputError(f"{where}: {unknown[0]}: no such table; there are {', '.join(names)}")
    given = {name: given.get(name, []) for name in names}
    for name, rows in given.items():
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"{where}: {name}: must be an array of tables")
    counts = {name: len(rows) for name, rows in given.items()}
    return {table.name: _rows(table, given[table.name], counts, where) for table in tables}


def _rows(
    table: "Table", given: "Sequence[Row]", counts: Mapping[str, int], where: str
) -> np.ndarray:
    out = np.zeros(len(given), table.dtype)
    for index, row in enumerate(given):
        left: Row = {}
        if unknown := sorted(set(row) - {column.name for column in table.columns}):
            raise InputError(f"{where}: {table.name}[{index}].{unknown[0]}: no such column")
        for column in table.columns:
            here = Decision(index, left, counts, table.name, column.name, column.domain)
            code = here.domain.code(row.get(column.name), here)
            if not here.domain.contains(code, here):
                shown = f"{row[column.name]!r}: " if column.name in row else "missing; "
                raise InputError(
                    f"{where}: {table.name}[{index}].{column.name}: {shown}must be "
                    f"{here.domain.describe(here)}"
                )
            left[column.name] = code
        out[index] = tuple(left.values())
    return out


def toml(tables: Mapping[str, Any]) -> str:
    """TOML with lists of integers, and lists of those, on one line."""
    text = tomli_w.dumps(tables)
    for _ in range(2):
        text = _LIST.sub(
            lambda match: (
                f"[{', '.join(line.strip().rstrip(',') for line in match[1].splitlines())}]"
            ),
            text,
        )
    return text
