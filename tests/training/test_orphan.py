"""A rank that another one has started ends when that one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vpr.training.trainer as trainer_module
from vpr.cli.compose import compose

# The parent is killed when the child has begun to watch it. The child would write last, and holds the output open.
PARENT = """
import os, signal, sys, time
from vpr.cli.sweeps.processes import end_with_parent

reading, writing = os.pipe()
if os.fork():
    os.read(reading, 1)
    os.kill(os.getpid(), signal.SIGKILL)
end_with_parent(every=0.05)
time.sleep(0.2)
print("alive with its parent", flush=True)
os.write(writing, b".")
time.sleep(10)
print("outlived it")
"""


def test_a_child_ends_with_its_parent() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PARENT], cwd=root, capture_output=True, text=True)
    assert done.stdout == "alive with its parent\n", done.stderr


@pytest.mark.parametrize(("rank", "watched"), [(None, False), ("0", False), ("1", True)])
def test_ranks_that_were_started_watch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rank: str | None, watched: bool
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(trainer_module, "end_with_parent", lambda: seen.append(True))
    monkeypatch.setattr(trainer_module.pl, "Trainer", lambda **options: None)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank:
        monkeypatch.setenv("LOCAL_RANK", rank)
    trainer_module.make_trainer(compose("train", []).trainer, tmp_path, [], [], 1)
    assert seen == [True] * watched


# Kills what started it, and then watches: it is late, but not too late.
JOB = """
import os, signal, sys, time
from vpr.cli.app import run
from vpr.cli.sweeps.jobs import STARTER

starter = int(os.environ[STARTER])
os.kill(starter, signal.SIGKILL)
while os.getppid() == starter:
    time.sleep(0.01)
run("train", ["train.py", "logger=none", f"hydra.run.dir={sys.argv[0]}.run"], lambda cfg: time.sleep(10))
print("outlived it")
"""


def test_a_job_ends_with_the_sweep_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    start = f"from vpr.cli.sweeps.jobs import run_once as r; from pathlib import Path as P; p = P({str(tmp_path)!r})"
    run = f"{start}; r(p / 'job.py', (), (), 'x', p / 'job')"
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", run], env=environment, capture_output=True, text=True)
    assert done.stdout == "" and done.returncode == -signal.SIGKILL, done.stderr
