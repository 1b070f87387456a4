"""Real photos: what clustering gives NetVLAD before any training; benchmarks/netvlad_real.py has more of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import compose
from vpr.models.cluster_file import read_clusters


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    script = Path(__file__).parents[2] / "benchmarks" / "netvlad_real.py"
    spec = importlib.util.spec_from_file_location("netvlad_real", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_frames_as_positions_are_the_walks_that_the_index_names(benchmark: ModuleType, shared: Path, tmp_path: Path):
    cfg = compose("evaluate", ["ckpt=x", "dataset=[gardens_point,gardens_point_day]", f"paths.data={shared}/data"])
    for found, expected in zip(
        benchmark.walks(shared / "data", tmp_path), evaluation_sets(cfg.dataset).values(), strict=True
    ):
        assert found.protocol.id == expected.protocol.id.replace("@2f", "@2m")
        for side in ("database", "queries"):
            ours, theirs = getattr(found, side), getattr(expected, side)
            assert [path.resolve() for path in ours] == [path.resolve() for path in theirs]
        for here, there in zip(found.positives, expected.positives, strict=True):
            np.testing.assert_array_equal(here, there)


@pytest.mark.slow
def test_netvlad_after_clustering_beats_gem_and_random_centres(benchmark: ModuleType, shared: Path, tmp_path: Path):
    night = benchmark.walks(shared / "data", tmp_path, every=2)[:1]
    words = ["backbone=tf_efficientnet_lite0", "backbone.weights=package", "backbone.crop=[5,6]"]
    words += ["image.size=[96,128]", "clusters=16", "iterations=10", "num_workers=0"]
    found = benchmark.measure(tmp_path, words, [0], night)
    assert read_clusters(next(tmp_path.rglob("*.hdf5"))).settings["photos"] == 100  # the database, and no query
    gem, random, clustered = (result[night[0].protocol.id] for result in found.values())
    assert clustered.dim == random.dim == 16 * gem.dim
    assert clustered.recalls[1] > max(gem.recalls[1], random.recalls[1]) + 0.1, found
