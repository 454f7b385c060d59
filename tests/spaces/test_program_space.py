"""The program space: text and every bad text, each mutation by its definition, determinism, and the
canonical form.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoml.backends import Rules
from evoml.contracts.task import TaskSet
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.core.streams import streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.instructions import BOUND, DEVIATION, INDEX, NAMES, OPS
from evoml.phenotypes.programs import FUNCTIONS, INSTRUCTION, Programs
from evoml.spaces._program_kernels import MUTATIONS
from evoml.spaces._program_text import _shapes, format_instruction
from evoml.spaces.automl_zero import AutoMLZeroSpace, Function, Settings

SIZES = {
    "setup": Function(initial=2, least=1, most=6),
    "predict": Function(initial=3, least=1, most=8),
    "learn": Function(initial=4, most=9),
}
NOISE_FREE = tuple(name for name in NAMES if not name.endswith(("uniform_set", "gaussian_set")))


def space(*mutations: str, **changes: object) -> AutoMLZeroSpace:
    given = {
        "scalars": 4,
        "vectors": 3,
        "matrices": 2,
        "mutate_probability": 1.0,
        **SIZES,
    } | changes
    return AutoMLZeroSpace(Settings(**given, mutations=mutations or MUTATIONS))


def draws(count: int, seed: int = 0) -> np.ndarray:
    return streams(seed, 3, np.arange(count))


Rows = tuple[list[tuple], list[tuple], list[tuple]]


def rows(population: Population, index: int) -> Rows:
    """The three functions of a member as lists of tuples."""
    return tuple(
        [tuple(row) for row in table[index, :size].tolist()]
        for table, size in zip(population.tables, population.sizes[index], strict=True)
    )


def children(
    where: AutoMLZeroSpace, count: int = 2000, seed: int = 0, parents: Population | None = None
) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of parent and child, every child valid."""
    parents = where.random(draws(50, seed + 1)) if parents is None else parents
    of = np.arange(count) % len(parents)
    born = where.mutate(parents, of, draws(count, seed))
    assert len(born) == count
    for index in range(0, count, 7):
        assert where.schema.violation(born.genotype(index)) is None
    before = [rows(parents, index) for index in range(len(parents))]
    return ((before[of[index]], rows(born, index)) for index in range(count))


def changed(before: Rows, after: Rows) -> list[int]:
    return [function for function in range(3) if before[function] != after[function]]


def near(share: float, expected: float, count: int) -> bool:
    """Within four and a half standard deviations of a binomial."""
    return abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / count)


# text


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_text_round_trip(seed: int) -> None:
    where = space()
    genotype = where.random(draws(1, seed)).genotype(0)
    text = where.format(genotype)
    assert where.parse(text, "p.py") == genotype
    assert where.format(where.parse("# a remark\n'''A title.'''\n" + text, "p.py")) == text
    assert [node.name for node in ast.parse(text).body] == list(FUNCTIONS)


@settings(max_examples=30, deadline=None)
@given(
    x=st.floats(allow_nan=False, allow_infinity=False),
    at=st.floats(0, 1, exclude_max=True),
    y=st.floats(0, allow_nan=False, allow_infinity=False),
)
def test_constants_keep_every_bit(x: float, at: float, y: float) -> None:
    where = space()
    setup = np.array(
        [
            (56, 0, 0, 1, x, 0, 0),
            (57, 0, 0, 1, at, x, 0),
            (58, 0, 0, 1, at, at, x),
            (62, 0, 0, 1, x, y, 0),
        ],
        INSTRUCTION,
    )
    none = np.zeros(0, INSTRUCTION)
    genotype = Genotype(where.schema, {"setup": setup, "predict": none, "learn": none})
    assert where.parse(where.format(genotype), "p.py") == genotype


def test_every_operation_has_its_own_text() -> None:
    assert {op.id for op, _ in _shapes().values()} == set(range(len(OPS)))
    row = np.ones((), INSTRUCTION)
    texts = set()
    for row["op"] in range(len(OPS)):
        texts.add(format_instruction(row))
    assert len(texts) == len(OPS)


def test_an_empty_function_is_dots_and_a_no_op_is_pass() -> None:
    where = space()
    text = "def setup():\n    pass\n\ndef predict():\n    ...\n\ndef learn():\n    pass\n    pass\n"
    genotype = where.parse(text, "p.py")
    assert [len(genotype.tables[name]) for name in FUNCTIONS] == [1, 0, 2]
    assert where.format(genotype) == text


