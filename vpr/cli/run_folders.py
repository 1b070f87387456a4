"""Folders of runs: one process at a time works in one, and a folder named after the time is a new one.

A process holds the lock of the folder in which it runs itself, until it ends, in whatever way: a job that outlives its
sweep is no longer mistaken for one that was interrupted.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from vpr.errors import ConfigError, VPRError
from vpr.files import disk_error

LOCK = ".run.lock"


class RunFolder(Callback):
    """Callback of Hydra, named in `hydra.callbacks` of conf/, that takes the run's folder before anything is written.

    `held` are the locks of this process.
    """

    held: list[FileLock] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Lock the folder, or end the process with exit code 2."""
        if is_further_rank():
            return
        with suppress(OmegaConfBaseException):  # of a wrong configuration, which Hydra itself reports
            try:
                hold(_folder(config), "hydra.run.dir")
            except VPRError as error:  # Hydra makes a warning of any error of a callback
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                raise SystemExit(2) from None


def hold(folder: Path, key: str) -> None:
    """Keep other runs out of a folder until `release`, or until this process ends.

    Args:
        key: of the setting that names it, for messages.

    Raises:
        ConfigError: another process runs there.
        DiskError: the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    if any(Path(other.lock_file).resolve() == (folder / LOCK).resolve() for other in RunFolder.held):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            f"{key}={folder}: another process runs there, and their files would be mixed. Wait for it, or type "
            f"another folder: {key}=FOLDER."
        ) from None
    except NotImplementedError:  # a file system without locks
        return
    except OSError as error:
        raise disk_error(error, folder) or error from error
    RunFolder.held.append(lock)


def release() -> None:
    """Let the folders of this process go."""
    while RunFolder.held:
        RunFolder.held.pop().release()


def is_held(folder: Path) -> bool:
    """Tell whether a process runs in a folder."""
    if not (folder / LOCK).exists():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


def is_further_rank() -> bool:
    """Tell whether this process is one that another rank leads: it works in that one's folder."""
    return any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK"))


def _folder(config: DictConfig) -> Path:
    """Return the folder of the run, made; one named after the time gets a number where two runs begin at one."""
    named: Any = OmegaConf.to_container(config.hydra.run, resolve=False)
    folder = Path(config.hydra.run.dir)
    if "${now:" not in str(named["dir"]) or os.environ.get("WORLD_SIZE", "1") != "1":
        return folder
    taken = folder
    for number in range(2, 1000):
        try:
            taken.mkdir(parents=True)
            break
        except FileExistsError:
            taken = folder.with_name(f"{folder.name}_{number}")
        except OSError as error:
            raise disk_error(error, taken) or error from error
    if taken != folder:
        with flag_override(config.hydra.run, ["struct", "readonly"], False):
            config.hydra.run.dir = str(taken)
    return taken
