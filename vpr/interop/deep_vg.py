"""Checkpoints of the deep visual geo-localization benchmark (Berton et al., CVPR 2022), as ordinary ones of ours.

{'model_state_dict', 'epoch_num', 'recalls', ...}, or its bare state dict: `backbone.N.*`, torchvision's network without
its last layers, and `aggregation`: NetVLAD, or a pooling (behind an L2 over channels by default) and perhaps a linear
layer. Images are resized to 480x640. A pooling without a linear layer is not normalised there; here descriptors have
length 1, as everywhere, and neighbours that differ in length can change places. What leaves no tensor is read off the
file's name: poolings without a parameter, and the place of the L2 before a linear layer. The layout is that of the
project's code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

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
    parts_of,
)
from vpr.models.aggregators.cosplace import CosPlace
from vpr.models.aggregators.gem import GeM
from vpr.models.aggregators.mac import MAC
from vpr.models.aggregators.netvlad import CHECKPOINT, NetVLAD
from vpr.models.aggregators.projected import projected_node
from vpr.models.aggregators.spoc import SPoC
from vpr.models.backbones.resnet import ResNet
from vpr.models.backbones.vgg import VGG

IMAGE = image_of_size(480, 640)
KNOWN: list[Known] = [
    *((ResNet, {"name": name, "crop": crop}) for name in ("resnet18", "resnet50", "resnet101") for crop in ([4], [])),
    (VGG, {"name": "vgg16"}),
]
LAYOUT = (
    "the files of deep-visual-geo-localization-benchmark with model_state_dict, backbone.N.* "
    f"({names(KNOWN)}) and aggregation.* (NetVLAD, or GeM with or without a linear layer, or none for SPoC and MAC)"
)
Node = dict[str, Any]
Read = Callable[[Published, State], tuple[Node, dict[str, str]]]
"""(file, tensors of the aggregation) -> (node, its names for theirs)"""

LINEAR = {"1.weight", "1.bias"}
OTHERS = {"crn": "CRN (Kim et al., 2017)", "ln1": "RRM (Kordopatis-Zilos et al., 2021)"}
"""Parts of tensors' names by which aggregations are known that this project has not."""

TRANSFORMERS = {"backbone.embeddings.": "a vision transformer", "backbone.tokenizer.": "a CCT"}
"""Beginnings of names of the same for backbones."""


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    numbered = any(key.startswith("backbone.") and key.split(".")[1].isdecimal() for key in state)
    return numbered or any(key.startswith(tuple(TRANSFORMERS)) for key in state)


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of the benchmark.

    Raises:
        CheckpointError: backbone or aggregation are none of those that are known, or not to be told without the name.
    """
    backbone, head = parts_of(file, "backbone", "aggregation")
    other = next((name for start, name in TRANSFORMERS.items() if any(k.startswith(start) for k in file.state)), None)
    if is_alexnet(backbone):
        other = "AlexNet"
    if other:
        raise file.unknown(f"a backbone that is {other}, which this project has not")
    read = next((read for tensors, read in HEADS if tensors == head.keys()), _refuse)
    agg, renamed = read(file, head)
    node, weights = known_backbone(file, backbone, KNOWN, name_in_sequential)
    weights |= {f"aggregator.{renamed[key]}": value for key, value in head.items()}
    source = file.source("deep-visual-geo-localization-benchmark", "model_state_dict of training", epoch_num=int)
    return assemble(file, node, agg, IMAGE, weights, source)


def _netvlad(file: Published, head: State) -> tuple[Node, dict[str, str]]:
    node = node_of(NetVLAD, clusters=len(head["centroids"]), centroids=CHECKPOINT)
    return node, {key: key for key in head}


def _gem_then_linear(file: Published, head: State) -> tuple[Node, dict[str, str]]:
    """Tell an L2 between GeM and the linear layer (`--l2 after_pool`) from none (`--l2 none`): no tensor does."""
    named = re.search(r"(after_pool|l2_none)", file.path.stem)
    if named is None:
        stem, suffix = file.path.stem, file.path.suffix
        raise file.unknown(
            "a GeM with a linear layer, and nothing in it says whether an L2 stood between them; name the file "
            f"{stem}_after_pool{suffix} if it was trained with --l2 after_pool, or {stem}_l2_none{suffix}"
        )
    if named[1] == "l2_none":
        return node_of(CosPlace, out_dim=len(head["1.weight"]), l2_before=False), _of_cosplace("0.0.p")
    node = projected_node(node_of(GeM), len(head["1.weight"]), bias=True)
    linear = {f"1.{part}": f"projection.{part}" for part in ("weight", "bias")}
    return node, {"0.0.p": "aggregator.pool.p", **linear}


def _without_tensors(file: Published, head: State) -> tuple[Node, dict[str, str]]:
    """Read SPoC and MAC off the file's name; there the L2 over channels comes first by default."""
    named = re.search(r"(?<![a-z])(spoc|mac|rmac)(?![a-z])", file.path.stem.lower())
    if named and named[1] in POOLINGS:
        return node_of(POOLINGS[named[1]], l2_before=True), {}
    if named:
        raise file.unknown("an aggregation that is RMAC, which this project has not")
    stem, suffix = file.path.stem, file.path.suffix
    raise file.unknown(
        "an aggregation without a tensor (SPoC, MAC or RMAC); if you know that it is one of the first two, name the "
        f"file {stem}_spoc{suffix} or {stem}_mac{suffix}"
    )


def _refuse(file: Published, head: State) -> tuple[Node, dict[str, str]]:
    parts = {part for key in head for part in key.split(".")}
    name = next((name for part, name in OTHERS.items() if part in parts), None)
    seen = ", ".join(list(head)[:3])
    raise file.unknown(
        f"an aggregation that is {name}, which this project has not ({seen})"
        if name
        else f"an aggregation that is none of NetVLAD, GeM, GeM with a linear layer, SPoC and MAC ({seen})"
    )


def _of_cosplace(p: str) -> dict[str, str]:
    return {p: "pool.p", "1.weight": "fc.weight", "1.bias": "fc.bias"}


POOLINGS = {"spoc": SPoC, "mac": MAC}
HEADS: list[tuple[set[str], Read]] = [
    ({"centroids", "conv.weight"}, _netvlad),
    ({"1.p"}, lambda file, head: (node_of(GeM, l2_before=True), {"1.p": "pool.p"})),
    ({"0.p"}, lambda file, head: (node_of(GeM), {"0.p": "pool.p"})),  # with an L2 behind it or without: one direction
    (
        {"0.1.p", *LINEAR},
        lambda file, head: (node_of(CosPlace, out_dim=len(head["1.weight"])), _of_cosplace("0.1.p")),
    ),
    ({"0.0.p", *LINEAR}, _gem_then_linear),
    (set(), _without_tensors),
]
"""By the names of its tensors, and so by its place in the sequence: what reads the aggregation."""
