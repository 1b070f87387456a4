"""k-reciprocal distances: the published ones, and the definition, photo by photo."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vpr.errors import ConfigError
from vpr.retrieval import kreciprocal, search
from vpr.retrieval.kreciprocal import KReciprocal, jaccard, neighbours

PUBLISHED = {
    "jaccard_k20_1_l01": KReciprocal(20, 1, 0.1),
    "jaccard_k25_1_l0": KReciprocal(25, 1, 0),
    "jaccard_k10_6_l03": KReciprocal(10, 6, 0.3),
}


def all_distances(queries: np.ndarray, gallery: np.ndarray, settings: KReciprocal) -> np.ndarray:
    query, row = (index.ravel() for index in np.indices((len(queries), len(gallery))))
    return jaccard(queries, gallery, settings)(query, row).reshape(len(queries), len(gallery))


@pytest.mark.parametrize("key", PUBLISHED)
@pytest.mark.parametrize("small", [False, True])
def test_published_distances(shared: Path, key: str, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    if small:  # many tiles, and a few queries at a time
        for module, name, value in ((search, "LEFT_ROWS", 50), (search, "RIGHT_ROWS", 7), (kreciprocal, "PART", 300)):
            monkeypatch.setattr(module, name, value)
    found = all_distances(world["feat_q"], world["feat_g"], PUBLISHED[key])
    np.testing.assert_allclose(found, world[key], rtol=1e-4, atol=1e-5)


def by_definition(photos: np.ndarray, settings: KReciprocal) -> np.ndarray:
    """Zhong et al., sections 3.2 to 3.4, with sets; (M, M)."""
    total, k1 = len(photos), settings.k1
    distance = (2 - 2 * photos.astype(np.float64) @ photos.T).clip(0) ** 2
    np.fill_diagonal(distance, 0)
    distance /= distance.max(axis=1, keepdims=True)
    order = np.argsort(distance, axis=1, kind="stable")

    def mutual(photo: int, k: int) -> set[int]:
        return {other for other in order[photo, : k + 1] if photo in order[other, : k + 1]}

    weights = np.zeros((total, total))
    for photo in range(total):
        members = set(own := mutual(photo, k1))
        for other in own:
            theirs = mutual(other, round(k1 / 2))
            if len(theirs & own) * 3 > len(theirs) * 2:
                members |= theirs
        weights[photo, list(members)] = np.exp(-distance[photo, list(members)])
    weights /= weights.sum(axis=1, keepdims=True)
    weights = np.stack([weights[order[photo, : settings.k2]].mean(axis=0) for photo in range(total)])
    shared = np.minimum(weights[:, None], weights[None]).sum(axis=2)
    return (1 - settings.lambda_value) * (1 - shared / (2 - shared)) + settings.lambda_value * distance


@pytest.mark.parametrize("settings", [(1, 1, 0.0), (2, 3, 0.5), (7, 4, 0.0), (12, 1, 0.3), (59, 60, 1.0)])
def test_by_definition(settings: tuple[int, int, float]) -> None:
    rng = np.random.default_rng(0)
    photos = np.repeat(rng.standard_normal((12, 5)), 5, axis=0) + 0.3 * rng.standard_normal((60, 5))
    photos = (photos / np.linalg.norm(photos, axis=1, keepdims=True)).astype(np.float32)
    expected = by_definition(photos, KReciprocal(*settings))[:15, 15:]
    np.testing.assert_allclose(all_distances(photos[:15], photos[15:], KReciprocal(*settings)), expected, atol=1e-5)


def test_the_same_photo_many_times() -> None:
    # More equal photos than k1 + 1: each stays in its own list, and nothing is divided by 0.
    places = np.eye(2, dtype=np.float32)[[0, 1]].repeat(9, axis=0)
    found = all_distances(places[[0, 9]], places, KReciprocal(3, 1, 0))
    assert np.isfinite(found).all()
    assert (found[0, 9:] == 1).all() and (found[1, :9] == 1).all()
    nearest, farthest = neighbours([places], 4)
    assert nearest[:, 0].tolist() == list(range(18)) and (farthest == 0).all()
    everything_alike = all_distances(places[:3], places[:9], KReciprocal(3, 1, 0.5))
    assert np.isfinite(everything_alike).all()


def test_distances_of_some_queries() -> None:
    rng = np.random.default_rng(0)
    photos = rng.standard_normal((30, 4)).astype(np.float32)
    photos /= np.linalg.norm(photos, axis=1, keepdims=True)
    whole = all_distances(photos[:8], photos[8:], KReciprocal(6, 2, 0.2))
    some = jaccard(photos[:8], photos[8:], KReciprocal(6, 2, 0.2)).take(np.array([5, 2]))
    asked, rows = np.array([1, 0, 1, 1]), np.array([3, 21, 0, 3])
    np.testing.assert_allclose(some(asked, rows), whole[np.array([5, 2])[asked], rows], rtol=1e-5)
    assert some(np.arange(0), np.arange(0)).shape == (0,)


def test_no_matrix_of_all_distances() -> None:
    photos = np.random.default_rng(0).standard_normal((6000, 8)).astype(np.float16)
    tracemalloc.start()
    jaccard(photos[:1000], photos[1000:], KReciprocal(6, 1, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000 * 6000 * 4 / 4  # NumPy's and SciPy's; tiles are torch's, of a fixed size


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"k1": 0}, "k1=0"),
        ({"k1": 4, "k2": 6}, "k2=6 with k1=4"),
        ({"k2": 0}, "k2=0"),
        ({"lambda_value": 1.5}, "lambda_value=1.5"),
    ],
)
def test_numbers_that_cannot_be(options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        KReciprocal(**options)  # type: ignore[arg-type]


def test_too_few_photos() -> None:
    with pytest.raises(ConfigError, match="k1=25: there are 5 images in all"):
        jaccard(np.eye(5)[:2], np.eye(5)[2:], KReciprocal(25, 1, 0))
