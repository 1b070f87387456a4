"""Names command no terminal: whatever is printed or logged goes through one cleaner."""

from __future__ import annotations

import io
import logging
import logging.config
import re
from pathlib import Path

import pytest
import yaml
from rich.table import Table

from vpr.pages.screen import Screen
from vpr.retrieval.extractor import progress
from vpr.terminal import ReadableFormatter, say

ROOT = Path(__file__).parents[1]
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\rhidden\u202e.jpg"
COMMANDS = re.compile(r"[\x1b\x07\x9b\r\u202e]")


def test_a_screen_cleans_texts_tables_titles_and_captions() -> None:
    file = io.StringIO()
    table = Table(title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    screen = Screen(file=file, width=200)
    screen.print(table, HOSTILE)
    screen.print(HOSTILE, markup=False, soft_wrap=True)
    assert "hidden" in file.getvalue() and not COMMANDS.search(file.getvalue())


def test_messages_and_tracebacks_in_logs_are_cleaned(tmp_path: Path) -> None:
    node = yaml.safe_load((ROOT / "conf/hydra/job_logging/vpr.yaml").read_text())
    node["handlers"]["file"]["filename"] = str(tmp_path / "run.log")
    for name in node["formatters"]:
        assert node["formatters"][name]["class"] == "vpr.terminal.ReadableFormatter"
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "bad %s", (HOSTILE,), (ValueError, error, None))
    text = ReadableFormatter("%(message)s").format(record)
    assert text.count("hidden") == 2 and "\n" in text and not COMMANDS.search(text)


def test_errors_on_the_command_line_are_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"DataError: {HOSTILE}")
    assert not COMMANDS.search(capsys.readouterr().err)
    with progress(HOSTILE, 1, show=False):
        pass


def test_nobody_prints_past_the_cleaner() -> None:
    """Bare consoles show progress bars alone, whose titles are ours; the scripts of a bundle print JSON, escaped."""
    for path in [*ROOT.glob("*.py"), *(ROOT / "vpr").rglob("*.py")]:
        text = path.read_text()
        if "templates" in path.parts:
            continue
        assert "file=sys.stderr" not in text or path.name == "terminal.py", path
        if path.relative_to(ROOT).as_posix() not in ("vpr/pages/screen.py", "vpr/retrieval/extractor.py"):
            assert not re.search(r"(?<!\w)Console\(\)", text), path
            assert "Console(stderr=True)" not in text or "Progress(" in text, path
