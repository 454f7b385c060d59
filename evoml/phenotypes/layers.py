"""The layers of networks: one row a layer, made of primitives, from which module, parameters and
multiply-adds all follow.

A row is a sequence of primitives:

    relu  relu6  bn                activation, activation that ends at 6, batch normalisation
    conv3  conv1x7  conv3d2        convolution to the layer's channels: kernel, and dilation behind
                                   `d`
    conv1/4  conv1x3*3/8           the same to a quarter, to three eighths of them, rounded down,
                                   one at least: a bottleneck
    conv1*in6                      the same to six times as many channels as the layer reads: an
                                   inverted bottleneck
    dw3  dw5d2                     depthwise convolution
    max3  avg3                     pooling; padding does not count in the mean
    fr                             factorised reduction: two strided 1x1 convolutions, one of them
                                   shifted by a pixel, side by side
    id  zero  cut                  the input as it is; nothing; its first channels
    gelu  ln                       activation; normalisation over the channels of a pixel
    se/4                           squeeze and excitation through a quarter of the channels

A dense convolution goes from whatever channels there are to the layer's. A stride belongs to the
first primitive whose kernel is larger than one, along each axis by itself: of a kernel 1xk with a
kx1 behind it each strides along its own, and the 1x1 convolution in front of a bottleneck not at
all. Where no kernel is larger, the first one strides. Sources: Zoph and Le 2017 (NAS-RL), arXiv
1611.01578; Zoph et al. 2018 (NASNet), 1707.07012; Real et al. 2019 (AmoebaNet), 1802.01548; Liu et
al. 2018 (PNAS), 1712.00559; Pham et al. 2018 (ENAS), 1802.03268; Liu et al. 2019 (DARTS),
1806.09055; Liu et al. 2018 (HNAS), 1711.00436; Sandler et al. 2018 (MobileNetV2), 1801.04381; Hu
et al. 2018 (squeeze and excitation), 1709.01507; Tan et al. 2019 (MnasNet), 1807.11626; Liu et al.
2022 (ConvNeXt), 2201.03545.

The dense kernels of NASNet, AmoebaNet and PNAS are the bottlenecks of AmoebaNet's release
(TensorFlow TPU models), which has the code for all of them; NASNet's and PNAS's have only what
their best cells need. Departure: with fewer than four channels the release leaves the bottleneck
out; here it is one channel wide.

A primitive is a row too, of `OWN_KINDS`. One that names a torch module needs no kernel: torch's
autograd runs the module inside the passes that run everything else. Third parties add rows of both
kinds through entry points in the group `evoml.layers`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from evoml.core.errors import InputError

Size = tuple[int, int, int]  # channels, height, width
GROUP = "evoml.layers"  # of entry points


@dataclass(frozen=True)
class Row:
    """One layer. `reduced`: what it is where it changes the number of channels, and for an identity
    where it strides, if not the same.

    `kept`: drop path leaves it alone whatever it is made of; it never drops what is `id` or `zero`.
    """

    name: str
    text: str
    reduced: str = ""
    kept: bool = False


def _separable(kernel: int) -> str:
    return f"relu dw{kernel} conv1 bn relu dw{kernel} conv1 bn"


def _bottleneck(*kernels: str, part: str = "/4") -> str:
    inner = "".join(f"relu conv{kernel}{part} bn " for kernel in ("1", *kernels))
    return f"{inner}relu conv1 bn"


def _inverted(kernel: int, expansion: int) -> str:
    expanded = f"conv1*in{expansion} bn relu6 " if expansion > 1 else ""
    return f"{expanded}dw{kernel} bn relu6 conv1 bn"


ROWS = (
    Row("none", "zero"),
    Row("identity", "id", "relu conv1 bn", kept=True),
    Row("skip_connect", "id", "relu fr bn"),  # DARTS
    Row("identity_fr", "id", "fr bn", kept=True),  # ENAS
    Row("factorized_reduction", "relu fr bn"),
    Row("linear_reduction", "fr bn"),
    Row("linear_1x1", "conv1 bn"),
    Row("conv_1x1", "relu conv1 bn"),
    Row("conv_3x3", "relu conv3 bn"),
    Row("bottleneck_3x3", _bottleneck("3")),
    Row("conv_1x3_3x1", _bottleneck("1x3", "3x1", part="*3/8")),
    Row("conv_1x7_7x1", _bottleneck("1x7", "7x1")),
    Row("conv_7x1_1x7", "relu conv1x7 conv7x1 bn"),  # DARTS
    Row("sep_conv_3x3", _separable(3)),
    Row("sep_conv_5x5", _separable(5)),
    Row("sep_conv_7x7", _separable(7)),
    Row("dil_conv_3x3", "relu dw3d2 conv1 bn"),  # DARTS: separable
    Row("dil_conv_5x5", "relu dw5d2 conv1 bn"),
    Row("dil_dense_3x3", _bottleneck("3d2")),  # NASNet and PNAS: dense
    Row("dil_sep_conv_3x3", "relu dw3d2 conv1 bn relu dw3d2 conv1 bn"),  # AmoebaNet
    Row("avg_pool_3x3", "avg3", "avg3 conv1 bn"),
    Row("max_pool_3x3", "max3", "max3 conv1 bn"),
    Row("max_pool_5x5", "max5", "max5 conv1 bn"),
    Row("max_pool_7x7", "max7", "max7 conv1 bn"),
    Row("avg_pool_3x3_bn", "avg3 bn", "avg3 conv1 bn"),  # DARTS: in its supernet
    Row("max_pool_3x3_bn", "max3 bn", "max3 conv1 bn"),
    Row("stem_3x3", "conv3 bn"),
    # NAS-RL, HNAS, NAS-Bench-101
    *(
        Row(f"conv_{h}x{w}_bn_relu", f"conv{h}x{w} bn relu")
        for h in (1, 3, 5, 7)
        for w in (1, 3, 5, 7)
    ),
    Row("dw_conv_3x3_bn_relu", "dw3 bn relu"),
    Row("sep_conv_3x3_bn_relu", "dw3 conv1 bn relu"),
    Row("residual_3x3", "relu conv3 bn relu conv3 bn"),
    Row("avg_pool_2x2_conv_1x1", "avg2 conv1"),  # NAS-Bench-201: the shortcut of a reduction
    Row("batch_norm", "bn"),
    Row("max_pool_2x2", "max2"),
    Row("truncate", "cut"),  # NAS-Bench-101: vertices of unequal width
    # MobileNetV2, ProxylessNAS: kernel, expansion
    *(Row(f"mbconv_{k}x{k}_e{e}", _inverted(k, e)) for k in (3, 5, 7) for e in (1, 3, 6)),
    Row("conv_3x3_bn_relu6", "conv3 bn relu6"),
    Row("conv_1x1_bn_relu6", "conv1 bn relu6"),
    # MnasNet: behind the depthwise convolution
    Row("mbconv_3x3_e3_se", "conv1*in3 bn relu6 dw3 bn relu6 se/4 conv1 bn"),
    Row("convnext_7x7", "dw7 ln conv1*in4 gelu conv1"),  # without its shortcut
)

# the lists that published spaces draw from
OPERATIONS: dict[str, tuple[str, ...]] = {
    "nasnet": (
        "identity", "conv_1x3_3x1", "conv_1x7_7x1", "dil_dense_3x3", "avg_pool_3x3", "max_pool_3x3",
        "max_pool_5x5", "max_pool_7x7", "conv_1x1", "bottleneck_3x3", "sep_conv_3x3",
        "sep_conv_5x5", "sep_conv_7x7",
    ),
    "amoebanet": (
        "identity", "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "avg_pool_3x3", "max_pool_3x3",
        "dil_sep_conv_3x3", "conv_1x7_7x1",
    ),
    "pnas": (
        "sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "conv_1x7_7x1", "identity", "avg_pool_3x3",
        "max_pool_3x3", "dil_dense_3x3",
    ),
    "darts": (
        "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5",
        "dil_conv_3x3", "dil_conv_5x5",
    ),
    "enas": ("sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "identity_fr"),
}  # fmt: skip


@dataclass(frozen=True)
class Primitive:
    """One step of a layer, with its numbers: what a module is built from and what is counted."""

    kind: str  # name of a `PrimitiveKind`
    inputs: int  # channels
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    dilation: int = 1
    stride: tuple[int, int] = (1, 1)
    hidden: int = 0  # channels inside, of a primitive whose module is made with them

    @property
    def module(self) -> str:
        """The torch module that computes it; empty where it has kernels of its own."""
        return kind(self.kind).module

    @property
    def padding(self) -> tuple[int, int]:
        height, width = self.kernel
        return (self.dilation * (height - 1) // 2, self.dilation * (width - 1) // 2)

    @property
    def overhangs(self) -> bool:
        """Whether the last window of a pooling may hang over the border: an even kernel is not
        padded.
        """
        return self.kernel[0] % 2 == 0

    @property
    def parameters(self) -> int:
        """Trainable numbers: weights without bias, and scale and shift of a normalisation."""
        return kind(self.kind).parameters(self)

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds on an input of this size; normalisations, activations and pooling count
        nothing, as in the papers.
        """
        return kind(self.kind).multiply_adds(self, height, width)

    def after(self, height: int, width: int) -> tuple[int, int]:
        """The output's height and width."""
        return -(-height // self.stride[0]), -(-width // self.stride[1])


@cache
def primitives(name: str, inputs: int, outputs: int, stride: int = 1) -> tuple[Primitive, ...]:
    """A layer as primitives, from `inputs` to `outputs` channels.

    Raises KeyError for no layer, ValueError where it cannot be so.
    """
    row = layer_row(name)
    text = (
        row.reduced
        if row.reduced and (inputs != outputs or (stride > 1 and row.text == "id"))
        else row.text
    )
    tokens = [_token(token) for token in text.split()]
    striding = [_striding(tokens, axis) for axis in (0, 1)]
    out: list[Primitive] = []
    channels = inputs
    for index, token in enumerate(tokens):
        new = channels
        about = kind(token.kind)
        if about.widens:
            new = inner(inputs if token.of_inputs else outputs, token.part)
        if token.kind == "cut" and new > channels:
            raise ValueError(
                f"{name} only takes channels away; it cannot give {outputs} of {inputs}"
            )
        strides = (stride if index == striding[0] else 1, stride if index == striding[1] else 1)
        hidden = inner(channels, token.part) if "hidden" in about.arguments else 0
        out.append(
            Primitive(token.kind, channels, new, token.kernel, token.dilation, strides, hidden)
        )
        if not about.module and out[-1].overhangs and 1 in strides:
            raise ValueError(
                f"{name} is for strides from two on: an even kernel has no middle to keep the size "
                "with"
            )
        channels = new
    if channels != outputs:
        raise ValueError(f"{name} keeps its {inputs} channels; it cannot give {outputs}")
    return tuple(out)


def inner(outputs: int, part: tuple[int, int]) -> int:
    """This part of a layer's channels."""
    times, parts = part
    return max(1, outputs * times // parts)


@dataclass(frozen=True)
class _Token:
    kind: str
    kernel: tuple[int, int]
    dilation: int
    part: tuple[int, int]  # of the layer's channels, numerator and denominator
    of_inputs: bool  # of those that it reads, not of those that it gives


@cache
def _token(text: str) -> _Token:
    """Raises ValueError for what is not written as a primitive is."""
    match = re.fullmatch(
        r"(relu6|[a-z_]+)(\d+)?(?:x(\d+))?(?:d(\d+))?(?:\*(in)?(\d+))?(?:/(\d+))?", text
    )
    if match is None:
        raise ValueError(text)
    height, width, dilation, times, parts = match.group(2, 3, 4, 6, 7)
    kernel, part = (int(height or 1), int(width or height or 1)), (int(times or 1), int(parts or 1))
    return _Token(match[1], kernel, int(dilation or 1), part, match[5] is not None)


def _striding(tokens: Sequence[_Token], axis: int) -> int:
    """Which token the stride along an axis belongs to; -1: none."""
    spatial = [index for index, token in enumerate(tokens) if kind(token.kind).strides]
    large = [index for index in spatial if tokens[index].kernel[axis] > 1]
    return min(large or spatial, default=-1)


# -- kinds of primitives ---------------------------------------------------------------------------


def _nothing(step: Primitive, *size: int) -> int:
    return 0


def _dense(step: Primitive) -> int:
    return step.inputs * step.outputs * step.kernel[0] * step.kernel[1]


def _by_channel(step: Primitive) -> int:
    return step.outputs * step.kernel[0] * step.kernel[1]


def _scale_and_shift(step: Primitive) -> int:
    return 2 * step.outputs


def _squeezed(step: Primitive) -> int:
    return 2 * step.outputs * step.hidden + step.hidden + step.outputs


def _at_every_pixel(step: Primitive, height: int, width: int) -> int:
    """Every weight once a pixel of the output."""
    height, width = step.after(height, width)
    return step.parameters * height * width


@dataclass(frozen=True)
class PrimitiveKind:
    """What a primitive is: one row.

    name: as layers' rows have it, of small letters and underscores; numbers behind it are a
        token's kernel, dilation and part.
    parameters: trainable numbers of a primitive of this kind.
    multiply_adds: of one, on one input of so many rows and columns.
    widens: whether it gives the layer's channels, not as many as it reads.
    strides: whether a stride may belong to it.
    module: `package.module:Class`, a torch module [N, C, H, W] to [N, C, H, W] that computes a
        primitive without kernels of its own. It is made with `arguments`, has as many parameters as
        `parameters` says and no buffers, draws nothing, and computes the same in training and
        evaluation. A name, so that nothing imports torch before it is needed. To be exported as
        code, its class uses no names but `torch`, `nn` and `functional`.
    arguments: fields of `Primitive` that the module is made with, in order. With `hidden`, the part
        behind a token's `/` is a part of the channels that it reads.
    """

    name: str
    parameters: Callable[[Primitive], int] = _nothing
    multiply_adds: Callable[[Primitive, int, int], int] = _nothing
    widens: bool = False
    strides: bool = False
    module: str = ""
    arguments: tuple[str, ...] = ()


_MODULES = "evoml.networks.layer_modules"
OWN_KINDS = (
    PrimitiveKind("relu"),
    PrimitiveKind("relu6"),
    PrimitiveKind("bn", _scale_and_shift),
    PrimitiveKind("conv", _dense, _at_every_pixel, widens=True, strides=True),
    PrimitiveKind("dw", _by_channel, _at_every_pixel, strides=True),
    PrimitiveKind("max", strides=True),
    PrimitiveKind("avg", strides=True),
    PrimitiveKind("fr", _dense, _at_every_pixel, widens=True, strides=True),
    PrimitiveKind("id"),
    PrimitiveKind("zero", widens=True, strides=True),
    PrimitiveKind("cut", widens=True),
    # run by torch's autograd
    PrimitiveKind("gelu", module="torch.nn:GELU"),
    PrimitiveKind(
        "ln", _scale_and_shift, module=f"{_MODULES}:LayerNormalisation", arguments=("outputs",)
    ),
    PrimitiveKind(
        "se",
        _squeezed,
        lambda step, height, width: 2 * step.outputs * step.hidden,
        module=f"{_MODULES}:SqueezeExcitation",
        arguments=("outputs", "hidden"),
    ),
)
_OWN = {each.name: each for each in OWN_KINDS}


# -- the tables ------------------------------------------------------------------------------------


def table(
    rows: Iterable[Row], kinds: Mapping[str, PrimitiveKind], where: str = "layers"
) -> dict[str, Row]:
    """Rows by name. Raises InputError, which begins with `where`, for a primitive that is none of
    these.
    """
    out = {}
    for row in rows:
        for text in f"{row.text} {row.reduced}".split():
            try:
                known = _token(text).kind in kinds
            except ValueError:
                known = False
            if not known:
                raise InputError(
                    f"{where}: row {row.name}: unknown primitive {text!r}; there are "
                    f"{', '.join(kinds)}"
                )
        out[row.name] = row
    return out


LAYERS = table(ROWS, _OWN)  # evoml's own


def extensions(group: str) -> list[tuple[str, Any]]:
    """What installed distributions add to a group: name and version of each, and the object."""
    return [
        (f"{point.dist.name} {point.dist.version}" if point.dist else point.name, point.load())
        for point in entry_points(group=group)
    ]


@cache
def _extended() -> tuple[dict[str, Row], dict[str, PrimitiveKind]]:
    """All rows and all kinds, evoml's own first, read once. Raises InputError for a row of a third
    party's that is not one, or has the name of another.
    """
    rows, kinds = dict(LAYERS), dict(_OWN)
    given = [
        (f"{GROUP}: {origin}", each)
        for origin, found in extensions(GROUP)
        for each in (found if isinstance(found, (list, tuple)) else [found])
    ]
    for where, each in given:
        if not isinstance(each, (Row, PrimitiveKind)):
            raise InputError(f"{where}: {each!r:.80}: must be a Row or a PrimitiveKind")
        if each.name in (rows if isinstance(each, Row) else kinds):
            raise InputError(f"{where}: {each.name}: is there already; take another name")
        if isinstance(each, PrimitiveKind):
            if not each.module or not re.fullmatch(r"[a-z_]+", each.name):
                raise InputError(
                    f"{where}: primitive {each.name}: must name a module and be of letters a-z"
                )
            kinds[each.name] = each
    for where, each in given:
        if isinstance(each, Row):
            rows |= table([each], kinds, where)
    return rows, kinds


def layers() -> Mapping[str, Row]:
    """All layers by name, those of third parties behind evoml's own. Raises InputError."""
    return _extended()[0]


def layer_row(name: str) -> Row:
    """A layer. Raises KeyError where nothing has the name."""
    return LAYERS[name] if name in LAYERS else layers()[name]


def kind(name: str) -> PrimitiveKind:
    """A kind of primitive. Raises KeyError where nothing has the name."""
    return _OWN[name] if name in _OWN else _extended()[1][name]
