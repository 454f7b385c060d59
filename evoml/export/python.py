"""A program as a Python module that needs only NumPy: what was found, to run and to read.

The instructions stay as they are shown everywhere else; the memory becomes module globals. It
computes in float64 and sums in ascending order, as the reference interpreter does, to the same bits
where there is no noise.
"""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from evoml.contracts.part import task_class
from evoml.core.errors import InputError
from evoml.evaluators import execution
from evoml.export import _neurons
from evoml.export._target import Given, Target
from evoml.export._texts import escaped
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.instructions import OPS
from evoml.phenotypes.programs import FUNCTIONS, Memory
from evoml.phenotypes.rows import Op
from evoml.search.problem import Problem
from evoml.spaces._program_text import format_instruction

# Functions of the published instructions' text, as one would write them in NumPy. What is not here
# is imported where it is one of NumPy's element by element (not one that may return a view of its
# argument, since v1[...] = writes); any other is made of the kernels of its operations.
_HELPERS = {
    "at(x)": "np.minimum(np.int64(np.float32(F) * np.float32(x)), F - 1)",
    "total(x, axis=-1)": "np.add.accumulate(x, axis).take(-1, axis)",
    "heaviside(a)": "np.float64(a > 0 if np.ndim(a) else a >= 0)",
    "broadcast(a)": "np.full(F, a)",
    "outer(a, b)": "a[:, None] * b",
    "dot(a, b)": "total(a[:, None, :] * b.T if np.ndim(b) == 2 else a * b)",
    "norm(a)": "np.sqrt(total(np.ravel(a * a)))",
    "column_broadcast(a)": "np.tile(a[:, None], F)",
    "row_broadcast(a)": "np.tile(a, (F, 1))",
    "column_norm(a)": "np.sqrt(total(a * a, 0))",
    "row_norm(a)": "np.sqrt(total(a * a))",
    "transpose(a)": "a.T.copy()",
    # NaN as in C++: not np.minimum
    "minimum(a, b)": "np.where(a < b, a, b) if np.ndim(a) == 2 else np.where(b < a, b, a)[()]",
    "maximum(a, b)": "np.where(a > b, a, b) if np.ndim(a) == 2 else np.where(a < b, b, a)[()]",
    "mean(a)": "total(np.ravel(a)) / np.size(a)",
    "row_mean(a)": "total(a) / F",
    "std(a)": "np.sqrt(mean(a * a) - mean(a) * mean(a))",
    "row_std(a)": "np.sqrt(row_mean(a * a) - row_mean(a) * row_mean(a))",
    "sigmoid(x)": "1.0 / (1.0 + np.exp(-x))",
    "noise(low, high, shape)": "low + np.maximum(high - low, 0.0) * RANDOM.random(shape)",
    "uniform(low, high)": "noise(low, high, None)",
    "uniform_vector(low, high)": "noise(low, high, F)",
    "uniform_matrix(low, high)": "noise(low, high, (F, F))",
    "gaussian(mean, deviation)": "RANDOM.normal(mean, deviation)",
    "gaussian_vector(mean, deviation)": "RANDOM.normal(mean, deviation, F)",
    "gaussian_matrix(mean, deviation)": "RANDOM.normal(mean, deviation, (F, F))",
}
_ELEMENTWISE = {name for name, value in vars(np).items() if isinstance(value, np.ufunc)}
_CALL = re.compile(r"out = (\w+)\((.*)\)")


def _from_kernels() -> dict[str, str]:
    """Functions that stand in the text of operations and nowhere else, made of their kernels: one
    that several operations share tells them apart by the shape of its arguments.
    """
    known = {signature.split("(")[0] for signature in _HELPERS}
    cases: dict[str, list[Op]] = {}
    for op in OPS:
        match = _CALL.fullmatch(op.text)
        if match and match[1] not in known | _ELEMENTWISE:
            cases.setdefault(match[1], []).append(op)
    return {name: _from_kernel(name, ops) for name, ops in cases.items()}


