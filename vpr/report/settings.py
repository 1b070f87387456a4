"""What runs have in common, and in what they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vpr.models.aggregators.projected import inner_node
from vpr.report.runs import Run

# What says nothing of how a run was trained, or stands in a column of its own.
ASIDE = {"seed", "name", "labels", "logger", "evaluate_first", "debug"}
# A student of the same training: what the runs that a gain is taken between must share.
SHARED = ("seed", "image", "batch", "augment", "backbone", "dataset")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return {"optimizer.lr": "0.001", ...}; lists are values."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return found


def setting(run: Run) -> str:
    """Return what stands for the run's settings, seed aside: two runs of one setting differ in their seed alone."""
    config = {key: value for key, value in run.config.items() if key not in ASIDE}
    distillation = {k: v for k, v in config.pop("distillation", {}).items() if k not in ("teacher", "teachers")}
    if not run.teacher:
        distillation = {}
    return json.dumps([run.student, run.teacher, run.term, distillation, config], sort_keys=True)


def same_training(run: Run) -> str:
    """Return what a distilled run and its undistilled counterpart share: student, data, seed, number of steps."""
    config = run.config
    steps = {key: config["trainer"].get(key) for key in ("max_epochs", "extra")}
    agg = inner_node(config["agg"])  # a projection into the teacher's space is what distillation has put there
    return json.dumps([run.student, agg, steps, *(config.get(key) for key in SHARED)], sort_keys=True)


def differences(runs: Sequence[Run]) -> list[str]:
    """Say of each run what sets it apart from those of the same label: "optimizer.lr=0.001", or an empty string."""
    flats = [_comparable(run) for run in runs]
    said = []
    for run, own in zip(runs, flats, strict=True):
        others = [other for peer, other in zip(runs, flats, strict=True) if peer.label == run.label]
        keys = sorted({key for other in others for key in own.keys() | other.keys() if own.get(key) != other.get(key)})
        said.append(", ".join(f"{key.removeprefix('distillation.terms.')}={own.get(key, '-')}" for key in keys))
    return said


def _comparable(run: Run) -> dict[str, str]:
    aside = (*ASIDE, "distillation.teacher", "distillation.teachers")
    return {key: v for key, v in flat(run.config).items() if not any(f"{key}.".startswith(f"{a}.") for a in aside)}
