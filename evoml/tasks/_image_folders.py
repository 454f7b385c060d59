"""Folders of images by class, as users have them: read with Pillow, made alike where that is asked
for; and all that is odd among them counted at once.
"""

import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from evoml.core.errors import InputError
from evoml.tasks._class_pairs import listed
from evoml.tasks._image_files import Parts, Pictures, Reading, resized

LARGEST = 2**32  # bytes of one folder's images, 4 GiB
NAMED = 3  # odd files of a kind that are named
# not all that Pillow reads: its EPS starts another program
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
GREY, COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
DEEP = ("I;16", "I;16B", "I;16L")  # 16 bits of grey
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


def parts_of_folder(folder: Path, how: Reading) -> Parts:
    """A folder by class, or one with `train/` and `test/`, each by class."""
    below = {path.name: path for path in _entries(folder) if path.is_dir()}
    if not {"train", "test"} <= set(below) or not all(
        any(path.is_dir() for path in _entries(below[part])) for part in ("train", "test")
    ):
        return _by_class(folder, how), None
    if other := sorted(set(below) - {"train", "test"}):
        raise InputError(
            f"{below[other[0]]}: beside train and test; there must be no third folder, as the "
            "search divides train itself"
        )
    return _by_class(below["train"], how), _by_class(below["test"], how)


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


def _by_class(folder: Path, how: Reading) -> Pictures:
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
        _decoded(folder, [path for path, _ in files], how),
        labels,
        tuple(path.name for path in classes),
        True,
    )


@dataclass(frozen=True)
class _Header:
    """What is known of an image before it is decoded, or why it cannot be taken."""

    width: int = 0
    height: int = 0
    grey: bool = True
    problem: str = ""  # empty: none
    transparent: bool = False

    @property
    def about(self) -> str:
        return f"{self.width} x {self.height}, {'grey' if self.grey else 'in colour'}"


def _decoded(folder: Path, files: Sequence[Path], how: Reading) -> np.ndarray:
    """Image files as [n, H, W, C]: all alike, or made alike as the settings say.

    Raises InputError, which counts the odd ones.
    """
    pillow = _pillow()
    headers = [_header(pillow, path, how) for path in files]
    _check(folder, files, headers, how)
    grey = how.colour == "grey" or (how.colour == "refuse" and headers[0].grey)
    first = _decode(pillow, files[0], grey, how)
    block = resized(first[None], how.size, str(files[0]))
    if len(files) * block.nbytes > LARGEST:
        raise InputError(
            f"{folder}: {len(files)} images of {block.shape[2]} x {block.shape[1]} are more than "
            "4 GiB; set task.size to make them smaller"
        )
    out = np.empty((len(files), *block.shape[1:]), dtype=block.dtype)
    broken = []
    for place, path in enumerate(files):
        try:
            out[place] = resized(_decode(pillow, path, grey, how)[None], how.size, str(path))[0]
        except InputError as error:
            broken.append(str(error))
    if broken:
        more = f"; and {len(broken) - 1} more such files" * (len(broken) > 1)
        raise InputError(broken[0] + more)
    return out


def _check(folder: Path, files: Sequence[Path], headers: list[_Header], how: Reading) -> None:
    """Raise InputError where files are not alike, or cannot be taken."""
    good = [each for each in headers if not each.problem]
    problems: dict[str, list[Path]] = {}
    for path, each in zip(files, headers, strict=True):
        if each.problem:
            problems.setdefault(each.problem, []).append(path)
    said = [_said(text, paths) for text, paths in problems.items()]
    if how.resize == "refuse" and good:
        sizes = Counter((each.width, each.height) for each in good)
        ((size, usual),) = sizes.most_common(1)
        odd = [
            path
            for path, each in zip(files, headers, strict=True)
            if not each.problem and (each.width, each.height) != size
        ]
        remedy = "task.resize with task.size makes them alike"
        if odd and 2 * usual > len(good):
            among = next(e for p, e in zip(files, headers, strict=True) if p == odd[0])
            said.append(
                _said(f"of another size than {size[0]} x {size[1]} pixels", odd)
                + f" ({among.width} x {among.height}; {remedy})"
            )
        elif odd:
            least, most = (
                " x ".join(str(pick(side)) for side in zip(*sizes, strict=True))
                for pick in (min, max)
            )
            said.append(
                f"{len(good):,} of {len(sizes):,} sizes, between {least} and {most} pixels "
                f"({remedy})"
            )
    if how.colour == "refuse" and good:
        ((grey, _),) = Counter(each.grey for each in good).most_common(1)
        odd = [
            path
            for path, each in zip(files, headers, strict=True)
            if not each.problem and each.grey != grey
        ]
        if odd:
            kinds = {True: "grey", False: "in colour"}
            said.append(
                _said(f"{kinds[not grey]} where the others are {kinds[grey]}", odd)
                + " (task.colour makes them alike)"
            )
    if said:
        count = sum(bool(each.problem) for each in headers)
        raise InputError(
            f"{folder}: of {len(files):,} images, {'; '.join(said)}"
            + ("; each must be an image that can be read" if count else "")
        )


