from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from vpr import report
from vpr.data.image_digests import SeenImages
from vpr.data.retrieval_set import RetrievalSet
from vpr.models.costs import Costs
from vpr.retrieval.agreement import Agreement
from vpr.retrieval.evaluate import Evaluation
from vpr.retrieval.search import Neighbours
from vpr.types import Protocol


@pytest.fixture
def result() -> Evaluation:
    """Three queries: a hit at rank 1, one without positives, a hit at rank 2 after which nothing was found."""
    used = RetrievalSet(
        Protocol("drawn@0[1of2db]"),
        [Path("d0.jpg"), Path("d1, b.jpg")],
        [Path("q0.jpg"), Path("q1.jpg"), Path("q2.jpg")],
        [np.array([0]), np.empty(0, np.int64), np.array([0, 1])],
    )
    similarities = np.array([[1, 0.5], [0.875, -1], [0.5, -np.inf]], np.float32)
    neighbours = Neighbours(similarities, np.array([[0, 1], [1, 0], [1, -1]]))
    hits = np.array([[True, True], [False, False], [False, True]])
    counted = np.array([True, False, True])
    seconds = {"extract": 0.5, "search": 0.25}
    recalls, intervals = {1: 0.5, 5: 1.0}, {1: (0.0, 1.0), 5: (1.0, 1.0)}
    return Evaluation(used, recalls, intervals, hits, counted, neighbours, {7: "x.jpg: truncated"}, 8, seconds)


def test_predictions_by_hand(result: Evaluation) -> None:
    rows = report.predictions(result)
    assert rows["query"].tolist() == ["q0.jpg", "q0.jpg", "q1.jpg", "q1.jpg", "q2.jpg"]
    assert rows["database"].tolist() == ["d0.jpg", "d1, b.jpg", "d1, b.jpg", "d0.jpg", "d1, b.jpg"]
    assert rows["rank"].tolist() == [1, 2, 1, 2, 1]
    assert rows["distance"].tolist() == [0, 1, 0.5, 2, 1]  # sqrt(2 - 2 s)
    assert rows["correct"].tolist() == [True, False, None, None, True]


def test_no_more_than_the_ranks_asked_for(result: Evaluation) -> None:
    assert report.predictions(result, ranked=1)["rank"].tolist() == [1, 1, 1]


def test_files(result: Evaluation, tmp_path: Path) -> None:
    costs = Costs(2_500_000, 0.3, 32, 7.5, 30, 2, "cpu (x86_64)", (48, 64))
    report.write([result], tmp_path / "out", {"ckpt": "best.ckpt"}, costs)
    content = json.loads((tmp_path / "out/metrics.json").read_text())
    numbers = content["sets"]["drawn@0[1of2db]"]
    assert numbers["recalls"] == {"R@1": 0.5, "R@5": 1.0} and numbers["intervals"]["R@1"] == [0, 1]
    assert numbers["counts"]["queries"] == 3 and numbers["counts"]["counted_queries"] == 2
    assert numbers["counts"]["database"] == 2 and numbers["counts"]["queries_without_positives"] == 1
    assert numbers["counts"]["mean_positives"] == 1  # (1 + 0 + 2) / 3
    assert numbers["images_per_second"] == 10 and numbers["dim"] == 8 and numbers["seconds"]["search"] == 0.25
    assert numbers["bad_images"] == ["x.jpg: truncated"]
    assert content["settings"] == {"ckpt": "best.ckpt"}
    assert content["costs"] == {
        **{"parameters": 2_500_000, "gmacs": 0.3, "descriptor_bytes": 32, "latency_ms": 7.5, "latency_runs": 30},
        **{"threads": 2, "device": "cpu (x86_64)", "image_size": [48, 64], "precision": "float32"},
    }
    assert {"vpr", "torch", "faiss", "numpy"} <= set(content["versions"])
    table = pd.read_csv(tmp_path / "out/predictions.csv")
    assert table["protocol"].eq("drawn@0[1of2db]").all() and len(table) == 5
    assert table["correct"].isna().sum() == 2


def printed(result: Evaluation) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.table(result))
    return " ".join(console.export_text().split())


def test_table_fits_80_columns(result: Evaluation) -> None:
    for part in (
        *("drawn@0[1of2db]", "R@1", "50.0", "0.0–100.0", "2 database images", "2 queries (+ 1 without positives)"),
        *("1.0 positives a query", "D = 8", "10 images/s"),
    ):
        assert part in printed(result), part


def test_queries_without_positives_that_count_are_said(result: Evaluation) -> None:
    result = replace(result, counted=np.ones(3, bool))
    assert "3 queries, 1 of them without positives, 1.0 positives a query" in printed(result)


def test_given_descriptors_have_no_speed_of_description(result: Evaluation) -> None:
    result = replace(result, seconds={"search": 0.25})
    assert "0.2 s" in printed(result) and "images/s" not in printed(result)
    assert report.summary(result)["images_per_second"] == 0


def test_a_set_without_ground_truth_says_so(result: Evaluation) -> None:
    result = replace(result, recalls={}, intervals={}, counted=np.zeros(3, bool))
    assert "no ground truth: predictions are written, nothing is measured" in printed(result)
    assert "2 database images, 3 queries, no ground truth, D = 8" in printed(result)


SAME, CORRELATIONS = np.array([True, False, True]), np.array([1, -0.5, 0.1])
SAME, CORRELATIONS = np.array([True, False, True]), np.array([1, -0.5, 0.1])
AGREEMENT = Agreement(SAME, CORRELATIONS, np.array([0, 0, 1]), 2, 2, teacher_name="big 01234567")


def test_agreement_stands_beside_recalls_and_without_them(result: Evaluation) -> None:
    agreeing = replace(result, agreement=AGREEMENT)
    line = "agreement with big 01234567: the same first match in 66.7 % (20.8–93.9) of 3 queries, rank correlation"
    assert line in printed(agreeing) and "of its first 2 0.200 (" in printed(agreeing)
    numbers = report.summary(agreeing)["agreement"]
    assert numbers["first_match"] == pytest.approx(2 / 3) and numbers["rank_correlation"] == pytest.approx(0.2)
    assert (numbers["queries"], numbers["database"], numbers["ranked"]) == (3, 2, 2)
    assert json.loads(json.dumps(numbers)) == numbers and "agreement" not in report.summary(result)
    unknown = replace(agreeing, recalls={}, intervals={}, counted=np.zeros(3, bool))
    assert "predictions are written, only agreement is measured" in printed(unknown) and line in printed(unknown)


def test_images_that_were_trained_on_are_counted(result: Evaluation) -> None:
    both = replace(result, seen=SeenImages(1, 2))
    assert "[map]: trained on 1 of the 2 database images" in printed(both)
    assert "[queries]: trained on 2 of the 3 queries: no measurement" in printed(both)
    assert report.summary(both)["trained_on"] == {"database": 1, "queries": 2}
    assert "trained on" not in printed(replace(result, seen=SeenImages(0, 0)))
    assert "trained_on" not in report.summary(result)
