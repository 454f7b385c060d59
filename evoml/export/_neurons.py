"""A network of single neurons written out: a formula to read, and a Python module that needs
nothing but `math`.

Both have a line a node, in the order in which nodes are computed; nodes that reach no output are
left out. Inputs are x0, x1, ..., outputs y0, ..., hidden nodes h and their number. The module adds
up in the order of the reference backend. Functions are written from their text in
`evoml.phenotypes.activations`.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent, wrap
from typing import Any

import numpy as np

from evoml.archive.files import read_config
from evoml.core.errors import InputError
from evoml.core.wording import plural
from evoml.export._texts import escaped
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import (
    ACTIVATION_NAMES,
    ACTIVATIONS,
    AGGREGATION_NAMES,
    AGGREGATIONS,
)
from evoml.search.opened import Opened
from evoml.search.problem import Problem
from evoml.tasks._table_units import Units

WIDTH = 100
ENCODER = "inputs_of"  # the function that makes numbers of a row
FEW = 6  # names in a line
TERMS = 200  # of one expression; longer sums are written in several, since compilers nest them
_COMPARE = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}

# Functions of the rows' texts, where `math` raises and NumPy does not. A row that is named like one
# of them is that function.
_SAFE = {
    "exp": (
        "def exp(a):\n    try:\n        return math.exp(a)\n    except OverflowError:\n        "
        "return math.inf\n"
    ),
    "sin": "def sin(a):\n    return math.sin(a) if math.isfinite(a) else math.nan\n",
    "cos": "def cos(a):\n    return math.cos(a) if math.isfinite(a) else math.nan\n",
    "sqrt": "def sqrt(a):\n    return math.sqrt(a) if a >= 0 else math.nan\n",
    "tanh": "def tanh(a):\n    return math.tanh(a)\n",
    "abs": "",  # Python's own
}

_FORWARD = '''\
"""{title}

A network found by evoml: {size}.

{use}
"""

{helpers}


def {name}(inputs):
    """{answers}, a list of floats, for {given}."""
{lines}
{result}
'''
_RECURRENT = '''\
"""{title}

A recurrent network found by evoml: {size}.

{use}
"""

{helpers}


class Network:
    """A network that remembers: all nodes are computed from the values before the step, which are zero at the start."""

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget everything."""
        self.memory = [0.0] * {slots}

    def step(self, inputs):
        """{answers}, a list of floats, for {given}."""
{lines}
        return self.memory[:{outputs}]
'''  # noqa: E501
_USE = {
    False: "    outputs = network(inputs)",
    True: (
        "    network = Network()\n    outputs = network.step(inputs)  # of every time step\n    "
        "network.reset()  # before another episode"
    ),
}
# What is around a network of a table: values as the table has them in, and out.
_TABLE = '''

# Of a table: what a row holds, in this order, what stands for no value, and the mean and deviation of each input in the training part.
{constants}


def network(row):
    """{given}."""
{scaled}
{answers}
    return {result}
'''  # noqa: E501
_ENCODER = '''

def {name}(row):
    """{meaning}."""
    out = []
    for name, value in zip({columns}, row):
        if isinstance(value, str):
            value = value.strip()
        missing = value is None or value != value or value in MISSING
{body}
    return out
