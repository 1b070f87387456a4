"""Refresh of the tuples: images that are described, those that are sampled, and bad ones."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import vpr.training.tuple_mining as refresh_module
from vpr.data.formats import utm_folder
from vpr.data.tuple_sampler import Chunk
from vpr.data.tuples import Candidates, join, read
from vpr.errors import DataError
from vpr.models.describer import Describer, build_describer
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.kreciprocal import KReciprocal
from vpr.retrieval.mining import Mining
from vpr.training.tuple_mining import Refresh

PARTS = {
    "backbone": {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [4]},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM", "_partial_": True},
    "image": {"size": [48, 48]},
}


@pytest.fixture(scope="module")
def describer() -> Describer:
    torch.manual_seed(0)
    return build_describer(**PARTS).eval()


@pytest.fixture
def candidates(walk: Path, tmp_path: Path) -> Candidates:
    """24 queries and 24 database images of 12 places, in a folder that a test may spoil."""
    root = shutil.copytree(walk, tmp_path / "walk")
    sides = (utm_folder.photos(root, side) for side in ("queries", "gallery"))
    return join([read(*sides, ".+")])


def refreshed(candidates: Candidates, describer: Describer, folder: Path, queries: list[int], **options) -> np.ndarray:
    mining = options.pop("mining", Mining(negatives=2, pool=10))
    refresh = Refresh(candidates, mining, folder, batch_size=5, **options)
    return refresh(Chunk(0, 0, np.array(queries)), np.full((24, 2), -1), Extractor(describer, "cpu"))


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[list[Path]]:
    """Paths that are described, look by look."""
    seen: list[list[Path]] = []
    extract = refresh_module.extract

    def listed(describe, loader, out, progress=None):
        seen.append([loader.dataset.paths[row] for batch in loader.batch_sampler for row in batch])
        return extract(describe, loader, out, progress)

    monkeypatch.setattr(refresh_module, "extract", listed)
    return seen


def test_the_queries_of_the_part_and_all_of_the_gallery_are_described(candidates, describer, tmp_path, described):
    tuples = refreshed(candidates, describer, tmp_path / "mining", [7, 2])
    assert described == [[candidates.path(photo) for photo in (7, 2, *range(24, 48))]]
    assert tuples[:, 0].tolist() == [7, 2]
    assert [(positive - 24) // 2 for positive in tuples[:, 1]] == [3, 1]
    assert not list((tmp_path / "mining").iterdir()), "descriptors of past weights are of no use"


def test_a_part_of_the_gallery_is_drawn_beside_what_the_queries_need(candidates, describer, tmp_path, described):
    few = {"sampled": 4}
    tuples = refreshed(candidates, describer, tmp_path / "mining", [7, 2], **few)
    numbers = {candidates.path(photo): photo for photo in range(48)}
    photos = [numbers[path] for path in described[0]]
    own = {24 + 6, 24 + 7, 24 + 2, 24 + 3}
    assert photos[:2] == [7, 2] and own <= set(photos)
    assert 4 <= len(photos[2:]) <= 8
    assert set(tuples[:, 2:].ravel()) <= set(photos)
    assert np.array_equal(refreshed(candidates, describer, tmp_path / "mining", [7, 2], **few), tuples)


def test_reranking_looks_among_all_queries_whose_turn_it_may_be(candidates, describer, tmp_path, described):
    own = {"mining": Mining(negatives=2, pool=10, difficult=1, positive_pool=2), "rerank": KReciprocal(k1=6)}
    every = refreshed(candidates, describer, tmp_path / "mining", list(range(24)), **own)
    some = refreshed(candidates, describer, tmp_path / "mining", [7, 2], **own)
    assert described[1][:2] == [candidates.path(7), candidates.path(2)]
    assert sorted(described[1]) == sorted(described[0]) and len(described[1]) == 48
    assert np.array_equal(some[:, [0, 1, 4]], every[[7, 2]][:, [0, 1, 4]]), "query, positive, difficult positive"
    refreshed(candidates, describer, tmp_path / "mining", [7, 2], sampled=4, **own)
    assert len(described[2]) <= 2 + 8, "a part of the database is described to be quick"


@pytest.mark.parametrize("same", [True, False], ids=["the same weights", "other weights"])
def test_what_a_cut_off_look_has_left_is_for_the_same_weights(
    candidates, describer, tmp_path, described, monkeypatch, same: bool
):
    expected = refreshed(candidates, describer, tmp_path / "straight", [7, 2])
    extract = refresh_module.extract

    def cut_off(describe, loader, out, progress=None):
        extract(describe, loader, out)
        out[10:] = 0  # two batches of five are done, and half of a row
        out[10, :256] = 0.1
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(refresh_module, "extract", cut_off)
        refreshed(candidates, describer, tmp_path / "mining", [7, 2])
    described.clear()
    now = describer if same else build_describer(**PARTS).eval()
    tuples = refreshed(candidates, now, tmp_path / "mining", [7, 2])
    assert len(described[0]) == (16 if same else 26)
    assert np.array_equal(tuples, expected) or not same


def test_bad_photos_are_left_out_and_told_once(candidates, describer, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(refresh_module.BadImageTally.__init__, "__defaults__", (0.5, 100, 500))
    for photo in (2, 30):
        candidates.path(photo).write_bytes(b"no photo")
    with caplog.at_level(logging.WARNING):
        tuples = refreshed(candidates, describer, tmp_path / "mining", [7, 2, 6])
    assert not {2, 30} & set(tuples.ravel())
    assert tuples[:, 0].tolist() == [7, 6, 6], "another query takes the turn"
    assert sum("Left out" in message for message in caplog.messages) == 2


def test_too_many_bad_photos_end_the_run(candidates, describer, tmp_path):
    for photo in range(24, 34):
        candidates.path(photo).unlink()
    with pytest.raises(DataError, match=r"10 of 26 training images cannot be read.* check dataset\.weak"):
        refreshed(candidates, describer, tmp_path / "mining", [7, 2])
