"""Sweeps of real runs: two processes a job, one of which is killed; teachers that are trained first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.processes import run_script
from vpr import checkpoint

REPO = Path(__file__).parents[2]
# Python reads this before train.py: the second rank of the job with seed=0 dies as soon as there is a checkpoint.
KILLER = """
import os, signal, sys, threading, time
from pathlib import Path

def kill():
    while not list(Path(os.environ["SWEEP"]).glob("*-seed0-*/last.ckpt")):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ.get("LOCAL_RANK") == "1" and "seed=0" in sys.orig_argv:
    threading.Thread(target=kill, daemon=True).start()
"""


def train(photos: Path, *overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run train.py; with environment variables, as a process that starts anew, and so do those that it starts."""
    command = [
        *(str(REPO / "train.py"), "dataset=[places_folder,gardens_point]", "logger=none"),
        *(f"dataset.train.places_folder.root={photos}/train", "trainer.accelerator=cpu", "trainer.num_workers=0"),
        *(f"dataset.eval.gardens_point.root={photos}", "dataset.eval.gardens_point.tolerance=0", "image.size=[48,48]"),
        *("dataset.eval.gardens_point.database=database", "dataset.eval.gardens_point.queries=queries"),
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: tiny@0f, database: 12, queries: 12}",
        *("batch.places=5", "batch.images_per_place=2", "backbone=resnet18", "backbone.weights=none", "agg=gem"),
        *("backbone.crop=[3,4]", *overrides),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}
    if variables:
        command = [sys.executable, *command]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    return run_script(command, env=environment)


@pytest.mark.slow
def test_a_job_of_two_processes_crashes_and_the_sweep_goes_on(photos: Path, tmp_path: Path) -> None:
    """The rank that is left of the first job must not meet those of the second; a second call mends the first alone."""
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    sweep = tmp_path / "sweep"
    command = [
        "-m",
        "seed=0,1",
        f"hydra.sweep.dir={sweep}",
        "trainer=ddp_cpu",
        "trainer.devices=2",
        "trainer.max_epochs=2",
    ]
    command += ["trainer.checkpoint_every.steps=1"]
    first = train(photos, *command, PYTHONPATH=str(tmp_path), SWEEP=str(sweep))
    (failed,), (fine,) = sweep.glob("*-seed0-*"), sweep.glob("*-seed1-*")
    assert first.returncode == 1, first.stderr
    assert f"1 job of this sweep failed:\n  {failed}" in first.stderr
    assert json.loads((failed / "job.json").read_text())["code"] != 0 and not (failed / "summary.json").exists()
    assert checkpoint.read(fine / "best.ckpt")["config"]["seed"] == 1
    untouched = (fine / "best.ckpt").stat().st_mtime_ns

    second = train(photos, *command)
    assert second.returncode == 0, second.stderr
    assert f"Finished before: {fine}" in second.stderr
    assert f"Interrupted before, goes on from {failed}/last.ckpt" in second.stderr
    assert (fine / "best.ckpt").stat().st_mtime_ns == untouched
    assert checkpoint.read(failed / "best.ckpt")["config"]["seed"] == 0
    assert torch.load(failed / "last.ckpt", weights_only=True)["epoch"] == 1  # the second of two


@pytest.mark.slow
def test_a_sweep_trains_its_teacher_first_and_once(photos: Path, tmp_path: Path) -> None:
    teacher = "distillation.teacher.recipe=['backbone=resnet18','backbone.weights=none','agg=avg','seed=7']"
    done = train(
        photos,
        *("-m", "seed=0,1", "distillation=similarity", teacher, "distillation.teacher.make=true"),
        *("distillation.teacher.name=big", "trainer.max_epochs=1"),
        *(f"paths.runs={tmp_path}/runs", f"hydra.sweep.dir={tmp_path}/sweep"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "runs" / "teachers").glob("big-*/best.ckpt")
    content = checkpoint.read(path)
    assert (content["config"]["seed"], content["config"]["name"]) == (7, "resnet18-avg")
    assert content["config"]["image"]["size"] == [48, 48] and content["config"]["labels"]["term"] == "none"
    assert f"Finished before: {path.parent}" in done.stderr
    students = [checkpoint.read(path)["config"] for path in (tmp_path / "sweep").glob("*/best.ckpt")]
    assert {student["distillation"]["teachers"][0]["digest"] for student in students} == {checkpoint.digest(content)}
    assert {(student["name"], student["seed"]) for student in students} == {("big-to-resnet18-gem", n) for n in (0, 1)}
    assert students[0]["labels"] == {
        "student": "resnet18-gem",
        "teacher": "big",
        "term": "similarity",
        "dataset": "places_folder",
    }
