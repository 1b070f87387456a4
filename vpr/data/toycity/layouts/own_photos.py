"""Photos as a camera leaves them: the position is in the EXIF data, and beside them in a csv."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pandas as pd
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from vpr.data.toycity.layouts.album import Album, numbered

GPS = ExifTags.GPS


def write(album: Album, root: Path) -> None:
    """Write `{database,queries}/IMG_0000.jpg` ... with EXIF GPS, and `positions.csv` (path, lat, lon, heading)."""
    tables = []
    for folder, rows in (("database", album.database), ("queries", album.queries)):
        names = [f"{folder}/{name}" for name in numbered(rows, "IMG_{:04d}.jpg")]
        tables.append(rows[["lat", "lon", "heading"]].assign(path=names))
        (root / folder).mkdir(parents=True)
        for path, name, lat, lon, heading in zip(rows.path, names, rows.lat, rows.lon, rows.heading, strict=True):
            (root / name).write_bytes(with_position((album.folder / path).read_bytes(), lat, lon, heading))
    columns = ["path", "lat", "lon", "heading"]
    pd.concat(tables)[columns].to_csv(root / "positions.csv", index=False)


def with_position(jpeg: bytes, lat: float, lon: float, heading: float) -> bytes:
    """Insert EXIF GPS, in degrees, as the first segment (APP1) of a JPEG; the pixels stay as they are encoded."""
    exif = Image.Exif()
    tags = exif.get_ifd(ExifTags.IFD.GPSInfo)
    tags[GPS.GPSLatitudeRef], tags[GPS.GPSLatitude] = "S" if lat < 0 else "N", _parts(lat)
    tags[GPS.GPSLongitudeRef], tags[GPS.GPSLongitude] = "W" if lon < 0 else "E", _parts(lon)
    tags[GPS.GPSImgDirectionRef], tags[GPS.GPSImgDirection] = "T", IFDRational(round(heading * 100), 100)
    data = exif.tobytes()
    start, rest = jpeg[:2], jpeg[2:]
    return start + b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data + rest


def _parts(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Degrees, minutes and seconds; the latter to a hundred thousandth, which is 0.3 mm."""
    seconds = Fraction(round(abs(degrees) * 3600 * 100_000), 100_000)
    whole, rest = divmod(seconds, 60)
    return IFDRational(whole // 60), IFDRational(whole % 60), IFDRational(rest.numerator, rest.denominator)
