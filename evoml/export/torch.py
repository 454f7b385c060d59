"""A trained network as a folder that needs only torch: `network.py`, straight-line code to read,
and `weights.safetensors`.

What reaches only the auxiliary head is left out, and so is what a `none` layer adds. Sizes are
fixed, since the zeros that even out unequal sizes are counted when the code is written.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from inspect import getsource
from pathlib import Path
from string import Template
from typing import ClassVar

from safetensors.torch import save
from torch import Tensor

from evoml.archive.files import write_atomically
from evoml.core.errors import InputError, cannot_write
from evoml.export._target import Given, Target
from evoml.export._texts import escaped
from evoml.networks.layer_modules import named
from evoml.phenotypes.layers import Primitive, inner, kind, layer_row, primitives
from evoml.phenotypes.network import Edge, Network
from evoml.search.winner import Trained

CODE, WEIGHTS = "network.py", "weights.safetensors"
MARK = "# evoml export --to torch"  # how a folder of this exporter is known
_WIDTH = 140
# channels and stride that stand for any: no layer's numbers
_A, _B, _S = 1_000_003, 1_000_033, 1_000_037
_NAMES = {_A: "inputs", _B: "outputs", _S: "stride"}

_MODULE = Template('''\
$mark
"""$title

An image classifier found and trained by evoml: $size, $classes classes.
$scores
It needs torch, this file and $weights beside it.

    import network
    names, probabilities = network.predict(images)

