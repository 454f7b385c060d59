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

A dense convolution goes from whatever channels there are to the layer's. A stride belongs to the
first primitive whose kernel is larger than one, along each axis by itself: of a kernel 1xk with a
kx1 behind it each strides along its own, and the 1x1 convolution in front of a bottleneck not at
all. Where no kernel is larger, the first one strides. Sources: Zoph and Le 2017 (NAS-RL), arXiv
1611.01578; Zoph et al. 2018 (NASNet), 1707.07012; Real et al. 2019 (AmoebaNet), 1802.01548; Liu et
al. 2018 (PNAS), 1712.00559; Pham et al. 2018 (ENAS), 1802.03268; Liu et al. 2019 (DARTS),
1806.09055; Liu et al. 2018 (HNAS), 1711.00436; Sandler et al. 2018 (MobileNetV2), 1801.04381.

The dense kernels of NASNet, AmoebaNet and PNAS are the bottlenecks of AmoebaNet's release
(TensorFlow TPU models), which has the code for all of them; NASNet's and PNAS's have only what
their best cells need. Departure: with fewer than four channels the release leaves the bottleneck
out; here it is one channel wide.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

Size = tuple[int, int, int]  # channels, height, width
_SPATIAL = ("conv", "dw", "max", "avg", "fr", "zero")


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
)
LAYERS = {row.name: row for row in ROWS}

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

    kind: str  # relu, relu6, bn, conv, dw, max, avg, fr, id, zero, cut
    inputs: int  # channels
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    dilation: int = 1
    stride: tuple[int, int] = (1, 1)

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
        if self.kind == "bn":
            return 2 * self.outputs
        if self.kind in ("conv", "fr"):
            return self.inputs * self.outputs * self.kernel[0] * self.kernel[1]
        return self.outputs * self.kernel[0] * self.kernel[1] if self.kind == "dw" else 0

    def multiply_adds(self, height: int, width: int) -> int:
        """Multiply-adds of convolutions on an input of this size; other primitives count nothing,
        as in the papers.
        """
        if self.kind not in ("conv", "fr", "dw"):
            return 0
        height, width = self.after(height, width)
        return self.parameters * height * width

    def after(self, height: int, width: int) -> tuple[int, int]:
        """The output's height and width."""
        return -(-height // self.stride[0]), -(-width // self.stride[1])


@cache
def primitives(name: str, inputs: int, outputs: int, stride: int = 1) -> tuple[Primitive, ...]:
    """A layer as primitives, from `inputs` to `outputs` channels.

    Raises KeyError for no layer, ValueError where it cannot be so.
    """
    row = LAYERS[name]
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
        if token.kind in ("conv", "fr", "zero", "cut"):
            new = inner(inputs if token.of_inputs else outputs, token.part)
        if token.kind == "cut" and new > channels:
            raise ValueError(
                f"{name} only takes channels away; it cannot give {outputs} of {inputs}"
            )
        strides = (stride if index == striding[0] else 1, stride if index == striding[1] else 1)
        out.append(Primitive(token.kind, channels, new, token.kernel, token.dilation, strides))
        if out[-1].overhangs and 1 in strides:
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
    match = re.fullmatch(
        r"(relu6|[a-z]+)(\d+)?(?:x(\d+))?(?:d(\d+))?(?:\*(in)?(\d+))?(?:/(\d+))?", text
    )
    assert match is not None, text
    height, width, dilation, times, parts = match.group(2, 3, 4, 6, 7)
    kernel, part = (int(height or 1), int(width or height or 1)), (int(times or 1), int(parts or 1))
    return _Token(match[1], kernel, int(dilation or 1), part, match[5] is not None)


def _striding(tokens: Sequence[_Token], axis: int) -> int:
    """Which token the stride along an axis belongs to; -1: none."""
    spatial = [index for index, token in enumerate(tokens) if token.kind in _SPATIAL]
    large = [index for index in spatial if tokens[index].kernel[axis] > 1]
    return min(large or spatial, default=-1)
