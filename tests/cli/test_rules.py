"""Each rule fires on what it is for, names key, reason and remedy, and lets the defaults pass."""

from __future__ import annotations

import re

import pytest
from omegaconf import open_dict

from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.errors import ConfigError

GSV = "dataset=gsv_cities"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["batch.places=1"], "batch.places=1: the least is 2. A metric loss needs images of other places"),
        (["batch.images_per_place=1"], "two images of a place to pull together. Type batch.images_per_place=2"),
        (["batch.shuffle=within_grup"], "one of within_group, all. Did you mean 'within_group'?"),
        (["batch.choice=newest"], "batch.choice=newest: it must be one of random, recent."),
        (["image.interpolation=bicubik"], "Did you mean 'bicubic'?"),
        (["trainer.precision=64-true"], "it must be one of auto, 32-true, 16-mixed, bf16-mixed."),
        (["trainer.precision=16"], "trainer.precision=16: it must be one of"),
        (["trainer.precision=bf16-true"], "Did you mean 'bf16-mixed'?"),
        (["trainer.sync_batchnorm=maybe"], "it must be one of auto, true, false."),
        (["dataset.on_bad_image=black", GSV], "it must be one of raise, skip."),
        (["trainer.eval_every=-1"], "trainer.eval_every=-1: the least is 0. Type trainer.eval_every=0 or more."),
        (["trainer.checkpoint_every.steps=0"], "trainer.checkpoint_every.steps=0: the least is 1."),
        (["~callbacks.checkpoints"], "callbacks.checkpoints: a run needs it, as it writes last.ckpt"),
        (["~callbacks.evaluation"], "Type trainer.eval_every=0 to measure nothing. Leave ~callbacks.evaluation out."),
        (["callbacks.bad_images=null"], "callbacks.bad_images: a run needs it"),
        (["+callbacks.mine=3"], "callbacks.mine=3: it has no class. Type for example +callbacks.mine._target_="),
        (["+callbacks.mine={_target_: x, _partial_: true}"], "callbacks.mine._partial_: the run gives its objects to"),
        (["image.size=[320]"], "image.size=[320]: it must be [height, width] in pixels."),
        (["image.size=[0,320]"], "it must be [height, width]"),
        (["image.size=[320,322]", "+backbone.patch_size=14"], "Type 'image.size=[322,322]' (with the quotes)."),
        (["dataset=pitts30k_val"], "dataset: it has no images to train on"),
        (["supervision=tuples", "dataset=pitts30k"], "pitts30k has no such part. Did you mean 'pitts30k_train'? Sets"),
        (
            ["supervision=tuples", GSV],
            "Sets that have: pitts250k_train, pitts30k_train, tokyo_tm, toycity, toycity_pittsburgh. Type for",
        ),
        (["supervision=tuples", "supervision.reads=weka"], "supervision.reads=weka: no data set has such a part."),
        (["supervision=tuples", "trainer.devices=8"], "the tuples of a step are shared out over 8 devices"),
        (["supervision=tuples", "supervision.tuples=0"], "supervision.tuples=0: the least is 1."),
        (["batch.places=3", "trainer.devices=4"], "4 devices, and some would have none. Type batch.places=8"),
        (["batch.places=2", "trainer.devices=[0,1,2]"], "trainer.devices=[0, 1, 2]"),
        (["trainer.devices='0,1'"], "trainer.devices=0,1: it must be a number of devices, -1 for all, auto, or a list"),
        (["trainer.devices=0"], "trainer.devices=0: it must be a number"),
        (["trainer.devices=[]"], "'trainer.devices=[0,1]' (with the quotes)"),
        (["trainer.devices=[1,1]"], "a list of their numbers"),
        (["trainer.devices=all"], "-1 for all"),
        (["trainer.devices=true"], "trainer.devices=True: it must be a number"),
        (["trainer.devices=[0]", "trainer.accelerator=cpu"], "on the CPU it is a number of processes."),
        (["trainer.accelerator=cpu", "trainer.precision=16-mixed"], "Type trainer.precision=32-true"),
        ([GSV, "trainer.monitor=pits30k_val"], "dataset has pitts30k_val. Did you mean 'pitts30k_val'?"),
        (["dataset=places_folder", "trainer.monitor=x"], "dataset has none."),
        ([GSV, "trainer.monitor=pitts30k_val", "trainer.eval_every=0"], "it is never measured. Type"),
        ([GSV, "trainer.early_stop=3", "trainer.eval_every=0"], "no evaluation that could tell when to stop."),
        (["dataset=places_folder", "trainer.early_stop=3"], "or trainer.early_stop=null."),
        (["trainer.early_stop=0"], "trainer.early_stop=0: the least is 1."),
        (["trainer.max_epochs=-1"], "trainer.max_epochs=-1: the least is 0."),
        (["trainer.save_top=0"], "trainer.save_top=0: the least is 1."),
        (["seed=-1"], "seed=-1: the least is 0."),
        (["image.interpolation=area"], "it must be one of bilinear, bicubic."),
        (["+finetune.bakbone_lr=1"], "finetune.bakbone_lr: there is no such key. Did you mean 'backbone_lr'?"),
        (["+trainer.checkpoint_every.epochs=1"], "Leave +trainer.checkpoint_every.epochs out."),
        (["+sed=3"], "sed: there is no such key. Did you mean 'seed'? Leave +sed out."),
        (["+trainer.max_epoch=3"], "trainer.max_epoch: there is no such key. Did you mean 'max_epochs'?"),
        (["dataset=[toycity,msls_challenge]"], "dataset.eval.msls_challenge: its ground truth is not published"),
    ],
)
def test_rule_of_training(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_rules(compose("train", overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["ks=[]"], "recall@k needs a k"),
        (["ks=[0,1]"], "k counts from 1"),
        (["dataset=places_folder"], "dataset: it has no evaluation set."),
        (["batch_size=0"], "batch_size=0: the least is 1."),
        (["precision=auto"], "precision=auto: it must be one of 32-true, 16-mixed, bf16-mixed."),
        (["seed=-1"], "seed=-1: the least is 0."),
        (["dtype=float8"], "it must be one of float16, float32."),
        (["+on_bad_image=skip"], "on_bad_image: there is no such key."),
        (["dataset.on_bad_image=black"], "dataset.on_bad_image=black: it must be one of raise, skip."),
        (["+ckpt_path=x"], "ckpt_path: there is no such key. Did you mean 'ckpt'?"),
    ],
)
def test_rule_of_evaluating(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_rules(compose("evaluate", ["ckpt=x.ckpt", *overrides]))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["batch.places=4", "trainer.devices=4"],
        ["batch.places=2", "trainer.devices=[0,1]"],
        ["trainer.devices=-1"],
        ["trainer.devices=[1]"],
        ["trainer.devices=auto", "trainer.accelerator=cpu"],
        ["trainer.precision=16-mixed"],
        ["trainer.accelerator=cpu", "trainer.precision=bf16-mixed"],
        ["image.size=[322,322]", "+backbone.patch_size=14"],
        [GSV, "trainer.monitor=pitts30k_val"],
        ["dataset=[gsv_cities,msls_val]", "trainer.monitor=msls_val"],
        ["trainer.eval_every=0"],
        ["finetune.backbone_lr=0"],
        ["+trainer.extra.detect_anomaly=true"],
    ],
)
def test_what_goes_together_passes(overrides: list[str]) -> None:
    check_rules(compose("train", overrides))


def test_size_that_nobody_knows() -> None:
    cfg = compose("train")
    with open_dict(cfg):
        cfg.image.size = []
    with pytest.raises(ConfigError, match=r"^image.size=\[\]"):
        check_rules(cfg)
