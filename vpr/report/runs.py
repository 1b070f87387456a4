"""Runs in folders: measurements of finished ones, the ends of others, training curves, and differences of settings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vpr.checkpoint import with_moved_targets
from vpr.cli.sweeps.jobs import ending, read_job
from vpr.errors import DataError
from vpr.files import check_archive
from vpr.models.aggregators.projected import inner_node

MOST_HITS = 1 << 28  # bytes: one a query


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        folder: of best.ckpt, summary.json and the rest.
        summary: as vpr.training.summary writes it: `config`, `costs`, `seconds`, `digest`, `monitor`.
        recalls: {protocol id: {"R@1": 0..1, ...}} of best.ckpt, those of later evaluations included.
        hits: {protocol id: (Q,) bool}, whether the first neighbour of each counted query is right, where it is known.
    """

    folder: Path
    summary: dict[str, Any]
    recalls: dict[str, dict[str, float]]
    hits: dict[str, np.ndarray]

    @property
    def config(self) -> dict[str, Any]:
        return self.summary["config"]

    @property
    def costs(self) -> dict[str, Any]:
        return self.summary["costs"]

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def student(self) -> str:
        return self._label("student") or self.config["name"]

    @property
    def teacher(self) -> str:
        """Label of its teachers; empty for an undistilled run."""
        return self._label("teacher") if self.config.get("distillation", {}).get("terms") else ""

    @property
    def term(self) -> str:
        return "+".join(self.config.get("distillation", {}).get("terms") or {})

    @property
    def dataset(self) -> str:
        return self._label("dataset") or "+".join(self.config["dataset"].get("train") or {})

    @property
    def label(self) -> str:
        """Student, teacher and term in words."""
        return f"{self.student} ← {self.teacher}, {self.term}" if self.teacher else self.student

    def _label(self, key: str) -> str:
        return (self.config.get("labels") or {}).get(key) or ""


@dataclass(frozen=True)
class Unfinished:
    """A run without a summary: `ending` says how far it came, `line` is the last of its log."""

    folder: Path
    overrides: list[str]
    ending: str
    line: str


def find(folders: Iterable[Path]) -> tuple[list[Run], list[Unfinished]]:
    """Find all runs in the folders and below them.

    Raises:
        DataError: a folder does not exist, there is no run in any, or a summary is damaged.
    """
    folders = list(folders)
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder. Name folders of runs: runs/NAME, multirun/DATE.")
    runs = {path.parent.resolve(): _read(path) for path in _below(folders, "summary.json")}
    started = {path.parent for name in ("job.json", "train.log") for path in _below(folders, name)}
    unfinished = [_unfinished(folder) for folder in sorted(started) if folder.resolve() not in runs]
    if not runs and not unfinished:
        raise DataError(
            f"There is no run in {', '.join(map(str, folders))}: no summary.json and no train.log. Runs are written by "
            "`python train.py`, into runs/NAME/DATE, and those of a sweep into multirun/DATE/JOB."
        )
    for path in _below(folders, "metrics.json"):
        _add_evaluation(path, runs)
    return list(runs.values()), unfinished


def _below(folders: Iterable[Path], name: str) -> Iterator[Path]:
    yield from dict.fromkeys(path for folder in folders for path in sorted(folder.rglob(name)))


def _read(path: Path) -> Run:
    try:
        summary = json.loads(path.read_text("utf-8"))
        summary["config"] = with_moved_targets(summary["config"])  # older runs are compared with newer ones
        recalls = {protocol: dict(row["recalls"]) for protocol, row in summary["sets"].items()}
        run = Run(path.parent, summary, recalls, _read_hits(path.with_name("hits.npz")))
        _check(run)
    except Exception as error:  # a file may hold anything: it may be deep beyond recursion, or an archive damaged
        raise DataError(
            f"{path} is not a summary that train.py wrote ({type(error).__name__}: {error}). Remove the file or "
            "run that training again."
        ) from error
    return run


