"""A whole run: what it leaves behind, that it learns, and that an interrupted one goes on as if nothing had been."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from omegaconf import open_dict
from pytorch_lightning.callbacks import Callback

import vpr
import vpr.training.run as fit_module
from tests.conftest import untraced
from vpr import checkpoint
from vpr.errors import CheckpointError, ConfigError, TrainingDiverged, WeightsUnavailable
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.training.module import TrainingModule
from vpr.training.resume import Resume
from vpr.training.run import fit


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every step's loss, in order."""
    seen: list[float] = []
    step = TrainingModule.training_step

    def recorded(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        seen.append(loss.item())
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", recorded)
    return seen


class Straight(NamedTuple):
    """A run that nothing interrupted: losses of its steps, its score, the weights of best.ckpt, and its recalls."""

    losses: list[float]
    score: float | None
    weights: dict[str, torch.Tensor]
    sets: dict[str, Any]


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, ...], Straight]:
    return {}


@pytest.fixture
def straight(tiny, tmp_path: Path, losses: list[float], known) -> Callable[..., Straight]:
    """Run a configuration from start to end, once for all tests of this file."""

    def run(*overrides: str) -> Straight:
        if overrides not in known:
            score = fit(tiny(overrides), tmp_path / "straight")
            weights = checkpoint.read(tmp_path / "straight" / "best.ckpt")["weights"]
            sets = json.loads((tmp_path / "straight" / "summary.json").read_text())["sets"]
            known[overrides] = Straight(list(losses), score, weights, sets)
            losses.clear()
        return known[overrides]

    return run


def test_a_run_leaves_a_usable_best_checkpoint(tiny, tmp_path: Path):
    cfg = tiny(["evaluate_first=true", "trainer.monitor_k=5"])
    score = fit(cfg, tmp_path)
    stored = checkpoint.read(tmp_path / "best.ckpt")
    assert stored["metrics"]["tiny@0f"]["R@5"] == score
    assert stored["config"]["backbone"]["weights"] == "none"
    assert "paths" not in stored["config"]
    kept = sorted(tmp_path.glob("epoch*_R5-*.ckpt"))
    assert 1 <= len(kept) <= 3
    # evaluate.py's function on the file gives the number that training gave.
    describer = vpr.load(str(tmp_path / "best.ckpt"))
    retrieval_set = fit_module.evaluation_sets(cfg.dataset)["tiny"]
    again = evaluate(Extractor(describer, "cpu"), retrieval_set, options=EvalOptions(progress=False))
    assert again.metrics()["R@5"] == score
    metrics = (tmp_path / "log" / "csv" / "metrics.csv").read_text()
    for column in ("train/loss", "train/mined", "train/lr", "speed/images_per_s", "tiny@0f/R@1"):
        assert column in metrics.splitlines()[0]


@pytest.mark.parametrize(
    "options",
    [["trainer.precision=bf16-mixed", "trainer.channels_last=true"], ["trainer.compile=true"]],
    ids=["mixed precision", "compiled"],
)
@pytest.mark.slow
def test_faster_training_gives_the_same_losses_within_its_precision(tiny, tmp_path: Path, losses, straight, options):
    short = ["trainer.max_epochs=1", "schedule=constant", "optimizer.lr=1e-4", "backbone.crop=[2,3,4]"]
    plain = straight(*short)
    with untraced():
        fit(tiny([*short, *options]), tmp_path / "fast")
    assert losses == pytest.approx(plain.losses, rel=2e-2)
    assert losses != plain.losses or "trainer.compile=true" in options
    assert plain.weights.keys() == checkpoint.load(tmp_path / "fast" / "best.ckpt").state_dict().keys()


def test_training_lowers_the_loss(tiny, tmp_path: Path, losses: list[float]):
    fit(
        tiny(
            ["trainer.max_epochs=8", "augment=none", "trainer.eval_every=0", "schedule=constant", "optimizer.lr=1e-3"]
        ),
        tmp_path,
    )
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5], ids=lambda s: f"in step {s}")
def test_an_interrupted_run_goes_on_with_the_same_losses(
    tiny, tmp_path: Path, losses: list[float], interrupted_at, straight, step
):
    expected, expected_score, theirs, _ = straight()
    assert len(expected) == 9
    first = tmp_path / "runs" / "tiny" / "first"
    with interrupted_at(step):
        fit(tiny(), first)
    assert losses == expected[: step + 1], "the step that Ctrl-C fell into is finished and saved"
    score = fit(tiny(["ckpt_path=last"]), tmp_path / "runs" / "tiny" / "second")
    assert losses == expected
    assert score == expected_score
    ours = checkpoint.read(first.parent / "second" / "best.ckpt")["weights"]
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


