"""Compiled loops of NEAT's reproduction: which members of which species become parents."""

import numpy as np

from evoml.compilation.numba_cache import compiled
from evoml.compilation.random_kernels import output

RANDOM, SMALLER, SECOND = range(3)  # what parents of equal fitness pass on


@compiled
def _below(bits, limit):
    return np.int64(((bits >> np.uint64(32)) * np.uint64(limit)) >> np.uint64(32))


@compiled
def _unit(bits):
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


@compiled
def pair(
    draws, order, starts, sizes, quotas, breeders, copied, elite_count, interspecies, mutation_only,
    ties, quality, genes, mothers, fathers, equal, elite,
):  # fmt: skip
    """Mother, the fitter, and father (-1: none) of every child, whether they are as fit as each
    other, and whether it is a copy. All arrays but the last four are read.

    order: [P] members, species by species, the best first; starts, sizes, quotas, breeders, copied:
    [S]; genes: [P] links of each.
    """
    child = 0
    count = len(sizes)
    for species in range(count):
        for nth in range(quotas[species]):
            stream = draws[child]
            if copied[species] and nth < min(elite_count, sizes[species]):
                mothers[child], fathers[child], equal[child], elite[child] = (
                    order[starts[species] + nth],
                    -1,
                    0,
                    1,
                )
                child += 1
                continue
            other = species
            if interspecies > 0.0 and count > 1 and _unit(output(stream, 2)) < interspecies:
                other = (species + 1 + _below(output(stream, 3), count - 1)) % count
            mother = order[starts[species] + _below(output(stream, 1), breeders[species])]
            father = order[starts[other] + _below(output(stream, 4), breeders[other])]
            same = False
            if _unit(output(stream, 5)) < mutation_only:
                father = -1
            else:
                same = quality[mother] == quality[father]
                swap = quality[father] > quality[mother]
                if same and ties != RANDOM:
                    swap = ties == SECOND or genes[father] < genes[mother]
                    same = False
                if swap:
                    mother, father = father, mother
            mothers[child], fathers[child], equal[child], elite[child] = mother, father, same, 0
            child += 1
