"""Smaller files: int8 by calibration on photos, and fp16."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from vpr.data.image_digests import image_digests, seen_images
from vpr.data.images import decode
from vpr.data.retrieval_set import RetrievalSet
from vpr.data.transforms import EvalTransform, stack_images
from vpr.errors import ConfigError
from vpr.export.graph import BACKBONE, INPUT
from vpr.export.parity import session
from vpr.types import Preprocess

ACTIVATIONS = ("Clip", "Relu")
"""Operators that are quantised beside Conv: the range of a convolution is to be taken behind its activation."""
CORRECTION_IMAGES = 16
"""Calibration photos from which the errors of the biases are taken."""
LEAST_SHARE = 0.5
"""Share of the numbers of a model that must lie in convolutions, for int8 to be worth a file."""
FP32_OPERATORS = ("Pow", "ReduceL2", "ReduceMean", "ReduceSum", "LayerNormalization", "Softmax", "LogSoftmax", "Exp")
"""Operators that stay in float32 in an fp16 file: powers and sums overflow at 65504."""


class Photos(CalibrationDataReader):
    """Pixels (N, 3, H, W) uint8 as the calibration reads them, one image after another."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.images = iter(pixels)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self.images, None)
        return None if image is None else {INPUT: image[None]}


def to_int8(model: ModelProto, pixels: np.ndarray) -> tuple[ModelProto, list[str]]:
    """Quantise the backbone's convolutions and their activations: uint8 values, int8 weights, a scale per channel.

    Weights take 7 of their 8 bits. The ranges of the values are the least and the largest that `pixels` (N, 3, H, W)
    uint8 lead to. Normalisation and aggregator stay in float32: they are cheap, and their values have long tails.

    Returns:
        the model, and the types of the nodes that stay as they are.

    Raises:
        ConfigError: less than half of the model's numbers lie in convolutions, as in vision transformers.
    """
    share = convolutional_share(model)
    if share < LEAST_SHARE:
        raise ConfigError(
            f"precision=int8 quantises convolutions, and {share:.0%} of this model's numbers lie in those of its "
            "backbone: the file would hardly be smaller. Type precision=fp16, which halves it."
        )
    kinds = ("Conv", *ACTIVATIONS)
    others = [node.name for node in model.graph.node if node.op_type in kinds and not in_backbone(node)]
    with tempfile.TemporaryDirectory(prefix="vpr-") as folder, _few_words():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            _copy(model),  # it changes what it is given
            target,
            Photos(pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(kinds),
            nodes_to_exclude=others,
            per_channel=True,
            reduce_range=True,  # weights of 7 bits: without VNNI, sums of two products of 8 bits overflow 16
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(str(target))
    _correct_biases(model, quantised, pixels[spread(len(pixels), CORRECTION_IMAGES)])
    kept = sorted({node.op_type for node in model.graph.node if node.op_type not in kinds or node.name in others})
    return quantised, kept


def calibration_pixels(photos: Sequence[Path], preprocess: Preprocess, sets: Sequence[RetrievalSet]) -> np.ndarray:
    """Return the pixels (N, 3, H, W) uint8 of photos, none of which may be a photo of the sets that are measured on.

    Raises:
        ConfigError: some of them are, by the digests of the files.
        DataError: a photo cannot be read.
    """
    digests = image_digests(photos)
    for retrieval_set in sets:
        seen = sum(seen_images(retrieval_set, digests))
        if seen:
            raise ConfigError(
                f"{seen:,} of the {len(photos):,} calibration photos are photos of {retrieval_set.protocol.id}, "
                "on which the file is to be measured: it would be fitted to them. Type another calibration=, or "
                "another verify=."
            )
    resize = EvalTransform(preprocess)
    return stack_images([resize(decode(Path(path), resize.enough)) for path in photos]).numpy()


def _correct_biases(model: ModelProto, quantised: ModelProto, pixels: np.ndarray) -> None:
    """Take the mean error out of each convolution's channels, layer by layer, by its bias.

    Rounded weights shift the mean of a channel, and the layers behind add to it (Nagel et al., ICCV 2019, section 4.2).
    Errors are those of the outputs before the activation, with the layers in front corrected already.

    Args:
        quantised: is changed in place.
        pixels: (N, 3, H, W) uint8 of the calibration.
    """
    layers = [node for node in model.graph.node if node.op_type == "Conv" and in_backbone(node)]
    expected = dict(zip([node.name for node in layers], _outputs(model, layers, pixels), strict=True))
    nodes = {node.name: node for node in quantised.graph.node}
    numbers = {tensor.name: tensor for tensor in quantised.graph.initializer}
    sources = {node.output[0]: node for node in quantised.graph.node if node.op_type == "DequantizeLinear"}
    for layer in layers:
        node = nodes[layer.name]
        if len(node.input) < 3 or node.input[2] not in sources:
            continue
        (actual,) = _outputs(quantised, [node], pixels)
        error = (expected.pop(layer.name).astype(np.float64) - actual).mean((0, 2, 3))
        bias, scale = (numbers[name] for name in sources[node.input[2]].input[:2])
        steps = np.round(error / numpy_helper.to_array(scale)).astype(np.int64)
        limits = np.iinfo(np.int32)
        values = (numpy_helper.to_array(bias).astype(np.int64) + steps).clip(limits.min, limits.max).astype(np.int32)
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))


def _outputs(model: ModelProto, nodes: Sequence[onnx.NodeProto], pixels: np.ndarray) -> list[np.ndarray]:
    """Return the outputs (N, C, h, w) of some nodes, each computed as it stands in the graph."""
    copy, names = _copy(model), [node.output[0] for node in nodes]
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return session(copy.SerializeToString(), as_it_stands=True).run(names, {INPUT: pixels})


def to_fp16(model: ModelProto) -> ModelProto:
    """Return a model whose weights are float16; `FP32_OPERATORS` and the descriptors stay float32."""
    copy = ModelProto()
    copy.CopyFrom(model)
    with _few_words():
        return convert_float_to_float16(
            copy, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *FP32_OPERATORS]
        )


def in_backbone(node: onnx.NodeProto) -> bool:
    """Tell whether a node belongs to the backbone, by its name."""
    return node.name.startswith(BACKBONE)


def convolutional_share(model: ModelProto) -> float:
    """Return the share (0..1) of a model's numbers that are weights of its backbone's convolutions."""
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv" and in_backbone(node)}
    return sum(sizes.get(name, 0) for name in weights) / max(sum(sizes.values()), 1)


def spread(count: int, most: int) -> Sequence[int]:
    """Return `most` of the numbers 0..count - 1, evenly spaced; all of them where they are fewer."""
    return sorted(set(np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()))


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


@contextmanager
def _few_words() -> Iterator[None]:
    """Keep the tools from advising: their warnings are about choices that were made here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
