"""evaluate.py as it is typed: in a process of its own, on a small model and drawn photos."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr import checkpoint
from vpr.models.build import build_describer

ROOT = Path(__file__).parents[1]
MODEL = {
    "backbone": {"_target_": "vpr.models.backbones.mobilenet_v2.MobileNetV2", "weights": "none"},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
    "image": {"size": [64, 64]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a name that Hydra does not like, and 13 photos by day and by night."""
    folder = tmp_path_factory.mktemp("evaluate")
    checkpoint.save(folder / "epoch=3[0.91](1).ckpt", build_describer(**MODEL), MODEL)
    rng = np.random.default_rng(0)
    rows = []
    for condition, gain in (("day", 1.0), ("night", 0.6)):
        (folder / "drawn" / condition).mkdir(parents=True)
        for frame, image in enumerate(np.random.default_rng(1).integers(0, 256, (13, 6, 6, 3))):
            path = f"{condition}/{frame}.png"
            noisy = np.clip(gain * image + rng.normal(0, 9, image.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "drawn" / path), cv2.resize(noisy, (64, 64)))
            rows.append((path, condition, frame))
    with open(folder / "drawn/index.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "condition", "frame"), *rows])
    return folder


def evaluate(folder: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    overrides = [
        "dataset=gardens_point",
        f"dataset.eval.gardens_point.root={folder / 'drawn'}",
        "dataset.eval.gardens_point.database={condition: day}",
        "dataset.eval.gardens_point.queries={condition: night}",
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: drawn@2f, database: 13, queries: 13}",
        f"paths.runs={folder / 'runs'}",
        "num_workers=0",
        "device=cpu",
        "batch_size=3",
    ]
    command = [sys.executable, *launcher, str(ROOT / "evaluate.py"), *overrides, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_one_and_two_ranks_from_the_command_line(folder: Path) -> None:
    ckpt = f"ckpt={folder / 'epoch=3[0.91](1).ckpt'}"
    alone = evaluate(folder, ckpt, f"out={folder / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    assert "drawn@2f" in alone.stdout and "R@20" in alone.stdout
    names = sorted(path.name for path in (folder / "alone").iterdir())
    assert names == ["matches_drawn@2f.html", "matches_drawn@2f.png", "metrics.json", "predictions.csv"]

    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone")
    both = evaluate(folder, ckpt, f"out={folder / 'both'}", launcher=torchrun)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("R@20") == 1  # one rank speaks
    one, two = (json.loads((folder / name / "metrics.json").read_text()) for name in ("alone", "both"))
    assert two["settings"]["ranks"] == 2
    assert one["sets"]["drawn@2f"]["recalls"] == two["sets"]["drawn@2f"]["recalls"]
    assert (folder / "alone/predictions.csv").read_text() == (folder / "both/predictions.csv").read_text()


@pytest.mark.slow
def test_what_the_user_did_wrong_is_one_sentence(folder: Path) -> None:
    absent = evaluate(folder, f"ckpt={folder / 'none.ckpt'}")
    assert absent.returncode == 2
    assert "CheckpointError" in absent.stderr and "no such file" in absent.stderr and "Traceback" not in absent.stderr


@pytest.mark.slow
def test_damaged_photo_ends_the_run_and_the_way_out_works(folder: Path) -> None:
    damaged = folder / "drawn/day/4.png"
    before = damaged.read_bytes()
    damaged.write_bytes(b"")
    try:
        ckpt = f"ckpt={folder / 'epoch=3[0.91](1).ckpt'}"
        refused = evaluate(folder, ckpt)
        assert refused.returncode == 2 and "1 of 13 database images of drawn@2f cannot be read" in refused.stderr
        skipped = evaluate(folder, ckpt, "dataset.on_bad_image=skip")
        assert skipped.returncode == 0, skipped.stderr
        assert "12of13" in skipped.stdout
    finally:
        damaged.write_bytes(before)
