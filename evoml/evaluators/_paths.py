"""Path dropout: which of a supernet's candidate layers a training step goes without.

Bender et al. 2018, "Understanding and Simplifying One-Shot Architecture Search", ICML. A path into
a node with k of them is dropped with probability r^(1/k), so that every node would lose all of its
paths as often as any other, with probability r; then one of them, any, stays.
"""

import numpy as np

from evoml.phenotypes.network import Supernet

Option = tuple[int, int]  # group and option


class PathDropout:
    """Masks over the options of a supernet.

    What is dropped is dropped in all cells of a kind, which have one architecture.
    """

    def __init__(self, supernet: Supernet, r: float) -> None:
        self.junctions = junctions(supernet)
        # [G, O]: options that are a path; `none` is none
        self.there = np.zeros(supernet.available.shape, bool)
        self.rates = np.zeros(supernet.available.shape)  # [G, O]: at the end of training
        for paths, _ in self.junctions:
            for path in paths:
                self.there[path], self.rates[path] = True, r ** (1 / len(paths))

    def mask(self, rng: np.random.Generator, share: float) -> np.ndarray:
        """1 for a path that is kept, 0 for one that is dropped or not there, [G, O].

        share: of the rates at the end, 0..1.
        """
        kept = self.there & (rng.random(self.rates.shape) >= share * self.rates)
        for paths, always in self.junctions:
            if not always and not any(kept[path] for path in paths):
                kept[paths[rng.integers(len(paths))]] = True
        return kept.astype(np.float64)


def junctions(supernet: Supernet) -> list[tuple[tuple[Option, ...], bool]]:
    """The open paths into every node that has some, those of a node that recurs in many cells once,
    and whether others enter it that are always there.
    """
    found: dict[tuple[Option, ...], bool] = {}
    for node in supernet.network.nodes:
        if paths := tuple(sorted({edge.option for edge in node.edges if edge.option is not None})):
            always = any(edge.option is None for edge in node.edges)
            found[paths] = found.get(paths, True) and always
    return list(found.items())
