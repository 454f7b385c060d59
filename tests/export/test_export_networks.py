"""Exported networks compute what evoml's do: as a module that needs torch alone, and as an ONNX
file.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from evoml.core.errors import InputError
from evoml.export import onnx as to_onnx
from evoml.export import torch as to_torch
from evoml.networks.module import Module
from evoml.networks.reference import ReferenceNetwork
from evoml.phenotypes.layers import LAYERS, primitives
from evoml.phenotypes.network import Builder, Edge, Network
from evoml.search.problem import open_file
from evoml.search.winner import Trained

PROGRAMS = sorted(
    path
    for name in ("cell", "hierarchical")
    for path in (Path(__file__).parents[2] / "programs" / name).glob("*.toml")
    if path.stem != "plain"  # of random weights, float32's rounding grows beyond the bound in it
)
SIZE = (3, 17, 13)  # odd, so that strides and shifts round
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in to_onnx.PACKAGES),
    reason="onnx, onnxscript or onnxruntime is not installed: pip install 'evoml[onnx]'",
)

# Imports the exported file where there is neither evoml nor safetensors, and prints what it says of
# the images in a file.
ALONE = """
import json, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("evoml", "safetensors"):
            raise ImportError(name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, sys.argv[1])
import network, torch
torch.set_num_threads(1)
images = network.read_weights(sys.argv[2])
with torch.no_grad():
    scores = network.load()(images["normalised"]).tolist()
names, probabilities = network.predict(images["pixels"])
assert not {"evoml", "safetensors"} & set(sys.modules)
print(json.dumps({"scores": scores, "names": names, "probabilities": probabilities.tolist()}))
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(network: Network, classes: tuple[str, ...] | None = None) -> Trained:
    """A network with random weights and moments in evaluation mode."""
    module, generator = Module(network), torch.Generator().manual_seed(1)
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for name, tensor in state.items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.dim() == 1 and tensor.is_floating_point():
            tensor.normal_(1.0 if name.endswith("weight") else 0.0, 0.2, generator=generator)
    module.load_state_dict(state)
    moments = np.linspace(0.4, 0.6, network.inputs[0])
    names = classes or tuple(f"class {number}" for number in range(network.classes))
    return Trained(module.eval(), network, {"test_accuracy": 0.9375}, names, moments, moments / 2)


def plain(winner: Trained) -> ReferenceNetwork:
    """The winner's definition, as a loop over torch's modules."""
    out = ReferenceNetwork(winner.network)
    out.load_state_dict(winner.module.state_dict(), strict=False)
    return out.eval()


def names_of(winner: Trained, title: str = "test") -> dict[str, Any]:
    """The exported module's names, executed in a namespace of their own."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(to_torch.source(winner, title), "network.py", "exec"), names)
    return names


def loaded(winner: Trained) -> torch.nn.Module:
    """The exported network with its weights, without a file."""
    network = names_of(winner)["Network"]()
    network.load_state_dict(to_torch.weights(winner))
    return network.eval()


@torch.no_grad()
def agree(winner: Trained, network: torch.nn.Module) -> None:
    """The exported network and evoml's two give the same scores to 1e-6 of their size."""
    images = torch.randn(4, *winner.network.inputs, generator=torch.Generator().manual_seed(2))
    scores = network(images)
    for expected in (plain(winner)(images), winner.module(images)[0]):
        assert float((scores - expected).abs().max()) <= 1e-6 * max(
            float(expected.abs().max()), 1.0
        )


def cell(
    inputs: tuple[int, int, int] = SIZE, auxiliary: bool = False, name: str = "amoebanet_a"
) -> Network:
    space, genotype = open_file(next(path for path in PROGRAMS if path.stem == name))
    if auxiliary:
        skeleton = space.settings.skeleton.model_copy(update={"auxiliary": True})
        space = type(space)(space.settings.model_copy(update={"skeleton": skeleton}))
    return space.network(genotype, inputs, 4)


def around(
    layers: list[tuple[str, int, int]], merge: str = "add", inputs: tuple[int, int, int] = SIZE
) -> Network:
    """A stem of 6 channels and layers (name, channels, stride) side by side on it."""
    build = Builder(inputs)
    stem = build.layer(0, "stem_3x3", 6)
    return build.network(
        build.node(
            [Edge(stem, name, channels, stride) for name, channels, stride in layers], merge
        ),
        3,
    )  # type: ignore[arg-type]


def possible(name: str, channels: int, stride: int) -> bool:
    """Whether there is such a layer; windows of even size are made for strides."""
    try:
        return not any(
            step.overhangs and step.stride == (1, 1)
            for step in primitives(name, 6, channels, stride)
        )
    except ValueError:
        return False


