"""Folders of frames: their order, and which ones are absent."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from vpr.data.formats import pairs
from vpr.data.formats.pairs import list_frames, read_lines
from vpr.errors import ConfigError, DataError
from vpr.types import Protocol


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_folders_follow_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "b/10.png", "a/11.png", "a/12.png")
    assert names(list_frames(tmp_path, ["b", "a"])) == ["2.png", "10.png", "11.png", "12.png"]


def test_a_list_of_names_chooses_frames_and_their_order(tmp_path: Path) -> None:
    touch(tmp_path, *(f"winter/{i}.png" for i in range(5)))
    (tmp_path / "clean.txt").write_text("\ufeff3.png\r\n\n1.png\n", encoding="utf-8")
    assert list_frames(tmp_path, ["winter"], names="clean.txt") == [
        tmp_path / "winter/3.png",
        tmp_path / "winter/1.png",
    ]


def test_a_list_of_names_is_of_one_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names=clean.txt chooses frames of one folder, not of a, b"):
        list_frames(tmp_path, ["a", "b"], names="clean.txt")


@pytest.mark.parametrize(
    ("there", "absent"),
    [
        (["0000000.jpg", "0000001.jpg", "0000003.jpg"], "0000002.jpg"),
        (["Image000.jpg", "Image002.jpg", "Image003.jpg"], "Image001.jpg"),
        (["0.png", "1.png", "2.png"], "3.png"),
        (["@0@0.0@@@0@@.jpg", "@0@2.3@@@1@@.jpg", "@0@7.1@@@3@@.jpg"], "@0@2.3@@@2@@.jpg"),
    ],
)
def test_absent_frames_leave_a_gap_at_their_number(tmp_path: Path, there: list[str], absent: str) -> None:
    found = list_frames(touch(tmp_path, *(f"ref/{name}" for name in there)), ["ref"], 4)
    at = names(found).index(absent)
    assert names(found) == [*there[:at], absent, *there[at:]]


@pytest.mark.parametrize(
    "there",
    [
        ["1.jpg", "2.jpg", "3.jpg"],  # counted from 1, or without frame 0?
        ["0.jpg", "2.jpg", "7.jpg"],
        ["0.jpg", "a0.jpg", "2.jpg"],
        ["a.jpg", "b.jpg", "c.jpg"],
        ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"],
    ],
)
def test_names_that_do_not_tell_are_refused(tmp_path: Path, there: list[str]) -> None:
    touch(tmp_path, *(f"ref/{name}" for name in there))
    with pytest.raises(DataError, match=rf"ref: 4 images are expected, but {len(there)} were found"):
        list_frames(tmp_path, ["ref"], 4)


@pytest.mark.parametrize("truth", [{"tolerance": 1}, {"ground_truth": "gt.npy"}])
def test_skip_keeps_the_ground_truth_of_the_other_frames(tmp_path: Path, truth: dict) -> None:
    touch(tmp_path, *(f"ref/{i:07d}.jpg" for i in (0, 1, 3, 4)), *(f"query/{i:07d}.jpg" for i in (0, 2, 3, 4)))
    rows = [[i, [row for row in (i - 1, i, i + 1) if row >= 0]] for i in range(5)]  # 5 is no row: left out
    table = np.empty((5, 2), dtype=object)
    for i, row in enumerate(rows):
        table[i, :] = row
    np.save(tmp_path / "gt.npy", table, allow_pickle=True)
    protocol = Protocol("walk@1f", 5, 5)
    with pytest.raises(DataError, match=r"1 of 5 database images of walk@1f are missing \(first: .*0000002\.jpg\)"):
        pairs.read(tmp_path, protocol, "ref", "query", **truth)
    found = pairs.read(tmp_path, protocol, "ref", "query", **truth, missing="skip")
    assert found.protocol.id == "walk@1f[4of5db,4of5q]"
    # query frames 0, 2, 3, 4 and database frames 0, 1, 3, 4
    assert [rows.tolist() for rows in found.positives] == [[0, 1], [1, 2], [2, 3], [2, 3]]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "ref/0.jpg")

    def refuse(folder: Path):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="ref cannot be read: Permission denied"):
        list_frames(tmp_path, ["ref"])


def test_lists_of_names_may_be_packed(tmp_path: Path) -> None:
    (tmp_path / "names.txt.gz").write_bytes(gzip.compress("a b.jpg\nü.JPG\n".encode()))
    assert read_lines(tmp_path / "names.txt.gz") == ["a b.jpg", "ü.JPG"]


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["names.txt", "names.txt.gz"])
def test_damaged_lists_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} (cannot be read|is empty)"):
        read_lines(tmp_path / name)
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"a.jpg\n" * 99)[:-9])
    with pytest.raises(DataError, match=r"cut\.txt\.gz cannot be read"):
        read_lines(tmp_path / "cut.txt.gz")
