"""Photos with GPS, and a describer of them that needs no network and counts what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from vpr.data.images import decode
from vpr.errors import DataError

G = ExifTags.GPS
Take = Callable[..., Path]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """`take("map/a.jpg", view=3, lat=..., lon=...)` writes a photo; views differ, shots of one (noise) hardly."""

    def take(name: str, view: int, lat: float | None = None, lon: float | None = None, noise: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(view).integers(0, 200, (6, 6, 3))
        pixels = pixels + np.random.default_rng((view, noise)).integers(0, 30, (6, 6, 3)) * bool(noise)
        exif = Image.Exif()
        if lat is not None and lon is not None:  # no altitude, as many phones write it
            exif[ExifTags.IFD.GPSInfo] = {
                **{G.GPSLatitudeRef: "N" if lat >= 0 else "S", G.GPSLatitude: (abs(lat), 0, 0)},
                **{G.GPSLongitudeRef: "E" if lon >= 0 else "W", G.GPSLongitude: (abs(lon), 0, 0)},
            }
        Image.fromarray(pixels.astype(np.uint8)).resize((48, 48), Image.Resampling.NEAREST).save(path, exif=exif)
        return path

    return take


@dataclass
class Colours:
    """Describes a photo by the mean colours of its 6 x 6 parts, centred, as `place_index.ExtractPaths`."""

    dim: int = 108
    described: list[str] = field(default_factory=list)

    def __call__(self, paths: Sequence[Path], rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
        bad = {}
        for row in rows.tolist():
            try:
                parts = decode(paths[row]).reshape(6, 8, 6, 8, 3).mean(axis=(1, 3)).ravel() - 110
            except DataError as error:
                bad[row] = str(error)
                continue
            out[row] = parts / np.linalg.norm(parts)
            self.described.append(Path(paths[row]).name)
        return bad


@pytest.fixture
def colours() -> Colours:
    return Colours()
