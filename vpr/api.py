"""Programming interface: a model from a file, and descriptors of photos."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from vpr.data.image_inputs import ImageInput, InputDataset, as_list
from vpr.data.retrieval_set import collate_images
from vpr.errors import DataError
from vpr.interop.opener import open_model
from vpr.models.describer import Describer
from vpr.models.onnx_describer import OnnxDescriber, is_exported
from vpr.retrieval.extractor import Extractor, extract, image_progress, model_device, pick_device


class Describes:
    """The method that both kinds of networks get for photos as they are."""

    def describe(
        self: Any,
        photos: ImageInput | Sequence[ImageInput],
        batch_size: int = 32,
        device: str | None = None,
        num_workers: int = 0,
        progress: bool = False,
    ) -> np.ndarray:
        """Return descriptors (N, dim) float32, rows of unit norm: their products are cosine similarities.

        Args:
            photos: paths, (H, W, 3) uint8 RGB arrays or images of Pillow, of any size; one alone is a list of one.
            batch_size: photos that are described at once.
            device: where to compute, `cpu`, `cuda` or `auto`; the model moves there. None: where it is.
            num_workers: processes that read photos; 0: this one.
            progress: show a bar where there is a terminal.

        Raises:
            DataError: photos cannot be read; the message counts them and names the first.
            ConfigError: there is no such device, or an exported model cannot use it.
        """
        if device is not None:
            self.to(model_device(self.path, device) if isinstance(self, OnnxDescriber) else pick_device(device))
        dataset = InputDataset(as_list(photos), self.preprocess)
        loader = DataLoader(dataset, batch_size, num_workers=num_workers, collate_fn=collate_images)
        descriptors = np.empty((len(dataset), self.dim), np.float32)
        with image_progress("describing", len(dataset), progress) as advance:
            bad = extract(Extractor(self, self.mean.device), loader, descriptors, advance)
        if bad:
            first = next(iter(bad.values()))
            raise DataError(
                f"{len(bad):,} of {len(dataset):,} photos cannot be described (first: {first.rstrip('.')})."
            )
        return descriptors


class PhotoDescriber(Describes, Describer):
    """A describer that takes photos as they are: `describe(photos) -> (N, dim)`."""


class ExportedPhotoDescriber(Describes, OnnxDescriber):
    """An exported model that takes photos as they are: `describe(photos) -> (N, dim)`."""


def load(path: str | PathLike[str], device: str = "cpu") -> PhotoDescriber | ExportedPhotoDescriber:
    """Return the model of a checkpoint, of a file that another project published, or of an exported .onnx file.

    It is in evaluation mode. An exported model is run by onnxruntime, on the CPU.

    Args:
        path: a published file is converted in memory (`python -m vpr.interop` does so once for all). A name of
            `vpr.interop.zoo`, such as megaloc, is downloaded at first use.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        CheckpointError: the file is missing, damaged or from elsewhere. Nothing in it is executed.
        ConfigError: there is no such device, or an exported model cannot use it; onnxruntime is not installed.
    """
    place = model_device(path, device)
    if is_exported(path):
        return ExportedPhotoDescriber(path)
    made = open_model(path).describer
    assert isinstance(made, Describer)
    return PhotoDescriber(made.backbone, made.aggregator, made.preprocess).eval().to(place)
