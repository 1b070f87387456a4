"""Agreement with a teacher, by hand: first matches, Spearman's rank correlation, each image against the others."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.errors import DataError
from vpr.retrieval.agreement import agreement, rank_correlations
from vpr.retrieval.metrics import mean_interval
from vpr.retrieval.search import nearest_others


def at(*degrees: float) -> np.ndarray:
    """Return unit vectors (N, 2) float32; the nearer two angles, the larger their similarity."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("similarities", "expected"),
    [
        ([0.9, 0.8, 0.2, 0.1], 1),
        ([0.1, 0.2, 0.8, 0.9], -1),
        ([0.9, 0.8, 0.1, 0.2], 0.8),  # 1 - 6 (1 + 1) / (4 (16 - 1))
        ([0.1, 0.9, 0.8, 0.7], -0.2),  # ranks 4 1 2 3: 1 - 6 (9 + 1 + 1 + 1) / 60
        ([0.9, 0.5, 0.5, 0.1], 4.5 / np.sqrt(5 * 4.5)),  # ranks 1, 2.5, 2.5, 4: Pearson of ranks
        ([0.5, 0.5, 0.5, 0.5], 0),
    ],
)
def test_rank_correlation_by_hand(similarities: list[float], expected: float) -> None:
    assert rank_correlations(np.array([similarities], np.float32)) == pytest.approx([expected])


def test_agreement_by_hand() -> None:
    # Teacher: query 0 ranks 0 1 2 3, query 1 ranks 3 2 1 0. Student: 0 2 1 3 and 1 2 0 3.
    teacher = at(0, 20, 40, 60), at(0, 60)
    student = at(0, 40, 20, 63), at(0, 31)  # 31, 9, 11 and 32 away from query 1
    result = agreement(student, teacher, ranked=3)
    assert result.same.tolist() == [True, False] and result.teachers_first.tolist() == [0, 3]
    assert result.correlations == pytest.approx([0.5, -1])  # of 0 1 2: 1 - 6 * 2 / (3 * 8); of 3 2 1
    assert (result.ranked, result.database, result.first_match) == (3, 4, 0.5)
    assert result.rank_correlation == pytest.approx(result.correlations.mean())
    assert result.first_match_interval == pytest.approx((0.0945, 0.9055), abs=1e-4) and result.plain()["queries"] == 2


def test_images_between_the_teachers_first_change_nothing() -> None:
    teacher = at(0, 10, 20, 90, 91, 92), at(0)
    student = at(0, 40, 80, 2, 3, 4), at(0)
    assert agreement(student, teacher, ranked=3).correlations == pytest.approx([1])


def test_dimensions_and_number_types_may_differ() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(50, 16)).astype(np.float32)
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    student = np.concatenate([teacher, np.zeros((50, 8), np.float32)], axis=1).astype(np.float16)
    result = agreement((student[:40], student[40:]), (teacher[:40], teacher[40:]))
    assert result.ranked == 20 and result.first_match == 1 and result.rank_correlation > 0.99


def test_each_image_against_the_others_leaves_itself_out() -> None:
    # By the teacher 0 and 1 are each other's match, and 2 and 3; by the student 1 is nearer to 2.
    teacher, student = at(0, 10, 60, 75), at(0, 40, 60, 75)
    result = agreement(student, teacher)
    assert result.teachers_first.tolist() == [1, 0, 3, 2] and result.same.tolist() == [True, False, True, True]
    assert result.ranked == 3  # all others
    # Image 1: the teacher's order 0 2 3 is 40, 20 and 35 degrees away for the student: ranks 3 1 2.
    assert result.correlations == pytest.approx([1, -0.5, 1, 1])


def test_copies_of_an_image_do_not_hide_it_from_itself() -> None:
    found = nearest_others(at(30, 30, 30, 30, 50), 2)
    assert found.indices.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]
    assert nearest_others(at(0, 10), 3).indices.tolist() == [[1, -1, -1], [0, -1, -1]]


def test_of_a_panorama_the_nearest_cut_out_alone() -> None:
    sides = at(0, 5, 30, 40, 80), at(0)
    result = agreement(sides, sides, panoramas=np.array([7, 7, 8, 8, 9]))
    assert result.ranked == 3 and result.correlations == pytest.approx([1])


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((at(0, 1), at(0)[:0]), (at(0, 1), at(0)[:0]), "needs queries, and there are none"),
        ((at(0), at(0)), (at(0), at(0)), "there is 1 to be ranked: give a database of two images or more"),
        (at(0, 1), at(0, 1), "there is 1 to be ranked"),
        (at(0, 1, 2), at(0, 1), "must describe the same images: the student has 3 and 3 descriptors, the teacher 2"),
        ((at(0, 1), at(0)), at(0, 1), "must describe the same images"),
    ],
)
def test_too_few_or_other_images(student, teacher, message: str) -> None:
    with pytest.raises(DataError, match=message):
        agreement(student, teacher)


def test_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    low, high = mean_interval(values)
    assert low < values.mean() < high and (low, high) == mean_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)  # of a normal distribution
    assert mean_interval(np.full(3, 0.25)) == (0.25, 0.25)
