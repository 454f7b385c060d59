"""The CUDA backend without a GPU: its source on the host against the whole contract, against numba
to the last bit, and through NVRTC to PTX.
"""

import ctypes
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import test_backends
from cuda_host import HostDevice
from test_backends import ALL, LEARNER, LIBRARY, fitness, make, programs, random_tasks
from test_engine import outcome

from evoml.backends import cuda
from evoml.backends._cuda_source import source
from evoml.config import assign, build
from evoml.core.errors import InputError
from evoml.core.streams import streams
from evoml.phenotypes.instructions import NAMES, OPS
from evoml.phenotypes.programs import INSTRUCTION, Memory, Programs
from evoml.search.open import resume
from evoml.search.problem import Problem, stored_config
from evoml.search.rounds import Rounds

golden = test_backends.golden
missing = cuda.missing  # the real one, where `host` has put another in its place


@pytest.fixture(scope="module")
def host() -> Iterator[list]:
    """The backend computes on the host; what its devices are asked to do is logged."""
    if which("g++") is None:
        pytest.skip("no g++: the backend's source cannot be compiled for the host")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda, "Device", HostDevice)
        patch.setattr(cuda, "missing", lambda: "")
        yield HostDevice.log


@pytest.fixture
def log(host: list) -> list:
    host.clear()
    return host


# The contract of every backend, on the host.


@pytest.fixture(scope="module")
def backend(host: list) -> str:
    return "cuda"


@pytest.fixture(scope="module")
def other(host: list) -> str:
    return "cuda"


globals().update(
    (name, test)
    for name, test in vars(test_backends).items()
    if name.startswith("test_") and {"backend", "other"} & set(inspect.signature(test).parameters)
)


def test_the_contract_is_here() -> None:
    assert {
        "test_golden_vectors",
        "test_every_operation_agrees_on_every_kind_of_number",
        "test_random_programs_agree",
    } <= set(globals())


# The compiled backend on the CPU uses the same C library: double is the same to the last bit, and
# single but for exp, which it computes itself.


def random_programs(count: int, seed: int) -> Programs:
    return ALL.phenotypes(ALL.random(streams(seed, 1, np.arange(count))))


def without(what: Programs, name: str) -> np.ndarray:
    """The programs that have no such operation."""
    used = [
        np.concatenate([what.rows(index, function)["op"] for function in range(3)])
        for index in range(len(what))
    ]
    return np.flatnonzero([NAMES.index(name) not in ops for ops in used])


def without_library_functions(what: Programs) -> np.ndarray:
    """The programs whose operations do not depend on a mathematical library, which may round
    otherwise elsewhere.
    """
    library = [
        op.name for op in OPS if op.kernel.split("(")[0] in LIBRARY or "gaussian" in op.kernel
    ]
    return np.array(
        sorted(set.intersection(*(set(without(what, name).tolist()) for name in library)))
    )


@pytest.mark.parametrize("features", [1, 2, 4, 5, 16])
@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("float64", "regression"), ("float64", "classification"), ("float32", "regression")],
)
def test_random_programs_are_the_same_in_every_bit(
    host: list, dtype: str, kind: str, features: int
) -> None:
    what, tasks = (
        random_programs(400, features),
        random_tasks(37, features, kind=kind, seed=features),
    )
    chosen = np.arange(400) if dtype == "float64" else without(what, "scalar_exp")
    one, two = (make(name, tasks, ALL.memory, dtype=dtype, epochs=3) for name in ("numba", "cuda"))
    wanted, steps = one.fitness(what, chosen)
    got, same_steps = two.fitness(what, chosen)
    assert np.array_equal(got, wanted) and same_steps == steps
    prints, steps = one.fingerprints(what, chosen, 5, 3)
    same_prints, same_steps = two.fingerprints(what, chosen, 5, 3)
    assert np.array_equal(same_prints, prints) and same_steps == steps
    assert 0.1 < (wanted > 0).mean() < 0.9 and len(np.unique(prints)) > 100


