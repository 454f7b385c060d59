"""The genotype layer, over four kinds of genotype: sampling, perturbation, identity, text, Parquet,
populations, and every bad input.
"""

import io
import math
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schemas import GENOTYPES, HIERARCHY, NASNET, NEAT, PROGRAMS, Kind

from evoml.contracts.part import part_class, settings_class
from evoml.contracts.space import Space
from evoml.core.errors import InputError
from evoml.core.registry import own
from evoml.core.streams import streams
from evoml.genotypes.decisions import Decision, dice, replay
from evoml.genotypes.domains import (
    Choice,
    Conditional,
    Domain,
    Integer,
    Place,
    Real,
    Reference,
    Subset,
    members,
)
from evoml.genotypes.population import OK, Individual, Population, fitness_class
from evoml.genotypes.schema import Column, Genotype, Schema, Table
from evoml.spaces import neat

some = settings(max_examples=15, deadline=None)
kinds = st.sampled_from(GENOTYPES)
seeds = st.integers(0, 2**32)
HERE = Place(0, {}, {})


def parquet(schema: Schema, population: Population) -> pa.Array:
    """The genotypes of a population, written to Parquet and read back."""
    file = io.BytesIO()
    pq.write_table(
        pa.table({"genotype": schema.to_arrow(population.tables, population.sizes)}), file
    )
    return pq.read_table(file)["genotype"].combine_chunks()


def genes(genotype: Genotype) -> dict[tuple[str, int, str], object]:
    return {
        (t, i, c): row[c].item()
        for t, rows in genotype.tables.items()
        for i, row in enumerate(rows)
        for c in rows.dtype.names
    }


def fails(schema: Schema, plain: object, *parts: str) -> None:
    with pytest.raises(InputError) as error:
        schema.from_plain(plain, "here.toml")
    assert str(error.value).startswith("here.toml: ") and "\n" not in str(error.value)
    assert all(part in str(error.value) for part in parts), str(error.value)


# sampling and variation


@some
@given(kind=kinds, seed=seeds)
def test_samples_are_valid_and_repeat(kind: Kind, seed: int) -> None:
    assert kind.schema.violation(kind.sample(seed)) is None
    assert kind.sample(seed) == kind.sample(seed)


@some
@given(kind=kinds, seed=seeds)
def test_sampling_takes_the_keys_of_the_frame(kind: Kind, seed: int) -> None:
    frame = kind.frame(Random(seed))
    genotype = kind.schema.sample(Random(seed), frame)
    for name, rows in frame.items():
        assert len(genotype.tables[name]) == len(rows)
        assert all(
            genotype.tables[name][index][key] == value
            for index, row in enumerate(rows)
            for key, value in row.items()
        )


@some
@given(kind=kinds, seed=seeds, count=st.integers(1, 20))
def test_perturbing_changes_one_gene_and_its_dependents(kind: Kind, seed: int, count: int) -> None:
    genotype, rng = kind.sample(seed), Random(seed)
    for _ in range(count):
        before, genotype = genotype, kind.schema.perturb(rng, genotype)
        assert kind.schema.violation(genotype) is None
        old, new = genes(before), genes(genotype)
        assert old.keys() == new.keys()
        changed = [place for place in old if old[place] != new[place]]
        assert len({(table, row) for table, row, _ in changed}) <= 1
        columns = {
            column.name: column
            for table, _, _ in changed[:1]
            for column in kind.schema[table].columns
        }
        assert not any(columns[name].key for _, _, name in changed)
        names = {name for _, _, name in changed}
        free = [name for name in names if not names.intersection(columns[name].domain.depends_on)]
        assert len(free) <= 1


@pytest.mark.parametrize("kind", GENOTYPES, ids=repr)
def test_perturbing_reaches_every_gene_and_no_key(kind: Kind) -> None:
    genotype, rng = kind.sample(3), Random(0)
    free = {(gene.table, gene.row, gene.column) for gene, _ in kind.schema.decisions(genotype)}
    seen, old = set(), genes(genotype)
    for _ in range(20 * len(free)):
        new = genes(kind.schema.perturb(rng, genotype))
        seen |= {place for place in new if new[place] != old[place]}
    keys = {
        (table.name, column.name)
        for table in kind.schema.tables
        for column in table.columns
        if column.key
    }
    assert free <= seen and not keys & {(table, name) for table, _, name in seen}


