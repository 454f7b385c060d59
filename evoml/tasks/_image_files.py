"""Images as users have them: an .npz, a folder of images by class, or a torchvision set; checked,
as arrays of bytes.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from evoml.core.errors import InputError
from evoml.tasks._class_pairs import finite, listed, read_arrays, shown

RIGHT = "there must be images and labels"
SHAPES = "they must be bytes or floats of shape [n, h, w] or [n, h, w, c], channels last"
SETS = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "mnist": "MNIST",
    "fashionmnist": "FashionMNIST",
    "svhn": "SVHN",
}
PREFIX = "torchvision:"

MOST_LABELS = 2**16
HUGE = 1e15  # pixels must leave room in float32


@dataclass(frozen=True, eq=False)
class Pictures:
    """n images of K classes."""

    where: str  # file or folder, for messages
    pixels: np.ndarray  # [n, H, W, C] uint8, or float32: those that came as bytes in 0..1
    labels: np.ndarray  # [n] int64, positions in `classes`
    classes: tuple[str, ...]  # [K]
    pixels_are_bytes: bool  # whether they came as bytes

    @property
    def counts(self) -> np.ndarray:
        """[K], images of every class."""
        return np.bincount(self.labels, minlength=len(self.classes))


Parts = tuple[Pictures, Pictures | None]  # images to divide, and the test part where there is one


@dataclass(frozen=True)
class Reading:
    """How images are read.

    size: height and width to make them, 0: as they are. resize: what is done with unequal ones,
    colour: with grey ones among coloured ones, as the settings of the task `images` say. channels:
    which axis of an array [n, a, b, c] the channels are, `first` or `last`; `auto`: the last.
    """

    size: int = 0
    resize: str = "refuse"
    colour: str = "refuse"
    channels: str = "auto"


def read(data: Path, how: Reading = Reading()) -> Parts:
    """What `data` names.

    Raises InputError for everything that is no set of images.
    """
    name = str(data).removeprefix(PREFIX)
    try:
        if name != str(data) or (name.lower() in SETS and not data.exists()):
            return _torchvision(name.lower(), how)
        return _on_disk(data, how)
    except OSError as error:
        raise InputError(
            f"{data}: {error.strerror or 'cannot be read'}; give an .npz, or a folder by class"
        ) from None


def _on_disk(data: Path, how: Reading) -> Parts:
    if not data.exists():
        raise InputError(
            f"{data}: {'a link to nothing' if data.is_symlink() else 'no such file or folder'}; "
            "give an .npz, or a folder by class"
        )
    if data.is_dir():
        from evoml.tasks._image_folders import parts_of_folder

        return parts_of_folder(data, how)
    if not data.is_file():
        raise InputError(f"{data}: neither a file nor a folder; give an .npz, or a folder by class")
    return _parts_of_npz(data, how)


def fit(train: Pictures, test: Pictures, every_class: bool = True) -> Pictures:
    """The test part, or another, with the labels of the training part. every_class: whether it must
    have images of all.

    Raises InputError where the two do not fit.
    """
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise InputError(
            f"{test.where}: {_sizes(test.pixels)}, and {train.where} has {_sizes(train.pixels)}; "
            "they must be alike"
        )
    if train.pixels_are_bytes != test.pixels_are_bytes:
        kinds = {True: "bytes", False: "floats"}
        raise InputError(
            f"{test.where}: pixels are {kinds[test.pixels_are_bytes]}, and those of {train.where} "
            f"{kinds[train.pixels_are_bytes]}; they must be alike"
        )
    if strange := [name for name in test.classes if name not in train.classes]:
        raise InputError(
            f"{test.where}: class {strange[0]} is not in {train.where}; there are "
            f"{listed(train.classes)}"
        )
    missing = [name for name in train.classes if name not in test.classes]
    if missing and every_class:
        raise InputError(
            f"{test.where}: class {missing[0]} has 0 images; 1 or more are needed, to test"
        )
    places = np.array([train.classes.index(name) for name in test.classes])
    return replace(test, labels=places[test.labels], classes=train.classes)


def _sizes(pixels: np.ndarray) -> str:
    height, width, channels = pixels.shape[1:]
    return (
        f"images of {width} x {height}, {'1 channel' if channels == 1 else f'{channels} channels'}"
    )


# arrays


# by what names arrays are known: of the images, of their labels, of a test part, of a further part
ARRAYS = (
    ("images", "labels", "test_images", "test_labels", "", ""),
    ("x_train", "y_train", "x_test", "y_test", "", ""),  # Keras
    ("train_images", "train_labels", "test_images", "test_labels", "val_images", "val_labels"),
    ("x", "y", "", "", "", ""),
    ("X", "y", "", "", "", ""),
)


def _parts_of_npz(path: Path, how: Reading) -> Parts:
    every = [name for names in ARRAYS for name in names if name]
    arrays = read_arrays(path, tuple(dict.fromkeys(every)), RIGHT)
    # the names of which most are there; without any the first
    names = max(ARRAYS, key=lambda names: sum(name in arrays for name in names[:2]))
    images, labels, test_images, test_labels, more_images, more_labels = names
    wanted = [images, labels]
    if any(name in arrays for name in (test_images, test_labels)) or (
        names is ARRAYS[0] and any(name.startswith("test") for name in arrays)
    ):
        wanted += [test_images, test_labels]
    if any(name in arrays for name in (more_images, more_labels)):
        wanted += [more_images, more_labels]
    if missing := [name for name in wanted if name not in arrays]:
        raise InputError(f"{path}: no array {listed(missing)}; there must be {listed(wanted)}")
    train = of_arrays(str(path), arrays, (images, labels), how=how)
    if more_images in wanted:
        # the search divides them itself
        more = of_arrays(str(path), arrays, (more_images, more_labels), how=how)
        more = fit(train, more, every_class=False)
        train = replace(
            train,
            pixels=np.concatenate([train.pixels, more.pixels]),
            labels=np.concatenate([train.labels, more.labels]),
        )
    test = None
    if test_images in wanted:
        test = of_arrays(str(path), arrays, (test_images, test_labels), how=how)
    return train, test


def of_arrays(
    where: str,
    arrays: Mapping[str, np.ndarray],
    names: tuple[str, str] = ("images", "labels"),
    classes: Sequence[str] | None = None,
    how: Reading = Reading(),
) -> Pictures:
    """Check the arrays of these names: images [n, h, w] or [n, h, w, c], and labels [n], [n, 1] or
    one-hot [n, K].

    Classes are the labels as text, unless given by label.
    """
    pixels, labels = arrays[names[0]], _labels(arrays[names[1]])
    name = f"{where}: {names[0]}"
    if pixels.ndim not in (3, 4) or pixels.dtype.kind not in "buif" or not pixels.size:
        raise InputError(f"{name}: {shown(pixels)}; {SHAPES}")
    if pixels.ndim == 4 and how.channels == "first":
        pixels = pixels.transpose(0, 2, 3, 1)
    elif pixels.ndim == 4 and how.channels == "auto" and pixels.shape[1] <= 4 < pixels.shape[3]:
        raise InputError(
            f"{name}: {shown(pixels)}, channels first, it seems: set task.channels=first, or last "
            f"if they are not; {SHAPES}"
        )
    finite(where, names[0], pixels, HUGE)
    if (
        pixels.dtype.kind in "ui"
        and pixels.dtype != np.uint8
        and not 0 <= pixels.min() <= pixels.max() <= 255
    ):
        raise InputError(
            f"{name}: {shown(pixels)} with values {pixels.min()}..{pixels.max()}; integers must be "
            "in 0..255; floats may be any"
        )
    if labels.shape == pixels.shape[:1] and labels.dtype.kind in "US" and classes is None:
        found, places = np.unique(labels.astype(str), return_inverse=True)
        labels, classes = places, found.tolist()
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"{where}: {names[1]}: {shown(labels)}; they must be integers of shape "
            f"[{len(pixels)}], one an image"
        )
    most = MOST_LABELS if classes is None else len(classes)
    if len(wrong := np.flatnonzero((labels < 0) | (labels >= most))):
        raise InputError(
            f"{where}: {names[1]}: {labels[wrong[0]]} at image {wrong[0]}; they must be in "
            f"0..{most - 1}"
        )
    values, places = np.unique(labels, return_inverse=True)
    pixels = pixels.reshape(*pixels.shape[:3], -1)
    pixels = pixels.astype(np.float32 if pixels.dtype.kind in "bf" else np.uint8, copy=False)
    said = tuple(str(value) if classes is None else str(classes[value]) for value in values)
    return Pictures(
        f"{where} ({names[0]})" if names[0].startswith(("test", "val", "x_test")) else where,
        resized(pixels, how.size, where),
        places.astype(np.int64),
        said,
        pixels.dtype == np.uint8,
    )


def _labels(labels: np.ndarray) -> np.ndarray:
    """Labels as [n], where they are [n, 1], one-hot or whole numbers among floats; else as they
    are.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    one_hot = labels.ndim == 2 and labels.dtype.kind in "buif" and labels.size > 0
    if one_hot and set(np.unique(labels).tolist()) <= {0, 1} and (labels.sum(1) == 1).all():
        return labels.argmax(1)
    if labels.dtype.kind == "b" or (
        labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == labels.round()).all()
    ):
        return labels.astype(np.int64)
    return labels


