"""A search space: what can be expressed, how it varies, and what it becomes."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from evoml.contracts.part import Part, settings_class
from evoml.core.errors import InputError
from evoml.core.settings import Settings
from evoml.core.streams import generator
from evoml.genotypes.decisions import Choose, Decision, dice
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Frame, Genotype, Schema
from evoml.genotypes.text import toml
from evoml.phenotypes.programs import Memory

if TYPE_CHECKING:
    import networkx as nx

    from evoml.contracts.task import Shape, Task


class Space(Part):
    """A space of genotypes. A subclass gives `schema`, `phenotypes`, and `frame` for key columns.

    All that is random derives from streams: 64-bit numbers, one a genotype, [n] uint64. Where a
    candidate costs microseconds, a space overrides the batch methods.
    """

    schema: Schema
    settings: Any
    # settings without which a genotype is something else
    identity_settings: ClassVar[tuple[str, ...]] = ()
    evaluator: ClassVar[str] = "execution"  # what scores its candidates where nothing else is named
    phenotype: ClassVar[str] = "genotypes"  # kind of what its genotypes become: a module of report/
    tools: ClassVar[tuple[str, ...]] = ()  # methods that strategies of its own need, by name
    memory: Memory | None = None  # of a space of programs: what its programs compute in
    # whether it is to be fitted to a task before anything is drawn
    needs_task: ClassVar[bool] = False
    has_supernet: ClassVar[bool] = False  # whether `supernet`, `paths` and `derive` are there
    has_decisions: ClassVar[bool] = True  # whether `decide` and `decisions` make its genotypes
    lists_neighbours: ClassVar[bool] = False  # whether `neighbours` is there
    # lists of what genotypes are made of, by title
    operations: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, settings: Settings) -> None:
        """settings: an instance of the module's `Settings`. Raises InputError."""
        self.settings = settings

    def for_task(self, task: "Task | Shape") -> Self:
        """This space, fitted to a task.

        Called once where `needs_task` is true. Raises InputError.
        """
        return self

    # -- drawing and variation ---------------------------------------------------------------------

    def frame(self, choose: Choose) -> Frame:
        """The rows of a genotype, with their key columns; where their number is open, `choose`
        answers how many.

        By default as many as the schema's tables have. A space with key columns overrides this.
        """
        return self.schema.frame(choose)

    def decide(self, choose: Choose) -> Genotype:
        """The genotype that `choose` makes, a function that answers every `Decision` with a code:
        first how many rows there are where that is open, then gene after gene.

        A space may forbid what its schema allows: `violation` tells. Raises InputError where
        `has_decisions` is false.
        """
        return self.schema.decide(self.frame(choose), choose)

    def decisions(self, genotype: Genotype) -> list[tuple[Decision, Any]]:
        """All that `decide` asks to make a genotype, with the answers that make this one.

        Raises InputError where `has_decisions` is false.
        """
        asked = []

        def answer(decision: Decision) -> Any:
            asked.append((decision, decision.code_in(genotype)))
            return asked[-1][1]

        self.decide(answer)
        return asked

    def random(self, streams: np.ndarray) -> Population:
        """One random genotype a stream, not evaluated: decided by dice."""
        return Population.of(self.schema, [self.decide(dice(stream)) for stream in streams])

    def initial(self, streams: np.ndarray, start_genotypes: Sequence[Genotype] = ()) -> Population:
        """The first population: copies of the given genotypes in turn, else random ones."""
        if start_genotypes:
            return Population.of(
                self.schema,
                [start_genotypes[index % len(start_genotypes)] for index in range(len(streams))],
            )
        return self.random(streams)

    def mutate(
        self, population: Population, parents: np.ndarray, streams: np.ndarray
    ) -> Population:
        """One mutated child of each of `parents`, [n] indices into `population`."""
        pairs = zip(parents, streams, strict=True)
        return Population.of(
            self.schema,
            [
                self.schema.perturb(generator(stream), population.genotype(int(at)))
                for at, stream in pairs
            ],
        )

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Two children of two parents. Spaces without crossover return the parents."""
        return one, other

    def neighbours(self, genotype: Genotype) -> list[Genotype]:
        """Every genotype that differs in one gene.

        Raises InputError where `lists_neighbours` is false.
        """
        raise InputError(
            "strategy: local_search needs a space that lists neighbours, which this one does not; "
            "spaces of architectures do"
        )

    # -- identity and text -------------------------------------------------------------------------

    def keys(self, population: Population) -> list[str]:
        """Canonical keys, [n]: equal keys mean the same candidate."""
        return [self.schema.key(population.genotype(index)) for index in range(len(population))]

    def key(self, genotype: Genotype) -> str:
        """The canonical key of one genotype."""
        return self.keys(Population.of(self.schema, [genotype]))[0]

    def difference(self, parent: Genotype, child: Genotype) -> list[str]:
        """What a child has that its first parent has not, a short line each; empty for a copy.

        By default gene by gene, and rows that are there more or less.
        """
        return self.schema.changes(parent, child)

    def essence(self, genotype: Genotype) -> Genotype:
        """The genotype without what cannot matter, to be read. It behaves the same."""
        return genotype

    @classmethod
    def open_text(cls, text: str, where: str) -> tuple[Self, Genotype]:
        """The space that a genotype's file is of, with the settings that the file names, and the
        genotype.

        Raises InputError naming `where`; executes nothing.
        """
        values = settings_class("spaces", cls.name)
        space = cls(values.read(read_header(text, where), f"{where}: space"))
        return space, space.parse(text, where)

    def header(self) -> dict[str, Any]:
        """The settings that a genotype means nothing without, for its file."""
        return {}

    def format(self, genotype: Genotype) -> str:
        """The genotype as text that `parse` reads: TOML, the space, then one array of tables a gene
        table.
        """
        header = "".join(
            f"space.{toml({key: value})}"
            for key, value in {"name": self.name, **self.header()}.items()
        )
        return header + "\n" + self.schema.format(genotype)

    def parse(self, text: str, where: str) -> Genotype:
        """The inverse of `format`. Raises InputError naming `where`; executes nothing."""
        tables = read_genotype(text, where)
        given = tables.pop("space", {"name": self.name})
        if not isinstance(given, dict) or given.get("name") != self.name:
            raise InputError(
                f"{where}: space.name: "
                f"{given.get('name') if isinstance(given, dict) else given!r}: must be {self.name}"
            )
        default = type(self.settings)().model_dump(mode="json")
        mine = {key: self.settings.model_dump(mode="json")[key] for key in self.identity_settings}
        for key, value in mine.items():
            if given.get(key, default[key]) != value:
                theirs, ours = (
                    json.dumps(each, default=str) for each in (given.get(key, default[key]), value)
                )
                raise InputError(
                    f"{where}: space.{key}: {theirs}, where this search or task has {ours}; set "
                    f"space.{key} to the file's, or take another file"
                )
        genotype = self.from_plain(tables, where)
        if violation := self.violation(genotype):
            raise InputError(f"{where}: {violation}")
        return genotype

    def from_plain(self, tables: dict[str, Any], where: str) -> Genotype:
        """The genotype of a file's gene tables. Raises InputError."""
        return self.schema.from_plain(tables, where)

    def violation(self, genotype: Genotype) -> str | None:
        """What is wrong with a genotype beyond its schema; None if nothing is."""
        return None

    # -- pictures ----------------------------------------------------------------------------------

    def drawing(self, genotype: Genotype) -> "nx.DiGraph":
        """The one graph that is drawn of a genotype: nodes and edges that may have a `label`, nodes
        that may have a `kind` (input, output, node).

        Raises InputError where there is none.
        """
        raise InputError(f"space: {self.name}: does not say how its genotypes are drawn")

    def drawings(self, genotype: Genotype) -> "Mapping[str, nx.DiGraph]":
        """What is drawn of a genotype, side by side, by name; by default `drawing`."""
        return {"": self.drawing(genotype)}

    # -- phenotypes --------------------------------------------------------------------------------

    def phenotypes(self, population: Population) -> Any:
        """What an evaluator runs: `Programs`, `NeuronGraphs`, or what else the two agree upon.

        By default the genotypes, [n].
        """
        return [population.genotype(index) for index in range(len(population))]


def read_genotype(text: str, where: str) -> dict[str, Any]:
    """A genotype's file as nested dictionaries. Raises InputError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not TOML ({' '.join(str(error).split())[:200]})") from None


def read_header(text: str, where: str) -> dict[str, Any]:
    """The settings of a genotype's space, from its file. Raises InputError."""
    given = read_genotype(text, where).get("space", {})
    if not isinstance(given, dict):
        raise InputError(f"{where}: space: {given!r}: must be a table with the space's name")
    return {key: value for key, value in given.items() if key != "name"}