`load()` gives the trained network itself; it takes images that `prepared` has normalised and returns scores (logits).
"""

import json
from functools import cache
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

INPUT = $input  # channels, height, width
CLASSES = $names
RANGE = $range  # least and largest pixel of the training images, where these were floats
BYTES = $coded  # whether pixels of the training images were bytes, which are divided by 255; else they were floats, taken as they come
MEAN = $mean  # of those, a number a channel
DEVIATION = $deviation


$helpers


class Network(nn.Module):
    """Normalised images [N, $dimensions] to scores [N, $classes]. A comment behind a line says channels, height and width of its result."""

    def __init__(self):
        super().__init__()
$layers

    def forward(self, images):
$forward


def load(path=None, device="cpu"):
    """The trained network in evaluation mode. path: its weights, by default $weights beside this file."""
    network = Network()
    network.load_state_dict(read_weights(path or Path(__file__).with_name("$weights")))
    return network.to(device, memory_format=torch.channels_last).eval()


def predict(images, network=None):
    """Names [N] of the likeliest classes, and probabilities [N, $classes] in the order of CLASSES.

    images: arrays or tensors as `prepared` takes them. network: what `load` returned; by default it is loaded here, once, on the CPU.
    """
    network = _loaded() if network is None else network
    device = next(network.parameters()).device
    with torch.no_grad():
        scores = torch.cat([network(part.to(device)) for part in prepared(images).split(500)])
    probabilities = scores.softmax(1).cpu()
    return [CLASSES[index] for index in probabilities.argmax(1).tolist()], probabilities


def prepared(images):
    """Normalised images [N, $dimensions], float32. images: $shapes; $pixels."""
    x = torch.as_tensor(images)
    given = list(x.shape)
    if BYTES and x.dtype != torch.uint8 and not (x.is_floating_point() and (x.numel() == 0 or (x.min() >= 0 and x.max() <= 1))):
        found = f" of {float(x.min()):g}..{float(x.max()):g}" if x.numel() else ""
        raise ValueError(f"images must be bytes (uint8), or floats in 0..1; these are {x.dtype}{found}")
    if RANGE is not None and x.numel():
        low, high = float(x.min()), float(x.max())
        span = RANGE[1] - RANGE[0]
        if not RANGE[0] - span <= low <= high <= RANGE[1] + span or (RANGE[1] > 100 and 0 < high <= 1):
            raise ValueError(f"images are of {low:g}..{high:g}; the network was trained on pixels of {RANGE[0]:g}..{RANGE[1]:g}")
    x = x / 255 if BYTES and x.dtype == torch.uint8 else x.float()
    if x.dim() == 3 and INPUT[0] == 1:
        x = x[:, None]
    elif x.dim() == 4 and tuple(x.shape[1:]) != INPUT:
        x = x.permute(0, 3, 1, 2)
    if x.dim() != 4 or tuple(x.shape[1:]) != INPUT:
        raise ValueError(f"images {given} do not fit; they must be $shapes")
    mean, deviation = (torch.tensor(values, device=x.device)[:, None, None] for values in (MEAN, DEVIATION))
    return ((x - mean) / deviation).contiguous(memory_format=torch.channels_last)


def read_weights(path):
    """The tensors of a safetensors file, by name: the length of a JSON header, the header, and the numbers."""
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            tensors[name] = torch.frombuffer(data[start + begin : start + end], dtype=torch.float32).reshape(about["shape"])
    return tensors


@cache
def _loaded():
    return load()
''')  # noqa: E501

_REDUCTION = '''\
class FactorisedReduction(nn.Module):
    """Two strided 1x1 convolutions side by side, the second on the input shifted by a pixel. One weight holds both."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 1, 1))

    def forward(self, x):
        half = len(self.weight) // 2
        shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        parts = [(x, self.weight[:half]), (shifted, self.weight[half:])]
        return torch.cat([functional.conv2d(given, weight, stride=self.stride) for given, weight in parts if len(weight)], 1)'''  # noqa: E501

_PADDED = '''\
def padded(x, right, bottom):
    """Images with columns of zeros at the right and rows of zeros at the bottom."""
    return functional.pad(x, (0, right, 0, bottom))'''


class Torch(Target):
    """The network as code for torch, an architecture trained."""

    kinds = ("architectures", "neurons")
    task_for: ClassVar[Mapping[str, str]] = {"architectures": "to be trained on"}
    destination = "a folder"

    def write(self, given: Given, output: Path) -> list[Path]:
        return _WRITERS[given.opened.space.phenotype](given, output)


def _architecture(given: Given, folder: Path) -> list[Path]:
    claim(folder)  # before anything is trained
    trained = given.trained()
    return write(trained, folder, f"{given.title}, {trained.accuracy}")


def _network(given: Given, folder: Path) -> list[Path]:
    from evoml.export._neurons import units_of
    from evoml.export._neurons_torch import write as write_neurons

    opened = given.opened
    units = units_of(opened)
    return write_neurons(opened.space, given.genotype, folder, given.title, units)


_WRITERS: dict[str, Callable[[Given, Path], list[Path]]] = {
    "architectures": _architecture,
    "neurons": _network,
}


def write(trained: Trained, folder: Path, title: str) -> list[Path]:
    """Write the network's code and weights into a folder, made if needed; the files. The title may
    hold any characters.

    Raises InputError for a folder with anything else in it, and InputError or DiskError where it
    cannot be written.
    """
    claim(folder)
    files = {
        folder / CODE: source(trained, title).encode(),
        folder / WEIGHTS: save(weights(trained)),
    }
    for path, content in files.items():
        write_atomically(path, content)
    return list(files)


def claim(folder: Path) -> None:
    """Make the folder, unless it is empty or of this exporter.

    Raises InputError and DiskError, as `write` does.
    """
    try:
        _claim(folder)
    except OSError as error:
        raise cannot_write(folder, error) from None


def _claim(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"{folder}: is a file; name a folder, which will hold {CODE} and {WEIGHTS}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    found = {path.name for path in folder.iterdir()} - {"__pycache__"}
    code = folder / CODE
    if found and not (
        found <= {CODE, WEIGHTS}
        and code.is_file()
        and code.read_bytes().startswith(MARK.encode() + b"\n")
    ):
        raise InputError(
            f"{folder}: holds other files; name a new or an empty folder, or one of an earlier "
            "export"
        )


def weights(trained: Trained) -> dict[str, Tensor]:
    """The tensors of the network by the names that the code gives them, without the auxiliary
    head's.
    """
    state, out = trained.module.state_dict(), {}
    prefixes = {"linear.": "linear."} | {
        layer.prefix: f"{layer.name}." for layer in _Code(trained.network).layers
    }
    for name, tensor in state.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
        # which matters in training alone
        if old is not None and not name.endswith("num_batches_tracked"):
            out[prefixes[old] + name[len(old) :]] = tensor.detach().cpu().contiguous()
    return out


def source(trained: Trained, title: str) -> str:
    """The module `network.py`."""
    code, (channels, height, width) = _Code(trained.network), trained.network.inputs
    shapes = ([f"[N, {height}, {width}]"] if channels == 1 else []) + [
        f"[N, {height}, {width}, {channels}]",
        f"[N, {channels}, {height}, {width}]",
    ]
    names = ['"' + "".join(map(escaped, name)) + '"' for name in trained.classes]
    return _MODULE.substitute(
        mark=MARK,
        title="".join(map(escaped, title.strip())),
        size=f"{channels} channel{'s' * (channels > 1)} of {height} x {width} pixels",
        dimensions=f"{channels}, {height}, {width}",
        scores=_scores(trained),
        input=(channels, height, width),
        shapes=f"{', '.join(shapes[:-1])} or {shapes[-1]}",
        classes=len(names),
        names=_listed(names),
        coded=trained.pixels_are_bytes,
        range=trained.pixel_range,
        pixels="bytes, or floats in 0..1"
        if trained.pixels_are_bytes
        else "numbers on the scale of the images that it was trained on",
        mean=[float(value) for value in trained.mean],
        deviation=[float(value) for value in trained.deviation],
        weights=WEIGHTS,
        helpers="\n\n\n".join(code.helpers()),
        layers="\n".join(f"        {line}" for line in code.definitions()),
        forward="\n".join(f"        {line}" for line in code.forward()),
    )


def _scores(trained: Trained) -> str:
    network, scores = trained.network, trained.scores
    accuracy = (
        f"Accuracy {scores['test_accuracy']:.4f} on test images that neither search nor training "
        "saw. "
        if "test_accuracy" in scores
        else ""
    )
    return (
        f"{accuracy}{network.parameters:,} parameters, {network.multiply_adds:,} multiply-adds an "
        "image."
    )


# -- from a table of edges to lines ----------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """An edge that needs a module."""

    name: str  # of the attribute
    function: str
    steps: tuple[Primitive, ...]  # with the numbers that stand for any
    arguments: tuple[int, ...]
    prefix: str  # of its tensors in evoml's module
    source: int


class _Code:
    """A network's lines.

    Only what reaches the class scores is written: a name that nothing reads is an error to linters.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.alive = self._alive()
        self._layers = {(number, place): layer for number, place, layer in self._modules()}

    @property
    def layers(self) -> list[_Layer]:
        return list(self._layers.values())

    def _alive(self) -> list[int]:
        """Nodes that the output depends on, but through layers that give zeros whatever they read;
        in order.
        """
        alive, todo = {self.network.output}, [self.network.output]
        while todo:
            read = {
                edge.source
                for edge in self.network.nodes[todo.pop()].edges
                if self._kind(edge) != "zero"
            } - alive
            alive |= read
            todo += read
        return sorted(alive - {0})

    def _steps(self, edge: Edge) -> tuple[Primitive, ...]:
        return self.network.primitives(edge, self.network.sizes[edge.source][0])

    def _kind(self, edge: Edge) -> str:
        """id, zero or cut for what is written without a module; else a layer."""
        steps = self._steps(edge)
        return (
            steps[0].kind if len(steps) == 1 and steps[0].kind in ("id", "zero", "cut") else "layer"
        )

    def _modules(self) -> Iterator[tuple[int, int, _Layer]]:
        for number in self.alive:
            taken: dict[str, int] = {}
            for place, edge in enumerate(self.network.nodes[number].edges):
                if self._kind(edge) != "layer":
                    continue
                function, steps, arguments = _general(edge, self.network.sizes[edge.source][0])
                taken[function] = count = taken.get(function, 0) + 1
                name = f"node{number}_{function}" + (f"_{count}" if count > 1 else "")
                prefix = f"nodes.{number}.{place}." + ("0." if len(steps) == 1 else "")
                yield number, place, _Layer(name, function, steps, arguments, prefix, edge.source)

    def helpers(self) -> list[str]:
        """Definitions of what the network's lines call, in the order of their names."""
        functions = {layer.function: layer.steps for layer in self.layers}
        reduces = any(step.kind == "fr" for steps in functions.values() for step in steps)
        pads = any("padded(" in line for line in self.forward())
        return [
            *[_REDUCTION] * reduces,
            *[_PADDED] * pads,
            *_sources(step for steps in functions.values() for step in steps),
            *(_function(name, functions[name]) for name in sorted(functions)),
        ]

    def definitions(self) -> Iterator[str]:
        """The lines that make the layers."""
        for heading, number in self._sections():
            layers = [self._layers[key] for key in self._layers if key[0] == number]
            if heading and layers:
                yield heading
            for layer in layers:
                read = f"node {layer.source}" if layer.source else "the images"
                yield (
                    f"self.{layer.name} = "
                    f"{layer.function}({', '.join(map(str, layer.arguments))})  # reads {read}"
                )
        yield (
            f"self.linear = nn.Linear({self.network.sizes[self.network.output][0]}, "
            f"{self.network.classes})"
        )

    def forward(self) -> Iterator[str]:
        """The lines that compute the class scores."""
        for heading, number in self._sections():
            if heading:
                yield heading
            node, size = (
                self.network.nodes[number],
                " x ".join(map(str, self.network.sizes[number])),
            )
            adds = node.merge == "add"
            places = [
                place
                for place, edge in enumerate(node.edges)
                if not adds or self._kind(edge) != "zero"
            ] or [0]
            parts = [self._part(number, place) for place in places]
            yield from (
                f"node{number} = {_added(parts) if adds else f'torch.cat({_listed(parts)}, 1)'}  # "
                f"{size}"
            ).split("\n")
        output = f"node{self.network.output}" if self.network.output else "images"
        yield f"return self.linear(functional.relu({output}).mean((2, 3)))"

    def _part(self, number: int, place: int) -> str:
        """What an edge gives to its node."""
        edge, (_, height, width) = (
            self.network.nodes[number].edges[place],
            self.network.sizes[number],
        )
        given, kind = f"node{edge.source}" if edge.source else "images", self._kind(edge)
        if kind == "zero":
            return f"images.new_zeros(images.shape[0], {edge.channels}, {height}, {width})"
        if kind == "cut":
            given = f"{given}[:, :{edge.channels}]"
        elif kind == "layer":
            given = f"self.{self._layers[number, place].name}({given})"
        high, wide = self.network.sizes[edge.source][1:]
        for step in self._steps(edge):
            high, wide = step.after(high, wide)
        return (
            given
            if (high, wide) == (height, width)
            else f"padded({given}, {width - wide}, {height - high})"
        )

    def _sections(self) -> Iterator[tuple[str, int]]:
        """Nodes, with a heading where another cell begins; without cells, where the size
        changes.
        """
        last = ""
        for number in self.alive:
            height, width = self.network.sizes[number][1:]
            text = self._cells.get(number, "") or (
                "" if self._cells else f"{height} x {width} pixels"
            )
            yield (f"# {text}" if text not in ("", last) else ""), number
            last = text or last

    @cached_property
    def _cells(self) -> dict[int, str]:
        """A name for every node's cell, from how deep drop path says that it is: a node between
        cells belongs to what reads it, or to what it reads.
        """
        depths = [
            max((edge.depth for edge in node.edges), default=0.0) for node in self.network.nodes
        ]
        order = [0.0, *sorted(set(depths) - {0.0})]
        own = [order.index(depth) for depth in depths]
        cells = list(own)
        for number in self.alive:
            readers = [
                own[reader]
                for reader in self.alive
                if own[reader]
                and number in {edge.source for edge in self.network.nodes[reader].edges}
            ]
            if not own[number]:
                cells[number] = (
                    min(readers)
                    if readers
                    else max(
                        (cells[edge.source] for edge in self.network.nodes[number].edges), default=0
                    )
                )
        return (
            {
                number: f"cell {cells[number]} of {len(order) - 1}" if cells[number] else "stem"
                for number in self.alive
            }
            if len(order) > 1
            else {}
        )


def _general(edge: Edge, channels: int) -> tuple[str, tuple[Primitive, ...], tuple[int, ...]]:
    """A layer's function: its name, its steps for any numbers, and this edge's numbers in the order
    of the parameters.
    """
    row = layer_row(edge.layer)
    changed = channels != edge.channels or (edge.stride > 1 and row.text == "id")
    try:
        steps = primitives(edge.layer, _A, _A if row.reduced and not changed else _B, _S)
    except ValueError:
        steps = primitives(edge.layer, _A, _A, _S)
    values = {
        "inputs": channels,
        "channels": channels,
        "outputs": edge.channels,
        "stride": edge.stride,
    }
    arguments = tuple(values[name] for name in _parameters(steps))
    if "stride" in _parameters(steps) and edge.stride == 1:
        arguments = arguments[:-1]
    return edge.layer + "_projected" * bool(row.reduced and changed), steps, arguments


def _parameters(steps: tuple[Primitive, ...]) -> list[str]:
    """inputs and outputs, channels where these are the same, none where no step has to know; and
    the stride where a step has one.
    """
    known = {
        number
        for step in steps
        if step.kind in ("bn", "conv", "dw", "fr") or kind(step.kind).arguments
        for number in (step.inputs, step.outputs)
    }
    channels = ["inputs", "outputs"] if _B in known else ["channels"] if known else []
    return channels + ["stride"] * any(_S in step.stride for step in steps)


def _function(name: str, steps: tuple[Primitive, ...]) -> str:
    """The function that makes a layer."""
    parameters = _parameters(steps)
    names = _NAMES | ({} if "outputs" in parameters else {_A: "channels"})
    made = [_step(step, names) for step in steps]
    signature = ", ".join(
        "stride=1" if parameter == "stride" else parameter for parameter in parameters
    )
    body = (
        made[0]
        if len(made) == 1
        else "nn.Sequential(\n" + "".join(f"        {line},\n" for line in made) + "    )"
    )
    return f"def {name}({signature}):\n    return {body}"


def _step(step: Primitive, names: dict[int, str]) -> str:
    """The call that makes a step's module, as `reference.layer` makes it."""
    inputs, outputs = (_channels(number, names) for number in (step.inputs, step.outputs))
    stride = _pair((names.get(step.stride[0], "1"), names.get(step.stride[1], "1")))
    window = [_pair(step.kernel), stride] + [f"padding={_pair(step.padding)}"] * any(step.padding)
    if step.kind in ("conv", "dw"):
        given = [inputs, outputs, *(window if stride != "1" else [window[0], *window[2:]])]
        given += [f"dilation={step.dilation}"] * (step.dilation > 1) + [f"groups={inputs}"] * (
            step.kind == "dw"
        )
        return f"nn.Conv2d({', '.join([*given, 'bias=False'])})"
    if step.kind in ("max", "avg"):
        window += ["ceil_mode=True"] * (step.overhangs) + ["count_include_pad=False"] * (
            step.kind == "avg"
        )
        return f"nn.{step.kind.capitalize()}Pool2d({', '.join(window)})"
    if step.module:
        given = [_argument(step, argument, names) for argument in kind(step.kind).arguments]
        return f"{_class(step)}({', '.join(given)})"
    return {
        "relu": "nn.ReLU()",
        "relu6": "nn.ReLU6()",
        "bn": f"nn.BatchNorm2d({outputs})",
        "fr": f"FactorisedReduction({inputs}, {outputs}, {stride})",
    }[step.kind]


def _channels(number: int, names: dict[int, str]) -> str:
    """A number of channels that is a part or a multiple of the function's arguments."""
    if number in names:
        return names[number]
    for base in (_B, _A):
        part = Fraction(number, base).limit_denominator(64)
        times, parts = part.numerator, part.denominator
        if base in names and inner(base, (times, parts)) == number:
            return _part(names[base], times, parts)
    return str(number)


def _part(text: str, times: int, parts: int) -> str:
    """A multiple, or a part rounded down, one at least, as `layers.inner` has it."""
    if parts == 1:
        return f"{times} * {text}"
    return f"max(1, {text}{f' * {times}' if times > 1 else ''} // {parts})"


def _argument(step: Primitive, name: str, names: dict[int, str]) -> str:
    """What a torch module is made with; see `layers.PrimitiveKind`."""
    if name in ("kernel", "dilation"):
        return str(step.kernel if name == "kernel" else step.dilation)
    if name == "stride":
        return _pair((names.get(step.stride[0], "1"), names.get(step.stride[1], "1")))
    if name == "hidden":
        part = Fraction(step.hidden, step.inputs).limit_denominator(64)
        return _part(_channels(step.inputs, names), part.numerator, part.denominator)
    return _channels(step.inputs if name == "inputs" else step.outputs, names)


def _class(step: Primitive) -> str:
    """The name of a primitive's class, torch's own or one of `_sources`."""
    module, _, name = step.module.partition(":")
    return f"nn.{name}" if module == "torch.nn" else name


def _sources(steps: Iterable[Primitive]) -> list[str]:
    """The classes of primitives that are no classes of torch's, as they are written."""
    names = sorted({step.module for step in steps if step.module})
    return [getsource(named(name)).rstrip() for name in names if not name.startswith("torch.nn:")]


def _pair(values: tuple[object, object]) -> str:
    """(3, 3) as 3, (1, 7) as it is."""
    return str(values[0]) if values[0] == values[1] else f"({values[0]}, {values[1]})"


def _added(parts: list[str]) -> str:
    """A sum, on one line where there is room."""
    line = " + ".join(parts)
    return line if len(line) + 50 <= _WIDTH else "(\n    " + "\n    + ".join(parts) + "\n)"


def _listed(parts: list[str]) -> str:
    """A list, on one line where there is room."""
    line = f"[{', '.join(parts)}]"
    return (
        line
        if len(line) + 50 <= _WIDTH
        else "[\n" + "".join(f"    {part},\n" for part in parts) + "]"
    )
