"""Learning algorithms as programs: setup, predict and learn over typed memory (AutoML-Zero).

Real, Liang, So, Le 2020, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML,
arXiv 2003.03384. Operations, mutations and their probabilities are those of the published program.
Departures: constants are doubles everywhere; a mutated constant that would overflow stays as it is;
identity is the flow of data to the prediction, not the text.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from evoml.contracts.space import Space
from evoml.core import settings
from evoml.genotypes.decisions import Choose, count_rows
from evoml.genotypes.domains import Choice, Conditional, Domain, Integer, Real
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.phenotypes.instructions import (
    BOUND,
    BY_NAME,
    DEVIATION,
    INDEX,
    NAMES,
    OPS,
    OWN_NAMES,
    VALUE,
)
from evoml.phenotypes.programs import FUNCTIONS, INSTRUCTION, LONGEST, Memory, Programs
from evoml.spaces._program_text import format_instruction, format_program, parse_program

if TYPE_CHECKING:
    import networkx as nx

_LAST_INDEX = float(np.nextafter(1.0, 0.0))
_CONSTANTS: dict[str, Domain] = {
    VALUE: Real(-1.0, 1.0, "scale"),
    INDEX: Real(0.0, 1.0, "redraw", least=0.0, most=_LAST_INDEX),
    DEVIATION: Real(0.0, 1.0, "scale", least=0.0),
    BOUND: Real(-1.0, 1.0, "scale"),
}
Mutation = Literal[
    "alter_parameter",
    "randomize_instruction",
    "randomize_function",
    "insert",
    "remove",
    "trade",
    "randomize_algorithm",
    "identity",
]


class Function(settings.Settings):
    """One component function: how many instructions, and which operations it may hold."""

    initial: int = Field(1, ge=0, le=LONGEST, description="instructions at the start")
    least: int = Field(0, ge=0, le=LONGEST, description="removal stops here")
    most: int = Field(
        16,
        ge=1,
        le=LONGEST,
        description="insertion stops one below this, as in the published program",
    )
    ops: tuple[str, ...] = Field(
        OWN_NAMES,
        description="operations that random instructions are drawn from; empty: the function never "
        "changes",
    )

    @field_validator("ops")
    @classmethod
    def _known(cls, ops: tuple[str, ...]) -> tuple[str, ...]:
        for name in ops:
            if name not in BY_NAME:
                raise ValueError(f"no operation {name!r}; `evoml spaces automl_zero` lists them")
        return ops

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.least <= self.initial <= self.most:
            raise ValueError(
                f"needs least <= initial <= most, not {self.least}, {self.initial}, {self.most}"
            )
        return self


class Settings(settings.Settings):
    """Memory size, functions, first population and mutations."""

    scalars: int = Field(
        5, ge=2, le=64, description="scalar addresses; s0 is the label, s1 the prediction"
    )
    vectors: int = Field(9, ge=1, le=64, description="vector addresses; v0 is the features")
    matrices: int = Field(2, ge=0, le=64, description="matrix addresses")
    setup: Function = Function()
    predict: Function = Function()
    learn: Function = Function()
    initial: Literal["random", "empty"] = Field(
        "empty", description="random instructions, or no-ops, of the initial sizes"
    )
    mutations: tuple[Mutation, ...] = Field(
        ("alter_parameter", "randomize_function", "insert", "remove"),
        min_length=1,
        description="that may happen, each as likely",
    )
    mutate_probability: float = Field(0.9, ge=0, le=1, description="otherwise the child is a copy")

    @model_validator(mode="after")
    def _writable(self) -> Self:
        for name, function in zip(FUNCTIONS, (self.setup, self.predict, self.learn), strict=True):
            for op in (BY_NAME[each] for each in function.ops):
                if op.out == "v" and self.vectors < 2:
                    raise ValueError(
                        f"{name}.ops: {op.name} needs vectors >= 2, since v0 is never written"
                    )
                if "m" in op.ins + op.out and self.matrices < 1:
                    raise ValueError(f"{name}.ops: {op.name} needs matrices >= 1")
        return self


class AutoMLZeroSpace(Space):
    """Programs of a memory layout. The batch methods are compiled."""

    phenotype = "programs"
    memory: Memory

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.memory = Memory(settings.scalars, settings.vectors, settings.matrices)
        self._functions = (settings.setup, settings.predict, settings.learn)
        self._operations = tuple(
            np.array([BY_NAME[name].id for name in function.ops], np.int64)
            for function in self._functions
        )
        self._bounds = np.array(
            [[function.least, function.most] for function in self._functions], np.int64
        )
        self._initial = np.array([function.initial for function in self._functions], np.int64)
        self._addresses = np.array(
            [0, settings.scalars, settings.vectors, settings.matrices], np.int64
        )

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        tables = tuple(
            Table(name, self._columns(function), 0, function.most)
            for name, function in zip(FUNCTIONS, self._functions, strict=True)
        )
        assert all(table.dtype == INSTRUCTION for table in tables)
        return Schema(tables)

    def _columns(self, function: Function) -> tuple[Column, ...]:
        """The columns of an instruction, their domains read off the operation table."""
        count = {"s": self.memory.scalars, "v": self.memory.vectors, "m": self.memory.matrices}
        operand: list[dict[int, Domain]] = [
            {op.id: Integer(0, count[op.ins[i]] - 1) for op in OPS if len(op.ins) > i}
            for i in range(2)
        ]
        output: dict[int, Domain] = {
            op.id: Integer(0 if op.out == "m" else 1, count[op.out] - 1) for op in OPS if op.out
        }
        constants: list[dict[int, Domain]] = [
            {op.id: _CONSTANTS[op.constants[i]] for op in OPS if len(op.constants) > i}
            for i in range(3)
        ]
        drawn = tuple(BY_NAME[name].id for name in function.ops)
        return (
            Column("op", Choice(NAMES, drawn)),
            *(
                Column(name, Conditional("op", cases))
                for name, cases in zip("ab", operand, strict=True)
            ),
            Column("out", Conditional("op", output)),
            *(
                Column(name, Conditional("op", cases))
                for name, cases in zip("xyz", constants, strict=True)
            ),
        )

    @property
    def _sizes(self) -> np.ndarray:
        """Least and most instructions of a random program's functions, [3, 2]: of any size within
        the bounds where mutation changes sizes, else of the initial sizes.
        """
        free = {"insert", "remove"} & set(self.settings.mutations)
        return self._bounds if free else self._initial.repeat(2).reshape(3, 2)

    def frame(self, choose: Choose) -> Frame:
        return {
            name: [{}] * count_rows(choose, name, least, most)
            for name, (least, most) in zip(FUNCTIONS, self._sizes.tolist(), strict=True)
        }

    def random(self, streams: np.ndarray) -> Population:
        """Random programs, compiled: the distribution of `decide` with dice, not its draws."""
        return self._random(streams, self._sizes)

    def _random(self, streams: np.ndarray, ranges: np.ndarray) -> Population:
        from evoml.spaces._program_kernels import random_programs

        out = Population(self.schema, len(streams))
        random_programs(out.tables, out.sizes, streams, self._operations, ranges, self._addresses)
        return out

    def initial(self, streams: np.ndarray, start_genotypes: Sequence[Genotype] = ()) -> Population:
        """Copies of the given programs, random instructions or no-ops; the last two of the initial
        sizes.
        """
        if start_genotypes:
            return super().initial(streams, start_genotypes)
        if self.settings.initial == "random":
            return self._random(streams, self._initial.repeat(2).reshape(3, 2))
        out = Population(self.schema, len(streams))
        out.sizes[:] = self._initial
        return out

    def mutate(
        self, population: Population, parents: np.ndarray, streams: np.ndarray
    ) -> Population:
        from evoml.spaces._program_kernels import MUTATIONS, mutate

        out = Population(self.schema, len(parents))
        allowed = np.array([MUTATIONS.index(name) for name in self.settings.mutations])
        mutate(
            population.tables, population.sizes, np.asarray(parents), streams, allowed,
            self.settings.mutate_probability, self._operations, self._bounds, self._addresses,
            out.tables, out.sizes,
        )  # fmt: skip
        return out

    def phenotypes(self, population: Population) -> Programs:
        """Canonical programs: dead instructions gone, the inputs of commutative operations in
        order.

        Keys are equal where the flow of data is, whatever the addresses and the order of
        independent instructions.
        """
        from evoml.spaces._program_kernels import canonical, places

        tables = tuple(np.zeros_like(table) for table in population.tables)
        sizes = np.zeros_like(population.sizes)
        keys = np.zeros(len(population), np.uint64)
        canonical(population.tables, population.sizes, places(self._addresses), tables, sizes, keys)
        return Programs(self.memory, tables, sizes, keys)  # type: ignore[arg-type]

    def keys(self, population: Population) -> list[str]:
        return [f"{key:016x}" for key in self.phenotypes(population).keys]

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Exchange one component function.

        The published system has no crossover; this is for DEAP's algorithms.
        """
        name = rng.choice(FUNCTIONS)
        swap = {name: other.tables[name]}, {name: one.tables[name]}
        return Genotype(self.schema, one.tables | swap[0]), Genotype(
            self.schema, other.tables | swap[1]
        )

    def difference(self, parent: Genotype, child: Genotype) -> list[str]:
        """Instructions that are new, and those that are gone, function by function."""
        out = []
        for name in FUNCTIONS:
            before, after = (
                [format_instruction(row) for row in each.tables[name]] for each in (parent, child)
            )
            for kind, first, last, start, end in SequenceMatcher(
                None, before, after, autojunk=False
            ).get_opcodes():
                if kind != "equal":
                    out += [f"{name}: - {line}" for line in before[first:last]]
                    out += [f"{name}: + {line}" for line in after[start:end]]
        return out

    def essence(self, genotype: Genotype) -> Genotype:
        """The program without instructions that cannot reach the prediction."""
        programs = self.phenotypes(Population.of(self.schema, [genotype]))
        return Genotype(
            self.schema,
            {name: programs.rows(0, function) for function, name in enumerate(FUNCTIONS)},
        )

    def drawing(self, genotype: Genotype) -> "nx.DiGraph":
        """The flow of data through one training example as a graph: a node an instruction and a
        given address, an edge from writer to reader.

        Instructions are (function, row), with their text under `label`; reads of what an earlier
        example left point to its last writer.
        """
        import networkx as nx

        out = nx.DiGraph()
        rows = [
            (name, index, row)
            for name in FUNCTIONS
            for index, row in enumerate(genotype.tables[name])
        ]
        loop = [each for each in rows if each[0] != "setup"]
        writer: dict[str, tuple[str, int] | str] = {}
        prediction: tuple[str, int] | str = "zero"
        # twice around, so that a reader finds what the example before wrote
        for name, index, row in [*rows, *loop]:
            op = OPS[row["op"]]
            reads = [f"{kind}{row[each]}" for kind, each in zip(op.ins, "ab", strict=False)]
            reads += [f"{op.out}{row['out']}"] if op.reads_out else []
            out.add_node((name, index), label=format_instruction(row))
            for address in reads:
                given = (
                    "label"
                    if address == "s0" and name == "learn"
                    else "features"
                    if address == "v0" and name != "setup"
                    else "zero"
                )
                out.add_edge(writer.get(address, given), (name, index), address=address)
            if op.out:
                writer[f"{op.out}{row['out']}"] = (name, index)
            if name == "predict":
                prediction = writer.get("s1", "zero")
        out.add_edge(prediction, "prediction", address="s1")
        return out

    def format(self, genotype: Genotype) -> str:
        return format_program(genotype)

    def parse(self, text: str, where: str) -> Genotype:
        return Genotype(self.schema, parse_program(text, where, self.memory, self._bounds[:, 1]))

    @classmethod
    def open_text(cls, text: str, where: str) -> tuple[Self, Genotype]:
        """A program file with the smallest space that holds it. Raises InputError."""
        tables = parse_program(text, where, Memory(64, 64, 64))
        used = {"s": 2, "v": 1, "m": 0}
        for row in np.concatenate(list(tables.values())):
            op = OPS[row["op"]]
            for kind, name in zip(op.ins + op.out, [*"ab"[: len(op.ins)], "out"], strict=False):
                used[kind] = max(used[kind], int(row[name]) + 1)
        counts = {name: max(len(tables[name]), 1) for name in FUNCTIONS}
        functions = {
            name: Function(initial=counts[name], most=counts[name], ops=()) for name in FUNCTIONS
        }
        space = cls(Settings(scalars=used["s"], vectors=used["v"], matrices=used["m"], **functions))
        return space, space.parse(text, where)
