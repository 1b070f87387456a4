"""New photos in a folder are seen once, when they have been written to their end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vpr.demo import queries
from vpr.demo.queries import new_files, stamps


def test_stamps_of_images_alone(tmp_path: Path) -> None:
    for name in ("a.jpg", "sub/b.png", "notes.txt", ".hidden.jpg", ".thumbs/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    found = stamps(tmp_path)
    assert sorted(found) == ["a.jpg", "sub/b.png"]
    assert found["a.jpg"] == (2, (tmp_path / "a.jpg").stat().st_mtime_ns)
    assert stamps(tmp_path / "no folder") == {}


def test_each_file_once_when_it_no_longer_grows(tmp_path: Path, monkeypatch) -> None:
    def write(name: str, text: str) -> Callable[[], object]:
        return lambda: (tmp_path / name).write_text(text)

    def nothing() -> None:
        pass

    (tmp_path / "old.jpg").write_text("old")
    happens = iter([write("10.jpg", "a"), write("10.jpg", "ab"), write("9.jpg", "x"), nothing, nothing])
    slept: list[float] = []
    monkeypatch.setattr(queries.time, "sleep", lambda seconds: (slept.append(seconds), next(happens)()))
    seen = stamps(tmp_path)
    found = new_files(tmp_path, seen)
    assert next(found) == ["10.jpg"] and len(slept) == 3  # it grew at the second look
    assert next(found) == ["9.jpg"] and len(slept) == 4
    happens = iter([nothing, write("old.jpg", "another"), nothing])
    assert next(found) == ["old.jpg"]  # changed: asked again
    assert slept == [1.0] * 7 and set(seen) == {"old.jpg", "9.jpg", "10.jpg"}
    happens = iter([write("8.jpg", "x"), write("11.jpg", "y"), nothing, nothing])
    assert [next(found), next(found)] == [["8.jpg"], ["11.jpg"]]


def test_a_folder_that_goes_and_comes_back(tmp_path: Path, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
    folder, away = tmp_path / "inbox", tmp_path / "away"
    away.mkdir()
    (away / "a.jpg").write_text("a")
    happens = iter([lambda: None, lambda: None, lambda: away.rename(folder), lambda: None])
    monkeypatch.setattr(queries.time, "sleep", lambda seconds: next(happens)())
    assert next(new_files(folder, {})) == ["a.jpg"]
    assert caplog.text.count("inbox is gone") == 1
