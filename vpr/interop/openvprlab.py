"""Checkpoints that OpenVPRLab (Ali-bey, 2024) writes, as ordinary ones of ours.

Lightning 2.x saves everything: the optimiser too, and the whole configuration as `hyper_parameters`. A ResNet is cut in
two, `backbone.frozen_layers.i` and `backbone.unfrozen_layers.j`, and its stem and each stage count as one layer; DINOv2
is torch.hub's, at `backbone.dino.*`, with tokens from before the last LayerNorm whatever the aggregator. Images are
resized bicubically with antialias. The layout is that of the project's code.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from vpr.interop.aggregators import read_aggregator
from vpr.interop.dinov2 import NAMES, read_dinov2
from vpr.interop.published import Known, Published, State, assemble, known_backbone, names, parts_of
from vpr.models.backbones.resnet import ResNet

KNOWN: list[Known] = [
    (ResNet, {"name": name, "crop": crop})
    for name in ("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnext50_32x4d")
    for crop in ([4], [])
]
LAYOUT = (
    f"Lightning checkpoints of OpenVPRLab with backbone.frozen_layers.*, backbone.unfrozen_layers.* ({names(KNOWN)}) "
    f"or backbone.dino.* ({NAMES}) and aggregator.* (MixVPR, ConvAP, CosPlace, GeM, SALAD, BoQ, or none for AVGPool)"
)
PREFIXES = ("backbone.frozen_layers.", "backbone.unfrozen_layers.", "backbone.dino.")
STEM = ("conv1", "bn1")


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return any(key.startswith(PREFIXES) for key in state)


def convert_file(file: Published) -> dict[str, Any]:
    """Return the content of a checkpoint of ours made from a file of OpenVPRLab; the loss takes no part in it.

    Raises:
        CheckpointError: backbone or aggregator are none of those that are known.
    """
    used = {key: value for key, value in file.state.items() if not key.startswith("loss_function.")}
    dino = any(key.startswith("backbone.dino.") for key in used)
    backbone, aggregator = parts_of(file._replace(state=used), "backbone.dino" if dino else "backbone", "aggregator")
    settings = file.whole_numbers("hyper_parameters", "aggregator", "params")
    agg, agg_weights = read_aggregator(file, aggregator, settings)
    if dino:
        node, weights = read_dinov2(file, backbone, norm=False)
    else:
        node, weights = known_backbone(file, _in_one(backbone), KNOWN)
    data = ("hyper_parameters", "datamodule")
    size = (322, 322) if dino else (320, 320)  # of one that does not say
    image = file.image((*data, "val_image_size"), (*data, "train_image_size"), size=size, interpolation="bicubic")
    return assemble(file, node, agg, image, weights | agg_weights, file.lightning_source("OpenVPRLab"))


def _in_one(theirs: State) -> dict[str, Tensor]:
    """Return both halves of the backbone under our names; what has no place in a ResNet keeps its published name."""
    matches = {key: re.fullmatch(r"(un)?frozen_layers\.(\d+)\.(.+)", key) for key in theirs}
    frozen = 1 + max((int(m[2]) for m in matches.values() if m and not m[1]), default=-1)
    return {_our_name(m, frozen) if m else key: theirs[key] for key, m in matches.items()}


def _our_name(match: re.Match[str], frozen: int) -> str:
    layer, rest = int(match[2]) + (frozen if match[1] else 0), match[3]
    if layer:
        return f"model.layer{layer}.{rest}"
    place, _, tensor = rest.partition(".")
    return f"model.{STEM[int(place)]}.{tensor}" if place in ("0", "1") else match[0]
