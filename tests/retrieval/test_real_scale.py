"""The real ground truth of Tokyo 24/7 and millions of positions, without images; benchmarks/real_scale.py has times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate

from vpr.cli.compose import compose
from vpr.data.retrieval_set import positives_within
from vpr.retrieval.scoring import score


@pytest.mark.slow
def test_a_wrong_panorama_takes_one_place_of_twelve(shared: Path) -> None:
    """Every query lies nearest to the 12 cut-outs of a far panorama, and next to one of its positives."""
    where = "dataset.eval.tokyo247"
    mats = shared / "metadata" / "netvlad_dbstruct_mat"
    cfg = compose("evaluate", ["dataset=tokyo247", f"{where}.root='{mats}'", f"{where}.missing=ignore", "ckpt=none"])
    tokyo = instantiate(cfg.dataset.eval.tokyo247, _convert_="all")
    assert tokyo.panoramas is not None and (np.bincount(tokyo.panoramas) == 12).all()

    rng = np.random.default_rng(0)
    first = np.array([rows[0] for rows in tokyo.positives])
    wrong = (tokyo.panoramas[first] + 3_000) % 6_332  # half the city away
    views = unit(rng.standard_normal((6_332, 256)).astype(np.float32))
    database = views[tokyo.panoramas] + 0.001 * rng.standard_normal((75_984, 256)).astype(np.float32)
    queries = unit(2 * views[wrong] + database[first])

    result = score(unit(database).astype(np.float16), queries.astype(np.float16), tokyo, ks=(1, 2, 20))
    assert result.protocol == "tokyo247@25m-nms" and result.counts["counted_queries"] == 315
    assert result.recalls == {1: 0.0, 2: 1.0, 20: 1.0}
    assert all(len(set(row)) == 20 for row in tokyo.panoramas[result.neighbours.indices])


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.slow
def test_positives_among_many_positions_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    database = np.repeat(rng.uniform(0, 4_000, (25_000, 2)), 12, axis=0)
    queries = np.concatenate([rng.uniform(0, 4_000, (30, 2)), database[::30_000]])
    found = positives_within(database, queries, 25.0, block=7)
    for query, rows in zip(queries, found, strict=True):
        assert np.array_equal(rows, np.flatnonzero(((database - query) ** 2).sum(axis=1) <= 625))
    assert sum(map(len, found)) > 1000