BAD = {
    "s1 = dott(v0, v1)": "did you mean dot?",
    "s1 = sin(v0)": "wrong types for sin",
    "s1 = sine_of_the_whole(s2)": "no operation",
    "s1 = v0 + v1": "no operation",
    "s4 = s1 + s2": "no s4; there are s0..s3",
    "s1 = s2 + s99999": "not an instruction",
    "v1 = v3 + v0": "no v3; there are v0..v2",
    "m2 = m0 + m1": "no m2; there are m0..m1",
    "s0 = s1 + s2": "s0 is given (the label) and may not be written",
    "v0 = v1 + v2": "v0 is given (the features) and may not be written",
    "v1[at(1.0)] = 0.5": "must be in [0, 1)",
    "v1[at(-0.1)] = 0.5": "must be in [0, 1)",
    "m1[at(0.5), at(1e9)] = 0.5": "must be in [0, 1)",
    "s1 = 1e999": "a constant must be finite",
    "s1 = -1e999": "a constant must be finite",
    "s1 = nan": "not an instruction",
    "s1 = " + "9" * 400: "not an instruction",
    "s1 = 0x" + "f" * 5000: "not an instruction",
    "s1 = s2 + s" + "9" * 5000: "not an instruction",
    "s1 = gaussian(0.0, -1.0)": "may not be negative",
    "s1 = 2 / s2": "the number must be 1",
    "s1 = True": "not an instruction",
    "s1 = 'x'": "not an instruction",
    "s1 = 1j": "not an instruction",
    "s1 = sin(sin(s2))": "wrong types for sin",
    "s1 = s2 + s3 + s2": "no operation",
    "s1 = s2 if s3 else s2": "not an instruction",
    "s1 = sin(a=s2)": "not an instruction",
    "s1 = sin(*s2)": "not an instruction",
    "s1 = __import__('os')": "not an instruction",
    "s1 = s2 = s3": "not an instruction",
    "s1 += s2": "not an instruction",
    "s1: float = 1.0": "not an instruction",
    "s1 = (s2 := s3)": "not an instruction",
    "x1 = s1 + s2": "not an instruction",
    "import os": "not an instruction",
    "return": "not an instruction",
    "print('executed')": "not an instruction",
    "for s1 in s2: pass": "not an instruction",
    "while True: pass": "not an instruction",
    "lambda: 0": "not an instruction",
    "def inner(): pass": "not an instruction",
    "s1 = s2 +": "not Python source",
    "s1 = \0": "not Python source",
    "s1 = (": "not Python source",
    **{f"s1 = {'s2 + ' * depth}s2": "" for depth in (50, 400, 700, 5000)},
    **{f"s1 = {'-' * depth}1.0": "" for depth in (50, 400, 700, 20000)},
    "s1 = " + "(" * 500 + "s2" + ")" * 500: "",
}


@pytest.mark.parametrize("line", BAD, ids=lambda line: line[:30].replace("\0", "NUL"))
def test_a_bad_instruction_is_refused_in_one_line_with_its_place(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as error:
        space().parse(
            f"def setup():\n    pass\n    {line}\ndef predict(): ...\ndef learn(): ...\n", "bad.py"
        )
    assert str(error.value).startswith("bad.py:") and "\n" not in str(error.value)
    assert int(str(error.value).split(":")[1]) >= 1
    assert BAD[line] in str(error.value)
    if "not Python source" not in str(error.value):
        assert str(error.value).startswith("bad.py:3: ")
    assert capsys.readouterr().out == ""


GOOD = "def setup():\n    ...\n\ndef predict():\n    ...\n\ndef learn():\n    ...\n"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "bad.py:1: ", "no function setup"),
        ("42\n" + GOOD, "bad.py:1: ", "only the functions"),
        (GOOD.replace("...", "s01 = s2 + s2", 1), "bad.py:", "is not an instruction"),
        (
            GOOD.replace("learn", "lean"), "bad.py:7: ",
            "only the functions setup, predict and learn",
        ),
        (GOOD.split("def learn")[0], "bad.py:1: ", "no function learn"),
        (GOOD + GOOD, "bad.py:9: ", "setup is there twice"),
        ("import os\n" + GOOD, "bad.py:1: ", "only the functions"),
        ("s1 = 0.5\n" + GOOD, "bad.py:1: ", "only the functions"),
        ("print('executed')\n" + GOOD, "bad.py:1: ", "only the functions"),
        ("class setup: ...\n" + GOOD, "bad.py:1: ", "only the functions"),
        ("async " + GOOD, "bad.py:1: ", "only the functions"),
        (GOOD.replace("predict()", "predict(v0)"), "bad.py:4: ", "must be `def predict():`"),
        (
            GOOD.replace("predict()", "predict(*a, b=print('executed'))"), "bad.py:4: ",
            "must be `def predict():`",
        ),
        (
            GOOD.replace("predict()", f"predict(a={'-' * 400}1)"), "bad.py:4: ",
            "must be `def predict():`",
        ),
        (
            GOOD.replace("predict():", "predict() -> float:"), "bad.py:4: ",
            "must be `def predict():`",
        ),
        ("@print\n" + GOOD, "bad.py:2: ", "must be `def setup():`"),
        (GOOD + "\0", "bad.py:1: ", "not Python source"),
        ("\x7fELF\x02\x01\x01" + "\x00\xff" * 40, "bad.py:1: ", "not Python source"),
        ("\ud800", "bad.py:1: ", "not Python source"),
        ("def setup():\n\tpass\n        pass\n", "bad.py:3: ", "not Python source"),
        ("[" * 10_000, "bad.py:1: ", "not Python source"),
        (
            GOOD.replace("    ...", "    pass\n" * 9), "bad.py:1: ",
            "setup has 9 instructions, at most 6 are allowed",
        ),
    ],
)  # fmt: skip
def test_a_bad_text_is_refused_in_one_line_with_its_place(
    text: str, place: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError) as error:
        space().parse(text, "bad.py")
    assert str(error.value).startswith(place) and "\n" not in str(error.value)
    assert message in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"setup": {"ops": ["sinus"]}}, "sinus"),
        ({"setup": {"initial": 3, "most": 2}}, "least <= initial <= most"),
        ({"vectors": 1}, "needs vectors >= 2"),
        ({"matrices": 0}, "needs matrices >= 1"),
        ({"scalars": 1}, "scalars"),
        ({"mutations": []}, "mutations"),
        ({"mutations": ["merge"]}, "mutations"),
        ({"mutate_probability": 1.5}, "mutate_probability"),
        ({"setup": {"most": 341}}, "setup.most"),
    ],
)
def test_impossible_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=r"^space") as error:
        Settings.read(changes, "space")
    assert message in str(error.value) and "\n" not in str(error.value)


