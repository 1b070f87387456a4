"""Rendering: one file, one stylesheet, escaped and readable text, no HTML in Python."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from vpr.pages.render import render
from vpr.terminal import readable

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "vpr" / "pages"


def test_text_is_readable() -> None:
    assert readable("süß — суп 图\tמפה\n") == "süß — суп 图\tמפה\n"
    assert readable("a\x00b\x1b[31m\x85\x7f\udcff\u202e\ufffe\r") == "a?b?[31m??????"


def test_data_are_escaped_in_text_and_attributes() -> None:
    shot = {"uri": "data:,", "kind": "", "caption": "\"><script>'\x07", "path": Path("<b>.jpg")}
    columns = {"<i>": [{"shots": [shot], "name": "&amp;", "note": "</p>", "lines": ""}]}
    html = render("matches", title="</title>", recalls=[], note="<br>", columns=columns)
    body = html.partition("</style>")[2]
    assert 'alt="&#34;&gt;&lt;script&gt;&#39;?: &lt;b&gt;.jpg"' in body
    assert "<h2>&lt;i&gt;</h2>" in body and "&amp;amp; · &lt;/p&gt;" in body and "&lt;br&gt;" in body
    assert "<title>&lt;/title&gt;</title>" in html


def test_what_a_template_lacks_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'note' is undefined"):
        render("matches", title="", recalls=[], columns={})


def test_one_stylesheet_and_nothing_from_elsewhere() -> None:
    assert [path.name for path in ROOT.glob("vpr/**/*.css")] == ["base.css"]
    html = render("matches", title="", recalls=[], note="", columns={})
    assert (PAGES / "static/base.css").read_text("utf-8") in html
    for path in PAGES.rglob("*.*"):
        if path.suffix in (".j2", ".css", ".js"):
            assert not re.search(r"https?:|url\(|@import|fetch\(|<link|<iframe|<object", path.read_text("utf-8"))


def test_no_python_file_holds_html() -> None:
    tag = re.compile(r"</?(div|td|tr|th|table|span|section|html|svg|path|img|p|h[1-6]|br|a|li|ul|ol|figure)[ >]")
    files = [*(ROOT / "vpr").rglob("*.py"), *ROOT.glob("*.py")]
    assert [str(path) for path in files if tag.search(path.read_text("utf-8"))] == []


def test_pages_are_imported_without_jinja_and_results_without_plots() -> None:
    code = (
        "import sys, vpr.pages.render, vpr.pages.thumbnails, vpr.report.results, vpr.report.matches; "
        "print([name for name in ('matplotlib', 'jinja2', 'pyproj', 'hydra', 'timm', 'wandb') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
