"""Tasks of images: parts, proxies, normalisation, what is read, and every bad input."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import class_of

from evoml.contracts.task import ImageSet
from evoml.core.errors import InputError
from evoml.core.registry import load, names
from evoml.tasks import _image_files, _image_folders, _image_splits, digits, images
from evoml.tasks._image_splits import baseline_scores

FAMILIES = [name for name in names("tasks") if class_of(load("tasks", name)).kind == "images"]
ARRAYS = ("train_x", "train_y", "valid_x", "valid_y", "mean", "deviation")


def picture_set(
    counts: tuple[int, ...] = (12, 9, 15), shape: tuple[int, ...] = (6, 5, 3), first: int = 0
) -> dict[str, np.ndarray]:
    """Bytes in which the first two pixels are the image's number, so that an image can be
    recognised.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    pixels = np.random.default_rng(first).integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    numbers = np.arange(first, first + len(labels))
    pixels.reshape(len(labels), -1)[:, 0], pixels.reshape(len(labels), -1)[:, 1] = (
        numbers % 256,
        numbers // 256,
    )
    order = np.random.default_rng(1).permutation(len(labels))
    return {"images": pixels[order], "labels": labels[order]}


def saved(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def make(data: Path | None, seed: int = 0, **values: object) -> images.ImagesTask:
    return images.ImagesTask(images.Settings.read(values, "task"), data, seed)


def raw(data: ImageSet, x: np.ndarray) -> np.ndarray:
    """Images [n, H, W, C] as the bytes they were."""
    values = x * data.deviation[:, None, None] + data.mean[:, None, None]
    return np.rint(values * 255).astype(np.uint8).transpose(0, 2, 3, 1)


def rows(data: ImageSet, x: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in raw(data, x)]


def same(one: ImageSet, other: ImageSet) -> bool:
    return one.classes == other.classes and all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in ARRAYS
    )