# random programs


def test_random_programs_are_valid_and_take_every_operation_and_address_alike() -> None:
    where = space()
    population = where.random(draws(3000))
    for index in range(0, 3000, 50):
        assert where.schema.violation(population.genotype(index)) is None
    for function, (name, bound) in enumerate(SIZES.items()):
        sizes = Counter(population.sizes[:, function].tolist())
        assert set(sizes) == set(range(bound.least, bound.most + 1))
        assert all(near(n / 3000, 1 / len(sizes), 3000) for n in sizes.values()), name
    drawn = np.concatenate(
        [
            table[np.arange(table.shape[1]) < size[:, None]]
            for table, size in zip(population.tables, population.sizes.T, strict=True)
        ]
    )
    counts = Counter(drawn["op"].tolist())
    assert all(near(counts[op] / len(drawn), 1 / len(OPS), len(drawn)) for op in range(len(OPS)))
    sums = drawn[drawn["op"] == 1]
    for field, count in (("a", 4), ("b", 4), ("out", 3)):
        assert all(
            near((sums[field] == value).mean(), 1 / count, len(sums))
            for value in range(4 - count, 4)
        )
    for op in OPS:
        for kind, values in zip(
            op.constants, (drawn[drawn["op"] == op.id][name] for name in "xyz"), strict=False
        ):
            low = 0.0 if kind in (INDEX, DEVIATION) else -1.0
            assert low <= values.min() and values.max() < 1.0
            assert abs(values.mean() - (low + 1) / 2) < 0.25
    bounds = drawn[np.isin(drawn["op"], [59, 60, 61])]
    assert near((bounds["x"] > bounds["y"]).mean(), 0.5, len(bounds))  # not sorted when drawn


def test_programs_have_the_initial_sizes_where_mutation_keeps_sizes() -> None:
    where = space("alter_parameter", "randomize_function", initial="random")
    for population in (where.random(draws(50)), where.initial(draws(50))):
        assert (population.sizes == [2, 3, 4]).all()
    empty = space(initial="empty").initial(draws(3))
    assert all(table["op"].max() == 0 for table in empty.tables)
    assert (empty.sizes == [2, 3, 4]).all()
    given = where.random(draws(2)).genotype(1)
    assert [member.genotype for member in where.initial(draws(3), [given])] == [given] * 3


# mutations, each alone


def test_identity_changes_nothing() -> None:
    assert all(before == after for before, after in children(space("identity"), 200))


def test_a_child_is_a_copy_with_the_rest_of_the_probability() -> None:
    pairs = list(children(space("randomize_algorithm", mutate_probability=0.7), 4000))
    assert near(np.mean([before != after for before, after in pairs]), 0.7, 4000)
    assert all(
        before == after
        for before, after in children(space("randomize_algorithm", mutate_probability=0.0), 200)
    )


def test_alter_parameter_keeps_operations_and_changes_one_field() -> None:
    fields: Counter[str] = Counter()
    for before, after in children(space("alter_parameter"), 4000):
        assert [[row[0] for row in function] for function in before] == [
            [row[0] for row in function] for function in after
        ]
        differ = [
            (one, other)
            for f in changed(before, after)
            for one, other in zip(before[f], after[f], strict=True)
            if one != other
        ]
        assert len(differ) <= 1
        for one, other in differ:
            op = OPS[one[0]]
            names = [
                name
                for name, x, y in zip(
                    ("op", "a", "b", "out", "x", "y", "z"), one, other, strict=True
                )
                if x != y
            ]
            fields.update(names[:1])
            allowed = [*"ab"[: len(op.ins)], "out", *"xyz"[: len(op.constants)]]
            assert set(names) <= set(allowed)
            assert len(names) == 1 or (BOUND in op.constants and names == ["x", "y"])
            if BOUND in op.constants and set(names) & {"x", "y"}:
                assert other[4] <= other[5]
    assert min(fields[name] for name in ("a", "b", "out", "x", "y")) > 20
    assert fields["z"] > 0


def alone(op: str, count: int, row: tuple, mutation: str = "alter_parameter") -> np.ndarray:
    """Children of one instruction, [count]."""
    where = space(
        mutation,
        setup=Function(ops=(op,), initial=1, least=1, most=1),
        predict=Function(ops=()),
        learn=Function(ops=()),
    )
    none = np.zeros(0, INSTRUCTION)
    parent = Genotype(
        where.schema, {"setup": np.array([row], INSTRUCTION), "predict": none, "learn": none}
    )
    return where.mutate(
        Population.of(where.schema, [parent]), np.zeros(count, np.int64), draws(count)
    ).tables[0][:, 0]


def test_alter_parameter_chooses_each_input_the_output_and_the_data_alike() -> None:
    three = alone("scalar_sum", 6000, (1, 0, 0, 1, 0, 0, 0))
    for field, others in (("a", 3 / 4), ("b", 3 / 4), ("out", 2 / 3)):
        assert near((three[field] != three[field].min()).mean(), others / 3, 6000)
    data = alone("matrix_const_set", 6000, (58, 0, 0, 0, 0.5, 0.5, 0.5))
    assert near((data["out"] != 0).mean(), 1 / 4, 6000)
    assert all(near((data[field] != 0.5).mean(), 1 / 6, 6000) for field in "xyz")


