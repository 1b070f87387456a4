from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError
from vpr.pages.thumbnails import thumbnail
from vpr.report import matches
from vpr.report.matches import choose
from vpr.retrieval.agreement import Agreement
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.search import Neighbours
from vpr.types import Protocol

HITS, MISSES, LEFT_OUT = 5, 3, 2
DATABASE = 6


@pytest.fixture
def result(tmp_path: Path) -> Evaluation:
    """Queries 0-4 hit at rank 1, 5-7 miss (6 finds a positive at rank 2), 8-9 have no positives."""
    paths = [tmp_path / f"<{name}> & {row}.png" for name in "dq" for row in range(10)]
    for row, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((30, 60, 3), 10 * row, np.uint8))
    positives = (
        [np.array([0])] * HITS + [np.array([5]), np.array([1]), np.array([5])] + [np.empty(0, np.int64)] * LEFT_OUT
    )
    used = RetrievalSet(Protocol("a/b@<1>"), paths[:DATABASE], paths[10:], positives)
    neighbours = Neighbours(np.full((10, 5), 0.5, np.float32), np.tile([0, 1, 2, 3, -1], (10, 1)))
    first = np.arange(10) < HITS
    return Evaluation(
        used, {1: 0.625}, {1: (0.5, 0.75)}, first[:, None], np.arange(10) < 8, neighbours, {}, 8, {"extract": 1}
    )


def test_columns_hold_what_they_say(result: Evaluation) -> None:
    columns = choose(result, count=4)
    assert {name: len(examples) for name, examples in columns.items()} == {"Misses (3)": 3, "Hits (5)": 4}
    hit, missed, never = columns["Hits (5)"][0], columns["Misses (3)"][1], columns["Misses (3)"][0]
    assert [shot.right for shot in hit.shots] == [None, True, False, False, False]
    assert [shot.right for shot in missed.shots] == [None, False, True, False, None]
    assert missed.shots[-1].path == result.retrieval_set.database[1] and missed.shots[1].caption == "✗ 0.50"
    assert missed.note == "first right match at rank 2" and never.note == "0 of 1 positives in the first 5"
    assert hit.note == "1 of 1 positives in the first 5"


def test_choice_follows_the_seed(result: Evaluation) -> None:
    names = [[example.shots[0].path for example in choose(result, seed, 2)["Hits (5)"]] for seed in (1, 1, 2, 3, 4)]
    assert names[0] == names[1] and any(other != names[0] for other in names[2:])


def test_page_needs_nothing_else_and_escapes_names(result: Evaluation) -> None:
    html, png = matches.write(result, result.retrieval_set.queries[0].parent / "out")
    text = html.read_text(encoding="utf-8")
    assert html.name == "matches_a_b@_1_.html" and png.name == "matches_a_b@_1_.png"
    assert len(re.findall(r'src="data:image/jpeg;base64,[\w+/=]+"', text)) == text.count("<img") == 5 * (HITS + MISSES)
    assert not re.search(r"https?:|<script|url\(|@import", text)
    assert "a/b@&lt;1&gt;" in text and "&lt;q&gt; &amp; 0.png" in text and "<q>" not in text
    assert "62.5" in text and "50.0 – 75.0" in text


def test_png_has_a_frame_of_the_right_colour_for_every_shot(result: Evaluation) -> None:
    figure = matches.draw(result, choose(result))
    assert isinstance(figure, Figure) and len(figure.axes) == 5 * (HITS + MISSES)
    colours = [axes.spines["left"].get_edgecolor() for axes in figure.axes]
    green = sum(colour[1] > 0.4 and colour[0] < 0.2 for colour in colours)
    assert green == HITS + 1  # the first match of each hit, and the second of query 6


def test_column_without_examples(result: Evaluation) -> None:
    columns = {"Misses (0)": [], "Hits (5)": choose(result)["Hits (5)"]}
    assert "none" in [text.get_text() for text in matches.draw(result, columns).texts]
    assert '<p class="soft">none</p>' in matches.page(result, columns)


def test_thumbnail_fits_its_box_or_is_grey(result: Evaluation, tmp_path: Path) -> None:
    assert thumbnail(result.retrieval_set.database[0], 100, 80).shape == (40, 80, 3)
    gone = thumbnail(tmp_path / "gone.jpg", 10, 20)
    assert gone.shape == (10, 20, 3) and (gone == 200).all()


def test_what_one_model_fixed_and_broke(result: Evaluation, tmp_path: Path) -> None:
    """Queries 0-4 hit and 5-7 miss before; afterwards 6 hits, and 0 and 1 miss."""
    indices = result.neighbours.indices.copy()
    indices[6, 0], indices[[0, 1], 0] = 1, 2
    after = replace(result, recalls={1: 0.5}, neighbours=Neighbours(result.neighbours.similarities, indices))
    path = matches.compare(result, after, tmp_path / "out/page.html", "a <student>", ("first", "second"))
    text = path.read_text(encoding="utf-8")
    fixed, broken = text.partition("Broken (2)")[::2]
    assert "Fixed (1)" in fixed and "6.png" in fixed
    captions = re.compile("<figcaption>(.*?)</figcaption>")
    assert captions.findall(fixed) == ["query", "✗ 0.50 first", "✓ 0.50 second", "a right one"]
    assert captions.findall(broken) == ["query", "✓ 0.50 first", "✗ 0.50 second", "a right one"] * 2
    assert "a &lt;student&gt;: a/b@&lt;1&gt;" in text and "Gain -12.5 points" in text  # 1 gained, 2 lost, of 8 counted
    assert not re.search(r"https?:|<script|url\(|@import", text)


def test_models_that_saw_other_photos_are_not_compared(result: Evaluation, tmp_path: Path) -> None:
    fewer = replace(result.retrieval_set, database=result.retrieval_set.database[::-1])
    with pytest.raises(DataError, match="have other database"):
        matches.compare(result, replace(result, retrieval_set=fewer), tmp_path / "page.html", "x", ("a", "b"))


def test_without_labels_the_page_shows_other_matches_than_the_teachers(result: Evaluation, tmp_path: Path) -> None:
    same = np.arange(10) < 7
    agreement = Agreement(same, np.full(10, 0.25), np.where(same, 0, 3), 5, DATABASE, teacher_name="big")
    known = matches.page(replace(result, agreement=agreement), choose(result))
    assert "first match as the teacher's".replace("'", "&#39;") in known and "70.0" in known and "62.5" in known
    nothing = replace(result, recalls={}, intervals={}, counted=np.zeros(10, bool), agreement=agreement)
    columns = choose(nothing, count=8)
    assert list(columns) == ["Other than the teacher's (3)", "As the teacher's (7)"]
    other, as_teacher = (examples[0] for examples in columns.values())
    assert [shot.caption for shot in other.shots] == ["query", "0.50", "0.50", "0.50", "the teacher's"]
    assert other.shots[-1].path == result.retrieval_set.database[3] and len(as_teacher.shots) == 4
    assert other.note == "rank correlation of the teacher's first 5: 0.25"
    text = matches.write(nothing, tmp_path / "out")[0].read_text("utf-8")
    assert "No ground truth, so no recall: 10 queries, 6 database images" in text and "R@1" not in text
