"""Every term in conf/distillation teaches the student and its projections, and leaves the teacher alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vpr.cli.compose import CONF
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Shape, Teacher
from vpr.distill.terms.base import Term
from vpr.models.describer import Describer
from vpr.types import Features, PlaceBatch

NAMES = sorted(path.stem for path in (CONF / "distillation").glob("*.yaml") if path.stem != "none")
PROJECTED = {"descriptor", "feature"}
# Terms on maps end before the aggregator.
ON_MAPS = {"feature", "attention"}

Make = Callable[..., Teacher]


def terms(*names: str) -> dict[str, Term]:
    return {k: v for n in names for k, v in instantiate(OmegaConf.load(CONF / f"distillation/{n}.yaml").terms).items()}


def connected(student: Describer, teachers: list[Teacher], *names: str, task_weight: float = 1.0) -> Distiller:
    distiller = Distiller(terms(*names), teachers, task_weight)
    distiller.connect(Shape(student.dim, student.backbone.spec.channels, "student"))
    return distiller


def values(student: Describer, distiller: Distiller, batch: PlaceBatch) -> dict[str, torch.Tensor]:
    features = student.features(student.normalise(batch.images))
    return distiller(features, student.aggregator(features), batch)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("several", [False, True], ids=["one teacher", "two teachers"])
def test_gradients(student: Describer, teacher: Make, batch: PlaceBatch, name: str, several: bool):
    teachers = [teacher(1, share=0.5), teacher(2, share=0.5)] if several else [teacher()]
    distiller = connected(student.train(), teachers, name)
    found = values(student, distiller, batch)
    assert list(found) == [name] and found[name].shape == () and found[name] > 0
    found[name].backward()
    projections = dict(distiller.named_parameters())
    assert bool(projections) == (name in PROJECTED)
    reached = dict((student.backbone if name in ON_MAPS else student).named_parameters())
    for parameter, value in {**reached, **projections}.items():
        assert value.requires_grad, parameter
        assert value.grad is not None and value.grad.isfinite().all() and value.grad.norm() > 0, parameter
    for one in teachers:
        assert all(p.grad is None for p in one.parameters())


@pytest.mark.parametrize("name", sorted(set(NAMES) - PROJECTED - {"rank"}))
def test_zero_for_a_student_that_equals_its_teacher(student: Describer, batch: PlaceBatch, name: str):
    distiller = connected(student.eval(), [Teacher(student, "itself")], name)
    assert values(student, distiller, batch)[name].item() == pytest.approx(0, abs=1e-6)


def test_the_total_weighs_terms_and_task(student: Describer, teacher: Make, batch: PlaceBatch):
    distiller = connected(student, [teacher()], "similarity", "wakd", task_weight=0.5)
    distiller.terms["similarity"].weight = 2.0
    found = values(student, distiller, batch)
    expected = 0.5 * 3.0 + 2 * found["similarity"] + 100 * found["wakd"]
    assert distiller.total(torch.tensor(3.0), found).item() == pytest.approx(expected.item())
    distiller.task_weight = 0.0
    assert distiller.total(torch.tensor(3.0), found).item() == pytest.approx(expected.item() - 1.5)


def test_without_terms_it_is_plain_training(student: Describer, batch: PlaceBatch):
    distiller = Distiller()
    assert values(student, distiller, batch) == {}
    assert distiller.total(torch.tensor(3.0), {}).item() == 3.0
    assert not list(distiller.parameters()) and not distiller.state_dict()


def test_teachers_are_no_part_of_it(student: Describer, teacher: Make):
    one = teacher()
    distiller = connected(student, [one], "descriptor").train()
    assert [name for name, _ in distiller.named_parameters()] == ["terms.descriptor.projections.0.weight"]
    assert list(distiller.state_dict()) == ["terms.descriptor.projections.0.weight"]
    assert not any(module is one for module in distiller.modules())
    assert not any(module.training for module in one.modules())
    distiller.teachers_to("meta")
    assert {p.device.type for p in one.parameters()} == {"meta"} and one.mean.device.type == "meta"


def test_terms_are_computed_in_float32_under_mixed_precision(student: Describer, teacher: Make, batch: PlaceBatch):
    distiller = connected(student.eval(), [teacher()], *NAMES)
    features = student.features(student.normalise(batch.images))
    descriptors = student.aggregator(features)
    exact = distiller(features, descriptors, batch)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = distiller(Features(features.map), descriptors, batch)
    assert {name: value.item() for name, value in mixed.items()} == {name: v.item() for name, v in exact.items()}