def test_a_constant_flips_its_sign_one_time_in_ten_or_moves_on_a_log_scale() -> None:
    moved = alone("scalar_const_set", 8000, (56, 0, 0, 1, 0.3, 0, 0))["x"]
    moved = moved[moved != 0.3]
    assert near(len(moved) / 8000, 1 / 2, 8000)
    assert near((moved == -0.3).mean(), 0.1, len(moved))
    steps = np.log(moved[moved != -0.3] / 0.3)
    assert (
        abs(steps.mean()) < 0.07
        and abs(steps.std() - 1) < 0.05
        and abs((steps**4).mean() - 3) < 0.6
    )


def test_a_deviation_never_flips_and_an_index_is_drawn_anew() -> None:
    moved = alone("scalar_gaussian_set", 8000, (62, 0, 0, 1, 0.3, 0.2, 0))
    step = np.log(moved["y"][moved["y"] != 0.2] / 0.2)
    assert near(len(step) / 8000, 1 / 4, 8000)
    assert abs(step.mean()) < 0.1 and abs(step.std() - 1) < 0.08
    assert near((moved["x"] == -0.3).mean(), 0.1 / 4, 8000)
    index = alone("vector_const_set", 8000, (57, 0, 0, 1, 0.25, 0.5, 0))["x"]
    index = index[index != 0.25]
    assert near(len(index) / 8000, 1 / 4, 8000)
    assert (
        index.min() >= 0
        and index.max() < 1
        and abs(index.mean() - 0.5) < 0.03
        and abs(index.std() - 12**-0.5) < 0.02
    )


def test_bounds_are_sorted_after_an_alteration_only() -> None:
    moved = alone("scalar_uniform_set", 6000, (59, 0, 0, 1, 0.6, 0.4, 0))
    kept = (moved["x"] == 0.6) & (moved["y"] == 0.4)
    assert near(kept.mean(), 1 / 2, 6000)
    assert (moved["x"] <= moved["y"])[~kept].all()
    assert near((moved["x"] == -0.6).mean() + (moved["x"] == -0.4).mean(), 0.1 / 2, 6000)


def test_a_constant_that_would_overflow_stays() -> None:
    moved = alone("scalar_const_set", 500, (56, 0, 0, 1, 1.7e308, 0, 0))["x"]
    assert np.isfinite(moved).all() and len(set(moved)) > 50


def test_randomize_instruction_replaces_one() -> None:
    ops, count = Counter(), 0
    for before, after in children(space("randomize_instruction"), 4000):
        differ = [
            (one, other)
            for f in range(3)
            for one, other in zip(before[f], after[f], strict=True)
            if one != other
        ]
        assert len(differ) <= 1
        count += len(differ)
        ops.update(other[0] for _, other in differ)
    assert count > 3600 and len(ops) == len(OPS)


def test_randomize_function_redraws_one_and_keeps_its_size() -> None:
    which: Counter[int] = Counter()
    for before, after in children(space("randomize_function"), 3000):
        assert [len(f) for f in before] == [len(f) for f in after] and len(
            changed(before, after)
        ) <= 1
        which.update(changed(before, after))
    assert (
        all(near(which[f] / 3000, 1 / 3, 3000) or which[f] / 3000 < 1 / 3 for f in range(3))
        and min(which.values()) > 800
    )


def test_randomize_algorithm_redraws_all_and_keeps_sizes() -> None:
    pairs = list(children(space("randomize_algorithm"), 1000))
    assert all([len(f) for f in before] == [len(f) for f in after] for before, after in pairs)
    assert (
        np.mean(
            [
                changed(before, after) == [f for f in range(3) if before[f]]
                for before, after in pairs
            ]
        )
        > 0.95
    )


def without_one(longer: list, shorter: list) -> bool:
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


def test_insert_adds_one_unless_one_below_the_maximum() -> None:
    at: Counter[int] = Counter()
    for before, after in children(space("insert"), 4000):
        grown = changed(before, after)
        assert len(grown) <= 1
        for f in grown:
            assert len(after[f]) == len(before[f]) + 1 and without_one(after[f], before[f])
            assert len(before[f]) < list(SIZES.values())[f].most - 1
            if f == 2 and len(before[f]) == 2:
                at[next((i for i in range(2) if before[f][i] != after[f][i]), 2)] += 1
        if not grown:
            assert any(
                len(function) >= bound.most - 1
                for function, bound in zip(before, SIZES.values(), strict=True)
            )
    assert set(at) == {0, 1, 2}


def test_remove_takes_one_unless_at_the_minimum() -> None:
    for before, after in children(space("remove"), 4000):
        less = changed(before, after)
        assert len(less) <= 1
        for f in less:
            assert len(after[f]) == len(before[f]) - 1 and without_one(before[f], after[f])
            assert len(after[f]) >= list(SIZES.values())[f].least
        if not less:
            assert any(
                len(function) == bound.least
                for function, bound in zip(before, SIZES.values(), strict=True)
            )


