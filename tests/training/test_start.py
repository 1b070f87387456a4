"""What a run starts from: the weights of a whole model (`init`), or the backbone of one (`backbone.weights`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

import vpr.training.run as run_module
from vpr import checkpoint
from vpr.cli.compose import compose, typed_words
from vpr.cli.rules import check_rules
from vpr.errors import CheckpointError, ConfigError
from vpr.models.describer import build_describer
from vpr.models.weights import read_state
from vpr.training.module import TrainingModule
from vpr.training.run import TrainingRun, fit
from vpr.training.start import take_backbone

Tiny = Callable[[Sequence[str]], DictConfig]
RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM", "p": 2.5, "eps": 1e-6}
IMAGE = {"size": [64, 48], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}


def saved(path: Path, seed: int = 1, **changed: Any) -> Path:
    """Write a model with a mean of its own, as an earlier run of `dataset=big` would have."""
    torch.manual_seed(seed)
    parts = {"backbone": RESNET, "agg": GEM, "image": IMAGE} | changed
    describer = build_describer(**parts)
    for module in describer.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    checkpoint.save(path, describer, parts | {"name": "big", "dataset": {"train": {"big": {}}}})
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("model") / "big.ckpt")


@pytest.fixture
def starting(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> Callable[..., DictConfig]:
    """Compose a tiny run from a model, as if only `words` had been typed of backbone, aggregator and images."""

    def make(path: Path, *words: str) -> DictConfig:
        monkeypatch.setattr(run_module, "typed_words", lambda *nodes: [w for w in typed_words(*nodes) if w in words])
        return tiny([f"init={path}", *words])

    return make


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(path)["weights"]


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_model_is_gone_on_from_with_a_fresh_optimiser(starting, model: Path, tmp_path: Path, monkeypatch) -> None:
    cfg = starting(model, "trainer.max_epochs=1", "optimizer.lr=1e-5")
    check_rules(cfg)
    began: list[dict[str, torch.Tensor]] = []
    step = TrainingModule.training_step

    def recorded(self, batch, batch_idx):
        if not began:
            began.append({name: value.clone() for name, value in self.describer.state_dict().items()})
            assert not self.trainer.optimizers[0].state and self.global_step == 0
            assert batch.images.shape[-2:] == (64, 48) and self.describer.training
        return step(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", recorded)
    fit(cfg, tmp_path / "run")
    assert same(began[0], weights_of(model))
    content = checkpoint.read(tmp_path / "run" / "best.ckpt")
    assert not same(content["weights"], weights_of(model))
    config = content["config"]
    assert content["preprocess"] == IMAGE and config["image"] == IMAGE and config["agg"]["p"] == 2.5
    digest = checkpoint.digest(checkpoint.read(model))
    assert config["init"] == {"name": "big", "digest": digest, "trained_on": ["big"]}
    assert str(model.parent) not in json.dumps(config), "no folder of this machine"
    fit(starting(tmp_path / "run" / "best.ckpt", "trainer.max_epochs=0"), tmp_path / "again")
    content = checkpoint.read(tmp_path / "again" / "best.ckpt")
    assert content["config"]["init"]["trained_on"] == ["big", "tiny"]
    assert same(content["weights"], weights_of(tmp_path / "run" / "best.ckpt"))


def test_images_that_a_model_was_trained_on_are_noted_down_of_those_that_start_from_it(
    starting, tiny: Tiny, model: Path, tmp_path: Path
) -> None:
    content = checkpoint.read(model) | {"images": torch.tensor([3, 5])}
    checkpoint.write(tmp_path / "big.ckpt", content)
    whole = starting(tmp_path / "big.ckpt", "trainer.max_epochs=0", "trainer.eval_every=0")
    fit(whole, tmp_path / "whole")
    assert checkpoint.training_images(checkpoint.read(tmp_path / "whole" / "best.ckpt")).tolist() == [3, 5]
    run = TrainingRun.from_config(tiny([f"backbone.weights={tmp_path / 'big.ckpt'}"]), tmp_path)
    assert run.images is not None and run.images.tolist() == [3, 5]


def test_what_is_typed_goes_before_the_models_own(starting, model: Path, tmp_path: Path) -> None:
    words = ["image.size=[32,32]", "backbone.freeze=1", "agg.p=4", "backbone=resnet18"]
    run = TrainingRun.from_config(starting(model, *words), tmp_path)
    assert run.describer.preprocess.size == (32, 32) and run.describer.preprocess.mean == (0.1, 0.2, 0.3)
    assert not run.describer.backbone.model.conv1.weight.requires_grad
    assert (run.record["backbone"]["freeze"], run.record["agg"]["p"]) == (1, 4)
    assert run.record["backbone"]["crop"] == [3, 4], "not that of conf/backbone/resnet18.yaml"


@pytest.mark.parametrize(
    "words, message",
    [
        (["backbone=resnet34"], r"backbone=resnet34 with init=\S+big.ckpt: .*\(resnet18, GeM, \[64, 48\]\)"),
        (["agg=mixvpr"], r"Leave agg out; .* backbone=resnet18 backbone.weights=\S+big.ckpt"),
        (["backbone.weights=none"], "Leave backbone.weights out"),
        (["image=matconvnet"], "Leave image out"),
        (["backbone.crop=[4]"], r"init=\S+big.ckpt with backbone.crop=\[4\]: .* lacks backbone.model.layer3"),
    ],
)
def test_another_network_beside_it_is_refused(starting, model: Path, tmp_path: Path, words, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingRun.from_config(starting(model, *words), tmp_path)


def test_a_file_that_is_none_is_said(starting, tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"x\.ckpt"):
        TrainingRun.from_config(starting(tmp_path / "x.ckpt"), tmp_path)
    with pytest.raises(CheckpointError, match="there is no such file"):
        TrainingRun.from_config(starting(tmp_path / "y.ckpt"), tmp_path)


def test_it_is_resumed_from_the_same_model_alone(starting, model: Path, tmp_path: Path, interrupted_at, steps) -> None:
    fit(starting(model), tmp_path / "straight")
    expected = list(steps)
    steps.clear()
    first = tmp_path / "runs" / "tiny" / "first"
    with interrupted_at(4):
        fit(starting(model), first)
    other = saved(tmp_path / "other.ckpt", seed=2)
    with pytest.raises(ConfigError, match=r"started from big, and this one starts from big, which has other weights"):
        fit(starting(other, "ckpt_path=last"), tmp_path / "no")
    fit(starting(model, "ckpt_path=last"), first.parent / "second")
    assert steps == expected
    assert same(weights_of(first.parent / "second" / "best.ckpt"), weights_of(tmp_path / "straight" / "best.ckpt"))


def test_a_model_with_a_layer_behind_it(starting, tmp_path: Path) -> None:
    """Whitened without training, then trained on: the typed value reaches the aggregator inside."""
    plain = saved(tmp_path / "plain.ckpt")
    fit(starting(plain, "trainer.max_epochs=0", "pca.dim=6", "trainer.eval_every=0"), tmp_path / "whitened")
    cfg = starting(tmp_path / "whitened" / "best.ckpt", "agg.p=5", "trainer.max_epochs=1", "trainer.eval_every=0")
    fit(cfg, tmp_path / "tuned")
    config = checkpoint.read(tmp_path / "tuned" / "best.ckpt")["config"]
    assert config["agg"]["dim"] == 6 and config["agg"]["agg"]["p"] == 5
    before, after = (weights_of(tmp_path / run / "best.ckpt") for run in ("whitened", "tuned"))
    assert not torch.equal(before["aggregator.projection.weight"], after["aggregator.projection.weight"])


def test_a_published_file(starting, tmp_path: Path) -> None:
    from vpr.interop.recognise import convert

    torch.manual_seed(0)
    gem = {"_target_": "vpr.models.aggregators.cosplace.CosPlace", "out_dim": 16}
    theirs = build_describer({**RESNET, "crop": []}, gem, {"size": [64, 64]})
    names = {
        f"backbone.{i}": part for i, part in enumerate(["conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4"])
    }
    ours = {part: name for name, part in names.items() if part}
    state = {}
    for key, value in theirs.state_dict().items():
        room, _, rest = key.partition(".")
        if room == "backbone":
            part, _, tensor = rest.removeprefix("model.").partition(".")
            state[f"{ours[part]}.{tensor}"] = value
        else:
            state[{"aggregator.pool.p": "aggregation.1.p"}.get(key, f"aggregation.3.{key.rpartition('.')[2]}")] = value
    torch.save(state, tmp_path / "published.pth")
    expected = convert(tmp_path / "published.pth")
    run = TrainingRun.from_config(starting(tmp_path / "published.pth", "image.size=[64,64]"), tmp_path)
    assert same(dict(run.describer.state_dict()), expected["weights"])
    assert run.record["init"]["name"] == "published" and run.record["init"]["trained_on"] == []


def test_its_name(tmp_path: Path) -> None:
    cfg = compose("train", ["init=runs/resnet50-mixvpr/2026-01-31_12-00-00/best.ckpt"])
    assert cfg.name == "from-resnet50-mixvpr"
    check_rules(compose("train", ["init=x.ckpt", "dataset=gardens_point", "trainer.max_epochs=0"]))


@pytest.mark.parametrize("crop", [[3, 4], [2, 3, 4]], ids=["the same", "cropped further"])
def test_the_backbone_of_a_checkpoint(tiny: Tiny, model: Path, tmp_path: Path, crop: list[int]) -> None:
    typed = str(crop).replace(" ", "")
    run = TrainingRun.from_config(tiny([f"backbone.weights={model}", f"backbone.crop={typed}"]), tmp_path)
    state, expected = run.describer.backbone.state_dict(), weights_of(model)
    assert all(torch.equal(value, expected[f"backbone.{key}"]) for key, value in state.items())
    assert run.describer.preprocess.size == (48, 48) and run.describer.preprocess.mean == (0.1, 0.2, 0.3)
    assert run.record["backbone"]["weights"] == f"{model.parent.name}/big.ckpt"
    assert run.record["backbone_from"]["name"] == "big" and run.record["agg"]["p"] == 3.0
    assert str(model.parent) not in json.dumps(run.record)
    checkpoint.save(tmp_path / "x.ckpt", run.describer, run.record)
    checkpoint.load(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"name": "resnet34"}, "another network: it has name=resnet18, and this one resnet34"),
        ({"crop": [4]}, "it lacks model.layer3"),
        ({"_target_": "vpr.models.backbones.vgg.VGG", "name": "vgg16"}, r"it has _target_=\S+ResNet, .*and 1 more"),
    ],
)
def test_the_backbone_of_another_network(model: Path, changed: dict[str, Any], message: str) -> None:
    node = {**RESNET, "weights": "checkpoint", **changed}
    if node["name"] == "vgg16":
        del node["crop"]
    network = build_describer(node, {"_target_": "vpr.models.aggregators.avg.Avg"}, {"size": [32, 32]}).backbone
    with pytest.raises(ConfigError, match=message):
        take_backbone(network, {**node, "weights": str(model)}, checkpoint.read(model))


def test_a_whole_checkpoint_is_no_state_dict(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"As a teacher give it whole: distillation.teacher.ckpt"):
        read_state(model)
