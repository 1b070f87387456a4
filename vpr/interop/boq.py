"""Checkpoints published with BoQ (Ali-bey et al., CVPR 2024), as ordinary ones of ours.

A bare state dict, as torch.hub loads it, or the file that Lightning writes: `backbone.net.N.*`, a ResNet's layers in
their order, or `backbone.dino.*`, torch.hub's DINOv2, whose last LayerNorm takes no part; and `aggregator.*`. Images
are resized bicubically with antialias, to 384x384 pixels for a ResNet and 322x322 for DINOv2.
"""

from __future__ import annotations

from typing import Any

from vpr.interop import openvprlab
from vpr.interop.aggregators import read_aggregator
from vpr.interop.dinov2 import NAMES, read_dinov2
from vpr.interop.published import (
    Known,
    Published,
    State,
    assemble,
    known_backbone,
    name_in_sequential,
    names,
    parts_of,
)
from vpr.models.backbones.resnet import ResNet

KNOWN: list[Known] = [
    (ResNet, {"name": name, "crop": crop})
    for crop in ([4], [])
    for name in ("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnext50_32x4d")
]
LAYOUT = f"the files of BoQ with backbone.net.N.* ({names(KNOWN)}) or backbone.dino.* ({NAMES}) and aggregator.*"


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return "aggregator.boqs.0.queries" in state and any(
        k.startswith(("backbone.net.", "backbone.dino.")) for k in state
    )


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of BoQ.

    Raises:
        CheckpointError: the backbone is none of those that are known, or there are more or fewer tensors.
    """
    if file.at("hyper_parameters", "datamodule"):  # this project saves none
        return openvprlab.convert_file(file)
    dino = any(key.startswith("backbone.dino.") for key in file.state)
    backbone, aggregator = parts_of(file, "backbone.dino" if dino else "backbone.net", "aggregator")
    agg, agg_weights = read_aggregator(file, aggregator, {})
    if dino:
        node, weights = read_dinov2(file, backbone, norm=False)
    else:
        node, weights = known_backbone(file, backbone, KNOWN, name_in_sequential)
    image = file.image(size=(322, 322) if dino else (384, 384), interpolation="bicubic")
    return assemble(file, node, agg, image, weights | agg_weights, file.lightning_source("BoQ"))
