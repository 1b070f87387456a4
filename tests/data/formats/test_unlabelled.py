"""Images without labels: folders, videos, lists, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.data.formats.unlabelled import each_for_itself, of_paths, read
from vpr.data.places import Places
from vpr.errors import DataAbsent, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("10.jpg", "9.jpg", "sub/1.png"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    (root / "list.csv").write_text("path,x\nsub/1.png,1\n9.jpg,2\n")
    (root / "list.txt").write_text("9.jpg\n\nsub/1.png\n")
    return root


def paths(places: Places) -> list[Path]:
    assert np.array_equal(places.starts, np.arange(len(places) + 1))
    return [places.path(row) for row in range(len(places))]


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    assert paths(read(folder, tmp_path)) == [folder / name for name in ("9.jpg", "10.jpg", "sub/1.png")]


@pytest.mark.parametrize("name", ["list.csv", "list.txt"])
def test_a_list(folder: Path, tmp_path: Path, name: str) -> None:
    assert set(paths(read(folder / name, tmp_path))) == {folder / "9.jpg", folder / "sub/1.png"}


def test_several_that_name_an_image_twice(folder: Path, tmp_path: Path) -> None:
    both = read([str(folder / "list.txt"), str(folder)], tmp_path)
    assert paths(both) == [folder / name for name in ("9.jpg", "sub/1.png", "10.jpg")]


def test_a_video(tmp_path: Path) -> None:
    file = tmp_path / "walk.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 32))
    for level in range(30):
        writer.write(np.full((32, 32, 3), 8 * level, np.uint8))
    writer.release()
    frames = paths(read(file, tmp_path / "frames", every=1))
    assert len(frames) == 3 and all(path.is_file() and tmp_path / "frames" in path.parents for path in frames)


def test_the_same_images_below_another_folder_have_the_same_names(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    assert read(moved, tmp_path).files.tolist() == [b"9.jpg", b"10.jpg", b"sub/1.png"]


def test_files_are_taken_as_they_are(tmp_path: Path) -> None:
    files = np.array([b"10.jpg", b"sub/9.jpg", b"10.jpg", b"1.jpg"])
    places = each_for_itself("x", Path("photos/.."), files, np.array([3, 4, 5, 6]))
    assert places.root == Path("photos/..") and places.files.tolist() == [b"10.jpg", b"sub/9.jpg", b"1.jpg"]
    assert places.groups.tolist() == [3, 4, 6] and places.starts.tolist() == [0, 1, 2, 3]


def test_one_image_for_itself(folder: Path) -> None:
    assert paths(of_paths("one", [folder / "9.jpg"])) == [folder / "9.jpg"]


def test_what_there_is_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "model.onnx").write_text("x")
    with pytest.raises(DataError, match="no images in"):
        read(tmp_path / "empty", tmp_path)
    with pytest.raises(DataError, match="the list names no images"):
        read(tmp_path / "empty.txt", tmp_path)
    with pytest.raises(DataError, match="no folder, video, csv or txt"):
        read(tmp_path / "model.onnx", tmp_path)
    with pytest.raises(DataAbsent, match="There is no folder or file"):
        read(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="name a folder"):
        read([], tmp_path)
