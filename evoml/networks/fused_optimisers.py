"""torch's fused optimisers without the classes around them, whose first step imports torch's
compilers: seconds in every process that trains. The steps are the same to the last bit.
"""

import torch
from torch import Tensor

from evoml.networks.settings import TrainingSettings

BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's


class FusedOptimiser:
    """SGD with (Nesterov's) momentum or Adam, as the settings say, with weight decay as L2.

    lr: to be set before every step. Parameters without a gradient stay.
    """

    def __init__(self, parameters: list[Tensor], settings: TrainingSettings) -> None:
        self.parameters, self.settings, self.lr = parameters, settings, settings.lr
        self.state: list[dict[str, Tensor]] = [{} for _ in parameters]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for each in self.parameters:
            each.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters against their gradients."""
        having = [at for at, each in enumerate(self.parameters) if each.grad is not None]
        move = self._adam if self.settings.optimiser == "adam" else self._sgd
        fresh = [at for at in having if not self.state[at]]
        for among, first in ((fresh, True), ([at for at in having if at not in fresh], False)):
            if among:
                move(among, first)

    def _tensors(self, among: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        chosen = [self.parameters[at] for at in among]
        return chosen, [each.grad for each in chosen if each.grad is not None]

    def _sgd(self, among: list[int], first: bool) -> None:
        values, gradients = self._tensors(among)
        settings, velocities = self.settings, []
        if settings.momentum:
            for at in among if first else ():
                self.state[at]["momentum_buffer"] = torch.empty_like(self.parameters[at])
            velocities = [self.state[at]["momentum_buffer"] for at in among]
        torch._fused_sgd_(
            values, gradients, velocities, weight_decay=settings.weight_decay,
            momentum=settings.momentum, lr=self.lr, dampening=0.0, nesterov=settings.momentum > 0,
            maximize=False, is_first_step=first,
        )  # fmt: skip

    def _adam(self, among: list[int], first: bool) -> None:
        values, gradients = self._tensors(among)
        for at in among if first else ():
            value = self.parameters[at]
            self.state[at] = {
                "step": torch.zeros((), dtype=torch.float32, device=value.device),
                "exp_avg": torch.zeros_like(value),
                "exp_avg_sq": torch.zeros_like(value),
            }
        steps, means, squares = (
            [self.state[at][name] for at in among] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(
            values, gradients, means, squares, [], steps, amsgrad=False, lr=self.lr,
            beta1=BETAS[0], beta2=BETAS[1], weight_decay=self.settings.weight_decay, eps=EPSILON,
            maximize=False,
        )  # fmt: skip
