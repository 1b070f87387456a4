"""NetVLAD's dbStruct .mat files, field by field as published (Arandjelovic et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from vpr.data.toycity.dataset import RADIUS
from vpr.data.toycity.layouts.album import POSITION, Album, stamps


def write_mat(
    path: Path, split: str, album: Album, database: Sequence[str], queries: Sequence[str], with_stamps: bool = False
) -> None:
    """List the photos under these names.

    Args:
        with_stamps: as in TokyoTM, whose fields have another order: the time stamps stand after the positions.
    """
    fields: dict[str, Any] = {"whichSet": split}
    for rows, names, fns, utm, stamp in (
        (album.database, database, "dbImageFns", "utmDb", "dbTimeStamp"),
        (album.queries, queries, "qImageFns", "utmQ", "qTimeStamp"),
    ):
        fields[fns] = np.array(names, object)[:, None]
        fields[utm] = rows[POSITION].to_numpy().T
        if with_stamps:
            fields[stamp] = stamps(rows).astype(np.int32)[None]
    fields |= {"numImages": np.uint16(len(database)), "numQueries": np.uint16(len(queries))}
    fields |= {"posDistThr": np.uint8(RADIUS), "posDistSqThr": np.uint16(RADIUS**2)}
    fields["nonTrivPosDistSqThr"] = np.uint8(100)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"dbStruct": fields}, do_compression=True)
