"""The space of mobile networks: as published where the paper says so, and what is read off its
supernet.
"""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from parts import class_of

from evoml.core.errors import InputError
from evoml.genotypes.decisions import dice
from evoml.genotypes.schema import Genotype
from evoml.phenotypes.layers import primitives
from evoml.phenotypes.network import Network
from evoml.spaces import mobile
from evoml.spaces.mobile import NONE, MobileSpace, Settings

PAPER: dict[str, Any] = {
    "widths": (24, 40, 80, 96, 192, 320),
    "blocks": (4, 4, 4, 4, 4, 1),
    "strides": (2, 2, 2, 1, 2, 1),
    "skeleton": {"stem": 32, "stem_stride": 2, "first": 16, "last": 1280},
}
SMALL = MobileSpace(
    Settings(
        widths=(6, 8), blocks=(2, 2), strides=(1, 2), skeleton={"stem": 4, "first": 6, "last": 10}
    )
)  # type: ignore[arg-type]
# what the release's networks are: widths, stem, first, last, and kernel, expansion of every block;
# then their parameters
PUBLISHED = {
    "cpu": (
        (32, 48, 88, 104, 216, 360), (40, 24, 1432),
        "36 33 33 33  36 33 33 53  36 0 0 33  56 33 33 33  56 53 53 33  56", 4_361_648,
    ),
    "gpu": (
        (32, 56, 112, 128, 256, 432), (40, 24, 1728),
        "53 0 0 0  73 0 0 33  76 0 0 53  56 0 33 53  76 76 76 56  76", 7_119_848,
    ),
    "mobile": (
        (32, 40, 80, 96, 192, 320), (32, 16, 1280),
        "53 33 0 0  73 33 53 53  76 53 53 53  56 53 53 53  76 76 73 73  76", 4_080_512,
    ),
}  # fmt: skip


def of(space: MobileSpace, *layers: str) -> Genotype:
    rows = space.frame(dice(0))["blocks"]
    return space.from_plain(
        {
            "blocks": [
                {"stage": r["stage"], "residual": bool(r["residual"]), "layer": layer}
                for r, layer in zip(rows, layers, strict=True)
            ]
        },
        "test",
    )


def some(space: MobileSpace, count: int = 20) -> list[Genotype]:
    population = space.random(np.arange(1, count + 1, dtype=np.uint64))
    return [population.genotype(index) for index in range(count)]


# layers


def kinds(layer: str, *channels: int) -> list[tuple[str, int, int, tuple[int, int]]]:
    return [
        (step.kind, step.inputs, step.outputs, step.kernel) for step in primitives(layer, *channels)
    ]


def test_a_block_is_mobilenets() -> None:
    assert kinds("mbconv_5x5_e6", 10, 16) == [
        ("conv", 10, 60, (1, 1)), ("bn", 60, 60, (1, 1)), ("relu6", 60, 60, (1, 1)),
        ("dw", 60, 60, (5, 5)), ("bn", 60, 60, (1, 1)), ("relu6", 60, 60, (1, 1)),
        ("conv", 60, 16, (1, 1)), ("bn", 16, 16, (1, 1)),
    ]  # fmt: skip
    assert [kind for kind, *_ in kinds("mbconv_3x3_e1", 10, 16)] == [
        "dw",
        "bn",
        "relu6",
        "conv",
        "bn",
    ]
    assert [
        step.stride for step in primitives("mbconv_7x7_e3", 8, 8, 2) if step.stride != (1, 1)
    ] == [(2, 2)]
    assert next(
        step for step in primitives("mbconv_7x7_e3", 8, 8, 2) if step.kind == "dw"
    ).stride == (2, 2)