def _said(what: str, paths: list[Path]) -> str:
    return f"{len(paths):,} {what}, such as {listed([str(path) for path in paths[:NAMED]])}"


def _header(pillow: ModuleType, path: Path, how: Reading) -> _Header:
    """What a file says of itself, turned as its camera says."""
    if not path.is_file():
        return _Header(problem="no file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.Image.DecompressionBombWarning)
            with pillow.Image.open(path, formats=FORMATS) as image:
                problem = _problem(image, how)
                turned = image.getexif().get(0x0112, 1) >= 5  # a quarter turn
                width, height = image.size[::-1] if turned else image.size
                return _Header(width, height, image.mode in (*GREY, *DEEP), problem)
    except (pillow.Image.DecompressionBombWarning, pillow.Image.DecompressionBombError):
        return _Header(problem=f"of more than {pillow.Image.MAX_IMAGE_PIXELS:,} pixels")
    except Exception:
        return _Header(problem=f"damaged, or none of {listed(FORMATS)}")


def _problem(image: Any, how: Reading) -> str:
    """Why an image cannot be taken without losing something; empty where it can."""
    if image.mode not in (*GREY, *COLOUR) and not (image.mode in DEEP and how.colour != "refuse"):
        deep = "; task.colour takes 8 of their 16 bits" * (image.mode in DEEP)
        return f"of mode {image.mode}, which has not 8 bits a channel, grey or colour{deep}"
    # phones put a small copy beside a JPEG
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        return "of several frames, which must be one image a file"
    if (
        how.colour == "refuse"
        and image.has_transparency_data
        and image.convert("RGBA").getchannel("A").getextrema()[0] < 255
    ):
        return "transparent in places; task.colour lays them on white"
    return ""


def _decode(pillow: ModuleType, path: Path, grey: bool, how: Reading) -> np.ndarray:
    """One image [H, W, 1 or 3] uint8, turned as its camera says, transparent parts on white, made
    square of `size` where images are to be made alike. Raises InputError where it is broken.
    """
    try:
        with pillow.Image.open(path, formats=FORMATS) as opened:
            image = pillow.ImageOps.exif_transpose(opened)
            if image.mode in DEEP:
                image = pillow.Image.fromarray((np.array(image) // 257).astype(np.uint8))
            if image.has_transparency_data:
                seen = image.convert("RGBA")
                image = pillow.Image.new("RGBA", seen.size, "white")
                image.alpha_composite(seen)
            image = image.convert("L" if grey else "RGB")
            if how.resize != "refuse":
                image = _square(pillow, image, how)
            array = np.array(image)
    except Exception:
        raise InputError(
            f"{path}: damaged, or not an image; it must be one of {listed(FORMATS)}"
        ) from None
    return array.reshape(*array.shape[:2], -1)


def _square(pillow: ModuleType, image: Any, how: Reading) -> Any:
    """An image of `size` x `size`."""
    size, bilinear = (how.size, how.size), pillow.Image.Resampling.BILINEAR
    if how.resize == "crop":
        return pillow.ImageOps.fit(image, size, bilinear)
    if how.resize == "pad":
        return pillow.ImageOps.pad(image, size, bilinear)
    return image.resize(size, bilinear)


def _pillow() -> ModuleType:
    try:
        import_module("PIL.ImageOps")
        return import_module("PIL")
    except ImportError:
        raise InputError(
            "data: a folder of images needs Pillow, which is not installed (pip install pillow); "
            "or give an .npz"
        ) from None
