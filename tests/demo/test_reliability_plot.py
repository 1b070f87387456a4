"""The plots of a calibration: whole in themselves, with the numbers that they show, whatever the answers are."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr.demo.reliability_plot import draw_reliability, write_png
from vpr.retrieval.calibration import Calibrated, Calibration, precision_recall


def known(right: np.ndarray, confidence: np.ndarray | None = None, precision: float = 0.95) -> Calibrated:
    queries = len(right)
    confidence = np.linspace(0.99, 0.05, queries) if confidence is None else confidence
    calibration = Calibration(-9.0, 8.0, 30.0, 0.0, precision, queries, int(right.sum()))
    return Calibrated(calibration, "a<b&c@25m", confidence, right).with_precision(precision)


def plots(calibrated: Calibrated) -> list[str]:
    prefix = "data:image/svg+xml;base64,"
    uris = [plot.uri for plot in draw_reliability(calibrated).plots]
    assert all(uri.startswith(prefix) for uri in uris)
    return [base64.b64decode(uri.removeprefix(prefix)).decode() for uri in uris]


def points(svg: str, colour: str) -> np.ndarray:
    """(P, 2) pixels of the longest line of one colour."""
    paths = [
        path.get("d", "")
        for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
        if colour in path.get("style", "")
    ]
    return np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", max(paths, key=len)), float)


def test_two_plots_that_need_no_other_file() -> None:
    right = np.arange(40) < 24
    right[20:22] = False  # from above: 20 of 20, 20 of 21, 20 of 22, 21 of 23, 22 of 24
    drawn = draw_reliability(known(right))
    curve, bins = plots(known(right))
    assert [plot.alt.partition(":")[0] for plot in drawn.plots] == ["a<b&c@25m"] * 2
    assert "40 queries" in drawn.message and "there 21, of which 20 are right" in drawn.message
    assert all(target.startswith("#") for target in re.findall(r'(?:href|src)="([^"]*)"', curve + bins))
    assert "R@100P 50.0 %" in curve and "expected calibration error" in bins


def test_the_curve_goes_through_the_points() -> None:
    right = np.random.default_rng(0).random(30) < 0.6
    found = known(right)
    drawn = points(plots(found)[0], "#0969da")
    curve = precision_recall(found.confidence, found.right)
    recall, precision = np.append(0, curve.recall), np.append(1, curve.precision)
    for pixels, values in ((drawn[:, 0], recall), (drawn[:, 1], precision)):
        slope, offset = np.polyfit(values, pixels, 1)
        np.testing.assert_allclose(slope * values + offset, pixels, atol=0.01)


@pytest.mark.parametrize(
    ("right", "confidence"),
    [
        (np.ones(20, bool), None),
        (np.zeros(20, bool), None),
        (np.arange(20) % 2 == 0, np.full(20, 0.5)),
        (np.arange(20) % 2 == 1, np.array([0.0, 1.0] * 10)),
    ],
    ids=["all right", "none right", "one confidence", "0 and 1"],
)
def test_odd_answers_are_drawn_too(right: np.ndarray, confidence: np.ndarray | None, tmp_path: Path) -> None:
    found = known(right, confidence)
    for svg in plots(found):
        assert "nan" not in svg.lower().replace("nanum", "")
    write_png(found, tmp_path / "new" / "reliability.png")
    picture = cv2.imread(str(tmp_path / "new" / "reliability.png"))
    assert picture is not None and picture.shape[1] > 2 * picture.shape[0] and picture.std() > 5
