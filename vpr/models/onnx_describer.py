"""Exported model: the .onnx file that `export.py` writes, run by onnxruntime behind the interface of a describer.

Its metadata tell it from other .onnx files and say how images come to it: `OnnxInfo`. Normalisation is a part of the
graph, so that nothing but a resize stands before it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vpr.errors import CheckpointError, ConfigError
from vpr.types import Preprocess

FORMAT = "vpr-onnx-1"
SUFFIX = ".onnx"
INSTALL = 'pip install "vpr-distill[export]"'
REMEDY = "Export it again: python export.py ckpt=PATH."
JSON = ("size", "dim", "dynamic_size", "normalised", "versions", "protocols", "config", "training_images")
"""Entries of the metadata that are JSON; the others are text."""

TRAINING_IMAGES = "training_images.npy"
"""File beside an exported model, (n,) int64: digests of the images that its checkpoint was trained on."""

# The network of an exported model has weights that no tensor of torch holds: these turn uint8 values into themselves.
IDENTITY = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255)}


class OnnxInfo(NamedTuple):
    """Metadata of an exported model.

    Attributes:
        name: of the run or file that it was made from.
        precision: fp32, fp16 or int8.
        origin: digest of the checkpoint that it was made from (`vpr.checkpoint.digest`).
        dim: dimensions of a descriptor.
        preprocess: size and interpolation of its images; mean and deviation are such that uint8 values stay themselves.
        dynamic_size: it takes images of other sizes, too.
        metadata: all entries, those of `JSON` as plain values.
    """

    name: str
    precision: str
    origin: str
    dim: int
    preprocess: Preprocess
    dynamic_size: bool
    metadata: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Name for tables and protocol ids: that of the checkpoint, with the precision where it is another one."""
        return self.name if self.precision == "fp32" else f"{self.name}-{self.precision}"


def is_exported(path: str | PathLike[str]) -> bool:
    """Tell by its suffix whether a file is meant as an exported model."""
    return Path(path).suffix.lower() == SUFFIX


