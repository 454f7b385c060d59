"""The three families of tasks: sizes, determinism, what is kept apart, and every bad input."""

import zipfile
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import class_of

from evoml.contracts.task import TaskSet
from evoml.core.errors import InputError
from evoml.core.registry import load, names
from evoml.tasks import (
    _class_pairs,
    _digits,
    _families,
    linear_regression,
    projected_binary,
    two_layer_regression,
)

FAMILIES = tuple(
    name
    for name in names("tasks")
    if class_of(load("tasks", name)).kind in ("regression", "classification")
)
TEACHERS = (linear_regression, two_layer_regression)
SMALL = {key: {"tasks": 3, "train": 20, "valid": 7} for key in ("search", "select", "test")}
ARRAYS = ("train_x", "train_y", "valid_x", "valid_y", "seeds")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> ModuleType:
    return load("tasks", request.param)


def make(family: ModuleType, seed: int = 0, data: Path | None = None, **values: object):
    return class_of(family)(family.Settings.read({**SMALL, **values}, "tasks"), data, seed)


def same(one: TaskSet, other: TaskSet) -> bool:
    return one.names == other.names and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in ARRAYS
    )


def sets(task, experiments: int = 2) -> list[TaskSet]:
    return [
        *(task.search(experiment) for experiment in range(experiments)),
        task.select(),
        task.test(),
    ]


# every family


def test_sizes_and_types(family: ModuleType) -> None:
    task = make(family, features=5)
    for tasks in sets(task):
        assert (
            tasks.kind == task.kind
            and task.objective.name
            == {"regression": "fitness", "classification": "accuracy"}[task.kind]
        )
        assert tasks.train_x.shape == (3, 20, 5) and tasks.valid_x.shape == (3, 7, 5)
        assert tasks.train_y.shape == (3, 20) and tasks.valid_y.shape == (3, 7)
        assert all(
            getattr(tasks, name).dtype == np.float64 and np.isfinite(getattr(tasks, name)).all()
            for name in ARRAYS[:4]
        )
        assert (
            tasks.seeds.dtype == np.uint64
            and tasks.seeds.shape == (3,)
            and len(set(tasks.names)) == 3
        )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**64), experiment=st.integers(0, 2**31), name=st.sampled_from(FAMILIES))
def test_same_arguments_same_bits(seed: int, experiment: int, name: str) -> None:
    one, other = (make(load("tasks", name), seed) for _ in range(2))
    other.search(experiment + 1), other.test()  # what was made before does not matter
    assert same(one.search(experiment), other.search(experiment))
    assert same(one.select(), other.select()) and same(one.test(), other.test())


def test_every_set_is_another(family: ModuleType) -> None:
    made = sets(make(family, 0), 3) + sets(make(family, 1), 3)
    assert len({tasks.train_x.tobytes() for tasks in made}) == len(made)
    assert len(set(np.concatenate([tasks.seeds for tasks in made]))) == 3 * len(made)


@given(
    one=st.tuples(st.integers(0, 2**64), st.integers(0, 2**32), st.integers(0, 10**6)),
    other=st.tuples(st.integers(0, 2**64), st.integers(0, 2**32), st.integers(0, 10**6)),
    splits=st.permutations(list(_families.Split)),
    bits=st.sampled_from([32, 63]),
)
def test_seeds_of_two_splits_never_coincide(
    one: tuple[int, int, int], other: tuple[int, int, int], splits: list[_families.Split], bits: int
) -> None:
    (seed, *key), (other_seed, *other_key) = one, other
    first, second = (
        _families.task_seed(seed, splits[0], *key, bits=bits),
        _families.task_seed(other_seed, splits[1], *other_key, bits=bits),
    )
    assert first != second and max(first, second) < 2**bits


