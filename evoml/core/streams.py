"""Random streams: every candidate has its own, derived from the run's seed and the candidate's
number, never from the order of work.

A stream is SplitMix64 (Steele, Lea, Flood 2014): output k is mix(seed + k * golden), so any output
is had without those before it.
"""

from functools import lru_cache
from random import Random

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
INITIAL, SELECT, VARY, MIGRATE, TRAIN, LEARN, AUDIT = range(1, 8)  # what a stream is for
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)


def mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser, elementwise on an array of uint64 (which wraps without a warning)."""
    z = (z ^ (z >> _30)) * _FIRST
    z = (z ^ (z >> _27)) * _SECOND
    return z ^ (z >> _31)


def outputs(seeds: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """Output number `counters` of the streams `seeds`, broadcast, uint64."""
    return mix(seeds + counters.astype(np.uint64) * GOLDEN)


@lru_cache(64)
def _root(seed: int, purpose: int) -> np.ndarray:
    root = outputs(np.array([seed % 2**64], np.uint64), np.array([purpose]))
    root.flags.writeable = False
    return root


def streams(seed: int, purpose: int, ids: np.ndarray) -> np.ndarray:
    """The streams of candidates `ids` for one purpose, [n] uint64."""
    return outputs(_root(int(seed), int(purpose)), np.asarray(ids) + 1)


def seed_of(seed: int, purpose: int, id: int, what: int, number: int = 0) -> int:
    """A seed for one thing that candidate `id` needs for a purpose, the number-th of its kind."""
    stream = outputs(streams(seed, purpose, np.array([id])), np.array([what + 1]))
    return int(outputs(stream, np.array([number + 1]))[0])


def below(seeds: np.ndarray, draws: int, limit: int) -> np.ndarray:
    """`draws` numbers in 0..limit-1 from each stream, [n, draws]; limit is below 2**32."""
    bits = outputs(seeds[:, None], np.arange(1, draws + 1))
    return (((bits >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)


def generator(stream: int) -> Random:
    """A Python generator for one stream, for code that is not compiled."""
    return Random(int(stream))
