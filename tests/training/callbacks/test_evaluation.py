"""Evaluation in a run whose training images are known: sets that share some are measured under ids of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vpr import checkpoint
from vpr.data.image_digests import image_digests
from vpr.retrieval.evaluate import evaluate
from vpr.retrieval.extractor import Extractor
from vpr.training.run import TrainingRun


def test_a_run_on_the_map_says_so_wherever_its_figures_stand(tiny, photos: Path, tmp_path: Path) -> None:
    cfg = tiny(["trainer.max_epochs=1", "evaluate_first=true"])
    run = TrainingRun.from_config(cfg, tmp_path / "run")
    (own,) = run.sets.values()
    run.images = image_digests([*own.database, photos / "elsewhere.jpg"])
    run.fit()
    name = f"{own.protocol.id}[map]"
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert list(summary["sets"]) == [name] and summary["monitor"] == name and "before" in summary["sets"][name]
    assert list(np.load(tmp_path / "run/hits.npz")) == [name]
    assert f"{name}/R@1" in (tmp_path / "log/csv/metrics.csv").read_text().splitlines()[0]
    for path in (tmp_path / "run/best.ckpt", tmp_path / "run/last.ckpt"):
        content = checkpoint.read(path)
        assert checkpoint.training_images(content).tolist() == run.images.tolist()
    extractor = Extractor.load(tmp_path / "run/best.ckpt", "cpu")
    result = evaluate(extractor, own)
    assert result.protocol == name and result.metrics() == summary["sets"][name]["recalls"]
    assert list(checkpoint.read(tmp_path / "run/best.ckpt")["metrics"]) == [name]
