"""Atomic writes: the old file or the new one, on whatever file system TMPDIR is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vpr.files import atomic_write, write_text


def test_the_new_file_takes_the_old_one_s_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one\r\n")
    write_text(path, "zwei ä")
    assert path.read_text(encoding="utf-8") == "zwei ä"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    path, before = tmp_path / "a.txt", os.umask(0o027)
    try:
        write_text(path, "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_temporary_file_is_beside_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with atomic_write(tmp_path / "a.txt") as temporary:
        assert temporary.parent == tmp_path


def test_a_kill_inside_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys\nfrom vpr.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[1])
    assert run.returncode == -9
    assert path.read_text() == "old"


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "other" / "b.txt")
    write_text(link, "new")
    assert link.is_symlink() and (tmp_path / "other" / "b.txt").read_text() == "new"


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    write_text("/dev/null", "x")
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", str(tmp_path / "pipe")], stdout=subprocess.PIPE, text=True)
    write_text(tmp_path / "pipe", "through")
    assert reader.communicate()[0] == "through"


def test_long_names_leave_room_for_the_temporary_one(tmp_path: Path) -> None:
    name = "ä" * 127  # 254 bytes, and a name may have 255
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]
