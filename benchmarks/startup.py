"""CPU time until a script answers: its help, a mistake, and `import vpr`, beside Python itself.

    python benchmarks/startup.py [--repeat 3]

Prints the least of some repetitions, in seconds. tests/cli/test_command_line.py holds what is not imported meanwhile.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import vpr": ["-c", "import vpr"],
    "train.py --help": ["train.py", "--help"],
    "evaluate.py --help": ["evaluate.py", "--help"],
    "train.py agg=mixvrp": ["train.py", "agg=mixvrp"],
    "train.py batch.places=1": ["train.py", "batch.places=1", "hydra.run.dir=/tmp/startup"],
    "import torch": ["-c", "import torch"],
}


def cpu_seconds(arguments: list[str]) -> float:
    """Return user and system time of a Python process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    for name, arguments in COMMANDS.items():
        print(f"{name:<26} {min(cpu_seconds(arguments) for _ in range(repeat)):6.2f} s")


if __name__ == "__main__":
    main()
