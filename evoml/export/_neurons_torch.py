"""A network of single neurons as a folder that needs only torch: `network.py`, a line a node, whose
link weights are parameters, and `weights.safetensors`.

It computes what the reference backend computes, up to rounding, and can be trained on by gradient.
Where the plain text of a function would give gradients that are no numbers, torch's own is written.
Weights are kept in float64.
"""

import math
from pathlib import Path
from string import Template
from typing import Any

import torch
from safetensors.torch import save

from evoml.archive.files import write_atomically
from evoml.export._neurons import (
    ENCODER,
    Neuron,
    Neurons,
    called,
    encoder,
    encoder_constants,
    neurons,
    python,
    tupled,
)
from evoml.export._texts import escaped
from evoml.export.torch import CODE, MARK, WEIGHTS, claim
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.activations import ACTIVATIONS
from evoml.tasks._table_units import Units

# Functions whose gradient is lost where the exponential overflows, or whose text has numbers where
# torch wants tensors.
_FUNCTIONS = {
    "sigmoid": "torch.sigmoid(4.9 * a)",
    "logistic": "torch.sigmoid(a)",
    "bipolar": "2.0 * torch.sigmoid(4.9 * a) - 1.0",
    "tanh": "torch.tanh(a)",
    "relu": "torch.where(a > 0.0, a, 0.0)",
    "clamped": "torch.clamp(a, -1.0, 1.0)",
    "step": "(a > 0.0).to(a)",
    "gauss": "torch.exp(-a * a)",
    "sin": "torch.sin(a)",
    "cos": "torch.cos(a)",
    "abs": "torch.abs(a)",
}
_FOLDS = {
    "sum": "sum(-1)",
    "product": "prod(-1)",
    "max": "amax(-1)",
    "min": "amin(-1)",
    "mean": "mean(-1)",
}

_HEAD = Template('''\
$mark
"""$title

A network found by evoml: $size.
It needs torch, this file and $weights beside it.

$use

`load()` gives the network with the weights that evoml found, in torch's default precision; load(dtype=torch.float64) has every digit.
The parameter of a node holds the weights of its links, in the order of its line. All of them can be trained.
"""

import json
from pathlib import Path

import torch
from torch import nn

$constants

$helpers
''')  # noqa: E501
_FORWARD = Template('''\
class $name(nn.Module):
    """Inputs [..., $inputs] to outputs [..., $outputs]."""

    def __init__(self):
        super().__init__()
$parameters

    def forward(self, inputs):
        """Outputs [..., $outputs] for inputs [..., $inputs]."""
$given
$lines
        return torch.stack([$answers], -1)
''')
_RECURRENT = Template('''\
class $name(nn.Module):
    """One step a call: all nodes are computed from the values before the step, which are zero at the start of an episode."""

    def __init__(self):
        super().__init__()
$parameters

    def forward(self, inputs, state=None):
        """Outputs [..., $outputs] after one step on inputs [..., $inputs], and the state [..., $memory] for the next. state: None at the start of an episode."""
$given
        if state is None:
            state = inputs.new_zeros(*inputs.shape[:-1], $memory)
$lines
        state = torch.stack([$values], -1)
        return state[..., :$outputs], state

    def sequence(self, inputs):
        """Outputs [T, ..., $outputs] for the inputs [T, ..., $inputs] of the T steps of an episode."""
        outputs, state = [], None
        for each in inputs:
            output, state = self(each, state)
            outputs.append(output)
        return torch.stack(outputs)
''')  # noqa: E501
# What is around a network of a table: values as the table has them in, and out.
_TABLE = Template('''

class Network(nn.Module):
    """Rows [..., $inputs] of the table as it is to answers: $meaning."""

    def __init__(self):
        super().__init__()
        self.neurons = Neurons()
$buffers

    def forward(self, rows):
        """$given for rows [..., $inputs] of the columns COLUMNS."""
        if rows.shape[-1] != $inputs:
            raise ValueError(f"rows of {rows.shape[-1]} values; there must be $inputs, those of COLUMNS")
$marked        rows = rows.to(self.mean)
$filled        inputs = (rows - self.mean) / self.deviation
$answers
        return $result
$classes
''')  # noqa: E501
_ROWS = '''

def rows(table):
    """A tensor [N, {count}] of the columns COLUMNS for rows of the table: lists of TABLE's values, text as it is, None where there is none."""
    return torch.tensor([{encoder}(row) for row in table], dtype=torch.float64)
{function}'''  # noqa: E501
_CLASSES = Template('''
    def classes(self, rows):
        """The class of every one of the rows [N, $inputs], as the table has it."""
        with torch.no_grad():
            answers = self(rows)
        if answers.isnan().any():
            raise ValueError("no answer: a row lacks a value, or the network overflows")
        return [CLASSES[each] for each in $index.tolist()]
''')
_GIVEN = Template("""\
        if inputs.shape[-1] != $inputs:
            raise ValueError(f"inputs [..., {inputs.shape[-1]}]; the last axis must be $inputs")
""")
_TAIL = Template('''

def load(path=None, device="cpu", dtype=None):
    """The network with its weights. path: these, by default $weights beside this file."""
    network = Network().to(device=device, dtype=dtype)
    network.load_state_dict(read_weights(path or Path(__file__).with_name("$weights")))
    return network


def read_weights(path):
    """The tensors of a safetensors file, by name: the length of a JSON header, the header, and the numbers."""
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": torch.float32, "F64": torch.float64}
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            tensors[name] = torch.frombuffer(data[start + begin : start + end], dtype=types[about["dtype"]]).reshape(about["shape"])
    return tensors
''')  # noqa: E501
_USE = {
    False: "    import network\n    outputs = network.load()(inputs)",
    True: (
        "    import network\n    found = network.load()\n    outputs, state = found(inputs)  # the "
        "first step of an episode\n"
        "    outputs, state = found(inputs, state)  # and those after it; or "
        "found.sequence(inputs)"
    ),
}


