"""Distilled runs: what is trained, what is kept, and that an interrupted one goes on as if nothing had been."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from vpr import checkpoint
from vpr.cli.compose import plain
from vpr.errors import CheckpointError, ConfigError
from vpr.models.describer import build_describer
from vpr.training.distillation import make_teachers
from vpr.training.module import TrainingModule
from vpr.training.run import TrainingRun, fit

TERMS = "distillation=[similarity,descriptor,feature,wakd]"
PROJECTIONS = {
    "distiller.terms.descriptor.projections.0.weight",
    "distiller.terms.feature.projections.0.weight",
    "distiller.terms.feature.projections.0.bias",
}

Tiny = Callable[[Sequence[str]], DictConfig]


def save_teacher(path: Path, seed: int) -> Path:
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
    loss = {"_target_": "vpr.losses.mined.MinedLoss"}  # as a checkpoint names it that is older than the module's move
    checkpoint.save(path, build_describer(**parts, image={"size": [64, 64]}), parts | {"loss": loss})
    return path


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of 256-d descriptors at 64x64 pixels."""
    return save_teacher(tmp_path_factory.mktemp("teacher") / "best.ckpt", 1)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainingModule]:
    """The modules that were trained."""
    seen: list[TrainingModule] = []
    real = TrainingRun.fit

    def watched(self):
        seen.append(self.module)
        return real(self)

    monkeypatch.setattr(TrainingRun, "fit", watched)
    return seen


def column(directory: Path, name: str) -> list[float]:
    with (directory / "log" / "csv" / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_a_distilled_run(tiny: Tiny, tmp_path: Path, ckpt: Path, trained: list[TrainingModule]):
    cfg = tiny([TERMS, f"distillation.teacher.ckpt={ckpt}", "trainer.max_epochs=2"])
    fit(cfg, tmp_path)
    (module,) = trained
    # Optimised is all that can be trained, projections included, and nothing of the teacher.
    optimised = {id(p) for group in module.trainer.optimizers[0].param_groups for p in group["params"]}
    assert optimised == {id(p) for p in module.parameters() if p.requires_grad}
    named = dict(module.named_parameters())
    assert {id(named[name]) for name in PROJECTIONS} <= optimised
    (teacher,) = module.distiller.teachers
    assert not optimised & {id(p) for p in teacher.parameters()}
    # Nothing of the teacher has changed, its BatchNorm statistics included.
    stored = checkpoint.read(ckpt)["weights"]
    assert all(torch.equal(value, stored[name]) for name, value in teacher.network.state_dict().items())
    assert not any(m.training for m in teacher.modules()) and module.distiller.training
    # last.ckpt goes on with the projections; best.ckpt is the student alone.
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert {name for name in state if not name.startswith("describer.")} == PROJECTIONS
    best = checkpoint.read(tmp_path / "best.ckpt")
    assert best["weights"].keys() == module.describer.state_dict().keys()
    assert not [name for name in best["weights"] if "teacher" in name or "projection" in name]
    # It says who taught it, and not where that file lies.
    (by,) = best["config"]["distillation"]["teachers"]
    assert by["digest"] == checkpoint.digest(checkpoint.read(ckpt)) and by["name"].endswith("/best.ckpt")
    assert str(ckpt) not in str(best["config"])
    # What is logged adds up.
    loss, task = column(tmp_path, "train/loss"), column(tmp_path, "train/task")
    weights = {"similarity": 1, "descriptor": 1, "feature": 1, "wakd": 100}
    values = {name: column(tmp_path, f"distill/{name}") for name in weights}
    assert len(loss) == 6
    for step in range(6):
        total = task[step] + sum(weight * values[name][step] for name, weight in weights.items())
        assert loss[step] == pytest.approx(total, rel=1e-4)


def test_a_reloaded_student_describes_as_the_trained_one(tiny: Tiny, tmp_path: Path, ckpt: Path, trained):
    fit(tiny([TERMS, f"distillation.teacher.ckpt={ckpt}", "trainer.max_epochs=1"]), tmp_path)
    student = trained[0].describer.eval()
    images = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8)
    for file in ("best.ckpt", "last.ckpt"):
        loaded = checkpoint.load(tmp_path / file)
        with torch.no_grad():
            assert torch.equal(loaded(loaded.normalise(images)), student(student.normalise(images)))