def refused(message: str, data: Path | None, **values: object) -> None:
    with pytest.raises(InputError) as error:
        make(data, **values)
    assert message in str(error.value) and "\n" not in str(error.value), str(error.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return saved(tmp_path / "a.npz", **picture_set())


@pytest.fixture(params=FAMILIES)
def task(request: pytest.FixtureRequest, file: Path) -> _image_splits.ImageTask:
    module = load("tasks", request.param)
    own = None if module is digits else file
    return class_of(module)(module.Settings(), own, 0)


# every family


def test_types_shapes_and_normalisation(task: _image_splits.ImageTask) -> None:
    assert task.objective.name == "accuracy" and task.kind == "images"
    assert task.scaling.endswith(".")
    search, test = task.search(), task.test()
    assert task.select() is search and task.search(3) is search
    for data in (search, test):
        for x, y in ((data.train_x, data.train_y), (data.valid_x, data.valid_y)):
            assert (
                x.dtype == np.float32
                and x.flags.c_contiguous
                and x.shape[1:] == data.size
                and np.isfinite(x).all()
            )
            assert (
                y.dtype == np.int64
                and y.shape == x.shape[:1]
                and set(y) == set(range(len(data.classes)))
            )
        assert data.mean.shape == data.deviation.shape == data.size[:1]
    np.testing.assert_allclose(search.train_x.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(search.train_x.std(axis=(0, 2, 3)), 1, atol=1e-5)
    assert (test.mean == search.mean).all() and (test.deviation == search.deviation).all()
    assert len(test.train_x) == len(search.train_x) + len(search.valid_x)
    together = {image.tobytes() for image in (*search.train_x, *search.valid_x)}
    assert together == {image.tobytes() for image in test.train_x}
    assert not together & {image.tobytes() for image in test.valid_x}


def test_settings_are_described(task: _image_splits.ImageTask) -> None:
    model = type(task.settings)
    assert all(field.description for field in model.model_fields.values())
    assert model.read(task.settings.model_dump(), "") == task.settings
    for values in (
        {"valid": 1},
        {"valid": 0},
        {"test": 1.5},
        {"examples": -1},
        {"size": -1},
        {"split_seed": -1},
        {"test_size": 1},
    ):
        with pytest.raises(InputError, match=f"^task.{next(iter(values))}: "):
            model.read(values, "task")


# digits


def test_digits() -> None:
    search = digits.DigitsTask(digits.Settings(), None, 0).search()
    assert search.size == (1, 8, 8) and search.classes == tuple("0123456789")
    assert len(search.train_x) == 1151 and len(search.valid_x) == 287
    with pytest.raises(InputError, match=r"^data: x.npz: this task has its images; leave it out"):
        digits.DigitsTask(digits.Settings(), Path("x.npz"), 0)
    with pytest.raises(
        InputError, match=r"^size: 9: digits has images of 8 x 8, 1 channel; give at most 8"
    ):
        digits.DigitsTask(digits.Settings(size=9), None, 0)


def test_baselines() -> None:
    scores = baseline_scores(digits.DigitsTask(digits.Settings(), None, 0).test())
    assert (
        set(scores) == {"logistic regression", "5 nearest neighbours"}
        and min(scores.values()) > 0.94
    )


def test_baselines_with_few_images(tmp_path: Path) -> None:
    task = make(saved(tmp_path / "a.npz", **picture_set((3, 3))))
    assert all(
        0 <= score <= 1
        for data in (task.search(), task.test())
        for score in baseline_scores(data).values()
    )


# parts


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(3, 40), min_size=2, max_size=6),
    valid=st.floats(0.01, 0.99),
    test=st.floats(0.01, 0.99),
    examples=st.integers(0, 120),
    split_seed=st.integers(0, 2**62),
    tested=st.booleans(),
)
def test_parts_of_any_images(
    counts: list[int], valid: float, test: float, examples: int, split_seed: int, tested: bool
) -> None:
    examples = examples and max(examples, 2 * len(counts))
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    made = _image_files.Pictures(
        "",
        np.zeros((len(labels), 1, 1, 1), np.uint8),
        labels,
        tuple(map(str, range(len(counts)))),
        True,
    )
    chosen = _image_splits.ImageSettings(
        valid=valid, test=test, examples=examples, split_seed=split_seed
    )
    parts = _image_splits.divide(made, chosen, tested)
    again, whole = (
        _image_splits.divide(made, chosen, tested),
        _image_splits.divide(made, chosen.model_copy(update={"examples": 0}), tested),
    )
    together = np.concatenate([parts.train, parts.valid, parts.test])
    assert len(set(together)) == len(together) and np.array_equal(whole.test, parts.test)
    assert all(
        np.array_equal(getattr(parts, name), getattr(again, name))
        for name in ("train", "valid", "test")
    )
    for name, share in (("train", 0.0), ("valid", valid), ("test", test)):
        own = np.bincount(labels[getattr(parts, name)], minlength=len(counts))
        assert own.sum() == 0 if name == "test" and tested else own.min() >= 1
        if name == "test" and not tested:
            assert all(
                abs(n - share * count) <= 1 or n in (1, count - 2)
                for n, count in zip(own, counts, strict=True)
            )
    used = len(parts.train) + len(parts.valid)
    assert used == min(examples or len(labels), len(labels) - len(parts.test))


@given(
    counts=st.lists(st.integers(1, 1000), min_size=1, max_size=12),
    total=st.integers(1, 5000),
    least=st.integers(0, 4),
)
def test_quotas(counts: list[int], total: int, least: int) -> None:
    have = np.array(counts)
    out = _image_splits.quotas(have, total, least)
    floor = np.minimum(have, least)
    assert (out >= floor).all() and (out <= have).all()
    assert out.sum() == max(min(total, have.sum()), floor.sum())
    if least == 0:
        assert (np.abs(out - have * min(1, total / have.sum())) < 1).all()


def test_parts_depend_on_the_split_seed_alone(file: Path) -> None:
    base, other, moved = make(file), make(file, seed=5), make(file, split_seed=1)
    assert same(base.search(), other.search()) and same(base.test(), other.test())
    assert base.fingerprint == other.fingerprint == moved.fingerprint
    assert set(rows(base.test(), base.test().valid_x)) != set(
        rows(moved.test(), moved.test().valid_x)
    )
    fewer = make(file, examples=12)
    assert rows(fewer.test(), fewer.test().valid_x) == rows(base.test(), base.test().valid_x)
    assert len(fewer.search().train_x) + len(fewer.search().valid_x) == 12


def test_pixels_and_labels_stay_together(file: Path) -> None:
    arrays = picture_set()
    label = {
        image.tobytes(): place
        for image, place in zip(arrays["images"], arrays["labels"], strict=True)
    }
    for data in (make(file).search(), make(file).test()):
        for x, y in ((data.train_x, data.train_y), (data.valid_x, data.valid_y)):
            assert [label[row] for row in rows(data, x)] == y.tolist()


