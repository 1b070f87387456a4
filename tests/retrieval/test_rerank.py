"""Re-ranking of the whole database: published recalls, and the order of all distances."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import vpr.retrieval.kreciprocal as rerank_module
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.retrieval.kreciprocal import KReciprocal, jaccard, nearest_reranked
from vpr.retrieval.scoring import score
from vpr.types import Protocol


def no_images(count: int) -> list[Path]:
    return [Path(f"nowhere/{row}.jpg") for row in range(count)]


def test_published_recalls(shared: Path) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    truth = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())["within25m"]
    positives = [np.array(rows) for rows in truth]
    golden = RetrievalSet(Protocol("golden@25m"), no_images(240), no_images(61), positives)
    ks = world["recall_topk"].tolist()
    result = score(world["feat_g"], world["feat_q"], golden, ks=ks, rerank=KReciprocal(25, 1, 0))
    assert list(result.recalls.values()) == pytest.approx(world["recall"].tolist(), abs=1e-12)
    assert result.protocol == "golden@25m"
    again = result.reranked
    assert again is not None and again.protocol == "golden@25m[kreciprocal-25-1-0]"
    assert list(again.recalls.values()) == pytest.approx(world["recall_reranked"].tolist(), abs=1e-12)
    assert score(world["feat_g"], world["feat_q"], golden, ks=ks).reranked is None


def drawn(seed: int, places: int = 40, views: int = 6, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Queries, one a place, and a gallery of some views of each place."""
    rng = np.random.default_rng(seed)
    of_places = rng.standard_normal((places, 8))
    photos = np.repeat(of_places, views + 1, axis=0) + spread * rng.standard_normal((places * (views + 1), 8))
    photos = (photos / np.linalg.norm(photos, axis=1, keepdims=True)).astype(np.float32)
    return photos[:: views + 1], np.delete(photos, np.s_[:: views + 1], axis=0)


@pytest.mark.parametrize("settings", [(8, 1, 0.0), (8, 3, 0.3), (5, 1, 1.0)])
@pytest.mark.parametrize("k", [1, 4, 30, 240, 250])
def test_same_as_sorting_all_distances(settings: tuple[int, int, float], k: int) -> None:
    queries, gallery = drawn(0)
    found = nearest_reranked(gallery, queries, k, KReciprocal(*settings))
    query, row = (index.ravel() for index in np.indices((len(queries), len(gallery))))
    distances = jaccard(queries, gallery, KReciprocal(*settings))(query, row).reshape(len(queries), -1)
    by_descriptor = np.argsort(np.argsort(-(queries @ gallery.T), axis=1), axis=1)
    tie = np.minimum(by_descriptor, k) * 1000 + np.arange(240)  # the k nearest by descriptor first, the rest by number
    expected = np.lexsort((tie, distances), axis=1)[:, :k]
    assert found.indices.shape == (len(queries), k)
    seen = min(k, len(gallery))
    assert (found.indices[:, seen:] == -1).all() and np.isneginf(found.similarities[:, seen:]).all()
    kept = found.indices[:, :seen]
    ordered = np.sort(distances, axis=1)[:, :seen]
    np.testing.assert_allclose(1 - found.similarities[:, :seen], ordered, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(distances, kept, 1), ordered, atol=1e-6)
    assert all(len(set(rows)) == seen for rows in kept.tolist())
    assert np.mean(kept == expected) > 0.999  # last bits of products may differ


def test_a_row_that_the_search_did_not_find_comes_forward() -> None:
    queries, gallery = drawn(0, spread=0.8)
    plain = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
    first = nearest_reranked(gallery, queries, 1, KReciprocal(8, 1, 0)).indices[:, 0]
    assert (first != plain[:, 0]).any()  # k = 1 looks at more than the nearest row


def test_of_each_panorama_the_nearest() -> None:
    queries, gallery = drawn(1)
    panoramas = np.arange(len(gallery)) // 3
    whole = nearest_reranked(gallery, queries, len(gallery), KReciprocal(8, 1, 0.2))
    found = nearest_reranked(gallery, queries, 5, KReciprocal(8, 1, 0.2), panoramas)
    for ranking, row in zip(whole.indices, found.indices, strict=True):
        kept: dict[int, int] = {}
        for cut_out in ranking.tolist():
            kept.setdefault(cut_out // 3, cut_out)
        assert row.tolist() == list(kept.values())[:5]


def test_panoramas_and_too_few_photos_in_a_score() -> None:
    queries, gallery = drawn(1)
    images, positives = (no_images(240), no_images(40)), [np.arange(6 * row, 6 * row + 6) for row in range(40)]
    of_cut_outs = RetrievalSet(Protocol("drawn@0-nms"), *images, positives, np.arange(240) // 12)
    result = score(gallery, queries, of_cut_outs, ks=[1, 20], rerank=KReciprocal(8, 2, 0.1)).reranked
    assert result is not None and result.protocol == "drawn@0-nms[kreciprocal-8-2-0.1]"
    assert all(sorted(rows // 12) == list(range(20)) for rows in result.neighbours.indices)
    with pytest.raises(ConfigError, match="k1=280: there are 280 images"):
        score(gallery, queries, of_cut_outs, rerank=KReciprocal(280, 1, 0))


def test_distances_are_made_on_the_device_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(rerank_module, "jaccard", lambda *args: seen.append(args[3]) or jaccard(*args[:3]))
    queries, gallery = drawn(0)
    positives = [np.arange(6) + 6 * place for place in range(40)]
    set_ = RetrievalSet(Protocol("drawn@0"), no_images(240), no_images(40), positives)
    score(gallery, queries, set_, rerank=KReciprocal(8), device="cuda:1")
    assert seen == ["cuda:1"]
