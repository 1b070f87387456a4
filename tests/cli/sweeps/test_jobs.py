"""Jobs: done once, taken up again, never mistaken for another one."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from vpr.cli.sweeps.jobs import Job, JobFailed, ending, is_running, keep_objective, quoted, read_job, run_once

# Keeps the words it was started with, one line a start; ends as its first word says.
SCRIPT = """
import json, sys
from pathlib import Path
here = Path(__file__).parent
with (here / "started").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(int(sys.argv[1].partition("=")[2]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def started(script: Path) -> list[list[str]]:
    return [json.loads(line) for line in (script.parent / "started").read_text().splitlines()]


def test_a_finished_job_is_not_run_again(script: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    for _ in range(2):
        run_once(script, (), ["code=0", "a=1"], "identity", folder)
    assert started(script) == [["code=0", "a=1", "hydra.mode=RUN", f"hydra.run.dir='{folder}'"]]
    assert read_job(folder) == Job("identity", ["code=0", "a=1"], 0, 1)


def test_a_failed_job_is_run_again_and_counts(script: Path, tmp_path: Path) -> None:
    for attempt in (1, 2):
        with pytest.raises(JobFailed, match="job ended with exit code 3"):
            run_once(script, (), ["code=3"], "identity", tmp_path / "job")
        assert read_job(tmp_path / "job") == Job("identity", ["code=3"], 3, attempt)
    assert len(started(script)) == 2


def test_another_job_in_the_folder_is_begun_anew(script: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    run_once(script, (), ["code=0"], "one", folder)
    for name in ("last.ckpt", "summary.json"):
        (folder / name).write_text("of the one before")
    run_once(script, (), ["code=0"], "another", folder)
    assert len(started(script)) == 2
    assert not any("ckpt_path" in word for word in started(script)[1])
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(("code", "summary", "again"), [(None, False, True), (None, True, False), (2, True, True)])
def test_a_job_whose_end_was_not_seen_goes_on_unless_it_has_a_summary(
    script: Path, tmp_path: Path, code: int | None, summary: bool, again: bool
) -> None:
    folder = tmp_path / "it's a job"
    Job("identity", ["code=0"], code, 1).write(folder)
    (folder / "last.ckpt").touch()
    if summary:
        (folder / "summary.json").touch()
    run_once(script, (), ["code=0"], "identity", folder)
    if again:
        assert started(script)[0][-1] == f"ckpt_path='{tmp_path}/it\\'s a job/last.ckpt'"
    else:
        assert not (tmp_path / "started").exists()


def test_the_users_own_checkpoint_stays(script: Path, tmp_path: Path) -> None:
    Job("identity", [], 1, 1).write(tmp_path / "job")
    (tmp_path / "job" / "last.ckpt").touch()
    run_once(script, (), ["code=0", "ckpt_path=mine.ckpt"], "identity", tmp_path / "job")
    assert [word for word in started(script)[0] if "ckpt_path" in word] == ["ckpt_path=mine.ckpt"]


def test_an_unreadable_record_is_none(script: Path, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"identity"')
    assert read_job(tmp_path) is None
    assert read_job(tmp_path / "nothing") is None


def test_the_objective_comes_back(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\nPath(__file__).with_name('job').joinpath('objective.json').write_text('0.25')"
    )
    assert [run_once(script, (), [], "identity", tmp_path / "job") for _ in range(2)] == [0.25, 0.25]
    keep_objective(None, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_lightning_starts_the_ranks_under_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NAME", "sweep")
    script = tmp_path / "script.py"
    script.write_text("import os, sys; sys.exit(os.environ['SLURM_JOB_NAME'] != 'bash')")
    run_once(script, (), [], "identity", tmp_path / "job")


def test_words() -> None:
    assert [ending(code) for code in (2, -9, None)] == [
        "ended with exit code 2",
        "was ended by SIGKILL",
        "did not end by itself",
    ]
    assert quoted("it's") == "'it\\'s'"


def test_two_sweeps_in_one_folder_share_the_jobs(script: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    held, done = threading.Event(), threading.Event()

    def other() -> None:
        with FileLock(folder / ".lock"):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(30)
    assert is_running(folder)
    assert run_once(script, (), ["code=0"], "identity", folder, wait=False) is None
    assert not (tmp_path / "started").exists()
    threading.Timer(0.3, done.set).start()
    run_once(script, (), ["code=0"], "identity", folder, wait=True)
    thread.join()
    assert not is_running(folder) and len(started(script)) == 1
