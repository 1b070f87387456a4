"""Runs as they are found in folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vpr.errors import DataError
from vpr.report.runs import find, read_curves, same_training


def test_what_a_run_says_of_itself(write_run: Callable[..., Path], tmp_path: Path) -> None:
    write_run("a", "small", [0, 1, 2])
    write_run("sweep/b", "small", [0, 1, 2, 3], seed=1, teacher="large")
    (plain, taught), unfinished = find([tmp_path / "runs"])
    assert unfinished == []
    assert (plain.student, plain.teacher, plain.term, plain.dataset, plain.seed) == ("small", "", "", "drawn", 0)
    assert (taught.teacher, taught.term, taught.seed) == ("large", "similarity", 1)
    assert (plain.label, taught.label) == ("small", "small ← large, similarity")
    assert plain.recalls["drawn@1f"]["R@1"] == 0.3 and plain.hits["drawn@1f"].tolist() == [True] * 3 + [False] * 7


def test_runs_from_before_and_after_a_module_moved_are_compared(write_run: Callable[..., Path], tmp_path: Path) -> None:
    old, new = "vpr.data.formats.place_csv.read", "vpr.data.formats.place_lists.read_csv"
    for name, target, teacher in (("plain", old, None), ("kd", new, "large")):
        more = {"dataset": {"train": {"drawn": {"_target_": target}}}}
        write_run(name, "small", [0], teacher=teacher, more=more)
    runs, _ = find([tmp_path / "runs"])
    assert len({same_training(run) for run in runs}) == 1


def test_each_run_once_however_often_its_folder_is_named(write_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_run("a", "small", [0])
    assert len(find([tmp_path / "runs", folder, folder])[0]) == 1


def test_jobs_that_failed(write_run: Callable[..., Path], tmp_path: Path) -> None:
    write_run("fine", "small", [0])
    failed, killed, typed = (tmp_path / "runs" / name for name in ("failed", "killed", "typed"))
    for folder in (failed, killed, typed / ".hydra"):
        folder.mkdir(parents=True)
    (failed / "job.json").write_text(json.dumps({"identity": "x", "overrides": ["seed=1"], "code": 2, "attempts": 1}))
    (failed / "train.log").write_text(
        "[2026][vpr][INFO] - begins\n[2026][vpr][ERROR] - ConfigError: no [such] file\n\n"
    )
    (killed / "job.json").write_text(json.dumps({"identity": "x", "overrides": [], "code": -9, "attempts": 1}))
    (typed / "train.log").write_text("Traceback\nRuntimeError: out of memory\n")
    (typed / ".hydra/overrides.yaml").write_text("- backbone=vgg16\n- 'image.size=[32,32]'\n")
    runs, (first, second, third) = find([tmp_path / "runs"])
    assert len(runs) == 1
    assert (first.overrides, first.ending, first.line) == (
        ["seed=1"],
        "ended with exit code 2",
        "ConfigError: no [such] file",
    )
    assert (second.ending, second.line) == ("was ended by SIGKILL", "")
    assert (third.overrides, third.line) == (["backbone=vgg16", "image.size=[32,32]"], "RuntimeError: out of memory")


def evaluation(folder: Path, ckpt: Path, **settings: str) -> None:
    folder.mkdir(parents=True)
    sets = {"later@1f": {"recalls": {"R@1": 0.5}}, "drawn@1f": {"recalls": {"R@1": 0.9}}, "unknown": {"recalls": {}}}
    (folder / "metrics.json").write_text(json.dumps({"sets": sets, "settings": {"ckpt": str(ckpt), **settings}}))
    rows = [("later@1f", 1, True), ("later@1f", 2, False), ("later@1f", 1, None), ("later@1f", 1, False)]
    pd.DataFrame(rows, columns=["protocol", "rank", "correct"]).to_csv(folder / "predictions.csv", index=False)


def test_later_evaluations_of_best_ckpt_belong_to_its_run(write_run: Callable[..., Path], tmp_path: Path) -> None:
    run = write_run("a", "small", [0])
    evaluation(tmp_path / "runs/eval/1", run / "best.ckpt")
    evaluation(tmp_path / "runs/eval/2", tmp_path / "elsewhere/best.ckpt")
    ((found,), _) = find([tmp_path / "runs"])
    assert set(found.recalls) == {"drawn@1f", "later@1f"} and found.recalls["drawn@1f"]["R@1"] == 0.1
    np.testing.assert_array_equal(found.hits["later@1f"], [True, False])  # a query that is not counted is left out


@pytest.mark.parametrize(("name", "settings"), [("last.ckpt", {}), ("best.ckpt", {"gallery_ckpt": "teacher.ckpt"})])
def test_other_evaluations_do_not(write_run: Callable[..., Path], tmp_path: Path, name: str, settings: dict) -> None:
    run = write_run("a", "small", [0])
    evaluation(tmp_path / "runs/eval", run / name, **settings)
    assert set(find([tmp_path / "runs"])[0][0].recalls) == {"drawn@1f"}


def test_what_the_user_can_mend(write_run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no run in"):
        find([tmp_path])
    for content in ("{", "[]", '{"sets": {}}'):
        path = write_run(f"damaged{len(content)}", "small", [0]) / "summary.json"
        path.write_text(content)
        with pytest.raises(DataError, match=r"summary\.json is not a summary that train.py wrote"):
            find([path.parent])


def test_curves(write_run: Callable[..., Path]) -> None:
    folder = write_run("a", "small", [0])
    ((run,), _) = find([folder])
    assert read_curves(run) == {}
    (folder / "csv").mkdir()
    (folder / "csv/metrics.csv").write_text("drawn@1f/R@1,drawn@1f/R@5,step,train/loss\n,,1,2.5\n0.5,1,3,\n,,4,2\n")
    assert read_curves(run) == {"drawn@1f/R@1": ([3], [0.5]), "train/loss": ([1, 4], [2.5, 2.0])}
