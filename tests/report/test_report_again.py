"""Models of a comparison page measured again: costs here and now, and pictures of queries."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
import torch

from vpr import checkpoint
from vpr.errors import CheckpointError
from vpr.evaluation.remeasure import remeasure
from vpr.models.describer import build_describer
from vpr.report.__main__ import main

MODEL: dict[str, Any] = {
    "backbone": {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [4]},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}


@pytest.fixture
def dataset(tmp_path: Path) -> dict[str, Any]:
    """Eight frames, one photo of each in the database and one among the queries."""
    rng = np.random.default_rng(0)
    for place in range(8):
        pattern = cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), (32, 32))
        for side in ("database", "queries"):
            path = tmp_path / "photos" / side / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 90, pattern.shape, dtype=np.uint8)
            cv2.imwrite(str(path), cv2.add(pattern, noise))
    reader = {"_target_": "vpr.data.formats.pairs.read", "root": str(tmp_path / "photos"), "tolerance": 1}
    protocol = {"_target_": "vpr.types.Protocol", "id": "drawn@1f"}
    return {"eval": {"drawn": reader | {"protocol": protocol, "database": "database", "queries": "queries"}}}


def save(path: Path, dataset: dict[str, Any], seed: int = 0) -> None:
    torch.manual_seed(seed)
    checkpoint.save(path, build_describer(**MODEL, image={"size": [32, 32]}), MODEL | {"dataset": dataset})


def test_a_checkpoint_is_evaluated_on_the_sets_of_its_run(dataset: dict[str, Any], tmp_path: Path) -> None:
    save(tmp_path / "best.ckpt", dataset)
    (found,) = remeasure(tmp_path / "best.ckpt", "cpu").items()
    assert found[0] == "drawn@1f" and found[1].counts["queries"] == 8 and found[1].recalls[20] == 1


@pytest.mark.parametrize(
    "target",
    ["os.system", "vpr.data.loading.os.system", "vpr.data.nothing.read", "vpr.checkpoint.save", "vpr.types"],
)
def test_nothing_but_readers_of_data_is_called(dataset: dict[str, Any], tmp_path: Path, target: str) -> None:
    dataset["eval"]["drawn"]["protocol"] = {"_target_": target, "_args_": [f"touch {tmp_path}/called"]}
    save(tmp_path / "best.ckpt", dataset)
    with pytest.raises(CheckpointError, match="no reader of vpr.data; nothing was called"):
        remeasure(tmp_path / "best.ckpt", "cpu")
    assert not (tmp_path / "called").exists()


def test_without_evaluation_sets_there_is_nothing_to_evaluate(tmp_path: Path) -> None:
    save(tmp_path / "best.ckpt", {})
    with pytest.raises(CheckpointError, match="no evaluation sets"):
        remeasure(tmp_path / "best.ckpt", "cpu")


@pytest.mark.slow
def test_pictures_and_latency(write_run: Callable[..., Path], dataset: dict[str, Any], tmp_path: Path) -> None:
    plain, taught = write_run("plain", "small", [0]), write_run("kd", "small", [0, 1], teacher="large")
    for seed, folder in enumerate((plain, taught)):
        save(folder / "best.ckpt", dataset, seed)
    assert main([str(tmp_path / "runs"), "--pictures", "--latency", "--device", "cpu"]) == 0
    page = (tmp_path / "runs/report.html").read_text("utf-8")
    (drawn,) = (tmp_path / "runs/report_pictures").glob("drawn@1f_*.html")
    assert f'<a href="report_pictures/{quote(drawn.name)}">pictures</a>' in page
    pictures = drawn.read_text("utf-8")
    assert "Fixed (" in pictures and "Broken (" in pictures
    parameters = sum(p.numel() for p in checkpoint.load(plain / "best.ckpt").parameters())
    assert f'data-value="{parameters / 1e6}"' in page  # measured, not the 2.5 M of summary.json
    assert json.loads((plain / "summary.json").read_text())["costs"]["parameters"] == 2_500_000  # which stays
