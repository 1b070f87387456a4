"""Reliability of a confidence: each number against one that is derived by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.retrieval.calibration import (
    Calibration,
    by_chance,
    calibration_error,
    cross_validated,
    interval,
    precision_recall,
    reliability,
)
from vpr.retrieval.search import Neighbours

CONFIDENCE = np.array([0.9, 0.8, 0.8, 0.6, 0.4, 0.2])
RIGHT = np.array([True, True, False, True, False, False])


def test_bins_and_error_by_hand() -> None:
    bins = reliability(CONFIDENCE, RIGHT, bins=2)  # (0, 0.5] holds 0.4 and 0.2, (0.5, 1] the others
    np.testing.assert_allclose(bins.confidence, [0.3, 3.1 / 4])
    np.testing.assert_allclose(bins.share, [0, 3 / 4])
    assert bins.answers.tolist() == [2, 4]
    assert calibration_error(CONFIDENCE, RIGHT, bins=2) == pytest.approx((2 * 0.3 + 4 * 0.025) / 6)


def test_the_ends_of_bins() -> None:
    bins = reliability(np.array([0.0, 0.5, 1.0, 0.5000001]), np.array([False, True, True, False]), bins=2)
    assert bins.answers.tolist() == [2, 2]  # 0 and 0.5 belong to the lower one, 1 to the upper one


def test_error_of_the_sure_and_wrong_and_of_the_true() -> None:
    assert calibration_error(np.ones(10), np.zeros(10, bool)) == 1
    assert calibration_error(np.ones(10), np.ones(10, bool)) == 0
    assert calibration_error(np.full(10, 0.5), np.arange(10) < 5) == 0


def test_precision_and_recall_by_hand() -> None:
    curve = precision_recall(CONFIDENCE, RIGHT)
    assert curve.thresholds.tolist() == [0.9, 0.8, 0.6, 0.4, 0.2]  # both of 0.8 are accepted together
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 3 / 4, 3 / 5, 3 / 6])
    np.testing.assert_allclose(curve.recall, [1 / 6, 2 / 6, 3 / 6, 3 / 6, 3 / 6])  # ends at R@1
    np.testing.assert_allclose(curve.answered, [1 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert curve.recall_without_error == pytest.approx(1 / 6)
    assert curve.area == pytest.approx((1 + (1 + 2 / 3) / 2 + (2 / 3 + 3 / 4) / 2) / 6)


def test_no_recall_where_the_surest_answer_is_wrong() -> None:
    assert precision_recall(np.array([0.9, 0.8]), np.array([False, True])).recall_without_error == 0
    assert precision_recall(CONFIDENCE, np.zeros(6, bool)).area == 0


def test_interval_of_a_mean_is_the_known_one() -> None:
    right = np.arange(400) < 100
    low, high = interval(lambda confidence, hit: float(hit.mean()), np.zeros(400), right, draws=4000)
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert (low, high) == pytest.approx((0.25 - spread, 0.25 + spread), abs=0.004)
    assert interval(calibration_error, CONFIDENCE, RIGHT) == interval(calibration_error, CONFIDENCE, RIGHT)


def test_error_by_chance() -> None:
    """All of one confidence p: the error is |share - p|, whose 95 % quantile is 1.96 deviations of a binomial share."""
    expected = 1.96 * np.sqrt(0.3 * 0.7 / 500)
    assert by_chance(np.full(500, 0.3), draws=4000) == pytest.approx(expected, abs=0.004)


def test_cross_validation_does_not_see_what_it_judges() -> None:
    """Similarities that say nothing: a fit to the queries themselves would be a little too good, this one cannot."""
    rng = np.random.default_rng(1)
    similarities = -np.sort(-rng.random((30, 5)), axis=1)
    neighbours, right = Neighbours(similarities, np.zeros((30, 5), np.int64)), rng.random(30) < 0.5
    confidence = cross_validated(neighbours, right, folds=3, seed=5)
    fold = np.random.default_rng(5).permutation(30) % 3
    assert np.bincount(fold).tolist() == [10, 10, 10]
    for held_out in range(3):
        rest, asked = fold != held_out, fold == held_out
        fitted = Calibration.fit(Neighbours(similarities[rest], neighbours.indices[rest]), right[rest])
        expected = fitted.probability(Neighbours(similarities[asked], neighbours.indices[asked]))
        np.testing.assert_allclose(confidence[asked], expected)
    flipped = right.copy()
    flipped[fold == 0] ^= True
    again = cross_validated(neighbours, flipped, folds=3, seed=5)
    np.testing.assert_array_equal(again[fold == 0], confidence[fold == 0])  # its own answers change nothing
    assert (cross_validated(neighbours, right, folds=3, seed=6) != confidence).any()