def resized(pixels: np.ndarray, size: int, where: str) -> np.ndarray:
    """[n, H, W, C] to `size` x `size` by area averaging, float32 and bytes over 255; as they are
    for 0 and for their own size.
    """
    if size == 0 or pixels.shape[1:3] == (size, size):
        return pixels
    if size > min(pixels.shape[1:3]):
        raise InputError(
            f"size: {size}: {where} has {_sizes(pixels)}; give at most {min(pixels.shape[1:3])}, "
            "or 0 for their own"
        )
    out = np.empty((len(pixels), size, size, pixels.shape[3]), dtype=np.float32)
    for first in range(0, len(pixels), 1024):  # a block at a time, as the sums are of 8 bytes
        block = unit(pixels[first : first + 1024]).astype(np.float64)
        out[first : first + 1024] = _averaged(_averaged(block, 1, size), 2, size)
    return out


def unit(pixels: np.ndarray) -> np.ndarray:
    """Float32; bytes in 0..1, and floats as they are."""
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels


def _averaged(block: np.ndarray, axis: int, size: int) -> np.ndarray:
    """One axis of length l averaged into `size` equal stretches of l / size, in which the pixels at
    the ends count in part.
    """
    rows = np.moveaxis(block, axis, 0)
    length = len(rows)
    out = np.zeros((size, *rows.shape[1:]))
    # in units of 1 / size pixel
    for place, (start, stop) in enumerate(pairwise(range(0, (size + 1) * length, length))):
        for row in range(start // size, -(-stop // size)):
            out[place] += rows[row] * (
                (min(stop, (row + 1) * size) - max(start, row * size)) / length
            )
    return np.moveaxis(out, 0, axis)


# torchvision


def _torchvision(name: str, how: Reading) -> Parts:
    """A set by name, with its official test part; torchvision downloads it once and checks its
    files against known hashes.
    """
    if name not in SETS:
        raise InputError(f"data: {PREFIX}{name}: no such set; there are {listed(SETS)}")
    try:
        sets = import_module("torchvision.datasets")
    except ImportError:
        raise InputError(
            f"data: {name}: needs torchvision, which is not installed (pip install torchvision); "
            "or give an .npz, or a folder by class"
        ) from None
    train, test = (
        _torchvision_part(getattr(sets, SETS[name]), name, part, how) for part in (True, False)
    )
    return train, test


def _torchvision_part(kind: Any, name: str, train: bool, how: Reading) -> Pictures:
    root = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evoml" / "torchvision"
    )
    try:
        loaded = kind(
            root,
            download=True,
            **({"split": "train" if train else "test"} if name == "svhn" else {"train": train}),
        )
    except Exception as error:
        raise InputError(
            f"data: {PREFIX}{name}: cannot be loaded to {root} "
            f"({' '.join(str(error).split())[:200]})"
        ) from None
    pixels, labels = (
        np.asarray(loaded.data),
        np.asarray(getattr(loaded, "targets", getattr(loaded, "labels", None))),
    )
    arrays = {
        "images": pixels.transpose(0, 2, 3, 1) if name == "svhn" else pixels,
        "labels": labels,
    }
    return of_arrays(
        f"{PREFIX}{name} ({'train' if train else 'test'})",
        arrays,
        classes=getattr(loaded, "classes", None),
        how=how,
    )
