"""Agreement of a model with its teacher: a measurement that needs no labels.

It says how much of the teacher's search a student has kept, not how good either is: a student that agrees in all is as
good as the teacher, and one that disagrees may be better or worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from vpr.errors import DataError
from vpr.retrieval import metrics
from vpr.retrieval.search import nearest, nearest_others, unit_rows

RANKED = 20
GATHER_BYTES = 64 << 20
Descriptors = np.ndarray | tuple[np.ndarray, np.ndarray]
"""Descriptors of (database, queries), (N, D) and (Q, D), or of images (N, D) of which each is compared with the others;
L2-normalised rows, float16 or float32, arrays or memmaps."""


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of a student's matches with a teacher's, by query, as `agreement` measures it.

    Attributes:
        same: (Q,) bool, whether the student's first match is the teacher's.
        correlations: (Q,) float64, -1..1, rank correlation of the teacher's first matches.
        teachers_first: (Q,) int64, database row of the teacher's first match.
        ranked: number of the teacher's first matches that are ranked.
        database: number of database images; where each image is compared with the others, of these.
        seed: of the bootstrap.
        teacher_name: name of the teacher, for tables.
    """

    same: np.ndarray
    correlations: np.ndarray
    teachers_first: np.ndarray
    ranked: int
    database: int
    seed: int = 0
    teacher_name: str = "teacher"

    @property
    def first_match(self) -> float:
        """Share of queries whose first match is the teacher's, 0..1."""
        return float(self.same.mean())

    @property
    def first_match_interval(self) -> tuple[float, float]:
        """Its 95 % bootstrap interval over queries."""
        low, high = metrics.interval(self.same[:, None], self.seed)[0].tolist()
        return low, high

    @property
    def rank_correlation(self) -> float:
        """Mean rank correlation over the queries, -1..1."""
        return float(self.correlations.mean())

    @property
    def rank_correlation_interval(self) -> tuple[float, float]:
        """Its 95 % bootstrap interval over queries."""
        return metrics.mean_interval(self.correlations, self.seed)

    def plain(self) -> dict[str, object]:
        """Return the numbers as plain containers, for metrics.json."""
        return {
            "teacher": self.teacher_name,
            "first_match": self.first_match,
            "first_match_interval": [round(bound, 6) for bound in self.first_match_interval],
            "rank_correlation": self.rank_correlation,
            "rank_correlation_interval": [round(bound, 6) for bound in self.rank_correlation_interval],
            "ranked": self.ranked,
            "queries": len(self.same),
            "database": self.database,
        }

    def __str__(self) -> str:
        first, ranks = self.first_match_interval, self.rank_correlation_interval
        return (
            f"agreement with {self.teacher_name}: the same first match in {100 * self.first_match:.1f} % "
            f"({100 * first[0]:.1f}–{100 * first[1]:.1f}) of {len(self.same):,} queries, rank correlation of its first "
            f"{self.ranked} {self.rank_correlation:.3f} ({ranks[0]:.3f}–{ranks[1]:.3f})"
        )


def agreement(
    student: Descriptors,
    teacher: Descriptors,
    *,
    panoramas: np.ndarray | None = None,
    own_rows: Sequence[np.ndarray] | None = None,
    ranked: int = RANKED,
    seed: int = 0,
    teacher_name: str = "teacher",
) -> Agreement:
    """Compare the matches of a student with those of a teacher for the same images; nobody need know the places.

    The teacher's matches of a query are its nearest database images; of one panorama the nearest cut-out alone.
    `same` says whether the nearest image of the student is the nearest one of the teacher. `correlations` are of the
    teacher's first `ranked` matches: Spearman's rank correlation (1904) of their order for the teacher, 1 to `ranked`,
    with their order by the student's similarity to the query, equal similarities sharing their mean rank. It is 1 where
    the student has them in the teacher's order, whatever other images it puts between them, -1 where in the reverse
    one, and 0 where it holds all for equally similar. In a database of fewer images all of them are ranked.

    Args:
        student, teacher: descriptors of the same images in the same order; dimensions may differ. An array (N, D)
            compares each image with the others, and leaves the image itself out.
        panoramas, own_rows: panoramas of the database images, and each query's own rows among these, as of
            `vpr.retrieval.search.nearest`.

    Raises:
        DataError: no images, other numbers of images, or fewer than two that could be ranked.
    """
    database, queries = (student, student) if isinstance(student, np.ndarray) else student
    sides = (teacher, teacher) if isinstance(teacher, np.ndarray) else teacher
    others = isinstance(teacher, np.ndarray)
    if isinstance(student, np.ndarray) != others or [len(side) for side in sides] != [len(database), len(queries)]:
        raise DataError(
            f"Student and teacher must describe the same images: the student has {len(database):,} and "
            f"{len(queries):,} descriptors, the teacher {len(sides[0]):,} and {len(sides[1]):,}."
        )
    if not len(queries):
        raise DataError("Agreement with a teacher needs queries, and there are none.")
    if others:
        of_teacher, of_student = nearest_others(sides[0], ranked), nearest_others(database, 1)
    else:
        of_teacher, of_student = (
            nearest(*sides, ranked, panoramas, own_rows),
            nearest(database, queries, 1, panoramas, own_rows),
        )
    rows = of_teacher.indices[:, (of_teacher.indices >= 0).all(axis=0)]
    if rows.shape[1] < 2:
        raise DataError(
            f"Agreement with a teacher ranks a query's nearest images, and there is {rows.shape[1]} to be ranked: "
            "give a database of two images or more (three where each is compared with the others)."
        )
    return Agreement(
        same=of_student.indices[:, 0] == rows[:, 0],
        correlations=rank_correlations(_similarities(database, queries, rows)),
        teachers_first=rows[:, 0],
        ranked=rows.shape[1],
        database=len(database),
        seed=seed,
        teacher_name=teacher_name,
    )


def rank_correlations(similarities: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of the columns' order 1, 2, ... with that of falling similarity, by row.

    Args:
        similarities: (Q, K), K of 2 or more; equal values share their mean rank.

    Returns:
        (Q,) float64, -1..1; 0 for a row of equal values.
    """
    ranks = rankdata(-similarities.astype(np.float64), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    order = np.arange(similarities.shape[1]) - (similarities.shape[1] - 1) / 2
    spread = np.sqrt((ranks**2).sum(axis=1) * (order**2).sum())
    return np.divide(ranks @ order, spread, out=np.zeros(len(ranks)), where=spread > 0)


def _similarities(database: np.ndarray, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the inner products of each query with its database rows `rows` (Q, K): (Q, K) float32."""
    products = np.empty(rows.shape, np.float32)
    step = max(GATHER_BYTES // (4 * rows.shape[1] * database.shape[1]), 1)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        vectors = unit_rows(database[part.ravel()]).reshape(*part.shape, -1)
        block = unit_rows(queries[start : start + step])
        products[start : start + step] = (vectors @ block[:, :, None])[:, :, 0]
    return products
