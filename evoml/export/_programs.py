"""A program as the source of a Python module that needs only NumPy.

The instructions stand as the space writes them; the memory becomes module globals. The module
computes in float64, sums in ascending order and draws the random numbers of evoml's own streams, as
the reference interpreter does, to the same bits.
"""

import re
from collections.abc import Mapping

import numpy as np

from evoml.export._texts import escaped
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.instructions import OPS
from evoml.phenotypes.programs import FUNCTIONS, Memory
from evoml.phenotypes.rows import Op
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
    "noise(low, high, *shape)": "low + np.maximum(high - low, 0.0) * RANDOM.uniform(*shape)",
    "uniform(low, high)": "noise(low, high)",
    "uniform_vector(low, high)": "noise(low, high, F)",
    "uniform_matrix(low, high)": "noise(low, high, F, F)",
    "gaussian(mean, deviation)": "mean + deviation * RANDOM.gaussian()",
    "gaussian_vector(mean, deviation)": "mean + deviation * RANDOM.gaussian(F)",
    "gaussian_matrix(mean, deviation)": "mean + deviation * RANDOM.gaussian(F, F)",
}
_DRAWS = re.compile(r"\b(uniform|gaussian)\(\)")  # in a kernel: one element's random number
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
        # the element's number, by which its random number is found
        number = {"s": "0", "v": "i", "m": "i * F + j"}[op.out]
        kernel = _DRAWS.sub(rf"RANDOM.\1_of({number})", op.kernel)
        value = _element(kernel)
        for index in {"s": "", "v": "i", "m": "ji"}[op.out]:
            value = f"[{value} for {index} in range(F)]"
        lines += [
            f"    if ({given},) == {shape}:" if shape else "    if True:",
            *(["        RANDOM.next()"] if kernel != op.kernel else []),
            f"        return np.array({value}, np.float64){'[()]' if op.out == 's' else ''}",
        ]
    return "\n".join(lines) + "\n"


def _element(kernel: str) -> str:
    """A kernel as a Python expression: its sums as lists."""
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

_RANDOM = '''\
class Random:
    """Random numbers as evoml draws them: SplitMix64 from a seed, numbered by function call, instruction and element."""

    def __init__(self, seed):
        self.seed, self.calls = np.array([seed], np.uint64), -1

    def begin(self, *numbers):
        """A function begins; its instructions that draw have these numbers."""
        self.calls, self.numbers = self.calls + 1, iter(numbers)

    def next(self):
        """The next instruction draws."""
        self.first = (self.calls * 1024 + next(self.numbers)) * 2**20

    def bits(self, elements):
        z = self.seed + (self.first + elements).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform_of(self, elements):
        return (self.bits(np.atleast_1d(elements)).reshape(np.shape(elements)) >> np.uint64(11)) * 2.0**-53

    def gaussian_of(self, elements):
        bits = self.bits(np.atleast_1d(elements)).reshape(np.shape(elements))
        radius = ((bits >> np.uint64(32)) + 0.5) * 2.0**-32
        angle = (bits & np.uint64(0xFFFFFFFF)) * (2.0**-32 * 2.0 * np.pi)
        return np.sqrt(-2.0 * np.log(radius)) * np.cos(angle)

    def uniform(self, *shape):
        """In [0, 1)."""
        self.next()
        return self.uniform_of(np.arange(F ** len(shape)).reshape(shape))

    def gaussian(self, *shape):
        """Standard normal."""
        self.next()
        return self.gaussian_of(np.arange(F ** len(shape)).reshape(shape))
'''  # noqa: E501

_NOISY = (
    "Its random numbers are evoml's own: with the seed of a task, and the task's examples in their "
    "order,\nit gives the numbers that evoml saw."
)

_MODULE = '''\
"""{title}

{use}{noisy}
"""

import numpy as np
{imports}
F = {features}  # length of a feature vector
{seed}

{functions}


def {reset}(seed={default}):
    """Set the memory to zero and run setup."""
    global {memory}
{random}{zeros}
    with np.errstate(all="ignore"):
        setup()


def {train}(features, labels):
    """Learn from examples [N, F] with labels [N], one after the other, on top of what is known."""
    global s0, s1, v0
    for example, label in zip(features, labels, strict=True):
        v0, s0 = np.array(example, np.float64).reshape(F), np.float64(0.0)
        with np.errstate(all="ignore"):
            predict(){squash}
            s0 = np.float64(label)
            learn()


def {prediction}(features):
    """{answer} for one example [F]."""
    global s0, v0
    v0, s0 = np.array(features, np.float64).reshape(F), np.float64(0.0)
    with np.errstate(all="ignore"):
        predict()
        return float({result})


def {predictions}(features):
    """[N] answers for examples [N, F], as `{prediction}` gives them one after the other."""
    return np.array([{prediction}(example) for example in features])


def {fit}(features, labels, validation=(), epochs={epochs}, seed={default}):
    """Learn as evoml does, from nothing: the examples in their order, in later epochs in another.

    Returns the answers for the examples `validation` [M, F] after every epoch, [epochs, M].
    """
    features, labels, answers = np.asarray(features, np.float64), np.asarray(labels, np.float64), []
    order = np.arange(len(labels))
    {reset}(seed)
    for _ in range(epochs):
        {train}(features[order], labels[order])
        answers.append({predictions}(validation))
        order = np.random.default_rng([seed, 1]).permutation(len(labels))
    return np.array(answers)
'''

