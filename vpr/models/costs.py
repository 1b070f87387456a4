"""Costs of a describer: parameters, multiply-accumulates, latency, bytes of a descriptor."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vpr.models.describer import Describer
from vpr.models.onnx_describer import OnnxDescriber


class Costs(NamedTuple):
    """Costs of describing one image of `image_size` = (height, width).

    Attributes:
        parameters: of the describer, frozen ones included; of an exported model the numbers in its graph.
        gmacs: multiply-accumulates of one forward pass in 10^9 (half of torch's count of FLOPs); convolutions,
            matrix products and attention, without activations and normalisation. None of an exported model.
        descriptor_bytes: of one descriptor in float32.
        latency_ms: median wall time of one image, uint8 on the device to descriptor, synchronised.
        latency_runs: number of runs that the median is of, after a warm-up.
        threads: of torch, or onnxruntime, on the CPU.
        device: name of the hardware that it ran on.
        precision: float32, or that of an exported model: fp32, fp16, int8.
    """

    parameters: int
    gmacs: float | None
    descriptor_bytes: int
    latency_ms: float
    latency_runs: int
    threads: int
    device: str
    image_size: tuple[int, int]
    precision: str = "float32"

    def plain(self) -> dict[str, Any]:
        """Return the costs as plain values, for JSON."""
        return {**self._asdict(), "image_size": list(self.image_size)}

    def message(self) -> str:
        """Return the costs as a line for the screen."""
        height, width = self.image_size
        gmacs = "" if self.gmacs is None else f" {self.gmacs:,.3g} GMACs,"
        return (
            f"{self.parameters / 1e6:,.2f} M parameters,{gmacs} {self.latency_ms:,.3g} ms an image of {height}x{width} "
            f"(median of {self.latency_runs} on {self.device}, {self.threads} threads, {self.precision}), "
            f"{self.descriptor_bytes:,} bytes a descriptor"
        )


def measure(
    describer: Describer | OnnxDescriber, device: torch.device | str, runs: int = 30, seconds: float = 10.0
) -> Costs:
    """Measure a describer at the image size of its preprocessing, on a device, in evaluation mode.

    Args:
        describer: ends on `device`, and in evaluation mode; an exported model is run by onnxruntime, on the CPU.
        runs: how many times the latency is taken; its median counts.
        seconds: on a slow device the runs end after this time, as many as there are.
    """
    device = torch.device(device)
    describer = describer.to(device).eval()
    size = describer.preprocess.size
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = images.to(device)
    exported = describer if isinstance(describer, OnnxDescriber) else None
    gmacs = None if exported else round(_gmacs(describer, images), 6)  # in passing the first warm-up
    times = _times(lambda: describer(describer.normalise(images)), device, runs, seconds)
    return Costs(
        parameters=exported.parameters_count if exported else sum(p.numel() for p in describer.parameters()),
        gmacs=gmacs,
        descriptor_bytes=4 * describer.dim,
        latency_ms=round(1000 * statistics.median(times), 4),
        latency_runs=len(times),
        threads=torch.get_num_threads(),
        device=device_name(device),
        image_size=(size[0], size[1]),
        precision=exported.info.precision if exported else "float32",
    )


def device_name(device: torch.device) -> str:
    """Return the name of the hardware as far as torch knows it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


def _gmacs(describer: Any, images: torch.Tensor) -> float:
    """Count with attention as the matrix products that it is: not every fused kernel has a formula."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        describer(describer.normalise(images))
    return counter.get_total_flops() / 2e9


def _times(run: Callable[[], object], device: torch.device, runs: int, seconds: float, warm_up: int = 5) -> list[float]:
    """Return the wall times of `runs` calls in seconds; fewer, but one, where all of them would take too long."""
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    with torch.inference_mode():
        while len(times) < warm_up + runs and (not times or time.perf_counter() < deadline):
            _synchronise(device)
            began = time.perf_counter()
            run()
            _synchronise(device)
            times.append(time.perf_counter() - began)
    return times[warm_up:] or times[-1:]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
