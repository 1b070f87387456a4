"""Summary and tables of a W&B run that has ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vpr.training import loggers
from vpr.training.callbacks.evaluation import RecallSummary
from vpr.training.loggers import COLUMNS, _rows, summary_metrics
from vpr.training.run import fit

SUMMARY = {
    "monitor": "msls-val-740@25m",
    "seconds": 61.5,
    "costs": {
        **{"parameters": 2_500_000, "gmacs": 0.3, "latency_ms": 7.5, "latency_runs": 30, "threads": 2},
        **{"device": "cpu (x86_64)", "descriptor_bytes": 2048, "image_size": [320, 320]},
    },
    "sets": {
        "msls-val-740@25m": {"recalls": {"R@1": 0.5, "R@10": 0.9}},
        "tokyo247@25m-nms[q64x64]": {"recalls": {"R@1": 0.25, "R@10": 0.75}},
    },
}


def test_names_are_such_that_wandb_can_sort_by_them():
    values = summary_metrics(SUMMARY)
    assert values == {
        **{"parameters_M": 2.5, "gmacs": 0.3, "latency_ms": 7.5, "latency_runs": 30, "threads": 2},
        **{"device": "cpu (x86_64)", "descriptor_bytes": 2048, "train_seconds": 61.5},
        **{"best_R1": 0.5, "best_R10": 0.9, "best_R1_msls_val_740_25m": 0.5, "best_R10_msls_val_740_25m": 0.9},
        **{"best_R1_tokyo247_25m_nms_q64x64": 0.25, "best_R10_tokyo247_25m_nms_q64x64": 0.75},
    }


def test_captions_say_which_match_is_right(photos: Path):
    query, match = str(photos / "queries" / "00.jpg"), str(photos / "database" / "01.jpg")
    shots: list = [(query, "query", None), (match, "✗ 0.83", False)]
    ((right, first, second, *empty, note),) = _rows(RecallSummary("a@1f", {}, {}, torch.zeros(1), [("why", shots)]))
    assert right is False and note == "why" and empty == [None, None, None]
    assert (first._caption, second._caption) == ("query", "✗ 0.83")
    assert (first.image.width, first.image.height) == (120, 120)  # square photos in the box of 160x120


@pytest.mark.slow
def test_a_run_ends_with_its_summary_and_a_table_of_predictions(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers, "_api_key", lambda: None)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    cfg = tiny(["logger=wandb", "trainer.max_epochs=1"])
    cfg.logger.wandb.directory = str(tmp_path / "log")
    seen: dict = {}
    finish = loggers.finish

    def look_then_finish() -> None:
        import wandb

        seen.update(dict(wandb.run.summary))
        finish()

    monkeypatch.setattr("vpr.training.run.finish", look_then_finish)
    score = fit(cfg, tmp_path / "run")
    assert seen["best_R1"] == seen["best_R1_tiny_0f"] == score
    assert seen["gmacs"] > 0 and seen["latency_ms"] > 0
    (table,) = (tmp_path / "log").rglob("predictions/*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"] == COLUMNS
    rights = [row[0] for row in content["data"]]
    assert rights.count(True) == min(6, round(12 * score)) and rights.count(False) == min(6, 12 - round(12 * score))
    assert all(row[1] == "Image" and row[-1] for row in content["data"])