def test_the_random_programs_use_every_operation() -> None:
    what = random_programs(400, 4)
    assert all(len(without(what, op.name)) < 400 for op in OPS[1:])


def test_programs_without_library_functions_make_the_errors_of_the_definition(host: list) -> None:
    """One validation example: the fitness is a function of its error alone, which the arctangent
    must not round apart.
    """
    what, tasks = random_programs(400, 7), random_tasks(5, 4, valid=1, seed=3)
    chosen = without_library_functions(what)
    assert len(chosen) > 50
    wanted, got = (
        make(name, tasks, ALL.memory, epochs=2).fitness(what, chosen)[0]
        for name in ("reference", "cuda")
    )
    assert np.abs(got - wanted).max() <= 2.3e-16
    assert (wanted > 0).mean() > 0.2


def test_special_numbers_in_single_precision(host: list) -> None:
    """Infinities, NaN, subnormal numbers and signed zeros."""
    what = test_backends.probes(4)
    with np.errstate(over="ignore", under="ignore"):
        values = tuple(map(float, np.array([*test_backends.SPECIAL, 1e-41, 3e38], np.float32)))
    tasks = test_backends.probed(4, values, 40, 1)
    assert np.array_equal(
        fitness("cuda", what, tasks, dtype="float32"),
        fitness("numba", what, tasks, dtype="float32"),
    )


# The device


def test_a_batch_is_sent_up_once(log: list) -> None:
    what, machine = random_programs(20, 1), make("cuda", random_tasks(5, 4), ALL.memory)
    assert [kind for kind, _ in log] == ["put"] * 5  # training and validation data, seeds
    log.clear()
    machine.fingerprints(what, np.arange(20), 3, 3)
    assert [kind for kind, _ in log] == ["put"] * 4 + ["launch"]
    log.clear()
    machine.fitness(what, np.array([3, 1, 7]))
    assert [kind for kind, _ in log] == ["put", "launch"]
    assert np.array_equal(log[0][1], [3, 1, 7])
    log.clear()
    machine.fitness(random_programs(20, 1), np.arange(2))
    assert [kind for kind, _ in log] == ["put"] * 4 + ["launch"]


def test_a_new_batch_is_never_taken_for_one_that_is_gone(host: list) -> None:
    tasks = random_tasks(5, 4)
    machine = make("cuda", tasks, ALL.memory)
    for seed in range(30):  # the next may lie where the last one lay
        got, _ = machine.fitness(random_programs(6, seed), np.arange(6))
        assert np.array_equal(got, fitness("numba", random_programs(6, seed), tasks))


