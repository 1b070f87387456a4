"""Train, distil and measure small visual place recognition models.

Importing the package is light: torch comes in only when `load` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from vpr.api import ExportedPhotoDescriber, PhotoDescriber

__version__ = "0.1.0"


def load(path: str | PathLike[str], device: str = "cpu") -> PhotoDescriber | ExportedPhotoDescriber:
    """Return the model of a checkpoint, of a file that another project published, or of an exported .onnx file.

    Instead of a path, the name of a published model: `vpr.load("megaloc")` downloads its weights once.

    The model is in evaluation mode. `model.describe(photos)` returns descriptors (N, D) float32 of unit norm, of paths
    or pixels. Called as a network on normalised images (B, 3, H, W), an exported model on uint8 ones, it returns the
    same as a tensor. `device`: cpu, cuda or auto.

    Raises:
        CheckpointError: the file is missing, damaged or none that is known. Nothing in it is executed.
        ConfigError: there is no such device, or onnxruntime is needed and not installed.
    """
    from vpr.api import load as load_model

    return load_model(path, device)
