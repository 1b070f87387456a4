"""Recall of given descriptors: no image is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.scoring import score
from vpr.types import Protocol

DATABASE = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], np.float32)
QUERIES = np.array([[0.8, 0.6], [0, 1], [-0.6, 0.8]], np.float32)


def no_images(count: int) -> list[Path]:
    return [Path(f"nowhere/{row}.jpg") for row in range(count)]


def toy(positives: list[list[int]], **options: object) -> RetrievalSet:
    rows = [np.array(found, np.int64) for found in positives]
    return RetrievalSet(Protocol("toy@25m"), no_images(4), no_images(3), rows, **options)  # type: ignore[arg-type]


def test_by_hand() -> None:
    # Rankings by inner product: 1 0 2 3 (0.96 0.8 0.6 -0.8), 2 1 0 3 (1 0.8 0 0), 2 3 1 0 (0.8 0.6 0.28 -0.6).
    result = score(DATABASE, QUERIES, toy([[0, 2], [], [3]]), ks=(2, 1, 2))
    assert result.recalls == {1: 0.0, 2: 1.0}
    assert result.neighbours.indices.tolist() == [[1, 0], [2, 1], [2, 3]]
    assert result.hits.tolist() == [[False, True], [False, False], [False, True]]
    assert (result.protocol, result.dim, result.mean_positives) == ("toy@25m", 2, 1.0)
    assert result.counts == {
        "database": 4,
        "queries": 3,
        "counted_queries": 2,
        "queries_without_positives": 1,
        "bad_images": 0,
    }
    assert result.images_per_second == 0 and list(result.seconds) == ["search"]


def test_only_the_nearest_cut_out_of_a_panorama_counts() -> None:
    # Query 0: 1 hides 0, so its second neighbour is 2. Query 2: 2 hides 3.
    positives = [[0, 2], [1], [3]]
    result = score(DATABASE, QUERIES, toy(positives, panoramas=np.array([8, 8, 4, 4])), ks=(1, 2))
    assert result.neighbours.indices.tolist() == [[1, 2], [2, 1], [2, 1]]
    assert result.recalls == {1: 0.0, 2: pytest.approx(2 / 3)}
    assert score(DATABASE, QUERIES, toy(positives), ks=(1, 2)).recalls == {1: 0.0, 2: 1.0}


def test_half_precision_files_give_the_same(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", np.concatenate([DATABASE, QUERIES]).astype(np.float16))
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    result = score(mapped[:4], mapped[4:], toy([[0, 2], [], [3]]), ks=[2])
    assert result.recalls == {2: 1.0}


@pytest.mark.parametrize("suppressed", [False, True])
def test_published_recalls(shared: Path, suppressed: bool) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    truth = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())["within25m"]
    panoramas = world["gallery_pid"] if suppressed else None
    images = no_images(len(world["feat_g"])), no_images(len(world["feat_q"]))
    golden = RetrievalSet(Protocol("golden@25m"), *images, [np.array(rows) for rows in truth], panoramas)
    result = score(world["feat_g"], world["feat_q"], golden, ks=world["recall_topk"].tolist())
    expected = world["recall_nms" if suppressed else "recall"]
    assert list(result.recalls.values()) == pytest.approx(expected.tolist(), abs=1e-12)
    assert (world["recall_nms"] != world["recall"]).any()


def test_published_recalls_of_mixvpr(shared: Path) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    truth = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())["within25m"]
    expected = json.loads((shared / "golden/mixvpr_recalls.json").read_text())["recalls"]
    images = no_images(len(world["feat_g"])), no_images(len(world["feat_q"]))
    golden = RetrievalSet(Protocol("golden@25m", no_positives="miss"), *images, [np.array(rows) for rows in truth])
    result = score(world["feat_g"], world["feat_q"], golden, ks=[int(k) for k in expected])
    assert list(result.recalls.values()) == list(expected.values())


@pytest.mark.parametrize(
    ("database", "queries", "message"),
    [
        (DATABASE[:3], QUERIES, r"toy@25m has 4 database images, and the descriptors have the shape \(3, 2\)"),
        (DATABASE, QUERIES[0], r"has 3 query images, and the descriptors have the shape \(2,\)"),
        (DATABASE, QUERIES[:, :1], "of 2 numbers and query descriptors of 1 cannot be compared"),
    ],
)
def test_descriptors_of_another_set(database: np.ndarray, queries: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(database, queries, toy([[0], [1], [2]]))


def test_nothing_to_measure() -> None:
    with pytest.raises(ConfigError, match="ks=.0"):
        score(DATABASE, QUERIES, toy([[0], [1], [2]]), ks=[0, 5])
    with pytest.raises(DataError, match="None of the 3 queries"):
        score(DATABASE, QUERIES, toy([[], [], []]))


def test_without_ground_truth_neighbours_are_found_and_nothing_is_measured() -> None:
    known = toy([[], [], []])
    result = score(DATABASE, QUERIES, replace(known, protocol=Protocol("toy@unknown", no_positives="unknown")))
    assert result.recalls == {} and result.intervals == {} and not result.counted.any()
    assert result.neighbours.indices.shape[0] == 3


def test_shares_of_the_database() -> None:
    """Recall at 1 %, as for point clouds and large maps; of 4 images 50 % are 2, and 1 % is the first one."""
    result = score(DATABASE, QUERIES, toy([[0, 2], [], [3]]), ks=("50%", 1, "1%"))
    assert result.metrics() == {"R@1": 0.0, "R@1%": 0.0, "R@50%": 1.0}
    assert result.neighbours.indices.shape == (3, 2)
    with pytest.raises(ConfigError, match="or a share of the database such as 1%"):
        score(DATABASE, QUERIES, toy([[0], [], [3]]), ks=("101%",))
