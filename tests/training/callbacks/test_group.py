"""Callbacks of a run as a config group: ours in their order, those of the user among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar

from vpr.cli.compose import compose
from vpr.cli.rules import NEEDED_CALLBACKS
from vpr.errors import ConfigError
from vpr.training.callbacks.bad_images import BadImages
from vpr.training.callbacks.checkpointing import ResumeCheckpoint
from vpr.training.callbacks.evaluation import RecallEvaluation
from vpr.training.callbacks.group import FIRST, LAST, NEEDED
from vpr.training.callbacks.throughput import Throughput
from vpr.training.run import TrainingRun, fit
from vpr.training.teacher_cache import TeacherTargets

LIGHTNING = "pytorch_lightning.callbacks"
RATE = [f"+callbacks.rate._target_={LIGHTNING}.LearningRateMonitor"]
OURS = [BadImages, TeacherTargets, ResumeCheckpoint, RecallEvaluation, Throughput]


def kinds(run: TrainingRun) -> list[type]:
    return [type(callback) for callback in run.callbacks]


def test_the_default_group_is_what_the_code_knows():
    assert set(compose("train").callbacks) == {*FIRST, *LAST}
    assert set(NEEDED) == set(NEEDED_CALLBACKS)


def test_ours_come_in_their_order(tiny, tmp_path: Path):
    cfg = tiny()
    cfg.callbacks = dict(reversed(cfg.callbacks.items()))
    assert kinds(TrainingRun.from_config(cfg, tmp_path)) == OURS


def test_one_of_the_user_comes_before_files_are_written(tiny, tmp_path: Path):
    run = TrainingRun.from_config(tiny(RATE), tmp_path)
    assert kinds(run) == [*OURS[:2], LearningRateMonitor, *OURS[2:]]


def test_throughput_can_be_taken_out(tiny, tmp_path: Path):
    for without in ("~callbacks.throughput", "callbacks.throughput=null"):
        assert kinds(TrainingRun.from_config(tiny([without]), tmp_path)) == OURS[:-1]


def test_keys_of_the_trainer_reach_them(tiny, tmp_path: Path):
    overrides = ["trainer.save_top=7", "trainer.monitor=tiny", "trainer.monitor_k=5", "trainer.eval_every=2"]
    more = ["trainer.early_stop=4", "evaluate_first=true", "trainer.checkpoint_every={steps: 9, minutes: null}"]
    run = TrainingRun.from_config(tiny([*overrides, *more]), tmp_path)
    recall, last = run.callback(RecallEvaluation), run.callback(ResumeCheckpoint)
    assert (recall.best_checkpoints.keep, recall.best_checkpoints.k, recall.monitor) == (7, 5, "tiny")
    assert (recall.every, recall.patience, recall.first) == (2, 4, True)
    assert (last.steps, last.minutes, last.path) == (9, None, tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+callbacks.x._target_=collections.OrderedDict"], "callbacks.x: OrderedDict is not a callback of"),
        (["+callbacks.x._target_=builtins.print"], "callbacks.x: NoneType is not a callback"),
        (
            [f"+callbacks.swa._target_={LIGHTNING}.StochasticWeightAveraging", "+callbacks.swa.swa_lrs=-1.0"],
            "callbacks.swa: The `swa_lrs` should",
        ),
        (
            ["callbacks.checkpoints._target_=vpr.training.callbacks.bad_images.BadImages"],
            "callbacks.checkpoints: BadImages is not a ResumeCheckpoint",
        ),
    ],
    ids=["no callback", "a function", "an impossible value", "another one of ours"],
)
def test_what_is_no_callback_is_refused_before_data_are_read(tiny, tmp_path: Path, overrides, message: str):
    cfg = tiny(overrides)
    cfg.dataset.train.tiny.root = str(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=message):
        TrainingRun.from_config(cfg, tmp_path)


def test_callbacks_of_lightning_run(tiny, tmp_path: Path):
    """A checkpoint callback of its own and a progress bar, which the Trainer wants to be told of."""
    names = {"rate": LearningRateMonitor, "more": ModelCheckpoint, "bar": TQDMProgressBar}
    overrides = [f"+callbacks.{name}._target_={LIGHTNING}.{kind.__name__}" for name, kind in names.items()]
    folder = f"+callbacks.more.dirpath={tmp_path}/more"
    fit(tiny([*overrides, folder, "trainer.max_epochs=1"]), tmp_path / "run")
    assert "lr-" in (tmp_path / "log" / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert [path.suffix for path in (tmp_path / "more").iterdir()] == [".ckpt"]
