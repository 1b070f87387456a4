"""A projection that stays: the student describes in its teacher's space."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Shape, Teacher
from vpr.distill.terms.descriptor import Descriptor
from vpr.distill.terms.similarity import Similarity
from vpr.errors import ConfigError
from vpr.models.aggregators.projected import Projected
from vpr.models.describer import Describer, build_describer
from vpr.training.distillation import Distillation
from vpr.types import PlaceBatch

SMALL, LARGE = Shape(16, None, "student"), Shape(256, None, "teacher")


@pytest.mark.parametrize(
    ("options", "student", "kept"),
    [
        ({"keep": True}, SMALL, 256),
        ({"keep": True}, LARGE, None),  # it describes in the teacher's space as it is
        ({"keep": True, "project": True}, LARGE, 256),
        ({"project": True}, SMALL, None),
    ],
)
def test_when_there_is_one(options: dict[str, bool], student: Shape, kept: int | None) -> None:
    assert Descriptor(**options).kept("descriptor", student, [LARGE, LARGE]) == kept


def test_teachers_of_different_lengths_share_none() -> None:
    teachers = [LARGE, Shape(512, None, "other")]
    with pytest.raises(ConfigError, match=r"terms.mine.keep=true .* \(teacher 256, other 512\)"):
        Descriptor(keep=True).kept("mine", SMALL, teachers)


def test_it_is_the_students_and_no_longer_the_terms(student: Describer, teacher: Callable[..., Teacher]) -> None:
    agg = {"_target_": "vpr.models.aggregators.gem.GeM"}
    before = {name: value.clone() for name, value in student.state_dict().items()}
    distiller = Distiller({"similarity": Similarity(), "descriptor": Descriptor(keep=True, project=True)}, [teacher()])
    distillation = Distillation({}, distiller, seed=3)
    node = distillation.keep_projection(student, agg)
    distillation.connect(student)
    assert (node["agg"], node["dim"], student.dim) == (agg, 256, 256)
    assert not list(distiller.parameters())
    # What was there is as it was, and the rest follows from the seed.
    after = {name.replace("aggregator.aggregator", "aggregator"): v for name, v in student.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    torch.manual_seed(3)
    assert isinstance(student.aggregator, Projected)
    assert torch.equal(student.aggregator.projection.weight, torch.nn.Linear(16, 256, bias=False).weight)


def test_the_term_teaches_it(student: Describer, teacher: Callable[..., Teacher], batch: PlaceBatch) -> None:
    distiller = Distiller({"descriptor": Descriptor(keep=True)}, [teacher()])
    distillation = Distillation({}, distiller)
    distillation.keep_projection(student, {})
    distillation.connect(student)
    features = student.features(student.normalise(batch.images))
    descriptors = student.aggregator(features)
    values = distiller(features, descriptors, batch)
    target = distiller.teachers[0](batch.images).descriptors
    assert values["descriptor"].item() == pytest.approx(1 - (descriptors * target).sum(1).mean().item(), abs=1e-6)
    values["descriptor"].backward()
    assert student.aggregator.projection.weight.grad.abs().max() > 0


def test_no_such_term_changes_nothing(student: Describer, teacher: Callable[..., Teacher]) -> None:
    agg, aggregator = {"_target_": "x"}, student.aggregator
    for distiller in (Distiller(), Distiller({"descriptor": Descriptor()}, [teacher()])):
        assert Distillation({}, distiller).keep_projection(student, agg) is agg and student.aggregator is aggregator


def test_the_node_builds_the_student_again(teacher: Callable[..., Teacher]) -> None:
    backbone = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}
    parts = {"backbone": backbone, "agg": {"_target_": "vpr.models.aggregators.gem.GeM"}, "image": {"size": [48, 48]}}
    student = build_describer(**parts)
    distiller = Distiller({"d": Descriptor(keep=True)}, [teacher()])
    node = Distillation({}, distiller).keep_projection(student, parts["agg"])
    again = build_describer(**{**parts, "agg": node})
    assert again.state_dict().keys() == student.state_dict().keys()
    again.load_state_dict(student.state_dict())
