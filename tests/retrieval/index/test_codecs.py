"""Kinds of index: what similarities mean, and what cannot be learned."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.errors import ConfigError, DataError
from vpr.retrieval.index.codecs import PQ, Binary, from_plain, to_plain


def test_signs_tell_the_angle() -> None:
    codes = Binary(256, learned=False).train(np.eye(4, dtype=np.float32))
    codes.add(np.array([[1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0]], np.float32))
    distances, indices = codes.search(np.array([[1, 0, 0, 0]], np.float32), 3)
    similar = Binary(256).similarities(distances)
    assert indices.tolist() == [[0, 2, 1]]
    np.testing.assert_allclose(similar[0, [0, 2]], [1, -1], atol=1e-6)
    assert abs(similar[0, 1]) < 0.4  # a right angle: half of the signs, in the mean


def test_coarse_codes_do_not_put_the_right_photo_back() -> None:
    """(1, 0) and (0, 1) share the centroid (1/2, 1/2), at the squared distance 1/2 from each: similarity 3/4, where the
    inner product says 1/2. A photo that is its own centroid has 1, its opposite -1."""
    np.testing.assert_allclose(PQ(1).similarities(np.array([0.5, 0, 4], np.float32)), [0.75, 1, -1])


def test_kinds_refuse_what_they_cannot_learn() -> None:
    with pytest.raises(ConfigError, match="63 photos are too few to learn 16 centroids a part from: 64"):
        PQ(64).check(63, 512)
    PQ(64).check(64, 512)
    PQ(64).check(1024, 64)
    with pytest.raises(ConfigError, match="512 numbers cannot be cut into 100 equal parts.*Choose size=128, or rotate"):
        PQ(100).check(2000, 512)
    with pytest.raises(ConfigError, match="32 numbers cannot be cut into 64 equal parts.*Choose size=32[.]"):
        PQ(64, rotate=True).check(2000, 32)
    with pytest.raises(ConfigError, match="500 photos are too few to learn a rotation of 512 numbers"):
        PQ(64, rotate=True).check(500, 512)
    with pytest.raises(ConfigError, match="2,000 photos with descriptors of 256 numbers give 256 learned bits"):
        Binary(512).check(2000, 256)
    with pytest.raises(ConfigError, match="bits=12"):
        Binary(12).check(2000, 256)
    assert from_plain(to_plain(PQ(32, rotate=True))) == PQ(32, rotate=True) and PQ(32, rotate=True).id == "opq32"
    with pytest.raises(DataError, match="no codec of an index"):
        from_plain({"name": "PQ", "colour": 3})
