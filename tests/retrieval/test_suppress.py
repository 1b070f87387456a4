"""Of each panorama the nearest cut-out: against the published orders, by hand, and against the full ranking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.retrieval.search import Neighbours, nearest, search, suppress_panoramas


def first_of_each(ranking: np.ndarray, panoramas: np.ndarray) -> list[int]:
    """The definition, one row of a ranking."""
    kept: dict[int, int] = {}
    for row in ranking.tolist():
        kept.setdefault(int(panoramas[row]), row)
    return list(kept.values())


def ranked(indices: list[list[int]]) -> Neighbours:
    rows = np.array(indices)
    similarities = np.where(rows >= 0, 1 - np.arange(rows.shape[1]) / 10, -np.inf)
    return Neighbours(similarities.astype(np.float32), rows)


def test_by_hand() -> None:
    panoramas = np.array([7, 7, 5, 5, 9])
    found = suppress_panoramas(ranked([[1, 0, 4, 2, 3], [3, 2, 0, -1, -1]]), panoramas)
    assert found.indices.tolist() == [[1, 4, 2, -1, -1], [3, 0, -1, -1, -1]]
    assert found.similarities.tolist() == [
        pytest.approx([1, 0.8, 0.7, -np.inf, -np.inf]),
        pytest.approx([1, 0.8, -np.inf, -np.inf, -np.inf]),
    ]
    assert found.similarities.dtype == np.float32


def test_a_place_without_neighbour_takes_nobodys_panorama() -> None:
    # -1 reads the last row's panorama, which is that of row 0, too.
    assert suppress_panoramas(ranked([[0, -1], [-1, -1]]), np.array([3, 3])).indices.tolist() == [[0, -1], [-1, -1]]


@pytest.mark.parametrize(("top", "key"), [(300, "nms_order_q0"), (40, "nms_order_q0_top40")])
def test_published_order(shared: Path, top: int, key: str) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    order = np.argsort(world["dist_qg"][:1], axis=1, kind="stable")[:, :top]
    found = suppress_panoramas(Neighbours(np.zeros(order.shape, np.float32), order), world["gallery_pid"])
    expected = world[key].tolist()
    assert found.indices[0, : len(expected)].tolist() == expected
    assert (found.indices[0, len(expected) :] == -1).all()


def unit(rows: int, width: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 4, 25, 60])
def test_same_as_suppression_in_the_full_ranking(k: int) -> None:
    # 200 cut-outs of 46 panorama numbers, one with 20: of each panorama, the cut-outs look alike.
    rng = np.random.default_rng(0)
    panoramas = np.concatenate([np.full(20, 1000), rng.integers(0, 45, 180)])
    database = unit(1001, 16, 1)[panoramas] + 0.3 * unit(200, 16, 2)
    queries = unit(1001, 16, 1)[[1000, 3, 17, 1000]] + 0.1 * unit(4, 16, 3)
    found = nearest(database, queries, k, panoramas)
    assert found.indices.shape == found.similarities.shape == (4, k)
    for ranking, row in zip(search(database, queries, 200).indices, found.indices, strict=True):
        expected = first_of_each(ranking, panoramas)[:k]
        assert row.tolist() == expected + [-1] * (k - len(expected))


def test_without_panoramas_every_row_counts() -> None:
    database, queries = unit(30, 8, 0), unit(3, 8, 1)
    assert np.array_equal(nearest(database, queries, 5).indices, search(database, queries, 5).indices)