def test_defaults_are_described_and_reported(family: ModuleType) -> None:
    values = family.Settings()
    assert family.Settings.read(values.model_dump(), "") == values
    for model in (family.Settings, *(type(getattr(values, key)) for key in SMALL)):
        assert all(field.description for field in model.model_fields.values())
    assert values.search.tasks == 10 and family.__doc__.split("\n\n")[0].rstrip().endswith(".")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": 0}, "tasks.features: 0: "),
        ({"feature": 4}, "tasks.feature: no such setting"),
        ({"search": {"tasks": -1}}, "tasks.search.tasks: -1: "),
        ({"test": {"train": 0}}, "tasks.test.train: 0: "),
        ({"select": {"valid": "x"}}, "tasks.select.valid: 'x': "),
        (
            {"test": {"tasks": 100_000, "train": 10_000_000}},
            "tasks.test: tasks x (train + valid) x ",
        ),
    ],
)
def test_bad_settings(family: ModuleType, values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        family.Settings.read(values, "tasks")
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_negative_seed_and_experiment(family: ModuleType) -> None:
    with pytest.raises(InputError, match="^seed: -1 is not 0 or more"):
        make(family, -1).search(0)
    with pytest.raises(InputError, match="^experiment: -2 is not 0 or more"):
        make(family).search(-2)


# the two regressions


@pytest.mark.parametrize("family", TEACHERS)
def test_teachers_take_no_data(family: ModuleType) -> None:
    with pytest.raises(InputError, match="^data: x.npz: these tasks generate their data"):
        make(family, data=Path("x.npz"))


@pytest.mark.parametrize("family", TEACHERS)
def test_published_sizes(family: ModuleType) -> None:
    task = class_of(family)(family.Settings(), None, 0)
    assert task.search(0).train_x.shape == (10, 100, 4) and task.search(0).valid_x.shape == (
        10,
        100,
        4,
    )
    for tasks in (task.select(), task.test()):
        assert tasks.train_x.shape == (100, 1000, 4) and tasks.valid_x.shape == (100, 100, 4)
        assert abs(tasks.train_x.mean()) < 0.01 and abs(tasks.train_x.std() - 1) < 0.01


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), features=st.integers(1, 9))
def test_linear_labels_are_exact(seed: int, features: int) -> None:
    tasks = make(linear_regression, seed, features=features).search(0)
    for task in range(len(tasks)):
        w = np.linalg.lstsq(tasks.train_x[task], tasks.train_y[task])[0]
        np.testing.assert_allclose(tasks.valid_x[task] @ w, tasks.valid_y[task], rtol=0, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), features=st.integers(2, 6))
def test_two_layer_labels_are_exact(seed: int, features: int) -> None:
    tasks = make(two_layer_regression, seed, features=features).select()
    for index in range(len(tasks)):
        rng = _families.generator(seed, _families.Split.SELECT, 0, index)
        w1, w2 = rng.standard_normal((features, features)), rng.standard_normal(features)
        for x, label in zip(tasks.valid_x[index], tasks.valid_y[index], strict=True):
            live = [unit for unit in range(features) if unit not in (0, 2)]
            assert label == pytest.approx(
                sum(w2[unit] * max(0.0, float(w1[unit] @ x)) for unit in live), abs=1e-12
            )


def test_two_layer_needs_a_live_unit() -> None:
    with pytest.raises(InputError, match="^tasks.features: 1: "):
        make(two_layer_regression, features=1)


@pytest.mark.parametrize("family", TEACHERS)
def test_teacher_does_not_depend_on_the_number_of_examples(family: ModuleType) -> None:
    few, many = (
        make(family, search={"tasks": 2, "train": size, "valid": 5}).search(4) for size in (10, 30)
    )
    assert (few.train_x == many.train_x[:, :10]).all() and (
        few.train_y == many.train_y[:, :10]
    ).all()


# projected pairs of digits


def groups(task: projected_binary.ProjectedBinaryTask) -> list[set[frozenset[int]]]:
    return [{frozenset(pair) for pair in task.pairs[key]} for key in SMALL]


def pair_of(name: str) -> tuple[int, int]:
    first, second = name.split("/")[0].split("-")
    return int(first), int(second)


