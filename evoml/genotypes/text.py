"""The text of genotypes: TOML with lists of integers on one line."""

import re
from collections.abc import Mapping
from typing import Any

import tomli_w


def toml(tables: Mapping[str, Any]) -> str:
    """TOML with lists of integers, and lists of those, on one line."""
    text = tomli_w.dumps(tables)
    for _ in range(2):
        text = _LIST.sub(
            lambda match: (
                f"[{', '.join(line.strip().rstrip(',') for line in match[1].splitlines())}]"
            ),
            text,
        )
    return text


_LIST = re.compile(r"\[\n((?:\s*(?:-?\d+|\[[-\d, ]*\]),\n)+)\s*\]")
