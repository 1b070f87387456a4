"""The command line of cluster.py, and the command that training names."""

from __future__ import annotations

import re
import shlex

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from vpr.cli.checks import check_targets
from vpr.cli.cluster_command import cluster_command, cluster_names, training_side
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("dataset=pitts30k", "dataset=pitts30k_train"),
        ("dataset=[pitts30k,tokyo_tm]", "dataset=[pitts30k_train,tokyo_tm]"),
        ("dataset=pitts250k,toycity", "dataset=pitts250k_train,toycity"),
        ("dataset=pitts30k_train", "dataset=pitts30k_train"),
        ("dataset=gsv_cities", "dataset=gsv_cities"),
        ("dataset=pitts30k_val", "dataset=pitts30k_val"),
        ("dataset.eval.pitts30k.root=x", "dataset.eval.pitts30k.root=x"),
        ("backbone=vgg16", "backbone=vgg16"),
        ("-m", "-m"),
    ],
)
def test_the_training_side_of_a_dataset(typed: str, meant: str):
    assert training_side(["cluster.py", typed]) == ["cluster.py", meant]


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("pitts30k_train", "pitts30k"),
        ("tokyo_tm", "tokyo_tm"),
        ("toycity", "toycity"),
        ("[gsv_cities,msls_val]", "gsv_cities"),
        ("[pitts30k_train,tokyo_tm]", "pitts30k+tokyo_tm"),
    ],
)
def test_names_in_the_file(dataset: str, name: str):
    for script in ("train", "cluster"):
        assert cluster_names(compose(script, ["backbone=vgg16", f"dataset={dataset}"])) == ("vgg16", name)


def test_the_contract_composes_and_passes_all_checks():
    cfg = compose("cluster", training_side(["backbone=vgg16", "dataset=pitts30k"]))
    check_rules(cfg)
    check_targets(cfg)
    assert (cfg.clusters, cfg.images, cfg.descriptors_per_image) == (64, 500, 100)  # as published
    assert list(cfg.image.size) == [480, 640] and "pitts30k_train" in cfg.dataset.weak


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset=tokyo247"], "it has no photos to train on"),
        (["clusters=1"], "clusters=1: the least is 2."),
        (["images=0"], "images=0: the least is 1."),
        (["descriptors_per_image=0"], "descriptors_per_image=0: the least is 1."),
        (["seed=-1"], "seed=-1: the least is 0."),
        (["dataset=[toycity,tokyo_tm]"], "the training sets are used at different sizes"),
        (["+sed=3"], "sed: there is no such key. Did you mean 'seed'?"),
    ],
)
def test_rules(overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_rules(compose("cluster", overrides))


@pytest.mark.parametrize(
    ("overrides", "command"),
    [
        (["backbone=vgg16", "dataset=pitts30k_train"], "backbone=vgg16 dataset=pitts30k_train"),
        (["backbone=vgg16", "dataset=[tokyo_tm,msls_val]"], "backbone=vgg16 dataset=tokyo_tm"),
        (
            ["dataset=[tokyo_tm,pitts30k_train]"],
            "backbone=resnet18 'dataset=[tokyo_tm,pitts30k_train]'",
        ),
        (["backbone=vgg16", "image=matconvnet"], "backbone=vgg16 dataset=toycity image=matconvnet"),
        (["backbone=resnet18", "backbone.crop=[3,4]"], "backbone=resnet18 dataset=toycity 'backbone.crop=[3,4]'"),
        (["backbone=vgg16", "backbone.weights=none"], "backbone=vgg16 dataset=toycity backbone.weights=none"),
        (["paths.runs=/a b", "agg.clusters=32"], "backbone=resnet18 dataset=toycity clusters=32 'paths.runs=/a b'"),
        (
            ["dataset.train.toycity.places=20", "image.size=[96,96]", "seed=3"],
            "backbone=resnet18 dataset=toycity dataset.train.toycity.places=20 'image.size=[96,96]'",
        ),
    ],
)
def test_the_command_that_training_names(overrides: list[str], command: str):
    cfg = compose("train", ["agg=netvlad", *overrides])
    command_line = cluster_command(cfg, cfg.agg.clusters)
    assert command_line == f"python cluster.py {command}"
    made = compose("cluster", shlex.split(command_line)[2:])
    assert cluster_names(made) == cluster_names(cfg)
    assert (made.clusters, made.backbone, made.image, made.paths) == (
        cfg.agg.clusters,
        cfg.backbone,
        cfg.image,
        cfg.paths,
    )


def test_the_command_outside_of_hydra(monkeypatch: pytest.MonkeyPatch):
    cfg = compose("train", ["agg=netvlad", "backbone=vgg16", "dataset=tokyo_tm"])
    monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: False))
    with open_dict(cfg):
        cfg.backbone.freeze = 2
    assert cluster_command(cfg, 64, "overwrite=true") == (
        "python cluster.py backbone=vgg16 dataset=tokyo_tm backbone.freeze=2 overwrite=true"
    )
