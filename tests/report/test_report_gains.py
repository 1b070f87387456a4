"""Gains of distillation, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vpr.report.comparison_page import runs_table
from vpr.report.gains import Gain, gains
from vpr.report.runs import differences, find
from vpr.retrieval.metrics import paired_interval

Write = Callable[..., Path]


def found(tmp_path: Path) -> list[Gain]:
    return gains(find([tmp_path / "runs"])[0])


def test_pairs_by_seed_with_spread_and_gap(write_run: Write, tmp_path: Path) -> None:
    write_run("large", "large", [0, 1, 2, 3, 4, 5, 6, 7])
    for seed, before, after in ((0, [0, 1], [0, 2, 3, 4]), (1, [0], [0, 1, 2, 3, 4])):
        write_run(f"plain{seed}", "small", before, seed)
        write_run(f"kd{seed}", "small", after, seed, "large")
    (gain,) = found(tmp_path)
    assert [seed.distilled.seed for seed in gain.seeds] == [0, 1]
    assert [round(seed.gain, 6) for seed in gain.seeds] == [0.2, 0.4]
    assert gain.mean == pytest.approx(0.3) and gain.deviation == pytest.approx(0.2 / 2**0.5)
    assert gain.teacher == 0.8 and gain.recovered == pytest.approx(0.3 / (0.8 - 0.15))
    first = gain.seeds[0]
    assert first.interval == paired_interval(first.plain.hits["drawn@1f"], first.distilled.hits["drawn@1f"])


def test_the_best_undistilled_run_of_the_same_length_counts(write_run: Write, tmp_path: Path) -> None:
    write_run("plain", "small", [0])
    write_run("plain_other_lr", "small", [0, 1], more={"optimizer": {"lr": 0.01}})
    write_run("plain_longer", "small", [0, 1, 2, 3], more={"trainer": {"max_epochs": 6, "extra": {}}})
    write_run("kd", "small", [0, 1, 2], teacher="large")
    (gain,) = found(tmp_path)
    assert gain.seeds[0].plain.folder.name == "plain_other_lr"
    assert gain.mean == pytest.approx(0.1)
    assert gain.deviation is None and gain.teacher is None and gain.recovered is None


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"image": {"size": [32, 32]}},
        {"batch": {"places": 8}},
        {"augment": {"num_ops": 3}},
        {"dataset": {"train": {"other": {}}}},
        {"agg": {"_target_": "vpr.models.aggregators.gem.GeM", "p": 4}},
        {"backbone": {"name": "small", "weights": "none"}},
    ],
)
def test_no_gain_over_another_training(write_run: Write, tmp_path: Path, other: dict) -> None:
    write_run("plain", "small", [0], more=other)
    write_run("kd", "small", [0, 1], teacher="large")
    assert found(tmp_path) == []


def test_a_projection_that_distillation_left_does_not_make_another_student(write_run: Write, tmp_path: Path) -> None:
    inner = {"_target_": "vpr.models.aggregators.gem.GeM"}
    kept = {"_target_": "vpr.models.aggregators.projected.Projected", "agg": inner, "dim": 512, "bias": False}
    write_run("plain", "small", [0])
    write_run("kd", "small", [0, 1], teacher="large", more={"agg": kept})
    assert len(found(tmp_path)) == 1


def test_settings_stand_apart_and_say_in_what(write_run: Write, tmp_path: Path) -> None:
    write_run("plain", "small", [0])
    write_run("kd", "small", [0, 1], teacher="large")
    soft = {"terms": {"similarity": {"temperature": 0.2}}, "teacher": {}, "teachers": []}
    write_run("kd_soft", "small", [0, 1, 2], teacher="large", more={"distillation": soft})
    assert [(gain.difference, round(gain.mean, 6)) for gain in found(tmp_path)] == [
        ("similarity.temperature=0.2", 0.2),
        ("similarity.temperature=0.05", 0.1),
    ]


def test_no_interval_without_hits_of_the_same_queries(write_run: Write, tmp_path: Path) -> None:
    write_run("plain", "small", [0], hits=False)
    write_run("kd", "small", [0, 1], teacher="large")
    (gain,) = found(tmp_path)
    assert gain.seeds[0].interval is None and gain.mean == pytest.approx(0.1)


def test_differences_are_told_inside_a_label_only(write_run: Write, tmp_path: Path) -> None:
    write_run("a", "small", [0])
    write_run("b", "small", [0], seed=1, more={"optimizer": {"lr": 0.01, "momentum": 0.9}})
    write_run("c", "large", [0], more={"optimizer": {"lr": 7}})
    runs, _ = find([tmp_path / "runs"])
    assert differences(runs) == [
        "optimizer.lr=0.001, optimizer.momentum=-",
        "optimizer.lr=0.01, optimizer.momentum=0.9",
        "",
    ]


def test_a_student_of_the_map_has_no_gain_over_one_that_never_saw_it(write_run: Write, tmp_path: Path) -> None:
    for name, teacher in (("plain", None), ("kd", "large")):
        folder = write_run(name, "small", [0, 1], teacher=teacher)
        if teacher:
            text = (folder / "summary.json").read_text().replace("drawn@1f", "drawn@1f[map]")
            (folder / "summary.json").write_text(text)
    assert found(tmp_path) == []
    table = runs_table(find([tmp_path / "runs"])[0], ["drawn@1f", "drawn@1f[map]"], tmp_path / "report.html")
    assert [name for name, _ in table.groups] == ["", "drawn@1f", "drawn@1f[map]", "costs", ""]
    first = sum(count for name, count in table.groups[:1])
    assert sorted([row[first].value, row[first + 3].value] for row in table.rows if row[1].text) == [["", 20.0]]
