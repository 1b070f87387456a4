"""The city of dataset=toycity in the Pittsburgh layout: the same photos, tuples and positives as read the other way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate

from vpr.cli.compose import compose
from vpr.toycity.layouts import __main__ as command
from vpr.toycity.layouts import writers
from vpr.toycity.layouts.write import write_city
from vpr.toycity.spec import TestSpec, TrainSpec

TRAIN, TEST = TrainSpec(5, 6, 4), TestSpec(5, 12, 8)
HERE = [f"dataset.{part}.toycity.{key}={value}" for part, key, value in (
    ("train", "seed", 5), ("train", "places", 6), ("train", "images_per_place", 4),
    ("eval", "seed", 5), ("eval", "database", 12), ("eval", "queries", 8),
)]  # fmt: skip
THERE = [f"dataset.eval.toycity_pittsburgh.protocol.{key}={value}" for key, value in (("database", 12), ("queries", 8))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_city(folder, TRAIN, TEST, workers=1)
    return folder


def read(data: Path, part: str, name: str, overrides: list[str]):
    node = compose("train", [f"dataset={name}", f"paths.data={data}", *overrides]).dataset[part]
    return instantiate(node, _convert_="all")[name]


def content(files) -> list[bytes]:
    return [Path(file).read_bytes() for file in files]


def test_tuples_are_those_of_the_city(data: Path) -> None:
    theirs, ours = read(data, "weak", "toycity", HERE), read(data, "weak", "toycity_pittsburgh", THERE)
    assert len(ours) == len(theirs) == 12  # two of each of six places
    assert content(ours.queries.paths) == content(theirs.queries.paths)
    assert content(ours.database.paths) == content(theirs.database.paths)
    for one, other in ((ours.positives, theirs.positives), (ours.near, theirs.near)):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len(np.unique([*ours.query_captures, *ours.database_captures])) == TRAIN.images


def test_the_test_set_is_the_same_protocol(data: Path) -> None:
    theirs, ours = read(data, "eval", "toycity", HERE), read(data, "eval", "toycity_pittsburgh", THERE)
    assert content(ours.database) == content(theirs.database) and content(ours.queries) == content(theirs.queries)
    assert all(np.array_equal(a, b) for a, b in zip(ours.positives, theirs.positives, strict=True))
    assert ours.protocol.id == "toycity-test@25m"


def test_written_once_and_anew_where_it_was_cut_off(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toycity").symlink_to(data / "toycity")
    (tmp_path / "toycity_pittsburgh.part/datasets").mkdir(parents=True)
    folder = write_city(tmp_path, TRAIN, TEST)
    assert sorted(path.name for path in (folder / "datasets").iterdir()) == ["toycity_test.mat", "toycity_train.mat"]
    assert not folder.with_name("toycity_pittsburgh.part").exists()
    monkeypatch.setattr(writers, "write_splits", None)  # would be an error
    assert write_city(tmp_path, TRAIN, TEST) == folder


def test_the_command_says_where_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "write_city", lambda out: Path(out) / "toycity_pittsburgh")
    assert command.main(["somewhere", "--city"]) == 0
    assert capsys.readouterr().out == "dataset=toycity_pittsburgh is in somewhere/toycity_pittsburgh\n"
