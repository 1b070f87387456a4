"""Cached targets: what the teacher says of clean photos, once, by any number of attempts, for these photos alone."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor

import vpr.distributed as alone_module
import vpr.training.teacher_cache as build_module
from vpr.data.formats.place_lists import read_folder
from vpr.data.image_paths import ImagePaths
from vpr.data.places import PlacesDataset, collate_places
from vpr.data.retrieval_set import ImageDataset, collate_images
from vpr.data.transforms import EvalTransform
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError, DataError
from vpr.models.describer import build_describer
from vpr.training.teacher_cache import TargetBuild, TeacherTargets
from vpr.types import Draw, PlaceBatch

RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
DIM = 128


def make_teacher(digest: str = "a", seed: int = 1, **options: object) -> Teacher:
    torch.manual_seed(seed)
    network = build_describer(RESNET, GEM, {"size": [64, 56], "mean": [0.4, 0.5, 0.6]})
    return Teacher(network, f"teacher-{digest}", digest=digest, **options)


@pytest.fixture
def folder(photos: Path, tmp_path: Path) -> Path:
    """12 places of 4 photos, the test's own."""
    for path in sorted((photos / "train").rglob("*.jpg")):
        copy = tmp_path / "train" / path.relative_to(photos / "train")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path / "train"


def build(folder: Path, teacher: Teacher | None = None, pca: int | None = None, batch: int = 5):
    """Return the opened teacher, and the photos without target."""
    cached = CachedTeacher(teacher or make_teacher(), pca)
    photos = ImagePaths([read_folder(folder)])
    bad = TargetBuild(cached, photos, photos.digest(), folder.parent / "cache", batch).run(torch.device("cpu"))
    return cached, bad


def clean(folder: Path, teacher: Teacher) -> Tensor:
    """Descriptors of the images by the network at its own size."""
    photos = ImageDataset(ImagePaths([read_folder(folder)]), teacher.preprocess)
    images, _, _ = collate_images([photos[i] for i in range(len(photos))])
    return teacher(images).descriptors


def batch_of(*photos: int) -> PlaceBatch:
    return PlaceBatch(torch.zeros(len(photos), 3, 4, 4), torch.zeros(len(photos)), (), np.array(photos))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of images in each call of a teacher."""
    calls: list[int] = []
    real = Teacher.forward

    def counted(self: Teacher, images: Tensor):
        calls.append(len(images))
        return real(self, images)

    monkeypatch.setattr(Teacher, "forward", counted)
    return calls


def test_targets_are_what_the_live_teacher_says_of_clean_photos(folder: Path):
    teacher, bad = build(folder)
    expected = clean(folder, make_teacher())
    found = teacher.targets(batch_of(*range(48)))
    assert not bad and found.map is None and found.descriptors.dtype == torch.float32
    torch.testing.assert_close(found.descriptors, expected, rtol=2**-10, atol=1e-6)
    torch.testing.assert_close(found.descriptors.norm(dim=1), torch.ones(48))
    # In any order, and a photo twice.
    assert torch.equal(teacher.targets(batch_of(40, 3, 40)).descriptors, found.descriptors[[40, 3, 40]])


def test_rows_belong_to_the_views_of_a_training_batch(folder: Path):
    """Batches of the training set without augmentation, at the teacher's size: the live teacher says the same."""
    live = make_teacher()
    sources = [read_folder(folder), read_folder(folder)]  # numbered through: the second has photos 48 to 95
    data = PlacesDataset(sources, 2, "random", EvalTransform(live.preprocess), seed=0, min_size=live.preprocess.size)
    photos = ImagePaths(sources)
    teacher = CachedTeacher(make_teacher())
    TargetBuild(teacher, photos, photos.digest(), folder.parent / "cache").run(torch.device("cpu"))
    batch = collate_places([data[Draw(place, 3)] for place in (20, 3, 15)])
    found, expected = teacher.targets(batch).descriptors, live.targets(batch).descriptors
    torch.testing.assert_close(found, expected, rtol=2**-10, atol=1e-5)


