"""Re-ranking by local features: the photo of the same scene comes first, whatever the descriptors say."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, WeightsUnavailable
from vpr.report import matches, results
from vpr.retrieval import local_matching
from vpr.retrieval.local_matching import LightGlue, LoFTR, RootSIFT, of_one_homography
from vpr.retrieval.local_rerank import LocalFeatures
from vpr.retrieval.scoring import Evaluation, score
from vpr.retrieval.search import Neighbours
from vpr.types import Protocol

SCENES = 4
TILT = np.array([[0.95, 0.08, 9.0], [-0.06, 1.02, 4.0], [1e-4, -1e-4, 1.0]])
"""Homography from a photo of the database to that of the query."""


def scene(number: int) -> np.ndarray:
    """Blocks of many sizes and colours, (180, 240, 3) uint8."""
    rng = np.random.default_rng(number)
    image = np.full((180, 240, 3), 128, np.uint8)
    for _ in range(160):
        x, y, size = int(rng.integers(0, 230)), int(rng.integers(0, 170)), int(rng.integers(4, 30))
        cv2.rectangle(image, (x, y), (x + size, y + size), rng.integers(0, 255, 3).tolist(), -1)
    return image


@pytest.fixture(scope="module")
def set_(tmp_path_factory: pytest.TempPathFactory) -> RetrievalSet:
    """A database photo a scene, and a query a scene, from another side."""
    root = tmp_path_factory.mktemp("scenes")
    for number in range(SCENES):
        image = scene(number)
        cv2.imwrite(str(root / f"map{number}.png"), image)
        cv2.imwrite(str(root / f"new{number}.png"), cv2.warpPerspective(image, TILT, (240, 180)))
    sides = [[root / f"{side}{number}.png" for number in range(SCENES)] for side in ("map", "new")]
    return RetrievalSet(Protocol("scenes@0"), *sides, [np.array([number]) for number in range(SCENES)])


@pytest.fixture(scope="module")
def descriptors() -> tuple[np.ndarray, np.ndarray]:
    """Of database and queries; the query of each scene is nearest to the next one's photo, and its own comes second."""
    database = np.eye(SCENES, dtype=np.float32)
    queries = 0.6 * np.roll(database, -1, axis=0).T + 0.5 * database
    return database, (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def scored(set_: RetrievalSet, descriptors) -> Evaluation:
    return score(*descriptors, set_, ks=[1, 2], rerank=LocalFeatures(k=3))


def test_the_same_scene_comes_first(scored: Evaluation) -> None:
    assert scored.recalls == {1: 0.0, 2: 1.0} and scored.neighbours.inliers is None
    again = scored.reranked
    assert again is not None and again.protocol == "scenes@0[local-sift-3]" and again.recalls == {1: 1.0, 2: 1.0}
    inliers = again.neighbours.inliers
    assert inliers is not None and inliers.dtype == np.int32
    assert (inliers[:, 0] > 30).all() and (inliers[:, 1] < 15).all()
    similarities = again.neighbours.similarities  # those of the descriptors, in the new order
    assert (similarities[:, 0] < similarities[:, 1]).all() and again.ms_per_query > 0


def test_those_behind_the_first_k_stay_there(set_: RetrievalSet) -> None:
    rows = np.array([[1, 0, 3, 2], [2, 1, -1, -1]])
    neighbours = Neighbours(np.array([[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, -np.inf, -np.inf]], np.float32), rows)
    settings = LocalFeatures(k=2)
    verifier = settings.verifier()
    ordered = settings.ordered(neighbours, set_.queries[:2], set_.database.__getitem__, verifier)
    assert ordered.indices.tolist() == [[0, 1, 3, 2], [1, 2, -1, -1]]
    assert ordered.inliers is not None and (ordered.inliers[:, 2:] == -1).all()
    assert ordered.first(1).inliers.shape == (2, 1)
    weak = LocalFeatures(k=2, weight=1e-6).ordered(neighbours, set_.queries[:2], set_.database.__getitem__, verifier)
    assert weak.indices.tolist() == rows.tolist()  # similarity decides


def test_points_lie_on_the_homography(set_: RetrievalSet) -> None:
    points = LocalFeatures().verifier().points(set_.database[0], set_.queries[0])
    size = np.array([240, 180])
    moved = cv2.perspectiveTransform((points.left * size)[None].astype(np.float64), TILT)[0]
    errors = np.linalg.norm(moved - points.right * size, axis=1)
    assert len(errors) > 30 and np.median(errors) < 1 and errors.max() < 4


def test_an_image_without_features_or_file_has_no_inliers(set_: RetrievalSet, tmp_path: Path) -> None:
    verifier = LocalFeatures().verifier()
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((60, 80, 3), 90, np.uint8))
    for path in (tmp_path / "flat.png", tmp_path / "gone.png"):
        for pair in ((path, set_.database[0]), (set_.queries[0], path), (path, path)):
            assert len(verifier.points(*pair).left) == 0
    assert of_one_homography((np.zeros((3, 2), np.float32),) * 2, 3).tolist() == [False] * 3
    assert not of_one_homography((np.zeros((9, 2), np.float32),) * 2, 3).any()  # all points are one


