"""The confidence of a first match: known probabilities are found again, and nothing degenerate breaks it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.retrieval.calibration import Calibration, calibration_error, features, lowest
from vpr.retrieval.search import Neighbours


def lists(similarities: object) -> Neighbours:
    rows = np.array(similarities, np.float32)
    return Neighbours(rows, np.arange(rows.size).reshape(rows.shape))


def truth(similarities: np.ndarray) -> np.ndarray:
    """The probability that `drawn` gives a first match."""
    first, rest = similarities[:, 0].astype(float), similarities[:, 1:5].astype(float).mean(axis=1)
    return 1 / (1 + np.exp(-(-13 + 8 * first + 30 * (first - rest))))


def drawn(queries: int, seed: int, width: int = 7) -> tuple[Neighbours, np.ndarray, np.ndarray]:
    """Neighbours, whether the first is right, and how probable that was."""
    rng = np.random.default_rng(seed)
    similarities = -np.sort(-rng.uniform(0.4, 0.95, (queries, width)).astype(np.float32), axis=1)
    probability = truth(similarities)
    return lists(similarities), rng.random(queries) < probability, probability


def test_features_by_hand() -> None:
    found = features(lists([[0.9, 0.8, 0.7, 0.6, 0.5, 0.1], [0.9, 0.8, 0.4, -np.inf, -np.inf, -np.inf]]))
    np.testing.assert_allclose(found, [[0.9, 0.9 - 0.65], [0.9, 0.9 - 0.6]], atol=1e-6)  # the sixth does not count


def test_known_probabilities_are_found_again() -> None:
    neighbours, right, _ = drawn(6000, seed=0)
    assert 0.2 < right.mean() < 0.8
    found = Calibration.fit(neighbours, right)
    assert (found.offset, found.similarity, found.margin) == pytest.approx((-13, 8, 30), rel=0.15)
    others, answers, probability = drawn(4000, seed=1)
    confidence = found.probability(others)
    assert np.abs(confidence - probability).max() < 0.05
    assert calibration_error(confidence, answers) < 0.03
    accepted = confidence >= found.threshold
    assert accepted.mean() > 0.05 and answers[accepted].mean() == pytest.approx(0.95, abs=0.02)


def test_it_is_the_minimum_of_the_loss() -> None:
    """Of the cross entropy with Platt's targets: no step in any direction is better."""
    neighbours, right, _ = drawn(60, seed=2)
    found = Calibration.fit(neighbours, right)
    x = np.column_stack([np.ones(60), features(neighbours)])
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))
    p = found.probability(neighbours)
    np.testing.assert_allclose(x.T @ (p - target) / 60, 0, atol=1e-4)


def test_lowest_threshold_that_keeps_the_precision() -> None:
    confidence = np.array([0.3, 0.9, 0.5, 0.7, 0.5])
    right = np.array([False, True, True, True, False])
    # from above: 0.9 1/1, 0.7 2/2, 0.5 3/4 (both of that confidence), 0.3 3/5
    assert lowest(confidence, right, 1.0) == 0.7
    assert lowest(confidence, right, 0.75) == 0.5
    assert lowest(confidence, right, 0.8) == 0.7  # not 0.5 with the right one of the two alone
    assert lowest(confidence, right, 0.6) == 0.3
    assert lowest(confidence, ~right, 0.5) == math.inf  # 0/1, 0/2, 1/4, 2/5


def test_all_right_and_none_right() -> None:
    neighbours, _, _ = drawn(98, seed=3)
    every = Calibration.fit(neighbours, np.ones(98, bool))
    np.testing.assert_allclose(every.probability(neighbours), 99 / 100, atol=1e-6)  # Platt's target: (R + 1) / (R + 2)
    assert every.threshold <= every.probability(neighbours).min()
    none = Calibration.fit(neighbours, np.zeros(98, bool))
    np.testing.assert_allclose(none.probability(neighbours), 1 / 100, atol=1e-6)
    assert none.threshold == math.inf and not (none.probability(neighbours) >= none.threshold).any()


def test_similarities_that_tell_all_apart_stay_finite() -> None:
    similarities = np.repeat([[0.9, 0.5, 0.5], [0.6, 0.5, 0.5]], 20, axis=0)
    found = Calibration.fit(lists(similarities), np.arange(40) < 20)
    assert np.isfinite([found.offset, found.similarity, found.margin]).all()
    np.testing.assert_allclose(found.probability(lists(similarities)), np.repeat([21 / 22, 1 / 22], 20), atol=1e-3)


def test_more_similar_is_never_less_probable() -> None:
    neighbours, right, _ = drawn(300, seed=4)
    found = Calibration.fit(neighbours, ~right)  # labels the wrong way round
    assert found.similarity == found.margin == 0
    assert np.ptp(found.probability(neighbours)) == 0


def test_lists_of_other_lengths() -> None:
    neighbours, right, _ = drawn(400, seed=5)
    found = Calibration.fit(neighbours, right)
    sure = found.probability(neighbours)
    cut = Neighbours(neighbours.similarities[:, :5], neighbours.indices[:, :5])
    np.testing.assert_array_equal(found.probability(cut), sure)
    for width in (1, 2, 3):  # the next ones that are left are nearer: never too sure
        short = Neighbours(neighbours.similarities[:, :width], neighbours.indices[:, :width])
        assert (found.probability(short) <= sure + 1e-12).all()
    padded = neighbours.similarities.copy()
    padded[:, 3:] = -np.inf
    short = Neighbours(neighbours.similarities[:, :3], neighbours.indices[:, :3])
    np.testing.assert_array_equal(found.probability(lists(padded)), found.probability(short))


@pytest.mark.parametrize("nothing", [np.nan, -np.inf])
def test_a_query_without_a_match_has_none(nothing: float) -> None:
    neighbours, right, _ = drawn(40, seed=6)
    found = Calibration.fit(neighbours, right)
    assert found.probability(lists([[nothing] * 5])).tolist() == [0.0]
    assert 0 < found.probability(lists([[0.9] + [nothing] * 4]))[0] < 1  # a database of one photo


def test_too_few_queries_or_no_share_is_refused() -> None:
    neighbours, right, _ = drawn(19, seed=7)
    with pytest.raises(DataError, match="cannot be calibrated on 19 labelled queries: give a set of 20 or more"):
        Calibration.fit(neighbours, right)
    for precision in (0, 1.5):
        with pytest.raises(ConfigError, match="must be above 0 and at most 1"):
            Calibration.fit(*drawn(20, seed=7)[:2], precision)


def test_there_and_back() -> None:
    for seed, flip in ((8, False), (8, True)):
        neighbours, right, _ = drawn(50, seed)
        found = Calibration.fit(neighbours, np.zeros(50, bool) if flip else right)
        assert Calibration.of(json.loads(json.dumps(found.plain()))) == found
    assert found.plain()["threshold"] is None  # json has no infinity
    for broken in ({}, found.plain() | {"offset": None}, found.plain() | {"margin": "wide"}):
        with pytest.raises(CheckpointError, match="no calibration, or a damaged one"):
            Calibration.of(broken)