@pytest.mark.parametrize(("warps", "high"), [(1, 1), (3, 3), (9, 4)])
def test_a_small_workspace_changes_nothing(
    log: list, warps: int, high: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, tasks = random_programs(30, 2), random_tasks(70, 4)  # three warps a program
    whole, prints = (
        make("cuda", tasks, ALL.memory).fitness(what, np.arange(30)),
        make("cuda", tasks, ALL.memory).fingerprints(what, np.arange(30), 4, 4),
    )
    assert (log[-1][1][0], log[-1][1][1]) == (23, (32, 4))
    elements = 32 * (5 + 4 * 4 + 3 * 16)
    monkeypatch.setattr(HostDevice, "workspace", warps * elements * 8)
    small = make("cuda", tasks, ALL.memory)
    assert np.array_equal(small.fitness(what, np.arange(30))[0], whole[0])
    grid, block, arguments = log[-1][1]
    assert (grid, block) == (warps // high, (32, high))
    assert arguments[-4].size == grid * high * elements
    assert np.array_equal(small.fingerprints(what, np.arange(30), 4, 4)[0], prints[0])


def test_memory_that_does_not_fit_is_refused(host: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostDevice, "workspace", 2**20)
    with pytest.raises(
        InputError,
        match="backend cuda: 32 tasks' memory takes 3 MiB and there is room for 1; use fewer "
        "matrices",
    ):
        make("cuda", random_tasks(1, 16), Memory(64, 64, 40))


def test_instructions_as_columns() -> None:
    row = np.array(
        [(60 + n, 1 + n, 2 + n, 63 - n, 0.5 + n, 0.0, -1e300) for n in range(6)], INSTRUCTION
    )
    what = test_backends.stack(
        ALL.memory, [(row[:1], row[:0], row[1:3]), (row[:0], row[3:6], row[:0])]
    )
    code, constants, ends = cuda.columns(what, np.dtype(np.float32))
    assert code.tolist() == [
        [60 + n | 1 + n << 8 | 2 + n << 16 | 63 - n << 24 for n in part]
        for part in (range(3), range(3, 6))
    ]
    assert ends.tolist() == [[1, 1, 3], [0, 3, 3]]
    assert constants[1].tolist() == [[0.5 + n, 0.0, -np.inf] for n in range(3, 6)]


# Searches


def test_a_search_finds_what_it_finds_on_the_cpu(host: list, tmp_path: Path) -> None:
    sets = [
        "task.name=linear_regression",
        "evaluator.dtype=float64",
        "strategy.population=40",
        "strategy.block=20",
    ]
    sets += [
        "search.budget=600",
        "search.round=200",
        "search.stop_at=none",
        "task.select.train=50",
        "task.test.train=50",
    ]
    for number, more in enumerate(([], ["evaluator.hurdle.tasks=3"])):
        gpu = outcome(tmp_path / f"cuda-{number}", [*sets, *more, "backend=cuda"])
        cpu = outcome(tmp_path / f"numba-{number}", [*sets, *more, "backend=numba"])
        assert gpu[:2] == cpu[:2]
        assert stored_config(tmp_path / f"cuda-{number}").backend == "cuda"


def config(*sets: str):
    return build(
        ("system", {"system": "automl-zero"}),
        *[("--set", assign(text)) for text in ["task.name=linear_regression", *sets]],
    )


def test_auto_takes_the_gpu_where_the_batch_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cuda, "missing", lambda: asked.append(1) or "")
    large = ["strategy.population=2000", "strategy.block=1639", "task.search.tasks=10"]
    assert Problem(config(*large)).backend == "cuda"
    assert Problem(config(*large, "strategy.name=random_search")).backend == "cuda"
    assert asked == [1, 1]
    assert Problem(config(*large, "strategy.block=1638")).backend == "numba"
    assert Problem(config()).backend == "numba"
    assert Problem(config(*large, "backend=numba")).backend == "numba"
    assert asked == [1, 1]  # CuPy is not even looked for
    monkeypatch.setattr(cuda, "missing", lambda: "nothing there")
    assert Problem(config(*large)).backend == "numba"


def test_a_run_keeps_its_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LEAST", 100)
    monkeypatch.setattr(cuda, "missing", lambda: "backend cuda: nothing there")
    search = Rounds(config("task.select.tasks=4"), tmp_path / "run")
    search.create()
    search.save()
    text = (tmp_path / "run" / "run.toml").read_text()
    assert 'backend = "numba"' in text
    monkeypatch.setattr(cuda, "missing", lambda: "")
    assert resume(tmp_path / "run").problem.backend == "numba"
    (tmp_path / "run" / "run.toml").write_text(
        text.replace('backend = "numba"', 'backend = "auto"')
    )
    assert resume(tmp_path / "run").problem.backend == "numba"
    (tmp_path / "run" / "run.toml").write_text(
        text.replace('backend = "numba"', 'backend = "cuda"')
    )
    monkeypatch.setattr(cuda, "missing", lambda: "backend cuda: nothing there")
    with pytest.raises(InputError, match=r"^backend cuda: nothing there$"):
        resume(tmp_path / "run")


# What is missing


def test_without_cupy_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "find_spec", lambda name: None)
    assert missing.__wrapped__() == "backend cuda: CuPy is not installed; pip install 'evoml[cuda]'"