def write(
    space: Any, genotype: Genotype, folder: Path, title: str, units: Units | None = None
) -> list[Path]:
    """Write the network's code and weights into a folder, made if needed; the files. The title may
    hold any characters.

    With `units`, the module takes rows of the table as it is and gives targets in their own units,
    or of classes what says which.

    Raises InputError for a folder with anything else in it, and InputError or DiskError where it
    cannot be written.
    """
    net = neurons(space, genotype)
    claim(folder)
    prefix = "" if units is None else "neurons."
    tensors = {
        prefix + row.name: torch.tensor(row.weights, dtype=torch.float64)
        for row in net.rows
        if row.sources
    }
    tensors |= {
        name: torch.tensor(values, dtype=torch.float64) for name, values in _buffers(units).items()
    }
    files = {folder / CODE: source(net, title, units).encode(), folder / WEIGHTS: save(tensors)}
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def source(net: Neurons, title: str, units: Units | None = None) -> str:
    """The module `network.py`."""
    head = _HEAD.substitute(
        mark=MARK, title="".join(map(escaped, title.strip())), size=net.size, weights=WEIGHTS,
        use=_USE[net.recurrent] if units is None else _table_use(units),
        constants="" if units is None else "\n".join(_constants(units)),
        helpers="\n\n\n".join(_helpers(net)),
    )  # fmt: skip
    parameters = [
        f"self.{row.name} = nn.Parameter(torch.zeros({len(row.sources)}))"
        for row in net.rows
        if row.sources
    ]
    memory = (*net.outputs, *net.hidden)
    values = [f"new_{name}" if net.recurrent else name for name in memory]
    text = (_RECURRENT if net.recurrent else _FORWARD).substitute(
        name="Network" if units is None else "Neurons", inputs=len(net.inputs),
        outputs=len(net.outputs), memory=len(memory), values=", ".join(values),
        answers=", ".join(net.outputs),
        parameters="\n".join(f"        {line}" for line in parameters or ["pass"]),
        given=_GIVEN.substitute(inputs=len(net.inputs)) + (
            "        inputs = inputs.to(next(self.parameters()))" if parameters else "        # no "
                "links"
        ),
        lines="\n".join(f"        {line}" for line in _lines(net, memory)),
    )  # fmt: skip
    return (
        head
        + "\n\n"
        + text
        + ("" if units is None else _table(net, units) + _rows(units))
        + _TAIL.substitute(weights=WEIGHTS)
    )


def _buffers(units: Units | None) -> dict[str, tuple[float, ...]]:
    """What scales columns and targets, by the names of the module's buffers."""
    if units is None:
        return {}
    inputs = {"mean": units.mean, "deviation": units.deviation}
    inputs |= {"fill": units.fill} if units.fill else {}
    return inputs if units.classes else inputs | {"offset": units.offset, "scale": units.scale}


def _constants(units: Units) -> list[str]:
    out = {"COLUMNS": units.columns, "TARGETS": units.targets} | (
        {"CLASSES": units.classes} if units.classes else {}
    )
    text = [
        "# A column of text is one of COLUMNS for each of its values: 1 where it is that, else 0.",
        "# rows() makes them of rows of TABLE.",
        *tupled("TABLE = ", map(ascii, units.table)),
        *encoder_constants(units),
    ]
    return [
        "",
        *(
            line
            for name, values in out.items()
            for line in tupled(f"{name} = ", map(ascii, values))
        ),
        *(text if units.texts else []),
        "",
    ]