def test_a_given_test_part_is_whole_and_in_order(tmp_path: Path) -> None:
    train, test = picture_set(), picture_set((2, 1, 3), first=1000)
    inside = saved(
        tmp_path / "both.npz", **train, test_images=test["images"], test_labels=test["labels"]
    )
    alone, beside = saved(tmp_path / "train.npz", **train), saved(tmp_path / "test.npz", **test)
    one, other = make(inside, test=0.9), make(alone, test_data=str(beside))
    assert (
        same(one.search(), other.search())
        and same(one.test(), other.test())
        and one.fingerprint == other.fingerprint
    )
    assert len(one.search().train_x) + len(one.search().valid_x) == 36
    np.testing.assert_array_equal(raw(one.test(), one.test().valid_x), test["images"])
    np.testing.assert_array_equal(one.test().valid_y, test["labels"])
    refused("has a test part of its own; leave one of them out", inside, test_data=str(beside))
    refused("the same as data; it must hold other images", alone, test_data=str(alone))
    refused("has a training and a test part", alone, test_data=str(inside))


def test_labels_are_the_names_of_classes(tmp_path: Path) -> None:
    arrays = picture_set()
    data = make(
        saved(
            tmp_path / "a.npz",
            images=arrays["images"],
            labels=np.array([10, 9, 200], np.uint8)[arrays["labels"]],
        )
    ).search()
    assert data.classes == ("9", "10", "200") and set(data.train_y) == {0, 1, 2}


def test_a_constant_channel_has_deviation_one(tmp_path: Path) -> None:
    arrays = picture_set()
    arrays["images"][..., 2] = 77
    data = make(saved(tmp_path / "a.npz", **arrays)).search()
    assert data.deviation[2] == 1 and np.abs(data.train_x[:, 2]).max() < 1e-6
    floats = arrays["images"].astype(np.float64) * 0 + 0.1
    assert (
        make(saved(tmp_path / "b.npz", images=floats, labels=arrays["labels"])).search().deviation
        == 1
    ).all()


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.float32, np.float64, bool])
def test_types_of_pixels(tmp_path: Path, kind: type) -> None:
    arrays = picture_set(shape=(6, 5))
    data = make(
        saved(tmp_path / "a.npz", images=arrays["images"].astype(kind), labels=arrays["labels"])
    ).search()
    coded = make(saved(tmp_path / "b.npz", **arrays)).search()
    assert data.size == (1, 6, 5)
    if kind is not bool:
        np.testing.assert_allclose(data.train_x, coded.train_x, atol=1e-5)


# smaller images


@given(length=st.integers(1, 40), size=st.integers(1, 40))
def test_area_averaging(length: int, size: int) -> None:
    size = min(size, length)
    pixels = np.random.default_rng(0).random((2, length, length, 1), dtype=np.float32)
    out = _image_files.resized(pixels, size, "")
    # every pixel as size x size equal ones
    fine = np.repeat(np.repeat(pixels.astype(float), size, axis=1), size, axis=2)
    expected = fine.reshape(2, size, length, size, length, 1).mean(axis=(2, 4))
    assert out.shape == (2, size, size, 1) and out.dtype == np.float32
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_smaller_images(tmp_path: Path, file: Path) -> None:
    task = make(file, size=4)
    assert task.search().size == (3, 4, 4) and task.test().size == (3, 4, 4)
    assert same(
        make(saved(tmp_path / "b.npz", **picture_set(shape=(5, 5, 3))), size=5).search(),
        make(tmp_path / "b.npz").search(),
    )
    refused("size: 6: ", file, size=6)


# bad arrays


