"""Answers as files for other programs: matches.csv and matches.json."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from vpr.demo.answers import Answer, Match, Position

COLUMNS: tuple[str, ...] = ("query", "rank", "match", "similarity", "distance", "lat", "lon")
COLUMNS += ("confidence", "accepted", "estimate_lat", "estimate_lon")


def write_matches(answers: Sequence[Answer], folder: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write both files into `folder`; each replaces an earlier one in one step.

    matches.csv: one row a query and rank, lat and lon those of the match, empty where a value is unknown; queries that
    cannot be read have no row. matches.json: `about` (plain values), `errors` {query: sentence}, and `answers`, all of
    them, with the files' paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / "matches.csv", "surrogateescape") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for answer in answers:
            rows.writerows(_rows(answer))
    content = {
        **(about or {}),
        "errors": {answer.query.name: answer.error for answer in answers if answer.error},
        "answers": [plain(answer) for answer in answers],
    }
    with replaced(folder / "matches.json", "backslashreplace") as file:  # of a half surrogate, it makes JSON's escape
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")


@contextmanager
def replaced(path: Path, errors: str = "strict") -> Iterator[TextIO]:
    """Open a text file for writing under another name, and move it to `path` when it is complete."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", errors=errors, newline="") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    }


def _rows(answer: Answer) -> Iterator[list[Any]]:
    accepted = "" if answer.accepted is None else str(answer.accepted).lower()
    rest = [_rounded(answer.confidence, 4), accepted, *_degrees(answer.position)]
    for rank, match in enumerate(answer.matches, 1):
        numbers = [_rounded(match.similarity, 5), _rounded(match.distance, 5)]
        yield [answer.query.name, rank, match.name, *numbers, *_degrees(match.position), *rest]


def _place(position: Position | None) -> dict[str, float | None] | None:
    return None if position is None else dict(zip(Position._fields, _degrees(position), strict=True))


def _degrees(position: Position | None) -> tuple[float | None, float | None]:
    """Latitude and longitude to a centimetre."""
    return (None, None) if position is None else (_rounded(position.lat, 7), _rounded(position.lon, 7))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
