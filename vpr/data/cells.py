"""Training places cut from positions: cells of some metres and some degrees (CosPlace, Berton et al., CVPR 2022).

Places nearer than `apart` metres are not both kept, so that no batch holds one view under two labels.
"""

from __future__ import annotations

import logging
import math

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from vpr.data.geo import from_earth, to_utm, utm_zone
from vpr.data.geotagged import GeotaggedImages
from vpr.data.places import Places, group_by_place
from vpr.errors import ConfigError, DataError

log = logging.getLogger(__name__)

CELL = ["area", "east", "north", "heading"]


def read(
    photos: GeotaggedImages,
    cell: float = 10,
    angle: float | None = 30,
    apart: float = 40,
    min_images_per_place: int = 4,
    name: str | None = None,
) -> Places:
    """Cut places (floor(east / cell), floor(north / cell), floor(heading / angle)) within each group of images.

    CosPlace, Berton et al., CVPR 2022, eq. 1; EigenPlaces, ICCV 2023. Images a metre apart can fall into neighbouring
    places, which a loss over a batch would push away from each other. `apart` leaves places out until none has such a
    neighbour, whatever is drawn into a batch, as GSV-Cities (2022) was made; the most photographed places stay.

    Args:
        photos: geotagged images; those without position, or without heading where headings matter, are left out.
        cell: side of a place in metres.
        angle: degrees of heading in a place, a whole part of 360; 360, None or no heading at all ignores them.
        apart: metres at least between the images of two places that look the same way, in whole cells; places in
            neighbouring ranges of headings count as looking the same way. 40 is the distance of places of one group
            in CosPlace (N = 5 and L = 2); 0 keeps all places.
        min_images_per_place: places with fewer images are left out.
        name: of the source; None takes that of the images.

    Raises:
        ConfigError: sizes that make no cells.
        DataError: no image with a position (and a heading), or no place with enough images.
    """
    angle = 360.0 if angle is None else float(angle)
    if cell <= 0 or apart < 0 or not 0 < angle <= 360 or not (360 / angle).is_integer():
        raise ConfigError(
            f"cell={cell}, angle={angle:g}, apart={apart}: cell is above 0 metres, apart 0 or more, and angle divides "
            "360 degrees into whole parts."
        )
    if angle < 360 and photos.known.any() and not np.isfinite(photos.headings[photos.known]).any():
        log.info("%s: no image has a heading, so places are cut from positions alone (angle=360).", photos.name)
        angle = 360.0
    rows = _usable(photos, angle)
    east, north, areas = _plane(photos.positions[rows], photos.groups[rows])
    headings = np.zeros(len(rows)) if angle == 360 else photos.headings[rows] % 360
    bins = round(360 / angle)
    columns = [areas, np.floor(east / cell), np.floor(north / cell), np.floor(headings / angle) % bins]
    by_cell = pd.DataFrame({name: column.astype(np.int64) for name, column in zip(CELL, columns, strict=True)})
    grouped = by_cell.groupby(CELL)
    place, sizes = grouped.ngroup().to_numpy(), grouped.size()
    cells, counts = sizes.index.to_frame().to_numpy(), sizes.to_numpy()
    kept = counts >= min_images_per_place
    if apart and kept.any():
        enough = kept.sum()
        kept[kept] = _far_apart(cells[kept], counts[kept], math.ceil(apart / cell), bins)
        log.info(
            "%s: %d of %d places are left: their images are %g m apart or more. dataset.train.NAME.apart=0 keeps all; "
            "dataset.train.NAME.cell is the side of a place.",
            *(photos.name, kept.sum(), enough, apart),
        )
    chosen = kept[place] if kept.any() else np.ones(len(rows), bool)
    cut = photos.take(rows[chosen])
    return group_by_place(name or photos.name, cut.root, cut.files, place[chosen], cut.groups, min_images_per_place)


def _usable(images: GeotaggedImages, angle: float) -> np.ndarray:
    """Return the rows that can be put into a cell; warns of the others."""
    placed = images.known
    facing = np.isfinite(images.headings) | (angle == 360)
    rows = np.flatnonzero(placed & facing)
    if not len(rows):
        raise DataError(
            f"{images.name}: of {len(images):,} images in {images.root}, {placed.sum():,} have a position. Places are "
            "cut from positions: give photos with GPS in their EXIF data, or a csv."
        )
    if len(rows) < len(images):
        log.warning(
            "%s: %d images without position and %d without heading are left out of %d.",
            images.name,
            (~placed).sum(),
            (placed & ~facing).sum(),
            len(images),
        )
    return rows


def _plane(positions: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return east and north in metres, and the (N,) area in which they can be compared: group and UTM zone.

    A city across a zone border is not cut in two: images up to 6 degrees from the central meridian of their group's
    commonest zone are projected to that zone, where a metre is one still but for 0.5 %.
    """
    if positions.shape[1] == 2:
        return positions[:, 0], positions[:, 1], groups
    lat, lon = from_earth(positions)
    zones = utm_zone(lat, lon)
    for group in np.unique(groups):
        here = groups == group
        commonest = np.bincount(zones[here]).argmax()
        from_meridian = (lon - (6 * commonest - 183) + 180) % 360 - 180
        zones[here & (np.abs(from_meridian) <= 6)] = commonest
    east, north = np.empty(len(zones)), np.empty(len(zones))
    for zone in np.unique(zones):
        here = zones == zone
        east[here], north[here] = to_utm(lat[here], lon[here], int(zone))
    return east, north, groups * 61 + zones


def _far_apart(cells: np.ndarray, counts: np.ndarray, gap: int, bins: int) -> np.ndarray:
    """Choose places so that none has another one within `gap` cells and one range of headings.

    The places with most images come first, as if they were chosen one after the other: each round takes all those that
    come before every neighbour still in question, and drops their neighbours.

    Args:
        cells: (P, 4) area, east, north, heading; headings go round after `bins`.

    Returns:
        (P,) bool.
    """
    area, east, north, heading = cells.T
    # The largest difference of a coordinate is the distance; one range of headings is as far as the gap.
    points = np.stack([area * (gap + 1), east, north, heading * gap], axis=1)
    tree = cKDTree(points, boxsize=np.array([0, 0, 0, bins * gap]))
    left, right = tree.query_pairs(gap + 0.5, p=np.inf, output_type="ndarray").T
    turn = np.empty(len(cells), np.int64)
    turn[np.argsort(-counts, kind="stable")] = np.arange(len(cells))
    chosen, undecided = np.zeros(len(cells), bool), np.ones(len(cells), bool)
    while undecided.any():
        both = undecided[left] & undecided[right]
        left, right = left[both], right[both]
        first = np.full(len(cells), len(cells))
        np.minimum.at(first, left, turn[right])
        np.minimum.at(first, right, turn[left])
        taken = undecided & (turn < first)
        chosen |= taken
        undecided &= ~taken
        undecided[right[taken[left]]] = False
        undecided[left[taken[right]]] = False
    return chosen