def file_digest(path: str | PathLike[str]) -> str:
    """Return a SHA-256 of a file's bytes: the identity of an exported model, for indices and caches."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OnnxDescriber(nn.Module):
    """Exported model as a network: uint8 images (B, 3, H, W) in, descriptors (B, dim) float32 of unit norm out.

    It computes on the CPU, by as many threads as torch does, wherever its images are; descriptors are returned there.
    Floating-point images are rounded to whole numbers 0..255: so it is a teacher as any other network, which gets
    `(x / 255 - mean) / std` of its own `preprocess`.

    Attributes:
        info: its metadata.

    Raises:
        CheckpointError: the file is missing, damaged, of another program, or its metadata are not complete.
        ConfigError: onnxruntime is not installed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, path: str | PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        self.session = _session(self.path)
        self.info = _info(self.path, self.session.get_modelmeta().custom_metadata_map)
        _check_interface(self.path, self.session, self.info.dim)
        self.register_buffer("mean", torch.tensor(self.preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(self.preprocess.std).view(3, 1, 1), persistent=False)
        self.eval()

    @property
    def dim(self) -> int:
        """Dimensions of a descriptor."""
        return self.info.dim

    @property
    def preprocess(self) -> Preprocess:
        """Size and interpolation of its images."""
        return self.info.preprocess

    @property
    def fixed_size(self) -> bool:
        """Whether images of other sizes than `preprocess.size` cannot be described."""
        return not self.info.dynamic_size

    @cached_property
    def parameters_count(self) -> int:
        """Numbers in the initialisers of its graph; those of normalisation and of int8 scales are among them."""
        try:
            import onnx
        except ImportError:
            raise ConfigError(f"The parameters of {self.path} are counted by the package onnx: {INSTALL}") from None
        graph = onnx.load(str(self.path), load_external_data=False).graph
        return sum(math.prod(tensor.dims) for tensor in graph.initializer)

    def training_images(self) -> np.ndarray:
        """Return the digests (n,) int64 of the images that its checkpoint was trained on, as far as that says.

        Raises:
            CheckpointError: the file with them is not beside it.
        """
        count, beside = int(self.info.metadata.get("training_images", 0)), self.path.with_name(TRAINING_IMAGES)
        if not count:
            return np.empty(0, np.int64)
        try:
            images = np.load(beside, allow_pickle=False)
            if images.shape != (count,) or images.dtype != np.int64:
                raise ValueError(f"it holds {images.shape} of {images.dtype} instead of ({count},) of int64")
        except Exception as error:  # numpy parses a damaged header as Python, with errors of all sorts
            raise CheckpointError(
                f"{beside} cannot be used ({error}). It says on which images {self.path.name} was trained, so that an "
                "evaluation can tell whether it measures on them. Copy it from the folder that export.py wrote."
            ) from error
        return images

    def normalise(self, images: Tensor) -> Tensor:
        """Return uint8 images (B, 3, H, W) as they are."""
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Return descriptors (B, dim) float32 of images (B, 3, H, W), uint8 or floats in 0..255, on their device.

        Raises:
            ConfigError: images of another size than the only one that it takes.
        """
        size = tuple(images.shape[-2:])
        if self.fixed_size and size != self.preprocess.size:
            raise ConfigError(
                f"{self.path} was exported for images of {list(self.preprocess.size)} pixels, and these are "
                f"{list(size)}. Leave the other size out, or export it with size={list(size)} or dynamic_size=true."
            )
        if images.is_floating_point():
            images = images.round().clamp(0, 255).to(torch.uint8)
        pixels = np.ascontiguousarray(images.cpu().numpy())
        (descriptors,) = self.session.run(["descriptors"], {"images": pixels})
        return torch.from_numpy(descriptors).to(images.device)


def _session(path: Path) -> Any:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder. Give the path of a file, e.g. {path / 'model.onnx'}.")
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).")
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(f"{path} is an exported model, which onnxruntime runs. Type {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what is wrong is said here
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an error class for each of many ways
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged, or no .onnx file that onnxruntime "
            f"{onnxruntime.__version__} can run. Copy it again. {REMEDY}"
        ) from error


def _info(path: Path, texts: Mapping[str, str]) -> OnnxInfo:
    """Return the metadata of a file; CheckpointError where it is none of ours, or they are not complete."""
    written = texts.get("format")
    if written is None or not written.startswith("vpr-onnx"):
        raise CheckpointError(
            f"{path} was not written by export.py: its metadata have no format {FORMAT}, and do not say how images "
            "are brought to it. Export the checkpoint that it was made from: python export.py ckpt=PATH."
        )
    if written != FORMAT:
        raise CheckpointError(f"{path} has the format {written}, and {FORMAT} is read here. {REMEDY}")
    try:
        metadata = {key: json.loads(text) if key in JSON else text for key, text in texts.items()}
        height, width = (int(side) for side in metadata["size"])
        preprocess = Preprocess((height, width), interpolation=str(metadata["interpolation"]), **IDENTITY)
        precision, dim, dynamic = str(metadata["precision"]), int(metadata["dim"]), metadata["dynamic_size"] is True
        good = min(height, width, dim) > 0 and metadata["normalised"] is True
        if not good or precision not in ("fp32", "fp16", "int8"):
            raise ValueError("an entry has an impossible value")
        return OnnxInfo(str(metadata["name"]), precision, str(metadata["digest"]), dim, preprocess, dynamic, metadata)
    except KeyError as error:
        raise CheckpointError(f"{path} lacks the entry {error.args[0]} in its metadata. {REMEDY}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"The metadata of {path} are damaged ({error}). {REMEDY}") from error


def _check_interface(path: Path, session: Any, dim: int) -> None:
    """Raise CheckpointError where a graph does not take uint8 `images` and give `descriptors` of `dim` numbers."""
    takes = [(node.name, node.type, len(node.shape)) for node in session.get_inputs()]
    gives = [(node.name, node.type, node.shape[1:]) for node in session.get_outputs()]
    expected = [("images", "tensor(uint8)", 4)], [("descriptors", "tensor(float)", [dim])]
    if (takes, gives) != expected:
        raise CheckpointError(
            f"{path} does not fit its metadata: it takes {takes} and gives {gives}, and not {expected[0]} and "
            f"{expected[1]}. {REMEDY}"
        )