class InterruptedDestructor(Callback):
    """Presses Ctrl-C between two epochs, in a place where Python drops the exception."""

    def on_train_epoch_start(self, trainer, module) -> None:
        if trainer.current_epoch == 1:
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)


def test_a_dropped_interrupt_between_epochs_is_not_forgotten(tiny, tmp_path: Path, losses, with_callback):
    with with_callback(InterruptedDestructor()), pytest.raises(KeyboardInterrupt):
        fit(tiny(), tmp_path)
    assert len(losses) == 4, "three of the first epoch, and the step that followed"
    assert (tmp_path / "last.ckpt").is_file()


def test_a_finished_epoch_is_resumed_at_the_next_one(tiny, tmp_path: Path, losses: list[float], straight):
    expected = straight().losses
    fit(tiny(["trainer.max_epochs=1", "schedule=constant"]), tmp_path / "runs" / "tiny" / "first")
    assert len(losses) == 3
    losses.clear()
    fit(tiny(["ckpt_path=last", "schedule=constant"]), tmp_path / "runs" / "tiny" / "second")
    assert len(losses) == len(expected) - 3


@pytest.mark.parametrize("cut", [1, 2], ids=["an epoch's evaluation", "the last one"])
def test_a_run_cut_off_in_its_evaluation_evaluates_when_resumed(
    tiny, tmp_path: Path, monkeypatch, losses, straight, cut: int
):
    expected, expected_score, _, sets = straight("evaluate_first=true")
    measure = fit_module.RecallEvaluation.measure

    def cut_off(self, trainer, module):
        if trainer.current_epoch == cut:
            raise KeyboardInterrupt
        return measure(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module.RecallEvaluation, "measure", cut_off)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny(["evaluate_first=true"]), tmp_path / "runs" / "tiny" / "first")
    assert losses == expected[: 3 * (cut + 1)]
    evaluated: list[int] = []
    evaluate_epoch = fit_module.RecallEvaluation._evaluate_epoch

    def recorded(self, trainer, module, epoch):
        evaluated.append(epoch)
        evaluate_epoch(self, trainer, module, epoch)

    monkeypatch.setattr(fit_module.RecallEvaluation, "_evaluate_epoch", recorded)
    second = tmp_path / "runs" / "tiny" / "second"
    assert fit(tiny(["evaluate_first=true", "ckpt_path=last"]), second) == expected_score
    assert evaluated == list(range(cut, 3))
    assert losses == expected
    ours = json.loads((second / "summary.json").read_text())["sets"]
    assert ours == sets, "what was measured before the interruption is still known"


def test_a_run_stops_early_when_recall_stays(tiny, tmp_path: Path, losses: list[float]):
    frozen = ["optimizer.lr=0", "optimizer.weight_decay=0", "trainer.early_stop=2", "trainer.max_epochs=9"]
    # BatchNorm's statistics are held as well: nothing changes, so the first epoch stays the best.
    fit(tiny([*frozen, "finetune.backbone_bn=false", "backbone.weights=checkpoint"]), tmp_path)
    assert len(losses) == 3 * 3