def test_digits() -> None:
    task = projected_binary.ProjectedBinaryTask(projected_binary.Settings(), None, 0)
    search, select, test = groups(task)
    assert [len(search), len(select), len(test)] == [27, 9, 9] and len(search | select | test) == 45
    assert set(task.pairs["test"]) == {
        (0, 5),
        (0, 9),
        (1, 8),
        (2, 9),
        (3, 5),
        (3, 6),
        (3, 8),
        (4, 6),
        (8, 9),
    }
    for tasks, key in zip(sets(task, 1), SMALL, strict=True):
        assert {pair_of(name) for name in tasks.names} <= set(task.pairs[key])
        assert (
            np.abs(tasks.train_x.mean(axis=1)).max() < 1e-9
            and np.abs(tasks.train_x.std(axis=1) - 1).max() < 1e-9
        )
        assert set(np.unique(tasks.train_y)) == {0, 1} and abs(tasks.train_y.mean() - 0.5) < 0.05
    assert sorted(pair_of(name) for name in task.test().names) == sorted(task.pairs["test"])
    assert sorted(pair_of(name) for name in task.select().names) == sorted(task.pairs["select"])


def test_pairs_come_again_with_another_projection() -> None:
    tasks = make(projected_binary, select={"tasks": 20, "train": 20, "valid": 5}).select()
    drawn = [pair_of(name) for name in tasks.names]
    assert len(set(drawn[:9])) == 9 and drawn[9:18] == drawn[:9] and len(set(tasks.names)) == 20


@settings(max_examples=50, deadline=None)
@given(labels=st.sets(st.integers(-5, 300), min_size=3, max_size=12))
def test_division_is_a_partition(labels: set[int]) -> None:
    pairs = [(a, b) for a in labels for b in labels if a < b]
    division = _class_pairs.divide(pairs)
    assert sorted(chain(*division.values())) == sorted(pairs)
    assert (
        len(division["test"]) == len(division["select"]) == max(1, len(pairs) // 5)
        and division["search"]
    )


def test_given_pairs() -> None:
    task = make(projected_binary, test_pairs=[[1, 0]], search_pairs=[[3, 8], [8, 9]])
    assert task.pairs["test"] == ((1, 0),) and task.pairs["search"] == ((3, 8), (8, 9))
    assert len(task.pairs["select"]) == 8  # 0-1 was one of the automatic nine
    reverse = make(projected_binary, test_pairs=[[0, 1]])
    size = {"tasks": 1, "train": 10**4, "valid": 10**4}
    one, other = (
        projected_binary.ProjectedBinaryTask(
            t.settings.model_copy(update={"test": t.settings.test.model_copy(update=size)}), None, 0
        ).test()
        for t in (task, reverse)
    )
    assert one.train_y.sum() == (1 - other.train_y).sum()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"test_pairs": [[3, 12]]},
            (
                "test_pairs: 3-12: no class 12 in scikit-learn's digits; there are 0, 1, 2, 3, 4, "
                "5, 6, 7, 8, 9"
            ),
        ),
        ({"search_pairs": [[3, 3]]}, "search_pairs: 3-3: a pair is of two classes"),
        (
            {"search_pairs": [[1, 2]], "test_pairs": [[2, 1]]},
            "test_pairs: 2-1 is also in search_pairs",
        ),
        ({"select_pairs": [[1, 2], [1, 2]]}, "select_pairs: 1-2 is also in select_pairs"),
    ],
)
def test_bad_pairs(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as error:
        make(projected_binary, **values)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_pairs_that_leave_nothing(tmp_path: Path) -> None:
    path = image_file(tmp_path, classes=3)
    task = make(projected_binary, data=path, select_pairs=[[0, 1], [0, 2]], test_pairs=[[1, 2]])
    assert task.test().names[0].startswith("1-2/")  # an evaluation needs no other group
    with pytest.raises(InputError, match="^search_pairs: the other groups take all"):
        task.search(0)


def test_malformed_pair() -> None:
    with pytest.raises(InputError, match=r"^tasks.test_pairs.0"):
        make(projected_binary, test_pairs=[[1, 2, 3]])


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    _digits.digits.cache_clear()
    monkeypatch.setattr(_digits, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="^data: .*install scikit-learn or give an .npz"):
        make(projected_binary)


# images from a file


def image_arrays(
    classes: int = 4, each: int = 20, shape: tuple[int, ...] = (3, 2)
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (classes * each, *shape)).astype(np.uint8),
        "labels": rng.permutation(np.repeat(np.arange(classes), each)),
    }


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def image_file(folder: Path, **values: int) -> Path:
    return save(folder / "images.npz", image_arrays(**values))


