"""Cluster files: the published layout, read and written, and what is wrong with one said."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from vpr.errors import CheckpointError, DiskError
from vpr.models.cluster_file import ClusterFile, cluster_path, read_clusters, write_clusters

CLUSTERS = ClusterFile(np.eye(5, 3, dtype=np.float32), np.ones((2, 3), np.float32), {"seed": 3, "size": [48, 48]})


def test_name_is_the_published_one(tmp_path: Path):
    assert cluster_path(tmp_path, "vgg16", "pitts", 64) == tmp_path / "vgg16_pitts_64_desc_cen.hdf5"


def test_written_and_read(tmp_path: Path):
    path = tmp_path / "new" / "c.hdf5"
    write_clusters(path, CLUSTERS)
    reread = read_clusters(path)
    np.testing.assert_array_equal(reread.descriptors, CLUSTERS.descriptors)
    np.testing.assert_array_equal(reread.centroids, CLUSTERS.centroids)
    assert reread.settings == CLUSTERS.settings
    assert [p.name for p in path.parent.iterdir()] == ["c.hdf5"]  # no half-written file beside it
    with h5py.File(path) as file:  # as other projects read it
        assert {name: (file[name].shape, file[name].dtype.name) for name in file} == {
            "descriptors": ((5, 3), "float32"),
            "centroids": ((2, 3), "float32"),
        }


@pytest.mark.parametrize("arch", ["vgg16", "mobilenetv3_large"])
def test_files_of_other_projects(arch: str, shared: Path):
    clusters = read_clusters(shared / "golden" / f"wakd_{arch}_pitts_64_desc_cen.hdf5")
    assert (clusters.descriptors.shape, clusters.centroids.shape, clusters.settings) == ((1500, 512), (64, 512), {})
    assert clusters.descriptors.dtype == clusters.centroids.dtype == np.float32


@pytest.mark.parametrize("settings", [np.arange(3), 1.5, "k-means++", "[64]", h5py.Empty("f")], ids=str)
def test_settings_of_others_say_nothing(settings: object, tmp_path: Path):
    write_clusters(tmp_path / "c.hdf5", CLUSTERS)
    with h5py.File(tmp_path / "c.hdf5", "r+") as file:
        file.attrs["settings"] = settings
    assert read_clusters(tmp_path / "c.hdf5").settings == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"descriptors": np.ones((4, 3), np.float32)}, "it holds descriptors, and must hold descriptors and centroids"),
        ({"descriptors": np.ones((4, 3)), "centroids": np.ones((2, 4))}, "rows of one length"),
        ({"descriptors": np.ones(4), "centroids": np.ones(4)}, "rows of one length"),
        ({"descriptors": np.ones((0, 3)), "centroids": np.ones((2, 3))}, "its descriptors are not all finite"),
        ({"descriptors": np.ones((4, 3)), "centroids": np.full((2, 3), np.nan)}, "its centroids are not all finite"),
        ({"descriptors": np.ones((4, 3), int), "centroids": np.ones((2, 3))}, "its descriptors are not all finite"),
    ],
)
def test_files_that_hold_something_else(content: dict[str, np.ndarray], says: str, tmp_path: Path):
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        for name, values in content.items():
            file[name] = values
    with pytest.raises(CheckpointError, match=says):
        read_clusters(tmp_path / "c.hdf5")


def test_groups_in_place_of_arrays(tmp_path: Path):
    with h5py.File(tmp_path / "c.hdf5", "w") as file:
        file.create_group("descriptors"), file.create_group("centroids")
    with pytest.raises(CheckpointError, match="damaged or no cluster file"):
        read_clusters(tmp_path / "c.hdf5")


@pytest.mark.parametrize("keep", [0, 100, 0.9])
def test_a_file_that_is_cut_off(keep: float, tmp_path: Path):
    path = tmp_path / "c.hdf5"
    write_clusters(path, CLUSTERS)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(CheckpointError, match="damaged or no cluster file"):
        read_clusters(path)


def test_no_file_and_no_hdf5(tmp_path: Path):
    with pytest.raises(CheckpointError, match="there is no such cluster file"):
        read_clusters(tmp_path / "c.hdf5")
    (tmp_path / "page.html").write_text("<html>Not found</html>" * 99)
    with pytest.raises(CheckpointError, match="damaged or no cluster file"):
        read_clusters(tmp_path / "page.html")


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="cannot be written"):
        write_clusters(tmp_path / "file" / "c.hdf5", CLUSTERS)
