"""Queries: a photo, a folder, a video, or nothing of the kind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.demo import queries
from vpr.demo.answers import Position
from vpr.errors import ConfigError, DataError


def test_one_photo_says_where_it_was_taken(take, tmp_path: Path) -> None:
    (one,) = queries.find(take("new/a.jpg", 0, -33.9, -18.4), tmp_path)
    assert one.name == "a.jpg" and one.path == tmp_path / "new/a.jpg"
    assert one.position == pytest.approx(Position(-33.9, -18.4), abs=1e-6)


def test_a_folder_with_folders_in_natural_order(take, tmp_path: Path) -> None:
    for view, name in enumerate(["10.jpg", "2.jpg", "trip/1.png", ".thumbs/2.jpg"]):
        take(f"new/{name}", view)
    found = queries.find(tmp_path / "new", tmp_path)
    assert [one.name for one in found] == ["2.jpg", "10.jpg", "trip/1.png"]
    assert all(one.position is None and one.path.is_file() for one in found)


def test_any_other_file_is_asked_as_a_photo(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    assert [one.name for one in queries.find(tmp_path / "notes.txt", tmp_path)] == ["notes.txt"]


def test_frames_of_a_video(tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 4, (64, 48))
    for shade in range(8):
        video.write(np.full((48, 64, 3), 30 * shade, np.uint8))
    video.release()
    found = queries.find(tmp_path / "walk.avi", tmp_path / "frames", every=0.5)
    assert [one.name for one in found] == [f"walk.avi {second:.3f} s" for second in (0, 0.5, 1, 1.5)]
    assert all(one.path.parent == tmp_path / "frames" and one.path.is_file() for one in found)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty\.mp4 .*video"):
        queries.find(tmp_path / "empty.mp4", tmp_path / "frames")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There are no images in"):
        queries.find(tmp_path, tmp_path)
    with pytest.raises(DataError, match=r"no file or folder .*gone\.jpg\. Type query="):
        queries.check_query(tmp_path / "gone.jpg")
    (tmp_path / "a.jpg").write_bytes(b"")
    queries.check_query(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="only a folder can be watched"):
        queries.check_query(tmp_path / "a.jpg", watched=True)


def test_output_inside_of_what_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "new")
    for out in ("new", "new/a/b", "link/a"):
        with pytest.raises(ConfigError, match=r"out=.* lies in query=.*new, .*: type another out="):
            queries.check_outside(tmp_path / out, database=tmp_path / "map", query=tmp_path / "new")
    queries.check_outside(tmp_path / "newer", query=tmp_path / "new")


def test_videos_among_photos_are_told(take, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    take("new/a.jpg", 0)
    for name in ("new/b.mp4", "new/sub/c.MOV", "new/.hidden/d.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [one.name for one in queries.find(tmp_path / "new", tmp_path)] == ["a.jpg"]
    assert "2 videos in" in caplog.text and f"query={tmp_path}/new/b.mp4" in caplog.text
