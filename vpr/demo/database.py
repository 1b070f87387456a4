"""The database of the demo: its photos, their positions, and the index that follows them from run to run.

Two photos of one name, size and time of change are the same photo. The index notes the source of its positions and the
file of its model.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpr.data.formats.exif import read_fixes
from vpr.data.formats.folders import natural, require_folder, walk_images
from vpr.data.formats.image_folder import from_csv, has_metres
from vpr.errors import CheckpointError, DataError, IndexDamaged
from vpr.retrieval.index.codecs import Codec, Exact
from vpr.retrieval.index.place_index import Change, ExtractPaths, Photos, PlaceIndex

log = logging.getLogger(__name__)

DATABASE = "the photos of the database, in sub-folders or not"


def photos(folder: str | Path, csv: str | Path | None = None, known: Photos | None = None) -> Photos:
    """List the photos below a folder, each once, in natural order, with positions in degrees, NaN where unknown.

    Args:
        csv: columns path, lat, lon; in the working folder or in this one, to which its paths are relative in any case.
            None: EXIF GPS.
        known: photos whose EXIF data need not be read again, where they are unchanged.

    Raises:
        DataError: no such folder, no images, or a csv that is not there, cannot be read or names none of the photos.
    """
    root = Path(os.path.abspath(require_folder(folder, DATABASE)))
    listed = Photos.on_disk(root, sorted(walk_images(root), key=natural), absent_too=True)
    if csv is not None:
        path = _csv_path(root, Path(csv).expanduser())
        if has_metres(path):
            raise DataError(
                f"{path} has x and y in metres, and the demo shows places on earth: give lat and lon in degrees, or "
                "leave positions out. Training and evaluation take metres."
            )
        positions = from_csv(root, "", list(listed.files), path, missing="skip")[:, :2]
        if np.isnan(positions).all():
            raise DataError(
                f"No row of {path} names a photo of the database. Paths there must be relative to {root}, such as "
                f"{listed.files[0]}."
            )
        return replace(listed, positions=positions)
    rows = np.full(len(listed), -1) if known is None else listed.rows_in(known)
    unread = np.flatnonzero(rows < 0)
    positions = np.full((len(listed), 2), np.nan)
    if known is not None:
        positions[rows >= 0] = known.positions[rows[rows >= 0]]
    positions[unread] = [fix[:2] for fix in read_fixes(listed.take(unread).paths)] or positions[unread]
    return replace(listed, positions=positions)


def _csv_path(root: Path, csv: Path) -> Path:
    places = dict.fromkeys([csv.absolute(), root / csv])
    for path in places:
        if os.path.isfile(path):
            return path
    raise DataError(f"There is no file positions={csv} (looked for {' and '.join(map(str, places))}).")


def index_folder(database: str | Path, runs: str | Path) -> Path:
    """Return the default folder of the index of a database: one of its own for each path."""
    whole = os.path.abspath(database)
    return Path(runs) / "indexes" / f"{Path(whole).name}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]}"


def open_index(
    folder: str | Path,
    database: str | Path,
    csv: str | Path | None,
    extract_paths: ExtractPaths,
    dim: int,
    model: str,
    ckpt: str,
    codec: Codec | None = None,
    rebuild: bool = False,
    verify: bool = False,
) -> tuple[PlaceIndex, Change]:
    """Make the index in `folder` hold the photos of `database` as they are now; new and changed ones are described.

    Args:
        csv: as for `photos`.
        extract_paths, dim, model, codec: as for `PlaceIndex.build`.
        ckpt: the model's file, which the index remembers for whoever comes with another one.
        rebuild: describe all anew, in place of what is there.
        verify: compare all of it with its digests first.

    Raises:
        CheckpointError: the index was made with another model.
        DataError: it is of other photos, damaged or in use, or there is no photo that can be read.
        ConfigError: the codec does not go with these photos.
    """
    codec = codec or Exact()
    index = _open(Path(folder), model, ckpt, verify) if PlaceIndex.exists(folder) and not rebuild else None
    facts = {"positions": "exif" if csv is None else str(csv), "ckpt": os.path.abspath(ckpt)}
    reread = index is None or index.schema.get("positions") != "exif"
    current = photos(database, csv, None if reread else index.photos)  # type: ignore[union-attr]
    if index is None:
        index, change = PlaceIndex.build(folder, current, extract_paths, dim, model, codec)
    elif not os.access(folder, os.W_OK):
        _check_same_photos(index, current)
        return index, _as_it_is(index, current, codec)
    else:
        _check_same_photos(index, current)
        change = index.update(current, extract_paths)
        if index.codec != codec:
            index.recode(codec)
    if any(index.schema.get(name) != value for name, value in facts.items()):
        index.note(**facts)
    return index, change


def _open(folder: Path, model: str, ckpt: str, verify: bool) -> PlaceIndex:
    try:
        index = PlaceIndex(folder)
        if verify:
            index.verify()
    except IndexDamaged as error:
        raise IndexDamaged(f"{error} index.rebuild=true does so.") from error
    if index.model != model:
        earlier = index.schema.get("ckpt")
        raise CheckpointError(
            f"The place index in {folder} was made with another model ({index.model[:12]}) than that of {ckpt} "
            f"({model[:12]}): their descriptors cannot be compared. Type index.folder=FOLDER for a second index, "
            f"index.rebuild=true to describe all photos anew, or the earlier ckpt{f'={earlier}' if earlier else ''}."
        )
    return index


def _as_it_is(index: PlaceIndex, current: Photos, codec: Codec) -> Change:
    """Take an index that cannot be written, on a share for example, with the positions that its photos have now."""
    row = index.photos.rows_in(current)
    here = row >= 0
    positions = index.photos.positions.copy()
    positions[here] = current.positions[row[here]]
    index.photos = replace(index.photos, root=current.root, positions=positions)
    new = int((current.rows_in(index.photos) < 0).sum())
    if new or not here.all():
        log.warning(
            "The place index in %s cannot be written, and is asked as it is: %d photos of the database are new, "
            "changed or unreadable and are not in it, and %d of it are no longer there. index.folder=FOLDER makes "
            "another one.",
            *(index.folder, new, (~here).sum()),
        )
    if index.codec != codec:
        log.warning("The place index in %s cannot be written, and stays %s.", index.folder, index.codec.id)
    return Change(kept=len(index))


def _check_same_photos(index: PlaceIndex, current: Photos) -> None:
    if current.root != index.photos.root and (current.rows_in(index.photos) < 0).all():
        raise DataError(
            f"The place index in {index.folder} holds other photos, those in {index.photos.root}. Type "
            f"index.folder=FOLDER for one of {current.root}, or index.rebuild=true to replace it."
        )
