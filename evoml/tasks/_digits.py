"""scikit-learn's handwritten digits, read from its package without importing that: half of what a
small search would take is in the import.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from evoml.core.errors import InputError


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels in 0..16, [1797, 8, 8] float64, and classes, [1797] int64; both read-only.

    Raises InputError where scikit-learn is not installed.
    """
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "data: without it, scikit-learn's digits are the images; install scikit-learn or give "
            "an .npz"
        )
    folder = Path(found.submodule_search_locations[0])
    rows = np.loadtxt(folder / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    pixels, labels = rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    pixels.flags.writeable = labels.flags.writeable = False
    return pixels, labels
