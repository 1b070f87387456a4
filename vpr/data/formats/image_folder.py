"""Folders of images of one's own, with positions from EXIF GPS or from a csv where there are any."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path

import numpy as np

from vpr.data.file_lists import FileNames, FilePaths
from vpr.data.formats.exif import read_fixes
from vpr.data.formats.folders import absolute, natural, require_folder, require_sides, walk_images
from vpr.data.formats.place_lists import columns_of, numbers, read_rows
from vpr.data.geo import check_degrees, to_earth
from vpr.data.geotagged import GeotaggedImages, degrees_zero_unknown, near
from vpr.data.retrieval_set import RetrievalSet, as_found, check_distance
from vpr.errors import ConfigError, DataError
from vpr.types import Protocol

log = logging.getLogger(__name__)

METRES = ("x", "y")  # columns of a csv, east and north


def photos(
    root: str | Path,
    folder: str = "",
    csv: str | Path | None = None,
    path: str = "path",
    lat: str = "lat",
    lon: str = "lon",
    heading: str | None = None,
    name: str = "photos",
    missing: str = "raise",
) -> GeotaggedImages:
    """List the images below `root/folder`, sub-folders included, in natural order (2.jpg before 10.jpg).

    Positions are earth-centred (see `vpr.data.geo`), or those of the csv in metres; NaN where unknown. Compass headings
    are taken as they are: they differ from true north by the local declination.

    Args:
        csv: file with positions, below `root` or an absolute path; None reads EXIF GPS.
        path, lat, lon: columns with the file relative to `root`, and WGS 84 degrees; a csv that has x and y instead has
            metres east and north of any point, as of indoor maps, SLAM and RTK.
        heading: column with degrees clockwise from north; None takes `heading` if there is such a column.
        missing: rows of the csv whose file does not exist: `raise`, or leave them out.

    Raises:
        DataError: no such folder, no images, or a csv that cannot be read or names missing files.
    """
    root = require_folder(root, "images, in sub-folders or not")
    below = require_folder(root / folder, "images, in sub-folders or not")
    files = sorted(walk_images(below), key=natural)
    local = csv is not None and has_metres(root / Path(csv).expanduser(), lat, lon)
    if csv is None:
        table = _from_exif(below, files)
    else:
        names = (path, *(METRES if local else (lat, lon)), heading)
        table = from_csv(root, folder, files, root / Path(csv).expanduser(), names, missing, local)
    log.info("%s: %d of %d photos in %s have a position.", name, np.isfinite(table[:, 0]).sum(), len(files), below)
    positions = table[:, :2] if local else to_earth(table[:, 0], table[:, 1])
    return GeotaggedImages(name, below, files, positions, table[:, 2], np.zeros(len(files), np.int64))


def has_metres(csv: Path, lat: str = "lat", lon: str = "lon") -> bool:
    """Tell whether the positions of a csv are in metres: it has the columns x and y, and none for degrees."""
    names = set(columns_of(csv, [lat, lon, *METRES]))
    return names >= set(METRES) and not names & {lat, lon}


def read(
    root: str | Path,
    protocol: Protocol,
    database: str = "database",
    queries: str = "queries",
    radius: float = 25,
    csv: str | Path | None = None,
    path: str = "path",
    lat: str = "lat",
    lon: str = "lon",
    heading: str | None = None,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read two folders of images; positives are the database images within `radius` metres.

    Args:
        database, queries: folders below `root`.
        csv, path, lat, lon, heading: as for `photos`.
        missing: `skip` leaves rows of the csv out whose file does not exist, and lets the counts differ from the
            protocol's.

    Raises:
        DataError: missing folders, a csv as for `photos`, or no positions on either side.
        ConfigError: another radius than the protocol id says.
    """
    check_distance(protocol, "radius", radius)
    root = require_sides(root, database, queries, f"your photos in {database} and {queries}", source)
    map_side, query_side = (
        photos(root, folder, csv, path, lat, lon, heading, f"{protocol.id} ({folder})", missing)
        for folder in (database, queries)
    )
    if not (map_side.known.any() and query_side.known.any()):
        raise DataError(
            f"{protocol.id}: recall needs positions, but {map_side.known.sum():,} of {len(map_side):,} database photos "
            f"and {query_side.known.sum():,} of {len(query_side):,} queries in {absolute(root)} have one. "
            + _how_to_give(csv, database)
        )
    return RetrievalSet(
        as_found(protocol, len(map_side), len(query_side), missing),
        map_side.paths,
        query_side.paths,
        near(map_side, query_side, radius),
    )