def test_trade_keeps_the_size_whatever_the_bounds() -> None:
    full = {name: Function(initial=3, least=3, most=3) for name in FUNCTIONS}
    for where in (space("trade"), space("trade", **full)):
        same = 0
        for before, after in children(where, 4000):
            assert [len(f) for f in before] == [len(f) for f in after] and len(
                changed(before, after)
            ) <= 1
            same += before == after
            for f in changed(before, after):
                assert any(
                    without_one(after[f], before[f][:at] + before[f][at + 1 :])
                    for at in range(len(before[f]))
                )
        assert same > 4000 / 12 and same < 4000 / 2  # the newcomer itself may go
    fixed = children(space("trade", **full), 4000)
    assert near(np.mean([before == after for before, after in fixed]), 1 / 4, 4000)


def test_trade_in_full_functions_writes_nowhere_else() -> None:
    full = {name: Function(initial=3, least=3, most=3) for name in FUNCTIONS}
    where = space("trade", **full)
    from evoml.spaces._program_kernels import mutate

    parents = where.random(draws(4))
    guarded = [np.zeros((5, 3), INSTRUCTION) for _ in range(3)]
    sizes = np.zeros((4, 3), np.int64)
    for seed in range(200):
        allowed = np.array([MUTATIONS.index("trade")])
        args = parents.tables, parents.sizes, np.arange(4), draws(4, seed), allowed, 1.0
        mutate(
            *args,
            where._operations,
            where._bounds,
            where._addresses,
            tuple(table[:4] for table in guarded),
            sizes,
        )
    assert all(table[4].tobytes() == bytes(table[4].nbytes) for table in guarded)


def test_mutation_types_and_functions_are_uniform() -> None:
    where = space("randomize_instruction", "insert", "remove", "identity")
    parents = where.random(draws(400))
    # free to grow and to shrink
    parents = parents.take((parents.sizes >= 2).all(1) & (parents.sizes <= [4, 6, 7]).all(1))
    kinds, functions = Counter(), Counter()
    for before, after in children(where, 8000, parents=parents):
        grown = sum(map(len, after)) - sum(map(len, before))
        kinds["same" if before == after else grown] += 1
        functions.update(changed(before, after))
    assert near(kinds[1] / 8000, 1 / 4, 8000) and near(kinds[-1] / 8000, 1 / 4, 8000)
    # a draw may repeat what was there
    assert near(kinds["same"] / 8000, 1 / 4, 8000) or kinds["same"] / 8000 - 1 / 4 < 0.03
    total = sum(functions.values())
    assert all(near(functions[f] / total, 1 / 3, total) for f in range(3))


def test_a_function_without_operations_never_changes() -> None:
    parents = space().random(draws(50))
    for name in MUTATIONS:
        touched: set[int] = set()
        for before, after in children(
            space(name, predict=SIZES["predict"].model_copy(update={"ops": ()})),
            500,
            parents=parents,
        ):
            touched |= set(changed(before, after))
        assert touched == (set() if name == "identity" else {0, 2})
    nothing = {key: value.model_copy(update={"ops": ()}) for key, value in SIZES.items()}
    assert all(
        before == after for before, after in children(space(**nothing), 200, parents=parents)
    )


def test_only_allowed_operations_are_drawn() -> None:
    only = {
        "setup": ("scalar_const_set",),
        "predict": ("vector_inner_product", "scalar_sum"),
        "learn": ("vector_sum", "no_op"),
    }
    where = space(
        **{name: SIZES[name].model_copy(update={"ops": ops}) for name, ops in only.items()}
    )
    for _, after in children(where, 1000):
        for name, function in zip(FUNCTIONS, after, strict=True):
            assert {NAMES[row[0]] for row in function} <= set(only[name])


def test_the_smallest_memory_works() -> None:
    tiny = tuple(op.name for op in OPS if "m" not in op.ins + op.out and op.out != "v")
    where = space(
        scalars=2,
        vectors=1,
        matrices=0,
        **{n: Function(initial=2, most=5, ops=tiny) for n in FUNCTIONS},
    )
    assert all(
        row[3] == 1 or row[0] == 0
        for _, after in children(where, 500)
        for function in after
        for row in function
    )


def test_crossover_swaps_one_function() -> None:
    where = space()
    one, other = (where.random(draws(2)).genotype(index) for index in range(2))
    seen = set()
    for seed in range(20):
        first, second = where.mate(Random(seed), one, other)
        taken = [n for n in FUNCTIONS if np.array_equal(first.tables[n], other.tables[n])]
        given = [n for n in FUNCTIONS if np.array_equal(second.tables[n], one.tables[n])]
        assert taken == given and len(taken) == 1
        assert all(
            np.array_equal(first.tables[n], one.tables[n]) for n in FUNCTIONS if n != taken[0]
        )
        seen |= set(taken)
    assert seen == set(FUNCTIONS)


# determinism


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), order=st.permutations(range(12)))
def test_a_child_depends_on_its_stream_and_its_parent_only(seed: int, order: list[int]) -> None:
    where = space(mutate_probability=0.9)
    parents = where.random(streams(seed, 1, np.arange(5)))
    of, born = np.arange(12) % 5, streams(seed, 3, np.arange(12))
    together = where.mutate(parents, of, born)
    shuffled = where.mutate(parents, of[order], born[order])
    assert [rows(shuffled, place) for place in range(12)] == [
        rows(together, index) for index in order
    ]
    lone = parents.take([of[7]])
    assert rows(where.mutate(lone, np.zeros(1, np.int64), born[7:8]), 0) == rows(together, 7)
    assert rows(where.random(streams(seed, 1, np.arange(5))[3:4]), 0) == rows(parents, 3)


