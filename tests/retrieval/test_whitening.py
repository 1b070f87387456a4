"""Whitening: a cross by hand, the published implementation's numbers, and what whitening is for."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vpr.errors import ConfigError
from vpr.retrieval.pca import PCA, PCAProjection

# Around (1, 2): along the first axis +-3, along the second +-1. Variances over N - 1 = 3: 18/3 and 2/3.
CROSS = np.array([[4, 2], [-2, 2], [1, 3], [1, 1]], np.float32)


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_a_cross(block: int) -> None:
    whitening = PCA.fit(CROSS, 2, block).projection()
    assert whitening.mean.tolist() == [1, 2] and whitening.dim == 2
    expected = torch.tensor([[6**-0.5, 0], [0, 1.5**0.5]])
    torch.testing.assert_close(whitening.matrix.abs(), expected, atol=1e-6, rtol=1e-6)
    # Both tips are as far from the middle: 3 / sqrt(6) = 1 / sqrt(2/3). A point between them lies at 45 degrees.
    found = whitening(torch.tensor([[1.0 + 3, 2.0 + 1]]))
    torch.testing.assert_close(found.abs(), torch.full((1, 2), 0.5**0.5))


def test_without_whitening_it_only_turns() -> None:
    found = PCA.fit(CROSS, 2).projection(whiten=False)(torch.tensor([[1.0 + 3, 2.0 + 1]]))
    torch.testing.assert_close(found.abs(), torch.tensor([[0.9**0.5, 0.1**0.5]]))


def test_the_bias_makes_it_a_linear_layer() -> None:
    whitening = PCA.fit(CROSS, 1).projection()
    x = torch.tensor([[5.0, -2.0], [0.0, 1.0]])
    torch.testing.assert_close(F.normalize(F.linear(x, whitening.matrix, whitening.bias), dim=1), whitening(x))


@pytest.mark.parametrize("name", ["dual", "primal"])
@pytest.mark.parametrize(("whiten", "key"), [(True, "white"), (False, "nowhite")])
def test_as_published(shared: Path, name: str, whiten: bool, key: str) -> None:
    """40 x 96 takes the Gram matrix, 200 x 48 the covariance; products of descriptors know no signs."""
    golden = np.load(shared / "golden" / "pca.npz")
    whitening = PCA.fit(golden[f"{name}_train"], 16, block=17).projection(whiten=whiten)
    with h5py.File(shared / "golden" / f"pca_params_{name}.h5") as file:
        directions, variances = file["U"][:], file["lams"][:]
        np.testing.assert_allclose(whitening.mean, file["mu"][:, 0], rtol=1e-4, atol=1e-5)
    stored = directions / np.sqrt(variances) if whiten else directions
    np.testing.assert_allclose(abs(whitening.matrix.numpy()), abs(stored.T), rtol=1e-3, atol=1e-4)
    found = whitening(torch.from_numpy(golden[f"{name}_test"])).numpy()
    np.testing.assert_allclose(found @ found.T, golden[f"{name}_gram_{key}"], rtol=1e-4, atol=1e-5)


def test_rows_from_half_precision_files(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    mapped = PCA.fit(np.load(tmp_path / "rows.npy", mmap_mode="r"), 3, block=7).projection()
    again = PCA.fit(rows.astype(np.float32), 3).projection()
    torch.testing.assert_close(mapped.matrix.abs(), again.matrix.abs(), rtol=1e-4, atol=1e-4)


def test_state_travels_and_is_not_trained() -> None:
    whitening, other = PCA.fit(CROSS, 1).projection(), PCAProjection(torch.zeros(2), torch.zeros(1, 2))
    assert not list(whitening.parameters())
    other.load_state_dict(whitening.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(other(x), whitening(x))


def test_no_more_dimensions_than_there_are() -> None:
    with pytest.raises(ConfigError, match="4 descriptors of 2 numbers give 2 at most"):
        PCA.fit(CROSS, 3)
    with pytest.raises(ConfigError, match="2 descriptors of 2 numbers give 1 at most"):
        PCA.fit(CROSS[:2], 2)