def unlabelled(
    root: str | Path,
    protocol: Protocol,
    database: str = "",
    queries: str | None = None,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read folders of images of which nobody knows the places: for predictions, and for agreement with a teacher.

    Args:
        protocol: with `no_positives` unknown.
        database: folder below `root`; empty: `root` itself.
        queries: another one; None: each image of the database is compared with all others.
        missing: `skip` lets the counts differ from the protocol's, where that has any.

    Raises:
        DataError: missing folders, or too few images.
        ConfigError: a protocol that counts positives.
    """
    if protocol.no_positives != "unknown":
        raise ConfigError(
            f"{protocol.id}: no_positives={protocol.no_positives} with images whose places nobody knows. "
            "Type protocol.no_positives=unknown, or take dataset=image_folder, which has positions."
        )
    root = require_folder(root, "images, in sub-folders or not", source)
    sides = [
        FilePaths(below, FileNames(sorted(walk_images(below), key=natural)))
        for below in (require_folder(root / side, "images", source) for side in (database, queries) if side is not None)
    ]
    nothing = [np.empty(0, np.int64)] * len(sides[-1])
    protocol = as_found(protocol, len(sides[0]), len(sides[-1]), missing)
    return RetrievalSet(protocol, sides[0], sides[-1], nothing, each_against_others=queries is None)


def _how_to_give(csv: str | Path | None, folder: str) -> str:
    if csv is None:
        return (
            "Give photos with GPS in their EXIF data, or a csv (path, lat, lon). Without positions two models can be "
            "compared: evaluate.py dataset=unlabelled_folder agree_with=TEACHER."
        )
    return f"{csv} must name the others, by paths as {folder}/1.jpg or whole ones, with / between folders."


def _from_exif(folder: Path, files: list[str]) -> np.ndarray:
    """Return (N, 3) latitude, longitude and heading."""
    fixes = read_fixes([folder / file for file in files])
    magnetic = sum(fix.magnetic for fix in fixes)
    if magnetic:
        log.info("%d of %d headings in %s are magnetic, and taken as true ones.", magnetic, len(files), folder)
    return np.array([(fix.lat, fix.lon, fix.heading) for fix in fixes])


def from_csv(
    root: Path,
    folder: str,
    files: list[str],
    csv: Path,
    names: tuple[str, str, str, str | None] = ("path", "lat", "lon", None),
    missing: str = "raise",
    metres: bool = False,
) -> np.ndarray:
    """Return (N, 3) latitude, longitude and heading of the files below `root/folder`; NaN for those without a row.

    With `metres` the first two columns are east and north.

    Columns are `names`, for path, latitude, longitude and heading; `missing` and errors are as of `photos`.
    """
    path, lat, lon, heading = names
    rows = read_rows(csv, [path, lat, lon, *([heading] if heading else [])], text=[path])
    # A heading may be missing.
    table = np.stack([numbers(rows, column) for column in (lat, lon, heading or "heading")], axis=1)
    wrong = np.isnan(table[:, :2]).any(axis=1)
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"Line {line + 2} of {csv} has no number in {lat} or {lon}. Give "
            f"{'metres' if metres else 'degrees, as 48.2082'}."
        )
    if not metres:
        check_degrees(table[:, 0], table[:, 1], str(csv))
        table[:, :2] = degrees_zero_unknown(table[:, :2], csv)
    row_of = {_place(root, file): row for row, file in enumerate(rows[path])}
    if len(row_of) < len(rows):
        twice = rows[path][rows[path].map(lambda file: _place(root, file)).duplicated()].iloc[0]
        raise DataError(f"{csv} has two rows for {twice}. Remove one.")
    places = [_place(root, os.path.join(folder, file)) for file in files]
    _compare(csv, row_of.keys(), places, _place(root, folder) + os.sep, missing)
    row = np.array([row_of.get(place, -1) for place in places])
    return np.where(row[:, None] >= 0, table[row], np.nan)


def _compare(csv: Path, listed: Collection[str], places: list[str], folder: str, missing: str) -> None:
    """Report rows without file, and files without row."""
    existing = set(places)
    absent = [place for place in listed if place not in existing and place.startswith(folder)]
    if absent:
        text = f"{len(absent):,} rows of {csv} name photos that do not exist (first: {absent[0]})."
        if missing == "raise":
            raise DataError(f"{text} Correct the csv, or pass dataset.on_bad_image=skip.")
        log.warning("%s They are left out.", text)
    silent = [place for place in places if place not in listed]
    if silent:
        log.warning("%d of %d photos have no row in %s (first: %s).", len(silent), len(places), csv, silent[0])


def _place(root: Path, file: str) -> str:
    """Return one spelling of a path; macOS writes accents as characters of their own."""
    return unicodedata.normalize("NFC", os.path.normpath(os.path.join(root, file)))