def test_images_are_split_once() -> None:
    arrays = image_arrays(each=37)
    source = _class_pairs.images("here", arrays["images"], arrays["labels"])
    rows = [row for parts in source.members.values() for part in parts.values() for row in part]
    assert sorted(rows) == list(range(4 * 37))
    for label, parts in source.members.items():
        assert [len(parts[part]) for part in _class_pairs.PARTS] == [31, 3, 3]
        assert all((arrays["labels"][part] == label).all() for part in parts.values())


def test_the_recipe(tmp_path: Path) -> None:
    """Every example is a projected image of the right part and class, and the test part is in the
    test set alone.
    """
    arrays = image_arrays(each=30, shape=(2, 3, 3))
    sizes = {key: {"tasks": 3, "train": 1000, "valid": 1000} for key in SMALL}
    task = make(projected_binary, data=save(tmp_path / "a.npz", arrays), features=4, **sizes)
    pixels = arrays["images"].reshape(120, -1).astype(float)
    members = _class_pairs.images("", arrays["images"], arrays["labels"]).members
    for tasks, held in zip(sets(task), ("valid", "valid", "valid", "test"), strict=True):
        for index, name in enumerate(tasks.names):
            pair, projection = pair_of(name), int(name.split("/")[1])
            projected = pixels @ np.random.RandomState(projection).randn(18, 4)
            train = np.concatenate([members[label]["train"] for label in pair])
            scaled = (projected - projected[train].mean(axis=0)) / projected[train].std(axis=0)
            for all_x, all_y, part in (
                (tasks.train_x, tasks.train_y, "train"),
                (tasks.valid_x, tasks.valid_y, held),
            ):
                rows = np.concatenate([members[label][part] for label in pair])
                distance = np.abs(scaled[rows] - all_x[index][:, None]).max(axis=2)
                found = rows[distance.argmin(axis=1)]
                assert distance.min(axis=1).max() < 1e-9 and sorted(found) == sorted(rows)
                assert ((arrays["labels"][found] == pair[0]) == all_y[index]).all()
                # shuffled
                assert part != "train" or list(arrays["labels"][found]) != sorted(
                    arrays["labels"][found]
                )


def test_equal_images_give_zeros(tmp_path: Path) -> None:
    arrays = image_arrays()
    path = save(tmp_path / "flat.npz", {**arrays, "images": np.full_like(arrays["images"], 77)})
    assert np.abs(make(projected_binary, data=path).search(0).train_x).max() < 1e-6


def test_sizes_are_those_of_the_smallest_pair(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 40])
    path = save(
        tmp_path / "a.npz", {"images": np.random.default_rng(0).random((70, 5)), "labels": labels}
    )
    pairs = {"search_pairs": [[0, 1], [1, 2]], "select_pairs": [[0, 2]], "test_pairs": []}
    with pytest.raises(InputError, match="^test_pairs: the other groups take all"):
        make(projected_binary, data=path, **pairs)
    sizes = {"tasks": 1, "train": 1000, "valid": 1000}
    task = make(
        projected_binary,
        data=path,
        search_pairs=[[0, 1]],
        select_pairs=[[0, 2]],
        test_pairs=[[1, 2]],
        search=sizes,
        test=sizes,
    )
    assert task.search(0).train_x.shape == (1, 24, 16) and task.search(0).valid_x.shape == (
        1,
        3,
        16,
    )
    assert task.test().train_x.shape == (1, 48, 16) and task.test().valid_x.shape == (1, 6, 16)


IMAGES = image_arrays()["images"]
LABELS = image_arrays()["labels"]


