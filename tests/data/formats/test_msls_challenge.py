"""MSLS test cities without ground truth, and the file of predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vpr.data.formats import msls_challenge
from vpr.errors import ConfigError, DataError
from vpr.types import Protocol

UNKNOWN = Protocol("toy-challenge@unknown", no_positives="unknown")
HEADER = "protocol,query,rank,database,distance,correct\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for city in ("miami", "athens"):
        for side, keys in (("database", "abc"), ("query", "xy")):
            folder = tmp_path / "test" / city / side
            (folder / "images").mkdir(parents=True)
            rows = [f"{row},{city}_{key},{key not in 'by'}\n" for row, key in enumerate(keys)]
            (folder / "subtask_index.csv").write_text(",key,all\n" + "".join(rows))
            for key in keys:
                (folder / "images" / f"{city}_{key}.jpg").touch()
    return tmp_path


def predictions(folder: Path, *rows: str) -> Path:
    (folder / "predictions.csv").write_text(HEADER + "".join(row + "\n" for row in rows))
    return folder / "predictions.csv"


def test_all_that_was_given_out_is_read_and_nothing_has_a_positive(root: Path) -> None:
    found = msls_challenge.read(root, UNKNOWN, ["athens", "miami"])
    assert [path.stem for path in found.database] == ["athens_a", "athens_c", "miami_a", "miami_c"]
    assert found.queries == [root / f"test/{city}/query/images/{city}_x.jpg" for city in ("athens", "miami")]
    assert [len(rows) for rows in found.positives] == [0, 0]
    with pytest.raises(DataError, match="no city buenosaires"):
        msls_challenge.read(root, UNKNOWN)  # all six cities, of which two are there


def test_predictions_are_written_as_the_official_script_reads_them(tmp_path: Path) -> None:
    csv = predictions(
        tmp_path,
        "m@25m,q/-Y_1.jpg,2,d/b-2.jpg,0.5,",
        "m@25m,q/-Y_1.jpg,1,d/a.jpg,0.4,",
        "m@25m,q/X2.jpg,1,d/c.jpg,0.1,True",
        "m@25m,q/X2.jpg,2,d/a.jpg,0.2,",
    )
    assert msls_challenge.write(csv, tmp_path / "out.txt") == 2
    assert (tmp_path / "out.txt").read_text() == "-Y_1 a b-2\nX2 c a\n"
    assert np.loadtxt(tmp_path / "out.txt", ndmin=2, dtype=str).shape == (2, 3)  # its way to read


def test_of_several_sets_one_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = predictions(tmp_path, "m@25m,q/x.jpg,1,d/c.jpg,0.1,", "n@1f,q/y.jpg,1,d/c.jpg,0.1,")
    out = tmp_path / "out.txt"
    with pytest.raises(ConfigError, match=r"holds m@25m, n@1f: choose one with --protocol"):
        msls_challenge.write(csv, out)
    assert msls_challenge.main([str(csv), str(out), "--protocol", "n@1f"]) == 0
    assert out.read_text() == "y c\n" and "predictions for 1 queries" in capsys.readouterr().out
    assert msls_challenge.main([str(tmp_path / "none.csv"), str(out)]) == 2
    assert "DataError: There is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["m,q/x.jpg,1,d/c.jpg,0,", "m,q/y.jpg,1,d/c.jpg,0,", "m,q/y.jpg,2,d/a.jpg,0,"], "from 1 to 2 predictions"),
        (["m,q/my photo.jpg,1,d/c.jpg,0,"], "file names with blanks"),
    ],
)
def test_what_the_official_script_cannot_read_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        msls_challenge.write(predictions(tmp_path, *rows), tmp_path / "out.txt")
