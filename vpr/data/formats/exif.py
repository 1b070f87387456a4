"""Position and heading of images from their EXIF GPS tags."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from PIL import ExifTags, Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vpr.data import images

GPS = ExifTags.GPS
NAN = float("nan")


class Fix(NamedTuple):
    """Latitude, longitude and heading in degrees, NaN where unknown; magnetic: north is that of a compass."""

    lat: float = NAN
    lon: float = NAN
    heading: float = NAN
    magnetic: bool = False


def read_fixes(paths: Sequence[Path]) -> list[Fix]:
    """Read the heads of many images by several threads, with a progress bar on a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    threads = min(32, 4 * (os.cpu_count() or 1))  # they wait for the disk
    with (
        warnings.catch_warnings(action="ignore"),  # Pillow's, on each damaged one
        ThreadPoolExecutor(threads) as pool,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        return list(bar.track(pool.map(read_fix, paths), len(paths), description="reading EXIF positions"))


def read_fix(path: Path) -> Fix:
    """Read the GPS tags of an image; what is absent, damaged or impossible is unknown."""
    if os.path.splitext(path)[1].lower() in images.HEIF_SUFFIXES:
        images.register_heif()
    try:
        if not os.path.isfile(path):  # a pipe would be waited for without end
            return Fix()
        with Image.open(path) as image:
            tags = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
        lat = _angle(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), "NS", 90)
        lon = _angle(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), "EW", 180)
        heading = float(tags.get(GPS.GPSImgDirection, NAN)) % 360
        magnetic = _letter(tags.get(GPS.GPSImgDirectionRef)) == "M"
    except Exception:  # Pillow's parsers raise all sorts of errors on damaged files
        return Fix()
    if lat != lat or lon != lon or lat == lon == 0:  # a receiver without satellites writes zeros
        lat = lon = NAN
    return Fix(lat, lon, heading, magnetic and heading == heading)


def _angle(parts: Any, reference: Any, signs: str, limit: float) -> float:
    """Degrees from degrees, minutes and seconds; Pillow gives NaN for a fraction with the denominator 0."""
    letter = _letter(reference)
    if parts is None or not letter or letter not in signs:
        return NAN
    degrees, minutes, seconds = (float(part) for part in parts)
    angle = degrees + minutes / 60 + seconds / 3600
    if not 0 <= angle <= limit:
        return NAN
    return -angle if letter == signs[1] else angle


def _letter(reference: Any) -> str:
    text = reference.decode("ascii", "replace") if isinstance(reference, bytes) else str(reference or "")
    return text.strip("\0 ").upper()[:1]
