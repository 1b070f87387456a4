"""Benchmark of PCA: its figures hold for components that can be compared with numpy's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest


def test_components_of_drawn_descriptors_are_those_of_numpy(tmp_path: Path):
    script = Path(__file__).parents[2] / "benchmarks" / "pca.py"
    spec = importlib.util.spec_from_file_location("pca_benchmark", script)
    assert spec and spec.loader
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.draw(tmp_path / "descriptors.npy", 60, 200, rank=10)
    descriptors = np.load(tmp_path / "descriptors.npy")
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), np.ones(60), rtol=1e-6)
    told = benchmark.work(tmp_path / "descriptors.npy", 20)
    assert told["U'U - I at most"] < 1e-5 and told["variances off numpy's by at most"] < 1e-5
    values = np.linalg.eigvalsh(np.cov(descriptors.T.astype(np.float64)))[::-1]
    assert told["share of variance"] == pytest.approx(values[:20].sum() / values.sum(), rel=1e-5)