def _read_hits(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    check_archive(path, MOST_HITS)
    with np.load(path) as file:
        return {name: np.asarray(file[name], bool).ravel() for name in file}


def _check(run: Run) -> None:
    """Raise TypeError where a value that the page computes with is of another kind."""
    config, costs = run.config, run.costs
    for name, value in (
        *((f"recalls of {protocol}", value) for protocol, row in run.recalls.items() for value in row.values()),
        *((f"costs.{key}", costs[key]) for key in ("parameters", "gmacs", "latency_ms", "descriptor_bytes")),
        *((f"costs.image_size[{i}]", side) for i, side in enumerate(costs["image_size"])),
        ("seconds", run.summary.get("seconds", 0)),
        ("config.seed", run.seed),
    ):
        if type(value) not in (int, float) or not np.isfinite(value):
            raise TypeError(f"{name} is {str(value)[:80]!r}, and must be a number")
    distillation = config.get("distillation") or {}
    teachers = [(key, teacher[key]) for teacher in distillation.get("teachers") or () for key in ("name", "digest")]
    labels = (config.get("labels") or {}).items()
    for name, value in (("config.name", config["name"]), ("digest", run.summary["digest"]), *labels, *teachers):
        if not isinstance(value, str | None):
            raise TypeError(f"{name} is {str(value)[:80]!r}, and must be a word")
    for name, node in (("terms", distillation.get("terms") or {}), *((key, config[key]) for key in ("agg", "trainer"))):
        if not isinstance(node, dict):
            raise TypeError(f"config: {name} is {str(node)[:80]!r}, and must have keys")
    _ = run.label, setting(run), same_training(run), differences([run])


def _unfinished(folder: Path) -> Unfinished:
    job = read_job(folder)
    lines = [line for path in sorted(folder.glob("*.log")) for line in path.read_text("utf-8", "replace").splitlines()]
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return Unfinished(
        folder,
        job.overrides if job else _overrides(folder),
        ending(job.code) if job else "did not end, as far as is known",
        re.sub(r"^(\[[^]]*\])+ - ", "", last),  # the time and the logger's name
    )


def _overrides(folder: Path) -> list[str]:
    """Return the overrides that Hydra noted down: a YAML list, one string a line."""
    path = folder / ".hydra" / "overrides.yaml"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [line.removeprefix("- ").strip("'\"") for line in lines if line.startswith("- ")]


def _add_evaluation(path: Path, runs: dict[Path, Run]) -> None:
    """Add to a run the recalls that evaluate.py measured of its best.ckpt; evaluations of other files are left out."""
    try:
        content = json.loads(path.read_text("utf-8"))
        settings = content.get("settings") or {}
        ckpt = Path(settings.get("ckpt") or "")
        run = runs.get(Path(os.path.realpath(ckpt.parent)))
        if run is None or ckpt.name != "best.ckpt" or settings.get("gallery_ckpt"):
            return
        hits = _first_hits(path.with_name("predictions.csv"))
        for protocol, row in content["sets"].items():
            if row["recalls"]:
                recalls = {name: float(value) for name, value in row["recalls"].items()}
                if not np.isfinite(list(recalls.values())).all():
                    raise ValueError(f"a recall of {protocol} is no number")
                run.recalls.setdefault(protocol, recalls)
                if protocol in hits:
                    run.hits.setdefault(protocol, hits[protocol])
    except Exception as error:  # as above
        raise DataError(
            f"{path} is not what evaluate.py wrote ({type(error).__name__}: {error}). Remove it or measure again."
        ) from error


def _first_hits(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    table = pd.read_csv(path, usecols=["protocol", "rank", "correct"])
    first = table[(table["rank"] == 1) & table["correct"].notna()]
    right = first["correct"].astype(str).eq("True").groupby(first["protocol"])
    return {str(name): rows.to_numpy() for name, rows in right}


class Curve(NamedTuple):
    """Values over optimiser steps."""

    steps: list[float]
    values: list[float]


def read_curves(run: Run) -> dict[str, Curve]:
    """Read the csv log of a run: `train/loss`, and `<protocol>/R@1` for each protocol; nothing where there is none."""
    path = run.folder / "csv" / "metrics.csv"
    if not path.is_file() or path.stat().st_size == 0:
        return {}
    table = pd.read_csv(path)
    names = [name for name in table.columns if name == "train/loss" or name.endswith("/R@1")]
    curves = {}
    for name in names:
        rows = table[["step", name]].dropna()
        if len(rows):
            curves[name] = Curve(rows["step"].tolist(), rows[name].tolist())
    return curves


# Keys that do not change a run's training, or have a column of their own.
ASIDE = {"seed", "name", "labels", "logger", "evaluate_first", "debug"}
# Keys that the two runs of a gain must share: they are students of the same training.
SHARED = ("seed", "image", "batch", "augment", "backbone", "dataset")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return {"optimizer.lr": "0.001", ...}; lists are values."""
    leaves: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value if isinstance(value, str) else json.dumps(value)
    return leaves


def setting(run: Run) -> str:
    """Return a key of the run's settings, seed aside: two runs of one key differ in their seed alone."""
    config = {key: value for key, value in run.config.items() if key not in ASIDE}
    distillation = {k: v for k, v in config.pop("distillation", {}).items() if k not in ("teacher", "teachers")}
    if not run.teacher:
        distillation = {}
    return json.dumps([run.student, run.teacher, run.term, distillation, config], sort_keys=True)


def same_training(run: Run) -> str:
    """Return a key that a distilled run and its undistilled counterpart share: student, data, seed, number of steps."""
    config = run.config
    # An epoch of unlabelled images has other steps than one of places; runs of before do not say how many they had.
    steps = run.summary.get("steps") or {key: config["trainer"].get(key) for key in ("max_epochs", "extra")}
    agg = inner_node(config["agg"])  # a projection into the teacher's space is what distillation has put there
    return json.dumps([run.student, agg, steps, *(config.get(key) for key in SHARED)], sort_keys=True)


def differences(runs: Sequence[Run]) -> list[str]:
    """Say of each run what sets it apart from those of the same label: "optimizer.lr=0.001", or an empty string."""
    flats = [_comparable(run) for run in runs]
    texts = []
    for run, settings in zip(runs, flats, strict=True):
        others = [other for peer, other in zip(runs, flats, strict=True) if peer.label == run.label]
        keys = sorted(
            {key for other in others for key in settings.keys() | other.keys() if settings.get(key) != other.get(key)}
        )
        texts.append(", ".join(f"{key.removeprefix('distillation.terms.')}={settings.get(key, '-')}" for key in keys))
    return texts


def _comparable(run: Run) -> dict[str, str]:
    aside = (*ASIDE, "distillation.teacher", "distillation.teachers")
    return {key: v for key, v in flat(run.config).items() if not any(f"{key}.".startswith(f"{a}.") for a in aside)}
