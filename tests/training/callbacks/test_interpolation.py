"""Weights between pretrained and trained: the mix, what is mixed, what is measured, and that recalls choose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

import vpr.training.run as run_module
from vpr import checkpoint
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError
from vpr.models.backbones.mobilenet_v2 import MobileNetV2
from vpr.models.describer import Describer, build_describer
from vpr.training.callbacks.interpolation import mix, pretrained_tensors, starting_weights
from vpr.training.run import TrainingRun, fit
from vpr.types import Preprocess

Tiny = Callable[[Sequence[str]], DictConfig]
MIXER = ["agg=mixvpr", "agg.out_channels=8", "agg.out_rows=2", "agg.mix_depth=1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained network, its BatchNorm statistics far from the training images'."""
    torch.manual_seed(1)
    resnet = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}
    parts = {"backbone": resnet, "agg": {"_target_": "vpr.models.aggregators.gem.GeM", "p": 2.5}}
    describer = build_describer(**parts, image={"size": [48, 48]})
    for module in describer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(1, 2)
    path = tmp_path_factory.mktemp("model") / "big.ckpt"
    checkpoint.save(path, describer, parts | {"name": "big"})
    return path


def weights_of(path: Path) -> dict[str, Tensor]:
    return checkpoint.read(path)["weights"]


def last_of(folder: Path) -> dict[str, Tensor]:
    """The weights that a run has ended with, which last.ckpt holds unmixed."""
    return weights_of(folder / "last.ckpt")


def test_the_mix_by_hand() -> None:
    pretrained = {"w": torch.tensor([0.0, 4.0]), "running_mean": torch.tensor([1.0])}
    trained = {"w": torch.tensor([2.0, 0.0]), "running_mean": torch.tensor([3.0]), "new": torch.tensor([9.0])}
    mixed = mix(pretrained, trained, 0.25)
    assert {name: value.tolist() for name, value in mixed.items()} == {"w": [0.5, 3.0], "running_mean": [1.5]}
    random = {"w": torch.randn(100)}, {"w": torch.randn(100) * 1e3}
    assert torch.equal(mix(*random, 0)["w"], random[0]["w"]) and torch.equal(mix(*random, 1)["w"], random[1]["w"])


def test_random_layers_of_a_pretrained_backbone_are_not_mixed() -> None:
    backbone = MobileNetV2(weights="none", head="lw_mixvpr")  # the weights of ImageNet have none for this head
    describer = Describer(backbone, torch.nn.Identity(), Preprocess())
    names = starting_weights(describer, pretrained_tensors(describer, whole=False))
    assert "backbone.features.17.conv.0.0.weight" in names
    assert not [name for name in names if name.startswith(("backbone.features.18.", "backbone.features.19."))]
    assert not [name for name in names if name.endswith("num_batches_tracked")]
    assert starting_weights(describer, pretrained_tensors(describer, whole=True)).keys() > names.keys()


@pytest.mark.parametrize("share", [0.25, 1.0, 0.6])
def test_the_mix_that_was_asked_for_is_kept(tiny: Tiny, model: Path, tmp_path: Path, capsys, share: float) -> None:
    words = [f"finetune.interpolate={share}", f"backbone.weights={model}", "trainer.max_epochs=2", "optimizer.lr=0.01"]
    score = fit(tiny([*MIXER, *words]), tmp_path)
    content, pretrained, trained = checkpoint.read(tmp_path / "best.ckpt"), weights_of(model), last_of(tmp_path)
    assert content["weights"].keys() == trained.keys()
    for name, value in content["weights"].items():
        expected = trained[name]
        if name.startswith("backbone.") and value.is_floating_point():
            assert share == 1 or "num" in name or not torch.equal(pretrained[name], trained[name])
            expected = (1 - share) * pretrained[name] + share * trained[name]
        torch.testing.assert_close(value, expected, msg=lambda text, name=name: f"{name}: {text}")
    assert content["config"]["interpolated"] == {"trained_share": share, "parts": ["backbone"]}
    summary = json.loads((tmp_path / "summary.json").read_text())
    mixes = summary["interpolation"]["mixes"]
    assert list(mixes) == [f"{s:g}" for s in sorted({0, 0.25, 0.5, 0.75, 1, share})]
    assert mixes[f"{share:g}"]["tiny@0f"] == content["metrics"]["tiny@0f"] == summary["sets"]["tiny@0f"]["recalls"]
    assert score == content["metrics"]["tiny@0f"]["R@1"] and summary["digest"] == checkpoint.digest(content)
    printed = capsys.readouterr().out
    assert printed.count("best.ckpt") == 1 and "0.75" in printed
    # Each epoch is measured and kept as it was trained.
    (kept, *_) = sorted(tmp_path.glob("epoch*.ckpt"))
    assert "interpolated" not in checkpoint.read(kept)["config"]


