"""Train a describer: `python train.py backbone=mobilenet_v2 agg=mixvpr`; `python train.py --help` shows the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from vpr.cli.app import app

if TYPE_CHECKING:
    from omegaconf import DictConfig


@app(config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Train as configured; the best recall@1 is returned, for Hydra's sweepers."""
    from vpr.cli.sweeps.prerequisites import train_earlier_generations_first, train_teacher_first

    train_teacher_first(cfg)
    train_earlier_generations_first(cfg)
    from vpr.training.run import fit

    return fit(cfg, Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    main()
