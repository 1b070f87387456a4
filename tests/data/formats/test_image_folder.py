"""A user's own photos: listing, positions from EXIF and csv, and what is said when they do not fit."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from vpr.data import cells
from vpr.data.formats import image_folder
from vpr.data.geo import from_earth
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

OWN = Protocol("own-photos@25m")
METRE = 1 / 111_195  # degrees of latitude, within 1 %


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def photo(path: Path, lat: float, lon: float, heading: float | None = None, north: str = "T") -> None:
    """Write a JPEG with GPS, to 1e-7 degrees."""
    tags = ExifTags.GPS
    gps = {
        tags.GPSLatitudeRef: "N" if lat >= 0 else "S",
        tags.GPSLatitude: (abs(lat), 0, 0),
        tags.GPSLongitudeRef: "E" if lon >= 0 else "W",
        tags.GPSLongitude: (abs(lon), 0, 0),
        **({} if heading is None else {tags.GPSImgDirection: heading, tags.GPSImgDirectionRef: north}),
    }
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = gps
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path, exif=exif)


def test_photos_in_natural_order_without_positions(tmp_path: Path) -> None:
    touch(tmp_path, "walk 2/10.JPG", "walk 2/9.jpg", "walk 10/ü.png", "a.webp", ".cache/b.jpg", "notes.txt")
    found = image_folder.photos(tmp_path)
    assert found.files == ["a.webp", "walk 2/9.jpg", "walk 2/10.JPG", "walk 10/ü.png"]
    assert found.positions.shape == (4, 3) and not found.known.any() and found.root == tmp_path
    assert image_folder.photos(tmp_path, "walk 2").paths == [tmp_path / "walk 2/9.jpg", tmp_path / "walk 2/10.JPG"]


def test_positions_from_exif(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo(tmp_path / "1.jpg", -33.8688, 151.2093, 90, "M")
    photo(tmp_path / "2.jpg", 48.2082, 16.3738)
    touch(tmp_path, "3.jpg")
    with caplog.at_level(logging.INFO):
        found = image_folder.photos(tmp_path)
    lat, lon = from_earth(found.positions[:2])
    assert lat == pytest.approx([-33.8688, 48.2082], abs=1e-6) and lon == pytest.approx([151.2093, 16.3738], abs=1e-6)
    assert found.known.tolist() == [True, True, False]
    assert found.headings == pytest.approx([90, np.nan, np.nan], nan_ok=True)
    assert "photos: 2 of 3 photos" in caplog.text and "1 of 3 headings" in caplog.text and "magnetic" in caplog.text


def test_recall_from_exif(tmp_path: Path) -> None:
    """Across the date line, on either side of which UTM zones differ: 24 m is near, 26 m is not."""
    step = METRE / np.cos(np.radians(17))
    photo(tmp_path / "database/sub/1.jpg", -17, 180 - 12 * step)
    photo(tmp_path / "database/2.jpg", -17, 180 - 14.3 * step)
    touch(tmp_path, "database/3.jpg")
    photo(tmp_path / "queries/q.jpg", -17, -180 + 12 * step)
    touch(tmp_path, "queries/unknown.jpg")
    found = image_folder.read(tmp_path, OWN)
    assert [path.name for path in found.database] == ["2.jpg", "3.jpg", "1.jpg"]
    assert [rows.tolist() for rows in found.positives] == [[2], []]
    assert image_folder.read(tmp_path, Protocol("own-photos@30m"), radius=30).positives[0].tolist() == [0, 2]


def test_recall_needs_positions_on_both_sides(tmp_path: Path) -> None:
    touch(tmp_path, "map/1.jpg", "map/2.jpg", "new/q.jpg")
    photo(tmp_path / "map/3.jpg", 48, 16)
    with pytest.raises(DataError, match="recall needs positions, but 1 of 3 database photos and 0 of 1 queries"):
        image_folder.read(tmp_path, OWN, "map", "new")


@pytest.mark.parametrize("named", ["1.jpg", "map\\1.jpg"])
def test_a_csv_that_names_no_photo(tmp_path: Path, named: str) -> None:
    touch(tmp_path, "map/1.jpg", "new/q.jpg")
    write(tmp_path / "positions.csv", "path,lat,lon", f"{named},48,16")
    with pytest.raises(DataError, match=r"positions\.csv must name the others, by paths as map/1\.jpg"):
        image_folder.read(tmp_path, OWN, "map", "new", csv="positions.csv")


def test_a_csv_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    touch(tmp_path, "photos/1.jpg", "me/other.jpg")
    write(tmp_path / "me/positions.csv", "path,lat,lon", "1.jpg,48,16")
    assert image_folder.photos(tmp_path / "photos", csv="~/positions.csv").known.all()


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_positions_from_a_csv(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Spellings of one path are one file; columns have the names that the user gave them."""
    accent = unicodedata.normalize("NFD", "database/Café.jpg")  # as macOS writes it
    touch(tmp_path, "database/007.jpg", "database/a b.JPG", accent, "database/no row.jpg", "queries/q.png")
    write(
        tmp_path / "where.csv",
        "file,y,x,heading",
        "./database/007.jpg,48.2,16.37,350",
        f"{tmp_path}/database/a b.JPG,48.2001,16.37,",
        "database/Café.jpg,48.3,16.37,10",
        "queries/q.png,48.2,16.37,",
    )
    columns = {"csv": "where.csv", "path": "file", "lat": "y", "lon": "x"}
    with caplog.at_level(logging.WARNING):
        found = image_folder.read(tmp_path, OWN, **columns)
    assert [path.name for path in found.database][:2] == ["007.jpg", accent[9:]]
    assert [found.database[row].name for row in found.positives[0]] == ["007.jpg", "a b.JPG"]  # 0 and 11 m
    assert "1 of 4 photos have no row in" in caplog.text and "no row.jpg" in caplog.text
    side = image_folder.photos(tmp_path, "database", **columns)
    assert dict(zip(side.files, side.headings, strict=True))["007.jpg"] == 350
    assert np.isnan(side.headings).sum() == 2 and side.known.sum() == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["path,lat,lon", "a.jpg,48.2,16.3", "b.jpg,48,16", "sub/c.jpg,1,1"],
            r"2 rows of .* do not exist \(first: .*b",
        ),
        (["path,lat,lon", "a.jpg,48.2,16.3", "./a.jpg,48.2,16.3"], "two rows for ./a.jpg"),
        (["path,lat,lon", "a.jpg,35.6,139.7", "a2.jpg,139.7,35.6"], "latitude 139.7.*look swapped"),
        (["path,lat,lon", "a2.jpg,1,1", "a.jpg,48°12',16.3"], "Line 3 of .* has no number in lat or lon"),
        (["path,lat,lon", "a.jpg,48.2,"], "Line 2 of .* has no lon"),
        (["path,latitude,lon", "a.jpg,48.2,16"], "no column lat; it has path, latitude, lon"),
        (["path,lat,lon"], "has a header and no rows"),
    ],
)
def test_a_csv_that_does_not_fit(tmp_path: Path, lines: list[str], message: str) -> None:
    touch(tmp_path, "a.jpg", "a2.jpg")
    write(tmp_path / "where.csv", *lines)
    with pytest.raises(DataError, match=message):
        image_folder.photos(tmp_path, csv="where.csv")


