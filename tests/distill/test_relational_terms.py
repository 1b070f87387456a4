"""Terms that compare relations between images: their values derived again, number by number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vpr.distill.teacher import Outputs
from vpr.distill.terms.logit import Logit
from vpr.distill.terms.rank import Rank
from vpr.distill.terms.rkd import RKD, cosines
from vpr.distill.terms.similarity import Similarity

LABELS = torch.tensor([0, 0, 1, 1])
STUDENT, TEACHER, OTHER = [0, 60, 180, 200], [0, 20, 170, 260], [0, 90, 95, 300]


def circle(degrees: list[float], share: float = 1.0) -> Outputs:
    """Unit vectors in the plane at these angles."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return Outputs(torch.stack([angles.cos(), angles.sin()], 1), share=share)


def cos(degrees: list[float], i: int, j: int) -> float:
    return math.cos(math.radians(degrees[i] - degrees[j]))


def softmax(values: list[float]) -> list[float]:
    total = sum(map(math.exp, values))
    return [math.exp(v) / total for v in values]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def others(i: int) -> list[int]:
    return [j for j in range(4) if j != i]


def test_similarity():
    expected = 0.0
    for i in range(4):
        rows = [softmax([cos(d, i, j) / 0.5 for j in others(i)]) for d in (TEACHER, STUDENT)]
        expected += kl(*rows) / 4
    value = Similarity(temperature=0.5)(circle(STUDENT), [circle(TEACHER)], LABELS)
    assert value.item() == pytest.approx(expected, rel=1e-9)


def test_similarity_to_several_teachers_is_to_the_mean_of_their_matrices():
    expected = 0.0
    for i in range(4):
        mean = [(0.25 * cos(TEACHER, i, j) + 0.75 * cos(OTHER, i, j)) / 0.5 for j in others(i)]
        expected += kl(softmax(mean), softmax([cos(STUDENT, i, j) / 0.5 for j in others(i)])) / 4
    value = Similarity(temperature=0.5)(circle(STUDENT), [circle(TEACHER, 0.25), circle(OTHER, 0.75)], LABELS)
    assert value.item() == pytest.approx(expected, rel=1e-9)


def huber(x: float) -> float:
    return 0.5 * x * x if abs(x) < 1 else abs(x) - 0.5


def chord(degrees: list[float], i: int, j: int) -> float:
    return 2 * abs(math.sin(math.radians(degrees[i] - degrees[j]) / 2))


def angle(degrees: list[float], i: int, j: int, k: int) -> float:
    """The inscribed angle at j by the law of cosines."""
    a, b, c = chord(degrees, i, j), chord(degrees, k, j), chord(degrees, i, k)
    return (a * a + b * b - c * c) / (2 * a * b)


def test_rkd():
    pairs = [(i, j) for i in range(4) for j in others(i)]
    means = {id(d): sum(chord(d, i, j) for i, j in pairs) / len(pairs) for d in (STUDENT, TEACHER)}
    distance = sum(
        huber(chord(STUDENT, i, j) / means[id(STUDENT)] - chord(TEACHER, i, j) / means[id(TEACHER)]) for i, j in pairs
    ) / len(pairs)
    triplets = [(i, j, k) for j in range(4) for i in others(j) for k in others(j) if i != k]
    angles = sum(huber(angle(STUDENT, *t) - angle(TEACHER, *t)) for t in triplets) / len(triplets)
    student, teachers = circle(STUDENT), [circle(TEACHER)]
    assert RKD(angle=0)(student, teachers, LABELS).item() == pytest.approx(distance, rel=1e-9)
    assert RKD()(student, teachers, LABELS).item() == pytest.approx(distance + 2 * angles, rel=1e-9)


def test_rkd_of_several_blocks_of_images(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    student, target = (torch.nn.functional.normalize(torch.randn(9, 5, generator=generator)) for _ in range(2))
    whole = RKD(distance=0)(Outputs(student), [Outputs(target)], LABELS)
    monkeypatch.setattr("vpr.distill.terms.rkd.BLOCK", 4)
    assert RKD(distance=0)(Outputs(student), [Outputs(target)], LABELS).item() == pytest.approx(whole.item(), rel=1e-6)


def test_images_that_agree_have_no_angle_but_finite_gradients():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    assert cosines(rows @ rows.T, torch.arange(3))[0, 1, 2].abs() < 1e-3
    RKD()(Outputs(rows), [Outputs(torch.eye(3)[:, :2])], LABELS[:3]).backward()
    assert rows.grad is not None and rows.grad.isfinite().all()


def test_rank():
    expected, first = 0.0, 0.0
    for i in range(4):
        order = sorted(others(i), key=lambda j: -cos(TEACHER, i, j))
        scores = [cos(STUDENT, i, j) / 0.5 for j in order]
        lost = [math.log(sum(map(math.exp, scores[k:]))) - scores[k] for k in range(3)]
        expected += sum(lost) / 12
        first += lost[0] / 4
    student, teachers = circle(STUDENT), [circle(TEACHER)]
    assert Rank(temperature=0.5)(student, teachers, LABELS).item() == pytest.approx(expected, rel=1e-9)
    assert Rank(temperature=0.5, top=1)(student, teachers, LABELS).item() == pytest.approx(first, rel=1e-9)


def test_rank_falls_where_the_student_orders_as_the_teacher():
    alike = Rank()(circle(TEACHER), [circle(TEACHER)], LABELS)
    assert alike < Rank()(circle(OTHER), [circle(TEACHER)], LABELS)


def test_logit():
    def logits(d: list[float]) -> list[list[float]]:
        # The sum of two unit vectors points to the middle of their angles.
        middles = [(d[0] + d[1]) / 2, (d[2] + d[3]) / 2]
        return [[math.cos(math.radians(a - m)) / 0.5 for m in middles] for a in d]

    student, target = [0, 60, 180, 200], [0, 20, 170, 260]
    expected = sum(kl(softmax(t), softmax(s)) for s, t in zip(logits(student), logits(target), strict=True)) / 4
    # Places are counted by what they are, not by their numbers.
    value = Logit(temperature=0.5)(circle(student), [circle(target)], torch.tensor([7, 7, 2, 2]))
    assert value.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("term", [Similarity(), RKD(), Logit()], ids=lambda t: type(t).__name__)
def test_zero_and_without_gradient_for_a_student_that_equals_its_teacher(term):
    rows = circle(STUDENT).descriptors.requires_grad_()
    value: Tensor = term(Outputs(rows), [circle(STUDENT, 0.3), circle(STUDENT, 0.7)], LABELS)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert rows.grad is not None and rows.grad.abs().max() < 1e-9
