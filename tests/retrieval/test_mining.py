"""Tuples: against the published samplers, and by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from vpr.errors import ConfigError, DataError
from vpr.retrieval.kreciprocal import KReciprocal, jaccard
from vpr.retrieval.mining import Mined, Mining, mine


class World(NamedTuple):
    """The published one: 31 of its 61 queries, whose gallery rows are numbered behind all 61."""

    expected: dict[str, Any]
    all_queries: np.ndarray
    gallery: np.ndarray
    chosen: np.ndarray
    positives: list[np.ndarray]
    near: list[np.ndarray]

    @property
    def queries(self) -> np.ndarray:
        return self.all_queries[self.chosen]

    def as_published(self, mined: Mined) -> list[list[int]]:
        first = self.expected["n_query"]
        found = zip(self.chosen.tolist(), mined.positive, mined.negatives, mined.difficult, strict=True)
        return [[query, p + first, *(n + first), *(d[d >= 0] + first)] for query, p, n, d in found]


@pytest.fixture(scope="module")
def world(shared: Path) -> World:
    arrays = np.load(shared / "golden/retrieval_eval.npz")
    lists = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())
    expected = json.loads((shared / "golden/samplers.json").read_text())
    chosen = np.array(expected["subset"])
    positives, near = ([np.array(lists[key][query]) for query in chosen] for key in ("pos10m", "non_neg25m"))
    return World(expected, arrays["feat_q"], arrays["feat_g"], chosen, positives, near)


class PublishedDraws:
    """`random.sample` of ranks among a query's negatives sorted by distance, as the published sampler draws."""

    def __init__(self, world: World) -> None:
        rows = np.arange(len(world.gallery))
        free = (np.setdiff1d(rows, own) for own in world.near)
        queries = zip(world.queries, free, strict=True)
        self.orders = [np.argsort(-(world.gallery[own] @ query), kind="stable") for query, own in queries]
        self.calls = 0
        random.seed(3)

    def choice(self, a: int, size: int, replace: bool = True) -> np.ndarray:
        order = self.orders[self.calls % len(self.orders)]
        self.calls += 1
        assert len(order) == a and not replace
        return order[random.sample(range(a), size)]


@pytest.mark.parametrize("key", ["tuple_allpool", "tuple_pool15_seed3", "diff_gen0_allpool_pos3"])
def test_published_tuples_by_descriptors(world: World, key: str) -> None:
    check(world, key, difficult=3 * key.startswith("diff"))


@pytest.mark.parametrize("key", ["diff_gen1_allpool_pos3", "diff_gen1_pool15_seed3_pos3"])
def test_published_tuples_by_reranking(world: World, key: str) -> None:
    check(world, key, difficult=3, generation=1)


def check(world: World, key: str, difficult: int, generation: int = 0) -> None:
    """Two epochs, the second of which looks at the first one's negatives again."""
    mining = Mining(world.expected["neg_num"], 15 if "pool15" in key else 1000, difficult)
    distances = None
    if generation:
        distances = jaccard(world.all_queries, world.gallery, KReciprocal(20, 1, 0.1)).take(world.chosen)
    draws, earlier = PublishedDraws(world), None
    for expected in world.expected[key]:
        mined = mine(world.queries, world.gallery, world.positives, world.near, mining, draws, earlier, distances)
        assert world.as_published(mined) == expected
        earlier = list(mined.negatives)


def test_a_share_of_the_queries_gets_the_same_tuples(world: World, tmp_path: Path) -> None:
    np.save(tmp_path / "gallery.npy", world.gallery)
    gallery = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    distances = jaccard(world.all_queries, gallery, KReciprocal(20, 1, 0.1))
    shares = [np.arange(len(world.chosen))[rank::3] for rank in range(3)]
    for share in [*shares, np.arange(0)]:
        positives, near = ([lists[query] for query in share] for lists in (world.positives, world.near))
        mined = mine(
            world.queries[share],
            gallery,
            positives,
            near,
            Mining(world.expected["neg_num"], 1000, 3),
            np.random.default_rng(0),
            reranked=distances.take(world.chosen[share]),
        )
        expected = world.expected["diff_gen1_allpool_pos3"][0]
        assert world._replace(chosen=world.chosen[share]).as_published(mined) == [expected[query] for query in share]


