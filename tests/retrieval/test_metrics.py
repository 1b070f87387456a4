from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vpr.errors import ConfigError, DataError
from vpr.retrieval.metrics import correct, counted, hits, interval, paired_interval, recall, wilson
from vpr.retrieval.search import search

POSITIVES = [np.array([2, 5]), np.array([], np.int64), np.array([0])]
NEIGHBOURS = np.array([[1, 5, 2], [0, 1, 2], [3, -1, -1]])


def test_correct_by_hand() -> None:
    assert correct(NEIGHBOURS, POSITIVES).tolist() == [[False, True, True], [False] * 3, [False] * 3]


def test_missing_neighbour_is_never_correct() -> None:
    # Without care -1 of query 1 has the key of the last row of query 0.
    assert not correct(np.array([[0], [-1]]), [np.array([3]), np.array([2])]).any()


def test_hits_by_hand_and_k_beyond_the_width() -> None:
    assert hits(NEIGHBOURS, POSITIVES, [1, 2, 50]).tolist() == [[False, True, True], [False] * 3, [False] * 3]


def test_no_positives_anywhere() -> None:
    none = [np.array([], np.int64)] * 3
    assert not hits(NEIGHBOURS, none, [1, 3]).any()
    with pytest.raises(DataError, match="None of the 3 queries has a positive"):
        counted(none, "skip")


def test_without_ground_truth_nothing_is_counted() -> None:
    assert not counted(POSITIVES, "unknown").any()


@pytest.mark.parametrize(("policy", "expected"), [("skip", 0.5), ("miss", 1 / 3)])
def test_policy_for_queries_without_positives(policy: str, expected: float) -> None:
    keep = counted(POSITIVES, policy)
    assert recall(hits(NEIGHBOURS, POSITIVES, [3])[keep]) == pytest.approx([expected])


def test_unknown_policy() -> None:
    with pytest.raises(ConfigError, match="choose skip, miss or unknown"):
        counted(POSITIVES, "ignore")


@pytest.mark.parametrize(("references", "key"), [(None, "recalls"), (40, "recalls_first40refs")])
def test_parity_with_published_validation(shared: Path, references: int | None, key: str) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    truth = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())["within25m"]
    expected = json.loads((shared / "golden/mixvpr_recalls.json").read_text())[key]
    ks = [int(k) for k in expected]
    neighbours = search(world["feat_g"][:references], world["feat_q"], max(ks))
    found = recall(hits(neighbours.indices, [np.array(rows) for rows in truth], ks))
    assert found.tolist() == list(expected.values())


def test_parity_with_the_other_published_recall(shared: Path) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    truth = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())["within25m"]
    order = np.argsort(world["dist_qg"], axis=1, kind="stable")
    ks = world["recall_topk"].tolist()
    assert np.allclose(recall(hits(order, [np.array(rows) for rows in truth], ks)), world["recall"], atol=1e-12)


def test_interval_is_that_of_resampled_queries() -> None:
    hit = np.zeros((200, 2), bool)
    hit[:60, 0] = hit[:190, 1] = True
    rng = np.random.default_rng(1)
    means = hit[rng.integers(0, 200, (10_000, 200))].mean(axis=1)  # the definition, at full length
    expected = np.quantile(means, [0.025, 0.975], axis=0).T
    assert interval(hit) == pytest.approx(expected, abs=0.006)
    assert np.array_equal(interval(hit, seed=3), interval(hit, seed=3))
    assert not np.array_equal(interval(hit, seed=3, draws=50), interval(hit, seed=4, draws=50))


def test_paired_interval_is_that_of_resampled_pairs() -> None:
    before, after = np.zeros(150, bool), np.zeros(150, bool)
    before[:50], after[10:90] = True, True  # 40 gained, 10 lost
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 150, (10_000, 150))
    expected = np.quantile(after[rows].mean(1) - before[rows].mean(1), [0.025, 0.975])
    assert paired_interval(before, after) == pytest.approx(expected, abs=0.007)
    assert paired_interval(before, before) == (0, 0)
    with pytest.raises(ValueError, match="same queries"):
        paired_interval(before, after[:-1])


def test_one_query_of_one_says_little_and_wilson_says_how_little() -> None:
    assert interval(np.array([[True]]))[0] == pytest.approx([0.2065, 1], abs=1e-4)
    assert interval(np.array([[False]]))[0] == pytest.approx([0, 0.7935], abs=1e-4)
    # The textbook's 9 of 10, and all of 1,000, of which a bootstrap would be sure.
    assert interval(np.arange(10)[:, None] > 0)[0] == pytest.approx([0.5958, 0.9821], abs=1e-4)
    assert interval(np.ones((1000, 1), bool))[0] == pytest.approx([0.9962, 1], abs=1e-4)
    low, high = interval(np.arange(1000)[:, None] > 499)[0]
    assert (low, high) != tuple(wilson(np.array([0.5]), 1000)[0]) and low < 0.5 < high  # the bootstrap, as ever


def test_wilson_holds_its_level() -> None:
    """Of shares of few draws, 92 to 98 % of the intervals hold the truth, whatever it is."""
    rng = np.random.default_rng(0)
    for truth in (0.1, 0.5, 0.9):
        bounds = wilson(rng.binomial(20, truth, 4000) / 20, 20)
        assert 0.92 < np.mean((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])) < 0.98
