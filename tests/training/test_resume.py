"""Which training checkpoint `ckpt_path=last` takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vpr.errors import CheckpointError, ConfigError
from vpr.training.resume import Resume

WHOLE = (Path(__file__).parent / "fixtures" / "places_last.ckpt").read_bytes()


def write(runs: Path, *sizes: int) -> list[Path]:
    """Write a last.ckpt of so many bytes for each run, the older ones first."""
    paths = [runs / str(number) / "last.ckpt" for number in range(len(sizes))]
    for time, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.parent.mkdir(parents=True)
        path.write_bytes(WHOLE[:size])
        os.utime(path, (time, time))
    return paths


def test_the_newest_is_taken(tmp_path: Path):
    paths = write(tmp_path, len(WHOLE), len(WHOLE))
    resume = Resume.find("last", tmp_path)
    assert resume is not None and resume.path == paths[1]
    assert resume.config["name"] == "places"


@pytest.mark.parametrize("size", [0, 1, 1000, len(WHOLE) // 2, len(WHOLE) - 1], ids="{} bytes".format)
def test_a_damaged_one_is_skipped_and_said(tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture):
    paths = write(tmp_path, len(WHOLE), len(WHOLE), size)
    with caplog.at_level("WARNING"):
        resume = Resume.find("last", tmp_path)
    assert resume is not None and resume.path == paths[1]
    (message,) = caplog.messages
    assert f"{paths[1]} instead of a newer file" in message and str(paths[2]) in message


def test_none_that_can_be_read_names_them(tmp_path: Path):
    (only,) = write(tmp_path / "one", 100)
    with pytest.raises(CheckpointError, match=str(only)):
        Resume.find("last", tmp_path / "one")
    paths = write(tmp_path / "two", 100, 0)
    with pytest.raises(ConfigError, match="none of 2 last.ckpt") as error:
        Resume.find("last", tmp_path / "two")
    assert all(str(path) in str(error.value) for path in paths)


def test_a_partial_file_of_a_killed_run_is_none(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".last.ckpt.0a1b2c3d.partial").write_bytes(WHOLE[:1000])
    with pytest.raises(ConfigError, match="there is no"):
        Resume.find("last", tmp_path)
