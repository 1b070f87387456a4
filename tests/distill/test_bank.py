"""Terms with a bank of cached descriptors: values derived by hand, draws, and gradients."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from vpr.distill.bank import Bank, BankSampler
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Outputs, Shape
from vpr.distill.terms.descriptor import Descriptor
from vpr.distill.terms.rank import Rank
from vpr.distill.terms.rkd import RKD
from vpr.distill.terms.similarity import Similarity
from vpr.errors import ConfigError

STUDENT, TEACHER, BANK = [10, 60], [0, 90], [0, 30, 90, 200]
SAME = torch.tensor([[True, False, False, False], [False, False, True, False]])
LABELS = torch.arange(2)


def unit(degrees: list[float]) -> Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1)


def cos(a: float, b: float) -> float:
    return math.cos(math.radians(a - b))


def softmax(values: list[float]) -> list[float]:
    total = sum(map(math.exp, values))
    return [math.exp(v) / total for v in values]


def connected(term, dim: int = 2):
    term.has_bank = True
    term.connect("term", Shape(dim, None, "student"), [Shape(2, None, "teacher")])
    return term.double()


def value(term, student: list[float] = STUDENT) -> float:
    bank = Bank([unit(BANK)], SAME)
    return term(Outputs(unit(student)), [Outputs(unit(TEACHER))], LABELS, bank).item()


def others(i: int) -> list[float]:
    return [angle for j, angle in enumerate(BANK) if not SAME[i, j]]


def test_similarity_to_the_images_of_the_bank() -> None:
    expected = 0.0
    for s, t, i in zip(STUDENT, TEACHER, range(2), strict=True):
        p = softmax([cos(t, b) / 0.5 for b in others(i)])
        q = softmax([cos(s, b) / 0.5 for b in others(i)])
        expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    assert value(connected(Similarity(temperature=0.5))) == pytest.approx(expected, rel=1e-9)
    assert value(connected(Similarity(temperature=0.05)), TEACHER) == pytest.approx(0, abs=1e-12)


def test_rank_of_the_images_of_the_bank() -> None:
    expected = 0.0
    for s, t, i in zip(STUDENT, TEACHER, range(2), strict=True):
        scores = [cos(s, b) / 0.5 for b in sorted(others(i), key=lambda b, t=t: -cos(t, b))]
        for k in range(3):
            expected += math.log(sum(map(math.exp, scores[k:]))) - scores[k]
    # Each row has a fourth place, the image itself, that costs nothing.
    assert value(connected(Rank(temperature=0.5))) == pytest.approx(expected / 8, rel=1e-9)


def test_descriptor_is_told_from_those_of_the_bank() -> None:
    expected = 0.0
    for s, t, i in zip(STUDENT, TEACHER, range(2), strict=True):
        own = math.exp(cos(s, t) / 0.5)
        expected += -math.log(own / (own + sum(math.exp(cos(s, b) / 0.5) for b in others(i)))) / 2
    term = connected(Descriptor(cosine=0, contrast=1, temperature=0.5))
    assert value(term) == pytest.approx(expected, rel=1e-9)
    both = connected(Descriptor(cosine=1, contrast=2, temperature=0.5))
    cosines = sum(1 - cos(s, t) for s, t in zip(STUDENT, TEACHER, strict=True)) / 2
    assert value(both) == pytest.approx(2 * expected + cosines, rel=1e-9)


@pytest.mark.parametrize("term", [Similarity(), Rank(), Descriptor(contrast=1.0)], ids=["similarity", "rank", "desc"])
def test_a_student_of_other_dimensions_is_brought_into_the_space_of_the_teacher(term) -> None:
    connected(term, dim=3)
    student = torch.nn.functional.normalize(torch.randn(2, 3, dtype=torch.float64), dim=1).requires_grad_()
    term(Outputs(student), [Outputs(unit(TEACHER))], LABELS, Bank([unit(BANK)], SAME)).backward()
    (projection,) = term.projections
    assert student.grad is not None and student.grad.norm() > 0
    assert projection.weight.grad.norm() > 0 and torch.isfinite(projection.weight.grad).all()


def test_gradients_are_those_of_small_steps() -> None:
    bank = Bank([unit(BANK)], SAME)
    for term in (Similarity(temperature=0.5), Rank(temperature=0.5), Descriptor(contrast=1.0, temperature=0.5)):
        connected(term)

        def loss(x: Tensor, term=term) -> Tensor:
            return term(Outputs(x), [Outputs(unit(TEACHER))], LABELS, bank)

        assert torch.autograd.gradcheck(loss, (unit(STUDENT).requires_grad_(),))


def teacher(rows: np.ndarray, bad: frozenset[int] = frozenset()) -> SimpleNamespace:
    return SimpleNamespace(rows=rows, bad=bad)


@pytest.fixture
def rows() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float16)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_a_draw_follows_from_seed_and_step_alone_and_has_no_image_without_a_target(rows: np.ndarray) -> None:
    numbers = torch.tensor([3, 7])
    sampler, again = BankSampler(6, seed=1), BankSampler(6, seed=1)
    drawn = {}
    for step in range(40):
        bank = sampler([teacher(rows, frozenset({5}))], numbers, step)
        which = [int(np.argmin(np.abs(rows - d.numpy()).sum(1))) for d in bank.descriptors[0]]
        assert len(set(which)) == 6 and 5 not in which
        assert bank.same.tolist() == [[j == i for j in which] for i in (3, 7)]
        drawn[step] = which
    assert len(set(map(tuple, drawn.values()))) > 30  # anew each time
    assert set().union(*drawn.values()) == set(range(20)) - {5}
    late = again([teacher(rows, frozenset({5}))], numbers, 17)
    assert torch.equal(late.descriptors[0], sampler([teacher(rows, frozenset({5}))], numbers, 17).descriptors[0])


@pytest.mark.parametrize("size", [None, 20, 1000])
def test_the_whole_bank_is_read_once(rows: np.ndarray, size: int | None) -> None:
    sampler = BankSampler(size)
    first = sampler([teacher(rows), teacher(rows[:, :3])], torch.tensor([19]), 0)
    second = sampler([teacher(rows), teacher(rows[:, :3])], torch.tensor([0]), 1)
    assert first.descriptors[0] is second.descriptors[0]
    assert [tuple(d.shape) for d in first.descriptors] == [(20, 4), (20, 3)]
    torch.testing.assert_close(first.descriptors[1].norm(dim=1), torch.ones(20))
    assert first.same.nonzero().tolist() == [[0, 19]] and second.same.nonzero().tolist() == [[0, 0]]


def test_a_bank_that_no_term_looks_at() -> None:
    with pytest.raises(ConfigError, match="rkd compares nothing with a bank"):
        Distiller({"rkd": RKD()}, bank=BankSampler(4)).connect(Shape(2, None, "student"))


def test_a_contrast_without_a_bank() -> None:
    with pytest.raises(ConfigError, match="contrast=1 compares with a bank, and there is none"):
        Distiller({"d": Descriptor(contrast=1.0)}).connect(Shape(2, None, "student"))
