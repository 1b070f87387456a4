"""Similarities along lines through consecutive frames, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.scoring import score
from vpr.retrieval.sequence import InSequence, folders, search_in_sequence, smooth
from vpr.types import Protocol

SIMILAR = np.array([[9, 0, 0, 3], [0, 6, 9, 0], [0, 0, 3, 0]], np.float32)


def test_velocity_one_by_hand() -> None:
    """Three frames around (t, n): (t-1, n-1), (t, n), (t+1, n+1); outer database frames stand for those beyond."""
    expected = [
        [(9 + 6) / 2, (0 + 9) / 2, (0 + 0) / 2, (3 + 0) / 2],
        [(9 + 0 + 0) / 3, (9 + 6 + 3) / 3, (0 + 9 + 0) / 3, (0 + 0 + 0) / 3],
        [(0 + 0) / 2, (0 + 0) / 2, (6 + 3) / 2, (9 + 0) / 2],
    ]
    np.testing.assert_allclose(smooth(SIMILAR, InSequence(3, [1.0])), expected)


def test_frames_to_come_are_left_out_for_a_robot() -> None:
    """Two frames: (t-1, n-1) and (t, n); the first query has itself alone."""
    expected = [[9, 0, 0, 3], [(9 + 0) / 2, (9 + 6) / 2, (0 + 9) / 2, 0], [0, 0, (6 + 3) / 2, (9 + 0) / 2]]
    np.testing.assert_allclose(smooth(SIMILAR, InSequence(2, [1.0], ahead=False)), np.array(expected))


def test_the_best_velocity_counts() -> None:
    """Backwards, (t, n) goes with (t-1, n+1): the middle row has 0 + 0 + 0, 0 + 6 + 0, 3 + 9 + 0, 3 + 0 + 3."""
    back = np.array([0, 6, 12, 6]) / 3
    np.testing.assert_allclose(smooth(SIMILAR, InSequence(3, [-1.0]))[1], back)
    np.testing.assert_allclose(smooth(SIMILAR, InSequence(3, [-1.0, 1.0]))[1], [9 / 3, 18 / 3, 12 / 3, 6 / 3])
    still = [(9 + 0 + 0) / 3, (0 + 6 + 0) / 3, (0 + 9 + 3) / 3, 3 / 3]
    np.testing.assert_allclose(smooth(SIMILAR, InSequence(3, [0.0]))[1], still)


def test_lines_are_rounded_and_each_is_followed_once() -> None:
    assert InSequence(5).lines.tolist() == [[-2, -1, 0, 1, 2]]
    assert InSequence(5, [0.5, 1.5]).lines.tolist() == [[-3, -2, 0, 2, 3], [-1, -1, 0, 1, 1]]
    assert InSequence(3, [2.0], ahead=False).lines.tolist() == [[-4, -2, 0]]


def test_sequences_do_not_mix() -> None:
    """Queries 0, 1 | 2 and database 0, 1 | 2, 3."""
    queries, database = np.array([7, 7, 3]), np.array([1, 1, 0, 0])
    expected = [
        [(9 + 6) / 2, (0 + 6) / 2, (0 + 0) / 2, (3 + 0) / 2],
        [(9 + 0) / 2, (9 + 6) / 2, (0 + 9) / 2, (0 + 0) / 2],
        [0.0, 0.0, 3.0, 0.0],
    ]
    np.testing.assert_allclose(smooth(SIMILAR, InSequence(3, [1.0]), queries, database), np.array(expected))
    with pytest.raises(DataError, match="3 images of 2 sequences come in 3 parts"):
        smooth(SIMILAR, InSequence(3), np.array([1, 2, 1]))


@pytest.mark.parametrize("block", [None, 1, 4])
def test_searched_in_blocks_as_in_one(block: int | None) -> None:
    rng = np.random.default_rng(0)
    database, queries = rng.standard_normal((30, 8), np.float32), rng.standard_normal((11, 8), np.float32)
    groups = np.repeat([0, 1], [5, 6])
    settings = InSequence(5, (0.5, 1.0, -1.0))
    found = search_in_sequence(database, queries, 3, settings, groups, block=block)
    whole = smooth(queries @ database.T, settings, groups)
    np.testing.assert_array_equal(found.indices, np.argsort(-whole, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(found.similarities, -np.sort(-whole, axis=1)[:, :3], rtol=1e-5)
    more = search_in_sequence(database[:2].astype(np.float16), queries, 3, settings)
    assert (more.indices[:, 2] == -1).all() and np.isneginf(more.similarities[:, 2]).all()


def test_a_frame_that_looks_like_another_is_put_right_by_its_neighbours() -> None:
    """Database frames are the axes; the third query looks like the first frame, those around it like their own."""
    database = np.eye(5, dtype=np.float32)
    queries = np.eye(5, dtype=np.float32)
    queries[2] = (0.8, 0, 0.6, 0, 0)
    truth = RetrievalSet(
        Protocol("drive@0f"),
        [Path(f"day/{n}.jpg") for n in range(5)],
        [Path(f"night/{n}.jpg") for n in range(5)],
        [np.array([n]) for n in range(5)],
    )
    found = score(database, queries, truth, ks=[1], rerank=InSequence(3))
    assert found.recalls == {1: 0.8} and found.reranked is not None
    assert found.reranked.recalls == {1: 1.0} and found.reranked.protocol == "drive@0f[sequence-3-v0.8_0.9_1_1.1_1.2]"


def test_settings() -> None:
    assert InSequence(5, [1.0, -0.5]).id == "sequence-5-v1_-0.5"
    assert InSequence(4, [1.0], ahead=False).id == "sequence-4-past-v1"
    assert folders([Path("b/1.jpg"), Path("b/2.jpg"), Path("a/1.jpg")]).tolist() == [1, 1, 0]
    for window, velocities in ((1, [1.0]), (4, [1.0]), (5, []), (5, [float("nan")])):
        with pytest.raises(ConfigError, match="window=|velocities="):
            InSequence(window, velocities)
