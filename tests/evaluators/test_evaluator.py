"""The evaluator: its caches against plain Python models, what it may skip and what that may not
change, and its state.
"""

from collections import OrderedDict
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from evoml.core.errors import InputError
from evoml.core.streams import streams
from evoml.evaluators._caches import ExactCache, FunctionalCache
from evoml.evaluators._score import COST
from evoml.evaluators.execution import _NETWORK, ExecutionEvaluator, Settings
from evoml.genotypes.population import DIVERGED, OK, Population
from evoml.phenotypes.instructions import BY_NAME
from evoml.phenotypes.programs import FUNCTIONS, Programs
from evoml.spaces import chain
from evoml.spaces.automl_zero import AutoMLZeroSpace, Function
from evoml.spaces.automl_zero import Settings as SpaceSettings
from evoml.tasks import linear_regression

OPS = (
    "scalar_const_set",
    "vector_inner_product",
    "scalar_diff",
    "scalar_product",
    "scalar_vector_product",
    "vector_sum",
    "scalar_division",
)
SPACE = AutoMLZeroSpace(
    SpaceSettings(
        scalars=4,
        vectors=3,
        matrices=1,
        **{name: Function(initial=2, most=8, ops=OPS) for name in FUNCTIONS},
    )
)
GOOD = """
def setup():
    s2 = 0.1
def predict():
    s1 = dot(v0, v1)
def learn():
    s3 = s0 - s1
    s3 = s3 * s2
    v2 = s3 * v0
    v1 = v1 + v2
"""
sizes = {"tasks": 5, "train": 30, "valid": 12}
TASKS = linear_regression.LinearRegressionTask(
    linear_regression.Settings.read({"search": sizes}, "task"), None, 3
).search(0)


def evaluator(**changes: object) -> ExecutionEvaluator:
    off = {"exact_cache": 0, "functional_cache": {"size": 0}, "dtype": "float64"}
    return ExecutionEvaluator(Settings.read(off | changes, "evaluator"), TASKS, SPACE, "numba")


def some(count: int, seed: int = 0, good: int = 0) -> Programs:
    """Random programs, of which the first `good` are children of one that learns."""
    population = SPACE.random(streams(seed, 1, np.arange(count)))
    if good:
        parent = Population.of(SPACE.schema, [SPACE.parse(GOOD, "good.py")])
        population.put(
            np.arange(good),
            SPACE.mutate(parent, np.zeros(good, np.int64), streams(seed, 3, np.arange(good))),
        )
    return SPACE.phenotypes(population)


def part(programs: Programs, at: np.ndarray) -> Programs:
    return Programs(
        programs.memory,
        tuple(table[at] for table in programs.tables),
        programs.sizes[at],
        programs.keys[at],
    )


# caches


KEYS = st.lists(st.integers(1, 12), min_size=0, max_size=6)


class FunctionalModel(RuleBasedStateMachine):
    """The functional cache beside an ordered dictionary, newest last."""

    @initialize(
        size=st.integers(1, 6),
        forget=st.integers(1, 4),
        spread=st.sampled_from([1, 2**20, 2**40, 0x9E3779B97F4A7C15]),
    )
    def start(self, size: int, forget: int, spread: int) -> None:
        self.cache, self.size, self.forget = FunctionalCache(size, forget), size, forget
        self.spread = spread  # keys that share a place in the table, or not
        self.model: OrderedDict[int, list[float]] = OrderedDict()
        self.clock = 0.0

    def keys(self, keys: list[int]) -> np.ndarray:
        return np.array([key * self.spread % 2**64 for key in keys], np.uint64)

    @rule(keys=KEYS)
    def find(self, keys: list[int]) -> None:
        wanted = []
        for key in keys:
            if key not in self.model:
                wanted.append(np.nan)
                continue
            entry = self.model[key]
            wanted.append(entry[0])
            entry[1] += 1
            self.model.move_to_end(key)
            if entry[1] >= self.forget:
                del self.model[key]
        assert np.array_equal(self.cache.find(self.keys(keys)), wanted, equal_nan=True)
        assert len(self.cache) == len(self.model)

    @rule(keys=KEYS)
    def insert(self, keys: list[int]) -> None:
        values = self.clock + np.arange(len(keys))
        self.clock += len(keys)
        for key, value in zip(keys, values, strict=True):
            if key not in self.model:
                if len(self.model) == self.size:
                    self.model.popitem(last=False)
                self.model[key] = [value, 0]
        self.cache.insert(self.keys(keys), values)
        assert len(self.cache) == len(self.model) <= self.size

    @rule()
    def save_and_load(self) -> None:
        state = deepcopy(self.cache.state())
        self.cache = FunctionalCache(self.size, self.forget)
        self.cache.load(state)


