"""Make the cluster file that NetVLAD starts from: `python cluster.py backbone=vgg16 dataset=pitts30k`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from vpr.cli.app import app
from vpr.cli.cluster_command import training_side

if TYPE_CHECKING:
    from omegaconf import DictConfig


@app(config_name="cluster")
def main(cfg: DictConfig) -> None:
    """Describe training images, cluster their local descriptors, write the file."""
    from vpr.training.clusters import make_clusters

    make_clusters(cfg)


if __name__ == "__main__":
    sys.argv = training_side(sys.argv)
    main()
