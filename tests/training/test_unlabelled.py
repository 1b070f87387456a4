"""Images without labels: what is learned from, what is never looked at, and that an interrupted run goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf, open_dict

from tests.conftest import PLACES, VIEWS, interrupt_at
from vpr import checkpoint
from vpr.cli.rules import check_rules
from vpr.data import places, retrieval_set
from vpr.data.image_digests import image_digests
from vpr.errors import ConfigError, DataError
from vpr.models.describer import build_describer
from vpr.training.run import TrainingRun, fit

Tiny = Callable[[Sequence[str]], DictConfig]
BANK = ["distillation=[descriptor,similarity]", "distillation.cache=true", "distillation.bank=20"]
UNLABELLED = [*BANK, "supervision=unlabelled", "supervision.images=16", "distillation.task_weight=0"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A teacher of 512-d descriptors at 64x64 pixels, as an override."""
    torch.manual_seed(1)
    parts = {
        "backbone": {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none"},
        "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
    }
    path = tmp_path_factory.mktemp("teacher") / "best.ckpt"
    checkpoint.save(path, build_describer(**parts, image={"size": [64, 64]}), parts)
    return f"distillation.teacher.ckpt={path}"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """The image files that are decoded."""
    seen: set[Path] = set()
    for module in (places, retrieval_set):
        real = module.decode
        monkeypatch.setattr(module, "decode", lambda path, *rest, real=real: seen.add(Path(path)) or real(path, *rest))
    return seen


def test_learns_from_all_images_and_never_from_a_query(
    tiny: Tiny, teacher: str, photos: Path, tmp_path: Path, opened: set[Path], steps: list[tuple[list[int], float]]
) -> None:
    cfg = tiny([*UNLABELLED, teacher, "supervision.map=true", "trainer.max_epochs=2", "trainer.eval_every=0"])
    read = {"_target_": "vpr.data.formats.unlabelled.read", "root": str(photos / "train" / "place00"), "frames": "x"}
    with open_dict(cfg):
        cfg.dataset.images = {"more": read}
    check_rules(cfg)
    fit(cfg, tmp_path / "run")
    of_train, of_map = PLACES * VIEWS, PLACES
    count = VIEWS + of_train + of_map
    assert opened == {*(photos / "train").rglob("*.jpg"), *(photos / "database").iterdir()}
    for epoch in (0, 1):
        drawn = [number for numbers, _ in steps[4 * epoch :][:4] for number in numbers]
        assert sorted(drawn) == list(range(count))
    assert all(loss > 0 for _, loss in steps)
    noted = checkpoint.training_images(checkpoint.read(tmp_path / "run" / "best.ckpt"))
    assert np.array_equal(noted, image_digests(sorted(opened)))


def test_labels_and_queries_change_nothing(tiny: Tiny, teacher: str, photos: Path, tmp_path: Path) -> None:
    options = [*UNLABELLED, teacher, "supervision.map=[tiny]", "trainer.max_epochs=1", "trainer.eval_every=0"]
    weights = []
    for name in ("as they are", "changed"):
        root = tmp_path / name
        shutil.copytree(photos, root)
        if name == "changed":
            for number, query in enumerate(sorted((root / "queries").iterdir())):
                query.write_bytes(b"no image")
                query.rename(query.with_name(f"{(number + 1) % PLACES:02d}.new"))  # a query of another place
            for query in (root / "queries").iterdir():
                query.rename(query.with_suffix(".jpg"))
        cfg = tiny(options)
        cfg.dataset.eval.tiny.root = str(root)
        with open_dict(cfg):
            del cfg.dataset["train"]
        fit(cfg, tmp_path / f"run {name}")
        weights.append(checkpoint.read(tmp_path / f"run {name}" / "best.ckpt")["weights"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_an_interrupted_run_is_the_same_run(tiny: Tiny, teacher: str, tmp_path: Path, with_callback) -> None:
    options = [*UNLABELLED, teacher, "trainer.eval_every=0", "distillation.terms.descriptor.keep=true"]
    run = TrainingRun.from_config(tiny(options), tmp_path / "straight")
    run.fit()
    with with_callback(interrupt_at(4)), pytest.raises(KeyboardInterrupt):
        fit(tiny(options), tmp_path / "runs" / "tiny" / "first")
    resumed = TrainingRun.from_config(tiny([*options, "ckpt_path=last"]), tmp_path / "second")
    resumed.fit()
    before, after = run.module.state_dict(), resumed.module.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with pytest.raises(ConfigError, match="distillation.bank=20, and this one has 30"):
        fit(tiny([*options, "ckpt_path=last", "distillation.bank=30"]), tmp_path / "third")


def test_labelled_places_look_at_a_bank_too(tiny: Tiny, teacher: str, tmp_path: Path, steps) -> None:
    fit(tiny([*BANK, teacher, "trainer.max_epochs=1", "trainer.eval_every=0", "distillation.bank=all"]), tmp_path / "a")
    fit(tiny([BANK[0], BANK[1], teacher, "trainer.max_epochs=1", "trainer.eval_every=0"]), tmp_path / "b")
    losses = [loss for _, loss in steps]
    assert len(losses) == 6 and losses[:3] != losses[3:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["supervision.map=[tiny2]"], "no evaluation set tiny2"),
        (["distillation=logit", "distillation.bank=null"], "logit asks to which place"),
    ],
)
def test_what_does_not_fit(tiny: Tiny, teacher: str, tmp_path: Path, change: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fit(tiny([*UNLABELLED, teacher, *change]), tmp_path)


def test_no_images_at_all(tiny: Tiny, teacher: str, tmp_path: Path) -> None:
    cfg = tiny([*UNLABELLED, teacher])
    cfg.dataset = OmegaConf.create({"eval": cfg.dataset.eval})
    with pytest.raises(ConfigError, match="supervision.map=true"):
        check_rules(cfg)
    with pytest.raises(ConfigError, match="no images to learn from"):
        fit(cfg, tmp_path)


def test_unreadable_images_end_the_run(tiny: Tiny, teacher: str, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(photos / "database", folder)
    for path in sorted(folder.iterdir())[:6]:
        path.write_bytes(b"no image")
    cfg = tiny([*UNLABELLED, teacher])
    read = {"_target_": "vpr.data.formats.unlabelled.read", "root": str(folder), "frames": "x"}
    cfg.dataset = OmegaConf.create({"images": {"bad": read}})
    with pytest.raises(DataError, match="6 of 12"):
        fit(cfg, tmp_path / "run")
