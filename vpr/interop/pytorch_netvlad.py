"""Checkpoints that pytorch-NetVlad (Nanne van Noord, 2018) writes, as ordinary ones of ours.

{'epoch', 'state_dict', 'recalls', 'best_score', 'optimizer', 'parallel'}: `encoder.N.*`, VGG16 up to conv5_3, and
`pool.conv.weight`, `pool.centroids`. Photos of 480x640 pixels were fed as they are, with ImageNet's mean and deviation
(not MatConvNet's, as OpenIBL's). AlexNet, maximum and average pooling (which leave no tensors) and VLAD v2
(`pool.conv.bias`) are refused. The layout is that of the project's code; no file of its was at hand.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vpr.interop.published import (
    Known,
    Published,
    State,
    assemble,
    image_of_size,
    is_alexnet,
    known_backbone,
    name_in_sequential,
    names,
    node_of,
)
from vpr.models.aggregators.netvlad import CHECKPOINT, NetVLAD
from vpr.models.backbones.vgg import VGG

IMAGE = image_of_size(480, 640)
KNOWN: list[Known] = [(VGG, {"name": "vgg16"})]
LAYOUT = f"the files of pytorch-NetVlad with encoder.N.* ({names(KNOWN)}), pool.conv.weight and pool.centroids"
TRAINING = {"epoch": int, "best_score": float}


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return any(key.startswith("encoder.") for key in state)


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of pytorch-NetVlad.

    Raises:
        CheckpointError: backbone or pooling are none of those that are known.
    """
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "pool": {}}
    for key, value in file.state.items():
        part, _, name = key.partition(".")
        if part not in parts:
            raise file.unknown(f"a tensor {key}, which is neither under encoder.* nor under pool.*")
        parts[part][name] = value
    if is_alexnet(parts["encoder"]):
        raise file.unknown("a backbone that is AlexNet, which this project has not")
    pool = parts["pool"]
    if pool.keys() != {"conv.weight", "centroids"}:
        version = "VLAD v2, whose assignment has a bias" if "conv.bias" in pool else "not NetVLAD"
        raise file.unknown(f"a pooling that is {version} ({', '.join(pool) or 'no tensor'})")
    node, weights = known_backbone(file, parts["encoder"], KNOWN, name_in_sequential)
    weights |= {f"aggregator.{key}": value for key, value in pool.items()}
    agg = node_of(NetVLAD, clusters=len(pool["centroids"]), centroids=CHECKPOINT)
    return assemble(
        file, node, agg, IMAGE, weights, file.source("pytorch-NetVlad", "state_dict of training", **TRAINING)
    )
