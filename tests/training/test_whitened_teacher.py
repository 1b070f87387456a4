"""A PCA-whitened teacher: fitted once to the training photos, an ordinary checkpoint from then on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from vpr import checkpoint
from vpr.cli.rules import check_rules
from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.errors import ConfigError
from vpr.evaluation.gallery import load_gallery
from vpr.models.describer import build_describer
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.pca import PCA
from vpr.training.module import TrainingModule
from vpr.training.run import TrainingRun, fit

Tiny = Callable[[Sequence[str]], DictConfig]

SIXTEEN = ["agg=mixvpr", "agg.out_channels=8", "agg.out_rows=2", "agg.mix_depth=1", "distillation.teacher.pca=student"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """256-d descriptors at 64x64 pixels."""
    path = tmp_path_factory.mktemp("teacher") / "best.ckpt"
    torch.manual_seed(1)
    resnet = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [4]}
    parts = {"backbone": resnet, "agg": {"_target_": "vpr.models.aggregators.gem.GeM"}}
    describer = build_describer(**parts, image={"size": [64, 64]})
    checkpoint.save(path, describer, parts | {"name": "big"}, {"x": {"R@1": 1}}, np.array([5, 7]))
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainingModule]:
    """The modules that were trained."""
    seen: list[TrainingModule] = []
    real = TrainingRun.fit
    monkeypatch.setattr(TrainingRun, "fit", lambda self: (seen.append(self.module), real(self)))
    return seen


def test_the_describer_that_whitens(teacher: Path) -> None:
    content, rows = checkpoint.read(teacher), np.random.default_rng(0).normal(size=(40, 256)).astype(np.float32)
    whitening = PCA.fit(rows, 7).projection()
    found = whitening.behind(content)
    assert (found["config"]["name"], found["metrics"]) == ("big-pca7", {})
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = whitening(checkpoint.unpack(content)(images))
        torch.testing.assert_close(checkpoint.unpack(found)(images), expected, atol=1e-5, rtol=1e-4)
    assert (
        content["config"]["name"] == "big" and "aggregator.pool.p" in content["weights"]
    )  # the original is left alone


def test_a_run_of_the_students_size(tiny: Tiny, tmp_path: Path, photos: Path, teacher: Path, trained) -> None:
    cfg = tiny(["distillation=descriptor", *SIXTEEN, f"distillation.teacher.ckpt={teacher}", "trainer.max_epochs=1"])
    fit(cfg, tmp_path / "a")
    (module,) = trained
    (used,) = module.distiller.teachers
    assert used.shape.dim == 16 == module.describer.dim and not list(module.distiller.parameters())
    (file,) = (tmp_path / "runs" / "teachers").glob("*.ckpt")
    assert file.name.startswith("big-pca16-")
    assert checkpoint.training_images(checkpoint.read(file)).tolist() == [5, 7]
    # Over the photos that it was fitted to its directions are of one size: that of a mean of unit vectors' squares.
    paths = sorted((photos / "train").rglob("*.jpg"))
    gallery = checkpoint.load(file)
    images, _, _ = collate_images([ImageDataset(paths, gallery.preprocess)[i] for i in range(len(paths))])
    with torch.no_grad():
        found = gallery(gallery.normalise(images))
    assert found.shape == (48, 16)
    torch.testing.assert_close(found.square().mean(0), torch.full((16,), 1 / 16), atol=0.02, rtol=0)
    # Its record leads to that file, which serves as gallery without a warning.
    student = Extractor.load(tmp_path / "a" / "best.ckpt", "cpu")
    assert student.record is not None
    (teacher_of_student,) = student.record["config"]["distillation"]["teachers"]
    assert teacher_of_student["digest"] == checkpoint.digest(checkpoint.read(file))
    made = load_gallery(str(file), student, "student.ckpt")
    assert made.name == "big-pca16" and made.preprocess.size == (64, 64)


def test_it_is_fitted_once(tiny: Tiny, tmp_path: Path, teacher: Path, trained, monkeypatch, caplog) -> None:
    options = [*SIXTEEN, f"distillation.teacher.ckpt={teacher}", "trainer.max_epochs=1", "trainer.eval_every=0"]
    with caplog.at_level(logging.INFO, "vpr"):
        fit(tiny(["distillation=descriptor", *options]), tmp_path / "a")
    assert "gallery_ckpt=" in caplog.text
    with monkeypatch.context() as patch:
        patch.setattr(PCA, "of_images", lambda *args, **options: pytest.fail("fitted again"))
        fit(tiny(["distillation=rkd", *options]), tmp_path / "b")
    first, second = (module.distiller.teachers[0] for module in trained)
    assert first.digest == second.digest
    fit(tiny(["distillation=rkd", *options, "distillation.teacher.size=[32,32]"]), tmp_path / "c")
    assert len(list((tmp_path / "runs" / "teachers").glob("*.ckpt"))) == 2


def test_too_few_photos(tiny: Tiny, tmp_path: Path, teacher: Path) -> None:
    cfg = tiny(["distillation=rkd", "distillation.teacher.pca=64", f"distillation.teacher.ckpt={teacher}"])
    with pytest.raises(ConfigError, match="PCA to 64 dimensions: 48 descriptors of 256 numbers give 47 at most"):
        fit(cfg, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["distillation.teacher.ckpt=a.ckpt", "distillation.teacher.pca=half"], "a number of dimensions, or student"),
        (["distillation.teacher.ckpt=a.ckpt", "distillation.teacher.pca=0"], "a number of dimensions"),
        (
            [
                *["distillation.teacher.ckpt=a.ckpt", "distillation.teacher.pca=64", "distillation.cache=true"],
                "distillation.cache_pca=32",
            ],
            "earlier name of distillation.teacher.pca=64, and they differ",
        ),
    ],
)
def test_rules(tiny: Tiny, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_rules(tiny(["distillation=rkd", *overrides]))
