"""What trials of networks of fixed weights share: parts that threads take, scores with their
status, and episodes in NumPy.

Episodes of all networks run side by side; a lane is one episode. Which lanes a network has does not
depend on the other networks, so that its result does not either.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from evoml.contracts.task import Task, TrialResult
from evoml.core.errors import InputError
from evoml.core.registry import load
from evoml.genotypes.population import DIVERGED, OK
from evoml.phenotypes.neuron_graphs import NeuronGraphs

PARTS = 8  # that each thread's share is cut into, as episodes differ in length
BLOCK = 2**22  # outputs of networks in memory at once, 32 MiB


class TrialTask(Task):
    """A task that networks of fixed weights are tried in, which brings its own data."""

    kind = "trials"
    takes_data = False


def check_shape(graphs: NeuronGraphs, inputs: int, outputs: int) -> None:
    """Raise InputError unless the networks have so many inputs and outputs."""
    if (graphs.inputs, graphs.outputs) != (inputs, outputs):
        raise InputError(
            f"space: the network has {_ends(graphs.inputs, graphs.outputs)}, the task "
            f"{_ends(inputs, outputs)}; take the task that it was searched on, or search on this "
            "one"
        )


def _ends(inputs: int, outputs: int) -> str:
    return f"{inputs} input{'s' * (inputs != 1)} and {outputs} output{'s' * (outputs != 1)}"


def as_result(scores: np.ndarray, steps: int, status: np.ndarray | None = None) -> TrialResult:
    """Scores [P, names] with their status: a fitness that is not finite is NaN, and diverged unless
    `status` [P] says worse.
    """
    scores = np.array(scores, np.float64)
    failed = ~np.isfinite(scores[:, 0])
    scores[failed] = np.nan
    status = np.full(len(scores), OK, np.uint8) if status is None else status.astype(np.uint8)
    return TrialResult(
        scores, np.where(failed & (status == OK), np.uint8(DIVERGED), status), int(steps)
    )


def parallel_blocks(work: Callable[[int, int], Any], count: int, workers: int) -> None:
    """Call work(first, last) for parts of 0 .. count - 1, on so many threads."""
    if workers < 2 or count < 2:
        work(0, count)
        return
    edges = np.unique(np.linspace(0, count, min(count, workers * PARTS) + 1).astype(int)).tolist()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))  # the list, as it raises what was raised


def outputs_of(
    graphs: NeuronGraphs, inputs: np.ndarray, backend: str, workers: int,
    take: Callable[[int, int, np.ndarray], None], sweeps: int = 1, dtype: str = "float64",
) -> int:  # fmt: skip
    """Answers to inputs [N, I] of all networks, in blocks: take(first, last, outputs [last - first,
    N, O]).

    Returns the network evaluations.
    """
    module = load("backends", backend)
    sweeps = sweeps if graphs.recurrent else 1
    most = max(1, BLOCK // max(1, len(inputs) * graphs.outputs))

    def work(first: int, last: int) -> None:
        for start in range(first, last, most):
            end = min(start + most, last)
            take(
                start,
                end,
                module.forward(graphs, inputs, np.arange(start, end), dtype=dtype, sweeps=sweeps),
            )

    parallel_blocks(work, len(graphs), workers)
    return len(graphs) * len(inputs) * sweeps


@dataclass(frozen=True, eq=False)
class Dynamics:
    """An environment of numbers in NumPy, any number of episodes at once. A state is [..., D]."""

    sense: Callable[[np.ndarray], np.ndarray]  # states -> what networks see, [..., I]
    # states and outputs [..., O] -> states a step later
    advance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    failed: Callable[[np.ndarray], np.ndarray]  # states -> whether the episode is over, [...]


def run_episodes(
    graphs: NeuronGraphs,
    backend: str,
    starts: np.ndarray,
    limit: int,
    dynamics: Dynamics,
    watch: Callable[..., None] | None = None,
) -> np.ndarray:
    """Steps that every network keeps an episode up from every start [S, D], at most `limit`: [P, S]
    int64. The definition, for any backend.

    `watch(lanes, step, states)` is told the states of the lanes [P, S] that are still up after a
    step.
    """
    stepper = load("backends", backend).Stepper(graphs, len(starts), "float64")
    states = np.broadcast_to(starts, (len(graphs), *starts.shape)).copy()
    steps, up = np.zeros(states.shape[:2], np.int64), np.ones(states.shape[:2], bool)
    inputs = np.zeros((*up.shape, graphs.inputs))
    for step in range(limit if up.any() else 0):
        inputs[up] = dynamics.sense(states[up])
        states[up] = dynamics.advance(states[up], stepper.step(inputs)[up])
        up &= ~dynamics.failed(states)
        if not up.any():
            break
        steps[up] += 1
        if watch is not None:
            watch(up, step, states)
    return steps


def tables(graphs: NeuronGraphs) -> tuple[np.ndarray, ...]:
    """The arrays that a compiled network reads."""
    return (
        graphs.nodes,
        graphs.slot,
        graphs.activation,
        graphs.aggregation,
        graphs.links,
        graphs.source,
        graphs.weight,
    )


def clipped(outputs: np.ndarray) -> np.ndarray:
    """Output 0 in 0..1. [..., O] -> [...]; NaN stays."""
    return np.clip(outputs[..., 0], 0.0, 1.0)
