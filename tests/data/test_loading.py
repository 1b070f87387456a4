"""Number of loader processes."""

from __future__ import annotations

import pytest

from vpr.data.loading import loader_workers


@pytest.mark.parametrize(
    ("cores", "wanted", "ranks", "expected"),
    [(8, -1, 1, 7), (8, -1, 4, 1), (64, -1, 1, 16), (1, -1, 1, 1), (8, 0, 1, 0), (8, 12, 1, 12)],
)
def test_one_a_core_less_the_rank_itself(
    monkeypatch: pytest.MonkeyPatch, cores: int, wanted: int, ranks: int, expected: int
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(cores)), raising=False)
    assert loader_workers(wanted, ranks) == expected
