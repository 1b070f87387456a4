"""Train, distil and measure small visual place recognition models.

Importing the package is light: torch comes in only when `load` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpr.models.describer import Describer

__version__ = "0.1.0"


def load(path: str) -> Describer:
    """Return the describer stored in a checkpoint, in evaluation mode, on the CPU.

    Called on normalised images (B, 3, H, W) it returns L2-normalised descriptors (B, D).

    Raises:
        CheckpointError: the file is missing, damaged or not one of ours.
    """
    from vpr.checkpoint import load as load_checkpoint

    return load_checkpoint(path)
