"""Export of a model: the files are written, run, measured, and kept where they are good enough."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import onnx

from vpr.errors import ConfigError
from vpr.export import folder as shipped
from vpr.export import parity, speed
from vpr.export.bundle import PlaceBundle
from vpr.export.graph import deployed, set_metadata, to_onnx
from vpr.models.describer import Describer
from vpr.retrieval.extractor import Extractor

PHOTOS = 16
"""Drawn photos on which a file is compared with its network."""


class Bounds(NamedTuple):
    """Limits beyond which a file is not kept.

    Attributes:
        difference: fp32: the largest difference of two numbers.
        cosine: int8, fp16: the least mean cosine of descriptors.
        recall_drop: points of R@1 lost; a loss counts where its whole paired interval is beyond.
    """

    difference: float = 1e-5
    cosine: float = 0.985
    recall_drop: float = 1.0


class Exporter:
    """Export of one model.

    Args:
        extractor: the model of a checkpoint, on the CPU.
        size: (height, width) of the images; None: that of the checkpoint.
        dynamic_size: the files take images of other sizes, too.

    Raises:
        ConfigError: the model takes no other size.
    """

    def __init__(
        self,
        extractor: Extractor,
        size: tuple[int, int] | None = None,
        dynamic_size: bool = False,
        bounds: Bounds = Bounds(),  # noqa: B008 - immutable
    ) -> None:
        self.extractor, self.dynamic_size, self.bounds = extractor, dynamic_size, bounds
        self.network = extractor.describer
        _check_size(self.network, size, dynamic_size)
        if size is not None:
            self.network.preprocess = self.network.preprocess._replace(size=size)

    def write(self, out: Path, bundle: PlaceBundle | None = None) -> list[str]:
        """Write the folder, whole or not at all; return what there is to say about it, line by line.

        Args:
            bundle: makes it a place bundle.

        Raises:
            ConfigError: the network cannot be exported, a file is not good enough, or `out` cannot be written.
        """
        network, preprocess = self.network, self.network.preprocess
        with shipped.new_folder(out) as folder:
            photos = shipped.drawn_photos(PHOTOS)
            pixels = shipped.pixels_of(photos, preprocess)
            model = to_onnx(deployed(network), self.dynamic_size)
            name, digest = self.extractor.name, self.extractor.digest
            record = self.extractor.record or {}
            common = shipped.facts(name, digest, network.dim, preprocess, self.dynamic_size, record)
            compared = parity.check_same(
                network, model.SerializeToString(), pixels, self.bounds.difference, "model.onnx"
            )
            for size in second_sizes(preprocess.size) if self.dynamic_size else ():
                self._check_at(size, model, photos)
            times = speed.measure(network, {"model.onnx": model.SerializeToString()})
            facts = {
                "precision": "fp32",
                "parity": compared._asdict(),
                "protocols": {},
                "cpu_ms": times["model.onnx"],
                "cpu_ms_eager": times[speed.EAGER],
            }
            set_metadata(model, shipped.metadata(common, facts))
            onnx.save(model, str(folder / "model.onnx"))
            golden = parity.run(parity.session(folder / "model.onnx"), pixels[: shipped.GOLDEN])
            shipped.write_training_images(folder, record)
            shipped.write_golden(folder, photos[: shipped.GOLDEN], pixels[: shipped.GOLDEN], {"model.onnx": golden})
            size_in_bytes = (folder / "model.onnx").stat().st_size
            shipped.write_texts(folder, common, {"model.onnx": {**facts, "bytes": size_in_bytes}})
            bundled = bundle.write(folder, ["model.onnx"]) if bundle else []
        return [
            f"model.onnx: {size_in_bytes / 1e6:.2f} MB, {len(model.graph.node)} nodes; {compared}",
            f"{times['model.onnx']:.1f} ms an image, the checkpoint {times[speed.EAGER]:.1f} ms (CPU, one thread)",
            *bundled,
            f"{out} has them, with describe.py, golden values and a README.",
        ]

    def _check_at(self, size: tuple[int, int], model: onnx.ModelProto, photos: list[bytes]) -> None:
        """Compare at another size, unless the network itself does not take it."""
        pixels = shipped.pixels_of(photos[:4], self.network.preprocess._replace(size=size))
        try:
            parity.describe(self.network, pixels)
        except Exception:  # networks refuse a size in many ways
            return
        what = f"model.onnx at {size[0]}x{size[1]}"
        parity.check_same(self.network, model.SerializeToString(), pixels, self.bounds.difference, what)


def second_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return other sizes (height, width) at which a file of dynamic size is checked: a multiple of strides, an odd one.

    A file can be right at the size that it was traced at alone.
    """
    height, width = size
    return [(height + 32, width + 64), (height + 13, width + 27)]


def _check_size(network: Describer, size: tuple[int, int] | None, dynamic: bool) -> None:
    fixed, own = bool(getattr(network.aggregator, "fixed_grid", False)), network.preprocess.size
    aggregator = type(network.aggregator).__name__
    if dynamic and network.fixed_size:
        kind = aggregator if fixed else type(network.backbone).__name__
        raise ConfigError(
            f"dynamic_size=true: {kind} takes images of one size alone. Leave it out: the files take {list(own)}."
        )
    if fixed and size not in (None, own):
        raise ConfigError(
            f"size={list(size or ())}: the weights of {aggregator} belong to images of {list(own)}. Leave it out."
        )
