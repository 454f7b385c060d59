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
Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")

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
        """The automatic division of the pairs: search, select, test."""

    def count(self, pair: Pair, part: Part) -> int:
        """How many examples a part of a pair holds."""

    def distinct(self, pairs: int) -> int | None:
        """How many different tasks so many pairs give at most; None is any number."""

    def check(self, features: int) -> None:
        """Raise InputError if the source cannot give F features."""

    def name(self, pair: Pair, projection: int) -> str:
        """The name of a task: its pair and its projection seed, such as 3-8/17."""

    def examples(
        self, pair: Pair, part: Part, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """`size` examples of a part, shuffled: raw x [size, any], y [size] (1 is the pair's first
        class).
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

    def examples(
        self, pair: Pair, part: Part, rng: np.random.Generator, size: int
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
    """Tasks that were projected before, one a pair."""

    where: str
    pairs: tuple[Pair, ...]
    # train_x [T, N, F], train_y [T, N] ...; label 1 is the first class of the task's pair
    arrays: Mapping[str, np.ndarray]

    def divide(self) -> dict[str, tuple[Pair, ...]]:
        return divide(self.pairs, share=4)

    def count(self, pair: Pair, part: Part) -> int:
        return self.arrays[f"{part}_x"].shape[1]

    def distinct(self, pairs: int) -> int | None:
        return pairs

    def check(self, features: int) -> None:
        own = self.arrays["train_x"].shape[2]
        if features != own:
            raise InputError(
                f"features: {features}: the ready tasks in {self.where} have {own} features; set "
                f"{own}"
            )

    def name(self, pair: Pair, projection: int) -> str:
        return f"{pair[0]}-{pair[1]}/{self.arrays['seed'][self._index(pair)]}"

    def examples(
        self, pair: Pair, part: Part, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        index = self._index(pair)
        chosen = rng.permutation(self.count(pair, part))[:size]
        y = self.arrays[f"{part}_y"][index, chosen].astype(np.float64)
        return self.arrays[f"{part}_x"][index, chosen], y if pair == self.pairs[index] else 1 - y

    def features(
        self, train: np.ndarray, valid: np.ndarray, projection: int, features: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return train.astype(np.float64), valid.astype(np.float64)

    def _index(self, pair: Pair) -> int:
        return self.pairs.index(pair) if pair in self.pairs else self.pairs.index(pair[::-1])


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
    """Check images and labels, and split each class into 80 % train, 10 % valid and 10 % test."""
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
    if len(classes) < 3:
        raise InputError(
            f"{where}: labels: classes are {listed(classes)}; there must be 3 or more, so that "
            "search, selection and test have pairs of their own"
        )
    if counts.min() < SMALLEST:
        label, count = classes[counts.argmin()], counts.min()
        raise InputError(
            f"{where}: labels: class {label} has {count} images; {SMALLEST} are needed, to train, "
            "validate and test"
        )
    members = {}
    for place, label in enumerate(classes):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.random.default_rng([FIXED, place]).permutation(len(rows))]
        tenth = len(rows) // 10
        members[int(label)] = dict(
            zip(PARTS, np.split(rows, [len(rows) - 2 * tenth, len(rows) - tenth]), strict=True)
        )
    return Images(where, pixels.reshape(len(pixels), -1), members)


def ready(where: str, arrays: Mapping[str, np.ndarray]) -> Ready:
    """Check ready tasks."""
    tasks, _, features = shape = (
        arrays["train_x"].shape if arrays["train_x"].ndim == 3 else (0, 0, 0)
    )
    if tasks < 3 or not all(shape):
        raise InputError(
            f"{where}: train_x: {shown(arrays['train_x'])}; it must be [tasks, examples, features] "
            "with 3 tasks or more"
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
    pairs = tuple(zip(arrays["pos"].tolist(), arrays["neg"].tolist(), strict=True))
    for index, pair in enumerate(pairs):
        if len(set(pair)) < 2 or set(pair) in map(set, pairs[:index]):
            raise InputError(
                f"{where}: pos, neg: task {index} is {pair[0]}-{pair[1]}; every task must have a "
                "pair of its own, of two classes"
            )
    return Ready(where, pairs, arrays)


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
