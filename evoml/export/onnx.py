"""A trained network as an ONNX file, with any number of images at a time: from normalised images to
class scores, or with --raw from pixels as they come to probabilities.

What onnxruntime computes from the file is compared with torch before the file is kept. What it
takes and gives, the class names, and the mean and deviation that images are normalised with, are in
its metadata as JSON. The exporter's own notes, which name files of this machine, are taken out.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from evoml.archive.files import write_atomically
from evoml.core.errors import InputError
from evoml.export._target import Given, Target
from evoml.networks.module import Module
from evoml.networks.reference import ReferenceNetwork
from evoml.search.winner import Trained

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # largest difference of a score, against the largest score
_BATCHES = (1, 2, 5)  # images at a time in the comparison


class Onnx(Target):
    """The trained network for onnxruntime."""

    kinds = ("architectures",)
    task_for: ClassVar[Mapping[str, str]] = {"architectures": "to be trained on"}
    destination = "a file"
    packages = PACKAGES
    raw = True

    def write(self, given: Given, output: Path) -> list[Path]:
        write(given.trained(), output, given.raw)
        return [output]

    def says(self, given: Given) -> str:
        about = interface(given.trained(), given.raw)
        other = "" if given.raw else " (--raw: raw pixels, probabilities)"
        return f"it takes {about['takes']}; and gives {about['gives']}{other}"


def interface(trained: Trained, raw: bool) -> dict[str, str]:
    """What the file takes and gives, in words."""
    shape = f"images [N, {', '.join(map(str, trained.network.inputs))}]"
    coded, ends, count = trained.pixels_are_bytes, trained.pixel_range, len(trained.classes)
    span = "" if ends is None else f", {ends[0]:g}..{ends[1]:g} in training"
    if raw:
        kind = "uint8, bytes" if coded else f"float32, pixels as they come{span}"
        return {"takes": f"{shape} {kind}", "gives": f"probabilities [N, {count}]"}
    pixels = "bytes over 255" if coded else f"pixels as they come{span}"
    return {
        "takes": f"{shape} float32: {pixels}, less the mean and over the deviation in its metadata",
        "gives": f"logits [N, {count}]",
    }


class _Raw(nn.Module):
    """Pixels as they come to probabilities."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, trained: Trained) -> None:
        super().__init__()
        self.network, self.scale = network, 255.0 if trained.pixels_are_bytes else 1.0
        for name in ("mean", "deviation"):
            values = torch.tensor(getattr(trained, name), dtype=torch.float32)
            self.register_buffer(name, values[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        normalised = (images.float() / self.scale - self.mean) / self.deviation
        scores: Tensor = self.network(normalised)
        return scores.softmax(1)


def write(trained: Trained, path: Path, raw: bool = False) -> None:
    """Write the network: `images` [N, C, H, W], normalised, to `logits` [N, K], both float32; or
    where it is to be `raw`, images as they come, uint8 where they were bytes, to `probabilities`.

    Raises InputError where a package is missing, or where the exported network cannot be made or
    computes something else, and InputError or DiskError where the file cannot be written; then
    nothing is.
    """
    Onnx().check_packages()
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if not os.access(path.parent, os.W_OK):
        raise InputError(
            f"{path}: cannot write "
            f"({'no permission' if path.parent.is_dir() else 'no such folder'})"
        )
    state = {name: tensor.detach().cpu() for name, tensor in trained.module.state_dict().items()}
    try:
        content = _exported(trained, state, raw)
        differences = [_difference(trained, state, content, count, raw) for count in _BATCHES]
    # whatever exporter and runtime say of a network that they do not take
    except Exception as error:
        raise InputError(
            f"{path}: torch.onnx or onnxruntime failed ({' '.join(str(error).split())[:200]}); "
            "nothing was written"
        ) from None
    if not all(difference <= TOLERANCE for difference in differences):  # NaN too
        raise InputError(
            f"{path}: onnxruntime's scores differ from torch's by {max(differences):.1e} of their "
            "size; nothing was written"
        )
    write_atomically(path, content)


def _exported(trained: Trained, state: dict[str, Tensor], raw: bool) -> bytes:
    """The file's content."""
    network = trained.network
    with torch.random.fork_rng(devices=[]):
        reference = ReferenceNetwork(network).eval()
    reference.load_state_dict(state, strict=False)  # without the auxiliary head
    module = _Raw(reference, trained).eval() if raw else reference
    example = torch.zeros(2, *network.inputs)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example.byte() if raw and trained.pixels_are_bytes else example,),
            input_names=["images"],
            output_names=["probabilities" if raw else "logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        model: Any = program.model_proto
    graph = model.graph
    for each in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    about: dict[str, Any] = {
        **interface(trained, raw),
        "classes": list(trained.classes),
        "mean": trained.mean.tolist(),
        "deviation": trained.deviation.tolist(),
        "scores": trained.scores,
    }
    for key, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    import_module("onnx").checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


@torch.no_grad()
def _difference(
    trained: Trained, state: dict[str, Tensor], content: bytes, count: int, raw: bool
) -> float:
    """Largest difference between onnxruntime's and torch's scores of random images, against the
    largest score.
    """
    images = torch.randn(
        count, *trained.network.inputs, generator=torch.Generator().manual_seed(count)
    )
    module = Module(trained.network)
    module.load_state_dict(state)
    expected, _ = module.eval()(images)
    if raw:
        mean, deviation = (
            torch.tensor(values, dtype=torch.float32)[:, None, None]
            for values in (trained.mean, trained.deviation)
        )
        scale = 255.0 if trained.pixels_are_bytes else 1.0
        images = (images * deviation + mean) * scale
        if trained.pixels_are_bytes:
            images = images.clamp(0, 255).byte()
        expected, _ = module((images.float() / scale - mean) / deviation)
        expected = expected.softmax(1)
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    given = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
    if given.shape != expected.shape:
        raise ValueError(
            f"scores of shape {list(given.shape)} where torch has {list(expected.shape)}"
        )
    difference, scale = float((given - expected).abs().max()), float(expected.abs().max())
    return difference / (scale or 1.0)


@contextmanager
def _quiet(names: Sequence[str] = ("torch.onnx", "onnxscript", "onnx_ir")) -> Iterator[None]:
    """Without the exporter's remarks on packages that it does not need."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
