"""Export of a model: the files are written, run, measured, and kept where they are good enough."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import ModelProto
from torch import nn

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.export import folder as shipped
from vpr.export import parity, speed
from vpr.export.bundle import PlaceBundle
from vpr.export.graph import deployed, set_metadata, to_onnx
from vpr.export.parity import Parity
from vpr.export.quantise import calibration_pixels, to_fp16, to_int8
from vpr.models.describer import Describer
from vpr.retrieval.evaluate import EvalOptions, Evaluation, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.metrics import paired_interval

PHOTOS = 16
"""Drawn photos on which a file is compared with its network."""
FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
FP32 = FILES["fp32"]
FASTER = 0.95
"""Share of the fp32 file's time below which a smaller file counts as faster."""


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


class Change(NamedTuple):
    """R@1 of a file against that of its checkpoint, percent; `low`, `high`: 95 % of the change, paired by query."""

    before: float
    after: float
    low: float
    high: float

    @classmethod
    def between(cls, before: Evaluation, after: Evaluation) -> Change:
        """Compare two evaluations of one set by their first k, which is 1."""
        first, second = (result.hits[result.counted, 0] for result in (before, after))
        low, high = paired_interval(first, second)
        return cls(*(round(100 * float(value), 3) for value in (first.mean(), second.mean(), low, high)))

    def __str__(self) -> str:
        change = f"{self.after - self.before:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"
        return f"{self.before:.1f} -> {self.after:.1f} ({change})"


@dataclass
class Written:
    """File of an export, and what was measured on it.

    Attributes:
        precision: fp32, fp16 or int8.
        facts: beside those that all files share: for its metadata.
        parity: of its descriptors to the checkpoint's.
        changes: of R@1, by protocol id.
    """

    precision: str
    model: ModelProto
    facts: dict[str, Any]
    parity: Parity
    changes: dict[str, Change] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return FILES[self.precision]

    def refusal(self, bounds: Bounds) -> str:
        """Return why the file is not good enough, and what to try; empty where it is."""
        faults = []
        if self.parity.cosine < bounds.cosine:
            faults.append(f"{self.parity}; bound.cosine={bounds.cosine:g}")
        lost = {id: change for id, change in self.changes.items() if change.high < -bounds.recall_drop}
        faults += [f"R@1 on {id} {change}; bound.recall_drop={bounds.recall_drop:g}" for id, change in lost.items()]
        if not faults:
            return ""
        drop = max((-change.high for change in lost.values()), default=0.0)
        override = (
            f"bound.cosine={max(self.parity.cosine - 0.001, 0):.3f}" if self.parity.cosine < bounds.cosine else ""
        )
        override += f" bound.recall_drop={drop + 0.1:.1f}" if lost else ""
        return (
            f"{self.name} was not kept: {'; '.join(faults)}. Try calibration photos that are more like yours "
            "(calibration=FOLDER), precision=fp16, or another backbone, trained to the end: some networks do not stand "
            f"int8. {override.strip()} keeps it all the same."
        )


class Report(NamedTuple):
    """Outcome of an export: lines to be shown, the files that were kept, and why others were not."""

    lines: list[str]
    files: list[str]
    refused: list[str]