def with_value(value: float, dtype: type) -> np.ndarray:
    changed = IMAGES.astype(dtype)
    changed[7, 1, 1] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros(80)}, "images: float64 of shape [80]; they must be numbers of shape"),
        ({"images": np.zeros((80, 0))}, "images: float64 of shape [80, 0]; "),
        ({"images": np.zeros((80, 2), dtype="U3")}, "images: <U3 of shape [80, 2]; "),
        ({"images": np.zeros((80, 2), dtype=complex)}, "images: complex128 of shape [80, 2]; "),
        (
            {"images": with_value(np.nan, np.float64)},
            "images: NaN, infinity or a value beyond 1e+100 in it",
        ),
        ({"images": with_value(np.inf, np.float16)}, "images: NaN, infinity"),
        ({"images": with_value(-1e200, np.float64)}, "images: NaN, infinity"),
        (
            {"labels": LABELS[:70]},
            "labels: int64 of shape [70]; they must be integers of shape [80]",
        ),
        ({"labels": LABELS.reshape(2, 40)}, "labels: int64 of shape [2, 40]; "),
        ({"labels": LABELS.astype(float)}, "labels: float64 of shape [80]; "),
        ({"labels": LABELS * 0}, "labels: classes are 0; there must be 2 or more"),
        (
            {"labels": np.where(np.arange(80) < 9, 7, 2 * (np.arange(80) % 2))},
            "labels: class 7 has 9 images; 10 are needed",
        ),
    ],
)
def test_bad_images(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    refused(save(tmp_path / "bad.npz", {**image_arrays(), **changes}), message)


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError) as error:
        make(projected_binary, data=path, features=2)
    text = str(error.value)
    assert text.startswith(f"{path}: {message}") and "\n" not in text


# ready tasks


