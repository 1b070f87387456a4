"""train.py as a user runs it: with two processes, and stopped by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import run_script
from vpr import checkpoint

REPO = Path(__file__).parents[2]


def command(photos: Path, runs: Path, *overrides: str) -> list[str]:
    return [
        *(sys.executable, str(REPO / "train.py"), "dataset=[places_folder,gardens_point]", "logger=csv", "name=tiny"),
        *(f"dataset.train.places_folder.root={photos}/train", f"paths.runs={runs}", "trainer.accelerator=cpu"),
        *("backbone=resnet18", "backbone.weights=none", "backbone.crop=[3,4]", "agg=gem", "image.size=[48,48]"),
        *(f"dataset.eval.gardens_point.root={photos}", "dataset.eval.gardens_point.tolerance=0"),
        *("dataset.eval.gardens_point.database=database", "dataset.eval.gardens_point.queries=queries"),
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: tiny@0f, database: 12, queries: 12}",
        *("batch.places=5", "batch.images_per_place=2", "trainer.num_workers=1"),
        *overrides,
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def recalls(text: str) -> list[str]:
    return re.findall(r"tiny@0f R@1 ([0-9.]+)", text)


@pytest.mark.slow
def test_two_processes_train_and_evaluate(photos: Path, tmp_path: Path):
    """12 places in batches of 5: the last one, of 2, is shared out, too."""
    overrides = ["trainer=ddp_cpu", "trainer.devices=2", "trainer.max_epochs=2", "evaluate_first=true"]
    done = run_script(command(photos, tmp_path, *overrides)[1:], env=environment())
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "tiny").iterdir())
    assert len(runs) == 1, "all ranks write into one folder"
    assert len(recalls(done.stdout + done.stderr)) == 3, "rank 0 alone speaks"
    stored = checkpoint.read(runs[0] / "best.ckpt")
    # The untrained network's recall does not depend on the number of processes.
    overrides = ["trainer.max_epochs=1", "evaluate_first=true"]
    alone = run_script(command(photos, tmp_path / "alone", *overrides)[1:], env=environment())
    assert alone.returncode == 0, alone.stderr
    assert recalls(alone.stdout + alone.stderr)[0] == recalls(done.stdout + done.stderr)[0]
    assert stored["metrics"]["tiny@0f"].keys() >= {"R@1", "R@5", "R@10"}


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(photos: Path, tmp_path: Path):
    process = subprocess.Popen(
        command(photos, tmp_path, "trainer.max_epochs=5000", "trainer.eval_every=5000"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A test run behind a script's `&` ignores SIGINT, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("tiny/*/last.ckpt")):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
    # A terminal sends Ctrl-C to the whole group, loader processes included.
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    last = next(tmp_path.glob("tiny/*/last.ckpt"))
    assert f"ckpt_path={last}" in output
    assert checkpoint.load(last).dim == 128
