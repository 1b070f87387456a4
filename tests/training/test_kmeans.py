"""k-means finds what is there, the same each time, and can be watched."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.errors import DataError
from vpr.training.clusters import kmeans

CORNERS = np.float32([[0, 0], [10, 0], [0, 10]])


def blobs(each: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.float32(np.repeat(CORNERS, each, axis=0) + rng.normal(0, 0.1, (3 * each, 2)))


def test_centres_are_the_means_of_their_descriptors():
    points = blobs()
    centres = kmeans(points, 3, seed=1)
    nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(1)
    means = np.stack([points[nearest == cluster].mean(0) for cluster in range(3)])
    np.testing.assert_allclose(centres, means, atol=1e-5)
    assert len(np.unique(nearest)) == 3 and centres.dtype == np.float32


def test_all_descriptors_count():
    # faiss by itself takes 256 a centre: the mean of all 3,000 is another one.
    points = np.random.default_rng(0).random((3000, 4), np.float32)
    np.testing.assert_allclose(kmeans(points, 1, seed=0)[0], points.mean(0), atol=1e-5)


def test_the_seed_decides():
    points = np.random.default_rng(0).random((500, 8), np.float32)
    np.testing.assert_array_equal(kmeans(points, 20, 5, seed=3), kmeans(points, 20, 5, seed=3))
    assert not np.array_equal(kmeans(points, 20, 5, seed=3), kmeans(points, 20, 5, seed=4))


def test_it_ends_where_nothing_changes_and_can_be_interrupted():
    seen: list[int] = []
    kmeans(blobs(), 3, iterations=100, progress=seen.append)
    assert 1 < len(seen) < 20 and set(seen) == {1}

    def press(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kmeans(blobs(), 3, progress=press)


def test_as_many_centres_as_descriptors_but_not_more():
    assert sorted(map(tuple, kmeans(CORNERS, 3).tolist())) == sorted(map(tuple, CORNERS.tolist()))
    with pytest.raises(DataError, match="3 descriptors cannot have 4 centres"):
        kmeans(CORNERS, 4)
