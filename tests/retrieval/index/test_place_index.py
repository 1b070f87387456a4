"""Place index: what it describes, what it keeps, and what an interruption leaves."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import CheckpointError, ConfigError, DataError, IndexDamaged
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.index import place_index, storage
from vpr.retrieval.index.codecs import PQ, Binary, from_plain
from vpr.retrieval.index.place_index import Photos, PlaceIndex, path_extractor
from vpr.retrieval.index.storage import locked
from vpr.types import Preprocess, Protocol

ROOT = Path(__file__).parents[3]


class Teller:
    """Describes a text file by the numbers in it; notes what it was asked, and stops where it is told to."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stop_after = stop_after

    def __call__(self, paths: Sequence[Path], rows: np.ndarray, out: np.ndarray) -> dict[int, str]:
        bad = {}
        for row in rows:
            if len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(paths[row].name)
            try:
                out[row] = [float(word) for word in paths[row].read_text().split()]
            except ValueError:
                bad[int(row)] = f"{paths[row].name} is no photo"
        return bad


def save(root: Path, **texts: str) -> None:
    root.mkdir(exist_ok=True)
    for name, text in texts.items():
        (root / name).write_text(text)


def listed(root: Path, positions: np.ndarray | None = None, unit: str = "degrees") -> Photos:
    return Photos.on_disk(root, sorted(os.listdir(root)), positions, unit)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path / "photos", a="1 0", b="0 1", c="0.6 0.8")
    return tmp_path / "photos"


@pytest.fixture
def index(root: Path, tmp_path: Path) -> PlaceIndex:
    return PlaceIndex.build(tmp_path / "index", listed(root), Teller(), 2, "model-one", dtype="float32")[0]


def test_built_opened_and_searched(index: PlaceIndex, tmp_path: Path) -> None:
    again = PlaceIndex.open(tmp_path / "index", "model-one")
    found = again.search(np.array([[1, 0], [0, 1]], np.float32), 4)
    assert again.photos.files == ["a", "b", "c"] and isinstance(again.descriptors, np.memmap)
    assert found.indices.tolist() == [[0, 2, 1, -1], [1, 2, 0, -1]]
    np.testing.assert_allclose(found.similarities[0], [1, 0.6, 0, -np.inf])
    schema = json.loads((tmp_path / "index/schema.json").read_text())
    assert schema["model"] == "model-one" and schema["data"] == again.photos.digest and schema["photos"] == 3


def test_only_new_and_changed_photos_are_described(index: PlaceIndex, root: Path) -> None:
    before = (index.folder / "schema.json").read_text()
    nothing = Teller()
    change = index.update(listed(root), nothing)
    assert nothing.asked == [] and (change.kept, change.described, change.removed) == (3, [], [])
    assert (index.folder / "schema.json").read_text() == before

    save(root, b="-1 0", d="0 -1")
    os.utime(root / "b", ns=(1, 1))  # of the same size as before or not: it was written again
    (root / "a").unlink()
    teller = Teller()
    change = index.update(listed(root), teller)
    assert teller.asked == ["b", "d"] == change.described and change.removed == ["a"] and change.kept == 1
    assert index.photos.files == ["c", "b", "d"]
    np.testing.assert_allclose(index.descriptors, np.array([[0.6, 0.8], [-1, 0], [0, -1]]), rtol=1e-6)
    assert PlaceIndex.open(index.folder).photos.files == index.photos.files
    assert len(list(index.folder.glob("state-*"))) == 1


def test_added_and_removed_by_name(index: PlaceIndex, root: Path) -> None:
    save(root, d="0 -1")
    teller = Teller()
    assert index.add(Photos.on_disk(root, ["d", "a"]), teller).described == ["d"] == teller.asked
    assert index.photos.files == ["a", "b", "c", "d"]
    assert index.remove(["b"]).removed == ["b"]
    assert index.search(np.array([[0, 1]], np.float32), 1).indices.tolist() == [[1]]  # c has moved up
    with pytest.raises(DataError, match="b is not in the place index"):
        index.remove(["b"])
    with pytest.raises(DataError, match="would hold no photo"):
        index.remove(["a", "c", "d"])
    with pytest.raises(DataError, match="in metres"):
        index.add(Photos.on_disk(root, ["d"], np.zeros((1, 2)), "metres"), teller)


