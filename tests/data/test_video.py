"""Frames of small videos: by their times, upright, once, and what becomes of damaged files."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.data import video as video_module
from vpr.data.images import decode
from vpr.data.video import extract_frames, is_video
from vpr.errors import ConfigError, DataError

SIZE = (64, 48)  # width, height


def picture(i: int) -> np.ndarray:
    """BGR: grey that grows by 8 with each frame, the upper left quarter green."""
    image = np.full((SIZE[1], SIZE[0], 3), 8 * i, np.uint8)
    image[:24, :32] = [0, 200, 0]
    return image


def record(path: Path, code: str = "MJPG", frames: int = 30, rate: float = 10.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), rate, SIZE)
    for i in range(frames):
        writer.write(picture(i))
    writer.release()
    return path


def record_at(path: Path, ticks: Sequence[int], rate: float = 10.0) -> Path:
    """A frame at each of `ticks` / `rate` seconds."""
    code = cv2.VideoWriter_fourcc(*"MJPG")
    raw = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, SIZE, raw)
    for i, tick in enumerate(ticks):
        writer.set(cv2.VIDEOWRITER_PROP_PTS, tick)
        writer.set(cv2.VIDEOWRITER_PROP_KEY_FLAG, 1)
        writer.write(cv2.imencode(".jpg", picture(i))[1].reshape(1, -1))
    writer.release()
    return path


def numbers(found: list[tuple[float, Path]]) -> list[int]:
    """Return the numbers of these frames, told by their grey."""
    return [round(float(decode(path)[36:, 40:].mean()) / 8) for _, path in found]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return record(tmp_path / "clip.avi")


@pytest.mark.parametrize(("name", "code"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("clip.MKV", "mp4v")])
def test_a_frame_each_second_named_by_it(tmp_path: Path, name: str, code: str) -> None:
    found = extract_frames(record(tmp_path / name, code), tmp_path / "frames" / "clip", 1.0)
    assert [(second, path.name) for second, path in found] == [
        (0.0, "00000.000.jpg"), (1.0, "00001.000.jpg"), (2.0, "00002.000.jpg")]  # fmt: skip
    assert numbers(found) == [0, 10, 20]
    assert np.abs(decode(found[0][1])[4:20, 4:28].astype(int) - [0, 200, 0]).mean() < 12  # RGB


def test_every(clip: Path, tmp_path: Path) -> None:
    assert numbers(extract_frames(clip, tmp_path / "a", 0.25)) == [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]
    assert numbers(extract_frames(clip, tmp_path / "b", 0.1)) == list(range(30))
    assert numbers(extract_frames(clip, tmp_path / "c", 60)) == [0]
    for every in (0, -1, float("nan")):
        with pytest.raises(ConfigError, match="every="):
            extract_frames(clip, tmp_path / "d", every)


def test_times_are_those_of_the_frames_whatever_the_rate(tmp_path: Path) -> None:
    clip = record_at(tmp_path / "uneven.mkv", [0, 1, 2, 10, 11, 37, 40, 41])
    found = extract_frames(clip, tmp_path / "frames", 1.0)
    assert [second for second, _ in found] == [0.0, 1.0, 3.7, 4.0]
    assert numbers(found) == [0, 3, 5, 6]


def test_without_times_the_rate_counts(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoTimes:
        def __init__(self, *source: object) -> None:
            self.capture = whole(*source)

        def get(self, what: int) -> float:
            return 0.0 if what == cv2.CAP_PROP_POS_MSEC else self.capture.get(what)

        def __getattr__(self, name: str) -> object:
            return getattr(self.capture, name)

    whole = cv2.VideoCapture
    monkeypatch.setattr(video_module.cv2, "VideoCapture", NoTimes)
    assert numbers(extract_frames(clip, tmp_path / "frames", 1.0)) == [0, 10, 20]


def test_a_phone_held_upright(tmp_path: Path) -> None:
    clip = record(tmp_path / "phone.mp4", "mp4v", 5)
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 44
    assert struct.unpack(">9i", data[matrix : matrix + 36]) == (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # clockwise by 90 degrees
    clip.write_bytes(data)
    image = decode(extract_frames(clip, tmp_path / "frames", 1.0)[0][1])
    assert image.shape == (64, 48, 3)
    assert np.abs(image[4:28, 28:44].astype(int) - [0, 200, 0]).mean() < 12  # the upper left is the upper right now


def test_nothing_is_extracted_anew(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "frames"
    found = extract_frames(clip, folder, 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(video_module, "_frames", None)  # cannot be called
        assert extract_frames(clip, folder, 1.0) == found
    finer = extract_frames(clip, folder, 0.5)
    assert len(finer) == 6
    os.utime(clip, ns=(0, 0))
    assert extract_frames(clip, folder, 1.0) == found
    assert sorted(path.name for path in folder.iterdir()) == [*(path.name for _, path in found), "frames.json"]
    found[1][1].unlink()
    assert numbers(extract_frames(clip, folder, 1.0)) == [0, 10, 20]


def test_an_interrupted_one_starts_over(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "frames"
    extract_frames(clip, folder, 0.5)
    (folder / "mine.jpg").touch()
    read = video_module._frames

    def stopped(*source: object):
        frames = read(*source)
        yield next(frames)
        yield next(frames)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(video_module, "_frames", stopped)
        extract_frames(clip, folder, 0.2)
    assert not (folder / "frames.json").exists()
    found = extract_frames(clip, folder, 1.0)
    assert numbers(found) == [0, 10, 20]
    names = [*(path.name for _, path in found), "frames.json", "mine.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == names


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv"])
def test_a_truncated_video_is_used_as_far_as_it_goes(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = record(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        extract_frames(clip, tmp_path / "whole", 0.5)
        assert not caplog.records
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        found = extract_frames(clip, tmp_path / "frames", 0.1)
    assert 3 <= len(found) < 20
    assert numbers(found)[:3] == [0, 1, 2]
    assert f"{clip} should last 3.0 s and ends after" in caplog.text


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    text, photo = tmp_path / "text.mp4", tmp_path / "cut.mp4"
    text.write_text("no video " * 100)
    photo.write_bytes(record(tmp_path / "whole.mp4", "mp4v").read_bytes()[:500])
    (tmp_path / "zero.mp4").touch()
    for path in (text, photo, tmp_path / "zero.mp4"):
        with pytest.raises(DataError, match=f"{path.name} cannot be read as a video"):
            extract_frames(path, tmp_path / "frames", 1.0)
    with pytest.raises(DataError, match=r"none\.avi has no frame"):
        extract_frames(record(tmp_path / "none.avi", frames=0), tmp_path / "frames", 1.0)
    with pytest.raises(DataError, match="gone.mp4 cannot be read: No such file"):
        extract_frames(tmp_path / "gone.mp4", tmp_path / "frames", 1.0)
    assert not (tmp_path / "frames").exists()


def test_a_folder_that_cannot_be_written(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"Frames of .*clip\.avi cannot be kept in .*file"):
        extract_frames(clip, tmp_path / "file", 1.0)


def test_videos_are_told_by_their_names() -> None:
    assert is_video(Path("a/Clip.MP4")) and is_video(Path("b.mov"))
    assert not is_video(Path("photo.jpg")) and not is_video(Path("mp4"))
