"""Images as users have them: an .npz, a folder of images by class, or a torchvision set; checked,
as arrays of bytes.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from evoml.core.errors import InputError
from evoml.tasks._class_pairs import finite, listed, read_arrays, shown

RIGHT = "there must be images and labels"
SHAPES = "they must be bytes or floats of shape [n, h, w] or [n, h, w, c], channels last"
# not all that Pillow reads: its EPS starts another program
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
SKIPPED = ("thumbs.db", "desktop.ini")  # what Windows leaves in folders of images
# what people keep beside their images; anything else must be one, so that none is left out unsaid
BESIDE = (
    *(
        ".txt",
        ".md",
        ".rst",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".html",
        ".htm",
        ".pdf",
    ),
    *(
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".py",
        ".ipynb",
        ".sh",
        ".log",
        ".db",
        ".zip",
        ".tar",
        ".gz",
        ".npy",
        ".npz",
        ".mat",
        ".md5",
        ".sha256",
    ),
)
SETS = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "mnist": "MNIST",
    "fashionmnist": "FashionMNIST",
    "svhn": "SVHN",
}
PREFIX = "torchvision:"

LARGEST = 2**32  # bytes of one folder's images, 4 GiB
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


def read(data: Path, size: int = 0) -> Parts:
    """What `data` names, at `size` x `size` pixels (0: as they are).

    Raises InputError for everything that is no set of images.
    """
    name = str(data).removeprefix(PREFIX)
    try:
        if name != str(data) or (name.lower() in SETS and not data.exists()):
            return _torchvision(name.lower(), size)
        return _on_disk(data, size)
    except OSError as error:
        raise InputError(
            f"{data}: {error.strerror or 'cannot be read'}; give an .npz, or a folder by class"
        ) from None


def _on_disk(data: Path, size: int) -> Parts:
    if not data.exists():
        raise InputError(
            f"{data}: {'a link to nothing' if data.is_symlink() else 'no such file or folder'}; "
            "give an .npz, or a folder by class"
        )
    if data.is_dir():
        return _parts_of_folder(data, size)
    if not data.is_file():
        raise InputError(f"{data}: neither a file nor a folder; give an .npz, or a folder by class")
    return _parts_of_npz(data, size)


def fit(train: Pictures, test: Pictures) -> Pictures:
    """The test part with the labels of the training part.

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
    if missing := [name for name in train.classes if name not in test.classes]:
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


def _parts_of_npz(path: Path, size: int) -> Parts:
    arrays = read_arrays(path, ("images", "labels", "test_images", "test_labels"), RIGHT)
    wanted = (
        "images",
        "labels",
        *(
            ("test_images", "test_labels")
            if any(name.startswith("test") for name in arrays)
            else ()
        ),
    )
    if missing := [name for name in wanted if name not in arrays]:
        raise InputError(f"{path}: no array {listed(missing)}; there must be {listed(wanted)}")
    train = of_arrays(str(path), arrays, size=size)
    return train, of_arrays(str(path), arrays, "test_", size=size) if len(wanted) > 2 else None


def of_arrays(
    where: str,
    arrays: Mapping[str, np.ndarray],
    prefix: str = "",
    classes: Sequence[str] | None = None,
    size: int = 0,
) -> Pictures:
    """Check the arrays `images` [n, h, w] or [n, h, w, c] and `labels` [n].

    Classes are the labels as text, unless given by label.
    """
    pixels, labels = arrays[f"{prefix}images"], arrays[f"{prefix}labels"]
    name = f"{where}: {prefix}images"
    if pixels.ndim not in (3, 4) or pixels.dtype.kind not in "buif" or not pixels.size:
        raise InputError(f"{name}: {shown(pixels)}; {SHAPES}")
    if pixels.ndim == 4 and pixels.shape[1] in (1, 3) and pixels.shape[3] > 4:
        raise InputError(f"{name}: {shown(pixels)}, channels first; {SHAPES}")
    finite(where, f"{prefix}images", pixels, HUGE)
    if (
        pixels.dtype.kind in "ui"
        and pixels.dtype != np.uint8
        and not 0 <= pixels.min() <= pixels.max() <= 255
    ):
        raise InputError(
            f"{name}: {shown(pixels)} with values {pixels.min()}..{pixels.max()}; integers must be "
            "in 0..255"
        )
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        raise InputError(
            f"{where}: {prefix}labels: {shown(labels)}; they must be integers of shape "
            f"[{len(pixels)}], one an image"
        )
    most = MOST_LABELS if classes is None else len(classes)
    if len(wrong := np.flatnonzero((labels < 0) | (labels >= most))):
        raise InputError(
            f"{where}: {prefix}labels: {labels[wrong[0]]} at image {wrong[0]}; they must be in "
            f"0..{most - 1}"
        )
    values, places = np.unique(labels, return_inverse=True)
    pixels = pixels.reshape(*pixels.shape[:3], -1)
    pixels = pixels.astype(np.float32 if pixels.dtype.kind in "bf" else np.uint8, copy=False)
    names = tuple(str(value) if classes is None else str(classes[value]) for value in values)
    return Pictures(
        f"{where} ({prefix}images)" if prefix else where,
        resized(pixels, size, where),
        places.astype(np.int64),
        names,
        pixels.dtype == np.uint8,
    )


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


