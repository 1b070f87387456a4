"""Processes that need not import torch again: forked from one that has, once for each process of the tests.

A script starts in 0.1 s instead of several. What a start itself must be true of (which modules it imports, what is in
`sys.path`, signals from a terminal) is tested with `subprocess`.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import torch.multiprocessing

PRELOADED = ["tests.processes", "vpr.evaluation.gallery", "vpr.report.matches", "vpr.training.run", "pytest"]
SERVED = multiprocessing.get_context("forkserver")
SERVED.set_forkserver_preload(PRELOADED)
STARTING = threading.Lock()


def run_script(
    arguments: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run `python *arguments` (a script, or -c and its code) to its end.

    Ranks that Lightning starts for it, and jobs of its sweep, are forked as well, by the same server.

    Raises:
        subprocess.TimeoutExpired: it was killed after `timeout` seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = (f"{folder}/out", f"{folder}/err")
        process = _start(arguments, os.environ if env is None else env, cwd or Path.cwd(), streams)
        process.join(timeout)
        code = process.exitcode
        if code is None:
            process.kill()
            raise subprocess.TimeoutExpired(list(arguments), timeout, *(Path(name).read_bytes() for name in streams))
        return subprocess.CompletedProcess(arguments, code, *(Path(name).read_text() for name in streams))


def spawn(function: Callable[..., None], args: tuple[Any, ...], nprocs: int) -> None:
    """Call `function(rank, *args)` in `nprocs` processes, as `torch.multiprocessing.spawn` does."""
    torch.multiprocessing.start_processes(function, args, nprocs, start_method="forkserver")


def _start(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, streams: tuple[str, str]) -> Any:
    process = SERVED.Process(target=_run, args=(list(arguments), dict(env), str(cwd), streams))
    with STARTING:
        main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")  # it is not run again
        try:
            process.start()
        finally:
            sys.modules["__main__"] = main
    return process


def _run(arguments: list[str], env: dict[str, str], cwd: str, streams: tuple[str, str]) -> None:
    """Become `python *arguments` in a forked process."""
    for descriptor, name in enumerate(streams, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    _serve_children(streams)
    try:
        if arguments[0] == "-c":
            sys.argv = ["-c", *arguments[2:]]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(arguments[1], "<string>", "exec"), main.__dict__)
        else:
            sys.argv = arguments
            sys.path.insert(0, str(Path(arguments[0]).parent))
            runpy.run_path(arguments[0], run_name="__main__")
    finally:
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()


def _serve_children(streams: tuple[str, str]) -> None:
    """Let the same server fork the ranks that Lightning starts and the jobs of a sweep."""
    import pytorch_lightning.strategies.launchers.subprocess_script as ranks

    from vpr.cli.sweeps import jobs

    # A process that was forked knows its server, and would still start another one.
    forkserver._forkserver.ensure_running = resource_tracker.ensure_running  # type: ignore[method-assign]
    if jobs.STARTER in os.environ:
        os.environ[jobs.STARTER] = str(os.getppid())  # the server: it is what a forked job would outlive

    class Child:
        """What Lightning and a sweep use of a `subprocess.Popen`."""

        def __init__(
            self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None
        ) -> None:
            assert command[0] == sys.executable, command
            env = dict(os.environ if env is None else env)
            self.process = _start(command[1:], env, Path(cwd or os.getcwd()), streams)
            self.pid = self.process.pid

        def poll(self) -> int | None:
            return self.process.exitcode

        returncode = property(poll)

        def send_signal(self, number: int) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def run_in_own_group(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        child = Child(command, environment)
        child.process.join()
        return child.process.exitcode

    jobs.run_in_own_group = run_in_own_group
    ranks.subprocess = types.SimpleNamespace(Popen=Child)  # type: ignore[attr-defined]
