"""Folders of runs: one process at a time, and a new one for each moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vpr.cli.run_folders import RunFolder, hold, is_held, release
from vpr.cli.sweeps import jobs
from vpr.errors import ConfigError, DiskError

HOLDER = """
import sys
from pathlib import Path
from vpr.cli.run_folders import hold
hold(Path(sys.argv[1]), "hydra.run.dir")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    release()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs in tmp_path/x."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "x")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], text=True, **streams) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_in_a_folder_is_refused_until_the_first_ends(other: subprocess.Popen[str], tmp_path: Path) -> None:
    assert is_held(tmp_path / "x") and jobs.is_running(tmp_path / "x")
    with pytest.raises(ConfigError, match=r"out=.*x: another process runs there.*type another folder: out=FOLDER"):
        hold(tmp_path / "x", "out")
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    hold(tmp_path / "x", "out")
    hold(tmp_path / "x", "out")  # by this very process


def test_a_job_that_outlives_its_sweep_is_not_started_beside_itself(
    other: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ORPHANED", 0.3)
    script = tmp_path / "job.py"
    script.write_text("from pathlib import Path; Path(__file__).with_name('ran').touch()")
    assert jobs.run_once(script, (), (), "identity", tmp_path / "x", wait=False) is None
    assert not (tmp_path / "ran").exists()
    other.kill()
    other.wait()
    jobs.run_once(script, (), (), "identity", tmp_path / "x", wait=False)
    assert (tmp_path / "ran").exists()


def config(folder: Path, named: str) -> OmegaConf:
    OmegaConf.register_new_resolver("now", lambda pattern: "then", replace=True)
    return OmegaConf.create({"hydra": {"run": {"dir": f"{folder}/{named}"}}})


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    for expected in ("then", "then_2", "then_3"):
        cfg = config(tmp_path, "${now:%S}")
        RunFolder().on_run_start(cfg)
        assert cfg.hydra.run.dir == f"{tmp_path}/{expected}"
    cfg = config(tmp_path, "named")
    RunFolder().on_run_start(cfg)
    assert cfg.hydra.run.dir == f"{tmp_path}/named"


def test_ranks_work_in_the_folder_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    RunFolder().on_run_start(config(tmp_path, "x"))
    assert not RunFolder.held


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        RunFolder().on_run_start(config(tmp_path, "file/x"))
    assert "DiskError: " in capsys.readouterr().err
    with pytest.raises(DiskError, match="a part of the path is a file"):
        hold(tmp_path / "file/x", "out")
