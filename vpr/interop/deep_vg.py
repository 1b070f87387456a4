"""Checkpoints of the deep visual geo-localization benchmark (Berton et al., CVPR 2022), as ordinary ones of ours.

{'model_state_dict', 'epoch_num', 'recalls', ...}, or its bare state dict; `module.` stands before all names. It has
`backbone.N.*`, torchvision's network without its last layers, and `aggregation`: NetVLAD or GeM (behind an L2 over
channels by default), and perhaps a linear layer. Images are resized to 480x640. GeM without a linear layer is not
normalised there; here descriptors have length 1, as everywhere, and neighbours that differ in length can change places.
The layout is that of the project's code; no file of its was at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

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
from vpr.models.aggregators.gem import GeM
from vpr.models.aggregators.netvlad import CHECKPOINT, NetVLAD
from vpr.models.aggregators.projected import projected_node
from vpr.models.backbones.resnet import ResNet
from vpr.models.backbones.vgg import VGG
from vpr.models.weights import without_module

IMAGE = image_of_size(480, 640)
KNOWN: list[Known] = [
    *((ResNet, {"name": name, "crop": crop}) for name in ("resnet18", "resnet50", "resnet101") for crop in ([4], [])),
    (VGG, {"name": "vgg16"}),
]
LAYOUT = (
    "the files of deep-visual-geo-localization-benchmark with model_state_dict, backbone.N.* "
    f"({names(KNOWN)}) and aggregation.* (NetVLAD, GeM, with or without a linear layer)"
)
Node = dict[str, Any]

# By the names of its tensors, and so by its place in the sequence: what the aggregation is, and our names.
HEADS: list[tuple[dict[str, str], Callable[[State], Node]]] = [
    (
        {"centroids": "centroids", "conv.weight": "conv.weight"},
        lambda head: node_of(NetVLAD, clusters=len(head["centroids"]), centroids=CHECKPOINT),
    ),
    (
        {
            **{"0.centroids": "aggregator.centroids", "0.conv.weight": "aggregator.conv.weight"},
            **{"1.weight": "projection.weight", "1.bias": "projection.bias"},
        },
        lambda head: projected_node(
            node_of(NetVLAD, clusters=len(head["0.centroids"]), centroids=CHECKPOINT), len(head["1.weight"]), bias=True
        ),
    ),
    ({"1.p": "pool.p"}, lambda head: node_of(GeM, l2_before=True)),
    ({"0.p": "pool.p"}, lambda head: node_of(GeM)),  # with an L2 behind it or without: ours is normalised anyway
    (
        {"0.1.p": "pool.p", "1.weight": "fc.weight", "1.bias": "fc.bias"},
        lambda head: node_of(CosPlace, out_dim=len(head["1.weight"])),
    ),
]


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    plain = [key.removeprefix("module.") for key in state]
    return any(key.startswith("backbone.") and key.split(".")[1].isdecimal() for key in plain)


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of the benchmark.

    Raises:
        CheckpointError: backbone or aggregation are none of those that are known.
    """
    parts: dict[str, dict[str, Tensor]] = {"backbone": {}, "aggregation": {}}
    for key, value in without_module(dict(file.state)).items():
        part, _, name = key.partition(".")
        if part not in parts:
            raise file.unknown(f"a tensor {key}, which is neither under backbone.* nor under aggregation.*")
        parts[part][name] = value
    head = parts["aggregation"]
    renamed, make = next(((names, make) for names, make in HEADS if names.keys() == head.keys()), ({}, None))
    if make is None:
        raise file.unknown(f"an aggregation that is neither NetVLAD nor GeM ({', '.join(head) or 'no tensor'})")
    node, weights = known_backbone(file, parts["backbone"], KNOWN, name_in_sequential)
    weights |= {f"aggregator.{renamed[key]}": value for key, value in head.items()}
    source = file.source("deep-visual-geo-localization-benchmark", "model_state_dict of training", epoch_num=int)
    return assemble(file, node, make(head), IMAGE, weights, source)
