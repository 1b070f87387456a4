"""Imports go downwards only (docs/architecture.md), importing the package is light, and files stay short."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "vpr").rglob("*.py"))
SCRIPTS = sorted(ROOT.glob("*.py"))

# Each room with its floor; a file may import from floors below its own, and from its own room.
FLOORS = {
    **dict.fromkeys(["errors", "types"], 0),
    **dict.fromkeys(["config", "data", "models"], 1),
    **dict.fromkeys(["losses", "distill"], 2),
    "retrieval": 3,
    **dict.fromkeys(["checkpoint", "engine"], 4),
    "interop": 5,
    **dict.fromkeys(["api", "viz", "report"], 6),
    "demo": 7,
}
# What engine, distill and report build on, though they share a floor.
NEIGHBOURS = {("engine", "checkpoint"), ("distill", "losses"), ("report", "viz")}
# Third-party packages and the only rooms that may import them.
ONLY = {
    "pytorch_lightning": {"engine"},
    "hydra": {"config", "engine"},
    "omegaconf": {"config", "engine"},
    "wandb": {"engine"},
    "pandas": {"data", "retrieval", "report", "viz"},
}


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports, those for type checking alone left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    """Return the folder below vpr/, or what a file there is called up to the first underscore: viz_page is of viz."""
    return path.relative_to(ROOT / "vpr").with_suffix("").parts[0].partition("_")[0] or "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in FLOORS, f"{here}: give the new room a floor, here and in docs/architecture.md"
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "vpr":
            there = rest.partition(".")[0].partition("_")[0]
            down = there == here or (here, there) in NEIGHBOURS or FLOORS.get(there, -1) < FLOORS[here]
            assert down, f"{here} (floor {FLOORS[here]}) imports {name}"
        elif package in ONLY:
            assert here in ONLY[package], f"{here} imports {package}; only {sorted(ONLY[package])} may"


def test_the_rule_sees_what_it_should(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from vpr.engine import fit\n    import hydra.utils\n"
    )
    assert list(imports(file)) == ["typing.TYPE_CHECKING", "vpr.engine.fit", "hydra.utils"]


def test_importing_the_package_is_light() -> None:
    code = "import sys, vpr; print([m for m in ('torch', 'numpy', 'hydra', 'pytorch_lightning') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES + SCRIPTS}
    assert {path: n for path, n in lines.items() if n > 300} == {}
    assert {path: lines[path] for path in map(str, (p.name for p in SCRIPTS)) if lines[path] > 120} == {}
    assert statistics.median(n for n in lines.values() if n) <= 100
