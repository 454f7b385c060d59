"""Where a candidate comes from: its line of ancestors among the rows of a run, each the child of
the one before.

Of two parents the first is followed, whose genes a child has more of: the fitter one in NEAT, the
one that was mutated elsewhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evoml.archive.archive import Archive
from evoml.core.errors import InputError
from evoml.genotypes.schema import Genotype


@dataclass(frozen=True)
class Ancestor:
    """One of a line."""

    id: int
    parents: tuple[int, ...]
    status: str
    objectives: tuple[float, ...]  # in search, as far as a row of that is kept
    genotype: Genotype


def lineage(archive: Archive, candidate: int) -> tuple[list[Ancestor], int | None]:
    """The line that ends with a candidate, the oldest first; and the parent at which it breaks off
    since no row of it is kept, None where it goes back to the first population.

    Raises InputError where the candidate is in no row.
    """
    names = [each.name for each in archive.objectives]
    table, _ = archive.table(["id", "parents", "event", "status", *names, "genotype"])
    ids = table["id"].to_numpy()
    selected = np.array(table["event"].to_pylist()) == "selected"
    # a row of the search before one of the selection, which has another score
    order = np.lexsort([np.arange(len(ids)), selected])
    known, first = np.unique(ids[order], return_index=True)
    row_of = dict(zip(known.tolist(), order[first].tolist(), strict=True))
    if candidate not in row_of:
        raise InputError(f"{archive.folder}: candidate {candidate} is not archived")
    line: list[Ancestor] = []
    at: int | None = candidate
    seen: set[int] = set()
    while at is not None and at in row_of and at not in seen:
        seen.add(at)  # a damaged archive may go in a circle
        row: dict[str, Any] = table.slice(row_of[at], 1).to_pylist()[0]
        where = f"{archive.folder}: candidate {at}"
        column = table["genotype"].slice(row_of[at], 1).combine_chunks()
        parents = tuple(row["parents"] or ())
        line.append(
            Ancestor(
                at, parents, row["status"] or "", tuple(row[name] for name in names),
                archive.genotype(column, where),
            )
        )  # fmt: skip
        at = parents[0] if parents else None
    return line[::-1], None if at is None or at in seen else at
