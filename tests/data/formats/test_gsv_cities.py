"""GSV-Cities: names, grouping and order, against the published loader and by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vpr.data.formats.gsv_cities import read
from vpr.data.places import Places
from vpr.errors import DataAbsent, DataError

HEADER = "place_id,year,month,northdeg,city_id,lat,lon,panoid\n"
ROWS = {
    "Rome": "5,2019,7,3,Rome,41.50,12.25,0071\n5,2020,1,90,Rome,41.4,12.2,b\n6,2020,1,90,Rome,41.4,12.2,c\n",
    "Oslo": "5,2018,12,359,Oslo,-1,0.1,NA\n5,2018,12,0,Oslo,59.5,0.1,e\n",
}


def make(root: Path, suffix: str = ".jpg", **changed: str) -> Path:
    for city, rows in {**ROWS, **changed}.items():
        (root / "Dataframes").mkdir(parents=True, exist_ok=True)
        (root / "Dataframes" / f"{city}.csv").write_text(HEADER + rows)
        (root / "Images" / city).mkdir(parents=True)
        (root / "Images" / city / f"any{suffix}").touch()
    return root


def names(places: Places) -> dict[int, list[str]]:
    return {
        int(places.ids[p]): [
            str(places.path(i).relative_to(places.root)) for i in range(places.starts[p], places.starts[p + 1])
        ]
        for p in range(len(places))
    }


def test_names_grouping_and_order_are_those_of_the_published_loader(shared: Path, tmp_path: Path) -> None:
    golden = shared / "golden" / "gsv_cities"
    expected = json.loads((golden / "expected.json").read_text())
    shutil.copytree(golden / "Dataframes", tmp_path / "Dataframes")
    for city in expected["cities"]:
        (tmp_path / "Images" / city).mkdir(parents=True)
        (tmp_path / "Images" / city / "any.jpg").touch()
    places = read(tmp_path, expected["cities"], expected["min_img_per_place"])
    found = names(places)
    assert len(places) == expected["n_places"] and len(places.files) == expected["n_images"]
    assert {str(place): sorted(files) for place, files in found.items()} == {
        place: sorted(entry["all"]) for place, entry in expected["places"].items()
    }
    for place, entry in expected["places"].items():
        assert found[int(place)][:4] == entry["most_recent4"]
    assert places.groups.tolist() == [place // 100_000 for place in places.ids]


def test_fields_are_padded_and_coordinates_printed_as_floats(tmp_path: Path) -> None:
    places = read(make(tmp_path), ["Rome", "Oslo"], min_images_per_place=2)
    assert names(places) == {
        5: [
            "Images/Rome/Rome_0000005_2020_01_090_41.4_12.2_b.jpg",
            "Images/Rome/Rome_0000005_2019_07_003_41.5_12.25_0071.jpg",
        ],
        100_005: [
            "Images/Oslo/Oslo_0000005_2018_12_000_59.5_0.1_e.jpg",
            "Images/Oslo/Oslo_0000005_2018_12_359_-1.0_0.1_NA.jpg",
        ],
    }
    assert places.groups.tolist() == [0, 1]


def test_without_a_list_all_cities_are_read_by_name(tmp_path: Path) -> None:
    places = read(make(tmp_path), min_images_per_place=1)
    assert places.ids.tolist() == [5, 100_005, 100_006]  # Oslo, then Rome


def test_the_suffix_is_that_of_the_files(tmp_path: Path) -> None:
    places = read(make(tmp_path, suffix=".JPG"), min_images_per_place=2)
    assert {places.path(i).suffix for i in range(4)} == {".JPG"}


def break_nothing_there(root: Path) -> Path:
    return root / "gsv"


def break_no_csv(root: Path) -> Path:
    make(root)
    shutil.rmtree(root / "Dataframes")
    return root


def break_no_images(root: Path) -> Path:
    make(root)
    shutil.rmtree(root / "Images" / "Oslo")
    return root


def break_column(root: Path) -> Path:
    make(root)
    (root / "Dataframes" / "Oslo.csv").write_text("place_id,year\n1,2\n")
    return root


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (break_nothing_there, r"no folder .*gsv\. .*Dataframes/<City>\.csv.*amaralibey/gsv-cities"),
        (break_no_csv, "no csv files"),
        (break_no_images, "no images in .*Oslo"),
        (break_column, r"Oslo\.csv has no column month, northdeg, city_id, lat, lon, panoid; it has place_id, year"),
        (lambda root: make(root, Oslo="1,2018,1,2,Oslo,here,0.1,x\n"), "something else than a number: .*here"),
        (lambda root: make(root, Oslo="1,2018,,2,Oslo,1,0.1,x\n"), r"Line 2 of .*Oslo\.csv has no month"),
        (lambda root: make(root), "no place has 4 images"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, broken, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(broken(tmp_path))


def test_a_city_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*Atlantis\.csv, but those of 2 other cities are there") as caught:
        read(make(tmp_path), ["Rome", "Atlantis"])
    assert not isinstance(caught.value, DataAbsent)
