"""conf/dataset: every file has the shape that training and evaluation read; the real sets have their counts."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vpr.cli.app import user_error
from vpr.cli.compose import CONF, compose
from vpr.cli.datasets import PARTS, dataset_names
from vpr.data.places import Places
from vpr.data.retrieval_set import RetrievalSet

FILES = sorted((CONF / "dataset").glob("*.yaml"))
NAMES = [path.stem for path in FILES]


class Reader(NamedTuple):
    """One entry that a YAML declares itself, with what it takes from conf/dataset/_readers."""

    dataset: str
    part: str
    name: str
    node: Any

    @property
    def key(self) -> str:
        return f"dataset.{self.part}.{self.name}"


def declared() -> Iterator[Reader]:
    for path in FILES:
        own = OmegaConf.load(path)
        whole = compose("evaluate", [f"dataset={path.stem}"]).dataset
        yield from (Reader(path.stem, part, name, whole[part][name]) for part in PARTS for name in own.get(part) or {})


READERS = list(declared())


def dataset(name: str, root: Path, *overrides: str) -> DictConfig:
    return compose("evaluate", [f"dataset={name}", f"paths.data={root}", *overrides]).dataset


def make(node: DictConfig) -> dict[str, Any]:
    return {name: instantiate(part, _convert_="all") for name, part in (node or {}).items()}


def roots(node: Any) -> Iterator[str]:
    """Yield the folders of a reader, and of readers inside it."""
    if "root" in node:
        yield node.root
    for value in node.values():
        if isinstance(value, Mapping):
            yield from roots(value)


@pytest.mark.parametrize("name", NAMES)
def test_shape(name: str) -> None:
    assert (CONF / "dataset" / f"{name}.yaml").read_text().startswith("# ")
    node = dataset(name, Path("somewhere"))
    assert any(node.get(part) for part in PARTS)
    assert set(node) <= {*PARTS, "default_eval", "image_size", "on_bad_image", "random_weights_ok"}
    learned_from = node.get("train") or node.get("images") or {}
    assert list(node.get("image_size", {})) == list(learned_from)  # nothing else needs a size
    assert all(len(size) == 2 and min(size) >= 32 for size in node.get("image_size", {}).values())
    assert node.get("on_bad_image", "raise") == "raise"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.key)
def test_readers(reader: Reader) -> None:
    beside = [other for other in READERS if (other.dataset, other.part) == (reader.dataset, reader.part)]
    if reader.part == "eval":
        assert reader.name == reader.dataset if len(beside) == 1 else reader.name.startswith(reader.dataset)
    if reader.part == "eval" and "protocol" in reader.node:
        assert re.fullmatch(r"[a-z0-9-]+@[a-z0-9-]+", reader.node.protocol.id)
    if reader.part == "eval" and "draw" not in reader.node:
        assert OmegaConf.to_container(reader.node)["missing"] == "${dataset.on_bad_image}"


@pytest.mark.parametrize("path", sorted((CONF / "dataset" / "_readers").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_readers_share_is_used_and_is_no_choice(path: Path) -> None:
    files = [*FILES, *path.parent.glob("*.yaml"), *CONF.glob("*.yaml")]
    users = [file for file in files if re.search(rf"(_readers/|[\[ ]){path.stem}@", file.read_text())]
    assert users != []
    assert path.stem == "common" or len(users) > 1 or "_here_" in users[0].read_text() or path.stem in NAMES
    assert "_readers" not in str(dataset_names())


def test_a_file_in_full_needs_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/adding.md shows one, and as everybody wrote them before there were readers."""
    full = """
        eval:
          lane:
            _target_: vpr.data.formats.utm_folder.read
            root: ${paths.data}/lane
            protocol: {_target_: vpr.types.Protocol, id: lane@25m}
            missing: ${dataset.on_bad_image}
        on_bad_image: skip
    """
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "lane.yaml").write_text(textwrap.dedent(full))
    path = f"hydra.searchpath=[file://{tmp_path}]"
    both = compose("evaluate", ["dataset=[amstertime,lane]", path]).dataset
    assert both.on_bad_image == both.eval.lane.missing == both.eval.amstertime.missing == "skip"
    assert compose("evaluate", ["dataset=[lane,amstertime]", path, "dataset.on_bad_image=raise"]).dataset.eval.lane


def test_names_are_unique_since_sets_merge() -> None:
    assert [key for key, count in Counter(reader.key for reader in READERS).items() if count > 1] == []


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.key)
def test_without_the_data(reader: Reader, tmp_path: Path) -> None:
    """One answer says where was looked, what must be there, who published it, and how to point elsewhere."""
    node = dataset(reader.dataset, tmp_path)[reader.part][reader.name]
    to_give = OmegaConf.missing_keys(node)
    for key in to_give:
        assert key.endswith(".root")  # the only thing that a user must give
        OmegaConf.update(node, key.removeprefix(f"{reader.key}."), str(tmp_path / "mine"))
    drawn = [part for part in (node, *node.values()) if isinstance(part, DictConfig) and "draw" in part]
    for part in drawn:
        if not OmegaConf.is_interpolation(part, "draw"):
            part.draw = False
    with pytest.raises(InstantiationException) as caught:
        instantiate(node, _convert_="all")
    sentence = user_error(caught.value)
    assert sentence.startswith("DataAbsent: There is no ")
    assert any(f" {root}" in sentence for root in roots(node))
    assert re.search(r"must hold \S+", sentence)
    if not to_give and not drawn:  # one's own photos, and drawn ones, are not published
        assert re.search(r"must hold .+?\. (?!If it is elsewhere)\S.+\. If it is elsewhere", sentence)
    assert re.search(rf"type {re.escape(reader.key)}(\.\w+)?\.root=/its/folder; paths.data=/disk", sentence)
    assert list(tmp_path.iterdir()) == []


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
    node = dataset("gardens_point", tmp_path, "dataset.on_bad_image=skip")
    (found,) = make(node.eval).values()
    assert found.protocol.id == "gardens-point-night-right-day-right@2f[197of200q]"
    assert np.array_equal(found.positives[0], [1, 2, 3, 4, 5])  # of frame 3