GOOD = picture_set()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": GOOD["images"][:-1]},
            "labels: int64 of shape [36]; they must be integers of shape [35], one an image",
        ),
        (
            {"labels": GOOD["labels"][:-1]},
            "labels: int64 of shape [35]; they must be integers of shape [36]",
        ),
        (
            {"labels": GOOD["labels"] + 0.5},
            "labels: float64 of shape [36]; they must be integers",
        ),
        ({"labels": GOOD["labels"] - 1}, "labels: -1 at image "),
        ({"labels": GOOD["labels"] + 65534}, "they must be in 0..65535"),
        (
            {"labels": GOOD["labels"].astype(np.uint64) + np.uint64(2**63)},
            "they must be in 0..65535",
        ),
        ({"labels": GOOD["labels"] * 0}, "one class only (0); there must be 2 or more"),
        (
            {"labels": np.where(np.arange(36) == 3, 9, 0)},
            "class 9 has 1 image; 3 are needed, to train, validate and test",
        ),
        (
            {"images": np.zeros((36, 4))},
            "images: float64 of shape [36, 4]; they must be bytes or floats of shape [n, h, w]",
        ),
        ({"images": np.zeros((36, 0, 4, 3))}, "images: float64 of shape [36, 0, 4, 3]"),
        ({"images": np.zeros((36, 3, 32, 32))}, "channels first"),
        ({"images": np.zeros((36, 4, 4), complex)}, "images: complex128 of shape"),
        ({"images": np.full((36, 4, 4), "a")}, "images: <U1 of shape"),
        (
            {"images": np.where(np.arange(36)[:, None, None] == 5, np.nan, np.zeros((36, 4, 4)))},
            "images: NaN, infinity or a value beyond",
        ),
        ({"images": np.full((36, 4, 4), 1e20)}, "images: NaN, infinity or a value beyond 1e+15"),
        ({"images": np.full((36, 4, 4), 256)}, "with values 256..256; integers must be in 0..255"),
        (
            {"images": np.full((36, 4, 4), None)},
            "damaged, or not an .npz of plain arrays; there must be images and labels",
        ),
        ({"labels": None}, "no array labels; there must be images, labels"),
        (
            {"images": None, "labels": None, "x": np.zeros(3)},
            "no array y; there must be x, y",
        ),
        (
            {"test_images": GOOD["images"]},
            "no array test_labels; there must be images, labels, test_images, test_labels",
        ),
        (
            {"test_images": GOOD["images"][..., :1], "test_labels": GOOD["labels"]},
            "images of 5 x 6, 1 channel, and ",
        ),
        (
            {"test_images": GOOD["images"][:, :4], "test_labels": GOOD["labels"]},
            "images of 5 x 4, 3 channels, and ",
        ),
        (
            {"test_images": GOOD["images"] / 255, "test_labels": GOOD["labels"]},
            "pixels are floats, and those of ",
        ),
        ({"test_images": GOOD["images"], "test_labels": GOOD["labels"] + 1}, "class 3 is not in "),
        (
            {"test_images": GOOD["images"], "test_labels": GOOD["labels"] // 2},
            "class 2 has 0 images; 1 or more are needed, to test",
        ),
        (
            {"test_images": GOOD["images"], "test_labels": GOOD["labels"] - 1},
            "test_labels: -1 at image ",
        ),
    ],
)
def test_bad_arrays(tmp_path: Path, changes: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: array for name, array in {**GOOD, **changes}.items() if array is not None}
    path = saved(tmp_path / "bad.npz", **arrays)
    refused(message, path)
    refused(str(path), path)


def test_too_few_for_the_parts(tmp_path: Path) -> None:
    two = picture_set((2, 5, 5))
    refused(
        "class 0 has 2 images; 3 are needed, to train, validate and test",
        saved(tmp_path / "a.npz", **two),
    )
    assert make(
        tmp_path / "a.npz",
        test_data=str(saved(tmp_path / "t.npz", **picture_set((1, 1, 1), first=99))),
    ).search()
    refused(
        "examples: 5: there are 3 classes; give 6 or more, 2 a class, or 0 for all",
        saved(tmp_path / "b.npz", **GOOD),
        examples=5,
    )


def test_too_large(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_splits, "LARGEST", 500)
    refused("numbers in a part; at most 500 (4 GiB): set task.size, or task.examples", file)


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(Path(os.environ["EVOML_BOMB"])),)