class ExactModel(RuleBasedStateMachine):
    """The exact cache beside one short list a slot, newest first."""

    @initialize(size=st.sampled_from([2, 4, 8, 16]))
    def start(self, size: int) -> None:
        self.cache = ExactCache(size)
        self.slots: dict[int, list[tuple[int, float]]] = {}
        self.clock = 0.0

    def slot(self, key: int) -> list[tuple[int, float]]:
        return self.slots.setdefault(key % len(self.cache.keys), [])

    @rule(keys=KEYS)
    def find(self, keys: list[int]) -> None:
        wanted = [dict(self.slot(key)).get(key, np.nan) for key in keys]
        assert np.array_equal(self.cache.find(np.array(keys, np.uint64)), wanted, equal_nan=True)

    @rule(keys=KEYS)
    def insert(self, keys: list[int]) -> None:
        values = self.clock + np.arange(len(keys))
        self.clock += len(keys)
        for key, value in zip(keys, values, strict=True):
            slot = self.slot(key)
            slot[:] = [(key, value), *(entry for entry in slot if entry[0] != key)][:2]
        self.cache.insert(np.array(keys, np.uint64), values)


machine = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestFunctionalCache = FunctionalModel.TestCase
TestFunctionalCache.settings = machine
TestExactCache = ExactModel.TestCase
TestExactCache.settings = machine


@settings(max_examples=10, deadline=None)
@given(size=st.integers(1, 300))
def test_an_exact_cache_holds_at_least_half_and_at_most_four_thirds_of_its_size(size: int) -> None:
    cache = ExactCache(size)
    assert size / 2 <= cache.keys.size or size < 4
    assert cache.keys.size <= max(2 * size, 4)


def test_a_full_functional_cache_forgets_the_least_recently_used() -> None:
    cache = FunctionalCache(1000, 100)
    keys = np.random.default_rng(0).integers(1, 2**63, 3000).astype(np.uint64)
    cache.insert(keys[:1000], np.arange(1000.0))
    cache.find(keys[:100])
    cache.insert(keys[1000:1900], np.arange(900.0))
    assert len(cache) == 1000
    assert np.array_equal(cache.find(keys[:100]), np.arange(100.0))
    assert np.isnan(cache.find(keys[100:1000])).all()
    assert not np.isnan(cache.find(keys[1000:1900])).any()


# what may be skipped


