"""conf/dataset: every file has the shape that training and evaluation read; the real sets have their counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vpr.config.compose import CONF, compose
from vpr.data.places import Places
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError

NAMES = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
DRAWN = {"toycity"}  # makes its images itself
GIVEN = {
    "gardens_point",
    "gardens_point_day",
    "gardens_point_split",
    "nordland_mini",
    "sped_thumbs",
    "camvid",
    "ie_tower",
}


def dataset(name: str, root: Path) -> DictConfig:
    return compose("train", [f"dataset={name}", f"paths.data={root}"]).dataset


def make(node: DictConfig) -> dict[str, Any]:
    return {name: instantiate(part, _convert_="all") for name, part in (node or {}).items()}


@pytest.mark.parametrize("name", NAMES)
def test_shape(name: str) -> None:
    node = dataset(name, Path("somewhere"))
    assert node.get("train") or node.get("eval")
    assert list(node.get("image_size", {})) == list(node.get("train") or {})  # only what is trained on needs a size
    assert all(len(size) == 2 and min(size) >= 32 for size in node.get("image_size", {}).values())
    assert node.get("on_bad_image", "raise") == "raise"
    for part in (node.get("eval") or {}).values():
        assert OmegaConf.is_missing(part, "root") or part.get("protocol") is None or "@" in part.protocol.id


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWN])
def test_without_the_data_the_folder_is_named(name: str, tmp_path: Path) -> None:
    node = dataset(name, tmp_path)
    if name.startswith("places_"):
        node.train[name].root = str(tmp_path / name)
    for part in [*(node.get("train") or {}).values(), *(node.get("eval") or {}).values()]:
        with pytest.raises(InstantiationException) as caught:
            instantiate(part, _convert_="all")
        assert isinstance(caught.value.__cause__, DataError)
        assert str(part.root) in str(caught.value.__cause__) and "must hold" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("name", "places", "images"),
    [
        ("gardens_point_split", 120, 360),
        ("nordland_mini", 2269, 4538),
        ("sped_thumbs", 399, 798),
        ("camvid", 86, 396),
        ("ie_tower", 468, 1872),
    ],
)
def test_real_training_places(shared: Path, name: str, places: int, images: int) -> None:
    (source,) = make(dataset(name, shared / "data").train).values()
    assert isinstance(source, Places)
    assert (len(source), len(source.files)) == (places, images)
    assert source.path(0).is_file() and source.path(images - 1).is_file()


@pytest.mark.parametrize(
    ("name", "protocol", "queries", "pairs"),
    [
        # 200 frames with 5 positives each, but 3, 4, 4 and 3 at the ends
        ("gardens_point", "gardens-point-night-right-day-right@2f", 200, 994),
        ("gardens_point_day", "gardens-point-day-left-day-right@2f", 200, 994),
        ("gardens_point_split", "gardens-point-night-right-day-right-140-199@2f", 60, 294),
        ("nordland_mini", "nordland-mini-913@1f", 913, None),
        ("sped_thumbs", "sped-thumbs-207@0f", 207, 207),
    ],
)
def test_real_evaluation_sets(shared: Path, name: str, protocol: str, queries: int, pairs: int | None) -> None:
    (found,) = make(dataset(name, shared / "data").eval).values()
    assert isinstance(found, RetrievalSet)
    assert (found.protocol.id, len(found.queries), len(found.database)) == (protocol, queries, queries)
    assert min(map(len, found.positives)) >= 1
    if pairs is not None:
        assert sum(map(len, found.positives)) == pairs


@pytest.mark.parametrize("name", ["gardens_point_split", "nordland_mini", "sped_thumbs"])
def test_training_and_evaluation_share_no_image(shared: Path, name: str) -> None:
    node = dataset(name, shared / "data")
    (source,), (held_out,) = make(node.train).values(), make(node.eval).values()
    trained = {source.path(image) for image in range(len(source.files))}
    assert trained.isdisjoint([*held_out.database, *held_out.queries])


def test_datasets_merge(shared: Path) -> None:
    node = dataset("[nordland_mini,sped_thumbs,gardens_point]", shared / "data")
    assert list(node.train) == ["nordland_mini", "sped_thumbs"]
    assert list(node.eval) == ["nordland_mini", "sped_thumbs", "gardens_point"]


def test_gsv_cities_has_its_23_cities_and_a_validation_set() -> None:
    node = dataset("gsv_cities", Path("somewhere"))
    assert len(set(node.train.gsv_cities.cities)) == 23
    assert node.eval.pitts30k_val.protocol.id == "pitts30k-val@25m"


def test_skip_leaves_missing_images_out(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "gardens_point").mkdir()
    for entry in (shared / "data" / "gardens_point").resolve().iterdir():
        (tmp_path / "gardens_point" / entry.name).symlink_to(entry)
    (tmp_path / "gardens_point" / "night_right").unlink()
    (tmp_path / "gardens_point" / "night_right").mkdir()
    for frame in range(3, 200):
        (tmp_path / "gardens_point" / "night_right" / f"Image{frame:03d}.jpg").touch()
    node = compose("train", ["dataset=gardens_point", f"paths.data={tmp_path}", "dataset.on_bad_image=skip"]).dataset
    (found,) = make(node.eval).values()
    assert found.protocol.id == "gardens-point-night-right-day-right@2f[197of200q]"
    assert np.array_equal(found.positives[0], [1, 2, 3, 4, 5])  # of frame 3
