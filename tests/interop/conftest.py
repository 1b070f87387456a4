"""Published files, built as their projects wrote them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def published(shared, tmp_path_factory):
    """Function that builds one published file in a temporary folder."""
    script = shared / "golden" / "build_checkpoints.py"
    spec = importlib.util.spec_from_file_location("build_checkpoints", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("published")
    return lambda name: Path(module.write(name, folder))
