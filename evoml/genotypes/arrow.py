"""Genotypes as Arrow arrays."""

from typing import Any

import numpy as np
import pyarrow as pa

from evoml.genotypes.domains import (
    Absent,
    Choice,
    Conditional,
    Domain,
    Flag,
    Integer,
    Place,
    Real,
    Subset,
    item,
)


def column_to_arrow(domain: Domain, rows: np.ndarray, name: str) -> pa.Array:
    """One column of flat rows as Arrow: choices by name, null where a column holds nothing."""
    values = rows[name]
    if isinstance(domain, Choice):
        return pa.DictionaryArray.from_arrays(
            pa.array(values.astype(np.int32)), pa.array(domain.names, pa.string())
        ).dictionary_decode()
    if isinstance(domain, Subset):
        bits = (values[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)  # [rows, 64]
        offsets = np.concatenate([[0], np.cumsum(bits.sum(1))]).astype(np.int32)
        return pa.ListArray.from_arrays(offsets, pa.array(np.nonzero(bits)[1], pa.int64()))
    if not isinstance(domain, Conditional):
        return pa.array(values.astype(bool) if isinstance(domain, Flag) else values, domain.arrow)
    codes, which = np.unique(rows[domain.column], return_inverse=True)
    cases = [domain.cases.get(code.item(), domain.otherwise) for code in codes]
    if domain.arrow in (pa.string(), Subset.arrow):
        place = Place(0, {}, {})
        return pa.array(
            [cases[at].plain(item(value), place) for at, value in zip(which, values, strict=True)],
            domain.arrow,
        )
    nothing = np.array([isinstance(case, Absent) for case in cases], bool)
    return pa.array(values, domain.arrow, mask=nothing[which] if len(which) else np.zeros(0, bool))


def contained(domain: Domain, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which values of one column are in a domain; False for domains that need the place of a
    value.
    """
    if isinstance(domain, Conditional):
        out = np.zeros(values.shape, bool)
        for code in np.unique(rows[domain.column]):
            case = domain.cases.get(code.item(), domain.otherwise)
            out |= (rows[domain.column] == code) & contained(case, values, rows)
        return out
    if isinstance(domain, Choice):
        return values < len(domain.names)
    if isinstance(domain, Integer):
        return (values >= domain.low) & (values <= domain.high)
    if isinstance(domain, Real):
        return np.isfinite(values) & (values >= domain.least) & (values <= domain.most)
    if isinstance(domain, Flag):
        return values <= 1
    return values == 0 if isinstance(domain, Absent) else np.zeros(values.shape, bool)


def filled(value: Any) -> Any:
    """Without the nulls that Arrow gives where a column holds nothing."""
    if isinstance(value, dict):
        return {name: filled(each) for name, each in value.items() if each is not None}
    return [filled(each) for each in value] if isinstance(value, list) else value
