"""Folders of photos named by their UTM position."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vpr.data import geotagged
from vpr.data.file_lists import FileNames, FilePaths
from vpr.data.formats import utm_folder
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

# As SF-XL's readme, toycity, VPR-datasets-downloader's Nordland and SVOX write them.
SF_XL = "@0544388.51@4172758.25@10@S@037.70098@-122.49646@kPnABhWJ1kA61eMNPLs1vQ@@210@@@@201606@@.jpg"
SOUTHERN = "@0493000.10@6950000.00@56@J@-27.56700@0152.92900@100909_1000_00042@@@@@@@@.jpg"
NORDLAND = "@0@00023.8@@@@@10@@@@@@@@.jpg"
SVOX = "@0618721.30@5735121.64@201407@09zrs2RO7bc9O3ihU6OQAw@B@.jpg"
NAN = float("nan")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def named(east: float, north: float, number: int = 0, zone: str = "33@U") -> str:
    return f"@{east:010.2f}@{north:010.2f}@{zone}@@@{number}@@@@@@@@.jpg"


def test_fields_of_a_name(tmp_path: Path) -> None:
    touch(tmp_path / "city", f"37.70/{SF_XL}", SOUTHERN, NORDLAND, SVOX)
    found = utm_folder.photos(tmp_path, "city", "toy")
    assert list(found.files) == sorted([f"37.70/{SF_XL}", SOUTHERN, NORDLAND, SVOX])
    rows = {name: row for row, name in enumerate(found.files)}
    order = [rows[f"37.70/{SF_XL}"], rows[SOUTHERN], rows[NORDLAND], rows[SVOX]]
    expected = [[544388.51, 4172758.25], [493000.1, 6950000], [0, 23.8], [618721.3, 5735121.64]]
    assert found.positions[order].tolist() == expected
    assert found.headings[order] == pytest.approx([210, NAN, NAN, NAN], nan_ok=True)
    assert found.groups[order].tolist() == [10, -56, 0, 0]
    assert (found.name, found.root) == ("toy", tmp_path / "city")
    assert all(path.is_file() for path in found.paths)


@pytest.mark.parametrize(
    "bad",
    [
        "photo.jpg",
        "@east@4172758.25@10@S@.jpg",
        "@0544388.51@.jpg",
        SF_XL.replace("@210@", "@north@"),
        SF_XL.replace("@10@S", "@ten@S"),
    ],
)
def test_a_name_of_another_form_is_named(tmp_path: Path, bad: str) -> None:
    touch(tmp_path, SF_XL, f"sub/{bad}")
    with pytest.raises(DataError, match="is not named @UTM_east@UTM_north@") as caught:
        utm_folder.photos(tmp_path)
    assert str(tmp_path / "sub" / bad) in str(caught.value)


def test_positives_by_hand(tmp_path: Path) -> None:
    """Within 25 m, the border included; a query far from all has none and counts by the protocol's rule."""
    touch(tmp_path / "test/database", *(named(e, 0, i) for i, e in enumerate([0, 25, 25.01, 300])))
    touch(tmp_path / "test/queries_v1", named(0, 0), named(1000, 0, 1))
    protocol = Protocol("toy@25m", 4, 2, "miss")
    found = utm_folder.read(tmp_path / "test", protocol, queries="queries_v1")
    assert [rows.tolist() for rows in found.positives] == [[0, 1], []]
    assert found.database[3] == tmp_path / "test/database" / named(300, 0, 3)
    assert found.queries[1].is_file() and found.protocol == protocol
    wider = utm_folder.read(tmp_path / "test", Protocol("toy@26m"), queries="queries_v1", radius=26)
    assert wider.positives[0].tolist() == [0, 1, 2]


def test_zones_are_not_looked_at_as_published(tmp_path: Path) -> None:
    touch(tmp_path / "database", named(0, 0, zone="33@U"))
    touch(tmp_path / "queries", named(1, 0, zone="32@U"), SVOX)
    assert [len(rows) for rows in utm_folder.read(tmp_path, Protocol("toy@25m")).positives] == [1, 0]


