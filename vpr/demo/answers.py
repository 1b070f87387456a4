"""What the demo is asked and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Position(NamedTuple):
    """WGS 84 degrees."""

    lat: float
    lon: float


@dataclass(frozen=True)
class Query:
    """A photo that is asked for; a frame of a video is a photo on disk, too.

    Attributes:
        name: what it is called in all output: its path below the folder that was given, or the video and the second.
        path: the file.
        position: where it says itself that it was taken, if it does; it is shown, and used for nothing else.
    """

    name: str
    path: Path
    position: Position | None = None


@dataclass(frozen=True)
class Match:
    """A photo of the database: row in the index, name below the database's folder, file, cosine similarity."""

    row: int
    name: str
    path: Path
    similarity: float
    position: Position | None = None

    @property
    def distance(self) -> float:
        """Euclidean distance of the two unit descriptors, 0 to 2."""
        return math.sqrt(max(0.0, 2 - 2 * self.similarity))


@dataclass(frozen=True, eq=False)
class Heat:
    """What makes two photos similar: two maps, (h, w) float32 in 0..1 each, stretched over the whole photo."""

    query: np.ndarray
    match: np.ndarray


@dataclass(frozen=True)
class Answer:
    """The matches of one query, most similar first.

    Attributes:
        error: why the photo could not be read; there are no matches then.
        position: estimate of where it was taken; None where the matches have no positions.
        confidence: probability that the first match is right; None without calibration.
        accepted: whether `confidence` reaches the threshold of the calibration; None without.
        heat: of the query and its first match, where it was asked for.
        exact: whether an exact search has the same first match; None where it was not asked, or is exact itself.
    """

    query: Query
    matches: tuple[Match, ...] = ()
    error: str = ""
    position: Position | None = None
    confidence: float | None = None
    accepted: bool | None = None
    heat: Heat | None = None
    exact: bool | None = None
