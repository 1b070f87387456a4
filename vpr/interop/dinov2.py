"""DINOv2 inside published systems: torch.hub's network under a prefix of theirs, told by its tensors."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vpr.interop.published import Known, Published, State, known_backbone, names
from vpr.models.backbones.dinov2 import DINOv2

KNOWN: list[Known] = [
    (DINOv2, {"name": f"vit_{size}_patch14_dinov2.lvd142m", "position": "torch_hub"})
    for size in ("base", "small", "large")
]
NAMES = names(KNOWN)
UNUSED = ("mask_token",)
"""Tensors of torch.hub's network that take no part in inference."""


def read_dinov2(
    file: Published, theirs: State, norm: bool = True, any_size: bool = False
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the node of the DINOv2 with these tensors, and the tensors under the describer's names.

    Args:
        theirs: tensors under torch.hub's names.
        norm: the system takes tokens after the last LayerNorm; without it, that layer takes no part.
        any_size: it resizes images to multiples of the patch.

    Raises:
        CheckpointError: it is none of the known ones.
    """
    used = {k: v for k, v in theirs.items() if k not in UNUSED and (norm or not k.startswith("norm."))}
    options = {"norm": norm, "any_size": any_size}
    known: list[Known] = [(family, {**given, **options}) for family, given in KNOWN]
    return known_backbone(file, used, known, lambda key: key.removeprefix("model."))
