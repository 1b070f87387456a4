"""Checkpoints published with SALAD (Izquierdo & Civera, CVPR 2024) and CliqueMining (ECCV 2024), as ones of ours.

Both projects have one network and one layout, so nothing tells which of them a file is of: a bare state dict, or the
file that Lightning writes, with `backbone.model.*` (torch.hub's DINOv2) and `aggregator.*`. They are measured at
322x322 pixels, resized bilinearly; tokens are taken after the last LayerNorm.
"""

from __future__ import annotations

from typing import Any

from vpr.interop.aggregators import read_aggregator
from vpr.interop.dinov2 import NAMES, read_dinov2
from vpr.interop.published import Published, State, assemble, parts_of

LAYOUT = f"the files of SALAD and CliqueMining with backbone.model.* ({NAMES}) and aggregator.*"
SIZE = (322, 322)


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return "aggregator.dust_bin" in state and any(key.startswith("backbone.model.") for key in state)


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of SALAD or CliqueMining.

    Raises:
        CheckpointError: the backbone is none of those that are known, or there are more or fewer tensors.
    """
    backbone, aggregator = parts_of(file, "backbone.model", "aggregator")
    agg, agg_weights = read_aggregator(file, aggregator, {})
    node, weights = read_dinov2(file, backbone)
    image = file.image(size=SIZE)
    return assemble(file, node, agg, image, weights | agg_weights, file.lightning_source("SALAD, CliqueMining"))
