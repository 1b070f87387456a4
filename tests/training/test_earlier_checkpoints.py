"""Files of earlier code: they load, describe, teach, and runs go on from them to the end that they had then.

fixtures/README.md says how they were made.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

import vpr
from vpr import checkpoint
from vpr.cli.compose import compose
from vpr.training.run import fit

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
PLACES, VIEWS, SIDE = 16, 4, 48
KEPT = {"places": ["epoch01_R1-0.1875.ckpt", "epoch00_R1-0.0625.ckpt"], "tuples": []}


def draw(root: Path) -> None:
    """Draw `photos` (places that are hard to tell apart) and `walk`, the training images by position."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for place in range(PLACES):
            pattern = rng.integers(60, 196, (4, 4, 3)).astype(np.float32)
            for view in range(VIEWS):
                changed = pattern * rng.uniform(0.6, 1.4, 3) + rng.uniform(-70, 70, pattern.shape)
                image = np.clip(changed, 0, 255).astype(np.uint8)
                image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
                folder = f"train/place{place:02d}" if part == "train" else ("database" if view == 0 else "queries")
                path = root / "photos" / folder / (f"{view}.png" if part == "train" else f"{place:02d}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image)
    for folder, views in (("queries", (0, 1)), ("gallery", (2, 3))):
        (root / "walk" / folder).mkdir(parents=True)
        for place in range(PLACES):
            for view in views:
                source = root / "photos" / "train" / f"place{place:02d}" / f"{view}.png"
                shutil.copy(source, root / "walk" / folder / f"@{100 * place + view:04d}@0@.png")


def config(name: str, overrides: list[str]) -> DictConfig:
    """Compose the run of the fixtures called `name`, with paths relative to the working folder."""
    tuples = ["supervision=tuples", "supervision.refresh_every=8", "supervision.mining.negatives=2"]
    cfg = compose(
        "train",
        [
            *("dataset=places_folder", "backbone=tf_efficientnet_lite0", "backbone.weights=none"),
            *("backbone.crop=[2,3,4,5,6]", "agg=gem", "logger=csv", "image.size=[48,48]", "batch.places=4"),
            *("batch.images_per_place=2", f"name={name}", "trainer.num_workers=0", "trainer.accelerator=cpu"),
            *("trainer.log_every=1", "paths.runs=runs"),
            *([*tuples, "supervision.mining.pool=10"] if name == "tuples" else []),
            *overrides,
        ],
    )
    protocol = {"_target_": "vpr.types.Protocol", "id": "tiny@0f"}
    pairs = {"root": "photos", "protocol": protocol, "database": "database", "queries": "queries", "tolerance": 0}
    dataset: dict[str, Any] = {"eval": {"tiny": {"_target_": "vpr.data.formats.pairs.read", **pairs}}}
    if name == "tuples":
        sides: dict[str, Any] = {
            side: {"_target_": "vpr.data.formats.utm_folder.photos", "root": "walk", "folder": side}
            for side in ("queries", "gallery")
        }
        dataset["weak"] = {"tiny": {"_target_": "vpr.data.tuples.read", **sides, "capture": ".+"}}
    else:
        dataset["train"] = {"tiny": {"_target_": "vpr.data.formats.place_lists.read_folder", "root": "photos/train"}}
    with open_dict(cfg):
        cfg.logger.csv.directory = "log"
        cfg.dataset = OmegaConf.create(dataset)
    return cfg


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the drawn images and the interrupted runs `runs/<name>/first`."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path)
    for name, kept in KEPT.items():
        first = tmp_path / "runs" / name / "first"
        first.mkdir(parents=True)
        shutil.copy(FIXTURES / f"{name}_last.ckpt", first / "last.ckpt")
        for file in kept:
            shutil.copy(FIXTURES / "places_best.ckpt", first / file)
    return tmp_path


@pytest.mark.parametrize("name", KEPT)
def test_a_run_goes_on_to_the_end_that_it_had(name: str, folder: Path, steps: list[tuple[list[int], float]]):
    expected = EXPECTED[name]
    second = folder / "runs" / name / "second"
    assert fit(config(name, [*expected["overrides"], "ckpt_path=last"]), second) == expected["score"]
    assert [loss for _, loss in steps] == pytest.approx(expected["losses"], rel=1e-3)

    summary = json.loads((second / "summary.json").read_text())
    assert summary["epochs"] == expected["epochs"], "early stopping has counted the evaluations before"
    assert summary["sets"] == expected["sets"], "recalls, and the gain over what was measured before training"
    assert sorted(path.name for path in second.glob("epoch*.ckpt")) == expected["files"]
    assert checkpoint.read(second / "best.ckpt")["metrics"]["tiny@0f"]["R@1"] == expected["score"]

    last = torch.load(second / "last.ckpt", weights_only=True)
    recall = last["callbacks"]["Recall"]
    assert [[kept["score"], Path(kept["path"]).name] for kept in recall["top"]] == expected["kept"]
    for key in ("evaluated_epoch", "without_best"):
        assert recall[key] == expected[key]
    for key in ("epoch", "global_step", "position"):
        assert last[key] == expected[key]
    weights = {key: float(value.double().abs().sum()) for key, value in last["describer"]["weights"].items()}
    assert weights == pytest.approx(expected["weights"], rel=1e-3)
    assert all((folder / "runs" / name / "first" / file).is_file() for file in KEPT[name]), "left as they were"


@pytest.mark.parametrize("file", ["places_best.ckpt", "places_last.ckpt", "tuples_last.ckpt"])
def test_they_hold_a_describer(file: str):
    describer = checkpoint.load(FIXTURES / file)
    assert describer.preprocess.size == (SIDE, SIDE)
    assert "vpr.engine" not in str(checkpoint.read(FIXTURES / file)["config"])


def test_the_descriptors_are_the_same():
    images = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    descriptors = vpr.load(str(FIXTURES / "places_best.ckpt")).describe(list(images))
    assert descriptors == pytest.approx(np.array(EXPECTED["descriptors"]), abs=1e-6)


def test_they_teach(folder: Path, steps: list[tuple[list[int], float]]):
    teacher = ["distillation=similarity", f"distillation.teacher.ckpt={FIXTURES / 'places_best.ckpt'}"]
    fit(config("places", [*teacher, "trainer.max_epochs=1"]), folder / "student")
    assert len(steps) == PLACES // 4
    assert checkpoint.load(folder / "student" / "best.ckpt").dim == len(EXPECTED["descriptors"][0])


def test_they_are_small_and_name_no_folder_of_a_machine():
    files = sorted(FIXTURES.glob("*.ckpt"))
    assert sum(path.stat().st_size for path in files) < 2**20
    for path in files:
        content = path.read_bytes()
        assert not any(folder in content for folder in (b"/tmp", b"/home", b"/root", b"/work", b"/Users", b"C:\\"))