def test_streams_of_seeds_purposes_and_ids_are_apart() -> None:
    found = np.concatenate(
        [
            streams(seed, purpose, np.arange(500))
            for seed in (0, 1, 2**63)
            for purpose in range(1, 6)
        ]
    )
    assert len(set(found)) == len(found)


# canonical form


def program(
    where: AutoMLZeroSpace, setup: str = "", predict: str = "", learn: str = ""
) -> Genotype:
    text = "\n".join(
        f"def {name}():\n    {body or '...'}"
        for name, body in zip(FUNCTIONS, (setup, predict, learn), strict=True)
    )
    return where.parse(text, "test")


def kept(*functions: str) -> list[str]:
    """What is left of a program, a function a string."""
    found = CANON.phenotypes(Population.of(CANON.schema, [program(CANON, *functions)]))
    return [
        "; ".join(format_instruction(row) for row in found.rows(0, function))
        for function in range(3)
    ]


CANON = space(
    scalars=6,
    vectors=4,
    matrices=2,
    **{name: Function(initial=3, most=16, ops=NOISE_FREE) for name in FUNCTIONS},
)


# So little memory that most instructions matter.
TIGHT = space(
    scalars=3,
    vectors=3,
    matrices=1,
    **{name: Function(initial=4, least=4, most=12, ops=NOISE_FREE) for name in FUNCTIONS},
)


def as_they_are(population: Population) -> Programs:
    return Programs(
        TIGHT.memory,
        population.tables,
        population.sizes,
        np.arange(1, len(population) + 1, dtype=np.uint64),
    )


def small_tasks(kind: str, seed: int) -> TaskSet:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((8, 12, 3)), rng.standard_normal((8, 12))
    y = (y > 0).astype(float) if kind == "classification" else y
    return TaskSet(
        kind,
        x[:, :8],
        y[:, :8],
        x[:, 8:],
        y[:, 8:],
        tuple("abcdefgh"),
        np.arange(8, dtype=np.uint64),
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["regression", "classification"]),
    epochs=st.sampled_from([1, 2]),
)
def test_pruning_changes_no_bit_of_the_fitness(seed: int, kind: str, epochs: int) -> None:
    population = TIGHT.random(streams(seed, 1, np.arange(200)))
    backend = load("backends", "numba").Backend(
        small_tasks(kind, seed % 5), TIGHT.memory, Rules(8, 4, epochs, dtype="float64")
    )
    pruned = TIGHT.phenotypes(population)
    assert (pruned.sizes <= population.sizes).all() and (pruned.sizes < population.sizes).any()
    whole, _ = backend.fitness(as_they_are(population), np.arange(200))
    assert np.array_equal(backend.fitness(pruned, np.arange(200))[0], whole)


def test_pruning_agrees_with_the_definition() -> None:
    population = TIGHT.random(streams(11, 1, np.arange(60)))
    backend = load("backends", "reference").Backend(
        small_tasks("regression", 1), TIGHT.memory, Rules(4, 3, 2)
    )
    whole, _ = backend.fitness(as_they_are(population), np.arange(60))
    assert np.array_equal(backend.fitness(TIGHT.phenotypes(population), np.arange(60))[0], whole)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_canonical_form_is_its_own(seed: int) -> None:
    population = CANON.random(streams(seed, 1, np.arange(50)))
    once = CANON.phenotypes(population)
    again = population.take(slice(None))
    for mine, theirs in zip(again.tables, once.tables, strict=True):
        mine[...] = theirs
    again.sizes[...] = once.sizes
    twice = CANON.phenotypes(again)
    assert (twice.keys == once.keys).all() and (twice.sizes == once.sizes).all()
    assert all(np.array_equal(a, b) for a, b in zip(twice.tables, once.tables, strict=True))
    assert len(set(once.keys)) <= len(
        {tuple(map(tuple, rows(again, index))) for index in range(50)}
    )


def test_the_highest_addresses_are_seen() -> None:
    large = space(scalars=64, vectors=64, matrices=64)
    text = (
        "s63 = 0.5",
        "v63 = s63 * v0; m63 = outer(v63, v63); s1 = mean(m63)",
        "m62 = outer(v62, v62)",
    )
    found = large.phenotypes(Population.of(large.schema, [program(large, *text)]))
    assert found.sizes.tolist() == [[1, 3, 0]]


def key(*functions: str) -> str:
    return CANON.key(program(CANON, *functions))


LINEAR = ("s2 = 0.1", "s1 = dot(v0, v1)", "s3 = s0 - s1; s3 = s3 * s2; v2 = s3 * v0; v1 = v1 + v2")


def test_dead_code_does_not_change_the_key() -> None:
    dead = (
        "s4 = 0.3; s2 = 0.7; s2 = 0.1; m0 = outer(v1, v1)",
        "v3 = v0 + v1; s1 = s4 + s4; pass; s1 = dot(v0, v1)",
        LINEAR[2] + "; v2 = v1 + v1; s5 = sin(s0)",
    )
    assert key(*dead) == key(*LINEAR) and len(key(*LINEAR)) == 16