# folders


def _parts_of_folder(folder: Path, size: int) -> Parts:
    """A folder by class, or one with `train/` and `test/`, each by class."""
    below = {path.name: path for path in _entries(folder) if path.is_dir()}
    if not {"train", "test"} <= set(below) or not all(
        any(path.is_dir() for path in _entries(below[part])) for part in ("train", "test")
    ):
        return _by_class(folder, size), None
    if other := sorted(set(below) - {"train", "test"}):
        raise InputError(
            f"{below[other[0]]}: beside train and test; there must be no third folder, as the "
            "search divides train itself"
        )
    return _by_class(below["train"], size), _by_class(below["test"], size)


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, by name, without hidden files."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror or 'cannot be read'}") from None
    out = [
        folder / name for name in names if not name.startswith(".") and name.lower() not in SKIPPED
    ]
    for path in out:
        if path.is_symlink() and not path.exists():
            raise InputError(
                f"{path}: a link to nothing; there must be an image, or a folder of a class"
            )
    return out


def _by_class(folder: Path, size: int) -> Pictures:
    classes = [path for path in _entries(folder) if path.is_dir()]
    if not classes:
        raise InputError(f"{folder}: no folders in it; there must be one a class, with its images")
    files = [
        (path, place)
        for place, each in enumerate(classes)
        for path in _entries(each)
        if path.is_dir() or path.suffix.lower() not in BESIDE
    ]
    for path, _ in files:
        if not path.is_file():
            raise InputError(f"{path}: not a file; a folder of a class must have images only")
    labels = np.array([place for _, place in files], dtype=np.int64)
    for each, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True):
        if not count:
            raise InputError(f"{each}: no images in it; there must be some of every class")
    return Pictures(
        str(folder),
        _decoded([path for path, _ in files], size),
        labels,
        tuple(path.name for path in classes),
        True,
    )


def _decoded(files: Sequence[Path], size: int) -> np.ndarray:
    """Image files as [n, H, W, C]; all must be grey or all colour, and of one size."""
    pillow = _pillow()
    first = _decode(pillow, files[0])
    block = resized(first[None], size, str(files[0]))
    if len(files) * block.nbytes > LARGEST:
        raise InputError(
            f"{files[0].parent}: {len(files)} {_sizes(block)} are more than 4 GiB; set task.size "
            "to make them smaller"
        )
    out = np.empty((len(files), *block.shape[1:]), dtype=block.dtype)
    out[0] = block[0]
    for place, path in enumerate(files[1:], start=1):
        out[place] = resized(_decode(pillow, path, files[0], first.shape)[None], size, str(path))[0]
    return out


def _decode(
    pillow: ModuleType, path: Path, first: Path | None = None, shape: tuple[int, ...] = ()
) -> np.ndarray:
    """One image [H, W, 1 or 3] uint8, turned as its camera says.

    Raises InputError where it is broken or not like the first.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            with pillow.Image.open(path, formats=FORMATS) as image:
                upright = pillow.ImageOps.exif_transpose(_plain(path, image))
                array = np.array(upright.convert("L" if image.mode in GREY else "RGB"))
    except InputError:
        raise
    except (pillow.Image.DecompressionBombWarning, pillow.Image.DecompressionBombError):
        raise InputError(
            f"{path}: more than {pillow.Image.MAX_IMAGE_PIXELS} pixels; images must be smaller"
        ) from None
    except Exception:
        raise InputError(
            f"{path}: damaged, or not an image; it must be one of {listed(FORMATS)}"
        ) from None
    array = array.reshape(*array.shape[:2], -1)
    if first is not None and array.shape[:2] != shape[:2]:
        (height, width), (h, w) = array.shape[:2], shape[:2]
        raise InputError(
            f"{path}: {width} x {height} pixels, and {first} has {w} x {h}; all must be of one size"
        )
    if first is not None and array.shape != shape:
        kinds = {1: "grey", 3: "in colour"}
        raise InputError(
            f"{path}: {kinds[array.shape[2]]}, and {first} is {kinds[shape[2]]}; all must be grey, "
            "or all in colour"
        )
    return array


def _plain(path: Path, image: Any) -> Any:
    """The image, unless something would be lost in making it grey or colour."""
    if image.mode not in (*GREY, *COLOUR):
        raise InputError(
            f"{path}: mode {image.mode}; images must have 8 bits a channel, grey or colour"
        )
    # phones put a small copy beside a JPEG
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{path}: {image.n_frames} frames; there must be one image in a file")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise InputError(f"{path}: transparent in places; images must be opaque")
    return image


def _pillow() -> ModuleType:
    try:
        import_module("PIL.ImageOps")
        return import_module("PIL")
    except ImportError:
        raise InputError(
            "data: a folder of images needs Pillow, which is not installed (pip install pillow); "
            "or give an .npz"
        ) from None


# torchvision


def _torchvision(name: str, size: int) -> Parts:
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
        _torchvision_part(getattr(sets, SETS[name]), name, part, size) for part in (True, False)
    )
    return train, test


def _torchvision_part(kind: Any, name: str, train: bool, size: int) -> Pictures:
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
        "",
        getattr(loaded, "classes", None),
        size,
    )
