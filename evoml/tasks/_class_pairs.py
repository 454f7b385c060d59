"""Image files for tasks: what may be in them, and how a pair of classes becomes a task."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal, Protocol
from zipfile import ZipFile, is_zipfile

import numpy as np

from evoml.core.errors import InputError, check_unpacked, plain_file
from evoml.tasks._digits import digits

Pair = tuple[int, int]
# `select` is only where one pair serves all groups, whose examples must then differ
Part = Literal["train", "valid", "select", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")
ONE_PAIR: tuple[Part, ...] = ("train", "valid", "select", "test")

# held out, of 10 classes
PAPER_TEST: tuple[Pair, ...] = (
    (0, 5),
    (0, 9),
    (1, 8),
    (2, 9),
    (3, 5),
    (3, 6),
    (3, 8),
    (4, 6),
    (8, 9),
)
# seeds what must be the same in every run: the split of the images and the division of the pairs
FIXED = 200303384

IMAGES = ("images", "labels")
READY = ("pos", "neg", "seed", *(f"{part}_{array}" for part in PARTS for array in "xy"))
RIGHT = f"there must be {' and '.join(IMAGES)}, or ready tasks ({', '.join(READY)})"

TABLES = (".csv", ".tsv", ".parquet")  # files of another task
SMALLEST = 10  # images of a class, so that its 10 % are one
HUGE = 1e100  # a value beyond it would overflow in the standardisation


class Source(Protocol):
    """Where examples come from."""

    @property
    def where(self) -> str:
        """The file, for messages."""

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs there are, each once."""

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        """The automatic division of the pairs: search, select, test. A group may be empty."""

    def held(self, group: str) -> Part:
        """The part that tasks of a group are measured on."""

    def variants(self, pair: Pair) -> int:
        """How many data sets of a pair there are."""

    def count(self, pair: Pair, part: Part) -> int:
        """How many examples a part of a pair holds."""

    @property
    def repeats(self) -> bool:
        """Whether a data set gives any number of different tasks, each with its projection."""

    def check(self, features: int) -> None:
        """Raise InputError if the source cannot give F features."""

    def name(self, pair: Pair, variant: int, projection: int) -> str:
        """The name of a task: its pair and its projection seed, such as 3-8/17."""

    def examples(
        self, pair: Pair, variant: int, part: Part, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`size` examples of a part of one of a pair's data sets, shuffled: raw x [size, any], y
        [size] (1 is the pair's first class).
        """

    def features(
        self, train: np.ndarray, valid: np.ndarray, projection: int, features: int
    ) -> tuple[np.ndarray, np.ndarray]:
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

    repeats = True

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        if len(self.pairs) == 1:
            return dict.fromkeys(("search", "select", "test"), self.pairs)
        return divide(self.pairs, PAPER_TEST if list(self.members) == list(range(10)) else ())

    def held(self, group: str) -> Part:
        if group == "select" and len(self.pairs) == 1:
            return "select"
        return "test" if group == "test" else "valid"

    def variants(self, pair: Pair) -> int:
        return 1

    def count(self, pair: Pair, part: Part) -> int:
        return sum(len(self.members[label][part]) for label in pair)

    def check(self, features: int) -> None:
        pass

    def name(self, pair: Pair, variant: int, projection: int) -> str:
        return f"{pair[0]}-{pair[1]}/{projection}"

    def examples(
        self, pair: Pair, variant: int, part: Part, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        first, second = (self.members[label][part] for label in pair)
        chosen = rng.permutation(len(first) + len(second))[:size]
        return self.pixels[np.concatenate([first, second])[chosen]].astype(np.float64), (
            chosen < len(first)
        ).astype(np.float64)

    def features(
        self, train: np.ndarray, valid: np.ndarray, projection: int, features: int
    ) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.random.RandomState(projection).randn(self.pixels.shape[1], features)
        # einsum and not @: the bits of BLAS depend on its number of threads
        train, valid = (np.einsum("np,pf->nf", x, matrix) for x in (train, valid))
        mean, deviation = train.mean(axis=0), train.std(axis=0)
        deviation[deviation <= 1e-12 * np.abs(mean)] = 1  # equal images, but for rounding
        return (train - mean) / deviation, (valid - mean) / deviation


@dataclass(frozen=True, eq=False)
class Ready:
    """Tasks that were projected before, one or more a pair, each with a seed of its own."""

    where: str
    # in the order of the file, each once, as its first task has it
    pairs: tuple[Pair, ...]
    tasks: tuple[Pair, ...]  # [T]
    # train_x [T, N, F], train_y [T, N] ...; label 1 is the first class of the task's pair
    arrays: Mapping[str, np.ndarray]

    repeats = False

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        # too few to search on, or the paper's held-out ones, whose file is for the report alone
        if len(self.pairs) < 3 or set(map(frozenset, self.pairs)) == set(
            map(frozenset, PAPER_TEST)
        ):
            return {"search": (), "select": (), "test": tuple(sorted(self.pairs))}
        return divide(self.pairs, share=4)

    def held(self, group: str) -> Part:
        return "test" if group == "test" else "valid"

    def variants(self, pair: Pair) -> int:
        return len(self._places(pair))

    def count(self, pair: Pair, part: Part) -> int:
        return self.arrays[f"{part}_x"].shape[1]

    def check(self, features: int) -> None:
        own = self.arrays["train_x"].shape[2]
        if features != own:
            raise InputError(
                f"features: {features}: the ready tasks in {self.where} have {own} features; set "
                f"{own}"
            )

    def name(self, pair: Pair, variant: int, projection: int) -> str:
        return f"{pair[0]}-{pair[1]}/{self.arrays['seed'][self._places(pair)[variant]]}"

    def examples(
        self, pair: Pair, variant: int, part: Part, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        place = self._places(pair)[variant]
        chosen = rng.permutation(self.count(pair, part))[:size]
        y = self.arrays[f"{part}_y"][place, chosen].astype(np.float64)
        return self.arrays[f"{part}_x"][place, chosen], y if pair == self.tasks[place] else 1 - y

    def features(
        self, train: np.ndarray, valid: np.ndarray, projection: int, features: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return train.astype(np.float64), valid.astype(np.float64)

    def _places(self, pair: Pair) -> list[int]:
        """Of its tasks, either way round."""
        return [at for at, each in enumerate(self.tasks) if set(each) == set(pair)]


def divide(
    pairs: Sequence[Pair], test: Collection[Pair] = (), share: int = 5
) -> dict[str, tuple[Pair, ...]]:
    """One part in `share` of the pairs, but at least a pair, is test (unless given) and as many
    selection; the rest is search.
    """
    part = max(1, len(pairs) // share)
    rest = [pair for pair in pairs if pair not in test]
    order = [rest[place] for place in np.random.default_rng(FIXED).permutation(len(rest))]
    test, order = (test, order) if test else (order[:part], order[part:])
    return {
        "search": tuple(sorted(order[part:])),
        "select": tuple(sorted(order[:part])),
        "test": tuple(sorted(test)),
    }


def own_images() -> Images:
    """scikit-learn's 1797 digits of 8 x 8 pixels. Raises InputError."""
    return images("scikit-learn's digits", *digits())


def read(path: Path) -> Source:
    """Images or ready tasks from an .npz. Raises InputError for every file that is neither."""
    if path.suffix.lower() in TABLES:
        raise InputError(
            f"{path}: a table, and this task takes images or ready tasks from an .npz; of a table: "
            "--task examples"
        )
    arrays = read_arrays(path)
    if set(IMAGES) <= set(arrays):
        return images(str(path), arrays["images"], arrays["labels"])
    if set(READY) <= set(arrays):
        return ready(str(path), arrays)
    wanted = IMAGES if not set(READY) & set(arrays) or set(IMAGES) & set(arrays) else READY
    raise InputError(
        f"{path}: no array {listed([name for name in wanted if name not in arrays])}; {RIGHT}"
    )


def read_arrays(
    path: Path, wanted: Sequence[str] = (*IMAGES, *READY), right: str = RIGHT
) -> dict[str, np.ndarray]:
    """Those wanted arrays that an .npz has.

    `right` ends the message where it is none. Raises InputError.
    """
    try:
        with plain_file(path).open("rb") as stream:
            if is_zipfile(stream):
                with ZipFile(stream) as archive:
                    names = {f"{name}.npy" for name in wanted}
                    infos = [each for each in archive.infolist() if each.filename in names]
                    check_unpacked(path, sum(each.file_size for each in infos))
            stream.seek(0)
            loaded = np.load(stream, allow_pickle=False)
            found = (
                {}
                if isinstance(loaded, np.ndarray)
                else {name: loaded[name] for name in wanted if name in loaded.files}
            )
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: needs more memory than there is; {right}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(
            f"{path}: {(error.strerror or 'damaged').lower()}; give an .npz: {right}"
        ) from None
    except Exception:
        raise InputError(f"{path}: damaged, or not an .npz of plain arrays; {right}") from None
    if isinstance(loaded, np.ndarray) or not all(
        isinstance(array, np.ndarray) for array in found.values()
    ):
        raise InputError(f"{path}: damaged, or not an .npz of plain arrays; {right}")
    return found


def images(where: str, pixels: np.ndarray, labels: np.ndarray) -> Images:
    """Check images and labels, and split each class into 80 % train, 10 % valid and 10 % test; of
    two classes, which are one pair for all groups, 10 % of train are for selection.
    """
    if pixels.ndim not in (2, 3, 4) or pixels.dtype.kind not in "buif" or not pixels.size:
        raise InputError(
            f"{where}: images: {shown(pixels)}; they must be numbers of shape [n, h, w], [n, h, w, "
            "c] or [n, d]"
        )
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"{where}: labels: {shown(labels)}; they must be integers of shape [{len(pixels)}], "
            "one an image"
        )
    finite(where, "images", pixels)
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"{where}: labels: classes are {listed(classes)}; there must be 2 or more")
    if counts.min() < SMALLEST:
        label, count = classes[counts.argmin()], counts.min()
        raise InputError(
            f"{where}: labels: class {label} has {count} images; {SMALLEST} are needed, to train, "
            "validate and test"
        )
    members: dict[int, dict[Part, np.ndarray]] = {}
    parts = PARTS if len(classes) > 2 else ONE_PAIR
    for place, label in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.random.default_rng([FIXED, place]).permutation(len(rows))]
        tenth = len(rows) // 10
        ends = [len(rows) - tenth * held for held in range(len(parts) - 1, 0, -1)]
        members[int(label)] = dict(zip(parts, np.split(rows, ends), strict=True))
    return Images(where, pixels.reshape(len(pixels), -1), members)


