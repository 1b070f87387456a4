"""The distance that is used is the one that the protocol id says."""

from __future__ import annotations

import pytest

from vpr.data.retrieval_set import check_distance
from vpr.errors import ConfigError
from vpr.types import Protocol


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("own-photos@25m", "radius", 25.0),
        ("own-photos@2.5m", "radius", 2.5),
        ("tokyo247@25m-nms", "radius", 25),
        ("own-photos", "radius", 7),
        ("nordland-2760-reversed@1f", "radius", 25),  # metres that stand for frames
        ("sped-607@0f", "tolerance", 0),
        ("walk@25miles", "radius", 3),
    ],
)
def test_what_fits(name: str, option: str, value: float) -> None:
    check_distance(Protocol(name), option, value)


@pytest.mark.parametrize(
    ("name", "option", "value", "other"),
    [
        ("own-photos@25m", "radius", 10, "own-photos@10m"),
        ("tokyo247@25m-nms", "radius", 2.5, "tokyo247@2.5m-nms"),
        ("walk@2f", "tolerance", 5, "walk@5f"),
        ("walk@25m_x", "radius", 5, "walk@5m_x"),
    ],
)
def test_another_distance_needs_another_id(name: str, option: str, value: float, other: str) -> None:
    with pytest.raises(ConfigError, match=f"{option}={value} does not fit the id {name}.* protocol.id={other}"):
        check_distance(Protocol(name), option, value)


@pytest.mark.parametrize("value", [-5.0, float("nan")])
def test_no_distance(value: float) -> None:
    with pytest.raises(ConfigError, match="must be 0 or more"):
        check_distance(Protocol("own-photos"), "radius", value)
