"""What a target of `evoml export` is: what it takes, what it needs, and what it writes.

The folder is the registry: files without an underscore are targets, and entry points in the group
`evoml.export` may add others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evoml.config import build
from evoml.contracts.part import Part, only_class
from evoml.core.errors import InputError
from evoml.core.registry import names
from evoml.genotypes.schema import Genotype
from evoml.search.opened import Opened
from evoml.search.problem import Problem

if TYPE_CHECKING:
    from evoml.search.winner import Trained


@dataclass(frozen=True)
class Given:
    """What is exported: a genotype, and what a target may ask for."""

    opened: Opened
    task: str | None  # that a file is for; None for a run, which knows its own
    trained: Callable[[], "Trained"]  # the network that an architecture becomes, trained once
    raw: bool = False  # whether what is written takes raw pixels and gives probabilities
    # settings over those of a file's task, as `build` takes them
    layers: Sequence[tuple[str, Mapping[str, Any]]] = ()

    @property
    def genotype(self) -> Genotype:
        """The best one of a run, or a file's."""
        return self.opened.genotype

    @property
    def title(self) -> str:
        """Where it is from."""
        return self.opened.title

    @property
    def problem(self) -> Problem:
        """The run's, or one for the task of a file."""
        task = ("flags", {"task": {"name": self.task}})
        return self.opened.problem or Problem(build(task, *self.layers))


class Target(Part):
    """A form that genotypes are written in. A subclass gives `text`, or `write` where it has a
    `destination`.
    """

    # kinds of phenotype that it takes, as `Space.phenotype` names them; none: all
    kinds: ClassVar[tuple[str, ...]] = ()
    # of which kinds a file needs --task, and why
    task_for: ClassVar[Mapping[str, str]] = {}
    # what --output must name, a folder or a file; empty: text, which standard output will do for
    destination: ClassVar[str] = ""
    # what has to be installed beside evoml, with the extra that is named as the target
    packages: ClassVar[tuple[str, ...]] = ()

    # whether it can take raw pixels and give probabilities, with --raw
    raw: ClassVar[bool] = False

    def says(self, given: Given) -> str:
        """What to say of what was written: what it takes and gives. Empty: nothing."""
        return ""

    def takes(self, phenotype: str) -> bool:
        """Whether it writes this kind of phenotype."""
        return not self.kinds or phenotype in self.kinds

    def text(self, given: Given) -> str:
        """What is written. Raises InputError."""
        raise NotImplementedError

    def write(self, given: Given, output: Path) -> list[Path]:
        """Write to what --output names; the files. Raises InputError, DiskError."""
        raise NotImplementedError

    def check_packages(self) -> None:
        """Raise InputError where a package is missing."""
        if missing := [name for name in self.packages if find_spec(name) is None]:
            raise InputError(
                f"export: --to {self.name} needs {', '.join(missing)}: pip install "
                f"'evoml[{self.name}]'"
            )


class RunTarget(Target):
    """A picture of a run as a whole, which there may be before there is a candidate. A subclass
    gives `picture`.
    """

    def picture(self, run: Path, problem: Problem) -> str:
        """The picture as a document. Raises InputError for a run without what it shows."""
        raise NotImplementedError

    def picture_of(self, run: Path, problem: Problem, candidate: int | None) -> str:
        """The same of one candidate, by its id; None: the best, or the run as a whole.

        Raises InputError where it is of the run as a whole.
        """
        if candidate is not None:
            raise InputError(
                f"export: --candidate {candidate}: --to {self.name} is of a run as a whole"
            )
        return self.picture(run, problem)


@cache
def target(name: str) -> Target:
    """A target by its name. Raises InputError for one that there is none of."""
    if name not in names("export"):
        raise InputError(f"export: --to {name}: must be one of {', '.join(names('export'))}")
    return only_class("export", name, Target)()
