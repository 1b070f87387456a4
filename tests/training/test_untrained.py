"""Runs of no epoch: the network as it is, measured and saved, with PCA at its end where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, open_dict

from vpr import checkpoint
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.errors import ConfigError, WeightsUnavailable
from vpr.training.module import TrainingModule
from vpr.training.run import fit

Tiny = Callable[[Sequence[str]], DictConfig]
UNTRAINED = "trainer.max_epochs=0"


@pytest.fixture(autouse=True)
def no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingModule, "training_step", lambda *args: pytest.fail("a step was trained"))


def test_the_network_is_saved_as_it_is_with_its_recalls(tiny: Tiny, tmp_path: Path, capsys) -> None:
    cfg = tiny([UNTRAINED, "evaluate_first=true"])
    with open_dict(cfg):
        del cfg.dataset["train"]  # evaluation sets are enough
    check_rules(cfg)
    score = fit(cfg, tmp_path)
    content = checkpoint.read(tmp_path / "best.ckpt")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert score == content["metrics"]["tiny@0f"]["R@1"] == summary["sets"]["tiny@0f"]["recalls"]["R@1"]
    assert summary["epochs"] == 0 and summary["config"]["trainer"]["max_epochs"] == 0
    assert "tiny: not trained" in capsys.readouterr().out
    assert not (tmp_path / "last.ckpt").exists(), "there is nothing to go on with"
    torch.manual_seed(0)  # as the run's seed
    again = tmp_path / "again"
    assert fit(cfg, again) == score
    ours, theirs = content["weights"], checkpoint.read(again / "best.ckpt")["weights"]
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert int(ours["backbone.model.bn1.num_batches_tracked"]) == 0


@pytest.mark.parametrize("left", [[], ["tiny"]], ids=["no set", "a set that is not measured"])
def test_nothing_needs_to_be_measured(tiny: Tiny, tmp_path: Path, left: list[str]) -> None:
    cfg = tiny([UNTRAINED, "trainer.eval_every=0"])
    if not left:
        cfg.dataset.eval = {}
    assert fit(cfg, tmp_path) is None
    content = checkpoint.read(tmp_path / "best.ckpt")
    assert content["metrics"] == {} and json.loads((tmp_path / "summary.json").read_text())["sets"] == {}
    assert "train" not in content["config"]["dataset"], "it was not trained on them"


@pytest.mark.parametrize("given", [[], ["pca.dataset=tiny", "pca.samples=20", "pca.seed=3"]], ids=["all", "some"])
def test_whitened(tiny: Tiny, tmp_path: Path, photos: Path, given: list[str]) -> None:
    fit(tiny([UNTRAINED, "trainer.eval_every=0"]), tmp_path / "plain")
    score = fit(tiny([UNTRAINED, "pca.dim=7", *given]), tmp_path / "whitened")
    plain, content = (checkpoint.read(tmp_path / run / "best.ckpt") for run in ("plain", "whitened"))
    describer = checkpoint.unpack(content)
    assert describer.dim == 7 and content["metrics"]["tiny@0f"]["R@1"] == score
    origin = content["config"]["pca"]
    assert (origin["dataset"], origin["dim"], origin["whiten"]) == ("tiny", 7, True)
    assert origin["samples"] == (20 if given else 10000)
    assert origin["model"] == checkpoint.digest(plain)
    assert "pca" not in plain["config"]
    assert len(checkpoint.training_images(content)) == min(origin["samples"], 48), "PCA has seen them"
    assert not len(checkpoint.training_images(plain))
    if not given:
        # Over the photos that it was fitted to its directions are of one size: that of a mean of unit vectors' squares.
        paths = sorted((photos / "train").rglob("*.jpg"))
        images, _, _ = collate_images([ImageDataset(paths, describer.preprocess)[i] for i in range(len(paths))])
        with torch.no_grad():
            found = describer(describer.normalise(images))
        torch.testing.assert_close(found.square().mean(0), torch.full((7,), 1 / 7), atol=0.03, rtol=0)


def test_too_few_images_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="64 dimensions: 48 descriptors of 128 numbers give 47 at most"):
        fit(tiny([UNTRAINED, "pca.dim=64"]), tmp_path)
    cfg = tiny([UNTRAINED, "pca.dim=7"])
    with open_dict(cfg):
        del cfg.dataset["train"]
    with pytest.raises(ConfigError, match=r"pca.dim=7: .* have no training images. Name a set"):
        fit(cfg, tmp_path)


def test_weights_that_cannot_be_had_end_it(tiny: Tiny, tmp_path: Path, monkeypatch) -> None:
    import vpr.training.build as build_module

    def offline(*args):
        raise WeightsUnavailable("no weights for resnet18")

    monkeypatch.setattr(build_module, "build_describer", offline)
    cfg = tiny([UNTRAINED])
    with open_dict(cfg):
        cfg.dataset.random_weights_ok = {"tiny": True}
    with pytest.raises(WeightsUnavailable):
        fit(cfg, tmp_path)


def test_a_random_head_is_said(tiny: Tiny, tmp_path: Path, caplog) -> None:
    small = ["agg=mixvpr", "agg.out_channels=8", "agg.out_rows=2", "agg.mix_depth=1", "trainer.eval_every=0"]
    fit(tiny([UNTRAINED, *small]), tmp_path / "a")
    assert "layers of MixVPR have random weights" in caplog.text
    caplog.clear()
    fit(tiny([UNTRAINED, "trainer.eval_every=0"]), tmp_path / "b")
    assert "random weights" not in caplog.text


@pytest.mark.parametrize(
    "words, message",
    [
        (["ckpt_path=last"], "nothing to go on with"),
        (["distillation=similarity", "distillation.teacher.ckpt=a.ckpt"], "learn nothing from a teacher"),
        (["supervision=generations", "generation=1", "agg=netvlad"], "generation=1"),
        (["debug=fast"], "would train one step"),
        (["dataset=gardens_point"], "no training set that would give one"),
        (["trainer.max_epochs=-1"], "the least is 0"),
        (["trainer.max_epochs=2", "pca.dim=64"], r"evaluate.py ckpt=best.ckpt pca.dim=64 pca.save=out.ckpt"),
    ],
)
def test_what_it_does_not_go_with(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(compose("train", [UNTRAINED, "backbone=resnet18", *words]))


def test_evaluation_sets_alone_are_enough() -> None:
    check_rules(compose("train", [UNTRAINED, "dataset=gardens_point", "image.size=[224,224]"]))
