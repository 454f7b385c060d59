"""Where the real data is."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that EVOML_DATA names, or ../shared/data beside the repository; skips the test where there is none."""
    folder = Path(os.environ.get("EVOML_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder; set EVOML_DATA to one")
    return folder
