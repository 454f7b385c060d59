"""What a network's inputs and outputs stand for in the columns of its table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Units:
    """What a network's inputs and outputs stand for in the columns of its table."""

    columns: tuple[str, ...]  # [I]
    mean: tuple[float, ...]  # [I] input = (column - mean) / deviation
    deviation: tuple[float, ...]
    targets: tuple[str, ...]  # [O] in regression, else one
    offset: tuple[float, ...]  # [O] target = offset + scale * output
    scale: tuple[float, ...]
    # as the table has them; empty in regression. Of two classes there is one output, above 0.5 for
    # the second
    classes: tuple[Any, ...]
    sweeps: int  # of a recurrent network on a row, from zero memory
    # the table's own columns: of text, its values, each of which is one of the columns above, 1
    # where it is that; else None
    table: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    fill: tuple[float, ...] = ()  # [I] what stands for a missing value; empty: nothing does
    missing: tuple[str | float, ...] = ()  # what stands for no value in a row, beside none and NaN

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        """The table's columns of text, and their values."""
        return {name: values for name, values in self.table.items() if values is not None}

    def words(self, most: int = 20) -> list[str]:
        """The same in lines, of at most so many columns and outputs."""
        rows = zip(self.columns[:most], self.mean, self.deviation, strict=False)
        out = [
            f"x{at} = ({name} - {mean:.6g}) / {deviation:.6g}"
            for at, (name, mean, deviation) in enumerate(rows)
        ]
        if len(self.columns) > most:
            out.append(f"and so on, to x{len(self.columns) - 1} of {self.columns[-1]}")
        if self.fill and None in self.table.values():
            filled = (
                f"{name} {fill:.6g}"
                for name, fill in zip(self.columns, self.fill, strict=True)
                if name in self.table
            )
            out.append(f"where there is no value: {', '.join(list(filled)[:most])}")
        (*_, name) = self.targets
        if len(self.classes) == 2:
            return [*out, f"{name}: {self.classes[1]} where y0 > 0.5, else {self.classes[0]}"]
        if self.classes:
            some = ", ".join(f"{value} where y{at}" for at, value in enumerate(self.classes[:most]))
            return [
                *out,
                (
                    f"{name}: the class of the largest output, "
                    f"{some}{', ...' * (len(self.classes) > most)}"
                ),
            ]
        ends = zip(self.targets[:most], self.offset, self.scale, strict=False)
        return [
            *out,
            *(
                f"{name} = {offset:.6g} + {scale:.6g} y{at}"
                for at, (name, offset, scale) in enumerate(ends)
            ),
        ]
