"""Freed memory stays with a process that trains on a CPU."""

import subprocess
import sys

import pytest

from vpr.training.allocator import keep_freed_memory

PROGRAM = """
import resource
import numpy as np
if {keep}:
    from vpr.training.allocator import keep_freed_memory
    assert keep_freed_memory()
np.ones(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8 << 20)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    program = [sys.executable, "-c", PROGRAM.format(keep=keep)]
    return int(subprocess.run(program, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_large_blocks_are_mapped_once():
    assert faults(keep=True) * 20 < faults(keep=False)


def test_another_c_library_is_no_error(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert not keep_freed_memory()
