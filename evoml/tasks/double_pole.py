"""Two poles of different length balanced on one cart, with or without seeing velocities.

The benchmark of Wieland, "Evolving Neural Network Controllers for Unstable Systems", IJCNN 1991, as
used by Stanley, Miikkulainen, "Evolving Neural Networks through Augmenting Topologies",
Evolutionary Computation 10(2), 2002, section 4.2; without velocities the fitness and the test of
generalisation are those of Gruau, Whitley, Pyeatt, "A Comparison between Cellular Encoding and
Direct Encoding for Genetic Neural Networks", GP 1996. Cart friction and a start at 4 degrees as in
Gomez, Schmidhuber, Miikkulainen, "Accelerated Neural Evolution through Cooperatively Coevolved
Synapses", JMLR 9, 2008. A step counts when everything is up after it.
"""

from itertools import product
from pathlib import Path

import numpy as np
from pydantic import Field

from evoml.contracts.task import TrialResult, Trials
from evoml.core import settings
from evoml.phenotypes.neuron_graphs import NeuronGraphs
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

# m/s^2, kg, kg, m, N m s, N
GRAVITY, CART, MASSES, HALVES, HINGE, FRICTION = -9.8, 1.0, (0.1, 0.01), (0.5, 0.05), 2e-6, 5e-4
# seconds of a Runge-Kutta step, and how many the force stays the same for
SUBSTEP, SUBSTEPS = 0.01, 2
TRACK, FALLEN = 2.4, np.deg2rad(36.0)  # m and radians
WINDOW = 100  # last steps that Gruau's fitness looks at
GRID = (0.05, 0.25, 0.5, 0.75, 0.95)
# of x, x', a1, a1' in the 625 starts, on either side
RANGES = (2.16, 1.35, np.deg2rad(3.6), np.deg2rad(8.6))
SENSES = np.array([4.8, 2.0, 0.52, 2.0, 0.52, 2.0])  # what x, x', a1, a1', a2, a2' are divided by


class Settings(settings.Settings):
    """The published experiments: with velocities from 1 degree, without from 4."""

    velocities: bool = Field(
        default=True, description="whether the network sees velocities; without, it has to remember"
    )
    start_angle: float = Field(
        default=0.0,
        ge=0,
        lt=36,
        description="degrees of the long pole at the start; 0: 1 with velocities, 4 without them",
    )
    cart_friction: bool = Field(
        default=True,
        description="friction of the cart on its track, which Stanley's program leaves out",
    )
    steps: int = Field(
        default=100_000,
        ge=1,
        le=10_000_000,
        description="control steps of 0.02 s that count as balanced for good",
    )
    fitness_steps: int = Field(
        default=1000,
        ge=WINDOW,
        le=10_000_000,
        description="steps that the fitness without velocities looks at",
    )


def constants(settings: Settings) -> tuple[float, ...]:
    """Gravity, cart mass, pole masses, half-lengths, hinge friction, cart friction."""
    return GRAVITY, CART, *MASSES, *HALVES, HINGE, FRICTION if settings.cart_friction else 0.0


def derivative(states: np.ndarray, force: np.ndarray, constants: tuple[float, ...]) -> np.ndarray:
    """Time derivative of states [..., 6], (x, x', a1, a1', a2, a2'), under a force [...]."""
    gravity, cart, *rest, hinge, friction = constants
    masses, halves = np.array(rest[:2]), np.array(rest[2:])
    angles, rates = states[..., 2::2], states[..., 3::2]
    sine, cosine = np.sin(angles), np.cos(angles)
    pull = hinge / (masses * halves) * rates + gravity * sine
    push = masses * halves * rates**2 * sine + 0.75 * masses * cosine * pull
    held = masses * (1.0 - 0.75 * cosine**2)
    out = np.empty_like(states)
    out[..., ::2] = states[..., 1::2]
    out[..., 1] = (force - friction * np.sign(states[..., 1]) + push.sum(-1)) / (
        cart + held.sum(-1)
    )
    out[..., 3::2] = -0.75 / halves * (out[..., 1, None] * cosine + pull)
    return out


def after(
    states: np.ndarray, force: np.ndarray, constants: tuple[float, ...], h: float = SUBSTEP
) -> np.ndarray:
    """States [..., 6] after h seconds of a constant force [...]: one step of the classical
    Runge-Kutta method.
    """
    k1 = derivative(states, force, constants)
    k2 = derivative(states + h / 2 * k1, force, constants)
    k3 = derivative(states + h / 2 * k2, force, constants)
    k4 = derivative(states + h * k3, force, constants)
    return states + h / 6 * (k1 + 2 * (k2 + k3) + k4)


def starts(angle: float) -> np.ndarray:
    """[1, 6]: all at rest and upright, but the long pole at an angle in degrees."""
    return np.array([[0.0, 0.0, np.deg2rad(angle), 0.0, 0.0, 0.0]])


def grid() -> np.ndarray:
    """The 625 starts, [625, 6]; the short pole upright and at rest."""
    places = np.array(list(product(GRID, repeat=4)))
    return np.hstack([(2 * places - 1) * RANGES, np.zeros((625, 2))])