def test_without_a_gpu_the_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Runtime:
        @staticmethod
        def getDeviceCount() -> int:
            raise RuntimeError("no device:\nnothing is plugged in")

    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    monkeypatch.setitem(
        sys.modules, "cupy", type("cupy", (), {"cuda": type("cuda", (), {"runtime": Runtime})})
    )
    assert (
        missing.__wrapped__()
        == "backend cuda: no NVIDIA GPU that CuPy can use (no device: nothing is plugged in)"
    )


@pytest.mark.skipif(not missing(), reason="there is a GPU")
def test_a_search_without_a_gpu_ends_with_one_line(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "evoml",
        "search",
        "--backend",
        "cuda",
        "--task",
        "linear_regression",
        "--budget",
        "10",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"evoml: {missing()}\n")
    assert not list(tmp_path.iterdir())


def test_importing_the_backend_does_not_import_cupy() -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, evoml.backends.cuda; assert 'cupy' not in sys.modules"],
        check=True,
    )


# The real compiler


def nvrtc() -> ctypes.CDLL:
    """NVIDIA's runtime compiler, which needs no GPU."""
    package = pytest.importorskip(
        "nvidia.cuda_nvrtc", reason="nvidia-cuda-nvrtc-cu12 is not installed"
    )
    found = [path for folder in package.__path__ for path in Path(folder).glob("**/libnvrtc.so.*")]
    if not found:
        pytest.skip(f"no libnvrtc.so in {list(package.__path__)}")
    return ctypes.CDLL(str(found[0]))


def compiled(text: str, capability: str) -> str:
    """PTX."""
    library, program = nvrtc(), ctypes.c_void_p()
    assert (
        library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"evoml.cu", 0, None, None)
        == 0
    )
    options = [
        option.encode() for option in (*cuda.OPTIONS, f"--gpu-architecture=compute_{capability}")
    ]
    status, size = (
        library.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*options)
        ),
        ctypes.c_size_t(),
    )
    assert library.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0
    messages = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetProgramLog(program, messages) == 0
    assert status == 0 and "warning" not in messages.value.decode(), messages.value.decode()
    assert library.nvrtcGetPTXSize(program, ctypes.byref(size)) == 0
    out = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetPTX(program, out) == 0
    assert library.nvrtcDestroyProgram(ctypes.byref(program)) == 0
    return out.value.decode()


def parameters(ptx: str) -> list[str]:
    """Types of the kernel's parameters."""
    entry = re.search(r"\.entry evaluate\((.*?)\)", ptx, re.DOTALL)
    assert entry
    return re.findall(r"\.param \.(\w+)", entry[1])


@pytest.mark.parametrize("capability", ["80", "90"])
@pytest.mark.parametrize("features", [4, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_source_compiles_to_ptx(dtype: str, features: int, capability: str) -> None:
    text = source(features, dtype, Memory(5, 9, 2))
    assert re.findall(r"case (\d+): \{  // (\w+)", text) == [
        (str(op.id), op.name) for op in OPS[1:]
    ]
    ptx = compiled(text, capability)
    assert f".target sm_{capability}" in ptx
    # without .rn the assembler may contract them
    assert not re.search(r"\b(add|sub|mul)\.f(32|64)", ptx)
    assert not re.search(r"\b(add|sub|mul|div|sqrt)\.(\w+\.)?ftz", ptx)
    assert not re.search(r"\b(div|sqrt)\.(full|approx)", ptx)


def test_the_kernel_takes_what_it_is_launched_with(log: list) -> None:
    fitness("cuda", programs(LEARNER), random_tasks(3, 4))
    kinds = {"int32": "u32", "float64": "f64"}
    given = [
        "u64" if isinstance(each, np.ndarray) else kinds[each.dtype.name] for each in log[-1][1][2]
    ]
    assert parameters(compiled(source(4, "float64", test_backends.MEMORY), "80")) == given


def test_only_the_table_names_operations() -> None:
    package = Path(cuda.__file__).parent
    for name in ("cuda.py", "_cuda_source.py", "_cuda.cu"):
        assert not [op.name for op in OPS if op.name in (package / name).read_text()]
