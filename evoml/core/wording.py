"""How numbers of things are written."""


def plural(count: int, name: str) -> str:
    """`1 candidate`, `2,000 candidates`."""
    return f"{count:,} {name}{'s' * (count != 1)}"