def _from_kernel(name: str, ops: list[Op]) -> str:
    arguments = _CALL.fullmatch(ops[0].text)[2]  # type: ignore[index]
    lines = [f"def {name}({arguments}):"]
    for op in ops:
        shape = tuple("svm".index(kind) for kind in op.ins)
        given = ", ".join(f"np.ndim({each})" for each, _ in zip("ab", op.ins, strict=False))
        value = _element(op.kernel)
        for index in {"s": "", "v": "i", "m": "ji"}[op.out]:
            value = f"[{value} for {index} in range(F)]"
        lines += [
            f"    if ({given},) == {shape}:" if shape else "    if True:",
            f"        return np.array({value}, np.float64){'[()]' if op.out == 's' else ''}",
        ]
    return "\n".join(lines) + "\n"


def _element(kernel: str) -> str:
    """A kernel as a Python expression: its sums as lists, its random numbers from RANDOM."""
    kernel = kernel.replace("uniform()", "RANDOM.random()").replace("gaussian()", "RANDOM.normal()")
    at = kernel.find("total(")
    if at < 0:
        return kernel
    end, depth = at + len("total("), 1
    while depth:
        depth += {"(": 1, ")": -1}.get(kernel[end], 0)
        end += 1
    inner = _element(kernel[at + len("total(") : end - 1])
    loops = "".join(f" for {each} in range(F)" for each in "kl" if re.search(rf"\b{each}\b", inner))
    return f"{kernel[:at]}total(np.array([{inner}{loops}])){_element(kernel[end:])}"


_BY_NAME = {
    signature.split("(")[0]: f"def {signature}:\n    return {value}\n"
    for signature, value in _HELPERS.items()
} | _from_kernels()
_ZERO = {"s": "np.float64(0.0)", "v": "np.zeros(F)", "m": "np.zeros((F, F))"}

_MODULE = '''\
"""{title}

A learning algorithm found by evoml. `reset(seed)` forgets everything, `train(features, labels)` learns from examples in order and may be
called again, `prediction(features)` answers for one example and `predictions(features)` for many. {labels}
{trained}
Noise comes from numpy.random.default_rng(seed) and not from evoml's own generator, so a program that draws random numbers agrees with evoml
in distribution, not bit for bit.
"""

import numpy as np
{imports}
F = {features}  # length of a feature vector


{functions}


def reset(seed=0):
    """Set the memory to zero and run setup."""
    global RANDOM, {memory}
    RANDOM = np.random.default_rng(seed)
{zeros}
    with np.errstate(all="ignore"):
        setup()


def train(features, labels):
    """Learn from examples [N, F] with labels [N], one after the other, on top of what is known."""
    global s0, s1, v0
    for example, label in zip(features, labels, strict=True):
        v0, s0 = np.array(example, np.float64).reshape(F), np.float64(0.0)
        with np.errstate(all="ignore"):
            predict(){squash}
            s0 = np.float64(label)
            learn()


def prediction(features):
    """{answer} for one example [F]."""
    global s0, v0
    v0, s0 = np.array(features, np.float64).reshape(F), np.float64(0.0)
    with np.errstate(all="ignore"):
        predict()
        return float({result})


def predictions(features):
    """[N] answers for examples [N, F], as `prediction` gives them one after the other."""
    return np.array([prediction(example) for example in features])


reset()
'''  # noqa: E501


class Python(Target):
    """A module for NumPy alone, or for no library."""

    kinds = ("programs", "neurons")
    task_for: ClassVar[Mapping[str, str]] = {"programs": "since vectors have the task's length"}

    def text(self, given: Given) -> str:
        return _WRITERS[given.opened.space.phenotype](given)


def _program(given: Given) -> str:
    """A program as a module, for the task of its run, or of --task."""
    problem, memory = given.problem, given.opened.space.memory
    task, settings = task_class(problem.config.name("task")), problem.config.part("task")
    if memory is None or task.kind not in ("regression", "classification"):
        raise InputError(
            f"export: --to python writes programs with a memory, for tasks of vectors; "
            f"{given.opened.space.name} on {task.name} is none"
        )
    features = settings.model_dump().get("features")
    if features is None:  # the data say it
        features = problem.test_tasks.features
    classify = task.kind == "classification"
    return source(given.genotype, features, classify, memory, given.title, _training(problem))


