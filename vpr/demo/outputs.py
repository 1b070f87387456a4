"""Files of the demo beside its page: matches.csv, matches.json, and a strip of pictures for each query."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from vpr.demo.answers import Answer, Match, Position
from vpr.files import atomic_write, csv_line, csv_name, write_text
from vpr.pages.thumbnails import boxed, thumbnail
from vpr.retrieval.extractor import progress

COLUMNS: tuple[str, ...] = ("query", "rank", "match", "similarity", "distance", "lat", "lon")
COLUMNS += ("confidence", "accepted", "estimate_lat", "estimate_lon")
# Sides of a strip's pictures, height of the captions and spaces between them, in pixels; RGB.
HEIGHT, WIDTH, CAPTION, SPACE, GAP = 240, 320, 32, 8, 32
PAPER, FRAME, INK = (255, 255, 255), (208, 215, 222), (31, 35, 40)


def write_matches(answers: Sequence[Answer], folder: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write both files into `folder`; each replaces an earlier one in one step.

    matches.csv: one row a query and rank, lat and lon those of the match, empty where a value is unknown; queries that
    cannot be read have no row. The column inliers is there where local features were compared. matches.json: `about`
    (plain values), `errors` {query: message}, and `answers`, all of them, with the files' paths.
    """
    with (
        atomic_write(folder / "matches.csv") as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        verified = any(match.inliers is not None for answer in answers for match in answer.matches)
        file.write(csv_line((*COLUMNS, "inliers") if verified else COLUMNS))
        for answer in answers:
            for row, match in zip(_rows(answer), answer.matches, strict=True):
                file.write(csv_line([*row, match.inliers] if verified else row))
    content = {
        **(about or {}),
        "errors": {answer.query.name: answer.error for answer in answers if answer.error},
        "answers": [plain(answer) for answer in answers],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_text(folder / "matches.json", text, "backslashreplace")  # of a half surrogate, it makes JSON's escape


def plain(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values; what is unknown is None."""
    return {
        "query": answer.query.name,
        "file": str(answer.query.path),
        "position": _place(answer.query.position),
        "error": answer.error or None,
        "confidence": _rounded(answer.confidence, 4),
        "accepted": answer.accepted,
        "estimate": _place(answer.position),
        "matches": [{"rank": rank, **_plain_match(match)} for rank, match in enumerate(answer.matches, 1)],
    }


def _plain_match(match: Match) -> dict[str, Any]:
    return {
        "match": match.name,
        "file": str(match.path),
        "similarity": _rounded(match.similarity, 5),
        "distance": _rounded(match.distance, 5),
        "position": _place(match.position),
        **({} if match.inliers is None else {"inliers": match.inliers}),
    }


def _rows(answer: Answer) -> Iterator[list[Any]]:
    accepted = "" if answer.accepted is None else str(answer.accepted).lower()
    rest = [_rounded(answer.confidence, 4), accepted, *_degrees(answer.position)]
    for rank, match in enumerate(answer.matches, 1):
        numbers = [_rounded(match.similarity, 5), _rounded(match.distance, 5)]
        yield [csv_name(answer.query.name), rank, csv_name(match.name), *numbers, *_degrees(match.position), *rest]


def _place(position: Position | None) -> dict[str, float | None] | None:
    return None if position is None else dict(zip(Position._fields, _degrees(position), strict=True))


def _degrees(position: Position | None) -> tuple[float | None, float | None]:
    """Latitude and longitude to a centimetre."""
    return (None, None) if position is None else (_rounded(position.lat, 7), _rounded(position.lon, 7))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def strip(answer: Answer) -> np.ndarray:
    """Show the query, a gap, and the matches from left to right, each with its rank and similarity below: uint8 RGB."""
    cells = [_cell(answer.query.path, "query")]
    cells += [_cell(match.path, f"{rank}   {match.similarity:.3f}") for rank, match in enumerate(answer.matches, 1)]
    spaces = [SPACE, GAP, *[SPACE] * (len(cells) - 1)]
    columns = [np.full((cells[0].shape[0], wide, 3), PAPER, np.uint8) for wide in spaces]
    row = np.hstack([part for space, cell in zip(columns, cells, strict=False) for part in (space, cell)])
    return cv2.copyMakeBorder(row, SPACE, 0, 0, SPACE, cv2.BORDER_CONSTANT, value=PAPER)


def write_strips(answers: Iterable[Answer], folder: Path) -> list[Path]:
    """Write `<query>.jpg` for each answer that has matches; the same name of a query gives the same file every time."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, written = [answer for answer in answers if answer.matches], []

    def write(answer: Answer) -> Path:
        path = folder / file_name(answer.query.name)
        path.write_bytes(simplejpeg.encode_jpeg(strip(answer), quality=85))
        return path

    with progress("drawing strips", len(drawn)) as advance, ThreadPoolExecutor() as threads:
        for path in threads.map(write, drawn):
            written.append(path)
            if advance:
                advance(1)
    return written


def file_name(query: str) -> str:
    """Name the strip of a query: as the query where that is a plain JPEG name, else made safe and told apart."""
    if re.fullmatch(r"[\w+@][\w.+@-]{0,99}\.jpe?g", query, re.ASCII | re.IGNORECASE):
        return query
    stem = re.sub(r"[^\w.+@-]+", "_", re.sub(r"\.\w+$", "", query), flags=re.ASCII)[:80].lstrip(".-") or "query"
    return f"{stem}-{hashlib.sha256(query.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}.jpg"


def _cell(path: Path, caption: str) -> np.ndarray:
    """Centre a photo in a box, so that photos of all proportions stand in a straight row; the caption is below it."""
    cell = boxed(thumbnail(path, HEIGHT, WIDTH), HEIGHT, WIDTH)
    cell = cv2.copyMakeBorder(cell, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=FRAME)
    cell = cv2.copyMakeBorder(cell, 0, CAPTION, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
    (wide, _), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    at = (cell.shape[1] - wide) // 2, cell.shape[0] - 11
    return cv2.putText(cell, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, INK, 1, cv2.LINE_AA)