EVERY = [
    (name, channels, stride)
    for name in LAYERS
    for channels in (6, 4)
    for stride in (1, 2)
    if possible(name, channels, stride)
]


# -- as a module that imports torch alone ----------------------------------------------------------


@pytest.mark.parametrize(("name", "channels", "stride"), EVERY)
def test_every_layer_computes_the_same(name: str, channels: int, stride: int) -> None:
    winner = trained(around([(name, channels, stride)]))
    agree(winner, loaded(winner))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("size", [SIZE, (1, 8, 8)], ids=str)
def test_published_architectures_compute_the_same(path: Path, size: tuple[int, int, int]) -> None:
    space, genotype = open_file(path)
    winner = trained(space.network(genotype, size, 4))
    agree(winner, loaded(winner))


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(
            around([("conv_3x3", 4, 2), ("conv_1x1", 4, 1)]), id="unequal sizes are added"
        ),
        pytest.param(
            around([("max_pool_2x2", 6, 2), ("none", 5, 1), ("skip_connect", 3, 2)], "concat"),
            id="unequal sizes and none side by side",
        ),
        pytest.param(
            around([("none", 4, 1), ("conv_1x1", 4, 2), ("none", 4, 2)]),
            id="none is added, and larger",
        ),
        pytest.param(around([("none", 4, 2), ("none", 4, 1)]), id="none alone"),
        pytest.param(
            around([("conv_3x3", 4, 1), ("conv_3x3", 4, 1), ("conv_3x3", 4, 1)]),
            id="a layer three times",
        ),
        pytest.param(around([("factorized_reduction", 1, 2)]), id="a reduction to one channel"),
        pytest.param(
            around([(f"conv_{k}x{k}_bn_relu", 4, 1) for k in (1, 3, 5, 7)] * 6, "concat"),
            id="many side by side",
        ),
        pytest.param(
            around([(f"conv_{k}x{k}_bn_relu", 4, 1) for k in (1, 3, 5, 7)] * 6), id="many are added"
        ),
        pytest.param(Network(SIZE, 3, Builder(SIZE).network(0, 3).nodes, 0), id="no layer at all"),
    ],
)
def test_merges_compute_the_same(network: Network, tmp_path: Path) -> None:
    winner = trained(network)
    agree(winner, loaded(winner))
    to_torch.write(winner, tmp_path, "test")
    assert lint(tmp_path / "network.py") == ""


def test_the_file_needs_torch_alone(tmp_path: Path) -> None:
    winner = trained(cell(), ("cat", 'a "dog"', "\\", "fünf"))
    files = to_torch.write(winner, tmp_path / "out", "populations/run")
    assert [path.name for path in files] == ["network.py", "weights.safetensors"] and all(
        path.is_file() for path in files
    )
    pixels = torch.rand(5, *SIZE, generator=torch.Generator().manual_seed(3))
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32)[:, None, None]
        for values in (winner.mean, winner.deviation)
    )
    images = {"pixels": pixels, "normalised": (pixels - mean) / deviation}
    save_file(images, tmp_path / "images.safetensors")
    ran = subprocess.run(
        [
            sys.executable, "-I", "-c", ALONE, str(tmp_path / "out"),
            str(tmp_path / "images.safetensors"),
        ],
        cwd=tmp_path, capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    said = json.loads(ran.stdout)
    with torch.no_grad():
        expected = winner.module(images["normalised"])[0]
    np.testing.assert_allclose(
        said["scores"], expected.numpy(), rtol=0, atol=1e-6 * max(float(expected.abs().max()), 1.0)
    )
    np.testing.assert_allclose(
        said["probabilities"], expected.softmax(1).numpy(), rtol=0, atol=1e-6
    )
    assert said["names"] == [winner.classes[index] for index in expected.argmax(1)]


def test_predict_takes_images_in_the_usual_forms() -> None:
    winner = trained(cell((1, 9, 8)))
    names, network = names_of(winner), loaded(winner)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 9, 8), np.uint8)
    expected = names["predict"](pixels, network)
    assert len(expected[0]) == 3 and expected[1].shape == (3, 4)
    for same in (
        pixels[:, 0],
        pixels[:, 0, :, :, None],
        pixels.astype(np.float32) / np.float32(255),
        torch.from_numpy(pixels),
    ):
        given = names["predict"](same, network)
        assert given[0] == expected[0] and torch.allclose(given[1], expected[1], atol=1e-6)
    assert names["predict"](pixels[:0], network)[0] == []
    for wrong, why in [
        (pixels[:, :, :8], "do not fit"),
        (pixels[0, 0], "do not fit"),
        (pixels.astype(np.int64), "uint8"),
        (pixels.astype(np.float32), "0..1"),
        (np.full((1, 1, 9, 8), np.nan), "0..1"),
    ]:
        with pytest.raises(ValueError, match=why):
            names["predict"](wrong, network)