def test_the_student_begins_as_it_would_alone(tiny: Tiny, tmp_path: Path, ckpt: Path):
    short = ["trainer.max_epochs=1", "trainer.eval_every=0"]
    fit(tiny(short), tmp_path)
    alone = column(tmp_path, "train/loss")
    fit(tiny([*short, TERMS, f"distillation.teacher.ckpt={ckpt}"]), tmp_path)
    distilled = column(tmp_path, "train/task")
    assert distilled[0] == alone[0]
    assert distilled[1:] != alone[1:]


def test_the_similarity_term_alone_teaches(tiny: Tiny, tmp_path: Path, ckpt: Path):
    steady = ["augment=none", "trainer.eval_every=0", "schedule=constant", "optimizer.lr=1e-3"]
    options = ["trainer.max_epochs=8", "distillation.task_weight=0", f"distillation.teacher.ckpt={ckpt}"]
    fit(tiny(["distillation=similarity", *steady, *options]), tmp_path)
    values = column(tmp_path, "distill/similarity")
    assert column(tmp_path, "train/loss") == pytest.approx(values)
    assert sum(values[-3:]) < 0.6 * sum(values[:3])


@pytest.mark.parametrize("choice", ["distillation=similarity", TERMS], ids=["similarity", "several terms"])
def test_an_interrupted_run_is_the_same_run(tiny: Tiny, tmp_path: Path, ckpt: Path, trained, interrupted_at, choice):
    options = [choice, f"distillation.teacher.ckpt={ckpt}"]
    fit(tiny(options), tmp_path / "straight")
    runs = tmp_path / "runs" / "tiny"
    with interrupted_at(4):
        fit(tiny(options), runs / "first")
    fit(tiny([*options, "ckpt_path=last"]), runs / "second")
    straight, _, resumed = (module.state_dict() for module in trained)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())


def test_only_with_the_same_teacher_and_terms(tiny: Tiny, tmp_path: Path, ckpt: Path):
    by = ["trainer.max_epochs=1", "trainer.eval_every=0", f"distillation.teacher.ckpt={ckpt}"]
    fit(tiny([*by, "distillation=similarity"]), tmp_path / "runs" / "tiny" / "first")
    with pytest.raises(ConfigError, match=r"a run with distillation.terms=\{'similarity'"):
        fit(tiny([*by, "distillation=rkd", "ckpt_path=last"]), tmp_path / "second")
    other = save_teacher(tmp_path / "other.ckpt", 2)
    with pytest.raises(ConfigError, match="a run with distillation.teachers"):
        fit(
            tiny([*by[:2], f"distillation.teacher.ckpt={other}", "distillation=similarity", "ckpt_path=last"]),
            tmp_path / "second",
        )


def test_several_teachers(tiny: Tiny, tmp_path: Path, ckpt: Path, trained):
    other = save_teacher(tmp_path / "other.ckpt", 2)
    options = [f"distillation.teacher.ckpt=[{ckpt},{other}]", "distillation.teacher.share=[3,1]"]
    fit(tiny([TERMS, *options, "trainer.max_epochs=1"]), tmp_path)
    assert [(t.name, t.share) for t in trained[0].distiller.teachers] == [(str(ckpt), 0.75), (str(other), 0.25)]
    assert len(trained[0].distiller.terms["descriptor"].projections) == 2


def test_a_network_with_the_weights_that_it_comes_with_teaches(tiny: Tiny):
    cfg = tiny(
        [
            *("distillation=similarity", "backbone@distillation.teacher.backbone=timm", "image.mean=[0.1,0.2,0.3]"),
            *("distillation.teacher.backbone.name=test_resnet.r160_in1k", "distillation.teacher.backbone.weights=none"),
            "distillation.teacher.size=[96,96]",
        ]
    )
    (teacher,) = make_teachers(plain(cfg.distillation.teacher), plain(cfg.image), "cpu")
    assert teacher.name == "test_resnet.r160_in1k" and len(teacher.digest) == 64
    assert teacher.preprocess.size == (96, 96) and teacher.preprocess.mean == teacher.network.backbone.mean
    assert teacher(torch.zeros(2, 3, 48, 48, dtype=torch.uint8)).descriptors.shape == (2, teacher.shape.dim)


def test_a_teacher_that_is_not_there_ends_the_run_before_data_is_read(tiny: Tiny, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("vpr.training.supervision.training_places", lambda dataset: pytest.fail("data was read"))
    with pytest.raises(CheckpointError, match="nowhere.ckpt: there is no such file"):
        fit(tiny(["distillation=similarity", "distillation.teacher.ckpt=nowhere.ckpt"]), tmp_path)
