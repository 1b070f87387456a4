"""Files of components: the published ones, ours, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from vpr.errors import CheckpointError, DiskError
from vpr.retrieval.pca import PCA, pca_path, read_origin

MADE = PCA(torch.tensor([1.0, 2.0, 0.0]), torch.eye(3)[:, :2], torch.tensor([4.0, 1.0]))
ORIGIN = {"model": "abc", "dataset": "x", "photos": "de", "samples": 9, "seed": 3, "components": 2}


@pytest.mark.parametrize("name", ["dual", "primal"])
@pytest.mark.parametrize(("whiten", "key"), [(True, "white"), (False, "nowhite")])
def test_published_files(shared: Path, name: str, whiten: bool, key: str) -> None:
    path, golden = shared / "golden" / f"pca_params_{name}.h5", np.load(shared / "golden" / "pca.npz")
    assert read_origin(path) == {}
    whitening = PCA.read(path).projection(16, whiten)
    found = whitening(torch.from_numpy(golden[f"{name}_test"])).numpy()
    np.testing.assert_allclose(found, golden[f"{name}_out_{key}"], rtol=1e-4, atol=1e-5)


def test_where_it_lies() -> None:
    assert pca_path("runs/x/model_best.pth.tar") == Path("runs/x/pca_params_model_best.h5")
    assert pca_path("best.ckpt") == Path("pca_params_best.h5")


def test_published_layout(tmp_path: Path) -> None:
    path = tmp_path / "pca_params_x.h5"
    MADE.write(path, ORIGIN)
    with h5py.File(path) as file:
        assert {name: (file[name].shape, file[name].dtype) for name in file} == {
            "U": ((3, 2), np.float32),
            "lams": ((2,), np.float32),
            "mu": ((3, 1), np.float32),
            "Utmu": ((2, 1), np.float32),
        }
        assert file["Utmu"][:].ravel().tolist() == [1, 2]
    assert read_origin(path) == ORIGIN
    kept = PCA.read(path)
    assert all(torch.equal(getattr(kept, name), getattr(MADE, name)) for name in ("mean", "basis", "variances"))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", np.arange(3)), ("model", h5py.Empty("f")), ("seed", "drawn"), ("seed", None)],
    ids=["an array", "nothing", "a word", "lacking"],
)
def test_attributes_of_others_say_nothing(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "a.h5"
    MADE.write(path, ORIGIN)
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    assert read_origin(path) == {}


def test_fewer_of_its_directions(tmp_path: Path) -> None:
    MADE.write(tmp_path / "a.h5", {})
    whitening = PCA.read(tmp_path / "a.h5").projection(1)
    assert whitening.matrix.tolist() == [[0.5, 0, 0]]  # 1 / sqrt(4)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "no folder"
    path.touch()
    with pytest.raises(DiskError, match="cannot be written: a (part|file)"):
        MADE.write(path / "a.h5", {})


def changed(name: str, value: np.ndarray | None) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            if value is not None:
                file[name] = value

    return change


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "damaged or no HDF5 file .*Delete it, or copy it again"),
        (lambda path: path.write_text("<html>"), "damaged or no HDF5 file"),
        (lambda path: path.unlink(), "no such file"),
        (changed("lams", None), r"lacks lams: it holds U, Utmu, mu, and should hold U \(D, k\)"),
        (changed("lams", np.ones(5, np.float32)), r"'lams': \(5,\)"),
        (changed("mu", np.array([[np.nan], [0], [0]], np.float32)), "NaN or infinite"),
        (changed("lams", np.array([1.0, 4.0], np.float32)), "do not fall"),
        (changed("U", np.array(["a", "b"], h5py.string_dtype())), "is damaged"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "a.h5"
    MADE.write(path, {})
    spoil(path)
    with pytest.raises(CheckpointError, match=message):
        PCA.read(path)
