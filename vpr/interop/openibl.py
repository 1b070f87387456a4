"""Checkpoints published with OpenIBL (Ge et al., SFRS, 2020) and WAKD (2022), as ordinary ones of ours.

Training writes {'state_dict', 'epoch', 'generation', 'best_recall5'}; torch.hub has a bare state dict. Its tensors are
named `base_model.*`, `net_vlad.*` and, where a PCA was appended, `pca_layer.*`. All were fed mean-subtracted values of
0..255, and are measured at 480x640 pixels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from vpr.interop.published import Known, Published, State, assemble, known_backbone, names, node_of, read_published
from vpr.models.aggregators.netvlad import CHECKPOINT, NetVLAD
from vpr.models.aggregators.projected import projected_node
from vpr.models.backbones.mobilenet_v3_wakd import MobileNetV3WAKD, gate_of, our_names
from vpr.models.backbones.resnet import ResNet
from vpr.models.backbones.vgg import VGG

IMAGE = {  # conf/image/matconvnet.yaml
    "size": [480, 640],
    "mean": [0.48501960784313836, 0.4579568627450961, 0.4076039215686255],
    "std": [0.00392156862745098, 0.00392156862745098, 0.00392156862745098],
    "interpolation": "bilinear",
}
KNOWN: list[Known] = [
    *((VGG, {"name": name}) for name in ("vgg16", "vgg19_bn")),
    *((MobileNetV3WAKD, {"name": f"mobilenet_v3_{size}_wakd"}) for size in ("large", "small")),
    *((ResNet, {"name": name}) for name in ("resnet50", "resnet152")),
]
LAYOUT = f"the files of OpenIBL and WAKD, with base_model.* ({names(KNOWN)}), net_vlad.* and perhaps pca_layer.*"
PARTS = ("base_model", "net_vlad", "pca_layer")
TRAINING = {"epoch": int, "generation": int, "best_recall5": float}


def recognises(state: State) -> bool:
    """Tell whether this is such a file, of a known backbone or not."""
    return any(key.startswith(("base_model.", "net_vlad.")) for key in state)


def convert(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ours (see `vpr.checkpoint.write`) made from a file of OpenIBL or WAKD.

    Raises:
        CheckpointError: the file cannot be read, or is none of the layouts and backbones that are known.
    """
    return convert_file(read_published(path, LAYOUT))


def convert_file(file: Published) -> dict[str, Any]:
    """Return the same of a file that has been read; errors as of `convert`."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for key, value in file.state.items():
        part, _, name = key.partition(".")
        if part not in parts:
            raise file.unknown(f"a tensor {key}, which is none of {', '.join(f'{p}.*' for p in PARTS)}")
        parts[part][name] = value
    vlad, pca = parts["net_vlad"], parts["pca_layer"]
    node, weights = known_backbone(file, _our_backbone(parts["base_model"]), KNOWN)
    gate = gate_of(parts["base_model"])
    agg = _aggregator(vlad, pca, file)
    inner = "aggregator.aggregator." if pca else "aggregator."
    weights |= {f"{inner}{k}": v for k, v in vlad.items()}
    weights |= {f"aggregator.projection.{k}": v.flatten(1) if v.ndim > 1 else v for k, v in pca.items()}
    source = file.source("OpenIBL, WAKD", "state_dict of training", **TRAINING)
    return assemble(file, {**node, "gate": gate} if gate else node, agg, IMAGE, weights, source)


def _our_backbone(theirs: State) -> dict[str, Tensor]:
    """Return the tensors under our names, without the ResNets' classifier, which takes no part."""
    used = {k: v for k, v in theirs.items() if not k.startswith("model.fc.")}
    ours = our_names(used)
    return {re.sub(r"^base\.", "features.", ours[k]): v for k, v in used.items()}


def _aggregator(vlad: State, pca: State, file: Published) -> dict[str, Any]:
    if set(vlad) != {"centroids", "conv.weight"} or vlad["centroids"].ndim != 2:
        raise file.unknown(f"an aggregator that is not NetVLAD ({', '.join(vlad) or 'no tensor'})")
    if pca and (not pca.keys() <= {"weight", "bias"} or "weight" not in pca or pca["weight"].ndim != 4):
        raise file.unknown(f"a pca_layer that is no convolution ({', '.join(pca)})")
    node = node_of(NetVLAD, clusters=len(vlad["centroids"]), centroids=CHECKPOINT)
    return projected_node(node, len(pca["weight"]), bias="bias" in pca) if pca else node