def test_what_another_process_has_added_stays(index: PlaceIndex, root: Path) -> None:
    other = PlaceIndex.open(index.folder)
    save(root, d="0 -1", e="-1 0")
    index.add(Photos.on_disk(root, ["d"]), Teller())
    change = other.add(Photos.on_disk(root, ["e"]), Teller())
    assert (change.described, list(change.removed)) == (["e"], [])
    assert other.photos.files == ["a", "b", "c", "d", "e"]
    index.remove(["e"])
    assert index.photos.files == ["a", "b", "c", "d"]


def test_interrupted_description_leaves_the_old_index_and_goes_on(index: PlaceIndex, root: Path) -> None:
    save(root, d="0 -1", e="-1 0", f="0.8 0.6")
    with pytest.raises(KeyboardInterrupt):
        index.update(listed(root), Teller(stop_after=2))
    again = PlaceIndex.open(index.folder, "model-one")
    assert again.photos.files == ["a", "b", "c"]
    teller = Teller()
    assert again.update(listed(root), teller).described == ["d", "e", "f"]
    assert teller.asked == ["f"]
    np.testing.assert_allclose(again.descriptors[3:], np.array([[0, -1], [-1, 0], [0.8, 0.6]]), rtol=1e-6)
    assert not (index.folder / "unfinished").exists()


def test_interrupted_description_is_not_used_for_other_photos(index: PlaceIndex, root: Path) -> None:
    save(root, d="0 -1", e="-1 0")
    with pytest.raises(KeyboardInterrupt):
        index.update(listed(root), Teller(stop_after=1))
    save(root, d="0.28 0.96")
    teller = Teller()
    index.update(listed(root), teller)
    assert teller.asked == ["d", "e"]
    np.testing.assert_allclose(index.descriptors[3], [0.28, 0.96], rtol=1e-6)


def test_interrupted_writing_leaves_the_old_index(
    index: PlaceIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    save(root, d="0 -1")
    with monkeypatch.context() as patch:
        patch.setattr(storage, "commit", full)
        with pytest.raises(OSError, match="no space left"):
            index.update(listed(root), Teller())
    assert PlaceIndex.open(index.folder).photos.files == ["a", "b", "c"] == index.photos.files
    assert len(list(index.folder.glob("state-*"))) == 1
    teller = Teller()
    assert index.update(listed(root), teller).described == ["d"] and teller.asked == []  # described before


def test_unreadable_photos_are_told_and_tried_again(index: PlaceIndex, root: Path) -> None:
    save(root, d="noise")
    for _ in range(2):
        teller = Teller()
        change = index.update(listed(root), teller)
        assert teller.asked == ["d"] and change.bad == {"d": "d is no photo"} and change.described == []
    assert index.photos.files == ["a", "b", "c"]
    with pytest.raises(DataError, match="would hold no photo: 1 cannot be read .first: d is no photo"):
        PlaceIndex.build(root.parent / "other", Photos.on_disk(root, ["d"]), Teller(), 2, "m")


def test_refusals(index: PlaceIndex, root: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="was made with the model model-one, not with this one .model-two"):
        PlaceIndex.open(index.folder, "model-two")
    with pytest.raises(DataError, match="descriptors of 2 numbers.*shape .1, 3"):
        index.search(np.ones((1, 3), np.float32), 1)
    with pytest.raises(DataError, match="There is no place index"):
        PlaceIndex.open(tmp_path / "nowhere")
    with locked(index.folder), pytest.raises(DataError, match="Another process is writing"):
        index.update(listed(root), Teller())
    with pytest.raises(ConfigError, match="dtype=int8"):
        PlaceIndex.build(tmp_path / "other", listed(root), Teller(), 2, "m", dtype="int8")
    (tmp_path / "else").mkdir()
    (tmp_path / "else/schema.json").write_text('{"dim": 2}')
    with pytest.raises(DataError, match="a folder of its own"):
        PlaceIndex.build(tmp_path / "else", listed(root), Teller(), 2, "m")
    with pytest.raises(DataError, match="gone cannot be looked at"):
        Photos.on_disk(root, ["gone"])
    with pytest.raises(DataError, match="names of their own"):
        Photos.on_disk(root, ["a", "a"])


@pytest.mark.parametrize("name", ["descriptors.npy", "images.csv", "schema.json"])
def test_damaged_files_are_a_sentence(index: PlaceIndex, name: str) -> None:
    path = next(index.folder.rglob(name))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="uild (it|the index) again"):
        PlaceIndex.open(index.folder)


