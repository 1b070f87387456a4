"""Summary of a run: its files, and its table on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vpr import checkpoint
from vpr.training.run import fit


def test_gain_over_the_untrained_model_stands_beside_the_recall(tiny, tmp_path: Path, capsys: pytest.CaptureFixture):
    score = fit(tiny(["evaluate_first=true", "trainer.max_epochs=1"]), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    row = summary["sets"]["tiny@0f"]
    assert summary["monitor"] == "tiny@0f" and summary["epochs"] == 1 and 0 < summary["seconds"] < 600
    assert row["recalls"]["R@1"] == score
    assert row["gain"] == pytest.approx(score - row["before"]["R@1"])
    low, high = row["gain_interval"]
    assert low <= row["gain"] <= high
    assert np.load(tmp_path / "hits.npz")["tiny@0f"].mean() == score
    printed = capsys.readouterr().out
    assert "tiny@0f" in printed and f"{100 * score:.1f}" in printed and f"{100 * row['gain']:+.1f}" in printed


def test_the_summary_names_the_model_and_its_costs(tiny, tmp_path: Path):
    fit(tiny(["trainer.max_epochs=1"]), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    content = checkpoint.read(tmp_path / "best.ckpt")
    assert summary["digest"] == checkpoint.digest(content)
    assert summary["config"] == json.loads(json.dumps(content["config"]))
    costs = summary["costs"]
    assert costs["parameters"] == sum(p.numel() for p in checkpoint.unpack(content).parameters())
    assert costs["descriptor_bytes"] == 4 * 128 and costs["image_size"] == [48, 48]
    assert costs["latency_ms"] > 0 and costs["latency_runs"] >= 30


def test_a_run_without_evaluation_sets_keeps_the_last_epoch(tiny, tmp_path: Path):
    cfg = tiny(["trainer.max_epochs=1"])
    cfg.dataset.eval = {}
    (tmp_path / "hits.npz").touch()  # of another run in this folder
    assert fit(cfg, tmp_path) is None
    assert (tmp_path / "best.ckpt").is_file()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["sets"] == {} and summary["monitor"] is None and summary["costs"]["gmacs"] > 0
    assert not (tmp_path / "hits.npz").exists()
