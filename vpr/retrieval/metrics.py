"""Recall and its uncertainty: pure functions of neighbours and positives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from vpr.errors import ConfigError, DataError

FEW = 40
"""Queries up to which Wilson's interval is taken (Brown, Cai and DasGupta, Statistical Science 2001)."""


def correct(indices: np.ndarray, positives: Sequence[np.ndarray]) -> np.ndarray:
    """Tell of every neighbour (Q, K) whether it is one of its query's positives; -1 never is. Returns (Q, K) bool."""
    lengths = np.fromiter(map(len, positives), np.int64, len(positives))
    flat = np.concatenate(positives) if lengths.sum() else np.empty(0, np.int64)
    stride = max(indices.max(initial=-1), flat.max(initial=-1)) + 1
    right_pairs = np.repeat(np.arange(len(positives)), lengths) * stride + flat
    pairs = np.arange(len(indices))[:, None] * stride + indices
    return np.isin(pairs, right_pairs) & (indices >= 0)


def hits(indices: np.ndarray, positives: Sequence[np.ndarray], ks: Sequence[int]) -> np.ndarray:
    """Tell of every query whether a positive is among its first k neighbours, for each k. Returns (Q, len(ks)) bool.

    A k beyond the width of `indices` (Q, K) counts all K neighbours.
    """
    seen = np.logical_or.accumulate(correct(indices, positives), axis=1)
    return seen[:, [min(k, seen.shape[1]) - 1 for k in ks]]


def counted(positives: Sequence[np.ndarray], no_positives: str) -> np.ndarray:
    """Choose the queries that a recall counts, (Q,) bool: `skip` leaves out those without positives, `miss` keeps them.

    Raises:
        ConfigError: another policy.
        DataError: no query is left.
    """
    if no_positives not in ("skip", "miss", "unknown"):
        raise ConfigError(f"no_positives is '{no_positives}'; choose skip, miss or unknown.")
    if no_positives == "unknown":
        return np.zeros(len(positives), bool)
    keep = np.array([no_positives == "miss" or len(rows) > 0 for rows in positives], bool)
    if not keep.any():
        raise DataError(f"None of the {len(positives):,} queries has a positive: there is nothing to measure.")
    return keep


def recall(hit: np.ndarray) -> np.ndarray:
    """Return the share of queries that hit: (Q, len(ks)) bool of the counted queries -> (len(ks),) float in 0..1."""
    return hit.mean(axis=0)


def interval(hit: np.ndarray, seed: int = 0, draws: int = 10_000, level: float = 0.95) -> np.ndarray:
    """Return the percentile bootstrap interval over queries (Efron 1979): (Q, ...) bool -> (..., 2) float.

    The mean of a resample of Q hits out of `p Q` follows Binomial(Q, p) / Q, which is drawn directly. Of FEW queries,
    or where none or all hit, a bootstrap says less than is known, and the interval is that of `wilson`.
    """
    share = hit.mean(axis=0)
    rng = np.random.default_rng(seed)
    means = rng.binomial(len(hit), share, (draws, *hit.shape[1:])) / len(hit)
    bounds = np.moveaxis(np.quantile(means, _tails(level), axis=0), 0, -1)
    alike = (share == 0) | (share == 1) | (len(hit) <= FEW)
    return np.where(alike[..., None], wilson(share, len(hit), level), bounds)


def wilson(share: np.ndarray, count: int, level: float = 0.95) -> np.ndarray:
    """Return Wilson's interval (1927, JASA 22) of shares (...) 0..1 among `count` draws: (..., 2) float.

    With z the normal quantile: (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n). One hit of one
    gives 0.21 to 1.
    """
    z = float(ndtri(_tails(level)[1]))
    middle = share + z**2 / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    bounds = np.stack([middle - half, middle + half], axis=-1) / (1 + z**2 / count)
    # Rounding must not make 0 or 1 another number.
    bounds[..., 0] = np.where(share == 0, 0, bounds[..., 0])
    bounds[..., 1] = np.where(share == 1, 1, bounds[..., 1])
    return bounds


def mean_interval(values: np.ndarray, seed: int = 0, draws: int = 2000, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over queries (Efron 1979) of values (Q,) float."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, _tails(level))
    return float(low), float(high)


def paired_interval(
    before: np.ndarray, after: np.ndarray, seed: int = 0, draws: int = 10_000, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of recall(after) - recall(before) on the same queries, hits (Q,) bool each.

    Resampling pairs makes the numbers of queries gained, lost and unchanged multinomial (Efron 1979).
    """
    if before.shape != after.shape:
        raise ValueError(f"hits of the same queries are needed, not {before.shape} and {after.shape}")
    gained, lost = np.mean(after & ~before), np.mean(before & ~after)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(before), [gained, lost, max(1 - gained - lost, 0)], draws)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / len(before), _tails(level))
    return float(low), float(high)


def _tails(level: float) -> list[float]:
    return [(1 - level) / 2, (1 + level) / 2]
