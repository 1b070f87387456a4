"""Write a drawn city to disk: images by all cores, then the tables; the number of workers changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import simplejpeg
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vpr.errors import DataError
from vpr.toycity.conditions import Condition
from vpr.toycity.scene import draw
from vpr.toycity.spec import Spec, TrainSpec, dump, parse
from vpr.toycity.survey import TOWNS, ZONE, Shot, city_of, shots

_WORTH_WORKERS = 64  # images; fewer are drawn sooner than a worker starts


def path_of(shot: Shot) -> str:
    """Name an image: as in GSV-Cities for training, `@east@north@zone@...` as in the usual test sets otherwise."""
    town, month, north = TOWNS[shot.town][0], shot.view.condition.month, int(shot.heading)
    if shot.role == "train":
        name = (
            f"{town}_{shot.place:07d}_{shot.year:04d}_{month:02d}_{north:03d}_{shot.lat}_{shot.lon}_{shot.panoid}.jpg"
        )
        return f"Images/{town}/{name}"
    position = f"@{shot.east:.2f}@{shot.north:.2f}@{ZONE}@T@{shot.lat:.7f}@{shot.lon:.7f}"
    return f"{shot.role}/{position}@{shot.panoid}@@{north}@@@@{shot.year}{month:02d}@{shot.view.condition.name}@.jpg"


def draw_city(folder: Path, spec: Spec, workers: int | None = None) -> None:
    """Draw all images of a spec into `folder` and write its tables; shows a progress bar.

    `workers` is the number of processes (default: one a core).
    """
    planned = shots(spec)
    for path in {(folder / path_of(shot)).parent for shot in planned}:
        path.mkdir(parents=True, exist_ok=True)
    workers = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task(f"drawing toycity/{spec.part}", total=len(planned))
        if workers == 1 or len(planned) < _WORTH_WORKERS:
            for shot in planned:
                _image(folder, spec, shot)
                progress.advance(task)
        else:
            _share(folder, spec, len(planned), workers, progress, task)
    _tables(folder, spec, planned)


def photo(spec: Spec, shot: Shot) -> bytes:
    """Draw an image of a spec: a JPEG file."""
    view = shot.view
    image = develop(draw(city_of(spec, shot.town), view), view.condition, np.random.default_rng((*view.seed, 8)))
    return simplejpeg.encode_jpeg(image, quality=view.condition.quality, colorsubsampling="420")


def _image(folder: Path, spec: Spec, shot: Shot) -> None:
    (folder / path_of(shot)).write_bytes(photo(spec, shot))


def _share(folder: Path, spec: Spec, count: int, workers: int, progress: Progress, task: TaskID) -> None:
    """Let fresh processes draw a stretch each; multiprocessing would run the caller's script again or fork it."""
    bounds = np.linspace(0, count, workers + 1).astype(int)
    package = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "vpr.toycity.writer", str(folder), dump(spec)]
    children = [
        subprocess.Popen([*command, str(a), str(b)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})
        for a, b in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    try:
        while any(child.poll() is None for child in children) and not any(child.returncode for child in children):
            for child in children:
                if child.stdout is not None and child.stdout.read(1):  # one dot an image
                    progress.advance(task)
    finally:
        for child in children:
            child.kill()
            child.wait()
    failed = [child.returncode for child in children if child.returncode]
    if failed:
        raise DataError(f"toycity: a drawing process ended with code {max(failed)}; its message stands above.")
    progress.update(task, completed=count)


def _tables(folder: Path, spec: Spec, planned: list[Shot]) -> None:
    rows = [
        {
            "path": path_of(s),
            "role": {"queries": "query"}.get(s.role, s.role),
            "place_id": s.place,
            "utm_east": s.east,
            "utm_north": s.north,
            "lat": s.lat,
            "lon": s.lon,
            "heading": round(s.heading, 1),
            "northdeg": int(s.heading),
            "year": s.year,
            "month": s.view.condition.month,
            "condition": s.view.condition.name,
            "city_id": TOWNS[s.town][0],
            "street": city_of(spec, s.town).streets[s.view.street].name,
            "street_number": s.view.street,
            "panoid": s.panoid,
        }
        for s in planned
    ]
    table = pd.DataFrame(rows)
    table.drop(columns="northdeg").to_csv(folder / "index.csv", index=False)
    if isinstance(spec, TrainSpec):
        (folder / "Dataframes").mkdir()
        for town, part in table.groupby("city_id", sort=False):
            columns = ["place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid"]
            part[columns].to_csv(folder / "Dataframes" / f"{town}.csv", index=False)


def develop(image: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Turn a drawn view (h, w, 3) float32 into an image, uint8 of the same size, as the electronics of a camera do.

    Exposure, white balance, vignette, raindrops and snowflakes, noise.
    """
    if condition.wet or condition.snow == 2:
        _falling(image, condition.wet, rng)
    mean = 75.0 if condition.night else 118.0
    gain = condition.exposure * min(max((mean / float(image.mean())) ** 0.6, 0.7), 1.5)  # automatic exposure
    image = image * (_vignette(*image.shape[:2]) * np.array(condition.balance, np.float32) * np.float32(gain))
    image += condition.noise * (0.6 + image / 400) * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _vignette(h: int, w: int) -> np.ndarray:
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
    return (1 - np.float32(0.13) * (x * x + y * y))[..., None]


def _falling(image: np.ndarray, rain: bool, rng: np.random.Generator) -> None:
    h, w, _ = image.shape
    layer = np.zeros((h, w), np.uint8)
    slant = rng.uniform(-3, 3)
    for x, y, size in rng.uniform((0, 0, 0.5), (w, h, 1.5), (int(rng.integers(30, 90)), 3)):
        if rain:
            cv2.line(layer, (int(x), int(y)), (int(x + slant * size), int(y + 9 * size)), 60, 1, cv2.LINE_AA)
        else:
            cv2.circle(layer, (int(x), int(y)), int(size), 170, -1, cv2.LINE_AA)
    image += (235 - image) * (layer[..., None] / 255.0)


def _main(folder: str, spec_text: str, first: str, last: str) -> None:
    cv2.setNumThreads(1)
    spec = parse(spec_text)
    by_place = sorted(shots(spec), key=lambda shot: (shot.town, shot.place))  # so that each worker draws its own houses
    for shot in by_place[int(first) : int(last)]:
        _image(Path(folder), spec, shot)
        sys.stdout.write(".")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
