"""What tasks of images share: stratified parts, fewer or smaller images as proxies, and one
normalisation.

The parts depend on `split_seed` alone, so that runs of different seeds are measured on the same
test part, which no search sees. Mean and deviation are those of the search's training part; the
final test, which trains on training and validation part together, keeps them, so that a network
meets the same numbers in both.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import Field

from evoml.contracts.objective import ACCURACY
from evoml.contracts.task import ImageSet, Task
from evoml.core.digests import digest
from evoml.core.errors import InputError
from evoml.core.settings import Settings
from evoml.tasks._image_files import Parts, Pictures, fit, unit

LARGEST = 2**30  # numbers in one set, 4 GiB
BASELINE_IMAGES = 5000  # that the baselines learn from, so that they take seconds
BASELINE_ROUNDS = 30  # of the logistic regression's solver; more were slower and no better


class ImageSettings(Settings):
    """How the images are divided, and how many and how large the search sees them."""

    valid: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of the images outside the test part that the fitness is measured on",
    )
    test: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="share of the images that are the test part; not used where one is given",
    )
    split_seed: int = Field(
        default=0,
        ge=0,
        lt=2**63,
        description="of the division; apart from the run's seed, so that runs share a test part",
    )
    examples: int = Field(
        default=0,
        ge=0,
        description="at most so many images to train and validate with, by class; 0: all. The test "
        "part stays whole",
    )
    size: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="height and width to make the images smaller to, by area averaging; 0: as they "
        "are",
    )


@dataclass(frozen=True, eq=False)
class Division:
    """Rows of the images in each part."""

    train: np.ndarray  # [N] int64
    valid: np.ndarray  # [M] int64
    test: np.ndarray  # [t] int64, empty where the test part is given


class ImageTask(Task):
    """One set of images in three parts.

    Search and selection use training and validation part; the test part is for the final test.
    """

    kind = "images"
    objective = ACCURACY
    scaling = (
        "Pixels were in 0..1 (bytes over 255), channels first, less the mean and over the "
        "deviation of their channel in the training part."
    )

    def __init__(self, settings: ImageSettings, parts: Parts, seed: int) -> None:
        """Divide the images.

        `seed` changes nothing. Raises InputError for a class with too few images for the parts.
        """
        self.settings, self.seed = settings, seed
        self._images, given = parts
        self._given = None if given is None else fit(self._images, given)
        self._division = divide(self._images, settings, self._given is not None)
        division = self._division
        tests = len(division.test) if self._given is None else len(self._given.labels)
        numbers = self._images.pixels[0].size * max(
            len(division.train) + len(division.valid), tests
        )
        if numbers > LARGEST:
            raise InputError(
                f"{self._images.where}: {numbers} numbers in a part; at most {LARGEST} (4 GiB): "
                "set task.size, or task.examples to have fewer images"
            )

    def search(self, experiment: int = 0) -> ImageSet:
        """Training and validation part; the same in every experiment, and one object, so that it is
        in memory once.
        """
        return self._search

    def select(self) -> ImageSet:
        """What `search` gives."""
        return self._search

    def test(self) -> ImageSet:
        """Training and validation part together to train on, and the test part, which the search
        never sees, to measure on.
        """
        images, division = self._images, self._division
        together = np.concatenate([division.train, division.valid])
        held, rows = (
            (images, division.test)
            if self._given is None
            else (self._given, np.arange(len(self._given.labels)))
        )
        return self._set(images, together, held, rows)

    @property
    def fingerprint(self) -> str:
        """A hash of all pixels and labels, the test part's too: equal for equal data, from wherever
        it was read.
        """
        held = [self._images] if self._given is None else [self._images, self._given]
        words = [
            f"{part.pixels.shape} {part.classes} {digest(part.pixels.tobytes())} "
            f"{digest(part.labels.tobytes())}"
            for part in held
        ]
        return digest("\n".join(words).encode())

    @cached_property
    def _search(self) -> ImageSet:
        return self._set(self._images, self._division.train, self._images, self._division.valid)

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return moments(self._images.pixels, self._division.train)

    def _set(
        self, train: Pictures, rows: np.ndarray, valid: Pictures, valid_rows: np.ndarray
    ) -> ImageSet:
        mean, deviation = self._moments
        train_x, valid_x = (
            normalised(part.pixels, which, mean, deviation)
            for part, which in ((train, rows), (valid, valid_rows))
        )
        return ImageSet(
            train_x,
            train.labels[rows],
            valid_x,
            valid.labels[valid_rows],
            train.classes,
            mean,
            deviation,
            train.pixels_are_bytes,
            None if train.pixels_are_bytes else ends(train.pixels, rows),
        )


def divide(images: Pictures, settings: ImageSettings, tested: bool) -> Division:
    """The parts by class, each in an order of its own.

    `tested`: a test part is given. Raises InputError.
    """
    least = 2 if tested else 3
    counts = images.counts
    if len(counts) < 2:
        raise InputError(
            f"{images.where}: one class only ({images.classes[0]}); there must be 2 or more"
        )
    if counts.min() < least:
        purpose = "train and validate" if tested else "train, validate and test"
        raise InputError(
            f"{images.where}: class {images.classes[counts.argmin()]} has {_images(counts.min())}; "
            f"{least} are needed, to {purpose}"
        )
    if 0 < settings.examples < 2 * len(counts):
        raise InputError(
            f"examples: {settings.examples}: there are {len(counts)} classes; give "
            f"{2 * len(counts)} or more, 2 a class, or 0 for all"
        )
    tests = (
        np.zeros_like(counts)
        if tested
        else np.array([_share(n, settings.test, n - 2) for n in counts])
    )
    kept = quotas(counts - tests, settings.examples or int(counts.sum()), 2)
    pieces = []
    for place, (test, keep) in enumerate(zip(tests, kept, strict=True)):
        rows = np.random.default_rng([settings.split_seed, place]).permutation(
            np.flatnonzero(images.labels == place)
        )
        valid = _share(keep, settings.valid, keep - 1)
        pieces.append(np.split(rows, [test, test + keep - valid, test + keep])[:3])
    # Classes are mixed, so that the first images of a part are a fair sample of it; the test part
    # first, as it must not depend on `examples`.
    mix = np.random.default_rng([settings.split_seed, len(counts)])
    test_rows, train_rows, valid_rows = (
        mix.permutation(np.concatenate(part)) for part in zip(*pieces, strict=True)
    )
    return Division(train_rows, valid_rows, test_rows)


def _share(count: int, share: float, most: int) -> int:
    """A share of `count`, rounded, but at least 1 and at most `most`."""
    return max(1, min(int(most), int(count * share + 0.5)))


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def quotas(counts: np.ndarray, total: int, least: int) -> np.ndarray:
    """[K]: at most `total` images divided among classes as `counts` are, by largest remainders,
    with `least` of each or all it has.
    """
    least_each = np.minimum(counts, least)
    shares = counts * min(1.0, total / counts.sum())
    out = np.maximum(np.floor(shares + 1e-9).astype(np.int64), least_each)
    total = max(min(total, int(counts.sum())), int(least_each.sum()))
    while out.sum() < total:
        out[np.argmax(np.where(out < counts, shares - out, -np.inf))] += 1
    while out.sum() > total:
        out[np.argmax(np.where(out > least_each, out - shares, -np.inf))] -= 1
    return out


def moments(pixels: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation [C] float64 of some images' channels; a constant channel has deviation
    1.
    """
    # the sums are of 8 bytes, so a block at a time
    blocks = [rows[first : first + 1024] for first in range(0, len(rows), 1024)]
    count = len(rows) * pixels.shape[1] * pixels.shape[2]
    mean = (
        sum(unit(pixels[block]).sum(axis=(0, 1, 2), dtype=np.float64) for block in blocks) / count
    )
    squares = sum(
        ((unit(pixels[block]).astype(np.float64) - mean) ** 2).sum(axis=(0, 1, 2))
        for block in blocks
    )
    deviation = np.sqrt(squares / count)
    # below float32's precision it is constant but for rounding
    return mean, np.where(deviation <= 1e-7 * np.abs(mean), 1.0, deviation)


