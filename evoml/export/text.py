"""A candidate as text, in the form that its space reads back."""

from typing import Any

from evoml.genotypes.schema import Genotype


def source(space: Any, genotype: Genotype) -> str:
    """Python source for a program, TOML for everything else."""
    return str(space.format(genotype))
