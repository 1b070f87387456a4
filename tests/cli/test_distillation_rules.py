"""Rules of distillation, and their messages."""

from __future__ import annotations

import pytest

from vpr.cli.checks import check_targets
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError

NETWORK = "backbone@distillation.teacher.backbone=resnet50"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["distillation=similarity"], r"python train.py backbone=resnet50 name=teacher, .* distillation.teacher.ckpt="),
        (["distillation=[rkd,wakd]"], r"nobody teaches the terms \(rkd, wakd\)"),
        (["distillation.teacher.ckpt=a.ckpt"], "distillation=none has a teacher"),
        ([NETWORK], "distillation=none has a teacher"),
        (["distillation=rkd", NETWORK, "distillation.teacher.ckpt=a.ckpt"], "can be only one of them"),
        (["distillation=rkd", "distillation.teacher.backbone=vgg16"], "backbone@distillation.teacher.backbone=vgg16"),
        (
            ["distillation=rkd", "distillation.teacher.ckpt=[a.ckpt,b.ckpt]", "distillation.teacher.share=[1]"],
            "each of the 2 teachers",
        ),
        (["distillation=rkd", "distillation.teacher.ckpt=a.ckpt", "distillation.teacher.share=[0]"], "above 0"),
        (["distillation=rkd", NETWORK, "distillation.teacher.precision=fp16"], "it must be one of auto, 32-true"),
        (["distillation=rkd", NETWORK, "distillation.task_weight=-1"], "the least is 0"),
        (["distillation=rkd", NETWORK, "distillation.cache_pca=512"], "Type distillation.teacher.pca=512 instead"),
        (["distillation=similarity", NETWORK, "distillation.bank=512"], "Type distillation.cache=true as well"),
        (["distillation=similarity", NETWORK, "distillation.cache=true", "distillation.bank=some"], "or all"),
        (["distillation=similarity", NETWORK, "distillation.cache=true", "distillation.bank=0"], "a number of images"),
        (["supervision=unlabelled"], "without labels only a teacher can say"),
        (["supervision=unlabelled", "distillation=similarity", NETWORK], "Type distillation.task_weight=0"),
        (["distillation=rkd", NETWORK, "distillation.cache=true", "distillation.cache_pca=0"], "the least is 1"),
        (["distillation=rkd", NETWORK, "distillation.cache=yse"], "cache=yse: it must be one of false, true"),
    ],
)
def test_rule(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(compose("train", overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["distillation=[similarity,attention,descriptor]", "distillation.teacher.ckpt=a.ckpt"],
        ["distillation=similarity", NETWORK, "agg@distillation.teacher.agg=mixvpr", "agg=avg"],
        ["distillation=wakd", "distillation.teacher.ckpt=[a.ckpt,b.ckpt]", "distillation.teacher.share=[1,2]"],
        ["distillation=rank", "distillation.teacher.ckpt=a.ckpt", "distillation.task_weight=0"],
        ["distillation=rkd", NETWORK, "distillation.cache=true", "distillation.cache_pca=512"],
    ],
)
def test_what_can_be(overrides: list[str]) -> None:
    cfg = compose("train", overrides)
    check_rules(cfg)
    check_targets(cfg)


def test_terms_add_up_and_the_teachers_parts_are_its_own() -> None:
    cfg = compose("train", ["distillation=[similarity,wakd]", NETWORK, "agg@distillation.teacher.agg=convap"])
    assert list(cfg.distillation.terms) == ["similarity", "wakd"]
    assert cfg.distillation.teacher.agg._target_.endswith("ConvAP") and cfg.agg._target_.endswith("MixVPR")
    assert cfg.distillation.teacher.backbone.name == "resnet50" and cfg.backbone.name == "resnet18"
    assert cfg.name == "resnet50-to-resnet18-mixvpr"


def test_a_misspelt_argument_of_a_term() -> None:
    overrides = ["distillation=similarity", NETWORK, "+distillation.terms.similarity.temprature=1"]
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        check_targets(compose("train", overrides))
