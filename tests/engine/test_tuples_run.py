"""A whole run on tuples: what it leaves behind, that it learns, and that an interrupted one goes on exactly."""

from __future__ import annotations

from pathlib import Path

import torch

from vpr import checkpoint
from vpr.engine.fit import fit


def test_a_run_on_tuples_leaves_a_usable_best_checkpoint(tiny_tuples, tmp_path: Path, steps):
    score = fit(tiny_tuples(), tmp_path)
    assert checkpoint.read(tmp_path / "best.ckpt")["metrics"]["tiny@0f"]["R@1"] == score
    assert len(steps) == 3 * 6
    for epoch in range(3):
        photos = [photo for batch, _ in steps[6 * epoch : 6 * epoch + 6] for photo in batch]
        queries = photos[::4]
        assert sorted(queries) == list(range(24)), "each query once an epoch"
    for query, positive, *negatives in torch.tensor([p for batch, _ in steps for p in batch]).view(-1, 4).tolist():
        # two queries and two gallery photos of each of 12 places; the gallery is counted after the 24 queries
        assert (positive - 24) // 2 == query // 2
        assert query // 2 not in [(negative - 24) // 2 for negative in negatives]
        assert len(set(negatives)) == 2
