"""Image classification on your own data: an .npz, a folder of images by class, or a torchvision
set.

`data` is one of these.

An .npz has `images` [n, h, w] or [n, h, w, c] of bytes or floats and integer `labels` [n], and may
have `test_images` and `test_labels`. Keras' names (`x_train`, `y_train`, `x_test`, `y_test`) and
MedMNIST's (`train_images`, `val_images`, `test_images` and their labels; training and validation
part are divided anew) will do; labels may be [n, 1], one-hot or text. A folder has a folder of
images for every class, or `train/` and `test/`, each with folders of classes; it is read with
Pillow. Hidden files, and those whose suffix says that they are no images (.txt, .md, .csv, .json,
.xml, .yaml, .html, .pdf, .py, .db, .zip and others that `_image_folders.BESIDE` lists), are passed
over; any other file must be an image, and one that is broken is refused. Images of unequal sizes,
or grey and coloured ones together, are refused, all counted at once, unless `resize` and `colour`
make them alike. A torchvision set is named: `torchvision:cifar10`, or cifar100, mnist,
fashionmnist, svhn; torchvision must be installed.

Parts are stratified by class and seeded by `split_seed`, not by the run's seed, so that all runs
share a test part. Where a test part is given, by the data or by `test_data`, it is the test part,
whole and in its order, and the rest is divided into training and validation part. All are
normalised by the channels' mean and deviation in the training part of the search, in the final test
too.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from evoml.core.errors import InputError
from evoml.core.settings import FILE
from evoml.tasks._image_files import Parts, Reading, read
from evoml.tasks._image_splits import ImageSettings, ImageTask


class Settings(ImageSettings):
    """All images as they are; a fifth of them test unless a test part is given, a fifth of the rest
    validation.
    """

    resize: Literal["refuse", "stretch", "crop", "pad"] = Field(
        default="refuse",
        description="what is done with images of a folder that are of unequal sizes, at task.size: "
        "stretched to a square, cut to their middle, or laid on black",
    )
    colour: Literal["refuse", "grey", "rgb"] = Field(
        default="refuse",
        description="what is done with grey images among coloured ones of a folder: all are made "
        "grey, or red, green and blue; transparent parts are laid on white then, and of 16 bits of "
        "grey the upper 8 are taken",
    )
    channels: Literal["auto", "first", "last"] = Field(
        default="auto",
        description="which axis of an array [n, a, b, c] has the channels; auto: the last, and "
        "what looks like the first is refused",
    )
    test_data: str = Field(
        default="",
        json_schema_extra=FILE,
        description="an .npz or folder of the test part; empty: the data's own, or a share of the "
        "data",
    )


class ImagesTask(ImageTask):
    """Images to classify."""

    example = None

    @classmethod
    def at_full_size(cls, settings: Any, final: dict[str, Any]) -> dict[str, Any]:
        """Images that are made alike keep their size: they have no other that is common."""
        made_alike = settings.resize != "refuse"
        return {key: each for key, each in final.items() if key != "size" or not made_alike}

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Read the images once.

        Raises InputError for bad data, and for settings that do not fit it.
        """
        if data is None:
            raise InputError(
                "data: task images has none of its own; give an .npz with images and labels, a "
                "folder by class, or torchvision:cifar10"
            )
        super().__init__(settings, read_parts(Path(data), settings), seed)


def read_parts(data: Path, settings: Settings) -> Parts:
    """The images of `data`, and the test part that it or `settings.test_data` gives.

    Raises InputError.
    """
    if settings.resize != "refuse" and not settings.size:
        raise InputError(
            f"task.resize: {settings.resize}: to what size? Set task.size too, such as 32"
        )
    how = Reading(settings.size, settings.resize, settings.colour, settings.channels)
    images, own = read(data, how)
    if not settings.test_data:
        return images, own
    path = Path(settings.test_data)
    if own is not None:
        raise InputError(
            f"test_data: {path}: {data} has a test part of its own; leave one of them out"
        )
    test, further = read(path, how)
    if path.exists() and path.samefile(data):
        raise InputError(f"test_data: {path}: the same as data; it must hold other images")
    if further is not None:
        raise InputError(
            f"test_data: {path}: has a training and a test part; give a file or folder of the test "
            "part alone"
        )
    return images, test