def test_the_auxiliary_head_and_what_feeds_it_stay_behind() -> None:
    network = cell(auxiliary=True)
    winner = trained(network)
    assert network.auxiliary >= 0 and any(
        name.startswith("auxiliary") for name in winner.module.state_dict()
    )
    agree(winner, loaded(winner))
    assert sum(tensor.numel() for tensor in loaded(winner).parameters()) == network.parameters
    build = Builder(SIZE)
    stem = build.layer(0, "stem_3x3", 6)
    side = build.layer(stem, "conv_5x5_bn_relu", 6)
    only = trained(build.network(build.layer(stem, "conv_3x3", 6), 3, side))
    assert "conv_5x5" not in to_torch.source(only, "test")
    agree(only, loaded(only))


def test_code_reads_well() -> None:
    code = to_torch.source(trained(cell()), "the title")
    for part in (
        "# stem",
        "# cell 3 of 3",
        "def sep_conv_3x3(inputs, outputs, stride=1):",
        "INPUT = (3, 17, 13)",
        "Accuracy 0.9375",
        "the title",
    ):
        assert part in code
    assert max(map(len, code.splitlines())) <= 140


@settings(max_examples=60, deadline=None)
@given(st.text(), st.lists(st.text(), min_size=3, max_size=3))
def test_titles_and_class_names_may_hold_anything(title: str, classes: list[str]) -> None:
    code = to_torch.source(
        Trained(WINNER.module, WINNER.network, {}, tuple(classes), WINNER.mean, WINNER.deviation),
        title,
    )
    tree = ast.parse(code)
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    assert ast.literal_eval(values["CLASSES"]) == classes
    assert (ast.get_docstring(tree, clean=False) or "").startswith(title.strip() + "\n")
    assert [type(node) for node in tree.body] == [
        type(node) for node in ast.parse(to_torch.source(WINNER, "")).body
    ]


WINNER = trained(around([("conv_1x1", 4, 1)]))


def lint(path: Path) -> str:
    """What ruff says by its defaults."""
    ran = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_files_are_clean_and_the_same_every_time(path: Path, tmp_path: Path) -> None:
    space, genotype = open_file(path)
    winner = trained(
        space.network(genotype, SIZE, 1000), tuple(f"class {number}" for number in range(1000))
    )
    first = [file.read_bytes() for file in to_torch.write(winner, tmp_path, 'a title """ \\')]
    assert lint(tmp_path / "network.py") == ""
    assert [
        file.read_bytes() for file in to_torch.write(winner, tmp_path, 'a title """ \\')
    ] == first


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    file, mine = tmp_path / "file", tmp_path / "deep" / "mine"
    file.write_text("x")
    for wrong, why in [(file, "is a file"), (tmp_path, "holds other files")]:
        with pytest.raises(InputError, match=why):
            to_torch.write(WINNER, wrong, "test")
    with pytest.raises(InputError, match="cannot write"):
        to_torch.write(WINNER, file / "below", "test")
    to_torch.write(WINNER, mine, "test")
    (mine / "__pycache__").mkdir()
    to_torch.write(WINNER, mine, "again")
    (mine / "network.py").write_text("print('my own')\n")
    with pytest.raises(InputError, match="holds other files"):
        to_torch.write(WINNER, mine, "test")
    assert file.read_text() == "x" and (mine / "network.py").read_text() == "print('my own')\n"


# -- as an ONNX file -------------------------------------------------------------------------------


KINDS = [
    ("none", 5, 1), ("identity", 6, 1), ("skip_connect", 4, 2), ("factorized_reduction", 1, 2),
    ("conv_7x1_1x7", 4, 2), ("dil_sep_conv_3x3", 6, 2), ("max_pool_2x2", 6, 2),
    ("avg_pool_2x2_conv_1x1", 4, 2), ("avg_pool_3x3", 6, 1), ("avg_pool_3x3", 4, 2),
    ("max_pool_5x5", 6, 2), ("truncate", 4, 1), ("batch_norm", 6, 1),
]  # fmt: skip