def test_perturbing_leaves_the_parent_alone() -> None:
    for kind in GENOTYPES:
        genotype = kind.sample(1)
        before = genotype.digest()
        kind.schema.perturb(Random(0), genotype)
        assert genotype.digest() == before
        with pytest.raises(ValueError):
            next(iter(rows for rows in genotype.tables.values() if len(rows)))[0] = 0


@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    seed=seeds,
    move=st.sampled_from(["redraw", "step", "scale"]),
)
def test_a_perturbed_number_stays_finite_and_in_its_bounds(
    value: float, seed: int, move: str
) -> None:
    for domain in (Real(-1, 1, move), Real(-1, 1, move, step=3.0, least=-2, most=2)):
        start = min(max(value, domain.least), domain.most)
        assert domain.contains(domain.perturb(Random(seed), start, HERE), HERE)


def test_a_gaussian_step_has_its_size() -> None:
    domain, rng = Real(-1, 1, "step", step=0.5), Random(0)
    moved = np.array([domain.perturb(rng, 3.0, HERE) - 3.0 for _ in range(4000)])
    assert abs(moved.mean()) < 0.04 and abs(moved.std() - 0.5) < 0.03


def test_a_choice_is_perturbed_to_another() -> None:
    rng = Random(0)
    assert {Choice(("a", "b", "c")).perturb(rng, 1, HERE) for _ in range(50)} == {0, 2}
    # nothing else is drawn here
    assert Choice(("a", "b", "c"), drawn=(1,)).perturb(rng, 1, HERE) == 1


def test_a_column_depends_on_its_left_only() -> None:
    with pytest.raises(ValueError, match="not to its left"):
        Table(
            "t",
            (Column("b", Conditional("a", {0: Integer(0, 1)})), Column("a", Choice(("x", "y")))),
        )


# decisions


@some
@given(kind=kinds, seed=seeds)
def test_a_genotype_decided_by_its_own_decisions_is_itself(kind: Kind, seed: int) -> None:
    genotype = kind.sample(seed)
    decisions = list(kind.schema.decisions(genotype))
    answers, asked = replay(decisions), list[Decision]()

    def answer(decision: Decision) -> object:
        asked.append(decision)
        return answers(decision)

    assert kind.schema.decide(kind.frame(Random(seed)), answer) == genotype
    for ours, (theirs, code) in zip(asked, decisions, strict=True):
        assert (ours.table, ours.row, ours.column) == (theirs.table, theirs.row, theirs.column)
        assert ours.codes == theirs.codes and code == theirs.code_in(genotype)
        assert ours.codes is None or code in ours.codes


def test_what_a_decision_says() -> None:
    table = Table(
        "t",
        (
            Column("name", Choice(("a", "b", "c"), drawn=(0, 2))),
            Column("earlier", Reference(inputs=1)),
            Column("some", Conditional("name", {2: Subset()})),
            Column("size", Real(0, 1)),
        ),
        1,
        3,
    )
    schema, asked = Schema((table,)), []

    def most(decision: Decision) -> object:
        asked.append((decision.row, decision.column, decision.kind, decision.codes))
        members = list(decision.members)
        assert members == (list(range(decision.row)) if decision.kind == "subset" else [])
        return 0.5 if decision.codes is None else decision.codes[-1]

    genotype = schema.decide(schema.frame(most), most)
    assert asked[0] == (-1, "", "rows", range(1, 4))
    assert asked[5:9] == [
        (1, "name", "choice", (0, 2)),
        (1, "earlier", "reference", range(2)),
        (1, "some", "subset", range(2)),
        (1, "size", "number", None),
    ]
    assert genotype.tables["t"].tolist() == [(2, 0, 0, 0.5), (2, 1, 1, 0.5), (2, 2, 3, 0.5)]
    # what is not there is not asked for, and what nothing is drawn for has one code
    names = [gene.column for gene, _ in schema.decisions(schema.decide({"t": [{}]}, lambda _: 0))]
    assert names == ["name", "earlier", "size"]
    fixed = Decision(0, {}, {}, "t", "name", Choice(("a", "b"), drawn=()))
    assert fixed.codes == (0,)


