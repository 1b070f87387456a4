"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with published ground truth, golden outputs and real photos; a plain clone has none.

    Found beside the checkout as `shared`, or named by the environment variable VPR_SHARED.
    """
    folder = Path(os.environ.get("VPR_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the reference files in {folder.name}/ beside the checkout (or VPR_SHARED=DIR)")
    return folder
