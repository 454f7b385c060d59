"""How things are written: numbers of them, and others' text on one line."""

SHOWN = 160  # characters of what an exception says


def plural(count: int, name: str) -> str:
    """`1 candidate`, `2,000 candidates`."""
    return f"{count:,} {name}{'s' * (count != 1)}"


def one_line(text: str, most: int = SHOWN) -> str:
    """Others' text on a line that can be printed, of at most so many characters."""
    words = " ".join(text.split())
    words = "".join(character if character.isprintable() else "?" for character in words)
    return words if len(words) <= most else words[: most - 3] + "..."


def describe_exception(error: BaseException) -> str:
    """An exception of others' code in one line."""
    try:
        text = str(error)
    except Exception:  # it is others' code, too
        text = ""
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)
