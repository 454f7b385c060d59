"""Checkpoints, changed as somebody might."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save as save_safetensors

from evoml.archive.checkpoint import arrays_digest


def tampered(folder: Path, change: Callable[[dict[str, np.ndarray], dict[str, Any]], None]) -> None:
    """Change the arrays and the state of a run's checkpoint in place, as somebody would who also
    writes what its arrays are known by.
    """
    path = folder / "checkpoint" / "state.safetensors"
    with safe_open(path, "numpy") as file:
        arrays, state = (
            {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
            json.loads(file.metadata()["state"]),
        )
    change(arrays, state)
    state["archive"]["arrays"] = arrays_digest(arrays)
    path.write_bytes(save_safetensors(arrays, {"state": json.dumps(state)}))
