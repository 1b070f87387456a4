"""Fixtures that all tests share: the reference files, a tiny training set with runs of a second, drawn layouts.

Lightning is imported where it is needed: the process that starts the others, and hands out tests, runs none.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict

from vpr.cli.compose import compose

if TYPE_CHECKING:
    from pytorch_lightning.callbacks import Callback

    from vpr.toycity.layouts.album import Album

PLACES, VIEWS, SIDE = 12, 4, 48


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with most slow tests first: with several processes, none waits at the end for one of those."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@contextmanager
def untraced() -> Iterator[None]:
    """Pause coverage: before Python 3.12 it doubles the time of all code, also of what it does not measure."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


@pytest.fixture(scope="session", autouse=True)
def _hydra_composes_untraced() -> Iterator[None]:
    load = ConfigLoaderImpl.load_configuration

    def untraced_load(*args: Any, **options: Any) -> DictConfig:
        with untraced():
            return load(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigLoaderImpl, "load_configuration", untraced_load)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with published ground truth, golden outputs and real photos; a plain clone has none.

    Found beside the checkout as `shared`, or named by the environment variable VPR_SHARED.
    """
    folder = Path(os.environ.get("VPR_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the reference files in {folder.name}/ beside the checkout (or VPR_SHARED=DIR)")
    return folder


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder `train` with 12 places of 4 views, and `database`, `queries` with one view of each of 12 other places."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, places in (("train", PLACES), ("test", PLACES)):
        for place in range(places):
            pattern = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            for view in range(VIEWS):
                image = cv2.resize(pattern, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
                image = cv2.add(image, rng.integers(0, 30, image.shape, dtype=np.uint8))
                if part == "train":
                    path = root / "train" / f"place{place:02d}" / f"{view}.jpg"
                else:
                    path = root / ("database" if view == 0 else "queries") / f"{place:02d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image)
    return root


@pytest.fixture
def tiny(photos: Path, tmp_path: Path) -> Callable[[Sequence[str]], DictConfig]:
    """Compose a run of 3 epochs of 3 steps on `photos`, with more overrides."""

    def make(overrides: Sequence[str] = ()) -> DictConfig:
        cfg = compose(
            "train",
            [
                *(
                    "dataset=places_folder",
                    "backbone=resnet18",
                    "backbone.weights=none",
                    "backbone.crop=[3,4]",
                    "agg=gem",
                    "logger=csv",
                ),
                *("image.size=[48,48]", "batch.places=4", "batch.images_per_place=2", "name=tiny"),
                *("trainer.max_epochs=3", "trainer.num_workers=0", "trainer.accelerator=cpu", "trainer.log_every=1"),
                f"paths.runs={tmp_path}/runs",
                *overrides,
            ],
        )
        with open_dict(cfg):
            cfg.logger.csv.directory = str(tmp_path / "log")
            cfg.dataset = OmegaConf.create(
                {
                    "train": {
                        "tiny": {"_target_": "vpr.data.formats.place_lists.read_folder", "root": f"{photos}/train"}
                    },
                    "eval": {
                        "tiny": {
                            "_target_": "vpr.data.formats.pairs.read",
                            "root": str(photos),
                            "protocol": {"_target_": "vpr.types.Protocol", "id": "tiny@0f"},
                            "database": "database",
                            "queries": "queries",
                            "tolerance": 0,
                        }
                    },
                }
            )
        return cfg

    return make


@pytest.fixture(scope="session")
def walk(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training photos by position: places 100 metres apart, their views one; views 0 and 1 are `queries`."""
    root = tmp_path_factory.mktemp("walk")
    for place in range(PLACES):
        for view in range(VIEWS):
            folder = root / ("queries" if view < VIEWS // 2 else "gallery")
            folder.mkdir(exist_ok=True)
            shutil.copy(
                photos / "train" / f"place{place:02d}" / f"{view}.jpg", folder / f"@{100 * place + view:04d}@0@.jpg"
            )
    return root


@pytest.fixture
def tiny_tuples(tiny: Callable, walk: Path) -> Callable[[Sequence[str]], DictConfig]:
    """Compose a run on `walk`: 3 epochs of 6 steps of 4 tuples, with a look at the gallery before each second step."""

    def make(overrides: Sequence[str] = ()) -> DictConfig:
        own = ["supervision=tuples", "supervision.refresh_every=8", "supervision.mining.negatives=2"]
        cfg = tiny([*own, "supervision.mining.pool=10", *overrides])
        side = {"_target_": "vpr.data.formats.utm_folder.photos", "root": str(walk)}
        with open_dict(cfg):
            cfg.dataset.weak = {
                "tiny": {
                    "_target_": "vpr.data.tuples.read",
                    "queries": {**side, "folder": "queries"},
                    "gallery": {**side, "folder": "gallery"},
                    "capture": ".+",
                }
            }
            del cfg.dataset["train"]
        return cfg

    return make


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], float]]:
    """Photos and loss of every step, in order."""
    from vpr.training.module import TrainingModule

    seen: list[tuple[list[int], float]] = []
    step = TrainingModule.training_step

    def recorded(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        seen.append((batch.numbers.tolist(), loss.item()))
        return loss

    monkeypatch.setattr(TrainingModule, "training_step", recorded)
    return seen


def interrupt_at(step: int, number: int = signal.SIGINT) -> Callback:
    """Return a callback that presses Ctrl-C, or sends another signal, while a step runs."""
    from pytorch_lightning.callbacks import LambdaCallback

    def press(trainer, module, optimizer) -> None:
        if trainer.global_step == step:
            os.kill(os.getpid(), number)

    return LambdaCallback(on_before_optimizer_step=press)


@pytest.fixture
def with_callback(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callback], AbstractContextManager[None]]:
    """Runs in `with with_callback(callback):` get one more callback, before all others."""

    import vpr.training.run as fit_module

    @contextmanager
    def added(callback: Callback) -> Iterator[None]:
        make = fit_module.make_trainer
        with monkeypatch.context() as patch:
            patch.setattr(fit_module, "make_trainer", lambda c, d, found, *rest: make(c, d, [callback, *found], *rest))
            yield

    return added


@pytest.fixture
def interrupted_at(with_callback: Callable) -> Callable[[int], AbstractContextManager[None]]:
    """Runs in `with interrupted_at(step):` end there by Ctrl-C, which `fit` raises as KeyboardInterrupt."""

    @contextmanager
    def at(step: int) -> Iterator[None]:
        with with_callback(interrupt_at(step)), pytest.raises(KeyboardInterrupt):
            yield

    return at


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
        """Return a copy of a layout whose files may be changed."""
        return Path(shutil.copytree(self.root / folder, target))


@cache
def composed(dataset: str, root: Path) -> DictConfig:
    return compose("evaluate", [f"dataset={dataset}", f"paths.data={root}"]).dataset.eval[dataset]


@pytest.fixture(scope="session")
def toycity(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The drawn city in every layout, written once for all tests of formats."""
    from vpr.toycity.layouts.write import write_all
    from vpr.toycity.spec import PanoramaSpec

    root = tmp_path_factory.mktemp("toycity")
    return Written(root, write_all(root, PanoramaSpec(0, 6, 18), workers=1))
