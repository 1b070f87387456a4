"""Signals that end training: what has been learned is saved, and the run says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import interrupt_at
from vpr import checkpoint
from vpr.cli.sweeps.processes import interrupted_by_signals
from vpr.training import run as run_module
from vpr.training.callbacks import checkpointing
from vpr.training.run import fit


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(checkpointing, "leave_terminal", lambda: None)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_running_step_is_saved(tiny: Callable, with_callback: Callable, tmp_path: Path, number: int) -> None:
    with interrupted_by_signals(), with_callback(interrupt_at(1, number)), pytest.raises(KeyboardInterrupt):
        fit(tiny(["trainer.max_epochs=1"]), tmp_path)
    assert checkpoint.read_any(tmp_path / "last.ckpt")["global_step"] == 2


def test_a_closed_terminal_does_not_end_a_run_under_nohup(
    tiny: Callable, with_callback: Callable, tmp_path: Path
) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with with_callback(interrupt_at(1, signal.SIGHUP)):
        fit(tiny(["trainer.max_epochs=1"]), tmp_path)
    assert (tmp_path / "summary.json").is_file()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_before_the_first_step_it_is_an_interruption_too(
    tiny: Callable, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vpr.cli.sweeps.processes.leave_terminal", lambda: None)
    monkeypatch.setattr(run_module, "evaluation_sets", lambda dataset: os.kill(os.getpid(), number))
    with interrupted_by_signals() as signals, pytest.raises(KeyboardInterrupt):
        fit(tiny(), tmp_path)
    assert signals == [number]
