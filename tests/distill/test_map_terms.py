"""Terms on descriptors and feature maps of single images: their values derived again."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vpr.distill.teacher import Outputs, Shape
from vpr.distill.terms.attention import Attention
from vpr.distill.terms.descriptor import Descriptor
from vpr.distill.terms.feature import Feature
from vpr.errors import ConfigError

LABELS = torch.tensor([0, 1])
NONE = torch.zeros(2, 1)


def maps(*images: list[list[list[float]]], share: float = 1.0) -> Outputs:
    return Outputs(NONE, torch.tensor(images), share)


def test_descriptor_of_one_space_needs_no_projection():
    term = Descriptor(cosine=1.0, mse=10.0)
    term.connect("descriptor", Shape(2, None, "student"), [Shape(2, None, "teacher")])
    assert not list(term.parameters())
    student = Outputs(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    target = Outputs(torch.tensor([[0.0, 1.0], [0.6, 0.8]]))
    # cosine: (1 - 0 + 1 - 1) / 2; squared differences 1, 1, 0, 0, their mean 1/2.
    assert term(student, [target], LABELS).item() == pytest.approx(0.5 + 10 * 0.5)
    assert term(target, [target], LABELS).item() == pytest.approx(0, abs=1e-6)


def test_descriptor_projects_to_each_teachers_space():
    term = Descriptor()
    term.connect("descriptor", Shape(2, None, "student"), [Shape(3, None, "a"), Shape(2, None, "b")])
    assert [tuple(p.shape) for p in term.parameters()] == [(3, 2)]
    term.projections[0].weight.data = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    student = Outputs(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    first = Outputs(torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), share=0.25)
    second = Outputs(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), share=0.75)
    # Projected: (2, 0, 0) and (1.2, 0.8, 0).
    expected = 0.25 * (1 - (1 + 1.2 / math.hypot(1.2, 0.8)) / 2) + 0.75 * (1 - (0 + 0.8) / 2)
    assert term(student, [first, second], LABELS).item() == pytest.approx(expected)


def test_descriptor_projects_an_equal_length_when_asked():
    term = Descriptor(project=True)
    term.connect("descriptor", Shape(4, None, "student"), [Shape(4, None, "teacher")])
    assert isinstance(term.projections[0], nn.Linear)


def feature(normalise: bool) -> Feature:
    """One channel to two: 1 -> (1, 2)."""
    term = Feature(normalise=normalise)
    term.connect("feature", Shape(1, 1, "student"), [Shape(1, 2, "teacher")])
    projection = term.projections[0]
    projection.weight.data, projection.bias.data = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1), torch.zeros(2)
    return term


def test_feature_as_published():
    student = maps([[[1.0, 0.0]]], [[[2.0, 3.0]]])  # 1 channel, 1x2 cells
    target = maps([[[1.0, 1.0]], [[2.0, 0.0]]], [[[2.0, 3.0]], [[4.0, 6.0]]])
    # The first image's second cell is (0, 0) for (1, 0): of 8 squares one is 1.
    assert feature(False)(student, [target], LABELS).item() == pytest.approx(0.5 / 8)
    # Directions: only that cell differs, a zero vector from a unit one; of 4 cells.
    assert feature(True)(student, [target], LABELS).item() == pytest.approx(0.5 / 4)


def test_a_larger_map_of_the_teacher_comes_to_the_students_grid():
    student = maps([[[1.0, 3.0]]])
    target = maps([[[1.0, 1.0, 3.0, 3.0]] * 2, [[2.0, 2.0, 6.0, 6.0]] * 2])
    resized = torch.nn.functional.interpolate(target.map, (1, 2), mode="bilinear", antialias=True)
    expected = 0.5 * (resized[0] - torch.tensor([[[1.0, 3.0]], [[2.0, 6.0]]])).square().mean()
    assert expected > 0
    assert feature(False)(student, [target], LABELS).item() == pytest.approx(expected.item())


def test_attention():
    student = maps([[[1.0, 0.0]], [[-2.0, 1.0]]])  # Q = (5, 1)
    target = maps([[[3.0, 0.0]], [[0.0, -3.0]], [[0.0, 0.0]]])  # Q = (9, 9)
    q = (5 / math.sqrt(26), 1 / math.sqrt(26))
    expected = (q[0] - math.sqrt(0.5)) ** 2 + (q[1] - math.sqrt(0.5)) ** 2
    assert Attention()(student, [target], LABELS).item() == pytest.approx(expected)
    # Of two teachers, one like the student, only the other's share counts.
    both = [target._replace(share=0.25), student._replace(share=0.75)]
    assert Attention()(student, both, LABELS).item() == pytest.approx(0.25 * expected)


def test_attention_to_nothing_is_finite():
    blank = torch.zeros(2, 3, 2, 2, requires_grad=True)
    Attention()(Outputs(NONE, blank), [Outputs(NONE, torch.rand(2, 1, 2, 2))], LABELS).backward()
    assert blank.grad is not None and blank.grad.isfinite().all()


@pytest.mark.parametrize("term", [Feature(), Attention()], ids=["feature", "attention"])
def test_a_teacher_without_maps_is_named(term):
    with pytest.raises(ConfigError, match=r"distillation.terms.mine compares feature maps, and the teacher hub gives"):
        term.connect("mine", Shape(1, 1, "student"), [Shape(1, 1, "ours"), Shape(1, None, "hub")])