def _training(problem: Problem) -> str:
    """How a program of this problem is trained, for who trains it elsewhere."""
    own = problem.config.part("evaluator")
    epochs = own.epochs if isinstance(own, execution.Settings) else 1
    return (
        f"evoml trained it for {epochs} epoch{'s' * (epochs > 1)}; of later epochs the best on "
        f"validation counts.\n{task_class(problem.config.name('task')).scaling}"
    )


def _network(given: Given) -> str:
    """A network of neurons as a module; of a run on a table, for rows as the table has them."""
    opened = given.opened
    return _neurons.source(opened.space, given.genotype, given.title, _neurons.units_of(opened))


_WRITERS: dict[str, Callable[[Given], str]] = {"programs": _program, "neurons": _network}


def source(
    genotype: Genotype, features: int, classify: bool, memory: Memory, title: str, trained: str = ""
) -> str:
    """A module with `reset`, `train` and `prediction`, and setup, predict and learn as they are.
    `features` is F, the length of a vector.

    With `classify` s1 becomes a probability before learn and `prediction` is one. The program's
    addresses must be within `memory`. `trained`: sentences on how evoml trained the program.
    """
    functions = "\n\n\n".join(_function(name, genotype) for name in FUNCTIONS)
    helpers, imports = needed(functions + ("\nsigmoid()" if classify else ""))
    counts = {"s": memory.scalars, "v": memory.vectors, "m": memory.matrices}
    used = {"s0", "s1", "v0", *re.findall(r"\b[svm]\d+\b", functions)}
    addresses = [
        name
        for kind, count in counts.items()
        for name in (f"{kind}{index}" for index in range(count))
        if name in used
    ]
    return _MODULE.format(
        title="".join(escaped(character) for character in title),
        trained=trained,
        labels="Labels are 0 or 1." if classify else "Labels are numbers.",
        imports=f"from numpy import {', '.join(imports)}\n" if imports else "",
        features=features,
        functions="\n\n".join([*helpers, functions]),
        memory=", ".join(addresses),
        zeros="\n".join(f"    {name} = {_ZERO[name[0]]}" for name in addresses),
        squash="\n            s1 = sigmoid(s1)" if classify else "",
        answer="The probability of label 1" if classify else "The predicted label",
        result="sigmoid(s1)" if classify else "s1",
    )


def _function(name: str, genotype: Genotype) -> str:
    """One component function.

    Constants become NumPy's numbers, whose division by zero is infinite and no exception.
    """
    lines, written = [], set()
    for row in genotype.tables[name]:
        op, line = OPS[row["op"]], format_instruction(row)
        if op.out:
            written.add(f"{op.out}{row['out']}")
        lines.append(
            re.sub("= (.*)", r"= np.float64(\1)", line) if op.out == "s" and not op.ins else line
        )
    declared = [f"global {', '.join(sorted(written))}"] if written else []
    return "\n".join(
        [f"def {name}():", *(f"    {line}" for line in [*declared, *(lines or ["..."])])]
    )


def needed(text: str) -> tuple[list[str], list[str]]:
    """The helpers that the text calls, and those that these call, in the table's order; and the
    names to import from NumPy.
    """
    called: set[str] = set()
    todo = _called(text) - set(FUNCTIONS)
    while todo:
        called |= todo
        todo = {name for each in todo for name in _called(_BY_NAME.get(each, ""))} - called
    return [_BY_NAME[name] for name in _BY_NAME if name in called], sorted(
        (called - set(_BY_NAME)) & set(dir(np))
    )


def _called(text: str) -> set[str]:
    """Names that are called, but not as methods or NumPy's attributes, nor where they are
    defined.
    """
    return set(re.findall(r"(?<![.\w])(?<!def )([a-z_]\w*)\(", text))
