"""Parameters that are optimised, and their learning rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import vpr.training.run as fit_module
from vpr.training.run import TrainingRun, fit


@pytest.fixture
def module(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run one epoch with overrides and return the module that was trained."""

    def run(*overrides: str):
        seen = []

        def watched(self):
            seen.append(self.module)
            return real(self)

        monkeypatch.setattr(TrainingRun, "fit", watched)
        fit(tiny(["trainer.max_epochs=1", "schedule=constant", *overrides]), tmp_path)
        return seen[0]

    real = TrainingRun.fit
    return run


def test_the_optimiser_has_every_trainable_parameter_once(module):
    trained = module()
    groups = trained.trainer.optimizers[0].param_groups
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in trained.parameters() if p.requires_grad)
    assert len(groups[1]["params"]) > len(groups[0]["params"]) > 0


def test_the_backbone_may_learn_more_slowly(module):
    rest, backbone = module("finetune.backbone_lr=0.1", "optimizer.lr=0.01").trainer.optimizers[0].param_groups
    assert (rest["lr"], backbone["lr"]) == pytest.approx((0.01, 0.001))


def means(module) -> list[torch.Tensor]:
    return [m.running_mean for m in module.describer.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_batchnorm_follows_new_batches_as_fast_as_asked(module):
    found = module("finetune.bn_momentum=0.3").describer.backbone.modules()
    momenta = {m.momentum for m in found if isinstance(m, torch.nn.BatchNorm2d)}
    assert momenta == {0.3}


def test_batchnorm_is_held_for_pretrained_weights_only(module, tmp_path: Path):
    # `weights=checkpoint` builds without reading anything: BatchNorm has its initial mean, zero.
    held = module("finetune.backbone_bn=false", "backbone.weights=checkpoint")
    assert all(not mean.any() for mean in means(held))
    assert held.describer.backbone.training
    random = module("finetune.backbone_bn=false")
    assert all(mean.any() for mean in means(random))


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimisers_are_what_they_are_called(module, name: str, kind: type):
    assert type(module(f"optimizer={name}").trainer.optimizers[0]) is kind


def test_gradients_are_clipped(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pytorch_lightning.callbacks import Callback

    norms = []

    class Watch(Callback):
        def on_before_zero_grad(self, trainer, module, optimizer) -> None:
            grads = [p.grad.norm() for p in module.parameters() if p.grad is not None]
            if grads:
                norms.append(torch.stack(grads).norm().item())

    make = fit_module.make_trainer
    monkeypatch.setattr(fit_module, "make_trainer", lambda c, d, found, *rest: make(c, d, [Watch(), *found], *rest))
    fit(tiny(["trainer.max_epochs=1", "trainer.gradient_clip_val=0.01"]), tmp_path)
    assert norms and all(norm <= 0.0101 for norm in norms)