@pytest.mark.parametrize(
    "same",
    [
        # other addresses
        ("s4 = 0.1", "s1 = dot(v3, v0)", "s5 = s0 - s1; s2 = s4 * s5; v1 = s2 * v0; v3 = v3 + v1"),
        # computed twice
        (
            "s2 = 0.1",
            "s1 = dot(v0, v1)",
            "s3 = s0 - s1; s4 = s3 * s2; s3 = s2 * s3; v2 = s4 * v0; v1 = v1 + v2",
        ),
        ("", "s2 = 0.1; s1 = dot(v0, v1)", LINEAR[2]),  # computed again each time
        ("s2 = 0.1", "s1 = dot(v0, v1); s3 = 0.1; s2 = 0.1", LINEAR[2]),
        (
            "s4 = s2 * s3; s2 = 0.1",
            "s1 = dot(v0, v1)",
            (
                "s3 = s0 - s1; s4 = s0 - s1; s4 = maximum(s3, s4); s3 = s4 * s2; v2 = s3 * v0; v1 "
                "= v1 + v2"
            ),
        ),
        # zeros made of zeros: not of 0.1 * 0
        ("s2 = 0.1; v1 = s2 * v2; v1 = v3 + v1; v1 = v2 + v3", *LINEAR[1:]),
    ],
)
def test_the_same_flow_of_data_has_the_same_key(same: tuple[str, ...]) -> None:
    assert key(*same) == key(*LINEAR)


def test_where_the_squashed_prediction_differs_from_a_copy_of_it_keys_differ() -> None:
    kept, squashed = (
        ("", "s2 = dot(v0, v1); s1 = minimum(s2, s2)", "v2 = {} * v0; v1 = v1 + v2"),
        ("s2", "s1"),
    )
    assert len({key(*kept[:2], kept[2].format(name)) for name in squashed}) == 2