STREAMS = streams(5, 1, np.arange(12))
SPACES = [part_class("spaces", name)(settings_class("spaces", name)()) for name in own("spaces")]
DECIDED = [space for space in SPACES if space.has_decisions]


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_every_space_is_decided_or_says_why_not(space: Space) -> None:
    if not space.has_decisions:
        with pytest.raises(InputError, match=f"^space: {space.name}: [^\n]*$"):
            space.decide(dice(1))
        return
    population = space.random(STREAMS)
    children = space.mutate(population, np.arange(len(STREAMS)), STREAMS)
    for genotype in [each.genotype for each in (*population, *children)]:
        decisions = space.decisions(genotype)
        assert space.decide(replay(decisions)) == genotype
        assert all(decision.codes is None or code in decision.codes for decision, code in decisions)
    for stream in STREAMS:
        assert space.schema.violation(space.decide(dice(stream))) is None
    if type(space).random is Space.random:
        assert [each.genotype for each in population] == list(map(space.decide, map(dice, STREAMS)))


@pytest.mark.parametrize("space", DECIDED, ids=lambda space: space.name)
def test_a_table_of_probabilities_can_decide(space: Space) -> None:
    """One distribution a column, learned from one genotype: whatever it decides is from there."""
    rng, table = Random(0), Counter[tuple[object, ...]]()
    for gene, code in space.decisions(space.decide(dice(3))):
        table[gene.table, gene.column, code] += 1
        for row in gene.members:
            table[gene.table, gene.column, "in", row] += code >> row & 1

    def choose(decision: Decision) -> object:
        column = decision.table, decision.column
        if decision.codes is None:
            return decision.domain.sample(rng, decision)
        if decision.kind == "subset":
            return sum(
                bool(table[*column, "in", row] and rng.random() < 0.5) << row
                for row in decision.members
            )
        weights = [table[*column, code] for code in decision.codes]
        return rng.choices(decision.codes, weights if any(weights) else None)[0]

    for _ in range(10):
        genotype = space.decide(choose)
        assert space.schema.violation(genotype) is None
        for gene, code in space.decisions(genotype):
            column = gene.table, gene.column
            if gene.kind == "subset":
                assert all(table[*column, "in", row] for row in members(code))
            elif gene.codes is not None and any(table[*column, each] for each in gene.codes):
                assert table[*column, code]


# domains from elsewhere


@dataclass(frozen=True)
class Even(Domain):
    """An even number below 10: what a domain must say, and no more."""

    dtype = "u1"
    arrow = pa.int64()

    def options(self, at: Place) -> range:
        return range(0, 10, 2)

    def describe(self, at: Place) -> str:
        return "an even number below 10"


