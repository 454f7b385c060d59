"""Compiled interpretation on the CPU: batches of programs, tasks as SIMD lanes, float32 or float64.

The instructions themselves are in `_lanes.py`, generated from the operation table; here a program
is written down as code for them, and run on one group of lanes after the other. Networks of single
neurons have kernels of their own (`_graphs.py`), whose lanes are inputs.
"""

from typing import NamedTuple

import numpy as np

from evoml.backends import Rules, _graph_lanes, _graphs
from evoml.backends._lanes import ACTIVE, END, LANES, LOAD, NEXT, SCORE, STEP, STEPS, prepare, run
from evoml.compilation.numba_cache import compiled
from evoml.compilation.random_kernels import mix
from evoml.contracts.task import TaskSet
from evoml.phenotypes.instructions import KINDS
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.phenotypes.programs import Memory, Programs

FORK_SAFE = True  # the kernels start no threads


class Layout(NamedTuple):
    """Where what lies in a lane group's memory, in vectors of `lanes` numbers.

    Arrays are by type: none, scalar, vector, matrix.
    """

    first: np.ndarray  # [4] of address 0
    length: np.ndarray  # [4] of one address
    scratch: int  # F * F vectors that belong to no address
    features: int  # F
    lanes: int


def layout(memory: Memory, features: int, lanes: int) -> Layout:
    """Scalars, vectors, matrices, scratch."""
    length = np.array([0, 1, features, features**2], np.int64)
    ends = np.cumsum(length * [0, memory.scalars, memory.vectors, memory.matrices])
    return Layout(np.array([0, *ends[:3]]), length, int(ends[3]), features, lanes)


