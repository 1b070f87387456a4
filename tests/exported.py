"""Exported models for tests: a tiny network, its checkpoint, and .onnx files of it with the metadata of `export.py`."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from vpr import checkpoint
from vpr.models.describer import Describer, build_describer

SIZE = (48, 64)
CONFIG = {
    "name": "tiny",
    "backbone": {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "crop": [2, 3, 4]},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}


def tiny(seed: int = 0) -> Describer:
    """Return a random network of 64 dimensions whose descriptors of photos differ: its statistics are settled."""
    torch.manual_seed(seed)
    backbone = {**CONFIG["backbone"], "weights": "none"}  # type: ignore[dict-item]
    network = build_describer(backbone, CONFIG["agg"], {"size": list(SIZE)}).train()  # type: ignore[arg-type]
    with torch.no_grad():
        for _ in range(8):
            network(network.normalise(torch.randint(0, 256, (8, 3, *SIZE), dtype=torch.uint8)))
    return network.eval()


def save(path: Path, network: Describer, config: dict[str, Any] | None = None) -> str:
    """Write a network as a checkpoint, and return its digest."""
    backbone = {**CONFIG["backbone"], "weights": "none"}  # type: ignore[dict-item]
    checkpoint.save(path, network, {**CONFIG, "backbone": backbone, **(config or {})})
    return checkpoint.digest(checkpoint.read(path))


def export(path: Path, network: Describer, dynamic_size: bool = False, **metadata: Any) -> Path:
    """Write a network as an .onnx file; `metadata` go before those that it has by itself, None leaves an entry out."""
    height, width = network.preprocess.size
    axes = {0: "batch"} | ({2: "height", 3: "width"} if dynamic_size else {})
    images, buffer = torch.zeros(2, 3, height, width, dtype=torch.uint8), io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _WithNormalisation(network).eval(),  # the mode that it is put back into
            (images,),
            buffer,
            input_names=["images"],
            output_names=["descriptors"],
            dynamic_axes={"images": axes, "descriptors": {0: "batch"}},
            dynamo=False,
            opset_version=17,
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = network.dim
    values: dict[str, Any] = {
        **{"format": "vpr-onnx-1", "name": "tiny", "precision": "fp32", "digest": "0" * 64, "dim": network.dim},
        **{"size": [height, width], "dynamic_size": dynamic_size, "interpolation": network.preprocess.interpolation},
        **{"normalised": True, "preprocess": "Resize.", "versions": {}, "protocols": {}, "config": {}},
        **metadata,
    }
    texts = {k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in values.items() if v is not None}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, str(path))
    return path


class _WithNormalisation(nn.Module):
    def __init__(self, network: Describer) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.network.normalise(images))