def test_positions_and_odd_names_come_back(root: Path, tmp_path: Path) -> None:
    for name in ('comma, "quote"', "two\nlines", os.fsdecode(b"latin-\xe9")):
        save(root, **{name: "1 0"})
    positions = np.full((6, 2), np.nan)
    positions[1], positions[2] = (-33.8567844213, -151.2152967), (0.1 + 0.2, 180)
    photos = listed(root, positions)
    index, _ = PlaceIndex.build(tmp_path / "index", photos, Teller(), 2, "m")
    assert index.photos.files == photos.files and index.photos.unit == "degrees"
    np.testing.assert_array_equal(index.photos.positions, positions)
    with open(next(index.folder.rglob("images.csv")), newline="", errors="surrogateescape") as file:
        assert next(csv.reader(file)) == ["path", "size", "mtime_ns", "lat", "lon"]
    moved = listed(root, np.ones((6, 2)), "metres")
    teller = Teller()
    assert index.update(moved, teller).kept == 6 and teller.asked == []
    assert index.photos.unit == "metres" and (PlaceIndex.open(index.folder).photos.positions == 1).all()


def test_photos_are_described_through_the_loader(tmp_path: Path) -> None:
    for level in (10, 200):
        Image.new("RGB", (6, 4), (level, 0, 0)).save(tmp_path / f"{level}.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    model = torch.nn.Module().eval()
    model.forward, model.normalise = lambda images: images.float().mean((2, 3)), lambda images: images
    model.preprocess = Preprocess(size=(2, 2))
    seen = path_extractor(Extractor(model, "cpu"), 2, show=False)  # type: ignore[arg-type]
    photos = Photos.on_disk(tmp_path, ["10.png", "200.png", "bad.png"])
    index, change = PlaceIndex.build(tmp_path / "index", photos, seen, 3, "m")
    assert list(change.bad) == ["bad.png"] and "bad.png" in change.bad["bad.png"]
    torch.testing.assert_close(torch.from_numpy(np.array(index.descriptors)).float()[:, 0], torch.tensor([10.0, 200.0]))


def circle(root: Path, photos: int) -> None:
    """Photos at equal angles of a circle, twice over: (cos, sin, cos, sin)."""
    angles = 2 * np.pi * np.arange(photos) / photos
    save(root, **{f"{n:03}": " ".join(map(str, 2 * [np.cos(a), np.sin(a)])) for n, a in enumerate(angles)})


@pytest.mark.parametrize("codec", [PQ(1), PQ(1, rotate=True), Binary(64, learned=False), Binary(8, learned=True)])
def test_codes_follow_the_photos(codec: PQ | Binary, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    circle(root, 80)
    if codec == Binary(8, learned=True):
        with pytest.raises(ConfigError, match="give 4 learned bits at most"):
            PlaceIndex.build(tmp_path / "index", listed(root), Teller(), 4, "m", codec)
        return
    index, _ = PlaceIndex.build(tmp_path / "index", listed(root), Teller(), 4, "m", codec, "float32")
    learned = index.codes
    assert learned is not None and index.bytes_per_photo == learned.sa_code_size() == codec.bytes(4, 4)
    save(root, new="0 1 0 1")
    (root / "007").unlink()
    index.update(listed(root), Teller())
    assert index.codes is not None and index.codes.ntotal == 80 and index.photos.files[7] == "008"
    wanted = learned.sa_encode(np.array(index.descriptors))
    learned.reset()
    learned.add(np.array(index.descriptors))
    for ours, fresh in zip(index.codes.search(index.descriptors, 3), learned.search(index.descriptors, 3), strict=True):
        np.testing.assert_array_equal(ours, fresh)
    assert wanted.shape == (80, codec.bytes(4, 4))
    index.recode(from_plain({"name": "Exact"}))
    assert index.codes is None and index.bytes_per_photo == 16


def benchmark_of_indices() -> ModuleType:
    """Load benchmarks/index.py, which is a script and no part of a package."""
    spec = importlib.util.spec_from_file_location("index_benchmark", ROOT / "benchmarks" / "index.py")
    assert spec and spec.loader
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    return benchmark


def test_recall_of_codes_beside_the_exact_one(tmp_path: Path) -> None:
    """16 photos a quarter; 4 bits hold 16 centroids, so that of 64 photos four share a code, and a query of the third
    of the four finds the first of them: right by itself exactly, wrong in three of four cases by its code."""
    root = tmp_path / "photos"
    circle(root, 64)
    index, _ = PlaceIndex.build(tmp_path / "index", listed(root), Teller(), 4, "m", PQ(1), "float32")
    queries = np.array(index.descriptors)
    truth = RetrievalSet(
        Protocol("circle@0m"), index.photos.paths[::-1], index.photos.paths, [np.array([63 - n]) for n in range(64)]
    )
    measure = benchmark_of_indices().measure
    found = measure(index, truth, queries, (1, 64))
    first = index.search(queries, 1).indices[:, 0]
    assert found.exact == {1: 1.0, 64: 1.0} and found.compressed[64] == 1.0
    assert found.compressed[1] == np.mean(first == np.arange(64)) and 0.1 < found.compressed[1] < 0.6
    assert "circle@0m: R@1" in found.sentences() and "(1 bytes a photo), 100.0 of the exact" in found.sentences()
    assert PlaceIndex.open(index.folder).schema["recall"]["circle@0m"]["exact"]["R@1"] == 1.0
    index.remove(["003"])
    assert "recall" not in index.schema
    with pytest.raises(DataError, match="holds 63 of the 64 database images of circle@0m and 0 others"):
        measure(index, truth, queries)
    with pytest.raises(DataError, match="has 64 queries, and 3 descriptors"):
        measure(index, truth, queries[:3])


def states_file(index: PlaceIndex, name: str) -> Path:
    return index.folder / index.schema["files"] / name


@pytest.mark.parametrize("name", ["descriptors.npy", "images.csv"])
def test_a_flipped_bit_is_found_when_it_is_opened(index: PlaceIndex, name: str) -> None:
    content = bytearray(states_file(index, name).read_bytes())
    content[-3] ^= 1
    states_file(index, name).write_bytes(content)
    with pytest.raises(IndexDamaged, match=f"{name} is not as it was written"):
        PlaceIndex(index.folder)


def test_large_indices_are_verified_on_demand_and_before_rows_are_taken_over(
    index: PlaceIndex, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_index, "CHEAP", 0)
    content = bytearray(states_file(index, "descriptors.npy").read_bytes())
    content[-3] ^= 1
    states_file(index, "descriptors.npy").write_bytes(content)
    opened = PlaceIndex(index.folder)
    save(root, d="1 1")
    for act in (opened.verify, lambda: opened.update(listed(root), Teller()), lambda: opened.remove(["a"])):
        with pytest.raises(IndexDamaged, match="descriptors.npy is not as it was written"):
            act()


@pytest.mark.parametrize("value", [np.nan, 0])
def test_rows_that_no_query_would_find_are_refused(index: PlaceIndex, root: Path, tmp_path: Path, value: float) -> None:
    rows = np.load(states_file(index, "descriptors.npy"))
    rows[1] = value
    np.save(states_file(index, "descriptors.npy"), rows)
    schema = index.schema | {"sha256": {}}  # as indices of before
    (index.folder / "schema.json").write_text(json.dumps(schema))
    with pytest.raises(IndexDamaged, match="the descriptor of b is NaN, infinite or zero"):
        PlaceIndex(index.folder)


@pytest.mark.parametrize("header", [b"{'descr': ", b"\x00" * 60, b"(" * 100])
def test_a_damaged_header_is_a_message(index: PlaceIndex, header: bytes) -> None:
    path = states_file(index, "descriptors.npy")
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.ljust(118) + bytes(64))
    with pytest.raises(IndexDamaged, match="header is damaged|is not as it was written"):
        PlaceIndex(index.folder)


def test_a_schema_deep_beyond_recursion_is_a_message(index: PlaceIndex) -> None:
    (index.folder / "schema.json").write_text("[" * 100_000)
    with pytest.raises(IndexDamaged, match="cannot be read"):
        PlaceIndex(index.folder)