class Backend:
    """Runs programs on one set of tasks.

    Not to be shared between threads: it owns the memory that programs run in.
    """

    def __init__(self, tasks: TaskSet, memory: Memory, rules: Rules) -> None:
        self.tasks, self.memory, self.rules = tasks, memory, rules
        dtype = np.dtype(rules.dtype)
        prepare(dtype)
        lanes = LANES[dtype]
        features = tasks.features
        self._lane_of = np.resize(np.arange(len(tasks)), -(-len(tasks) // lanes) * lanes).reshape(
            -1, lanes
        )  # [G, L]; idle lanes repeat tasks
        self._train = tuple(self._lanes(array, dtype) for array in (tasks.train_x, tasks.train_y))
        later = rules.later_order(tasks) if rules.epochs > 1 else None
        self._later = (
            self._train if later is None else tuple(self._lanes(array, dtype) for array in later)
        )
        self._valid = tuple(self._lanes(array, dtype) for array in (tasks.valid_x, tasks.valid_y))
        self._seeds = tasks.seeds[self._lane_of].reshape(-1)  # [G * L]
        self._layout = layout(memory, features, lanes)
        self._memory = _aligned((self._layout.scratch + features**2) * lanes, dtype)
        self.limit = float(dtype.type(rules.max_abs_error))  # as the lanes compare it

    def _lanes(self, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """[T, N, ...] to [G * N * ... * L], lanes innermost, aligned to a cache line."""
        moved = np.moveaxis(array[self._lane_of], 1, -1)
        out = _aligned(moved.size, dtype).reshape(moved.shape)
        out[...] = moved
        return out.reshape(-1)

    def fitness(self, programs: Programs, which: np.ndarray) -> tuple[np.ndarray, int]:
        """Fitness of the programs `which` on every task, [len(which), T], and the training steps
        run (over all tasks).
        """
        out = np.zeros((len(which), self._lane_of.size))
        _, steps = self._run(
            programs, which, self.rules.train, self.rules.valid, self.rules.epochs, out, False
        )
        return out[:, : len(self.tasks)], steps

    def fingerprints(
        self, programs: Programs, which: np.ndarray, train: int, valid: int
    ) -> tuple[np.ndarray, int]:
        """A hash of the absolute errors on the first examples of all tasks, [len(which)] uint64,
        and the training steps run.
        """
        out = np.zeros((len(which), self._lane_of.size))
        return self._run(programs, which, train, valid, 1, out, True)

    def _run(
        self,
        programs: Programs,
        which: np.ndarray,
        train: int,
        valid: int,
        epochs: int,
        out: np.ndarray,
        record: bool,
    ) -> tuple[np.ndarray, int]:
        hashes = np.zeros(len(which), np.uint64)
        train = min(train, self.tasks.train_y.shape[1])
        valid = min(valid, self.tasks.valid_y.shape[1])
        errors = self.errors(train + valid if record else 0)
        steps = self._call(programs, which, train, valid, epochs, errors, record, out, hashes)
        return hashes, int(steps)

    def last_errors(self, programs: Programs) -> np.ndarray:
        """`validation_errors`, of as many tasks as there are lanes at most."""
        train, valid = self.rules.train, self.rules.valid
        errors = self.errors(train + valid)
        errors[:] = np.nan  # where it ends before
        self._call(
            programs, np.arange(1), train, valid, self.rules.epochs, errors, True,
            np.zeros((1, self._lane_of.size)), np.zeros(1, np.uint64),
        )  # fmt: skip
        found = errors.reshape(train + valid, -1)[:, : len(self.tasks)].T.astype(np.float64)
        failed = ~(found <= self.limit).all(1, keepdims=True)
        return np.where(failed, np.nan, found[:, train:])

    def _call(
        self, programs: Programs, which: np.ndarray, train: int, valid: int, epochs: int,
        errors: np.ndarray, record: bool, out: np.ndarray, hashes: np.ndarray,
    ) -> int:  # fmt: skip
        steps: int = _evaluate(
            programs.tables, programs.sizes, which, KINDS, self._layout, self._memory, *self._train,
            *self._later, *self._valid, self._seeds, len(self.tasks), train, valid, epochs,
            self.examples, int(self.tasks.kind == "classification"), self.limit, errors, record,
            out, hashes,
        )  # fmt: skip
        return steps

    @property
    def examples(self) -> tuple[int, int, int]:
        """Training and validation examples that a lane group has in memory, and training examples
        in a later epoch's order.
        """
        train, valid = self.tasks.train_y.shape[1], self.tasks.valid_y.shape[1]
        return train, valid, min(self.rules.train, train) if self.rules.epochs > 1 else train

    def errors(self, examples: int) -> np.ndarray:
        """Room for the errors of a lane group on so many examples."""
        return _aligned(max(examples, 1) * self._lane_of.shape[1], self._memory.dtype)


def validation_errors(
    programs: Programs, tasks: TaskSet, memory: Memory, rules: Rules
) -> np.ndarray:
    """Absolute errors of the first program on the validation examples of all tasks after its last
    epoch, [T, M]; NaN where it failed in that epoch.
    """
    lanes = LANES[np.dtype(rules.dtype)]
    out = np.empty(tasks.valid_y.shape)
    for first in range(0, len(tasks), lanes):
        some = slice(first, first + lanes)
        out[some] = Backend(tasks.part(some), memory, rules).last_errors(programs)
    return out


def _aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """A zeroed flat array that starts on a cache line."""
    raw = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)


@compiled
def _decode(tables, sizes, program, kinds, layout, code, constants, used):
    """Write a program down as its phases, setup from row 0 and an example from row `begin` on,
    which is returned; `used` [4]: its addresses.
    """
    used[:] = 0
    at = place = 0
    begin = sizes[program, 0] + 1
    for function in range(3):
        rows = tables[function][program]
        for index in range(sizes[program, function]):
            row = rows[index]
            op = row.op
            a, b, out = kinds[op, 0], kinds[op, 1], kinds[op, 2]
            code[at, 0] = np.int64(op) | place << 16
            code[at, 1] = layout.first[a] + row.a * layout.length[a]
            code[at, 2] = layout.first[b] + row.b * layout.length[b]
            code[at, 3] = layout.first[out] + row.out * layout.length[out]
            constants[at, 0], constants[at, 1], constants[at, 2] = row.x, row.y, row.z
            used[a] |= np.uint64(1) << np.uint64(row.a)
            used[b] |= np.uint64(1) << np.uint64(row.b)
            used[out] |= np.uint64(1) << np.uint64(row.out)
            at += 1
            place += 1
        code[at, 0] = END if function == 0 else SCORE if function == 1 else NEXT
        code[at, 1] = begin + 1
        at += 1
        if function == 0:
            code[at, 0] = LOAD
            at += 1
    return begin


@compiled
def _wipe(layout, used, memory):
    """Set to zero what a program uses, and s1, which is read whatever it does."""
    used[1] |= np.uint64(2)
    for kind in range(1, 4):
        left, address = used[kind], 0
        length = layout.length[kind] * layout.lanes
        while left:
            if left & np.uint64(1):
                start = layout.first[kind] * layout.lanes + address * length
                for index in range(start, start + length):
                    memory[index] = 0
            left >>= np.uint64(1)
            address += 1


@compiled
def _evaluate(
    tables, sizes, which, kinds, layout, memory, train_x, train_y, later_x, later_y, valid_x,
    valid_y, seeds, tasks, train, valid, epochs, examples, classify, limit, errors, record, out,
    hashes,
):  # fmt: skip
    """Run the programs `which` on every lane group. Returns the training steps.

    Fills `out` [n, G * L] or, when recording, `hashes` [n].
    """
    lanes = layout.lanes
    longest = 5 + tables[0].shape[1] + tables[1].shape[1] + tables[2].shape[1]
    code, constants = np.zeros((longest, 4), np.int32), np.zeros((longest, 4), memory.dtype)
    used, state = np.zeros(4, np.uint64), np.zeros(3, np.int64)
    loss, hashes_of_lanes, ended = (
        np.zeros(lanes),
        np.zeros(lanes, np.uint64),
        np.zeros(lanes, np.bool_),
    )
    steps = 0
    for index in range(len(which)):
        begin = _decode(tables, sizes, which[index], kinds, layout, code, constants, used)
        for group in range(len(seeds) // lanes):
            in_use = min(lanes, tasks - group * lanes)
            _wipe(layout, used, memory)
            state[STEP], state[ACTIVE], state[STEPS] = 0, (1 << in_use) - 1, 0
            _run_group(
                code, begin, constants, layout, memory, train_x, train_y, later_x, later_y, valid_x,
                valid_y, seeds, group, state, train, valid, epochs, examples, classify, limit,
                errors, record, loss, out, index,
            )  # fmt: skip
            steps += state[STEPS]
            if record:
                first = np.uint64(group * lanes)
                hashes[index] += _hash_errors(
                    errors, hashes_of_lanes, ended, in_use, train + valid, limit, first
                )
    return steps


@compiled
def _run_group(
    code, begin, constants, layout, memory, train_x, train_y, later_x, later_y, valid_x, valid_y,
    seeds, group, state, train, valid, epochs, examples, classify, limit, errors, record, loss, out,
    index,
):  # fmt: skip
    """Train and validate one program on one lane group; a lane's fitness is the best epoch's, 0 if
    it failed before one.
    """
    features, lanes, scratch, v0 = layout.features, layout.lanes, layout.scratch, layout.first[2]
    stride, lane = np.int64(record), group * lanes
    run(
        code, 0, constants, memory, v0, scratch, features, seeds, lane, state,
        train_x, train_y, 0, 0, errors, 0, 0, loss, 0, classify, limit,
    )  # fmt: skip
    state[STEP] = 1
    for epoch in range(epochs if train > 0 else 0):
        x, y = (train_x, train_y) if epoch == 0 else (later_x, later_y)
        run(
            code, begin, constants, memory, v0, scratch, features, seeds, lane, state, x, y,
            group * examples[0 if epoch == 0 else 2], train, errors, 0, stride, loss, 1, classify,
            limit,
        )  # fmt: skip
        if state[ACTIVE] == 0:
            return
        loss[:] = 0.0
        run(
            code, begin, constants, memory, v0, scratch, features, seeds, lane, state, valid_x,
            valid_y, group * examples[1], valid, errors, train * stride, stride, loss, 0, classify,
            limit,
        )  # fmt: skip
        for each in range(0 if record else lanes):
            if (state[ACTIVE] >> each) & 1:
                mean = loss[each] / valid
                value = 1.0 - mean if classify else 1.0 - 2.0 / np.pi * np.arctan(np.sqrt(mean))
                out[index, lane + each] = max(out[index, lane + each], value)


@compiled
def _hash_errors(errors, hashes, ended, used, count, limit, first):
    """Hash the errors of every lane side by side, up to its failure where it has one; the sum over
    lanes, of which `first` is the first task.
    """
    lanes = len(hashes)
    hashes[:] = np.uint64(0x2545F4914F6CDD1D)
    ended[:] = False
    for n in range(count):
        for lane in range(lanes):
            error = np.float64(errors[n * lanes + lane])
            ended[lane] |= not error <= limit
            bits = np.uint64(0xFFF8000000000000) if ended[lane] else error.view(np.uint64)
            mixed = (hashes[lane] ^ bits) * np.uint64(0x9E3779B97F4A7C15)
            hashes[lane] = mixed ^ (mixed >> np.uint64(29))
    digest = np.uint64(0)
    for lane in range(used):
        digest += mix(first + np.uint64(lane), hashes[lane])
    return digest


# bytes of node values that a network is computed in at a time, at most: they are to stay in the
# first-level cache
NEAR = 24 * 2**10
WIDEST = 16  # vectors of them in a row, at most


def _columns(graphs: NeuronGraphs, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """What the kernels read of node rows and links."""
    with np.errstate(over="ignore"):
        weight = graphs.weight.astype(dtype, copy=False)
    return (
        graphs.nodes,
        graphs.slot,
        graphs.activation,
        graphs.aggregation,
        graphs.links,
        graphs.source,
        weight,
    )


def forward(
    graphs: NeuronGraphs,
    inputs: np.ndarray,
    which: np.ndarray | None = None,
    dtype: str = "float64",
    sweeps: int = 1,
) -> np.ndarray:
    """Outputs [P, N, O] float64 of the networks `which` (all of them) on inputs [N, I], the same
    for all, computed in `dtype`.

    Feed-forward: one pass. Recurrent: from zero memory, so many synchronous sweeps with the inputs
    held. float64 is the reference's result up to the rounding of exp, tanh, sin and cos; in float32
    a function is right to some 4e-7 of 1 + its value, sin(a) and cos(a) to 4e-7 (1 + abs(a)).
    """
    real = np.dtype(dtype)
    _graph_lanes.prepare(real)
    which = np.arange(len(graphs)) if which is None else np.asarray(which, np.int64)
    lanes, slots = LANES[real], int(graphs.slots[which].max(initial=graphs.inputs + 1))
    near = max(NEAR // (slots * lanes * real.itemsize), 1)
    vectors = min(
        WIDEST,
        max(near // _graph_lanes.BLOCK * _graph_lanes.BLOCK, 1),
        max(-(-len(inputs) // lanes), 1),
    )
    with np.errstate(over="ignore"):
        rows, bias = np.ascontiguousarray(np.asarray(inputs).T, real), real.type(graphs.bias)
    memory, scratch = (
        _aligned(size * vectors * lanes, real) for size in (slots, slots if graphs.recurrent else 0)
    )
    out = np.empty((len(which), len(inputs), graphs.outputs))
    _graphs.forward(
        graphs.slots,
        *_columns(graphs, real),
        graphs.recurrent,
        which,
        rows,
        bias,
        memory,
        scratch,
        vectors,
        lanes,
        sweeps,
        out,
    )
    return out


class Stepper:
    """All networks side by side through time, each in L episodes, computed in `dtype`.

    Not to be shared between threads.
    """

    def __init__(self, graphs: NeuronGraphs, lanes: int, dtype: str = "float64") -> None:
        real = np.dtype(dtype)
        _graph_lanes.prepare(real)
        self.graphs, self.lanes = graphs, lanes
        self._columns = _columns(graphs, real)
        self._vectors = -(-lanes // LANES[real])
        slots, width = int(graphs.slots.max(initial=0)), self._vectors * LANES[real]
        self._memory = _aligned(len(graphs) * slots * width, real).reshape(
            len(graphs), slots, width
        )
        self._scratch = _aligned(slots * width, real)
        self._memory[:, graphs.inputs : graphs.inputs + 1] = graphs.bias

    @property
    def memory(self) -> np.ndarray:
        """[P, slots, L], what the networks remember."""
        return self._memory[:, :, : self.lanes]

    def reset(self, mask: np.ndarray | None = None) -> None:
        """Forget everything, or what the networks remember of the episodes in mask [P, L]."""
        nodes = self.memory[:, self.graphs.inputs + 1 :]
        nodes[np.broadcast_to(True if mask is None else mask[:, None], nodes.shape)] = 0.0

    def step(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs [P, L, O] float64 after one pass or one synchronous sweep on inputs [P, L, I]."""
        count, slots, width = self._memory.shape
        out = np.empty((count, self.lanes, self.graphs.outputs))
        flat = self._memory.reshape(count, slots * width)
        _graphs.advance(
            *self._columns,
            self.graphs.recurrent,
            np.asarray(inputs, np.float64),
            flat,
            self._scratch,
            self._vectors,
            width,
            out,
        )
        return out