@pytest.mark.usefixtures("one_thread")
def test_relu6_ends_at_six_forward_and_back() -> None:
    torch = pytest.importorskip("torch")
    from evoml.networks.module import Module
    from evoml.networks.reference import ReferenceNetwork
    from evoml.phenotypes.network import Builder

    build = Builder((2, 5, 5))
    network = build.network(build.layer(0, "conv_3x3_bn_relu6", 4), 3)
    module, reference = Module(network), ReferenceNetwork(network)
    with torch.no_grad():
        module.weights.mul_(1.0)
        module._places["1.0.1"].view(module.weights)[0].fill_(8.0)  # so that values pass both ends
    reference.load_state_dict(module.state_dict(), strict=False)
    x = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    values = reference.nodes[1][0](x)
    assert (
        values.max() == 6
        and (values == 6).float().mean() > 0.1
        and (values == 0).float().mean() > 0.1
    )
    one, other = module.train()(x)[0], reference.train()(x)
    assert torch.allclose(one, other, atol=1e-5)
    for scores in (one, other):
        scores.square().sum().backward()
    conv = reference.nodes[1][0][0].weight.grad
    assert (
        torch.allclose(
            module._places["1.0.0"].view(module.weights.grad), conv, rtol=1e-4, atol=1e-4
        )
        and conv.abs().max() > 0
    )
    module.eval(), reference.eval()
    reference.load_state_dict(module.state_dict(), strict=False)
    assert torch.allclose(module(x)[0], reference(x), atol=1e-5)


# the published space


def test_the_papers_space() -> None:
    space = MobileSpace(Settings.model_validate(PAPER))
    supernet = space.supernet((3, 224, 224), 1000)
    options = [group.options for group in supernet.groups]
    assert len(options) == 21 and {len(each) for each in options} == {6, 7}
    without = [index for index, each in enumerate(options) if NONE not in each]
    assert without == [0, 4, 8, 12, 16, 20], (
        "only the first block of a stage changes size or channels"
    )
    assert options[0] == tuple(f"mbconv_{k}x{k}_e{e}" for k in (3, 5, 7) for e in (3, 6))
    assert supernet.available.sum() == 6 * 6 + 15 * 7
    sizes = [supernet.network.sizes[number] for number in (1, 2, 3, 7, 11, 15, 19, 23, 24)]
    assert sizes == [
        (32, 112, 112), (16, 112, 112), (24, 56, 56), (40, 28, 28), (80, 14, 14), (96, 14, 14),
        (192, 7, 7), (320, 7, 7), (1280, 7, 7),
    ]  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_sizes(name: str) -> None:
    widths, (stem, first, last), blocks, parameters = PUBLISHED[name]
    skeleton = {"stem": stem, "stem_stride": 2, "first": first, "last": last}
    space = MobileSpace(Settings.model_validate(PAPER | {"widths": widths, "skeleton": skeleton}))
    layers = [
        NONE if block == "0" else f"mbconv_{block[0]}x{block[0]}_e{block[1]}"
        for block in blocks.split()
    ]
    network = space.network(of(space, *layers), (3, 224, 224), 1000)
    assert network.parameters == parameters


def test_parameters_and_multiply_adds_of_a_block_by_hand() -> None:
    def network(*layers: str) -> Network:
        return SMALL.network(of(SMALL, *layers), (1, 8, 8), 10)

    rest = ("mbconv_3x3_e3", "mbconv_3x3_e3", NONE)
    with_it, without = (
        network(rest[0], "mbconv_5x5_e6", *rest[1:]),
        network(rest[0], NONE, *rest[1:]),
    )
    inner = 6 * 6
    assert (
        with_it.parameters - without.parameters
        == 6 * inner + inner * 25 + inner * 6 + 2 * inner + 2 * inner + 2 * 6
    )
    assert with_it.multiply_adds - without.multiply_adds == 64 * (
        6 * inner + inner * 25 + inner * 6
    )


# genotypes


def test_nothing_only_where_there_is_an_identity_beside_it() -> None:
    for genotype in some(SMALL, 60):
        for layer, (_, residual) in zip(SMALL.chosen(genotype), SMALL.plan, strict=True):
            assert residual or layer != NONE
    assert [residual for _, residual in SMALL.plan] == [False, True, False, True]
    assert {SMALL.chosen(each)[1] for each in some(SMALL, 60)} == {*SMALL.layers, NONE}
    kept = MobileSpace(Settings(widths=(8, 8), blocks=(1, 2), strides=(2, 1)))
    assert [residual for _, residual in kept.plan] == [False, True, True], (
        "a stage that changes neither size nor channels has one from its first block on"
    )


