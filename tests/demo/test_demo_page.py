"""The page of the demo: read again as a browser would."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from vpr.demo import page as article
from vpr.demo.answers import Answer, Heat, Match, Position, Query
from vpr.demo.page import page
from vpr.demo.reliability_plot import Reliability
from vpr.pages import thumbnails
from vpr.pages.figures import Plot
from vpr.retrieval.index.photo_table import Photos

NAME = """sub/"it's" <b>&amp; süß\udcff.png"""
SHOWN = NAME.replace("\udcff", "?")
VOID = {"img", "meta"}


class Reader(HTMLParser):
    """Elements with their attributes, and the text; refuses an end that does not match its beginning."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text, self.open = "", [""]
        self.feed(html)
        self.close()
        assert self.open == [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of one colour each; the last is wider than it is high."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        pixels = np.full((30, 90 if number == 3 else 40, 3), 60 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


@pytest.fixture(scope="module")
def photos(folder: Path) -> Photos:
    positions = np.array([[-33.9, -70.6], [-33.901, -70.6], [-33.9, -70.601], [np.nan, np.nan]])
    return Photos.on_disk(folder, [f"{number}.png" for number in range(4)], positions)


@pytest.fixture(scope="module")
def answers(folder: Path, photos: Photos) -> list[Answer]:
    """A sure answer with heat, one that is not sure, one without positions or confidence, a photo that is none."""
    match = [
        Match(row, photos.files[row], photos.paths[row], similarity, place)
        for row, similarity, place in (
            (0, 0.875, Position(-33.9, -70.6)),
            (1, 0.5, Position(-33.901, -70.6)),
            (3, -0.02, None),
        )
    ]
    heat = Heat(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
    query = Query(NAME, folder / "2.png", Position(-33.9005, -70.6))
    sure = Answer(query, tuple(match), "", Position(-33.9, -70.6), 0.914, True, heat)
    unsure = dataclasses.replace(sure, query=Query("second.png", folder / "1.png"), confidence=0.999, accepted=False)
    bare = Answer(Query("third.png", folder / "2.png"), (match[2],))
    return [sure, unsure, bare, Answer(Query("<four>", folder / "x"), error="<four> is no photo.")]


@pytest.fixture(scope="module")
def html(answers: list[Answer], photos: Photos) -> str:
    facts = {"model": "a <b> & c", "database": "4 photos"}
    reliability = Reliability("<b>97 %</b>", (Plot("data:image/svg+xml;base64,", "a<b"),))
    return page(answers, photos, "Where & \udcff when", facts, reliability)


@pytest.fixture(scope="module")
def read(html: str) -> Reader:
    return Reader(html)


def test_nothing_comes_from_elsewhere(html: str, read: Reader) -> None:
    for _, attributes in read.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert re.match(r"data:image/(jpeg|svg.xml);base64,|#\w+$", attributes.get(name, "#none")), attributes
    assert not re.search(r"https?:|url\(|@import|fetch\(|<link|<iframe|<object", html)
    html.encode("utf-8")  # can be written


def test_links_and_labels_lead_somewhere(read: Reader) -> None:
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and {"q1", "q2", "q3", "q4", "city"} <= set(ids)
    for _, attributes in read.elements:
        for name in ("href", "aria-labelledby", "data-same"):
            assert attributes.get(name, ids[0]).removeprefix("#") in ids


def test_each_photo_is_in_the_page_once_and_has_words(folder: Path, read: Reader) -> None:
    images = read.all("img")
    assert all(image["alt"] for image in images)
    own, copies = [i for i in images if "id" in i], [i for i in images if "data-same" in i]
    pixels = [simplejpeg.decode_jpeg(base64.b64decode(image["src"].partition(",")[2])) for image in own]
    assert [round(float(photo.mean()) / 60) for photo in pixels] == [2, 0, 1, 3]
    assert [photo.shape for photo in pixels] == [(240, 320, 3)] * 3 + [(107, 320, 3)]
    same = {image["id"]: number for image, number in zip(own, (2, 0, 1, 3), strict=True)}
    # Of the second answer the query (1) and all three matches, of the third the query (2) and its match.
    assert [same[image["data-same"]] for image in copies] == [1, 0, 1, 3, 2, 3]
    assert "image.src = document.getElementById(image.dataset.same).src" in read.text


def test_names_are_shown_as_they_are(read: Reader) -> None:
    assert f"Photo that is asked for: {SHOWN}" in [image["alt"] for image in read.all("img")]
    assert read.text.count(SHOWN) == 3  # in the list, on the map, above the answer
    assert "a <b> & c" in read.text and "<four> is no photo." in read.text
    assert read.text.count("Where & ? when") == 2  # title and heading
    assert "<b>97 %</b>" in read.text and "a<b" in [image["alt"] for image in read.all("img")]


def test_what_is_said_of_an_answer(html: str, read: Reader) -> None:
    first, second, third, fourth = re.split(r'<article id="q\d"', html)[1:]
    assert "✓ Confidence <b>91 %</b>, accepted" in first and "? Confidence <b>&gt; 99 %</b>, not sure" in second
    assert "Estimate <b>-33.90000, -70.60000</b>, 55 m from the photo" in first  # 0.0005 degrees of 110.9 km
    assert "Estimate" in second and "from the photo" not in second
    assert "Estimate" not in third and "Confidence" not in third and "<svg" not in third
    assert re.findall(r"width:([\d.]+)%", first) == ["87.5", "50.0", "0.0"]
    assert re.findall(r"</span> (-?0\.\d+)</span>", first) == ["0.875", "0.500", "-0.020"]
    assert "<span>distance</span>0.500" in first  # sqrt(2 - 2 * 0.875)
    assert first.count("<svg") == 3 and 'aria-label="Map of the matches 1,2, the estimate, the photo' in first
    assert "Why this answer" in first and first.count('alt="Heat map over') == 2 and "Why" not in third
    assert "<img" not in fourth and "&lt;four&gt; is no photo." in fourth
    assert read.all("article")[0] == {"id": "q1", "aria-labelledby": "name1"}


def test_heat_colours_the_photo_that_has_it(read: Reader) -> None:
    painted = [image["src"] for image in read.all("img") if image["alt"].startswith("Heat")][:2]
    hot, cold = (simplejpeg.decode_jpeg(base64.b64decode(source.partition(",")[2])) for source in painted)
    assert hot.shape == cold.shape == (180, 240, 3)
    assert (hot[90, 120].astype(int) > 150).all() and (cold < 10).all()  # a grey photo with full heat, a black one


def test_a_second_page_reads_no_photo_that_is_unchanged(folder: Path, answers, photos, html, monkeypatch) -> None:
    read: list[Path] = []
    blank = np.zeros((2, 2, 3), np.uint8)
    for module in (thumbnails, article):
        monkeypatch.setattr(module, "thumbnail", lambda path, *size: read.append(path) or blank)
    assert page(answers, photos, "again", {}) and read == []
    os.utime(folder / "3.png", (1, 1))
    assert page(answers, photos, "again", {}) and read == [folder / "3.png"]


def test_counts_and_contents(html: str) -> None:
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert facts == {"queries": "4", "answered": "3", "could not be read": "1", "accepted": "1",
                     "model": "a &lt;b&gt; &amp; c", "database": "4 photos"}  # fmt: skip
    table = html[html.index("<table") : html.index("</table>")]
    assert re.findall(r"<button>(.*?)</button>", table) == ["#", "photo", "similarity", "confidence", "off by"]
    assert re.findall(r'data-value="(.*?)"', table) == [
        "0.875", "0.914", table[table.index("55.") :].partition('"')[0],
        "0.875", "0.999", "",
        "-0.02", "", "",
        "", "", "",
    ]  # fmt: skip
    assert "the 3 places of the database" in html


def test_a_page_without_positions_calibration_or_many_photos(answers: list[Answer], photos: Photos) -> None:
    nowhere = dataclasses.replace(photos, positions=np.full((4, 2), np.nan))
    html = page(answers[2:], nowhere, "none", {})
    assert "There is no map: the photos of the database have no positions." in html
    assert "<svg" not in html and "<table" not in html and "accepted" not in html and "confidence" not in html
    many = page([answers[2]] * 4, nowhere, "none", {})
    assert re.findall(r"<button>(.*?)</button>", many) == ["#", "photo", "similarity"]
    assert Reader(page([], photos, "none", {})).all("article") == []
