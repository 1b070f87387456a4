"""Answers: the right photos in the right order, confidence, estimates, and one answer a query whatever happens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.demo import answers as module
from vpr.demo.answers import Answer, Heat, Position, Query, answer, with_heat
from vpr.demo.database import photos
from vpr.errors import DataError
from vpr.retrieval.calibration import Calibration
from vpr.retrieval.index.codecs import Binary
from vpr.retrieval.index.place_index import PlaceIndex

CALIBRATION = dict(precision=0.9, queries=100, right=60)


@pytest.fixture
def index(take, tmp_path: Path, colours) -> PlaceIndex:
    """Eight views, 111 m apart from south to north, two shots of each on one spot; the last has no position."""
    for view in range(8):
        for noise in (1, 2):
            lat = None if view == 7 else view / 1000
            take(f"map/{view}-{noise}.jpg", view, lat, None if lat is None else 16.0, noise)
    return PlaceIndex.build(tmp_path / "index", photos(tmp_path / "map"), colours, colours.dim, "m" * 64)[0]


@pytest.fixture
def asked(take) -> list[Query]:
    paths = [take(f"new/{view}.jpg", view, noise=3) for view in (2, 5, 7)]
    return [Query(path.name, path) for path in paths]


def test_the_shots_of_the_place_come_first(index: PlaceIndex, asked: list[Query], colours) -> None:
    found = answer(index, asked, colours, k=4)
    assert [a.query for a in found] == asked
    for a, view in zip(found, (2, 5, 7), strict=True):
        assert sorted(match.name for match in a.matches[:2]) == [f"{view}-1.jpg", f"{view}-2.jpg"]
        assert len({match.row for match in a.matches}) == 4  # all k, each once
        similarities = [match.similarity for match in a.matches]
        assert similarities == sorted(similarities, reverse=True) and similarities[1] > 0.5 > similarities[2]
        assert all(match.path == index.photos.root / match.name for match in a.matches)
        assert a.confidence is None and a.accepted is None and not a.error
    assert found[0].position == pytest.approx(Position(0.002, 16), abs=1e-6)
    assert found[2].matches[0].position is None and found[2].position is not None  # a lower match has one


def test_blocks_change_nothing(index: PlaceIndex, asked: list[Query], colours, monkeypatch) -> None:
    whole = answer(index, asked, colours, k=3)
    monkeypatch.setattr(module, "BLOCK", 2)
    assert answer(index, asked, colours, k=3) == whole
    assert answer(index, [], colours) == []


def test_a_query_that_is_no_photo(index: PlaceIndex, asked: list[Query], colours, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    asked.insert(1, Query("notes.txt", tmp_path / "notes.txt"))
    asked.append(Query("gone.jpg", tmp_path / "gone.jpg"))
    found = answer(index, asked, colours, calibration=Calibration(0, 1, 1, threshold=0.5, **CALIBRATION))
    assert [bool(a.error) for a in found] == [False, True, False, False, True]
    assert "is not an image" in found[1].error and "no such file" in found[4].error
    assert found[1] == Answer(asked[1], error=found[1].error)


def test_a_photo_of_the_database_is_no_match_of_itself(index: PlaceIndex, colours) -> None:
    own = Query("4-1.jpg", index.photos.root / "4-1.jpg")
    (found,) = answer(index, [own], colours, k=15)
    assert found.matches[0].name == "4-2.jpg" and len(found.matches) == 15
    assert "4-1.jpg" not in [match.name for match in found.matches]
    link = index.photos.root.parent / "link"
    link.symlink_to(index.photos.root)
    for path in (link / "4-1.jpg", index.photos.root / "../map/4-1.jpg"):
        assert answer(index, [Query("x", path)], colours)[0].matches[0].name == "4-2.jpg"


def test_fewer_photos_than_k(index: PlaceIndex, asked: list[Query], colours) -> None:
    assert [len(a.matches) for a in answer(index, asked, colours, k=50)] == [16, 16, 16]
    assert [len(a.matches) for a in answer(index, asked, colours, k=1)] == [1, 1, 1]


def test_confidence_is_that_of_the_calibration(index: PlaceIndex, asked: list[Query], colours) -> None:
    sure = Calibration(offset=-1, similarity=2, margin=0, threshold=0.0, **CALIBRATION)
    found = answer(index, asked, colours, k=1, calibration=sure)
    for a in found:
        s1 = a.matches[0].similarity
        assert a.confidence == pytest.approx(1 / (1 + np.exp(1 - 2 * s1)), rel=1e-5) and a.accepted is True
    never = Calibration(offset=-1, similarity=2, margin=0, threshold=0.9, **CALIBRATION)
    assert {a.accepted for a in answer(index, asked, colours, calibration=never)} == {False}


def test_a_compressed_kind_gives_the_similarities_of_descriptors(index: PlaceIndex, asked, colours) -> None:
    exact = answer(index, asked, colours, k=2)
    index.recode(Binary(bits=256, learned=False))
    coded = answer(index, asked, colours, k=2)
    assert [[m.name for m in a.matches] for a in coded] == [[m.name for m in a.matches] for a in exact]
    assert {one.exact for one in coded + answer(index, [], colours)} == {None}
    looked = answer(index, [*asked, Query("x", Path("gone.jpg"))], colours, k=2, compared=2)
    assert [one.exact for one in looked] == [True, True, None, None]
    for one, other in zip(coded, exact, strict=True):
        assert one.matches[0].similarity == pytest.approx(other.matches[0].similarity, abs=1e-4)


def test_heat_of_the_first_match_where_both_can_be_read(index: PlaceIndex, asked, colours, tmp_path: Path) -> None:
    def heat(query: Path, match: Path) -> Heat:
        if query.name == "5.jpg":
            raise DataError("gone")
        return Heat(np.ones((1, 1)), np.full((1, 1), int(match.name[0])))

    found = answer(index, [*asked, Query("x", tmp_path)], colours)
    warm = with_heat(found, heat)
    assert [a.heat is None for a in warm] == [False, True, False, True]
    assert warm[0].heat is not None and warm[0].heat.match == 2
    assert warm[1] == found[1] and warm[3] == found[3]


def test_a_first_match_that_codes_miss_is_counted(index: PlaceIndex, asked, colours, monkeypatch) -> None:
    index.recode(Binary(bits=256, learned=False))
    far = index.search(np.asarray(-index.descriptors[:1], np.float32).repeat(3, 0), 2)
    whole = index.search
    monkeypatch.setattr(index, "search", lambda d, k, exact=False: whole(d, k, True) if exact else far)
    assert [one.exact for one in answer(index, asked, colours, k=2, compared=9)] == [False, False, False]
    assert [one.exact for one in answer(index, [Query("x", Path("gone.jpg"))] * 3, colours, compared=9)] == [None] * 3
