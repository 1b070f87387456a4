"""Command line in, exit code and messages out."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vpr.cli.app import run, user_error
from vpr.errors import ConfigError, DataAbsent, DataError

Launch = Callable[..., int]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """Run a function as if it were train.py, with everything written below tmp_path."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def launch(function: Callable[[DictConfig], Any], *arguments: str) -> int:
        return run("train", ["train.py", "logger=none", *arguments], function)

    yield launch
    root.handlers[:], root.level = handlers, level


def test_function_gets_the_checked_configuration(launch: Launch, tmp_path: Path) -> None:
    seen: list[DictConfig] = []
    argv = sys.argv
    assert launch(seen.append, "seed=7", "ckpt_path=a b/epoch=3(1)[2],x.ckpt", "name=x") == 0
    assert (seen[0].seed, seen[0].ckpt_path) == (7, "a b/epoch=3(1)[2],x.ckpt")
    assert sys.argv is argv
    assert "HYDRA_FULL_ERROR" not in os.environ
    (saved,) = tmp_path.glob("runs/x/*/.hydra/config.yaml")
    assert "seed: 7" in saved.read_text()


def test_our_error_is_one_message_and_2(launch: Launch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def fail(cfg: DictConfig) -> None:
        raise DataError("no photos in x. Put some there.")

    assert launch(fail, "name=x") == 2
    err = capfd.readouterr().err
    assert "DataError: no photos in x. Put some there.\n" in err
    assert "Traceback" not in err
    (log,) = tmp_path.glob("runs/x/*/*.log")
    assert "DataError: no photos" in log.read_text()


def test_other_error_keeps_its_traceback_and_is_1(launch: Launch, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(cfg: DictConfig) -> None:
        raise ZeroDivisionError("a bug")

    assert launch(fail) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.count("ZeroDivisionError: a bug") == 2  # once as the headline, once under its traceback


def test_a_check_that_fails_comes_before_the_function(launch: Launch, capfd: pytest.CaptureFixture[str]) -> None:
    called: list[DictConfig] = []
    assert launch(called.append, "+agg.otu_channels=3") == 2
    assert (
        "agg.otu_channels: MixVPR has no argument 'otu_channels'. Did you mean 'out_channels'?"
        in capfd.readouterr().err
    )
    assert called == []


def test_ctrl_c_is_130(launch: Launch) -> None:
    def interrupt(cfg: DictConfig) -> None:
        raise KeyboardInterrupt

    assert launch(interrupt) == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_130_and_said(launch: Launch, number: int, monkeypatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setattr("vpr.cli.sweeps.processes.leave_terminal", lambda: None)
    monkeypatch.setattr("builtins.print", lambda *words, **_: said.extend(words))
    before = signal.signal(number, signal.SIG_DFL)  # a handler of an earlier run would be left in place
    try:
        assert launch(lambda cfg: os.kill(os.getpid(), number)) == 130
    finally:
        signal.signal(number, before or signal.SIG_DFL)
    assert said == [f"Interrupted by {signal.Signals(number).name}."]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_message_and_2(
    launch: Launch, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    def fail(cfg: DictConfig) -> None:
        try:
            raise OSError(number, os.strerror(number), "runs/x/metrics.csv")
        except OSError as error:
            raise InstantiationException("Error in call to target 'x'") from error

    assert launch(fail) == 2
    err = capfd.readouterr().err
    assert "DiskError: runs/x/metrics.csv cannot be written: the disk is " in err
    assert "Traceback" not in err and "Error executing job" not in err


def test_a_log_that_cannot_be_written_is_said_once(
    launch: Launch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def work(cfg: DictConfig) -> None:
        hydra = HydraConfig.get()
        Path(hydra.runtime.output_dir, f"{hydra.job.name}.log").symlink_to("/dev/full")
        logging.getLogger("x").info("one")
        logging.getLogger("x").info("two")

    assert launch(work) == 0
    err = capfd.readouterr().err
    assert "one\n" in err and "two\n" in err
    assert err.count("cannot be written: the disk is full") == 1
    assert "Logging error" not in err and "Traceback" not in err


def test_ctrl_c_behind_a_sys_exit_is_130(launch: Launch) -> None:
    def job(cfg: DictConfig) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    assert launch(job) == 130
    assert launch(lambda cfg: sys.exit(3)) == 3


def test_our_error_inside_hydras_is_found() -> None:
    error = InstantiationException("Error in call to target 'x'")
    error.__cause__ = ConfigError("backbone.crop=[3]: only the last stages can go.")
    assert user_error(error) == "ConfigError: backbone.crop=[3]: only the last stages can go."
    assert user_error(InstantiationException("a bug")) == ""


class Broken:
    """A data set without one readable photo."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        try:
            raise OSError("cut short")
        except OSError as error:
            raise DataError("photo.jpg is damaged:\n  cut short. Extract the archive again.") from error


def test_error_of_a_loader_process_is_one_message(launch: Launch, capfd: pytest.CaptureFixture[str]) -> None:
    def load(cfg: DictConfig) -> None:
        from torch.utils.data import DataLoader

        for _ in DataLoader(Broken(), num_workers=1, multiprocessing_context="fork"):  # type: ignore[arg-type]
            pass

    assert launch(load) == 2
    err = capfd.readouterr().err
    assert "DataError: photo.jpg is damaged:\n  cut short. Extract the archive again.\n" in err
    assert "Caught" not in err and "Traceback" not in err


def test_objective_reaches_hydra(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "app_under_test", sys.modules[__name__])
    Listener.heard.clear()
    assert launch(lambda cfg: 0.25, "+hydra.callbacks.listener._target_=app_under_test.Listener") == 0
    assert Listener.heard == [0.25]


class Listener(Callback):
    """A callback of Hydra that notes what jobs return."""

    heard: list[Any] = []

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        self.heard.append(job_return.return_value)


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("agg=mixvrp", "Did you mean 'mixvpr'?"),
        ("batch.place=3", "Did you mean 'places'?"),
        ("seed=x", "could not be converted to Integer"),
    ],
)
def test_hydras_own_error_with_a_hint(
    launch: Launch, capfd: pytest.CaptureFixture[str], argument: str, says: str, tmp_path: Path
) -> None:
    called: list[DictConfig] = []
    assert launch(called.append, argument) == 2
    err = capfd.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert called == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("kind", "helps"), [(DataAbsent, True), (DataError, False), (ConfigError, False)])
def test_absent_data_may_be_elsewhere(kind: type[Exception], helps: bool) -> None:
    error = InstantiationException("Error in call to target 'x.read':\nboom\nfull_key: dataset.train.my_city.photos")
    error.__cause__ = kind("There is no folder x. It must hold y.")
    hint = (
        " If it is elsewhere, type dataset.train.my_city.photos.root=/its/folder; paths.data=/disk, or the environment "
        "variable VPR_DATA, holds for all sets."
    )
    assert user_error(error) == f"{kind.__name__}: There is no folder x. It must hold y." + (hint if helps else "")
    assert user_error(error.__cause__) == f"{kind.__name__}: There is no folder x. It must hold y."
