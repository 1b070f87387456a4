"""Sets with a query size of their own, in training as in evaluate.py."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

import vpr
import vpr.training.run as fit_module
from vpr import checkpoint
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.training.run import fit


@pytest.mark.parametrize(
    ("agg", "id", "sizes"),
    [("gem", "tiny@0f", {(48, 48), (64, 64)}), ("mixvpr", "tiny@0f[q48x48]", {(48, 48)})],
)
def test_training_measures_as_evaluation_does(tiny, tmp_path: Path, monkeypatch, caplog, agg, id, sizes):
    cfg = tiny([f"agg={agg}", "trainer.max_epochs=2"])
    whole = fit_module.evaluation_sets(cfg.dataset)["tiny"]
    sided = replace(whole, query_short_side=64)
    monkeypatch.setattr(fit_module, "evaluation_sets", lambda dataset: {"tiny": sided})
    seen = set()

    class Recorded(Extractor):
        def __call__(self, images):
            seen.add(tuple(images.shape[-2:]))
            return super().__call__(images)

    monkeypatch.setattr("vpr.training.callbacks.evaluation.Extractor", Recorded)
    with caplog.at_level(logging.INFO, logger="vpr"):
        score = fit(cfg, tmp_path)
    assert seen == sizes
    assert sum("at the shorter side" in message for message in caplog.messages) == (agg == "mixvpr")
    assert checkpoint.read(tmp_path / "best.ckpt")["metrics"].keys() == {id}

    describer = vpr.load(str(tmp_path / "best.ckpt"))
    again = evaluate(Extractor(describer, "cpu"), sided, options=EvalOptions(progress=False))
    assert (again.protocol, again.metrics()["R@1"]) == (id, score)
