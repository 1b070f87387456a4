"""Generations: their settings, and by which command the earlier ones are trained."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from vpr.cli.compose import CONF, compose
from vpr.cli.rules import check_rules
from vpr.cli.run_names import identity, job_label
from vpr.cli.sweeps import prerequisites
from vpr.cli.sweeps.jobs import Job, JobFailed
from vpr.cli.sweeps.prerequisites import earlier_overrides, train_earlier_generations_first
from vpr.errors import ConfigError

SFRS = "experiment=sfrs_vgg16_pitts30k"


def test_what_a_value_is_in_each_generation() -> None:
    epochs, difficult = [], []
    for generation in range(4):
        cfg = compose("train", [SFRS, f"generation={generation}"])
        epochs.append(cfg.trainer.max_epochs)
        difficult.append(cfg.supervision.mining.difficult)
        assert cfg.supervision.generation == generation
    assert epochs == [1, 5, 5, 5] and difficult == [0, 10, 10, 10]


def test_an_earlier_generation_is_the_same_run_but_for_its_number() -> None:
    task = [SFRS, "generation=3", "seed=7", "ckpt_path=last.ckpt", "supervision.soft.ckpt=x", "+trainer.extra.a=1"]
    assert earlier_overrides(task, 2) == [SFRS, "seed=7", "+trainer.extra.a=1", "generation=2"]
    assert earlier_overrides([SFRS], 0) == [SFRS, "generation=0"]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        [SFRS, "generation=0"],
        [SFRS, "supervision.soft.ckpt=given.ckpt"],
        [SFRS, "supervision.soft.weight=0"],
    ],
)
def test_no_earlier_generation_is_trained_where_none_is_needed(overrides: list[str]) -> None:
    cfg = compose("train", overrides)
    before = cfg.copy()
    train_earlier_generations_first(cfg)
    assert cfg == before


class Runs:
    """Stands in for a script that is run: remembers its calls."""

    def __init__(self, fails: bool = False) -> None:
        self.calls: list[tuple[list[str], str, Path]] = []
        self.flags: list[str] = []
        self.fails = fails

    def __call__(self, script: Path, flags: list[str], overrides: list[str], identity: str, directory: Path) -> None:
        self.calls.append((overrides, identity, directory))
        self.flags = flags
        if self.fails:
            raise JobFailed(f"{directory} ended with exit code 1")


def train(overrides: list[str], folder: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch):
    """Do what train.py does before training, in a run whose folder is given."""
    monkeypatch.setattr(prerequisites, "run_once", runs)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    cfg = compose("train", overrides)
    sources = [SimpleNamespace(provider=name, path=f"/{name}") for name in ("main", "command-line")]
    runtime = SimpleNamespace(output_dir=str(folder), config_sources=sources)
    task, job = SimpleNamespace(task=overrides), SimpleNamespace(config_name="train")
    hydra = SimpleNamespace(overrides=task, job=job, runtime=runtime)
    monkeypatch.setattr(prerequisites, "HydraConfig", SimpleNamespace(get=lambda: hydra))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        train_earlier_generations_first(cfg)
    return cfg


@pytest.mark.parametrize("resumed", [[], ["ckpt_path=last.ckpt"]])
@pytest.mark.parametrize("a_job", [False, True])
def test_the_one_before_is_trained_first(
    a_job: bool, resumed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    runs, folder = Runs(), tmp_path / "multirun" / "x" / "job"
    if a_job:  # of a sweep, or a generation that a later one has asked for
        Job("its identity", []).write(folder)
    cfg = train([SFRS, "seed=7", "generation=2", *resumed], folder, runs, monkeypatch)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        before = hydra_compose("train", [SFRS, "seed=7", "generation=1"])  # as a sweep composes its jobs
    [(overrides, named, directory)] = runs.calls
    assert overrides == [SFRS, "seed=7", "generation=1"]
    expected = folder.parent if a_job else tmp_path / "runs" / "generations"
    # In a sweep, `generation=1` is a job of the same name and identity: it is done once.
    assert named == identity(before) and directory == expected / job_label(before)
    assert runs.flags == ["--config-name=train", "--config-dir=/command-line"]
    # How it ended counts, as in OpenIBL, and not when it was best.
    assert cfg.supervision.soft.ckpt == str(directory / "last.ckpt")


def test_a_failed_generation_ends_the_run_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="generation=3: the training of generation 2 failed .*ended with exit code 1"):
        train([SFRS], Path("runs/x"), Runs(fails=True), monkeypatch)


def test_other_runs_have_no_generations() -> None:
    with pytest.raises(ConfigError, match="generation=2: only supervision=generations has any"):
        check_rules(compose("train", ["generation=2"]))
    with pytest.raises(ConfigError, match="generation=-1: the least is 0"):
        check_rules(compose("train", ["generation=-1"]))
    check_rules(compose("train", [SFRS]))
