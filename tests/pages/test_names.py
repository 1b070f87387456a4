"""Names of files, runs and protocols change nothing in a page but the text that shows them."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from vpr.data.retrieval_set import RetrievalSet
from vpr.demo.answers import Answer, Heat, Match, Position, Query
from vpr.demo.page import page as places_page
from vpr.demo.reliability_plot import Reliability
from vpr.pages.figures import Plot
from vpr.report import comparison_page, matches
from vpr.report.runs import Run, Unfinished
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.index.photo_table import Photos
from vpr.retrieval.search import Neighbours
from vpr.terminal import UNREADABLE, readable
from vpr.types import Protocol

PLAIN = "name"
ODD = "<script>alert(1)<!-- \"><b>'it&amp;s'\x07\x1b[31m\x85\u202e{{ title }} $x\\frac$ %s süß\udcff.jpg"


class Skeleton(HTMLParser):
    """Elements with the names of their attributes, and the text outside of style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.values: list[str] = []
        self.text, self.raw = "", False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]
        self.raw = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}",))
        self.raw = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.raw else data


def evaluation(name: str, first: int) -> Evaluation:
    """Two queries; the first match of both is row `first`, and rows 0 and 1 are right for one of them each."""
    paths = [Path(name) / f"{name}{row}" for row in range(4)]
    used = RetrievalSet(Protocol(name), paths[:2], paths[2:], [np.array([0]), np.array([1])])
    neighbours = Neighbours(np.full((2, 2), 0.5, np.float32), np.array([[first, 1 - first]] * 2))
    hits = np.array([[first == 0], [first == 1]])
    return Evaluation(used, {1: 0.5}, {1: (0.0, 1.0)}, hits, np.ones(2, bool), neighbours, {}, 8, {"extract": 1.0})


def matches_page(name: str) -> str:
    result = evaluation(name, 0)
    return matches.page(result, matches.choose(result))


def compared(name: str, folder: Path) -> str:
    before, after = evaluation(name, 0), evaluation(name, 1)
    return matches.compare(before, after, folder / "page.html", name, (name, name)).read_text("utf-8")


def comparison(name: str, folder: Path) -> str:
    """An undistilled and a distilled run, and one that did not end."""
    runs = []
    for teacher in ("", name):
        config: dict[str, Any] = {
            "name": name,
            "seed": 0,
            "labels": {"student": name, "teacher": teacher, "dataset": name},
            "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
            "trainer": {"max_epochs": 3, "extra": {}},
            "optimizer": {"lr": 0.1 if teacher else name},
            "distillation": {"terms": {name: {}} if teacher else {}, "teachers": []},
        }
        costs = {"parameters": 1e6, "gmacs": 0.3, "latency_ms": 7.0, "latency_runs": 30, "descriptor_bytes": 2048}
        costs |= {"device": name, "threads": 2, "image_size": [48, 64]}
        summary = {"config": config, "costs": costs, "seconds": 1.0, "digest": name}
        recalls = {name: {"R@1": 0.5, "R@5": 0.6, "R@10": 0.7}}
        runs.append(Run(folder / f"{teacher}run" / name, summary, recalls, {}))
    job = Unfinished(folder / "job", [name], name, name)
    pictures = {(runs[0].folder, runs[1].folder, name): folder / "page.html"}
    return comparison_page.page(name, runs, [job], folder / "report.html", pictures)


def places(name: str) -> str:
    """Four answers, of which one has everything and one an error."""
    position = Position(46.6, 14.3)
    heat = Heat(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    match = Match(0, name, Path(name), 0.5, position)
    answer = Answer(Query(name, Path("query"), position), (match,), "", position, 0.9, True, heat)
    answers = [answer, *[Answer(Query(name, Path(name)), error=name)] * 3]
    stamps = np.zeros(1, np.int64)
    photos = Photos(Path(name), [name], stamps, stamps, np.array([position]))
    reliability = Reliability(name, (Plot("data:,", name),))
    return places_page(answers, photos, name, {"model": name}, reliability)


MAKERS: dict[str, Callable[[str, Path], str]] = {
    "matches": lambda name, _: matches_page(name),
    "compare": compared,
    "comparison": comparison,
    "places": lambda name, _: places(name),
}


@pytest.mark.parametrize("page", MAKERS)
def test_odd_names_are_shown_and_change_nothing(page: str, tmp_path: Path) -> None:
    plain, odd = (Skeleton(MAKERS[page](name, tmp_path)) for name in (PLAIN, ODD))
    assert odd.elements == plain.elements
    shown = readable(ODD)
    assert shown in odd.text and plain.text.count(PLAIN) == odd.text.count(shown)
    assert any(shown in value for value in odd.values)
    for text in (odd.text, *odd.values):
        assert not UNREADABLE.search(text)
    prefix = "data:image/svg+xml;base64,"
    for value in odd.values:
        if value.startswith(prefix):
            ElementTree.fromstring(base64.b64decode(value.removeprefix(prefix)))  # it is XML still


def test_a_photo_of_any_name_is_in_the_demo_by_all_its_words(tmp_path: Path) -> None:
    read = Skeleton(places(ODD))
    for words in (f"Photo that is asked for: {readable(ODD)}", f"Match 1: {readable(ODD)}", readable(ODD)):
        assert words in read.values
    assert dataclasses.asdict(Query(ODD, Path(ODD)))["name"] == ODD  # files of other programs keep the name as it is
