"""matches.csv and matches.json: every match, every query, and never half a file."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from vpr.demo import outputs
from vpr.demo.answers import Answer, Match, Position, Query
from vpr.demo.outputs import COLUMNS, write_matches

NAME = os.fsdecode(b'\xff \xc3\xa9,".jpg')  # é, a comma, a quote, and a byte that is no text
MATCHES = tuple(Match(n, f"m{n}.jpg", Path(f"/map/m{n}.jpg"), 0.5 - n / 10, Position(-33.5, -70.25)) for n in range(3))
ANSWERS = [
    Answer(Query(NAME, Path("new") / NAME, Position(1, 2)), MATCHES, "", Position(-33.5, 179.99999999), 0.87654, True),
    Answer(Query("b.jpg", Path("new/b.jpg")), (Match(7, "x.jpg", Path("/map/x.jpg"), 1.0),)),
    Answer(Query("notes.txt", Path("new/notes.txt")), error="new/notes.txt: is not an image."),
]


def test_csv_has_a_row_for_each_match(tmp_path: Path) -> None:
    write_matches(ANSWERS, tmp_path / "out")
    with open(tmp_path / "out/matches.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert COLUMNS[:7] == ("query", "rank", "match", "similarity", "distance", "lat", "lon")
    assert [row[:3] for row in rows[1:]] == [[NAME, f"{n + 1}", f"m{n}.jpg"] for n in range(3)] + [
        ["b.jpg", "1", "x.jpg"]
    ]
    assert rows[1][3:] == ["0.5", "1.0", "-33.5", "-70.25", "0.8765", "true", "-33.5", "180.0"]  # |a - b|^2 = 2 - 2 s
    assert rows[4][3:] == ["1.0", "0.0", *[""] * 6]


def test_json_has_everything(tmp_path: Path) -> None:
    write_matches(ANSWERS, tmp_path, {"model": {"digest": "abc"}})
    content = json.loads((tmp_path / "matches.json").read_text(encoding="utf-8"))
    assert content["model"] == {"digest": "abc"}
    assert content["errors"] == {"notes.txt": "new/notes.txt: is not an image."}
    first, second, third = content["answers"]
    assert first["query"] == NAME and len(first["matches"]) == 3
    assert first["matches"][1] == {
        "rank": 2,
        "match": "m1.jpg",
        "file": "/map/m1.jpg",
        "similarity": 0.4,
        "distance": round(1.2**0.5, 5),
        "position": {"lat": -33.5, "lon": -70.25},
    }
    assert (first["confidence"], first["accepted"]) == (0.8765, True)
    assert first["position"] == {"lat": 1, "lon": 2} and first["estimate"] == {"lat": -33.5, "lon": 180.0}
    assert second["estimate"] is None and second["accepted"] is None and second["error"] is None
    assert third["matches"] == [] and third["error"] == content["errors"]["notes.txt"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(answer: Answer) -> None:
        raise KeyboardInterrupt

    write_matches(ANSWERS, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(outputs, "_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_matches(ANSWERS, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
