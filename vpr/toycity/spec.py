"""Specs of a drawing: the seed, and the number of images for training, testing or panoramas."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vpr.errors import ConfigError

VERSION = 1  # raise it whenever the same seed gives other pixels
CUTOUTS = 12  # views of a panorama, 30 degrees apart


@dataclass(frozen=True)
class TrainSpec:
    """Seed, number of places over both cities, and images of each."""

    seed: int = 0
    places: int = 250
    images_per_place: int = 6
    part: str = "train"
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse sizes that give no city."""
        if self.places < 2 or self.images_per_place < 1:
            raise ConfigError(
                f"toycity: {self.places} places x {self.images_per_place} images; give at least 2 places of 1 image."
            )

    @property
    def images(self) -> int:
        """Images in all."""
        return self.places * self.images_per_place


@dataclass(frozen=True)
class TestSpec:
    """Seed and number of database and query images of the test city."""

    __test__ = False  # no test class, whatever pytest thinks of the name

    seed: int = 0
    database: int = 600
    queries: int = 500
    part: str = "test"
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse sizes that give no city."""
        if self.database < 1 or self.queries < 1:
            raise ConfigError(
                f"toycity: {self.database} database and {self.queries} query images; give at least 1 of each."
            )

    @property
    def images(self) -> int:
        """Images in all."""
        return self.database + self.queries


@dataclass(frozen=True)
class PanoramaSpec:
    """Seed, number of panoramas, each seen in 12 cut-outs, and number of queries, which look anywhere."""

    seed: int = 0
    panoramas: int = 10
    queries: int = 30
    part: str = "panoramas"
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse sizes that give no city."""
        if self.panoramas < 1 or self.queries < 1:
            raise ConfigError(
                f"toycity: {self.panoramas} panoramas and {self.queries} queries; give at least 1 of each."
            )

    @property
    def images(self) -> int:
        """Images in all."""
        return self.panoramas * CUTOUTS + self.queries


Spec = TrainSpec | TestSpec | PanoramaSpec
_KINDS: dict[str, type[Spec]] = {kind.part: kind for kind in (TrainSpec, TestSpec, PanoramaSpec)}


def dump(spec: Spec) -> str:
    """Write a spec as JSON."""
    return json.dumps(asdict(spec), sort_keys=True)


def parse(text: str) -> Spec:
    """Read a spec from JSON."""
    fields: dict[str, Any] = json.loads(text)
    return _KINDS[fields["part"]](**fields)
