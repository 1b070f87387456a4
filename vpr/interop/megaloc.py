"""Checkpoints published with MegaLoc (Berton & Masone, 2025), as ordinary ones of ours.

A bare state dict in two layouts: until January 2026 with `backbone.model.*` (torch.hub's DINOv2), since then with the
same tensors at `backbone.*`; in both `aggregator.agg.*` (SALAD) and `aggregator.linear.*`. Images of any size are taken
and resized inside the model to multiples of 14 pixels.
"""

from __future__ import annotations

from typing import Any

from vpr.interop.aggregators import read_aggregator
from vpr.interop.dinov2 import NAMES, read_dinov2
from vpr.interop.published import Published, State, assemble, parts_of
from vpr.models.aggregators.projected import projected_node

LAYOUT = (
    f"the files of MegaLoc with backbone.* or backbone.model.* ({NAMES}), aggregator.agg.* (SALAD) and "
    "aggregator.linear.*"
)
SIZE = (322, 322)


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return "aggregator.agg.dust_bin" in state


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of MegaLoc.

    Raises:
        CheckpointError: the backbone is none of those that are known, or there are more or fewer tensors.
    """
    earlier = any(key.startswith("backbone.model.") for key in file.state)
    places = ("backbone.model" if earlier else "backbone", "aggregator.agg", "aggregator.linear")
    backbone, aggregator, linear = parts_of(file, *places)
    if linear.keys() != {"weight", "bias"}:
        raise file.unknown(f"a linear layer of {', '.join(linear) or 'no tensor'}, and MegaLoc has weight and bias")
    inner, inner_weights = read_aggregator(file, aggregator, {})
    node, weights = read_dinov2(file, backbone, any_size=True)
    weights |= {key.replace("aggregator.", "aggregator.aggregator.", 1): value for key, value in inner_weights.items()}
    weights |= {f"aggregator.projection.{key}": value for key, value in linear.items()}
    agg = projected_node(inner, len(linear["weight"]), bias=True)
    source = file.source("MegaLoc", "") | {"layout": "backbone.model.*" if earlier else "backbone.*"}
    return assemble(file, node, agg, file.image(size=SIZE), weights, source)
