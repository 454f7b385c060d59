"""NVIDIA GPUs through CuPy: batches of programs, one thread a program and task, or of networks of
single neurons, one a network and input.

The CUDA C source is generated from the operation table (`_cuda_source.py`, `_cuda.cu`). The tasks'
data stay on the device, and so do the instructions of a batch while it is scored; what goes back
and forth is which programs to run and what they scored.
"""

import tempfile
import weakref
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from evoml.backends import Rules
from evoml.backends._cuda_graphs import graph_source
from evoml.backends._cuda_source import source
from evoml.contracts.task import TaskSet
from evoml.core.errors import InputError
from evoml.core.streams import GOLDEN, mix
from evoml.phenotypes.neuron_graphs import NeuronGraphs
from evoml.phenotypes.programs import Memory, Programs

# A GPU holds some 100,000 threads at once. With fewer than 16,384 (512 warps, four for each of 128
# multiprocessors) most of it idles, and what one slow thread takes for a program is not made up for
# by their number. An estimate, to be moved where a measurement says so.
LEAST = 16_384
FORK_SAFE = False  # a device's context does not stand a fork
WARP, WARPS = 32, 4  # threads in a warp; warps in a block
# bytes that programs run in, at most; a quarter of what is free where that is less
WORKSPACE = 2**30
# a contracted a * b + c would differ from the reference; the rest of IEEE arithmetic is NVRTC's
# default
OPTIONS = ("--fmad=false",)


@cache
def missing() -> str:
    """Why programs cannot run on a GPU here, in one line; empty where they can."""
    if find_spec("cupy") is None:
        return "backend cuda: CuPy is not installed; pip install 'evoml[cuda]'"
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
        cupy.cuda.nvrtc.getVersion()
    # CuPy raises errors of its own and of the loader, by what is missing
    except Exception as error:
        return (
            f"backend cuda: no NVIDIA GPU that CuPy can use ({' '.join(str(error).split())[:200]})"
        )
    return ""


class Compute(Protocol):
    """What the backend needs of a device.

    An array on the device is what `put` and `empty` return.
    """

    workspace: int  # bytes that programs may run in

    def put(self, array: np.ndarray) -> Any: ...

    def empty(self, count: int, dtype: Any) -> Any: ...

    def compile(self, source: str) -> Any:
        """The function `evaluate` of a module."""

    def launch(
        self, function: Any, grid: int, block: tuple[int, int], arguments: tuple[Any, ...]
    ) -> None:
        """Run `function`; its arguments are arrays on the device and NumPy scalars of the
        parameters' types.
        """

    def fetch(self, array: Any) -> np.ndarray: ...


class Device:
    """The current NVIDIA GPU, on a stream of its own, so that islands do not wait for each
    other.
    """

    def __init__(self) -> None:
        import cupy

        self._cupy, self._stream = cupy, cupy.cuda.Stream(non_blocking=True)
        self.workspace = min(WORKSPACE, cupy.cuda.runtime.memGetInfo()[0] // 4)

    def put(self, array: np.ndarray) -> Any:
        with self._stream:
            return self._cupy.asarray(array)

    def empty(self, count: int, dtype: Any) -> Any:
        with self._stream:
            return self._cupy.empty(count, dtype)

    def compile(self, source: str) -> Any:
        return _function(source, self._cupy.cuda.Device().compute_capability)

    def launch(
        self, function: Any, grid: int, block: tuple[int, int], arguments: tuple[Any, ...]
    ) -> None:
        with self._stream:
            function((grid,), block, arguments)

    def fetch(self, array: Any) -> np.ndarray:
        with self._stream:
            return np.asarray(self._cupy.asnumpy(array))


@cache
def _function(source: str, capability: str) -> Any:
    import cupy

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin(source, capability))
        file.flush()
        return cupy.RawModule(path=file.name).get_function("evaluate")


