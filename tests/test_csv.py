"""Names in csv files split no rows and are no formulas."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from vpr.data.retrieval_set import RetrievalSet
from vpr.demo.answers import Answer, Match, Query
from vpr.demo.outputs import write_matches
from vpr.files import csv_line, csv_name
from vpr.report.results import write
from vpr.retrieval.scoring import score
from vpr.types import Protocol

ODD = ["a\rb.jpg", "c\nd.jpg", 'e"f,g.jpg', '=cmd|"/c calc"!A1.jpg', "@SUM(1).jpg", "-1.jpg", "+1.jpg", "plain.jpg"]


def test_a_line_is_as_pythons_own_writer_has_it_and_as_all_readers_read_it() -> None:
    cells = [*ODD, None, 1.5, True, "", "ü"]
    texts = ["" if cell is None else str(cell) for cell in cells]
    line = csv_line(cells)
    assert next(csv.reader(io.StringIO(line, newline=""))) == texts
    assert pd.read_csv(io.StringIO(line), header=None, dtype=str, keep_default_na=False).iloc[0].tolist() == texts
    plain = io.StringIO()
    csv.writer(plain, lineterminator="\n").writerow(cells[1:])
    assert csv_line(cells[1:]) == plain.getvalue()


def test_what_a_spreadsheet_would_compute_is_a_path() -> None:
    assert [csv_name(name) == f"./{name}" for name in ODD] == [False] * 3 + [True] * 4 + [False]


def test_predictions_and_matches(tmp_path: Path) -> None:
    database = np.eye(8, dtype=np.float32)
    retrieval_set = RetrievalSet(Protocol("odd@25m"), [Path(name) for name in ODD], [Path("q\r.jpg")], [np.array([0])])
    write([score(database, database[:1], retrieval_set, ks=[8])], tmp_path, {})
    rows = pd.read_csv(tmp_path / "predictions.csv")
    assert rows["query"].tolist() == ["q\r.jpg"] * 8 and rows["database"].tolist() == list(map(csv_name, ODD))
    assert rows["distance"].tolist() == [0.0] + [1.41421] * 7 and rows["correct"].tolist() == [True] + [False] * 7
    matches = tuple(Match(n, name, Path(name), 0.5, None) for n, name in enumerate(ODD))
    formula = Answer(Query("=1.jpg", Path("=1")), matches[:1])
    write_matches([Answer(Query(ODD[0], Path(ODD[0])), matches), formula], tmp_path)
    rows = pd.read_csv(tmp_path / "matches.csv")
    assert rows["query"].tolist() == [ODD[0]] * 8 + ["./=1.jpg"]
    assert rows["match"].tolist()[:8] == list(map(csv_name, ODD))