FEW = (
    "scalar_const_set", "scalar_sum", "scalar_diff", "scalar_product", "scalar_max",
    "vector_inner_product", "scalar_vector_product", "vector_sum", "vector_max", "scalar_broadcast",
    "scalar_gaussian_set", "vector_const_set",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_programs_with_one_key_have_the_same_fitness_in_every_bit(kind: str, epochs: int) -> None:
    """Many small programs of few parts, so that many keys are shared by programs of different
    text.
    """
    parts = {"ops": FEW, "initial": 2, "least": 0, "most": 4}
    narrow = space(
        scalars=4,
        vectors=3,
        matrices=1,
        setup=Function(**parts),
        predict=Function(**parts),
        learn=Function(**parts),
    )
    first = narrow.random(streams(5, 1, np.arange(30_000)))
    for tables in first.tables:
        tables["x"][...] = np.where(
            np.isin(tables["op"], [56, 57]),
            np.sign(tables["x"]) * 0.5,
            np.abs(tables["x"].round(0)),
        )
        tables["y"][...] = 0.5
    what = narrow.phenotypes(first)
    backend = load("backends", "numba").Backend(
        small_tasks(kind, 3), narrow.memory, Rules(8, 4, epochs, dtype="float64")
    )
    fitness, _ = backend.fitness(what, np.arange(len(what)))
    texts: dict[int, set[bytes]] = {}
    found: dict[int, bytes] = {}
    for index, one in enumerate(what.keys):
        texts.setdefault(int(one), set()).add(
            b"|".join(what.rows(index, function).tobytes() for function in range(3))
        )
        assert found.setdefault(int(one), fitness[index].tobytes()) == fitness[index].tobytes()
    assert sum(len(group) > 1 for group in texts.values()) > 500


def test_constants_operations_addresses_and_functions_change_the_key() -> None:
    others = [
        ("s2 = 0.2", *LINEAR[1:]),
        ("s3 = 0.1", LINEAR[1], LINEAR[2].replace("s3 * s2", "s3 * s3")),
        (LINEAR[0], "s1 = dot(v0, v0)", LINEAR[2]),
        (*LINEAR[:2], LINEAR[2].replace("s0 - s1", "s1 - s0")),
        (*LINEAR[:2], LINEAR[2].replace("s0 - s1", "s0 + s1")),
        (*LINEAR[:2], LINEAR[2] + "; v1 = v1 + v2"),
        ("", LINEAR[1], "s2 = 0.1; s2 = s2 * s2; " + LINEAR[2]),
        (LINEAR[0], LINEAR[2].replace("s0 - s1", "s0 - s4") + "; " + LINEAR[1], ""),
        ("s2 = gaussian(0.0, 0.1)", *LINEAR[1:]),
        (
            "s3 = 0.1; s2 = gaussian(0.0, 0.1); s4 = s3 * s2",
            LINEAR[1],
            LINEAR[2].replace("* s2", "* s4"),
        ),
        (
            "s2 = gaussian(0.0, 0.1); s3 = 0.1; s4 = s3 * s2",
            LINEAR[1],
            LINEAR[2].replace("* s2", "* s4"),
        ),
    ]
    assert len({key(*LINEAR), *(key(*other) for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    "text",
    [
        "s1 = {} + {}",
        "s1 = {} * {}",
        "v1 = {} + {}",
        "v1 = {} * {}",
        "s1 = dot({}, {})",
        "m0 = {} + {}",
        "m0 = {} * {}",
    ],
)
def test_the_order_of_commuting_inputs_does_not_change_the_key(text: str) -> None:
    letter = "v" if "dot" in text else text[0]
    reach = {"s": "", "v": "; s1 = mean(v1)", "m": "; s1 = mean(m0)"}[text[0]]
    one, other = f"{letter}0", f"{letter}1"
    assert key("", text.format(one, other) + reach) == key("", text.format(other, one) + reach)
    assert key("", text.format(one, other) + reach) != key("", text.format(one, one) + reach)


def test_the_order_of_other_inputs_changes_the_key() -> None:
    for text in ("s1 = {} - {}", "s1 = {} / {}", "s1 = minimum({}, {})", "s1 = maximum({}, {})"):
        assert key("s2 = 0.1; s3 = 0.2", text.format("s2", "s3")) != key(
            "s2 = 0.1; s3 = 0.2", text.format("s3", "s2")
        )


def test_operations_commute_where_every_bit_allows() -> None:
    letters = (
        "scalar_sum scalar_product vector_sum vector_product vector_inner_product matrix_sum "
        "matrix_product"
    )
    assert {op.name for op in OPS if op.commutes} == set(letters.split())


@pytest.mark.parametrize(
    ("given", "left"),
    [
        # s1 lasts where predict does not write it
        (("s2 = 0.5", "", "s1 = s2 + s2"), ("s2 = 0.5", "", "s1 = s2 + s2")),
        # predict writes s1 first: setup's is lost
        (("s1 = 0.5", "s1 = s2 + s0", ""), ("", "s1 = s0 + s2", "")),
        (("s1 = 0.5", "s1 = s1 + s2", ""), ("s1 = 0.5", "s1 = s1 + s2", "")),
        # carried through learn
        (
            ("s2 = 0.5", "s1 = s2 + s3", "s3 = s1 + s0"),
            ("s2 = 0.5", "s1 = s2 + s3", "s3 = s0 + s1"),
        ),
        # carried from one predict to the next
        (("", "s1 = s2 + s3; s2 = s1 + s3", ""), ("", "s1 = s2 + s3; s2 = s1 + s3", "")),
        # a chain that ends nowhere
        (("", "s1 = s2 + s3; s4 = s1 + s3", "s5 = s4 + s4"), ("", "s1 = s2 + s3", "")),
        (
            ("", "s1 = s2 + s3; s4 = s1 + s3", "s5 = s4 + s4; s3 = s5 + s5"),
            ("", "s1 = s2 + s3; s4 = s1 + s3", "s5 = s4 + s4; s3 = s5 + s5"),
        ),
        (
            ("v1[at(0.1)] = 0.5; v1[at(0.6)] = 0.7", "s1 = mean(v1)", ""),
            ("v1[at(0.1)] = 0.5; v1[at(0.6)] = 0.7", "s1 = mean(v1)", ""),
        ),
        (
            ("v1[at(0.1)] = 0.5; v1 = broadcast(s2)", "s1 = mean(v1)", ""),
            ("v1 = broadcast(s2)", "s1 = mean(v1)", ""),
        ),
        (
            ("m0[at(0.1), at(0.1)] = 0.5", "s1 = norm(m0)", "m0 = outer(v0, v0)"),
            ("m0[at(0.1), at(0.1)] = 0.5", "s1 = norm(m0)", "m0 = outer(v0, v0)"),
        ),
        (
            ("s2 = 0.5; s2 = s2 + s2", "s1 = s2 + s2", "s2 = 0.1"),
            ("s2 = 0.5; s2 = s2 + s2", "s1 = s2 + s2", "s2 = 0.1"),
        ),
        # predict overwrites what learn wrote
        (("", "s2 = 0.1; s1 = s2 + s2", "s2 = 0.3"), ("", "s2 = 0.1; s1 = s2 + s2", "")),
        (
            ("s2 = 0.5", "s3 = s2 + s2; s1 = dot(v0, v1); s2 = 0.1", "v1 = s3 * v0"),
            ("s2 = 0.5", "s3 = s2 + s2; s1 = dot(v0, v1); s2 = 0.1", "v1 = s3 * v0"),
        ),
        (
            ("v2 = v0 + v1", "v2 = v0 + v0; s1 = dot(v2, v2)", "v2 = v1 + v1; v3 = v2 + v2"),
            ("", "v2 = v0 + v0; s1 = dot(v2, v2)", ""),
        ),
        (("s1 = 0.3", "", ""), ("s1 = 0.3", "", "")),
        (("", "", "s1 = 0.3; s1 = s0 + s0"), ("", "", "s1 = s0 + s0")),
    ],
)
def test_what_can_reach_a_prediction_stays_and_nothing_else(
    given: tuple[str, ...], left: tuple[str, ...]
) -> None:
    assert tuple(kept(*given)) == left


def test_the_graph_of_linear_regression_shows_the_loop_of_learning() -> None:
    source = Path(__file__).parents[2] / "programs" / "automl_zero" / "linear_regression.py"
    space_, genotype = AutoMLZeroSpace.open_text(source.read_text(), "linear_regression.py")
    graph = space_.drawing(genotype)
    assert nx.has_path(graph, "features", "prediction")
    assert nx.has_path(graph, "label", "prediction")
    # the weights that an earlier example updated
    assert ("learn", 3) in nx.ancestors(graph, ("predict", 0))
    assert graph.nodes["predict", 0]["label"] == "s1 = dot(v0, v1)"
    assert not nx.is_directed_acyclic_graph(graph)


def test_the_essence_has_the_same_key_and_nothing_dead() -> None:
    space_ = space()
    population = space_.random(streams(5, 1, np.arange(50)))
    for index in range(50):
        genotype = population.genotype(index)
        essence = space_.essence(genotype)
        assert space_.key(essence) == space_.key(genotype)
        assert space_.essence(essence) == essence
