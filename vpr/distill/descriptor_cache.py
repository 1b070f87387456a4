"""Cache of descriptors on disk, a teacher's or those that tuples are mined by: a mapped row per training image."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vpr.data.npy import map_npy
from vpr.errors import DiskError
from vpr.files import reserved, write_text

log = logging.getLogger(__name__)

BLOCK = 4096
# float16 moves the norm of a row by less than 2^-11.
UNIT = 1e-3


class DescriptorCache:
    """`<name>.npy` of (rows, dim) float16, filled by row number in any order, and its label `<name>.json`.

    A row that is filled has unit norm. Any other one is missing: so an interrupted build needs no book of what is done,
    and rows that a crash of the machine has lost are known, too.

    Args:
        identity: plain values that decide the rows; a file of another identity is never used.
        subject, remedy: for the message where the disk is too small: whose rows, and how they become fewer or shorter.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        identity: Mapping[str, Any],
        rows: int,
        dim: int,
        subject: str = "The teacher's descriptors",
        remedy: str = "keep fewer numbers of each: distillation.teacher.pca=512",
    ) -> None:
        self.subject, self.remedy = subject, remedy
        self.values, self.label = folder / f"{name}.npy", folder / f"{name}.json"
        self.identity = json.loads(json.dumps(identity))
        self.shape = (rows, dim)

    def begin(self) -> bool:
        """Return whether the file is complete and sound; if not, make it ready to be filled.

        What an interrupted build has filled stays. A file that is damaged or does not fit its label is begun anew, with
        a warning.

        Raises:
            DiskError: the disk is too small, or read-only.
        """
        if self.values.exists() or self.label.exists():
            try:
                label = self._checked_label()
                return label["complete"]
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                log.warning("%s is not used but made again: %s.", self.values, error)
        self._create()
        return False

    def attach(self, mode: str = "r+") -> np.memmap:
        """Map the file of `begin`: `r+` to write rows, `r` to read them."""
        return map_npy(self.values, mode)

    def missing(self) -> np.ndarray:
        """Return the rows (int64, rising) that are still to be described."""
        filled = [np.abs(np.linalg.norm(block.astype(np.float32), axis=1) - 1) < UNIT for block in self._blocks()]
        return np.flatnonzero(~np.concatenate([np.empty(0, bool), *filled]))

    def seal(self, bad: Mapping[int, str]) -> None:
        """Label the file as complete but for the rows of `bad`: {row: why its image has none}."""
        self._write_label(complete=True, bad={str(row): why for row, why in bad.items()}, crc32=self._checksum())

    def bad(self) -> dict[int, str]:
        """Return the rows that a complete file lacks, and why."""
        return {int(row): why for row, why in json.loads(self.label.read_text(encoding="utf-8"))["bad"].items()}

    def delete(self) -> None:
        """Remove file and label."""
        self.label.unlink(missing_ok=True)
        self.values.unlink(missing_ok=True)

    def _checked_label(self) -> dict[str, Any]:
        """Return the label of a sound file; any of the errors that `begin` knows otherwise."""
        label = json.loads(self.label.read_text(encoding="utf-8"))
        stored = dict(label["identity"])
        if stored != self.identity:
            differing = [key for key in self.identity | stored if stored.get(key) != self.identity.get(key)]
            raise ValueError(f"it is of another {', '.join(differing)}")
        values = self.attach("r")
        if values.shape != self.shape or values.dtype != np.float16:
            raise ValueError(f"it holds {values.shape} numbers of {values.dtype} instead of {self.shape} of float16")
        if label["complete"] and label["crc32"] != self._checksum():
            raise ValueError("its checksum is not the one that it was written with")
        return label

    def _create(self) -> None:
        try:
            self.values.parent.mkdir(parents=True, exist_ok=True)
            self.delete()
            with reserved(self.values, 2 * self.shape[0] * self.shape[1]):
                np.lib.format.open_memmap(self.values, "w+", np.float16, self.shape)
        except DiskError as error:
            raise DiskError(
                f"{self.subject} of {self.shape[0]:,} images: {error} Point paths.runs to a larger disk, or "
                f"{self.remedy}."
            ) from error
        self._write_label(complete=False)

    def _write_label(self, **content: Any) -> None:
        write_text(self.label, json.dumps({"identity": self.identity, **content}, indent=1) + "\n")

    def _blocks(self) -> Iterator[np.ndarray]:
        values = self.attach("r")
        for start in range(0, len(values), BLOCK):
            yield values[start : start + BLOCK]

    def _checksum(self) -> int:
        crc = 0
        for block in self._blocks():
            crc = zlib.crc32(block.data, crc)
        return crc
