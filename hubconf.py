"""For torch.hub: `torch.hub.load(FOLDER_OR_REPOSITORY, "vpr", source="local", ckpt="best.ckpt")`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpr.api import ExportedPhotoDescriber, PhotoDescriber

# what `load` and `describe` import
dependencies = [
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "cv2",
    "simplejpeg",
    "PIL",
    "filelock",
    "rich",
    "h5py",
    "huggingface_hub",
    "safetensors",
]


def vpr(ckpt: str, device: str = "cpu") -> PhotoDescriber | ExportedPhotoDescriber:
    """Return the model of a checkpoint, ready for use: `model.describe(photos) -> (N, D)` float32, rows of unit norm.

    Args:
        ckpt: path of a checkpoint of this suite, or of a file that another project published (MixVPR, CosPlace, ...);
            or a published model's name, e.g. megaloc, which is downloaded once.
        device: cpu, cuda or auto.
    """
    from vpr import load

    return load(ckpt, device)
