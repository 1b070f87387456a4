"""Make a small model of a large one, for a budget, on images without labels.

python distil.py teacher=x.ckpt images=/my/photos budget=10ms
python distil.py teacher=x.ckpt images=/my/photos map=/my/map 'budget=[10ms,2MB]'
The same command goes on where it was interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vpr.cli.app import app

if TYPE_CHECKING:
    from omegaconf import DictConfig

TRAIN = Path(__file__).absolute().with_name("train.py")


@app(config_name="distil")
def main(cfg: DictConfig) -> float:
    """Distil as configured; the share of first matches that are the teacher's is returned, for Hydra's sweepers."""
    from vpr.cli.compose import plain
    from vpr.training.students.selection import distil

    return distil(plain(cfg), TRAIN)


if __name__ == "__main__":
    main()
