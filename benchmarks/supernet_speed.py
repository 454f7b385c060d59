"""How fast is a search step of DARTS in evoml's supernet beside the structure of the authors' code:
one module a candidate, a fresh model for the unrolled step?

    taskset -c 0 python benchmarks/supernet_speed.py [--rounds 5] [--only digits|small|paper]

Seconds of this process's CPU time, one thread, float32, of a whole step: the architecture's (first
or second order) and then the weights'. The two take turns, and the median of the rounds counts.
Both start from the same weights; how far they are apart after three steps in float64 is there too.
Writes benchmarks/results/supernet_speed.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from evoml.networks.cpu.shared_weights import CPUSharedWeights
from evoml.networks.optimisers import Adam, Momentum, clipped
from evoml.networks.reference_supernet import ReferenceSupernet, first_order, second_order
from evoml.phenotypes.network import Supernet
from evoml.spaces import cell

RESULT = Path(__file__).parent / "results" / "supernet_speed.json"
# skeleton, image, images a step, most rounds
SIZES: dict[str, tuple[dict[str, Any], tuple[int, int, int], int, int]] = {
    "digits": ({"filters": 8, "cells": 1, "reductions": 1}, (1, 8, 8), 64, 99),
    "small": (
        {"filters": 8, "cells": 2, "reductions": 1, "placement": "first"},
        (3, 16, 16),
        32,
        99,
    ),
    "paper": ({"filters": 16, "cells": 2, "reductions": 2}, (3, 32, 32), 64, 2),
}
WANTED = {"first": 3.0, "second": 2.5}
LR, MOMENTUM, DECAY, CLIP, ARCHITECTURE = 0.025, 0.9, 3e-4, 5.0, (3e-4, (0.5, 0.999), 1e-3)
Batch = tuple[np.ndarray, np.ndarray]


class Ours:
    """Steps on flat weights."""

    def __init__(self, net: Supernet, dtype: str) -> None:
        self.shared = CPUSharedWeights(net, 0, dtype)
        self.alpha = np.random.default_rng(1).normal(size=net.available.shape) * 1e-3
        self.of_weights = Momentum(len(self.shared.weights), MOMENTUM, DECAY)
        self.of_alpha = Adam(self.alpha.shape, *ARCHITECTURE[1:])

    def step(self, train: Batch, valid: Batch, second: bool) -> None:
        shared, mix = self.shared, softmax(self.alpha)
        g = (
            self._unrolled(train, valid, mix)
            if second
            else shared.gradients(*valid, mix, of_weights=False).mix
        )
        self.of_alpha.step(self.alpha, through_softmax(g, mix), ARCHITECTURE[0])
        slope = shared.gradients(*train, softmax(self.alpha), of_mix=False).weights
        self.of_weights.step(shared.weights, clipped(slope, CLIP), LR, shared.decayed)

    def _unrolled(self, train: Batch, valid: Batch, mix: np.ndarray) -> np.ndarray:
        shared, weights = self.shared, self.shared.weights
        g = shared.gradients(*train, mix, of_mix=False).weights + DECAY * weights * shared.decayed
        ahead = shared.gradients(
            *valid, mix, weights=weights - LR * (MOMENTUM * self.of_weights.velocity + g)
        )
        radius = 0.01 / float(np.linalg.norm(ahead.weights))
        sides = [
            shared.gradients(
                *train, mix, weights=weights + move * ahead.weights, of_weights=False
            ).mix
            for move in (radius, -radius)
        ]
        return ahead.mix - LR * (sides[0] - sides[1]) / (2 * radius)


class Theirs:
    """Steps through modules and torch's autograd."""

    def __init__(self, ours: Ours) -> None:
        shared = ours.shared
        self.model = ReferenceSupernet(shared.supernet).to(
            torch.float64 if shared.dtype == np.float64 else torch.float32
        )
        with torch.no_grad():
            for view, parameter in shared.pairs(self.model):
                parameter.copy_(view)
        self.alpha = torch.nn.Parameter(
            torch.tensor(ours.alpha, dtype=next(self.model.parameters()).dtype)
        )
        self.of_weights = torch.optim.SGD(self.model.parameters(), LR, MOMENTUM, weight_decay=DECAY)
        self.of_alpha = torch.optim.Adam(
            [self.alpha], ARCHITECTURE[0], ARCHITECTURE[1], weight_decay=ARCHITECTURE[2]
        )

    def step(self, train: Batch, valid: Batch, second: bool) -> None:
        t, v = (self._tensors(*batch) for batch in (train, valid))
        if second:
            state = self.of_weights.state
            velocity = (
                [state[each]["momentum_buffer"] for each in self.model.parameters()]
                if state
                else None
            )
            g = second_order(self.model, self.alpha, t, v, relax, LR, MOMENTUM, DECAY, velocity)
        else:
            g = first_order(self.model, self.alpha, v, relax)
        self.alpha.grad = g
        self.of_alpha.step()
        self.of_weights.zero_grad()
        functional.cross_entropy(self.model(t[0], relax(self.alpha)), t[1]).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.of_weights.step()

    def _tensors(self, x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).to(
            self.alpha.dtype
        ), torch.from_numpy(y)