def ready_arrays(tasks: int = 6, examples: int = 12, features: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    pairs = np.array([(a, b) for a in range(9) for b in range(a + 1, 9)][:tasks])
    arrays = {"pos": pairs[:, 0], "neg": pairs[:, 1], "seed": np.arange(tasks)}
    for part in _class_pairs.PARTS:
        arrays[f"{part}_x"] = rng.standard_normal((tasks, examples, features)).astype(np.float16)
        arrays[f"{part}_y"] = np.tile(np.arange(examples) % 2, (tasks, 1)).astype(np.uint8)
    return arrays


def test_ready_tasks(tmp_path: Path) -> None:
    arrays = ready_arrays(8)
    sizes = {key: {"tasks": 5, "train": 100, "valid": 100} for key in SMALL}
    task = make(projected_binary, data=save(tmp_path / "a.npz", arrays), features=2, **sizes)
    assert [len(group) for group in groups(task)] == [4, 2, 2] and len(
        set.union(*groups(task))
    ) == 8
    for tasks, pairs, held in zip(
        sets(task, 1), groups(task), ("valid", "valid", "test"), strict=True
    ):
        assert len(tasks) == len(pairs)  # one projection a pair, so no more tasks than pairs
        for index, name in enumerate(tasks.names):
            row = list(zip(arrays["pos"], arrays["neg"], strict=True)).index(pair_of(name))
            assert name == f"{arrays['pos'][row]}-{arrays['neg'][row]}/{arrays['seed'][row]}"
            for part, own in (("train", "train"), ("valid", held)):
                x, y = getattr(tasks, f"{part}_x")[index], getattr(tasks, f"{part}_y")[index]
                stored = np.c_[arrays[f"{own}_x"][row], arrays[f"{own}_y"][row]]
                assert sorted(map(tuple, np.c_[x, y])) == sorted(map(tuple, stored.astype(float)))


def test_ready_pair_the_other_way_round(tmp_path: Path) -> None:
    path, full = (
        save(tmp_path / "a.npz", ready_arrays()),
        {"test": {"tasks": 1, "train": 99, "valid": 99}},
    )
    one, other = (
        make(projected_binary, data=path, features=2, test_pairs=[pair], **full).test()
        for pair in ([0, 1], [1, 0])
    )
    assert (one.train_x == other.train_x).all() and (one.train_y == 1 - other.train_y).all()
    with pytest.raises(InputError, match=r"^test_pairs: 7-8: no task of this pair in .*a.npz"):
        make(
            projected_binary,
            data=save(tmp_path / "a.npz", ready_arrays(35)),
            features=2,
            test_pairs=[[7, 8]],
        )


ALL = {key: {"tasks": 0, "train": 1000, "valid": 1000} for key in SMALL}


def test_ready_tasks_of_several_seeds_a_pair(tmp_path: Path) -> None:
    """All tasks of a pair are in one group, the other way round too."""
    arrays = ready_arrays(8)
    arrays["pos"][4:], arrays["neg"][4:] = arrays["neg"][:4].copy(), arrays["pos"][:4].copy()
    task = make(projected_binary, data=save(tmp_path / "a.npz", arrays), features=2, **ALL)
    assert [len(group) for group in groups(task)] == [2, 1, 1]
    for tasks, pairs in zip(sets(task, 1), groups(task), strict=True):
        assert len(set(tasks.names)) == len(tasks) == 2 * len(pairs)
        for index, name in enumerate(tasks.names):
            row = int(name.partition("/")[2])
            first = arrays["train_x"][row].astype(float)[arrays["train_y"][row] == 1]
            same = pair_of(name) == (arrays["pos"][row], arrays["neg"][row])
            ones = tasks.train_x[index][tasks.train_y[index] == (1 if same else 0)]
            assert sorted(map(tuple, ones)) == sorted(map(tuple, first))


def test_published_final_file_is_for_the_test_alone(tmp_path: Path) -> None:
    """The nine held-out pairs, two seeds each."""
    arrays = ready_arrays(18)
    pairs = np.repeat(_class_pairs.PAPER_TEST, 2, axis=0)
    arrays |= {"pos": pairs[:, 0], "neg": pairs[:, 1]}
    path = save(tmp_path / "a.npz", arrays)
    task = make(projected_binary, data=path, features=2, **ALL)
    assert len(task.test()) == 18
    for use in (task.search, task.select):
        with pytest.raises(InputError, match="has 9 pairs of classes, which the automatic"):
            use()
    given = make(projected_binary, data=path, features=2, search_pairs=[[0, 5]], **ALL)
    assert len(given.search()) == 2 and len(given.test()) == 16


def test_images_of_two_classes(tmp_path: Path) -> None:
    """One pair for all groups, each measured on images of its own."""
    arrays = image_arrays(classes=2, each=40)
    path = save(tmp_path / "a.npz", arrays)
    source = _class_pairs.images("here", arrays["images"], arrays["labels"])
    for parts in source.members.values():
        assert {name: len(rows) for name, rows in parts.items()} == {
            "train": 28, "valid": 4, "select": 4, "test": 4
        }  # fmt: skip
        assert len(set(np.concatenate(list(parts.values())).tolist())) == 40
    task = make(projected_binary, data=path, features=3, **ALL)
    drawn = sets(task, 1)
    assert [len(each) for each in drawn] == [1, 1, 1]
    assert [source.held(each) for each in ("search", "select", "test")] == [
        "valid", "select", "test"
    ]  # fmt: skip
    assert all(each.valid_y.shape[1] == 8 for each in drawn)
    reverse = make(projected_binary, data=path, features=3, search_pairs=[[1, 0]])
    assert reverse.search(0).names[0].startswith("1-0/")


@pytest.mark.parametrize("features", [1, 3])
def test_ready_features(tmp_path: Path, features: int) -> None:
    with pytest.raises(
        InputError,
        match=f"^features: {features}: the ready tasks in .*a.npz have 2 features; set 2",
    ):
        make(projected_binary, data=save(tmp_path / "a.npz", ready_arrays()), features=features)


def spoiled(name: str, place: tuple[int, ...], value: float) -> np.ndarray:
    array = ready_arrays()[name].copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_x": np.zeros((6, 12))},
            "train_x: float64 of shape [6, 12]; it must be [tasks, examples, features]",
        ),
        ({"train_x": np.zeros((6, 12, 0))}, "train_x: float64 of shape [6, 12, 0]; "),
        (
            {"train_x": np.zeros((0, 12, 2))},
            "train_x: float64 of shape [0, 12, 2]; it must be [tasks, examples, features]",
        ),
        ({"pos": np.zeros(5, int)}, "pos: int64 of shape [5]; they must be integers of shape [6]"),
        ({"seed": np.zeros(6)}, "seed: float64 of shape [6]; "),
        (
            {"valid_x": np.zeros((6, 12, 3))},
            "valid_x: float64 of shape [6, 12, 3]; they must be numbers of shape [6, examples, 2]",
        ),
        ({"test_x": np.zeros((6, 12, 2), "U1")}, "test_x: <U1 of shape [6, 12, 2]; "),
        (
            {"test_y": np.zeros((6, 11))},
            "test_y: float64 of shape [6, 11]; they must be 0 or 1, of shape [6, 12]",
        ),
        (
            {"valid_y": spoiled("valid_y", (1, 1), 2)},
            "valid_y: uint8 of shape [6, 12]; they must be 0 or 1",
        ),
        ({"train_y": spoiled("train_y", (4,), 1)}, "train_y: task 4 has one class only"),
        ({"valid_x": spoiled("valid_x", (1, 1, 1), np.nan)}, "valid_x: NaN, infinity"),
        ({"test_x": spoiled("test_x", (1, 1, 1), np.inf)}, "test_x: NaN, infinity"),
        (
            {"neg": np.zeros(6, int)},
            "pos, neg: task 0 is 0-0; a task must be of two classes",
        ),
        (
            {"neg": np.array([1, 2, 3, 4, 1, 6]), "seed": np.array([0, 1, 2, 3, 0, 5])},
            "pos, neg, seed: task 4 is 0-1/0, as task 0 is; tasks of one pair must have seeds",
        ),
    ],
)
def test_bad_ready_tasks(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    refused(save(tmp_path / "bad.npz", {**ready_arrays(), **changes}), message)


# files


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (
            (),
            (
                "no array images, labels; there must be images and labels, or ready tasks (pos, "
                "neg, seed, train_x, "
            ),
        ),
        (("images",), "no array labels; there must be"),
        (("labels",), "no array images; there must be"),
        (
            ("pos", "neg"),
            "no array seed, train_x, train_y, valid_x, valid_y, test_x, test_y; there must be",
        ),
    ],
)
def test_missing_arrays(tmp_path: Path, kept: tuple[str, ...], message: str) -> None:
    arrays = {**image_arrays(), **ready_arrays(), "other": np.zeros(3)}
    refused(save(tmp_path / "bad.npz", {name: arrays[name] for name in ("other", *kept)}), message)