def test_overfitting_repeats_the_same_batches(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    labels: list[list[int]] = []
    step = TrainingModule.training_step

    def recorded(self, batch, batch_idx):
        labels.append(batch.labels.tolist())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", recorded)
    fit(tiny(["+trainer.extra.overfit_batches=2", "trainer.eval_every=0"]), tmp_path)
    assert len(labels) == 6
    assert labels[0:2] == labels[2:4] == labels[4:6] and labels[0] != labels[1]


def test_only_the_same_run_is_resumed(tiny, tmp_path: Path, caplog):
    fit(tiny(["trainer.max_epochs=1"]), tmp_path / "runs" / "tiny" / "first")
    with pytest.raises(ConfigError, match="seed=0, and this one has 1"):
        fit(tiny(["ckpt_path=last", "seed=1"]), tmp_path / "second")
    with pytest.raises(ConfigError, match="of a run with batch="):
        fit(tiny(["ckpt_path=last", "batch.places=6"]), tmp_path / "second")
    for typed, says in (
        ("optimizer.lr=0.01", "of a run with optimizer.lr=0.0002, and this one has 0.01.*init=PATH instead"),
        ("optimizer=sgd", "of a run with optimizer="),
        ("schedule=constant", "of a run with schedule="),
        ("loss.loss.alpha=3", "of a run with loss.loss.alpha="),
        ("augment=none", "of a run with augment="),
        ("finetune.backbone_lr=0.5", "of a run with finetune.backbone_lr=1.0, and this one has 0.5"),
    ):
        with pytest.raises(ConfigError, match=says):
            fit(tiny(["ckpt_path=last", typed]), tmp_path / "second")
    cfg = tiny(["ckpt_path=last", "trainer.max_epochs=1"])
    cfg.dataset.train.tiny.root = str(shutil.copytree(cfg.dataset.train.tiny.root, tmp_path / "copy"))
    caplog.clear()
    fit(cfg, tmp_path / "third")  # the same images elsewhere
    assert "that run had finished its 1 epochs, so nothing is left to train" in caplog.text
    assert "type a larger trainer.max_epochs than 1" in caplog.text
    next((tmp_path / "copy").rglob("*.jpg")).write_bytes(b"x")
    with pytest.raises(ConfigError, match="is of a run on other training images"):
        fit(cfg, tmp_path / "third")
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        fit(tiny([f"ckpt_path={tmp_path}/runs/tiny/first/best.ckpt"]), tmp_path / "second")
    last = tmp_path / "runs" / "tiny" / "first" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="damaged"):
        fit(tiny(["ckpt_path=last"]), tmp_path / "second")


class Poison(Callback):
    """Makes weights NaN: before a step, or after the last one of an epoch."""

    def __init__(self, step: int, after: bool) -> None:
        self.step, self.after = step, after

    def _poison(self, module) -> None:
        next(module.describer.parameters()).data.fill_(float("nan"))

    def on_train_batch_start(self, trainer, module, *args) -> None:
        if not self.after and trainer.global_step == self.step:
            self._poison(module)

    def on_train_batch_end(self, trainer, module, *args) -> None:
        if self.after and trainer.global_step == self.step + 1:
            self._poison(module)


@pytest.mark.parametrize(
    ("after", "says"), [(False, r"Step 5 \(epoch 2\): the loss is nan"), (True, "of the model are NaN")]
)
def test_divergence_is_said_at_its_step_and_nothing_is_saved_over(
    tiny, tmp_path: Path, with_callback, after: bool, says: str
):
    with with_callback(Poison(4, after)), pytest.raises(TrainingDiverged, match=says):
        fit(tiny(["trainer.checkpoint_every.steps=1"]), tmp_path)
    for name in ("last.ckpt", "best.ckpt"):
        weights = checkpoint.read(tmp_path / name)["weights"].values()
        assert all(value.isfinite().all() for value in weights)


def test_an_impossible_learning_rate_is_a_sentence(tiny, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"optimizer: .*-1"):
        fit(tiny(["optimizer.lr=-1"]), tmp_path)


def test_short_runs_without_an_evaluation_set_log_and_say_their_loss(tiny, tmp_path: Path, caplog):
    cfg = tiny(["trainer.log_every=20", "trainer.max_epochs=2"])
    cfg.dataset.eval = {}
    with caplog.at_level("INFO", logger="vpr"):
        fit(cfg, tmp_path)
    assert "epoch 2/2:  loss" in caplog.text
    assert "train/loss" in (tmp_path / "log" / "csv" / "metrics.csv").read_text()


def test_ckpt_path_must_exist(tmp_path: Path):
    assert Resume.find(None, tmp_path) is None
    with pytest.raises(ConfigError, match="no file nowhere.ckpt"):
        Resume.find("nowhere.ckpt", tmp_path)
    with pytest.raises(ConfigError, match="begin a new run"):
        Resume.find("last", tmp_path)


def test_without_weights_a_real_run_stops_and_a_toy_run_records_it(tiny, tmp_path: Path, monkeypatch, caplog):
    import vpr.training.build as build_module

    real = build_module.build_describer

    def offline(backbone, agg, image):
        if backbone["weights"] == "default":
            raise WeightsUnavailable("no weights for resnet18")
        return real(backbone, agg, image)

    monkeypatch.setattr(build_module, "build_describer", offline)
    cfg = tiny(["trainer.max_epochs=1"])
    cfg.backbone.weights = "default"
    with pytest.raises(WeightsUnavailable):
        fit(cfg, tmp_path / "real")
    with open_dict(cfg):
        cfg.dataset.random_weights_ok = {"tiny": True}
    fit(cfg, tmp_path / "toy")
    assert "random weights" in caplog.text
    assert checkpoint.read(tmp_path / "toy" / "best.ckpt")["config"]["backbone"]["weights"] == "none"
