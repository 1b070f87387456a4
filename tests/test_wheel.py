"""The wheel is whole: installed without the clone, it describes photos, converts published files and writes a page."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]

# Runs in a process that sees the installed wheel and the environment's other packages, and not the clone, which may be
# installed there as an editable package.
SCRIPT = """
import os, runpy, sys
from pathlib import Path

clone, site = map(Path, sys.argv[1:])
sys.path[:] = [str(site), *(path for path in sys.path if path and not Path(path).resolve().is_relative_to(clone)
               or "site-packages" in path)]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in str(getattr(finder, "__module__", ""))]

import numpy as np
import torch
import torchvision
import vpr
from vpr import checkpoint
from vpr.pages.render import render

assert Path(vpr.__file__).is_relative_to(site), vpr.__file__
network = torch.nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])
state = {f"backbone.{name}": value for name, value in network.state_dict().items()}
state |= {"aggregation.1.p": torch.tensor([3.0]), "aggregation.3.weight": torch.randn(8, 512)}
torch.save(state | {"aggregation.3.bias": torch.zeros(8)}, "published.pth")
sys.argv = ["vpr.interop", "published.pth", "ours.ckpt"]
try:
    runpy.run_module("vpr.interop", run_name="__main__")
except SystemExit as ended:
    assert not ended.code
descriptors = vpr.load("ours.ckpt").describe([np.zeros((48, 64, 3), np.uint8)])
assert descriptors.shape == (1, 8), descriptors.shape
page = render("matches", title="<toycity>", recalls=[], note="", columns={"Misses": []})
assert "&lt;toycity&gt;" in page and "color-scheme" in page
assert not [name for name, module in sys.modules.items() if str(clone / "vpr") in str(getattr(module, "__file__", ""))]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy of what is tracked, so that leftovers of earlier builds do not hide what is missing."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "vpr", folder / "clone/vpr", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "clone" / name)
    pip(["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "clone")])
    (built,) = folder.glob("*.whl")
    return built


def pip(arguments: list[str]) -> None:
    run = subprocess.run([sys.executable, "-m", "pip", *arguments, "--no-index"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_everything_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vpr/")}
    files = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vpr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files - packed == set()


def test_the_wheel_works_without_the_clone(wheel: Path, tmp_path: Path) -> None:
    site, work = tmp_path / "site", tmp_path / "work"
    pip(["install", "--no-deps", "--target", str(site), str(wheel)])
    work.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(ROOT), str(site)]
    run = subprocess.run(command, cwd=work, capture_output=True, text=True, env={"PATH": "/usr/bin", "HOME": str(work)})
    assert run.returncode == 0, run.stdout + run.stderr
    assert "resnet18 with CosPlace, 8 numbers a descriptor" in run.stdout