class Poles(Trials):
    """What all trials of this task do: episodes from given starts, compiled where the backend
    is.
    """

    outputs = 1

    def __init__(self, settings: Settings) -> None:
        self.settings, self.constants = settings, constants(settings)
        self.inputs = 6 if settings.velocities else 3
        self.start = starts(settings.start_angle or (1.0 if settings.velocities else 4.0))

    def episodes(
        self, graphs: NeuronGraphs, starts: np.ndarray, limit: int, backend: str, workers: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Steps balanced and sway over the last WINDOW of them, [P, S] each, and the network
        evaluations.
        """
        shape = len(graphs), len(starts)
        steps, sways = np.zeros(shape, np.int64), np.zeros(shape)
        if backend == "numba":
            from evoml.tasks import _poles  # here, as only this backend needs the compiler

            def work(first: int, last: int) -> None:
                _poles.double_pole(
                    tables(graphs), graphs.inputs, int(graphs.slots.max()), graphs.bias,
                    graphs.recurrent, starts, first, last, limit, self.settings.velocities,
                    self.constants, steps, sways,
                )  # fmt: skip

            if steps.size:
                parallel_blocks(work, steps.size, workers)
        else:
            ring = np.zeros((*shape, WINDOW))

            def watch(up: np.ndarray, step: int, states: np.ndarray) -> None:
                ring[up, step % WINDOW] = np.abs(states[up, :4]).sum(-1)

            steps = run_episodes(graphs, backend, starts, limit, self._dynamics(), watch)
            sways = ring.sum(-1)
        # the step that failed was one too
        return steps, sways, int(np.minimum(steps + 1, limit).sum())

    def _dynamics(self) -> Dynamics:
        seen = slice(None) if self.settings.velocities else slice(0, None, 2)

        def advance(states: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            force = 20.0 * (clipped(outputs) - 0.5)
            for _ in range(SUBSTEPS):
                states = after(states, force, self.constants)
            return states

        return Dynamics(lambda states: (states / SENSES)[..., seen], advance, failed)


def failed(states: np.ndarray) -> np.ndarray:
    """Whether the cart has left the track or a pole has fallen, or it is not known.

    [..., 6] -> [...]
    """
    up = (np.abs(states[..., 0]) <= TRACK) & (np.abs(states[..., 2::2]) <= FALLEN).all(-1)
    out: np.ndarray = ~up
    return out


class Steps(Poles):
    """Scored by the steps balanced."""

    names: tuple[str, ...] = ("steps",)

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Steps in 0 .. `steps`; the latter is solved."""
        check_shape(graphs, self.inputs, self.outputs)
        steps, _, cost = self.episodes(graphs, self.start, self.settings.steps, backend, workers)
        return as_result(steps.astype(np.float64), cost)


class Damped(Poles):
    """Gruau's fitness: a tenth for steps balanced, nine tenths for little movement at the end, so
    that shaking from side to side does not pay.
    """

    names: tuple[str, ...] = ("fitness", "steps")

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """0.1 t / 1000 + 0.9 (0.75 / sum of |x| + |x'| + |a1| + |a1'| over the last 100 of t steps,
        0 for t < 100), and t.
        """
        check_shape(graphs, self.inputs, self.outputs)
        most = self.settings.fitness_steps
        steps, sways, cost = self.episodes(graphs, self.start, most, backend, workers)
        calm = np.divide(0.75, sways, out=np.zeros(steps.shape), where=steps >= WINDOW)
        return as_result(np.hstack([0.1 * steps / most + 0.9 * calm, steps]), cost)


class Generalisation(Poles):
    """Whether a network balances for good, and then from how many of the 625 starts it balances
    1,000 steps.
    """

    names: tuple[str, ...] = ("generalisation", "steps")

    def run(self, graphs: NeuronGraphs, backend: str, workers: int = 1) -> TrialResult:
        """Starts balanced, 0 for a network that does not hold `steps` from the first start (200 is
        solved), and steps balanced from that one.
        """
        check_shape(graphs, self.inputs, self.outputs)
        steps, _, cost = self.episodes(graphs, self.start, self.settings.steps, backend, workers)
        scores = np.stack([np.zeros(len(graphs)), steps[:, 0]], 1)
        # one by one: there is one, and 625 starts fill the threads
        for network in np.flatnonzero(steps[:, 0] == self.settings.steps):
            most = self.settings.fitness_steps
            held, _, more = self.episodes(
                graphs.take(np.array([network])), grid(), most, backend, workers
            )
            scores[network, 0] = (held == most).sum()
            cost += more
        return as_result(scores, cost)


class DoublePoleTask(TrialTask):
    """Search by steps, or without velocities by Gruau's fitness; selection and test by steps, or by
    generalisation.
    """

    outputs = 1
    settings: Settings

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """`seed` changes nothing, as the starts are given. Raises InputError if `data` is given."""
        super().__init__(settings, data, seed)
        self.inputs, self.bias = (6, 0.5) if settings.velocities else (3, 1.0)

    def search(self, experiment: int = 0) -> Poles:
        """One episode a network."""
        return Steps(self.settings) if self.settings.velocities else Damped(self.settings)

    def select(self) -> Poles:
        """What says whether a champion has solved it."""
        return Steps(self.settings) if self.settings.velocities else Generalisation(self.settings)

    def test(self) -> Poles:
        """What `select` gives."""
        return self.select()
