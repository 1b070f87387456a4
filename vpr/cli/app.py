"""Command line of the scripts: compose the configuration, check it, call the script, turn errors into exit codes.

Checks go from light to heavy: Hydra's own while it composes (names and types), then `check_present`, `check_rules`, and
`check_targets`, the first that needs torch. A `VPRError` ends the run with its message, without a traceback.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import vpr.cli.help  # noqa: F401 - what `--help` shows
from vpr.cli.checks import check_present
from vpr.cli.compose import CONF
from vpr.cli.hints import messages, missing_launcher
from vpr.cli.path_escaping import escape_paths
from vpr.cli.rules import check_rules
from vpr.cli.run_folders import hold, is_further_rank, release
from vpr.cli.schema import register
from vpr.cli.sweeps.jobs import STARTER, JobFailed
from vpr.cli.sweeps.multirun import Sweep, failures, list_failures, resume_hint, run_job_of_a_sweep
from vpr.cli.sweeps.processes import end_with_parent, interrupted_by_signals
from vpr.cli.words import check_words, settle
from vpr.errors import INTERRUPTED, MISUSED, DataAbsent, VPRError, disk_error
from vpr.terminal import say

log = logging.getLogger(__name__)

# Hydra writes a line of its own to stderr beside ours where a job has failed.
JobReturn.return_value = property(  # type: ignore[assignment]
    lambda job: result_of(job),
    JobReturn.return_value.fset,  # type: ignore[attr-defined]
)

Script = Callable[[DictConfig], Any]
FAILED = 1


def app(config_name: str) -> Callable[[Script], Callable[[], NoReturn]]:
    """Make a script of `main(cfg)`, configured by `conf/<config_name>.yaml` beside the script.

    The exit code is 0; 2 if the user can mend what went wrong; 130 after Ctrl-C, SIGTERM or SIGHUP; else 1. Each job of
    a sweep is a process of its own; a sweep goes on after a job that failed, and its exit code is the worst of theirs.
    """

    def decorate(function: Script) -> Callable[[], NoReturn]:
        @functools.wraps(function)
        def script() -> NoReturn:
            conf = Path(function.__code__.co_filename).resolve().parent / "conf"
            sys.exit(run(config_name, sys.argv, function, conf if conf.is_dir() else CONF))

        return script

    return decorate


def run(config_name: str, argv: Sequence[str], function: Script, conf: Path = CONF) -> int:
    """Run a script's function as its command line `argv` says (argv[0] is the script) and return the exit code.

    What the function returns goes to Hydra: a float is what a sweeper optimises.
    """
    register()
    if starter := os.environ.pop(STARTER, None):
        end_with_parent(int(starter))
    with interrupted_by_signals() as signals:
        try:
            return _run(config_name, argv, function, conf, signals)
        finally:
            release()


def _run(config_name: str, argv: Sequence[str], function: Script, conf: Path, signals: Sequence[int]) -> int:
    Sweep.folder = None
    errors: list[BaseException] = []
    path = Path(argv[0]).absolute()

    @functools.wraps(function)
    def job(cfg: DictConfig) -> Any:
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            return run_job_of_a_sweep(path, cfg)
        try:
            if cfg.get("out") and config_name != "export" and not is_further_rank():  # which puts it in place whole
                hold(Path(cfg.out), "out")
            return checked(function)(cfg)
        except Exception as error:
            message = user_error(error)
            if message:
                log.error(message)
                log.debug("It was raised here:", exc_info=True)  # shown with hydra.verbose=true
            else:
                log.exception("%s: %s", type(error).__name__, error)
            errors.append(error)
            raise  # so that Hydra and its sweepers know

    main = hydra.main(config_path=str(conf), config_name=config_name, version_base="1.3")(job)
    try:
        check_words(argv, config_name)
        with command_line(sweep_flag_first(escape_paths(argv))):
            main()
    except VPRError as error:
        if not errors:
            say(user_error(error))
            return MISUSED
    except KeyboardInterrupt:
        by = f" by {signal.Signals(signals[0]).name}" if signals else ""
        say(f"Interrupted{by}. {resume_hint() if Sweep.folder else ''}".rstrip())
        return INTERRUPTED
    except SystemExit as error:
        # Lightning turns Ctrl-C into sys.exit(1) once it has saved what it can.
        return INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else _exit_code(error)
    except (HydraException, OmegaConfBaseException) as error:
        if not errors:
            say(messages(error))
            return MISUSED
    except JobFailed as error:
        errors.append(error)  # the first one; all are listed below
    except Exception as error:
        if not errors:
            message = missing_launcher(error) or user_error(error)
            if not message:
                raise
            say(message)
            return MISUSED
    failed = failures()
    if failed:
        list_failures(failed)
        return max(MISUSED if job and job.code == MISUSED else FAILED for job in failed.values())
    return max((MISUSED if user_error(error) else FAILED for error in errors), default=0)


def checked(function: Script) -> Script:
    """Return the function with all checks of its configuration before it."""

    @functools.wraps(function)
    def check_and_call(cfg: DictConfig) -> Any:
        settle(cfg)
        check_present(cfg)
        check_rules(cfg)
        from vpr.cli.checks import check_targets  # imports torch, so what needs none comes first

        check_targets(cfg)
        return function(cfg)

    return check_and_call


def user_error(error: BaseException) -> str:
    """Return "ConfigError: its message" for an error that the user can mend, a disk's included; else an empty string.

    Hydra wraps an error of a `_target_` into one of its own: the first VPRError in the chain of causes counts. An error
    of a loader process comes back with its traceback as the text, and the message at the end of it.
    """
    cause = first_of_ours(error) or first_of_disk(error)
    if cause is None:
        return ""
    *_, message = re.split(rf"^{re.escape(_full_name(cause))}: ", str(cause), flags=re.MULTILINE)
    return f"{type(cause).__name__}: {message.rstrip()}{root_hint(error)}"


def root_hint(error: BaseException) -> str:
    """Return how to name the folder of data that is absent; empty for any other error."""
    key = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)  # Hydra's, of the reader that it called
    if key is None or not isinstance(first_of_ours(error), DataAbsent):
        return ""
    return (
        f" If it is elsewhere, type {key[1]}.root=/its/folder; paths.data=/disk, or the environment variable VPR_DATA, "
        "holds for all sets."
    )


def first_of_ours(error: BaseException) -> VPRError | None:
    """Return the first VPRError in the chain of causes of an error, itself included."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, VPRError):
        cause = cause.__cause__
    return cause


