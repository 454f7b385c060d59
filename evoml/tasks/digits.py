"""Handwritten digits: scikit-learn's 1797 images of 8 x 8 pixels, which need no data.

The test part of E. Alpaydin and C. Kaynak's "Optical Recognition of Handwritten Digits" (UCI,
1998). Pixels count the ink in 4 x 4 fields of a bitmap, so they are over 16 and not over 255. The
division is seeded by `split_seed` and not by the run's seed.
"""

from pathlib import Path

import numpy as np

from evoml.core.errors import InputError
from evoml.tasks._digits import digits
from evoml.tasks._image_files import Pictures, resized
from evoml.tasks._image_splits import ImageSettings, ImageTask


class Settings(ImageSettings):
    """All images at 8 x 8; a fifth of them test, a fifth of the rest validation."""


class DigitsTask(ImageTask):
    """Digits to classify."""

    with_data = "images"  # what takes its place where data is given and no task is named

    takes_data = False
    scaling = (
        "Pixels were in 0..1 (0..16 over 16), channels first, less the mean and over the deviation "
        "of their channel in the training part."
    )

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Raises InputError if `data` is given."""
        if data is not None:
            raise InputError(
                f"data: {data}: this task has its images; leave it out, or take the task images"
            )
        raw, labels = digits()
        pixels = resized((raw[..., None] / 16).astype(np.float32), settings.size, "digits")
        images = Pictures("digits", pixels, labels, tuple("0123456789"), False)
        super().__init__(settings, (images, None), seed)
