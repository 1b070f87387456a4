"""Image files: decoded to upright RGB pixels, looked for, and each fault of a file in one message.

HEIC and HEIF, as phones write them, are read where the extra `heic` is installed, AVIF where Pillow reads it.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from vpr.errors import DataError

HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".avif"})
INSTALL = 'pip install "vpr-distill[heic]"'

# The brands in the first box of a file (ISO/IEC 23008-12 and the AVIF specification).
_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
                     b"avif", b"avis"})  # fmt: skip

log = logging.getLogger(__name__)
_NAMED: set[str] = set()  # folders of which one image has been warned of

MAX_PIXELS = 178_956_970
"""Images with more pixels are refused: Pillow's own limit, above which it suspects a decompression bomb."""

_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: cv2.flip(image, 1),
    3: lambda image: cv2.rotate(image, cv2.ROTATE_180),
    4: lambda image: cv2.flip(image, 0),
    5: lambda image: cv2.transpose(image),
    6: lambda image: cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE),
    7: lambda image: cv2.rotate(cv2.transpose(image), cv2.ROTATE_180),
    8: lambda image: cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
"""By EXIF orientation, the operation that makes an image upright; 1 and unknown values leave it as it is."""


def decode(path: Path, min_size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image upright: (H, W, 3) uint8 RGB, alpha dropped, 16-bit values scaled to 8 bits.

    Args:
        path: JPEG through libjpeg-turbo; everything else that Pillow reads, through Pillow, which is taught HEIC by the
            extra `heic`. The content of a file counts, not its name.
        min_size: (height, width) that will do. A JPEG at least twice as large in both is decoded at the smallest
            scale that still covers it, which is several times faster; others come at full size.

    Raises:
        DataError: the file is missing, empty, truncated, damaged, too large, or not an image.
    """
    try:
        data = _read(path)
        return _decode_jpeg(data, min_size, path) if data.startswith(b"\xff\xd8") else _decode_other(data, path)
    except DataError as error:
        raise DataError(f"{path}: {error}.") from error.__cause__


def missing_files(paths: Iterable[Path]) -> list[int]:
    """Return the numbers of the paths that do not exist; lists each folder once, which is quick on network disks, too.

    Raises:
        DataError: a folder cannot be listed.
    """
    folders: dict[str, set[str]] = {}
    missing = []
    for number, path in enumerate(paths):
        folder, name = os.path.split(path)
        if folder not in folders:
            with readable(folder):
                folders[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in folders[folder]:
            missing.append(number)
    return missing


@contextmanager
def readable(where: object = "") -> Iterator[None]:
    """Turn an OSError (no permission, a broken link, a lost disk) into a DataError that names the path.

    Args:
        where: the path, for errors that do not name one themselves.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{error.filename or where} cannot be read: {error.strerror or error}. "
            "Look at its permissions and at the disk or link that it is on."
        ) from error


