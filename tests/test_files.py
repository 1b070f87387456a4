"""Atomic writes: the old file or the new one, on whatever file system TMPDIR is."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import faiss
import h5py
import numpy as np
import pytest
import torch

from vpr.errors import DiskError, disk_error
from vpr.files import atomic_write, reserved, write_text


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


def write_checkpoint(path: Path) -> None:
    with atomic_write(path) as temporary:
        torch.save({"weights": torch.zeros(100_000)}, temporary)


def write_hdf5(path: Path) -> None:
    with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
        file["descriptors"] = np.zeros(100_000)


def write_index(path: Path) -> None:
    index = faiss.IndexFlatL2(100)
    index.add(np.zeros((1000, 100), np.float32))
    with atomic_write(path) as temporary:
        faiss.write_index(index, str(temporary))


@pytest.mark.parametrize(
    "write",
    [write_checkpoint, write_hdf5, write_index, lambda path: write_text(path, "x" * 10**6), lambda path: mapped(path)],
)
def test_a_disk_that_takes_no_more_is_one_message(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """Whatever the libraries make of it; the old file stays."""
    (tmp_path / "old").write_text("old")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DiskError, match=r"old cannot be written: .*\. Write to another folder\."):
            write(tmp_path / "old")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert [path.name for path in tmp_path.iterdir() if path.read_text() == "old"] in (["old"], [])


def mapped(path: Path) -> None:
    with reserved(path, 10**6), open(path, "wb") as file:
        file.truncate(10**4)


@pytest.mark.parametrize(("number", "says"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_full_and_read_only_disks_are_named(number: int, says: str) -> None:
    message = str(disk_error(OSError(number, "?"), Path("runs/x/last.ckpt")))
    assert message.startswith("runs/x/last.ckpt cannot be written: the") and says in message
    assert disk_error(OSError(errno.ECONNREFUSED, "?"), None) is None
    assert disk_error(RuntimeError("a bug"), Path("x")) is None
