"""How far a confidence can be trusted: calibration error, precision against recall, and their uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid

from vpr.retrieval.confidence import Calibration
from vpr.retrieval.search import Neighbours

BINS = 15


class Bins(NamedTuple):
    """Answers by their confidence, the bins that hold any: mean `confidence`, `share` right, `answers`, (B,) each."""

    confidence: np.ndarray
    share: np.ndarray
    answers: np.ndarray


class PrecisionRecall(NamedTuple):
    """What each confidence as a threshold would give, falling; (T,) each.

    Attributes:
        thresholds: confidences; answers at or above one are accepted.
        precision: share of the accepted answers that is right.
        recall: right and accepted answers, as a share of all queries.
        answered: accepted answers, as a share of all queries.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    answered: np.ndarray

    @property
    def area(self) -> float:
        """Area under precision against recall, by trapezoids from precision 1 at recall 0, as VPR-Bench measures it.

        It is at most the recall that the curve ends at, which is R@1.
        """
        return float(trapezoid(np.append(1.0, self.precision), np.append(0.0, self.recall)))

    @property
    def recall_without_error(self) -> float:
        """Highest recall at 100 % precision; 0 where the most confident answer is wrong."""
        return float(self.recall[self.precision == 1].max(initial=0.0))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Bins:
    """Put (Q,) answers into `bins` of equal width, ((m - 1) / bins, m / bins], of their confidence in 0..1."""
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(number, minlength=bins)
    held = count > 0
    means = [np.bincount(number, values, bins)[held] / count[held] for values in (confidence, right)]
    return Bins(means[0], means[1], count[held])


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Return the expected calibration error, 0..1 (Guo et al., ICML 2017, eq. 3).

    It is the difference between mean confidence and share of right answers in a bin, averaged over the (Q,) answers.

    >>> calibration_error(np.array([0.9, 0.9, 0.1]), np.array([True, False, False]), bins=2)  # (2 x 0.4 + 0.1) / 3
    0.3
    """
    found = reliability(confidence, right, bins)
    return float(np.average(np.abs(found.confidence - found.share), weights=found.answers))


def precision_recall(confidence: np.ndarray, right: np.ndarray) -> PrecisionRecall:
    """Return precision and recall of the first match for each of its confidences (Q,) as a threshold.

    Recall counts all queries that are given, as Schubert et al. (2023) do, and ends at R@1. VPR-Bench (Zaffar et al.
    2021) counts those whose first match is right: its recall is this one divided by R@1.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    last = np.append(np.diff(falling) != 0, True)  # those of one confidence are accepted together
    accepted, hits = (np.arange(1, len(order) + 1)[last], np.cumsum(right[order])[last])
    return PrecisionRecall(falling[last], hits / accepted, hits / len(order), accepted / len(order))


def interval(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    confidence: np.ndarray,
    right: np.ndarray,
    seed: int = 0,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval over queries (Efron 1979) of a statistic of (Q,) confidence and right.

    Resampling adds noise, and noise adds to a calibration error: its interval lies high, and may lie above the value.
    """
    rng = np.random.default_rng(seed)
    rows = (rng.integers(0, len(right), len(right)) for _ in range(draws))
    low, high = np.quantile([statistic(confidence[r], right[r]) for r in rows], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def by_chance(confidence: np.ndarray, seed: int = 0, draws: int = 1000, level: float = 0.95) -> float:
    """Return the calibration error below which a true confidence (Q,) would stay with the probability `level`.

    Whether each answer is right is drawn with its confidence (consistency resampling, Broecker & Smith 2007). An error
    that is not above this one says nothing against the calibration; few queries give a high one.
    """
    rng = np.random.default_rng(seed)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(draws))
    return float(np.quantile([calibration_error(confidence, right) for right in drawn], level))


def cross_validated(neighbours: Neighbours, right: np.ndarray, folds: int = 10, seed: int = 0) -> np.ndarray:
    """Return the confidence (Q,) of each query by a calibration that was fitted to those of the other folds."""
    fold = np.random.default_rng(seed).permutation(len(right)) % folds
    confidence = np.empty(len(right))
    for held_out in np.unique(fold):
        rest, asked = fold != held_out, fold == held_out
        calibration = Calibration.fit(_of(neighbours, rest), right[rest], least=1)
        confidence[asked] = calibration.probability(_of(neighbours, asked))
    return confidence


def _of(neighbours: Neighbours, rows: np.ndarray) -> Neighbours:
    return Neighbours(neighbours.similarities[rows], neighbours.indices[rows])
