"""Frames of a video, extracted as JPEGs."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from vpr.data.images import readable
from vpr.errors import ConfigError, DataError
from vpr.files import write_text

log = logging.getLogger(__name__)

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv", ".ogv"}
)
QUALITY = 95  # of the JPEGs
LIST = "frames.json"
FRAME = re.compile(r"\d{5,}\.\d{3}\.jpg")
ROUNDING = 0.001  # seconds: some containers count in whole milliseconds


def is_video(path: Path) -> bool:
    """Tell by the suffix."""
    return path.suffix.lower() in SUFFIXES


def extract_frames(video: Path, folder: Path, every: float) -> list[tuple[float, Path]]:
    """Write a frame each `every` seconds into `folder`, upright JPEGs named by their second, such as 00012.500.jpg.

    Times are those that the video gives its frames, whatever their rate. A list of the frames is written last: while it
    is there and the video has the same size and time of change, nothing is extracted anew; without it, as after an
    interruption, the frames in the folder are replaced.

    Returns:
        Seconds since the start and file of each frame, in order.

    Raises:
        DataError: this is no video, it has no frame that can be read, or the folder cannot be written. A video that
            ends early is used as far as it goes, with a warning.
        ConfigError: `every` is not above 0.
    """
    if not every > 0:
        raise ConfigError(f"every={every}: give the seconds between two frames, such as every=1.")
    with readable(video):
        status = video.stat()
    source = {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "every": every}
    try:
        names = _listed(folder, source)
        if names is None:
            names = _write(video, folder, every)
            write_text(folder / LIST, json.dumps({**source, "frames": names}))
    except OSError as error:
        raise DataError(f"Frames of {video} cannot be kept in {folder} ({error.strerror or error}).") from error
    return [(float(name.removesuffix(".jpg")), folder / name) for name in names]


def _listed(folder: Path, source: dict[str, float]) -> list[str] | None:
    """Return the names of the frames extracted from this source; None where that was not finished, or one is gone."""
    try:
        listed = json.loads((folder / LIST).read_text())
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    names = listed.pop("frames")
    return names if listed == source and all((folder / name).is_file() for name in names) else None


def _write(video: Path, folder: Path, every: float) -> list[str]:
    frames = _frames(video, every)
    first = next(frames)  # raises, before there is a folder, where there is none
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LIST).unlink(missing_ok=True)
    for old in [entry for entry in folder.iterdir() if FRAME.fullmatch(entry.name)]:
        old.unlink()
    names = []
    for second, frame in chain([first], frames):
        names.append(f"{second:09.3f}.jpg")
        _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        (folder / names[-1]).write_bytes(jpeg.tobytes())
    return names


def _frames(video: Path, every: float) -> Iterator[tuple[float, np.ndarray]]:
    """Yield time in seconds and BGR pixels of a frame each `every` seconds, with a progress bar on a terminal."""
    capture = _open(video)
    rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # below 0 where the file does not say
    console = Console(stderr=True)
    second, due, read = -1 / rate, 0.0, 0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading the video", total=count if count > 0 else None)
        while capture.grab():  # looks at each frame: videos cannot be relied on to find one by its time
            bar.advance(task)
            position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            second = position if position > second else second + 1 / rate  # not every file gives times
            if second < due - ROUNDING:
                continue
            whole, frame = capture.retrieve()  # turned upright as the file says
            if whole:
                read += 1
                due = every * (math.floor((second + ROUNDING) / every) + 1)
                yield second, frame
    capture.release()
    if not read:
        raise DataError(f"{video} has no frame that can be read: it is empty, damaged or incomplete.")
    missing = count / rate - second
    if missing > max(every, 0.5):
        log.warning("%s should last %.1f s and ends after %.1f s: it is damaged or incomplete. The %s frames until "
                    "then are used.", video, count / rate, second, f"{read:,}")  # fmt: skip


def _open(video: Path) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what is wrong is said here
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        raise DataError(
            f"{video} cannot be read as a video: it is something else, damaged or incomplete, or of a kind that FFmpeg "
            "in OpenCV does not know. Convert it to .mp4, or to a folder of photos."
        )
    return capture
