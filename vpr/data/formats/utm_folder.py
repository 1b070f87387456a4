"""Images whose names carry their position: `@UTM_east@UTM_north@...@.jpg`.

The form of the deep visual geo-localization benchmark (Berton et al., CVPR 2022), of VPR-datasets-downloader and of
SF-XL (CosPlace, CVPR 2022): `@ UTM_east @ UTM_north @ zone_number @ zone_letter @ latitude @ longitude @ pano_id @
tile @ heading @ pitch @ roll @ height @ timestamp @ note @ .jpg`. Only east and north are always filled; SVOX has fewer
fields after these.
"""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpr.data.file_lists import FileNames, FilePaths
from vpr.data.formats.folders import require_folder, require_sides, walk_images
from vpr.data.geotagged import GeotaggedImages, near, zeros_unknown
from vpr.data.retrieval_set import RetrievalSet, as_found, check_distance
from vpr.errors import DataError
from vpr.types import Protocol

FIELDS = 16  # of a name split at each @, with the empty one before the first
ZONE, LETTER, HEADING = 3, 4, 9
LAYOUT = "images named @UTM_east@UTM_north@...@.jpg in"
NAN = float("nan")


def photos(root: str | Path, folder: str = "", name: str = "photos", source: str = "") -> GeotaggedImages:
    """List the images below `root/folder` with position and heading, in the order of their names.

    Groups are UTM zones (negative on the southern hemisphere, 0 where the name has none): metres of different zones
    cannot be compared.

    Args:
        source: who published the set, and where; for the message if it is not there.

    Raises:
        DataError: no such folder, no images, a name of another form, or degrees in the names.
    """
    images = _listed(root, folder, name, source)
    return replace(images, positions=_metres(images.positions, images))


def _listed(root: str | Path, folder: str, name: str, source: str) -> GeotaggedImages:
    root = require_folder(root, f"{LAYOUT} {folder or 'it, or in its sub-folders'}", source)
    below = require_folder(root / folder, f"{LAYOUT} it, or in its sub-folders", source)
    names = sorted(walk_images(below))
    east, north, headings, zones = array("d"), array("d"), array("d"), array("q")
    for file in names:
        fields = file[file.rfind("/") + 1 :].split("@")
        try:
            east.append(float(fields[1]))
            north.append(float(fields[2]))
            headings.append(_heading(fields))
            zones.append(_zone(fields))
        except (IndexError, ValueError) as error:
            raise DataError(
                f"{below / file} is not named @UTM_east@UTM_north@...@.jpg, with metres in the first two fields and "
                "degrees or nothing in the ninth. Rename or remove it, or read the folder as dataset=image_folder."
            ) from error
    positions = np.stack([np.frombuffer(east), np.frombuffer(north)], axis=1)
    return GeotaggedImages(name, below, FileNames(names), positions, np.array(headings), np.array(zones, np.int64))


def read(
    root: str | Path,
    protocol: Protocol,
    database: str = "database",
    queries: str = "queries",
    radius: float = 25,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read a database and queries.

    As published, UTM metres are compared whatever the zone: images on either side of a zone border are never near.

    Args:
        database, queries: folders below `root`.
        radius: in metres, included.
        missing: `skip` lets the counts differ from the protocol's; the id then says so.

    Raises:
        DataError: missing folders, no images, a name of another form or with degrees, or counts other than the
            protocol's.
        ConfigError: another radius than the protocol id says.
    """
    check_distance(protocol, "radius", radius)
    root = require_sides(root, database, queries, f"{LAYOUT} {database} and {queries}", source)
    map_side, query_side = (_listed(root, folder, protocol.id, source) for folder in (database, queries))
    positions = _metres(np.concatenate([map_side.positions, query_side.positions]), map_side)
    map_side = replace(map_side, positions=positions[: len(map_side)])
    query_side = replace(query_side, positions=positions[len(map_side) :])
    return RetrievalSet(
        as_found(protocol, len(map_side), len(query_side), missing),
        FilePaths(map_side.root, map_side.files),
        FilePaths(query_side.root, query_side.files),
        near(_one_area(map_side), _one_area(query_side), radius),
    )


def _metres(positions: np.ndarray, images: GeotaggedImages) -> np.ndarray:
    """Return positions, 0, 0 as unknown; DataError, which names the first of `images`, where they are degrees."""
    if _degrees(positions):
        raise DataError(
            f"{images.root / images.files[0]}: the first two fields of all names look like degrees. Taken for "
            "metres, every image would be right for every query: write UTM east and north there."
        )
    return zeros_unknown(positions, images.root)


def _degrees(positions: np.ndarray) -> bool:
    """Tell degrees by their fractions, by values up to 180, and by a whole city that fits into one of them."""
    fractions = (positions != np.round(positions)).any()
    return bool(fractions and (np.abs(positions) <= 180).all() and (np.ptp(positions, axis=0) < 1).all())


def _one_area(side: GeotaggedImages) -> GeotaggedImages:
    return replace(side, groups=np.zeros_like(side.groups))


def _heading(fields: list[str]) -> float:
    return float(fields[HEADING]) % 360 if len(fields) == FIELDS and fields[HEADING] else NAN


def _zone(fields: list[str]) -> int:
    """Return the zone number, negative south of the equator (bands C to M)."""
    if len(fields) != FIELDS or not fields[ZONE]:
        return 0
    southern = "C" <= fields[LETTER].upper() <= "M"
    return -int(fields[ZONE]) if southern else int(fields[ZONE])
