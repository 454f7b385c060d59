"""Any environment of Gymnasium by its id, `--task gym:CartPole-v1`; needs the extra evoml[gym].

Towers et al., "Gymnasium: A Standard Interface for Reinforcement Learning Environments", 2024,
arXiv 2407.17032. The fitness is the mean return of some episodes.

Observations are flattened. A number with finite bounds below 1e6 is divided by the larger of the
two in size, others are taken as they are, since a scale that is learned from episodes would tie a
network's result to those that were tried before it. Actions: of several, that of the largest
output; numbers in a box, low + y (high - low) with y in 0..1, without bounds -1 to 1, with a lower
bound alone low + y / (1 - y), with an upper one high - (1 - y) / y; whole numbers have equal shares
of 0..1; switches, on above 0.5. What is not a finite number in a reward or an observation is the
environment's fault, and said so.

All episodes of a process's networks go on together, with one call of the networks a time step.
Every network is tried from the same starts.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.registry import load, users_module
from evoml.core.wording import describe_exception
from evoml.genotypes.population import CRASHED, DIVERGED, OK
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._families import Split, task_seed
from evoml.tasks._trial_workers import PooledTrials, TrialResults, Work
from evoml.tasks._trials import TrialTask

LARGEST_BOUND = 1e6
UNBOUNDED = 1e15  # in size: from there on a bound of an action is none
EDGE = 1e-6  # that outputs of half-open actions keep from 0 and 1
MOST = 100_000  # numbers in an observation, or outputs
BEAT = 1.0  # seconds between two signs of life


class Settings(settings.Settings):
    """Which environment, and how many episodes."""

    id: str = Field(
        default="CartPole-v1",
        description="the environment's id in Gymnasium; module:id imports the module first",
    )
    arguments: dict[str, Any] = Field(
        default={},
        description="keyword arguments that the environment is made with, such as {gravity = 9.8}",
    )
    episodes: int = Field(
        default=3,
        ge=1,
        le=10_000,
        description="episodes that a candidate is scored on, the same for all of a search",
    )
    select_episodes: int = Field(
        default=20, ge=1, le=10_000, description="other episodes, which choose among champions"
    )
    test_episodes: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="fresh episodes that the reported result is measured on",
    )
    steps: int = Field(
        default=1000,
        ge=1,
        le=10_000_000,
        description="most steps of an episode where the environment has no limit of its own",
    )
    scaling: bool = Field(
        default=True,
        description="divide observations by their bounds where these are finite and below 1e6",
    )
    timeout: float = Field(
        default=60.0,
        gt=0,
        le=1e7,
        description="seconds that one step or reset may take; a candidate whose environment takes "
        "longer is given up",
    )

    @field_validator("arguments")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Times have no form that processes are told in."""
        todo: list[Any] = [value]
        while todo:
            each = todo.pop()
            if isinstance(each, dict):
                todo += each.values()
            elif isinstance(each, list):
                todo += each
            elif not isinstance(each, bool | int | float | str):
                raise ValueError(
                    f"{each}: must be a number, true or false, text, a list or a table"
                )
        return value


