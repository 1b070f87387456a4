"""Loggers: no prompt, no network, files where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.utils import instantiate

from vpr.cli.compose import compose
from vpr.training import loggers
from vpr.training.run import fit


def test_csv_writes_metrics(tmp_path: Path):
    logger = loggers.csv(str(tmp_path))
    logger.log_metrics({"a@1m/R@1": 0.5}, step=1)
    logger.save()
    assert (tmp_path / "csv" / "metrics.csv").read_text().splitlines() == ["a@1m/R@1,step", "0.5,1"]


def test_tensorboard_writes_events(tmp_path: Path):
    logger = loggers.tensorboard(str(tmp_path))
    logger.log_metrics({"loss": 0.5}, step=1)
    logger.save()
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize(
    ("key", "variable", "expected"),
    [(None, None, "offline"), ("k", None, "online"), ("k", "offline", "offline"), (None, "disabled", "disabled")],
)
def test_wandb_is_online_only_where_the_user_is_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None, variable: str | None, expected: str
):
    monkeypatch.setattr(loggers, "_api_key", lambda: key)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert loggers.wandb(str(tmp_path))._wandb_init["mode"] == expected


def test_wandb_knows_the_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers, "_api_key", lambda: None)
    overrides = ["pair=vgg16_mobilenet_v3_large", "distillation=similarity", "seed=3", "logger.wandb.tags=[mine]"]
    pair, alone = compose("train", overrides), compose("train", ["dataset=[gsv_cities,msls_val]", "agg=gem"])
    for cfg in (pair, alone):
        cfg.logger.wandb.directory = str(tmp_path)
    settings = instantiate(pair.logger.wandb)._wandb_init
    assert settings["tags"] == [
        *("student:mobilenet_v3_large-mixvpr", "teacher:vgg16", "term:similarity", "dataset:toycity", "mine"),
    ]
    assert (settings["job_type"], settings["group"]) == ("distil", "vgg16-to-mobilenet_v3_large-mixvpr-similarity")
    assert settings["name"] == "vgg16-to-mobilenet_v3_large-mixvpr-similarity-seed3"
    settings = instantiate(alone.logger.wandb)._wandb_init
    assert settings["tags"] == ["student:resnet18-gem", "term:none", "dataset:gsv_cities"]
    assert (settings["job_type"], settings["group"]) == ("train", "resnet18-gem-none")


def test_a_long_tag_is_cut_as_wandb_would_refuse_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers, "_api_key", lambda: None)
    logger = loggers.wandb(str(tmp_path), labels={"dataset": "x" * 100, "teacher": None})
    assert logger._wandb_init["tags"] == ["dataset:" + "x" * 56]


@pytest.mark.slow
def test_an_offline_wandb_run_lies_in_the_runs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers, "_api_key", lambda: None)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    logger = loggers.wandb(str(tmp_path), group="pair", tags=["student"])
    logger.log_metrics({"loss": 0.5}, step=1)
    logger.experiment.finish()
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.slow
def test_each_job_of_a_process_is_a_wandb_run_of_its_own(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers, "_api_key", lambda: None)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for seed in (0, 1):
        cfg = tiny(["logger=wandb", f"seed={seed}", "trainer.max_epochs=1"])
        cfg.logger.wandb.directory = str(tmp_path / "log")
        fit(cfg, tmp_path / str(seed))
    assert len(list((tmp_path / "log" / "wandb").glob("offline-run-*/run-*.wandb"))) == 2


def test_a_resumed_run_goes_on_with_its_run_at_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("offline-run-20260101_110000-old", "run-20260102_110000-new", "latest-run"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    seen: list[dict] = []
    monkeypatch.setattr(loggers, "WandbLogger", lambda **settings: seen.append(settings))
    node = {"_target_": "vpr.training.loggers.wandb", "directory": str(tmp_path), "mode": "offline"}
    loggers.make_loggers({"wandb": node}, tmp_path)
    loggers.make_loggers({"wandb": node}, None)
    loggers.make_loggers({"wandb": {**node, "mode": "online"}}, tmp_path)
    assert [one.get("id") for one in seen] == ["new", None, "new"]
    assert [one.get("resume") for one in seen] == [None, None, "allow"]
