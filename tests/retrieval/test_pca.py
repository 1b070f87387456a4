"""Principal components: both ways of finding them agree, and what no component can be made of is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vpr.errors import ConfigError, DataError
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.pca import PCA, sample
from vpr.types import Preprocess

ROWS = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32) * np.arange(1, 13, dtype=np.float32)


@pytest.mark.parametrize("block", [5, 1024])
def test_gram_and_covariance_agree(block: int) -> None:
    """Columns of zeros make a wide matrix of a tall one, and change no component."""
    tall = PCA.fit(ROWS, 5, block)
    wide = PCA.fit(np.pad(ROWS, ((0, 0), (0, 40))), 5, block)
    torch.testing.assert_close(wide.variances, tall.variances)
    torch.testing.assert_close(wide.basis[:12].abs(), tall.basis.abs(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(wide.basis.T @ wide.basis, torch.eye(5), atol=1e-5, rtol=0)
    assert not wide.basis[12:].any() and not wide.mean[12:].any()
    torch.testing.assert_close(
        tall.variances, torch.from_numpy(np.linalg.eigvalsh(np.cov(ROWS.T))[:-6:-1].copy()).float()
    )


def test_directions_without_variance_are_zero() -> None:
    """Twelve photos, each twice, span eleven dimensions."""
    twice = np.random.default_rng(0).normal(size=(12, 50)).astype(np.float32).repeat(2, axis=0)
    found = PCA.fit(twice, 13)
    lengths = found.basis.norm(dim=0)
    torch.testing.assert_close(lengths, torch.tensor([1.0] * 11 + [0.0] * 2))


@pytest.mark.parametrize("columns", [12, 60])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_descriptors_that_are_no_numbers(columns: int, bad: float) -> None:
    rows = np.pad(ROWS, ((0, 0), (0, columns - 12)))
    rows[7, 3] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        PCA.fit(rows, 5)


def test_no_more_than_a_block_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptors are looked at in parts of `block` columns, each twice."""

    class Rows(np.ndarray):
        shapes: list[tuple[int, ...]] = []

        def __getitem__(self, key):  # type: ignore[no-untyped-def]
            part = super().__getitem__(key)
            self.shapes.append(part.shape)
            return part

    PCA.fit(np.pad(ROWS, ((0, 0), (0, 40))).view(Rows), 5, block=20)
    assert Rows.shapes == [(30, 20), (30, 20), (30, 12)] * 2


def test_a_sample_follows_from_its_seed() -> None:
    photos = [Path(f"{number}.jpg") for number in range(100)]
    assert sample(photos, 10, 1) == sample(photos, 10, 1) != sample(photos, 10, 2)
    assert len(set(sample(photos, 10, 1))) == 10 and sample(photos, 200, 1) == photos


def extractor(function: Callable[[torch.Tensor], torch.Tensor], dim: int, preprocess: Preprocess) -> Extractor:
    """Of a model that is nothing but a function of uint8 images."""
    model = torch.nn.Module().eval()
    model.forward, model.normalise = function, lambda images: images
    model.dim, model.preprocess = dim, preprocess
    return Extractor(model, "cpu")  # type: ignore[arg-type]


def test_too_few_photos_are_told_before_any_is_described() -> None:
    photos = [Path("none.jpg")] * 8
    with pytest.raises(ConfigError, match="PCA to 8 dimensions: 8 descriptors of 100 numbers give 7 at most"):
        PCA.of_images(extractor(lambda images: pytest.fail("described"), 100, Preprocess()), photos, 8)


def test_unreadable_photos_are_left_out_up_to_one_in_a_hundred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    photos = [tmp_path / f"{number:03}.png" for number in range(12)]
    for photo in photos:
        cv2.imwrite(str(photo), rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    seen: list[np.ndarray] = []
    fit = PCA.fit
    monkeypatch.setattr(PCA, "fit", lambda rows, *a, **k: (seen.append(np.array(rows)), fit(rows, *a, **k))[1])

    def describe(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :20].float() / 255

    colours = extractor(describe, 20, Preprocess((8, 8)))
    whole = PCA.of_images(colours, photos, 5, batch_size=5)
    photos[3].write_bytes(b"")
    part = PCA.of_images(colours, photos, 5, batch_size=5)
    assert whole and part and len(seen[0]) == 12
    np.testing.assert_array_equal(seen[1], np.delete(seen[0], 3, axis=0))
    for photo in photos[4:9]:
        photo.write_bytes(b"")
    with pytest.raises(DataError, match="6 of 12 training images cannot be read"):
        PCA.of_images(colours, photos, 5)
