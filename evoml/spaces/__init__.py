"""Search spaces: what can be expressed. One file a space, with `Settings` and a class `Space`."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from evoml.core.errors import InputError, read_text
from evoml.core.registry import load
from evoml.core.streams import generator
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Frame, Genotype, Schema


class Space:
    """A space of genotypes. A subclass gives `schema` and `frame`; where a candidate costs microseconds it overrides the batch methods."""

    schema: Schema
    evaluator = "execution"  # what scores its candidates where nothing else is named

    def frame(self, stream: int) -> Frame:
        """The rows of a random genotype, with their key columns."""
        raise NotImplementedError

    def random(self, streams: np.ndarray) -> Population:
        """One random genotype a stream."""
        return Population.of(self.schema, [self.schema.sample(generator(stream), self.frame(stream)) for stream in streams])

    def initial(self, streams: np.ndarray, given: Sequence[Genotype] = ()) -> Population:
        """The first population: copies of the given genotypes in turn, else what the space's settings say (random by default)."""
        if given:
            return Population.of(self.schema, [given[index % len(given)] for index in range(len(streams))])
        return self.random(streams)

    def mutate(self, population: Population, parents: np.ndarray, streams: np.ndarray) -> Population:
        """One mutated child of each of `parents` (indices into `population`)."""
        pairs = zip(parents, streams, strict=True)
        return Population.of(self.schema, [self.schema.perturb(generator(stream), population.genotype(at)) for at, stream in pairs])

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Two children of two parents. Spaces without crossover return the parents."""
        return one, other

    def keys(self, population: Population) -> list[str]:
        """Canonical keys: equal keys mean the same candidate."""
        return [self.schema.key(population.genotype(index)) for index in range(len(population))]

    def key(self, genotype: Genotype) -> str:
        return self.keys(Population.of(self.schema, [genotype]))[0]

    def essence(self, genotype: Genotype) -> Genotype:
        """The genotype without what cannot matter, to be read. It behaves the same."""
        return genotype

    def format(self, genotype: Genotype) -> str:
        """The genotype as text that `parse` reads."""
        return self.schema.format(genotype)

    def parse(self, text: str, where: str) -> Genotype:
        """The inverse of `format`. Raises InputError; executes nothing."""
        return self.schema.parse(text, where)

    def phenotypes(self, population: Population) -> Any:
        """What an evaluator runs: `Programs` or networks."""
        raise NotImplementedError


def open_file(path: Path) -> tuple[Any, Genotype]:
    """A genotype's file with the space that it is of: Python is a program, TOML says which space. Raises InputError."""
    text = read_text(path, "utf-8-sig")
    name = "automl_zero"
    if path.suffix == ".toml":
        try:
            header = tomllib.loads(text).get("space", {})
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not TOML ({' '.join(str(error).split())[:200]})") from None
        name = str(header.get("name", "")) if isinstance(header, dict) else ""
        if not name:
            raise InputError(f"{path}: space.name: missing; it must say which space the genotype is of, such as cell")
    try:
        module = load("spaces", name)
    except InputError as error:
        raise InputError(f"{path}: space.name: {error}") from None
    space, genotype = module.open_text(text, str(path))
    return space, genotype
