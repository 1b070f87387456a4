"""Jobs: runs of a script in processes of their own, run once and resumed where they were interrupted.

Lightning starts the ranks of a run with the whole command line of its process. In the process of a sweep each of them
would sweep again, and after a crash meet the ranks of the next job.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vpr.cli.run_folders import is_held
from vpr.cli.sweeps.processes import run_in_own_group
from vpr.files import write_text

log = logging.getLogger(__name__)

RECORD, OBJECTIVE, LOCK = "job.json", "objective.json", ".lock"
ORPHANED = 10.0  # seconds after which a job whose sweep was killed has ended
STARTER = "VPR_STARTER"
"""Environment variable with the process that started a job: the job ends with it, also where it is killed."""


class JobFailed(RuntimeError):
    """A job ended with another exit code than 0; its own output says why."""


@dataclass(frozen=True)
class Job:
    """A run of a script.

    Args:
        identity: SHA-256 of its configuration: a folder that holds another one is begun anew.
        overrides: its command line, in Hydra's grammar.
        code: its exit code, negative for a signal; None while it runs, or if its end was not recorded.
        attempts: number of its starts.
    """

    identity: str
    overrides: list[str]
    code: int | None = None
    attempts: int = 0

    def write(self, directory: Path) -> None:
        """Write its record into the run's folder."""
        write_text(directory / RECORD, json.dumps(asdict(self), indent=2) + "\n")


def read_job(directory: Path) -> Job | None:
    """Return the job of a folder, None if there is no readable record of one."""
    try:
        return Job(**json.loads((directory / RECORD).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def config_flags(hydra: Any) -> list[str]:
    """Return the flags by which another process finds the configuration files that this one, `hydra`, was given."""
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return [f"--config-name={hydra.job.config_name}", *(f"--config-dir={folder}" for folder in folders)]


def run_once(
    script: Path, flags: Sequence[str], overrides: Sequence[str], identity: str, directory: Path, wait: bool = True
) -> Any:
    """Run a script in a process of its own, unless this very run is finished, and return its objective.

    An interrupted run goes on from its `last.ckpt`.

    Args:
        script: `train.py`, for example.
        flags: of its command line, such as --config-name=NAME.
        overrides: of its configuration, in Hydra's grammar.
        identity: of its configuration.
        directory: the run's folder.
        wait: for another process that runs the same; else the run is left to it.

    Raises:
        JobFailed: it ended with an exit code other than 0.
        KeyboardInterrupt: Ctrl-C ended it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory, wait) as locked:
        if not locked or not _is_free(directory, wait):
            return None
        before = read_job(directory)
        same = before is not None and before.identity == identity
        if before is not None and same and is_finished(before, directory):
            log.info("Finished before: %s", directory)
            return _objective(directory)
        arguments = [*flags, *overrides, "hydra.mode=RUN", f"hydra.run.dir={quoted(directory.absolute())}"]
        ckpt = directory / "last.ckpt"
        if same and ckpt.is_file() and not any(word.startswith("ckpt_path=") for word in overrides):
            log.info("Interrupted before, goes on from %s", ckpt)
            arguments.append(f"ckpt_path={quoted(ckpt)}")
        for name in ("summary.json", OBJECTIVE):  # of another run in this folder
            (directory / name).unlink(missing_ok=True)
        attempts = before.attempts + 1 if before is not None and same else 1
        Job(identity, list(overrides), None, attempts).write(directory)
        code = run_in_own_group([sys.executable, str(script), *arguments], _environment())
        Job(identity, list(overrides), code, attempts).write(directory)
        if code:
            raise JobFailed(f"{directory} {ending(code)}")
        return _objective(directory)


@contextmanager
def _locked(directory: Path, wait: bool) -> Iterator[bool]:
    lock = FileLock(directory / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.info("Another process is at %s", directory)
        if not wait:
            yield False
            return
        lock.acquire()
    try:
        yield True
    finally:
        lock.release()


def _is_free(directory: Path, wait: bool) -> bool:
    """Wait for a job that outlives the process that started it, for a while or, with `wait`, to its end."""
    began = time.monotonic()
    while is_held(directory):
        waited = time.monotonic() - began
        if not wait and waited > ORPHANED:
            log.info("Another process is at %s", directory)
            return False
        time.sleep(0.2)
    return True


def is_running(directory: Path) -> bool:
    """Tell whether a process runs the job of a folder, or has it run."""
    try:
        with FileLock(directory / LOCK, timeout=0):
            return is_held(directory)
    except Timeout:
        return True


def is_finished(job: Job, directory: Path) -> bool:
    """Tell whether a job has ended well; where its exit code was not recorded, it has if it wrote a summary."""
    return job.code == 0 or (job.code is None and (directory / "summary.json").is_file())


def ending(code: int | None) -> str:
    """Describe the end of a process."""
    if code is None:
        return "did not end by itself"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def quoted(value: object) -> str:
    """Return the value of an override in quotes, so that Hydra takes it as it is."""
    return "'" + str(value).replace("'", "\\'") + "'"


def keep_objective(value: object, directory: Path) -> None:
    """Write the result of a run into its folder, for Hydra's sweepers, which wait in another process."""
    if isinstance(value, int | float):
        write_text(directory / OBJECTIVE, f"{json.dumps(value)}\n")


def _objective(directory: Path) -> Any:
    path = directory / OBJECTIVE
    return json.loads(path.read_text()) if path.is_file() else None


def _environment() -> dict[str, str]:
    environment = {**os.environ, STARTER: str(os.getpid())}
    if "SLURM_JOB_NAME" in environment:
        # Lightning starts the ranks itself then, instead of expecting one SLURM task for each.
        environment["SLURM_JOB_NAME"] = "bash"
    return environment
