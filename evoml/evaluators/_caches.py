"""Two bounded caches of fitness, compiled: one by canonical form, exact and free, one by behaviour
on a few examples.
"""

import numpy as np

from evoml.compilation.numba_cache import compiled


class ExactCache:
    """Fitness by canonical key: two entries a slot, the older one is replaced.

    [slots, 2] keys and values; key 0 is an empty entry.
    """

    def __init__(self, size: int) -> None:
        slots = 1 << max(size // 2 - 1, 1).bit_length()
        self.keys = np.zeros((slots, 2), np.uint64)
        self.values = np.zeros((slots, 2))

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The fitness of each key, NaN where it is not there."""
        out = np.empty(len(keys))
        _find_exact(self.keys, self.values, keys, out)
        return out

    def insert(self, keys: np.ndarray, values: np.ndarray) -> None:
        _insert_exact(self.keys, self.values, keys, values)

    def state(self) -> dict[str, np.ndarray]:
        return {"keys": self.keys, "values": self.values}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Take over a state. Raises ValueError if it is not of this cache's size."""
        for name, mine in self.state().items():
            mine[...] = checked(state[name], mine)


@compiled
def _find_exact(slots, values, keys, out):
    mask = np.uint64(len(slots) - 1)
    for index in range(len(keys)):
        slot = np.int64(keys[index] & mask)
        out[index] = np.nan
        for way in range(2):
            if slots[slot, way] == keys[index]:
                out[index] = values[slot, way]


@compiled
def _insert_exact(slots, values, keys, given):
    mask = np.uint64(len(slots) - 1)
    for index in range(len(keys)):
        slot = np.int64(keys[index] & mask)
        if slots[slot, 0] != keys[index]:
            slots[slot, 1] = slots[slot, 0]
            values[slot, 1] = values[slot, 0]
        slots[slot, 0] = keys[index]
        values[slot, 0] = given[index]


class FunctionalCache:
    """Functional equivalence cache (Real et al. 2020, arXiv 2003.03384): fitness by a hash of the
    errors on the first few examples.

    Least recently used of `size` entries goes first; an entry is forgotten after `forget` uses, so
    that a lucky fitness does not stay. Entries form a doubly linked list, newest first (entry
    `size` is its head); `table` finds them by open addressing.
    """

    def __init__(self, size: int, forget: int) -> None:
        self.keys = np.zeros(size, np.uint64)
        self.values = np.zeros(size)
        self.uses = np.zeros(size, np.int64)
        self.links = np.full((size + 1, 2), size, np.int32)  # [entry, (previous, next)]
        self.free = np.arange(size - 1, -1, -1, dtype=np.int32)
        # free entries, uses before an entry is forgotten
        self.count = np.array([size, forget], np.int64)
        self.table = np.full(1 << (2 * size - 1).bit_length(), -1, np.int32)

    def __len__(self) -> int:
        return len(self.keys) - int(self.count[0])

    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.keys, self.values, self.uses, self.links, self.free, self.count, self.table

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The fitness of each key, NaN where it is not there. Finding counts as a use."""
        out = np.empty(len(keys))
        _find(*self._arrays(), keys, out)
        return out

    def insert(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Keys that are already there keep their fitness."""
        _insert(*self._arrays(), keys, values)

    def state(self) -> dict[str, np.ndarray]:
        """Keys, values and uses, the least recently used first; the rest follows from them."""
        order = _order(self.links, len(self))
        return {"keys": self.keys[order], "values": self.values[order], "uses": self.uses[order]}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Take over a state. Raises ValueError if it does not fit."""
        count = len(state["keys"])
        if count > len(self.keys) or len(np.unique(state["keys"])) != count:
            raise ValueError("more keys than the cache holds, or one twice")
        keys, values, uses = (
            checked(state[name], like[:count])
            for name, like in (("keys", self.keys), ("values", self.values), ("uses", self.uses))
        )
        if np.isnan(values).any() or (uses < 0).any():
            raise ValueError("a fitness that is none")
        size = len(self.keys)
        self.table[:], self.links[:], self.free[:], self.count[0] = (
            -1,
            size,
            np.arange(size - 1, -1, -1),
            size,
        )
        _insert(*self._arrays(), keys, values)
        self.uses[np.arange(count)] = uses  # entries are taken in order from the free list


def checked(theirs: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """`theirs` if it has the type and shape of `mine`. Raises ValueError."""
    if theirs.dtype != mine.dtype or theirs.shape != mine.shape:
        raise ValueError(f"not {mine.dtype}{list(mine.shape)}")
    return theirs


@compiled
def _order(links, count):
    """Entries from the least to the most recently used."""
    out = np.empty(count, np.int64)
    entry = links[len(links) - 1, 0]
    for index in range(count):
        out[index] = entry
        entry = links[entry, 0]
    return out


@compiled
def _slot(keys, table, key):
    """Where `key` is in the table, or the empty slot where it would go."""
    mask = len(table) - 1
    slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
    while table[slot] >= 0 and keys[table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def _unlink(links, entry):
    links[links[entry, 0], 1] = links[entry, 1]
    links[links[entry, 1], 0] = links[entry, 0]


@compiled
def _to_front(links, entry):
    head = len(links) - 1
    links[entry, 0], links[entry, 1] = head, links[head, 1]
    links[links[head, 1], 0] = entry
    links[head, 1] = entry


@compiled
def _drop(keys, links, free, count, table, entry):
    """Remove an entry; later entries of its probe sequence move up, so no gap breaks a search."""
    mask = len(table) - 1
    hole = _slot(keys, table, keys[entry])
    table[hole] = -1
    slot = (hole + 1) & mask
    while table[slot] >= 0:
        moved = table[slot]
        table[slot] = -1
        table[_slot(keys, table, keys[moved])] = moved
        slot = (slot + 1) & mask
    _unlink(links, entry)
    free[count[0]] = entry
    count[0] += 1


@compiled
def _find(keys, values, uses, links, free, count, table, wanted, out):
    for index in range(len(wanted)):
        entry = table[_slot(keys, table, wanted[index])]
        out[index] = np.nan
        if entry >= 0:
            out[index] = values[entry]
            uses[entry] += 1
            if uses[entry] >= count[1]:
                _drop(keys, links, free, count, table, entry)
            else:
                _unlink(links, entry)
                _to_front(links, entry)


@compiled
def _insert(keys, values, uses, links, free, count, table, new, given):
    for index in range(len(new)):
        if table[_slot(keys, table, new[index])] >= 0:
            continue
        if count[0] == 0:
            _drop(keys, links, free, count, table, links[len(links) - 1, 0])
        count[0] -= 1
        entry = free[count[0]]
        keys[entry] = new[index]
        values[entry] = given[index]
        uses[entry] = 0
        table[_slot(keys, table, new[index])] = entry
        _to_front(links, entry)
