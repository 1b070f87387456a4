"""Runs with cached targets: no teacher beside the student, the same run when taken up again, and two processes."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback

import vpr.training.run as fit_module
from vpr import checkpoint
from vpr.cli.compose import plain
from vpr.data import retrieval_set
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError, DataError
from vpr.models.describer import build_describer
from vpr.training.module import TrainingModule
from vpr.training.run import fit, make_distillation

Tiny = Callable[[Sequence[str]], DictConfig]


@pytest.fixture(scope="module")
def ckpts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two teachers of 256-d descriptors at 64x64 pixels."""
    folder = tmp_path_factory.mktemp("teachers")
    for seed in range(2):
        torch.manual_seed(seed)
        parts = {
            "backbone": {
                "_target_": "vpr.models.backbones.resnet.ResNet",
                "name": "resnet18",
                "weights": "none",
                "crop": [4],
            },
            "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
        }
        checkpoint.save(folder / f"{seed}.ckpt", build_describer(**parts, image={"size": [64, 64]}), parts)
    return [folder / "0.ckpt", folder / "1.ckpt"]


def distiller(cfg: DictConfig) -> Distiller:
    made = make_distillation(
        cfg.distillation, plain(cfg.image), OmegaConf.to_object(cfg.trainer), 0, 0, Path("nowhere")
    )
    nodes = plain(cfg)
    made.attach(build_describer(nodes["backbone"], nodes["agg"], nodes["image"]), nodes["agg"], [])
    return made.distiller


class Watch(Callback):
    """Keeps the module, counts the teachers' networks in memory in each step, and interrupts a step where asked."""

    def __init__(self, alive: weakref.WeakSet[Teacher], stop_at: int | None = None) -> None:
        self.alive, self.stop_at = alive, stop_at
        self.networks: list[int] = []
        self.module: TrainingModule | None = None

    def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
        self.module = module
        if not self.networks:
            gc.collect()
        self.networks.append(len(self.alive))
        if trainer.global_step == self.stop_at:
            raise KeyboardInterrupt


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watch]:
    """Run a configuration with a `Watch`; an interrupt ends it."""
    make, begin = fit_module.make_trainer, Teacher.__init__

    def run(cfg: DictConfig, directory: Path, stop_at: int | None = None) -> Watch:
        watch = Watch(weakref.WeakSet(), stop_at)

        def noted(self: Teacher, *args, **options) -> None:
            begin(self, *args, **options)
            watch.alive.add(self)

        with monkeypatch.context() as patch:
            patch.setattr(Teacher, "__init__", noted)
            patch.setattr(fit_module, "make_trainer", lambda c, d, found, *rest: make(c, d, [watch, *found], *rest))
            with contextlib.nullcontext() if stop_at is None else pytest.raises((KeyboardInterrupt, SystemExit)):
                fit(cfg, directory)
        return watch

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in each call of a teacher."""
    calls: list[int] = []
    real = Teacher.forward
    monkeypatch.setattr(Teacher, "forward", lambda self, images: calls.append(len(images)) or real(self, images))
    return calls


def test_a_run_with_cached_targets(tiny: Tiny, tmp_path: Path, ckpts: list[Path], watched, asked: list[int]):
    terms = "distillation=[similarity,descriptor,rkd,rank,logit]"
    options = [terms, "distillation.cache=true", f"distillation.teacher.ckpt={ckpts[0]}", "trainer.max_epochs=2"]
    watch = watched(tiny(options), tmp_path / "first")
    assert sum(asked) == 48  # each photo once
    assert watch.networks == [0] * 6
    (teacher,) = watch.module.distiller.teachers
    assert isinstance(teacher, CachedTeacher) and teacher.network is None
    found = checkpoint.read(tmp_path / "first" / "best.ckpt")["config"]["distillation"]
    assert found["cache"] is True and found["teachers"][0]["digest"] == teacher.digest
    # Another run, of another student and at another size, asks nobody.
    watched(tiny([*options, "backbone.crop=[4]", "image.size=[32,40]"]), tmp_path / "second")
    assert sum(asked) == 48


def test_the_student_learns_what_the_teacher_says_of_the_clean_photos(tiny: Tiny, tmp_path: Path, ckpts, watched):
    """Without augmentation, and at the teacher's size, live and cached targets are the same."""
    options = ["distillation=similarity", f"distillation.teacher.ckpt={ckpts[0]}", "augment=none"]
    options += ["image.size=[64,64]", "trainer.max_epochs=1", "trainer.eval_every=0", "optimizer.lr=1e-4"]
    watch = watched(tiny(options), tmp_path / "live")
    assert watch.networks == [1] * 3
    live = watch.module
    cached = watched(tiny([*options, "distillation.cache=true"]), tmp_path / "cached").module
    for name, value in live.trainer.callback_metrics.items():
        if "speed" not in name:
            torch.testing.assert_close(cached.trainer.callback_metrics[name], value, rtol=2e-2, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("pca", ["null", "8"])
def test_an_interrupted_run_is_the_same_run(tiny: Tiny, tmp_path: Path, ckpts, watched, asked, pca: str):
    options = ["distillation=[similarity,descriptor]", "distillation.cache=true", f"distillation.cache_pca={pca}"]
    options += [f"distillation.teacher.ckpt=[{ckpts[0]},{ckpts[1]}]", "trainer.eval_every=0"]
    options += ["trainer.checkpoint_every.steps=2"]
    straight = watched(tiny(options), tmp_path / "straight").module.state_dict()
    runs = tmp_path / "runs" / "tiny"
    watched(tiny(options), runs / "first", stop_at=5)
    resumed = watched(tiny([*options, "ckpt_path=last"]), runs / "second")
    assert len(resumed.networks) == 5  # steps 4 to 8
    assert sum(asked) == 96
    after = resumed.module.state_dict()
    assert straight.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in straight.items())
    with pytest.raises(ConfigError, match="distillation.cache=True, and this one has False"):
        fit(tiny([options[0], *options[3:], "ckpt_path=last"]), tmp_path / "third")


