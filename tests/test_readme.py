"""What the README says: its commands compose, its figures are the measured ones, nothing is left to fill in."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from vpr.config.compose import compose

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()
COMMANDS = re.findall(r"^    python (train|evaluate|cluster)\.py(.*)$", README, re.MULTILINE)
COMMANDS += re.findall(r"`python (train|evaluate|cluster)\.py([^`]*)`", README)


def announced():
    spec = importlib.util.spec_from_file_location("demo_figure", REPO / "benchmarks" / "demo_figure.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.announced()


def test_there_are_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize(("script", "line"), COMMANDS)
def test_commands_compose(script: str, line: str):
    words = [word for word in shlex.split(line, comments=True) if "=" in word]
    # A sweep's choices are one choice a job: the first stands for all.
    overrides = [re.sub(r"^([^\[]*?=[^,\[]+),.*$", r"\1", word) for word in words]
    compose(script, [word for word in overrides if "(" not in word])


def test_the_announced_figures_are_the_measured_ones():
    protocol, mean, low, high = announced()
    assert f"{mean:.1f} % on `{protocol}`" in README
    assert f"{low:.1f} to {high:.1f} %" in README


@pytest.mark.parametrize(
    "page", [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_nothing_is_left_to_fill_in(page: Path):
    assert "@@" not in page.read_text()


def test_pictures_and_pages_that_are_linked_exist():
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README):
        assert (REPO / target).exists(), target
