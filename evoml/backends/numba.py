"""Compiled interpretation on the CPU: batches of programs, tasks as SIMD lanes, float32 or float64.

The instructions themselves are in `_lanes.py`, generated from the operation table; here are the loops around them: decode a program once,
train on every example, validate, stop when every lane has failed.
"""

import numpy as np

from evoml._random import mix
from evoml.backends import Rules
from evoml.backends._lanes import LANES, copy, prepare, run, training_error, validation_error
from evoml.compiled import compiled
from evoml.instructions import KINDS
from evoml.programs import Memory, Programs
from evoml.tasks import TaskSet


class Backend:
    """Runs programs on one set of tasks. Not to be shared between threads: it owns the memory that programs run in."""

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
        self._later = self._train if later is None else tuple(self._lanes(array, dtype) for array in later)
        self._valid = tuple(self._lanes(array, dtype) for array in (tasks.valid_x, tasks.valid_y))
        self._seeds = np.ascontiguousarray(tasks.seeds[self._lane_of])  # [G, L]
        vectors = memory.scalars + memory.vectors * features + (memory.matrices + 1) * features**2
        self._memory = _aligned(vectors * lanes, dtype)
        self.limit = float(dtype.type(rules.max_abs_error))  # as the lanes compare it
        self._layout = np.array([memory.scalars, memory.vectors, memory.matrices, features], np.int64)

    def _lanes(self, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """[T, N, ...] to [G, N * ... * L], lanes innermost, aligned to a cache line."""
        moved = np.moveaxis(array[self._lane_of], 1, -1)
        out = _aligned(moved.size, dtype).reshape(moved.shape)
        out[...] = moved
        return out.reshape(len(moved), -1)

    def fitness(self, programs: Programs, which: np.ndarray) -> tuple[np.ndarray, int]:
        """Fitness of the programs `which` on every task, [len(which), T], and the training steps run (over all tasks)."""
        out = np.zeros((len(which), self._lane_of.size))
        _, steps = self._run(programs, which, self.rules.train, self.rules.valid, self.rules.epochs, out, False)
        return out[:, : len(self.tasks)], steps

    def fingerprints(self, programs: Programs, which: np.ndarray, train: int, valid: int) -> tuple[np.ndarray, int]:
        """A hash of the absolute errors on the first examples of all tasks, [len(which)] uint64, and the training steps run."""
        out = np.zeros((len(which), self._lane_of.size))
        return self._run(programs, which, train, valid, 1, out, True)

    def _run(
        self, programs: Programs, which: np.ndarray, train: int, valid: int, epochs: int, out: np.ndarray, record: bool
    ) -> tuple[np.ndarray, int]:
        hashes = np.zeros(len(which), np.uint64)
        lanes = self._lane_of.shape[1]
        train = min(train, self.tasks.train_y.shape[1])
        valid = min(valid, self.tasks.valid_y.shape[1])
        errors = _aligned((train + valid if record else 1) * lanes, self._memory.dtype)
        steps = _evaluate(
            programs.tables, programs.sizes, which, KINDS, self._layout, self._memory, *self._train, *self._later, *self._valid, self._seeds,
            len(self.tasks), train, valid, epochs, int(self.tasks.kind == "classification"), self.limit, errors, record, out, hashes,
        )  # fmt: skip
        return hashes, int(steps)


def _aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """A zeroed flat array that starts on a cache line."""
    raw = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)


@compiled
def _vector(kind, address, layout):
    """The number of the first vector of an address in a lane group's memory."""
    if kind == 1:
        return address
    if kind == 2:
        return layout[0] + address * layout[3]
    return layout[0] + layout[1] * layout[3] + address * layout[3] * layout[3]


@compiled
def _decode(tables, sizes, program, kinds, layout, code, constants):
    """Write a program's instructions as operation and vector numbers; return where setup, predict and learn end."""
    at = 0
    ends = np.zeros(3, np.int64)
    for function in range(3):
        for index in range(sizes[program, function]):
            row = tables[function][program, index]
            code[at, 0] = row.op
            code[at, 1] = _vector(kinds[row.op, 0], np.int64(row.a), layout)
            code[at, 2] = _vector(kinds[row.op, 1], np.int64(row.b), layout)
            code[at, 3] = _vector(kinds[row.op, 2], np.int64(row.out), layout)
            constants[at, 0] = row.x
            constants[at, 1] = row.y
            constants[at, 2] = row.z
            at += 1
        ends[function] = at
    return ends


