"""The drawn city in every layout, written once for all tests of formats."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict

from vpr.cli.compose import compose
from vpr.toycity.layouts.album import Album
from vpr.toycity.layouts.write import write_all
from vpr.toycity.spec import PanoramaSpec


@dataclass(frozen=True)
class Written:
    """Folder for `paths.data`, and the drawn album. Images are linked: copy a layout before you change its files."""

    root: Path
    album: Album

    def read(self, dataset: str, folder: str | Path | None = None, **settings: Any) -> Any:
        """Read as evaluate.py does with `dataset=<dataset>`; `folder`, below the root or absolute, replaces its root.

        `settings` replace those of the reader; the counts of the protocol are those of this city.
        """
        node = deepcopy(composed(dataset, self.root))
        with open_dict(node):
            if folder is not None:
                node.root = str(self.root / folder)
            node.update(settings)
            node.protocol.database, node.protocol.queries = len(self.album.database), len(self.album.queries)
        return instantiate(node, _convert_="all")

    def copy(self, folder: str, target: Path) -> Path:
        """Give a copy of a layout whose files may be changed."""
        return Path(shutil.copytree(self.root / folder, target))


@cache
def composed(dataset: str, root: Path) -> DictConfig:
    return compose("evaluate", [f"dataset={dataset}", f"paths.data={root}"]).dataset.eval[dataset]


@pytest.fixture(scope="session")
def toycity(tmp_path_factory: pytest.TempPathFactory) -> Written:
    root = tmp_path_factory.mktemp("toycity")
    return Written(root, write_all(root, PanoramaSpec(0, 6, 18), workers=1))
