"""Every kind of photo file decodes to upright RGB, or says in one sentence what is wrong with it."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from vpr.data.formats.exif import read_fix
from vpr.data.image_digests import image_digests
from vpr.data.images import MAX_PIXELS, decode
from vpr.errors import DataError


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth colours with no symmetry, so that JPEG keeps them and a turn or a flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    return (
        np.stack([x * 200 // width + 20, y * 220 // height, (x + 2 * y) * 80 // height], axis=-1)
        .clip(0, 255)
        .astype(np.uint8)
    )


def save(image: Image.Image | np.ndarray, path: Path, **options: object) -> Path:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(path, **options)
    return path


def as_pil_reads(path: Path) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(scene(), tmp_path / "photo.jpg", quality=95)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        decode(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith(".")
    return str(error.value).removeprefix(f"{path}: ")


def test_jpeg_is_upright_rgb_uint8_as_pil_reads_it(photo: Path) -> None:
    image = decode(photo)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert image.shape == (48, 64, 3)
    assert np.abs(image.astype(int) - as_pil_reads(photo)).max() <= 1
    assert np.abs(image.astype(int) - scene()).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_exif_orientation_is_made_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(scene(), tmp_path / f"turned.{kind}", exif=exif, quality=95)
    image = decode(path)
    assert image.shape == ((48, 64, 3) if orientation < 5 else (64, 48, 3))
    assert np.abs(image.astype(int) - as_pil_reads(path)).max() <= 1
    if orientation > 1:
        assert image.shape != (48, 64, 3) or np.abs(image.astype(int) - scene()).mean() > 20


@pytest.mark.parametrize("orientation", [1, 6])
def test_min_size_counts_in_the_upright_photo(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(scene(240, 800), tmp_path / "wide.jpg", exif=exif)
    # 240x800 halves to 120x400: enough for (120, 400) lying, and for (400, 120) once upright on its side
    least = (120, 400) if orientation == 1 else (400, 120)
    assert decode(path, least).shape[:2] == least
    assert decode(path, least[::-1]).shape[:2] == decode(path).shape[:2]


@pytest.mark.parametrize(
    ("size", "min_size", "decoded"),
    [
        ((128, 128), (64, 64), (64, 64)),
        ((128, 128), (65, 64), (128, 128)),
        ((126, 128), (64, 64), (126, 128)),
        ((512, 512), (64, 64), (64, 64)),
        ((512, 512), (60, 100), (128, 128)),
        ((40, 40), (64, 64), (40, 40)),
        ((128, 128), None, (128, 128)),
    ],
)
def test_jpeg_is_decoded_smaller_only_from_twice_the_size(
    tmp_path: Path, size: tuple[int, int], min_size: tuple[int, int] | None, decoded: tuple[int, int]
) -> None:
    path = save(scene(*size), tmp_path / "large.jpg", quality=95)
    image = decode(path, min_size)
    assert image.shape[:2] == decoded
    whole = cv2.resize(decode(path), decoded[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - whole).mean() < 2


def test_damaged_exif_does_not_cost_the_pixels(photo: Path) -> None:
    data = photo.read_bytes()
    block = b"Exif\x00\x00" + b"\xff" * 20
    photo.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
    assert np.abs(decode(photo).astype(int) - scene()).mean() < 3


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_greyscale_gets_three_equal_channels(tmp_path: Path, kind: str) -> None:
    path = save(scene()[..., 0], tmp_path / f"grey.{kind}")
    image = decode(path)
    assert image.shape == (48, 64, 3)
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 0] == image[..., 2]).all()
    assert np.abs(image[..., 0].astype(int) - scene()[..., 0]).mean() < 2


def test_cmyk_jpeg_has_the_colours_of_the_photo(tmp_path: Path) -> None:
    path = save(Image.fromarray(scene()).convert("CMYK"), tmp_path / "print.jpg", quality=95)
    assert b"Adobe" in path.read_bytes()
    assert np.abs(decode(path).astype(int) - scene()).mean() < 3


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    wide = np.linspace(0, 65535, 48 * 64).reshape(48, 64).astype(np.uint16)
    image = decode(save(wide, tmp_path / "depth.png"))
    assert (image[..., 0] == np.round(wide / 257)).all()
    assert (image[..., 0] == image[..., 2]).all()


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), scene()[..., ::-1].astype(np.uint16) * 257)
    assert np.abs(decode(path).astype(int) - scene()).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_other_modes_of_png(tmp_path: Path, mode: str) -> None:
    path = save(Image.fromarray(scene()).convert(mode), tmp_path / "odd.png")
    assert (decode(path) == np.asarray(Image.open(path).convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["bmp", "webp", "tiff", "gif"])
def test_other_formats(tmp_path: Path, kind: str) -> None:
    path = save(scene(), tmp_path / f"photo.{kind}")
    assert np.abs(decode(path).astype(int) - scene()).mean() < 6


def test_progressive_jpeg_and_one_under_another_name(tmp_path: Path) -> None:
    path = save(scene(), tmp_path / "photo.dat", format="JPEG", progressive=True, quality=95)
    assert np.abs(decode(path).astype(int) - scene()).mean() < 3


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("part", [0.5, 0.9])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_truncated_jpeg(tmp_path: Path, part: float, progressive: bool, end: bytes) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    path = save(noisy, tmp_path / "cut.jpg", progressive=progressive)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)] + end)
    assert "truncated" in (reason := refusal(path)) or "damaged" in reason


def test_jpeg_cut_in_its_header(photo: Path) -> None:
    photo.write_bytes(photo.read_bytes()[:100])
    assert "truncated" in refusal(photo)


def test_damaged_entropy_code_is_no_photo(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    path = save(noisy, tmp_path / "hurt.jpg")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xfe" * 40
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_padding_before_the_end_marker_is_forgiven(photo: Path) -> None:
    whole, data = decode(photo), photo.read_bytes()
    photo.write_bytes(data[:-2] + bytes(500) + data[-2:])
    assert np.abs(decode(photo).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("kind", ["png", "webp", "bmp", "gif"])
def test_truncated_other_formats(tmp_path: Path, kind: str) -> None:
    noisy = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    path = save(noisy, tmp_path / f"cut.{kind}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in (reason := refusal(path)) or "damaged" in reason


def test_missing_folder_empty_and_not_an_image(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere.jpg")
    assert "folder" in refusal(tmp_path)
    (tmp_path / "empty.jpg").touch()
    assert "empty" in refusal(tmp_path / "empty.jpg")
    (tmp_path / "page.jpg").write_text("<html>404 Not Found</html>")
    assert "not an image" in refusal(tmp_path / "page.jpg")
    (tmp_path / "start.jpg").write_bytes(b"\xff\xd8\xff" + b"abc" * 30)
    assert "not an image" in refusal(tmp_path / "start.jpg")
    save(Image.fromarray(np.zeros((8, 8), np.float32)), tmp_path / "depth.tiff")
    assert "floating-point" in refusal(tmp_path / "depth.tiff")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(photo: Path) -> None:
    photo.chmod(0)
    assert "cannot be opened" in refusal(photo)


def test_huge_png_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    for width in (MAX_PIXELS // 1000 + 1, 60_000_000):
        header = struct.pack(">IIBBBBB", width, 1000, 8, 2, 0, 0, 0)
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))))
        assert f"{MAX_PIXELS:,}" in refusal(path)


def test_huge_jpeg_is_refused_and_a_large_one_is_not(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(photo.read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65000, 65000)
    photo.write_bytes(data)
    assert "65000 x 65000 pixels" in refusal(photo)
    # Pillow warns from half its limit on; that must not reach the user of an ordinary photo
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 - 1)
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "PNG")
    photo.write_bytes(buffer.getvalue())
    assert (decode(photo) == scene()).all()


def test_a_pipe_is_one_more_bad_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(DataError, match=r"x.jpg: is no file, but a pipe or device"):
        decode(tmp_path / "x.jpg")
    assert np.isnan(read_fix(tmp_path / "x.jpg").lat) and image_digests([tmp_path / "x.jpg"]).size == 0


def test_a_path_that_is_too_long_is_a_bad_image() -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        decode(Path("x" * 5000))


@pytest.mark.parametrize("colours", [1, 3])
def test_sixteen_bits_of_which_twelve_are_used_are_named_once_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, colours: int
) -> None:
    low = (scene()[..., :colours].astype(np.uint16) << 4).squeeze()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), low)
        assert decode(tmp_path / name).max() < 17
    assert caplog.text.count("of which it uses the lowest 12 alone") == 1 and f"{tmp_path}/a.png" in caplog.text


def test_numbers_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(tmp_path / "deep.tiff")
    with pytest.raises(DataError, match="numbers beyond 16 bits"):
        decode(tmp_path / "deep.tiff")