def test_a_second_run_asks_nobody(folder: Path, asked: list[int]):
    first, _ = build(folder)
    assert sum(asked) == 48
    second, _ = build(folder)
    assert sum(asked) == 48
    assert torch.equal(
        first.targets(batch_of(*range(48))).descriptors, second.targets(batch_of(*range(48))).descriptors
    )


@pytest.mark.parametrize("pca", [None, 6])
def test_an_interrupted_build_goes_on(folder: Path, asked: list[int], monkeypatch: pytest.MonkeyPatch, pca):
    """Ctrl-C in each batch: all of them together describe each photo once, and the result is that of a whole build."""
    monkeypatch.setattr(build_module, "SAMPLE", 20)
    whole, _ = build(folder, pca=pca)
    one_go = [sum(asked), whole.targets(batch_of(*range(48))).descriptors]
    assert one_go[0] == 48
    (folder.parent / "cache").rename(folder.parent / "whole")
    if pca:  # the directions of a whole build; those of another one may point the other way
        (kept,) = (folder.parent / "whole").glob("*/whitening.pt")
        monkeypatch.setattr(build_module, "_fitted", lambda *args: build_module.load_whitening(kept))
    asked.clear()
    real = CachedTeacher.describe
    left = [1]

    def interrupted(self, images: Tensor, *rest):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, images, *rest)

    monkeypatch.setattr(CachedTeacher, "describe", interrupted)
    attempts = 0
    while True:
        left[0], attempts = 1, attempts + 1
        try:
            teacher, _ = build(folder, pca=pca, batch=10)
            break
        except KeyboardInterrupt:
            continue
    assert attempts == 5 and sum(asked) == 48
    torch.testing.assert_close(
        teacher.targets(batch_of(*range(48))).descriptors, one_go[1], rtol=2**-9, atol=1e-3 if pca else 1e-5
    )


def recode(folder: Path) -> None:
    path = sorted(folder.rglob("*.jpg"))[0]
    cv2.imwrite(str(path), cv2.imread(str(path)), [cv2.IMWRITE_JPEG_QUALITY, 50])


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: dict(teacher=make_teacher("b", seed=2)),
        lambda folder: dict(teacher=make_teacher(size=(48, 48))),
        lambda folder: dict(teacher=make_teacher(dtype=torch.bfloat16)),
        lambda folder: dict(pca=5),
        lambda folder: recode(folder) or {},
        lambda folder: sorted(folder.rglob("*.jpg"))[-1].unlink() or {},
        lambda folder: sorted(folder.rglob("*.jpg"))[5].rename(folder / "place01" / "zz.jpg") and {},
    ],
    ids=["teacher", "size", "precision", "pca", "photo", "fewer photos", "order"],
)
def test_a_stale_cache_is_not_used(folder: Path, asked: list[int], change: Callable):
    build(folder)
    asked.clear()
    teacher, _ = build(folder, **change(folder))
    assert sum(asked) >= 47
    assert teacher.rows is not None and len(list((folder.parent / "cache").glob("*/targets.json"))) == 2


def test_a_copy_elsewhere_is_the_same_set(folder: Path, asked: list[int]):
    build(folder)
    folder.rename(folder.with_name("moved"))
    build(folder.with_name("moved"))
    assert sum(asked) == 48


def test_a_damaged_cache_is_made_again(folder: Path, asked: list[int], caplog: pytest.LogCaptureFixture):
    teacher, _ = build(folder)
    expected = teacher.targets(batch_of(*range(48))).descriptors
    (file,) = (folder.parent / "cache").glob("*/targets.npy")
    data = bytearray(file.read_bytes())
    data[1000] ^= 4
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        again, _ = build(folder)
    assert "checksum" in caplog.text and sum(asked) == 96
    assert torch.equal(again.targets(batch_of(*range(48))).descriptors, expected)


