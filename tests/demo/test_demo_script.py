"""demo.py as it is typed, on a small model and drawn photos."""

from __future__ import annotations

import csv
import json
import logging
import re
import runpy
import shutil
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from vpr import checkpoint
from vpr.cli.checks import check_targets
from vpr.cli.compose import compose
from vpr.cli.rules import check_rules
from vpr.demo import queries
from vpr.models.describer import build_describer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MODEL = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        "name": "resnet18",
        "weights": "none",
        "crop": [3, 4],
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
    "image": {"size": [64, 64]},
}
Demo = Callable[..., int]


@pytest.fixture(scope="module")
def ckpts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, a.ckpt and b.ckpt."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        checkpoint.save(folder / f"{name}.ckpt", build_describer(**MODEL), MODEL)
    return folder


@pytest.fixture
def demo(ckpts: Path, take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demo]:
    """Type `python demo.py ...` where map/ has five photos, four with GPS, and new/ has two; return the exit code."""
    for view in range(5):
        take(f"map/{view}.jpg", view, *((view / 1000, 179.99995) if view < 4 else ()))
    for view in (1, 3):
        take(f"new/q{view}.jpg", view, noise=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(queries.time, "sleep", _never)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def demo(*arguments: str, ckpt: str = "a") -> int:
        shutil.rmtree("out", ignore_errors=True)
        command = [f"ckpt={ckpts / ckpt}.ckpt", "database=map", "out=out", "num_workers=0", "device=cpu", *arguments]
        monkeypatch.setattr(sys, "argv", [str(ROOT / "demo.py"), *command])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "demo.py"), run_name="__main__")
        return int(ended.value.code or 0)

    yield demo
    root.handlers[:], root.level = handlers, level


def _never(seconds: float) -> None:
    raise AssertionError("nothing is watched")


