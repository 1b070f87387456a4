"""What the README says: its commands compose, its figures are the measured ones, nothing is left to fill in."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from vpr import checkpoint
from vpr.cli.compose import compose
from vpr.cli.path_escaping import escape_paths
from vpr.models.describer import build_describer

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text()
SCRIPTS = "|".join(sorted(path.stem for path in REPO.glob("*.py") if (REPO / "conf" / f"{path.stem}.yaml").is_file()))
COMMANDS = re.findall(rf"^    python ({SCRIPTS})\.py(.*)$", README, re.MULTILINE)
COMMANDS += re.findall(rf"`python ({SCRIPTS})\.py([^`]*)`", README)


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
    compose(script, escape_paths([word for word in overrides if "(" not in word]))


def test_help_is_a_command_that_composes():
    for page in (REPO / "conf/hydra/help").glob("*.yaml"):
        for script, line in re.findall(rf"^    python ({SCRIPTS})\.py(.*)$", page.read_text(), re.MULTILINE):
            test_commands_compose(script, re.split(" {3,}", line)[0])


def test_the_example_in_python_runs(tmp_path, monkeypatch, capsys):
    config = {
        "backbone": {"_target_": "vpr.models.backbones.mobilenet_v2.MobileNetV2", "weights": "none"},
        "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
        "image": {"size": [32, 32]},
    }
    checkpoint.save(tmp_path / "runs/demo/best.ckpt", build_describer(**config), config)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (40, 30), (9, 99, 199)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    said, similarity = capsys.readouterr().out.split()
    assert said == "similarity" and float(similarity) == pytest.approx(1, abs=1e-5)  # the two photos are one


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