def test_inliers_in_the_csv_and_lines_on_the_page(scored: Evaluation, tmp_path: Path) -> None:
    assert scored.reranked is not None
    results.write([scored, scored.reranked], tmp_path, {})
    import pandas as pd

    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table["inliers"].isna().tolist() == [True] * 8 + [False] * 8
    assert (table["inliers"][8::2] > 30).all()
    assert "inliers" not in results.predictions(scored)
    html, _ = matches.write(scored.reranked, tmp_path)
    text = html.read_text()
    assert text.count('<img class="lines"') == SCENES and "points that confirm each other" in text
    assert f"✓ {scored.reranked.neighbours.similarities[0, 0]:.2f} · " in text
    assert 'class="lines"' not in matches.page(scored, matches.choose(scored))
    assert "ms a query" in str(results.table(scored.reranked).caption)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"matcher": "superglue"}, "rerank.matcher=superglue is unknown: choose sift, lightglue, loftr"),
        ({"k": 1}, "rerank.k=1: the least is 2"),
        ({"side": 8}, "rerank.side=8: the least is 32"),
        ({"weight": 0}, "rerank.weight=0: it must be above 0"),
        ({"enlarge": 0.5}, "rerank.enlarge=0.5: the least is 1"),
    ],
)
def test_wrong_settings_are_sentences(settings: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace(".", r"\.")):
        LocalFeatures(**settings)


def test_a_network_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    features = pytest.importorskip("kornia.feature")

    def offline(*args: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(features, "LoFTR", offline)
    with pytest.raises(WeightsUnavailable, match="rerank.matcher=loftr cannot be downloaded .no route to host"):
        LocalFeatures(matcher="loftr").verifier()
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.feature", None)
    with pytest.raises(ConfigError, match=r"lightglue needs kornia.*vpr-distill\[local\]"):
        LocalFeatures(matcher="lightglue").verifier()


@pytest.mark.parametrize("matcher", [LightGlue, LoFTR])
def test_networks_of_kornia_match_points_in_pixels(matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """With random weights: shapes, types and the range of the points are those of their networks."""
    features = pytest.importorskip("kornia.feature")
    torch.manual_seed(0)
    glue, loftr = features.LightGlue, features.LoFTR
    monkeypatch.setattr(features.DISK, "from_pretrained", lambda name: features.DISK())
    monkeypatch.setattr(features, "LightGlue", lambda name: glue(None, input_dim=128, filter_threshold=0.0))
    monkeypatch.setattr(features, "LoFTR", lambda name: loftr(None))
    used = matcher(64)
    one, other = (used.extract(scene(number)[: 90 + number, :130]) for number in (0, 1))
    for left, right in ((one, other), (one, one)):
        points = used.match(left, right)
        assert points[0].shape == points[1].shape and points[0].dtype == points[1].dtype == np.float32
        assert all(((side >= 0) & (side <= (130, 91))).all() for side in points)


def test_sift_is_upright_and_of_unit_norm() -> None:
    points, descriptors = RootSIFT(keypoints=50).extract(scene(0))
    assert points.shape == (50, 2) and descriptors.shape == (50, 128)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-3)
    assert local_matching.MATCHERS["sift"](7, "cpu").extract(scene(0))[0].shape == (7, 2)
    turned = RootSIFT().extract(np.ascontiguousarray(np.rot90(scene(0))))
    assert len(RootSIFT().match(RootSIFT().extract(scene(0)), turned)[0]) < 40