def test_principal_components(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The whitened cosines of the sample's own descriptors; the sample is not kept, the directions are."""
    teacher, _ = build(folder, pca=6)
    assert teacher.shape.dim == 6
    found = teacher.targets(batch_of(*range(48))).descriptors
    rows = clean(folder, make_teacher()).double()
    _, _, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    scores = (rows - rows.mean(0)) @ directions[:6].T
    expected = F.normalize(scores / scores.std(0), dim=1).float()
    torch.testing.assert_close(found @ found.T, expected @ expected.T, rtol=0, atol=2e-2)
    (kept,) = (folder.parent / "cache").glob("*/whitening.pt")
    assert not list(kept.parent.glob("sample*"))
    whitened = build_module.load_whitening(kept)(rows.float())
    torch.testing.assert_close(whitened, found, rtol=0, atol=2e-2)
    kept.write_bytes(b"x")
    with pytest.raises(DataError, match="whitening.pt is damaged"):
        build_module.load_whitening(kept)


def test_more_components_than_there_are(folder: Path):
    with pytest.raises(ConfigError, match="distillation.teacher.pca=129: .* have 128 dimensions"):
        CachedTeacher(make_teacher(), 129)
    with pytest.raises(ConfigError, match="48 descriptors of 128 numbers give 47 at most"):
        build(folder, pca=48)
    with pytest.raises(ConfigError, match="has no digest"):
        CachedTeacher(make_teacher(""))


def test_bad_photos_have_no_target_and_are_never_drawn(folder: Path, caplog: pytest.LogCaptureFixture):
    bad = folder / "place02" / "1.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    sources = [read_folder(folder)]
    data = PlacesDataset(sources, 3, "random", lambda image, rng: image, seed=0)
    targets = TeacherTargets([CachedTeacher(make_teacher())], data, folder.parent / "cache", batch_size=7)
    trainer = type("Trainer", (), {"strategy": type("Strategy", (), {"root_device": torch.device("cpu")})})
    with caplog.at_level(logging.WARNING):
        targets.setup(trainer, None, "fit")
    assert data.leave_out == {9} and "1 of 48 training images have no target" in caplog.text
    # Even where it can be read by now.
    bad.write_bytes((folder / "place02" / "0.jpg").read_bytes())
    drawn = collate_places([data[Draw(2, epoch)] for epoch in range(8)])
    assert set(drawn.numbers.tolist()) == {8, 10, 11} and not drawn.bad
    norms = targets.teachers[0].targets(drawn).descriptors.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(24))


def test_too_many_bad_photos_end_it(folder: Path):
    for path in folder.rglob("1.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="12 of 48 training images cannot be read"):
        build(folder)


def test_the_network_is_let_go(folder: Path):
    network = make_teacher()
    held = weakref.ref(network.network)
    teacher = CachedTeacher(network)
    photos = ImagePaths([read_folder(folder)])
    TargetBuild(teacher, photos, photos.digest(), folder.parent / "cache").run(torch.device("cpu"))
    del network
    gc.collect()
    assert teacher.network is None and held() is None


def test_a_run_waits_for_another_one(folder: Path, asked: list[int], monkeypatch, caplog: pytest.LogCaptureFixture):
    """Two builds at once, one of them held up: each photo is described once."""
    monkeypatch.setattr(alone_module, "LOCK_PATIENCE", 0.05)
    begun, go_on = threading.Event(), threading.Event()
    real = CachedTeacher.describe

    def held_up(self, images: Tensor, *rest):
        begun.set()
        assert go_on.wait(20)
        return real(self, images, *rest)

    monkeypatch.setattr(CachedTeacher, "describe", held_up)
    first = threading.Thread(target=build, args=(folder,))
    first.start()
    assert begun.wait(20)
    acquired = FileLock.acquire
    tries = []

    def watched(self, *args, **options):
        tries.append(1)
        if len(tries) == 3:
            go_on.set()
        return acquired(self, *args, **options)

    monkeypatch.setattr(FileLock, "acquire", watched)
    with caplog.at_level(logging.INFO):
        build(folder)
    first.join()
    assert len(tries) >= 3 and sum(asked) == 48
    assert "waiting for it" in caplog.text
