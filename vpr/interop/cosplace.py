"""Checkpoints published with CosPlace (Berton et al., 2022) and EigenPlaces (2023), as ordinary ones of ours.

A bare state dict, or the same under `model_state_dict` in what training writes: `backbone.N.*`, torchvision's network
without pooling and classifier, and `aggregation`, a sequence of L2 over channels, GeM (`1.p`), flattening, a linear
layer (`3.weight`, `3.bias`) and L2. Both were trained on crops of 512x512 pixels and take every size; they were
measured on photos as they are. The layout is that of the projects' code; no file of theirs was at hand.
"""

from __future__ import annotations

from typing import Any

from vpr.interop.published import (
    Known,
    Published,
    State,
    assemble,
    image_of_size,
    known_backbone,
    name_in_sequential,
    names,
    node_of,
)
from vpr.models.aggregators.cosplace import CosPlace
from vpr.models.backbones.resnet import ResNet
from vpr.models.backbones.vgg import VGG

IMAGE = image_of_size(512, 512)
KNOWN: list[Known] = [
    *((ResNet, {"name": name}) for name in ("resnet18", "resnet50", "resnet101", "resnet152")),
    (VGG, {"name": "vgg16"}),
]
LAYOUT = (
    f"the files of CosPlace and EigenPlaces with backbone.N.* ({names(KNOWN)}) and aggregation.1.p, aggregation.3.*"
)
HEAD = {"1.p": "pool.p", "3.weight": "fc.weight", "3.bias": "fc.bias"}


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return "aggregation.3.weight" in state


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of CosPlace or EigenPlaces.

    Raises:
        CheckpointError: the backbone is none of those that are known, or there are more or fewer tensors.
    """
    backbone = {k.removeprefix("backbone."): v for k, v in file.state.items() if k.startswith("backbone.")}
    head = {k.removeprefix("aggregation."): v for k, v in file.state.items() if not k.startswith("backbone.")}
    if head.keys() != HEAD.keys():
        raise file.unknown(f"an aggregation of {', '.join(head)}, which is not that of CosPlace")
    if "0.0.0.weight" in backbone:
        raise file.unknown("a backbone that is an EfficientNet, of which neither project has published a file")
    node, weights = known_backbone(file, backbone, KNOWN, name_in_sequential)
    weights |= {f"aggregator.{HEAD[key]}": value for key, value in head.items()}
    agg = node_of(CosPlace, out_dim=len(head["3.weight"]))
    source = file.source("CosPlace, EigenPlaces", "model_state_dict of training", epoch_num=int)
    return assemble(file, node, agg, IMAGE, weights, source)
