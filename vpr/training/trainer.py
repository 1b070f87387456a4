"""Lightning's Trainer from the `trainer` node of a configuration."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, RichProgressBar
from pytorch_lightning.callbacks import ProgressBar as AnyProgressBar
from pytorch_lightning.strategies import DDPStrategy, Strategy

from vpr.cli.schema import TrainerConfig
from vpr.cli.sweeps.processes import end_with_parent
from vpr.distributed import PATIENCE
from vpr.errors import ConfigError
from vpr.training.callbacks.checkpointing import AtomicCheckpointIO

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h

# Warnings of Lightning about things that are taken care of here.
HANDLED = (
    "You're resuming from a checkpoint that ended before the epoch ended",  # the sampler starts at the right batch
    "The `train_dataloader` does not have many workers",  # trainer.num_workers says it
    "The number of training batches .* is smaller than the logging interval",
    "Found .* module.s. in eval mode at the start of training",  # frozen BatchNorm
    "`LightningModule.configure_optimizers` returned `None`",  # without training
    "Total length of `.*` across ranks is zero",
    "Checkpoint directory .* exists and is not empty",
    "Experiment logs directory .* exists",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
)


def resolve_precision(precision: str, accelerator: str) -> str:
    """Return Lightning's name; `auto` is bf16-mixed on a GPU that has it, 16-mixed on an older one, else 32-true."""
    if precision != "auto":
        return precision
    if accelerator == "cpu" or not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"


def check_devices(config: TrainerConfig) -> None:
    """Look for the GPUs that a run asks for, before data and weights are read.

    Raises:
        ConfigError: there are none, or fewer.
    """
    kind, visible = config.accelerator, torch.cuda.device_count()
    if kind == "cpu" or (kind in ("mps", "gpu") and torch.backends.mps.is_available()):
        return
    if kind != "auto" and not (kind != "mps" and torch.cuda.is_available()):
        raise ConfigError(
            f"trainer.accelerator={kind}, but torch finds no such device here. Type trainer=default for what there is, "
            "or trainer=cpu."
        )
    devices = config.devices
    most = devices if isinstance(devices, int) else max(devices) + 1 if not isinstance(devices, str) else 0
    if visible and most > visible:
        raise ConfigError(
            f"trainer.devices={devices}: torch finds {visible} GPU{'s' * (visible > 1)} here. Type "
            f"trainer.devices=auto for all, or numbers below {visible} in a list."
        )


def device_count(config: TrainerConfig) -> int:
    """Return the number of devices that a run of this trainer configuration uses."""
    if config.devices in ("auto", -1):
        return max(1, torch.cuda.device_count()) if config.accelerator != "cpu" else 1
    return int(config.devices) if isinstance(config.devices, int | str) else len(config.devices)


def strategy(config: TrainerConfig) -> str | Strategy:
    """Return Lightning's strategy; its ranks wait for one that works alone as long as those of evaluate.py do."""
    if config.strategy == "ddp" or (config.strategy == "auto" and device_count(config) > 1):
        return DDPStrategy(timeout=PATIENCE)
    return config.strategy


class ProgressBar(RichProgressBar):
    """Lightning's bar without the version number of the first logger."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {key: value for key, value in super().get_metrics(trainer, pl_module).items() if key != "v_num"}


def make_trainer(
    config: TrainerConfig, directory: Path, callbacks: list[Callback], loggers: list[Any], steps_per_epoch: int
) -> pl.Trainer:
    """Return the Trainer of a run; from here on a rank ends with the rank that started it.

    Args:
        config: the `trainer` node.
        directory: folder of the run.
        callbacks: in the order in which they are called; a progress bar is added on a terminal.
        steps_per_epoch: number of steps; values are logged at least once an epoch.
    """
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        end_with_parent()
    for message in HANDLED:
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    torch.set_float32_matmul_precision(config.matmul_precision)
    if config.accelerator == "cpu" or not torch.cuda.is_available():
        keep_freed_memory()
    several_gpus = config.accelerator != "cpu" and torch.cuda.is_available() and device_count(config) > 1
    shows_progress = any(isinstance(callback, AnyProgressBar) for callback in callbacks)
    if sys.stderr.isatty() and not shows_progress:
        callbacks, shows_progress = [*callbacks, ProgressBar()], True
    options: dict[str, Any] = {
        "max_epochs": config.max_epochs,
        "accelerator": config.accelerator,
        "devices": config.devices if isinstance(config.devices, int | str) else list(config.devices),
        "strategy": strategy(config),
        "precision": resolve_precision(config.precision, config.accelerator),
        "gradient_clip_val": config.gradient_clip_val,
        "sync_batchnorm": several_gpus if config.sync_batchnorm == "auto" else config.sync_batchnorm,
        "log_every_n_steps": min(config.log_every, steps_per_epoch),
        "enable_progress_bar": shows_progress,
        "enable_model_summary": False,
        # Lightning wants this said for a checkpoint callback of its own kind, and would add one where there is none.
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": str(directory),
        **config.extra,
    }
    plugins = [AtomicCheckpointIO(), *options.pop("plugins", [])]
    return pl.Trainer(**options, callbacks=callbacks, logger=loggers, plugins=plugins)


def keep_freed_memory() -> bool:
    """Keep what tensors free for the next ones, instead of giving it back to the kernel; False without glibc.

    glibc maps each block of more than 32 MB anew, and the kernel fills its pages with zeros, though a step of training
    asks for the blocks of the one before it: 15 % of the CPU time of small networks went into that. The process keeps
    the memory of its largest step until it ends. The values computed are the same.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
