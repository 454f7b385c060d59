"""The fused steps are those of torch's optimisers, bit for bit."""

from typing import Any

import pytest
import torch

from evoml.networks.fused_optimisers import FusedOptimiser
from evoml.networks.settings import TrainingSettings


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_steps_are_torchs(name: str, decay: float, momentum: float) -> None:
    settings = TrainingSettings(optimiser=name, weight_decay=decay, momentum=momentum)  # type: ignore[arg-type]
    chance = torch.Generator().manual_seed(1)
    shapes = [(5, 3), (4,), (2, 2)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=chance)) for shape in shapes]
    theirs: list[Any] = [torch.nn.Parameter(each.detach().clone()) for each in ours]
    optimiser = FusedOptimiser(list(ours), settings)
    reference: torch.optim.Optimizer = (
        torch.optim.Adam(theirs, 1.0, weight_decay=decay, fused=True)
        if name == "adam"
        else torch.optim.SGD(
            theirs, 1.0, momentum, weight_decay=decay, nesterov=momentum > 0, fused=True
        )
    )
    for step in range(4):
        optimiser.lr = reference.param_groups[0]["lr"] = 0.1 / (step + 1)
        optimiser.zero_grad()
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(one.shape, generator=chance)
            # the last has none in the first steps, which torch's SGD does not stand
            one.grad, other.grad = (
                (None, None)
                if at == 2 and step < 2 and name == "adam"
                else (gradient, gradient.clone())
            )
        optimiser.step()
        reference.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
