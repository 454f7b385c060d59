"""How things are written: numbers of them, and others' text on one line."""

SHOWN = 160  # characters of what an exception says


def plural(count: int, name: str) -> str:
    """`1 candidate`, `2,000 candidates`."""
    return f"{count:,} {name}{'s' * (count != 1)}"


def duration(seconds: float) -> str:
    """`40 s`, `2.5 min`, `3 h`, `2 days`: as exact as a guess may be."""
    for size, unit, most in ((1.0, "s", 100), (60.0, "min", 100), (3600.0, "h", 72)):
        if seconds < size * most:
            number = seconds / size
            return f"{number:.0f} {unit}" if number >= 10 or unit == "s" else f"{number:.2g} {unit}"
    return f"{seconds / 86400:.0f} days"


def printable(text: str) -> str:
    """Text of others without what a terminal obeys, but for new lines and tabs."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)


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
