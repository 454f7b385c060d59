"""What written code shares."""


def escaped(character: str) -> str:
    """A character inside a string literal."""
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