def test_a_mutation_gives_one_block_another_layer() -> None:
    space = MobileSpace(Settings(identity=0))
    parent, rng, blocks = some(space, 1)[0], Random(0), []
    for _ in range(600):
        child = space.vary(rng, parent)
        changed = [
            at
            for at, (a, b) in enumerate(zip(space.chosen(parent), space.chosen(child), strict=True))
            if a != b
        ]
        assert len(changed) == 1
        blocks += changed
    shares = np.bincount(blocks, minlength=6) / 600
    assert shares == pytest.approx(np.full(6, 1 / 6), abs=0.05)
    only = MobileSpace(Settings(kernels=(3,), expansions=(3,), blocks=(1, 1, 1), identity=0))
    assert only.vary(rng, some(only, 1)[0]) == some(only, 1)[0], "where there is no other layer"


def test_which_of_a_stages_blocks_is_left_out_does_not_matter() -> None:
    space = MobileSpace(Settings(widths=(8,), blocks=(3,), strides=(2,)))
    a, b = "mbconv_3x3_e3", "mbconv_5x5_e6"
    assert (
        space.key(of(space, a, NONE, b))
        == space.key(of(space, a, b, NONE))
        != space.key(of(space, a, b, b))
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kernels": [4]}, ("kernels",)), ({"kernels": [3, 3]}, ("kernels", "twice")),
        ({"expansions": []}, ("expansions",)), ({"blocks": [1, 2]}, ("blocks", "stages")),
        ({"strides": [1]}, ("strides", "stages")), ({"widths": [0, 1, 2]}, ("widths",)),
        ({"widths": [4] * 5, "blocks": [60] * 5, "strides": [1] * 5}, ("255",)),
        ({"skeleton": {"stem": 0}}, ("skeleton.stem",)),
    ],
    ids=str,
)  # fmt: skip
def test_bad_settings_are_refused_in_one_line(
    settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as error:
        Settings.read(settings, "space")
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(
        error.value
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("residual = true", "residual = false"),
        ("residual = false", "residual = true"),
        ("stage = 1", "stage = 0"),
        ("mbconv", "conv"),
        ("space.blocks = [2, 2]", "space.blocks = [2, 3]"),
    ],
)
def test_bad_files_are_refused_in_one_line(old: str, new: str) -> None:
    text = SMALL.format(
        of(SMALL, "mbconv_3x3_e3", "mbconv_3x3_e6", "mbconv_7x7_e3", "mbconv_3x3_e3")
    )
    assert old in text
    with pytest.raises(InputError) as error:
        class_of(mobile).open_text(text.replace(old, new, 1), "here.toml")
    assert str(error.value).startswith("here.toml: ") and "\n" not in str(error.value)


# the supernet


def test_deriving_from_paths_gives_the_genotype_back() -> None:
    there = SMALL.supernet((1, 8, 8), 10).available
    for genotype in some(SMALL):
        paths = SMALL.paths(genotype)
        assert paths.shape == there.shape and (paths.sum(1) == 1).all() and not paths[~there].any()
        assert SMALL.derive(paths) == genotype
    misleading = np.where(there, 0.1, 9.0)
    assert all(layer != NONE for layer in SMALL.chosen(SMALL.derive(misleading))[::2]), (
        "an option that is not there is never derived"
    )


@pytest.mark.usefixtures("one_thread")
def test_a_network_of_its_own_computes_what_the_supernet_does() -> None:
    torch = pytest.importorskip("torch")
    from evoml.networks.cpu.shared_weights import CPUSharedWeights
    from evoml.networks.module import Module

    net = CPUSharedWeights(SMALL.supernet((1, 8, 8), 10), 0, affine=True)
    net.weights += (
        np.random.default_rng(0).normal(0, 0.05, len(net.weights)).astype(net.weights.dtype)
    )
    x, y = (
        np.random.default_rng(1).normal(size=(12, 8, 8, 1)).astype(np.float32),
        np.arange(12) % 10,
    )
    for genotype in some(SMALL, 6):
        network = SMALL.network(genotype, (1, 8, 8), 10)
        module = Module(network)
        module.load_state_dict(net.child(network))
        with torch.no_grad():
            scores = module.train()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))[0]
        loss = float(torch.nn.functional.cross_entropy(scores, torch.from_numpy(y)))
        assert net.score(x, y, SMALL.paths(genotype))[1] == pytest.approx(loss, rel=1e-4)


def test_a_file_is_found_by_its_space(tmp_path: Path) -> None:
    from evoml.search.problem import open_file

    genotype = some(SMALL, 1)[0]
    (tmp_path / "net.toml").write_text(SMALL.format(genotype))
    space, read = open_file(tmp_path / "net.toml")
    assert read == genotype and space.settings.widths == (6, 8)
