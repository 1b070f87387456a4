"""A data set whose root is one level off is found, and one that may be another is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from vpr.catalog.inventory import inspect_dataset
from vpr.catalog.resolve import evaluation_sets, locate
from vpr.cli.datasets import Entry
from vpr.errors import DataAbsent

KEY = "dataset.eval.walk"


def write(folder: Path) -> Path:
    for name in ("day/0.jpg", "day/1.jpg", "night/0.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def walk(root: Path | str, database: int = 2) -> Any:
    protocol = {"_target_": "vpr.types.Protocol", "id": "walk@2f", "database": database, "queries": 1}
    node = {"_target_": "vpr.data.formats.pairs.read", "root": str(root), "database": "day", "queries": "night"}
    return OmegaConf.create({"dataset": {"eval": {"walk": node | {"tolerance": 2, "protocol": protocol}}}})


def hint(cfg: Any) -> str:
    return locate(cfg.dataset.eval.walk, KEY)


@pytest.mark.parametrize(
    ("there", "root"),
    [
        ("data/walk/walk", "data/walk"),  # unpacked into a folder of its own name
        ("data/walk", "data"),
        ("data/walk", "data/walk/day"),
        ("data/walk", "data/walk/walk"),  # paths.data is the folder of the set
        ("data/Walk-2014", "data/walk"),  # renamed
        ("data/walk/walk/test", "data/walk/test"),
        ("data/walk", "data/walk/images/test"),
    ],
)
def test_one_level_off(there: str, root: str, tmp_path: Path) -> None:
    found = write(tmp_path / there)
    assert hint(walk(tmp_path / root)) == f"But it is in {found}: type {KEY}.root={found}"


def test_names_with_spaces_stand_in_quotes(tmp_path: Path) -> None:
    found = write(tmp_path / "my walk")
    assert hint(walk(tmp_path / "walk")) == f"But it is in {found}: type '{KEY}.root={found}'"


def test_what_cannot_be_read_there_is_not_it(tmp_path: Path) -> None:
    write(tmp_path / "data/walk/walk")
    assert hint(walk(tmp_path / "data/walk", database=3)) == ""
    assert hint(walk(tmp_path / "nowhere/at/all/of/this")) == ""
    (tmp_path / "empty").mkdir()
    assert hint(walk(tmp_path / "empty")) == ""


@pytest.mark.parametrize(
    "target", ["utm_folder.read", "utm_folder.photos", "image_folder.read", "image_folder.photos", "place_folder.read"]
)
def test_any_photos_are_not_taken_for_the_set(target: str, tmp_path: Path) -> None:
    for side in ("database", "queries"):
        (tmp_path / "other" / side).mkdir(parents=True)
        (tmp_path / "other" / side / "@1@2@.jpg").touch()
    protocol = {"_target_": "vpr.types.Protocol", "id": "x"} if target.endswith("s.read") else {}
    node = {"_target_": f"vpr.data.formats.{target}", "root": str(tmp_path / "mine"), "protocol": protocol}
    assert locate(OmegaConf.create(node), KEY) == ""


def test_a_run_and_data_check_say_it(tmp_path: Path) -> None:
    found = write(tmp_path / "walk/walk")
    cfg = walk(tmp_path / "walk")
    with pytest.raises(DataAbsent, match=rf"There is no folder day or night .* But it is in {found}: type {KEY}.root="):
        evaluation_sets(cfg.dataset)
    entry = Entry("walk", "eval", "walk", cfg.dataset.eval.walk)
    assert inspect_dataset(entry, near=True).sentence.endswith(f"But it is in {found}: type {KEY}.root={found}")
    assert "But it is" not in inspect_dataset(entry).sentence
