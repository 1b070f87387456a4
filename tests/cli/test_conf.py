"""Every file in conf/ composes and passes all checks, and the published runs are the published ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from vpr.cli.checks import check_targets
from vpr.cli.compose import CONF, compose
from vpr.cli.rules import check_rules

GROUPS = [
    "agg",
    "augment",
    "backbone",
    "callbacks",
    "debug",
    "distillation",
    "experiment",
    "image",
    "logger",
    "loss",
    "optimizer",
]
GROUPS += ["pair", "schedule", "supervision", "sweep", "trainer"]
CHOICES = [(g, p.stem) for g in GROUPS for p in sorted((CONF / g).glob("*.yaml"))]
CHOICES += [("experiment", f"dev/{p.stem}") for p in sorted((CONF / "experiment/dev").glob("*.yaml"))]
DATASETS = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
PUBLISHED = sorted(p.stem for p in (CONF / "experiment").glob("*mixvpr*.yaml"))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_each_choice_goes_with_the_defaults(group: str, choice: str) -> None:
    overrides = [f"{group}={choice}"]
    if (group == "distillation" and choice != "none") or choice.startswith(("kd_", "dev/kd_", "wakd_")):
        overrides += ["distillation.teacher.ckpt=teacher.ckpt", "distillation.teacher.hub=null"]
    if group == "pair" and choice.startswith(("megaloc", "salad", "boq")):  # their teachers need no training first
        overrides += ["distillation=similarity"]
    if choice == "unlabelled":
        overrides += ["distillation=rank", "distillation.task_weight=0", "distillation.teacher.ckpt=teacher.ckpt"]
    patch = compose("train", overrides).backbone.get("patch_size", 1)
    cfg = compose("train", [*overrides, f"image.size=[{8 * patch},{9 * patch}]"])
    check_rules(cfg)
    check_targets(cfg)


@pytest.mark.parametrize("name", DATASETS)
def test_each_dataset_trains_or_evaluates(name: str) -> None:
    cfg = compose("train", [f"dataset={name}"])
    overrides = [f"dataset={name}", *(f"{key}=x" for key in OmegaConf.missing_keys(cfg.dataset))]  # one's own photos
    unlabelled = ["supervision=unlabelled", "distillation=rank", "distillation.task_weight=0"]
    if cfg.dataset.get("images"):
        overrides += [*unlabelled, "distillation.teacher.ckpt=x.ckpt"]
    for script, sets in (("train", "train"), ("train", "images"), ("evaluate", "eval")):
        if cfg.dataset.get(sets):
            checked = compose(script, overrides + (["ckpt=x.ckpt"] if script == "evaluate" else []))
            check_rules(checked)
            check_targets(checked)


def test_datasets_merge() -> None:
    cfg = compose("train", ["dataset=[gsv_cities,msls_val]"])
    assert list(cfg.dataset.train) == ["gsv_cities"]
    assert set(cfg.dataset.eval) == {"pitts30k_val", "msls_val"}
    assert cfg.image.size == [320, 320]


def test_name_follows_the_choices() -> None:
    assert compose("train", ["backbone=mobilenet_v2", "agg=gem"]).name == "mobilenet_v2-gem"
    assert compose("train", ["experiment=mixvpr_resnet50_512"]).name == "mixvpr_resnet50_512"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "salad_dinov2_vitb14",
            {
                **{"backbone.unfreeze": 4, "backbone.norm": True, "agg.clusters": 64, "agg.cluster_dim": 128},
                **{"image.size": [224, 224], "image.interpolation": "bilinear", "batch.places": 60},
                **{"optimizer.lr": 6e-5, "optimizer.weight_decay": 9.5e-9, "schedule.steps": 4000},
                **{"trainer.max_epochs": 4, "augment.magnitude": 9},
            },
        ),
        (
            "boq_resnet50",
            {
                **{"backbone.crop": [4], "agg.channels": 512, "agg.rows": 32, "agg.queries": 64},
                **{"image.size": [320, 320], "image.interpolation": "bicubic", "batch.places": 128},
                **{"optimizer.lr": 1e-4, "optimizer.weight_decay": 1e-4, "schedule.warmup_epochs": 10},
                **{"schedule.milestones": [10, 20], "schedule.gamma": 0.1, "augment.magnitude": 15, "seed": 2024},
            },
        ),
        (
            "boq_dinov2_vitb14",
            {
                **{"backbone.unfreeze": 2, "backbone.norm": False, "agg.channels": 384, "agg.rows": 32},
                **{"image.size": [280, 280], "image.interpolation": "bicubic", "batch.places": 160},
                **{"optimizer.lr": 2e-4, "optimizer.weight_decay": 1e-3, "schedule.warmup_steps": 3900},
            },
        ),
    ],
)
def test_salad_and_boq_are_trained_as_published(name: str, expected: dict) -> None:
    cfg = compose("train", [f"experiment={name}"])
    assert cfg.backbone.get("position", "torch_hub") == "torch_hub"
    assert {key: OmegaConf.select(cfg, key) for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "dim", "places", "warmup", "precision"),
    [
        ("mixvpr_resnet50", 4096, 120, 650, "16-mixed"),
        ("mixvpr_resnet50_512", 512, 120, 650, "16-mixed"),
        ("mixvpr_resnet50_128", 128, 120, 650, "16-mixed"),
        ("lw_mixvpr_mobilenet_v2", 1024, 32, 650, "16-mixed"),
        ("lw_mixvpr_efficientnet_b0", 128, 48, 650, "16-mixed"),
        ("lw_mixvpr_resnet18", 512, 128, 0, "32-true"),
    ],
)
def test_published_run(name: str, dim: int, places: int, warmup: int, precision: str) -> None:
    cfg = OmegaConf.to_container(compose("train", [f"experiment={name}"]), resolve=True)
    assert isinstance(cfg, dict)
    assert cfg["agg"]["out_channels"] * cfg["agg"]["out_rows"] == dim
    assert (cfg["agg"]["mix_depth"], cfg["agg"]["mlp_ratio"]) == (4, 1)
    assert cfg["batch"] == {
        "places": places,
        "images_per_place": 4,
        "shuffle": "within_group",
        "choice": "random",
        "drop_last": False,
        "chunk": None,
    }
    assert cfg["optimizer"] == {
        "_target_": "torch.optim.SGD",
        "_partial_": True,
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-3,
    }
    schedule = cfg["schedule"]
    assert (schedule["warmup_steps"], schedule["gamma"]) == (warmup, 0.3)
    assert schedule["milestones"] == [5, 10, 15, 25, 45]
    loss = cfg["loss"]
    assert (loss["loss"]["alpha"], loss["loss"]["beta"], loss["loss"]["base"]) == (1.0, 50.0, 0.0)
    assert loss["miner"]["epsilon"] == 0.1
    assert (cfg["image"]["size"], cfg["image"]["interpolation"]) == ([320, 320], "bilinear")
    assert (cfg["augment"]["num_ops"], cfg["augment"]["magnitude"]) == (3, 9)
    trainer = cfg["trainer"]
    assert (trainer["max_epochs"], trainer["precision"], trainer["monitor"]) == (80, precision, "pitts30k_val")
    assert (trainer["gradient_clip_val"], trainer["save_top"]) == (None, 3)
    assert len(cfg["dataset"]["train"]["gsv_cities"]["cities"]) == 23
    assert cfg["seed"] == 190223


@pytest.mark.parametrize("size", [512, 128])
def test_smaller_descriptors_are_the_same_run_but_for_their_size(size: int) -> None:
    large, small = (compose("train", [f"experiment=mixvpr_resnet50{end}"]) for end in ("", f"_{size}"))
    assert {key for key in large if large[key] != small[key]} == {"name", "agg", "logger"}  # wandb shows the name
    assert {key for key in large.agg if large.agg[key] != small.agg[key]} == {"out_channels", "out_rows"}
    text = (CONF / "experiment" / f"mixvpr_resnet50_{size}.yaml").read_text()
    assert "override" not in text  # what they share stands in one file


def test_all_published_runs_are_tested_above() -> None:
    assert len(PUBLISHED) == 6


@pytest.mark.parametrize("name", [choice for group, choice in CHOICES if group == "experiment"])
def test_no_experiment_leaves_batches_out(name: str) -> None:
    assert not compose("train", [f"experiment={name}"]).trainer.extra


@pytest.mark.parametrize(("experiment", "channels"), [("lw_mixvpr_mobilenet_v2", 512), ("lw_mixvpr_resnet18", 256)])
def test_the_other_published_size_is_as_the_comment_says(experiment: str, channels: int) -> None:
    text = Path(CONF / "experiment" / f"{experiment}.yaml").read_text()
    assert f"the {channels * 4}-d of its README: agg.out_channels={channels}" in text


@pytest.mark.parametrize(
    "file", [f for f in sorted((CONF / "experiment").rglob("*.yaml")) if re.search("chooses? nothing", f.read_text())]
)
def test_what_chooses_nothing_is_measured_at_the_end_alone(file: Path) -> None:
    cfg = compose("train", [f"experiment={file.relative_to(CONF / 'experiment').with_suffix('')}"])
    assert cfg.trainer.eval_every >= cfg.trainer.max_epochs and cfg.trainer.early_stop is None
