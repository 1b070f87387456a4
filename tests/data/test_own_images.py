"""Queries that are files of the database are no matches of themselves."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr.data.own_images import leave_out, own_rows
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval.agreement import agreement
from vpr.retrieval.evaluate import without_own
from vpr.retrieval.kreciprocal import KReciprocal
from vpr.retrieval.scoring import check_rerank, score
from vpr.retrieval.search import nearest
from vpr.types import Protocol

OWN = Protocol("own@25m")


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Files 0 and 1; `2` is a link to 0, `3` another name of 1, and `4` a copy of 0, which is a file of its own."""
    for name in ("0.jpg", "1.jpg", "4.jpg"):
        (tmp_path / name).write_text("x")
    (tmp_path / "2.jpg").symlink_to("0.jpg")
    os.link(tmp_path / "1.jpg", tmp_path / "3.jpg")
    return [tmp_path / f"{n}.jpg" for n in range(5)]


def test_the_same_path_or_file_is_found(images: list[Path]) -> None:
    absent = images[0].parent / "absent.jpg"
    database = [*images[:2], absent, images[1]]
    found = own_rows(RetrievalSet(OWN, database, [*images[2:], absent.parent / "." / "absent.jpg"], [np.empty(0)] * 4))
    assert found is not None and [rows.tolist() for rows in found] == [[0], [1, 3], [], [2]]
    assert own_rows(RetrievalSet(OWN, images[:2], images[4:], [np.empty(0)])) is None


def test_a_query_of_the_database_does_not_find_itself(images: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """Query 0 is database image 0, and its next neighbour, 1, is wrong: recall is that of query 1 alone."""
    database = np.eye(3, dtype=np.float32)
    queries = np.array([[1, 0, 0], [0, 0, 1]], np.float32)
    files = [images[0], images[1], images[3]], [images[2], images[4]]
    given = RetrievalSet(OWN, *files, [np.array([0, 2]), np.array([2])])
    with caplog.at_level(logging.WARNING):
        without = without_own(given)
    assert without.protocol.id == "own@25m[1q-in-db]" and "1 of the 2 queries of own@25m are images" in caplog.text
    assert [rows.tolist() for rows in without.positives] == [[2], [2]]
    assert score(database, queries, given, ks=[1]).recalls == {1: 1.0}
    result = score(database, queries, without, ks=[1, 3])
    assert result.recalls[1] == 0.5 and result.neighbours.indices.tolist() == [[1, 2, -1], [2, 0, 1]]
    assert without_own(without) is without
    smaller = without.without([1], [])
    assert smaller.own_rows is not None and [rows.tolist() for rows in smaller.own_rows] == [[0], []]
    with pytest.raises(ConfigError, match="it has queries from its database, and re-ranking"):
        check_rerank(KReciprocal(1, 1, 0.3), without)


def test_own_rows_leave_panoramas_and_agreement_right() -> None:
    rng = np.random.default_rng(0)
    database, queries = (torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 8)))).float().numpy()
                         for n in (12, 3))  # fmt: skip
    queries[0] = database[4]
    own = [np.array([4]), np.empty(0, np.int64), np.array([7, 8])]
    panoramas = np.arange(12) // 2
    found = nearest(database, queries, 3, panoramas, own).indices
    for query, rows in enumerate(own):
        kept = np.setdiff1d(np.arange(12), rows)
        assert found[query].tolist() == kept[nearest(database[kept], queries[query : query + 1], 3, panoramas[kept]).indices[0]].tolist()  # fmt: skip # noqa: E501
    same = agreement((database, queries), (database, queries), own_rows=own, ranked=3)
    assert same.teachers_first[0] != 4 and same.first_match == 1


def test_a_set_whose_queries_are_all_its_own_images_is_refused(images: list[Path]) -> None:
    given = RetrievalSet(OWN, images[:2], images[:2], [np.array([0]), np.array([1])])
    with pytest.raises(DataError, match="All 2 queries of own@25m are images of its database"):
        leave_out(given, own_rows(given) or [])
