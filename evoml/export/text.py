"""A candidate as text, in the form that its space reads back."""

from evoml.contracts.space import Space
from evoml.export._target import Given, Target
from evoml.genotypes.schema import Genotype


class Text(Target):
    """Source of a program, TOML of everything else."""

    def text(self, given: Given) -> str:
        return source(given.opened.space, given.genotype)


def source(space: Space, genotype: Genotype) -> str:
    """Python source for a program, TOML for everything else."""
    return str(space.format(genotype))
