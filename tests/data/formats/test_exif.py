"""Positions from EXIF: hemispheres, broken fractions, and files that are no photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from vpr.data.formats.exif import Fix, read_fix, read_fixes

G = ExifTags.GPS
VIENNA = {G.GPSLatitudeRef: "N", G.GPSLatitude: (48, 12, 29.5), G.GPSLongitudeRef: "E", G.GPSLongitude: (16, 22, 25.9)}
NAN = float("nan")


def photo(path: Path, tags: dict[Any, Any]) -> Path:
    exif = Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = tags
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_degrees_minutes_seconds(tmp_path: Path, suffix: str) -> None:
    found = read_fix(photo(tmp_path / f"a.{suffix}", VIENNA))
    assert found[:2] == pytest.approx((48 + 12 / 60 + 29.5 / 3600, 16 + 22 / 60 + 25.9 / 3600), abs=1e-9)
    assert np.isnan(found.heading) and not found.magnetic


def test_south_and_west_are_negative_and_letters_may_be_small(tmp_path: Path) -> None:
    tags = {**VIENNA, G.GPSLatitudeRef: "s", G.GPSLongitudeRef: "W", G.GPSLatitude: (33.5, 0, 0)}
    assert read_fix(photo(tmp_path / "a.jpg", tags))[:2] == pytest.approx((-33.5, -16.3738611), abs=1e-6)


@pytest.mark.parametrize(
    ("tags", "heading", "magnetic"),
    [
        ({G.GPSImgDirection: 271.5, G.GPSImgDirectionRef: "T"}, 271.5, False),
        ({G.GPSImgDirection: 370.5, G.GPSImgDirectionRef: "M"}, 10.5, True),
        ({G.GPSImgDirection: 12.0}, 12, False),
        ({G.GPSImgDirection: IFDRational(5, 0), G.GPSImgDirectionRef: "M"}, NAN, False),
    ],
)
def test_headings(tmp_path: Path, tags: dict[Any, Any], heading: float, magnetic: bool) -> None:
    found = read_fix(photo(tmp_path / "a.jpg", {**VIENNA, **tags}))
    assert found.heading == pytest.approx(heading, nan_ok=True) and found.magnetic is magnetic
    assert found.lat > 48


@pytest.mark.parametrize(
    "change",
    [
        {G.GPSLatitude: (IFDRational(48, 1), IFDRational(12, 1), IFDRational(0, 0))},
        {G.GPSLatitude: (IFDRational(1, 0), IFDRational(0, 1), IFDRational(0, 1))},
        {G.GPSLatitude: (91, 0, 0)},
        {G.GPSLongitude: (180, 1, 0)},
        {G.GPSLatitude: (48, 12)},
        {G.GPSLatitudeRef: ""},
        {G.GPSLatitudeRef: "E"},
        {G.GPSLongitudeRef: None},
        {G.GPSLongitude: None},
        {G.GPSLatitude: (0, 0, 0), G.GPSLongitude: (0, 0, 0)},  # no satellites
    ],
)
def test_what_is_broken_or_absent_is_no_position(tmp_path: Path, change: dict[Any, Any]) -> None:
    tags = {key: value for key, value in {**VIENNA, **change}.items() if value is not None}
    found = read_fix(photo(tmp_path / "a.jpg", tags))
    assert np.isnan(found.lat) and np.isnan(found.lon)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_files_without_exif_and_damaged_ones(tmp_path: Path) -> None:
    whole = photo(tmp_path / "a.jpg", VIENNA).read_bytes()
    plain = tmp_path / "plain.jpg"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(plain)
    start = whole.index(b"Exif")
    damaged = {
        "text.jpg": b"no photo",
        "empty.jpg": b"",
        "cut.jpg": whole[: start + 40],
        "scrambled.jpg": whole[: start + 12] + b"\xff" * 60 + whole[start + 72 :],
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    for path in [plain, tmp_path / "gone.jpg", *(tmp_path / name for name in damaged)]:
        assert np.isnan(read_fix(path)[:3]).all(), path


def test_many_come_back_in_order(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{i}.jpg", {**VIENNA, G.GPSLatitude: (i, 0, 0)}) for i in range(1, 60)]
    found = read_fixes(paths)
    assert [fix.lat for fix in found] == list(range(1, 60)) and all(isinstance(fix, Fix) for fix in found)
    assert read_fixes([]) == []
