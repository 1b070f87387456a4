"""A whole run on tuples: what it leaves behind, that it learns, and that an interrupted one goes on exactly."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException

from vpr import checkpoint
from vpr.distill.terms.wakd import WAKD
from vpr.errors import ConfigError
from vpr.training.run import fit


def test_a_run_on_tuples_leaves_a_usable_best_checkpoint(tiny_tuples, tmp_path: Path, steps):
    score = fit(tiny_tuples(), tmp_path)
    assert checkpoint.read(tmp_path / "best.ckpt")["metrics"]["tiny@0f"]["R@1"] == score
    assert len(steps) == 3 * 6
    for epoch in range(3):
        photos = [photo for batch, _ in steps[6 * epoch : 6 * epoch + 6] for photo in batch]
        queries = photos[::4]
        assert sorted(queries) == list(range(24)), "each query once an epoch"
    for query, positive, *negatives in torch.tensor([p for batch, _ in steps for p in batch]).view(-1, 4).tolist():
        # two queries and two database images of each of 12 places; the database is counted after the 24 queries
        assert (positive - 24) // 2 == query // 2
        assert query // 2 not in [(negative - 24) // 2 for negative in negatives]
        assert len(set(negatives)) == 2


def test_a_run_ends_its_loader_processes(tiny_tuples, tmp_path: Path):
    fit(tiny_tuples(["trainer.max_epochs=1", "trainer.num_workers=1", "trainer.eval_every=0"]), tmp_path)
    assert not multiprocessing.active_children(), "Python would wait for them for ever, as they ignore SIGTERM"


@pytest.mark.slow
def test_training_on_tuples_lowers_the_loss(tiny_tuples, tmp_path: Path, steps):
    plain = ["augment=none", "trainer.eval_every=0", "schedule=constant", "optimizer.lr=1e-3"]
    fit(tiny_tuples([*plain, "trainer.max_epochs=6", "supervision.mining.difficult=1"]), tmp_path)
    losses = [loss for _, loss in steps]
    assert sum(losses[-6:]) < 0.6 * sum(losses[:6])
    assert {len(photos) for photos, _ in steps} == {4 * 5}, "query, positive, 2 negatives, a difficult positive"


@pytest.mark.parametrize("loss", ["sare_joint", "triplet_tuples"])
def test_other_losses_and_a_part_of_the_gallery(tiny_tuples, tmp_path: Path, steps, loss: str):
    fit(tiny_tuples([f"loss={loss}", "supervision.refresh_gallery=6", "trainer.max_epochs=1"]), tmp_path)
    assert len(steps) == 6


def test_overfitting_repeats_the_same_tuples(tiny_tuples, tmp_path: Path, steps):
    fit(tiny_tuples(["+trainer.extra.overfit_batches=2", "trainer.eval_every=0"]), tmp_path)
    photos = [photos for photos, _ in steps]
    assert len(photos) == 6
    assert photos[0:2] == photos[2:4] == photos[4:6] and photos[0] != photos[1]


@pytest.mark.slow
def test_a_student_of_tuples_learns_from_a_teacher(tiny_tuples, tmp_path: Path, monkeypatch, caplog):
    images = []
    forward = WAKD.forward

    def recorded(self, student, teachers, labels):
        images.append((len(student.descriptors), len(student.map), len(teachers[0].map)))
        return forward(self, student, teachers, labels)

    monkeypatch.setattr(WAKD, "forward", recorded)
    short = ["trainer.max_epochs=1", "trainer.eval_every=0", "supervision.mining.difficult=1"]
    fit(tiny_tuples(short), tmp_path / "teacher")
    taught = [*short, f"distillation.teacher.ckpt={tmp_path}/teacher/best.ckpt"]
    fit(tiny_tuples([*taught, "distillation=[wakd,attention,similarity]"]), tmp_path / "student")
    assert images == [(20, 20, 20)] * 6, "all of 4 tuples of 5"
    metrics = (tmp_path / "log" / "csv" / "metrics.csv").read_text()
    for term in ("wakd", "attention", "similarity"):
        assert f"distill/{term}" in metrics.splitlines()[0]
    with caplog.at_level("INFO"):
        fit(tiny_tuples([*taught, "distillation=similarity", "distillation.cache=true"]), tmp_path / "cached")
    assert "describes 48 of 48 images" in caplog.text


def test_places_and_tuples_do_not_mix(tiny, tiny_tuples, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"Type loss=sare_independent, .* or supervision=places"):
        fit(tiny_tuples(["loss=multi_similarity"]), tmp_path)
    with pytest.raises(ConfigError, match=r"Type loss=multi_similarity .* or supervision=tuples"):
        fit(tiny(["loss=sare_joint"]), tmp_path)
    fit(tiny(["trainer.max_epochs=1"]), tmp_path / "runs" / "tiny" / "places")
    teacher = f"distillation.teacher.ckpt={tmp_path}/runs/tiny/places/best.ckpt"
    with pytest.raises(ConfigError, match="distillation: logit asks to which place"):
        fit(tiny_tuples(["distillation=logit", teacher]), tmp_path)
    with pytest.raises(InstantiationException, match="supervision.reads=eval: tuples are in the part `weak`"):
        fit(tiny_tuples(["supervision.reads=eval"]), tmp_path)
    with pytest.raises(ConfigError, match="is of a run with supervision="):
        fit(tiny_tuples(["ckpt_path=last"]), tmp_path / "second")
