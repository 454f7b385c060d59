"""Where the real data is, and what is tested first."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# torch 2.13's oneDNN writes beyond its memory in the backward pass of strided 1 x 1 convolutions on
# some processors without AVX-512; the reference networks of the tests run through it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX")

settings.register_profile("evoml", deadline=None)  # a busy machine is no failure
settings.load_profile("evoml")


# what takes longest begins first, so that processes that share the files end together
LONGEST = (
    "test_outside.py", "test_darts.py", "test_shared_weights.py", "test_hyperneat.py",
    "test_backends.py", "test_commands.py", "test_trials.py", "test_steady.py", "test_supernet.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that EVOML_DATA names, or ../shared/data beside the repository; skips the test
    where there is none.
    """
    folder = Path(
        os.environ.get("EVOML_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    )
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder; set EVOML_DATA to one")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests that run networks: threads of so little work would wait for each other wherever the
    machine is busy.
    """
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