@dataclass(frozen=True)
class Rate(Domain):
    """One of some rates, no larger than in the row above: a domain that says everything itself."""

    rates: tuple[float, ...]
    kind = "rate"
    dtype = "u1"
    arrow = pa.float64()

    def options(self, at: Place) -> range:
        return range(max(len(self.rates) - at.row, 1))

    def contained(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return values == 0

    def plain(self, code: int, at: Place) -> float:
        return self.rates[code]

    def code(self, plain: object, at: Place) -> int:
        return self.rates.index(plain) if plain in self.rates else -1

    def to_arrow(self, values: np.ndarray, rows: np.ndarray) -> pa.Array:
        return pa.array(np.array(self.rates)[values], self.arrow)

    def describe(self, at: Place) -> str:
        return f"one of {', '.join(map(str, self.rates))}"


@pytest.mark.parametrize("domain", [Even(), Rate((0.5, 0.25, 0.125))], ids=["little", "all"])
def test_a_new_domain_is_one_class(domain: Domain) -> None:
    conditional = Conditional("kind", {0: domain, 1: domain})
    columns = (Column("kind", Choice(("a", "b", "c"))), Column("x", domain))
    schema = Schema((Table("t", (*columns, Column("y", conditional)), 0, 4),))
    genotypes = [schema.sample(Random(seed), {"t": [{}] * (seed % 5)}) for seed in range(40)]
    for genotype in genotypes:
        assert schema.violation(genotype) is None
        assert schema.parse(schema.format(genotype)) == genotype
        for gene, code in schema.decisions(genotype):
            assert gene.codes is not None and code in gene.codes
            if gene.column != "kind":
                assert gene.kind == domain.kind and gene.codes == domain.options(gene)
                others = [each for each in gene.codes if each != code]
                assert list(domain.alternatives(code, gene)) == others
                drawn = {domain.perturb(Random(seed), code, gene) for seed in range(60)}
                assert drawn == set(others or [code])
        frame = {"t": [{}] * len(genotype.tables["t"])}
        assert schema.decide(frame, replay(schema.decisions(genotype))) == genotype
        for other in (schema.perturb(Random(1), genotype), *schema.neighbours(genotype)):
            assert schema.violation(other) is None
    population = Population.of(schema, genotypes)
    assert schema.from_arrow(parquet(schema, population), "part.parquet") == genotypes
    restored = Population.from_state(schema, population.state())
    assert [member.genotype for member in restored] == genotypes
    sound = schema.valid_mask(population.tables, population.sizes)
    assert not any(schema.violation(genotypes[at]) for at in np.flatnonzero(sound))
    population.tables[0]["x"][4, 0] = 99
    with pytest.raises(ValueError, match=r"^t\[0\]\.x: must be "):
        Population.from_state(schema, population.state())
    fails(schema, {"t": [{"kind": "a", "x": 99}]}, "t[0].x: 99: must be ")
    right = schema.plain(genotypes[4])["t"][0]["x"]
    fails(schema, {"t": [{"kind": "c", "x": right, "y": right}]}, "t[0].y: ", "must be left out")


# identity


@some
@given(kind=kinds, one=seeds, other=seeds)
def test_equal_rows_equal_hash_and_digest(kind: Kind, one: int, other: int) -> None:
    a, b = kind.sample(one), kind.sample(other)
    same = genes(a) == genes(b)
    assert (a == b) == same and (a.digest() == b.digest()) == same
    assert hash(a) == hash(deepcopy(a)) and a == deepcopy(a) and a != "a"
    assert kind.schema.key(a) == a.digest() and len(a.digest()) == 16


def test_the_boundary_between_tables_is_part_of_the_identity() -> None:
    row = np.zeros(1, NASNET["normal"].dtype)
    none = row[:0]
    assert Genotype(NASNET, {"normal": row, "reduction": none}) != Genotype(
        NASNET, {"normal": none, "reduction": row}
    )


def test_padding_bytes_do_not_matter() -> None:
    table = PROGRAMS.schema["setup"]
    dirty = np.frombuffer(b"\xff" * table.dtype.itemsize, table.dtype).copy()
    clean = np.zeros(1, table.dtype)
    for name in table.dtype.names:
        dirty[name] = clean[name] = 0
    rest = {"predict": clean[:0], "learn": clean[:0]}
    assert Genotype(PROGRAMS.schema, {"setup": dirty, **rest}) == Genotype(
        PROGRAMS.schema, {"setup": clean, **rest}
    )


# text


@some
@given(kind=kinds, seed=seeds)
def test_text_round_trip(kind: Kind, seed: int) -> None:
    genotype = kind.sample(seed)
    assert kind.schema.parse(kind.schema.format(genotype)) == genotype
    assert kind.schema.from_plain(kind.schema.plain(genotype), "here") == genotype


def test_text_holds_names_and_leaves_out_what_is_not_there() -> None:
    plain = NEAT.plain(
        NEAT.sample(Random(0), {"node": [{"kind": 0}, {"kind": 1}], "connection": []})
    )
    assert plain["node"][0] == {"kind": "input"}
    assert plain["node"][1].keys() == {"kind", "activation"} and isinstance(
        plain["node"][1]["activation"], str
    )


@pytest.mark.parametrize("kind", GENOTYPES, ids=repr)
def test_every_gene_that_is_missing_wrong_or_too_much_is_named(kind: Kind) -> None:
    plain = kind.schema.plain(kind.sample(5))
    for table in kind.schema.tables:
        for index, row in enumerate(plain[table.name][:4]):
            for column in table.columns:
                place = f"{table.name}[{index}].{column.name}: "
                for wrong in ([1], {}, True, "no such name\n", math.nan, -(10**400), 1.5e300j):
                    fails(
                        kind.schema,
                        deepcopy(plain)
                        | {table.name: [*plain[table.name][:index], row | {column.name: wrong}]},
                        place,
                    )
                if column.name in row:
                    less = {name: value for name, value in row.items() if name != column.name}
                    fails(
                        kind.schema,
                        plain | {table.name: [*plain[table.name][:index], less]},
                        f"{table.name}[{index}].",
                        "must be",
                    )
            fails(
                kind.schema,
                plain | {table.name: [*plain[table.name][:index], row | {"zzz": 1}]},
                f"{table.name}[{index}].zzz: no such column",
            )
        fails(kind.schema, plain | {table.name: 3}, f"{table.name}: must be an array of tables")
        fails(
            kind.schema,
            plain | {table.name: plain[table.name][:1] * (table.most + 1)},
            f"{table.name}: ",
        )
    fails(kind.schema, plain | {"zzz": []}, "zzz: no such table")
    fails(kind.schema, [], "must be a table of gene tables")


def test_errors_say_what_would_be_right() -> None:
    cell = NASNET.plain(GENOTYPES[2].sample(0))
    fails(
        NASNET,
        cell | {"normal": [cell["normal"][0] | {"left": 2}]},
        "normal[0].left: 2: must be a row in 0..1",
    )
    fails(
        NASNET,
        cell | {"normal": [cell["normal"][0] | {"left_op": "conv"}]},
        "normal[0].left_op: 'conv': must be one of identity, conv_1x1",
    )
    fails(NASNET, cell | {"reduction": []}, "reduction: 0 rows, not in 1..5")
    graph = {
        "node": [{"kind": "input"}, {"kind": "output", "activation": "tanh"}],
        "connection": [],
    }
    edge = {"innovation": 0, "source": 0, "target": 2, "weight": 1.0, "enabled": "yes"}
    fails(
        NEAT,
        graph | {"connection": [edge]},
        "connection[0].target: 2: must be a row in 0..1 of node",
    )
    fails(
        NEAT,
        graph | {"connection": [edge | {"target": 1, "weight": 9}]},
        "connection[0].weight: 9: must be a number in -8..8",
    )
    fails(
        NEAT,
        graph | {"node": [{"kind": "input", "activation": "tanh"}, graph["node"][1]]},
        "node[0].activation: 'tanh': must be left out here",
    )
    motif = {"level": 2, "motif": 0, "source": 0, "target": 1, "op": "motif_1"}
    fails(HIERARCHY, {"edge": [motif]}, "edge[0].op: 'motif_1': must be one of none, identity")


@pytest.mark.parametrize(
    "text",
    [
        "a = [",
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        "\0",
        "normal = 1\nnormal = 2",
        "import os",
    ],
)
def test_text_that_is_no_toml(text: str) -> None:
    with pytest.raises(InputError) as error:
        NASNET.parse(text, "cell.toml")
    assert str(error.value).startswith("cell.toml: ") and "\n" not in str(error.value)


# Parquet


@some
@given(kind=kinds, start=seeds, count=st.integers(0, 6))
def test_parquet_round_trip(kind: Kind, start: int, count: int) -> None:
    genotypes = [kind.sample(start + index) for index in range(count)]
    population = Population.of(kind.schema, genotypes)
    array = kind.schema.to_arrow(population.tables, population.sizes)
    assert array.type == kind.schema.arrow
    assert kind.schema.from_arrow(parquet(kind.schema, population), "part.parquet") == genotypes


def renamed(schema: Schema, change) -> Schema:
    """The schema with every list of names changed."""

    def domain(old):
        if isinstance(old, Conditional):
            return Conditional(
                old.column, {code: domain(case) for code, case in old.cases.items()}, old.otherwise
            )
        return Choice(tuple(change(old.names))) if isinstance(old, Choice) else old

    keyed = {"kind"}  # `cases` go by the codes of this one
    tables = [
        Table(
            t.name,
            tuple(
                c if c.name in keyed else Column(c.name, domain(c.domain), c.key) for c in t.columns
            ),
            t.least,
            t.most,
        )
        for t in schema.tables
    ]
    return Schema(tuple(tables))


@pytest.mark.parametrize("kind", GENOTYPES[1:], ids=repr)
def test_names_not_codes_are_stored(kind: Kind) -> None:
    genotypes = [kind.sample(seed) for seed in range(5)]
    stored = parquet(kind.schema, Population.of(kind.schema, genotypes))
    later = renamed(kind.schema, lambda names: ("brand_new", *reversed(names)))
    read = later.from_arrow(stored, "part.parquet")
    assert [later.plain(genotype) for genotype in read] == [
        kind.schema.plain(genotype) for genotype in genotypes
    ]
    assert read != genotypes


def test_parquet_with_other_content_is_refused_with_its_place() -> None:
    kind = GENOTYPES[2]
    stored = parquet(NASNET, Population.of(NASNET, [kind.sample(seed) for seed in range(3)]))

    def refused(schema: Schema, array: pa.Array, *parts: str) -> None:
        with pytest.raises(InputError) as error:
            schema.from_arrow(array, "part.parquet")
        assert str(error.value).startswith("part.parquet: row ") and "\n" not in str(error.value)
        assert all(part in str(error.value) for part in parts), str(error.value)

    def changed(change) -> pa.Array:
        return pa.array([change(row) for row in stored.to_pylist()])

    def rows(row: dict, **genes: object) -> dict:
        return row | {"normal": [gene | genes for gene in row["normal"]]}

    refused(renamed(NASNET, lambda names: names[:1]), stored, "must be one of")
    refused(
        NASNET,
        changed(lambda row: rows(row, left_op="conv_9x9")),
        "row 0: normal[0].left_op: 'conv_9x9': must be one of",
    )
    refused(
        NASNET,
        changed(lambda row: rows(row, left=7)),
        "row 0: normal[0].left: 7: must be a row in 0..1",
    )
    refused(
        NASNET, changed(lambda row: rows(row, left=None)), "row 0: normal[0].left: missing; must be"
    )
    refused(NASNET, changed(lambda row: rows(row, left="0")), "row 0: normal[0].left: '0': must be")
    refused(NASNET, changed(lambda row: rows(row, more=1)), "row 0: normal[0].more: no such column")
    refused(NASNET, changed(lambda row: {"normal": row["normal"]}), "row 0: reduction: 0 rows")
    refused(NASNET, changed(lambda row: row | {"stem": [1]}), "row 0: stem: no such table")
    refused(NASNET, pa.array(["a", "b"]), "row 0: must be a table of gene tables")
    refused(NASNET, pa.array([stored[0].as_py(), None]), "row 1: no genotype")


# populations


def evaluated(kind: Kind, count: int, start: int = 0) -> Population:
    out = Population.of(kind.schema, [kind.sample(start + index) for index in range(count)])
    out.fitness[:, 0] = np.arange(count) + start
    out.ids[:] = out.birth[:] = np.arange(count) + start
    out.parents[:, 0] = out.ids - 1
    out.status[:] = OK
    return out


@some
@given(kind=kinds, start=seeds, count=st.integers(1, 5))
def test_population_is_a_sequence_of_individuals(kind: Kind, start: int, count: int) -> None:
    population = evaluated(kind, count, start)
    members = list(population)
    assert len(population) == count == len(members)
    assert [member.genotype for member in members] == [
        kind.sample(start + index) for index in range(count)
    ]
    assert population[-1] == members[-1] and [m.fitness.values for m in population[1:]] == [
        m.fitness.values for m in members[1:]
    ]
    assert members[0].id == members[0].birth == start and members[0].status == OK
    assert members[0].parents == ((start - 1,) if start else ())
    with pytest.raises(IndexError):
        population[count]


@some
@given(kind=kinds, at=st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True))
def test_put_then_take_gives_what_was_put(kind: Kind, at: list[int]) -> None:
    population, others = evaluated(kind, 5), evaluated(kind, len(at), 100)
    rest = [index for index in range(5) if index not in at]
    before = population.take(rest)
    population.put(np.array(at), others)
    for taken, wanted in ((population.take(at), others), (population.take(rest), before)):
        assert all(
            np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f")
            for mine, theirs in zip(taken._arrays(), wanted._arrays(), strict=True)
        )
    others.fitness[:] = -1
    assert -1 not in population.fitness  # copied, not shared


