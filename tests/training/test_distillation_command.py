"""Distillation as a user types it: a sweep over teachers and students, and two processes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.processes import run_script
from vpr import checkpoint
from vpr.data.formats.place_lists import read_folder
from vpr.data.image_paths import ImagePaths
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.teacher import Teacher
from vpr.models.describer import build_describer
from vpr.training.teacher_cache import TargetBuild

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints, with an equals sign in their names."""
    paths = []
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
        paths.append(tmp_path_factory.getbasetemp() / f"teacher={seed}.ckpt")
        checkpoint.save(paths[-1], build_describer(**parts, image={"size": [32, 32]}), parts)
    return paths


def train(photos: Path, *overrides: str) -> str:
    """Return what it says."""
    command = [
        *(str(REPO / "train.py"), "dataset=[places_folder,gardens_point]", "logger=none"),
        *(f"dataset.train.places_folder.root={photos}/train", "trainer.accelerator=cpu", "trainer.num_workers=0"),
        *(f"dataset.eval.gardens_point.root={photos}", "dataset.eval.gardens_point.tolerance=0", "image.size=[48,48]"),
        *("dataset.eval.gardens_point.database=database", "dataset.eval.gardens_point.queries=queries"),
        "dataset.eval.gardens_point.protocol={_target_: vpr.types.Protocol, id: tiny@0f, database: 12, queries: 12}",
        *("batch.places=5", "batch.images_per_place=2", "trainer.max_epochs=1", "backbone.weights=none", "agg=gem"),
        *overrides,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = run_script(command, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_sweep_over_teachers_and_students(photos: Path, tmp_path: Path, teachers: list[Path]):
    train(
        photos,
        *("-m", "distillation=similarity", f"distillation.teacher.ckpt={teachers[0]},{teachers[1]}"),
        *("backbone=mobilenet_v3_large,resnet18", f"hydra.sweep.dir={tmp_path}"),
    )
    pairs, names = set(), set()
    for path in tmp_path.glob("*/best.ckpt"):
        config = checkpoint.read(path)["config"]
        names.add(config["name"])
        pairs.add((config["distillation"]["teachers"][0]["digest"], config["backbone"]["_target_"].rpartition(".")[2]))
    digests = [checkpoint.digest(checkpoint.read(path)) for path in teachers]
    assert pairs == {(digest, student) for digest in digests for student in ("MobileNetV3", "ResNet")}
    students = ("mobilenet_v3_large-gem", "resnet18-gem")
    assert names == {f"teacher-{teacher}-to-{student}" for teacher in range(2) for student in students}


@pytest.mark.slow
def test_two_processes_distil(photos: Path, tmp_path: Path, teachers: list[Path]):
    """12 places in batches of 5, so ranks have different numbers of images."""
    said = train(
        photos,
        *("distillation=[similarity,descriptor,feature,wakd]", f"distillation.teacher.ckpt={teachers[0]}"),
        *("backbone=resnet18", "backbone.crop=[3,4]", "name=pair", f"paths.runs={tmp_path}"),
        *("trainer=ddp_cpu", "trainer.devices=2"),
    )
    assert re.search(r"tiny@0f R@1 [0-9.]+", said)
    state = torch.load(next(tmp_path.glob("pair/*/last.ckpt")), weights_only=True)["state_dict"]
    assert {name.split(".")[2] for name in state if name.startswith("distiller.")} == {"descriptor", "feature"}
    assert not [name for name in state if "teacher" in name]


@pytest.mark.slow
def test_two_processes_share_the_work_of_caching(photos: Path, tmp_path: Path, teachers: list[Path]):
    """48 photos in batches of 7; what they write is what one process writes, and a run of one process uses it."""
    by = ["distillation=[similarity,descriptor]", "distillation.cache=true", f"distillation.teacher.ckpt={teachers[0]}"]
    by += ["backbone=resnet18", "backbone.crop=[3,4]", "trainer.eval_batch_size=7", f"hydra.run.dir={tmp_path}/run"]
    pair = train(photos, *by, f"paths.runs={tmp_path}/pair", "trainer=ddp_cpu", "trainer.devices=2")
    assert pair.count("describes 48 of 48 images") == 1
    assert "describes" not in train(photos, *by, f"paths.runs={tmp_path}/pair")
    files = ImagePaths([read_folder(photos / "train")])
    alone = CachedTeacher(Teacher(checkpoint.load(teachers[0]), "alone", digest="alone"))
    TargetBuild(alone, files, files.digest(), tmp_path / "alone", batch_size=7).run(torch.device("cpu"))
    shared = np.load(next(tmp_path.glob("pair/teacher_targets/*/targets.npy")))
    assert shared.shape == (48, 256) and alone.rows is not None
    np.testing.assert_allclose(shared, alone.rows, rtol=2**-10, atol=1e-7)