def test_files_that_are_no_archive(tmp_path: Path) -> None:
    refused(tmp_path / "none.npz", "no such file")
    refused(tmp_path, "a folder; it must be a file")
    for content in (b"", b"PK", b"PK\x03\x04" + b"x" * 50, b"images, labels\n", b"\x93NUMPY"):
        (tmp_path / "a.npz").write_bytes(content)
        refused(tmp_path / "a.npz", "damaged, or not an .npz of plain arrays")
    np.save(tmp_path / "a.npy", np.zeros(3))
    refused(tmp_path / "a.npy", "damaged, or not an .npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("images", b"hello")
        archive.writestr("labels", b"hello")
    refused(tmp_path / "b.npz", "damaged, or not an .npz")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    refused(
        save(tmp_path / "a.npz", {**image_arrays(), "labels": np.array([object()] * 80)}),
        "damaged, or not an .npz of plain arrays",
    )


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["images", "ready"])
def test_damaged_files_are_refused_or_harmless(tmp_path: Path, kind: str, compressed: bool) -> None:
    """Truncated anywhere, or with any byte changed: an InputError, or the very same tasks."""
    arrays = (
        image_arrays(classes=3, each=10, shape=(2,))
        if kind == "images"
        else ready_arrays(examples=4)
    )
    (np.savez_compressed if compressed else np.savez)(tmp_path / "whole.npz", **arrays)
    content = (tmp_path / "whole.npz").read_bytes()
    right = make(projected_binary, data=tmp_path / "whole.npz", features=2).search(0)
    rng = np.random.default_rng(0)
    ends = rng.choice(len(content), 60, replace=False)
    places = rng.choice(len(content), 300, replace=False)
    flipped = (
        content[:place] + bytes([content[place] ^ int(rng.integers(1, 256))]) + content[place + 1 :]
        for place in places
    )
    bad = tmp_path / "bad.npz"
    outcomes = []
    for damaged in chain((content[:end] for end in ends), flipped):
        bad.write_bytes(damaged)
        try:
            outcomes.append(same(make(projected_binary, data=bad, features=2).search(0), right))
        except InputError as error:
            assert "\n" not in str(error) and str(error).startswith(str(bad))
            outcomes.append(None)
    assert False not in outcomes and outcomes[:60] == [None] * 60 and outcomes.count(None) > 200


