"""The table at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpr.engine.fit import fit


def test_gain_over_the_untrained_model_stands_beside_the_recall(tiny, tmp_path: Path, capsys: pytest.CaptureFixture):
    score = fit(tiny(["evaluate_first=true", "trainer.max_epochs=1"]), tmp_path)
    (row,) = json.loads((tmp_path / "summary.json").read_text())
    assert row["protocol"] == "tiny@0f"
    assert row["after"]["R@1"] == score
    assert row["gain"] == pytest.approx(score - row["before"]["R@1"])
    low, high = row["gain_interval"]
    assert low <= row["gain"] <= high
    printed = capsys.readouterr().out
    assert "tiny@0f" in printed and f"{100 * score:.1f}" in printed and f"{100 * row['gain']:+.1f}" in printed


def test_a_run_without_evaluation_sets_keeps_the_last_epoch(tiny, tmp_path: Path):
    cfg = tiny(["trainer.max_epochs=1"])
    cfg.dataset.eval = {}
    assert fit(cfg, tmp_path) is None
    assert (tmp_path / "best.ckpt").is_file()
    assert not (tmp_path / "summary.json").exists()
