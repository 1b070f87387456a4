"""Estimates of positions, from those of the matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpr.demo.answers import Match, Position, estimate

METRE = 1 / 111_195  # degrees of latitude, about


def match(similarity: float, lat: float | None = None, lon: float = 0.0) -> Match:
    position = None if lat is None else Position(lat, lon)
    return Match(0, "a.jpg", Path("a.jpg"), similarity, position)


def test_mean_weighted_by_similarity_of_those_near_the_first() -> None:
    found = estimate([match(0.75, 0.0), match(0.25, 20 * METRE), match(0.7, 26 * METRE)])
    assert found is not None
    assert found.lat == pytest.approx(0.25 * 20 * METRE, rel=1e-4) and found.lon == pytest.approx(0)
    wider = estimate([match(0.75, 0.0), match(0.25, 20 * METRE)], radius=10)
    assert wider == pytest.approx(Position(0, 0))


def test_the_first_with_a_position_leads() -> None:
    assert estimate([match(0.9), match(0.5, 48.2, 16.4), match(0.4, -33, 18)]) == pytest.approx(Position(48.2, 16.4))


def test_nothing_known_nothing_told() -> None:
    assert estimate([]) is None
    assert estimate([match(0.9), match(0.8)]) is None


def test_date_line_and_pole() -> None:
    found = estimate([match(0.5, -17.0, 179.99995), match(0.5, -17.0, -179.99995)])
    assert found is not None
    assert found.lat == pytest.approx(-17) and abs(found.lon) == pytest.approx(180)
    pole = estimate([match(0.5, 89.9999, 0.0), match(0.5, 89.9999, 180.0)])
    assert pole is not None and pole.lat == pytest.approx(90, abs=1e-6)


@pytest.mark.parametrize("first", [0.0, -0.3])
def test_matches_that_are_not_similar_have_no_weight(first: float) -> None:
    assert estimate([match(first, 10.0), match(first - 0.1, 10 + 9 * METRE)]) == Position(10, 0)
    found = estimate([match(0.5, 10.0), match(-0.5, 10 + 9 * METRE)])
    assert found == pytest.approx(Position(10, 0))
