"""Checkpoints that OpenVPRLab (Ali-bey, 2024) writes, as ordinary ones of ours.

Lightning 2.x saves everything: the optimiser too, and the whole configuration as `hyper_parameters`. The backbone is
cut in two, `backbone.frozen_layers.i` and `backbone.unfrozen_layers.j`, and counts the stem and each stage of a ResNet
as one layer. The layout is that of the project's code; no file of its was at hand.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from vpr.interop.aggregators import read_aggregator
from vpr.interop.published import Known, Published, State, assemble, known_backbone, names
from vpr.models.backbones.resnet import ResNet

KNOWN: list[Known] = [
    (ResNet, {"name": name, "crop": crop})
    for name in ("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnext50_32x4d")
    for crop in ([4], [])
]
LAYOUT = (
    f"Lightning checkpoints of OpenVPRLab with backbone.frozen_layers.*, backbone.unfrozen_layers.* ({names(KNOWN)}) "
    "and aggregator.* (MixVPR, ConvAP, CosPlace, GeM)"
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
    state = {key: value for key, value in file.state.items() if not key.startswith("loss_function.")}
    parts: dict[str, dict[str, Tensor]] = {"backbone": {}, "aggregator": {}}
    for key, value in state.items():
        part, _, name = key.partition(".")
        if part not in parts:
            raise file.unknown(f"a tensor {key}, which is neither under backbone.* nor under aggregator.*")
        parts[part][name] = value
    settings = file.whole_numbers("hyper_parameters", "aggregator", "params")
    agg, agg_weights = read_aggregator(file, parts["aggregator"], settings)
    node, weights = known_backbone(file, _in_one(parts["backbone"]), KNOWN)
    data = ("hyper_parameters", "datamodule")
    image = file.image((*data, "val_image_size"), (*data, "train_image_size"))
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
