"""Weak supervision: positives and non-negatives by hand, from golden, and from the published lists."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate

from vpr.cli.compose import compose
from vpr.data.formats import dbstruct, tokyo_tm
from vpr.data.geotagged import GeotaggedImages
from vpr.data.tuples import WeakSet, read
from vpr.errors import ConfigError, DataError


def line(metres: list[float], files: list[str]) -> GeotaggedImages:
    """Photos on a line."""
    n = len(metres)
    positions = np.stack([np.array(metres, float), np.zeros(n)], axis=1)
    return GeotaggedImages("line", Path("x"), files, positions, np.full(n, np.nan), np.zeros(n, np.int64))


GALLERY = line([0, 0, 10, 25, 25.01], ["a/1.jpg", "a/2.jpg", "b/1.jpg", "c/1.jpg", "d/1.jpg"])


def test_distances_are_included_and_the_own_capture_is_no_positive(caplog: pytest.LogCaptureFixture) -> None:
    queries = line([0, 0, 100, np.nan], ["q/1.jpg", "a/3.jpg", "far/1.jpg", "lost/1.jpg"])
    with caplog.at_level(logging.INFO):
        found = read(queries, GALLERY, ".+(?=/)")
    assert [rows.tolist() for rows in found.positives] == [[0, 1, 2], [2]]
    assert [rows.tolist() for rows in found.near] == [[0, 1, 2, 3]] * 2
    assert found.queries.files == ["q/1.jpg", "a/3.jpg"] and len(found) == 2 and found.dropped == 2
    assert found.query_captures[1] == found.database_captures[0] == found.database_captures[1]
    assert len(set(found.database_captures.tolist())) == 4 and found.query_captures[0] not in found.database_captures
    assert "2 of 4 queries have no positive" in caplog.text


def test_distances_are_settings() -> None:
    found = read(line([0], ["q/1.jpg"]), GALLERY, ".+(?=/)", positive_radius=0, negative_radius=25.01)
    assert found.positives[0].tolist() == [0, 1] and found.near[0].tolist() == [0, 1, 2, 3, 4]


def test_what_cannot_be_is_said() -> None:
    query = line([0], ["a/3.jpg"])
    with pytest.raises(ConfigError, match="positive_radius=30, negative_radius=25"):
        read(query, GALLERY, ".+(?=/)", positive_radius=30)
    with pytest.raises(ConfigError, match=r"capture=\( is no regular expression"):
        read(query, GALLERY, "(")
    with pytest.raises(DataError, match=r"capture=\.\+\(\?=_\) does not match the file name a/3\.jpg"):
        read(query, GALLERY, ".+(?=_)")
    with pytest.raises(DataError, match="none of 1 queries has a positive within 9 m among 5"):
        read(query, GALLERY, ".+(?=/)", positive_radius=9)


def test_the_synthetic_world_of_golden(shared: Path) -> None:
    world = np.load(shared / "golden/retrieval_eval.npz")
    lists = json.loads((shared / "golden/retrieval_eval_lists.json").read_text())
    sides = []
    for key, names in (("utm_q", [f"q{n}_" for n in range(61)]), ("utm_g", [f"{p}_" for p in world["gallery_pid"]])):
        n = len(names)
        sides.append(GeotaggedImages(key, Path(), names, world[key], np.full(n, np.nan), np.zeros(n, np.int64)))
    found = read(sides[0], sides[1], capture=".+(?=_)")
    assert found.dropped == 0
    assert [rows.tolist() for rows in found.positives] == lists["pos10m"]
    assert [rows.tolist() for rows in found.near] == lists["non_neg25m"]
    truth = read(sides[0], sides[1], capture=".+(?=_)", positive_radius=25).positives
    assert [rows.tolist() for rows in truth] == lists["within25m"]


def compare(found: WeakSet, expected: dict, prefix: str) -> None:
    """Golden sorts both sides by path."""
    order = np.argsort(np.array(found.database.files))
    place = np.argsort(order)
    queries = np.argsort(np.array(found.queries.files))
    for part, photos, rows in (("q_train", found.queries, queries), ("db_train", found.database, order)):
        listed = [(prefix + photos.files[row], *photos.positions[row].tolist()) for row in rows]
        assert listed == [(name, x, y) for name, _, x, y in expected[part]]
    for key, ours in (("train_pos", found.positives), ("train_neg", found.near)):
        assert [sorted(place[ours[query]].tolist()) for query in queries] == expected[key]
    for part, captures in (("q_train", found.query_captures[queries]), ("db_train", found.database_captures[order])):
        pairs = set(zip(captures.tolist(), (row[1] for row in expected[part]), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def link(tmp_path: Path, mat: Path, *images: str) -> Path:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / mat.name).symlink_to(mat)
    for image in images:
        (tmp_path / "raw" / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / image).touch()
    return tmp_path


def test_pittsburgh_of_golden(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden/wakd_datasets"
    expected = json.loads((golden / "pitts_expected.json").read_text())
    images = expected["db_train"][0][0], expected["q_train"][0][0]
    root, mat = link(tmp_path, golden / "pitts/raw/pitts30k_train.mat", *images), "pitts30k_train.mat"
    found = read(dbstruct.photos(root, mat, "queries"), dbstruct.photos(root, mat), ".+(?=_pitch)")
    compare(found, expected, "")


def test_tokyo_of_golden_where_each_image_is_a_query(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden/wakd_datasets"
    expected = json.loads((golden / "tokyo_expected.json").read_text())
    root = link(tmp_path, golden / "tokyo/raw/tokyoTM_train.mat", expected["db_train"][0][0])
    images = tokyo_tm.photos(root, "tokyoTM_train.mat", "both")
    compare(read(images, images, ".+(?=/)"), expected, "")


@pytest.mark.parametrize(
    ("name", "overrides", "queries", "dropped", "gallery", "captures"),
    [
        ("pitts30k_train", [], 7320, 96, 10000, 417),
        ("pitts250k_train", [], 7800, 24, 91464, None),
        ("tokyo_tm", [], 7277, 0, 49104, 4092),
        ("tokyo_tm", ["dataset.weak.tokyo_tm.queries.side=database"], 48420, 684, 49104, 4092),
    ],
)
def test_published_lists(
    shared: Path, name: str, overrides: list[str], queries: int, dropped: int, gallery: int, captures: int | None
) -> None:
    folder = shared / "metadata/netvlad_dbstruct_mat"
    weak = compose("train", [f"dataset={name}", *overrides, f"dataset.weak.{name}.queries.root={folder}"]).dataset.weak
    found: WeakSet = instantiate(weak[name], _convert_="all")
    assert (len(found), found.dropped, len(found.database)) == (queries, dropped, gallery)
    if captures:
        assert len(np.unique(found.database_captures)) == captures
    assert all(np.isin(few, more).all() for few, more in zip(found.positives[:100], found.near[:100], strict=True))
    own = found.database_captures[found.positives[0]] == found.query_captures[0]
    assert not own.any()