def test_rows_without_a_file_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "database/a.jpg", "queries/q.jpg")
    write(tmp_path / "p.csv", "path,lat,lon", "database/a.jpg,48,16", "database/gone.jpg,48,16", "queries/q.jpg,48,16")
    with pytest.raises(DataError, match="1 rows of .*gone.jpg.*on_bad_image=skip"):
        image_folder.read(tmp_path, OWN, csv=tmp_path / "p.csv")
    found = image_folder.read(tmp_path, OWN, csv="p.csv", missing="skip")
    assert len(found.database) == 1 and found.positives[0].tolist() == [0]
    assert "gone.jpg). They are left out." in caplog.text
    assert len(image_folder.photos(tmp_path, "queries", csv="p.csv")) == 1  # rows of other folders do not matter


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataAbsent, match="There is no folder"):
        image_folder.photos(tmp_path / "gone")
    with pytest.raises(DataAbsent, match="must hold your photos in database and queries"):
        image_folder.read(tmp_path, OWN)
    with pytest.raises(DataError, match="There are no images in"):
        image_folder.photos(tmp_path)
    touch(tmp_path, "a.jpg")
    with pytest.raises(DataError, match="There is no file .*p.csv"):
        image_folder.photos(tmp_path, csv="p.csv")


def test_places_of_ones_own_city(tmp_path: Path) -> None:
    """Two corners 200 m apart, three photos each that look alike, and one that looks back."""
    for corner in range(2):
        for i in range(3):
            photo(tmp_path / f"{corner}{i}.jpg", 48.2 + (200 * corner + i) * METRE, 16.37, 80 + i)
    photo(tmp_path / "back.jpg", 48.2, 16.37, 260)
    places = cells.read(image_folder.photos(tmp_path, name="my-city"), cell=50, angle=60, min_images_per_place=3)
    assert sorted(sorted(places.path(i).name for i in range(a, a + 3)) for a in places.starts[:-1]) == [
        ["00.jpg", "01.jpg", "02.jpg"],
        ["10.jpg", "11.jpg", "12.jpg"],
    ]
    assert places.name == "my-city"


