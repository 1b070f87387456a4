"""Train, distil and measure small visual place recognition models.

Importing the package is light: torch comes in only when `load` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from vpr.api import PhotoDescriber

__version__ = "0.1.0"


def load(path: str | PathLike[str], device: str = "cpu") -> PhotoDescriber:
    """Return the model stored in a checkpoint, or in a file that another project published, in evaluation mode.

    Instead of a path, the name of a published model: `vpr.load("megaloc")` downloads its weights once.

    `model.describe(photos)` returns descriptors (N, D) float32 of unit norm, of paths or pixels. Called as a network on
    normalised images (B, 3, H, W) it returns the same as a tensor. `device`: cpu, cuda or auto.

    Raises:
        CheckpointError: the file is missing, damaged or none that is known. Nothing in it is executed.
        ConfigError: there is no such device.
    """
    from vpr.api import load as load_model

    return load_model(path, device)
