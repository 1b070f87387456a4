"""Descriptors kept as float16 find what those in float32 find, also where cosines lie close together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr.retrieval.agreement import agreement
from vpr.retrieval.search import nearest, similarities, unit_rows


def close(count: int, seed: int, dim: int = 112) -> np.ndarray:
    """Return positive descriptors whose cosines are near 0.99, as those of GeM on small networks are."""
    rng = np.random.default_rng(seed)
    common = np.linspace(0.5, 1.5, dim)
    rows = common + rng.normal(scale=0.1, size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_first_matches_are_those_of_float32(tmp_path: Path) -> None:
    database, queries = close(2000, 0), close(400, 1)
    assert 0.98 < (database[:50] @ queries.T).mean() < 0.995
    np.save(tmp_path / "d.npy", database.astype(np.float16))
    mapped = np.load(tmp_path / "d.npy", mmap_mode="r")
    exact = nearest(database, queries, 1).indices
    plain = (database.astype(np.float16).astype(np.float32) @ queries.T).argmax(0)
    changed = (nearest(mapped, queries.astype(np.float16), 1).indices != exact).sum()
    assert changed <= 5 and (plain != exact[:, 0]).sum() >= 3 * changed
    pairs = similarities([queries], [mapped], np.arange(400), exact[:, 0])
    np.testing.assert_allclose(pairs, (queries * database[exact[:, 0]]).sum(1), atol=2e-5)
    assert agreement((mapped, queries), (database, queries)).first_match >= 0.98


def test_rows_of_unit_length_again_and_zeros_as_they_are() -> None:
    rows = unit_rows(close(9, 2).astype(np.float16))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    assert not unit_rows(np.zeros((2, 3), np.float16)).any()
    single = np.full((1, 3), 2, np.float32)
    assert np.array_equal(unit_rows(single), single)  # float32 is taken as it is
