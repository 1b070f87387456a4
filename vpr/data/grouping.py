"""From rows of images to places."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vpr.data.file_names import FileNames
from vpr.data.places import Places
from vpr.errors import DataError

log = logging.getLogger(__name__)


def group_by_place(
    name: str,
    root: Path,
    files: Sequence[str],
    places: Sequence[object] | np.ndarray | pd.Series,
    groups: Sequence[object] | np.ndarray | pd.Series | None = None,
    min_images_per_place: int = 1,
) -> Places:
    """Sort images by (group, place); within a place the rows keep their order.

    Args:
        files: N names relative to `root`.
        places: N place ids; integers are kept as `Places.ids`, anything else is numbered in sorted order. Equal ids in
            different groups are different places.
        groups: N names or numbers of cities or sequences; None is one group.
        min_images_per_place: places with fewer images are left out.

    Raises:
        DataError: no place is left.
    """
    place_codes, place_names = pd.factorize(np.asarray(places), sort=True)
    group_codes, group_names = pd.factorize(
        np.zeros(len(files), int) if groups is None else np.asarray(groups), sort=True
    )
    keys = group_codes * len(place_names) + place_codes
    order = np.argsort(keys, kind="stable")
    unique, counts = np.unique(keys, return_counts=True)
    kept = counts >= min_images_per_place
    if not kept.any():
        raise DataError(
            f"{name}: {len(files):,} images of {len(unique):,} places in {root}, but no place has "
            f"{min_images_per_place} images or more. Check the root and the filters, or lower min_images_per_place."
        )
    if not kept.all():
        log.info(
            "%s: %d of %d places have fewer than %d images and are left out.",
            name,
            (~kept).sum(),
            len(kept),
            min_images_per_place,
        )
    names = files if isinstance(files, FileNames) else FileNames(files)
    codes = unique[kept] % len(place_names)
    integers = np.issubdtype(np.asarray(place_names).dtype, np.integer)
    return Places(
        name=name,
        root=root,
        files=names.bytes[order[np.repeat(kept, counts)]],
        starts=np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
        ids=np.asarray(place_names)[codes].astype(np.int64) if integers else codes.astype(np.int64),
        groups=(unique[kept] // len(place_names)).astype(np.int64),
    )
