"""A run on tuples that is cut off at any time goes on with the same tuples and ends with the same weights."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

import vpr.training.tuple_mining as refresh_module
from tests.processes import run_script
from vpr import checkpoint
from vpr.training.run import fit

# 12 or more batches of 3 images: 8 queries, and the database of 24 images
SMALL = ["trainer.eval_batch_size=3", "trainer.eval_every=0", "trainer.max_epochs=2"]
ROOT = Path(__file__).parents[2]


class Straight(NamedTuple):
    """A run that nothing interrupted: images and loss of its steps, and the weights at its end."""

    steps: list[tuple[list[int], float]]
    weights: dict[str, torch.Tensor]


KILLED = """
import os, signal, sys
from pathlib import Path
from omegaconf import OmegaConf
import vpr.training.tuple_mining as refresh_module
from vpr.training.run import fit
from vpr.training.module import TrainingModule

cfg, directory, step, refresh, batch = sys.argv[1:]
extract, training_step, refreshes = refresh_module.extract, TrainingModule.training_step, []

def die_now(*counts):
    if counts in ((int(step),), (int(refresh), int(batch))):
        os.kill(os.getpid(), signal.SIGKILL)

def stepping(self, images, batch_idx):
    die_now(self.global_step)
    return training_step(self, images, batch_idx)

def extracting(describe, *args):
    refreshes.append(0)
    def counted(images):
        die_now(len(refreshes), refreshes[-1])
        refreshes[-1] += 1
        return describe(images)
    return extract(counted, *args)

refresh_module.extract, TrainingModule.training_step = extracting, stepping
fit(OmegaConf.load(cfg), Path(directory))
"""


def kill(cfg: DictConfig, directory: Path, step: int = -1, refresh: int = -1, batch: int = -1) -> None:
    """Run it in a process of its own that dies at this step, or at this batch of this refresh (from 1)."""
    directory.mkdir(parents=True)
    OmegaConf.save(cfg, directory / "cfg.yaml")
    arguments = [str(directory / "cfg.yaml"), str(directory), str(step), str(refresh), str(batch)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run_script(["-c", KILLED, *arguments], env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(run / "last.ckpt")["weights"]


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images described in each refresh."""
    seen: list[int] = []
    extract = refresh_module.extract

    def counted(describe, loader, out, progress=None):
        seen.append(sum(len(batch) for batch in loader.batch_sampler))
        return extract(describe, loader, out, progress)

    monkeypatch.setattr(refresh_module, "extract", counted)
    return seen


@pytest.fixture(scope="module")
def known() -> list[Straight]:
    return []


@pytest.fixture
def straight(tiny_tuples, tmp_path: Path, steps, described, known: list[Straight]) -> Straight:
    """The run that nothing interrupts, once for all tests."""
    if not known:
        fit(tiny_tuples(SMALL), tmp_path / "straight")
        assert described == [32] * 6
        known.append(Straight(list(steps), weights(tmp_path / "straight")))
        steps.clear()
        described.clear()
    return known[0]


# Two epochs of six steps, with a refresh before steps 0, 2, 4, ...; steps count from 0, refreshes from 1.
DEATHS = {
    "in an epoch": ({"step": 9}, "null", 8, [32]),  # step 8 is done again, with the tuples that were mined for it
    "in an epoch, saved before": ({"step": 9}, "1", 9, [32]),
    "in the first steps": ({"step": 1}, "null", 0, [32] * 5),
    "in a look": ({"refresh": 5, "batch": 7}, "null", 8, [32 - 7 * 3, 32]),
    "in the first look": ({"refresh": 1, "batch": 10}, "null", 0, [2, *[32] * 5]),
    "between epochs": ({"refresh": 4, "batch": 0}, "null", 6, [32] * 3),
}


@pytest.mark.slow
@pytest.mark.parametrize(("death", "every", "resumed_at", "looks"), DEATHS.values(), ids=DEATHS)
def test_a_killed_run_ends_as_if_nothing_had_been(
    tiny_tuples, tmp_path: Path, straight: Straight, steps, described, death: dict, every: str, resumed_at: int, looks
):
    runs = tmp_path / "runs" / "tiny"
    often = [f"trainer.checkpoint_every.steps={every}"]
    kill(tiny_tuples([*SMALL, *often]), runs / "first", **death)
    fit(tiny_tuples([*SMALL, *often, "ckpt_path=last"]), runs / "second")
    assert steps == straight.steps[resumed_at:]
    assert described == looks, "what was described before is not described again"
    theirs = weights(runs / "second")
    assert all(torch.equal(value, theirs[key]) for key, value in straight.weights.items())
    assert not (runs / "second" / "mining" / "descriptors.npy").exists()


def test_ctrl_c_cuts_off_a_look_at_the_gallery(tiny_tuples, tmp_path: Path, straight, steps, described, monkeypatch):
    extract = refresh_module.extract

    def interrupted(describe, loader, out, progress=None):
        def pressed(images):
            if len(described) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return describe(images)

        return extract(pressed, loader, out, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(refresh_module, "extract", interrupted)
        fit(tiny_tuples(SMALL), tmp_path / "runs" / "tiny" / "first")
    assert steps == straight.steps[:2]
    fit(tiny_tuples([*SMALL, "ckpt_path=last"]), tmp_path / "runs" / "tiny" / "second")
    assert steps == straight.steps
