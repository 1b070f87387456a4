"""Place bundle: the shipped folder with the photos of a place index, and `locate.py`, which searches it without torch.

It adds `descriptors.npy` (N, D) float16, `photos.csv` (path, lat, lon), and `place.json`, which names the model that
describes queries and has its digest, the index, and the calibration of its confidence. The photos themselves stay where
they are. Rows are in natural order, folder by folder: the frames of a folder are a sequence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vpr.data.formats.folders import natural
from vpr.errors import CheckpointError
from vpr.files import csv_line
from vpr.models.onnx_describer import file_digest
from vpr.retrieval.calibration import Calibrated
from vpr.retrieval.index.place_index import PlaceIndex

FORMAT = "vpr-place-1"
TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("locate.py", "frames.py", "positions.py")
BLOCK = 4096  # rows copied at once


@dataclass(frozen=True)
class PlaceBundle:
    """Content of a place bundle, before there is a folder.

    Args:
        index: of the photos.
        calibrated: confidence of the model that described them; None: there is none.
    """

    index: PlaceIndex
    calibrated: Calibrated | None = None

    @classmethod
    def open(cls, folder: str | Path, digest: str, ckpt: str, calibrated: Calibrated | None = None) -> PlaceBundle:
        """Open the index in `folder`, which must have been made with the model that is exported.

        Args:
            digest, ckpt: of its checkpoint, and that file for messages.

        Raises:
            CheckpointError: it was made with another model.
            DataError: there is no index, or it is damaged.
        """
        index = PlaceIndex(folder)
        if index.model != digest:
            earlier = f", {index.schema['ckpt']}" if index.schema.get("ckpt") else ""
            raise CheckpointError(
                f"index={folder} was made with another model ({index.model[:12]}{earlier}) than that of ckpt={ckpt} "
                f"({digest[:12]}): their descriptors cannot be compared. Export that model, or make an index of this "
                f"one: python demo.py ckpt={ckpt} database=PHOTOS query=PHOTO index.folder=FOLDER."
            )
        return cls(index, calibrated)

    def write(self, folder: Path, files: Sequence[str]) -> list[str]:
        """Write into a folder that holds the exported model; return what there is to say about it, line by line.

        Args:
            files: names of the .onnx files in `folder`; `locate.py` uses the first unless told otherwise.
        """
        index, photos = self.index, self.index.photos
        rows = np.array(sorted(range(len(index)), key=lambda row: _in_order(photos.files[row])), np.int64)
        descriptors = np.lib.format.open_memmap(folder / "descriptors.npy", "w+", np.float16, (len(index), index.dim))
        for low in range(0, len(rows), BLOCK):
            descriptors[low : low + BLOCK] = index.descriptors[rows[low : low + BLOCK]]
        descriptors.flush()
        placed = photos.unit == "degrees"
        with open(folder / "photos.csv", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(csv_line(["path", "lat", "lon"]))
            for row in rows.tolist():
                position = photos.positions[row].tolist() if placed else ()
                known = [repr(value) for value in position if value == value]
                file.write(csv_line([photos.files[row], *(known or ("", ""))]))
        facts = {
            "format": FORMAT,
            "photos": len(index),
            "dim": index.dim,
            "models": {name: file_digest(folder / name) for name in files},
            "index": {"model": index.model, "photos": photos.digest, "codec": index.codec.id},
            "calibration": self._calibration(files),
        }
        (folder / "place.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for script in SCRIPTS:
            shutil.copyfile(TEMPLATES / script, folder / script)
        with open(folder / "README.md", "a", encoding="utf-8") as readme:
            readme.write((TEMPLATES / "place.md").read_text(encoding="utf-8"))
        return list(self._messages(files))

    def _calibration(self, files: Sequence[str]) -> dict[str, Any] | None:
        """Return the calibration, plain, and the files that it holds for; those of int8 have other similarities."""
        if self.calibrated is None:
            return None
        holds = [name for name in files if "int8" not in name]
        return {**self.calibrated.calibration.plain(), "protocol": self.calibrated.protocol, "models": holds}

    def _messages(self, files: Sequence[str]) -> list[str]:
        index, photos = self.index, self.index.photos
        size = 2 * len(index) * index.dim / 1e6
        lines = [
            f"place bundle: {len(index):,} photos, {size:,.1f} MB of descriptors; ask it by locate.py, with {files[0]}"
        ]
        if index.codec.coded:
            lines.append(
                f"The index is searched by codes ({index.codec.id}), the bundle by the descriptors that it keeps "
                "beside them: exactly, so that first matches can differ from those of demo.py."
            )
        if photos.unit != "degrees":
            lines.append(f"Positions in the index are {photos.unit}, not degrees: locate.py gives none.")
        elif np.isnan(photos.positions).any(axis=1).all():
            lines.append("No photo of the index has a position: locate.py gives none.")
        if self.calibrated is None:
            lines.append(
                "No calibration: locate.py gives no confidence. calibrate=SET or a calibration_*.json adds one."
            )
        elif any("int8" in name for name in files):
            lines.append(
                "The calibration is that of the checkpoint; locate.py gives no confidence with model.int8.onnx."
            )
        return lines


def _in_order(name: str) -> tuple[list[str | int], list[str | int]]:
    return natural(str(PurePath(name).parent)), natural(name)
