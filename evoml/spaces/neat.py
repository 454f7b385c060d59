"""NEAT's genomes: tables of nodes and of links with innovation numbers, which become networks of
single neurons.

Stanley, Miikkulainen 2002, "Evolving Neural Networks through Augmenting Topologies", Evolutionary
Computation 10(2). The first networks have no hidden nodes, every input and the bias linked to every
output. A feed-forward genome has no cycle, disabled links counted, so that no link can close one
when it is enabled again. A link of the bias is never split, as in the paper's program. Departures:
nodes have functions of their own, as in NEAT's libraries (one function is the paper's case); where
parents of equal fitness differ, a feed-forward child does without genes that would close a cycle.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from evoml.contracts.space import Space
from evoml.contracts.task import Shape, Task
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.streams import below, generator, outputs
from evoml.core.wording import plural
from evoml.genotypes.decisions import Choose
from evoml.genotypes.domains import Absent, Choice, Conditional, Flag, Integer, Real
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Column, Frame, Genotype, Schema, Table
from evoml.phenotypes.activations import ACTIVATION_NAMES, AGGREGATION_NAMES, checked_names
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.spaces import _neat_kernels as kernels
from evoml.spaces._neat_kernels import BIAS, HIDDEN, INPUT, OUTPUT, Rates
from evoml.spaces._substrates import Substrate

if TYPE_CHECKING:
    import networkx as nx

# so that there is room for those of a search behind the largest of a file
_NUMBER = Integer(0, 2_000_000_000)
_ACTIVATION, _AGGREGATION = Choice(ACTIVATION_NAMES), Choice(AGGREGATION_NAMES)
SCHEMA = Schema(
    (
        Table(
            "nodes",
            (
                Column("id", _NUMBER, True),
                Column("kind", Choice(("input", "bias", "output", "hidden")), True),
                Column(
                    "activation",
                    Conditional("kind", {OUTPUT: _ACTIVATION, HIDDEN: _ACTIVATION}, Absent()),
                ),
                Column(
                    "aggregation",
                    Conditional("kind", {OUTPUT: _AGGREGATION, HIDDEN: _AGGREGATION}, Absent()),
                ),
            ),
        ),
        Table(
            "links",
            (
                Column("innovation", _NUMBER, True),
                Column("source", _NUMBER, True),
                Column("target", _NUMBER, True),
                Column("enabled", Flag()),
                Column("weight", Real(-1.0, 1.0, "step")),
            ),
        ),
    )
)
SIGMOID = "sigmoid"  # the paper's function: 1 / (1 + exp(-4.9 a))
# The paper's variation, for whoever mutates without the strategy of this name, which has settings
# for all of it.
PAPER = Rates(
    mate_only=0.0, averaged=0.0, stays_disabled=0.75, layered=0.0, mixed=0.0, add_node=0.03,
    add_link=0.05, delete_node=0.0, delete_link=0.0, exclusive=0.0, weights=0.8, perturb=0.9,
    replace=0.1, gaussian=0.0, power=2.5, range=8.0, limit=8.0, severe=0.0, toggle=0.0, alter=0.0,
    split_disabled=0.0,
)  # fmt: skip
GROWING = PAPER._replace(add_node=0.5, add_link=0.5)  # of random networks


class Settings(settings.Settings):
    """What a network is made of."""

    inputs: int = Field(
        0, ge=0, le=100_000, description="inputs, the bias not counted; 0: as many as the task has"
    )
    outputs: int = Field(0, ge=0, le=10_000, description="outputs; 0: as many as the task has")
    bias: float | None = Field(
        None,
        allow_inf_nan=False,
        description="value of the bias node; none: as the task says; 0: there is no bias node",
    )
    recurrent: bool = Field(
        False,
        description="links may close cycles; a network then takes one synchronous sweep a step",
    )
    activations: tuple[str, ...] = Field(
        ("sigmoid",), min_length=1, description="functions that a hidden node may have"
    )
    output: str | None = Field(
        None,
        description="function of the output nodes of the first networks; none: as the task says, a "
        "sigmoid where it says nothing",
    )
    aggregations: tuple[str, ...] = Field(
        ("sum",), min_length=1, description="how a hidden node may combine its inputs"
    )
    initial: Literal["full", "one", "none"] = Field(
        "full",
        description="links of the first networks: from every input to every output, to each output "
        "from one input, or none",
    )
    weight: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="first weights are uniform between minus this and this",
    )
    growth: int = Field(
        10,
        ge=0,
        le=10_000,
        description="most mutations that a network has had which random search draws",
    )

    @field_validator("activations", "output", "aggregations")
    @classmethod
    def _known(cls, value: Any, info: Any) -> Any:
        return checked_names(value, info.field_name)


class NEATSpace(Space):
    """Genomes of networks of I inputs and O outputs.

    Nodes 0 .. I-1 are the inputs, I the bias where there is one, then the outputs.
    """

    evaluator = "rollout"
    phenotype = "neurons"
    needs_task = True
    identity_settings = ("recurrent",)
    schema = SCHEMA
    substrate: Substrate | None = None  # of CPPNs: what they draw on
    has_decisions = False
    tools = ("begin", "breed", "speciate", "distances", "rates", "sound")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.inputs, self.outputs = settings.inputs or 1, settings.outputs or 1
        self._known = settings.inputs > 0, settings.outputs > 0  # or any genotype's are right
        self.bias = 1.0 if settings.bias is None else settings.bias
        self.output = settings.output or SIGMOID
        self._functions = tuple(
            np.array([names.index(name) for name in chosen], np.uint8)
            for names, chosen in (
                (ACTIVATION_NAMES, settings.activations),
                (AGGREGATION_NAMES, settings.aggregations),
            )
        )

    def for_task(self, task: Task | Shape) -> Self:
        """This space for a task's inputs, outputs, bias and function of the outputs.

        Raises InputError where the settings say otherwise.
        """
        for name in ("inputs", "outputs"):
            own, needed = getattr(self.settings, name), getattr(task, name)
            if needed is None:
                raise InputError(
                    "task: networks of the space neat need a task with inputs and outputs, such as "
                    "xor or double_pole"
                )
            if own not in (0, needed):
                raise InputError(f"space.{name}: {own}: the task has {needed}; leave it at 0")
            setattr(self, name, needed)
        self._known = True, True
        if self.settings.bias is None:
            self.bias = float(task.bias)
        if self.settings.output is None:
            self.output = task.output
        return self

    @property
    def _fixed(self) -> list[tuple[int, int]]:
        """Numbers and kinds of the nodes that every network has."""
        kinds = [INPUT] * self.inputs + [BIAS] * (self.bias != 0) + [OUTPUT] * self.outputs
        return list(enumerate(kinds))

    # -- first populations -------------------------------------------------------------------------

    def frame(self, choose: Choose) -> Frame:
        raise InputError(
            f"space: {self.name}: networks grow by mutation, their genes numbered in the order "
            "in which they appeared; no decisions make one"
        )

    def _first_rows(self, stream: int) -> Frame:
        """The rows of a network of the first population."""
        rng = generator(stream)
        nodes = [{"id": number, "kind": kind} for number, kind in self._fixed]
        sources = [number for number, kind in self._fixed if kind != OUTPUT]
        targets = [number for number, kind in self._fixed if kind == OUTPUT]
        pairs = [(source, target) for target in targets for source in sources]
        if self.settings.initial == "none":
            kept = set()
        elif self.settings.initial == "one":
            kept = {(rng.choice(sources), target) for target in targets}
        else:
            kept = set(pairs)
        links = [
            {"innovation": number, "source": source, "target": target}
            for number, (source, target) in enumerate(pairs)
            if (source, target) in kept
        ]
        return {"nodes": nodes, "links": links}

    def random(self, streams: np.ndarray) -> Population:
        """One network a stream, as random search draws them: a first network that has had 0 to
        `growth` mutations, as many of each number, by which half gain a node and half a link.
        """
        out = self.initial(streams)
        times = below(outputs(streams, np.zeros(len(streams))), 1, self.settings.growth + 1)[:, 0]
        for number in range(self.settings.growth):
            order = np.argsort(times <= number, kind="stable")
            grown = order[: int((times > number).sum())]
            if not len(grown):
                break
            draws = outputs(streams[grown], np.full(len(grown), 2**32 + number))
            children = self._mutated(out, grown, draws, GROWING)
            parts = [children, out.take(order[len(grown) :])]
            out = Population.joined(parts).take(np.argsort(order, kind="stable"))
        return trim_padding(out)

    def initial(self, streams: np.ndarray, given: Sequence[Genotype] = ()) -> Population:
        """The first population: the given networks in turn, else one without hidden nodes a stream,
        weights uniform.
        """
        if given:
            return super().initial(streams, given)
        frame = self._first_rows(int(streams[0]) if len(streams) else 0)
        if self.settings.initial == "one":
            out = Population.of(
                SCHEMA,
                [self._sample(self._first_rows(int(stream)), int(stream)) for stream in streams],
            )
        else:
            out = Population.of(SCHEMA, [self._sample(frame, 0)]).take(
                np.zeros(len(streams), np.int64)
            )
            bits = outputs(streams[:, None], np.arange(1, out.tables[1].shape[1] + 1))
            out.tables[1]["weight"] = (bits >> np.uint64(11)) * 2.0**-52 - 1.0
        out.tables[1]["weight"] *= self.settings.weight
        return out

    def _sample(self, frame: Frame, stream: int) -> Genotype:
        genotype = SCHEMA.sample(generator(stream), frame)
        nodes, links = (table.copy() for table in genotype.tables.values())
        computed = nodes["kind"] == OUTPUT
        nodes["activation"][computed] = ACTIVATION_NAMES.index(self.output)
        nodes["aggregation"][computed] = AGGREGATION_NAMES.index("sum")
        links["enabled"] = 1
        return Genotype(SCHEMA, {"nodes": nodes, "links": links})

    def begin(self, population: Population) -> np.ndarray:
        """The counters of a first population, [3]: next node, next innovation, and room for the
        kernels.
        """
        nodes, links = population.tables
        fixed = len(self._fixed)
        first = (fixed - self.outputs) * self.outputs
        node = max(fixed, int(nodes["id"].max(initial=-1)) + 1)
        return np.array(
            [node, max(first, int(links["innovation"].max(initial=-1)) + 1), 0], np.int64
        )

    # -- variation ---------------------------------------------------------------------------------

    def breed(
        self, population: Population, mothers: np.ndarray, fathers: np.ndarray, equal: np.ndarray,
        elite: np.ndarray, streams: np.ndarray, rates: Rates, counters: np.ndarray,
    ) -> Population:  # fmt: skip
        """Children, [n]: copies of the mother (the fitter) where there is no father (-1), else
        their crossover; mutated where they are not elite.

        counters: of `begin`, moved on. What is new in one call has one number, whoever has it.
        """
        nodes, links = population.tables
        sizes = population.sizes
        mated = fathers >= 0
        most = sizes[mothers]
        most[:, 1] += np.where(mated & (equal > 0), sizes[fathers, 1], 0)
        most[:, 0] += np.where(mated & (equal > 0), sizes[fathers, 0], 0)
        room = most.max(0, initial=0) + np.array([1, 3])
        out = Population(SCHEMA, len(mothers), room.tolist(), population.weights)
        kernels.breed(
            nodes, links, sizes, mothers, fathers, equal, elite, streams, self.settings.recurrent,
            rates, *self._functions, counters, *out.tables, out.sizes,
        )  # fmt: skip
        return trim_padding(out)

    @staticmethod
    def rates(values: dict[str, Any]) -> Rates:
        """The rates of variation as `breed` takes them, by name."""
        return Rates(**{name: float(value) for name, value in values.items()})

    def mutate(
        self, population: Population, parents: np.ndarray, streams: np.ndarray
    ) -> Population:
        """Mutated copies at the paper's rates.

        New genes are numbered by what they are between, without a count of innovations.
        """
        return self._mutated(population, np.asarray(parents), streams, PAPER)

    def _mutated(
        self, population: Population, parents: np.ndarray, streams: np.ndarray, rates: Rates
    ) -> Population:
        """One mutated copy of each parent, without a count of innovations."""
        nobody, counters = np.full(len(parents), -1), np.array([0, 0, -1], np.int64)
        no = np.zeros(len(parents), np.uint8)
        return self.breed(population, parents, nobody, no, no, streams, rates, counters)

    def mate(self, rng: Random, one: Genotype, other: Genotype) -> tuple[Genotype, Genotype]:
        """Two children aligned by innovation, as of parents of equal fitness, without mutation."""
        pair = Population.of(SCHEMA, [one, other])
        both, ones = np.array([0, 1]), np.ones(2, np.uint8)
        streams = np.array([rng.getrandbits(64) for _ in both], np.uint64)
        children = self.breed(
            pair,
            both,
            both[::-1].copy(),
            ones,
            ones,
            streams,
            PAPER,
            np.array([0, 0, -1], np.int64),
        )
        return children.genotype(0), children.genotype(1)

    def speciate(
        self, population: Population, representatives: Population,
        coefficients: tuple[float, float, float], kind: int, threshold: float, nearest: bool,
    ) -> tuple[np.ndarray, int]:  # fmt: skip
        """The species of everyone, [P] positions among the representatives, behind which new ones
        come; and how many are new.
        """
        species = np.zeros(len(population), np.int64)
        begun = kernels.speciate(
            population.tables[1], population.sizes, representatives.tables[1],
            representatives.sizes, *map(float, coefficients), kind, float(threshold), nearest,
            species,
        )  # fmt: skip
        return species, int(begun)

    @staticmethod
    def sound(population: Population) -> bool:
        """Whether all genomes have their rows in order and no link to nowhere, as what is compiled
        takes for granted.
        """
        return int(kernels.unsound(*population.tables, population.sizes)) < 0

    def distances(
        self, population: Population, members: np.ndarray, others: Population, other: int,
        coefficients: tuple[float, float, float], kind: int,
    ) -> np.ndarray:  # fmt: skip
        """The distance of every member to one of `others`, [n]."""
        out = np.zeros(len(members))
        kernels.distances(
            population.tables[1],
            population.sizes,
            members,
            others.tables[1],
            others.sizes,
            other,
            *map(float, coefficients),
            kind,
            out,
        )
        return out

    @staticmethod
    def distance(
        one: Genotype, other: Genotype, c1: float = 1.0, c2: float = 1.0, c3: float = 0.4
    ) -> float:
        """The compatibility distance of two genomes (Stanley and Miikkulainen 2002, equation 1).

        c1, c2: weights of excess and of disjoint genes, over the number of genes of the larger
        genome (1 where that is below 20). c3: of the mean difference of the weights of links that
        both have. Links are the same by their innovation numbers, which are of one run.
        """
        two = Population.of(SCHEMA, [one, other])
        out, first = np.zeros(1), np.zeros(1, np.int64)
        kernels.distances(
            two.tables[1], two.sizes, first, two.tables[1], two.sizes, 1, float(c1), float(c2),
            float(c3), 0, out,
        )  # fmt: skip
        return float(out[0])

    # -- networks ----------------------------------------------------------------------------------

    def phenotypes(self, population: Population) -> NeuronGraphs:
        """The networks, without disabled links and what reaches no output."""
        nodes, links = population.tables
        sizes, count = population.sizes, len(population)
        rows, genes = (int(each) for each in sizes.sum(0))
        slots, ends = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
        slot, activation, aggregation = (
            np.zeros(rows, np.int32),
            np.zeros(rows, np.uint8),
            np.zeros(rows, np.uint8),
        )
        link_ends, source, weight = (
            np.zeros(rows + 1, np.int64),
            np.zeros(genes, np.int32),
            np.zeros(genes),
        )
        used, linked = kernels.lower(
            nodes, links, sizes, self.settings.recurrent, int(self.bias == 0), slots, ends, slot,
            activation, aggregation, link_ends, source, weight,
        )  # fmt: skip
        return NeuronGraphs(
            self.inputs, self.outputs, self.bias, self.settings.recurrent, slots, ends, slot[:used],
            activation[:used], aggregation[:used], link_ends[: used + 1], source[:linked],
            weight[:linked],
        )  # fmt: skip

    def keys(self, population: Population) -> list[str]:
        """Equal for genomes that become the same tables of instructions, whatever the numbers of
        their genes; disabled links do not count.
        """
        graphs = self.phenotypes(population)
        out = []
        for p in range(len(population)):
            rows = slice(graphs.nodes[p], graphs.nodes[p + 1])
            ends = graphs.links[graphs.nodes[p] : graphs.nodes[p + 1] + 1]
            span = slice(ends[0], ends[-1])
            parts = (
                graphs.slot[rows], graphs.activation[rows], graphs.aggregation[rows],
                ends - ends[0], graphs.source[span], graphs.weight[span],
            )  # fmt: skip
            out.append(
                blake2b(b"".join(part.tobytes() for part in parts), digest_size=8).hexdigest()
            )
        return out

    def difference(self, parent: Genotype, child: Genotype) -> list[str]:
        """Links and nodes that are new or gone, links that were switched, nodes with another
        function, and how many weights moved.
        """
        out = []
        nodes = [{row["id"]: row for row in each.tables["nodes"]} for each in (parent, child)]
        links = [
            {row["innovation"]: row for row in each.tables["links"]} for each in (parent, child)
        ]
        out += [f"new node {id}" for id in nodes[1] if id not in nodes[0]]
        out += [f"node {id} gone" for id in nodes[0] if id not in nodes[1]]
        for id in nodes[0].keys() & nodes[1].keys():
            for column, table in (
                ("activation", ACTIVATION_NAMES),
                ("aggregation", AGGREGATION_NAMES),
            ):
                old, new = (int(each[id][column]) for each in nodes)
                if old != new:
                    out.append(f"node {id}: {column} {table[old]} -> {table[new]}")
        moved = []
        for number, row in links[1].items():
            called = f"link {row['source']}->{row['target']}"
            if number not in links[0]:
                out.append(f"new {called}, weight {row['weight']:.3g}")
                continue
            before = links[0][number]
            if before["enabled"] != row["enabled"]:
                out.append(f"{called} switched {'on' if row['enabled'] else 'off'}")
            if before["weight"] != row["weight"]:
                moved.append(float(row["weight"] - before["weight"]))
        for number in links[0].keys() - links[1].keys():
            row = links[0][number]
            out.append(f"link {row['source']}->{row['target']} gone")
        if moved:
            most = max(moved, key=abs)
            out.append(f"{plural(len(moved), 'weight')} moved, the most by {most:+.3g}")
        return out

    def essence(self, genotype: Genotype) -> Genotype:
        """Without disabled links, and without hidden nodes that reach no output."""
        nodes, links = genotype.tables.values()
        links = links[links["enabled"] == 1]
        wanted = set(nodes["id"][nodes["kind"] == OUTPUT].tolist())
        for _ in nodes:
            wanted |= set(links["source"][np.isin(links["target"], list(wanted))].tolist())
        kept = nodes[(nodes["kind"] != HIDDEN) | np.isin(nodes["id"], list(wanted))]
        return Genotype(
            SCHEMA, {"nodes": kept, "links": links[np.isin(links["target"], list(wanted))]}
        )

    def drawing(self, genotype: Genotype) -> "nx.DiGraph":
        """Nodes by number with `kind`, `activation` and `aggregation`; enabled links with
        `weight`.
        """
        plain = SCHEMA.plain(genotype)
        import networkx as nx

        out = nx.DiGraph()
        out.add_nodes_from(
            (row["id"], {key: value for key, value in row.items() if key != "id"})
            for row in plain["nodes"]
        )
        out.add_edges_from(
            (row["source"], row["target"], {"weight": row["weight"]})
            for row in plain["links"]
            if row["enabled"]
        )
        return out

    # -- files -------------------------------------------------------------------------------------

    @classmethod
    def open_text(cls, text: str, where: str) -> tuple[Self, Genotype]:
        space, genotype = super().open_text(text, where)
        space._take_ends(genotype)
        return space, genotype

    def _take_ends(self, genotype: Genotype) -> None:
        """Have as many inputs and outputs as a genotype that no task is known of."""
        kinds = genotype.tables["nodes"]["kind"]
        self.inputs, self.outputs = int((kinds == INPUT).sum()), int((kinds == OUTPUT).sum())

    def header(self) -> dict[str, Any]:
        return {"recurrent": self.settings.recurrent, "bias": self.bias}

    def violation(self, genotype: Genotype) -> str | None:
        """What makes a genome no network of this space."""
        nodes, links = genotype.tables.values()
        ids = nodes["id"].tolist()
        for name, numbers in (("nodes", ids), ("links", links["innovation"].tolist())):
            column = "id" if name == "nodes" else "innovation"
            index = next(
                (
                    index
                    for index, (before, number) in enumerate(pairwise(numbers), 1)
                    if number <= before
                ),
                0,
            )
            if index and numbers[index] in numbers[:index]:
                return (
                    f"{name}[{index}].{column}: {numbers[index]}: twice; every number belongs to "
                    "one"
                )
            if index:
                return f"{name}[{index}].{column}: {numbers[index]}: must be in rising order"
        kinds = nodes["kind"].tolist()
        if kinds != sorted(kinds) or ids[: len(ids) - kinds.count(HIDDEN)] != list(
            range(len(ids) - kinds.count(HIDDEN))
        ):
            return "nodes: must be inputs, the bias, outputs numbered from 0, then hidden nodes"
        for kind, count, wanted, known in zip(
            (INPUT, OUTPUT),
            ("inputs", "outputs"),
            (self.inputs, self.outputs),
            self._known,
            strict=True,
        ):
            if known and kinds.count(kind) != wanted:
                return f"nodes: {kinds.count(kind)} {count}, where there must be {wanted}"
        if kinds.count(BIAS) != (self.bias != 0):
            return (
                f"nodes: {kinds.count(BIAS)} bias nodes, where there must be {int(self.bias != 0)} "
                f"(space.bias = {self.bias:g})"
            )
        if not kinds.count(OUTPUT):
            return "nodes: no output"
        kind_of = dict(zip(ids, kinds, strict=True))
        seen = set()
        for index, link in enumerate(links):
            ends = (int(link["source"]), int(link["target"]))
            for end, number in zip(("source", "target"), ends, strict=True):
                if number not in kind_of:
                    return f"links[{index}].{end}: {number}: there is no such node"
            if kind_of[ends[1]] in (INPUT, BIAS):
                return f"links[{index}].target: {ends[1]}: is an input"
            if ends in seen:
                return f"links[{index}]: from {ends[0]} to {ends[1]}: there is such a link already"
            seen.add(ends)
        if not self.settings.recurrent:
            import networkx as nx

            pairs = [(int(link["source"]), int(link["target"])) for link in links]
            for index, (source, target) in enumerate(pairs):
                if kind_of[source] == OUTPUT:
                    return (
                        f"links[{index}]: from output {source} to {target}, which only a recurrent "
                        "network has (space.recurrent = true)"
                    )
            try:
                cycle = nx.find_cycle(nx.DiGraph(pairs))
            except nx.NetworkXNoCycle:
                return None
            closing = max(pairs.index((source, target)) for source, target in cycle)
            through = ", ".join(str(source) for source, _ in cycle[:8]) + ", ..." * (len(cycle) > 8)
            return (
                f"links[{closing}]: closes a cycle through {through}; only a recurrent network has "
                "one (space.recurrent = true)"
            )
        return None


def trim_padding(population: Population) -> Population:
    """The same with no more room than the largest member needs, give or take a quarter."""
    needed = population.sizes.max(0, initial=0)
    if all(
        table.shape[1] <= 1.25 * most + 2
        for table, most in zip(population.tables, needed, strict=True)
    ):
        return population
    population.tables = tuple(
        _narrowed(table, most)
        for table, most in zip(population.tables, needed.tolist(), strict=True)
    )
    return population


def _narrowed(table: np.ndarray, most: int) -> np.ndarray:
    """The first rows of every member, copied as bytes: NumPy copies structured rows field by
    field.
    """
    size = table.dtype.itemsize
    rows = np.ascontiguousarray(table.view(np.uint8).reshape(len(table), -1)[:, : most * size])
    return rows.view(table.dtype).reshape(len(table), most)