# real data


def real(data_folder: Path, name: str) -> Path:
    if not (data_folder / name).is_file():
        pytest.skip(f"no {name} in {data_folder}")
    return data_folder / name


READY_FILE = "automlzero_cifar10_dim16_search36.npz"


def test_published_tasks(data_folder: Path) -> None:
    task = projected_binary.ProjectedBinaryTask(
        projected_binary.Settings(), real(data_folder, READY_FILE), 0
    )
    assert [len(group) for group in groups(task)] == [18, 9, 9] and len(
        set.union(*groups(task))
    ) == 36
    tasks = task.search(0)
    assert tasks.train_x.shape == (10, 8000, 16) and tasks.valid_x.shape == (10, 1000, 16)
    assert (
        np.abs(tasks.train_x.mean(axis=1)).max() < 1e-3
        and np.abs(tasks.train_x.std(axis=1) - 1).max() < 1e-3
    )
    assert (tasks.train_y.mean(axis=1) == 0.5).all()


@pytest.mark.parametrize(
    ("name", "train", "valid"),
    [("cifar10_train10k.npz", 1600, 200), ("mnist_train20k.npz", 3017, 376)],
)
def test_real_images(data_folder: Path, name: str, train: int, valid: int) -> None:
    task = projected_binary.ProjectedBinaryTask(
        projected_binary.Settings(), real(data_folder, name), 0
    )
    tasks = task.test()
    assert (
        len(tasks) == 9
        and tasks.train_x.shape[1:] == (train, 16)
        and tasks.valid_x.shape[1:] == (valid, 16)
    )
    assert (
        np.abs(tasks.train_x.mean(axis=1)).max() < 1e-9
        and np.abs(tasks.train_x.std(axis=1) - 1).max() < 1e-9
    )
    assert np.abs(tasks.valid_x.mean(axis=1)).max() < 0.5  # unseen images are of the same kind
    assert {pair_of(pair) for pair in tasks.names} == set(_class_pairs.PAPER_TEST)


def test_our_recipe_gives_the_published_tasks(data_folder: Path) -> None:
    """Projected by our recipe with the published seed, each of our images is an example of the
    published task, with its label.

    The published task was standardised with 8000 images of which we hold a part, so both sides are
    compared up to that affine map.
    """
    published, images = (
        np.load(real(data_folder, READY_FILE)),
        np.load(real(data_folder, "cifar10_train10k.npz")),
    )
    source = _class_pairs.images("cifar", images["images"], images["labels"])
    pair = (int(published["pos"][0]), int(published["neg"][0]))
    raw, label = source.examples(pair, 0, "train", np.random.default_rng(0), 400)
    x, _ = source.features(raw, raw, int(published["seed"][0]), 16)
    stored = np.concatenate([published[f"{part}_x"][0] for part in _class_pairs.PARTS]).astype(
        float
    )
    stored_label = np.concatenate([published[f"{part}_y"][0] for part in _class_pairs.PARTS])
    for _ in range(5):  # nearest neighbours, then the affine map that suits them
        nearest = ((stored**2).sum(axis=1) - 2 * x @ stored.T).argmin(axis=1)
        x = np.stack(
            [
                np.polyval(np.polyfit(a, b, 1), a)
                for a, b in zip(x.T, stored[nearest].T, strict=True)
            ],
            axis=1,
        )
    assert np.abs(x - stored[nearest]).max() < 0.005  # float16
    assert (label == stored_label[nearest]).all() and len(set(nearest)) == 400
