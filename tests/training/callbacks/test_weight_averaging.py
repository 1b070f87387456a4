"""Averaged weights are what is evaluated and saved; training goes on as if nobody had averaged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from torch.optim.swa_utils import update_bn

import vpr.training.callbacks.evaluation as evaluation
from tests.processes import run_script
from vpr import checkpoint
from vpr.training.run import fit

LIGHTNING = "pytorch_lightning.callbacks"
DECAY = 0.5
EMA = [f"+callbacks.ema._target_={LIGHTNING}.EMAWeightAveraging", f"+callbacks.ema.decay={DECAY}"]
SWA = [
    f"+callbacks.swa._target_={LIGHTNING}.StochasticWeightAveraging",
    *("+callbacks.swa.swa_lrs=1e-3", "+callbacks.swa.swa_epoch_start=2", "+callbacks.swa.annealing_epochs=2"),
]
ROOT = Path(__file__).parents[3]
State = dict[str, torch.Tensor]


def copied(describer: torch.nn.Module) -> State:
    return {name: value.clone() for name, value in describer.state_dict().items()}


def is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def assert_close(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert expected.keys() <= state.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, msg=lambda text, name=name: f"{name}: {text}")


class Recorder(Callback):
    """Notes the weights that are trained: at the start of each epoch and after each step, and each epoch's images."""

    def __init__(self) -> None:
        self.starts: list[State] = []
        self.steps: list[State] = []
        self.images: list[list[torch.Tensor]] = []

    def on_train_epoch_start(self, trainer, module) -> None:
        self.starts.append(copied(module.describer))
        self.images.append([])

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.steps.append(copied(module.describer))
        self.images[-1].append(batch.images)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """Weights of every evaluation, in order."""
    seen: list[State] = []
    evaluate = evaluation.evaluate

    def recorded(extractor, *args, **options):
        seen.append(copied(extractor.model))
        return evaluate(extractor, *args, **options)

    monkeypatch.setattr(evaluation, "evaluate", recorded)
    return seen


def saved(run: Path, epoch: int) -> State:
    (path,) = run.glob(f"epoch{epoch:02d}_*.ckpt")
    return checkpoint.read(path)["weights"]


def moving_average(states: list[State]) -> State:
    average = dict(states[0])
    for state in states[1:]:
        average = {name: DECAY * average[name] + (1 - DECAY) * value for name, value in state.items()}
    return {name: value for name, value in average.items() if not name.endswith("num_batches_tracked")}


def test_an_exponential_average_is_evaluated_and_saved(
    tiny, tmp_path: Path, evaluated, steps, with_callback, monkeypatch
):
    fit(tiny(), tmp_path / "plain")
    expected_steps = list(steps)
    steps.clear()
    evaluated.clear()
    recorder = Recorder()
    with with_callback(recorder):
        fit(tiny(EMA), tmp_path / "run")
    assert steps == expected_steps, "the average has no part in training"
    assert len(evaluated) == 3
    for epoch in range(3):
        average = moving_average(recorder.steps[: 3 * (epoch + 1)])
        assert_close(evaluated[epoch], average)
        assert_close(saved(tmp_path / "run", epoch), average)
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert_close(last["describer"]["weights"], moving_average(recorder.steps))


def test_an_average_without_statistics_gets_its_own(tiny, tmp_path: Path, evaluated, with_callback):
    """SWA averages weights at the starts of epochs; its BatchNorm statistics are those of an epoch's images."""
    recorder = Recorder()
    with with_callback(recorder):
        fit(tiny([*SWA, "trainer.save_top=9"]), tmp_path / "run")
    assert len(evaluated) == 4, "Lightning adds an epoch for BatchNorm"
    for epoch, averaged in ((0, []), (1, [1]), (2, [1, 2]), (3, [1, 2])):
        state, kept = evaluated[epoch], saved(tmp_path / "run", epoch)
        assert_close(kept, state)
        if not averaged:
            assert_close(state, recorder.steps[2])
            continue
        starts = [recorder.starts[number] for number in averaged]
        mean = {
            name: torch.stack([start[name] for start in starts]).mean(0) for name in starts[0] if not is_statistic(name)
        }
        assert_close(state, mean)
        describer = checkpoint.load(next((tmp_path / "run").glob(f"epoch{epoch:02d}_*.ckpt")))
        update_bn([describer.normalise(images) for images in recorder.images[epoch]], describer)
        assert_close(state, {name: value for name, value in describer.state_dict().items() if "running" in name})


def test_held_statistics_stay(tiny, tmp_path: Path, evaluated, with_callback):
    recorder = Recorder()
    held = ["finetune.backbone_bn=false", "backbone.weights=checkpoint"]
    with with_callback(recorder):
        fit(tiny([*SWA, *held]), tmp_path / "run")
    statistics = {name: value for name, value in recorder.starts[0].items() if is_statistic(name)}
    assert statistics
    for state in evaluated[:3]:
        assert_close(state, statistics)


def test_the_average_is_kept_where_nothing_is_evaluated(tiny, tmp_path: Path, with_callback):
    recorder = Recorder()
    with with_callback(recorder):
        fit(tiny([*EMA, "trainer.eval_every=0"]), tmp_path / "run")
    assert_close(checkpoint.read(tmp_path / "run" / "best.ckpt")["weights"], moving_average(recorder.steps))


@pytest.mark.parametrize("callback", [EMA, SWA], ids=["EMA", "SWA"])
def test_a_run_with_an_average_goes_on(tiny, tmp_path: Path, steps, interrupted_at, callback: list[str]):
    score = fit(tiny(callback), tmp_path / "straight")
    expected = list(steps)
    steps.clear()
    runs = tmp_path / "runs" / "tiny"
    with interrupted_at(5):  # the last step of an epoch: Lightning's SWA cannot go on in the middle of one
        fit(tiny(callback), runs / "first")
    assert fit(tiny([*callback, "ckpt_path=last"]), runs / "second") == score
    assert steps == expected
    ours, theirs = (checkpoint.read(run / "best.ckpt")["weights"] for run in (runs / "second", tmp_path / "straight"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


RANKS = """
import json, os, sys
from pathlib import Path

from omegaconf import OmegaConf

import vpr.training.callbacks.evaluation as evaluation
from vpr.training.run import fit

directory, evaluate, sums = Path(sys.argv[1]), evaluation.evaluate, []


def recorded(extractor, *args, **options):
    sums.append({name: float(value.double().sum()) for name, value in extractor.model.state_dict().items()})
    return evaluate(extractor, *args, **options)


evaluation.evaluate = recorded
fit(OmegaConf.load(directory / "cfg.yaml"), directory)
(directory / f"rank{os.environ.get('LOCAL_RANK', '0')}.json").write_text(json.dumps(sums))
"""


@pytest.mark.slow
def test_two_processes_evaluate_the_same_average(tiny, tmp_path: Path):
    """Each takes BatchNorm statistics of its share of the images; both then use their mean."""
    OmegaConf.save(tiny([*SWA, "trainer=ddp_cpu", "trainer.devices=2"]), tmp_path / "cfg.yaml")
    (tmp_path / "run.py").write_text(RANKS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(tmp_path / "run.py"), str(tmp_path)]
    done = run_script(command, env=environment)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert len(first) == 4
    for epoch in (1, 2):
        assert second[epoch] == pytest.approx(first[epoch], rel=1e-6)
    kept = checkpoint.read(next(tmp_path.glob("epoch*.ckpt")))["weights"]
    assert kept.keys() == first[0].keys()
