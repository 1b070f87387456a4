"""Writers of published layouts, one function each: `write_<layout>(album, root)`.

GSV-Cities (Ali-bey et al., Neurocomputing 2022), MSLS (Warburg et al., CVPR 2020), Pittsburgh (Torii et al. 2013;
Arandjelovic et al. 2016), .npy lists of github.com/amaralibey/gsv-cities, images with EXIF GPS, VPR-Bench (Zaffar et
al., IJCV 2021), Tokyo 24/7 (Torii et al. 2015), Tokyo Time Machine (Arandjelovic et al. 2016), and the names of the
deep visual geo-localization benchmark (Berton et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from vpr.toycity.layouts.album import Album, cutouts, numbered, stamps, write_mat, yaws
from vpr.toycity.spec import CUTOUTS

COLUMNS = ["place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid"]
MATS = tuple(product(("pitts30k", "pitts250k"), ("train", "val", "test")))
GPS = ExifTags.GPS
# The part that a sub-task takes of the database, and of the queries.
SUBTASKS = {
    "all": ("any", "any"),
    "s2w": ("summer", "winter"),
    "w2s": ("winter", "summer"),
    "o2n": ("old", "new"),
    "n2o": ("new", "old"),
    "d2n": ("day", "night"),
    "n2d": ("night", "day"),
}


def write_gsv_cities(album: Album, root: Path) -> None:
    """Write `Dataframes/<City>.csv` and `Images/<City>/*.jpg`: a place is a panorama, and the queries taken there."""
    (root / "Dataframes").mkdir(parents=True)
    rows = pd.concat([album.database, album.queries], ignore_index=True)
    rows["northdeg"] = yaws(rows)
    for city, part in rows.groupby("city_id"):
        names = [
            f"Images/{city}/{city}_{row.place_id:07d}_{row.year:04d}_{row.month:02d}_{row.northdeg:03d}_{row.lat}_"
            f"{row.lon}_{row.panoid}.jpg"
            for row in part.itertuples()
        ]
        album.put(part, root, names)
        part[COLUMNS].to_csv(root / "Dataframes" / f"{city}.csv", index=False)


class Part(NamedTuple):
    """One side of one city: `cph` and `sf`, `database` and `query`; the rows of the album and the names of files."""

    folder: str
    rows: pd.DataFrame
    keys: list[str]

    @property
    def names(self) -> list[str]:
        """Return the files relative to the set."""
        return [f"{self.folder}/images/{key}.jpg" for key in self.keys]


def parts(album: Album) -> Iterator[Part]:
    """Let the first half of the streets be Copenhagen and the others San Francisco, for no positive is around a corner.

    Images are drawn street by street, so that rows keep their order: the database of both cities, then the queries.
    """
    streets = np.unique(album.database.street_number)
    border = streets[len(streets) // 2]
    for side, rows in (("database", album.database), ("query", album.queries)):
        for city, chosen in (("cph", rows[rows.street_number < border]), ("sf", rows[rows.street_number >= border])):
            yield Part(f"train_val/{city}/{side}", chosen, cutouts(chosen))


def write_msls(album: Album, root: Path) -> None:
    """Write `train_val/<city>/<side>/images/<key>.jpg` and beside images/ the four csv files of msls_metadata.zip."""
    for part in parts(album):
        album.put(part.rows, root, part.names)
        for name, columns in _tables(part.rows, part.folder.endswith("query")).items():
            table = pd.DataFrame({"key": part.keys} | {key: np.asarray(column) for key, column in columns.items()})
            table.to_csv(root / part.folder / f"{name}.csv")  # the first column numbers the rows and has no name


def _tables(rows: pd.DataFrame, query_side: bool) -> dict[str, dict[str, object]]:
    no = np.zeros(len(rows), bool)
    winter, old, night = rows.month.isin([10, 11, 12, 1, 2, 3]), rows.year < 2019, rows.condition == "night"
    is_kind = {"any": ~no, "winter": winter, "summer": ~winter, "old": old, "new": ~old, "night": night, "day": ~night}
    return {
        "postprocessed": {
            "easting": rows.utm_east,
            "northing": rows.utm_north,
            "unique_cluster": rows.place_id,
            "control_panel": no,
            "night": night,
            "view_direction": np.full(len(rows), "Sideways"),
        },
        "raw": {
            "lon": rows.lon,
            "lat": rows.lat,
            "ca": rows.heading,
            "captured_at": [f"{year}-{month:02d}-01" for year, month in zip(rows.year, rows.month, strict=True)],
            "pano": no,
        },
        "seq_info": {"sequence_key": rows.panoid, "frame_number": rows.groupby("panoid").cumcount()},
        "subtask_index": {name: is_kind[kinds[query_side]] for name, kinds in SUBTASKS.items()},
    }


def write_pittsburgh(album: Album, root: Path) -> None:
    """Write as for pytorch-NetVlad and MixVPR: `000/`, `queries_real/000/`, `datasets/*.mat`."""
    _write(album, root / "datasets", root, root / "queries_real")


def write_openibl(album: Album, root: Path) -> None:
    """Write as for OpenIBL and WAKD: `raw/Pittsburgh/{images,queries}`, `raw/*.mat`."""
    raw = root / "raw"
    _write(album, raw, raw / "Pittsburgh/images", raw / "Pittsburgh/queries")


def write_splits(splits: dict[str, Album], root: Path) -> None:
    """Write albums of single images as for pytorch-NetVlad: `000/`, `001/` ..., `datasets/toycity_<split>.mat`."""
    for number, (split, album) in enumerate(splits.items()):
        database = _pittsburgh_names(album.database, 0, 1, number)
        queries = _pittsburgh_names(album.queries, len(database), 1, number)
        album.put(album.database, root, database)
        album.put(album.queries, root / "queries_real", queries)
        write_mat(root / f"datasets/toycity_{split}.mat", split, album, database, queries)


def pittsburgh_names(album: Album) -> tuple[list[str], list[str]]:
    """Name images `000/<panorama>_pitch1_yaw<1 to 12>.jpg`; queries are cut from panoramas of their own."""
    first = len(album.database) // CUTOUTS
    return _pittsburgh_names(album.database, 0, CUTOUTS), _pittsburgh_names(album.queries, first, 1)


def _write(album: Album, mats: Path, database: Path, queries: Path) -> None:
    listed = pittsburgh_names(album)
    album.put(album.database, database, listed[0])
    album.put(album.queries, queries, listed[1])
    for name, split in MATS:
        write_mat(mats / f"{name}_{split}.mat", split, album, *listed)


def _pittsburgh_names(rows: pd.DataFrame, first: int, views: int, folder: int = 0) -> list[str]:
    return [f"{folder:03d}/{first + row // views:06d}_pitch1_yaw{row % views + 1}.jpg" for row in range(len(rows))]


def write_msls_val(album: Album, root: Path) -> None:
    """Write `msls_val_{dbImages,qImages,qIdx,pIdx}.npy` and `train_val/{cph,sf}/{database,query}/images/*.jpg`."""
    names: dict[str, list[str]] = {"database": [], "query": []}
    for part in parts(album):
        album.put(part.rows, root, part.names)
        names[part.folder.rpartition("/")[2]] += part.names
    np.save(root / "msls_val_dbImages.npy", names["database"])
    np.save(root / "msls_val_qImages.npy", names["query"])
    np.save(root / "msls_val_qIdx.npy", np.arange(len(names["query"])))
    np.save(root / "msls_val_pIdx.npy", _ragged(album.positives))


def write_pitts30k_lists(album: Album, root: Path) -> None:
    """Write `pitts30k_test_{dbImages,qImages,gt}.npy`, for the images that `write_pittsburgh` puts there."""
    database, queries = pittsburgh_names(album)
    np.save(root / "pitts30k_test_dbImages.npy", database)
    np.save(root / "pitts30k_test_qImages.npy", [f"queries_real/{name}" for name in queries])
    np.save(root / "pitts30k_test_gt.npy", _ragged(album.positives))


def _ragged(rows: Sequence[np.ndarray]) -> np.ndarray:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def write_own_photos(album: Album, root: Path) -> None:
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
    """Return degrees, minutes and seconds; the latter to a hundred thousandth, which is 0.3 mm."""
    seconds = Fraction(round(abs(degrees) * 3600 * 100_000), 100_000)
    whole, rest = divmod(seconds, 60)
    return IFDRational(whole // 60), IFDRational(whole % 60), IFDRational(rest.numerator, rest.denominator)


def write_pairs(album: Album, root: Path) -> None:
    """Write `ref/0000000.jpg` ..., `query/0000000.jpg` ... and rows of [query, [database images]]."""
    album.put(album.database, root / "ref", numbered(album.database, "{:07d}.jpg"))
    album.put(album.queries, root / "query", numbered(album.queries, "{:07d}.jpg"))
    truth = np.empty((len(album.queries), 2), object)
    for query, rows in enumerate(album.positives):
        truth[query] = query, rows.tolist()
    np.save(root / "ground_truth_new.npy", truth)


def write_tokyo247(album: Album, root: Path) -> None:
    """Write `tokyo247.mat`, `images/03814/<east>_<north>/<panorama>_012_<yaw>.png` and `query/00000.jpg` ...

    As published, the .mat lists the database as .jpg, and the files are .png.
    """
    rows = album.database
    folders = [f"03814/{east:.3f}_{north:.3f}" for east, north in zip(rows.utm_east, rows.utm_north, strict=True)]
    listed = [
        f"{folder}/{panoid}_012_{yaw:03d}.jpg"
        for folder, panoid, yaw in zip(folders, rows.panoid, yaws(rows), strict=True)
    ]
    for path, name in zip(rows.path, listed, strict=True):
        target = (root / "images" / name).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(album.folder / path).save(target, compress_level=1)
    queries = numbered(album.queries, "{:05d}.jpg")
    album.put(album.queries, root / "query", queries)
    write_mat(root / "tokyo247.mat", "test", album, listed, queries)


def write_tokyo_tm(album: Album, root: Path) -> None:
    """Write `tokyoTM_{train,val}.mat` and `images/<pl>/<place>/_<stamp>/<place>__<stamp>_<lat>_<lon>_<yaw>_012.jpg`.

    The published .mat files take their queries from their own database; here they are other images of its places.
    """
    places = album.database.drop_duplicates("place_id").set_index("place_id").panoid
    database, queries = (_tokyo_tm_names(rows, places) for rows in (album.database, album.queries))
    album.put(album.database, root / "images", database)
    album.put(album.queries, root / "images", queries)
    for split in ("train", "val"):
        write_mat(root / f"tokyoTM_{split}.mat", split, album, database, queries, with_stamps=True)


def _tokyo_tm_names(rows: pd.DataFrame, places: pd.Series) -> list[str]:
    return [
        f"{place[:2]}/{place}/_{stamp}/{place}__{stamp}_{lat:.6f}_{lon:.6f}_{yaw:03d}_012.jpg"
        for place, stamp, lat, lon, yaw in zip(
            places[rows.place_id], stamps(rows), rows.lat, rows.lon, yaws(rows), strict=True
        )
    ]


def write_utm_names(album: Album, root: Path) -> None:
    """Write `images/test/{database,queries}`; the drawn images have such names already."""
    for folder, rows in (("database", album.database), ("queries", album.queries)):
        album.put(rows, root / "images/test" / folder, [Path(path).name for path in rows.path])
