"""Checkpoints published with MixVPR (Ali-bey et al., 2023) and Lightweight-MixVPR, as ordinary ones of ours.

Two layouts exist: a bare state dict, and the dict that Lightning 1.8 writes. Both name their tensors `backbone.model.*`
(torchvision's or timm's names) and `aggregator.*`. Sizes are read off the tensors, never off file or README.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from vpr.checkpoint import pack
from vpr.interop.published import Known, Published, State, backbone_node, fill, names, read_published
from vpr.models.backbones.efficientnet import EfficientNet
from vpr.models.backbones.mobilenet_v2 import MobileNetV2
from vpr.models.backbones.resnet import ResNet
from vpr.models.build import build_describer

IMAGE = {  # all published models were trained so
    "size": [320, 320],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "interpolation": "bilinear",
}
KNOWN: list[Known] = [
    *(
        (ResNet, {"name": name, "crop": crop})
        for name in ("resnet50", "resnet18", "resnet34", "resnet101")
        for crop in ([4], [])
    ),
    *((EfficientNet, {"name": f"efficientnet_b{i}"}) for i in range(3)),
    (MobileNetV2, {"name": "mobilenet_v2", "head": "lw_mixvpr"}),
]
LAYOUT = (
    "the files of MixVPR and Lightweight-MixVPR: a bare state dict or a Lightning checkpoint with backbone.model.* "
    f"({names(KNOWN)}) and a MixVPR aggregator"
)
DEAD = {"classifier.weight", "classifier.bias"}  # timm's head is in the published file but takes no part


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return any(key.startswith("backbone.model.") for key in state)


def convert(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ours (see `vpr.checkpoint.write`) made from a published MixVPR file.

    Raises:
        CheckpointError: the file cannot be read, or is none of the layouts and backbones that are known.
    """
    return convert_file(read_published(path, LAYOUT))


def convert_file(file: Published) -> dict[str, Any]:
    """Do the same with a file that has been read."""
    state = file.state
    backbone = {k.removeprefix("backbone.model."): v for k, v in state.items() if k.startswith("backbone.model.")}
    aggregator = {k.removeprefix("aggregator."): v for k, v in state.items() if k.startswith("aggregator.")}
    if not backbone or len(backbone) + len(aggregator) != len(state):
        first = ", ".join(list(state)[:3])
        raise file.unknown(f"{len(state)} tensors, not all under backbone.model.* and aggregator.* (first: {first})")
    config = {
        "backbone": _backbone_config(backbone, file),
        "agg": _aggregator_config(aggregator, file),
        "image": dict(IMAGE),
        "source": _source(file),
    }
    try:
        describer = build_describer({**config["backbone"], "weights": "checkpoint"}, config["agg"], IMAGE)
    except Exception as error:  # sizes read off damaged tensors can be wrong in any way
        raise file.unknown(f"an aggregator of impossible sizes ({error})") from error
    _load(describer.backbone, {_own_name(k): v for k, v in backbone.items() if k not in DEAD}, file)
    _load(describer.aggregator, aggregator, file)
    config["source"]["dim"] = describer.dim
    return pack(describer, config)


def _backbone_config(state: State, file: Published) -> dict[str, Any]:
    theirs = {_own_name(k): v for k, v in state.items() if k not in DEAD}
    node = backbone_node(theirs, KNOWN, _own_name)
    if node is None:
        first = ", ".join(f"{k} {tuple(v.shape)}" for k, v in list(theirs.items())[:2])
        raise file.unknown(f"a backbone of {len(theirs)} tensors (first: {first})")
    return node


def _aggregator_config(state: State, file: Published) -> dict[str, Any]:
    depth = len({k.split(".")[1] for k in state if k.startswith("mix.")})
    try:
        out_channels, out_rows = state["channel_proj.weight"].shape[0], state["row_proj.weight"].shape[0]
        cells = state["row_proj.weight"].shape[1]
        hidden = state["mix.0.mix.1.weight"].shape[0] if depth else cells
    except (KeyError, IndexError):
        seen = ", ".join(list(state)[:3]) or "no tensor"
        raise file.unknown(f"an aggregator that is not MixVPR ({seen})") from None
    if not cells:
        raise file.unknown(f"an aggregator of impossible sizes (row_proj.weight of {cells} cells)")
    return {
        "_target_": "vpr.models.aggregators.mixvpr.MixVPR",
        **{"out_channels": out_channels, "out_rows": out_rows, "mix_depth": depth, "mlp_ratio": hidden / cells},
    }


def _source(file: Published) -> dict[str, Any]:
    found = file.found
    source: dict[str, Any] = {"project": "MixVPR", "file": file.path.name, "layout": "bare state dict"}
    if "pytorch-lightning_version" in found:
        source["layout"] = f"Lightning {found['pytorch-lightning_version']}"
        source.update({k: int(found[k]) for k in ("epoch", "global_step") if isinstance(found.get(k), int)})
    return source


def _load(module: nn.Module, state: State, file: Published) -> None:
    own = {_own_name(k): k for k in module.state_dict()}
    misfit = fill(module, {own.get(k, k): v for k, v in state.items()})
    if misfit:
        seen = f"tensors that do not fit a {type(module).__name__} at 320x320 pixels ({misfit})"
        raise file.unknown(seen)


def _own_name(key: str) -> str:
    return key.removeprefix("model.")
