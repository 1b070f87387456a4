"""One city in every layout: the same database, queries, positives and recall, whichever reader reads it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from vpr.data.formats import dbstruct, gsv_cities, image_folder, tokyo_tm
from vpr.data.geo import from_earth, to_utm
from vpr.data.images import decode
from vpr.data.retrieval_set import ImageDataset, RetrievalSet
from vpr.models.describer import build_describer
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.toycity.layouts.album import POSITION, Album
from vpr.types import Preprocess, Protocol

KS = (1, 2, 3, 5, 10)
SMALL = Preprocess(size=(112, 144))  # more than half of a photo: a JPEG is not decoded smaller, as a PNG cannot be
LISTED: dict[str, tuple[str, str | None, dict[str, Any]]] = {  # dataset, folder, settings
    "MixVPR's Pittsburgh": ("pitts30k", None, {}),
    "Pitts250k": ("pitts250k", None, {}),
    "OpenIBL's Pittsburgh": ("pitts30k", "pitts250k_openibl", {}),
    "gsv-cities' lists": ("pitts30k_lists", None, {}),
    "Tokyo 24/7": ("tokyo247", None, {"panorama": None, "query_short_side": None}),
    "MSLS, official": ("msls_740", None, {}),
    "MSLS, all queries": ("msls_11k", None, {}),
    "MSLS, lists": ("msls_val", None, {}),
    "VPR-Bench": ("tokyo247_vprbench", None, {}),
    "EXIF": ("image_folder", "own_photos", {}),
    "csv": ("image_folder", "own_photos", {"csv": "positions.csv"}),
}
SORTED: dict[str, tuple[str, str | None, dict[str, Any]]] = {  # folders whose names stand in another order
    "UTM names": ("pitts30k_utm", None, {}),
    "UTM names of one's own": ("utm_folder", "toycity/panoramas", {}),
    "index.csv": ("image_folder", "toycity/panoramas", {"csv": "index.csv"}),
}
ALL = LISTED | SORTED


class Rows(NamedTuple):
    """Return the images of the album that a reader calls its database and its queries."""

    database: np.ndarray
    queries: np.ndarray


def pixels(path: Path) -> str:
    return hashlib.sha256(decode(path).tobytes()).hexdigest()


def rows_of(found: RetrievalSet, album: Album) -> Rows:
    """Find each photo in the album by its pixels."""
    sides = []
    for paths, table in ((found.database, album.database), (found.queries, album.queries)):
        row = {pixels(album.folder / path): number for number, path in enumerate(table.path)}
        assert len(row) == len(table)
        sides.append(np.array([row[pixels(path)] for path in paths]))
    return Rows(*sides)


def describe(images: Tensor) -> Tensor:
    """Colours of 6 x 8 areas, in whole numbers: the same in any batch."""
    means = adaptive_avg_pool2d(images.double(), (6, 8)).round().flatten(1)
    return normalize(means - means.mean(1, keepdim=True)).float()


def measure(found: RetrievalSet) -> Evaluation:
    model = torch.nn.Module().eval()
    model.forward, model.normalise = describe, lambda images: images
    model.dim, model.preprocess, model.fixed_size = 144, SMALL, False
    extractor = Extractor(model, "cpu")  # type: ignore[arg-type]
    return evaluate(extractor, found, options=EvalOptions(ks=KS, dtype="float32", progress=False))


class ByHand(NamedTuple):
    """Positives from all distances, the ranking from all similarities, and recall in plain loops."""

    positives: list[list[int]]
    ranking: np.ndarray
    recalls: dict[int, float]


@pytest.fixture(scope="module")
def by_hand(toycity) -> ByHand:
    positives = positives_by_hand(toycity.album)
    database, queries = (describe(photos(toycity.album, rows)).double().numpy() for rows in toycity.album[1:])
    ranking = np.argsort(-(queries @ database.T), axis=1, kind="stable")
    return ByHand(positives, ranking, {k: recall_by_hand(ranking[:, :k], positives) for k in KS})


def positives_by_hand(album: Album) -> list[list[int]]:
    distances = np.linalg.norm(
        album.queries[POSITION].to_numpy()[:, None] - album.database[POSITION].to_numpy()[None], axis=-1
    )
    assert np.abs(distances - 25).min() > 0.05  # so that positions need to agree within centimetres only
    return [np.flatnonzero(row <= 25).tolist() for row in distances]


def photos(album: Album, rows) -> Tensor:
    dataset = ImageDataset([album.folder / path for path in rows.path], SMALL)
    return torch.from_numpy(np.stack([dataset[i][0] for i in range(len(dataset))])).permute(0, 3, 1, 2)


def recall_by_hand(neighbours: Any, positives: list[list[int]]) -> float:
    hits = [bool(set(found) & set(right)) for found, right in zip(neighbours, positives, strict=True)]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("layout", ALL)
def test_same_photos_positives_and_recall(toycity, by_hand, layout: str) -> None:
    dataset, folder, settings = ALL[layout]
    found = toycity.read(dataset, folder, **settings)
    rows = rows_of(found, toycity.album)
    for side, table in zip(rows, toycity.album[1:], strict=True):
        assert sorted(side) == list(range(len(table)))
        assert layout in SORTED or side.tolist() == list(range(len(table)))
    mapped = [sorted(rows.database[right].tolist()) for right in found.positives]
    assert mapped == [by_hand.positives[query] for query in rows.queries]
    result = measure(found)
    assert result.recalls == by_hand.recalls
    assert np.array_equal(rows.database[result.neighbours.indices], by_hand.ranking[rows.queries, : max(KS)])


def test_this_city_can_tell_readers_apart(by_hand: ByHand) -> None:
    assert 0 < by_hand.recalls[1] < by_hand.recalls[5] < by_hand.recalls[10]
    assert len({len(right) for right in by_hand.positives}) > 1  # some queries are near one more panorama than others


def test_tokyo_counts_the_nearest_cut_out_of_a_panorama(toycity, by_hand: ByHand) -> None:
    found = toycity.read("tokyo247")
    assert found.query_short_side == 640
    assert found.panoramas is not None and found.panoramas.tolist() == toycity.album.database.place_id.tolist()
    suppressed = []
    for ranking in by_hand.ranking:
        seen: set[int] = set()
        first = []
        for row in ranking:
            if row // 12 not in seen:  # 12 cut-outs in a row
                first.append(row)
            seen.add(row // 12)
        suppressed.append(first)
    result = measure(replace(found, query_short_side=None))
    assert result.neighbours.indices[:, :6].tolist() == suppressed
    expected = {k: recall_by_hand([row[:k] for row in suppressed], by_hand.positives) for k in KS}
    assert result.recalls == expected != by_hand.recalls


@pytest.mark.parametrize("csv", [None, "positions.csv"])
@pytest.mark.parametrize("side", ["database", "queries"])
def test_degrees_give_positions_within_centimetres(toycity, side: str, csv: str | None) -> None:
    found = image_folder.photos(toycity.root / "own_photos", side, csv)
    table = getattr(toycity.album, side)
    east, north = to_utm(*from_earth(found.positions), 33)
    assert np.abs(np.stack([east, north], axis=1) - table[POSITION].to_numpy()).max() < 0.02
    assert np.abs((found.headings - table.heading.to_numpy() + 180) % 360 - 180).max() < 0.06


def test_tokyo_tm_has_the_photos_of_the_others(toycity, by_hand: ByHand) -> None:
    root, album = toycity.root / "tokyo_tm", toycity.album
    protocol = Protocol("x", len(album.database), len(album.queries))
    rows = rows_of(dbstruct.read(root, "tokyoTM_val.mat", protocol, layouts=tokyo_tm.LAYOUTS), album)
    assert all(side.tolist() == list(range(len(side))) for side in rows)
    # Held out is one of a place's time stamps: all cut-outs of the panorama, or the queries of one month.
    found = tokyo_tm.read(root, "tokyoTM_val.mat", Protocol("x"))
    assert len(found.database) + len(found.queries) == len(album.database) + len(album.queries)
    assert len({path.parents[1] for path in found.queries}) == 6
    for query, right in zip(found.queries, found.positives, strict=True):
        assert query.parents[1] in {found.database[row].parents[1] for row in right}


def test_gsv_cities_has_the_panoramas_as_places(toycity) -> None:
    places = gsv_cities.read(toycity.root / "gsv_cities", min_images_per_place=12)
    assert np.diff(places.starts).tolist() == [12 + 3] * 6 and places.ids.tolist() == list(range(6))
    tables = pd.concat(toycity.album[1:])
    expected = {pixels(toycity.album.folder / row.path): row.place_id for row in tables.itertuples()}
    for place, (start, end) in enumerate(pairwise(places.starts)):
        assert {expected[pixels(places.path(image))] for image in range(start, end)} == {place}


@pytest.mark.slow
def test_a_model_has_the_same_recall_everywhere(toycity) -> None:
    torch.manual_seed(3)
    backbone = {
        "_target_": "vpr.models.backbones.mobilenet_v3.MobileNetV3",
        "name": "mobilenet_v3_small",
        "weights": "none",
    }
    image = {"size": list(SMALL.size), "mean": None, "std": None, "interpolation": "bilinear"}
    describer = build_describer(
        backbone, {"_target_": "vpr.models.aggregators.gem.GeM", "_partial_": True}, image
    ).eval()
    recalls = {}
    for layout, (dataset, folder, settings) in ALL.items():
        found = toycity.read(dataset, folder, **settings)
        result = evaluate(Extractor(describer, "cpu"), found, options=EvalOptions(ks=KS, progress=False))
        recalls[layout] = tuple(result.recalls.values())
    assert len(set(recalls.values())) == 1, recalls
    assert 0 < recalls["EXIF"][0] < 1
