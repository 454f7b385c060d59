"""The definition of what a program does: NumPy, float64, one task and one example at a time.

Networks of single neurons (`forward`, `Stepper`) are defined here too.

The order of evaluation is AutoML-Zero's published program (Real et al. 2020, arXiv 2003.03384).
Departures: noise comes from a counter, so that it depends on nothing but the task, the step and the
instruction; a task whose validation fails ends there, where the program goes on with the next
epoch.
"""

from hashlib import blake2b

import numpy as np

from evoml.backends import Rules
from evoml.contracts.task import TaskSet
from evoml.core.streams import outputs
from evoml.phenotypes.activations import ACTIVATIONS, AGGREGATIONS
from evoml.phenotypes.instructions import OPS
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.phenotypes.programs import Memory, Programs

FORK_SAFE = True
_LETTERS = ("s", "v", "m")


class Noise:
    """Random numbers of one instruction in one step: SplitMix64 from the task's seed, numbered by
    step, instruction and element.
    """

    def __init__(self, seed: int, step: int, instruction: int) -> None:
        self.seed = np.array([seed], np.uint64)
        self.first = (step * 1024 + instruction) * 2**20

    def _bits(self, shape: tuple[int, ...]) -> np.ndarray:
        return outputs(self.seed, self.first + np.arange(int(np.prod(shape)))).reshape(shape)

    def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        """Uniform in [0, 1)."""
        return (self._bits(shape) >> np.uint64(11)) * 2.0**-53

    def gaussian(self, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normal, by Box and Muller from the two halves of the bits."""
        bits = self._bits(shape)
        radius = ((bits >> np.uint64(32)) + 0.5) * 2.0**-32
        angle = (bits & np.uint64(0xFFFFFFFF)) * (2.0**-32 * 2.0 * np.pi)
        return np.sqrt(-2.0 * np.log(radius)) * np.cos(angle)


class Machine:
    """One program on one task: typed memory, all zero before setup."""

    def __init__(self, programs: Programs, index: int, features: int, seed: int) -> None:
        memory = programs.memory
        self.banks = {
            "s": np.zeros(memory.scalars),
            "v": np.zeros((memory.vectors, features)),
            "m": np.zeros((memory.matrices, features, features)),
        }
        self.functions = [programs.rows(index, function) for function in range(3)]
        self.first = np.cumsum([0, *(len(rows) for rows in self.functions)])
        self.seed = seed
        self.step = 0

    def call(self, function: int) -> None:
        """Run setup (0), predict (1) or learn (2)."""
        with np.errstate(all="ignore"):
            for index, row in enumerate(self.functions[function]):
                self._execute(row, int(self.first[function]) + index)
        self.step += 1

    def _execute(self, row: np.void, instruction: int) -> None:
        op = OPS[row["op"]]
        if not op.out:
            return
        bank = self.banks[op.out]
        if op.ins:
            bank[row["out"]] = op.numpy(
                *(self.banks[kind][row[name]] for kind, name in zip(op.ins, "ab", strict=False))
            )
        else:
            constants = [row[name] for name in "xyz"[: len(op.constants)]]
            bank[row["out"]] = op.numpy(
                Noise(self.seed, self.step, instruction), bank[row["out"]], *constants
            )

    def predict(self, features: np.ndarray) -> float:
        """s1 after predict, which sees the features and never the label."""
        self.banks["v"][0], self.banks["s"][0] = features, 0.0
        self.call(1)
        return float(self.banks["s"][1])

    def learn(self, features: np.ndarray, label: float) -> None:
        self.banks["v"][0], self.banks["s"][0] = features, label
        self.call(2)


def sigmoid(x: float) -> float:
    with np.errstate(over="ignore"):
        return float(1.0 / (1.0 + np.exp(-np.float64(x))))


class Backend:
    """Runs programs on one set of tasks, one after the other."""

    def __init__(self, tasks: TaskSet, memory: Memory, rules: Rules) -> None:
        self.tasks, self.memory, self.rules = tasks, memory, rules
        self._later = (
            rules.later_order(tasks) if rules.epochs > 1 else (tasks.train_x, tasks.train_y)
        )

    def fitness(self, programs: Programs, which: np.ndarray) -> tuple[np.ndarray, int]:
        """Fitness of the programs `which` on every task, [len(which), T], and the training steps
        run (over all tasks).
        """
        out, steps = np.zeros((len(which), len(self.tasks))), 0
        for i, index in enumerate(which):
            for task in range(len(self.tasks)):
                out[i, task], trained, _ = self._run(
                    programs, index, task, self.rules.train, self.rules.valid, self.rules.epochs
                )
                steps += trained
        return out, steps

    def fingerprints(
        self, programs: Programs, which: np.ndarray, train: int, valid: int
    ) -> tuple[np.ndarray, int]:
        """A hash of the absolute errors on the first examples of all tasks, [len(which)] uint64,
        and the training steps run.
        """
        out, steps = np.zeros(len(which), np.uint64), 0
        for i, index in enumerate(which):
            digest = blake2b(digest_size=8)
            for task in range(len(self.tasks)):
                _, trained, errors = self._run(programs, index, task, train, valid, 1)
                digest.update(np.array([len(errors), *errors]).tobytes())
                steps += trained
            out[i] = np.frombuffer(digest.digest(), np.uint64)[0]
        return out, steps

    def _run(
        self, programs: Programs, index: int, task: int, train: int, valid: int, epochs: int
    ) -> tuple[float, int, list[float]]:
        """Fitness on one task, training steps, and the absolute errors of the first epoch up to a
        failure.
        """
        tasks, classify = self.tasks, self.tasks.kind == "classification"
        machine = Machine(programs, index, tasks.features, int(tasks.seeds[task]))
        machine.call(0)
        best, steps = 0.0, 0
        errors: list[float] = []
        for epoch in range(epochs if train > 0 else 0):
            x, y = (tasks.train_x, tasks.train_y) if epoch == 0 else self._later
            for features, label in zip(x[task, :train], y[task, :train], strict=True):
                steps += 1
                prediction = machine.predict(features)
                if classify:
                    prediction = machine.banks["s"][1] = sigmoid(prediction)
                error = abs(label - prediction)
                if not error <= self.rules.max_abs_error:
                    return best, steps, errors
                errors.append(error)
                machine.learn(features, label)
            loss, checked = 0.0, tasks.valid_y[task, :valid]
            for features, label in zip(tasks.valid_x[task, :valid], checked, strict=True):
                prediction = machine.predict(features)
                error = (
                    float((label > 0.5) != (sigmoid(prediction) > 0.5))
                    if classify
                    else abs(label - prediction)
                )
                if not error <= self.rules.max_abs_error:
                    return best, steps, errors
                errors.append(error)
                loss += error * error
            mean = loss / len(checked)
            best = max(
                best,
                1.0 - mean if classify else 1.0 - 2.0 / np.pi * float(np.arctan(np.sqrt(mean))),
            )
        return best, steps, errors


def _sweep(graphs: NeuronGraphs, network: int, values: np.ndarray) -> None:
    """One step of one network on values [slots, N]: node after node, or all from the values
    before.
    """
    old = values.copy() if graphs.recurrent else values
    for row in range(graphs.nodes[network], graphs.nodes[network + 1]):
        links = slice(graphs.links[row], graphs.links[row + 1])
        weight, source = graphs.weight[links], graphs.source[links]
        values[graphs.slot[row]] = 0.0
        if len(weight):
            total = AGGREGATIONS[graphs.aggregation[row]].numpy(weight[:, None] * old[source])
            values[graphs.slot[row]] = ACTIVATIONS[graphs.activation[row]].numpy(total)


def forward(
    graphs: NeuronGraphs,
    inputs: np.ndarray,
    which: np.ndarray | None = None,
    dtype: str = "float64",
    sweeps: int = 1,
) -> np.ndarray:
    """Outputs [P, N, O] of the networks `which` (all of them) on inputs [N, I], the same for all.

    Feed-forward: one pass. Recurrent: from zero memory, so many synchronous sweeps with the inputs
    held. float64, whatever `dtype` says.
    """
    which = np.arange(len(graphs)) if which is None else which
    out = np.zeros((len(which), len(inputs), graphs.outputs))
    with np.errstate(all="ignore"):
        for index, network in enumerate(which):
            values = np.zeros((graphs.slots[network], len(inputs)))
            values[: graphs.inputs], values[graphs.inputs] = np.asarray(inputs).T, graphs.bias
            for _ in range(sweeps if graphs.recurrent else 1):
                _sweep(graphs, network, values)
            out[index] = values[graphs.inputs + 1 : graphs.inputs + 1 + graphs.outputs].T
    return out


class Stepper:
    """All networks side by side through time, each in L episodes: `memory` [P, slots, L] is what
    they remember.

    float64, whatever `dtype` says.
    """

    def __init__(self, graphs: NeuronGraphs, lanes: int, dtype: str = "float64") -> None:
        self.graphs = graphs
        self.memory = np.zeros((len(graphs), int(graphs.slots.max(initial=0)), lanes))

    def reset(self, mask: np.ndarray | None = None) -> None:
        """Forget everything, or what the networks remember of the episodes in mask [P, L]."""
        self.memory[np.broadcast_to(True if mask is None else mask[:, None], self.memory.shape)] = (
            0.0
        )

    def step(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs [P, L, O] after one pass or one synchronous sweep on inputs [P, L, I]."""
        graphs, memory = self.graphs, self.memory
        memory[:, : graphs.inputs], memory[:, graphs.inputs] = (
            np.swapaxes(inputs, 1, 2),
            graphs.bias,
        )
        with np.errstate(all="ignore"):
            for network in range(len(graphs)):
                _sweep(graphs, network, memory[network])
        return np.swapaxes(
            memory[:, graphs.inputs + 1 : graphs.inputs + 1 + graphs.outputs], 1, 2
        ).copy()
