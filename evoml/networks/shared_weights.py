"""The one door to the weights of a supernet: what strategies, evaluators and reports use of them,
and `shared_weights`, which makes them for a device. Nothing here imports torch before it is called.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evoml.contracts.task import CROSS_ENTROPY
from evoml.core.errors import InputError
from evoml.phenotypes.network import Network, Supernet

if TYPE_CHECKING:
    from torch import Tensor

DEVICES = ("cpu",)
SCORED = 256  # images of a batch in `score`


@dataclass(frozen=True)
class Gradients:
    """What one pass came to."""

    loss: float  # mean over the batch
    right: float  # sum over the batch of the metric: with classes, images with the right one
    weights: np.ndarray | None  # [P]
    mix: np.ndarray | None  # as the mix: [G, O] or [ghosts, G, O]


class SharedWeights(ABC):
    """The weights of a supernet, and passes through it. Everything that goes in or comes out is
    NumPy's, on whatever device the passes are. P weights, G groups of at most O options, N images
    [N, H, W, C], goals [N] or as the head of the data has them.

    A mix says how much of every option there is, [G, O]; with ghosts [ghosts, G, O]: the batch in
    that many equal parts, each normalised by itself.
    """

    supernet: Supernet
    weights: np.ndarray  # [P], to be written to
    decayed: np.ndarray  # [P] bool: which are trained, and have a penalty
    smoothing: float  # share of a label that is spread over all classes
    spent: int  # multiply-adds so far

    @abstractmethod
    def gradients(
        self, x: np.ndarray, y: np.ndarray, mix: np.ndarray, *, weights: np.ndarray | None = None,
        of_weights: bool = True, of_mix: bool = True, wanted: np.ndarray | None = None,
    ) -> Gradients:  # fmt: skip
        """Loss and gradients on a batch.

        weights: others than its own, [P]. of_weights, of_mix: which gradients are computed.
        wanted: options whose gradient is needed although there is none of them in the mix, [G, O]
        bool: each is computed when its gradient is, and forgotten.
        Raises ValueError where the batch cannot be parted among the ghosts.
        """

    @abstractmethod
    def score(
        self, x: np.ndarray, y: np.ndarray, mix: np.ndarray, batch: int = SCORED
    ) -> tuple[float, float]:
        """Mean metric, with classes the accuracy, and mean loss, each batch normalised by its own
        statistics; the batches are as equal as can be.
        """

    @abstractmethod
    def probabilities(self, x: np.ndarray, mix: np.ndarray) -> np.ndarray:
        """Of every class, [N, K] float64, of one batch, normalised by its own statistics."""

    @abstractmethod
    def active(self, mix: np.ndarray) -> np.ndarray:
        """Which weights a pass with this mix uses, [P] bool."""

    @abstractmethod
    def child(self, network: Network) -> "dict[str, Tensor]":
        """The weights of a network that was read off this supernet, as `Module.load_state_dict`
        takes them. Raises ValueError for what the supernet lacks.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Weights and what was spent, for a checkpoint."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave. Raises ValueError for another size."""


def shared_weights(
    supernet: Supernet, seed: int, device: str = "cpu", *, loss: str = CROSS_ENTROPY,
    affine: bool = False, smoothing: float = 0.0, threads: int = 1, dtype: str = "float32",
) -> SharedWeights:  # fmt: skip
    """Fresh shared weights.

    seed: decides the initial weights. device: where passes run. loss: of the data's head, by name.
    affine: whether all normalisations have a scale and a shift; the one behind the image always
    has. smoothing: share of a label that is spread over all classes. threads: of torch's own
    operations; the compiled ones, which are most of the work, use one.
    Raises InputError for a device that supernets do not run on.
    """
    _check(device)
    from evoml.networks.cpu.shared_weights import CPUSharedWeights

    return CPUSharedWeights(supernet, seed, dtype, affine, smoothing, threads, loss)


def step_memory(
    supernet: Supernet, batch: int, device: str = "cpu", mix: np.ndarray | None = None
) -> int:
    """About how many bytes a step of so many images takes at its peak, before anything is made:
    with all options, or with those of a mix [G, O].

    Raises InputError for a device that supernets do not run on.
    """
    _check(device)
    from evoml.networks.cpu.shared_weights import memory

    return memory(supernet, batch, mix=mix)


def _check(device: str) -> None:
    if device not in DEVICES:
        raise InputError(f"device: {device}: supernets run on {', '.join(DEVICES)} alone")
