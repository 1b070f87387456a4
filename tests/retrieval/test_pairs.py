"""Similarities of chosen pairs, over tiles and stacked files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.retrieval import search
from vpr.retrieval.search import similarities, stacked, unit_rows


@pytest.mark.parametrize("tile", [(2048, 16_384), (3, 4), (1, 1)])
def test_same_as_the_whole_matrix(tile: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LEFT_ROWS", tile[0])
    monkeypatch.setattr(search, "RIGHT_ROWS", tile[1])
    rng = np.random.default_rng(0)
    left, first, second = (rng.standard_normal((rows, 6)).astype(np.float32) for rows in (7, 5, 9))
    np.save(tmp_path / "half.npy", second.astype(np.float16))
    second = np.load(tmp_path / "half.npy", mmap_mode="r")
    whole = left @ np.concatenate([first, unit_rows(second)]).T
    rows, columns = rng.integers(0, 7, 40), rng.integers(0, 14, 40)
    found = similarities([left], [first, second], rows, columns)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole[rows, columns], atol=1e-5)


def test_no_pairs() -> None:
    values = np.ones((3, 2), np.float32)
    assert similarities([values], [values], np.arange(0), np.arange(0)).shape == (0,)


def test_rows_are_counted_through() -> None:
    parts = stacked([np.zeros((3, 1), np.float16), np.ones((2, 1), np.float32)], 2)
    assert [(start, rows.ravel().tolist()) for start, rows in parts] == [(0, [0, 0]), (2, [0]), (3, [1, 1])]
