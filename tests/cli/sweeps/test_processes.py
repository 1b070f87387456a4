"""Commands in process groups of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vpr.cli.sweeps.processes import run_in_own_group

# Notes in argv[1] that it runs, and that Ctrl-C reached it; ends well.
CHILD = """
import signal, sys, time
def stop(*_): open(sys.argv[1] + ".stopped", "a").write("x"); sys.exit(130)
signal.signal(signal.SIGINT, stop)
open(sys.argv[1], "w").close()
time.sleep(60)
"""
PARENT = """
import sys
from vpr.cli.sweeps.processes import run_in_own_group
try:
    run_in_own_group([sys.executable, "-c", sys.argv[1], sys.argv[2]])
except KeyboardInterrupt:
    sys.exit(77)
"""


@pytest.mark.parametrize(("does", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", -signal.SIGKILL)])
def test_exit_code(does: str, code: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run_in_own_group(["sh", "-c", does]) == code
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_environment() -> None:
    assert run_in_own_group(["sh", "-c", "exit $CODE"], {**os.environ, "CODE": "5"}) == 5


def test_what_it_leaves_behind_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpr.cli.sweeps.processes.end_group.__defaults__", (0.2,))
    deaf = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
    assert run_in_own_group(["sh", "-c", f'sh -c "$0" & while [ ! -s {tmp_path}/pid ]; do sleep 0.05; done', deaf]) == 0
    stat = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_in_a_thread_signals_are_left_alone() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_in_own_group(["sh", "-c", "exit 4"])))
    thread.start()
    thread.join()
    assert codes == [4]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_wish_to_end_reaches_the_command_once(tmp_path: Path, number: int) -> None:
    flag = tmp_path / "runs"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, str(flag)],
        start_new_session=True,
        # A test run behind a script's `&` ignores SIGINT, one under nohup SIGHUP, and so would this process.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 600
    while not flag.exists():
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.02)
    os.killpg(parent.pid, number)  # as a terminal does: to the foreground group
    assert parent.wait(timeout=600) == 77
    assert Path(f"{flag}.stopped").read_text() == "x"
