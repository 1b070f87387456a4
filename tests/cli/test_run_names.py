"""Names of runs and of their folders."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir

from vpr.checkpoint import model_name
from vpr.cli.compose import CONF, compose
from vpr.cli.run_names import checkpoint_label, identity, job_label, safe
from vpr.cli.schema import register

A, B = "distillation.teacher.ckpt=a.ckpt", "distillation.teacher.ckpt='models/b=1.ckpt'"
NETWORK = "backbone@distillation.teacher.backbone=vgg16"


@pytest.mark.parametrize(
    ("overrides", "name", "teacher", "term"),
    [
        ([], "resnet18-mixvpr", None, "none"),
        (["distillation=similarity", A], "a-to-resnet18-mixvpr", "a", "similarity"),
        (["distillation=[rkd,wakd]", B, "agg=gem"], "b-1-to-resnet18-gem", "b-1", "rkd+wakd"),
        (["distillation=rkd", "distillation.teacher.ckpt=[a.ckpt,b.ckpt]"], "a+b-to-resnet18-mixvpr", "a+b", "rkd"),
        (["distillation=rkd", NETWORK], "vgg16-to-resnet18-mixvpr", "vgg16", "rkd"),
        (["distillation=rkd", A, "distillation.teacher.name=big"], "big-to-resnet18-mixvpr", "big", "rkd"),
        (["pair=vgg16_mobilenet_v3_large"], "mobilenet_v3_large-mixvpr", None, "none"),
        (["pair=vgg16_mobilenet_v3_large", "distillation=rkd"], "vgg16-to-mobilenet_v3_large-mixvpr", "vgg16", "rkd"),
        (["experiment=kd_resnet50_resnet18"], "kd_resnet50_resnet18", "mixvpr_resnet50", "similarity"),
    ],
)
def test_a_run_is_named_by_its_pair(overrides: list[str], name: str, teacher: str | None, term: str) -> None:
    cfg = compose("train", overrides)
    assert (cfg.name, cfg.labels.teacher, cfg.labels.term) == (name, teacher, term)


def test_datasets_and_student() -> None:
    cfg = compose("train", ["dataset=[nordland_mini,sped_thumbs,gardens_point]", "backbone=vgg16"])
    assert (cfg.labels.dataset, cfg.labels.student) == ("nordland_mini+sped_thumbs", "vgg16-mixvpr")
    cfg = compose("train", ["dataset=[gsv_cities,tokyo_tm]", "supervision=tuples"])
    assert cfg.labels.dataset == "tokyo_tm", "what it learns from"


@pytest.mark.parametrize(
    ("overrides", "student"),
    [
        (["backbone=timm"], "mobilenetv4_conv_small-gem"),
        (["backbone=timm", "backbone.name=convnext_atto"], "convnext_atto-gem"),
        (
            ["backbone=timm", "backbone.name=vit_base_patch16_224.augreg_in21k"],
            "vit_base_patch16_224.augreg_in21k-gem",
        ),
        (["backbone=timm", "backbone.name='hf_hub:timm/resnet18.a1_in1k'"], "hf_hub-timm-resnet18.a1_in1k-gem"),
        (["backbone=mobilenet_v3_large_wakd"], "mobilenet_v3_large_wakd-gem"),
        (["backbone=dinov2_vits14"], "dinov2_vits14-gem"),
    ],
)
def test_a_network_of_timm_is_told_by_its_name(overrides: list[str], student: str) -> None:
    """In the folder, the labels (which the report reads), the group of W&B and the name of the model."""
    cfg = compose("train", [*overrides, "agg=gem", "logger=wandb"])
    others = compose("train", ["agg=avg"])  # another configuration in between changes nothing
    assert (cfg.name, cfg.labels.student, others.name) == (student, student, "resnet18-avg")
    assert cfg.logger.wandb.group == f"{student}-none"
    assert job_label(cfg).startswith(f"{student}-none-seed0-")
    assert model_name({"config": {"name": cfg.name}}, "runs/x/best.ckpt") == student
    assert checkpoint_label(f"runs/{student}/2026-01-31_12-00-00/best.ckpt") == student
    assert PurePath(student).name == student and safe(student) == student


def test_a_teacher_of_timm_is_told_by_its_name() -> None:
    words = ["distillation=similarity", "backbone@distillation.teacher.backbone=timm", "backbone=timm", "agg=gem"]
    cfg = compose("train", [*words, "distillation.teacher.backbone.name=convnext_atto"])
    assert (cfg.labels.teacher, cfg.name) == ("convnext_atto", "convnext_atto-to-mobilenetv4_conv_small-gem")


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("vgg16.ckpt", "vgg16"),
        ("runs/resnet50-mixvpr/2026-01-31_12-00-00/best.ckpt", "resnet50-mixvpr"),
        ("multirun/2026-01-31_12-00-00/3/last.ckpt", "multirun"),
        ("/x/demo/best.ckpt", "demo"),
        ("R1[0.91] (x)/epoch=3.ckpt", "epoch-3"),
        ("best.ckpt", "best"),
    ],
)
def test_a_checkpoint_is_called_by_the_first_name_that_says_something(path: str, label: str) -> None:
    assert checkpoint_label(path) == label


def test_names_are_safe() -> None:
    assert safe("../a->b c") == "a-b-c"
    assert safe("///") == "unnamed"
    assert len(safe("x" * 500)) == 120


def test_identity_is_that_of_the_settings() -> None:
    def of(*overrides: str) -> str:
        return identity(compose("train", overrides))

    assert of("seed=1", "backbone=vgg16") == of("backbone=vgg16", "seed=1")
    assert len({of(), of("seed=1"), of("distillation=similarity", A), of("distillation=similarity", B)}) == 4


def test_the_undistilled_runs_of_two_pairs_with_one_student_are_one() -> None:
    by_vgg, by_resnet = (f"pair={teacher}_mobilenet_v3_large" for teacher in ("vgg16", "resnet50"))
    none, some = (
        [identity(compose("train", [pair, f"distillation={term}"])) for pair in (by_vgg, by_resnet)]
        for term in ("none", "similarity")
    )
    assert none[0] == none[1]
    assert some[0] != some[1]


def test_a_job_has_a_folder_of_its_own() -> None:
    register()
    folders = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for seed in (1, 2):
            cfg = hydra_compose("train", [f"seed={seed}", "name=x/y", "distillation=rkd", A], return_hydra_config=True)
            folders.append(cfg.hydra.sweep.subdir)
            assert folders[-1] == f"x-y-rkd-seed{seed}-{identity(cfg)[:6]}"
    assert folders[0] != folders[1]
