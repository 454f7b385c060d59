"""Which images a step of training sees, and how they are changed: a function of the seed and the
step alone, so that a search goes on from a step's number.

Cutout: DeVries and Taylor 2017, arXiv 1708.04552. What is cut or moves in is zero, the mean.
"""

import numpy as np

_ORDER, _CHANGE = 1, 2  # what is drawn


def channels_last(images: np.ndarray) -> np.ndarray:
    """Images [N, C, H, W] as supernets take them, [N, H, W, C] float32."""
    return np.ascontiguousarray(np.asarray(images, np.float32).transpose(0, 2, 3, 1))


class Batches:
    """Batches of images, each image once an epoch, each epoch in an order of its own."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, batch: int, seed: int, *, shift: int = 0,
        flip: bool = False, cutout: int = 0,
    ) -> None:  # fmt: skip
        """x [N, C, H, W], y [N, ...]; batch: images a step, at most all.

        shift: most pixels either way along both axes; cutout: side of the square. Raises
        ValueError.
        """
        if not len(x) or len(x) != len(y) or batch < 1:
            raise ValueError(f"{len(x)} images with {len(y)} labels in batches of {batch}")
        self.x, self.y = channels_last(x), np.asarray(y)
        self.batch, self.count = min(batch, len(y)), len(y) // min(batch, len(y))
        self.shift, self.flip, self.cutout, self._seed = shift, flip, cutout, seed % 2**64
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of a step, [n, H, W, C], and their labels, [n]."""
        epoch, place = divmod(step, self.count)
        if epoch != self._epoch:
            self._order = np.random.default_rng((self._seed, _ORDER, epoch)).permutation(
                len(self.y)
            )
            self._epoch = epoch
        which = self._order[place * self.batch : (place + 1) * self.batch]
        x = self.x[which]
        if self.shift or self.flip or self.cutout:
            x = self._changed(x, np.random.default_rng((self._seed, _CHANGE, step)))
        return x, self.y[which]

    def _changed(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count, height, width, _ = x.shape
        rows, columns = (
            np.arange(side) + rng.integers(-self.shift, self.shift + 1, (count, 1))
            for side in (height, width)
        )
        if self.flip:
            columns = np.where(rng.random((count, 1)) < 0.5, width - 1 - columns, columns)
        kept = [(at >= 0) & (at < side) for at, side in ((rows, height), (columns, width))]
        if self.cutout:
            first = [
                rng.integers(side, size=(count, 1)) - self.cutout // 2 for side in (height, width)
            ]
            cut = [
                (np.arange(side) >= at) & (np.arange(side) < at + self.cutout)
                for side, at in zip((height, width), first, strict=True)
            ]
        at = (
            np.arange(count)[:, None, None],
            np.clip(rows, 0, height - 1)[:, :, None],
            np.clip(columns, 0, width - 1)[:, None, :],
        )
        shown = kept[0][:, :, None] & kept[1][:, None, :]
        if self.cutout:
            shown &= ~(cut[0][:, :, None] & cut[1][:, None, :])
        out: np.ndarray = x[at] * shown[..., None]
        return out
