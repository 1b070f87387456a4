"""Frames of a photo, a folder, a video, a camera or a stream, for locate.py; OpenCV for the last three alone."""

import collections
import itertools
import os
import pathlib
import re
import sys
import threading
import time

import numpy as np
from describe import read
from PIL import Image

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"}
VIDEOS = {".mp4", ".m4v", ".mov", ".3gp", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv", ".flv"}
LONGEST = 30.0  # seconds between two tries of a stream

Frame = collections.namedtuple("Frame", "name group image error facts", defaults=("", {}))
"""Name, sequence that it belongs to, upright RGB image of Pillow or None, the error then, and more for its line."""


def printable(text):
    """Return a text without what would command a terminal: names may hold anything."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def fail(message):
    """End with a message and the exit code of bad input."""
    print(f"{pathlib.Path(sys.argv[0]).name}: {printable(message)}", file=sys.stderr)
    raise SystemExit(2)


def frames_of(source, every, tries, size):
    """Return the frames of what is named on the command line; a number is a camera, and `live` is read on and on."""
    if isinstance(source, int) or "://" in source:
        return live(source, every, tries)
    path = pathlib.Path(source)
    if not path.exists():
        fail(
            f"There is no file or folder {path.absolute()}. Type a photo, a folder, a video, an address or --camera 0."
        )
    return video(path, every) if path.suffix.lower() in VIDEOS and path.is_file() else photos(path, size)


def natural(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def photos(source, size):
    folder = source.is_dir()
    files = (
        (p for p in source.rglob("*") if p.suffix.lower() in IMAGES and not p.name.startswith("."))
        if folder
        else [source]
    )
    paths = {(str(path.relative_to(source)) if folder else path.name): path for path in files}
    if not paths:
        fail(f"There are no images in {source}.")
    for name in sorted(paths, key=natural):
        try:
            yield Frame(name, os.path.dirname(name), read(paths[name], size))
        except ValueError as error:
            yield Frame(name, os.path.dirname(name), None, str(error))


def opened(source):
    """Return cv2's capture of a video, a camera or a stream, opened or not."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong is said here
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    except ImportError:
        fail(f"{source}: videos, cameras and streams need OpenCV. Type pip install opencv-python-headless")
    if isinstance(source, int):
        return cv2.VideoCapture(source)
    waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10000]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, waits)


def video(source, every):
    capture, due, second, read_once = opened(str(source)), 0.0, -1.0, False
    step = 1 / ((capture.get(5) if capture.isOpened() else 0) or 25.0)  # CAP_PROP_FPS
    while capture.isOpened() and capture.grab():
        position = capture.get(0) / 1000  # CAP_PROP_POS_MSEC; not every file gives times
        second = position if position > second else max(second, -step) + step
        whole, pixels = capture.retrieve() if second >= due - 0.001 else (False, None)
        if whole:
            read_once, due = True, every * (np.floor((second + 0.001) / every) + 1)
            yield Frame(
                f"{source.name} {second:.3f} s",
                "",
                Image.fromarray(np.ascontiguousarray(pixels[..., ::-1])),
                facts={"second": round(second, 3)},
            )
    if not read_once:
        fail(f"{source} has no frame that can be read: it is no video, damaged, or of an unknown kind.")


def live(source, every, tries):
    """Yield the newest frame each `every` seconds; a picture that breaks off is opened again, and that is said."""
    label = f"camera {source}" if isinstance(source, int) else re.sub(r"//[^/@]*@", "//", source)
    wait, failed, total = 1.0, 0, 0
    for group in itertools.count():
        capture, newest, ended = opened(source), collections.deque(maxlen=1), threading.Event()

        def pump(capture=capture, newest=newest, ended=ended):
            while not ended.is_set() and (shot := capture.read())[0]:
                newest.append(shot[1])
            ended.set()

        thread, due, before = threading.Thread(target=pump, daemon=True), 0.0, total
        thread.start()
        try:
            while newest or not ended.is_set():
                if newest and time.monotonic() >= due:
                    due, total, now = time.monotonic() + every, total + 1, time.time()
                    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
                    yield Frame(
                        f"{label} {stamp}",
                        group,
                        Image.fromarray(np.ascontiguousarray(newest.pop()[..., ::-1])),
                        facts={"time": stamp},
                    )
                elif ended.is_set():
                    break
                time.sleep(0.005)
        finally:
            ended.set()
            thread.join()
            capture.release()
        if not total:
            fail(f"{label} gives no picture: it is not there, in use, or its address is wrong.")
        wait, failed = (1.0, 1) if total > before else (min(2 * wait, LONGEST), failed + 1)
        if tries and failed > tries:
            fail(f"{label} broke off after {total} frames, and {tries} tries did not bring it back.")
        print(
            f"{printable(label)} broke off after {total} frames; it is tried again in {wait:g} s.",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(wait)
