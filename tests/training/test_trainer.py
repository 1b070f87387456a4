"""Settings that depend on the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy

from tests.processes import run_script
from vpr.cli.schema import TrainerConfig
from vpr.distributed import PATIENCE
from vpr.errors import ConfigError
from vpr.training import run as run_module
from vpr.training.run import fit
from vpr.training.trainer import device_count, keep_freed_memory, resolve_precision, strategy


@pytest.mark.parametrize(
    ("cuda", "bf16", "accelerator", "expected"),
    [
        (False, False, "auto", "32-true"),
        (True, True, "auto", "bf16-mixed"),
        (True, False, "auto", "16-mixed"),
        (True, True, "cpu", "32-true"),
    ],
)
def test_automatic_precision(monkeypatch: pytest.MonkeyPatch, cuda: bool, bf16: bool, accelerator: str, expected: str):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    assert resolve_precision("auto", accelerator) == expected


def test_a_named_precision_stays():
    assert resolve_precision("64-true", "auto") == "64-true"


@pytest.mark.parametrize(("devices", "expected"), [(3, 3), ([0, 2], 2), ("auto", 4), (-1, 4)])
def test_devices_are_counted(monkeypatch: pytest.MonkeyPatch, devices, expected: int):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device_count(TrainerConfig(devices=devices, accelerator="auto")) == expected


def test_auto_on_the_cpu_is_one_device(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device_count(TrainerConfig(devices="auto", accelerator="cpu")) == 1


@pytest.mark.parametrize(
    ("given", "devices", "several"),
    [("auto", 2, True), ("ddp", 2, True), ("ddp", 1, True), ("auto", 1, False), ("ddp_spawn", 2, False)],
)
def test_ranks_wait_for_one_that_works_alone(given: str, devices: int, several: bool):
    made = strategy(TrainerConfig(strategy=given, devices=devices, accelerator="cpu"))
    if several:
        assert isinstance(made, DDPStrategy) and made._timeout == PATIENCE
    else:
        assert made == given


@pytest.mark.parametrize(
    ("word", "says"), [("trainer=gpu", "trainer.accelerator=gpu"), ("trainer=ddp", "finds no such device")]
)
def test_gpus_that_are_not_there_are_missed_before_the_data(
    tiny, tmp_path: Path, word: str, says: str, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run_module, "evaluation_sets", lambda dataset: pytest.fail("data were read"))
    cfg = tiny([word])
    cfg.trainer.accelerator = "gpu"
    with pytest.raises(ConfigError, match=f"{says}.*Type trainer=default"):
        fit(cfg, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cfg.trainer.devices = 2
    with pytest.raises(ConfigError, match="trainer.devices=2: torch finds 1 GPU here"):
        fit(cfg, tmp_path)


FAULTS = """
import resource
import numpy as np
from vpr.training.trainer import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        np.ones(8 << 20)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_freed_memory(), faults() * 0, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_mapped_once():
    done = run_script(["-c", FAULTS])
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split()
    assert printed[1] == "True"
    assert int(printed[3]) * 20 < int(printed[0])


def test_another_c_library_is_no_error(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
