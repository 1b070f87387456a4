"""The demo's database: each photo once, where it was taken, and described again only if it has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vpr.demo import database
from vpr.demo.database import index_folder, open_index, photos
from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.retrieval.index.codecs import Binary
from vpr.retrieval.index.place_index import Change, PlaceIndex

PLACES = [(48.2, 16.4), (-33.9, 18.4), (40.7, -74.0), (-54.8, -68.3), (-17.0, 179.99995), (-17.0, -179.99995)]


@pytest.fixture
def city(take, tmp_path: Path) -> Path:
    """Six photos of PLACES in folders two deep, one without a position, and things that are no photos."""
    for view, (lat, lon) in enumerate(PLACES):
        take(f"map/{['', 'a/', 'a/b/'][view % 3]}{view}.jpg", view, lat, lon)
    take("map/10.png", 10)
    (tmp_path / "map/notes.txt").write_text("no photo")
    (tmp_path / "map/.hidden.jpg").write_bytes(b"")
    return tmp_path / "map"


def opened(city: Path, colours, csv: str | None = None, model: str = "m" * 64, **more) -> tuple[PlaceIndex, Change]:
    return open_index(city.parent / "index", city, csv, colours, colours.dim, model, f"{model[:2]}.ckpt", **more)


def test_each_photo_once_in_natural_order_with_positions_of_all_quarters(city: Path) -> None:
    found = photos(city)
    assert found.files == ["0.jpg", "3.jpg", "10.png", "a/1.jpg", "a/4.jpg", "a/b/2.jpg", "a/b/5.jpg"]
    rows = [found.files.index(f"{['', 'a/', 'a/b/'][view % 3]}{view}.jpg") for view in range(6)]
    np.testing.assert_allclose(found.positions[rows], PLACES, atol=1e-6)
    assert np.isnan(found.positions[2]).all()


def test_positions_from_a_csv(city: Path) -> None:
    (city / "map.csv").write_text("path,lat,lon\na/1.jpg,-1.5,2.5\ngone.jpg,0,0\n")
    found = photos(city, "map.csv")
    assert found.positions[found.files.index("a/1.jpg")].tolist() == [-1.5, 2.5]
    assert np.isfinite(found.positions).all(axis=1).sum() == 1


def test_where_the_csv_is_looked_for(city: Path, monkeypatch) -> None:
    (city / "map.csv").write_text("path,lat,lon\n0.jpg,1,2\n")
    monkeypatch.chdir(city.parent)
    assert photos("map", "map.csv").positions[0].tolist() == [1, 2]
    (city.parent / "map.csv").write_text("path,lat,lon\n0.jpg,3,4\n")  # the working folder's comes first
    assert photos("map", "map.csv").positions[0].tolist() == photos("map", "map/../map.csv").positions[0].tolist()
    assert photos("map", "map.csv").positions[0].tolist() == [3, 4]
    (city.parent / "map.csv").write_text("path,lat,lon\nmap/0.jpg,3,4\n")
    with pytest.raises(DataError, match=r"No row of .*map.csv names a photo .* relative to .*map, such as 0.jpg"):
        photos("map", "map.csv")
    with pytest.raises(DataError, match=f"positions=x.csv .looked for {city.parent}/x.csv and {city}/x.csv"):
        photos("map", "x.csv")


def test_second_run_describes_nothing_and_reads_no_exif(city: Path, colours, monkeypatch) -> None:
    index, change = opened(city, colours)
    assert sorted(change.described) == sorted(index.photos.files) and len(colours.described) == 7
    read: list[Path] = []
    monkeypatch.setattr(database, "read_fixes", lambda paths: read.extend(paths) or [])
    again, change = opened(city, colours)
    assert (change.described, change.kept, len(colours.described), read) == ([], 7, 7, [])
    np.testing.assert_array_equal(again.photos.positions, index.photos.positions)


def test_new_changed_and_removed_photos(city: Path, colours, take) -> None:
    opened(city, colours)
    colours.described.clear()
    take("map/a/11.jpg", 11, 1, 1)
    take("map/12.jpg", 12)
    take("map/0.jpg", 13, 2, 3)  # another photo under an old name
    os.utime(city / "0.jpg", (1, 1))
    (city / "a/4.jpg").unlink()
    index, change = opened(city, colours)
    assert sorted(colours.described) == ["0.jpg", "11.jpg", "12.jpg"] and change.kept == 5
    assert change.removed == ["a/4.jpg"]
    assert index.photos.positions[index.photos.files.index("0.jpg")].tolist() == pytest.approx([2, 3], abs=1e-6)
    assert len(index) == 8 == len(set(index.photos.files))


def test_bad_photos_are_left_out_and_named_each_time(city: Path, colours) -> None:
    (city / "bad.jpg").write_bytes(b"\xff\xd8 no more")
    for _ in range(2):
        index, change = opened(city, colours)
        assert list(change.bad) == ["bad.jpg"] and "bad.jpg" in change.bad["bad.jpg"] and len(index) == 7


def test_nothing_to_search(tmp_path: Path, colours) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        opened(tmp_path / "map", colours)
    (tmp_path / "map").mkdir()
    with pytest.raises(DataError, match="There are no images in"):
        opened(tmp_path / "map", colours)
    (tmp_path / "map/a.jpg").write_text("no photo")
    with pytest.raises(DataError, match="would hold no photo: 1 cannot be read"):
        opened(tmp_path / "map", colours)


def test_another_model_is_refused_and_told_what_to_do(city: Path, colours) -> None:
    opened(city, colours)
    with pytest.raises(CheckpointError, match="another model") as error:
        opened(city, colours, model="n" * 64)
    earlier = os.path.abspath("mm.ckpt")
    for way in ("index.folder=", "index.rebuild=true", f"the earlier ckpt={earlier}", "nn.ckpt"):
        assert way in str(error.value)
    rebuilt, change = opened(city, colours, model="n" * 64, rebuild=True)
    assert rebuilt.model == "n" * 64 and len(change.described) == 7 and change.kept == 0


def test_the_source_of_positions_can_change(city: Path, colours) -> None:
    (city / "map.csv").write_text("path,lat,lon\n0.jpg,5,6\n")
    assert opened(city, colours)[0].photos.positions[0].tolist() == pytest.approx(PLACES[0], abs=1e-6)
    listed, change = opened(city, colours, "map.csv")
    assert listed.photos.positions[0].tolist() == [5, 6] and change.kept == 7
    read, _ = opened(city, colours)  # not what the csv said of unchanged files
    assert read.photos.positions[0].tolist() == pytest.approx(PLACES[0], abs=1e-6)


def test_a_folder_that_has_moved_keeps_its_index_and_another_one_is_refused(city: Path, colours, take) -> None:
    opened(city, colours)
    moved = shutil.move(city, city.parent / "moved")
    index, change = opened(Path(moved), colours)
    assert change.kept == 7 and index.photos.root == Path(moved)
    take("other/x.jpg", 20)
    with pytest.raises(DataError, match="holds other photos, those in .*moved"):
        opened(city.parent / "other", colours)
    assert len(opened(city.parent / "other", colours, rebuild=True)[0]) == 1


def test_another_kind_is_learned_from_what_is_described(city: Path, colours) -> None:
    opened(city, colours)
    index, change = opened(city, colours, codec=Binary(bits=64, learned=False))
    assert (index.codec.id, change.described, len(colours.described)) == ("sign64", [], 7)
    with pytest.raises(ConfigError, match="Choose fewer, or learned=false"):
        opened(city, colours, codec=Binary(bits=64))


def test_a_damaged_index_is_told_and_rebuilt(city: Path, colours) -> None:
    index, _ = opened(city, colours)
    (index.folder / index.schema["files"] / "images.csv").write_text("")
    with pytest.raises(DataError, match="damaged .* index.rebuild=true"):
        opened(city, colours)
    assert len(opened(city, colours, rebuild=True)[0]) == 7


def test_a_damaged_schema_is_rebuilt_and_that_of_something_else_stays(city: Path, colours) -> None:
    index, _ = opened(city, colours)
    schema = index.folder / "schema.json"
    schema.write_text(schema.read_text()[:40])
    with pytest.raises(DataError, match=r"cannot be read .* index.rebuild=true"):
        opened(city, colours)
    assert len(opened(city, colours, rebuild=True)[0]) == 7
    for text, folder in (('{"type": "object"}', index.folder), ("no json", city.parent / "other")):
        folder.mkdir(exist_ok=True)
        (folder / "schema.json").write_text(text)
        for rebuild in (False, True):
            with pytest.raises(DataError, match="folder of its own") as error:
                open_index(folder, city, None, colours, colours.dim, "m" * 64, "m.ckpt", rebuild=rebuild)
            assert "rebuild" not in str(error.value) and (folder / "schema.json").read_text() == text


def test_each_path_has_an_index_of_its_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert index_folder("a/map", "runs") == index_folder(tmp_path / "a/map/", "runs")
    assert index_folder("a/map", "runs") != index_folder("b/map", "runs")
    assert index_folder("a/map", "runs").parent == Path("runs/indexes")
    assert index_folder("a/map", "runs").name.startswith("map-")


def test_links_that_lead_nowhere_are_unreadable_photos(city: Path, colours) -> None:
    (city / "gone.jpg").symlink_to("nowhere.jpg")
    (city / "circle.jpg").symlink_to("circle.jpg")
    (city / "circle").symlink_to("circle")
    index, change = opened(city, colours)
    assert sorted(change.bad) == ["circle.jpg", "gone.jpg"] and len(index) == 7


def test_an_index_that_cannot_be_written_is_asked_as_it_is(city: Path, colours, take, monkeypatch, caplog) -> None:
    opened(city, colours)
    csv = "path,lat,lon\n0.jpg,1,2\n"
    moved = Path(shutil.move(city, city.parent / "share"))
    take("share/new.jpg", 30)
    (moved / "map.csv").write_text(csv)
    before = {path: path.read_bytes() for path in (city.parent / "index").rglob("*") if path.is_file()}
    monkeypatch.setattr(database.os, "access", lambda path, mode: False)
    index, change = opened(moved, colours, "map.csv", codec=Binary(bits=16))
    assert len(index) == 7 == change.kept and index.photos.root == moved
    assert index.photos.positions[index.photos.files.index("0.jpg")].tolist() == [1, 2]
    assert "1 photos of the database are new" in caplog.text and "stays exact" in caplog.text
    assert before == {path: path.read_bytes() for path in (city.parent / "index").rglob("*") if path.is_file()}