def test_bad_files(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOML_BOMB", str(tmp_path / "executed"))
    pickled = saved(
        tmp_path / "pickled.npz",
        images=np.array([Bomb()] * 3, dtype=object),
        labels=np.zeros(3, int),
    )
    refused("damaged, or not an .npz of plain arrays", pickled)
    assert not (tmp_path / "executed").exists()
    content = file.read_bytes()
    for name, part in {
        "half": content[: len(content) // 2],
        "short": content[:-40],
        "none": b"",
        "text": b"hello",
    }.items():
        (tmp_path / f"{name}.npz").write_bytes(part)
        refused("damaged, or not an .npz of plain arrays", tmp_path / f"{name}.npz")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        (
            archive.writestr("images.npy", b"\x93NUMPY\x01\x00garbage"),
            archive.writestr("labels.npy", b""),
        )
    refused("damaged, or not an .npz of plain arrays", tmp_path / "zip.npz")
    np.save(tmp_path / "a.npy", GOOD["images"])
    refused("damaged, or not an .npz of plain arrays", tmp_path / "a.npy")
    refused("no such file or folder; give an .npz, or a folder by class", tmp_path / "gone.npz")
    refused("name too long", tmp_path / ("a" * 300))
    (tmp_path / "link.npz").symlink_to(tmp_path / "gone.npz")
    refused("link.npz: a link to nothing; ", tmp_path / "link.npz")
    os.mkfifo(tmp_path / "pipe")
    refused("neither a file nor a folder", tmp_path / "pipe")
    refused("no such file or folder", file, test_data=str(tmp_path / "gone.npz"))
    refused(
        "data: task images has none of its own; give an .npz with images and labels, a folder by "
        "class, or torchvision:cifar10",
        None,
    )


# folders


def colour(
    path: Path, value: int = 0, size: tuple[int, int] = (5, 6), mode: str = "RGB", **options: object
) -> Path:
    """An image file of noise: size is width, height."""
    image_module = pytest.importorskip("PIL.Image")
    noise = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.fromarray(noise).convert(mode).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images each of birds, cats and dogs, with hidden files and others that are no images
    among them.
    """
    for place, name in enumerate(("dogs", "birds", "cats")):
        for each in range(10):
            colour(
                tmp_path / "set" / name / f"{each}.{('png', 'bmp')[each % 2]}", 100 * place + each
            )
    for hidden in (
        "set/.DS_Store",
        "set/cats/.hidden.png",
        "set/cats/Thumbs.db",
        "set/.git/x",
        "set/README.md",
        "set/dogs/labels.CSV",
        "set/dogs/a.json",
    ):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("no image")
    return tmp_path / "set"


def test_a_folder_is_the_same_as_arrays(tmp_path: Path, folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    files = [
        path
        for name in ("birds", "cats", "dogs")
        for path in sorted((folder / name).glob("[0-9]*"))
    ]
    pixels = np.stack([np.asarray(image_module.open(path)) for path in files])
    path = saved(tmp_path / "a.npz", images=pixels, labels=np.repeat(np.arange(3), 10))
    for values in ({}, {"size": 3}):
        one, other = make(folder, **values), make(path, **values)
        assert one.search().classes == ("birds", "cats", "dogs")
        assert all(
            getattr(one.test(), name).tobytes() == getattr(other.test(), name).tobytes()
            for name in ARRAYS
        )
    refused("give at most 5", folder, size=6)


def test_train_and_test_folders(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for place, name in enumerate(("b", "a")):
            for each in range(count):
                colour(
                    tmp_path / "set" / part / name / f"{each}.png", 100 * place + 10 * count + each
                )
    data = make(tmp_path / "set").test()
    assert (
        data.classes == ("a", "b")
        and len(data.train_x) == 8
        and data.valid_y.tolist() == [0, 0, 1, 1]
    )
    assert same(
        data, make(tmp_path / "set" / "train", test_data=str(tmp_path / "set" / "test")).test()
    )
    (tmp_path / "set" / "val" / "a").mkdir(parents=True)
    refused("val: beside train and test; there must be no third folder", tmp_path / "set")


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    for name in ("train", "test"):
        for each in range(3):
            colour(tmp_path / name / f"{each}.png", each)
    assert make(tmp_path).search().classes == ("test", "train")


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK"])
def test_modes(tmp_path: Path, mode: str) -> None:
    for name in "ab":
        for each in range(3):
            colour(
                tmp_path / name / f"{each}.{'tif' if mode == 'CMYK' else 'png'}", each, mode=mode
            )
    assert make(tmp_path).search().size == (3 if mode in ("P", "CMYK") else 1, 6, 5)


def test_bad_folders(tmp_path: Path, folder: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")

    def bad(path: Path, message: str) -> None:
        refused(message, folder)
        refused(str(path), folder)
        path.unlink()

    bad(
        colour(folder / "cats" / "99.png", size=(7, 6)),
        "of 31 images, 1 of another size than 5 x 6 pixels, such as ",
    )
    bad(
        colour(folder / "cats" / "99.png", mode="L"),
        "of 31 images, 1 grey where the others are in colour, such as ",
    )
    image_module.fromarray(np.zeros((6, 5), np.uint16)).save(folder / "cats" / "99.png")
    bad(folder / "cats" / "99.png", "1 of mode I;16, which has not 8 bits a channel")
    transparent = folder / "dogs" / "99.png"
    image_module.new("RGBA", (5, 6), (1, 2, 3, 4)).save(transparent)
    bad(transparent, "1 transparent in places; task.colour lays them on white, such as ")
    frames = [image_module.new("RGB", (5, 6), (shade, 0, 0)) for shade in (0, 99)]
    frames[0].save(folder / "dogs" / "99.gif", save_all=True, append_images=frames[1:])
    bad(folder / "dogs" / "99.gif", "1 of several frames, which must be one image a file")
    for content in (
        b"",
        b"text",
        (folder / "cats" / "0.png").read_bytes()[:60],
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n",
    ):
        (folder / "cats" / "99.png").write_bytes(content)
        bad(folder / "cats" / "99.png", "damaged, or ")
    # these may be images, so they are not passed over
    for name in ("99.heic", "99", "99.jpg.part"):
        (folder / "cats" / name).write_bytes(b"text")
        bad(folder / "cats" / name, "1 damaged, or none of PNG, JPEG")
    (folder / "cats" / "99.png").symlink_to(tmp_path / "gone.png")
    bad(folder / "cats" / "99.png", "a link to nothing")
    (folder / "eels").symlink_to(tmp_path / "gone")
    bad(folder / "eels", "a link to nothing")
    os.mkfifo(folder / "cats" / "99.png")
    bad(folder / "cats" / "99.png", "not a file; a folder of a class must have images only")
    (folder / "cats" / "more").mkdir()
    refused("more: not a file; a folder of a class must have images only", folder)
    (folder / "cats" / "more").rmdir()
    (folder / "eels").mkdir()
    (folder / "eels" / "notes.txt").write_text("none yet")
    refused("eels: no images in it; there must be some of every class", folder)
    colour(folder / "eels" / "1.png")
    refused("class eels has 1 image; 3 are needed", folder)
    (tmp_path / "empty").mkdir()
    refused("no folders in it; there must be one a class", tmp_path / "empty")


def test_all_that_is_odd_is_counted_at_once(folder: Path) -> None:
    for each in range(4):
        colour(folder / "cats" / f"2{each}.png", size=(7, 6))
    colour(folder / "dogs" / "30.png", mode="L")
    (folder / "dogs" / "31.png").write_bytes(b"text")
    with pytest.raises(InputError) as error:
        make(folder)
    text = str(error.value)
    assert "of 36 images, 1 damaged" in text and "4 of another size than 5 x 6 pixels" in text
    assert "1 grey where the others are in colour" in text and "\n" not in text
    assert str(folder / "cats" / "20.png") in text and "task.resize with task.size" in text


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_images_are_made_alike_where_that_is_wanted(tmp_path: Path, resize: str) -> None:
    """White ones of any size and mode stay white, but for what is laid on black."""
    image_module = pytest.importorskip("PIL.Image")
    kinds = [("RGB", (8, 4)), ("L", (5, 5)), ("P", (3, 9)), ("RGBA", (30, 30)), ("LA", (4, 4))]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for each, (mode, size) in enumerate(kinds):
            white = image_module.new("RGB" if mode == "P" else mode, size, "white").convert(mode)
            if mode == "RGBA":
                white = image_module.new("RGBA", size, (9, 9, 9, 0))  # transparent: white behind it
            white.save(tmp_path / name / f"{each}.png")
    refused("to what size? Set task.size too", tmp_path, resize=resize, colour="rgb")
    refused("grey where the others are", tmp_path, resize=resize, size=6)
    for mode, channels in (("rgb", 3), ("grey", 1)):
        task = make(tmp_path, resize=resize, size=6, colour=mode)
        pixels = task._images.pixels
        assert pixels.shape == (10, 6, 6, channels) and pixels.dtype == np.uint8
        assert (pixels.max((1, 2, 3)) == 255).all()
        padded = [(pixels[row] < 255).any() for row in range(5)]
        assert padded == ([True, False, True, False, False] if resize == "pad" else [False] * 5)


def test_sixteen_bits_of_grey(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    for name, value in (("a", 257 * 10), ("b", 257 * 200)):
        (tmp_path / name).mkdir()
        for each in range(3):
            deep = np.full((4, 4), value + each, np.uint16)
            image_module.fromarray(deep).save(tmp_path / name / f"{each}.png")
    refused(
        "of mode I;16, which has not 8 bits a channel, grey or colour; task.colour takes", tmp_path
    )
    for mode in ("grey", "rgb"):
        pixels = make(tmp_path, colour=mode)._images.pixels
        assert (pixels == pixels[:, :1, :1, :1]).all()
        assert pixels[:, 0, 0, 0].tolist() == [10] * 3 + [200] * 3


@pytest.mark.parametrize("resize", ["refuse", "stretch"])
def test_images_are_turned_as_their_camera_says(tmp_path: Path, resize: str) -> None:
    image_module = pytest.importorskip("PIL.Image")
    quarter = image_module.Exif()
    quarter[0x0112] = 6  # stored on its left side
    for name in ("a", "b"):
        for each in range(3):
            path = colour(tmp_path / name / f"{each}.png", each, size=(4, 6))
            if each:
                with image_module.open(path) as image:
                    lying = image.transpose(image_module.Transpose.ROTATE_90)
                lying.save(path, exif=quarter)
    size = 4 if resize == "stretch" else 0
    pixels = make(tmp_path, resize=resize, size=size)._images.pixels
    for each in range(3):  # the noise that `colour` draws
        noise = np.random.default_rng(each).integers(0, 256, (6, 4, 3), dtype=np.uint8)
        upright = image_module.fromarray(noise)
        if size:
            upright = upright.resize((size, size), image_module.Resampling.BILINEAR)
        assert (pixels[each] == np.array(upright)).all()


def test_sizes_of_which_none_is_usual(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for each in range(3):
            colour(tmp_path / name / f"{each}.png", size=(4 + each, 9 - each))
    refused("of 6 images, 6 of 3 sizes, between 4 x 7 and 6 x 9 pixels (task.resize", tmp_path)


def test_names_of_arrays_that_others_use(tmp_path: Path) -> None:
    images, labels = GOOD["images"], GOOD["labels"]
    first, last = slice(0, 30), slice(30, 36)
    own = make(saved(tmp_path / "own.npz", images=images, labels=labels))
    keras = saved(tmp_path / "k.npz", x_train=images, y_train=labels[:, None].astype(float))
    assert make(keras).fingerprint == own.fingerprint
    both = make(
        saved(tmp_path / "b.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    )
    assert len(both.test().valid_y) == 36
    medical = saved(
        tmp_path / "m.npz", train_images=images[first], train_labels=labels[first, None],
        val_images=images[last], val_labels=labels[last, None], test_images=images,
        test_labels=labels[:, None],
    )  # fmt: skip
    assert make(medical).fingerprint == both.fingerprint
    part = np.flatnonzero(labels)[:9]  # none of class 0
    lacking = saved(
        tmp_path / "l.npz", train_images=images, train_labels=labels, val_images=images[part],
        val_labels=labels[part],
    )  # fmt: skip
    assert make(lacking)._images.counts.tolist() == (
        np.bincount(labels) + np.bincount(labels[part], minlength=3)
    ).tolist()  # fmt: skip
    named = make(saved(tmp_path / "n.npz", X=images, y=np.array(["x", "y", "z"])[labels]))
    assert named.search().classes == ("x", "y", "z")
    one_hot = make(saved(tmp_path / "o.npz", images=images, labels=np.eye(3)[labels]))
    assert one_hot.fingerprint == own.fingerprint
    several = np.eye(3)[labels] + np.eye(3)[[1]]
    refused(
        "of shape [36, 3]; they must be", saved(tmp_path / "s.npz", images=images, labels=several)
    )
    refused("no array val_labels", saved(tmp_path / "v.npz", train_images=images,
            train_labels=labels, val_images=images))  # fmt: skip


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_first(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 8, 8, channels)).astype(np.uint8)
    labels = np.arange(12) % 2
    turned = saved(tmp_path / "f.npz", images=images.transpose(0, 3, 1, 2), labels=labels)
    refused("channels first, it seems: set task.channels=first", turned)
    usual = make(saved(tmp_path / "l.npz", images=images, labels=labels))
    assert make(turned, channels="first").fingerprint == usual.fingerprint
    assert make(turned, channels="last").search().size == (8, channels, 8)


@pytest.mark.parametrize("limit", [20, 10])
def test_decompression_bombs(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Pillow warns of more than the limit and raises at twice that; images of 30 pixels meet
    both.
    """
    monkeypatch.setattr(pytest.importorskip("PIL.Image"), "MAX_IMAGE_PIXELS", limit)
    refused(f"of 30 images, 30 of more than {limit} pixels, such as ", folder)


def test_a_folder_too_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_folders, "LARGEST", 1000)
    refused("30 images of 5 x 6 are more than 4 GiB; set task.size", folder)


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package one that is not installed."""
    for name in [each for each in sys.modules if each.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])


class Absent:
    """A finder that finds one package missing."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.split(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}")


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "PIL")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    refused(
        "data: a folder of images needs Pillow, which is not installed (pip install pillow); or "
        "give an .npz",
        tmp_path,
    )


