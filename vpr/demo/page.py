"""The page of the demo: the photos that were asked for, their matches, how sure, where, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vpr.demo.answers import Answer, Heat, Match
from vpr.demo.explain import overlay
from vpr.demo.map import City, Drawing, apart, length
from vpr.pages.render import render
from vpr.pages.thumbnails import Pictures, joined, jpeg_uri, thumbnail
from vpr.retrieval.index.photo_table import Photos
from vpr.retrieval.local_rerank import Points

if TYPE_CHECKING:
    from vpr.demo.reliability_plot import Reliability

FEW = 3
"""So many answers need no table of contents, and no map of all: each has a map of its own."""


def page(
    answers: Sequence[Answer],
    photos: Photos,
    title: str,
    facts: Mapping[str, str],
    reliability: Reliability | None = None,
) -> str:
    """Return the HTML.

    Args:
        photos: of the database; their positions are the map.
        facts: stand on top, beside the counts.
        reliability: of the confidence in general.
    """
    city, pictures = _city(photos), Pictures()
    many = len(answers) > FEW
    return render(
        "places",
        title=title,
        facts=_counts(answers) | dict(facts),
        placed=city is not None,
        map=_overview(city, answers) if city and many else None,
        contents=_contents(answers) if many else None,
        reliability=reliability,
        answers=[_article(number, answer, city, pictures) for number, answer in enumerate(answers, 1)],
    )


@lru_cache(maxsize=1)  # a page is written again for each photo that comes
def _city(photos: Photos) -> City | None:
    return City.of(photos)


def _counts(answers: Sequence[Answer]) -> dict[str, str]:
    errors = sum(bool(answer.error) for answer in answers)
    counts = {"queries": len(answers), "answered": len(answers) - errors, "could not be read": errors}
    if any(answer.accepted is not None for answer in answers):
        counts["accepted"] = sum(answer.accepted is True for answer in answers)
    return {name: f"{count:,}" for name, count in counts.items()}


def _overview(city: City, answers: Sequence[Answer]) -> Drawing:
    drawing, drawn, count = city.overview(answers), len(city.dots), len(city.places)
    shown = f"{drawn:,} of the {count:,}" if drawn < count else f"the {count:,}"
    note = f"Grey: {shown} places of the database. "
    note += "Blue: where the photos were taken, by the estimate; a click leads on."
    if any(answer.accepted is False for answer in answers):
        note += " Hollow: not sure."
    if any(estimate["start"] for estimate in drawing["estimates"]):
        note += " Orange: from the photo's own position to the estimate."
    return {**drawing, "note": note}


class Number(NamedTuple):
    """A cell of a table: its text, and the number by which it is sorted; both empty where it is unknown."""

    text: str = ""
    value: float | str = ""
    kind: str = ""


def _contents(answers: Sequence[Answer]) -> dict[str, Any]:
    """Tabulate the queries, without the columns that are not known of any."""
    makers = {"similarity": _similarity, "confidence": _confidence, "off by": _off}
    columns = {name: [make(answer) for answer in answers] for name, make in makers.items()}
    columns = {name: cells for name, cells in columns.items() if any(cell.text for cell in cells)}
    rows = [
        {"number": number, "name": answer.query.name, "error": answer.error, "cells": cells}
        for number, (answer, *cells) in enumerate(zip(answers, *columns.values(), strict=True), 1)
    ]
    return {"columns": list(columns), "rows": rows}


def _similarity(answer: Answer) -> Number:
    return Number(f"{answer.matches[0].similarity:.3f}", answer.matches[0].similarity) if answer.matches else Number()


def _confidence(answer: Answer) -> Number:
    mark = "" if answer.accepted is None else " ✓" if answer.accepted else " ?"
    return Number() if answer.confidence is None else Number(f"{percent(answer.confidence)}{mark}", answer.confidence)


def _off(answer: Answer) -> Number:
    metres = off(answer)
    return Number() if metres is None else Number(length(metres), metres)


def percent(probability: float) -> str:
    """Say a probability in per cent, never as certain."""
    return "> 99 %" if probability > 0.995 else "< 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def off(answer: Answer) -> float | None:
    """Return metres from the estimate to the position that the photo itself gives; None where either is unknown."""
    return apart(answer.position, answer.query.position) if answer.position and answer.query.position else None


# Class of the stylesheet, what stands before the confidence, and what stands behind it.
VERDICTS = {None: ("", "", ""), True: ("good", "✓ ", ", accepted"), False: ("unsure", "? ", ", not sure")}


def _article(number: int, answer: Answer, city: City | None, pictures: Pictures) -> dict[str, Any]:
    """Lay out an answer; `number` counts from 1 through the page."""
    article: dict[str, Any] = {"number": number, "name": answer.query.name, "error": answer.error}
    article |= {"confidence": "", "estimate": ""}
    if answer.error:
        return article
    if answer.confidence is not None:
        trust, sign, verdict = VERDICTS[answer.accepted]
        article |= {"confidence": percent(answer.confidence), "trust": trust, "sign": sign, "verdict": verdict}
    if answer.position:
        metres = off(answer)
        far = "" if metres is None else f", {length(metres)} from the photo's own position"
        article |= {"estimate": f"{answer.position.lat:.5f}, {answer.position.lon:.5f}", "off": far}
    painted = _painted(answer.heat, answer.query.path, answer.matches[0].path) if answer.heat and answer.matches else ()
    return article | {
        "map": city.around(answer) if city else None,
        "picture": pictures.add(answer.query.path),
        "matches": [_match(rank, match, pictures) for rank, match in enumerate(answer.matches, 1)],
        "heat": list(zip(painted, ("the photo", "match 1"), strict=False)),
        **_lines(answer),
    }


def _lines(answer: Answer) -> dict[str, Any]:
    """Draw the points of the photo and its first match that confirm each other."""
    if answer.points is None or not answer.matches:
        return {"lines": "", "inliers": 0}
    return {
        "lines": _drawn(answer.points, answer.query.path, answer.matches[0].path),
        "inliers": len(answer.points.left),
    }


@lru_cache(maxsize=1024)  # as `_painted`
def _drawn(points: Points, query: Path, match: Path) -> str:
    return jpeg_uri(joined(query, match, points.left, points.right))


def _match(rank: int, match: Match, pictures: Pictures) -> dict[str, Any]:
    return {
        "rank": rank,
        "name": match.name,
        "picture": pictures.add(match.path),
        "similarity": f"{match.similarity:.3f}",
        "percent": f"{100 * min(max(match.similarity, 0), 1):.1f}",
        "distance": f"{match.distance:.3f}",
        "inliers": "" if match.inliers is None else f"{match.inliers:,}",
    }


@lru_cache(maxsize=1024)  # a page is written again for each photo that comes
def _painted(heat: Heat, query: Path, match: Path) -> tuple[str, str]:
    """Return data URIs of both photos with their heat; those of an answer are kept with it."""

    def paint(path: Path, cells: np.ndarray) -> str:
        return jpeg_uri(overlay(thumbnail(path, 180, 240), cells))

    return paint(query, heat.query), paint(match, heat.match)