@some
@given(kind=kinds, start=seeds, count=st.integers(0, 4))
def test_population_state_round_trip(kind: Kind, start: int, count: int) -> None:
    population = evaluated(kind, count, start)
    file = io.BytesIO()
    np.savez(file, **population.state())
    file.seek(0)
    restored = Population.from_state(kind.schema, dict(np.load(file, allow_pickle=False)))
    assert [m.genotype for m in restored] == [m.genotype for m in population]
    assert all(
        np.array_equal(a, b)
        for a, b in zip(restored._arrays()[-6:], population._arrays()[-6:], strict=True)
    )


def test_a_column_that_holds_nothing_anywhere_can_be_stored() -> None:
    inputs = NEAT.sample(Random(0), {"node": [{"kind": 0}, {"kind": 0}], "connection": []})
    assert NEAT.from_arrow(parquet(NEAT, Population.of(NEAT, [inputs])), "part.parquet") == [inputs]


def test_pending_individuals_have_no_fitness() -> None:
    individual = Population.of(NASNET, [GENOTYPES[2].sample(0)])[0]
    assert not individual.fitness.valid and individual.id == -1


@pytest.mark.parametrize("weights", [(1.0,), (-1.0, 1.0)])
def test_fitness_refuses_nan(weights: tuple[float, ...]) -> None:
    fitness = fitness_class(weights)()
    with pytest.raises(ValueError, match="NaN"):
        fitness.values = (math.nan,) * len(weights)
    fitness.values = (-math.inf,) * len(weights)
    clone = deepcopy(Individual(GENOTYPES[2].sample(0), fitness, 3, 4, (1,)))
    assert (
        clone.fitness.values == fitness.values
        and clone.fitness is not fitness
        and (clone.id, clone.birth, clone.parents) == (3, 4, (1,))
    )
    del clone.fitness.values
    assert fitness.valid and not clone.fitness.valid


