"""Genotypes as Arrow arrays: a struct of one list<struct> a gene table, choices as strings."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from evoml.genotypes.schema import Table


def tables_to_arrow(
    tables: "Sequence[Table]", rows: Sequence[np.ndarray], sizes: np.ndarray
) -> pa.Array:
    """P genotypes as one Arrow array. rows: [P, R] padded, one a table; sizes: [P, tables]."""
    lists = []
    for table, padded, counts in zip(tables, rows, sizes.T, strict=True):
        flat = padded[np.arange(padded.shape[1]) < counts[:, None]]
        columns = [column.domain.to_arrow(flat[column.name], flat) for column in table.columns]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        structs = pa.StructArray.from_arrays(columns, fields=list(table.arrow.value_type))
        lists.append(pa.ListArray.from_arrays(offsets, structs))
    return pa.StructArray.from_arrays(
        lists, fields=[pa.field(table.name, table.arrow) for table in tables]
    )


def without_nulls(value: Any) -> Any:
    """Without the nulls that Arrow gives where a column holds nothing."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value
