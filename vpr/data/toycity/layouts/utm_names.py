"""Names of the deep visual geo-localization benchmark: `@UTM_east@UTM_north@...@.jpg` (Berton et al., CVPR 2022)."""

from __future__ import annotations

from pathlib import Path

from vpr.data.toycity.layouts.album import Album


def write(album: Album, root: Path) -> None:
    """Write `images/test/{database,queries}`; the drawn photos have such names already."""
    for folder, rows in (("database", album.database), ("queries", album.queries)):
        album.put(rows, root / "images/test" / folder, [Path(path).name for path in rows.path])