def first_of_disk(error: BaseException) -> VPRError | None:
    """Return the message about the first error in the chain of causes that a disk is the cause of."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and (mended := disk_error(cause, None)):
            return mended
        cause = cause.__cause__
    return None


def sweep_flag_first(argv: Sequence[str]) -> list[str]:
    """Put -m before all overrides: Hydra's parser gives up where it stands between them."""
    flags = [arg for arg in argv[1:] if arg in ("-m", "--multirun")]
    return [*argv[:1], *flags, *(arg for arg in argv[1:] if arg not in flags)]


def result_of(job: JobReturn) -> Any:
    """Return what the function of a job returned, or raise what it raised."""
    if job.status is JobStatus.FAILED:
        raise job._return_value
    return job._return_value


@contextmanager
def command_line(argv: Sequence[str]) -> Iterator[None]:
    """Put argv in place, and have Hydra raise its errors instead of printing them and leaving."""
    argv_before, variable = sys.argv, "HYDRA_FULL_ERROR"
    environment = os.environ.get(variable)
    sys.argv, os.environ[variable] = list(argv), "1"
    try:
        yield
    finally:
        sys.argv = argv_before
        if environment is None:
            del os.environ[variable]
        else:
            os.environ[variable] = environment


def _full_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _exit_code(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else int(error.code is not None)