@pytest.mark.parametrize("term", ["feature", "attention", "wakd"])
def test_terms_that_compare_maps_are_refused_before_anything_is_read(tiny: Tiny, term: str):
    options = [f"distillation=[similarity,{term}]", "distillation.cache=true", "distillation.teacher.ckpt=nowhere.ckpt"]
    with pytest.raises(ConfigError, match=f"descriptors alone, and {term} compares feature maps"):
        distiller(tiny(options))


def test_wakd_of_descriptors_alone_is_served(tiny: Tiny, ckpts: list[Path]):
    options = ["distillation=wakd", "distillation.cache=true", f"distillation.teacher.ckpt={ckpts[0]}"]
    (teacher,) = distiller(tiny([*options, "distillation.terms.wakd.maps=0"])).teachers
    assert teacher.shape.dim == 256 and teacher.shape.channels is None


def test_more_components_than_the_teacher_has(tiny: Tiny, ckpts: list[Path]):
    options = ["distillation=rkd", "distillation.cache=true", f"distillation.teacher.ckpt={ckpts[0]}"]
    with pytest.raises(ConfigError, match="teacher.pca=257: .* have 256 dimensions"):
        distiller(tiny([*options, "distillation.teacher.pca=257"]))


def test_a_photo_that_was_bad_when_described(tiny: Tiny, tmp_path: Path, photos: Path, ckpts, watched, monkeypatch):
    """It is not drawn afterwards, though it can be read: losses stay finite, and its place is still trained on."""
    real = retrieval_set.decode
    gone = photos / "train" / "place03" / "2.jpg"

    def failing(path: Path, *rest):
        if path == gone:
            raise DataError(f"{path}: cannot be opened (Stale file handle).")
        return real(path, *rest)

    monkeypatch.setattr(retrieval_set, "decode", failing)
    seen: list[int] = []
    targets = CachedTeacher.targets

    def noted(self, batch):
        seen.extend(batch.numbers.tolist())
        found = targets(self, batch)
        assert torch.isfinite(found.descriptors).all() and (found.descriptors.norm(dim=1) > 0.99).all()
        return found

    monkeypatch.setattr(CachedTeacher, "targets", noted)
    options = ["distillation=similarity", "distillation.cache=true", f"distillation.teacher.ckpt={ckpts[0]}"]
    watched(tiny([*options, "trainer.eval_every=0", "batch.images_per_place=3"]), tmp_path)
    assert 3 * 4 + 2 not in seen and {12, 13, 15} <= set(seen)
    assert len(seen) == 3 * 12 * 3


def test_ctrl_c_while_the_teacher_describes(tiny: Tiny, tmp_path: Path, ckpts, asked, monkeypatch, caplog):
    """The same command goes on: all in all each photo is described once."""
    options = ["distillation=similarity", "distillation.cache=true", f"distillation.teacher.ckpt={ckpts[0]}"]
    options += ["trainer.eval_batch_size=10", "trainer.max_epochs=1", "trainer.eval_every=0"]
    real = CachedTeacher.describe

    def interrupted(self, images, *rest):
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(self, images, *rest)

    with monkeypatch.context() as patch, caplog.at_level("INFO"):
        patch.setattr(CachedTeacher, "describe", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny(options), tmp_path / "first")
    assert caplog.messages[-1] == "Interrupted. Go on with the same command."
    fit(tiny(options), tmp_path / "second")
    assert asked == [10, 10, 10, 10, 8]