@needs_onnx
@pytest.mark.parametrize(
    "network",
    [
        pytest.param(around(KINDS, "concat"), id="every kind of step"),
        pytest.param(
            around([("conv_3x3", 4, 2), ("conv_1x1", 4, 1), ("none", 4, 1)]),
            id="unequal sizes are added",
        ),
        pytest.param(cell(auxiliary=True), id="cells with an auxiliary head"),
    ],
)
def test_onnx_computes_the_same(network: Network, tmp_path: Path) -> None:
    import onnxruntime

    winner = trained(network)
    to_onnx.write(winner, tmp_path / "network.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    content = (tmp_path / "network.onnx").read_bytes()
    assert b".py" not in content and b"auxiliary" not in content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["images"] and [
        each.name for each in session.get_outputs()
    ] == ["logits"]
    about = session.get_modelmeta().custom_metadata_map
    assert (
        json.loads(about["classes"]) == list(winner.classes)
        and json.loads(about["mean"]) == winner.mean.tolist()
    )
    for count in (1, 3, 8):
        images = torch.randn(count, *SIZE, generator=torch.Generator().manual_seed(9))
        with torch.no_grad():
            expected = winner.module(images)[0].numpy()
        (scores,) = session.run(None, {"images": images.numpy()})
        assert (
            scores.shape == (count, network.classes)
            and np.abs(scores - expected).max() <= 1e-4 * np.abs(expected).max()
        )


@needs_onnx
@pytest.mark.parametrize("coded", [True, False])
def test_raw_onnx_takes_pixels_and_gives_probabilities(tmp_path: Path, coded: bool) -> None:
    import onnxruntime

    winner = replace(WINNER, pixels_are_bytes=coded)
    to_onnx.write(winner, tmp_path / "network.onnx", raw=True)
    session = onnxruntime.InferenceSession(
        (tmp_path / "network.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert taken.type == ("tensor(uint8)" if coded else "tensor(float)")
    assert given.name == "probabilities"
    about = session.get_modelmeta().custom_metadata_map
    assert ("uint8" if coded else "as they come") in json.loads(about["takes"])
    assert json.loads(about["gives"]) == f"probabilities [N, {len(winner.classes)}]"
    pixels = np.random.default_rng(0).integers(0, 256, (3, *winner.network.inputs), np.uint8)
    raw = pixels if coded else (pixels / np.float32(255)).astype(np.float32)
    (probabilities,) = session.run(None, {"images": raw})
    names, network = names_of(winner), loaded(winner)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(probabilities, names["predict"](raw, network)[1], atol=1e-4)


@pytest.mark.parametrize(
    ("ends", "good", "bad"), [((0.0, 1.0), 1.0, 255.0), ((0.0, 255.0), 255.0, 1.0)]
)
def test_the_range_of_float_pixels_is_checked(
    ends: tuple[float, float], good: float, bad: float
) -> None:
    winner = replace(trained(cell((1, 9, 8))), pixels_are_bytes=False, pixel_range=ends)
    names, network = names_of(winner), loaded(winner)
    pixels = np.linspace(0, 1, 72, dtype=np.float32).reshape(1, 1, 9, 8)
    assert len(names["predict"](pixels * good, network)[0]) == 1
    said = f"images are of 0..{bad:g}; the network was trained on pixels of 0..{good:g}"
    with pytest.raises(ValueError, match=said):
        names["predict"](pixels * bad, network)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.full((1, 1, 9, 8), 255.0, np.float32), "; these are torch.float32 of 255..255"),
        (np.full((1, 1, 9, 8), 7), "; these are torch.int64 of 7..7"),
        (np.full((1, 1, 9, 8), np.nan), "; these are torch.float64 of nan..nan"),
        (np.zeros((1, 5, 5), np.uint8), r"images \[1, 5, 5\] do not fit"),
        ([[0.5]], r"images \[1, 1\] do not fit"),
    ],
)
def test_pixels_that_were_bytes_are_checked(pixels: Any, said: str) -> None:
    winner = trained(cell((1, 9, 8)))
    with pytest.raises(ValueError, match=said):
        names_of(winner)["predict"](pixels, loaded(winner))


@needs_onnx
def test_onnx_is_the_same_every_time(tmp_path: Path) -> None:
    for name in "ab":
        to_onnx.write(WINNER, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@needs_onnx
def test_onnx_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = to_onnx._exported
    monkeypatch.setattr(
        to_onnx,
        "_exported",
        lambda winner, state, raw: exported(
            winner, {name: value * 1.01 for name, value in state.items()}, raw
        ),
    )
    with pytest.raises(InputError, match=r"scores differ from torch's by .*; nothing was written"):
        to_onnx.write(WINNER, tmp_path / "network.onnx")
    monkeypatch.setattr(to_onnx, "_exported", lambda winner, state, raw: b"no model")
    with pytest.raises(InputError, match=r"failed \(.*; nothing was written"):
        to_onnx.write(WINNER, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_onnx_says_early_that_it_cannot_write(tmp_path: Path) -> None:
    for path, why in [
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "network.onnx", "no such folder"),
    ]:
        with pytest.raises(InputError, match=why):
            to_onnx.write(WINNER, path)


def test_onnx_names_the_extra_where_packages_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evoml.export._target.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"needs onnx, onnxscript, onnxruntime: pip install 'evoml\[onnx\]'$"
    ):
        to_onnx.write(WINNER, tmp_path / "network.onnx")
    assert list(tmp_path.iterdir()) == []