@cache
def register_heif() -> None:
    """Teach Pillow HEIC and HEIF where the extra `heic` is installed, once a process and only when there are some."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()


@cache
def can_read(suffix: str) -> bool:
    """Tell whether images with this one of `HEIF_SUFFIXES` can be read here."""
    register_heif()
    return suffix in Image.registered_extensions()


def _read(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            raise DataError("is no file, but a pipe or device")  # to read it would wait without end
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError("there is no such file") from None
    except IsADirectoryError:
        raise DataError("is a folder, not an image") from None
    except OSError as error:
        raise DataError(f"cannot be opened ({error.strerror})") from error
    if not data:
        raise DataError("the file is empty (0 bytes)")
    return data


def _decode_jpeg(data: bytes, min_size: tuple[int, int] | None, path: Path) -> np.ndarray:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return _decode_other(data, path)
    _check_size(height, width)
    if colours in ("CMYK", "YCCK"):  # Adobe writes these inverted; Pillow knows when
        return _decode_other(data, path)
    orientation = _orientation(data)
    least = (0, 0) if min_size is None else min_size
    if orientation >= 5:  # the stored image lies on its side
        least = least[::-1]
    try:
        # min_factor 2: scales between 1/2 and 1 take longer than a whole decode
        image = simplejpeg.decode_jpeg(data, min_height=least[0], min_width=least[1], min_factor=2)
    except ValueError as error:
        if "premature end" in str(error).lower():
            raise DataError("the JPEG is truncated") from error
        if "Corrupt JPEG data" in str(error) and not _only_padded(data, str(error)):
            # Pillow would return it, with grey or scrambled blocks
            raise DataError(f"the JPEG is damaged ({error})") from error
        return _decode_other(data, path)
    return _UPRIGHT[orientation](image) if orientation in _UPRIGHT else image


def _only_padded(data: bytes, complaint: str) -> bool:
    """Some cameras fill up with zeros before the end marker: superfluous bytes, but sound pixels."""
    superfluous = re.search(r"(\d+) extraneous bytes before marker 0xd9", complaint)
    end = data.rfind(b"\xff\xd9")
    return superfluous is not None and not data[end - int(superfluous[1]) : end].strip(b"\x00")


def _orientation(data: bytes) -> int:
    """EXIF orientation 1..8 of a JPEG; 1 where it says nothing readable."""
    if not _has_app1(data):
        return 1
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(0x0112, 1)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):  # damaged metadata, sound pixels
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _has_app1(data: bytes) -> bool:
    """Walk the segments before the pixels for an APP1 (EXIF or XMP): microseconds, which PIL's opening is not."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # start of scan
        if data[at + 1] == 0xE1:
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _decode_other(data: bytes, path: Path) -> np.ndarray:
    if _is_heif(data):
        register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on large images (MAX_PIXELS decides) and palettes with transparency
            with Image.open(io.BytesIO(data)) as opened:
                _check_size(opened.height, opened.width)
                stored = _stored_as(opened)
                image = _to_rgb(ImageOps.exif_transpose(opened), stored)
                if "16" in stored:
                    _warn_if_low(image, path)
                return image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"is larger than {MAX_PIXELS:,} pixels; reduce it") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(_refusal(data) or "is not an image in a known format, or damaged at its start") from error
    except Exception as error:  # Pillow's readers fail in many ways on damaged bytes; each of them is a bad image
        reason = str(error) or type(error).__name__
        raise DataError("the image is truncated" if "runcated" in reason else f"is damaged ({reason})") from error


def _to_rgb(image: Image.Image, stored: str) -> np.ndarray:
    """Return pixels; `stored` is how the file has them, in Pillow's words, such as `I;16B`."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow's own conversion would clip at 255
        wide = np.asarray(image).astype(np.int64)
        if stored == "I;12":
            wide = wide * 65535 // 4095
        if wide.min(initial=0) < 0 or wide.max(initial=0) > 65535:
            raise DataError("holds numbers beyond 16 bits, not the colours of an image; save it with 8 bits")
        return np.repeat(((wide + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise DataError("holds floating-point values, not the colours of an image; save it with 8 bits")
    return np.array(image.convert("RGB"))


def _stored_as(image: Image.Image) -> str:
    """Return Pillow's name of how pixels lie in the file, such as `I;16B` or `RGB;16B`; empty where there is none."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _warn_if_low(image: np.ndarray, path: Path) -> None:
    """Name an image of 16 bits that uses the lowest 12 alone, and so is nearly black; one of a folder is enough."""
    folder = os.path.dirname(path)
    if image.size and 0 < image.max() < 17 and folder not in _NAMED:
        _NAMED.add(folder)
        log.warning(
            "%s has 16 bits a colour, of which it uses the lowest 12 alone, so that it is nearly black. If it is no "
            "photo of the night, its values must be multiplied, by 16 for a camera of 12 bits; others beside it may be "
            "alike.",
            path,
        )


def _check_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DataError(f"has {width} x {height} pixels, more than {MAX_PIXELS:,}; reduce it")


def _is_heif(head: bytes) -> bool:
    """Tell by the first 12 bytes of a file."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def _refusal(head: bytes) -> str:
    """Return why Pillow cannot read a file with these first 12 bytes; empty where it is neither HEIF nor AVIF."""
    if not _is_heif(head):
        return ""
    suffix = ".avif" if head[8:11] == b"avi" else ".heic"
    if can_read(suffix):
        return f"the {suffix[1:].upper()} is truncated or damaged"
    return f"is an image of the kind {suffix}. To read such ones, type {INSTALL}, or convert it to .jpg"
