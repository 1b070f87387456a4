"""Imports go downwards only (docs/architecture.md), in no circle, and importing the package is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "vpr").rglob("*.py"))

# Each room with its floor; a file may import from floors below its own, and from its own room.
FLOORS = {
    **dict.fromkeys(["types", "terminal"], 0),
    "errors": 0.2,
    "files": 0.5,
    **dict.fromkeys(["distributed", "cli", "data", "models"], 1),
    **dict.fromkeys(["pages", "toycity", "losses"], 2),
    "distill": 3,
    "checkpoint": 3,
    "interop": 4,
    "retrieval": 5,
    **dict.fromkeys(["api", "catalog", "export"], 6),
    "evaluation": 7,
    "report": 8,
    **dict.fromkeys(["training", "demo"], 9),
}
# Third-party packages and the only rooms that may import them.
ONLY = {
    "pytorch_lightning": {"training"},
    "hydra": {"cli", "catalog", "training", "evaluation"},
    "omegaconf": {"cli", "catalog", "training", "evaluation"},
    "wandb": {"training"},
    "jinja2": {"pages"},
    "onnx": {"export", "models"},
    "onnxslim": {"export"},
    "pandas": {"data", "toycity", "catalog", "retrieval", "report"},
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
    """Return the folder below vpr/, or the name of a file that lies there."""
    return path.relative_to(ROOT / "vpr").with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in FLOORS, f"{here}: give the new room a floor, here and in docs/architecture.md"
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "vpr" and rest:
            there = rest.partition(".")[0]
            down = there == here or FLOORS.get(there, 99) < FLOORS[here]
            assert down, f"{here} (floor {FLOORS[here]}) imports {name}"
        elif package in ONLY:
            assert here in ONLY[package], f"{here} imports {package}; only {sorted(ONLY[package])} may"


def test_the_rule_sees_what_it_should(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from vpr.training import run\n    import hydra.utils\n"
    )
    assert list(imports(file)) == ["typing.TYPE_CHECKING", "vpr.training.run", "hydra.utils"]


def test_importing_the_package_is_light() -> None:
    code = "import sys, vpr; print([m for m in ('torch', 'numpy', 'hydra', 'pytorch_lightning') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