def test_the_exact_cache_changes_no_fitness() -> None:
    plain, cached = evaluator(), evaluator(exact_cache=64)
    for seed in range(4):
        programs = some(60, seed // 2, good=30)  # every batch comes twice
        one, other = plain(programs), cached(programs)
        assert np.array_equal(one.objectives, other.objectives) and np.array_equal(
            one.status, other.status
        )
    assert cached.counts["exact_hits"] > 0
    assert (
        cached.counts["candidates"]
        == 240
        == cached.counts["exact_hits"] + cached.counts["full_runs"]
    )
    assert cached.counts["steps"] < plain.counts["steps"]


def test_the_functional_cache_changes_no_fitness_of_a_behaviour_it_has_not_seen() -> None:
    plain, cached = (
        evaluator(),
        evaluator(functional_cache={"size": 1000, "train": 10, "valid": 10}),
    )
    programs = some(150, 5, good=75)
    one, other = plain(programs), cached(programs)
    assert np.array_equal(one.objectives, other.objectives)  # nothing was in it before the batch
    again = cached(programs)
    assert cached.counts["functional_hits"] == 150
    # some behave alike
    assert len(np.unique(cached._short.fingerprints(programs, np.arange(150), 10, 10)[0])) < 150
    assert np.abs(again.objectives - one.objectives).max() < 1e-9


def test_the_functional_cache_knows_a_program_by_behaviour() -> None:
    cached = evaluator(functional_cache={"size": 10, "forget": 2})
    one, other = (
        SPACE.phenotypes(Population.of(SPACE.schema, [SPACE.parse(text, "t")]))
        for text in (
            GOOD,
            GOOD.replace("s2 = 0.1", "s2 = 0.1\n    s3 = 0.5\n    s2 = s2 * s3\n    s2 = s2 + s2"),
        )
    )
    assert one.keys[0] != other.keys[0]
    first = cached(one).objectives
    for hits in (1, 2, 2):  # after two uses it is forgotten
        assert np.array_equal(cached(other).objectives, first)
        assert cached.counts["functional_hits"] == hits
    assert cached.counts["full_runs"] == 2


def test_fitness_is_the_mean_or_the_upper_median_over_tasks() -> None:
    programs = some(60, 1, good=40)
    each = evaluator().per_task(programs)
    assert each.shape == (60, 5) and len(np.unique(each)) > 60
    assert np.array_equal(evaluator()(programs).objectives[:, 0], each.mean(1))
    assert np.array_equal(
        evaluator(combine="median")(programs).objectives[:, 0], np.sort(each, 1)[:, 2]
    )
    # the element at T // 2
    assert evaluator(combine="median").combine(np.array([[4.0, 1.0, 3.0, 2.0]])) == [3.0]


def test_status_says_whether_anything_was_learnt() -> None:
    out = evaluator()(some(60, 1, good=40))
    assert out.objectives.shape == (60, 1) and np.isfinite(out.objectives).all()
    assert ((out.status == OK) == (out.objectives[:, 0] > 0)).all()
    assert set(out.status) <= {OK, DIVERGED} and out.steps > 0
    assert evaluator()(part(some(3), np.arange(0))).objectives.shape == (0, 1)


def test_programs_above_the_budget_are_not_run() -> None:
    programs = some(80, 2, good=40)
    network = [sum(BY_NAME[name].cost for name in function) for function in _NETWORK]
    cost = np.array([[COST[programs.rows(i, f)["op"]].sum() for f in range(3)] for i in range(80)])
    share = (cost[:, 0] + 30 * cost[:, 1:].sum(1)) / (network[0] + 30 * sum(network[1:]))
    factor = float(np.median(share))
    limited, plain = evaluator(budget_factor=factor), evaluator()
    got, wanted = limited(programs).objectives[:, 0], plain(programs).objectives[:, 0]
    assert np.array_equal(got, np.where(share <= factor, wanted, 0.0))
    assert (
        limited.counts["over_budget"] == (share > factor).sum() == 80 - limited.counts["full_runs"]
    )
    assert limited.counts["over_budget"] > 20


def test_a_hurdle_stops_what_falls_below_the_percentile_of_what_came_before() -> None:
    hurdled = evaluator(hurdle={"tasks": 2, "percentile": 60.0, "window": 50})
    each = [evaluator().per_task(some(40, seed, good=40)) for seed in range(3)]
    recent: list[float] = []
    stopped = 0
    for seed, fitness in enumerate(each):
        first, full = fitness[:, :2].mean(1), fitness.mean(1)
        passed = first >= (np.percentile(recent, 60.0) if len(recent) >= 10 else -np.inf)
        assert np.array_equal(
            hurdled(some(40, seed, good=40)).objectives[:, 0], np.where(passed, full, first)
        )
        stopped += (~passed).sum()
        known = set(recent)
        recent = [*recent, *(x for x in dict.fromkeys(first.tolist()) if x not in known)][-50:]
    assert hurdled.counts["stopped_at_hurdle"] == stopped > 0
    # in full, whatever the hurdle
    assert np.array_equal(hurdled.per_task(some(40, 0, good=40)), each[0])


def test_the_window_of_a_hurdle_keeps_the_latest() -> None:
    hurdled = evaluator(hurdle={"tasks": 2, "window": 10})
    hurdled._remember(np.array([0.9, 0.1, 0.9, 0.8, 0.2, *np.linspace(0.7, 0.3, 8)]))
    assert np.allclose(hurdled._recent, [0.8, 0.2, *np.linspace(0.7, 0.3, 8)])


def test_final_scoring_skips_nothing() -> None:
    rough = Settings.read(
        {
            "combine": "median",
            "budget_factor": 1.0,
            "hurdle": {"tasks": 2},
            "epochs": 2,
            "max_abs_error": 50.0,
        },
        "evaluator",
    )
    final = ExecutionEvaluator.exact(rough)
    assert (final.dtype, final.exact_cache, final.functional_cache.size, final.budget_factor) == (
        "float64",
        0,
        0,
        0,
    )
    assert (final.hurdle.tasks, final.combine, final.epochs, final.max_abs_error) == (
        0,
        "mean",
        2,
        50.0,
    )


def test_single_precision_is_close() -> None:
    programs = some(40, 9, good=40)
    assert (
        np.median(
            np.abs(evaluator(dtype="float32").per_task(programs) - evaluator().per_task(programs))
        )
        < 1e-5
    )


# state


FULL = {
    "exact_cache": 64,
    "functional_cache": {"size": 40, "forget": 3},
    "hurdle": {"tasks": 2, "percentile": 50.0, "window": 20},
    "budget_factor": 2.0,
    "dtype": "float32",
}


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), before=st.integers(0, 3))
def test_a_restored_evaluator_goes_on_as_the_first_would(seed: int, before: int) -> None:
    first, second = evaluator(**FULL), evaluator(**FULL)
    for number in range(before):
        first(some(30, seed + number, good=20))
    second.load_state_dict(deepcopy(first.state_dict()))
    for number in (0, before, before + 1):
        programs = some(30, seed + number, good=20)
        one, other = first(programs), second(programs)
        assert np.array_equal(one.objectives, other.objectives) and one.steps == other.steps
        assert first.counts == second.counts
    assert all(
        np.array_equal(a, second.state_dict()["arrays"][name], equal_nan=a.dtype.kind == "f")
        for name, a in first.state_dict()["arrays"].items()
    )


def test_warming_up_changes_nothing() -> None:
    cold, warm = evaluator(**FULL), evaluator(**FULL)
    warm.warm()
    assert (
        np.array_equal(cold(some(30)).objectives, warm(some(30)).objectives)
        and cold.counts == warm.counts
    )


def test_a_space_that_makes_no_programs_is_refused() -> None:
    with pytest.raises(InputError, match="space automl_zero does"):
        ExecutionEvaluator(Settings(), TASKS, chain.ChainSpace(chain.Settings()), "numba")
    with pytest.raises(InputError, match="did you mean numba"):
        ExecutionEvaluator(Settings(), TASKS, SPACE, "numbda")
