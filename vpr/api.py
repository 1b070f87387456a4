"""Programming interface: a model from a file, and descriptors of photos."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
from torch.utils.data import DataLoader

from vpr.checkpoint import unpack
from vpr.data.image_inputs import ImageInput, InputDataset, as_list
from vpr.data.retrieval_set import collate_images
from vpr.errors import DataError
from vpr.models.describer import Describer
from vpr.retrieval.extractor import Extractor, extract, image_progress, pick_device, read_content


class PhotoDescriber(Describer):
    """A describer that takes photos as they are: `describe(photos) -> (N, dim)`."""

    def describe(
        self,
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
            ConfigError: there is no such device.
        """
        if device is not None:
            self.to(pick_device(device))
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


def load(path: str | PathLike[str], device: str = "cpu") -> PhotoDescriber:
    """Return the model of a checkpoint, or of a file that another project published, in evaluation mode.

    Args:
        path: a published file is converted in memory (`python -m vpr.interop` does so once for all). A name of
            `vpr.interop.zoo`, such as megaloc, is downloaded at first use.
        device: `cpu`, `cuda` or `auto`.

    Raises:
        CheckpointError: the file is missing, damaged or from elsewhere. Nothing in it is executed.
        ConfigError: there is no such device.
    """
    place = pick_device(device)
    made = unpack(read_content(path), str(path))
    return PhotoDescriber(made.backbone, made.aggregator, made.preprocess).eval().to(place)
