"""Parity: an exported file run on the same pixels as the network that it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch

from vpr.errors import ConfigError
from vpr.export.graph import INPUT, OUTPUT
from vpr.models.describer import Describer

FP32_COSINE = 0.99999
"""Least cosine between descriptors of the network and of its fp32 file."""
BLOCK = 4096  # rows compared at once


class Parity(NamedTuple):
    """Descriptors of a file against those of the network, of the same images.

    Attributes:
        images: number of images.
        max_difference: largest absolute difference of two numbers.
        cosine, cosine_p1, cosine_min: mean, first percentile and least of the cosines of the two descriptors.
    """

    images: int
    max_difference: float
    cosine: float
    cosine_p1: float
    cosine_min: float

    @classmethod
    def of(cls, *pairs: tuple[np.ndarray, np.ndarray]) -> Parity:
        """Compare descriptors: pairs of (N, D) arrays, float32 or float16, maps of files too; read in blocks."""
        cosines, largest = [], 0.0
        for expected, actual in pairs:
            for start in range(0, len(expected), BLOCK):
                one, other = (np.asarray(rows[start : start + BLOCK], np.float64) for rows in (expected, actual))
                largest = max(largest, float(np.abs(one - other).max()))
                cosines.append((one * other).sum(1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)))
        every = np.concatenate(cosines)
        numbers = (largest, every.mean(), np.quantile(every, 0.01), every.min())
        return cls(len(every), *(round(float(number), 9) for number in numbers))

    def __str__(self) -> str:
        return (
            f"cosine mean {self.cosine:.5f}, first percentile {self.cosine_p1:.5f}, largest difference "
            f"{self.max_difference:.1e}, of {self.images:,} images"
        )


def session(model: Path | bytes, threads: int = 1, as_it_stands: bool = False) -> onnxruntime.InferenceSession:
    """Open a file, or its bytes, on the CPU; `as_it_stands` without any nodes fused, so that each has its output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if as_it_stands:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source: Any = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(model: onnxruntime.InferenceSession, pixels: np.ndarray, batch: int = 4) -> np.ndarray:
    """Return descriptors (N, D) float32 of pixels (N, 3, H, W) uint8."""
    return np.concatenate([model.run([OUTPUT], {INPUT: part})[0] for part in _parts(pixels, batch)])


def describe(network: Describer, pixels: np.ndarray, batch: int = 4) -> np.ndarray:
    """Return descriptors (N, D) float32 of pixels (N, 3, H, W) uint8, by the network itself."""
    with torch.inference_mode():
        parts = (network.normalise(torch.from_numpy(part)) for part in _parts(pixels, batch))
        return np.concatenate([network(part).float().numpy() for part in parts])


def check_same(network: Describer, model: Path | bytes, pixels: np.ndarray, bound: float, what: str) -> Parity:
    """Return the parity of an fp32 file at batches of 1 and 4.

    Raises:
        ConfigError: a number differs by more than `bound`, or a cosine is below `FP32_COSINE`; `what` names the file.
    """
    opened, expected = session(model), describe(network, pixels)
    try:
        actual = [run(opened, pixels, batch) for batch in (1, 4)]
    except Exception as error:  # onnxruntime has an error class for each of many ways
        raise ConfigError(f"{what} was written and cannot be run: {str(error).splitlines()[0]}") from error
    parity = Parity.of(*((expected, rows) for rows in actual))._replace(images=len(pixels))
    if not (parity.max_difference <= bound and parity.cosine_min >= FP32_COSINE):
        raise ConfigError(
            f"{what} does not give the descriptors of its checkpoint, and was not kept: {parity}; allowed are "
            f"differences of {bound:g} and cosines from {FP32_COSINE}. If the network is sound (its descriptors differ "
            f"from photo to photo), type bound.difference={10 * parity.max_difference:.0e} to have it all the same."
        )
    return parity


def _parts(pixels: np.ndarray, batch: int) -> Iterator[np.ndarray]:
    return (pixels[start : start + batch] for start in range(0, len(pixels), batch))