def cubin(source: str, capability: str) -> bytes:
    """A module compiled for one compute capability, "90".

    Not by RawModule itself, which flushes subnormal numbers to zero.
    """
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source, "evoml.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture=sm_{capability}"))
        return bytes(nvrtc.getCUBIN(program))
    except nvrtc.NVRTCError as error:
        log = " ".join(f"{error} {nvrtc.getProgramLog(program)}".split())[:200]
        raise InputError(
            f"backend cuda: NVRTC {nvrtc.getVersion()} does not compile for compute capability "
            f"{capability} ({log})"
        ) from None
    finally:
        nvrtc.destroyProgram(program)


class Backend:
    """Runs programs on one set of tasks.

    Not to be shared between threads: it owns the memory that programs run in.
    """

    def __init__(self, tasks: TaskSet, memory: Memory, rules: Rules) -> None:
        self.tasks, self.memory, self.rules = tasks, memory, rules
        self.dtype = np.dtype(rules.dtype)
        self.device: Compute = Device()
        elements = (
            memory.scalars
            + memory.vectors * tasks.features
            + (memory.matrices + 1) * tasks.features**2
        )
        self._elements = WARP * elements  # of a warp's memory
        # warps at a time
        self._most = self.device.workspace // (self._elements * self.dtype.itemsize)
        if not self._most:
            needed, room = (
                self._elements * self.dtype.itemsize / 2**20,
                self.device.workspace / 2**20,
            )
            raise InputError(
                f"backend cuda: {WARP} tasks' memory takes {needed:,.0f} MiB and there is room for "
                f"{room:,.0f}; use fewer matrices"
            )
        self._function = self.device.compile(source(tasks.features, self.dtype.name, memory))
        self._train = self._put(tasks.train_x, tasks.train_y)
        self._later = self._put(*rules.later_order(tasks)) if rules.epochs > 1 else self._train
        self._valid = self._put(tasks.valid_x, tasks.valid_y)
        self._seeds = self.device.put(tasks.seeds.astype(np.uint64))
        self._limit = np.float64(self.dtype.type(rules.max_abs_error))  # as the threads compare it
        self._workspace, self._blocks = self.device.empty(1, self.dtype), 0
        # whose instructions are on the device
        self._programs: Callable[[], Programs | None] = lambda: None
        self._instructions: tuple[Any, ...] = ()

    def _put(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any]:
        """[T, N, F] and [T, N] to the device as [N, F, T] and [N, T]: threads are tasks."""
        with np.errstate(over="ignore"):
            moved = [
                np.ascontiguousarray(np.moveaxis(array, 0, -1), self.dtype) for array in (x, y)
            ]
        return self.device.put(moved[0]), self.device.put(moved[1])

    def fitness(self, programs: Programs, which: np.ndarray) -> tuple[np.ndarray, int]:
        """Fitness of the programs `which` on every task, [len(which), T], and the training steps
        run (over all tasks).
        """
        fitness, _, steps = self._run(
            programs, which, self.rules.train, self.rules.valid, self.rules.epochs
        )
        return self._fetch(fitness), steps

    def fingerprints(
        self, programs: Programs, which: np.ndarray, train: int, valid: int
    ) -> tuple[np.ndarray, int]:
        """A hash of the absolute errors on the first examples of all tasks, [len(which)] uint64,
        and the training steps run.
        """
        _, hashes, steps = self._run(programs, which, train, valid, 1)
        with np.errstate(over="ignore"):
            digest: np.ndarray = mix(
                (self._fetch(hashes) ^ np.arange(len(self.tasks), dtype=np.uint64)) + GOLDEN
            ).sum(axis=1, dtype=np.uint64)
        return digest, steps

    def _fetch(self, array: Any) -> np.ndarray:
        return self.device.fetch(array).reshape(-1, len(self.tasks))

    def _run(
        self, programs: Programs, which: np.ndarray, train: int, valid: int, epochs: int
    ) -> tuple[Any, Any, int]:
        """Fitness and hashes on the device, [len(which) * T], and the training steps."""
        tasks, device = self.tasks, self.device
        train, valid = min(train, tasks.train_y.shape[1]), min(valid, tasks.valid_y.shape[1])
        out = [
            device.empty(len(which) * len(tasks), dtype)
            for dtype in (np.float64, np.uint64, np.int64)
        ]
        if len(which):
            blocks, high = self._grid(len(which) * -(-len(tasks) // WARP))
            code, constants, ends, length = self._upload(programs)
            chosen = device.put(np.ascontiguousarray(which, np.int32))
            numbers = [
                np.int32(number)
                for number in (len(tasks), train, valid, epochs, tasks.kind == "classification")
            ]
            arguments = (
                code, constants, ends, chosen, np.int32(len(which)), length, *self._train,
                *self._later, *self._valid, self._seeds, *numbers, self._limit, self._workspace,
                *out,
            )  # fmt: skip
            device.launch(self._function, blocks, (WARP, high), arguments)
        return out[0], out[1], int(device.fetch(out[2]).sum())

    def _grid(self, warps: int) -> tuple[int, int]:
        """Blocks, and warps in each, for so many warps or as many as there is room for; makes the
        workspace as large as they need.
        """
        high = min(WARPS, self._most)
        blocks = min(-(-warps // high), self._most // high)
        if blocks > self._blocks:
            self._workspace, self._blocks = (
                self.device.empty(blocks * high * self._elements, self.dtype),
                blocks,
            )
        return blocks, high

    def _upload(self, programs: Programs) -> tuple[Any, ...]:
        """The batch's instructions on the device; the last batch's are kept there."""
        if self._programs() is not programs:
            code, constants, ends = columns(programs, self.dtype)
            self._instructions = (
                *map(self.device.put, (code, constants, ends)),
                np.int32(code.shape[1]),
            )
            self._programs = weakref.ref(programs)
        return self._instructions


def columns(programs: Programs, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch as plain arrays: words [n, R] uint32 (operation, a, b, out, a byte each from the
    lowest), constants [n, R, 3], ends [n, 3] int32.

    Setup, predict and learn follow each other without a gap; R is the length of the longest
    program.
    """
    ends = np.cumsum(programs.sizes, axis=1)
    code = np.zeros((len(programs), max(int(ends.max(initial=0)), 1)), np.uint32)
    constants = np.zeros((*code.shape, 3), dtype)
    for table, end, size in zip(programs.tables, ends.T, programs.sizes.T, strict=True):
        program, row = np.nonzero(np.arange(table.shape[1]) < size[:, None])
        rows, place = table[program, row], (end - size)[program] + row
        code[program, place] = sum(
            rows[name].astype(np.uint32) << 8 * byte
            for byte, name in enumerate(("op", "a", "b", "out"))
        )
        with np.errstate(over="ignore"):
            constants[program, place] = np.stack([rows[name] for name in "xyz"], axis=-1)
    return code, constants, ends.astype(np.int32)


class _Graphs:
    """A batch of networks on the device, and its kernel."""

    def __init__(self, graphs: NeuronGraphs, dtype: str) -> None:
        self.graphs, self.dtype, self.device = graphs, np.dtype(dtype), Device()
        self.function = self.device.compile(graph_source(self.dtype.name))
        columns = (
            graphs.nodes,
            graphs.slot,
            graphs.activation,
            graphs.aggregation,
            graphs.links,
            graphs.source,
        )
        self.columns = (*map(self.device.put, columns), self.put(graphs.weight))

    def put(self, array: np.ndarray) -> Any:
        with np.errstate(over="ignore"):
            return self.device.put(np.ascontiguousarray(array, self.dtype))

    def step(
        self,
        which: np.ndarray,
        x: np.ndarray,
        slots: int,
        memory: Any,
        scratch: Any,
        sweeps: int = 1,
        fresh: bool = False,
    ) -> np.ndarray:
        """Outputs [n, L, O] on x, [I, L] for all networks or [n, I, L]."""
        graphs, lanes = self.graphs, x.shape[-1]
        out = self.device.empty(len(which) * graphs.outputs * lanes, np.float64)
        shape = (
            len(which),
            slots,
            lanes,
            graphs.inputs,
            graphs.outputs,
            graphs.recurrent,
            sweeps if graphs.recurrent else 1,
            fresh,
        )
        arguments = (
            *self.columns, self.device.put(np.ascontiguousarray(which, np.int32)),
            *(np.int32(number) for number in shape),
            np.int64(0 if x.ndim == 2 else graphs.inputs * lanes), np.float64(graphs.bias),
            self.put(x), memory, scratch, out,
        )  # fmt: skip
        if len(which) * lanes:
            self.device.launch(
                self.function, -(-len(which) * lanes // (WARP * WARPS)), (WARP, WARPS), arguments
            )
        return np.swapaxes(self.device.fetch(out).reshape(len(which), graphs.outputs, lanes), 1, 2)


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
    held. As many at a time as there is room for. Raises InputError where there is none for a single
    one.
    """
    batch = _Graphs(graphs, dtype)
    which = np.arange(len(graphs)) if which is None else np.asarray(which)
    x, slots = np.asarray(inputs).T, int(graphs.slots[which].max(initial=graphs.inputs + 1))
    needed = slots * batch.dtype.itemsize * (2 if graphs.recurrent else 1)
    if not (room := batch.device.workspace // needed):
        raise InputError(
            f"backend cuda: a network of {slots:,} values takes {needed:,} bytes and there is room "
            f"for {batch.device.workspace:,}"
        )
    lanes = min(room, len(inputs))
    high = min(max(room // max(lanes, 1), 1), len(which))
    memory, scratch = (
        batch.device.empty(size, batch.dtype)
        for size in (high * lanes * slots, high * lanes * slots if graphs.recurrent else 1)
    )
    out = np.empty((len(which), len(inputs), graphs.outputs))
    for lane in range(0, len(inputs), max(lanes, 1)):
        for first in range(0, len(which), max(high, 1)):
            part = batch.step(
                which[first : first + high],
                x[:, lane : lane + lanes],
                slots,
                memory,
                scratch,
                sweeps,
                True,
            )
            out[first : first + high, lane : lane + lanes] = part
    return out


class Stepper:
    """All networks side by side through time, each in L episodes, computed in `dtype`; memory stays
    on the device.
    """

    def __init__(self, graphs: NeuronGraphs, lanes: int, dtype: str = "float64") -> None:
        self.graphs, self._batch = graphs, _Graphs(graphs, dtype)
        self._shape = (len(graphs), int(graphs.slots.max(initial=0)), lanes)
        self._scratch = self._batch.device.empty(
            int(np.prod(self._shape)) if graphs.recurrent else 1, self._batch.dtype
        )
        self.reset()

    @property
    def memory(self) -> np.ndarray:
        """[P, slots, L], what the networks remember, copied from the device."""
        return self._batch.device.fetch(self._memory).reshape(self._shape)

    def reset(self, mask: np.ndarray | None = None) -> None:
        """Forget everything, or what the networks remember of the episodes in mask [P, L]."""
        memory = (
            np.zeros(self._shape) if mask is None else np.where(mask[:, None], 0.0, self.memory)
        )
        self._memory = self._batch.put(memory.reshape(-1))

    def step(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs [P, L, O] float64 after one pass or one synchronous sweep on inputs [P, L, I]."""
        x = np.swapaxes(inputs, 1, 2)
        return self._batch.step(
            np.arange(len(self.graphs)), x, self._shape[1], self._memory, self._scratch
        )
