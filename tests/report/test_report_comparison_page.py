"""The page about many runs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from vpr.report.__main__ import main
from vpr.report.plots import COLOURS, PlotStyle
from vpr.report.runs import find

Write = Callable[..., Path]


@pytest.fixture
def folder(write_run: Write, tmp_path: Path) -> Path:
    """Two seeds of a student with and without a teacher, the teacher, and a job that failed; with odd names."""
    write_run("large", "large", range(8), costs={"parameters": 90_000_000, "latency_ms": 80.0})
    for seed in (0, 1):
        write_run(f"plain{seed}", "<small>", [0, 1], seed)
        taught = write_run(f"kd {seed}", "<small>", [0, 2, 3 + seed, 9], seed, "large")
        (taught / "csv").mkdir()
        (taught / "csv/metrics.csv").write_text("drawn@1f/R@1,step,train/loss\n,1,2.5\n0.3,2,\n0.4,4,\n")
    failed = tmp_path / "runs" / "failed"
    failed.mkdir()
    (failed / "train.log").write_text("ConfigError: <b> is no file\n")
    return tmp_path / "runs"


def texts(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<body>")[2].partition("<script>")[0]).split())


def test_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    page = (folder / "report.html").read_text("utf-8")
    said = texts(page)
    assert "5 finished runs, 1 not finished" in said
    assert "&lt;small&gt;" in page and "<small>" not in page and "<b> is no file" not in page
    # 2 and 2 of 10 became 4 and 4 of 10, the teacher has 8: +20 points, a third of the gap
    assert "20.0 40.0 +20.0 0.0 0: +20.0 [" in said and "] 80.0 33 %" in said
    assert re.search(r"1: \+20\.0 \[[+-]\d+\.0, [+-]\d+\.0\]", said)
    assert "ConfigError: &lt;b&gt; is no file" in said
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["Gain of distillation", "Recall against cost", "Training", "Runs", "Not finished"]


def test_page_needs_nothing_else_and_its_plots_are_whole(folder: Path) -> None:
    main([str(folder), "--title", "a < b"])
    page = (folder / "report.html").read_text("utf-8")
    assert "<title>a &lt; b</title>" in page
    images = re.findall(r'<img src="data:image/svg\+xml;base64,([\w+/=]+)" alt="[^"]+">', page)
    assert len(images) == page.count("<img") == 1 + 4 + 2  # gains, recall against four costs, recall and loss
    for image in images:
        svg = ElementTree.fromstring(base64.b64decode(image))
        assert svg.tag.endswith("svg") and len(list(svg.iter())) > 50
    without_plots = re.sub(r'src="data:[^"]+"', "", page)
    assert not re.search(r"https?:|url\(|@import|<link|src=", without_plots)


def test_links_lead_to_the_runs(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "page.html"
    assert main([str(folder), "--out", str(out)]) == 0
    links = re.findall(r'href="([^"]+)"', out.read_text("utf-8"))
    targets = {(out.parent / unquote(link)).resolve().name for link in links}
    assert targets == {"large", "plain0", "plain1", "kd 0", "kd 1", "failed"}
    assert all((out.parent / unquote(link)).is_dir() for link in links)


def test_every_row_has_a_cell_for_every_heading(folder: Path) -> None:
    """The script that sorts finds a cell by the number of its heading."""
    main([str(folder)])
    page = (folder / "report.html").read_text("utf-8")
    tables = re.findall(r'<table class="sortable">.*?</table>', page, re.DOTALL)
    assert len(tables) == 2
    for table in tables:
        columns = re.findall(r'<th data-column="(\d+)"', table)
        assert columns == [str(n) for n in range(len(columns))]
        rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
        assert rows and {row.count("<td") for row in rows} == {len(columns)}


def test_failed_jobs_alone_still_make_a_page(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job/train.log").write_text("DataError: nothing there\n")
    assert main([str(tmp_path)]) == 0
    said = texts((tmp_path / "report.html").read_text("utf-8"))
    assert "0 finished runs" in said and "DataError: nothing there" in said and "Recall" not in said


def test_what_the_user_did_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("DataError: ")


def test_the_same_student_has_one_colour_and_the_same_teaching_one_mark(folder: Path) -> None:
    runs, _ = find([folder])
    style = PlotStyle(runs)
    by_name = {run.folder.name: run for run in runs}
    plain, taught, large = (by_name[name] for name in ("plain0", "kd 1", "large"))
    assert style.colour(plain) == style.colour(taught) != style.colour(large)
    assert style.line(plain) == "--" and style.line(taught) == "-"
    students, teachings = style.legend()
    assert students == [(COLOURS[0], "<small>"), (COLOURS[1], "large")]
    assert teachings == [("○", "undistilled"), ("●", "large, similarity")]