def test_ten_frames_of_nordland(tmp_path: Path) -> None:
    """The downloader cuts n x 25 / 10.5 m off after one digit; 25 m are then 10 frames, not 9 or 11."""
    names = [f"@0@{int(n * 25 / 10.5 * 10) / 10:07.1f}@@@@@{n}@@@@@@@@.jpg" for n in range(300)]
    touch(tmp_path / "database", *names)
    touch(tmp_path / "queries", *names)
    found = utm_folder.read(tmp_path, Protocol("nordland@10f", 300, 300))
    for query, rows in enumerate(found.positives):
        assert rows.tolist() == list(range(max(0, query - 10), min(299, query + 10) + 1))


def test_other_counts_than_the_protocol(tmp_path: Path) -> None:
    touch(tmp_path / "database", named(1, 0))
    touch(tmp_path / "queries", named(1, 0))
    protocol = Protocol("toy@25m", 2, 1)
    with pytest.raises(DataError, match="toy@25m has 2 database images, but 1 were found"):
        utm_folder.read(tmp_path, protocol)
    assert utm_folder.read(tmp_path, protocol, missing="skip").protocol.id == "toy@25m[1of2db]"
    with pytest.raises(ConfigError, match="missing=leave is unknown"):
        utm_folder.read(tmp_path, protocol, missing="leave")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="must hold images named @UTM_east.* in database and queries. By me"):
        utm_folder.read(tmp_path / "set", Protocol("toy@25m"), source="By me.")
    touch(tmp_path / "set/database", named(0, 0))
    with pytest.raises(DataError, match="There is no folder .*queries"):
        utm_folder.read(tmp_path / "set", Protocol("toy@25m"))
    (tmp_path / "set/queries").mkdir()
    with pytest.raises(DataError, match="no images in .*queries"):
        utm_folder.read(tmp_path / "set", Protocol("toy@25m"))
    with pytest.raises(DataAbsent, match="There is no folder .*train"):
        utm_folder.photos(tmp_path / "set", "train")


@pytest.mark.parametrize("size", [2_000, 8_000])
def test_no_image_has_an_object_or_a_look_of_its_own(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that 2.8 million names of SF-XL take seconds; benchmarks/real_scale.py measures them."""
    rng = np.random.default_rng(0)
    east, north = rng.uniform(540_000, 541_000, size), rng.uniform(4_170_000, 4_171_000, size)
    database = [f"37.{i % 12}/{named(e, n, i, '10@S')}" for i, (e, n) in enumerate(zip(east, north, strict=True))]
    names = {"database": database, "queries": [Path(name).name for name in database[:300]]}
    for side in names:
        (tmp_path / side).mkdir()
    monkeypatch.setattr(utm_folder, "walk_images", lambda folder: list(names[folder.name]))
    calls = Counter[str]()

    def count(owner: Any, name: str) -> None:
        real = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **options: calls.update([name]) or real(*args, **options))

    count(Path, "__truediv__")
    count(os, "stat")
    count(geotagged, "positives_within")
    found = utm_folder.read(tmp_path, Protocol("big@25m", size, 300))
    assert calls["__truediv__"] < 20 and calls["stat"] < 20 and calls["positives_within"] == 1  # whatever the size
    assert isinstance(found.database, FilePaths) and isinstance(found.database.names, FileNames)
    assert found.database.names.bytes.nbytes == size * max(map(len, database))
    assert found.database[-1] == tmp_path / "database" / max(database) and min(map(len, found.positives)) >= 1


def test_degrees_in_the_place_of_metres_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "database", "@46.6211929@14.3113863@1@.jpg", "@46.6300000@14.3200000@2@.jpg")
    touch(tmp_path / "queries", "@46.6211000@14.3113000@3@.jpg")
    with pytest.raises(DataError, match=r"@46.6211929.*look like degrees"):
        utm_folder.read(tmp_path, Protocol("mine@25m"))


@pytest.mark.parametrize("names", [["@46.5@14.3@.jpg", "@50.5@14.3@.jpg"], ["@46@14@.jpg", "@46@14@2.jpg"]])
def test_metres_of_a_small_place_are_no_degrees(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path / "database", *names)
    touch(tmp_path / "queries", names[0])
    assert [len(rows) for rows in utm_folder.read(tmp_path, Protocol("mine@25m")).positives] == [2]


def test_another_radius_needs_another_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="radius=10 does not fit the id mine@25m"):
        utm_folder.read(tmp_path, Protocol("mine@25m"), radius=10)
