"""Images as a program holds them, files or pixels, brought to the input size of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from vpr.data.images import decode
from vpr.data.transforms import EvalTransform
from vpr.errors import DataError
from vpr.types import Preprocess

ImageInput = str | os.PathLike[str] | np.ndarray | Image.Image
"""Path of a file, (H, W, 3) uint8 RGB pixels, or an image of Pillow."""


class InputDataset(Dataset[tuple[np.ndarray, int, str]]):
    """Inputs as `ImageDataset` yields them: `(image uint8 (h, w, 3), index, error)`; a bad one has an error.

    Attributes:
        paths: the name of each input in messages: the path of a file, or its number in the list.
    """

    def __init__(self, inputs: Sequence[ImageInput], preprocess: Preprocess) -> None:
        self.inputs = inputs
        self.transform = EvalTransform(preprocess)
        self.paths = [str(image) if _is_path(image) else f"photo {i}" for i, image in enumerate(inputs)]

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, str]:
        try:
            image = self.transform(pixels(self.inputs[index], self.transform.enough))
        except DataError as error:
            message = str(error) if _is_path(self.inputs[index]) else f"{self.paths[index]} {error}"
            return np.zeros((*self.transform.size, 3), np.uint8), index, message
        return image, index, ""


def pixels(image: ImageInput, enough: tuple[int, int] | None = None) -> np.ndarray:
    """Return an image upright, (H, W, 3) uint8 RGB; of a file it may be smaller, but not than `enough` (h, w).

    Raises:
        DataError: the file cannot be read, or this is no image.
    """
    if isinstance(image, str | os.PathLike):
        return decode(Path(image), enough)
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if not isinstance(image, np.ndarray):
        raise DataError(f"is a {type(image).__name__}. Give a path, a uint8 array (H, W, 3) or an image of Pillow.")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise DataError(f"is an array of shape {image.shape} and {image.dtype}. Give (H, W, 3) uint8, red first.")
    return image


def as_list(images: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    """Return a list of images; a single one becomes a list of one."""
    if isinstance(images, str | os.PathLike | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]
    return list(images)


def _is_path(image: object) -> bool:
    return isinstance(image, str | os.PathLike)


def _of_pillow(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        raise DataError(f"is an image of mode {image.mode}, with more than 8 bits. Give its path, or 8 bits a colour.")
    try:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Pillow reads the file only now, and fails in many ways on damaged bytes
        raise DataError(f"is damaged ({error})") from error
