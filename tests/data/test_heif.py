"""HEIC and AVIF: read upright with their positions where that can be, else refused with what to install."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from vpr.data import images
from vpr.data.formats.exif import read_fix
from vpr.data.formats.folders import is_image, walk_images
from vpr.data.images import decode
from vpr.errors import DataError

G = ExifTags.GPS
SYDNEY = {G.GPSLatitudeRef: "S", G.GPSLatitude: (33, 51, 0), G.GPSLongitudeRef: "E", G.GPSLongitude: (151, 12, 0)}
EXTRA = 'pip install "vpr-distill[heic]"'
PIXELS = np.zeros((48, 64, 3), np.uint8)
PIXELS[:24, :32] = [220, 0, 0]  # upper left


def photo(path: Path, orientation: int = 1) -> Path:
    """Write PIXELS, as stored, with EXIF; the kind is that of the suffix."""
    if not images.can_read(path.suffix):
        pytest.skip(f"{path.suffix} cannot be read here")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.IFD.GPSInfo] = SYDNEY
    Image.fromarray(PIXELS).save(path, quality=90, exif=exif.tobytes())  # pillow-heif turns what has it in bytes
    return path


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pillow as it is without the extra, and one too old for AVIF."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for kind in ("HEIF", "AVIF"):
        monkeypatch.delitem(Image.OPEN, kind, raising=False)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind in Image.OPEN])
    for suffix in images.HEIF_SUFFIXES:
        monkeypatch.delitem(Image.EXTENSION, suffix, raising=False)
    images.register_heif.cache_clear()
    images.can_read.cache_clear()
    yield
    images.register_heif.cache_clear()
    images.can_read.cache_clear()


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
@pytest.mark.parametrize(("orientation", "shape", "corner"), [
    (1, (48, 64), np.s_[4:20, 4:28]),
    (3, (48, 64), np.s_[28:44, 36:60]),
    (6, (64, 48), np.s_[4:28, 28:44]),  # clockwise by 90 degrees: upper right
    (8, (64, 48), np.s_[36:60, 4:20]),
])  # fmt: skip
def test_it_is_upright_and_says_where_it_was_taken(
    tmp_path: Path, suffix: str, orientation: int, shape: tuple[int, int], corner: tuple[slice, slice]
) -> None:
    path = photo(tmp_path / f"IMG_1{suffix}", orientation)
    image = decode(path)
    assert image.shape == (*shape, 3) and image.dtype == np.uint8
    assert np.abs(image[corner].astype(int) - [220, 0, 0]).mean() < 20
    assert image.astype(int).sum() < 1.3 * PIXELS.astype(int).sum()  # black elsewhere
    assert read_fix(path)[:2] == pytest.approx((-33.85, 151.2))


def test_it_is_told_by_its_content(tmp_path: Path) -> None:
    photo(tmp_path / "a.heic").rename(tmp_path / "a.jpg")
    assert decode(tmp_path / "a.jpg").shape == (48, 64, 3)
    Image.fromarray(PIXELS).save(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").rename(tmp_path / "b.heic")
    assert decode(tmp_path / "b.heic").shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_a_truncated_one(tmp_path: Path, suffix: str) -> None:
    path = photo(tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"cut{suffix}: the {suffix[1:].upper()} is truncated or damaged\."):
        decode(path)
    assert np.isnan(read_fix(path).lat)


def test_folders_list_them_where_they_are_read(tmp_path: Path) -> None:
    photo(tmp_path / "a.heic").rename(tmp_path / "IMG.HEIC")
    assert is_image("IMG.HEIC") and not is_image("._IMG.HEIC")
    assert walk_images(tmp_path) == ["IMG.HEIC"]


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(("brand", "kind"), [(b"heic", ".heic"), (b"mif1", ".heic"), (b"avif", ".avif")])
def test_without_the_extra_it_is_named(tmp_path: Path, brand: bytes, kind: str) -> None:
    path = tmp_path / f"a{kind}"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(99))
    with pytest.raises(DataError) as refused:
        decode(path)
    assert str(refused.value) == (
        f"{path}: is an image of the kind {kind}. To read such ones, type {EXTRA}, or convert it to .jpg."
    )
    assert not is_image(path.name) and np.isnan(read_fix(path).lat)


@pytest.mark.usefixtures("without")
def test_without_the_extra_folders_leave_them_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("1.HEIC", "2.avif", "3.dng"):
        (tmp_path / name).touch()
    said = (
        f"3 photos in {tmp_path} are .avif, .dng, .heic (first: 1.HEIC), which is not read. Convert them to .jpg "
        f"(.avif, .heic is read after {EXTRA})."
    )
    with pytest.raises(DataError) as refused:
        walk_images(tmp_path)
    assert str(refused.value) == said
    (tmp_path / "4.jpg").touch()
    assert walk_images(tmp_path) == ["4.jpg"]
    assert said in caplog.text and "left out" in caplog.text


def test_a_video_is_no_photo(tmp_path: Path) -> None:
    (tmp_path / "clip.jpg").write_bytes(b"\0\0\0\x18ftypisom" + bytes(99))
    with pytest.raises(DataError, match="is not an image in a known format"):
        decode(tmp_path / "clip.jpg")


def test_other_photos_do_not_load_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "register_heif", None)  # cannot be called
    for name in ("a.jpg", "b.png", "c.webp"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    for name in walk_images(tmp_path):
        assert decode(tmp_path / name).shape == (48, 64, 3)
        read_fix(tmp_path / name)
    with pytest.raises(DataError, match="not an image"):
        decode(tmp_path / "notes.txt")