def make(id: str, arguments: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """An environment, made with these keyword arguments.

    Raises InputError where Gymnasium is missing, has none of this id, or cannot make it.
    """
    if find_spec("gymnasium") is None:
        raise InputError("task gym: gymnasium is not installed; install evoml[gym]")
    import gymnasium

    if ":" not in id and id not in gymnasium.registry:
        near = get_close_matches(id, gymnasium.registry, n=3)
        raise InputError(
            f"task.id: no environment {id!r}; "
            + (f"did you mean {' or '.join(near)}?" if near else "such as CartPole-v1")
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is a newer version, for one
            if module := GymTask.code(id):
                users_module(module, f"task.id: {id}")
            return gymnasium.make(id, disable_env_checker=True, **arguments)
    except InputError:
        raise
    except Exception as error:  # whatever the code of others may raise
        given = f" with task.arguments {dict(arguments)}" if arguments else ""
        raise InputError(f"task.id: {id}{given}: {describe_exception(error)}") from None


class Interface:
    """How numbers become observations' and actions' stand-ins: `inputs` of a network, and what its
    outputs do.
    """

    def __init__(self, id: str, observations: Any, actions: Any, scaling: bool) -> None:
        """Raises InputError for spaces that no fixed number of inputs or outputs stands for."""
        from gymnasium import spaces

        self._spaces, self._observations, self._actions = spaces, observations, actions
        try:
            self.inputs = int(spaces.flatdim(observations))
        except Exception:
            raise InputError(
                f"task.id: {id}: observations {observations}; there must be a fixed number of "
                "numbers"
            ) from None
        self.outputs, self._decode = self._decoder(id, actions)
        if not 1 <= self.inputs <= MOST or not 1 <= self.outputs <= MOST:
            raise InputError(
                f"task.id: {id}: {self.inputs} inputs and {self.outputs} outputs; there must be 1 "
                f"to {MOST} of each"
            )
        self.scale = np.ones(self.inputs)
        flat = spaces.flatten_space(observations)
        if scaling and isinstance(flat, spaces.Box):
            bound = np.maximum(
                np.abs(flat.low.astype(np.float64)), np.abs(flat.high.astype(np.float64))
            ).ravel()
            self.scale = np.where(
                np.isfinite(bound) & (bound < LARGEST_BOUND) & (bound > 0), bound, 1.0
            )
        self._boxed = isinstance(observations, spaces.Box)

    def sense(self, observation: Any) -> np.ndarray:
        """An observation as numbers [I], not scaled."""
        return np.asarray(
            observation if self._boxed else self._spaces.flatten(self._observations, observation),
            np.float64,
        ).ravel()

    def act(self, outputs: np.ndarray) -> list[Any]:
        """The actions that outputs [n, O] mean."""
        return self._decode(outputs)

    def _decoder(self, id: str, actions: Any) -> tuple[int, Callable[[np.ndarray], list[Any]]]:
        spaces = self._spaces
        if isinstance(actions, spaces.Discrete):
            # integers, which environments check sooner
            return int(actions.n), lambda y: (y.argmax(1) + actions.start).tolist()
        if isinstance(actions, spaces.Box):
            return int(np.prod(actions.shape)), _boxed(actions)
        if isinstance(actions, spaces.MultiBinary):
            return int(np.prod(actions.shape)), lambda y: list(
                (y > 0.5).astype(actions.dtype).reshape(-1, *actions.shape)
            )
        if isinstance(actions, spaces.MultiDiscrete) and actions.nvec.ndim == 1:
            edges = np.cumsum(actions.nvec)[:-1]
            start = getattr(actions, "start", 0)
            return int(actions.nvec.sum()), lambda y: list(
                (
                    np.stack([part.argmax(1) for part in np.split(y, edges, axis=1)], 1) + start
                ).astype(actions.dtype)
            )
        raise InputError(
            f"task.id: {id}: actions {actions}; they must be a choice, switches, or a box of "
            "numbers"
        )


def _boxed(box: Any) -> Callable[[np.ndarray], list[Any]]:
    """What outputs [n, O] mean in a box of numbers: actions inside it."""
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    whole = box.dtype.kind in "iu"
    below, above = low > -UNBOUNDED, high < UNBOUNDED  # whether there is such a bound
    free = ~below & ~above
    both = (below & above) | free
    start, end = np.where(free, -1.0, low), np.where(free, 1.0, high)
    base = np.where(both, start, 0.0)
    width = np.where(both, end - base, 0.0) + whole  # every whole number has an equal share

    def act(outputs: np.ndarray) -> list[Any]:
        y = np.clip(outputs, 0.0, 1.0).reshape(-1, *box.shape)
        actions = base + y * width
        if not both.all():
            inner = np.clip(y, EDGE, 1 - EDGE)
            half = np.where(below, low + inner / (1 - inner), high - (1 - inner) / inner)
            actions = np.where(both, actions, half)
        actions = np.clip(np.floor(actions) if whole else actions, start, end)
        # which the type may round to the other side
        return list(np.clip(actions.astype(box.dtype), box.low, box.high))

    return act


class Episodes:
    """What one process does: networks in environments that it keeps, each network in one
    environment an episode.
    """

    def __init__(self, settings: Settings, seeds: list[int], backend: str) -> None:
        """Raises InputError."""
        self.settings, self.seeds, self.backend = settings, seeds, load("backends", backend)
        first = make(settings.id, settings.arguments)
        self.interface = Interface(
            settings.id, first.observation_space, first.action_space, settings.scaling
        )
        self.limit = None if getattr(first.spec, "max_episode_steps", None) else settings.steps
        self.idle = [first]

    def __call__(self, graphs: NeuronGraphs, beat: Callable[[], None]) -> TrialResults:
        """Mean, deviation and least of the returns."""
        out = TrialResults.none(len(graphs), 3)
        count = len(self.seeds)
        lanes: list[tuple[int, int]] = [
            (network, episode) for network in range(len(graphs)) for episode in range(count)
        ]
        environments: list[Any] = []
        inputs, returns = (
            np.zeros((len(graphs), count, graphs.inputs)),
            np.zeros((len(graphs), count)),
        )
        alive: list[int] = []
        self._beaten = time.monotonic()

        def failed(lane: int, error: BaseException) -> None:
            out.fail(lanes[lane][0], CRASHED, describe_exception(error))
            environments[lane] = None  # who knows what state it is in

        for lane, (network, episode) in enumerate(lanes):
            environments.append(
                self.idle.pop() if self.idle else make(self.settings.id, self.settings.arguments)
            )
            try:
                inputs[network, episode] = self.interface.sense(
                    environments[lane].reset(seed=self.seeds[episode])[0]
                )
                alive.append(lane)
            # whatever the code of others may raise; sys.exit() is one
            except BaseException as error:
                failed(lane, error)
            self._live(beat)
        self._check(out, inputs, returns)
        stepper = self.backend.Stepper(graphs, count, "float64")
        places = np.array(lanes, np.int64).reshape(-1, 2)
        step = 0
        while alive and (self.limit is None or step < self.limit):
            where = places[alive]
            outputs = np.asarray(stepper.step(inputs / self.interface.scale))[
                where[:, 0], where[:, 1]
            ]
            finite = np.isfinite(outputs).all(1)
            for network in where[~finite, 0].tolist():
                out.fail(network, DIVERGED, "an output is not a finite number")
            actions = self.interface.act(np.where(finite[:, None], outputs, 0.0))
            out.steps += len(alive)
            still = []
            for lane, (network, episode), action in zip(
                alive, where.tolist(), actions, strict=True
            ):
                if out.status[network] != OK:
                    continue
                try:
                    observation, reward, terminated, truncated, _ = environments[lane].step(action)
                    inputs[network, episode] = self.interface.sense(observation)
                    returns[network, episode] += float(reward)
                    if not (terminated or truncated):
                        still.append(lane)
                except BaseException as error:
                    failed(lane, error)
                self._live(beat)
            self._check(out, inputs, returns)
            alive, step = still, step + 1
        self.idle += [each for each in environments if each is not None]
        good = out.status == OK
        played = returns[good]
        out.scores[good] = np.stack([played.mean(1), played.std(1), played.min(1)], 1)
        return out

    @staticmethod
    def _check(out: TrialResults, inputs: np.ndarray, returns: np.ndarray) -> None:
        """Fail the networks whose environment gave what is not a finite number.

        inputs: observations [P, S, I]. returns: [P, S].
        """
        for what, wrong in (
            ("observation", ~np.isfinite(inputs).all((1, 2))),
            ("reward", ~np.isfinite(returns).all(1)),
        ):
            for network in np.flatnonzero(wrong & (out.status == OK)).tolist():
                out.fail(
                    network, CRASHED,
                    f"the environment, not the network: its {what} is not a finite number",
                )  # fmt: skip

    def _live(self, beat: Callable[[], None]) -> None:
        if time.monotonic() - self._beaten > BEAT:
            self._beaten = time.monotonic()
            beat()


def random_returns(settings: Settings, seeds: list[int]) -> np.ndarray:
    """Returns of episodes from these seeds in which every action is drawn at random, [S].

    Whatever the environment raises is raised.
    """
    environment = make(settings.id, settings.arguments)
    limit = None if getattr(environment.spec, "max_episode_steps", None) else settings.steps
    out = np.zeros(len(seeds))
    for episode, seed in enumerate(seeds):
        environment.reset(seed=seed)
        environment.action_space.seed(seed)
        over, step = False, 0
        while not over and (limit is None or step < limit):
            _, reward, terminated, truncated, _ = environment.step(
                environment.action_space.sample()
            )
            out[episode] += float(reward)
            over, step = bool(terminated or truncated), step + 1
    environment.close()
    return out


class Returns(PooledTrials):
    """Episodes from given seeds: mean return, its deviation over the episodes and the least one. A
    candidate whose environment raises, ends its process or hangs has a status and NaN; so has one
    with an output that is not a number.
    """

    task = "gym"
    together = True
    meaning = {
        "return": "mean sum of an episode's rewards",
        "deviation": "standard deviation of that over the episodes",
        "least": "return of the worst episode",
    }

    def __init__(self, task: "GymTask", seeds: list[int], final: bool) -> None:
        self._task, self.settings, self.seeds = task, task.settings, seeds
        self.names: tuple[str, ...] = (
            ("return", "deviation", "least") if final else ("fitness", "deviation", "least")
        )
        self.arguments = {"settings": task.settings.model_dump(mode="json"), "seeds": seeds}
        self.timeout = task.settings.timeout

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """Asked for when networks are tried: until then there is no environment."""
        return self._task.inputs

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self._task.outputs


class GymTask(TrialTask):
    """Episodes of one environment; the environment is first made when it is asked for its inputs or
    outputs.
    """

    example = None
    argument = "id"
    settings: Settings

    @classmethod
    def code(cls, argument: str) -> str:
        return argument.partition(":")[0] if ":" in argument else ""

    @cached_property
    def _interface(self) -> Interface:
        environment = make(self.settings.id, self.settings.arguments)
        try:
            return Interface(
                self.settings.id,
                environment.observation_space,
                environment.action_space,
                self.settings.scaling,
            )
        finally:
            environment.close()

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """Numbers in an observation. Raises InputError where there is no such environment."""
        return self._interface.inputs

    @property
    def outputs(self) -> int:  # type: ignore[override]
        """Numbers that an action is chosen by.

        Raises InputError where there is no such environment.
        """
        return self._interface.outputs

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """Raises InputError if `data` is given."""
        super().__init__(settings, data, seed)
        self._made: dict[tuple[int, int], Returns] = {}

    def search(self, experiment: int = 0) -> Returns:
        """Episodes of this experiment."""
        return self._returns(Split.SEARCH, experiment, self.settings.episodes)

    def select(self) -> Returns:
        """Other episodes."""
        return self._returns(Split.SELECT, 0, self.settings.select_episodes)

    def test(self) -> Returns:
        """Episodes that neither search nor selection saw."""
        return self._returns(Split.TEST, 0, self.settings.test_episodes)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Random actions, in the episodes of the test."""
        test = self.test()
        returns = random_returns(self.settings, test.seeds)
        scores = (returns.mean(), returns.std(), returns.min())
        return {"random actions": dict(zip(test.names, map(float, scores), strict=True))}

    def _returns(self, split: Split, experiment: int, count: int) -> Returns:
        """One object each, as it has processes."""
        if (split, experiment) not in self._made:
            seeds = [task_seed(self.seed, split, experiment, at, bits=31) for at in range(count)]
            self._made[split, experiment] = Returns(self, seeds, split is not Split.SEARCH)
        return self._made[split, experiment]


def worker(arguments: dict[str, Any], backend: str) -> Work:
    """What a process does. Raises InputError."""
    return Episodes(Settings.read(arguments["settings"], "task"), arguments["seeds"], backend)
