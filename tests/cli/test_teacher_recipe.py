"""Teachers that a run trains first: by which command, and when not."""

from __future__ import annotations

import pytest

from vpr.cli.compose import CONF, compose
from vpr.cli.rules import check_rules
from vpr.cli.sweeps.prerequisites import teacher_overrides, train_teacher_first
from vpr.errors import ConfigError

TEACHERS = sorted(path.stem for path in (CONF / "distillation" / "teacher").glob("*.yaml"))
RECIPES = [name for name in TEACHERS if compose("train", [f"distillation/teacher={name}"]).distillation.teacher.recipe]


def test_what_the_run_was_told_of_its_data_holds_for_the_teacher() -> None:
    task = ["pair=x", "dataset=[a,b]", "+dataset.eval.a.root=x", "trainer.devices=2", "seed=3", "image.size=[1,2]"]
    task += ["backbone.weights=none", "optimizer.lr=1", "distillation=rkd", "paths.data=/d", "trainer.max_epochs=1"]
    assert teacher_overrides(task, ["backbone=vgg16", "image.size=[3,4]"]) == [
        *("dataset=[a,b]", "+dataset.eval.a.root=x", "trainer.devices=2", "image.size=[3,4]", "paths.data=/d"),
        *("trainer.max_epochs=1", "backbone=vgg16"),
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_is_a_run(name: str) -> None:
    recipe = compose("train", [f"distillation/teacher={name}"]).distillation.teacher.recipe
    cfg = compose("train", list(recipe))
    check_rules(cfg)
    assert not cfg.distillation.terms


@pytest.mark.parametrize(
    ("name", "teacher"),
    [
        ("kd_resnet50_resnet18", "mixvpr_resnet50"),
        ("kd_resnet50_mobilenet_v2", "mixvpr_resnet50"),
        ("kd_resnet50_mobilenet_v3_large", "mixvpr_resnet50"),
        ("kd_dinov2_mobilenet_v3_small", "teacher_dinov2_vitb14"),
    ],
)
def test_an_experiment_names_the_command_that_trains_its_teacher(name: str, teacher: str) -> None:
    message = rf"Train the teacher: python train.py experiment={teacher}, and add its checkpoint: distillation.teacher"
    with pytest.raises(ConfigError, match=message):
        check_rules(compose("train", [f"experiment={name}"]))
    for given in ("ckpt=x.ckpt", "make=true"):
        check_rules(compose("train", [f"experiment={name}", f"distillation.teacher.{given}"]))


def test_the_published_pair() -> None:
    """Lightweight-MixVPR's: ResNet50-MixVPR 4096-d and ResNet18-MixVPR 512-d, the published recipe of the student."""
    student = compose("train", ["experiment=kd_resnet50_resnet18"])
    published = compose("train", ["experiment=lw_mixvpr_resnet18"])
    assert {key for key in student if student[key] != published[key]} == {"name", "labels", "distillation", "logger"}
    assert (student.agg.out_channels, student.agg.out_rows) == (128, 4)
    teacher = compose("train", list(student.distillation.teacher.recipe))
    assert (teacher.backbone.name, teacher.agg.out_channels * teacher.agg.out_rows) == ("resnet50", 4096)


def test_the_drawn_city_needs_no_second_command() -> None:
    cfg = compose("train", ["experiment=kd_toycity"])
    check_rules(cfg)
    assert cfg.distillation.teacher.make and cfg.distillation.teacher.recipe == ["experiment=demo"]
    assert cfg.backbone["weights"] == "package"


@pytest.mark.parametrize(
    "overrides",
    [
        ["pair=vgg16_mobilenet_v3_large"],  # nobody listens
        ["pair=vgg16_mobilenet_v3_large", "distillation=rkd", "distillation.teacher.ckpt=x.ckpt"],
        ["experiment=kd_resnet50_resnet18"],  # not asked for
    ],
)
def test_no_teacher_is_trained_where_none_is_needed(overrides: list[str]) -> None:
    cfg = compose("train", overrides)
    before = cfg.copy()
    train_teacher_first(cfg)
    assert cfg == before
