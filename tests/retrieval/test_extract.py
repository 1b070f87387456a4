from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vpr.errors import DataError, DiskError
from vpr.retrieval import extractor
from vpr.retrieval.extractor import extract, image_loader
from vpr.types import Preprocess

SMALL = Preprocess(size=(8, 8))


def photo(path: Path, grey: int) -> Path:
    cv2.imwrite(str(path), np.full((8, 8, 3), grey, np.uint8))
    return path


def brightness(images: Tensor) -> Tensor:
    return images.float().mean((1, 2, 3))[:, None].repeat(1, 2)


def test_rows_lie_at_their_index_in_any_order() -> None:
    out = np.zeros((4, 2), np.float16)
    images = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 2, 2)
    seen: list[int] = []
    loader = [(images[[3, 0]], torch.tensor([3, 0]), ("", "")), (images[[1, 2]], torch.tensor([1, 2]), ("", ""))]
    assert extract(brightness, loader, out, seen.append) == {}
    assert out.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert seen == [2, 2]


def test_bad_images_are_reported_and_not_described(tmp_path: Path) -> None:
    paths = [photo(tmp_path / "a.png", 50), tmp_path / "none.jpg", photo(tmp_path / "b.png", 90), tmp_path / "void.jpg"]
    paths[3].write_bytes(b"")
    out = np.full((4, 2), -1, np.float32)
    described: list[int] = []

    def describe(images: Tensor) -> Tensor:
        described.append(len(images))
        return brightness(images)

    bad = extract(describe, image_loader(paths, SMALL, batch_size=3), out)
    assert list(bad) == [1, 3] and "none.jpg" in bad[1] and "void.jpg" in bad[3]
    assert out[:, 0].tolist() == [50, -1, 90, -1]
    assert described == [2]  # the second batch is one bad image: nothing to describe


@pytest.mark.parametrize(("photos", "workers"), [(0, 0), (3, 0), (4, 2), (30, 2)])
def test_no_more_workers_than_batches(photos: int, workers: int) -> None:
    assert image_loader([Path("a.png")] * photos, SMALL, batch_size=3, num_workers=2).num_workers == workers


def test_refuses_descriptors_that_are_not_finite(tmp_path: Path) -> None:
    paths = [photo(tmp_path / f"{grey}.png", grey) for grey in (10, 20, 30, 40, 50)]

    def diverged(images: Tensor) -> Tensor:
        values = brightness(images)
        values[values == 30], values[values == 50] = float("nan"), float("inf")
        return values

    with pytest.raises(DataError, match=r"2 of 5 descriptors are NaN or infinite \(first: .*30.png\)"):
        extract(diverged, image_loader(paths, SMALL, batch_size=2), np.zeros((5, 2), np.float16))


def test_disk_that_is_too_small_is_named_before_the_work() -> None:
    told = r"[\d,.]+ GB are needed: .* cannot be written: .*Set TMPDIR"
    with extractor.working_folder() as folder, pytest.raises(DiskError, match=told):
        extractor.create(folder, 10**12, 4096)


def test_rank_that_does_not_see_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="set TMPDIR"):
        extractor.attach(tmp_path / "elsewhere")


def test_compact_moves_rows_forward_across_chunks() -> None:
    rows = np.array([1, 2, 5, 8, 9])
    values = np.arange(20.0).reshape(10, 2)
    expected = values[rows]
    extractor.compact(values, rows, chunk=2)
    assert np.array_equal(values[:5], expected)