_USE = """\
A learning algorithm found by evoml. `reset(seed)` forgets everything, `train(features, labels)` learns from examples in order and may be
called again, `prediction(features)` answers for one example and `predictions(features)` for many. {labels}"""  # noqa: E501
# what the functions of a module are called
_NAMES = {name: name for name in ("reset", "train", "prediction", "predictions", "fit")}


def source(
    genotype: Genotype,
    features: int,
    classify: bool,
    memory: Memory,
    title: str,
    trained: str = "",
    seed: int = 0,
    epochs: int = 1,
) -> str:
    """A module with `reset`, `train`, `prediction` and `fit`, and setup, predict and learn as they
    are. `features` is F, the length of a vector.

    With `classify` s1 becomes a probability before learn and `prediction` is one. The program's
    addresses must be within `memory`. `trained`: sentences on how evoml trained the program.
    `seed`: of its noise, and `epochs`: of `fit`, where nothing else is said.
    """
    use = _USE.format(labels="Labels are 0 or 1." if classify else "Labels are numbers.")
    module, _ = parts(
        genotype, features, classify, memory, title, f"{use}\n{trained}", seed, epochs, _NAMES
    )
    return f"{module}\n\nreset()\n"


def parts(
    genotype: Genotype,
    features: int,
    classify: bool,
    memory: Memory,
    title: str,
    use: str,
    seed: int,
    epochs: int,
    names: Mapping[str, str],
) -> tuple[str, list[str]]:
    """A module up to what it runs when it is imported, and the names of its memory.

    use: what its docstring says below the title. names: what its functions are called.
    """
    noisy = any(_DRAWS.search(OPS[row["op"]].kernel) for row in _rows(genotype))
    functions = "\n\n\n".join(_functions(genotype, noisy))
    helpers, imports = needed(functions + ("\nsigmoid()" if classify else ""))
    counts = {"s": memory.scalars, "v": memory.vectors, "m": memory.matrices}
    used = {"s0", "s1", "v0", *re.findall(r"\b[svm]\d+\b", functions)}
    addresses = [
        name
        for kind, count in counts.items()
        for name in (f"{kind}{index}" for index in range(count))
        if name in used
    ]
    state = [*(["RANDOM"] if noisy else []), *addresses]
    module = _MODULE.format(
        **names,
        title="".join(escaped(character) for character in title),
        use=use.rstrip(),
        noisy=f"\n{_NOISY}" if noisy else "",
        imports=f"from numpy import {', '.join(imports)}\n" if imports else "",
        features=features,
        seed=f"SEED = {seed}  # of noise and the order of later epochs, in the first test task\n",
        default="SEED",
        functions="\n\n".join([*([_RANDOM] if noisy else []), *helpers, functions]),
        memory=", ".join(state),
        random="    RANDOM = Random(seed)\n" if noisy else "",
        zeros="\n".join(f"    {name} = {_ZERO[name[0]]}" for name in addresses),
        squash="\n            s1 = sigmoid(s1)" if classify else "",
        answer="The probability of label 1" if classify else "The predicted label",
        result="sigmoid(s1)" if classify else "s1",
        epochs=epochs,
    )
    return module, state


def _rows(genotype: Genotype) -> list[np.void]:
    """The instructions of setup, predict and learn, whose places are their numbers."""
    return [row for name in FUNCTIONS for row in genotype.tables[name]]


def _functions(genotype: Genotype, noisy: bool) -> list[str]:
    """The component functions. noisy: each says which of its instructions draw.

    Constants become NumPy's numbers, whose division by zero is infinite and no exception.
    """
    out, first = [], 0
    for name in FUNCTIONS:
        lines, written, drawing = [], set(), []
        for number, row in enumerate(genotype.tables[name], first):
            op, line = OPS[row["op"]], format_instruction(row)
            if op.out:
                written.add(f"{op.out}{row['out']}")
            if _DRAWS.search(op.kernel):
                drawing.append(number)
            lines.append(
                re.sub("= (.*)", r"= np.float64(\1)", line)
                if op.out == "s" and not op.ins
                else line
            )
        first += len(genotype.tables[name])
        declared = [f"global {', '.join(sorted(written))}"] if written else []
        if noisy:
            declared.append(f"RANDOM.begin({', '.join(map(str, drawing))})")
        body = [*declared, *(lines or ([] if noisy else ["..."]))]
        out.append("\n".join([f"def {name}():", *(f"    {line}" for line in body)]))
    return out


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
