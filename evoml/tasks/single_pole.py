"""One pole balanced on a cart, pushed left or right.

Barto, Sutton, Anderson, "Neuronlike Adaptive Elements That Can Solve Difficult Learning Control
Problems", IEEE Transactions on Systems, Man, and Cybernetics 13(5), 1983, without friction, as it
is mostly used: Euler steps of 0.02 s, failure beyond 2.4 m or 12 degrees. Starts are drawn, since
from rest at the top nothing has to be done. Pushed by 10 N or -10 N only, an episode of many
hundred steps hangs on the last bit of an output near 0.5, and backends may differ in it.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from evoml.contracts.task import TrialResult, Trials
from evoml.core import settings
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._families import Split, generator
from evoml.tasks._trials import (
    Dynamics,
    TrialTask,
    as_result,
    check_shape,
    clipped,
    parallel_blocks,
    run_episodes,
    tables,
)

GRAVITY, CART, MASS, HALF, PUSH, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # m/s^2, kg, kg, m, N, s
TRACK, FALLEN = 2.4, np.deg2rad(12.0)  # m and radians
SCALES = np.array([TRACK, 1.0, FALLEN, 1.0])  # what x, x', a, a' are divided by
CONSTANTS = (GRAVITY, CART, MASS, HALF, PUSH, SECONDS, TRACK, FALLEN)


class Settings(settings.Settings):
    """With velocities, any force in -10..10 N, 5 starts in search and 100 others in selection and
    test.
    """

    velocities: bool = Field(
        default=True, description="whether the network sees velocities; without, it has to remember"
    )
    force: Literal["continuous", "bang"] = Field(
        default="continuous",
        description="continuous: 20 (y - 0.5) N, y in 0..1; bang: 10 N to either side, as in the "
        "paper",
    )
    steps: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="steps of 0.02 s that count as balanced for good",
    )
    starts: int = Field(
        default=5,
        ge=1,
        le=100_000,
        description="episodes that a candidate is scored on, the same for all of a search",
    )
    test_starts: int = Field(
        default=100,
        ge=1,
        le=100_000,
        description="other episodes, of selection and as many of the test",
    )
    spread: float = Field(
        default=0.25,
        ge=0,
        le=0.9,
        description="starts are uniform in this share of 2.4 m, 1 m/s, 12 degrees and 1 rad/s, on "
        "either side",
    )


def after(states: np.ndarray, force: np.ndarray) -> np.ndarray:
    """States [..., 4], (x, x', a, a'), after one Euler step under a force [...]."""
    _, speeds, angles, rates = np.moveaxis(states, -1, 0)
    sine, cosine, total = np.sin(angles), np.cos(angles), CART + MASS
    pulled = (force + MASS * HALF * rates**2 * sine) / total
    turn = (GRAVITY * sine - cosine * pulled) / (HALF * (4.0 / 3.0 - MASS * cosine**2 / total))
    speed = pulled - MASS * HALF * turn * cosine / total
    return states + SECONDS * np.stack([speeds, speed, rates, turn], -1)


def failed(states: np.ndarray) -> np.ndarray:
    """Whether the cart has left the track or the pole has fallen, or it is not known.

    [..., 4] -> [...]
    """
    up = (np.abs(states[..., 0]) <= TRACK) & (np.abs(states[..., 2]) <= FALLEN)
    out: np.ndarray = ~up
    return out


class Pole(Trials):
    """Episodes from given starts [S, 4]."""

    outputs = 1

    def __init__(self, settings: Settings, starts: np.ndarray, final: bool) -> None:
        self.settings, self.starts, self.final = settings, starts, final
        self.inputs = 4 if settings.velocities else 2
        self.names: tuple[str, ...] = ("balanced", "steps") if final else ("steps", "balanced")

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Mean steps balanced, and the share of starts that are balanced for good; the share is
        first where this is a test, and 1 is solved.
        """
        check_shape(graphs, self.inputs, self.outputs)
        most = self.settings.steps
        steps = (
            self._compiled(graphs, workers)
            if backend == "numba"
            else run_episodes(graphs, backend, self.starts, most, self._dynamics())
        )
        mean, held = steps.mean(1), (steps == most).mean(1)
        return as_result(
            np.stack([held, mean] if self.final else [mean, held], 1),
            int(np.minimum(steps + 1, most).sum()),
        )

    def _compiled(self, graphs: NeuronGraphs, workers: int) -> np.ndarray:
        from evoml.tasks import _poles  # here, as only this backend needs the compiler

        steps = np.zeros((len(graphs), len(self.starts)), np.int64)

        def work(first: int, last: int) -> None:
            _poles.single_pole(
                tables(graphs), graphs.inputs, int(graphs.slots.max()), graphs.bias,
                graphs.recurrent, self.starts, first, last, self.settings.steps,
                self.settings.velocities, self.settings.force == "bang", SCALES, CONSTANTS, steps,
            )  # fmt: skip

        if steps.size:
            parallel_blocks(work, steps.size, workers)
        return steps

    def _dynamics(self) -> Dynamics:
        seen = slice(None) if self.settings.velocities else slice(0, None, 2)

        def advance(states: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            if self.settings.force == "bang":
                return after(states, np.where(outputs[..., 0] > 0.5, PUSH, -PUSH))
            return after(states, 2 * PUSH * (clipped(outputs) - 0.5))

        return Dynamics(lambda states: (states / SCALES)[..., seen], advance, failed)


class SinglePoleTask(TrialTask):
    """Search by mean steps; selection and test by the share of other starts that are balanced for
    good.
    """

    outputs = 1
    settings: Settings

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Raises InputError if `data` is given."""
        super().__init__(settings, data, seed)
        self.inputs = 4 if settings.velocities else 2

    def search(self, experiment: int = 0) -> Pole:
        """Starts of this experiment."""
        return self._pole(Split.SEARCH, experiment, self.settings.starts)

    def select(self) -> Pole:
        """Other starts."""
        return self._pole(Split.SELECT, 0, self.settings.test_starts)

    def test(self) -> Pole:
        """Starts that neither search nor selection saw."""
        return self._pole(Split.TEST, 0, self.settings.test_starts)

    def _pole(self, split: Split, experiment: int, count: int) -> Pole:
        wide = self.settings.spread * SCALES
        starts = generator(self.seed, split, experiment).uniform(-wide, wide, (count, 4))
        return Pole(self.settings, starts, split is not Split.SEARCH)