def test_no_recall_chooses_the_mix(tiny: Tiny, model: Path, tmp_path: Path, monkeypatch) -> None:
    from vpr.training.callbacks.evaluation import RecallEvaluation

    real, seen = RecallEvaluation.measure, []

    def measure(self, trainer, module):
        summaries = real(self, trainer, module)
        better = {**summaries["tiny"].metrics, "R@1": 0.9 - 0.1 * len(seen)}  # falling from the first to the last
        seen.append(better["R@1"])
        return {"tiny": summaries["tiny"]._replace(metrics=better)}

    monkeypatch.setattr(RecallEvaluation, "measure", measure)
    words = ["finetune.interpolate=0.75", f"backbone.weights={model}", "trainer.max_epochs=1"]
    assert fit(tiny(words), tmp_path) == pytest.approx(seen[4])
    assert len(seen) == 6, "the epoch, and five mixes"


def test_the_whole_of_a_model_that_a_run_started_from(tiny: Tiny, model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_module, "typed_words", lambda *nodes: [])
    words = [f"init={model}", "finetune.interpolate=0.5", "trainer.max_epochs=1", "trainer.eval_every=0"]
    assert fit(tiny([*words, "optimizer.lr=0.01"]), tmp_path) is None
    content, pretrained, trained = checkpoint.read(tmp_path / "best.ckpt"), weights_of(model), last_of(tmp_path)
    p = "aggregator.pool.p"
    assert not torch.equal(pretrained[p], trained[p])
    torch.testing.assert_close(content["weights"][p], (pretrained[p] + trained[p]) / 2)
    assert content["config"]["interpolated"]["parts"] == ["aggregator", "backbone"]
    assert (
        content["metrics"] == {} and json.loads((tmp_path / "summary.json").read_text())["interpolation"]["mixes"] == {}
    )


def test_a_run_that_goes_on_has_the_weights_to_mix_with(
    tiny: Tiny, model: Path, tmp_path: Path, interrupted_at, monkeypatch
) -> None:
    words = ["finetune.interpolate=0.5", "trainer.eval_every=3", f"backbone.weights={model}"]
    fit(tiny(words), tmp_path / "straight")
    first = tmp_path / "runs" / "tiny" / "first"
    with interrupted_at(4):
        fit(tiny(words), first)
    # Other weights where the first ones were: those in last.ckpt count.
    other = checkpoint.read(model)
    other["weights"] = {name: torch.zeros_like(value) for name, value in other["weights"].items()}
    checkpoint.write(tmp_path / "other.ckpt", other)
    going_on = ["ckpt_path=last", *words[:2], f"backbone.weights={tmp_path / 'other.ckpt'}"]
    fit(tiny(going_on), first.parent / "second")
    ours, theirs = weights_of(first.parent / "second" / "best.ckpt"), weights_of(tmp_path / "straight" / "best.ckpt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    # A finished run that is gone on with mixes again.
    fit(tiny([f"ckpt_path={first.parent / 'second' / 'last.ckpt'}", *going_on[1:]]), first.parent / "third")
    again = weights_of(first.parent / "third" / "best.ckpt")
    assert all(torch.equal(again[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "words, message",
    [
        (["finetune.interpolate=1.5"], "0 to 1"),
        (["finetune.interpolate=-0.5"], "the least is 0"),
        (["finetune.interpolate=0.5", "backbone.weights=none"], "no pretrained weights to mix"),
        (["finetune.interpolate=0.5", "trainer.max_epochs=0"], "there are no trained weights"),
    ],
)
def test_what_it_does_not_go_with(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(compose("train", ["backbone=resnet18", *words]))


def test_weights_that_cannot_be_had(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be had"):
        TrainingRun.from_config(tiny(["finetune.interpolate=0.5"]), tmp_path)
