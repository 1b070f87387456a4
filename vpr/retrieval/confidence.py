"""Confidence: the probability that the first match of a query is right, from the similarities of its list alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.retrieval.search import Neighbours

WIDTH = 5  # similarities of a list that count; ask for so many, also where fewer are shown
LEAST = 20  # queries that a calibration is fitted to: with fewer it would be a guess


@dataclass(frozen=True)
class Calibration:
    """p = 1 / (1 + exp(-(offset + similarity s1 + margin (s1 - mean(s2, s3, s4, s5))))), with s1, s2 ... of a list.

    Two numbers a query and three that are fitted. It holds for one model, and for photos and a database like those it
    was fitted to: in a much larger database, or one with other numbers of photos a place, similarities are others.

    Attributes:
        offset, similarity, margin: what was fitted.
        threshold: the lowest confidence with which an answer is accepted; inf: none is.
        precision: the share of accepted answers that should be right.
        queries, right: how many queries it was fitted to, and how many of their first matches were right.
    """

    offset: float
    similarity: float
    margin: float
    threshold: float
    precision: float
    queries: int
    right: int

    @classmethod
    def fit(cls, neighbours: Neighbours, right: np.ndarray, precision: float = 0.95, least: int = LEAST) -> Calibration:
        """Fit to queries whose answers are known.

        Logistic regression with the targets (R + 1) / (R + 2) for the R right ones and 1 / (W + 2) for the W wrong ones
        (Platt 1999), which keep it finite where similarities tell all of them apart, or all are right, or none is. No
        slope is negative: a more similar photo is never less likely to be right. The threshold is the lowest confidence
        such that, of the queries with it or a higher one, at least the share `precision` is right.

        Args:
            neighbours: of Q queries, `WIDTH` of each or more.
            right: (Q,) bool, whether the first match is right.
            least: queries that are enough.

        Raises:
            ConfigError: `precision` is no share above 0.
            DataError: too few queries.
        """
        if not 0 < precision <= 1:
            raise ConfigError(f"precision={precision} must be above 0 and at most 1, for example 0.95.")
        right = np.asarray(right, bool)
        if len(right) < least:
            raise DataError(
                f"A confidence cannot be calibrated on {len(right)} labelled queries: give a set of {least} or more."
            )
        offset, similarity, margin = _logistic(features(neighbours), right)
        fitted = cls(offset, similarity, margin, math.inf, precision, len(right), int(right.sum()))
        return replace(fitted, threshold=lowest(fitted.probability(neighbours), right, precision))

    def probability(self, neighbours: Neighbours) -> np.ndarray:
        """Return (Q,) float64 in 0..1 for the lists of Q queries; 0 for a query without a match.

        Of a list of more than `WIDTH` the first count; of a shorter one it is lower, if anything.
        """
        x = features(neighbours)
        found = expit(self.offset + x @ np.array([self.similarity, self.margin]))
        return np.where(_matched(neighbours), found, 0.0)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values for a json; a threshold that accepts nothing is None."""
        return asdict(self) | {"threshold": self.threshold if math.isfinite(self.threshold) else None}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Calibration:
        """Make it again from what `plain` returned, among other entries; CheckpointError where it is not that."""
        try:
            given = {name: plain[name] for name in cls.__dataclass_fields__}
            numbers = {name: float(value) for name, value in given.items() if name != "threshold"}
            threshold = math.inf if given["threshold"] is None else float(given["threshold"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"This is no calibration, or a damaged one: {error!r}.") from error
        counts = {name: int(numbers[name]) for name in ("queries", "right")}
        return cls(**numbers | counts, threshold=threshold)  # type: ignore[arg-type]


def lowest(confidence: np.ndarray, right: np.ndarray, precision: float) -> float:
    """Return the lowest confidence from which on the share `precision` of (Q,) answers is right; inf: there is none.

    >>> lowest(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 0.75)
    0.6
    """
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    whole = np.append(np.diff(confidence[order]) != 0, True)  # those of one confidence are accepted together
    enough = np.flatnonzero(whole & (share >= precision))
    return float(confidence[order[enough[-1]]]) if len(enough) else math.inf


def features(neighbours: Neighbours) -> np.ndarray:
    """Return (Q, 2) float64: the first similarity, and how far it is above the mean of the next four.

    Of a shorter list those that are there count. Of one photo the difference is 0: nothing says that it stands out.
    """
    similarities = np.asarray(neighbours.similarities[:, :WIDTH], np.float64)
    there = np.isfinite(similarities)
    first = np.where(there[:, 0], similarities[:, 0], 0.0)
    next_ones, count = np.where(there, similarities, 0.0)[:, 1:].sum(axis=1), there[:, 1:].sum(axis=1)
    return np.stack([first, np.where(count > 0, first - next_ones / np.maximum(count, 1), 0.0)], axis=1)


def _matched(neighbours: Neighbours) -> np.ndarray:
    return np.isfinite(neighbours.similarities[:, 0])


def _logistic(x: np.ndarray, right: np.ndarray) -> tuple[float, ...]:
    """Return the offset and the slopes of the features (Q, F), none of them negative."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-12] = 1.0  # one that never varies
    rows = np.column_stack([np.ones(len(x)), (x - centre) / scale])
    hits = right.sum()
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = rows @ weights
        return float(np.mean(np.logaddexp(0, z) - target * z)), rows.T @ (expit(z) - target) / len(rows)

    bounds = [(None, None)] + [(0, None)] * x.shape[1]
    found = minimize(loss, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds, options={"gtol": 1e-8})
    slopes = found.x[1:] / scale
    return (float(found.x[0] - slopes @ centre), *map(float, slopes))
