"""`make data-check`: what is found, incomplete or absent."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from rich.console import Console

from vpr.catalog.__main__ import main
from vpr.catalog.inventory import Finding, inspect_dataset, show
from vpr.cli.datasets import DataSets, Entry, dataset_names
from vpr.toycity.dataset import train_places

UTM = "@{east:.2f}@{north:.2f}@33@T@@@@@@@@@@@.jpg"


def check(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = main([*argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def entry(part: str, **node: Any) -> Entry:
    return Entry("mine", part, "mine", OmegaConf.create(node))


def protocol(database: int, queries: int) -> dict[str, Any]:
    return {"_target_": "vpr.types.Protocol", "id": "mine@2f", "database": database, "queries": queries}


def write(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.mark.slow
def test_without_any_data_every_set_is_listed_and_nothing_is_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, found = check(capsys, f"paths.data={tmp_path}")
    assert code == 0
    assert found["paths.data"] == str(tmp_path)
    assert {finding["dataset"] for finding in found["sets"]} | set(found["collections"]) == set(dataset_names())
    assert {finding["state"] for finding in found["sets"]} == {"absent", "yours", "drawn on first use"}
    assert [f["dataset"] for f in found["sets"] if f["state"] == "drawn on first use"] == ["toycity"] * 3
    assert list(tmp_path.iterdir()) == []


def test_real_sets_and_their_counts(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    argv = ["dataset=[camvid,gardens_point,places_csv]", f"paths.data={shared / 'data'}"]
    camvid_again = f"dataset.train.places_csv.root={shared / 'data' / 'camvid'}"
    code, found = check(capsys, *argv, camvid_again)
    assert code == 0
    camvid, gardens, own = found["sets"]
    assert camvid == {
        "dataset": "camvid",
        "part": "train",
        "name": "camvid",
        "state": "found",
        "protocol": "",
        "counts": {"places": 86, "images": 396},
        "root": str(shared / "data" / "camvid"),
        "sentence": "",
    }
    assert gardens["protocol"] == "gardens-point-night-right-day-right@2f"
    # 200 frames with 5 positives each, but 3, 4, 4 and 3 at the ends
    assert gardens["counts"] == {
        "database": 200,
        "queries": 200,
        "mean_positives": 994 / 200,
        "queries_without_positives": 0,
    }
    assert (own["state"], own["counts"]) == ("found", camvid["counts"])


def test_a_drawn_city_is_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    train_places(tmp_path / "toycity", places=2, images_per_place=4, workers=1)
    capsys.readouterr()
    code, found = check(
        capsys,
        "dataset=toycity",
        f"paths.data={tmp_path}",
        "dataset.train.toycity.places=2",
        "dataset.train.toycity.images_per_place=4",
    )
    assert [(f["part"], f["state"], f["counts"]) for f in found["sets"]] == [
        ("train", "found", {"places": 2, "images": 8}),
        ("eval", "drawn on first use", {}),
        ("weak", "found", found["sets"][2]["counts"]),
    ]
    assert [found["sets"][2]["counts"][side] for side in ("database", "queries")] == [4, 4]
    assert code == 1  # asked for by name, and a part of it is not there
    assert not (tmp_path / "toycity" / "test").exists()


def test_missing_training_photos_are_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg", "d.jpg")
    (tmp_path / "index.csv").write_text("path,place_id\na.jpg,1\nb.jpg,1\nc.jpg,2\nd.jpg,2\n")
    finding = inspect_dataset(entry("train", _target_="vpr.data.formats.place_lists.read_csv", root=str(tmp_path)))
    assert (finding.state, finding.counts) == ("incomplete", {"places": 2, "images": 4})
    assert finding.sentence.startswith(f"1 of 4 images are missing (first: {tmp_path / 'c.jpg'}). Extract the archive")


def test_an_evaluation_set_that_is_not_whole(tmp_path: Path) -> None:
    write(tmp_path / "day", "0.jpg", "1.jpg", "2.jpg")
    write(tmp_path / "night", "0.jpg", "1.jpg")
    node = {"_target_": "vpr.data.formats.pairs.read", "root": str(tmp_path), "database": "day", "queries": "night"}
    finding = inspect_dataset(entry("eval", **node, tolerance=2, protocol=protocol(3, 3)))
    assert (finding.state, finding.protocol) == ("incomplete", "mine@2f")
    assert finding.counts == {"database": 3, "queries": 3}  # those it should have
    assert finding.sentence.startswith(f"1 of 3 queries of mine@2f are missing (first: {tmp_path / 'night/2.jpg'})")


@pytest.mark.parametrize(("no_positives", "extra"), [("skip", 2), ("unknown", 0)])
def test_without_ground_truth_there_are_no_positives_to_count(no_positives: str, extra: int, tmp_path: Path) -> None:
    write(tmp_path / "day", "0.jpg", "1.jpg", "2.jpg")
    write(tmp_path / "night", "0.jpg", "1.jpg")
    node = {"_target_": "vpr.data.formats.pairs.read", "root": str(tmp_path), "database": "day", "queries": "night"}
    finding = inspect_dataset(
        entry("eval", **node, tolerance=2, protocol=protocol(3, 2) | {"no_positives": no_positives})
    )
    assert finding.state == "found"
    assert list(finding.counts.items())[:2] == [("database", 3), ("queries", 2)]
    assert len(finding.counts) == 2 + extra


def test_what_a_reader_warns_of_stands_with_the_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "ref", "0.jpg", "1.jpg")
    write(tmp_path / "query", "0.jpg", "1.jpg")
    truth = np.empty((2, 2), object)
    truth[:] = [[0, [0, 1]], [1, [1, 2]]]  # there is no image 2
    np.save(tmp_path / "truth.npy", truth, allow_pickle=True)
    node = {"_target_": "vpr.data.formats.pairs.read", "root": str(tmp_path), "database": "ref", "queries": "query"}
    finding = inspect_dataset(entry("eval", **node, ground_truth="truth.npy", protocol=protocol(2, 2)))
    assert (finding.state, finding.counts["mean_positives"]) == ("found", 1.5)
    assert "left out 1 positives of 1 queries" in finding.sentence
    assert capfd.readouterr() == ("", "")


def test_weak_supervision_has_a_gallery_and_queries(tmp_path: Path) -> None:
    write(tmp_path / "gallery", *(UTM.format(east=east, north=0) for east in (0, 6, 12, 100)))
    write(tmp_path / "queries", *(UTM.format(east=east, north=1) for east in (3, 50, 101)))
    photos = {"_target_": "vpr.data.formats.utm_folder.photos", "root": str(tmp_path)}
    sides = {"queries": photos | {"folder": "queries"}, "gallery": photos | {"folder": "gallery"}}
    finding = inspect_dataset(entry("weak", _target_="vpr.data.tuples.read", **sides, capture="@[^@]+@[^@]+"))
    # Within 10 m: of the first query 0, 6 and 12 m, of the last 100 m; the other one has none and is dropped.
    assert (finding.state, finding.root) == ("found", str(tmp_path))
    assert finding.counts == {"database": 4, "queries": 2, "mean_positives": 2.0, "queries_without_positives": 0}


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"_target_": "vpr.data.formats.pairs.raed"}, "the module vpr.data.formats.pairs has no 'raed'"),
        (
            {"_target_": "vpr.data.formats.place_lists.read_folder", "rot": "x"},
            "dataset.train.mine.rot: read_folder has no argument",
        ),
        ({"_target_": "vpr.data.formats.place_lists.read_folder", "root": 3}, "TypeError: "),
        ({"_target_": "vpr.types.Draw", "place": 1, "epoch": 2}, "AttributeError: "),  # no data set
        ({"_target_": "vpr.data.formats.place_lists.read_folder", "root": "${nowhere}"}, "InterpolationKeyError: "),
    ],
)
def test_a_broken_entry_is_a_row(node: dict[str, Any], says: str) -> None:
    finding = inspect_dataset(entry("train", **node))
    assert finding.state == "broken"
    assert says in finding.sentence


def test_own_photos_need_a_root(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = check(capsys, "dataset=my_city")
    (finding,) = found["sets"]
    assert (code, finding["state"], finding["sentence"]) == (1, "yours", "Give dataset.train.my_city.photos.root=...")


def test_a_named_set_that_is_absent_says_what_it_must_hold(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dataset=pitts30k", f"paths.data={tmp_path}"]) == 1
    out = capsys.readouterr().out
    assert f"There is no folder {tmp_path / 'pitts250k'}. It must hold pitts30k_test.mat" in out
    assert "type dataset.eval.pitts30k.root=/its/folder" in out
    assert re.search(rf"^1 absent\.\nLooked in {tmp_path} \(paths.data; VPR_DATA is ", out, re.MULTILINE)


def test_a_wrong_name_is_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset=[pitts30k,mlsl_val]"]) == 2
    assert (
        capsys.readouterr().err
        == "ConfigError: dataset=mlsl_val: there is no such data set. Did you mean 'msls_val'?\n"
    )


@pytest.mark.parametrize("width", [80, 160])
def test_table_fits_the_terminal(width: int) -> None:
    counts = {"database": 83952, "queries": 8280, "mean_positives": 46.24}
    findings = [
        Finding("b_found", "eval", "b_found", "found", "a-protocol-with-a-long-name-of-its-own@25m", counts, "/disk/b"),
        Finding("c_train", "train", "c_train", "found", counts={"places": 62000, "images": 529506}, root="/disk/c"),
        Finding(
            "a_absent", "eval", "a_absent", "absent", "x@1f", {"queries": 5}, "/disk/a", "There is no folder /disk/a."
        ),
        Finding("d_half", "eval", "d_half", "incomplete", "y@1f", {}, "/disk/[d]", "3 of 5 are missing [first: x]."),
    ]
    console = Console(width=width, record=True, file=io.StringIO())
    show(findings, DataSets("/disk", [], {"all": ["b_found", "c_train"]}), [], console)
    lines = console.export_text().splitlines()
    table, rest = lines[: lines.index("d_half (measure), incomplete: 3 of 5 are missing [first: x].")], lines
    assert max(map(len, table)) <= width
    (row,) = [line.split() for line in table if line.startswith("b_found")]
    assert row[1:5] == ["measure", "83,952", "8,280", "46.2"]
    (row,) = [line.split() for line in table if line.startswith("c_train")]
    assert row[1:4] == ["train", "62,000", "529,506"]
    titles = [line.strip() for line in table if line.strip() in ("absent", "incomplete", "found")]
    assert titles == ["absent", "incomplete", "found"]  # what is there stands last, near the prompt
    assert any("/disk/[d]" in line for line in table) is (width == 160)
    assert "There is no folder /disk/a." not in rest  # nobody asked
    assert "2 found, 1 incomplete, 1 absent." in rest
    assert "dataset=all is all of b_found, c_train." in rest


def test_help_and_a_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and "make data-check" in capsys.readouterr().out
    assert main(["pitts30k"]) == 2
    assert capsys.readouterr().err == "ConfigError: pitts30k is no override. For a data set, type dataset=pitts30k.\n"


def test_a_key_that_is_added(capsys: pytest.CaptureFixture[str], shared: Path) -> None:
    added = "+dataset.eval.gardens_point.protocol.no_positives=miss"
    code, found = check(capsys, "dataset=gardens_point", f"paths.data={shared / 'data'}", added)
    assert (code, found["sets"][0]["state"]) == (0, "found")


def test_an_empty_variable_is_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPR_DATA", "")
    _, found = check(capsys, "dataset=pitts30k")
    assert found["sets"][0]["root"] == str(Path("data/pitts250k").absolute())
