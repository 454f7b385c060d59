"""The streams of `evoml.core.streams` for compiled code: SplitMix64 (Steele, Lea, Flood 2014), and
a hash made of its finaliser.
"""

import numpy as np

from evoml.compilation.numba_cache import compiled


@compiled
def finish(z):
    """SplitMix64's finaliser."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@compiled
def output(stream, counter):
    """Output number `counter` of a stream."""
    return finish(stream + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15))


@compiled
def mix(h, bits):
    """One step of a hash over 64-bit words."""
    return finish((h ^ bits) + np.uint64(0x9E3779B97F4A7C15))


@compiled
def next_bits(state):
    """The next 64 bits of a stream; `state` is a uint64 array of one element."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return finish(state[0])


@compiled
def below(state, limit):
    return np.int64(((next_bits(state) >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32))


@compiled
def uniform(state):
    """Uniform in [0, 1)."""
    return np.float64(next_bits(state) >> np.uint64(11)) * 2.0**-53


@compiled
def normal(state):
    return np.sqrt(-2.0 * np.log(1.0 - uniform(state))) * np.cos(2.0 * np.pi * uniform(state))