@some
@given(kind=kinds, start=seeds, counts=st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_joined_populations_are_their_parts_one_after_the_other(
    kind: Kind, start: int, counts: list[int]
) -> None:
    parts = [evaluated(kind, count, start + 10 * number) for number, count in enumerate(counts)]
    joined = Population.joined(parts)
    assert [member.genotype for member in joined] == [
        member.genotype for part in parts for member in part
    ]
    for mine, theirs in zip(
        joined._arrays()[-6:],
        zip(*(part._arrays()[-6:] for part in parts), strict=True),
        strict=True,
    ):
        assert np.array_equal(mine, np.concatenate(theirs))


def test_soundness_by_columns_is_soundness_gene_by_gene() -> None:
    """Whatever bytes there are: nothing that is wrong passes, and where every column can be judged
    nothing right is refused.
    """
    space = neat.NEATSpace(neat.Settings(inputs=2, outputs=1, activations=("sigmoid", "tanh")))
    population = space.random(np.arange(400, dtype=np.uint64))
    for number in range(6):
        population = space.mutate(
            population, np.arange(400), np.arange(400, dtype=np.uint64) + 1000 * number
        )
    assert space.schema.valid_mask(population.tables, population.sizes).all()
    rng = np.random.default_rng(0)
    for member in range(0, 400, 2):
        table = population.tables[rng.integers(2)]
        table.view(np.uint8).reshape(400, -1)[
            member, rng.integers(table.shape[1] * table.dtype.itemsize)
        ] = rng.integers(256)
    sound = space.schema.valid_mask(population.tables, population.sizes)
    assert sound.tolist() == [
        space.schema.violation(population.genotype(member)) is None for member in range(400)
    ]
    assert 10 < (~sound).sum() < 200
    for kind in GENOTYPES:
        others = evaluated(kind, 20)
        assert all(
            kind.schema.violation(others.genotype(at)) is None
            for at in np.flatnonzero(kind.schema.valid_mask(others.tables, others.sizes))
        )