def _table_use(units: Units) -> str:
    rows = "network.rows(table)" if units.texts else "rows"
    call = (
        f"network.load().classes({rows})  # the class of every row"
        if units.classes
        else f"network.load()({rows})  # TARGETS in their own units"
    )
    given = (
        "; table: lists of TABLE's values, text as it is"
        if units.texts
        else f"; rows [N, {len(units.columns)}] of the columns COLUMNS as the table has them"
    )
    return f"    import network\n    answers = {call}{given}"


def _rows(units: Units) -> str:
    """`rows(table)`, which makes numbers of text."""
    if not units.texts:
        return ""
    function = encoder(units, "TABLE", 'float("nan")')
    return _ROWS.format(count=len(units.columns), encoder=ENCODER, function=function)


def _table(net: Neurons, units: Units) -> str:
    """The class `Network`, which takes and gives a table's own values."""
    answers = ["answers = self.neurons(inputs)"]
    if net.recurrent:
        answers = [
            "state = None",
            f"for _ in range({units.sweeps}):",
            "    answers, state = self.neurons(inputs, state)",
        ]
    two = len(units.classes) == 2
    meaning = (
        "above 0.5 for the second of CLASSES"
        if two
        else "of CLASSES the largest"
        if units.classes
        else "TARGETS in their own units"
    )
    index = "(answers[..., 0] > 0.5).long()" if two else "answers.argmax(-1)"
    buffers = [
        f'self.register_buffer("{name}", torch.zeros({len(values)}))'
        for name, values in _buffers(units).items()
    ]
    marked = "".join(
        f"        rows = torch.where(rows.double() == {value!r}, torch.nan, rows)\n"
        for value in units.missing
        if isinstance(value, float) and abs(value) < math.inf
    )
    filled = "        rows = torch.where(torch.isnan(rows), self.fill, rows)\n"
    return _TABLE.substitute(
        filled=filled * bool(units.fill), marked=marked,
        inputs=len(net.inputs), meaning=meaning, given=f"Answers [..., {len(net.outputs)}]",
        buffers="\n".join(f"        {line}" for line in buffers),
        answers="\n".join(f"        {line}" for line in answers),
        result="answers" if units.classes else "self.offset + self.scale * answers",
        classes=_CLASSES.substitute(
            inputs=len(net.inputs), index=index,
        ).rstrip() if units.classes else "",
    ).rstrip() + "\n"  # fmt: skip


def _lines(net: Neurons, memory: tuple[str, ...]) -> list[str]:
    """The lines that compute every node."""
    used = {name for row in net.rows for name in row.sources}
    out = [
        f"{name} = inputs[..., {index}]" for index, name in enumerate(net.inputs) if name in used
    ]
    if "bias" in used:
        out.append(f"bias = inputs.new_full(inputs.shape[:-1], {net.bias!r})")
    out += [
        f"{name} = state[..., {index}]"
        for index, name in enumerate(memory)
        if net.recurrent and name in used
    ]
    return out + [f"{'new_' * net.recurrent}{row.name} = {_node(row)}" for row in net.rows]


def _node(row: Neuron) -> str:
    if not row.sources:
        return "inputs.new_zeros(inputs.shape[:-1])"
    total = f"weighted(self.{row.name}, {', '.join(row.sources)}).{_FOLDS[row.aggregation]}"
    return total if row.activation == "identity" else f"{row.activation}({total})"


def _helpers(net: Neurons) -> list[str]:
    """Definitions of the functions that the lines call."""
    used = {row.activation for row in net.rows if row.sources} - {"identity"}
    weighted = (
        'def weighted(weights, *values):\n    """Values [...] of K nodes, each times its weight: '
        '[..., K]."""\n    return torch.stack(values, -1) * weights'
    )
    return [
        weighted,
        *(
            f"def {each.name}(a):\n    return {torch_text(each.name, each.text)}"
            for each in ACTIVATIONS
            if each.name in used
        ),
    ]


def torch_text(name: str, text: str) -> str:
    """A row's text for tensors.

    Raises NotImplementedError for a function of numbers and cases, which needs a line in
    `_FUNCTIONS`.
    """
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if "where" in text:
        raise NotImplementedError(name)
    out = python(text)
    for function in called(text):
        out = out.replace(f"{function}(", f"torch.{function}(")
    return out