def relax(alpha: torch.Tensor) -> torch.Tensor:
    return torch.softmax(alpha, -1)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def through_softmax(gradient: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return probabilities * (gradient - (gradient * probabilities).sum(-1, keepdims=True))


def supernet(name: str) -> tuple[Supernet, Callable[[int], Batch]]:
    """A supernet, and a batch of noise for it by number."""
    skeleton, size, batch, _ = SIZES[name]
    space = cell.CellSpace(
        cell.Settings.model_validate(
            {"blocks": 4, "operations": "darts", "output": "all", "skeleton": skeleton}
        )
    )

    def images(number: int) -> Batch:
        rng = np.random.default_rng(number)
        return rng.normal(size=(batch, size[1], size[2], size[0])), rng.integers(10, size=batch)

    return space.supernet(size, 10), images


def seconds(step: Callable[..., None], *how: Any) -> float:
    began = time.process_time()
    step(*how)
    return time.process_time() - began


def compare(name: str, order: str, rounds: int) -> dict[str, Any]:
    """CPU seconds of a step."""
    net, images = supernet(name)
    ours = Ours(net, "float32")
    theirs = Theirs(ours)
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):  # the first does not count
        how = images(2 * number), images(2 * number + 1), order == "second"
        times.append((seconds(theirs.step, *how), seconds(ours.step, *how)))
    reference, quick = (statistics.median(column) for column in zip(*times[1:], strict=True))
    ratios = sorted(a / b for a, b in times[1:])
    return {
        "plain": round(reference, 4),
        "supernet": round(quick, 4),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratios[0], 2), round(ratios[-1], 2)],
        "wanted": WANTED[order],
        "rounds": rounds,
    }


def apart(name: str, order: str, batch: int, steps: int = 3) -> float:
    """The largest difference of any weight or architecture parameter after some steps in float64,
    on part of every batch.
    """
    net, images = supernet(name)
    ours = Ours(net, "float64")
    theirs = Theirs(ours)
    for number in range(steps):
        train, valid = (
            (x[:batch], y[:batch]) for x, y in (images(2 * number), images(2 * number + 1))
        )
        ours.step(train, valid, order == "second")
        theirs.step(train, valid, order == "second")
    weights = max(
        float((view - parameter.detach()).abs().max())
        for view, parameter in ours.shared.pairs(theirs.model)
    )
    return max(weights, float(np.abs(ours.alpha - theirs.alpha.detach().numpy()).max()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=SIZES, help="the other sizes keep their figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(RESULT.read_text()) if options.only and RESULT.exists() else {}
    for name in [options.only] if options.only else SIZES:
        _, _, batch, most = SIZES[name]
        results[name] = {}
        for order in WANTED:
            row = compare(name, order, min(options.rounds, most)) | {
                "apart_after_3_steps": apart(name, order, min(batch, 16))
            }
            results[name][order] = row
            print(
                f"{name:7} {order:7} order: plain {row['plain']:.3f} s, supernet "
                f"{row['supernet']:.3f} s: {row['ratio']:.2f} times, wanted {row['wanted']}; apart "
                f"after 3 steps {row['apart_after_3_steps']:.1e}",
                flush=True,
            )
            RESULT.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
