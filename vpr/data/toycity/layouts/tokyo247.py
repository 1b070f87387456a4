"""Tokyo 24/7: 12 cut-outs a panorama, in one folder a position (Torii et al. 2015; Arandjelovic et al. 2016)."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from vpr.data.toycity.layouts.album import Album, numbered, yaws
from vpr.data.toycity.layouts.mat import write_mat


def write(album: Album, root: Path) -> None:
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
