"""Two processes train on the tuples of one: they share the looking and the mining, and agree on what they found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from tests.processes import run_script
from vpr import checkpoint

SCRIPT = """
import json, os, sys
from pathlib import Path
from omegaconf import OmegaConf
import vpr.training.tuple_mining as refresh_module
from vpr.training.run import fit
from vpr.training.module import TrainingModule

directory = Path(sys.argv[1])
step, extract, told = TrainingModule.training_step, refresh_module.extract, {"steps": [], "described": []}

def stepping(self, batch, batch_idx):
    told["steps"].append(batch.numbers.reshape(-1, batch.size).tolist())
    return step(self, batch, batch_idx)

def extracting(describe, loader, *args):
    told["described"].append(sum(len(batch) for batch in loader.batch_sampler))
    return extract(describe, loader, *args)

TrainingModule.training_step, refresh_module.extract = stepping, extracting
fit(OmegaConf.load(directory / "cfg.yaml"), directory)
rank = os.environ.get("LOCAL_RANK", "0")
(directory / f"rank{rank}.json").write_text(json.dumps(told))
"""


def run(cfg: DictConfig, directory: Path, ranks: int) -> list[dict]:
    """Train in processes of their own; return what each rank has told."""
    directory.mkdir()
    OmegaConf.save(cfg, directory / "cfg.yaml")
    (directory / "run.py").write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(directory / "run.py"), str(directory)]
    done = run_script(command, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads((directory / f"rank{rank}.json").read_text()) for rank in range(ranks)]


@pytest.mark.slow
def test_two_processes_train_on_the_tuples_of_one(tiny_tuples, tmp_path: Path):
    """24 queries in batches of 5, of which a rank gets 3 or 2. BatchNorm is held: it would see a rank's share alone."""
    held = ["finetune.backbone_bn=false", "backbone.weights=checkpoint", "optimizer.lr=1e-5", "trainer.max_epochs=2"]
    own = ["supervision.tuples=5", "supervision.refresh_every=10", "trainer.eval_batch_size=4"]
    (alone,) = run(tiny_tuples([*held, *own]), tmp_path / "one", 1)
    first, second = run(tiny_tuples([*held, *own, "trainer=ddp_cpu", "trainer.devices=2"]), tmp_path / "two", 2)
    assert alone["described"] == [34, 34, 28] * 2
    assert [a + b for a, b in zip(first["described"], second["described"], strict=True)] == alone["described"]
    assert min(first["described"] + second["described"]) > 0
    together = [a + b for a, b in zip(first["steps"], second["steps"], strict=True)]
    assert together == alone["steps"]
    assert [len(step) for step in second["steps"]] == [2] * 10
    ours, theirs = (checkpoint.read(tmp_path / name / "last.ckpt")["weights"] for name in ("one", "two"))
    for key, value in ours.items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-3, atol=1e-5)
