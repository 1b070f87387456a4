"""Photos as a program has them, files or pixels, as images of one size."""

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

Photo = str | os.PathLike[str] | np.ndarray | Image.Image
"""Path of a file, (H, W, 3) uint8 RGB pixels, or an image of Pillow."""


class PhotoDataset(Dataset[tuple[np.ndarray, int, str]]):
    """Photos as `ImageDataset` yields them: `(image uint8 (h, w, 3), index, error)`; a bad one has an error.

    Attributes:
        paths: what each photo is called in messages, the path of a file or its place in the list.
    """

    def __init__(self, photos: Sequence[Photo], preprocess: Preprocess) -> None:
        self.photos = photos
        self.transform = EvalTransform(preprocess)
        self.paths = [str(photo) if _is_path(photo) else f"photo {i}" for i, photo in enumerate(photos)]

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int, str]:
        try:
            image = self.transform(pixels(self.photos[index], self.transform.enough))
        except DataError as error:
            said = str(error) if _is_path(self.photos[index]) else f"{self.paths[index]} {error}"
            return np.zeros((*self.transform.size, 3), np.uint8), index, said
        return image, index, ""


def pixels(photo: Photo, enough: tuple[int, int] | None = None) -> np.ndarray:
    """Return a photo upright, (H, W, 3) uint8 RGB; of a file it may be smaller, but not than `enough` (h, w).

    Raises:
        DataError: the file cannot be read, or this is no photo.
    """
    if isinstance(photo, str | os.PathLike):
        return decode(Path(photo), enough)
    if isinstance(photo, Image.Image):
        return _of_pillow(photo)
    if not isinstance(photo, np.ndarray):
        raise DataError(f"is a {type(photo).__name__}. Give a path, a uint8 array (H, W, 3) or an image of Pillow.")
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
        raise DataError(f"is an array of shape {photo.shape} and {photo.dtype}. Give (H, W, 3) uint8, red first.")
    return photo


def as_list(photos: Photo | Sequence[Photo]) -> list[Photo]:
    """Return a list of photos; one alone becomes a list of one."""
    if isinstance(photos, str | os.PathLike | Image.Image) or (isinstance(photos, np.ndarray) and photos.ndim < 4):
        return [photos]
    return list(photos)


def _is_path(photo: object) -> bool:
    return isinstance(photo, str | os.PathLike)


def _of_pillow(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        raise DataError(f"is an image of mode {image.mode}, with more than 8 bits. Give its path, or 8 bits a colour.")
    try:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Pillow reads the file only now, and fails in many ways on damaged bytes
        raise DataError(f"is damaged ({error})") from error
