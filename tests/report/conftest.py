"""Folders as train.py leaves them, written by the tests in no time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROTOCOL = "drawn@1f"
COSTS = {
    **{"parameters": 2_500_000, "gmacs": 0.3, "descriptor_bytes": 2048, "latency_ms": 7.5, "latency_runs": 30},
    **{"threads": 2, "device": "cpu (x86_64)", "image_size": [48, 64]},
}


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run: `right` are the hits of ten queries by number; `more` overrides keys of the configuration."""

    def write(
        name: str,
        student: str,
        right: Sequence[int],
        seed: int = 0,
        teacher: str | None = None,
        more: Mapping[str, Any] | None = None,
        costs: Mapping[str, Any] | None = None,
        hits: bool = True,
    ) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        config: dict[str, Any] = {
            "name": f"{teacher}-to-{student}" if teacher else student,
            "seed": seed,
            "labels": {"student": student, "teacher": teacher, "term": "similarity", "dataset": "drawn"},
            "backbone": {"name": student},
            "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
            "image": {"size": [48, 64]},
            "batch": {"places": 4},
            "augment": None,
            "optimizer": {"lr": 0.001},
            "trainer": {"max_epochs": 3, "extra": {}},
            "dataset": {"train": {"drawn": {}}},
            "distillation": {"terms": {}, "teacher": {}, "teachers": []},
        }
        if teacher:
            config["distillation"]["terms"] = {"similarity": {"temperature": 0.05}}
            config["distillation"]["teachers"] = [{"name": teacher, "digest": f"digest of {teacher}", "share": 1.0}]
        found = np.isin(np.arange(10), right)
        summary = {
            "config": config | dict(more or {}),
            "digest": f"digest of {name}",
            "seconds": 12.5,
            "epochs": 3,
            "monitor": PROTOCOL,
            "sets": {PROTOCOL: {"recalls": {"R@1": float(found.mean()), "R@5": 1.0, "R@10": 1.0}, "counts": {}}},
            "costs": {**COSTS, **(costs or {})},
        }
        (folder / "summary.json").write_text(json.dumps(summary))
        if hits:
            np.savez_compressed(folder / "hits.npz", **{PROTOCOL: found})
        return folder

    return write
