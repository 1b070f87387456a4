"""Damaged and hostile files of weights are messages: checksums, other kinds of numbers, bombs, endless configs."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from vpr import checkpoint
from vpr.data.formats.patchnetvlad import read_npz
from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.files import check_archive
from vpr.models.cluster_file import ClusterFile, read_clusters, write_clusters
from vpr.models.describer import build_describer
from vpr.models.weights import Origin, load_exactly, read_state
from vpr.retrieval.pca import PCA, read_origin

CONFIG = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        "name": "resnet18",
        "weights": "none",
        "crop": [2, 3, 4],
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM", "_partial_": True, "p": 3.0},
    "image": {"size": [64, 64], "interpolation": "bilinear"},
}
P = "aggregator.pool.p"


@pytest.fixture(scope="module")
def packed() -> dict[str, Any]:
    return checkpoint.pack(build_describer(CONFIG["backbone"], CONFIG["agg"], CONFIG["image"]), CONFIG)


def saved(path: Path, content: Any) -> Path:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # of the pickler
    torch.save(content, path)
    sys.setrecursionlimit(limit)
    return path


def flipped(path: Path, needle: bytes, at: int = 2) -> Path:
    content = bytearray(path.read_bytes())
    content[content.index(needle) + at] ^= 64
    path.write_bytes(content)
    return path


def test_a_flipped_bit_in_the_weights_is_found(tmp_path: Path, packed: dict[str, Any]) -> None:
    content = packed | {"weights": packed["weights"] | {P: torch.tensor([1.2345678])}}
    path = saved(tmp_path / "a.ckpt", content)
    assert checkpoint.read(path)["weights"][P] == 1.2345678
    flipped(path, np.float32(1.2345678).tobytes())
    with pytest.raises(CheckpointError, match=r"a.ckpt is damaged: the checksum of .* in it is wrong"):
        checkpoint.read(path)
    state = flipped(saved(tmp_path / "w.pth", {"w": torch.tensor([1.2345678])}), np.float32(1.2345678).tobytes())
    with pytest.raises(ConfigError, match="checksum of .* is wrong"):
        read_state(state)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.ones(1, dtype=torch.int8), "of type torch.int8, where the model has torch.float32"),
        (torch.ones(1, dtype=torch.bool), "of type torch.bool"),
        (torch.ones(1, dtype=torch.complex64), "of type torch.complex64"),
        (torch.full((1,), torch.nan), "with numbers that are NaN or infinite"),
        (torch.full((1,), 1e300, dtype=torch.float64), "with numbers that are NaN or infinite"),
    ],
)
def test_weights_that_are_none_are_refused(packed: dict[str, Any], value: torch.Tensor, says: str) -> None:
    with pytest.raises(CheckpointError, match=f"it has {P} {says}"):
        checkpoint.unpack(packed | {"weights": packed["weights"] | {P: value}}, "a.ckpt")
    with pytest.raises(ConfigError, match=f"The weights given for x have weight {says}"):
        load_exactly(torch.nn.Linear(1, 1, bias=False), {"weight": value.view(1, 1)}, Origin("x"))


def test_half_precision_is_a_weight(packed: dict[str, Any]) -> None:
    loaded = checkpoint.unpack(packed | {"weights": packed["weights"] | {P: torch.full((1,), 2.0).half()}})
    assert loaded.state_dict()[P].item() == 2


def test_configs_without_end_are_refused(tmp_path: Path, packed: dict[str, Any]) -> None:
    itself: dict[str, Any] = {}
    itself["config"] = itself
    deep: list[Any] = []
    for _ in range(1500):
        deep = [deep]
    wide: list[Any] = [1] * 200
    for _ in range(4):
        wide = [wide] * 200
    for value in (itself, deep, wide):
        for key in ("config", "metrics", "versions"):
            path = saved(tmp_path / "a.ckpt", packed | {key: {**packed[key], "more": value}})
            with pytest.raises(CheckpointError, match="damaged: .* is nested too deep, or holds itself"):
                checkpoint.load(path)


def test_archives_that_unpack_to_more_are_refused_unread(tmp_path: Path) -> None:
    for name in ("a.ckpt", "gt.npz"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(CheckpointError, match=r"a.ckpt is damaged: it would unpack to 1,048,576 bytes"):
        checkpoint.read(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="and 1,000 are expected at most"):
        check_archive(tmp_path / "gt.npz", 1000)
    with pytest.raises(DataError, match="gt.npz cannot be read as ground truth"):
        read_npz(tmp_path / "gt.npz")


def test_a_path_that_is_too_long_is_a_message() -> None:
    long = Path("x" * 5000)
    for read in (checkpoint.read, read_state, read_clusters, PCA.read):
        with pytest.raises((CheckpointError, ConfigError), match="no such"):
            read(long)


MADE = PCA(torch.tensor([1.0, 2.0, 0.0]), torch.eye(3)[:, :2], torch.tensor([4.0, 1.2345678]))


def test_flipped_bits_in_our_hdf5_files_are_found(tmp_path: Path) -> None:
    MADE.write(tmp_path / "pca.h5", {})
    write_clusters(tmp_path / "c.hdf5", ClusterFile(np.eye(5, 3), np.full((2, 3), 1.2345678)))
    for name, read in (("pca.h5", PCA.read), ("c.hdf5", read_clusters)):
        with pytest.raises(CheckpointError, match=f"{name} is damaged"):
            read(flipped(tmp_path / name, np.float32(1.2345678).tobytes()))


@pytest.mark.parametrize(
    ("basis", "variances", "says"),
    [
        (torch.eye(3)[:, :2], [4.0, -1.0], "variances .* are negative"),
        (torch.eye(3)[:, :2] * 1e6, [4.0, 1.0], "no unit vectors"),
        (torch.eye(3)[:, :2], [torch.inf, 1.0], "NaN or infinite"),
    ],
)
def test_components_that_are_none_are_refused(tmp_path: Path, basis: Any, variances: list[float], says: str) -> None:
    PCA(torch.zeros(3), basis, torch.tensor(variances)).write(tmp_path / "pca.h5", {})
    with pytest.raises(CheckpointError, match=says):
        PCA.read(tmp_path / "pca.h5")


def test_a_direction_without_variance_is_zero_and_taken(tmp_path: Path) -> None:
    PCA(torch.zeros(3), torch.diag(torch.tensor([1.0, 0, 0])), torch.tensor([4.0, 0, -1e-6])).write(
        tmp_path / "pca.h5", {}
    )
    assert PCA.read(tmp_path / "pca.h5").dim == 3


def test_damaged_hdf5_is_a_message_wherever_it_is_looked_at(tmp_path: Path) -> None:
    MADE.write(tmp_path / "whole.h5", {"model": "x"})
    whole = (tmp_path / "whole.h5").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), 30):
            content[at] ^= 0xFF
        (tmp_path / "x.h5").write_bytes(content)
        for read in (PCA.read, read_origin, read_clusters):
            try:
                read(tmp_path / "x.h5")
            except CheckpointError as error:
                assert "x.h5" in str(error)


def test_centroids_beyond_float32_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file["descriptors"], file["centroids"] = np.eye(3), np.full((2, 3), 1e300)
    with pytest.raises(CheckpointError, match="its centroids are not all finite numbers"):
        read_clusters(tmp_path / "c.hdf5")
