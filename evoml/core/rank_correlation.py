"""Rank correlation: whether two lists of numbers put the same things in the same order, -1..1.

Kendall 1938, "A New Measure of Rank Correlation", Biometrika 30, with ties as in Kendall 1945
(tau-b); Spearman 1904, with mean ranks for ties. Both are 0 where nothing is known of an order:
with fewer than two pairs, or where all numbers of a list are equal. Pairs with a NaN are left out.
"""

import math

import numpy as np


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b of two lists of equal length, [N] each."""
    a, b = _pairs(a, b)
    at = np.triu_indices(len(a), 1)
    left, right = (_signs(values)[at] for values in (a, b))
    untied = int(np.count_nonzero(left)) * int(np.count_nonzero(right))
    return float(left @ right) / math.sqrt(untied) if untied else 0.0


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho of two lists of equal length, [N] each."""
    ranks = [_ranks(values) for values in _pairs(a, b)]
    left, right = (rank - rank.mean() if len(rank) else rank for rank in ranks)
    spread = float(left @ left) * float(right @ right)
    return float(left @ right) / math.sqrt(spread) if spread else 0.0


def _pairs(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"lists of shapes {a.shape} and {b.shape}; they must be two of equal length"
        )
    known = ~(np.isnan(a) | np.isnan(b))
    return a[known], b[known]


def _signs(values: np.ndarray) -> np.ndarray:
    """Of every pair, which is larger, [N, N]; infinities are equal to themselves."""
    return (values[:, None] > values[None, :]).astype(np.int64) - (
        values[:, None] < values[None, :]
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 0; equal values have the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts + 1) / 2)[place.reshape(-1)]
    return ranks
