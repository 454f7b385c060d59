"""One hash for everything on disk that must be what it was: data, parts, settings."""

from hashlib import blake2b


def digest(content: bytes) -> str:
    """32 hexadecimal digits of BLAKE2b."""
    return blake2b(content, digest_size=16).hexdigest()