'''
_REFUSED = """\
if missing:
    raise ValueError(f"{name}: no value; the network has learned from rows that have all")
"""
_TEXTS = """\
if name in TEXTS:  # 1 where it is that text, all 0 where it is none of them
    out += [float(not missing and value == text) for text in TEXTS[name]]
    continue
"""


@dataclass(frozen=True)
class Neuron:
    """A node that is computed, and the nodes that it reads in the order in which they are added."""

    name: str
    activation: str
    aggregation: str
    sources: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Neurons:
    """A network by the names of its nodes. `rows` are in the order in which they are computed."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    bias: float  # 0: there is none
    recurrent: bool
    rows: tuple[Neuron, ...]

    @property
    def hidden(self) -> tuple[str, ...]:
        """Hidden nodes that reach an output, in the order of `rows`."""
        return tuple(row.name for row in self.rows if row.name not in self.outputs)

    @property
    def links(self) -> int:
        return sum(len(row.sources) for row in self.rows)

    @property
    def size(self) -> str:
        """How large it is, in words."""
        counts = {
            "input": len(self.inputs),
            "output": len(self.outputs),
            "hidden node": len(self.hidden),
            "link": self.links,
        }
        return ", ".join(plural(count, name) for name, count in counts.items())


def neurons(space: Any, genotype: Genotype) -> Neurons:
    """The network that a genotype becomes, as the backends run it."""
    graphs = space.phenotypes(Population.of(space.schema, [genotype]))
    inputs, outputs = (
        [f"{letter}{index}" for index in range(count)]
        for letter, count in (("x", graphs.inputs), ("y", graphs.outputs))
    )
    hidden, nodes = (
        int(graphs.slots[0]) - graphs.inputs - 1 - graphs.outputs,
        genotype.tables["nodes"],
    )
    ids = nodes["id"][nodes["kind"] == _hidden()]
    if len(ids) != hidden:
        ids = np.arange(hidden)  # a network that a genotype only describes, such as a substrate
    names = [*inputs, "bias", *outputs, *(f"h{number}" for number in ids.tolist())]  # by address
    rows = []
    for row in range(len(graphs.slot)):
        links = slice(graphs.links[row], graphs.links[row + 1])
        sources, weights = (names[at] for at in graphs.source[links]), graphs.weight[links].tolist()
        kinds = ACTIVATION_NAMES[graphs.activation[row]], AGGREGATION_NAMES[graphs.aggregation[row]]
        rows.append(Neuron(names[graphs.slot[row]], *kinds, tuple(sources), tuple(weights)))
    return Neurons(tuple(inputs), tuple(outputs), graphs.bias, graphs.recurrent, tuple(rows))


def sizes(genotype: Genotype) -> dict[str, int]:
    """What the gene tables hold: nodes, hidden nodes, links, and links that are enabled."""
    nodes, links = genotype.tables["nodes"], genotype.tables["links"]
    return {
        "nodes": len(nodes),
        "hidden": int((nodes["kind"] == _hidden()).sum()),
        "links": len(links),
        "enabled": int((links["enabled"] == 1).sum()),
    }


def run_units(problem: Problem, run: Path) -> Units | None:
    """What a table's columns are to the networks of a run; None where its task has no table, or the
    data are not the run's any more.
    """
    if (
        problem.config.data is None
        or problem.task.units is None
        or read_config(run).get("data_digest") != problem.data_digest
    ):
        return None
    units: Units = problem.task.units
    return units


def units_of(opened: Opened) -> Units | None:
    """`run_units` of what is exported; None for a file.

    Raises InputError where the data are not the run's any more.
    """
    if opened.problem is None or opened.problem.task.units is None:
        return None
    if (out := run_units(opened.problem, opened.path)) is None:
        raise InputError(
            f"{opened.problem.config.data}: not the data that the run was made with, which say how "
            "columns are scaled; put them back"
        )
    return out


def _hidden() -> int:
    from evoml.spaces.neat import HIDDEN  # here, as it needs the compiler

    return HIDDEN


# -- a formula -------------------------------------------------------------------------------------


def formula(space: Any, genotype: Genotype) -> str:
    """A line a node, weights to four digits.

    In a recurrent network the nodes on the right have the values of the step before.
    """
    net = neurons(space, genotype)
    lines = []
    for row in net.rows:
        terms = [
            f"{weight:.4g} {source}"
            for weight, source in zip(row.weights, row.sources, strict=True)
        ]
        if not terms:
            lines.append(f"{row.name} = 0")
            continue
        total = (
            _sum(terms) if row.aggregation == "sum" else f"{row.aggregation}({', '.join(terms)})"
        )
        lines.append(
            f"{row.name} = "
            f"{total if row.activation == 'identity' else f'{row.activation}({total})'}"
        )
    if net.bias not in (0.0, 1.0) and any("bias" in row.sources for row in net.rows):
        lines.append(f"bias = {net.bias:g}")
    return "\n".join(lines)


def _sum(terms: Iterable[str]) -> str:
    """Terms with their signs as operators. Exact: x - w y is x + (-w) y."""
    return " + ".join(terms).replace("+ -", "- ")


# -- Python ----------------------------------------------------------------------------------------


def source(space: Any, genotype: Genotype, title: str, units: Units | None = None) -> str:
    """A module with `network(inputs)`, or of a recurrent network with a class `Network` of
    `reset()` and `step(inputs)`.

    With `units`, `network(row)` takes a row of the table as it is and gives targets in their own
    units, or the class; what computes on scaled columns is `outputs(inputs)`. The title may hold
    any characters, and so may columns and classes. Results are those of the reference backend in
    float64.
    """
    net = neurons(space, genotype)
    lines = [
        *_unpacked(net.inputs, "inputs"),
        *([f"bias = {net.bias!r}"] if any("bias" in row.sources for row in net.rows) else []),
    ]
    names = {row.name: f"new_{row.name}" if net.recurrent else row.name for row in net.rows}
    if net.recurrent:
        memory = (*net.outputs, *net.hidden)
        lines += _unpacked(memory, "self.memory")
    for row in net.rows:
        lines += _node(row, names[row.name])
    if net.recurrent:
        lines += _listed("self.memory = ", [names[name] for name in memory])
    text = _RECURRENT if net.recurrent else _FORWARD
    module = text.format(
        use=_USE[net.recurrent] if units is None else indent(table_use(units), "    "),
        name="network" if units is None else "outputs", title="".join(map(escaped, title.strip())),
        size=net.size, given=plural(len(net.inputs), "input"),
        answers=plural(len(net.outputs), "output"), outputs=len(net.outputs), slots=len(net.rows),
        helpers=_preamble(net), lines=indent("\n".join(lines), " " * (8 if net.recurrent else 4)),
        result=indent("\n".join(_listed("return ", net.outputs)), "    "),
    )  # fmt: skip
    return module if units is None else module + _table(net, units)


def table_use(units: Units) -> str:
    """How a network of a table is called, for a docstring."""
    names = [*[*units.table][:FEW], *["..."] * (len(units.table) > FEW)]
    given = "".join(map(escaped, f"[{', '.join(names)}]"))
    if units.classes:
        return f"answer = network({given})  # the class, as the table has it"
    return (
        f"answers = network({given})  # {''.join(map(escaped, ', '.join(units.targets[:FEW])))} in "
        "their own units"
    )


def _table(net: Neurons, units: Units) -> str:
    """`network(row)`, which takes and gives a table's own values."""
    constants, scaled = scaled_row(units)
    if units.classes:
        constants["CLASSES"] = map(ascii, units.classes)
        result = (
            "CLASSES[answers[0] > 0.5]"
            if len(units.classes) == 2
            else "CLASSES[max(range(len(answers)), key=answers.__getitem__)]"
        )
        given = "The class of a row of the table, as the table has it"
    else:
        constants |= {
            "TARGETS": map(ascii, units.targets),
            "OFFSET": map(repr, units.offset),
            "SCALE": map(repr, units.scale),
        }
        result = (
            "[offset + scale * answer for answer, offset, scale in zip(answers, OFFSET, SCALE)]"
        )
        given = "The targets of a row of the table, in their own units: a list of floats"
    answers = ["answers = outputs(inputs)"]
    if net.recurrent:
        answers = [
            "memory = Network()",
            f"for _ in range({units.sweeps}):",
            "    answers = memory.step(inputs)",
        ]
    lines = [line for name, each in constants.items() for line in tupled(f"{name} = ", each)]
    table = _TABLE.format(
        constants="\n".join([*lines, *encoder_constants(units)]),
        given=given,
        scaled=indent("\n".join(scaled), "    "),
        answers=indent("\n".join(answers), "    "),
        result=result,
    )
    return table + encoder(units, "COLUMNS", "FILL[len(out)]")


def encoder_constants(units: Units) -> list[str]:
    """The lines that an `encoder` needs before it."""
    texts = (f"    {name!a}: {values!a}," for name, values in units.texts.items())
    return [
        *tupled("MISSING = ", map(_literal, units.missing)),
        *(["TEXTS = {", *texts, "}"] if units.texts else []),
    ]


def _literal(value: str | float) -> str:
    finite = isinstance(value, str) or value - value == 0
    return ascii(value) if finite else f'float("{value}")'


def encoder(units: Units, columns: str, fill: str) -> str:
    """A function that makes numbers of a row of the table, as the task does: text, and what is
    missing.

    columns: the names of what a row holds. fill: what stands for what is missing, where the task
    fills it.
    """
    value = f"{fill} if missing else float(value)" if units.fill else "float(value)"
    meaning = (
        f"The {plural(len(units.columns), 'number')} that a row is"
        + ", text as one for each of its values" * bool(units.texts)
        + ", and what stands for those that are missing" * bool(units.fill)
    )
    body = "" if units.fill else _REFUSED
    body += _TEXTS * bool(units.texts) + f"out.append({value})"
    return _ENCODER.format(
        name=ENCODER, meaning=meaning, columns=columns, body=indent(body, " " * 8)
    )


def scaled_row(units: Units) -> tuple[dict[str, Iterable[str]], list[str]]:
    """Constants by name, and the lines that make `inputs` of `row`, a row as the table has it, with
    an `encoder`.
    """
    constants: dict[str, Iterable[str]] = {
        "COLUMNS": map(ascii, units.table),
        "MEAN": map(repr, units.mean),
        "DEVIATION": map(repr, units.deviation),
    }
    if units.fill:
        constants["FILL"] = map(repr, units.fill)
    lines = [
        "if len(row) != len(COLUMNS):",
        "    raise ValueError("
        "f\"{len(row)} values in a row; there must be {len(COLUMNS)}: {', '.join(COLUMNS)}\")",
        f"inputs = [(value - mean) / deviation for value, mean, deviation in zip({ENCODER}(row), "
        "MEAN, DEVIATION)]",
    ]
    return constants, lines


def tupled(start: str, values: Iterable[str]) -> list[str]:
    """A tuple of these in lines."""
    texts = list(values)
    line = f"{start}({', '.join(texts)}{',' * (len(texts) == 1)})"
    return [line] if len(line) <= WIDTH else [f"{start}(", *(f"    {text}," for text in texts), ")"]


def _preamble(net: Neurons) -> str:
    functions = "\n\n\n".join(helper.rstrip() for helper in _helpers(net))
    return (
        "\n\n\n".join(["import math"] * ("math." in functions) + [functions] * bool(functions))
        or "# It needs no module."
    )


def _unpacked(names: Iterable[str], value: str) -> list[str]:
    *lines, last = _listed("", names)
    return [*lines, f"{last} = {value}"]


def _listed(start: str, names: Iterable[str]) -> list[str]:
    lines = _wrapped(names)
    return (
        [f"{start}[{lines[0].rstrip(',')}]"]
        if len(lines) == 1
        else [f"{start}[", *(f"    {line}" for line in lines), "]"]
    )


def _wrapped(names: Iterable[str]) -> list[str]:
    return wrap(", ".join(names) + ",", WIDTH)


def _node(row: Neuron, name: str) -> Iterator[str]:
    """The lines that compute a node: one, but for a sum of very many."""
    terms = [
        f"{weight!r} * {source}" for weight, source in zip(row.weights, row.sources, strict=True)
    ]
    if not terms:
        yield f"{name} = 0.0"
        return
    total = _sum(terms) if row.aggregation == "sum" else f"{row.aggregation}_of({', '.join(terms)})"
    if row.aggregation == "sum" and len(terms) > TERMS:
        for start in range(0, len(terms), TERMS):
            yield f"{name} = {_sum([name] * (start > 0) + terms[start : start + TERMS])}"
        total = name
    result = total if row.activation == "identity" else f"{row.activation}({total})"
    if result != name:
        yield f"{name} = {result}"


def _helpers(net: Neurons) -> list[str]:
    """Definitions of the functions that the lines call."""
    used = {row.activation for row in net.rows if row.sources} - {"identity"}
    defined = {
        each.name: f"def {each.name}(a):\n    return {python(each.text)}\n"
        for each in ACTIVATIONS
        if each.name in used
    }
    needed = {name for each in ACTIVATIONS if each.name in used for name in called(each.text)}
    folds = {row.aggregation for row in net.rows if row.sources} - {"sum"}
    out = [_SAFE[name] for name in _SAFE if name in needed and _SAFE[name]]
    out += [text for name, text in defined.items() if name not in needed]
    for each in AGGREGATIONS:
        if each.name in folds:
            start = repr(each.start).replace("inf", "math.inf")
            end = "out / len(values)" if each.mean else "out"
            out.append(
                f"def {each.name}_of(*values):\n    out = {start}\n    for a in values:\n        "
                f"out = {python(each.step)}\n    return {end}\n"
            )
    return out


def called(text: str) -> set[str]:
    """Functions of a row's text but `where`."""
    calls = (
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return {name for name in calls if name != "where"}


def python(text: str) -> str:
    """A row's text for plain floats."""
    return _plain(ast.parse(text, mode="eval").body)


def _plain(node: ast.AST, inner: bool = False) -> str:
    match node:
        case ast.Constant(value=int() | float() as value):
            return repr(float(value))
        case ast.Name(id=name):
            return name
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return f"-{_plain(operand, True)}"
        case ast.BinOp(left=left, op=operator, right=right):
            text = f"{_plain(left, True)} {_OPERATORS[type(operator)]} {_plain(right, True)}"
        case ast.Compare(left=left, ops=[compare], comparators=[right]):
            text = f"{_plain(left, True)} {_COMPARE[type(compare)]} {_plain(right, True)}"
        case ast.Call(func=ast.Name(id="where"), args=[condition, yes, no]):
            text = f"{_plain(yes, True)} if {_plain(condition)} else {_plain(no, True)}"
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return f"{name}({_plain(argument)})"
        case _:
            raise NotImplementedError(ast.dump(node))
    return f"({text})" if inner else text
