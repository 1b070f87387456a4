"""Generations as a user types them: one command trains all, a sweep each once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.processes import run_script
from vpr import checkpoint
from vpr.cli.sweeps.jobs import read_job

REPO = Path(__file__).parents[2]


def train(photos: Path, walk: Path, runs: Path, *overrides: str) -> str:
    """Return what it says."""
    side = f"{{_target_: vpr.data.formats.utm_folder.photos, root: {walk}, folder: %s}}"
    sides = f"queries: {side % 'queries'}, gallery: {side % 'gallery'}"
    weak = f"{{_target_: vpr.data.tuples.read, capture: .+, {sides}}}"
    command = [
        *(str(REPO / "train.py"), "dataset=gardens_point", "logger=none", f"+dataset.weak.walk={weak}"),
        *(f"dataset.eval.gardens_point.root={photos}", "dataset.eval.gardens_point.tolerance=0", "image.size=[48,48]"),
        *("dataset.eval.gardens_point.database=database", "dataset.eval.gardens_point.queries=queries"),
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: tiny@0f, database: 12, queries: 12}",
        *("trainer.accelerator=cpu", "trainer.num_workers=0", "trainer.max_epochs=1", "backbone.weights=none"),
        *("backbone.crop=[2,3,4]", "agg=netvlad", "agg.clusters=4", "agg.allow_random_init=true", "name=tiny"),
        *("supervision=generations", "supervision.mining.negatives=2", "supervision.mining.difficult=1"),
        *("supervision.mining.positive_pool=2", "supervision.rerank.k1=4", f"paths.runs={runs}"),
        *overrides,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = run_script(command, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def teachers(folders: list[Path]) -> dict[int, str]:
    """Return {generation: digest of the checkpoint that it learned from}, of finished runs."""
    configs = [checkpoint.read(folder / "best.ckpt")["config"] for folder in folders]
    return {config["generation"]: config["supervision"]["soft"].get("earlier") for config in configs}


@pytest.mark.slow
def test_the_last_generation_trains_those_before_it_once(photos: Path, walk: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    train(photos, walk, runs, "generation=2")
    [last] = (runs / "tiny").iterdir()
    earlier = sorted((runs / "generations").iterdir(), key=lambda folder: (folder / "last.ckpt").stat().st_mtime)
    assert len(earlier) == 2
    assert teachers([*earlier, last]) == {
        0: None,
        1: checkpoint.digest(checkpoint.read(earlier[0] / "last.ckpt")),
        2: checkpoint.digest(checkpoint.read(earlier[1] / "last.ckpt")),
    }
    said = train(photos, walk, runs, "generation=2")
    assert f"Finished before: {earlier[1]}" in said
    assert [read_job(folder).attempts for folder in earlier] == [1, 1]


@pytest.mark.slow
def test_a_sweep_trains_each_generation_once(photos: Path, walk: Path, tmp_path: Path):
    sweep = tmp_path / "sweep"
    train(photos, walk, tmp_path / "runs", "-m", "generation=0,1", f"hydra.sweep.dir={sweep}")
    jobs = sorted((f for f in sweep.iterdir() if f.is_dir()), key=lambda folder: (folder / "last.ckpt").stat().st_mtime)
    assert len(jobs) == 2 and not (tmp_path / "runs").exists()
    assert teachers(jobs) == {0: None, 1: checkpoint.digest(checkpoint.read(jobs[0] / "last.ckpt"))}