def ends(pixels: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Least and largest pixel of some images."""
    # a block at a time, as each is a copy
    blocks = (pixels[rows[first : first + 1024]] for first in range(0, len(rows), 1024))
    least, largest = zip(*((block.min(), block.max()) for block in blocks), strict=True)
    return float(min(least)), float(max(largest))


def normalised(
    pixels: np.ndarray, rows: np.ndarray, mean: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """Some images as [n, C, H, W] float32, less the mean and over the deviation."""
    out = np.ascontiguousarray(unit(pixels[rows]).transpose(0, 3, 1, 2))
    out -= mean.astype(np.float32)[:, None, None]
    out /= deviation.astype(np.float32)[:, None, None]
    return out


def baseline_scores(data: ImageSet) -> dict[str, float]:
    """Accuracy of two textbook methods on the flattened images of `data.valid_x`, to stand beside a
    network's.

    They learn from at most 5,000 training images. The penalty of the logistic regression is the
    better of two on a fifth of these, as without one it falls behind on images of many pixels, and
    few digits need none.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
    from sklearn.neighbors import KNeighborsClassifier

    kept = quotas(np.bincount(data.train_y, minlength=len(data.classes)), BASELINE_IMAGES, 2)
    rows = np.sort(
        np.concatenate(
            [np.flatnonzero(data.train_y == place)[:keep] for place, keep in enumerate(kept)]
        )
    )
    x, y = data.train_x[rows].reshape(len(rows), -1), data.train_y[rows]
    regression = LogisticRegression(max_iter=BASELINE_ROUNDS)
    if kept.min() > 1:  # else a class would be missing in one of the halves
        held = StratifiedShuffleSplit(1, test_size=max(len(kept), len(rows) // 5), random_state=0)
        regression = GridSearchCV(regression, {"C": [1.0, 1 / x.shape[1]]}, cv=held)
    methods = {
        "logistic regression": regression,
        "5 nearest neighbours": KNeighborsClassifier(min(5, len(rows)), algorithm="brute"),
    }
    valid_x = data.valid_x.reshape(len(data.valid_x), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its rounds are bounded on purpose
        return {
            name: float(method.fit(x, y).score(valid_x, data.valid_y))
            for name, method in methods.items()
        }
