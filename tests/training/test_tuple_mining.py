"""From descriptors to tuples: rows become photos, photos that cannot be read are avoided, chance knows no ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vpr.training.tuple_mining as mine_module
from vpr import distributed
from vpr.data.geotagged import GeotaggedImages
from vpr.data.tuple_sampler import Chunk
from vpr.data.tuples import Candidates, join, read
from vpr.errors import DataError
from vpr.retrieval.mining import Mining
from vpr.training.tuple_mining import Described, mine_chunk


def row(name: str, metres: list[float]) -> GeotaggedImages:
    n = len(metres)
    positions = np.stack([np.array(metres, float), np.zeros(n)], axis=1)
    files = [f"{name}{i}" for i in range(n)]
    return GeotaggedImages(name, Path("x"), files, positions, np.full(n, np.nan), np.zeros(n, np.int64))


# Queries at 0, 100 and 200 m; database: two images at each of these places, and one at 15 m.
CANDIDATES: Candidates = join([read(row("q", [0, 100, 200]), row("g", [0, 1, 100, 101, 200, 201, 15]), ".+")])
ANGLES = np.radians([0, 30, 60])
# The nearest of each query (degrees): its second positive; of query 0 the photo at 15 m is the very nearest.
DATABASE = np.radians([9, 8, 39, 38, 69, 68, 1])
MINING = Mining(negatives=2, pool=7)


def unit(angles: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def mined(queries: list[int], database=range(7), bad=(), earlier=None, mining=MINING) -> list[list[int]]:
    """Images of the tuples; database rows count from 10 for the eye."""
    rows = np.array(list(database))
    described = Described(np.concatenate([unit(ANGLES[queries]), unit(DATABASE[rows])]), rows, np.array(bad, np.int64))
    earlier = np.full((3, mining.negatives), -1) if earlier is None else earlier
    tuples = mine_chunk(Chunk(0, 0, np.array(queries)), described, CANDIDATES, mining, earlier, seed=0)
    return np.where(tuples >= 3, tuples - 3 + 10, tuples).tolist()


def test_easiest_positive_and_hardest_negatives():
    earlier = np.full((3, 2), -1)
    # to 0 degrees: 16 is nearest, but too near in metres; 11 and 10 are positives, then come 13 (38), 12 (39)
    # to 30 degrees: 13 (38) and 12 (39) are positives, then come 10 (9) and 11 (8)
    # to 60 degrees: 15 (68) and 14 (69) are positives, then come 12 (39) and 13 (38)
    assert mined([2, 0, 1], earlier=earlier) == [[2, 15, 12, 13], [0, 11, 13, 12], [1, 13, 10, 11]]
    assert earlier.tolist() == [[3, 2], [0, 1], [2, 3]], "database rows, for the next time"


def test_difficult_positives_are_photos_too_and_lacking_ones_stay_lacking():
    mining = Mining(negatives=1, pool=7, difficult=3)
    assert mined([1], mining=mining) == [[1, 13, 10, 13, 12, -1]]


def test_only_what_was_described_is_offered():
    # without rows 0 and 3: rows of `mine` are not rows of the database
    assert mined([0, 1], database=[1, 2, 4, 5, 6]) == [[0, 11, 12, 15], [1, 12, 11, 16]]


def test_negatives_of_last_time_are_offered_where_the_pool_is_small():
    mining = Mining(negatives=1, pool=1)
    drawn = {mined([1], earlier=np.array([[-1], [row], [-1]]), mining=mining)[0][2] for row in (0, 6)}
    assert 10 in drawn, "nearer than what one random row is likely to be"


def test_what_cannot_be_read_is_in_no_tuple_and_each_turn_has_one():
    # row 1 is query 1; 3 + 1 and 3 + 3 are database rows 1 and 3
    assert mined([0, 1, 2], bad=[1, 4, 6]) == [[0, 10, 12, 15], [2, 15, 12, 10], [2, 15, 12, 10]]
    # both positives of query 2 are gone; its turn goes round to the first
    assert mined([0, 1, 2], bad=[7, 8])[2] == mined([0, 1], bad=[6, 7])[0]
    with pytest.raises(DataError, match="Not one of 2 queries can be read"):
        mined([0, 1], bad=[0, 1])


def test_a_lack_of_negatives_is_said_on_every_rank(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="negatives=6"):
        mined([0], mining=Mining(negatives=6, pool=7))
    told: list = []
    monkeypatch.setattr(distributed, "gather_objects", lambda value: told.append(value) or [value])
    with pytest.raises(DataError):
        mined([0], mining=Mining(negatives=6, pool=7))
    assert isinstance(told[0][0], DataError), "before it is raised"


class Gathered(Exception):
    """Ends a rank where it hands over what it has."""


def test_the_number_of_ranks_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mine_module, "BLOCK", 1)
    mining = Mining(negatives=1, pool=2)
    alone = mined([0, 1, 2], mining=mining)
    parts: list[dict] = []

    def hand_over(value: dict) -> list[dict]:
        parts.append(value)
        if len(parts) < 2:
            raise Gathered
        return parts

    monkeypatch.setattr(distributed, "gather_objects", hand_over)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with pytest.raises(Gathered):
        mined([0, 1, 2], mining=mining)
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    assert mined([0, 1, 2], mining=mining) == alone
    assert [sorted(part) for part in parts] == [[1], [0, 2]]