class Exporter:
    """Export of one model.

    Args:
        extractor: the model of a checkpoint, on the CPU.
        precisions: of `FILES`; fp32 is written in any case.
        size: (height, width) of the images; None: that of the checkpoint.
        dynamic_size: the files take images of other sizes, too.
        bounds: beyond which a file is not kept.
        calibration: photos by which int8 is calibrated.
        sets: labelled sets on which recalls are compared.
        options: of the evaluations; `ks` begin with 1.

    Raises:
        ConfigError: the model takes no other size.
    """

    def __init__(
        self,
        extractor: Extractor,
        precisions: Sequence[str] = ("fp32",),
        *,
        size: tuple[int, int] | None = None,
        dynamic_size: bool = False,
        bounds: Bounds = Bounds(),  # noqa: B008 - immutable
        calibration: Sequence[Path] = (),
        sets: Sequence[RetrievalSet] = (),
        options: EvalOptions = EvalOptions(),  # noqa: B008 - immutable
    ) -> None:
        self.extractor, self.dynamic_size, self.bounds = extractor, dynamic_size, bounds
        self.preferred = precisions[0] if precisions else "fp32"
        self.precisions = [name for name in FILES if name in ("fp32", *precisions)]
        self.calibration, self.sets, self.options = list(calibration), list(sets), options
        self.network = extractor.network("An export", "Give the checkpoint that it was made from.")
        _check_size(self.network, size, dynamic_size)
        if size is not None:
            self.network.preprocess = self.network.preprocess._replace(size=size)

    def write(self, out: Path, bundle: PlaceBundle | None = None) -> Report:
        """Write the folder, whole or not at all: fp32 must be good enough, other files are left out where they are not.

        Args:
            bundle: makes it a place bundle, whose queries the first of `precisions` describes, if it is kept.

        Raises:
            ConfigError: the network cannot be exported, fp32 is not good enough, or `out` cannot be written.
            DataError: a photo cannot be read.
        """
        preprocess, record = self.network.preprocess, self.extractor.record or {}
        with shipped.new_folder(out) as folder:
            photos = shipped.drawn_photos(PHOTOS)
            pixels = shipped.pixels_of(photos, preprocess)
            shipped.write_training_images(folder, record)
            common = shipped.facts(
                self.extractor.name, self.extractor.digest, self.network.dim, preprocess, self.dynamic_size, record
            )
            files = self._files(pixels, photos)
            before = self._measure(files, folder, common)
            refused = {file.name: text for file in files if (text := file.refusal(self.bounds))}
            if FP32 in refused:
                raise ConfigError(refused[FP32])
            for name in refused:
                (folder / name).unlink()
            files = [file for file in files if file.name not in refused]
            times = speed.measure(self.network, {file.name: file.model.SerializeToString() for file in files})
            common |= {"checkpoint": {"protocols": before, "cpu_ms": times[speed.EAGER]}}
            golden, listed = {}, {}
            for file in files:
                file.facts["cpu_ms"] = times[file.name]
                self._save(file, folder, common)
                golden[file.name] = parity.run(parity.session(folder / file.name), pixels[: shipped.GOLDEN])
                listed[file.name] = {**file.facts, "bytes": (folder / file.name).stat().st_size}
            shipped.write_golden(folder, photos[: shipped.GOLDEN], pixels[: shipped.GOLDEN], golden)
            shipped.write_texts(folder, common, listed)
            chosen = sorted(listed, key=lambda name: name != FILES[self.preferred])
            bundled = bundle.write(folder, chosen) if bundle else []
        sizes = {name: facts["bytes"] for name, facts in listed.items()}
        lines = [line for file in files for line in _lines(file, sizes, times)]
        lines += bundled
        lines.append(f"{out} has {', '.join(sizes)}, describe.py, golden values and a README.")
        return Report(lines, list(sizes), list(refused.values()))

    def _files(self, pixels: np.ndarray, photos: Sequence[bytes]) -> list[Written]:
        """Make the files, fp32 first, and compare each on the drawn photos."""
        model = to_onnx(deployed(self.network), self.dynamic_size)
        data = model.SerializeToString()
        compared = parity.check_same(self.network, data, pixels, self.bounds.difference, FP32)
        for size in second_sizes(self.network.preprocess.size) if self.dynamic_size else ():
            self._check_at(size, data, photos)
        facts: dict[str, Any] = {"precision": "fp32", "nodes": len(model.graph.node)}
        files = [Written("fp32", model, facts, compared)]
        expected = parity.describe(self.network, pixels)
        for precision in self.precisions[1:]:
            facts = {"precision": precision}
            if precision == "int8":
                calibration = calibration_pixels(self.calibration, self.network.preprocess, self.sets)
                smaller, kept = to_int8(model, calibration)
                facts |= {"calibration_images": len(calibration), "fp32_operators": kept}
            else:
                smaller = to_fp16(model)
            opened = parity.session(smaller.SerializeToString())
            files.append(Written(precision, smaller, facts, Parity.of((expected, parity.run(opened, pixels)))))
        return files

    def _measure(
        self, files: Sequence[Written], folder: Path, common: Mapping[str, Any]
    ) -> dict[str, dict[str, float]]:
        """Evaluate the checkpoint and the files on the sets; return the checkpoint's recalls by protocol id.

        The parity of int8 and fp16 is then that on all images of the sets.
        """
        before: dict[str, dict[str, float]] = {}
        described: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {file.name: [] for file in files}
        for file in files:
            file.facts["protocols"] = {}
            self._save(file, folder, common)
        extractors = {file.name: Extractor.load(folder / file.name, "cpu") for file in files} if self.sets else {}
        with tempfile.TemporaryDirectory(prefix="vpr-") as work:
            for number, retrieval_set in enumerate(self.sets):
                expected, plain = self._evaluate(self.extractor, retrieval_set, Path(work) / f"{number}")
                before[plain.protocol] = plain.metrics()
                for file in files:
                    actual, result = self._evaluate(
                        extractors[file.name], retrieval_set, Path(work) / f"{number}-{file.precision}"
                    )
                    described[file.name].append((expected, actual))
                    file.facts["protocols"][plain.protocol] = result.metrics()
                    file.changes[plain.protocol] = Change.between(plain, result)
            for file in files:
                if self.sets and file.precision != "fp32":
                    file.parity = Parity.of(*described[file.name])
        for file in files:
            file.facts["parity"] = file.parity._asdict()
            file.facts["changes"] = {id: change._asdict() for id, change in file.changes.items()}
        return before

    def _evaluate(self, extractor: Extractor, retrieval_set: RetrievalSet, work: Path) -> tuple[np.ndarray, Evaluation]:
        """Return the descriptors (N, D) float16 of database and queries, a map of a file, and the evaluation."""
        result = evaluate(extractor, retrieval_set, options=replace(self.options, workdir=work))
        return np.load(work / "descriptors.npy", mmap_mode="r"), result

    def _save(self, file: Written, folder: Path, common: Mapping[str, Any]) -> None:
        set_metadata(file.model, shipped.metadata(common, file.facts))
        onnx.save(file.model, str(folder / file.name))

    def _check_at(self, size: tuple[int, int], data: bytes, photos: Sequence[bytes]) -> None:
        """Compare at another size, unless the network itself does not take it."""
        pixels = shipped.pixels_of(photos[:4], self.network.preprocess._replace(size=size))
        try:
            parity.describe(self.network, pixels)
        except Exception:  # networks refuse a size in many ways
            return
        what = f"{FP32} at {size[0]}x{size[1]}"
        parity.check_same(self.network, data, pixels, self.bounds.difference, what)


