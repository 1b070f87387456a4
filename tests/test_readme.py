"""README and docs: their commands compose, what they name exists, figures are the measured ones."""

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
PAGES = [REPO / name for name in ("README.md", "CONTRIBUTING.md", "multirun/README.md")]
PAGES += sorted((REPO / "docs").glob("*.md"))
# tests/test_adding.py has those of docs/adding.md, which need the files that it shows.
TEXT = "\n".join(page.read_text() for page in PAGES if page.name != "adding.md")
STARTS = r"(?:\w+=\S+ )?(?:\S*/)?(?:python|torchrun \S+)"
COMMANDS = re.findall(rf"^ {{4,}}{STARTS} ({SCRIPTS})\.py(.*)$", TEXT, re.MULTILINE)
COMMANDS += re.findall(rf"`python ({SCRIPTS})\.py([^`]*)`", TEXT)
COMMANDS = list(dict.fromkeys(COMMANDS))


def announced():
    spec = importlib.util.spec_from_file_location("demo_figure", REPO / "benchmarks" / "demo_figure.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.announced()


def test_there_are_commands():
    assert len(COMMANDS) > 40
    assert {script for script, _ in COMMANDS} == {"train", "evaluate", "cluster", "demo", "distil", "export"}


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
    for model, (mean, low, high) in announced().items():
        assert f"| {model} | {mean:.1f} ({low:.1f} to {high:.1f}) |" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_nothing_is_left_to_fill_in(page: Path):
    assert "@@" not in page.read_text()


@pytest.mark.parametrize("page", [*PAGES, REPO / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(REPO)))
def test_what_a_page_names_exists(page: Path):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):  # links to files
        assert (page.parent / target).exists(), target
    if page.name == "CHANGELOG.md":  # names of before
        return
    for path in re.findall(r"\b(?:vpr|tests|conf|benchmarks|docs|dashboards)/[\w/.]*\w", text):
        if page.name != "adding.md":  # whose files are to be written
            assert (REPO / path).exists() or path.endswith("walk.yaml"), path
    for module in re.findall(r"python -m (vpr[\w.]*\w)", text):
        assert importlib.util.find_spec(module), module
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"(?:`|^ {4})make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, target
