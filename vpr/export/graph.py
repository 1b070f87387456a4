"""Graph of a describer: an ONNX file that takes uint8 images and gives descriptors, normalisation inside."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import onnx
import onnxslim
import torch
import torch.nn.functional as F
from onnx import ModelProto
from timm.utils.model import reparameterize_model
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vpr.errors import ConfigError
from vpr.models.describer import Describer

OPSET = 17
INPUT, OUTPUT = "images", "descriptors"
BACKBONE = "/network/backbone/"
"""Beginning of the names of the nodes that the backbone became."""


class UInt8Network(nn.Module):
    """Describer in one piece: uint8 images (B, 3, H, W) -> descriptors (B, dim) float32, rows of unit norm."""

    def __init__(self, network: Describer) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.network.normalise(images))


class Matrices(TorchFunctionMode):
    """Adaptive average pooling and antialiased resizing as products with matrices, in place of torch's operators.

    Both are linear along height and along width, and ONNX has no operator for either. Within this mode they become
    `A_h X A_w^T`. A pooling matrix is computed from the size of its input, in the graph where that is dynamic. A
    resizing matrix is a constant of the sizes that a first pass, outside of tracing, has met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resizing: dict[tuple[int, int, str], Tensor] = {}

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if function is F.adaptive_avg_pool2d:
            return self._pool(*args, **options)
        if function is F.interpolate and options.get("antialias"):
            return self._resize(*args, **options)
        return function(*args, **options)

    def _pool(self, input: Tensor, output_size: Any) -> Tensor:
        rows, columns = output_size if isinstance(output_size, list | tuple) else (output_size, output_size)
        height, width = input.shape[-2:]
        return _pooling(rows, height) @ input @ _pooling(columns, width).T

    def _resize(
        self, input: Tensor, size: Any = None, *, mode: str = "nearest", antialias: bool, **rest: Any
    ) -> Tensor:
        if size is None or rest.get("align_corners"):
            return F.interpolate(input, size, mode=mode, antialias=antialias, **rest)
        rows, columns = (int(side) for side in size)
        height, width = (int(side) for side in input.shape[-2:])
        return self._resizing(rows, height, mode) @ input @ self._resizing(columns, width, mode).T

    def _resizing(self, out: int, size: int, mode: str) -> Tensor:
        """Return (out, size): the columns are what becomes of the unit vectors."""
        key = (out, size, mode)
        if key not in self.resizing:
            unit = torch.eye(size)[None, None]
            self.resizing[key] = F.interpolate(unit, (out, size), mode=mode, antialias=True)[0, 0]
        return self.resizing[key]


def _pooling(cells: int | None, size: Any) -> Tensor:
    """Return (cells, size): row i is the mean over floor(i size / cells) .. ceil((i + 1) size / cells)."""
    if cells is None or cells == 1:
        return torch.ones(1, size) / size if cells else torch.eye(size)
    starts = torch.arange(cells) * size // cells
    ends = ((torch.arange(cells) + 1) * size + cells - 1) // cells
    places = torch.arange(size)
    inside = ((places >= starts[:, None]) & (places < ends[:, None])).float()
    return inside / inside.sum(dim=1, keepdim=True)


def deployed(describer: Describer) -> Describer:
    """Return a copy of a describer as it is deployed: on the CPU, float32, branches of RepViT and its like merged."""
    copy = deepcopy(describer).cpu().double().eval()  # branches are merged in double precision
    copy.backbone = reparameterize_model(copy.backbone, inplace=True)  # type: ignore[assignment]
    copy.backbone.keep_size(*describer.preprocess.size)
    return copy.float()


def to_onnx(describer: Describer, dynamic_size: bool = False) -> ModelProto:
    """Trace a describer at the size of its `preprocess`, and simplify the graph.

    Args:
        describer: as `deployed` returns it.
        dynamic_size: height and width are dynamic as well as the batch.

    Raises:
        ConfigError: an operator of the network has no counterpart, or the network takes no images of that size.
    """
    height, width = describer.preprocess.size
    network, images = UInt8Network(describer).eval(), torch.zeros(2, 3, height, width, dtype=torch.uint8)
    axes = {0: "batch"} | ({2: "height", 3: "width"} if dynamic_size else {})
    buffer = io.BytesIO()
    with torch.no_grad(), Matrices(), _plain_attention():
        try:
            network(images)
        except Exception as error:  # networks refuse a size in many ways
            raise ConfigError(
                f"The model takes no images of {height}x{width} pixels ({_first_line(error)}). Type another size, or "
                "none: size=null is the one that it was made for."
            ) from error
        try:
            with _quiet():
                torch.onnx.export(
                    network,
                    (images,),
                    buffer,  # type: ignore[arg-type]
                    opset_version=OPSET,
                    input_names=[INPUT],
                    output_names=[OUTPUT],
                    dynamic_axes={INPUT: axes, OUTPUT: {0: "batch"}},
                    dynamo=False,
                )
        except Exception as error:
            raise ConfigError(
                f"The network cannot be exported: {_first_line(error)}. An operator that ONNX lacks must be written "
                "with others that it has; see Matrices in vpr/export/graph.py."
            ) from error
    with _quiet():
        model = onnxslim.slim(onnx.load_from_string(buffer.getvalue()))
    _name_axes(model, axes, describer)
    onnx.checker.check_model(model)
    return model


def set_metadata(model: ModelProto, metadata: Mapping[str, str]) -> None:
    """Replace the metadata of a model."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))


def _name_axes(model: ModelProto, axes: Mapping[int, str], describer: Describer) -> None:
    """Give the axes of input and output their names, and the fixed ones their numbers."""
    shapes: dict[str, list[int | str]] = {
        INPUT: [axes.get(i, side) for i, side in enumerate((0, 3, *describer.preprocess.size))],
        OUTPUT: ["batch", describer.dim],
    }
    for value in (*model.graph.input, *model.graph.output):
        for axis, side in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            axis.Clear()
            if isinstance(side, str):
                axis.dim_param = side
            else:
                axis.dim_value = side


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Have transformers run layer by layer: the fused layer of torch has no counterpart."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from printing, in Python and below it: hundreds of lines where it fails, and warnings."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(sink, stream)
        words = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            warnings.simplefilter("ignore")
            yield
    finally:
        for stream, before in zip((1, 2), kept, strict=True):
            os.dup2(before, stream)
            os.close(before)
        os.close(sink)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".:")