UNKNOWN = Protocol("own-photos@unknown", no_positives="unknown")


def test_photos_without_positions_are_compared_with_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "walk/10.jpg", "walk/9.jpg", "a.png", "new/1.jpg")
    found = image_folder.unlabelled(tmp_path, UNKNOWN)
    assert list(found.database) == [tmp_path / name for name in ("a.png", "new/1.jpg", "walk/9.jpg", "walk/10.jpg")]
    assert found.each_against_others and list(found.queries) == list(found.database)
    assert all(len(rows) == 0 for rows in found.positives)
    sides = image_folder.unlabelled(tmp_path, UNKNOWN, "walk", "new")
    assert list(sides.database) == [tmp_path / "walk/9.jpg", tmp_path / "walk/10.jpg"]
    assert list(sides.queries) == [tmp_path / "new/1.jpg"] and not sides.each_against_others


def test_faults_of_photos_without_positions(tmp_path: Path) -> None:
    touch(tmp_path, "one/1.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has one image, .*1.jpg, and each image is compared with the others"):
        image_folder.unlabelled(tmp_path, UNKNOWN, "one")
    with pytest.raises(DataError, match="There are no images in"):
        image_folder.unlabelled(tmp_path, UNKNOWN, "empty")
    with pytest.raises(DataAbsent, match="There is no folder .*nowhere"):
        image_folder.unlabelled(tmp_path / "nowhere", UNKNOWN)
    with pytest.raises(ConfigError, match=r"no_positives=skip .* Type protocol.no_positives=unknown"):
        image_folder.unlabelled(tmp_path, OWN)
    with pytest.raises(DataError, match="dataset=unlabelled_folder agree_with=TEACHER"):
        touch(tmp_path, "database/1.jpg", "queries/1.jpg")
        image_folder.read(tmp_path, OWN)


def test_positions_in_metres_and_headers_as_spreadsheets_write_them(tmp_path: Path) -> None:
    """x and y of an indoor map, where 0,0 is a place as any other; blanks and capitals in the header."""
    for name in ("database/007.jpg", "database/b.jpg", "queries/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rows = "Path, X , Y\ndatabase/007.jpg, 0, 0\ndatabase/b.jpg, 400000, 0\nqueries/c.jpg, 3, 4\n"
    (tmp_path / "map.csv").write_text(rows)
    found = image_folder.read(tmp_path, Protocol("mine@5m"), radius=5, csv="map.csv")
    assert [rows.tolist() for rows in found.positives] == [[0]]
    assert image_folder.photos(tmp_path, "database", "map.csv").positions.tolist() == [[0, 0], [400000, 0]]
    (tmp_path / "map.csv").write_bytes(rows.encode("utf-16"))
    with pytest.raises(DataError, match="it is UTF-16. Give a comma separated file .* saved as UTF-8"):
        image_folder.photos(tmp_path, "database", "map.csv")
