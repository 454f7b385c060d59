"""A checkpoint's file: nested dictionaries of JSON values and arrays as one safetensors file.

The arrays stand in it by their paths, the rest as JSON in its header. No pickle, so reading it
executes nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from evoml.core.digests import digest
from evoml.core.errors import InputError

# what a file that is none of evoml's raises when it is read
_STRANGE = (
    SafetensorError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
    OSError,
)


def pack(state: Mapping[str, Any], files: Mapping[str, Any]) -> bytes:
    """A checkpoint's content.

    state: nested dictionaries and lists of JSON values and arrays. files: what the archive's other
    files are known by, under its key `archive`.
    """
    arrays: dict[str, np.ndarray] = {}
    plain = _split(state, "", arrays) | {"archive": {**files, "arrays": arrays_digest(arrays)}}
    return to_safetensors(arrays, {"state": json.dumps(plain)})


def unpack(path: Path) -> tuple[dict[str, Any], list[str], int]:
    """The state, the digests of the parts, and the bytes of events.jsonl that belong to it.

    Raises InputError for a file that is not one of `pack`.
    """
    try:
        with safe_open(path, "numpy") as file:
            state = json.loads((file.metadata() or {})["state"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        _join(state, arrays)
        own = state.pop("archive")
        # earlier versions knew their arrays by nothing
        if "arrays" in own and own["arrays"] != arrays_digest(arrays):
            raise ValueError("its arrays are not those that were stored")
        parts, events_bytes = [str(part) for part in own["parts"]], int(own["events_bytes"])
        if events_bytes < 0:
            raise ValueError("less than no events")
        return dict(state), parts, events_bytes
    except _STRANGE as error:
        raise InputError(
            f"{path}: not a checkpoint of evoml ({' '.join(str(error).split())[:200]})"
        ) from None


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """What a checkpoint knows its arrays by, since safetensors has no checksum."""
    return digest(
        "".join(f"{name} {digest(arrays[name].tobytes())}\n" for name in sorted(arrays)).encode()
    )


def _split(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Take the arrays out of nested dictionaries and lists, leaving their names."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays[path] = np.ascontiguousarray(value)
        return {"array": path}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _split(each, f"{path}/{key}", arrays) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(each, f"{path}/{index}", arrays) for index, each in enumerate(value)]
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise InputError(
        f"checkpoint: {path.strip('/')}: a {type(value).__name__} cannot be kept; a state is made "
        "of numbers, text, lists, dictionaries with text as keys, and arrays of numbers"
    )


def _join(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `_split`, in place."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in list(items):
        value[key] = (
            arrays[each["array"]]
            if isinstance(each, dict) and set(each) == {"array"}
            else _join(each, arrays)
        )
    return value
