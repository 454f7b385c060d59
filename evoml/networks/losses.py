"""What the outputs of networks are compared with: losses and the metrics that go with them.

The head of a data set names one. The sets of evoml have classes; another head is a subclass of
`Loss`.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evoml.networks.layer_modules import named


class Loss:
    """How outputs [N, K] are compared with goals.

    A subclass gives `goals`, `mean`, `total` and `metric`.
    """

    def goals(self, y: np.ndarray) -> Tensor:
        """The goals of a data set as the other methods take them."""
        raise NotImplementedError

    def mean(self, outputs: Tensor, goals: Tensor, smoothing: float = 0.0) -> Tensor:
        """The mean over the images, to be minimised by gradient.

        smoothing: share of a label that is spread over all classes; it says nothing to others.
        """
        raise NotImplementedError

    def total(self, outputs: Tensor, goals: Tensor) -> float:
        """The sum over the images, without smoothing."""
        raise NotImplementedError

    def metric(self, outputs: Tensor, goals: Tensor) -> float:
        """The sum over the images of what networks are judged by, as the head's objective says."""
        raise NotImplementedError

    def slope(
        self, outputs: Tensor, goals: Tensor, smoothing: float, count: int
    ) -> tuple[float, Tensor]:
        """What these images of a batch of `count` add to its mean loss, and the gradient of that by
        the outputs, [N, K].
        """
        given = outputs.detach().requires_grad_()
        with torch.enable_grad():
            loss = self.mean(given, goals, smoothing) * (len(outputs) / count)
        return float(loss.detach()), torch.autograd.grad(loss, given)[0]

    def probabilities(self, outputs: Tensor) -> Tensor | None:
        """Of every class, [N, K]; None where there are no classes."""
        return None


class CrossEntropy(Loss):
    """Classes, in nats; the metric is accuracy. Goals are numbers of classes, [N]."""

    def goals(self, y: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(y, np.int64))

    def mean(self, outputs: Tensor, goals: Tensor, smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(outputs, goals, label_smoothing=smoothing)

    def total(self, outputs: Tensor, goals: Tensor) -> float:
        return float(functional.cross_entropy(outputs, goals, reduction="sum"))

    def metric(self, outputs: Tensor, goals: Tensor) -> float:
        return int((outputs.argmax(1) == goals).sum())

    def slope(
        self, outputs: Tensor, goals: Tensor, smoothing: float, count: int
    ) -> tuple[float, Tensor]:
        logs = outputs.log_softmax(1)
        wanted = (
            functional.one_hot(goals, outputs.shape[1]).to(logs.dtype) * (1 - smoothing)
            + smoothing / outputs.shape[1]
        )
        return -float((wanted * logs).sum()) / count, (logs.exp() - wanted) / count

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.double().softmax(1)


def loss_named(name: str) -> Loss:
    """The loss of a head, `package.module:Class`."""
    found: Loss = named(name)()
    return found
