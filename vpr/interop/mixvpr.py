"""Checkpoints published with MixVPR (Ali-bey et al., 2023), Lightweight-MixVPR and gsv-cities (2022), as ones of ours.

Two layouts exist: a bare state dict, and the dict that Lightning 1.x writes. Both name their tensors `backbone.model.*`
(torchvision's or timm's names) and `aggregator.*`. Sizes are read off the tensors where they show in them. gsv-cities'
4,096-d ConvAP was trained on images resized bicubically, which its file does not say: it is read as bilinear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpr.interop.aggregators import read_aggregator
from vpr.interop.published import Known, Published, State, assemble, known_backbone, names, read_published
from vpr.models.backbones.efficientnet import EfficientNet
from vpr.models.backbones.mobilenet_v2 import MobileNetV2
from vpr.models.backbones.resnet import ResNet

KNOWN: list[Known] = [
    *(
        (ResNet, {"name": name, "crop": crop})
        for name in ("resnet50", "resnet18", "resnet34", "resnet101", "resnet152", "resnext50_32x4d")
        for crop in ([4], [])
    ),
    *((EfficientNet, {"name": f"efficientnet_b{i}"}) for i in range(3)),
    (MobileNetV2, {"name": "mobilenet_v2", "head": "lw_mixvpr"}),
]
LAYOUT = (
    "the files of MixVPR, Lightweight-MixVPR and gsv-cities: a bare state dict or a Lightning checkpoint with "
    f"backbone.model.* ({names(KNOWN)}) and aggregator.* (MixVPR, ConvAP, CosPlace, GeM)"
)
DEAD = {"classifier.weight", "classifier.bias"}  # timm's head is in the published file but takes no part


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return any(key.startswith("backbone.model.") for key in state)


def convert(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ours (see `vpr.checkpoint.write`) made from such a file.

    Raises:
        CheckpointError: the file cannot be read, or is none of the layouts and backbones that are known.
    """
    return convert_file(read_published(path, LAYOUT))


def convert_file(file: Published) -> dict[str, Any]:
    """Return the same of a file that has been read; errors as of `convert`."""
    state = file.state
    backbone = {k.removeprefix("backbone.model."): v for k, v in state.items() if k.startswith("backbone.model.")}
    aggregator = {k.removeprefix("aggregator."): v for k, v in state.items() if k.startswith("aggregator.")}
    if not backbone or len(backbone) + len(aggregator) != len(state):
        first = ", ".join(list(state)[:3])
        raise file.unknown(f"{len(state)} tensors, not all under backbone.model.* and aggregator.* (first: {first})")
    settings = file.whole_numbers("hyper_parameters", "agg_config")
    agg, agg_weights = read_aggregator(file, aggregator, settings)
    used = {key: value for key, value in backbone.items() if key not in DEAD}
    node, weights = known_backbone(file, used, KNOWN, _published_name)
    image = file.image(("datamodule_hyper_parameters", "image_size"))
    return assemble(file, node, agg, image, weights | agg_weights, file.lightning_source("MixVPR, gsv-cities"))


def _published_name(key: str) -> str:
    return key.removeprefix("model.")