def matches() -> list[dict[str, str]]:
    with open("out/matches.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_all_that_is_written_and_said(demo: Demo, capfd: pytest.CaptureFixture[str]) -> None:
    assert demo("query=new", "k=3") == 0
    said = " ".join(capfd.readouterr().out.split())
    assert (
        "5 photos in the index runs/indexes/map-" in said and "described 5, kept 0. 4 of them have a position." in said
    )
    assert "2 of 2 photos answered in" in said and "q1.jpg" in said and "The page is out/index.html" in said
    rows = matches()
    assert [(row["query"], row["rank"]) for row in rows] == [(q, r) for q in ("q1.jpg", "q3.jpg") for r in "123"]
    assert (rows[0]["match"], rows[3]["match"]) == ("1.jpg", "3.jpg")
    content = json.loads(Path("out/matches.json").read_text())
    assert content["model"]["ckpt"].endswith("a.ckpt") and len(content["model"]["digest"]) == 64
    assert content["index"]["kind"] == "exact" and content["database"]["described"] == 5
    assert content["settings"]["k"] == 3 and "torch" in content["versions"] and content["calibration"] is None
    page = Path("out/index.html").read_text()
    assert "q1.jpg" in page and page.count("data:image/jpeg;base64,") >= 2 + 2 + 4  # queries, matches, heat
    assert sorted(path.name for path in Path("out/strips").iterdir()) == ["q1.jpg", "q3.jpg"]
    assert not re.search(r"(src|href)=\"(http|//)", page)

    assert demo("query=new/q3.jpg", "heat=false", "index/kind=binary", "index.kind.learned=false") == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "described 0, kept 5" in said
    assert "sign512: the first match of 1 of 1 photos is that of the exact search." in said
    assert [row["rank"] for row in matches()] == list("12345") and matches()[0]["match"] == "3.jpg"
    content = json.loads(Path("out/matches.json").read_text())
    assert content["index"]["kind"] == "sign512"


def test_what_is_asked_and_calibrated_on_is_looked_at_first(demo: Demo, capfd: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    for said, arguments in {
        "There are no images in": ["query=empty"],
        "there is no data set nowhere": ["query=new", "calibrate=nowhere"],
        "out=new lies in query=new": ["query=new", "out=new"],
    }.items():
        assert demo(*arguments) == 2
        assert said in capfd.readouterr().err and not Path("runs/indexes").exists()


def test_another_model(demo: Demo, capfd: pytest.CaptureFixture[str]) -> None:
    assert demo("query=new", "heat=false") == 0
    assert demo("query=new", "heat=false", ckpt="b") == 2
    said = capfd.readouterr()
    assert "CheckpointError: The place index in runs/indexes/map-" in said.err and "index.rebuild=true" in said.err
    assert "a.ckpt" in said.err and "Traceback" not in said.err
    assert demo("query=new", "heat=false", "index.rebuild=true", ckpt="b") == 0
    assert "described 5, kept 0" in capfd.readouterr().out


def test_what_cannot_be_read_is_told(demo: Demo, capfd: pytest.CaptureFixture[str]) -> None:
    Path("new/bad.jpg").write_bytes(b"\xff\xd8\xff")
    Path("map/bad.jpg").write_bytes(b"")
    assert demo("query=new", "heat=false") == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "Photos that cannot be read and are left out: 1 (first: " in said and "0 bytes" in said
    assert "2 of 3 photos answered" in said and "1 cannot be read (first: new/bad.jpg: " in said
    content = json.loads(Path("out/matches.json").read_text())
    assert list(content["errors"]) == ["bad.jpg"] and list(content["database"]["unreadable"]) == ["bad.jpg"]
    assert len(matches()) == 10 and "could not be read" in Path("out/index.html").read_text()

    assert demo("query=new/bad.jpg", "heat=false") == 2
    assert "DataError: None of 1 queries can be read (first: new/bad.jpg: " in capfd.readouterr().err
    assert demo("query=nowhere", "heat=false") == 2
    assert "DataError: There is no file or folder" in capfd.readouterr().err


def test_watch_answers_what_comes_until_ctrl_c(
    demo: Demo, take, monkeypatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("inbox").mkdir()
    seen: list[tuple[int, bool]] = []

    def look(seconds: float) -> None:
        seen.append((len(matches()), "r2.jpg" in Path("out/index.html").read_text()))
        if len(seen) == 1:
            take("inbox/r2.jpg", 2, noise=2)
        if len(seen) == 4:
            take("inbox/sub/r4.jpg", 4, noise=2)
        if len(seen) == 6:
            Path("out/strips").rename("strips")
            Path("out/strips").write_text("no folder")
            take("inbox/r3.jpg", 3, noise=2)
        if len(seen) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(queries.time, "sleep", look)
    assert demo("query=inbox", "watch=true", "k=2") == 0
    assert seen == [(0, False), (0, False), (2, True), (2, True), (2, True), (4, True), (4, True), (6, True)]
    assert [row["match"] for row in matches() if row["rank"] == "1"] == ["2.jpg", "4.jpg", "3.jpg"]
    assert len(list(Path("strips").iterdir())) == 2
    page = Path("out/index.html").read_text()
    assert page.index("sub/r4.jpg") < page.index("r2.jpg")  # the newest on top
    said = capfd.readouterr().out
    assert "Ctrl-C ends this" in said and "Photos answered: 3. The page is" in said
    assert "Answers cannot be written to out=out (" in said and "The watch goes on." in said


@pytest.mark.parametrize("there", [True, False])
def test_open_shows_the_page(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or there)
    assert demo("query=new/q1.jpg", "heat=false", "--open") == 0
    assert opened == [Path("out/index.html").absolute().as_uri()]
    assert ("No browser" in capsys.readouterr().out) is not there


@pytest.mark.parametrize("kind", sorted(path.stem for path in (ROOT / "conf/index/kind").glob("*.yaml")))
def test_each_kind_of_index_composes(kind: str) -> None:
    cfg = compose("demo", ["ckpt=x.ckpt", "database=map", "query=new", f"index/kind={kind}"])
    check_rules(cfg)
    check_targets(cfg)
    assert instantiate(cfg.index.kind).id == {"pq": "pq64", "opq": "opq64", "binary": "itq512"}.get(kind, kind)
