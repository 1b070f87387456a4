"""Selection of a student: which candidates fit, which is chosen, and that the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from tests.processes import run_script
from vpr import checkpoint
from vpr.cli.compose import compose
from vpr.cli.sweeps.jobs import read_job
from vpr.errors import CheckpointError, ConfigError
from vpr.retrieval.agreement import Agreement
from vpr.training import distillation
from vpr.training.students import candidates as candidates_module
from vpr.training.students import selection
from vpr.training.students.candidates import Candidate, composed, own_backbone, split_words
from vpr.training.students.comparison import Comparison
from vpr.training.students.selection import choose, distil

REPO = Path(__file__).parents[3]
Distil = Callable[..., float]

# Stands for train.py: notes down its command line; where `fails` names its folder, it is killed with a last.ckpt.
SCRIPT = """
import os, signal, sys
from pathlib import Path
here, words = Path(__file__).parent, dict(word.split("=", 1) for word in sys.argv[1:])
run = Path(words["hydra.run.dir"].strip("'"))
with (here / "started").open("a") as file:
    file.write(f"{run.parent.name}/{run.name} {words['trainer.max_epochs']} {'ckpt_path' in words}\\n")
if (here / "fails").exists() and (here / "fails").read_text() == f"{run.parent.name}/{run.name}":
    (run / "last.ckpt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
(run / "best.ckpt").write_text(f"{run.parent.name}/{run.name}")
"""
# Share of first matches after the runs, of 100.
MATCHES = {"brief/small": 60, "brief/large": 70, "full/small": 80, "full/large": 90}


def agreement(matches: int) -> Agreement:
    return Agreement(np.arange(100) < matches, np.full(100, 0.5), np.zeros(100, np.int64), 20, 108)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stub the measurements: latencies that follow the image's size, matches by `MATCHES`. Returns the sizes."""
    sizes: list[int] = []

    class Stub:
        def __init__(self, side: int) -> None:
            self.side = side

        def plain(self) -> dict[str, Any]:
            parameters = {32: 300_000, 48: 400_000}.get(self.side, 3_000_000)
            return {"latency_ms": self.side / 10, "parameters": parameters, "gmacs": 1, "image_size": [self.side] * 2}

    def measure(describer: Any, device: Any) -> Stub:
        side = describer.preprocess.size[0] if sum(p.numel() for p in describer.parameters()) < 4e6 else 1000
        sizes.append(side)
        return Stub(side)

    monkeypatch.setattr(candidates_module, "measure", measure)
    monkeypatch.setattr(Comparison, "__call__", lambda self, ckpt: agreement(MATCHES[Path(ckpt).read_text()]))
    return sizes


@cache
def composed_once(name: str, words: tuple[str, ...]) -> Any:
    """Compose a run of train.py, which takes long, once for all tests."""
    return composed(name, words)


@pytest.fixture
def run(tmp_path: Path, typed: list[str], measured: list[int], monkeypatch: pytest.MonkeyPatch) -> Distil:
    """Distil with the stub of train.py, and further words."""
    (tmp_path / "train.py").write_text(SCRIPT)
    for module in (candidates_module, selection):
        anywhere = lambda name, words: composed_once(name, tuple(w.replace(str(tmp_path), "/x") for w in words))  # noqa: E731
        monkeypatch.setattr(module, "composed", anywhere)

    def make(*more: str) -> float:
        settings: Any = OmegaConf.to_container(compose("distil", [*typed, *more]), resolve=True)
        return distil(settings, tmp_path / "train.py")

    return make


def started(tmp_path: Path) -> list[str]:
    return (tmp_path / "started").read_text().splitlines()


def test_the_best_that_fits_is_trained_fully(run: Distil, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run() == 0.9
    # 108 images in batches of 60: two steps an epoch.
    assert started(tmp_path) == ["brief/small 1 False", "brief/large 1 False", "full/large 2 False"]
    out = tmp_path / "out"
    assert (out / "best.ckpt").read_text() == "full/large"
    report = json.loads((out / "report.json").read_text())
    assert report["chosen"] == "large" and report["agreement"]["first_match"] == 0.9
    notes = {name: candidate["note"] for name, candidate in report["candidates"].items()}
    assert notes["huge"] == "does not fit" and "there is no such file" in notes["absent"]
    text, printed = (out / "report.md").read_text(), capfd.readouterr().out
    assert "| large, chosen | 48x48 | 4.8 |" in text and "90.0 [84.0, 95.0] | after 4 steps |" in text
    assert "| small | 32x32 | 3.2 |" in text and "| teacher | 64x64 | 6.4 |" in text
    assert "does not fit" in printed and f"Next: python demo.py ckpt={out / 'best.ckpt'}" in printed
    lists = [set((out / name).read_text().splitlines()) for name in ("train.txt", "held_out.txt")]
    assert [len(paths) for paths in lists] == [108, 12] and not lists[0] & lists[1]


def test_the_teacher_is_read_once(run: Distil, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    make = candidates_module.make_teachers
    monkeypatch.setattr(
        candidates_module, "make_teachers", lambda node, *more: (read.append(node["ckpt"]), make(node, *more))[1]
    )
    monkeypatch.setattr(distillation, "make_teachers", lambda *_: pytest.fail("read again"))
    run()
    assert len(read) == 1


def test_the_same_command_goes_on(run: Distil, tmp_path: Path, measured: list[int]) -> None:
    costs: set[bytes] = set()
    for stage in ("brief/small", "brief/large", "full/large"):
        (tmp_path / "fails").write_text(stage)
        kind, name = stage.split("/")
        with pytest.raises(ConfigError, match=f"{name}: its {kind} training failed .*was ended by SIGKILL"):
            run()
        costs.add((tmp_path / "out/costs.json").read_bytes())
    (tmp_path / "fails").unlink()
    assert run() == 0.9 and len(costs) == 1 and measured.count(32) == 1
    assert started(tmp_path) == [
        *("brief/small 1 False", "brief/small 1 True", "brief/large 1 False", "brief/large 1 True"),
        *("full/large 2 False", "full/large 2 True"),
    ]


def test_a_tie_is_won_by_the_smaller(run: Distil, tmp_path: Path) -> None:
    assert run("tie=0.1") == 0.8
    assert started(tmp_path)[-1].startswith("full/small")


def test_candidates_may_come_and_go_but_settings_may_not(run: Distil, teacher: Path, tmp_path: Path) -> None:
    assert run() == 0.9
    assert run("~candidates.large") == 0.8
    assert started(tmp_path)[3:] == ["full/small 2 False"]  # one candidate needs no comparison
    with pytest.raises(ConfigError, match=r"was begun with full=4, and now full=6. .* name=NEW"):
        run("full=6")
    other = checkpoint.read(teacher)
    other["weights"] = {name: value + 1 for name, value in other["weights"].items()}
    checkpoint.write(tmp_path / "other.ckpt", other)
    with pytest.raises(ConfigError, match="was begun with teacher of other content"):
        run(f"teacher={tmp_path}/other.ckpt")


def test_more_images_than_steps_see(run: Distil, tmp_path: Path) -> None:
    run("brief=1")
    assert started(tmp_path)[:2] == ["brief/small 1 False", "brief/large 1 False"]
    brief, train = ((tmp_path / "out" / name).read_text().splitlines() for name in ("brief.txt", "train.txt"))
    assert len(brief) == len(set(brief)) == 60 and set(brief) < set(train)


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["budget=1ms"], ConfigError, r"none of the 4 .*nearest is small, 3.2 ms, .*: budget=3.2ms takes it"),
        (["budget=[3.2ms,0.1Mparams]"], ConfigError, r"'budget=\[3.2ms,0.3Mparams\]' takes it"),
        (["+candidates.odd='agg=gme'"], ConfigError, "(?s)candidates.odd: .*Did you mean 'gem'"),
        (["+candidates.odd='own agg.q=3'"], ConfigError, "candidates.odd: .*agg"),
        (["teacher=/no/such.ckpt"], CheckpointError, "such.ckpt"),
        (["+candidates.odd='own image.size=[3]'"], ConfigError, r"candidates.odd: image.size=\[3\]"),
        (["~candidates.small", "~candidates.large", "~candidates.huge"], ConfigError, "none of the 1 can be built"),
    ],
)
def test_what_ends_it_at_once(run: Distil, tmp_path: Path, words: list[str], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        run(*words)
    assert not (tmp_path / "started").exists()


def test_the_teachers_own_backbone(teacher: Path, typed: list[str]) -> None:
    content = checkpoint.read(teacher)
    words = own_backbone(content, str(teacher))
    assert words == ["backbone=resnet18", f"backbone.weights='{teacher}'", "backbone.crop=[4]"]
    assert own_backbone({"config": {"backbone": {"_target_": "vpr.models.backbones.hub.Hub"}}}, "x") == []
    recipe = ["experiment=kd_for_map", f"distillation.teacher.ckpt={teacher}", "agg=gem", "image.size=[32,48]"]
    describer = candidates_module.build(composed("own", [*recipe, *words, "dataset=my_images", *SOURCE]), {})
    own = {name: value for name, value in content["weights"].items() if name.startswith("backbone.")}
    state = describer.state_dict()
    assert all((state[name] == value).all() for name, value in own.items())
    # In the teacher's space: of 128 channels with another stage gone, through a projection.
    cut = composed("cut", [*recipe, *words, "backbone.crop=[3,4]", "dataset=my_images", *SOURCE])
    assert candidates_module.build(cut, {}).dim == 256 and describer.dim == 256


SOURCE = ["dataset.images.my_images.root=/my/photos"]


def test_words() -> None:
    assert split_words("own agg=gem image.size=[96,128]") == ["own", "agg=gem", "image.size=[96,128]"]
    assert split_words(["agg=gem", "init=a b.ckpt"]) == ["agg=gem", "init=a b.ckpt"]


def test_the_choice() -> None:
    fit = [Candidate(name, ()) for name in ("small", "middle", "large")]

    def chosen(*matches: int, tie: float = 0.01) -> str:
        found = {candidate.name: agreement(m) for candidate, m in zip(fit, matches, strict=True)}
        return choose(fit, found, tie).name

    assert [chosen(50, 60, 70), chosen(70, 50, 60), chosen(60, 70, 70)] == ["large", "small", "middle"]
    assert [chosen(69, 60, 70), chosen(68, 60, 70), chosen(68, 60, 70, tie=0.02)] == ["small", "large", "small"]
    assert choose(fit[1:2], {}, 0).name == "middle"


@pytest.mark.slow
def test_distil_from_the_command_line(typed: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(REPO / "distil.py"), *typed, f"hydra.run.dir={tmp_path}/out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 400
    while not (tmp_path / "out/brief/large/last.ckpt").exists():
        assert time.monotonic() < deadline and killed.poll() is None
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = run_script(command[1:], env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    job = read_job(tmp_path / "out/brief/small")
    assert job is not None and job.attempts == 1
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["chosen"] in ("small", "large") and report["agreement"]["queries"] == 12
    content = checkpoint.read(tmp_path / "out/best.ckpt")
    assert checkpoint.unpack(content, "x").dim == 256 and len(checkpoint.training_images(content)) == 108
    assert (
        len(list((tmp_path / "runs/teacher_targets").glob("*/targets.npy"))) == 1
    )  # the runs share the teacher's descriptors
