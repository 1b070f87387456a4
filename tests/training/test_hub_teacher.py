"""A model of torch.hub teaches a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from vpr import checkpoint
from vpr.cli.compose import plain
from vpr.cli.rules import check_rules
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError
from vpr.training.distillation import make_teachers
from vpr.training.run import fit

HUBCONF = """
import torch


class Coarse(torch.nn.Module):
    def __init__(self, side, scale):
        super().__init__()
        self.side, self.scale = side, torch.nn.Parameter(torch.tensor(scale))

    def forward(self, images):
        coarse = torch.nn.functional.adaptive_avg_pool2d(images, self.side).flatten(1)
        return coarse * self.scale, None


def coarse(side=2, scale=3.0):
    return Coarse(side, scale)
"""

Tiny = Callable[[Sequence[str]], DictConfig]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "clones" / "coarse-vpr"
    folder.mkdir(parents=True)
    (folder / "hubconf.py").write_text(HUBCONF)
    return folder


def hub(repo: Path, args: str = "{side: 2}", output: str = "0") -> str:
    return f"distillation.teacher.hub={{repo: {repo}, model: coarse, size: [32,40], args: {args}, output: {output}}}"


def teachers(cfg: DictConfig) -> list[Teacher]:
    return make_teachers(plain(cfg.distillation.teacher), plain(cfg.image), "cpu")


def test_a_run(tiny: Tiny, tmp_path: Path, repo: Path) -> None:
    cfg = tiny(["distillation=[similarity,descriptor]", hub(repo), "trainer.max_epochs=1"])
    check_rules(cfg)
    fit(cfg, tmp_path)
    best = checkpoint.read(tmp_path / "best.ckpt")["config"]["distillation"]
    (teacher,) = best["teachers"]
    assert teacher["name"] == "coarse-vpr/coarse" and len(teacher["digest"]) == 64
    # Which model taught is recorded, and not where this machine keeps it.
    assert best["teacher"]["hub"]["repo"] == "clones/coarse-vpr" and best["teacher"]["hub"]["args"] == {"side": 2}
    assert str(tmp_path) not in str(best)


def test_what_decides_its_descriptors_decides_its_digest(tiny: Tiny, repo: Path) -> None:
    def digest(*options: str) -> str:
        (teacher,) = teachers(tiny(["distillation=rkd", *options]))
        return teacher.digest

    first = digest(hub(repo))
    assert first == digest(hub(repo), "distillation.teacher.precision=32-true")
    assert len({first, digest(hub(repo, "{scale: 2.0}")), digest(hub(repo, "{side: 3}"))}) == 3
    assert first != digest(hub(repo), "+distillation.teacher.hub.mean=[0,0,0]")
    moved = repo.rename(repo.parent.parent / "coarse-vpr")
    assert first == digest(hub(moved))


def test_its_size_and_outputs(tiny: Tiny, repo: Path) -> None:
    (teacher,) = teachers(tiny(["distillation=rkd", hub(repo, "{side: 3}")]))
    assert teacher.preprocess.size == (32, 40) and teacher.shape.dim == 27 and teacher.shape.channels is None
    found = teacher(torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)).descriptors
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))


def test_it_shows_no_maps(tiny: Tiny, tmp_path: Path, repo: Path) -> None:
    with pytest.raises(ConfigError, match="coarse-vpr/coarse gives descriptors only"):
        fit(tiny(["distillation=attention", hub(repo)]), tmp_path)


def test_a_tuple_that_nobody_spoke_of(tiny: Tiny, repo: Path) -> None:
    with pytest.raises(ConfigError, match=r"returns a tuple of a tensor of shape \(2, 12\), a NoneType"):
        teachers(tiny(["distillation=rkd", hub(repo, output="null")]))
