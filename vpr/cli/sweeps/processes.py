"""Process groups: a command in one of its own, ended as a whole; a process with its parent; signals that end one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

GRACE = 5.0  # seconds that processes get to end by themselves
TO_SAVE = 120.0  # seconds that a run gets to write its last checkpoint


def run_in_own_group(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command to its end and return its exit code, negative for the signal that ended it.

    Ctrl-C, SIGTERM and SIGHUP here reach the command, all its processes included, as one Ctrl-C each; KeyboardInterrupt
    follows when it has ended. Processes that it leaves behind are ended: a second rank that waits for a dead first one
    would hold its GPU, and meet the next job.
    """
    # In a group of its own, because a terminal's Ctrl-C would come twice; without the terminal, which it does not own.
    with _forwarded() as (received, groups):
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0)
        groups.append(process.pid)
        if received:
            _send(process.pid, signal.SIGINT)
        try:
            code = process.wait()
        except BaseException:  # a signal handler of a launcher wants to leave: SLURM's time is over
            _send(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(TO_SAVE)
            raise
        finally:
            end_group(process.pid)
    if received:
        raise KeyboardInterrupt
    return code


@contextmanager
def _forwarded() -> Iterator[tuple[list[int], list[int]]]:
    """Send SIGINT to process groups for each signal that asks this process to end.

    Yields the list of the signals that came, and that of the groups, to be filled. Signals that this process ignores
    stay ignored: SIGHUP under nohup, SIGINT behind a script's `&`.
    """
    received: list[int] = []
    groups: list[int] = []

    def forward(number: int, frame: Any) -> None:
        received.append(number)
        for group in groups:
            _send(group, signal.SIGINT)

    def ignore(number: int, frame: Any) -> None:
        """Do nothing, as SIG_IGN; but a process that is started now does not inherit it, and hears our SIGINT."""

    if threading.current_thread() is not threading.main_thread():
        yield received, groups  # signals go to the main thread
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, forward)
        elif number == signal.SIGINT:
            signal.signal(number, ignore)
    try:
        yield received, groups
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_group(group: int, grace: float = GRACE) -> None:
    """End the remaining processes of a group, with SIGKILL after `grace` seconds."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + grace
        _send(group, number)
        while _members(group):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return


def end_with_parent(parent: int | None = None, every: float = 1) -> None:
    """End this process, with exit code 1, soon after its parent has ended; it looks `every` so many seconds.

    For ranks that another rank has started: one that was killed cannot end them, and with NCCL they would wait for it
    as long as `vpr.distributed.PATIENCE`. And for jobs of a sweep: resumed, it would find their folders taken.

    Args:
        parent: its process, which may have ended already; None: the one that is the parent now.
    """
    parent = parent or os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)  # sys.exit would end this thread alone

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()


def leave_terminal() -> None:
    """Send what this process still says to nowhere: its terminal is gone, and writing there would be an error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                os.dup2(nowhere, stream)
    os.close(nowhere)


@contextmanager
def interrupted_by_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt for SIGTERM and SIGHUP, too, so that a run cleans up and says that it has ended.

    Yields the list of the signals that came. A signal that this process ignores (SIGHUP under nohup), or that has a
    handler, stays as it is; so do those of ranks, which whoever started them may have to end at once.
    """
    received: list[int] = []
    process = os.getpid()

    def interrupt(number: int, frame: Any) -> None:
        if os.getpid() != process:  # a child that was forked with this handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        received.append(number)
        if number == signal.SIGHUP:
            leave_terminal()
        raise KeyboardInterrupt

    ours = []
    if threading.current_thread() is threading.main_thread():
        ours = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _send(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _members(group: int) -> list[int]:
    """Return the processes of a group that still run, from Linux's /proc; zombies have ended."""
    if not sys.platform.startswith("linux"):
        return []
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(its_group) == group and state not in "ZX":
            members.append(int(path.parent.name))
    return members
