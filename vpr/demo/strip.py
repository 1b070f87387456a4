"""Picture strips: a query and its matches side by side."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from vpr.demo.answers import Answer
from vpr.retrieval.examples import thumbnail
from vpr.retrieval.progress import progress

HEIGHT, WIDTH, CAPTION, SPACE, GAP = 240, 320, 32, 8, 32
PAPER, FRAME, INK = (255, 255, 255), (208, 215, 222), (31, 35, 40)


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
    photo = thumbnail(path, HEIGHT, WIDTH)
    top, left = (HEIGHT - photo.shape[0]) // 2, (WIDTH - photo.shape[1]) // 2
    bottom, right = HEIGHT - photo.shape[0] - top, WIDTH - photo.shape[1] - left
    cell = cv2.copyMakeBorder(photo, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(234, 238, 242))
    cell = cv2.copyMakeBorder(cell, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=FRAME)
    cell = cv2.copyMakeBorder(cell, 0, CAPTION, 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
    (wide, _), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    at = (cell.shape[1] - wide) // 2, cell.shape[0] - 11
    return cv2.putText(cell, caption, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, INK, 1, cv2.LINE_AA)
