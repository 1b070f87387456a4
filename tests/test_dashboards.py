"""The W&B workspace asks for what runs send."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from vpr.training.loggers import summary_metrics

FILE = Path(__file__).parents[1] / "dashboards" / "wandb_workspace.py"
SUMMARY = {
    "monitor": "tokyo247@25m-nms",
    "seconds": 61.5,
    "costs": {
        **{"parameters": 2_500_000, "gmacs": 0.3, "latency_ms": 7.5, "latency_runs": 30, "threads": 2},
        **{"device": "cpu (x86_64)", "descriptor_bytes": 2048},
    },
    "sets": {"tokyo247@25m-nms": {"recalls": {"R@1": 0.5, "R@5": 0.6, "R@10": 0.9}}},
}


@pytest.fixture(scope="module")
def dashboard() -> ModuleType:
    pytest.importorskip("wandb_workspaces", reason="needs the package wandb-workspaces (extra `dashboards`)")
    spec = importlib.util.spec_from_file_location("wandb_workspace", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_that_is_plotted_against_each_other_stands_in_the_summary(dashboard: ModuleType) -> None:
    view = dashboard.workspace("me", "vpr-distill", ["tokyo247@25m-nms"], "name")
    plots = [panel for section in view.sections for panel in section.panels if type(panel).__name__ == "ScatterPlot"]
    asked = {metric.name for plot in plots for metric in (plot.x, plot.y)}
    assert len(plots) == 8 and asked <= set(summary_metrics(SUMMARY))
    assert {"best_R1", "best_R1_tokyo247_25m_nms", "latency_ms", "parameters_M"} <= asked


def test_recalls_and_tables_go_by_the_id_of_the_protocol(dashboard: ModuleType) -> None:
    view = dashboard.workspace("me", "vpr-distill", ["tokyo247@25m-nms"], "name")
    panels = [panel for section in view.sections for panel in section.panels]
    lines = [name for panel in panels if type(panel).__name__ == "LinePlot" for name in panel.y]
    assert lines[:3] == [f"tokyo247@25m-nms/R@{k}" for k in (1, 5, 10)]
    tables = [panel.table_name for panel in panels if type(panel).__name__ == "WeavePanelSummaryTable"]
    assert tables == ["predictions/tokyo247@25m-nms"]


def test_it_can_be_sent(dashboard: ModuleType) -> None:
    """What `save` sends is made without an account."""
    view = dashboard.workspace("me", "vpr-distill", ["tokyo247@25m-nms"], "name")._to_model()
    assert view.entity == "me" and "best_R1_tokyo247_25m_nms" in view.model_dump_json()


@pytest.mark.slow
def test_print_sends_nothing(dashboard: ModuleType) -> None:
    command = [sys.executable, str(FILE), "--entity", "me", "--protocol", "a@1f", "--print"]
    paths = os.pathsep.join([str(FILE.parents[1]), *sys.path])  # the package need not be installed
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "best_R1_a_1f" in done.stdout and "entity='me'" in done.stdout
