"""Places from folders and from csv files, made here and real."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr.data.formats import place_lists
from vpr.data.formats.place_lists import read_rows
from vpr.data.places import Places
from vpr.errors import ConfigError, DataError

CSV = """path,place_id,city,year
a/1.jpg,12,x,2001
a/2.jpg,12,x,2002
a/3.jpg,13,y,2003
a/4.jpg,13,x,2004
a/5.jpg,12,y,
"""


def files(places: Places) -> list[list[str]]:
    found = [str(places.path(i).relative_to(places.root)) for i in range(len(places.files))]
    return [found[a:b] for a, b in zip(places.starts, places.starts[1:], strict=False)]


def test_each_folder_is_a_place(tmp_path: Path) -> None:
    for file in (
        "tower/10.jpg",
        "tower/2.JPG",
        "tower/notes.txt",
        "tower/._2.jpg",
        "bridge/a.png",
        "bridge/b.webp",
        "alone/a.png",
    ):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / ".cache").mkdir()
    assert files(place_lists.read_folder(tmp_path)) == [
        ["bridge/a.png", "bridge/b.webp"],
        ["tower/2.JPG", "tower/10.jpg"],
    ]
    assert len(place_lists.read_folder(tmp_path, min_images_per_place=1)) == 3


def test_folders_that_hold_no_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder .*nowhere.*one sub-folder a place"):
        place_lists.read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no sub-folders"):
        place_lists.read_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in .*empty"):
        place_lists.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [["a/1.jpg", "a/2.jpg", "a/5.jpg"], ["a/3.jpg", "a/4.jpg"]]),
        ({"group": "city"}, [["a/1.jpg", "a/2.jpg"]]),
        ({"group": "city", "min_images_per_place": 1}, [["a/1.jpg", "a/2.jpg"], ["a/4.jpg"], ["a/5.jpg"], ["a/3.jpg"]]),
        ({"where": {"city": "x"}}, [["a/1.jpg", "a/2.jpg"]]),
        ({"where": {"place_id": [13, 14]}}, [["a/3.jpg", "a/4.jpg"]]),
        ({"where": {"year": {"ge": 2002, "lt": 2004}}, "min_images_per_place": 1}, [["a/2.jpg"], ["a/3.jpg"]]),
        ({"place_id": "city"}, [["a/1.jpg", "a/2.jpg", "a/4.jpg"], ["a/3.jpg", "a/5.jpg"]]),
    ],
)
def test_csv_columns_and_filters(tmp_path: Path, options: dict, expected: list) -> None:
    (tmp_path / "index.csv").write_text(CSV)
    assert files(place_lists.read_csv(tmp_path, **options)) == expected


@pytest.mark.parametrize(
    ("where", "columns", "error", "message"),
    [
        ({"colour": 1}, ["path"], DataError, "has no column colour; it has path, place_id, city, year"),
        ({"city": "z"}, ["path"], DataError, "index.csv has no row that passes the filter"),
        ({"year": {"below": 3}}, ["path"], ConfigError, r"where\.year\.below is unknown: choose lt, le, gt, ge, ne"),
        ({}, ["path", "year"], DataError, "Line 6 of .* has no year"),
    ],
)
def test_rows_that_cannot_be_read_say_why(
    tmp_path: Path, where: dict, columns: list, error: type, message: str
) -> None:
    (tmp_path / "index.csv").write_text(CSV)
    with pytest.raises(error, match=message):
        read_rows(tmp_path / "index.csv", columns, where)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no file"), (b"", "cannot be read as csv"), (b"\xff\xfe\x00", "csv"), (b"path\n", "a header and no rows")],
)
def test_broken_csv_files_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "index.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / "index.csv", ["path"])


def test_numbers_that_are_names_stay_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("path,place_id\n007,1\nNA,1\n")
    assert files(place_lists.read_csv(tmp_path)) == [["007", "NA"]]
