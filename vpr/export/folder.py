"""The folder that is shipped: model.onnx, model.json, golden values, describe.py and a README.

`model.json` has the facts of the model once, and those of each file below `files`. All of them but `files` stand in the
metadata of each .onnx as well, beside the facts of that file.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from string import Template
from typing import Any

import numpy as np
import simplejpeg

from vpr import checkpoint
from vpr.data.transforms import EvalTransform, stack_images
from vpr.errors import ConfigError
from vpr.models.onnx_describer import FORMAT, TRAINING_IMAGES
from vpr.toycity.spec import TestSpec
from vpr.toycity.survey import shots
from vpr.toycity.writer import photo
from vpr.types import Preprocess

TEMPLATES = Path(__file__).with_name("templates")
MODEL_JSON = "model.json"
GOLDEN = 4
CONFIG = ("name", "backbone", "agg", "distillation")
"""Nodes of the run's configuration that are shipped: the network, and by what it was taught."""
PACKAGES = ("onnx", "onnxruntime", "onnxslim")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out`, which takes its place once the block has ended without an error.

    Raises:
        ConfigError: `out` is something else than a folder that export.py wrote, or cannot be written.
    """
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / MODEL_JSON).is_file())):
        raise ConfigError(f"out={out} is there, and not a folder that export.py wrote. Type another out=FOLDER.")
    partial = out.with_name(f".{out.name[:40]}.{token_hex(4)}.partial")
    try:
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"out={out} cannot be written: {error}. Type another out=FOLDER.") from error
        yield partial
        old = out.with_name(f"{partial.name}.old")
        if out.exists():
            out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def drawn_photos(count: int, seed: int = 0) -> list[bytes]:
    """Draw photos of the drawn city's test streets, as JPEG files: alike on every machine, and nobody's property."""
    spec = TestSpec(seed, 2 * count, count)
    planned = shots(spec)
    return [photo(spec, planned[row]) for row in np.linspace(0, len(planned) - 1, count).astype(int)]


def pixels_of(photos: Sequence[bytes], preprocess: Preprocess) -> np.ndarray:
    """Return photos, JPEG files, as a model takes them: (N, 3, H, W) uint8."""
    resize = EvalTransform(preprocess)
    height, width = resize.size
    images = [simplejpeg.decode_jpeg(p, min_height=height, min_width=width, min_factor=2) for p in photos]
    return stack_images([resize(image) for image in images]).numpy()


def facts(
    name: str, digest: str, dim: int, preprocess: Preprocess, dynamic_size: bool, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what all files of a folder have in common, plain: the part of model.json that stands in each .onnx.

    Args:
        name, digest: of the checkpoint.
        record: entries of the checkpoint but the weights.
    """
    height, width = preprocess.size
    config = record.get("config") or {}
    return {
        "format": FORMAT,
        "name": name,
        "digest": digest,
        "dim": dim,
        "size": [height, width],
        "dynamic_size": dynamic_size,
        "interpolation": preprocess.interpolation,
        "normalised": True,
        "preprocess": (
            f"Decode upright (EXIF orientation) to RGB, uint8; resize to {height}x{width} pixels (height x width), the "
            f"aspect ratio not kept, {preprocess.interpolation} and antialiased as Pillow does, first the width, "
            "rounded to whole values, and then the height; a batch is (batch, 3, height, width) uint8. Normalisation "
            "is in the graph. describe.py does this; golden/ has the pixels that must come out."
        ),
        "config": {key: config[key] for key in CONFIG if config.get(key)},
        "training_images": len(checkpoint.training_images(record)),
        "metrics": record.get("metrics") or {},
        "versions": {**checkpoint.versions(), **{package: version(package) for package in PACKAGES}},
        "processor": processor(),
    }


def metadata(common: Mapping[str, Any], of_file: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a file: text as it is, anything else as JSON."""
    values = {**common, **of_file}
    return {k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in values.items()}


def write_golden(
    folder: Path, photos: Sequence[bytes], pixels: np.ndarray, descriptors: Mapping[str, np.ndarray]
) -> None:
    """Write photos, their resized pixels (N, 3, H, W) uint8, and for each file its descriptors (N, D) float32."""
    golden = folder / "golden"
    golden.mkdir()
    for number, data in enumerate(photos):
        (golden / f"{number}.jpg").write_bytes(data)
    np.save(golden / "pixels.npy", pixels)
    for file, rows in descriptors.items():
        np.save(golden / f"{Path(file).stem.replace('model', 'descriptors', 1)}.npy", rows)


def write_training_images(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the digests of the images that the model was trained on, where its checkpoint says so.

    Evaluations of the files tell by them whether they measure on such images.
    """
    images = checkpoint.training_images(record)
    if len(images):
        np.save(folder / TRAINING_IMAGES, images)


def write_texts(folder: Path, common: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write model.json, README.md and describe.py."""
    (folder / MODEL_JSON).write_text(json.dumps({**common, "files": files}, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(TEMPLATES / "describe.py", folder / "describe.py")
    height, width = common["size"]
    values = {"name": common["name"], "dim": common["dim"], "height": height, "width": width}
    readme = Template((TEMPLATES / "README.md").read_text(encoding="utf-8"))
    text = readme.substitute(values, files="\n".join(_rows(files)))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _rows(files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of the README's table."""
    for name, file in files.items():
        recalls = "; ".join(f"{id} {100 * recall['R@1']:.1f}" for id, recall in file["protocols"].items())
        yield f"| {name} | {file['bytes'] / 1e6:.2f} | {file['parity']['cosine']:.5f} | {recalls or 'not measured'} |"


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
