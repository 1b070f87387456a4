"""The published runs on positions alone are the published ones."""

from __future__ import annotations

import pytest
from omegaconf import DictConfig

from vpr.cli.compose import compose
from vpr.cli.rules import check_rules

MEAN = [0.48501960784313836, 0.4579568627450961, 0.4076039215686255]


def published(name: str, *overrides: str) -> DictConfig:
    cfg = compose("train", [f"experiment={name}", *overrides])
    assert dict(cfg.optimizer) == {
        "_target_": "torch.optim.SGD",
        "_partial_": True,
        "lr": 0.001,
        "momentum": 0.9,
        "weight_decay": 0.001,
    }
    # StepLR(5, 0.5) whose step is taken before each epoch: the fifth epoch has half the rate.
    assert (cfg.schedule.warmup_steps, cfg.schedule.milestones, cfg.schedule.gamma) == (0, [4], 0.5)
    augment = cfg.augment
    assert (augment.brightness, augment.contrast, augment.saturation, augment.hue) == (0.7, 0.7, 0.7, 0.5)
    assert (cfg.agg.clusters, cfg.seed, cfg.trainer.eval_batch_size) == (64, 43, 16)
    assert (cfg.supervision.tuples, cfg.supervision.refresh_every, cfg.supervision.mining.pool) == (4, 1000, 1000)
    assert list(cfg.dataset.weak) == ["pitts30k_train"] and cfg.trainer.monitor == "pitts30k_val"
    assert cfg.trainer.monitor_k == 5, "model_best.pth.tar is the best by recall@5"
    weak = cfg.dataset.weak.pitts30k_train
    assert (weak.positive_radius, weak.negative_radius) == (10, 25)
    assert cfg.loss.formula["_target_"].endswith("sare_independent")
    return cfg


def test_netvlad_with_sare() -> None:
    cfg = published("netvlad_vgg16_pitts30k")
    check_rules(cfg)
    assert (cfg.backbone.name, cfg.backbone.freeze) == ("vgg16", 4)
    assert (cfg.image.size, cfg.image.mean, cfg.image.std) == ([480, 640], MEAN, [1 / 255] * 3)
    assert cfg.loss.formula.temperature is None and cfg.supervision.mining.negatives == 10
    assert cfg.trainer.max_epochs == 5 and "generation" not in cfg.supervision


def test_sfrs() -> None:
    cfg = published("sfrs_vgg16_pitts30k")
    check_rules(cfg)
    assert (cfg.generation, cfg.supervision.grid, cfg.image.size) == (3, 2, [480, 640])
    assert (cfg.supervision.mining.negatives, cfg.supervision.mining.difficult) == (10, 10)
    assert cfg.supervision.mining.positive_pool == 20
    assert (cfg.supervision.soft.weight, cfg.supervision.soft.temperatures) == (0.5, [0.07, 0.07, 0.06, 0.05])
    rerank = cfg.supervision.rerank
    assert (rerank.k1, rerank.k2, rerank.lambda_value) == (20, 1, 0.1)
    assert cfg.loss.formula.temperature == 0.07


@pytest.mark.parametrize(
    ("name", "student", "teacher", "mean"),
    [
        ("wakd_vgg16_mobilenetv3_large", "mobilenet_v3_large_wakd", "vgg16", MEAN),
        ("wakd_vgg16_mobilenetv3_small", "mobilenet_v3_small_wakd", "vgg16", MEAN),
        ("wakd_resnet50_resnet18", "resnet18", "resnet50", None),
    ],
)
def test_wakd(name: str, student: str, teacher: str, mean: list[float] | None) -> None:
    cfg = published(name, "distillation.teacher.ckpt=teacher.ckpt")
    check_rules(cfg)
    assert (cfg.name, cfg.backbone.name, cfg.supervision.grid) == (f"{name}-generation3", student, 3)
    assert cfg.image.size == cfg.distillation.teacher.size == [480, 672]
    assert cfg.image.mean == mean
    assert (cfg.supervision.mining.negatives, cfg.supervision.mining.difficult) == (3, 3)
    assert cfg.loss.formula.temperature == 0.07
    assert {key: term.weight for key, term in cfg.distillation.terms.items()} == {"wakd": 100}
    assert published(name, "generation=0").trainer.max_epochs == 1
    assert published(name, "generation=1").trainer.max_epochs == 5
    of_teacher = published("netvlad_vgg16_pitts30k", *cfg.distillation.teacher.recipe[1:])
    check_rules(of_teacher)
    assert of_teacher.backbone.name == teacher
