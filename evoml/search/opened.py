"""What a command is given: a run, of which the best candidate is meant or the one that is named, or
a genotype's file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from evoml.config import build
from evoml.contracts.space import Space
from evoml.genotypes.schema import Genotype
from evoml.search.problem import Problem


@dataclass(frozen=True)
class Opened:
    """A genotype with its space, and the run that it is a candidate of, if it is of one."""

    path: Path
    problem: Problem | None  # that the run was made for; None: a file
    space: Space
    genotype: Genotype
    # what could not be read, and what was changed since: to be said before anything else
    remarks: tuple[str, ...] = ()
    candidate: int | None = None  # its id in the run; None: the best one, or a file's
    row: Mapping[str, Any] = field(default_factory=dict)  # of the archive; empty: a file

    @property
    def heading(self) -> str:
        """Where it is from and what it scored, in words."""
        if self.problem is None or not self.row:
            return self.title
        scores = (
            f"{name.replace('_', ' ')} {self.row[name]:,.4f}".removesuffix(".0000")
            for name in self.problem.names
            if isinstance(self.row.get(name), float)
        )
        where = " on selection" * (self.row.get("event") == "selected")
        said = ", ".join(scores)
        if where and not self.problem.every_row:  # whose score there is another than in search
            said = f"score {said.rpartition(' ')[2]}"
        return f"{self.path}, candidate {self.row['id']}: {said}{where}"

    @property
    def title(self) -> str:
        """Where it is from, in words."""
        return str(self.path) + ("" if self.candidate is None else f", candidate {self.candidate}")

    @property
    def keeps(self) -> Path | None:
        """The folder whose `final` holds the network that it becomes; None: a file has none."""
        if self.problem is None:
            return None
        return self.path if self.candidate is None else self.path / f"candidate-{self.candidate}"

    @cached_property
    def about(self) -> Problem:
        """The problem of the run, or one for the file's space."""
        return self.problem or Problem(build(("file", {"space": self.space_settings})))

    @property
    def space_settings(self) -> dict[str, Any]:
        """The settings of the space, as a configuration has them."""
        settings = self.space.settings.model_dump(mode="json", exclude_none=True)
        return {"name": self.space.name, **settings}
