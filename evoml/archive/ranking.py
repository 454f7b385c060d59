"""Which archived candidates are the best."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evoml.contracts.objective import Objective


def ranked(
    table: pa.Table, objectives: Sequence[Objective], every_row: bool
) -> tuple[pa.Table, list[int]]:
    """The rows of a run, and their places from the best to the last, by `Archive.best`'s order.

    The table gets a column `front` where every candidate is a row.
    """
    quality = np.stack([table[each.name].to_numpy() * each.weight for each in objectives], 1)
    selected = pc.fill_null(pc.equal(table["event"], "selected"), False).to_numpy()
    rank = 1 - selected.astype(int)
    if every_row:
        known = pc.fill_null(pc.equal(table["status"], "ok"), False).to_numpy()
        evaluated = known & ~np.isnan(quality).any(1)
        front = non_dominated(quality, evaluated & ~selected)
        table = table.append_column("front", pa.array(front))
        first = selected & (len(objectives) == 1)
        rank = 2 - evaluated.astype(int) - np.where(first, 2 * evaluated, front)
    places = np.lexsort([table["id"].to_numpy(), *-quality.T[::-1], rank])
    return table, [int(place) for place in places]


def non_dominated(quality: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which rows of `among` none of them is better than in one objective and as good in the others.

    quality: [n, O], larger is better; [n] bool.
    """
    left, out = np.flatnonzero(among), np.zeros(len(quality), bool)
    # best first, so that the first that is left is always on the front
    left = left[np.lexsort(-quality[left].T[::-1])]
    while len(left):
        first = quality[left[0]]
        equal = (quality[left] == first).all(1)
        out[left[equal]] = True
        left = left[(quality[left] > first).any(1)]
    return out