def ready(where: str, arrays: Mapping[str, np.ndarray]) -> Ready:
    """Check ready tasks."""
    tasks, _, features = shape = (
        arrays["train_x"].shape if arrays["train_x"].ndim == 3 else (0, 0, 0)
    )
    if not all(shape):
        raise InputError(
            f"{where}: train_x: {shown(arrays['train_x'])}; it must be [tasks, examples, features]"
        )
    for name in ("pos", "neg", "seed"):
        if arrays[name].shape != (tasks,) or arrays[name].dtype.kind not in "iu":
            raise InputError(
                f"{where}: {name}: {shown(arrays[name])}; they must be integers of shape "
                f"[{tasks}], one a task"
            )
    for part in PARTS:
        x, y = arrays[f"{part}_x"], arrays[f"{part}_y"]
        if (
            x.ndim != 3
            or x.shape[::2] != (tasks, features)
            or x.dtype.kind not in "buif"
            or not x.size
        ):
            raise InputError(
                f"{where}: {part}_x: {shown(x)}; they must be numbers of shape [{tasks}, examples, "
                f"{features}]"
            )
        if y.shape != x.shape[:2] or y.dtype.kind not in "buif" or not np.isin(y, (0, 1)).all():
            raise InputError(
                f"{where}: {part}_y: {shown(y)}; they must be 0 or 1, of shape [{tasks}, "
                f"{x.shape[1]}]"
            )
        if len(one := np.flatnonzero(y.min(axis=1) == y.max(axis=1))):
            raise InputError(
                f"{where}: {part}_y: task {one[0]} has one class only; there must be examples of "
                "both"
            )
        finite(where, f"{part}_x", x)
    owner: dict[tuple[frozenset[int], int], int] = {}
    pairs: dict[frozenset[int], Pair] = {}
    tasks_pairs = tuple(zip(arrays["pos"].tolist(), arrays["neg"].tolist(), strict=True))
    for index, (pair, seed) in enumerate(zip(tasks_pairs, arrays["seed"].tolist(), strict=True)):
        if pair[0] == pair[1]:
            raise InputError(
                f"{where}: pos, neg: task {index} is {pair[0]}-{pair[1]}; a task must be of two "
                "classes"
            )
        first = owner.setdefault((frozenset(pair), seed), index)
        if first != index:
            raise InputError(
                f"{where}: pos, neg, seed: task {index} is {pair[0]}-{pair[1]}/{seed}, as task "
                f"{first} is; tasks of one pair must have seeds of their own"
            )
        pairs.setdefault(frozenset(pair), pair)
    return Ready(where, tuple(pairs.values()), tasks_pairs, arrays)


def finite(where: str, name: str, array: np.ndarray, most: float = HUGE) -> None:
    """Raise InputError unless all values are finite and at most `most` in size."""
    if array.dtype.kind == "f" and not float(np.abs(array).max()) <= most:  # a NaN is not
        raise InputError(
            f"{where}: {name}: NaN, infinity or a value beyond {most:g} in it; all must be finite"
        )


def shown(array: np.ndarray) -> str:
    """Type and shape, for messages."""
    return f"{array.dtype} of shape {list(array.shape)}"


def listed(words: Iterable[object]) -> str:
    """With commas, for messages."""
    return ", ".join(map(str, words))
