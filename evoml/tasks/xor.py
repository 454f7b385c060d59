"""Exclusive or: the smallest problem that needs hidden nodes.

Stanley, Miikkulainen, "Evolving Neural Networks through Augmenting Topologies", Evolutionary
Computation 10(2), 2002, section 4.1. The fitness is the square of 4 less the four absolute errors,
16 at most; solved is an output on the right side of 0.5 in all four cases. A recurrent network sees
a case for some sweeps from zero memory.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from evoml.contracts.task import TrialResult, Trials
from evoml.core import settings
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._trials import TrialTask, as_result, check_shape, outputs_of

CASES = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
RIGHT = np.array([0.0, 1.0, 1.0, 0.0])


class Settings(settings.Settings):
    """How long a recurrent network may think."""

    sweeps: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="sweeps of a recurrent network on each case, from zero memory",
    )


class Cases(Trials):
    """The four cases; scored by the fitness, or by the share of them on the right side."""

    inputs, outputs = 2, 1

    def __init__(self, sweeps: int, final: bool) -> None:
        self.sweeps, self.final = sweeps, final
        self.names: tuple[str, ...] = ("right", "fitness") if final else ("fitness", "right")

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Fitness in 0..16, and share of the cases that are right; the share is first where this is
        a test.
        """
        check_shape(graphs, self.inputs, self.outputs)
        scores = np.empty((len(graphs), 2))

        def take(first: int, last: int, outputs: np.ndarray) -> None:
            errors = np.abs(outputs[..., 0] - RIGHT)
            known = np.where(np.isnan(errors).any(1), np.nan, 1.0)
            # Far from the cases the square would grow again: an output that is off by 8 would be
            # worth as much as a right one.
            fitness = np.maximum(4.0 - errors.sum(1), 0.0) ** 2
            right = ((outputs[..., 0] > 0.5) == (RIGHT > 0.5)).mean(1)
            scores[first:last] = (
                np.stack([right, fitness] if self.final else [fitness, right], 1) * known[:, None]
            )

        steps = outputs_of(graphs, CASES, backend, 1, take, self.sweeps)  # too little for threads
        return as_result(scores, steps)


class XorTask(TrialTask):
    """The same four cases in search, selection and test."""

    inputs, outputs = 2, 1
    settings: Settings

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """`seed` changes nothing. Raises InputError if `data` is given."""
        super().__init__(settings, data, seed)

    def search(self, experiment: int = 0) -> Cases:
        """Scored by the fitness."""
        return Cases(self.settings.sweeps, False)

    def select(self) -> Cases:
        """Scored by the share of the cases that are right: 1 is solved."""
        return Cases(self.settings.sweeps, True)

    def test(self) -> Cases:
        """What `select` gives."""
        return self.select()
