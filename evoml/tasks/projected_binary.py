"""Binary image classification: two classes of an image set, seen through a random Gaussian projection.

Real, Liang, So, Le, "AutoML-Zero: Evolving Machine Learning Algorithms From Scratch", ICML 2020, arXiv 2003.03384, section 4.2; the
recipe is the published script's. A task is a pair of classes and a projection seed. Raw pixels are multiplied by a [pixels, F] matrix of
N(0, 1) numbers that the seed gives, then standardised by the training examples; label 1 is the pair's first class.

Departures: the images of a class are split once, for all pairs and runs, 80 / 10 / 10, so that the test part, on which `test` alone is
measured, is in no search or selection task of any pair; and every task has its own projection seed, of up to ten digits.

Without `data` the images are scikit-learn's 8 x 8 digits. `data` is an .npz with `images` and `labels`, or with ready tasks (`pos`,
`neg`, `seed`, and `_x` and `_y` of `train`, `valid`, `test`). Ready tasks are used as they are, one a pair: asking for more tasks than
a group has pairs gives as many as it has. They were split a pair at a time, so there an image of one pair's test part may be a
training image of another pair.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from pydantic import Field

from evoml.errors import InputError
from evoml.tasks import TaskSet, _common
from evoml.tasks._common import Split

Pair = tuple[int, int]
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")

PAPER_TEST: tuple[Pair, ...] = ((0, 5), (0, 9), (1, 8), (2, 9), (3, 5), (3, 6), (3, 8), (4, 6), (8, 9))  # held out, of 10 classes
FIXED = 200303384  # seeds what must be the same in every run: the split of the images and the division of the pairs

IMAGES = ("images", "labels")
READY = ("pos", "neg", "seed", *(f"{part}_{array}" for part in PARTS for array in "xy"))
RIGHT = f"there must be {' and '.join(IMAGES)}, or ready tasks ({', '.join(READY)})"

SMALLEST = 10  # images of a class, so that its 10 % are one
HUGE = 1e100  # a value beyond it would overflow in the standardisation

TaskCount = Annotated[int, Field(ge=0, le=100_000, description="number of tasks; 0 is one for every pair of the group")]
Pairs = tuple[tuple[int, int], ...]


class SearchSizes(_common.Sizes):
    """10 tasks of at most 8000 + 1000 examples; all there are, where a pair has fewer."""

    tasks: TaskCount = 10
    train: _common.Train = 8000
    valid: _common.Valid = 1000


class SelectSizes(SearchSizes):
    """9 tasks."""

    tasks: TaskCount = 9


class TestSizes(SearchSizes):
    """A task for every test pair."""

    __test__ = False  # not a test of pytest's

    tasks: TaskCount = 0


class Settings(_common.FamilySettings):
    """F = 16 and the published sizes, which are maxima; the pairs of classes divide themselves into three groups."""

    features: int = Field(default=16, ge=1, le=1024, description="F, the length of a projected image")
    search: SearchSizes = Field(default=SearchSizes(), description="tasks that candidates are scored on, fresh in each experiment")
    select: SelectSizes = Field(default=SelectSizes(), description="tasks that choose among the best of the experiments")
    test: TestSizes = Field(default=TestSizes(), description="tasks of the reported result, on images that no other task holds")
    search_pairs: Pairs = Field(default=(), description="pairs of class labels to search on; empty is the automatic division")
    select_pairs: Pairs = Field(default=(), description="pairs of class labels to select on; empty is the automatic division")
    test_pairs: Pairs = Field(default=(), description="pairs of class labels to test on; empty is the automatic division")


class Source(Protocol):
    """Where examples come from."""

    @property
    def where(self) -> str:
        """The file, for messages."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs there are, each once."""

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        """The automatic division of the pairs: search, select, test."""

    def count(self, pair: Pair, part: Part) -> int:
        """How many examples a part of a pair holds."""

    def distinct(self, pairs: int) -> int | None:
        """How many different tasks so many pairs give at most; None is any number."""

    def check(self, features: int) -> None:
        """Raise InputError if the source cannot give F features."""

    def name(self, pair: Pair, projection: int) -> str:
        """The name of a task: its pair and its projection seed, such as 3-8/17."""

    def examples(self, pair: Pair, part: Part, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """`size` examples of a part, shuffled: raw x [size, any], y [size] (1 is the pair's first class)."""

    def features(self, train: np.ndarray, valid: np.ndarray, projection: int, features: int) -> tuple[np.ndarray, np.ndarray]:
        """Raw x to [N, F] and [M, F] float64."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images of K classes, split once for all runs."""

    where: str
    pixels: np.ndarray  # [n, pixels], any numeric type
    members: Mapping[int, Mapping[Part, np.ndarray]]  # class, part -> rows of `pixels`

    @property
    def pairs(self) -> tuple[Pair, ...]:
        return tuple(combinations(self.members, 2))

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        return divide(self.pairs, PAPER_TEST if list(self.members) == list(range(10)) else ())

    def count(self, pair: Pair, part: Part) -> int:
        return sum(len(self.members[label][part]) for label in pair)

    def distinct(self, pairs: int) -> int | None:
        return None

    def check(self, features: int) -> None:
        pass

    def name(self, pair: Pair, projection: int) -> str:
        return f"{pair[0]}-{pair[1]}/{projection}"

    def examples(self, pair: Pair, part: Part, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = (self.members[label][part] for label in pair)
        chosen = rng.permutation(len(first) + len(second))[:size]
        return self.pixels[np.concatenate([first, second])[chosen]].astype(np.float64), (chosen < len(first)).astype(np.float64)

    def features(self, train: np.ndarray, valid: np.ndarray, projection: int, features: int) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.random.RandomState(projection).randn(self.pixels.shape[1], features)
        # einsum and not @: the bits of BLAS depend on its number of threads
        train, valid = (np.einsum("np,pf->nf", x, matrix) for x in (train, valid))
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        deviation[deviation <= 1e-12 * np.abs(mean)] = 1  # equal images, but for rounding
        return (train - mean) / deviation, (valid - mean) / deviation


@dataclass(frozen=True, eq=False)
class Ready:
    """Tasks that were projected before, one a pair."""

    where: str
    pairs: tuple[Pair, ...]
    arrays: Mapping[str, np.ndarray]  # train_x [T, N, F], train_y [T, N] ...; label 1 is the first class of the task's pair

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        return divide(self.pairs, share=4)

    def count(self, pair: Pair, part: Part) -> int:
        return self.arrays[f"{part}_x"].shape[1]

    def distinct(self, pairs: int) -> int | None:
        return pairs

    def check(self, features: int) -> None:
        own = self.arrays["train_x"].shape[2]
        if features != own:
            raise InputError(f"features: {features}: the ready tasks in {self.where} have {own} features; set {own}")

    def name(self, pair: Pair, projection: int) -> str:
        return f"{pair[0]}-{pair[1]}/{self.arrays['seed'][self._index(pair)]}"

    def examples(self, pair: Pair, part: Part, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        index = self._index(pair)
        chosen = rng.permutation(self.count(pair, part))[:size]
        y = self.arrays[f"{part}_y"][index, chosen].astype(np.float64)
        return self.arrays[f"{part}_x"][index, chosen], y if pair == self.pairs[index] else 1 - y

    def features(self, train: np.ndarray, valid: np.ndarray, projection: int, features: int) -> tuple[np.ndarray, np.ndarray]:
        return train.astype(np.float64), valid.astype(np.float64)

    def _index(self, pair: Pair) -> int:
        return self.pairs.index(pair) if pair in self.pairs else self.pairs.index(pair[::-1])


class Task:
    """Tasks of pairs of classes."""

    kind: Literal["classification"] = "classification"
    objective = "accuracy"

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Read the images once. Raises InputError for a bad file, and for pairs and features that do not fit it."""
        self.settings, self.seed = settings, seed
        self._source = digits() if data is None else read(Path(data))
        self._source.check(settings.features)
        given = {split.key: getattr(settings, f"{split.key}_pairs") for split in Split}
        self.pairs: dict[str, tuple[Pair, ...]] = override(self._source, given)  # keys search, select, test

    def search(self, experiment: int) -> TaskSet:
        """The tasks of a search; each experiment has its own pairs and projections."""
        return self._tasks(self.settings.search, Split.SEARCH, experiment)

    def select(self) -> TaskSet:
        """The tasks that choose among the best of the experiments."""
        return self._tasks(self.settings.select, Split.SELECT)

    def test(self) -> TaskSet:
        """The tasks of the reported result; their valid_x and valid_y are of the test part, which nothing else uses."""
        return self._tasks(self.settings.test, Split.TEST)

    def _tasks(self, sizes: _common.Sizes, split: Split, experiment: int = 0) -> TaskSet:
        source = self._source
        held: Part = "test" if split is Split.TEST else "valid"
        pairs = self._draw(sizes, split, experiment)
        n = min(sizes.train, *(source.count(pair, "train") for pair in pairs))
        m = min(sizes.valid, *(source.count(pair, held) for pair in pairs))
        train_x, valid_x = (np.empty((len(pairs), size, self.settings.features)) for size in (n, m))
        train_y, valid_y = (np.empty((len(pairs), size)) for size in (n, m))
        names = []
        for index, pair in enumerate(pairs):
            rng = _common.generator(self.seed, split, experiment, index)
            projection = _common.task_seed(self.seed, split, experiment, index, bits=32)
            raw, train_y[index] = source.examples(pair, "train", rng, n)
            raw_valid, valid_y[index] = source.examples(pair, held, rng, m)
            train_x[index], valid_x[index] = source.features(raw, raw_valid, projection, self.settings.features)
            names.append(source.name(pair, projection))
        seeds = _common.task_seeds(self.seed, split, experiment, len(pairs))
        return TaskSet(self.kind, train_x, train_y, valid_x, valid_y, tuple(names), seeds)

    def _draw(self, sizes: _common.Sizes, split: Split, experiment: int) -> list[Pair]:
        """The pairs of a set: drawn without replacement, then again from the first."""
        group = self.pairs[split.key]
        tasks = min(sizes.tasks or len(group), self._source.distinct(len(group)) or _common.LARGEST)
        order = _common.generator(self.seed, split, experiment).permutation(len(group))
        return [group[place] for place in np.resize(order, tasks)]


def divide(pairs: Sequence[Pair], test: Collection[Pair] = (), share: int = 5) -> dict[str, tuple[Pair, ...]]:
    """One part in `share` of the pairs, but at least a pair, is test (unless given) and as many selection; the rest is search."""
    part = max(1, len(pairs) // share)
    rest = [pair for pair in pairs if pair not in test]
    order = [rest[place] for place in np.random.default_rng(FIXED).permutation(len(rest))]
    test, order = (test, order) if test else (order[:part], order[part:])
    return {"search": tuple(sorted(order[part:])), "select": tuple(sorted(order[:part])), "test": tuple(sorted(test))}


def override(source: Source, given: Mapping[str, tuple[Pair, ...]]) -> dict[str, tuple[Pair, ...]]:
    """The division in which given groups replace automatic ones, which lose the pairs that a given group takes."""
    known, classes = {frozenset(pair) for pair in source.pairs}, sorted(set(chain(*source.pairs)))
    owner: dict[frozenset[int], str] = {}
    for key, pair in ((f"{group}_pairs", pair) for group, pairs in given.items() for pair in pairs):
        shown = f"{pair[0]}-{pair[1]}"
        for label in pair:
            if label not in classes:
                raise InputError(f"{key}: {shown}: no class {label} in {source.where}; there are {_listed(classes)}")
        if frozenset(pair) not in known:
            what = "a pair is of two classes" if pair[0] == pair[1] else f"no task of this pair in {source.where}"
            raise InputError(f"{key}: {shown}: {what}")
        if frozenset(pair) in owner:
            raise InputError(f"{key}: {shown} is also in {owner[frozenset(pair)]}; a pair may stand once, in one group")
        owner[frozenset(pair)] = key
    groups = {
        group: given[group] or tuple(pair for pair in pairs if frozenset(pair) not in owner) for group, pairs in source.divide().items()
    }
    for group, pairs in groups.items():
        if not pairs:
            raise InputError(f"{group}_pairs: the other groups take all pairs of the automatic division; give some here")
    return groups


def digits() -> Images:
    """scikit-learn's 1797 digits of 8 x 8 pixels."""
    try:
        from sklearn.datasets import load_digits  # here, as only these tasks need it
    except ImportError:
        raise InputError("data: without it, scikit-learn's digits are the images; install scikit-learn or give an .npz") from None
    bunch = load_digits()
    return images("scikit-learn's digits", bunch.images, bunch.target)


def read(path: Path) -> Source:
    """Images or ready tasks from an .npz. Raises InputError for every file that is neither."""
    arrays = _arrays(path)
    if set(IMAGES) <= set(arrays):
        return images(str(path), arrays["images"], arrays["labels"])
    if set(READY) <= set(arrays):
        return ready(str(path), arrays)
    wanted = IMAGES if not set(READY) & set(arrays) or set(IMAGES) & set(arrays) else READY
    raise InputError(f"{path}: no array {_listed([name for name in wanted if name not in arrays])}; {RIGHT}")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Those arrays of an .npz that images or ready tasks have."""
    try:
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            found = {} if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in (*IMAGES, *READY) if name in loaded.files}
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or 'damaged').lower()}; give an .npz: {RIGHT}") from None
    except Exception:
        raise InputError(f"{path}: damaged, or not an .npz of plain arrays; {RIGHT}") from None
    if isinstance(loaded, np.ndarray) or not all(isinstance(array, np.ndarray) for array in found.values()):
        raise InputError(f"{path}: damaged, or not an .npz of plain arrays; {RIGHT}")
    return found


def images(where: str, pixels: np.ndarray, labels: np.ndarray) -> Images:
    """Check images and labels, and split each class into 80 % train, 10 % valid and 10 % test."""
    if pixels.ndim not in (2, 3, 4) or pixels.dtype.kind not in "buif" or not pixels.size:
        raise InputError(f"{where}: images: {_shown(pixels)}; they must be numbers of shape [n, h, w], [n, h, w, c] or [n, d]")
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(f"{where}: labels: {_shown(labels)}; they must be integers of shape [{len(pixels)}], one an image")
    _finite(where, "images", pixels)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 3:
        raise InputError(f"{where}: labels: {len(classes)} of the 3 classes that it takes for search, selection and test pairs to differ")
    if counts.min() < SMALLEST:
        label, count = classes[counts.argmin()], counts.min()
        raise InputError(f"{where}: labels: class {label} has {count} images; {SMALLEST} are needed, to train, validate and test")
    members = {}
    for place, label in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.random.default_rng([FIXED, place]).permutation(len(rows))]
        tenth = len(rows) // 10
        members[int(label)] = dict(zip(PARTS, np.split(rows, [len(rows) - 2 * tenth, len(rows) - tenth]), strict=True))
    return Images(where, pixels.reshape(len(pixels), -1), members)


def ready(where: str, arrays: Mapping[str, np.ndarray]) -> Ready:
    """Check ready tasks."""
    tasks, _, features = shape = arrays["train_x"].shape if arrays["train_x"].ndim == 3 else (0, 0, 0)
    if tasks < 3 or not all(shape):
        raise InputError(f"{where}: train_x: {_shown(arrays['train_x'])}; it must be [tasks, examples, features] with 3 tasks or more")
    for name in ("pos", "neg", "seed"):
        if arrays[name].shape != (tasks,) or arrays[name].dtype.kind not in "iu":
            raise InputError(f"{where}: {name}: {_shown(arrays[name])}; they must be integers of shape [{tasks}], one a task")
    for part in PARTS:
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if x.ndim != 3 or x.shape[::2] != (tasks, features) or x.dtype.kind not in "buif" or not x.size:
            raise InputError(f"{where}: {part}_x: {_shown(x)}; they must be numbers of shape [{tasks}, examples, {features}]")
        if y.shape != x.shape[:2] or y.dtype.kind not in "buif" or not np.isin(y, (0, 1)).all():
            raise InputError(f"{where}: {part}_y: {_shown(y)}; they must be 0 or 1, of shape [{tasks}, {x.shape[1]}]")
        if len(one := np.flatnonzero(y.min(axis=1) == y.max(axis=1))):
            raise InputError(f"{where}: {part}_y: task {one[0]} has one class only; there must be examples of both")
        _finite(where, f"{part}_x", x)
    pairs = tuple(zip(arrays["pos"].tolist(), arrays["neg"].tolist(), strict=True))
    for index, pair in enumerate(pairs):
        if len(set(pair)) < 2 or set(pair) in map(set, pairs[:index]):
            raise InputError(
                f"{where}: pos, neg: task {index} is {pair[0]}-{pair[1]}; every task must have a pair of its own, of two classes"
            )
    return Ready(where, pairs, arrays)


def _finite(where: str, name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not float(np.abs(array).max()) <= HUGE:  # a NaN is not
        raise InputError(f"{where}: {name}: NaN, infinity or a value beyond {HUGE:g} in it; all must be finite")


def _shown(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {list(array.shape)}"


def _listed(words: Iterable[object]) -> str:
    return ", ".join(map(str, words))
