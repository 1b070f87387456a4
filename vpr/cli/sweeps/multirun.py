"""Sweeps (`-m`): each job runs in a process of its own, and jobs that failed are listed at the end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vpr.cli.run_names import identity
from vpr.cli.sweeps.jobs import RECORD, Job, config_flags, ending, is_running, keep_objective, read_job, run_once
from vpr.terminal import say

log = logging.getLogger(__name__)

# Settings of Hydra that are those of the sweep and not of its jobs.
OF_THE_SWEEP = ("hydra.sweep.", "hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher", "hydra.mode")


class Sweep(Callback):
    """Callback of Hydra, named in `hydra.callbacks` of conf/, that notes a sweep's folder and the results of its jobs.

    `folder` is that of the sweep which this process runs, None if it runs none; `before` are the jobs that the folder
    held when it began.
    """

    folder: Path | None = None
    before: dict[Path, Job | None] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Note the sweep's folder and the jobs in it."""
        Sweep.folder = Path(config.hydra.sweep.dir)
        Sweep.before = _jobs(Sweep.folder)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Keep the result of a run for the sweep that waits for it."""
        if job_return.status is JobStatus.COMPLETED:
            keep_objective(job_return.return_value, Path(config.hydra.runtime.output_dir))


def run_job_of_a_sweep(script: Path, cfg: DictConfig) -> Any:
    """Run the job that Hydra has just configured in a process of its own, and return its objective.

    A job that another process runs is left to it: sweeps in one folder share the work.
    """
    hydra = HydraConfig.get()
    settings = [word for word in hydra.overrides.hydra if not word.lstrip("+~").startswith(OF_THE_SWEEP)]
    overrides = [*hydra.overrides.task, *settings]
    return run_once(script, config_flags(hydra), overrides, identity(cfg), Path(hydra.runtime.output_dir), wait=False)


def failures() -> dict[Path, Job | None]:
    """Return the jobs of this process's sweep that failed, by folder."""
    if Sweep.folder is None:
        return {}
    begun = {path: job for path, job in _jobs(Sweep.folder).items() if job != Sweep.before.get(path)}
    ended_badly = {path: job for path, job in begun.items() if job is None or job.code != 0}
    return {path: job for path, job in ended_badly.items() if not is_running(path)}


def list_failures(failed: dict[Path, Job | None]) -> None:
    """Print the jobs that failed and how to go on, to stderr."""
    lines = [f"{len(failed)} job{'s' * (len(failed) > 1)} of this sweep failed:"]
    lines += [f"  {path} {ending(job.code if job else None)}" for path, job in sorted(failed.items())]
    say("\n".join([*lines, resume_hint()]))


def resume_hint() -> str:
    """Return how an unfinished sweep is resumed."""
    return f"The same command with hydra.sweep.dir={Sweep.folder} goes on: it skips the jobs that are finished."


def _jobs(folder: Path) -> dict[Path, Job | None]:
    return {path.parent: read_job(path.parent) for path in folder.glob(f"**/{RECORD}")}
