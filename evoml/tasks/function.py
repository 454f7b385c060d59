"""A Python function of yours as the task: it is given a network to call, and returns how good that
is, larger being better.

    def fitness(network):
        return -abs(network(numpy.array([0.5, 1.0]))[0] - 0.25)

It is given a `Network` and returns a finite number. One that raises, calls sys.exit() or returns
what is no finite number costs that candidate; so does one that ends its process or takes longer
than `timeout`. It has no input to read, and what it prints is thrown away.

With `whole` it is given all networks of a generation at once, a list, and returns a number for
each: for players that meet each other, or networks that are judged by how they differ. One list is
then tried on one process, and where it raises all of it has failed.

    def tournament(networks):
        return [sum(wins(one, other) for other in networks) for one in networks]

`--task function:mymodule:fitness`; the module is looked for in the current folder first. A
recurrent network remembers from call to call until `network.reset()`, and every candidate starts
without memory. The function runs in processes of its own, when something is searched, resumed or
evaluated and never when a run is only read.
"""

from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator

from evoml.core import settings
from evoml.core.errors import InputError
from evoml.core.registry import load, users_module
from evoml.core.wording import describe_exception
from evoml.genotypes.population import CRASHED, DIVERGED
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.tasks._trial_workers import PooledTrials, TrialResults, Work
from evoml.tasks._trials import TrialTask


class Settings(settings.Settings):
    """Which function, and what networks it is given."""

    path: str = Field(
        description="the function, as mymodule:fitness; of a module on Python's path or in the "
        "current folder"
    )
    inputs: int = Field(ge=1, le=100_000, description="inputs of a network")
    outputs: int = Field(ge=1, le=100_000, description="outputs of a network")
    timeout: float = Field(
        default=60.0,
        gt=0,
        le=1e7,
        description="seconds that a candidate may take; one that takes longer is given up",
    )
    whole: bool = Field(
        default=False,
        description="whether the function is given a list, all networks of a generation, and "
        "returns a number for each; the best of a generation is then selected and tested alone, as "
        "a list of one",
    )

    @field_validator("path")
    @classmethod
    def _names_both(cls, path: str) -> str:
        module, _, name = path.partition(":")
        if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ValueError("must be a module and a function of it, such as mymodule:fitness")
        return path


class Network:
    """What the function is given.

    Calling it with inputs [..., I] gives outputs [..., O], float64.
    """

    def __init__(self, graphs: NeuronGraphs, backend: str) -> None:
        """`graphs` has one network."""
        self.inputs, self.outputs, self.recurrent = graphs.inputs, graphs.outputs, graphs.recurrent
        self.evaluations = 0
        self._graphs, self._backend = graphs, load("backends", backend)
        self._stepper: Any = None
        self._lanes = 0

    def reset(self) -> None:
        """Forget what earlier calls left in a recurrent network."""
        self._stepper = None

    def __call__(self, inputs: Any) -> np.ndarray:
        """Raises ValueError for inputs that are not [..., I], or another number of them than a
        recurrent network remembers.
        """
        inputs = np.asarray(inputs, np.float64)
        if not inputs.ndim or inputs.shape[-1] != self.inputs:
            raise ValueError(
                f"inputs of shape {list(inputs.shape)}; the last axis must be {self.inputs}"
            )
        flat = np.ascontiguousarray(inputs.reshape(-1, self.inputs))
        self.evaluations += len(flat)
        if not self.recurrent:
            out = self._backend.forward(self._graphs, flat, None, dtype="float64", sweeps=1)[0]
        else:
            if self._stepper is None:
                self._stepper, self._lanes = (
                    self._backend.Stepper(self._graphs, len(flat), "float64"),
                    len(flat),
                )
            if len(flat) != self._lanes:
                raise ValueError(
                    f"{len(flat)} inputs at once after {self._lanes}; call reset() first, or "
                    "always give as many"
                )
            out = self._stepper.step(flat[None])[0]
        return np.array(out, np.float64).reshape(*inputs.shape[:-1], self.outputs)


