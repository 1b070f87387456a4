"""Re-ranking in the demo: by local features, and of frames in order whose rows of the index are in none."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.demo.answers import Query, answer, with_points
from vpr.demo.app import Session
from vpr.demo.database import photos
from vpr.demo.reranking import Reranking
from vpr.retrieval.index.place_index import PlaceIndex
from vpr.retrieval.kreciprocal import KReciprocal
from vpr.retrieval.local_rerank import LocalFeatures
from vpr.retrieval.sequence import InSequence


class Numbers:
    """Describes a photo by the angle that stands in `angles` for its name."""

    dim = 2

    def __init__(self, angles: dict[str, float]) -> None:
        self.angles = angles

    def __call__(self, paths, rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
        for row in rows.tolist():
            angle = self.angles["/".join(Path(paths[row]).parts[-2:])]
            out[row] = np.cos(angle), np.sin(angle)
        return {}


def blocks(path: Path, seed: int, shift: int = 0) -> Path:
    rng, image = np.random.default_rng(seed), np.full((120, 160, 3), 128, np.uint8)
    for _ in range(120):
        x, y, size = int(rng.integers(0, 150)), int(rng.integers(0, 110)), int(rng.integers(4, 24))
        cv2.rectangle(image, (x, y), (x + size, y + size), rng.integers(0, 255, 3).tolist(), -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.roll(image, shift, axis=1))
    return path


def build(folder: Path, angles: dict[str, float]) -> tuple[PlaceIndex, Numbers]:
    extract = Numbers(angles)
    return PlaceIndex.build(folder / "index", photos(folder / "map"), extract, 2, "m" * 64)[0], extract


def test_local_features_put_the_same_scene_first(tmp_path: Path) -> None:
    for seed in range(3):
        blocks(tmp_path / f"map/{seed}.png", seed)
    query = Query("q.png", blocks(tmp_path / "new/q.png", 0, shift=12))
    index, extract = build(tmp_path, {"map/0.png": 0.5, "map/1.png": 0.1, "map/2.png": 0.3, "new/q.png": 0.0})
    (plain,) = answer(index, [query], extract, k=2)
    assert [match.name for match in plain.matches] == ["1.png", "2.png"] and plain.matches[0].inliers is None
    reranking = Reranking(LocalFeatures())
    session = Session(index, extract, 2, tmp_path / "out", "title", {}, {}, reranking=reranking)
    (found,) = session.ask([query])
    assert found.matches[0].name == "0.png" and len(found.matches) == 2
    assert found.matches[0].inliers is not None and found.matches[0].inliers > 30 > found.matches[1].inliers
    assert found.points is not None and len(found.points.left) == found.matches[0].inliers
    session.write([found])
    page = session.page.read_text()
    assert f"Points in common with match 1: {found.matches[0].inliers}" in page and 'class="lines"' in page
    rows = list(csv.DictReader((tmp_path / "out/matches.csv").open()))
    assert [int(row["inliers"]) for row in rows] == [match.inliers for match in found.matches]
    assert '"inliers": ' in (tmp_path / "out/matches.json").read_text()
    assert "local-sift-20: " in session.message(1) and " ms a photo" in session.message(1)
    blocks(query.path, 1)  # the photo is replaced by another one, which the map has as well
    (changed,) = session.ask([query])
    assert changed.matches[0].name == "1.png"
    query.path.unlink()
    (gone,) = with_points([changed], reranking.points)
    assert gone.points is not None and len(gone.points.left) == 0


@pytest.fixture
def walk(tmp_path: Path) -> tuple[PlaceIndex, Numbers, list[Query]]:
    """Six frames, one of which came into the index late, and three queries; the second looks like 6.png."""
    angles = {
        "map/1.png": 0.0,
        "map/2.png": 1.0,
        "map/3.png": 2.0,
        "map/6.png": 1.4,
        "map/10.png": 3.0,
        "map/11.png": 3.1,
    }
    queries = {"new/1.png": 0.0, "new/2.png": 1.3, "new/3.png": 2.0}
    for name in [*angles, *queries]:
        blocks(tmp_path / name, 0)
    (tmp_path / "map/2.png").rename(tmp_path / "late.png")
    index, extract = build(tmp_path, {**angles, **queries})
    (tmp_path / "late.png").rename(tmp_path / "map/2.png")
    index.update(photos(tmp_path / "map"), extract)
    assert sorted(index.photos.files) == sorted(f"{frame}.png" for frame in (1, 2, 3, 6, 10, 11))
    return index, extract, [Query(name[4:], tmp_path / name) for name in queries]


def test_frames_are_in_natural_order_whatever_their_rows(walk) -> None:
    index, extract, queries = walk
    assert [a.matches[0].name for a in answer(index, queries, extract, k=1)] == ["1.png", "6.png", "3.png"]
    reranking = Reranking(InSequence(3, (1.0,)))
    found = answer(index, queries, extract, k=6, reranking=reranking)
    assert [a.matches[0].name for a in found] == ["1.png", "2.png", "3.png"]
    assert all(len({match.row for match in a.matches}) == 6 for a in found)
    assert found[1].matches[0].inliers is None and found[1].points is None


@pytest.mark.parametrize("rerank", [InSequence(3, (1.0,)), KReciprocal(2, 1, 0.5), LocalFeatures(k=3)])
def test_a_photo_of_the_database_is_no_match_of_itself(walk, rerank) -> None:
    index, extract, _ = walk
    inside = [Query(name, index.photos.root / name) for name in ("3.png", "2.png")]
    for one in answer(index, inside, extract, k=6, reranking=Reranking(rerank)):
        assert one.query.name not in [match.name for match in one.matches] and len(one.matches) == 5
