"""Checkpoints published with MixVPR (Ali-bey et al., 2023) and Lightweight-MixVPR, as ordinary ones of ours.

Two layouts exist: a bare state dict, and the dict that Lightning 1.8 writes. Both name their tensors `backbone.model.*`
(torchvision's or timm's names) and `aggregator.*`. Sizes are read off the tensors, never off file or README.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vpr.checkpoint import pack, read_any
from vpr.errors import CheckpointError
from vpr.models.backbones.efficientnet import EfficientNet
from vpr.models.backbones.mobilenet_v2 import MobileNetV2
from vpr.models.backbones.resnet import ResNet
from vpr.models.build import build_describer

State = Mapping[str, Tensor]
Shapes = dict[str, tuple[int, ...]]
IMAGE = {  # all published models were trained so
    "size": [320, 320],
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "interpolation": "bilinear",
}
KNOWN: list[tuple[type[Any], dict[str, Any]]] = [
    *(
        (ResNet, {"name": name, "crop": crop})
        for name in ("resnet50", "resnet18", "resnet34", "resnet101")
        for crop in ([4], [])
    ),
    *((EfficientNet, {"name": f"efficientnet_b{i}"}) for i in range(3)),
    (MobileNetV2, {"name": "mobilenet_v2", "head": "lw_mixvpr"}),
]
DEAD = {"classifier.weight", "classifier.bias"}  # timm's head is in the published file but takes no part


def convert(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ours (see `vpr.checkpoint.write`) made from a published MixVPR file.

    Raises:
        CheckpointError: the file cannot be read, or is none of the layouts and backbones that are known.
    """
    found = read_any(path)
    state = found.get("state_dict", found) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise _unknown(path, "no state dict")
    backbone = {k.removeprefix("backbone.model."): v for k, v in state.items() if k.startswith("backbone.model.")}
    aggregator = {k.removeprefix("aggregator."): v for k, v in state.items() if k.startswith("aggregator.")}
    if not backbone or len(backbone) + len(aggregator) != len(state):
        first = ", ".join(list(state)[:3])
        raise _unknown(path, f"{len(state)} tensors, not all under backbone.model.* and aggregator.* (first: {first})")
    config = {
        "backbone": _backbone_config(backbone, path),
        "agg": _aggregator_config(aggregator, path),
        "image": dict(IMAGE),
        "source": _source(path, found),
    }
    try:
        describer = build_describer({**config["backbone"], "weights": "checkpoint"}, config["agg"], IMAGE)
    except Exception as error:  # sizes read off damaged tensors can be wrong in any way
        raise _unknown(path, f"an aggregator of impossible sizes ({error})") from error
    _load(describer.backbone, {_own_name(k): v for k, v in backbone.items() if k not in DEAD}, path)
    _load(describer.aggregator, aggregator, path)
    return pack(describer, config)


def _backbone_config(state: State, path: str | Path) -> dict[str, Any]:
    theirs = _shapes({_own_name(k): v for k, v in state.items() if k not in DEAD})
    for family, options in KNOWN:
        with torch.device("meta"):
            ours = _shapes(family(weights="none", **options).state_dict())
        if {_own_name(k): shape for k, shape in ours.items()} == theirs:
            return {"_target_": f"{family.__module__}.{family.__name__}", "weights": "none", **options}
    first = ", ".join(f"{k} {shape}" for k, shape in list(theirs.items())[:2])
    raise _unknown(path, f"a backbone of {len(theirs)} tensors (first: {first})")


def _aggregator_config(state: State, path: str | Path) -> dict[str, Any]:
    depth = len({k.split(".")[1] for k in state if k.startswith("mix.")})
    try:
        out_channels, out_rows = state["channel_proj.weight"].shape[0], state["row_proj.weight"].shape[0]
        cells = state["row_proj.weight"].shape[1]
        hidden = state["mix.0.mix.1.weight"].shape[0] if depth else cells
    except (KeyError, IndexError):
        seen = ", ".join(list(state)[:3]) or "no tensor"
        raise _unknown(path, f"an aggregator that is not MixVPR ({seen})") from None
    return {
        "_target_": "vpr.models.aggregators.mixvpr.MixVPR",
        **{"out_channels": out_channels, "out_rows": out_rows, "mix_depth": depth, "mlp_ratio": hidden / max(cells, 1)},
    }


def _source(path: str | Path, found: Mapping[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = {"project": "MixVPR", "file": Path(path).name, "layout": "bare state dict"}
    if "pytorch-lightning_version" in found:
        source["layout"] = f"Lightning {found['pytorch-lightning_version']}"
        source.update({k: int(found[k]) for k in ("epoch", "global_step") if isinstance(found.get(k), int)})
    return source


def _load(module: nn.Module, state: State, path: str | Path) -> None:
    own = {_own_name(k): k for k in module.state_dict()}
    try:
        module.load_state_dict({own.get(k, k): v for k, v in state.items()}, strict=True)
    except RuntimeError as error:
        details = " ".join(str(error).split())
        raise _unknown(
            path, f"tensors that do not fit a {type(module).__name__} at 320x320 pixels ({details})"
        ) from error


def _own_name(key: str) -> str:
    return key.removeprefix("model.")


def _shapes(state: State) -> Shapes:
    return {key: tuple(value.shape) for key, value in state.items()}


def _unknown(path: str | Path, seen: str) -> CheckpointError:
    names = ", ".join(dict.fromkeys(options["name"] for _, options in KNOWN))
    return CheckpointError(
        f"{path} holds {seen}. Known are the files of MixVPR and Lightweight-MixVPR: a bare state dict or a Lightning "
        f"checkpoint with backbone.model.* ({names}) and a MixVPR aggregator."
    )
