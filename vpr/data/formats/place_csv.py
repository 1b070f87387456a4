"""A csv that says which place each image shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vpr.data.formats.layout import require_folder
from vpr.data.formats.rows import read_rows
from vpr.data.grouping import group_by_place
from vpr.data.places import Places


def read(
    root: str | Path,
    csv: str = "index.csv",
    path: str = "path",
    place_id: str = "place_id",
    group: str | None = None,
    where: Mapping[str, Any] | None = None,
    min_images_per_place: int = 2,
    name: str = "places",
    source: str = "",
) -> Places:
    """Read the rows of `root/csv` that pass `where`; images of equal `place_id` (and `group`) are one place.

    Args:
        csv: a name below `root`, or an absolute path.
        path: column with the image, relative to `root`.
        place_id: column with the place; numbers or words.
        group: column with the city or sequence, which in-city batches follow.
        where: filters as in `vpr.data.formats.rows.read_rows`.
        min_images_per_place: places with fewer images are left out.
        source: who published the set, and where; for the message if it is not there.

    Raises:
        DataError: no such folder, file or column, no row is left, or no place with enough images.
    """
    columns = [path, place_id, *([group] if group else [])]
    root = require_folder(root, f"{csv} with the columns {', '.join(columns)}, and the images", source)
    rows = read_rows(root / csv, columns, where, text=[path])
    return group_by_place(
        name, root, list(rows[path]), rows[place_id], rows[group] if group else None, min_images_per_place
    )