# torchvision


@pytest.mark.parametrize("data", ["cifar10", "torchvision:SVHN"])
def test_without_torchvision(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchvision")
    refused(
        "needs torchvision, which is not installed (pip install torchvision); or give an .npz, or "
        "a folder by class",
        Path(data),
    )
    refused(
        "data: torchvision:imagenet: no such set; there are cifar10, cifar100",
        Path("torchvision:imagenet"),
    )


def test_torchvision_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with the attributes that torchvision's classes have."""

    def cifar(root: Path, train: bool, download: bool) -> SimpleNamespace:
        arrays = picture_set((9, 9, 9) if train else (2, 2, 2), first=0 if train else 500)
        return SimpleNamespace(
            data=arrays["images"],
            targets=arrays["labels"].tolist(),
            classes=["plane", "car", "bird"],
        )

    def svhn(root: Path, split: str, download: bool) -> SimpleNamespace:
        arrays = picture_set(first={"train": 0, "test": 500}[split])
        return SimpleNamespace(data=arrays["images"].transpose(0, 3, 1, 2), labels=arrays["labels"])

    def mnist(root: Path, train: bool, download: bool) -> SimpleNamespace:
        raise RuntimeError("no network")

    module = ModuleType("torchvision.datasets")
    module.CIFAR10, module.SVHN, module.MNIST = cifar, svhn, mnist  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    data = make(Path("cifar10")).test()
    assert (
        data.classes == ("plane", "car", "bird")
        and len(data.train_x) == 27
        and len(data.valid_x) == 6
    )
    assert make(Path("torchvision:svhn")).search().classes == ("0", "1", "2")
    assert make(Path("torchvision:svhn")).search().size == (3, 6, 5)
    refused("data: torchvision:mnist: cannot be loaded to ", Path("mnist"))
    refused("(no network)", Path("mnist"))


def test_reading_images_imports_no_torch(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from evoml.tasks import digits, images; "
        f"images.ImagesTask(images.Settings(), Path({str(file)!r}), 0).test(); "
        "sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# real data


@pytest.mark.parametrize(
    ("train", "test", "size", "mean", "deviation"),
    [
        (
            "cifar10_train10k",
            "cifar10_test1k",
            (3, 32, 32),
            (0.4914, 0.4822, 0.4465),
            (0.2470, 0.2435, 0.2616),
        ),
        ("mnist_train20k", "mnist_test10k", (1, 28, 28), (0.1307,), (0.3081,)),
    ],
)
def test_real_images(
    data_folder: Path,
    train: str,
    test: str,
    size: tuple[int, ...],
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> None:
    """The moments are those that are published for the whole training sets."""
    task = make(data_folder / f"{train}.npz", test_data=str(data_folder / f"{test}.npz"))
    search, final = task.search(), task.test()
    assert search.size == size and search.classes == tuple("0123456789")
    np.testing.assert_allclose(search.mean, mean, atol=0.005)
    np.testing.assert_allclose(search.deviation, deviation, atol=0.005)
    with np.load(data_folder / f"{test}.npz") as stored:
        np.testing.assert_array_equal(
            raw(final, final.valid_x).reshape(stored["images"].shape), stored["images"]
        )
        np.testing.assert_array_equal(final.valid_y, stored["labels"])
    small = make(
        data_folder / f"{train}.npz",
        test_data=str(data_folder / f"{test}.npz"),
        examples=1000,
        size=8,
    )
    assert (
        small.search().size == (size[0], 8, 8)
        and len(small.search().train_x) + len(small.search().valid_x) == 1000
    )
    if size[0] == 1:
        assert min(baseline_scores(small.test()).values()) > 0.8