@compiled
def _evaluate(
    tables, sizes, which, kinds, layout, memory, train_x, train_y, later_x, later_y, valid_x, valid_y, seeds,
    tasks, train, valid, epochs, classify, limit, errors, record, out, hashes,
):  # fmt: skip
    """Run the programs `which` on every lane group; fill `out` [n, G * L] and, when recording, `hashes` [n]. Returns the training steps."""
    longest = 1
    for function in range(3):
        longest += tables[function].shape[1]
    code = np.zeros((longest, 4), np.int32)
    constants = np.zeros((longest, 4), memory.dtype)
    groups, lanes = seeds.shape
    loss, nothing = np.zeros(lanes), np.zeros(lanes, memory.dtype)
    hashes_of_lanes, ended = np.zeros(lanes, np.uint64), np.zeros(lanes, np.bool_)
    trained = np.zeros(1, np.int64)
    steps = 0
    for index in range(len(which)):
        ends = _decode(tables, sizes, which[index], kinds, layout, code, constants)
        digest = np.uint64(0)
        for group in range(groups):
            used = min(lanes, tasks - group * lanes)
            fitness = out[index, group * lanes : (group + 1) * lanes]
            _run_group(
                code, constants, ends, layout, memory, train_x[group], train_y[group], later_x[group], later_y[group],
                valid_x[group], valid_y[group], seeds[group], used, train, valid, epochs, classify, limit, errors, record, loss, nothing, trained, fitness,
            )  # fmt: skip
            steps += trained[0]
            if record:
                digest = _hash_errors(errors, hashes_of_lanes, ended, used, train + valid, limit, digest)
        hashes[index] = digest
    return steps


@compiled
def _run_group(
    code, constants, ends, layout, memory, train_x, train_y, later_x, later_y, valid_x, valid_y, seeds, used,
    train, valid, epochs, classify, limit, errors, record, loss, nothing, trained, fitness,
):  # fmt: skip
    """Train and validate one program on one lane group; `fitness` [L] gets the best epoch's value, 0 for lanes that failed before one."""
    features = layout[3]
    v0 = layout[0]
    scratch = layout[0] + layout[1] * features + layout[2] * features * features
    memory[:] = 0
    fitness[:] = 0.0
    active = (np.int64(1) << used) - 1
    alive = used
    step = 0
    trained[0] = 0
    run(code, constants, 0, ends[0], memory, features, scratch, seeds, step)
    for epoch in range(epochs if train > 0 else 0):
        x, y = (train_x, train_y) if epoch == 0 else (later_x, later_y)
        for n in range(train):
            copy(memory, v0, x, n * features, features)
            copy(memory, 0, nothing, 0, 1)
            step += 1
            trained[0] += alive
            run(code, constants, ends[0], ends[1], memory, features, scratch, seeds, step)
            failed = active & training_error(memory, y, n, errors, n if record else 0, classify, limit)
            if failed != 0:
                active &= ~failed
                alive = _count(active)
                if active == 0:
                    return
            copy(memory, 0, y, n, 1)
            step += 1
            run(code, constants, ends[1], ends[2], memory, features, scratch, seeds, step)
        loss[:] = 0.0
        for m in range(valid):
            copy(memory, v0, valid_x, m * features, features)
            copy(memory, 0, nothing, 0, 1)
            step += 1
            run(code, constants, ends[0], ends[1], memory, features, scratch, seeds, step)
            active &= ~validation_error(memory, valid_y, m, errors, train + m if record else 0, loss, classify, limit)
            if active == 0:
                return
        alive = _count(active)
        for lane in range(used):
            if (active >> lane) & 1:
                mean = loss[lane] / valid
                value = 1.0 - mean if classify else 1.0 - 2.0 / np.pi * np.arctan(np.sqrt(mean))
                fitness[lane] = max(fitness[lane], value)


@compiled
def _count(mask):
    """How many bits are set."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@compiled
def _hash_errors(errors, hashes, ended, used, count, limit, digest):
    """Hash the errors of every lane side by side, then the lanes; a lane that failed is hashed up to its failure."""
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
    for lane in range(used):
        digest = mix(digest, hashes[lane])
    return digest