# One query at 0 degrees; gallery rows at 10, 20, ... 80 degrees, so row r is the (r + 1)-th nearest.
ANGLES = np.radians(np.arange(10, 90, 10))
GALLERY = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1).astype(np.float16)
QUERY = np.array([[1, 0]], np.float32)


def test_by_hand() -> None:
    ranks = {1: 0.5, 3: 0.2, 4: 0.9, 6: 0.4, 7: 0.95}

    def reranked(query: np.ndarray, row: np.ndarray) -> np.ndarray:
        assert query.tolist() == [0] * 5
        return np.array([ranks[number] for number in row])

    positives, near = [np.array([7, 1, 6, 3, 4])], [np.array([1, 3, 4, 6, 7])]
    rng = np.random.default_rng(0)
    mined = mine(QUERY, GALLERY, positives, near, Mining(2, 50, 4), rng, reranked=reranked)
    assert mined.positive.tolist() == [1]
    assert mined.negatives.tolist() == [[0, 2]]
    # Old order 1 3 4 6 7, new order 3 6 1 4 7: gaps -1, -2, +2, +1, 0; 6 moved most, then 3, then 7 not at all.
    assert mined.difficult.tolist() == [[6, 3, 7, -1]]
    assert all(array.dtype == np.int64 for array in mined)
    nearest = mine(QUERY, GALLERY, positives, near, Mining(2, 50, 3, positive_pool=4), rng)
    assert nearest.difficult.tolist() == [[1, 3, 4]]  # nothing moves: the nearest positives
    few = mine(QUERY, GALLERY, positives, near, Mining(2, 50, 2, positive_pool=2), rng, reranked=reranked_two)
    assert few.difficult.tolist() == [[3, -1]]  # of 1 and 3 alone; 1 moves back


def reranked_two(query: np.ndarray, row: np.ndarray) -> np.ndarray:
    assert row.tolist() == [1, 3]
    return np.array([1.0, 0.0])


def test_the_pool_is_drawn_evenly_among_all_that_are_not_near() -> None:
    near = [np.array([0, 1, 5])]
    rng, mining = np.random.default_rng(1), Mining(negatives=2, pool=2)
    drawn = [mine(QUERY, GALLERY, [np.array([0])], near, mining, rng).negatives[0] for _ in range(1000)]
    assert all(low < high for low, high in drawn)  # nearest first, none twice
    counts = np.bincount(np.concatenate(drawn), minlength=8)
    assert counts[[0, 1, 5]].tolist() == [0, 0, 0]
    # 1,000 draws of 2 of 5: 400 each, standard deviation 15.5.
    assert np.abs(counts[[2, 3, 4, 6, 7]] - 400).max() < 78


def test_earlier_negatives_are_looked_at_again() -> None:
    class Far:
        def choice(self, a: int, size: int, replace: bool = True) -> np.ndarray:
            return np.arange(a - size, a)

    mining, near = Mining(negatives=2, pool=3), [np.array([0])]
    positives = [np.array([0])]
    assert mine(QUERY, GALLERY, positives, near, mining, Far()).negatives.tolist() == [[5, 6]]
    earlier = [np.array([2, 6])]
    assert mine(QUERY, GALLERY, positives, near, mining, Far(), earlier).negatives.tolist() == [[2, 5]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"negatives": 0}, "negatives=0"),
        ({"negatives": 5, "pool": 4}, "negatives=5 with pool=4"),
        ({"difficult": 3, "positive_pool": 2}, "difficult=3 with positive_pool=2"),
        ({"difficult": -1}, "difficult=-1"),
    ],
)
def test_numbers_that_cannot_be(options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Mining(**options)


def test_a_gallery_too_small_for_negatives() -> None:
    with pytest.raises(DataError, match="has only 1 of 8 database images"):
        mine(QUERY, GALLERY, [np.array([0])], [np.arange(7)], Mining(negatives=2), np.random.default_rng(0))
