"""Picture strips of the demo."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.data.images import decode
from vpr.demo.answers import Answer, Match, Query
from vpr.demo.outputs import CAPTION, GAP, SPACE, file_name, strip, write_strips

CELL = 320 + 4
COLOURS = {"red.png": (255, 0, 0), "green.png": (0, 255, 0), "blue.png": (0, 0, 255)}


@pytest.fixture
def answer(tmp_path: Path) -> Answer:
    """A red query with a green and a blue match; red and green are wide, blue is high."""
    for name, colour in COLOURS.items():
        pixels = np.full((40, 10, 3) if name == "blue.png" else (30, 40, 3), colour[::-1], np.uint8)
        cv2.imwrite(str(tmp_path / name), pixels)
    matches = [Match(row, name, tmp_path / name, 0.5) for row, name in enumerate(("green.png", "blue.png"))]
    return Answer(Query("red.png", tmp_path / "red.png"), tuple(matches))


def test_query_gap_and_matches_stand_in_a_row(answer: Answer) -> None:
    picture = strip(answer)
    assert picture.dtype == np.uint8
    assert picture.shape == (SPACE + 244 + CAPTION, SPACE + CELL + GAP + CELL + SPACE + CELL + SPACE, 3)
    lefts = [SPACE, SPACE + CELL + GAP, SPACE + CELL + GAP + CELL + SPACE]
    middles = [tuple(picture[SPACE + 122, left + CELL // 2].tolist()) for left in lefts]
    assert middles == list(COLOURS.values())
    assert tuple(picture[SPACE + 122, lefts[2] + 10]) == (234, 238, 242)  # beside the high photo
    captions = picture[-CAPTION:]
    assert all((captions[:, left : left + CELL] < 100).any() for left in lefts)
    assert (picture[:, SPACE + CELL : lefts[1]] == 255).all()


def test_strips_are_written_for_answers_with_matches(answer: Answer, tmp_path: Path) -> None:
    broken = Answer(Query("a.jpg", tmp_path / "a.jpg"), error="a.jpg cannot be read.")
    gone = Answer(Query("gone.jpg", tmp_path / "gone.jpg"), answer.matches[:1])
    paths = write_strips([answer, broken, gone], tmp_path / "strips")
    assert [path.name for path in paths] == [file_name("red.png"), "gone.jpg"]
    assert decode(paths[0], (284, 1028)).shape == strip(answer).shape
    assert strip(gone)[SPACE + 122, SPACE + 162].tolist() == [200, 200, 200]  # a photo that is not there is grey


def test_names_are_safe_and_tell_queries_apart() -> None:
    assert [file_name(name) for name in ("IMG_1.JPG", "@1@2@.jpg", "a-b+c.jpeg")] == [
        "IMG_1.JPG", "@1@2@.jpg", "a-b+c.jpeg",
    ]  # fmt: skip
    odd = [
        "a/b.jpg", "a_b.png", "a b.jpg", "../../x.jpg", "..", ".hidden.jpg", "-rf.jpg", "x.png", "x", "süß.jpg", "",
        "суп.jpg", "clip.mp4 at 3.0 s", 'a"<b>&.jpg', "long" * 99 + ".jpg", "long" * 99 + "er.jpg",
        "\udcff.jpg", "a\nb.jpg",
    ]  # fmt: skip
    names = [file_name(name) for name in odd]
    assert len({*names, "a_b.jpg"}) == len(odd) + 1
    for name in names:
        assert name.isascii() and name.endswith(".jpg") and name[0] not in ".-"
        assert len(name) < 120 and not set(name) & set('/\\"<>&\n :')
    assert names[0] == file_name(odd[0])
