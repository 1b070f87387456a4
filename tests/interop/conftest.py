"""Published files, built as their projects wrote them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest


def script(folder: Path) -> ModuleType:
    """Import build_checkpoints.py of a folder of golden files."""
    spec = importlib.util.spec_from_file_location("build_checkpoints", folder / "build_checkpoints.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def published(shared, tmp_path_factory) -> Callable[[str], Path]:
    """Function that builds one published file in a temporary folder."""
    module, folder = script(shared / "golden"), tmp_path_factory.mktemp("published")
    return lambda name: Path(module.write(name, folder))


@pytest.fixture(scope="module")
def field(shared) -> ModuleType:
    """The script of the second golden folder: SALAD, BoQ, MegaLoc and others; `field.images` makes inputs."""
    return script(shared / "golden2")


@pytest.fixture(scope="module")
def published_field(field, tmp_path_factory) -> Callable[[str], Path]:
    """Function that builds one file of these; each is built once."""
    folder = tmp_path_factory.mktemp("field")
    return cache(lambda name: Path(field.write(name, folder)))
