"""cluster.py and training that starts from its file, on tiny photos and a tiny backbone."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
from omegaconf import DictConfig, OmegaConf, open_dict

from tests.processes import run_script
from vpr import checkpoint
from vpr.catalog.resolve import training_images
from vpr.cli.cluster_command import cluster_command, cluster_names
from vpr.cli.compose import compose, plain
from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.models.cluster_file import ClusterFile, read_clusters, write_clusters
from vpr.models.describer import Describer, build_describer
from vpr.training import clusters as cluster
from vpr.training.build import find_clusters, make_describer
from vpr.training.clusters import make_clusters
from vpr.training.run import fit

REPO = Path(__file__).parents[2]
BACKBONE = ["backbone=resnet18", "backbone.weights=none", "backbone.crop=[3,4]"]
NAME = "resnet18_tiny_4_desc_cen.hdf5"
Clustering = Callable[[Sequence[str]], DictConfig]


def started(cfg: DictConfig) -> tuple[Describer, dict[str, Any]]:
    """Return the describer of a run of train.py, and its nodes."""
    agg, runs = plain(cfg.agg), Path(cfg.paths.runs)
    clusters = find_clusters(agg, runs, partial(cluster_names, cfg), partial(cluster_command, cfg))
    return make_describer(plain(cfg), clusters)


@pytest.fixture
def clustering(photos: Path, tmp_path: Path) -> Clustering:
    """Compose cluster.py for 10 photos of `photos`, 8 of the 36 cells of each and 4 clusters, with more overrides."""

    def make(overrides: Sequence[str] = ()) -> DictConfig:
        cfg = compose(
            "cluster",
            [
                *BACKBONE,
                *("dataset=places_folder", "image.size=[48,48]", "clusters=4", "images=10", "descriptors_per_image=8"),
                *("batch_size=3", "num_workers=0", "device=cpu", f"paths.runs={tmp_path}/runs", *overrides),
            ],
        )
        reader = {"_target_": "vpr.data.formats.place_lists.read_folder", "root": f"{photos}/train"}
        with open_dict(cfg):
            cfg.dataset = OmegaConf.create({"train": {"tiny": reader}})
        return cfg

    return make


@pytest.fixture
def pretrained(tmp_path: Path) -> Callable[[int], Path]:
    """Function that writes a state dict for the backbone of these tests."""

    def write(seed: int) -> Path:
        torch.manual_seed(seed)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / f"weights{seed}.pth")
        return tmp_path / f"weights{seed}.pth"

    return write


def test_the_file_holds_cells_of_the_map_and_their_centres(clustering: Clustering, tmp_path: Path):
    cfg = clustering()
    path = make_clusters(cfg)
    assert path == tmp_path / "runs" / "clusters" / NAME
    found = read_clusters(path)
    assert found.descriptors.shape == (80, 128) and found.centroids.shape == (4, 128)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), np.ones(80), rtol=1e-5)
    # The map is described again: each descriptor is a cell of one of 10 photos, and no cell comes twice.
    torch.manual_seed(cfg.seed)
    describer = build_describer(
        OmegaConf.to_container(cfg.backbone),  # type: ignore[arg-type]
        {"_target_": "vpr.models.aggregators.avg.Avg"},
        {"size": [48, 48]},
    ).eval()
    images = np.stack([cv2.imread(str(p))[..., ::-1] for p in photos_of(cfg)])
    with torch.no_grad():
        maps = describer.features(describer.normalise(torch.from_numpy(images).permute(0, 3, 1, 2))).map
    cells = torch.nn.functional.normalize(maps.flatten(2), dim=1).permute(0, 2, 1)  # (48 photos, 36, 128)
    apart = torch.cdist(torch.from_numpy(found.descriptors), cells.flatten(0, 1))
    distance, where = apart.min(dim=1)
    assert distance.max() < 1e-2 and len(where.unique()) == 80
    photos, counts = (where // 36).unique(return_counts=True)
    assert len(photos) == 10 and (counts == 8).all()


def test_maps_with_fewer_cells_give_all_of_them(clustering: Clustering):
    assert read_clusters(make_clusters(clustering(["descriptors_per_image=100"]))).descriptors.shape == (360, 128)


def test_tuples_give_their_queries_and_their_gallery(clustering: Clustering, tmp_path: Path):
    cfg = clustering()
    rng = np.random.default_rng(0)
    for side, east in (("gallery", (0, 100, 200)), ("queries", (5, 105))):
        (tmp_path / side).mkdir()
        for number in east:
            photo = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            cv2.imwrite(f"{tmp_path}/{side}/@{number}.0@0.0@17@T@{side}{number}@.jpg", photo)
    sides = {
        side: {"_target_": "vpr.data.formats.utm_folder.photos", "root": str(tmp_path), "folder": side}
        for side in ("queries", "gallery")
    }
    with open_dict(cfg):
        cfg.dataset.weak = {"tiny": {"_target_": "vpr.data.tuples.read", "capture": ".*", **sides}}
    found = read_clusters(make_clusters(cfg))
    assert found.settings["photos"] == 5 and len(found.descriptors) == 5 * 8


def test_it_is_not_made_twice_unless_asked_for_or_other_settings(clustering, caplog):
    caplog.set_level(logging.INFO)
    path = make_clusters(clustering())
    first, written = read_clusters(path), path.stat().st_mtime_ns
    make_clusters(clustering())
    assert path.stat().st_mtime_ns == written
    assert "is there already; overwrite=true makes it again" in caplog.text
    make_clusters(clustering(["overwrite=true"]))
    again = read_clusters(path)
    assert path.stat().st_mtime_ns > written
    np.testing.assert_array_equal(again.descriptors, first.descriptors)
    np.testing.assert_array_equal(again.centroids, first.centroids)
    written = path.stat().st_mtime_ns
    with pytest.raises(
        ConfigError, match=r"other settings \(images=10, now 9; size=\[48, 48\], now \[24, 24\]\)"
    ) as told:
        make_clusters(clustering(["images=9", "image.size=[24,24]"]))
    assert str(path) in str(told.value) and "Type overwrite=true" in str(told.value)
    assert path.stat().st_mtime_ns == written
    make_clusters(clustering(["images=9", "seed=1", "overwrite=true"]))
    assert len(read_clusters(path).descriptors) == 72


def test_a_file_of_another_project_stays_and_a_damaged_one_is_told(clustering, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "runs" / "clusters" / NAME
    write_clusters(path, ClusterFile(np.eye(4, 128, dtype=np.float32), np.eye(4, 128, dtype=np.float32)))
    before = path.read_bytes()
    make_clusters(clustering())
    assert path.read_bytes() == before and "is there already, from elsewhere" in caplog.text
    path.write_bytes(before[:50])
    with pytest.raises(CheckpointError, match="damaged"):
        make_clusters(clustering())
    make_clusters(clustering(["overwrite=true"]))
    assert read_clusters(path).settings["images"] == 10


def test_unreadable_photos_are_left_out_or_end_it(clustering, photos, tmp_path, caplog, monkeypatch):
    good = photos_of(clustering())
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"\xff\xd8")
    for bad in (1, 2):
        paths = [damaged] * bad + [good[row] for row in range(10 - bad)]
        monkeypatch.setattr(cluster, "training_images", lambda *_, paths=paths: paths)
        if bad == 1:
            assert len(read_clusters(make_clusters(clustering())).descriptors) == 72
            assert "1 of 10 images cannot be read and are left out" in caplog.text
        else:
            with pytest.raises(DataError, match="2 of 10 images cannot be read"):
                make_clusters(clustering(["overwrite=true"]))


def test_interrupted_it_leaves_nothing_behind(clustering, tmp_path, monkeypatch):
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "kmeans", press)
    with pytest.raises(KeyboardInterrupt):
        make_clusters(clustering())
    assert not list((tmp_path / "runs").rglob("*.hdf5*"))


def photos_of(cfg: DictConfig) -> list[Path]:
    return list(training_images(["tiny"], cfg, "dataset"))


NETVLAD = ["agg=netvlad", "agg.clusters=4"]


def test_training_says_what_to_type_finds_the_file_and_no_longer_needs_it(clustering, tiny, tmp_path):
    cfg = tiny(NETVLAD)
    with pytest.raises(ConfigError, match=NAME) as told:
        fit(cfg, tmp_path / "run")
    command = str(told.value).partition("Type `")[2].partition("` first;")[0]
    script, *words = shlex.split(command)[1:]
    assert script == "cluster.py" and {"backbone=resnet18", "clusters=4", "backbone.crop=[3,4]"} <= set(words)
    made = compose("cluster", words)
    assert (made.backbone, made.clusters, made.paths) == (cfg.backbone, 4, cfg.paths)
    assert not (tmp_path / "run").exists()

    path = make_clusters(clustering())
    describer, parts = started(cfg)
    np.testing.assert_array_equal(describer.aggregator.centroids.detach(), read_clusters(path).centroids)
    fit(cfg, tmp_path / "run")
    path.unlink()
    content = checkpoint.read(tmp_path / "run" / "best.ckpt")
    assert content["config"]["agg"] == {**parts["agg"], "centroids": "checkpoint"}
    assert str(tmp_path) not in str(content["config"]["agg"])
    loaded = checkpoint.load(tmp_path / "run" / "best.ckpt")
    assert loaded.dim == 4 * 128
    assert torch.equal(loaded.aggregator.centroids, content["weights"]["aggregator.centroids"])


def test_a_run_goes_on_whatever_its_centres_came_from(clustering, tiny, tmp_path):
    path = make_clusters(clustering())
    fit(tiny([*NETVLAD, "trainer.max_epochs=1"]), tmp_path / "run")
    path.unlink()
    for given in ([], [f"agg.centroids={tmp_path}/gone.hdf5"]):
        more = tiny([*NETVLAD, *given, f"ckpt_path={tmp_path}/run/last.ckpt", "trainer.max_epochs=2"])
        assert fit(more, tmp_path / "more") is not None


def test_clusters_of_other_features_are_refused(clustering, tiny, pretrained):
    one, two = pretrained(1), pretrained(2)
    path = make_clusters(clustering([f"backbone.weights={one}"]))
    started(tiny([*NETVLAD, f"backbone.weights={one}", "backbone.freeze=1"]))
    for other, says in (
        ([f"backbone.weights={two}"], f"backbone.weights={one}, now {two}"),
        ([f"backbone.weights={one}", "image.std=[1,1,1]"], "its settings are the same"),
    ):
        with pytest.raises(ConfigError, match="holds clusters of other features") as told:
            started(tiny([*NETVLAD, *other]))
        assert says in str(told.value) and "overwrite=true" in str(told.value)
        started(tiny([*NETVLAD, *other, f"agg.centroids={path}"]))


def test_random_centres_only_on_request(tiny):
    started(tiny([*NETVLAD, "agg.allow_random_init=true"]))


@pytest.mark.slow
def test_as_it_is_typed(photos: Path, tmp_path: Path):
    command = [
        *(str(REPO / "cluster.py"), *BACKBONE, "dataset=places_folder", "image.size=[48,48]"),
        *(f"dataset.train.places_folder.root={photos}/train", "clusters=4", "images=10", f"paths.runs={tmp_path}"),
        *("num_workers=1", "device=cpu"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = run_script(command, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "clusters" / "resnet18_places_folder_4_desc_cen.hdf5"
    assert f"4 centres of 360 descriptors are in {path}" in done.stderr
    assert len(read_clusters(path).centroids) == 4
    few = run_script([*command, "clusters=999"], cwd=tmp_path, env=environment)
    assert few.returncode == 2 and "DataError: 360 descriptors cannot have 999 centres" in few.stderr