def second_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return other sizes (height, width) at which a file of dynamic size is checked: a multiple of strides, an odd one.

    A file can be right at the size that it was traced at alone.
    """
    height, width = size
    return [(height + 32, width + 64), (height + 13, width + 27)]


def _lines(file: Written, sizes: Mapping[str, int], times: Mapping[str, float]) -> list[str]:
    """Return what there is to say about a file."""
    size, fp32, ms = sizes[file.name], sizes[FP32], times[file.name]
    share = f" ({size / fp32:.0%} of fp32)" if size != fp32 else ""
    lines = [f"{file.name}: {size / 1e6:.2f} MB{share}; {file.parity}"]
    lines += [f"  R@1 on {id}: {change}" for id, change in file.changes.items()]
    eager = times[speed.EAGER]
    lines.append(
        f"  {ms:.1f} ms an image, {ms / eager:.2f} of the checkpoint's {eager:.1f} ms (CPU time of one thread)"
    )
    if file.precision != "fp32" and ms > FASTER * times[FP32]:
        lines.append(f"  It is only smaller on this machine, not faster: {ms:.1f} ms, and {FP32} {times[FP32]:.1f} ms.")
    return lines


def _check_size(network: Describer, size: tuple[int, int] | None, dynamic: bool) -> None:
    fixed, made_for = bool(getattr(network.aggregator, "fixed_grid", False)), network.preprocess.size
    aggregator = type(network.aggregator).__name__
    if dynamic and network.fixed_size:
        kind = aggregator if fixed else type(network.backbone).__name__
        raise ConfigError(
            f"dynamic_size=true: {kind} takes images of one size alone. Leave it out: the files take {list(made_for)}."
        )
    if dynamic and has_attention(network):
        raise ConfigError(
            f"dynamic_size=true: the attention of {aggregator} is traced for one number of cells. Leave it out, and "
            "type size= for images of another size."
        )
    if fixed and size not in (None, made_for):
        raise ConfigError(
            f"size={list(size or ())}: the weights of {aggregator} belong to images of {list(made_for)}. Leave it out."
        )


def has_attention(network: Describer) -> bool:
    """Tell whether tokens attend to each other behind the backbone: torch traces that for one number of them."""
    return any(isinstance(module, nn.MultiheadAttention) for module in network.aggregator.modules())
