"""Folders of runs: one process at a time works in one, a folder named after the time is a new one; and the log there.

A process holds the lock of the folder in which it runs itself, until it ends, in whatever way: a job that outlives its
sweep is no longer mistaken for one that was interrupted.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from vpr.errors import ConfigError, VPRError, disk_error
from vpr.terminal import say

LOCK = ".run.lock"
TRIES, PAUSE = 5, 0.1  # whoever looks at a lock has it for a moment
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of file systems that have none


class RunFolder(Callback):
    """Callback of Hydra, named in `hydra.callbacks` of conf/, that takes the run's folder before anything is written.

    `held` are the locked files of this process, and their open handles.
    """

    held: dict[Path, int] = {}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Lock the folder, or end the process with exit code 2."""
        if is_further_rank():
            return
        with suppress(OmegaConfBaseException):  # of a wrong configuration, which Hydra itself reports
            try:
                hold(_folder(config), "hydra.run.dir")
            except VPRError as error:  # Hydra makes a warning of any error of a callback
                say(f"{type(error).__name__}: {error}")
                raise SystemExit(2) from None


def hold(folder: Path, key: str) -> None:
    """Keep other runs out of a folder until `release`, or until this process ends.

    Args:
        key: of the setting that names it, for messages.

    Raises:
        ConfigError: another process runs there.
        DiskError: the folder cannot be written.
    """
    path = Path(os.path.realpath(folder), LOCK)
    if path in RunFolder.held:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(TRIES):
            handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            if _locked(handle, path):
                RunFolder.held[path] = handle
                return
            os.close(handle)
            time.sleep(PAUSE)
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return
        raise disk_error(error, folder) or error from error
    raise ConfigError(
        f"{key}={folder}: another process runs there, and their files would be mixed. Wait for it, or type another "
        f"folder: {key}=FOLDER."
    )


def release() -> None:
    """Let the folders of this process go."""
    while RunFolder.held:
        path, handle = RunFolder.held.popitem()
        path.unlink(missing_ok=True)
        os.close(handle)


def is_held(folder: Path) -> bool:
    """Tell whether a process runs in a folder."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in WITHOUT_LOCKS
    finally:
        os.close(handle)
    return False


def _locked(handle: int, path: Path) -> bool:
    """Lock an open file; False where another process has, or has just removed it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
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


class LogFile(logging.FileHandler):
    """File handler of conf/hydra/job_logging/vpr.yaml."""

    said = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say once that the file cannot be written; logging would print a traceback around each message."""
        error = sys.exc_info()[1]
        reason = disk_error(error, Path(self.baseFilename)) if isinstance(error, OSError) else None
        if reason is None:
            super().handleError(record)
        elif not self.said:
            self.said = True
            say(f"{reason} Until then messages stand here alone.")
