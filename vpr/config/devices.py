"""How many devices a run takes, and what that has to do with its batches."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.errors import ConfigError


def devices_can_be_counted(cfg: DictConfig) -> None:
    devices, known = cfg.trainer.devices, False
    if OmegaConf.is_list(devices):
        known = bool(devices) and all(_is_number(d) and d >= 0 for d in devices) and len(set(devices)) == len(devices)
    elif _is_number(devices):
        known = devices >= 1 or devices == -1
    if not known and devices != "auto":
        raise ConfigError(
            f"trainer.devices={devices}: it must be a number of devices, -1 for all, auto, or a list of their numbers. "
            "Type for example trainer.devices=2, or 'trainer.devices=[0,1]' (with the quotes)."
        )
    if cfg.trainer.accelerator == "cpu" and (OmegaConf.is_list(devices) or devices == -1):
        raise ConfigError(
            f"trainer.devices={devices} with trainer.accelerator=cpu: on the CPU it is a number of processes. "
            "Type trainer.devices=1."
        )


def a_place_for_each_device(cfg: DictConfig) -> None:
    devices = cfg.trainer.devices
    count = len(devices) if OmegaConf.is_list(devices) else 1 if devices == "auto" else devices
    tuples = OmegaConf.select(cfg, "supervision.tuples")
    what, shared = ("batch.places", cfg.batch.places) if tuples is None else ("supervision.tuples", tuples)
    if shared < count:
        raise ConfigError(
            f"{what}={shared} with trainer.devices={devices}: the {what.partition('.')[2]} of a step are shared out "
            f"over {count} devices, and some would have none. Type {what}={2 * count}, or fewer devices."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