class Function(PooledTrials):
    """The function, called once a candidate."""

    task = "function"
    names: tuple[str, ...] = ("fitness",)

    def __init__(self, settings: Settings) -> None:
        self.settings, self.inputs, self.outputs = settings, settings.inputs, settings.outputs
        self.whole = settings.whole
        self.arguments = {"path": settings.path} | ({"whole": True} if settings.whole else {})
        self.timeout = settings.timeout


class FunctionTask(TrialTask):
    """One function for search, selection and test."""

    example = None
    argument = "path"
    settings: Settings

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        """`seed` changes nothing; imports nothing. Raises InputError if `data` is given."""
        super().__init__(settings, data, seed)
        self.inputs, self.outputs = settings.inputs, settings.outputs
        self._function = Function(settings)

    @classmethod
    def code(cls, argument: str) -> str:
        return argument.partition(":")[0]

    def search(self, experiment: int = 0) -> Function:
        """The function."""
        return self._function

    def select(self) -> Function:
        """The function."""
        return self._function

    def test(self) -> Function:
        """The function."""
        return self._function


def worker(arguments: dict[str, Any], backend: str) -> Work:
    """What a process does: call the function. Raises InputError where it cannot be imported."""
    path = arguments["path"]
    function: Any = find(path)
    if arguments.get("whole"):
        return _whole(function, backend)

    def work(graphs: NeuronGraphs, beat: Callable[[], None]) -> TrialResults:
        out = TrialResults.none(len(graphs), 1)
        for at in range(len(graphs)):
            network = Network(graphs.take(np.array([at])), backend)
            try:
                value = float(function(network))
            except BaseException as error:  # sys.exit() is one
                out.fail(at, CRASHED, describe_exception(error))
            else:
                if isfinite(value):
                    out.scores[at] = value
                else:
                    out.fail(at, DIVERGED, f"it returned {value}")
            out.steps += network.evaluations
        return out

    return work


def _whole(function: Callable[[list[Network]], Any], backend: str) -> Work:
    """Calls a function with all networks at once."""

    def work(graphs: NeuronGraphs, beat: Callable[[], None]) -> TrialResults:
        out = TrialResults.none(len(graphs), 1)
        networks = [Network(graphs.take(np.array([at])), backend) for at in range(len(graphs))]
        try:
            values = np.asarray(function(networks), np.float64)
            if values.shape != (len(networks),):
                raise ValueError(
                    f"it returned {list(values.shape)} numbers for {len(networks)} networks"
                )
        except BaseException as error:  # sys.exit() is one
            for at in range(len(networks)):
                out.fail(at, CRASHED, describe_exception(error))
            return out
        for at, value in enumerate(values.tolist()):
            if isfinite(value):
                out.scores[at] = value
            else:
                out.fail(at, DIVERGED, f"it returned {value}")
        out.steps = sum(network.evaluations for network in networks)
        return out

    return work


def find(path: str) -> Callable[[Network], float]:
    """The function that `path` names. Raises InputError."""
    module, _, name = path.partition(":")
    try:
        function = vars(users_module(module, f"task.path: {path}")).get(name)
    except InputError:
        raise
    except ModuleNotFoundError as error:
        if error.name and module.startswith(error.name):
            raise InputError(
                f"task.path: {path}: no module {module} on Python's path or in the current folder"
            ) from None
        raise InputError(
            f"task.path: {path}: importing it failed: {describe_exception(error)}"
        ) from None
    except BaseException as error:  # sys.exit() is one
        raise InputError(
            f"task.path: {path}: importing it failed: {describe_exception(error)}"
        ) from None
    if not callable(function):
        raise InputError(
            f"task.path: {path}: "
            f"{'not a function' if function is not None else f'no function {name} in module {module}'}"  # noqa: E501
        )
    return function
