"""A tiny city on disk: layout, counts, positives, determinism, interruption, another spec."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg

from vpr.data import tuples
from vpr.errors import ConfigError, DataError
from vpr.toycity import dataset, writer
from vpr.toycity.dataset import ensure_city
from vpr.toycity.spec import PanoramaSpec, TestSpec, TrainSpec, dump, parse

TRAIN, TEST = TrainSpec(5, 6, 4), TestSpec(5, 12, 8)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("toycity")
    ensure_city(folder, TRAIN, workers=1)
    ensure_city(folder, TEST, workers=1)
    return folder


def digests(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.rglob("*") if f.suffix in (".jpg", ".csv"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_names_follow_gsv_cities(root: Path) -> None:
    """The name of GSV-Cities, rebuilt from the csv as its loader does (digits: place 7, year 4, month 2, heading 3)."""
    for town, places in (("Toyton", 3), ("Drawford", 3)):
        table = pd.read_csv(root / f"train/Dataframes/{town}.csv")
        assert list(table.columns) == ["place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid"]
        assert table.place_id.value_counts().to_dict() == dict.fromkeys(range(places), 4)
        names = {
            f"{r.city_id}_{r.place_id:07d}_{r.year:04d}_{r.month:02d}_{r.northdeg:03d}_{r.lat}_{r.lon}_{r.panoid}.jpg"
            for r in table.itertuples()
        }
        assert names == {f.name for f in (root / f"train/Images/{town}").iterdir()}


def test_photos_are_photos(root: Path) -> None:
    for file in (root / "test").rglob("*.jpg"):
        image = simplejpeg.decode_jpeg(file.read_bytes())
        assert image.shape == (192, 256, 3) and image.std() > 10


def test_train_places(root: Path) -> None:
    places = dataset.train_places(root, seed=5, places=6, images_per_place=4)
    assert len(places) == 6
    assert np.diff(places.starts).tolist() == [4] * 6
    assert sorted(set(places.groups.tolist())) == [0, 1]
    assert all(places.path(i).is_file() for i in range(24))


def test_the_training_photos_by_position(root: Path) -> None:
    queries, gallery = (dataset.train_photos(root, side, 5, 6, 4) for side in ("queries", "gallery"))
    assert (len(queries), len(gallery)) == (12, 12)
    assert not set(queries.files) & set(gallery.files)
    assert all(path.is_file() for path in [*queries.paths, *gallery.paths])
    index = pd.read_csv(root / "train/index.csv").set_index("path")
    found = tuples.read(queries, gallery, ".+")
    for query, near, positives in zip(found.queries.files, found.near, found.positives, strict=True):
        own = index.loc[query]
        for row in range(12):
            other = index.loc[gallery.files[row]]
            metres = np.hypot(other.utm_east - own.utm_east, other.utm_north - own.utm_north)
            same = (other.city_id, other.place_id) == (own.city_id, own.place_id)
            assert (row in near) == same, "photos of another place are farther than 25 m"
            assert (row in positives) == (same and metres <= 10)
    with pytest.raises(ConfigError, match="side=both is unknown"):
        dataset.train_photos(root, "both", 5, 6, 4)


def test_positives_by_hand(root: Path) -> None:
    found = dataset.test_set(root, seed=5, database=12, queries=8)
    index = pd.read_csv(root / "test/index.csv")
    database, queries = index[index.role == "database"], index[index.role == "query"]
    assert (len(found.database), len(found.queries)) == (12, 8)
    for q, rows in enumerate(found.positives):
        east, north = queries.iloc[q][["utm_east", "utm_north"]]
        by_hand = [
            i
            for i, d in enumerate(database.itertuples())
            if (d.utm_east - east) ** 2 + (d.utm_north - north) ** 2 <= 625
        ]
        assert rows.tolist() == by_hand and by_hand
        assert queries.iloc[q].place_id in rows


def test_positions_agree(root: Path) -> None:
    """The name, the table, and latitude and longitude say the same within 2 cm."""
    from vpr.toycity.survey import to_utm

    for row in pd.read_csv(root / "test/index.csv").itertuples():
        assert to_utm(row.lat, row.lon, 33) == pytest.approx((row.utm_east, row.utm_north), abs=0.02)
        fields = row.path.split("@")
        assert (float(fields[1]), float(fields[2])) == (row.utm_east, row.utm_north)
        assert (root / "test" / row.path).is_file()


def test_the_protocol_says_which_city_it_was(root: Path) -> None:
    assert dataset.test_set(root, 5, 12, 8).protocol.id == "toycity-test-12x8-seed5@25m"


def test_every_query_has_a_positive_and_another_condition() -> None:
    from scipy.spatial import cKDTree

    from vpr.toycity.survey import shots

    planned = shots(TestSpec())
    database = [s for s in planned if s.role == "database"]
    queries = [s for s in planned if s.role == "queries"]
    assert (len(database), len(queries)) == (600, 500)
    near = cKDTree([(s.east, s.north) for s in database]).query_ball_point([(s.east, s.north) for s in queries], 25)
    for shot, rows in zip(queries, near, strict=True):
        assert len(rows) >= 1
        assert shot.view.condition.name not in {database[i].view.condition.name for i in rows}


def test_the_same_seed_draws_the_same_files_with_any_number_of_workers(root: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "_WORTH_WORKERS", 1)
    again = ensure_city(tmp_path, TEST, workers=2)
    assert digests(again) == digests(root / "test")


def test_another_seed_draws_another_city(root: Path, tmp_path: Path) -> None:
    other = ensure_city(tmp_path, TestSpec(6, 12, 8), workers=1)
    assert set(digests(other).values()).isdisjoint(digests(root / "test").values())


def test_a_drawn_city_is_not_drawn_again(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "draw_city", lambda *_: pytest.fail("drawn again"))
    assert ensure_city(root, TEST) == root / "test"


def test_another_spec_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="seed 5 instead of 9"):
        ensure_city(root, TestSpec(9, 12, 8))
    with pytest.raises(DataError, match="places 6 instead of 7"):
        dataset.train_places(root, 5, 7, 4)


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test/holiday.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="toycity did not draw it"):
        ensure_city(tmp_path, TEST)
    assert (tmp_path / "test/holiday.jpg").read_bytes() == b"mine"


def test_lost_photos_and_a_damaged_spec_are_noticed(tmp_path: Path) -> None:
    folder = ensure_city(tmp_path, TestSpec(5, 2, 1), workers=1)
    next(folder.rglob("*.jpg")).unlink()
    with pytest.raises(DataError, match="2 images, not 3"):
        ensure_city(tmp_path, TestSpec(5, 2, 1))
    (folder / "city.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        ensure_city(tmp_path, TestSpec(5, 2, 1))


def test_an_interrupted_drawing_leaves_no_city(tmp_path: Path, monkeypatch) -> None:
    real, drawn = writer._image, []

    def interrupted(*args) -> None:
        drawn.append(1)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(writer, "_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_city(tmp_path, TestSpec(5, 3, 2), workers=1)
    assert not (tmp_path / "test").exists()
    monkeypatch.setattr(writer, "_image", real)
    folder = ensure_city(tmp_path, TestSpec(5, 3, 2), workers=1)
    assert len(list(folder.rglob("*.jpg"))) == 5
    assert not (tmp_path / "test.part").exists()


def test_a_failing_worker_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(writer, "_WORTH_WORKERS", 1)
    monkeypatch.setattr(writer, "dump", lambda spec: "no json")
    with pytest.raises(DataError, match="ended with code 1"):
        ensure_city(tmp_path, TestSpec(5, 3, 2), workers=2)
    assert not (tmp_path / "test").exists()


def test_two_processes_at_once_draw_one_city(tmp_path: Path) -> None:
    """As the ranks of a distributed run do."""
    code = (
        "from vpr.toycity.dataset import ensure_city; from vpr.toycity.spec import TestSpec;"
        f"print(ensure_city({str(tmp_path)!r}, TestSpec(5, 4, 3), workers=1))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [p.communicate()[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert sum("drawing toycity/test" in out for out in outputs) == 1
    assert len(list((tmp_path / "test").rglob("*.jpg"))) == 7


def test_specs_survive_json() -> None:
    for spec in (TRAIN, TEST, PanoramaSpec(5, 2, 3)):
        assert parse(dump(spec)) == spec
    assert json.loads(dump(TEST))["part"] == "test"
