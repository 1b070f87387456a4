"""Photos as phones keep them: HEIC and HEIF, which Pillow reads with pillow-heif, and AVIF, which new Pillows read."""

from __future__ import annotations

from functools import cache

from PIL import Image

SUFFIXES = frozenset({".heic", ".heif", ".hif", ".avif"})
INSTALL = 'pip install "vpr-distill[heic]"'

# What the first box of a file says that it holds (ISO/IEC 23008-12 and the AVIF specification).
_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
                     b"avif", b"avis"})  # fmt: skip


@cache
def register() -> None:
    """Teach Pillow HEIC and HEIF where the extra `heic` is installed, once a process and only when there are some."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()


@cache
def is_read(suffix: str) -> bool:
    """Whether photos with this one of `SUFFIXES` can be read here."""
    register()
    return suffix in Image.registered_extensions()


def is_heif(head: bytes) -> bool:
    """Tell by the first 12 bytes of a file."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def refusal(head: bytes) -> str:
    """Say why Pillow knows no such file, by its first 12 bytes; an empty string where it is of no kind named here."""
    if not is_heif(head):
        return ""
    suffix = ".avif" if head[8:11] == b"avi" else ".heic"
    if is_read(suffix):
        return f"the {suffix[1:].upper()} is truncated or damaged"
    return f"is a photo of the kind {suffix}. To read such ones, type {INSTALL}, or convert it to .jpg"
